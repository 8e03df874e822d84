"""Reader of an HTML page: the parts that a browser would load, run and show."""

from html.parser import HTMLParser
from pathlib import Path


class Page(HTMLParser):
    """Parts of an HTML page: tags, addresses, scripts, texts, labels of drawings, table cells and links."""

    def __init__(self, html: str | Path) -> None:
        super().__init__()
        self.tags, self.handlers = set[str](), set[str]()
        self.sources, self.addresses, self.scripts, self.labels = list[str](), list[str](), list[str](), list[str]()
        self.texts, self.rows = list[str](), list[list[str]]()
        self.links: list[tuple[dict[str, str | None], str]] = []
        self.in_cell = False
        self.feed(html.read_text(encoding="utf-8") if isinstance(html, Path) else html)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        self.handlers |= {name for name in values if name.startswith("on")}
        self.sources += [values["src"] or ""] if "src" in values else []
        self.addresses += [values[name] or "" for name in ("src", "href") if name in values]
        self.labels.append(values.get("aria-label") or "")
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.in_cell = True
        elif tag == "a":
            self.links.append((values, ""))
        elif tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.in_cell = self.in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self.in_cell:
            self.rows[-1][-1] += data
        if self.lasttag == "a" and self.links and not self.links[-1][1]:
            self.links[-1] = (self.links[-1][0], data)
        if self.lasttag == "script" and not self.scripts[-1]:
            self.scripts[-1] = data
