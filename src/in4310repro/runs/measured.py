"""Computation of the content of `metrics.json` from scores, for training and for `verify`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from in4310repro.data.splits import Split
from in4310repro.metrics.scores import Scores
from in4310repro.runs.config import Config
from in4310repro.runs.records import HistoryRow, RunMetrics, UnseenMetrics
from in4310repro.runs.selection import select


def run_metrics(
    config: Config,
    split: Split,
    histories: Mapping[str, Sequence[HistoryRow]],
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
