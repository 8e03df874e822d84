"""The numbers that the published report prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from typing import TypedDict

from in4310repro.metrics import ClassMetrics


class Original(TypedDict):
    """What `original.json` holds."""

    settings: dict[str, ClassMetrics]  # adamw, rmsprop, sgd on validation, and test
    classes: list[str]
    optimizers: list[str]
    chosen: str  # the selected optimizer
    non_positive_percent: dict[str, float]  # module -> percent of values <= 0


def has_its_classes(classes: Sequence[str]) -> bool:
    """Whether a run has the original's classes, without which its numbers stand beside none of the run's."""
    return list(classes) == original()["classes"]


def original() -> Original:
    """The numbers that the published report prints."""
    file = resources.files("in4310repro.report") / "original.json"
    printed: Original = json.loads(file.read_text(encoding="utf-8"))
    return printed
