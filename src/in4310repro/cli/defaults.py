"""Choice of the preset if the user names none; for the user's images it depends on the installed packages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from in4310repro.models.network import HEAD
from in4310repro.runs import deviations
from in4310repro.runs.config import read_toml
from in4310repro.runs.presets import HEAD_PRESET, PRESETS
from in4310repro.system import machine

DRAWN = "demo"
# What a file of settings or an option can ask for that the fit of a head has not.
ONLY_TRAINED = ("settings", "modules", "optimizer", "learning_rate", "keep_epochs", "log_steps")


@dataclass(frozen=True)
class Choice:
    """A preset, and a line that explains why it was chosen; the line is empty if the user named the preset."""

    preset: str
    reason: str = ""


def choose_preset(
    named: str | None, file: Path | None, overrides: Mapping[str, Any], asked: Mapping[str, Any]
) -> Choice:
    """Return the preset from which a training starts: the named one, or a default that fits the options.

    Args:
        named: the value of `--preset`.
        file: the value of `--config`.
        overrides: configuration options given on the command line.
        asked: the command's remaining options, by name; None and False count as not given.

    Raises:
        ValueError: the file is not a TOML file of configuration options.
    """
    if named is not None:
        return Choice(named)
    given = {**(read_toml(file) if file else {}), **overrides}
    data = given.get("data")
    if not data or {"model", "weights"} & given.keys():
        return Choice(DRAWN)
    wanted = {**given, **{name: value for name, value in asked.items() if value}}
    if given.get("train", HEAD) == HEAD and (reason := _list_unfit_options(wanted)):
        said = f"{reason} has networks trained, here from scratch; --preset photographs starts from ImageNet weights"
        return Choice(DRAWN, said)
    if machine.has_weights():
        said = f"preset {HEAD_PRESET}: ImageNet weights, of which the last layer is fitted to {data}"
        return Choice(HEAD_PRESET, f"{said}; --preset {DRAWN} trains networks from scratch")
    command = machine.install_command(machine.EFFICIENTNET)
    return Choice(DRAWN, f"networks are trained from scratch; with {command} the same command has ImageNet weights")


def recorded_preset(run: Path) -> str | None:
    """Return the preset in the configuration of a run; None if the configuration is missing or unreadable."""
    from in4310repro.runs import names
    from in4310repro.system.files import read_json

    try:
        preset = read_json(run / names.CONFIG)["preset"]
    except (ValueError, OSError, KeyError, TypeError):
        return None
    return preset if isinstance(preset, str) and preset in PRESETS else None


def _list_unfit_options(wanted: Mapping[str, Any]) -> str:
    """Return the first requested option that does not apply to a fit of the last layer; empty if none."""
    for name in ONLY_TRAINED:
        if name in wanted:
            return name if name in ("settings", "modules") else f"--{name.replace('_', '-')}"
    try:
        protocol = deviations.parse(wanted.get("protocol", deviations.CORRECTED))
    except (ValueError, TypeError):
        # Whatever the preset is, the configuration says what is wrong with it.
        return ""
    unfit = protocol.names_unfit_for_heads
    return f"protocol {unfit[0]}" if unfit else ""
