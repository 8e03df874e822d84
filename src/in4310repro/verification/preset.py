"""Check of the preset that the configuration names, and of the run's deviations from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace

from in4310repro.data.preprocessing import IGNORED
from in4310repro.runs import names
from in4310repro.runs.config import Config
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.presets import PRESETS
from in4310repro.system.text import did_you_mean
from in4310repro.verification.check import Finding, Note


def preset_findings(run: FinishedRun) -> Iterator[Finding]:
    """Yield a message if the preset does not exist, and notes on configuration values that differ from it."""
    place, named = run.folder / names.CONFIG, run.config.preset
    if named not in PRESETS:
        near = did_you_mean(named, PRESETS)
        yield f"{place}: preset is {named}; expected one of {', '.join(PRESETS)}{near}"
    if run.config.orientation == IGNORED and any((run.config.data, run.config.imagenet, run.config.cifar10)):
        yield Note(f"{place}: pictures were read without their EXIF orientation, as here")
    if preset := PRESETS.get(named):
        expected = replace(preset, orientation=run.config.orientation)
        changed = [
            each.name for each in fields(Config) if getattr(expected, each.name) != getattr(run.config, each.name)
        ]
        if changed:
            yield Note(f"{place} differs from preset {named} in {', '.join(changed)}")
