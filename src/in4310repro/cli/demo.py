"""The command `demo`: train and report the demo; `--break` falsifies copies of its run to show what detects it."""

import contextlib
import contextvars
import io
import itertools
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from in4310repro.cli import console, no_run, options
from in4310repro.cli.console import DIFFERENCE, OUTPUT, conclude
from in4310repro.cli.options import Place, Text, argument, command, option
from in4310repro.cli.reports import DEFAULT_RUN, report
from in4310repro.cli.runs import verify
from in4310repro.cli.training import train
from in4310repro.runs import names
from in4310repro.runs.presets import PRESETS
from in4310repro.system.signals import temporary_folder
from in4310repro.system.text import visible

COPY = "copy"
FITS = "the manifest was rewritten to fit"
SHOWN_LINES = 2
LONGEST_LINE = 200  # characters
SHA256 = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")


@dataclass(frozen=True)
class Check:
    """A checking command, its output lines about a falsified run, and its exit code."""

    command: str
    lines: list[str]
    exit_code: int

    def shown(self) -> list[str]:
        """Return the first lines of the output, with long lines cut and hashes shortened."""
        short = [SHA256.sub(r"\1...", line) for line in self.lines[:SHOWN_LINES]]
        lines = [line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}..." for line in short]
        more = len(self.lines) - SHOWN_LINES
        return [*lines, f"... and {more} more line{'s' * (more > 1)}"] if more > 0 else lines

    @property
    def found(self) -> bool:
        """True if the command found a difference."""
        return self.exit_code == DIFFERENCE

    def verdict(self) -> str:
        """Return a text such as "exit code 1: found", which says whether the check found the change."""
        return f"exit code {self.exit_code}: {'found' if self.found else 'NOT FOUND'}"


@dataclass(frozen=True)
class Attempt:
    """A falsification of a run, and the results of the commands that check the run."""

    title: str
    changed: str
    checks: list[Check]

    @property
    def found(self) -> bool:
        """True if every checking command found a difference."""
        return all(check.found for check in self.checks)

    def report(self, number: int) -> str:
        """Return what was changed and, for each check, the command, its first lines and its exit code, as text."""
        lines = [f"{number}. {self.title}: {self.changed}"]
        for check in self.checks:
            lines += [f"   $ {check.command}", *(f"   | {line}" for line in check.shown()), f"   {check.verdict()}"]
        return "\n".join([*lines, ""])

    def panel(self, number: int) -> Any:
        """Return the same as a panel of rich, for a terminal."""
        from rich.panel import Panel
        from rich.text import Text

        text = Text().append(visible(self.changed), "yellow")
        for check in self.checks:
            text.append("\n\n$ ", "dim").append(visible(check.command), "bold")
            text.append("".join(f"\n{visible(line)}" for line in check.shown()))
            text.append(f"\n{check.verdict()}", "bold green" if check.found else "bold red")
        colour = "green" if self.found else "red"
        return Panel(text, title=f"{number}  {self.title}", title_align="left", border_style=colour, padding=(0, 1))


