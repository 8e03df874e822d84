"""Type of the record of metrics in the JSON files of a run."""

import math
from typing import TYPE_CHECKING, Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from in4310repro.metrics.table import METRICS, Metric

if TYPE_CHECKING:
    from in4310repro.system.schema import Share

    class ClassMetrics(TypedDict):
        """Dict of metrics by name; only the keys that the code accesses are declared, and `METRICS` lists all."""

        class_accuracy: list[Share]
        average_precision: list[Share]
        mean_class_accuracy: Share
        mean_average_precision: Share

else:

    def _field(metric: Metric) -> Any:
        ends = {"ge": metric.lowest, "le": metric.highest}
        number = Annotated[float, Field(**{name: end for name, end in ends.items() if math.isfinite(end)})]
        value = list[number] if metric.per_class else number
        return value if metric.in_every_run else NotRequired[value]

    ClassMetrics = TypedDict("ClassMetrics", {name: _field(each) for name, each in METRICS.items()})
