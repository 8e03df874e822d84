"""The commands and blocks of code that README, docs/ and its notebooks show."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = ("in4310repro", "nox", "python", "python3", "py", "pip", "pytest", "torchrun", "git", "source", ".venv")
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True)
class Page:
    """A page by its name, with its blocks of code as (language, text), and its other text."""

    name: str
    blocks: tuple[tuple[str, str], ...]
    text: str


def pages() -> list[Page]:
    """README, the guide for contributors and everything in docs/; a notebook's cells of code are run by its build."""
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page_of(name_of(file), file.read_text(encoding="utf-8")) for file in files] + [
        page_of(name_of(file), "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"))
        for file in sorted((ROOT / "docs").glob("*.ipynb"))
        for cells in [json.loads(file.read_text(encoding="utf-8"))["cells"]]
    ]


def name_of(file: Path) -> str:
    """The name of a page: its place in docs/, or beside it."""
    return file.relative_to(ROOT).as_posix().removeprefix("docs/")


def page_of(name: str, text: str) -> Page:
    """A page of Markdown."""
    return Page(name, tuple((lang, block) for lang, block in FENCE.findall(text)), FENCE.sub("", text))


def commands_of(page: Page) -> Iterator[str]:
    """Each command of a page: lines of blocks without a language, and words in backticks that are more than a name."""
    lines = [line for language, block in page.blocks if not language for line in block.splitlines()]
    # A sentence between backticks may quote a command; one that is to be typed begins with a program.
    spans = [span for span in INLINE.findall(page.text) if _program(span) in PROGRAMS]
    for line in (*lines, *spans):
        for part in re.split(r"\s+#\s", line)[0].split(" && "):
            if _program(part) in PROGRAMS and " " in part.strip():
                yield part.strip()


def _program(command: str) -> str:
    return re.split(r"[ /\\]", command.strip())[0]


def commands() -> dict[str, str]:
    """Every command, with the first page that shows it."""
    found: dict[str, str] = {}
    for page in pages():
        for command in commands_of(page):
            found.setdefault(command, page.name)
    return found
