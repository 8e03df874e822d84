"""Selection of the best epoch and setting by a metric on validation, and the metrics of the selected network."""

from collections.abc import Mapping

from in4310repro.data.splits import Split
from in4310repro.metrics.scores import Scores
from in4310repro.metrics.table import SCALARS
from in4310repro.runs.config import Config
from in4310repro.runs.record_types import History, HistoryRow, RunMetrics, UnseenMetrics
from in4310repro.system.text import join_names

Histories = Mapping[str, History]  # by setting


def best_epoch(rows: History, by: str) -> HistoryRow:
    """Return the row of the best epoch by a validation metric named in `SCALARS`; ties go to the earlier epoch."""
    return best_epochs(rows, by)[0]


def best_epochs(rows: History, by: str) -> History:
    """Return the rows of all epochs with the best value of a validation metric named in `SCALARS`, in order."""
    best = max(_goodness(row, by) for row in rows)
    return [row for row in rows if _goodness(row, by) == best]


def _goodness(row: HistoryRow, by: str) -> float:
    value: float = row[by]  # type: ignore[literal-required]
    return value if SCALARS[by].higher_is_better else -value


def unit(rows: History) -> str:
    """Return "fit" if the history rows describe fits of the last layer, or "epoch" if they describe epochs."""
    return "fit" if "strength" in rows[0] else "epoch"


def select(histories: Histories, by: str) -> tuple[str, HistoryRow]:
    """Return the setting with the best epoch by the validation metric `by`, and the history row of that epoch.

    Ties go to the earlier setting and epoch. The rows hold no results on the test set, which therefore cannot
    affect the selection.
    """
    best = ((name, best_epoch(rows, by)) for name, rows in histories.items())
    return max(best, key=lambda each: _goodness(each[1], by))


def describe_ties(histories: Histories, by: str) -> str:
    """Return a clause on other epochs that are as good as the selected one, and why they were not; "" without any."""
    selected, row = select(histories, by)
    ties = [
        f"{unit(rows)} {each['epoch']} of {name}"
        for name, rows in histories.items()
        for each in best_epochs(rows, by)
        if each[by] == row[by] and (name, each["epoch"]) != (selected, row["epoch"])  # type: ignore[literal-required]
    ]
    if not ties:
        return ""
    named = join_names(ties, "others")
    return f"; {named} {'has' if len(ties) == 1 else 'have'} the same value, and the first in order was taken"


def run_metrics(
    config: Config,
    split: Split,
    histories: Histories,
    weights_sha256: str,
    scores: Scores,
    unseen: Scores | None = None,
) -> RunMetrics:
    """Return the content of `metrics.json`: the selected network's metrics on the test set.

    Args:
        config: the configuration of the run.
        split: the split, for the classes and their numbers of images.
        histories: the history of each setting, by which the network is selected.
        weights_sha256: hash of the selected network's weights.
        scores: scores of the test images.
        unseen: scores of the images that the deviation `shared-split` never reads; None without that deviation.

    Raises:
        ValueError: a class has no image, or a score is not finite.
    """
    setting, row = select(histories, config.select)
    by_logits = config.protocol.ranks_logits
    metrics = RunMetrics(
        setting=setting,
        epoch=row["epoch"],
        validation_mean_class_accuracy=row["mean_class_accuracy"],
        weights_sha256=weights_sha256,
        classes=list(split.classes),
        supports=split.supports(),
        loss=scores.loss,
        **scores.metrics(by_logits=by_logits),  # type: ignore[typeddict-item]  # unseen comes below
    )
    if unseen is not None:
        metrics["unseen"] = UnseenMetrics(
            images=len(unseen.paths), loss=unseen.loss, **unseen.metrics(by_logits=by_logits)
        )
    return metrics
