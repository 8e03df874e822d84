"""Functions that all commands share: exit codes, output, progress display, and choice of the arithmetic mode."""

from __future__ import annotations

import codecs
import io
import os
import string
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer

from in4310repro.models.network import open_network
from in4310repro.system import launch, signals
from in4310repro.system.files import reason
from in4310repro.system.progress import SILENT, Progress, show_import, write_line
from in4310repro.system.text import visible

# rich, pydantic and torch are imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from in4310repro.runs.config import Config
    from in4310repro.system.context import Context
    from in4310repro.system.numerics import Numerics
    from in4310repro.system.processes import Processes

DIFFERENCE, WRONG_INPUT, INTERNAL, INTERRUPTED = 1, 2, 70, signals.INTERRUPTED
UNREAD = 141  # as of a process that SIGPIPE ends
# How standard output was lost, as an exit code and a line: the files of a command are written nevertheless.
lost: list[tuple[int, str]] = []


@dataclass(frozen=True)
class Output:
    """Output options of a command: quiet, JSON and progress display; errors are always printed."""

    quiet: bool = False  # nothing but a JSON document that was asked for, and no progress
    json: bool = False  # one JSON document in place of the lines
    progress: bool = True


OUTPUT: ContextVar[Output] = ContextVar("OUTPUT", default=Output())  # noqa: B039  # it is frozen


def choose_output(*, quiet: bool, json: bool) -> None:
    """Add output options to those already given, since they may come before and after the command's name."""
    before = OUTPUT.get()
    OUTPUT.set(replace(before, quiet=before.quiet or quiet, json=before.json or json))


def begin_output() -> None:
    """Forget what was lost before; if standard output was closed, let whatever prints there fail, libraries too."""
    lost.clear()
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")


def print_line(line: str) -> None:
    """Print one line on standard output, with invisible characters and line breaks escaped."""
    print_text(visible(line))


def print_text(text: str) -> None:
    """Print lines of text on standard output, with invisible characters escaped."""
    if not (OUTPUT.get().quiet or OUTPUT.get().json or launch.is_silent()):
        write_result("\n".join(map(visible, text.split("\n"))))


def print_error(message: str) -> None:
    """Print one line on standard error, prefixed by the program's name."""
    _write(sys.stderr, visible(f"in4310repro: {message}"))


def print_next(command: str) -> None:
    """Print the suggested next command on standard error, so that standard output contains only the result."""
    progress().message(f"next: {command}")


def refuse_unreadable_encodings() -> None:
    """Raise ValueError if the output's encoding is incompatible with ASCII, such as UTF-16.

    Lines in such an encoding would be unreadable on a terminal or in a log. Before the error is raised, both
    streams are set to UTF-8, so that its message is readable.
    """
    for stream in (sys.stdout, sys.stderr):
        encoding = getattr(stream, "encoding", None)
        if encoding and not _has_ascii(encoding):
            for each in (sys.stdout, sys.stderr):
                if isinstance(each, io.TextIOWrapper):
                    each.reconfigure(encoding="utf-8", errors="backslashreplace")
            named = os.environ.get("PYTHONIOENCODING", "")
            said = f"PYTHONIOENCODING is {named!r}" if named else f"the encoding of the output is {encoding}"
            raise ValueError(f"{said}, in which lines are no text beside ASCII; utf-8, latin-1 and the like are valid")


def _has_ascii(encoding: str) -> bool:
    letters = f"{string.ascii_letters}{string.digits} .,:/\n"
    try:
        return letters.encode(encoding).removeprefix(codecs.BOM_UTF8) == letters.encode("ascii")
    except UnicodeError:
        return False


def write_result(text: str) -> None:
    """Write lines on standard output. If that fails, note it in `lost` and go on."""
    if lost:
        return
    try:
        if not write_line(sys.stdout, text):
            lost.append((UNREAD, ""))
    except OSError as error:
        lost.append((WRONG_INPUT, f"standard output: {reason(error)}; what was to be printed there is lost"))


def _write(stream: TextIO | None, text: str) -> None:
    if stream is not None:
        write_line(stream, text)


def print_document(document: Any) -> None:
    """Print a command's result as a JSON document if `--json` was given."""
    if OUTPUT.get().json and not launch.is_silent():
        from in4310repro.system.files import json_bytes

        write_result(json_bytes(document).decode().rstrip("\n"))


