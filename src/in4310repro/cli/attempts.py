"""Display of falsifications of a run and of the checks that found them: as lines, terminal panels or SVG."""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from in4310repro.system.text import visible

# rich is imported where it draws.
if TYPE_CHECKING:
    from rich.console import Console
    from rich.panel import Panel
    from rich.text import Text

DIFFERENCE = 1
SHOWN_LINES = 2
LONGEST_LINE = 200  # characters
WIDTH = 112  # of the picture, columns
SHA256 = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
# Fonts that a page would load from elsewhere.
FONT_FACE = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)
COMMENT = re.compile(r"\s*<!--.*?-->", re.DOTALL)


@dataclass(frozen=True)
class Check:
    """A checking command, its output lines about a falsified run, and its exit code."""

    command: str
    lines: list[str]
    exit_code: int

    def shown(self) -> list[str]:
        """Return the first lines of the output, with long lines cut and hashes shortened."""
        short = [SHA256.sub(r"\1...", line) for line in self.lines]
        lines = [line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}..." for line in short]
        more = len(lines) - SHOWN_LINES
        return lines[:SHOWN_LINES] + ([f"... and {more} more line{'s' * (more > 1)}"] if more > 0 else [])

    def verdict(self) -> str:
        """Return a text with the exit code that says whether the change was found."""
        return f"exit code {self.exit_code}: {'found' if self.exit_code == DIFFERENCE else 'NOT FOUND'}"


@dataclass(frozen=True)
class Attempt:
    """A falsification of a run, and the results of the commands that check the run."""

    title: str
    changed: str
    checks: list[Check]

    @property
    def found(self) -> bool:
        """True if every checking command found a difference."""
        return bool(self.checks) and all(check.exit_code == DIFFERENCE for check in self.checks)


def lines(attempts: Sequence[Attempt]) -> Iterator[str]:
    """Yield the falsifications and the results of their checks as lines of text, with an empty line after each."""
    for number, attempt in enumerate(attempts, start=1):
        yield f"{number}. {attempt.title}: {attempt.changed}"
        for check in attempt.checks:
            yield f"   $ {check.command}"
            yield from (f"   | {line}" for line in check.shown())
            yield f"   {check.verdict()}"
        yield ""


def show(console: Console, attempts: Sequence[Attempt], summary: str) -> None:
    """Print one panel for each falsification on a terminal, then the summary."""
    for number, attempt in enumerate(attempts, start=1):
        console.print(_panel(number, attempt))
    console.print(_text((summary, "bold")))


def picture(attempts: Sequence[Attempt], summary: str) -> str:
    """Return the panels and the summary as a self-contained SVG, without an embedded font."""
    from rich.console import Console

    screen: dict[str, Any] = {"force_terminal": True, "color_system": "truecolor", "legacy_windows": False}
    console = Console(record=True, width=WIDTH, file=io.StringIO(), **screen)
    show(console, attempts, summary)
    template = inspect.signature(console.export_svg).parameters["code_format"].default
    template = COMMENT.sub("", FONT_FACE.sub("", template))
    return console.export_svg(title="in4310repro demo --break", code_format=template, unique_id="break")


def _panel(number: int, attempt: Attempt) -> Panel:
    from rich.panel import Panel

    parts = [(attempt.changed, "yellow")]
    for check in attempt.checks:
        parts += [("\n\n$ ", "dim"), (check.command, "bold"), *((f"\n{line}", "") for line in check.shown())]
        parts += [(f"\n{check.verdict()}", "bold green" if check.exit_code == DIFFERENCE else "bold red")]
    colour = "green" if attempt.found else "red"
    title = f"{number}  {attempt.title}"
    return Panel(_text(*parts), title=title, title_align="left", border_style=colour, padding=(0, 1))


def _text(*parts: tuple[str, str]) -> Text:
    """Return text made of pairs of a part and its style, without interpreting markup."""
    from rich.text import Text

    return Text.assemble(*((_shown(part), style) for part, style in parts))


def _shown(text: str) -> str:
    return "\n".join(map(visible, text.split("\n")))
