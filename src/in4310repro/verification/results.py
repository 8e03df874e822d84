"""Comparison of recorded scores, losses and metrics with recomputed ones: test scores, metrics.json, best epochs.

A "numeric class" identifies the arithmetic of a process: in native arithmetic its hardware, libraries and number of
threads (see `verification.evidence`). If the class differs from the run's, scores may deviate within the tolerances
defined here.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from in4310repro import metrics
from in4310repro.metrics import ClassMetrics, Tolerance, class_metrics
from in4310repro.metrics.scores import Scores
from in4310repro.runs import chain, finished, names, selection
from in4310repro.system import tensors
from in4310repro.system.schema import Difference, Limits, differences
from in4310repro.verification.evidence import IN_CLASS, Claim, Evidence, Finding, SettingEvidence

# The largest difference of scores in another numeric class. Those of one network by two instruction sets, with and
# without oneDNN, and in portable arithmetic differ by up to 1.9e-6 (EfficientNet-Lite0, 317 photographs, logits to 5).
SCORE_TOLERANCE = 1e-4
# The same for logits, as a share of their size: they differ by up to 2.7e-6 (ResNet-18). Weights that are scaled up
# push scores towards 0 and 1, where all are closer than `SCORE_TOLERANCE`; their logits still differ.
LOGIT_TOLERANCE = 2e-5
# A softmax in float32 is a rounded exponential over a rounded sum; below the least normal number bits are lost.
ROUNDING, LEAST = 4 * 2.0**-24, float(np.finfo(np.float32).tiny)
Logits = Float64[np.ndarray, "image label"]
# The loss in another numeric class: a mean of logarithms, whose error is that of the scores divided by them.
LOSS_TOLERANCE = 1e-5
OPEN = 1e-3  # of an average precision: a wider range is reported
MEAN_ROUNDING = 1e-12  # of a mean of float64
Record = Mapping[str, Any]
Rules = Mapping[str, Limits]  # limits of a recorded value, by its path; others must be equal
EXACT: Rules = MappingProxyType({})  # no value may differ


def around(value: float, tolerance: float) -> Limits:
    """Return the limits at a distance from a value."""
    return value - tolerance, value + tolerance


def loss_limits(record: Record, tolerance: float) -> dict[str, Limits]:
    """Return the limits of each loss of a record, relative to the loss if it is above 1, by its key."""
    losses = {key: value for key, value in record.items() if key.endswith("loss")}
    return {key: around(loss, tolerance * max(1, loss)) for key, loss in losses.items()}


def known_differences(saved: Record, computed: Record, rules: Rules = EXACT) -> Iterator[Difference]:
    """Yield each value that differs; a metric that older versions did not record may be absent in one record."""
    for each in differences(saved, computed, rules=rules):
        if None not in (each.first, each.second) or not metrics.is_newer(each.path.rpartition(".")[2]):
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
        then, now = (f"{'absent' if value is None else value}"[:200] for value in (each.first, each.second))
        yield f"{place}: {each.path} is {then}; computed again it is {now}"


def record_differences(
    evidence: Evidence, place: str, saved: Record, computed: Record, scores: Scores
) -> Iterator[str]:
    """Yield a message for each value of a record that differs from the value computed from the scores.

    If equal bits are not required, losses may differ by `LOSS_TOLERANCE`, relative to the loss if it is above 1,
    and metrics by their tolerance in `metrics.METRICS`. Those that read scores must lie in their `metric_ranges`.

    Args:
        evidence: says what the run's protocol is, and whether bits must be equal.
        place: the file and the position in it, for the messages.
        saved: the record of the run.
        computed: the record computed from `scores`.
        scores: the recomputed scores.
    """
    rules: dict[str, Limits] = {}
    if not evidence.bitwise:
        rules = loss_limits(computed, LOSS_TOLERANCE)
        for name, metric in metrics.METRICS.items():
            if metric.tolerance is Tolerance.NONE or saved.get(name) is None:
                continue
            if metric.reads in metrics.METRICS:
                rules[name] = around(metric.function(saved[metric.reads]), MEAN_ROUNDING)
            else:
                by_logits = evidence.run.config.protocol.ranks_logits and metric.tolerance is Tolerance.ORDER
                rules |= limits_of(name, *metric_ranges(scores, by_logits=by_logits))
    yield from contradictions(place, saved, computed, rules)


def limits_of(name: str, worst: Any, best: Any) -> dict[str, Limits]:
    """Return the limits of a metric, or of that of each class, by their paths, from the lowest and highest values."""
    low, high = (np.ravel(each[name]) for each in (worst, best))
    ends = enumerate(zip(low - MEAN_ROUNDING, high + MEAN_ROUNDING, strict=True))
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


def open_precisions(evidence: Evidence, of: str, record: Record, scores: Scores) -> Iterator[Claim]:
    """Yield a claim for each class whose average precision cannot be checked closely, if bits may differ.

    Such an average precision could vary by more than `OPEN` if the scores varied within their tolerance.

    Args:
        evidence: names the classes.
        of: what the average precisions are of, for the messages.
        record: has the recorded average precision of each class.
        scores: the recomputed scores.
    """
    if evidence.bitwise:
        return
    ranges = metric_ranges(scores, by_logits=evidence.run.config.protocol.ranks_logits)
    columns = (each["average_precision"] for each in (record, *ranges))
    for name, value, low, high in zip(evidence.run.classes, *columns, strict=True):
        if high - low > OPEN:
            left = f"scores this close leave {low:.4f} to {high:.4f} open"
            yield Claim(f"the average precision{of} of {name}, which is {value:.4f}: {left}", IN_CLASS)


# Keys of a history row that are not computed again: its number, and what at most a new training can show. Strengths are
# checked when the run is opened.
NOT_COMPUTED = ("epoch", "train_loss", "images_per_second", "strength")


def best_epoch_differences(setting: SettingEvidence) -> Iterator[Finding]:
    """Yield a message for each recorded value of the best epoch that differs from the recomputed one.

    The values are those in history.json and tensors.json. The best epoch is the one with the best value of the
    metric that the option `select` names; ties go to the earlier epoch. If equal bits are not required, also
    yield a `Claim` (an unchecked statement) for each average precision that cannot be checked closely.

    Raises:
        ValueError: a score is not finite.
    """
    run, evidence, row = setting.run, setting.evidence, setting.best_row
    scores, protocol = setting.validation_scores, run.config.protocol
    computed: dict[str, Any] = {"val_loss": scores.loss, **scores.metrics(by_logits=protocol.ranks_logits)}
    computed["weights_sha256"] = tensors.tensors_sha256(setting.stored)
    if protocol.scores_test_each_epoch:
        computed["test_loss"] = setting.test_loss
    saved = {key: value for key, value in row.items() if key not in NOT_COMPUTED}
    place = f"{setting.file(names.HISTORY)}: epoch {row['epoch']}"
    yield from record_differences(evidence, place, saved, computed, scores)
    yield from row_contradictions(setting)
    if changed := best_hash_differences(run, setting.name, tensors.tensor_hashes(setting.stored)):
        yield (
            f"{setting.file(names.TENSORS)}: the hashes of epoch {row['epoch']} differ from those of "
            f"{setting.name}/{names.BEST_WEIGHTS}: {changed[0].path}, {len(changed)} in all"
        )
    yield from open_precisions(evidence, f" by setting {setting.name} on validation images", row, scores)


def best_hash_differences(run: finished.FinishedRun, setting: str, hashes: Mapping[str, str]) -> list[Difference]:
    """Return the tensors whose hashes differ from those that `tensors.json` has of a setting's best epoch."""
    epoch = run.best_row(setting)["epoch"]
    short = {name: digits[: chain.DIGITS] for name, digits in hashes.items()}
    return [*differences(run.tensors[setting][epoch - 1]["tensors"], short)]


