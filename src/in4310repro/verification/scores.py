"""Test scores: those of the run compared with those that were just predicted."""

from __future__ import annotations

import numpy as np

from in4310repro.scores import Scores

# Softmax of equal weights moved by at most 1e-7 over batch sizes and layouts (measured); ten times that is allowed.
SCORE_TOLERANCE = 1e-6


def score_differences(saved: Scores, predicted: Scores, *, bitwise: bool) -> list[str]:
    """What differs between two sets of scores of the same images, as sentences; empty when nothing does.

    Args:
        saved: the scores of the run.
        predicted: those that were just computed.
        bitwise: equal float32 bits are required; otherwise scores may differ by `SCORE_TOLERANCE` and no prediction
            may change.
    """
    if saved.paths != predicted.paths:
        lost = sorted(set(saved.paths) ^ set(predicted.paths))[:1] or ["their order"]
        return [f"the scores are of other images than the test set, such as {lost[0]}"]
    differences = []
    if not np.array_equal(saved.labels, predicted.labels):
        image = int(np.flatnonzero(saved.labels != predicted.labels)[0])
        differences.append(
            f"{saved.paths[image]} has label {saved.labels[image]} in the scores, {predicted.labels[image]} now"
        )
    if saved.softmax.shape != predicted.softmax.shape or saved.softmax.dtype != predicted.softmax.dtype:
        return [*differences, f"scores are {saved.softmax.dtype} {saved.softmax.shape}, now {predicted.softmax.shape}"]
    return differences + _value_differences(saved, predicted, 0.0 if bitwise else SCORE_TOLERANCE)


def _value_differences(saved: Scores, predicted: Scores, tolerance: float) -> list[str]:
    deviation = np.abs(saved.softmax.astype(np.float64) - predicted.softmax)
    # Also true for nan, which is neither within the tolerance nor beyond it.
    wrong = ~(deviation <= tolerance) | (np.isnan(saved.softmax) != np.isnan(predicted.softmax))
    differences = []
    if wrong.any():
        image, label = np.unravel_index(np.nanargmax(np.where(np.isnan(deviation), np.inf, deviation)), wrong.shape)
        worst = f"{saved.softmax[image, label]:.9g} saved, {predicted.softmax[image, label]:.9g} now"
        differences.append(
            f"{int(wrong.any(axis=1).sum())} of {len(saved.paths)} images have other scores (tolerance {tolerance:g}); "
            f"the worst is {saved.paths[image]}, class {label}: {worst}"
        )
    elif not tolerance and saved.softmax.tobytes() != predicted.softmax.tobytes():
        # Equal numbers of other bits: a zero with a sign.
        differences.append("the scores are equal in value and not in their bits")
    changed = np.flatnonzero(saved.softmax.argmax(axis=1) != predicted.softmax.argmax(axis=1))
    if len(changed):
        differences.append(f"{len(changed)} predictions changed, the first is that of {saved.paths[changed[0]]}")
    return differences
