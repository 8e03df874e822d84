"""Check of a built site for external loads and cut content; `nox -s docs` runs python -m tests.docs.site FOLDER."""

from __future__ import annotations

import re
import shutil
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
    """HTML parser that collects the external addresses that a page loads."""

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


def find_loads(text: str, suffix: str) -> list[str]:
    """Return the external addresses of the files that a page or a style sheet loads."""
    if suffix == ".css":
        return IN_STYLES.findall(text)
    page = _Page()
    page.feed(text)
    return page.loads


def find_faults(folder: Path) -> Iterator[str]:
    """Yield a sentence for each external address that a site loads, or one if the site has no pages."""
    files = sorted(file for file in folder.rglob("*") if file.suffix in (".html", ".css"))
    if not files:
        yield f"{folder} has no pages"
    for file in files:
        for address in find_loads(file.read_text(encoding="utf-8"), file.suffix):
            yield f"{file.relative_to(folder).as_posix()} loads {address}"


# Commands and tables of which a part lies outside of their box.
CUT = """[...document.querySelectorAll('.md-typeset__scrollwrap, .md-content pre, .md-content pre > code')]
    .filter(each => each.scrollWidth > each.clientWidth + 1).map(each => each.innerText.trim().slice(0, 40))"""


def find_cuts(folder: Path, chromium: str) -> Iterator[str]:
    """Yield a sentence for each command or table that is cut off in a browser 1,280 pixels wide."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        for file in sorted(folder.rglob("*.html")):
            tab.goto(file.resolve().as_uri())
            for start in tab.evaluate(CUT):
                yield f"{file.relative_to(folder).as_posix()} cuts what begins with {start!r}"
        browser.close()


def main(folder: Path) -> int:
    """Print every fault of a site; return 1 if there is one."""
    found = list(find_faults(folder))
    if chromium := shutil.which("chromium"):
        found += find_cuts(folder, chromium)
    else:
        sys.stderr.write("not checked: whether commands and tables are cut, since there is no chromium\n")
    sys.stderr.write("".join(f"{each}\n" for each in found))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