def row_contradictions(setting: SettingEvidence) -> Iterator[str]:
    """Yield a message for each metric of an epoch that does not follow from the same row's values of the classes."""
    run = setting.run
    images = run.class_sizes("validation")
    for row in run.histories[setting.name]:
        values: dict[str, Any] = dict(row)
        computed = {"accuracy": np.average(row["class_accuracy"], weights=images)}
        computed |= {mean: metrics.METRICS[mean].function(values[reads]) for reads, mean in metrics.MEANS.items()}
        for key, value in computed.items():
            if key in values and not abs(values[key] - value) <= MEAN_ROUNDING:
                place = f"{setting.file(names.HISTORY)}: epoch {row['epoch']}"
                yield f"{place}: {key} is {values[key]}; the row's values of the classes give {value}"


def saved_score_differences(selected: SettingEvidence) -> Iterator[Finding]:
    """Yield a message for each kind of difference between scores.npz and the recomputed scores.

    The scores are recomputed with the selected network. If equal bits are not required, also yield a `Claim` (an
    unchecked statement) for each average precision that cannot be checked closely.

    Raises:
        ValueError: a score is not finite.
    """
    run, evidence, unseen = selected.run, selected.evidence, selected.unseen_scores
    yield from score_differences(run.scores, selected.test_scores, bitwise=evidence.bitwise)
    yield from open_precisions(evidence, "", run.metrics, selected.test_scores)
    if unseen is not None:
        yield from open_precisions(evidence, " of unseen images", run.metrics["unseen"], unseen)


