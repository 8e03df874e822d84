"""The numbers that the published report prints."""

from __future__ import annotations

import json
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


def original() -> Original:
    """The numbers that the published report prints."""
    printed: Original = json.loads(resources.files("in4310repro.report").joinpath("original.json").read_text())
    return printed
