"""Mistakes 31 to 35, of the reproduction: saved scores compared with those of a new prediction."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import nn

from in4310repro.data.images import ImageSet, evaluation_batches
from in4310repro.evaluation.prediction import predict
from in4310repro.metrics.scores import Scores
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context
from in4310repro.verification.results import score_differences
from tests.conftest import active
from tests.mistakes import drawn
from tests.mistakes.drawn import Array, from_to
from tests.mistakes.handed_over import SIZE
from tests.mistakes.mistake import Mistake

Verifier = Callable[[Scores, Scores], list[str]]


@functools.cache
def network() -> nn.Module:
    """Return the softmax regression on drawn scenes as a PyTorch network."""
    linear = nn.Linear(3 * SIZE**2, 6)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(drawn.weights()[:-1].T))
        linear.bias.copy_(torch.from_numpy(drawn.weights()[-1]))
    return nn.Sequential(nn.Flatten(), linear)


@functools.cache
def predicted() -> Scores:
    native = replace(active(), mode="native", device="cpu")
    return predict(network(), drawn.image_sets()["test"], PRESETS["tiny"], Context(native))


def with_softmax(scores: Scores, change: Callable[[Array], object]) -> Scores:
    softmax = scores.softmax.copy()
    change(softmax)
    return replace(scores, softmax=softmax)


def last_bit(softmax: Array) -> None:
    softmax[0, 0] = np.nextafter(softmax[0, 0], np.float32(1))


def same_labels(softmax: Array) -> None:
    """Replace scores by one-hot vectors of the predicted class, in place."""
    softmax[:] = np.eye(6, dtype=np.float32)[softmax.argmax(axis=1)]


def rows_exchanged(softmax: Array) -> None:
    softmax[[0, -1]] = softmax[[-1, 0]]


def check_verifier(verifier: Verifier) -> None:
    """Equal scores pass; a changed last bit, other scores with the same labels and swapped rows are detected."""
    scores = predicted()
    assert verifier(scores, with_softmax(scores, lambda softmax: softmax)) == []
    for change in (last_bit, same_labels, rows_exchanged):
        assert verifier(with_softmax(scores, change), scores), change.__name__


def ours() -> Verifier:
    return lambda saved, now: score_differences(saved, now, bitwise=True)


def labels_compared() -> Verifier:
    return lambda saved, now: (
        [] if np.array_equal(saved.softmax.argmax(axis=1), now.softmax.argmax(axis=1)) else ["other labels"]
    )


def compared_with_itself() -> Verifier:
    return lambda saved, _now: [] if np.array_equal(saved.softmax, saved.softmax) else ["other scores"]


def tolerance_widened() -> Verifier:
    def widened(saved: Scores, now: Scores) -> list[str]:
        for tolerance in 10.0 ** np.arange(-8, 1):
            if np.allclose(saved.softmax, now.softmax, rtol=0, atol=tolerance):
                return []
        return ["other scores"]

    return widened


def passes(_ours: Verifier, twin: Verifier) -> str:
    """State the largest error of scores that the faulty verifier accepts."""
    scores = predicted()
    changes = [with_softmax(scores, change) for change in (last_bit, same_labels, rows_exchanged)]
    off = [np.abs(each.softmax - scores.softmax).max() for each in changes if not twin(each, scores)]
    return f"scores off by up to {max(off):.3f} pass"


def shuffled() -> Scores:
    """Return scores in a shuffled order, but with the paths in the original order."""
    images = drawn.image_sets()["test"]
    order = np.random.default_rng(0).permutation(len(images))
    mixed = ImageSet("test", images.paths, images.keys, images.labels[order], images.pixels[order])
    with torch.no_grad():
        logits = torch.cat([network()(batch.images) for batch in evaluation_batches(mixed, 16)])
    return Scores(images.paths, images.labels, logits.softmax(dim=1).numpy(), 1.0)


def check_order(scores: Scores) -> None:
    """The scores stored for a path equal those of a separate prediction for the image."""
    images = drawn.our_parts()["test"]
    expected = drawn.softmax(drawn.logits(images.images).astype(np.float64))
    alone = dict(zip(images.paths, expected, strict=True))
    # 1e-5: sums in float32 beside sums in float64.
    for path, row in zip(scores.paths, scores.softmax, strict=True):
        np.testing.assert_allclose(row, alone[path], rtol=0, atol=1e-5)


def accuracy(ours: Scores, twin: Scores) -> str:
    values = [drawn.mean_accuracy(scores.labels, scores.softmax.argmax(axis=1)) for scores in (ours, twin)]
    return from_to("mean class accuracy", *values)


def logits_saved() -> Scores:
    scores = predicted()
    assert scores.logits is not None
    return replace(scores, softmax=scores.logits)


def check_softmax(scores: Scores) -> None:
    """The scores of an image are no less than 0 and add up to 1."""
    assert (scores.softmax >= 0).all()
    np.testing.assert_allclose(scores.softmax.sum(axis=1), 1, rtol=0, atol=1e-5)


def precision(ours: Scores, twin: Scores) -> str:
    values = [
        np.mean([average_precision_score(scores.labels == label, scores.softmax[:, label]) for label in range(6)])
        for scores in (ours, twin)
    ]
    return from_to("mAP", *map(float, values))


MISTAKES = [
    Mistake(
        number=31,
        name="labels compared instead of scores",
        check=check_verifier,
        ours=ours,
        twin=labels_compared,
        size=passes,
    ),
    Mistake(
        number=32,
        name="an array compared with itself",
        check=check_verifier,
        ours=ours,
        twin=compared_with_itself,
        size=passes,
    ),
    Mistake(
        number=33, name="the scored loader is shuffled", check=check_order, ours=predicted, twin=shuffled, size=accuracy
    ),
    Mistake(
        number=34,
        name="tolerance widened until it passes",
        check=check_verifier,
        ours=ours,
        twin=tolerance_widened,
        size=passes,
    ),
    Mistake(
        number=35,
        name="logits saved as softmax",
        check=check_softmax,
        ours=predicted,
        twin=logits_saved,
        size=precision,
    ),
]
