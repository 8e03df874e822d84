"""The command `demo`: train and report the demo; `--break` falsifies copies of its run to show what detects it."""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from in4310repro.cli import before
from in4310repro.cli.checks import audit
from in4310repro.cli.checks import check as data_check
from in4310repro.cli.console import (
    DIFFERENCE,
    OUTPUT,
    Output,
    activate_arithmetic,
    conclude,
    context_of,
    load_torch,
    print_line,
    print_next,
    print_text,
    progress,
)
from in4310repro.cli.options import Data
from in4310repro.cli.reports import report
from in4310repro.cli.runs import verify
from in4310repro.cli.training import train
from in4310repro.system.signals import temporary_folder
from in4310repro.system.text import visible

# rich is imported where it draws.
if TYPE_CHECKING:
    from rich.console import Console
    from rich.panel import Panel
    from rich.text import Text

    from in4310repro.runs.folder import RunFolder
    from in4310repro.verification.tampering import Change

RUN = Path("runs/demo")
COPY = "copy"
FITS = "the manifest was rewritten to fit"
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
        """Return a text such as "exit code 1: found", which says whether the check found the change."""
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
    """Yield a report on the attempts to falsify a run, as lines of text.

    For each attempt, the lines state what was changed and, for each check, the command, the first lines of
    its output and its exit code; an empty line follows.
    """
    for number, attempt in enumerate(attempts, start=1):
        yield f"{number}. {attempt.title}: {attempt.changed}"
        for check in attempt.checks:
            yield f"   $ {check.command}"
            yield from (f"   | {line}" for line in check.shown())
            yield f"   {check.verdict()}"
        yield ""


def show(console: Console, attempts: Sequence[Attempt], summary: str) -> None:
    """Print to the console a panel for each attempt to falsify a run, then the summary."""
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
    """Return rich text that consists of (text, style) pairs, without interpreting markup."""
    from rich.text import Text

    return Text.assemble(*((_shown(part), style) for part, style in parts))


def _shown(text: str) -> str:
    return "\n".join(map(visible, text.split("\n")))


def demo(
    run: Annotated[
        Path | None,
        typer.Argument(help="With --break: a finished run; default: runs/demo, or a tiny one that is trained for it."),
        before.RUN,
    ] = None,
    falsify: Annotated[
        bool, typer.Option("--break", help="Falsify a copy of a run in three ways and show what finds each.")
    ] = False,
    data: Data = None,
    svg: Annotated[Path | None, typer.Option(help="A picture of what --break prints.", hidden=True)] = None,
) -> None:
    """Train and report the demo; with --break, falsify a copy of its run and show which check finds each change.

    Examples:
        in4310repro demo               # runs/demo and reports/demo, in two minutes
        in4310repro demo --break       # in under a minute; exit code 0 if every change was found, 1 if one was not
        in4310repro demo --break runs/mine
    """
    if not falsify:
        _train_and_report()
        return
    load_torch()
    from in4310repro.runs.folder import unchanged

    with temporary_folder() as folder:
        original = run or (RUN if _is_finished(RUN) else _train_tiny(folder))
        with unchanged(original):
            attempts = list(_attempts(original, folder, data))
    name = f"{run or RUN}" if original in (run, RUN) else "a tiny run, trained for this"
    found = sum(each.found for each in attempts)
    summary = f"{found} of {len(attempts)} changes of a copy of {name} were found; the run itself is as it was"
    _show(attempts, summary, svg)
    results = [asdict(each) | {"found": each.found} for each in attempts]
    conclude({"run": name, "changes": results}, 0 if found == len(attempts) else DIFFERENCE)


def _train_and_report() -> None:
    inner = Output(quiet=OUTPUT.get() != Output())
    if not _is_finished(RUN):
        _call(inner, train)
    _call(inner, report)
    conclude({"run": RUN.as_posix(), "report": f"reports/{RUN.name}"})
    print_next("in4310repro demo --break")


