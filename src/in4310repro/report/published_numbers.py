"""The published numbers of the report that runs are compared with ("the original")."""

import json
from collections.abc import Sequence
from importlib import resources
from typing import TypedDict

from in4310repro.metrics import ClassMetrics


class Original(TypedDict):
    """Content of `original.json`: the numbers printed in the published report that runs are compared with."""

    settings: dict[str, ClassMetrics]  # adamw, rmsprop, sgd on validation, and test
    classes: list[str]
    optimizers: list[str]
    chosen: str  # the selected optimizer
    non_positive_percent: dict[str, float]  # module -> percent of values <= 0


def has_original_classes(classes: Sequence[str]) -> bool:
    """Return whether `classes` are those of the published report; only then can numbers be compared with it."""
    return list(classes) == original()["classes"]


def original() -> Original:
    """Return the numbers that the published report prints. Runs are compared with them."""
    file = resources.files("in4310repro.report") / "original.json"
    printed: Original = json.loads(file.read_text(encoding="utf-8"))
    return printed
