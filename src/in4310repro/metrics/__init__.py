"""Metrics of a classifier, as pure functions of labels and scores, and the table of those that runs record.

`scores.Scores` holds the softmax scores of images; `table.METRICS` lists each metric, its function and tolerance.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from in4310repro.metrics.counts import Interval, mean_interval, score_interval, wilson
from in4310repro.metrics.table import MEANS, METRICS, PER_CLASS, SCALARS, Tolerance, is_newer

if TYPE_CHECKING:
    from in4310repro.metrics.calibration import Details, calibration_bins, details
    from in4310repro.metrics.measurement import (
        average_precision,
        class_accuracy,
        class_metrics,
        confusion_matrix,
        ends,
        line,
        summary,
    )
    from in4310repro.metrics.ranking import thresholds
    from in4310repro.metrics.record import ClassMetrics

__all__ = ["MEANS", "METRICS", "PER_CLASS", "SCALARS", "ClassMetrics", "Details", "Interval", "Tolerance"]
__all__ += [
    "average_precision",
    "calibration_bins",
    "class_accuracy",
    "class_metrics",
    "confusion_matrix",
    "details",
    "ends",
    "is_newer",
]
__all__ += ["line", "mean_interval", "score_interval", "summary", "thresholds", "wilson"]

# These load pydantic, and all but the first torch, which a configuration does not need.
_LATER = ("record", "ranking", "measurement", "calibration")


def __getattr__(name: str) -> object:
    """Return a public name, importing its submodule only when the name is used."""
    for module in _LATER if name in __all__ else ():
        if hasattr(found := import_module(f"{__name__}.{module}"), name):
            return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
