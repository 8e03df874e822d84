"""Comparison of a run's test scores with recomputed ones.

A "numeric class" identifies the arithmetic of a process: in native arithmetic its hardware, libraries and number of
threads (see `verification.evidence`). If the class differs from the run's, scores may deviate within the tolerances
defined here.
"""

import numpy as np
from jaxtyping import Float64

from in4310repro.metrics.scores import Scores

# Of scores in another numeric class, at most. Those of one network by two instruction sets, with and without oneDNN,
# and in portable arithmetic differ by up to 1.9e-6 (EfficientNet-Lite0, 317 photographs, logits up to 5).
SCORE_TOLERANCE = 1e-4
# Of the logits, as a share of their size: there they differ by up to 2.7e-6 (ResNet-18). Weights that are scaled up
# push scores towards 0 and 1, where all are closer than `SCORE_TOLERANCE`; their logits stay apart.
LOGIT_TOLERANCE = 2e-5
# A softmax in float32 is a rounded exponential over a rounded sum; below the least normal number bits are lost.
ROUNDING, LEAST = 4 * 2.0**-24, float(np.finfo(np.float32).tiny)
Logits = Float64[np.ndarray, "image label"]


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
    log_odds = np.empty_like(logits)
    for label in range(logits.shape[1]):
        others = np.delete(logits, label, axis=1)
        with np.errstate(invalid="ignore"):
            # Infinite or NaN logits give NaN, which lies in no range.
            log_odds[:, label] = logits[:, label] - np.logaddexp.reduce(others, axis=1)
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

    Args:
        saved: the scores of the run.
        predicted: the recomputed scores.
        bitwise: whether equal float32 bits are required; otherwise scores may be anywhere in `softmax_range`, and no
            prediction may change.
    """
    if saved.paths != predicted.paths:
        lost = min({*saved.paths} ^ {*predicted.paths}, default="their order")
        return [f"the scores are of other images than the test set, such as {lost}"]
    differences, paths = [], saved.paths
    if len(other := np.flatnonzero(saved.labels != predicted.labels)):
        then, now = (each.labels[other[0]] for each in (saved, predicted))
        differences.append(f"{paths[other[0]]} has label {then} in the scores, {now} now")
    values, exact = saved.softmax, predicted.softmax
    if values.shape != exact.shape or values.dtype != exact.dtype:
        return [*differences, f"scores are {values.dtype} {values.shape}, now {exact.shape}"]
    low, high = (exact, exact) if bitwise else softmax_range(predicted)
    # Also true for nan, which is neither within a range nor beyond it.
    wrong = ~((values >= low) & (values <= high))
    if wrong.any():
        deviation = np.where(wrong, np.abs(values - exact.astype(np.float64)), -1)
        image, label = np.unravel_index(np.argmax(np.where(np.isnan(deviation), np.inf, deviation)), wrong.shape)
        worst = f"{values[image, label]:.9g} saved, {exact[image, label]:.9g} now"
        tolerance = "0" if bitwise else f"{SCORE_TOLERANCE:g}, and {LOGIT_TOLERANCE:g} of their logits"
        count = f"{int(wrong.any(axis=1).sum())} of {len(paths)} images have other scores (tolerance {tolerance})"
        differences.append(f"{count}; the worst is {paths[image]}, class {label}: {worst}")
    elif bitwise and values.tobytes() != exact.tobytes():
        # Equal numbers of other bits: a zero with a sign.
        differences.append("the scores are equal in value and not in their bits")
    if len(changed := np.flatnonzero(values.argmax(axis=1) != exact.argmax(axis=1))):
        differences.append(f"{len(changed)} predictions changed, the first is that of {paths[changed[0]]}")
    return differences
