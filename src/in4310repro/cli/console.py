"""What every command shares: exit codes, printed lines, progress, and the arithmetic of the process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from in4310repro import signals
from in4310repro.config import Config
from in4310repro.numerics import Numerics, activate
from in4310repro.progress import Progress, print_plain
from in4310repro.text import visible

DIFFERENCE, WRONG_INPUT, INTERNAL, INTERRUPTED = 1, 2, 70, signals.INTERRUPTED


def print_line(line: str) -> None:
    """One line on standard output; what cannot be seen in it, a break of the line too, is shown as an escape."""
    print_plain(Console(), visible(line))


def print_text(text: str) -> None:
    """Lines on standard output, each as `print_line` prints one."""
    print_plain(Console(), "\n".join(map(visible, text.split("\n"))))


def print_error(message: str) -> None:
    """One line on standard error, with the name of the program before it."""
    print_plain(Console(stderr=True), visible(f"in4310repro: {message}"))


def print_findings(text: str, content: Mapping[str, Any], out: Path | None, *, wrong: bool) -> None:
    """Prints the result of a check, and writes it where asked; ends with exit code 1 where something is wrong."""
    from in4310repro.files import json_bytes, write_file

    print_text(text)
    if out:
        print_line(f"wrote {write_file(out, json_bytes(content))}")
    if wrong:
        raise typer.Exit(DIFFERENCE)


def progress() -> Progress:
    """Progress on standard error."""
    return Progress(Console(stderr=True))


def activate_arithmetic(mode: str, device: str) -> Numerics:
    """Sets the arithmetic of this process; a note, such as why portable is not reached, is printed."""
    numerics = activate(mode, device)
    if numerics.note:
        progress().message(numerics.note)
    return numerics


def activate_for(config: Config) -> Numerics:
    """The arithmetic of a training: where it may be chosen and the network has no portable arithmetic, native."""
    numerics = activate_arithmetic(config.numerics, config.device)
    if config.numerics != "auto" or not numerics.portable:
        return numerics
    from in4310repro import architectures

    architectures.trust(config.model)
    if reason := architectures.obstacle(config.model, config.image_size):
        progress().message(f"native arithmetic, since {config.model} has no portable one: {reason}")
        return activate_arithmetic("native", config.device)
    return numerics


def trust_network(model: str | None, recorded: object) -> None:
    """Allows a run's network to be code of the user's own, who has named it.

    Raises:
        ValueError: the run has another one.
    """
    if model is None:
        return
    if model != recorded:
        raise ValueError(f"--model {model}, and the run has the network {recorded}")
    from in4310repro import architectures

    architectures.trust(model)


def activate_as_recorded(fingerprint: Mapping[str, Any], mode: str | None, device: str | None) -> Numerics:
    """The arithmetic that a run was made with, unless another is asked for."""
    recorded_device = "cpu" if fingerprint["device"] == "cpu" else "auto"
    return activate_arithmetic(mode or fingerprint["numerics"], device or recorded_device)