def metrics_differences(selected: SettingEvidence) -> Iterator[str]:
    """Yield a message for each value of metrics.json that differs from the value computed from new scores.

    The new scores are computed with the selected network. If equal bits are not required, the class metrics in
    metrics.json are also compared with those of the scores in scores.npz. They must be equal exactly. This second
    comparison is omitted if the protocol ranks images by logits.

    Raises:
        ValueError: a score is not finite.
    """
    run, evidence = selected.run, selected.evidence
    scores, unseen, sha256 = selected.test_scores, selected.unseen_scores, tensors.tensors_sha256(selected.stored)
    place = f"{run.folder / names.METRICS}"
    computed: dict[str, Any] = dict(selection.run_metrics(run.config, run.split, run.histories, sha256, scores, unseen))
    saved: dict[str, Any] = dict(run.metrics)
    # As `unseen_scores`, a run has them with the deviation shared-split, and not without.
    if unseen:
        both = saved.pop("unseen"), computed.pop("unseen")
        yield from record_differences(evidence, f"{place}: unseen", *both, unseen)
    yield from record_differences(evidence, place, saved, computed, scores)
    if not (evidence.bitwise or run.config.protocol.ranks_logits):
        yield from contradictions(place, class_metrics(run.metrics), run.scores.metrics())


def logit_tolerance(logits: Logits) -> Float64[np.ndarray, "image 1"]:
    """Return how far an image's logits may deviate if they are recomputed in a different kind of arithmetic.

    The tolerance is a fixed fraction of the spread of the image's logits, which is their largest distance from
    their mean. If the median spread of all images is larger, this median is used instead, since small logits can
    be sums of large terms and have the rounding errors of these terms. The maximum over all images is not used,
    since a single manipulated image could raise it.
    """
    sizes = abs(logits - logits.mean(axis=1, keepdims=True)).max(axis=1, keepdims=True)
    tolerance: Float64[np.ndarray, "image 1"] = LOGIT_TOLERANCE * np.maximum(sizes, np.median(sizes))
    return tolerance


def softmax_range(scores: Scores) -> tuple[Logits, Logits]:
    """Return the lowest and highest allowed softmax score of each class, for each image.

    The range follows from `logit_tolerance` and rounding. Its ends are at most `SCORE_TOLERANCE` away from the
    given score.
    """
    exact, logits = scores.softmax.astype(np.float64), logits_of(scores)
    tolerance = logit_tolerance(logits)
    others = (np.delete(logits, label, axis=1) for label in range(logits.shape[1]))
    with np.errstate(invalid="ignore"):
        # Infinite or NaN logits give NaN, which lies in no range.
        log_odds = logits - np.stack([np.logaddexp.reduce(each, axis=1) for each in others], axis=1)
    # The logit of a class up and all others down, and the other way round.
    low, high = (1 / (1 + np.exp(-np.clip(log_odds + sign * 2 * tolerance, -700, 700))) for sign in (-1, 1))
    low, high = np.minimum(low, exact) * (1 - ROUNDING) - LEAST, np.maximum(high, exact) * (1 + ROUNDING) + LEAST
    return np.maximum(low, exact - SCORE_TOLERANCE), np.minimum(high, exact + SCORE_TOLERANCE)


def logits_of(scores: Scores) -> Logits:
    """Return the logits as float64. If there are none, return the logarithms of the softmax scores."""
    if scores.logits is not None:
        return scores.logits.astype(np.float64)
    return np.log(np.maximum(scores.softmax.astype(np.float64), LEAST))


def score_differences(saved: Scores, predicted: Scores, *, bitwise: bool) -> list[str]:
    """Return a message for each kind of difference between two sets of scores of the same images.

    That paths, labels, type and shape are those of the split is checked where a run is opened.

    Args:
        saved: the scores of the run.
        predicted: the recomputed scores.
        bitwise: whether equal float32 bits are required; otherwise scores may be anywhere in `softmax_range`, and no
            prediction may change.
    """
    differences, paths, values, exact = [], saved.paths, saved.softmax, predicted.softmax
    low, high = (exact, exact) if bitwise else softmax_range(predicted)
    # Also true for nan, which is neither within a range nor beyond it.
    wrong = ~((values >= low) & (values <= high))
    if wrong.any():
        deviation = np.where(wrong, np.abs(values - exact.astype(np.float64)), -1)
        # The first nan, if there is one.
        image, label = np.unravel_index(deviation.argmax(), wrong.shape)
        tolerance = "0" if bitwise else f"{SCORE_TOLERANCE:g}, and {LOGIT_TOLERANCE:g} of their logits"
        differences.append(
            f"{int(wrong.any(axis=1).sum())} of {len(paths)} images have other scores (tolerance {tolerance}); the "
            f"worst is {paths[image]}, class {label}: {values[image, label]:.9g} saved, {exact[image, label]:.9g} now"
        )
    elif bitwise and values.tobytes() != exact.tobytes():
        # Equal numbers of other bits: a zero with a sign.
        differences.append("the scores are equal in value and not in their bits")
    if len(changed := np.flatnonzero(values.argmax(axis=1) != exact.argmax(axis=1))):
        differences.append(f"{len(changed)} predictions changed, the first is that of {paths[changed[0]]}")
    return differences
