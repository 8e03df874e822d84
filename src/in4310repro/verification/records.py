"""Comparison of recorded losses and metrics with recomputed ones: best epochs, test scores, metrics.json."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from in4310repro import metrics
from in4310repro.metrics import ClassMetrics, Metric, Tolerance, class_metrics
from in4310repro.metrics.scores import Scores
from in4310repro.runs import names
from in4310repro.runs.deviations import Protocol
from in4310repro.runs.selection import run_metrics
from in4310repro.system.tensors import tensor_hashes, tensors_sha256
from in4310repro.verification.check import IN_CLASS, Claim, Finding
from in4310repro.verification.evidence import SettingEvidence
from in4310repro.verification.scores import logit_tolerance, logits_of, score_differences, softmax_range

LOSSES = ("loss", "val_loss", "test_loss")
# Of what another numeric class computes: a mean of logarithms, whose error is that of the scores divided by them.
LOSS_TOLERANCE = 1e-5
OPEN = 1e-3  # of an average precision: a wider range is reported
ROUNDING = 1e-12  # of a mean of float64


def record_differences(
    place: str,
    saved: Mapping[str, Any],
    computed: Mapping[str, Any],
    scores: Scores,
    protocol: Protocol,
    *,
    bitwise: bool,
) -> Iterator[str]:
    """Yield a message for each value of a record that differs from the value computed from the scores.

    A metric that older versions did not record may be absent.

    Args:
        place: the file and the position in it, for the messages.
        saved: the record of the run.
        computed: the record computed from `scores`.
        scores: the recomputed scores.
        protocol: the protocol of the run.
        bitwise: whether every value must be equal. If False, losses may differ by `LOSS_TOLERANCE`, relative to
            the loss if it is above 1, and metrics by their tolerance in `metrics.METRICS`. Those that read scores
            must lie in their `metric_ranges`.
    """
    for key in dict.fromkeys([*saved, *computed]):
        value, now = saved.get(key), computed.get(key)
        if value is None and metrics.is_newer(key):
            # An older run, which says nothing of it.
            continue
        metric = metrics.METRICS.get(key)
        may_move = metric is not None and metric.tolerance is not Tolerance.NONE
        if bitwise or not (key in LOSSES or may_move):
            # As text: 1 is not 1.0, and 0.0 has no sign.
            agrees = json.dumps(value) == json.dumps(now)
        elif value is None or now is None:
            agrees = False
        elif metric is None:
            agrees = abs(value - now) <= LOSS_TOLERANCE * max(1, abs(now))
        elif metric.reads in metrics.METRICS:
            agrees = abs(value - metric.function(saved[metric.reads])) <= ROUNDING
        else:
            agrees = _within_range(value, metric, scores, protocol)
        if not agrees:
            yield sentence(place, key, value, now)


def sentence(place: str, key: str, saved: Any, computed: Any) -> str:
    """Return a message that states a recorded value and the recomputed value.

    For lists and dicts, the message is about the first entry that differs.
    """
    while type(saved) is type(computed) and isinstance(saved, list | dict) and len(saved) == len(computed):
        keys = saved if isinstance(saved, dict) else range(len(saved))
        items = [(n, saved[n], computed.get(n) if isinstance(computed, dict) else computed[n]) for n in keys]
        different = [item for item in items if json.dumps(item[1]) != json.dumps(item[2])]
        if not different:
            break
        key, saved, computed = f"{key}.{different[0][0]}", *different[0][1:]
    then, now = ("absent" if value is None else str(value)[:200] for value in (saved, computed))
    return f"{place}: {key} is {then}; computed again it is {now}"


def metric_ranges(scores: Scores, *, by_logits: bool) -> tuple[ClassMetrics, ClassMetrics]:
    """Return the lowest and the highest values that all metrics can take if scores vary within their tolerance.

    If `by_logits`, and if there are logits, these are varied instead, as average precision ranks them.
    """
    if by_logits and scores.logits is not None:
        logits = logits_of(scores)
        low, high = logits - logit_tolerance(logits), logits + logit_tolerance(logits)
    else:
        low, high = softmax_range(scores)
    return metrics.ends(torch.from_numpy(scores.labels), torch.from_numpy(low), torch.from_numpy(high))


def precision_ranges(scores: Scores, protocol: Protocol) -> list[tuple[float, float]]:
    """Return a pair for each class: the lowest and the highest possible average precision."""
    worst, best = metric_ranges(scores, by_logits=protocol.ranks_logits)
    return list(zip(worst["average_precision"], best["average_precision"], strict=True))


def open_precisions(
    place: str, values: list[float], classes: list[str], scores: Scores, protocol: Protocol
) -> list[str]:
    """Return a message for each class whose average precision cannot be checked closely.

    Such an average precision could vary by more than `OPEN` if the scores varied within their tolerance.

    Args:
        place: name of the average precisions, for the messages.
        values: the recorded average precision of each class.
        classes: names of the classes.
        scores: the recomputed scores.
        protocol: the protocol of the run.
    """
    ranges = zip(classes, values, precision_ranges(scores, protocol), strict=True)
    return [
        f"{place} of {name}, which is {value:.4f}: scores this close leave {low:.4f} to {high:.4f} open"
        for name, value, (low, high) in ranges
        if high - low > OPEN
    ]


def _within_range(value: Any, metric: Metric, scores: Scores, protocol: Protocol) -> bool:
    by_logits = protocol.ranks_logits and metric.tolerance is Tolerance.ORDER
    ranges: tuple[dict[str, Any], ...] = tuple({**each} for each in metric_ranges(scores, by_logits=by_logits))
    low, values, high = (np.ravel(each) for each in (ranges[0][metric.name], value, ranges[1][metric.name]))
    return values.shape == low.shape and bool(((low - ROUNDING <= values) & (values <= high + ROUNDING)).all())


# Keys of a history row that at most a new training can show; strengths are checked when the run is opened.
NOT_COMPUTED = ("train_loss", "images_per_second", "strength")


def best_epoch_differences(setting: SettingEvidence) -> Iterator[Finding]:
    """Yield a message for each recorded value of the best epoch that differs from the recomputed one.

    The values are those in history.json and tensors.json. The best epoch is the one with the best value of the
    metric that the option `select` names; ties go to the earlier epoch. If equal bits are not required, also
    yield a `Claim` (an unchecked statement) for each average precision that cannot be checked closely.

    Raises:
        ValueError: a score is not finite.
    """
    run, bitwise, row = setting.evidence.run, setting.evidence.bitwise, setting.best_row
    scores, protocol = setting.validation_scores, run.config.protocol
    computed = {
        "val_loss": scores.loss,
        **scores.metrics(by_logits=protocol.ranks_logits),
        "weights_sha256": tensors_sha256(setting.stored),
        **({"test_loss": setting.test_loss} if protocol.scores_test_each_epoch else {}),
    }
    saved = {key: value for key, value in row.items() if key not in ("epoch", *NOT_COMPUTED)}
    place = f"{setting.file(names.HISTORY)}: epoch {row['epoch']}"
    yield from record_differences(place, saved, computed, scores, protocol, bitwise=bitwise)
    yield from row_contradictions(setting)
    yield from _tensor_differences(setting)
    if not bitwise:
        of_row = f"the average precision by setting {setting.name} on validation images"
        for sentence in open_precisions(of_row, row["average_precision"], run.classes, scores, protocol):
            yield Claim(sentence, IN_CLASS)


def row_contradictions(setting: SettingEvidence) -> Iterator[str]:
    """Yield a message for each metric of an epoch that does not follow from the same row's values of the classes."""
    run = setting.evidence.run
    counts = run.split.supports()[run.config.protocol.part_read_as("validation")]
    images = [counts[name] for name in run.classes]
    for row in run.histories[setting.name]:
        values: dict[str, Any] = dict(row)
        place = f"{setting.file(names.HISTORY)}: epoch {row['epoch']}"
        for name, metric in metrics.METRICS.items():
            if name in values and metric.reads in metrics.METRICS:
                yield from _unequal(place, name, values[name], metric.function(values[metric.reads]))
        if "accuracy" in values:
            right = [share * count for share, count in zip(row["class_accuracy"], images, strict=True)]
            yield from _unequal(place, "accuracy", values["accuracy"], math.fsum(right) / sum(images))


