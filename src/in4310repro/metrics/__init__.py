"""Metrics of a classifier, as pure functions of labels and scores, and the table of those that runs record.

`scores.Scores` holds the softmax scores of images; `table.METRICS` names each metric with its function and tolerance.
"""

from in4310repro.metrics.calibration import (
    CALIBRATION_BINS,
    CalibrationBin,
    Details,
    calibration_bins,
    details,
)
from in4310repro.metrics.counting import confusion_matrix
from in4310repro.metrics.counts import Counts
from in4310repro.metrics.intervals import NORMAL_QUANTILE, Interval, wilson
from in4310repro.metrics.measurement import average_precision, class_accuracy, class_metrics, ends, line, summary
from in4310repro.metrics.ranking import thresholds
from in4310repro.metrics.record import ClassMetrics
from in4310repro.metrics.table import (
    COUNTS,
    DEFAULT_SELECTION,
    MEANS,
    METRICS,
    PER_CLASS,
    RANKING,
    SCALARS,
    Metric,
    Tolerance,
    is_newer,
)

__all__ = [
    "CALIBRATION_BINS",
    "COUNTS",
    "DEFAULT_SELECTION",
    "MEANS",
    "METRICS",
    "NORMAL_QUANTILE",
    "PER_CLASS",
    "RANKING",
    "SCALARS",
    "CalibrationBin",
    "ClassMetrics",
    "Counts",
    "Details",
    "Interval",
    "Metric",
    "Tolerance",
    "average_precision",
    "calibration_bins",
    "class_accuracy",
    "class_metrics",
    "confusion_matrix",
    "details",
    "ends",
    "is_newer",
    "line",
    "summary",
    "thresholds",
    "wilson",
]
