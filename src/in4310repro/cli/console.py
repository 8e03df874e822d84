"""Functions that all commands share: exit codes, output, progress display, and choice of the arithmetic mode."""

from __future__ import annotations

import codecs
import io
import os
import string
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click.exceptions import Exit

from in4310repro.models.sources import trust_network
from in4310repro.system import launch, signals
from in4310repro.system.files import reason
from in4310repro.system.progress import SILENT, Progress, show_import, write_line
from in4310repro.system.text import visible

# rich, pydantic and torch are imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from in4310repro.runs.config import Config
    from in4310repro.runs.finished import FinishedRun
    from in4310repro.system.context import Context
    from in4310repro.system.processes import Processes

DIFFERENCE, WRONG_INPUT, INTERNAL, INTERRUPTED = 1, 2, 70, signals.INTERRUPTED
UNREAD = 141  # as of a process that SIGPIPE ends
# How standard output was lost, as an exit code and a line: the files of a command are written nevertheless.
lost: list[tuple[int, str]] = []
# Options of the output: nothing but a JSON document that was asked for, and no progress; one JSON document in place of
# the lines; lines without progress. Errors are always printed.
QUIET, JSON, WITHOUT_PROGRESS = "quiet", "json", "without progress"
OUTPUT: ContextVar[frozenset[str]] = ContextVar("OUTPUT", default=frozenset())


def begin_output() -> None:
    """Forget what was lost before; if standard output was closed, let whatever prints there fail, libraries too.

    Raises:
        ValueError: the output's encoding is incompatible with ASCII, such as UTF-16, so that lines in it would be
            unreadable on a terminal or in a log. Both streams are set to UTF-8 before, for the message.
    """
    lost.clear()
    OUTPUT.set(frozenset())
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    streams, letters = (sys.stdout, sys.stderr), f"{string.ascii_letters}{string.digits} .,:/\n"
    for encoding in filter(None, (getattr(stream, "encoding", None) for stream in streams)):
        if letters.encode(encoding, "replace").removeprefix(codecs.BOM_UTF8) != letters.encode():
            for each in streams:
                if isinstance(each, io.TextIOWrapper):
                    each.reconfigure(encoding="utf-8", errors="backslashreplace")
            named = os.environ.get("PYTHONIOENCODING", "")
            said = f"PYTHONIOENCODING is {named!r}" if named else f"the encoding of the output is {encoding}"
            raise ValueError(f"{said}, which does not contain ASCII; it must be utf-8, latin-1 or the like")


def print_line(*lines: str) -> None:
    """Print lines on standard output, each with invisible characters and line breaks escaped."""
    for line in lines:
        print_text(visible(line))


def print_text(text: str) -> None:
    """Print lines of text on standard output, with invisible characters escaped."""
    if not ({QUIET, JSON} & OUTPUT.get() or launch.is_silent()):
        write_result("\n".join(map(visible, text.split("\n"))))


def print_error(message: str) -> None:
    """Print one line on standard error, prefixed by the program's name."""
    if sys.stderr is not None:
        write_line(sys.stderr, visible(f"in4310repro: {message}"))


def print_next(command: str) -> None:
    """Print the suggested next command on standard error, so that standard output contains only the result."""
    progress().message(f"next: {command}")


def write_result(text: str) -> None:
    """Write lines on standard output. If that fails, note it in `lost` and go on."""
    if lost:
        return
    try:
        if not write_line(sys.stdout, text):
            lost.append((UNREAD, ""))
    except OSError as error:
        lost.append((WRONG_INPUT, f"standard output: {reason(error)}; what was to be printed there is lost"))


def conclude(document: Any, code: int = 0) -> None:
    """Print a command's result as a JSON document if `--json` was given; exit if the exit code is not 0."""
    if JSON in OUTPUT.get() and not launch.is_silent():
        from in4310repro.system.files import json_bytes

        write_result(json_bytes(document).decode().rstrip("\n"))
    if code:
        raise Exit(code)


def print_written(files: list[Path]) -> dict[str, list[str]]:
    """Print a line for each written file; return the JSON document with their names."""
    print_line(*(f"wrote {file}" for file in files))
    return {"wrote": [f"{file}" for file in files]}


def keep_if(something: Callable[[], bool], words: str) -> None:
    """Add `words` to the message of an interrupt that comes while `something()` is true."""
    signals.kept = lambda: words if something() else ""


def progress() -> Progress:
    """Return a progress display on standard error. It shows nothing if output options turn it off."""
    if {QUIET, WITHOUT_PROGRESS} & OUTPUT.get() or launch.is_silent():
        return SILENT
    from rich.console import Console

    return Progress(Console(stderr=True))


def load_torch() -> None:
    """Import torch and other slow libraries, and show that this takes a while; commands call it first."""
    with show_import(progress(), "torch"):
        # It sets what torch reads when it is imported.
        import torch  # noqa: F401

        from in4310repro.system import numerics  # noqa: F401


def activate(mode: str, device: str, processes: Processes | None = None) -> Context:
    """Choose the arithmetic mode and show its note if it has one; return the context of a command's computation."""
    load_torch()
    from in4310repro.system import context, numerics
    from in4310repro.system.processes import ALONE

    active = numerics.activate(mode, device)
    if active.note:
        progress().message(active.note)
    return context.Context(active, progress(), processes or ALONE)


def activate_for(config: Config) -> Context:
    """Choose the arithmetic mode for a training run and return its context.

    The mode `auto` becomes native if the network or an optimizer has no portable arithmetic.
    """
    context = activate(config.numerics, config.device)
    if config.numerics == "auto" and context.numerics.portable:
        if not (obstacle := config.optimizer_obstacle()):
            config.network.trust()
            from in4310repro.models import modules

            if obstacle := modules.obstacle(config.network, config.image_size):
                obstacle = f"{config.network.name} has no portable one: {obstacle}"
        if obstacle:
            progress().message(f"native arithmetic, since {obstacle}")
            return activate("native", config.device)
    return context


def activate_as_recorded(
    fingerprint: Mapping[str, Any], mode: str | None, device: str | None, processes: Processes | None = None
) -> Context:
    """Choose the arithmetic mode and the device for checking or using a run, and return the context.

    If `mode` is None, the recorded mode is used. If `device` is None, the device is the CPU for a run that was
    recorded on the CPU, and `auto` for any other run.
    """
    recorded = "cpu" if fingerprint["device"] == "cpu" else "auto"
    return activate(mode or fingerprint["numerics"], device or recorded, processes)


@contextmanager
def opened(
    run: Path, model: str | None, numerics: str | None, device: str | None
) -> Iterator[tuple[FinishedRun, Context]]:
    """Open a run together with the command's other processes; yield it with the context of its computation.

    Args:
        run: the folder of a finished run.
        model: the network that is allowed to run, see `trust_network`.
        numerics: the arithmetic mode, see `activate_as_recorded`.
        device: the device, as well.
    """
    load_torch()
    from in4310repro.runs import finished
    from in4310repro.system import processes

    with processes.join("cpu") as joined, finished.open_run(run, joined) as opened:
        trust_network(model, opened.config.model)
        yield opened, activate_as_recorded(opened.fingerprint, numerics, device, joined)