def _unequal(place: str, key: str, saved: float, computed: float) -> Iterator[str]:
    if not abs(saved - computed) <= ROUNDING:
        yield f"{place}: {key} is {saved}; the row's values of the classes give {computed}"


def _tensor_differences(setting: SettingEvidence) -> Iterator[str]:
    epoch = setting.best_row["epoch"]
    recorded = setting.evidence.run.tensors[setting.name][epoch - 1]["tensors"]
    hashes = {name: digits[:12] for name, digits in tensor_hashes(setting.stored).items()}
    if changed := [name for name in dict.fromkeys([*recorded, *hashes]) if hashes.get(name) != recorded.get(name)]:
        best = names.of_setting(setting.name, names.BEST_WEIGHTS)
        yield (
            f"{setting.file(names.TENSORS)}: the hashes of epoch {epoch} differ from those of {best}: {changed[0]}, "
            f"{len(changed)} in all"
        )


def saved_score_differences(selected: SettingEvidence) -> Iterator[Finding]:
    """Yield a message for each kind of difference between scores.npz and the recomputed scores.

    The scores are recomputed with the selected network. If equal bits are not required, also yield a `Claim` (an
    unchecked statement) for each average precision that cannot be checked closely.

    Raises:
        ValueError: a score is not finite.
    """
    evidence, run = selected.evidence, selected.evidence.run
    yield from score_differences(run.scores, selected.test_scores, bitwise=evidence.bitwise)
    if evidence.bitwise:
        return
    saved = [("the average precision", run.metrics["average_precision"], selected.test_scores)]
    if selected.unseen_scores is not None and "unseen" in run.metrics:
        precisions = run.metrics["unseen"]["average_precision"]
        saved.append(("the average precision of unseen images", precisions, selected.unseen_scores))
    for place, precisions, scores in saved:
        for sentence in open_precisions(place, precisions, run.classes, scores, run.config.protocol):
            yield Claim(sentence, IN_CLASS)