def _is_finished(folder: Path) -> bool:
    from in4310repro.runs import names

    return (folder / names.METRICS).is_file()


def _train_tiny(folder: Path) -> Path:
    from in4310repro.runs.presets import PRESETS
    from in4310repro.training import experiment

    numerics = activate_arithmetic("auto", "cpu")
    return experiment.train(PRESETS["tiny"], context_of(numerics), folder / "tiny").folder


def _call(output: Output, command: Callable[[], object]) -> None:
    def call() -> None:
        OUTPUT.set(output)
        command()

    contextvars.copy_context().run(call)


def _attempts(original: Path, folder: Path, data: str | None) -> Iterator[Attempt]:
    """Falsify a copy of a run in several ways; yield each attempt together with the results of its checks.

    Each change is undone before the next attempt.
    """
    from in4310repro.runs.finished import FinishedRun, image_root
    from in4310repro.verification import tampering

    config = FinishedRun.open(original).config
    copy = tampering.copy_run(original, folder / COPY)
    laboratory = _Laboratory(folder, copy, image_root(config, data), data, data or config.data or "scenes")
    with progress().task("falsifying and checking", len(tampering.CHANGES)) as advance:
        for title, make in tampering.CHANGES.items():
            change = make(copy)
            yield Attempt(title, f"{change.sentence}; {FITS}", list(_checks(change, laboratory)))
            tampering.undo(change, original, copy)
            advance(1, "")


@dataclass(frozen=True)
class _Laboratory:
    """Folder in which a copy of the run is falsified, and the folder of the run's images."""

    folder: Path
    copy: RunFolder
    images: Path
    data: str | None  # as it was given
    place: str  # of the images, as it is shown


def _checks(change: Change, at: _Laboratory) -> Iterator[Check]:
    """Run the checks that can find a change, and yield their results.

    `verify` is always run. `audit` and `data check` are run only if the change affects their input.
    """
    from in4310repro.runs import names
    from in4310repro.verification.tampering import printed_accuracies

    def check_of(words: str, command: Callable[[], object], first: str) -> Check:
        printed, code = _called(command)
        lines = [line.replace(f"{at.folder}{os.sep}", "") for line in printed.splitlines() if line]
        beginning = next((number for number, line in enumerate(lines) if first in line), 0)
        return Check(f"in4310repro {words}", lines[beginning:], code)

    yield check_of(f"verify {COPY}", lambda: verify(at.copy.folder, data=at.data), "difference: ")
    if names.METRICS in change.files:
        printed = at.folder / "printed.md"
        printed.write_text(printed_accuracies(at.copy), encoding="utf-8", newline="\n")
        yield check_of(f"audit {printed.name}", lambda: audit([printed]), "Impossible (")
    if names.SPLIT in change.files:
        words = f"data check {at.place} --split {COPY}/{names.SPLIT}"
        split = at.copy.folder / names.SPLIT
        yield check_of(words, lambda: data_check(at.images, split), "differences from the split")


def _called(command: Callable[[], object]) -> tuple[str, int]:
    """Call a command's function; return its standard output and its exit code."""
    printed, code = io.StringIO(), 0
    with contextlib.redirect_stdout(printed):
        try:
            _call(Output(progress=False), command)
        except typer.Exit as stop:
            code = stop.exit_code
    return printed.getvalue(), code


def _show(attempts: list[Attempt], summary: str, svg: Path | None) -> None:
    """Print the attempts to falsify a run: as panels on a terminal, otherwise as lines of text.

    Nothing is printed if an output option such as `--quiet` or `--json` is given. If `svg` is given, also
    write the panels to this file.
    """
    from rich.console import Console

    from in4310repro.system.files import write_file

    if OUTPUT.get() == Output():
        if (console := Console()).is_terminal:
            show(console, attempts, summary)
        else:
            print_text("\n".join([*lines(attempts), summary]))
    if svg:
        print_line(f"wrote {write_file(svg, picture(attempts, summary).encode())}")
