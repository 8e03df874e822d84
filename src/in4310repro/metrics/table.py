"""Table `METRICS` of every metric that runs record, with its name, its function and its tolerance."""

import enum
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from in4310repro.metrics.counts import accuracy, macro_f1, recall

# What a metric that is not a mean of another one reads: counts of each class; scores, or values that rank images;
# and scores alone, as a `ranking.Ranking` too.
COUNTS, RANKING, SCORES = "counts", "ranking", "scores"


class Tolerance(enum.Enum):
    """Largest allowed difference of a metric between scores from different processors or libraries."""

    NONE = "equal"  # it depends on the predicted classes alone
    ORDER = "as far as close scores leave the order of images open"
    SCORES = "as far as close scores leave it open"


@dataclass(frozen=True)
class Metric:
    """A metric that runs record: a number, or one per class.

    One that reads `RANKING` or `SCORES` gets no worse if scores of own classes rise and all others fall.
    """

    name: str  # the key in records
    function: Callable[[Any], Any]  # returns a float, or a list of one for each class
    reads: str  # the argument of the function: COUNTS, RANKING, SCORES, or the name of a metric of each class above
    label: str  # in a sentence
    heading: str  # of a column or row
    tolerance: Tolerance
    lowest: float = 0.0
    highest: float = 1.0  # infinity, where there is none
    per_class: bool = False
    higher_is_better: bool = True
    follows_counts: bool = True  # if it reads counts: no worse with more correct images or fewer of others
    is_share: bool = False  # a share of counted images, with Wilson's interval; others: `report.uncertainty`
    in_every_run: bool = False  # older runs lack the others

    @property
    def title(self) -> str:
        """The metric's label with a capital first letter."""
        return self.label[0].upper() + self.label[1:]


def mean(values: Sequence[float]) -> float:
    """Return the unweighted mean over classes; the sum is rounded only once."""
    return math.fsum(values) / len(values)


def average_precisions(ranking: Any) -> list[float]:
    """Return the average precision of each class.

    The module `metrics.ranking` is imported only when this function is called, since it loads torch.
    """
    from in4310repro.metrics import ranking as ranks

    return ranks.average_precisions(ranking)


EXACT, ORDER = Tolerance.NONE, Tolerance.ORDER
EACH = {"per_class": True, "in_every_run": True}
# A metric reads nothing below it. They are in the order in which records and tables show them.
METRICS = {
    each.name: each
    for each in (
        Metric("class_accuracy", recall, COUNTS, "class accuracy", "accuracy", EXACT, is_share=True, **EACH),
        Metric("average_precision", average_precisions, RANKING, "average precision", "AP", ORDER, **EACH),
        # Balanced accuracy: the mean of the recalls of all classes.
        Metric("mean_class_accuracy", mean, "class_accuracy", "mean class accuracy", "mean", EXACT, in_every_run=True),
        Metric("mean_average_precision", mean, "average_precision", "mAP", "mean", ORDER, in_every_run=True),
        Metric("macro_f1", macro_f1, COUNTS, "macro F1", "macro F1", EXACT),
        Metric("accuracy", accuracy, COUNTS, "accuracy", "overall", EXACT, is_share=True),
    )
}
PER_CLASS = {name: each for name, each in METRICS.items() if each.per_class}
SCALARS = {name: each for name, each in METRICS.items() if not each.per_class}
MEANS = {each.reads: name for name, each in SCALARS.items() if each.reads in PER_CLASS}  # metric of each class -> mean
DEFAULT_SELECTION = "mean_class_accuracy"


def is_newer(name: str) -> bool:
    """Return whether `name` is a metric that runs of older versions did not record."""
    return name in METRICS and not METRICS[name].in_every_run