def metrics_differences(selected: SettingEvidence) -> Iterator[str]:
    """Yield a message for each value of metrics.json that differs from the value computed from new scores.

    The new scores are computed with the selected network. If equal bits are not required, the class metrics in
    metrics.json are also compared with those of the scores in scores.npz. They must be equal exactly. This second
    comparison is omitted if the protocol ranks images by logits.

    Raises:
        ValueError: a score is not finite.
    """
    run, bitwise = selected.evidence.run, selected.evidence.bitwise
    scores, unseen, sha256 = selected.test_scores, selected.unseen_scores, tensors_sha256(selected.stored)
    place, protocol = f"{run.folder / names.METRICS}", run.config.protocol
    computed = dict(run_metrics(run.config, run.split, run.histories, sha256, scores, unseen))
    saved = dict(run.metrics)
    saved_unseen, computed_unseen = saved.pop("unseen", None), computed.pop("unseen", None)
    yield from record_differences(place, saved, computed, scores, protocol, bitwise=bitwise)
    if isinstance(saved_unseen, dict) and isinstance(computed_unseen, dict) and unseen is not None:
        inner = f"{place}: unseen"
        yield from record_differences(inner, saved_unseen, computed_unseen, unseen, protocol, bitwise=bitwise)
    elif saved_unseen != computed_unseen:
        yield f"{place}: unseen belongs to a protocol with shared-split, and to no other"
    if not bitwise and not protocol.ranks_logits:
        of_saved = run.scores.metrics()
        yield from record_differences(
            place, dict(class_metrics(run.metrics)), dict(of_saved), run.scores, protocol, bitwise=True
        )
