"""Type of the record of metrics in the JSON files of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NotRequired

from typing_extensions import TypedDict

from in4310repro.metrics.table import METRICS, Metric
from in4310repro.system.schema import Share

if TYPE_CHECKING:

    class ClassMetrics(TypedDict):
        """Dict of metrics by name; only the keys that the code accesses are declared, and `METRICS` lists all."""

        class_accuracy: list[Share]
        average_precision: list[Share]
        mean_class_accuracy: Share
        mean_average_precision: Share

else:

    def _field(metric: Metric) -> Any:
        value = list[Share] if metric.per_class else Share
        return value if metric.in_every_run else NotRequired[value]

    ClassMetrics = TypedDict("ClassMetrics", {name: _field(each) for name, each in METRICS.items()})
