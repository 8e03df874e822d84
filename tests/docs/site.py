"""Check of a site: external loads, dead links, cut content, what notebooks print; `nox -s docs` calls it."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

ELSEWHERE = re.compile(r"\s*(https?:)?//", re.IGNORECASE)
SOURCE = re.compile(r'(?<=href=")([^":]+)\.(?:md|ipynb)(?=[#"])')
SCHEME = re.compile(r"/|[a-z]+:", re.IGNORECASE)
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
    """HTML parser that collects the external addresses that a page loads, its links and its anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors = {""}
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self._in_style = tag == "style"
        self.anchors.add(values.get("id", ""))
        if tag == "a" and not SCHEME.match(values.get("href", "/")):
            self.links.append(values["href"])
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
    return _read(text).loads


def _read(text: str) -> _Page:
    page = _Page()
    page.feed(text)
    return page


def link_pages(html: str) -> str:
    """Return a page with its links to sources of pages, as in notebooks, led to the pages."""
    return SOURCE.sub(r"\1.html", html)


def find_dead_links(folder: Path) -> Iterator[str]:
    """Yield a sentence for each link to a file or an anchor that a site lacks, or to the source of a page."""
    pages = {file.resolve(): _read(file.read_text(encoding="utf-8")) for file in sorted(folder.rglob("*.html"))}
    for file, page in pages.items():
        for link in dict.fromkeys(page.links):
            name, anchor = map(unquote, urldefrag(link))
            target = (file.parent / name).resolve() if name else file
            there = target.exists() and target.suffix not in (".md", ".ipynb")
            if not there or (target in pages and anchor not in pages[target].anchors):
                yield f"{file.relative_to(folder.resolve()).as_posix()} has a dead link to {link}"


def find_faults(folder: Path) -> Iterator[str]:
    """Yield a sentence for each external address that a site loads, or one if the site has no pages."""
    files = sorted(file for file in folder.rglob("*") if file.suffix in (".html", ".css"))
    if not files:
        yield f"{folder} has no pages"
    for file in files:
        for address in find_loads(file.read_text(encoding="utf-8"), file.suffix):
            yield f"{file.relative_to(folder).as_posix()} loads {address}"


# What commands of notebooks print while the site is built, in which an error ends the build.
PRINTED = {
    "hand-in.html": (
        "bundle.zip: verified, no difference",
        r"mean_class_accuracy is 0\.9882; computed again it is 0\.\d+",
    )
}


def find_unsaid(folder: Path) -> Iterator[str]:
    """Yield a sentence for each line of `PRINTED` that a page of a site lacks."""
    for name, patterns in PRINTED.items():
        text = " ".join(unescape(re.sub(r"<[^>]*>", "", (folder / name).read_text(encoding="utf-8"))).split())
        yield from (f"{name} does not print {pattern}" for pattern in patterns if not re.search(pattern, text))


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
    found = [*find_faults(folder), *find_dead_links(folder), *find_unsaid(folder)]
    if chromium := shutil.which("chromium"):
        found += find_cuts(folder, chromium)
    else:
        sys.stderr.write("not checked: whether commands and tables are cut, since there is no chromium\n")
    sys.stderr.write("".join(f"{each}\n" for each in found))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
