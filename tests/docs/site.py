"""What a built site loads from elsewhere: python -m tests.docs.site FOLDER, which nox -s docs runs on site/."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

ELSEWHERE = re.compile(r"\s*(https?:)?//", re.IGNORECASE)
# What a browser follows by itself; `canonical`, `next` and the like it does not.
LOADED_BY_LINK = {
    "stylesheet",
    "preload",
    "prefetch",
    "preconnect",
    "dns-prefetch",
    "modulepreload",
    "icon",
    "manifest",
}
IN_STYLES = re.compile(r"(?:@import\s*|url\()\s*[\"']?((?:https?:)?//[^\"')\s]+)", re.IGNORECASE)


class _Page(HTMLParser):
    """Addresses that a page loads when it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self._in_style = tag == "style"
        if tag == "link" and LOADED_BY_LINK & {*values.get("rel", "").lower().split()}:
            self._add(values.get("href", ""))
        for name in ("src", "srcset", "poster", "data"):
            self._add(values.get(name, ""))
        self.loads += IN_STYLES.findall(values.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.loads += IN_STYLES.findall(data)

    def _add(self, address: str) -> None:
        if ELSEWHERE.match(address):
            self.loads.append(address)


def loads_of(text: str, suffix: str) -> list[str]:
    """Addresses elsewhere that a page or a style sheet loads."""
    if suffix == ".css":
        return IN_STYLES.findall(text)
    page = _Page()
    page.feed(text)
    return page.loads


def faults(folder: Path) -> Iterator[str]:
    """A sentence for each address that a file of a site loads from elsewhere, and one for a site without pages."""
    files = sorted(file for file in folder.rglob("*") if file.suffix in (".html", ".css"))
    if not files:
        yield f"{folder} has no pages"
    for file in files:
        for address in loads_of(file.read_text(encoding="utf-8"), file.suffix):
            yield f"{file.relative_to(folder).as_posix()} loads {address}"


if __name__ == "__main__":
    sys.exit("\n".join(faults(Path(sys.argv[1]))) or 0)