@command()
@argument(
    "run",
    "With --break: a finished run; default: runs/demo, or a tiny one that is trained for it.",
    required=False,
    check=options.check_run,
)
@option("--break falsify", "Falsify a copy of a run in three ways and show what finds each.", bool)
@options.DATA
def demo(run: Place, falsify: bool, data: Text) -> None:
    """Train and report the demo; with --break, falsify a copy of its run and show which check finds each change.

    Examples:
        in4310repro demo               # runs/demo and reports/demo
        in4310repro demo --break       # in under a minute; exit code 0 if every change was found, 1 if one was not
        in4310repro demo --break runs/mine
    """
    is_finished = (DEFAULT_RUN / names.METRICS).is_file()
    if not falsify:
        output = frozenset({console.QUIET} if OUTPUT.get() else ())
        for each in (report,) if is_finished else (train, report):
            _call(output, each)
        conclude({"run": DEFAULT_RUN.as_posix(), "report": f"reports/{DEFAULT_RUN.name}"})
        console.print_next("in4310repro demo --break")
        return
    console.load_torch()
    from in4310repro.runs.folder import unchanged
    from in4310repro.training import experiment

    name = f"{run or DEFAULT_RUN}"
    with temporary_folder() as folder:
        original = run or DEFAULT_RUN
        if not run and not is_finished:
            name = "a tiny run, trained for this"
            context = console.activate("auto", "cpu")
            original = experiment.train(PRESETS["tiny"], folder / "tiny", context=context).folder
        with unchanged(original):
            attempts = list(_attempts(original, folder, data))
    found = sum(each.found for each in attempts)
    summary = f"{found} of {len(attempts)} changes of a copy of {name} were found; the run itself is as it was"
    # Nothing is printed if an output option such as `--quiet` or `--json` is given.
    if not OUTPUT.get():
        from rich.console import Console
        from rich.text import Text

        screen = Console()
        if screen.is_terminal:
            for number, each in enumerate(attempts, start=1):
                screen.print(each.panel(number))
            screen.print(Text(visible(summary), "bold"))
        else:
            console.print_text("\n".join([*map(Attempt.report, attempts, itertools.count(1)), summary]))
    results = [asdict(each) | {"found": each.found} for each in attempts]
    conclude({"run": name, "changes": results}, 0 if found == len(attempts) else DIFFERENCE)


def _call(output: frozenset[str], each: Callable[..., Any], **given: Any) -> None:
    """Call a command with its defaults for what is not given, and with other options of the output."""

    def call() -> None:
        OUTPUT.set(output)
        click.get_current_context().invoke(each, **given)

    contextvars.copy_context().run(call)


def _attempts(original: Path, folder: Path, data: Text) -> Iterator[Attempt]:
    """Falsify a copy of a run in several ways; yield each attempt together with the results of its checks.

    `verify` is always run. `audit` and `data check` are run only if the change affects their input. Each change is
    made in the run as it was.
    """
    from in4310repro.runs.finished import FinishedRun, image_root
    from in4310repro.verification import tampering

    config = FinishedRun.open(original).config
    split, printed = folder / COPY / names.SPLIT, folder / "printed.md"
    with console.progress().task("falsifying and checking", len(tampering.CHANGES)) as advance:
        for title, make in tampering.CHANGES.items():
            copy = tampering.copy_run(original, folder / COPY)
            change = make(copy)
            found = [_check(folder, f"verify {COPY}", "difference: ", verify, run=copy.folder, data=data)]
            if names.METRICS in change.files:
                printed.write_text(tampering.printed_accuracies(copy), encoding="utf-8", newline="\n")
                found.append(_check(folder, f"audit {printed.name}", "Impossible (", no_run.audit, files=[printed]))
            if names.SPLIT in change.files:
                words = f"data check {data or config.data or 'scenes'} --split {COPY}/{names.SPLIT}"
                images, first = image_root(config, data), "differences from the split"
                found.append(_check(folder, words, first, no_run.check, folder=images, split=split))
            yield Attempt(title, f"{change.sentence}; {FITS}", found)
            advance(1, "")


def _check(place: Path, words: str, first: str, each: Callable[..., Any], **given: Any) -> Check:
    """Run a command, and return its lines from the one with the text `first` on, in which `place` has no name."""
    printed, code = io.StringIO(), 0
    with contextlib.redirect_stdout(printed):
        try:
            _call(frozenset({console.WITHOUT_PROGRESS}), each, **given)
        except click.exceptions.Exit as stop:
            code = stop.exit_code
    said = [line.replace(f"{place}{os.sep}", "") for line in printed.getvalue().splitlines() if line]
    beginning = next((number for number, line in enumerate(said) if first in line), 0)
    return Check(f"in4310repro {words}", said[beginning:], code)
