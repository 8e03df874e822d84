"""Comparison of recorded losses and metrics with recomputed ones: best epochs, test scores, metrics.json."""

import math
import operator
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from in4310repro import metrics
from in4310repro.metrics import ClassMetrics, Tolerance, class_metrics
from in4310repro.metrics.scores import Scores
from in4310repro.runs import chain, deviations, finished, names, selection
from in4310repro.system import tensors
from in4310repro.system.schema import Difference, Limits, differences
from in4310repro.verification.evidence import IN_CLASS, Claim, Finding, SettingEvidence
from in4310repro.verification.scores import logit_tolerance, logits_of, score_differences, softmax_range

LOSSES = ("loss", "val_loss", "test_loss")
# Of what another numeric class computes: a mean of logarithms, whose error is that of the scores divided by them.
LOSS_TOLERANCE = 1e-5
OPEN = 1e-3  # of an average precision: a wider range is reported
ROUNDING = 1e-12  # of a mean of float64
Record = Mapping[str, Any]
Rules = Mapping[str, Limits]  # limits of a recorded value, by its path; others must be equal
EXACT: Rules = MappingProxyType({})  # no value may differ


def around(value: float, tolerance: float) -> Limits:
    """Return the limits at a distance from a value."""
    return value - tolerance, value + tolerance


def known_differences(saved: Record, computed: Record, rules: Rules = EXACT) -> Iterator[Difference]:
    """Yield each value that differs; a metric that older versions did not record may be absent in one record."""
    for each in differences(saved, computed, rules=rules):
        if not (metrics.is_newer(each.path.rpartition(".")[2]) and None in (each.first, each.second)):
            yield each


def contradictions(place: str, saved: Record, computed: Record, rules: Rules = EXACT) -> Iterator[str]:
    """Yield a message for each value that differs, with the recorded value and the recomputed one.

    Args:
        place: the file and the position in it, for the messages.
        saved: the record of the run.
        computed: what it should be.
        rules: the limits of a value of `saved`, by its path; others must be equal.
    """
    for each in known_differences(saved, computed, rules):
        then, now = ("absent" if value is None else str(value)[:200] for value in (each.first, each.second))
        yield f"{place}: {each.path} is {then}; computed again it is {now}"