def conclude(document: Any, code: int = 0) -> None:
    """Print a command's result as JSON if `--json` was given; exit if the exit code is not 0."""
    print_document(document)
    if code:
        raise typer.Exit(code)


def print_written(files: list[Path]) -> dict[str, list[str]]:
    """Print a line for each written file; return the JSON document with their names."""
    for file in files:
        print_line(f"wrote {file}")
    return {"wrote": [str(file) for file in files]}


def print_findings(text: str, content: Mapping[str, Any], out: Path | None, *, wrong: bool) -> None:
    """Print the result of a check, write it to `out` if given, and exit with code 1 if `wrong`."""
    from in4310repro.system.files import json_bytes, write_file

    print_text(text)
    if out:
        print_line(f"wrote {write_file(out, json_bytes(content))}")
    conclude(content, DIFFERENCE if wrong else 0)


def keep(file: Path, words: str) -> None:
    """Add `words` to the message of any later interrupt if `file` has been written since this call."""
    before = _identify(file)
    keep_if(lambda: _identify(file) != before, words)


def keep_if(something: Callable[[], bool], words: str) -> None:
    """Add `words` to the message of an interrupt that comes while `something()` is true."""
    signals.kept = lambda: words if something() else ""


def _identify(file: Path) -> tuple[int, int] | None:
    """Return a value that changes whenever the file is replaced by a new version; None if there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def progress() -> Progress:
    """Return a progress display on standard error. It shows nothing if output options turn it off."""
    if OUTPUT.get().quiet or not OUTPUT.get().progress or launch.is_silent():
        return SILENT
    from rich.console import Console

    return Progress(Console(stderr=True))


def load_torch() -> None:
    """Import torch and other slow libraries, and show that this takes a while; commands call it first."""
    with show_import(progress(), "torch"):
        # It sets what torch reads when it is imported.
        import torch  # noqa: F401

        from in4310repro.system import numerics  # noqa: F401


def activate_arithmetic(mode: str, device: str) -> Numerics:
    """Choose the arithmetic mode of this process, and show the mode's note if it has one."""
    from in4310repro.system.numerics import activate

    load_torch()
    numerics = activate(mode, device)
    if numerics.note:
        progress().message(numerics.note)
    return numerics


def context_of(numerics: Numerics, processes: Processes | None = None) -> Context:
    """Return the context of a command's computation, with a progress display on standard error."""
    from in4310repro.system.context import Context
    from in4310repro.system.processes import ALONE

    return Context(numerics, progress(), processes or ALONE)


def activate_for(config: Config) -> Numerics:
    """Choose and return the arithmetic mode for a training run.

    The mode `auto` becomes native if the network or an optimizer has no portable arithmetic.
    """
    numerics = activate_arithmetic(config.numerics, config.device)
    if config.numerics != "auto" or not numerics.portable:
        return numerics
    if reason := config.optimizer_obstacle():
        progress().message(f"native arithmetic, since {reason}")
        return activate_arithmetic("native", config.device)
    config.network.trust()
    if reason := config.network.obstacle(config.image_size):
        progress().message(f"native arithmetic, since {config.network.name} has no portable one: {reason}")
        return activate_arithmetic("native", config.device)
    return numerics


def trust_network(model: str | None, recorded: object) -> None:
    """Allow the user's own code to be used as a run's network if `model` names this network.

    Nothing is allowed if `model` is None.

    Raises:
        ValueError: `model` names a network that is not the recorded one.
    """
    if model is None:
        return
    if model != recorded:
        raise ValueError(f"--model {model} is not the network of the run; give --model {recorded}")
    open_network(model).trust()


def activate_as_recorded(fingerprint: Mapping[str, Any], mode: str | None, device: str | None) -> Numerics:
    """Choose and return the arithmetic mode and the device for checking or using a run.

    If `mode` is None, the recorded mode is used. If `device` is None, the device is the CPU for a run that was
    recorded on the CPU, and `auto` for any other run.
    """
    recorded_device = "cpu" if fingerprint["device"] == "cpu" else "auto"
    return activate_arithmetic(mode or fingerprint["numerics"], device or recorded_device)
