"""Comparison of recorded losses and metrics with recomputed ones: best epochs, test scores, metrics.json."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from in4310repro import metrics
from in4310repro.metrics import ClassMetrics, Tolerance, class_metrics
from in4310repro.metrics.scores import Scores
from in4310repro.runs import chain, names
from in4310repro.runs.deviations import Protocol
from in4310repro.runs.selection import run_metrics
from in4310repro.system.schema import Difference, Rule, differences
from in4310repro.system.tensors import tensor_hashes, tensors_sha256
from in4310repro.verification.check import IN_CLASS, Claim, Finding
from in4310repro.verification.evidence import SettingEvidence
from in4310repro.verification.scores import logit_tolerance, logits_of, score_differences, softmax_range

LOSSES = ("loss", "val_loss", "test_loss")
# Of what another numeric class computes: a mean of logarithms, whose error is that of the scores divided by them.
LOSS_TOLERANCE = 1e-5
OPEN = 1e-3  # of an average precision: a wider range is reported
ROUNDING = 1e-12  # of a mean of float64
EXACT: Mapping[str, Rule] = MappingProxyType({})  # no value may differ


def ignored(_saved: Any, _computed: Any) -> bool:
    """Let any two values agree."""
    return True


def within(tolerance: float, relative: bool = False) -> Rule:
    """Return a rule for numbers that may differ by up to a tolerance, if `relative` of the larger of 1 and a value."""

    def agrees(saved: float | None, computed: float | None) -> bool:
        if saved is None or computed is None:
            return False
        return abs(saved - computed) <= tolerance * (max(1, abs(computed)) if relative else 1)

    return agrees


def between(low: Any, high: Any) -> Rule:
    """Return a rule for a number, or a list of them, that may lie anywhere between two ends, but for `ROUNDING`."""

    def agrees(saved: Any, _computed: Any) -> bool:
        return saved is not None and bool(
            np.all((saved >= np.subtract(low, ROUNDING)) & (saved <= np.add(high, ROUNDING)))
        )

    return agrees


def known_differences(
    saved: Mapping[str, Any], computed: Mapping[str, Any], rules: Mapping[str, Rule] = EXACT
) -> Iterator[Difference]:
    """Yield each value that differs; a metric that older versions did not record may be absent in one record."""
    for each in differences(saved, computed, rules=rules):
        if not (metrics.is_newer(each.path.rpartition(".")[2]) and None in (each.first, each.second)):
            yield each


def contradictions(
    place: str, saved: Mapping[str, Any], computed: Mapping[str, Any], rules: Mapping[str, Rule] = EXACT
) -> Iterator[str]:
    """Yield a message for each value that differs, with the recorded value and the recomputed one.

    Args:
        place: the file and the position in it, for the messages.
        saved: the record of the run.
        computed: what it should be.
        rules: how a value of `saved` may differ, by its path; others must be equal.
    """
    for each in known_differences(saved, computed, rules):
        then, now = ("absent" if value is None else str(value)[:200] for value in (each.first, each.second))
        yield f"{place}: {each.path} is {then}; computed again it is {now}"


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
    yield from contradictions(place, saved, computed, EXACT if bitwise else _tolerances(saved, scores, protocol))


def _tolerances(saved: Mapping[str, Any], scores: Scores, protocol: Protocol) -> dict[str, Rule]:
    rules = dict.fromkeys(LOSSES, within(LOSS_TOLERANCE, relative=True))
    for name, metric in metrics.METRICS.items():
        if metric.tolerance is Tolerance.NONE or saved.get(name) is None:
            continue
        if metric.reads in metrics.METRICS:
            rules[name] = between(*2 * [metric.function(saved[metric.reads])])
            continue
        ranges: Any = metric_ranges(scores, by_logits=protocol.ranks_logits and metric.tolerance is Tolerance.ORDER)
        low, high = (np.ravel(each[name]) for each in ranges)
        rules |= {
            (f"{name}.{n}" if metric.per_class else name): between(*ends)
            for n, ends in enumerate(zip(low, high, strict=True))
        }
    return rules


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
    hashes = {name: digits[: chain.DIGITS] for name, digits in tensor_hashes(setting.stored).items()}
    if changed := [*differences(run.tensors[setting.name][row["epoch"] - 1]["tensors"], hashes)]:
        best = names.of_setting(setting.name, names.BEST_WEIGHTS)
        yield (
            f"{setting.file(names.TENSORS)}: the hashes of epoch {row['epoch']} differ from those of {best}: "
            f"{changed[0].path}, {len(changed)} in all"
        )
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
        right = [share * count for share, count in zip(row["class_accuracy"], images, strict=True)]
        computed = {"accuracy": math.fsum(right) / sum(images)}
        for name, metric in metrics.METRICS.items():
            if metric.reads in metrics.METRICS:
                computed[name] = metric.function(values[metric.reads])
        for key, value in computed.items():
            if key in values and not abs(values[key] - value) <= ROUNDING:
                place = f"{setting.file(names.HISTORY)}: epoch {row['epoch']}"
                yield f"{place}: {key} is {values[key]}; the row's values of the classes give {value}"


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
    computed: dict[str, Any] = dict(run_metrics(run.config, run.split, run.histories, sha256, scores, unseen))
    saved: dict[str, Any] = dict(run.metrics)
    of_unseen: list[str] = []
    if unseen is not None and "unseen" in saved:
        inner, now = saved.pop("unseen"), computed.pop("unseen")
        of_unseen = [*record_differences(f"{place}: unseen", inner, now, unseen, protocol, bitwise=bitwise)]
    yield from record_differences(place, saved, computed, scores, protocol, bitwise=bitwise)
    yield from of_unseen
    if not bitwise and not protocol.ranks_logits:
        yield from contradictions(place, class_metrics(run.metrics), run.scores.metrics())