def record_differences(
    place: str, saved: Record, computed: Record, scores: Scores, protocol: deviations.Protocol, bitwise: bool
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
    rules: dict[str, Limits] = {}
    if not bitwise:
        losses = {key: computed[key] for key in LOSSES if key in computed}
        rules = {key: around(loss, LOSS_TOLERANCE * max(1, loss)) for key, loss in losses.items()}
        for name, metric in metrics.METRICS.items():
            if metric.tolerance is Tolerance.NONE or saved.get(name) is None:
                continue
            if metric.reads in metrics.METRICS:
                rules[name] = around(metric.function(saved[metric.reads]), ROUNDING)
            else:
                by_logits = protocol.ranks_logits and metric.tolerance is Tolerance.ORDER
                rules |= limits_of(name, *metric_ranges(scores, by_logits=by_logits))
    yield from contradictions(place, saved, computed, rules)


def limits_of(name: str, worst: Any, best: Any) -> dict[str, Limits]:
    """Return the limits of a metric, or of that of each class, by their paths, from the lowest and highest values."""
    low, high = (np.ravel(each[name]) for each in (worst, best))
    ends = enumerate(zip(low - ROUNDING, high + ROUNDING, strict=True))
    return {f"{name}.{n}" if name in metrics.PER_CLASS else name: each for n, each in ends}


def metric_ranges(scores: Scores, *, by_logits: bool) -> tuple[ClassMetrics, ClassMetrics]:
    """Return the lowest and the highest values that all metrics can take if scores vary within their tolerance.

    If `by_logits`, and if there are logits, these are varied instead, as average precision ranks them.
    """
    if by_logits and scores.logits is not None:
        logits = logits_of(scores)
        low, high = logits - logit_tolerance(logits), logits + logit_tolerance(logits)
    else:
        low, high = softmax_range(scores)
    return metrics.ends(*map(torch.from_numpy, (scores.labels, low, high)))


def open_precisions(
    place: str, values: list[float], classes: list[str], scores: Scores, protocol: deviations.Protocol
) -> list[Claim]:
    """Return a claim for each class whose average precision cannot be checked closely.

    Such an average precision could vary by more than `OPEN` if the scores varied within their tolerance.

    Args:
        place: name of the average precisions, for the messages.
        values: the recorded average precision of each class.
        classes: names of the classes.
        scores: the recomputed scores.
        protocol: the protocol of the run.
    """
    ends = (each["average_precision"] for each in metric_ranges(scores, by_logits=protocol.ranks_logits))
    said = {
        f"{place} of {name}, which is {value:.4f}: scores this close leave {low:.4f} to {high:.4f} open": high - low
        for name, value, low, high in zip(classes, values, *ends, strict=True)
    }
    return [Claim(words, IN_CLASS) for words, width in said.items() if width > OPEN]


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
    run, bitwise, row = setting.run, setting.evidence.bitwise, setting.best_row
    scores, protocol = setting.validation_scores, run.config.protocol
    computed: dict[str, Any] = {"val_loss": scores.loss, **scores.metrics(by_logits=protocol.ranks_logits)}
    computed["weights_sha256"] = tensors.tensors_sha256(setting.stored)
    if protocol.scores_test_each_epoch:
        computed["test_loss"] = setting.test_loss
    saved = {key: value for key, value in row.items() if key not in ("epoch", *NOT_COMPUTED)}
    place = f"{setting.file(names.HISTORY)}: epoch {row['epoch']}"
    yield from record_differences(place, saved, computed, scores, protocol, bitwise)
    yield from row_contradictions(setting)
    if changed := best_hash_differences(run, setting.name, tensors.tensor_hashes(setting.stored)):
        of_best = f"those of {names.of_setting(setting.name, names.BEST_WEIGHTS)}"
        first = f"{changed[0].path}, {len(changed)} in all"
        yield f"{setting.file(names.TENSORS)}: the hashes of epoch {row['epoch']} differ from {of_best}: {first}"
    if not bitwise:
        of_row = f"the average precision by setting {setting.name} on validation images"
        yield from open_precisions(of_row, row["average_precision"], run.classes, scores, protocol)


def best_hash_differences(run: finished.FinishedRun, setting: str, hashes: Mapping[str, str]) -> list[Difference]:
    """Return the tensors whose hashes differ from those that `tensors.json` has of a setting's best epoch."""
    epoch = selection.best_epoch(run.histories[setting], run.config.select)["epoch"]
    short = {name: digits[: chain.DIGITS] for name, digits in hashes.items()}
    return [*differences(run.tensors[setting][epoch - 1]["tensors"], short)]


def row_contradictions(setting: SettingEvidence) -> Iterator[str]:
    """Yield a message for each metric of an epoch that does not follow from the same row's values of the classes."""
    run = setting.run
    counts = run.split.supports()[run.config.protocol.part_read_as("validation")]
    images = [counts[name] for name in run.classes]
    for row in run.histories[setting.name]:
        values: dict[str, Any] = dict(row)
        computed = {"accuracy": math.fsum(map(operator.mul, row["class_accuracy"], images)) / sum(images)}
        means = (each for each in metrics.METRICS.values() if each.reads in metrics.METRICS)
        for key, value in (computed | {each.name: each.function(values[each.reads]) for each in means}).items():
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
    run, bitwise, unseen = selected.run, selected.evidence.bitwise, selected.unseen_scores
    yield from score_differences(run.scores, selected.test_scores, bitwise=bitwise)
    measured: list[tuple[str, Any, Scores]] = [("", run.metrics, selected.test_scores)]
    if unseen is not None and "unseen" in run.metrics:
        measured.append((" of unseen images", run.metrics["unseen"], unseen))
    for of, saved, scores in () if bitwise else measured:
        precisions, protocol = saved["average_precision"], run.config.protocol
        yield from open_precisions(f"the average precision{of}", precisions, run.classes, scores, protocol)


def metrics_differences(selected: SettingEvidence) -> Iterator[str]:
    """Yield a message for each value of metrics.json that differs from the value computed from new scores.

    The new scores are computed with the selected network. If equal bits are not required, the class metrics in
    metrics.json are also compared with those of the scores in scores.npz. They must be equal exactly. This second
    comparison is omitted if the protocol ranks images by logits.

    Raises:
        ValueError: a score is not finite.
    """
    run, bitwise = selected.run, selected.evidence.bitwise
    scores, unseen, sha256 = selected.test_scores, selected.unseen_scores, tensors.tensors_sha256(selected.stored)
    place, protocol = f"{run.folder / names.METRICS}", run.config.protocol
    computed: dict[str, Any] = dict(selection.run_metrics(run.config, run.split, run.histories, sha256, scores, unseen))
    saved: dict[str, Any] = dict(run.metrics)
    both = (saved.pop("unseen"), computed.pop("unseen")) if unseen is not None and "unseen" in saved else None
    yield from record_differences(place, saved, computed, scores, protocol, bitwise)
    if unseen is not None and both:
        yield from record_differences(f"{place}: unseen", *both, unseen, protocol, bitwise)
    if not bitwise and not protocol.ranks_logits:
        yield from contradictions(place, class_metrics(run.metrics), run.scores.metrics())
