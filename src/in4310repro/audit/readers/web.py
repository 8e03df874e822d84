"""Read HTML tables, whose cells may span rows or columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html.parser import HTMLParser

from in4310repro.audit.readers.grid import Grid, grid
from in4310repro.audit.readers.titles import find_title

READER = "HTML table"
WIDEST = 200  # columns or rows that a cell may span


class _Tables(HTMLParser):
    """Parser that collects the rows of each HTML table: their line, and their cells with rowspan and colspan."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: list[list[tuple[int, list[tuple[str, int, int]]]]] = []
        self.spans: list[list[int]] = []
        self.caption = False
        self.captions: list[str] = []
        self.cell: tuple[int, int] | None = None
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
            self.captions.append("")
            self.spans.append([self.getpos()[0], self.getpos()[0]])
        elif tag == "tr" and self.tables:
            self._close()
            self.tables[-1].append((self.getpos()[0], []))
        elif tag in ("td", "th") and self.tables:
            self._close()
            given = dict(attrs)
            self.cell = (parse_span(given.get("colspan")), parse_span(given.get("rowspan")))
            self.text = ""
        # Bold text in a caption belongs to the caption.
        if tag in ("caption", "table", "tr", "td", "th"):
            self.caption = tag == "caption"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "tr", "table"):
            self._close()
        if tag == "table" and self.spans:
            self.spans[-1][1] = self.getpos()[0]
        if tag in ("caption", "table"):
            self.caption = False

    def close(self) -> None:
        super().close()
        self._close()

    def handle_data(self, data: str) -> None:
        if self.cell:
            self.text += data
        elif self.caption and self.captions:
            self.captions[-1] += data

    def _close(self) -> None:
        if self.cell and self.tables and self.tables[-1]:
            self.tables[-1][-1][1].append((" ".join(self.text.split()), *self.cell))
        self.cell = None


def parse_span(text: str | None) -> int:
    """Return the number of rows or columns that a cell's attribute says it spans, at least 1."""
    return max(1, min(int(text), WIDEST)) if text and text.isascii() and text.isdigit() else 1


def html_grids(lines: Sequence[str], skipped: frozenset[int]) -> Iterator[Grid]:
    """Yield the tables of an HTML page, or of HTML within Markdown."""
    if not any("<table" in line.lower() for number, line in enumerate(lines, start=1) if number not in skipped):
        return
    parser = _Tables()
    parser.feed("\n".join(lines))
    parser.close()
    for table, (first, last), caption in zip(parser.tables, parser.spans, parser.captions, strict=True):
        rows = _rows(table)
        if len(rows) > 1:
            title = " ".join(caption.split()) or find_title(lines, first - 1, last)
            yield grid(rows, READER, title=title)


def rows_of_tables(html: str) -> list[list[list[str]]]:
    """Return the cell texts of an HTML page by table, row and column."""
    parser = _Tables()
    parser.feed(html)
    parser.close()
    return [[cells for _, cells in _rows(table) if cells] for table in parser.tables]


def _rows(table: Sequence[tuple[int, list[tuple[str, int, int]]]]) -> list[tuple[int, list[str]]]:
    """Return line and cells of each row; spanned rows repeat a cell's text, spanned columns stay empty."""
    rows: list[tuple[int, list[str]]] = []
    hanging: dict[int, tuple[int, str]] = {}
    for line, cells in table:
        row: list[str] = []
        waiting = list(cells)
        while waiting or hanging.get(len(row), (0, ""))[0] > 0:
            left, text = hanging.get(len(row), (0, ""))
            if left > 0:
                hanging[len(row)] = (left - 1, text)
                row.append(text)
                continue
            text, columns, down = waiting.pop(0)
            for offset in range(columns):
                hanging[len(row)] = (down - 1, text if offset == 0 else "")
                row.append(text if offset == 0 else "")
        rows.append((line, row))
    return rows
