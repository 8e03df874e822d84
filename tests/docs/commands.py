"""The commands and code blocks in README, docs/ and its notebooks."""

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
    name: str
    blocks: tuple[tuple[str, str], ...]
    text: str


def list_pages() -> list[Page]:
    """Return README, CONTRIBUTING, the pages of docs/ and the Markdown cells of its notebooks."""
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [parse_page(name_page(file), file.read_text(encoding="utf-8")) for file in files] + [
        parse_page(
            name_page(file), "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        )
        for file in sorted((ROOT / "docs").glob("*.ipynb"))
        for cells in [json.loads(file.read_text(encoding="utf-8"))["cells"]]
    ]


def name_page(file: Path) -> str:
    """Return the name of a page: its path in docs/, or in the repository if it lies outside docs/."""
    return file.relative_to(ROOT).as_posix().removeprefix("docs/")


def parse_page(name: str, text: str) -> Page:
    return Page(name, tuple((lang, block) for lang, block in FENCE.findall(text)), FENCE.sub("", text))


def find_commands(page: Page) -> Iterator[str]:
    """Yield the commands on a page, from code spans and code blocks that call a known program with arguments."""
    lines = [line for language, block in page.blocks if not language for line in block.splitlines()]
    # A sentence between backticks may quote a command; one that is to be typed begins with a program.
    spans = [span for span in INLINE.findall(page.text) if _program(span) in PROGRAMS]
    for line in (*lines, *spans):
        for part in re.split(r"\s+#\s", line)[0].split(" && "):
            if _program(part) in PROGRAMS and " " in part.strip():
                yield part.strip()


def _program(command: str) -> str:
    return re.split(r"[ /\\]", command.strip())[0]


def list_commands() -> dict[str, str]:
    """Return every command, with the first page that shows it."""
    found: dict[str, str] = {}
    for page in list_pages():
        for command in find_commands(page):
            found.setdefault(command, page.name)
    return found
