"""Saved scores compared with new predictions: equal, or a sentence about the difference."""

from dataclasses import replace

import numpy as np
import pytest

from in4310repro.metrics.scores import Scores
from in4310repro.verification.results import LOGIT_TOLERANCE, SCORE_TOLERANCE, score_differences, softmax_range
from tests.builders import made_up_scores


def test_equal_scores_are_equal_bit_for_bit() -> None:
    assert score_differences(made_up_scores(), made_up_scores(), bitwise=True) == []


def nudged(by: float) -> Scores:
    scores = made_up_scores()
    softmax = scores.softmax.copy()
    softmax[17, 3] += by
    return replace(scores, softmax=softmax)


def test_a_difference_within_the_tolerance_passes_only_where_bits_may_differ() -> None:
    assert score_differences(made_up_scores(), nudged(5e-7), bitwise=False) == []
    (difference,) = score_differences(made_up_scores(), nudged(5e-7), bitwise=True)
    assert "the worst is 017.png, class 3" in difference


def test_the_worst_image_is_named_with_its_two_scores() -> None:
    changed = nudged(1e-3)
    (difference,) = score_differences(made_up_scores(), changed, bitwise=False)
    assert (
        "1 of 40 images have other scores (tolerance 0.0001, and 2e-05 of their logits); the worst is 017.png"
        in difference
    )
    assert f"{made_up_scores().softmax[17, 3]:.9g} saved, {changed.softmax[17, 3]:.9g} now" in difference


def test_a_changed_prediction_is_a_difference_at_any_tolerance() -> None:
    saved = made_up_scores()
    close = saved.softmax.copy()
    close[5, :2] = 0.4999999, 0.5
    swapped = close.copy()
    swapped[5, :2] = 0.5, 0.4999999
    differences = score_differences(replace(saved, softmax=close), replace(saved, softmax=swapped), bitwise=False)
    assert differences == ["1 predictions changed, the first is that of 005.png"]


def test_a_nan_is_a_difference() -> None:
    assert score_differences(made_up_scores(), nudged(float("nan")), bitwise=False)
    assert score_differences(nudged(float("nan")), made_up_scores(), bitwise=False)


def test_logits_saved_as_softmax_are_a_difference() -> None:
    saved = made_up_scores()
    assert score_differences(replace(saved, softmax=np.log(saved.softmax)), saved, bitwise=False)


def test_comparing_labels_would_not_have_seen_it() -> None:
    changed = nudged(1e-3)
    assert np.array_equal(changed.softmax.argmax(1), made_up_scores().softmax.argmax(1))
    assert score_differences(made_up_scores(), changed, bitwise=False)


def test_a_zero_with_a_sign_has_other_bits() -> None:
    saved = made_up_scores()
    signed, plain = saved.softmax.copy(), saved.softmax.copy()
    signed[0, 0], plain[0, 0] = -0.0, 0.0
    pair = replace(saved, softmax=signed), replace(saved, softmax=plain)
    assert score_differences(*pair, bitwise=True) == ["the scores are equal in value and not in their bits"]
    assert score_differences(*pair, bitwise=False) == []


def of_logits(logits: np.ndarray) -> Scores:
    """Return the scores that a network gives for these logits: a float32 softmax."""
    single = logits.astype(np.float32)
    shares = np.exp(single - single.max(axis=1, keepdims=True))
    softmax = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
    labels = np.arange(len(logits)) % logits.shape[1]
    return Scores(tuple(map(str, range(len(logits)))), labels, softmax, 1.0, single)


DRAWN = np.random.default_rng(0).standard_normal((30, 4))


@pytest.mark.parametrize("factor", [1e-4, 1.0, 30.0, 1e4])
def test_logits_with_the_errors_of_another_numeric_class_are_within_the_range(factor: float) -> None:
    scores = of_logits(factor * DRAWN)
    errors = 3e-6 * np.random.default_rng(1).choice([-1, 1], DRAWN.shape)
    moved = of_logits(factor * (DRAWN + errors))
    low, high = softmax_range(scores)
    assert ((moved.softmax >= low) & (moved.softmax <= high)).all()
    assert score_differences(scores, moved, bitwise=False) == []


@pytest.mark.parametrize("sign", [-1, 1])
def test_each_logit_may_be_off_by_its_tolerance_and_by_no_more(sign: int) -> None:
    spread = abs(DRAWN - DRAWN.mean(axis=1, keepdims=True)).max(axis=1, keepdims=True)
    # What moves the first score most: its logit one way, and all others the other way.
    errors = LOGIT_TOLERANCE * np.maximum(spread, np.median(spread)) * sign * np.array([1, -1, -1, -1])
    within, beyond = (of_logits(DRAWN + share * errors) for share in (0.9, 1.2))
    assert score_differences(within, of_logits(DRAWN), bitwise=False) == []
    assert "class 0: " in score_differences(beyond, of_logits(DRAWN), bitwise=False)[0]


def test_scores_that_saturate_leave_no_room_beyond_that_of_their_logits() -> None:
    scores = of_logits(30 * DRAWN)
    moved = scores.softmax.copy()
    image, label = np.argwhere((moved < 1e-8) & (moved > 1e-20))[0]
    moved[image, label] = 9e-7
    # Comparing scores alone would not have seen it.
    assert abs(moved - scores.softmax).max() < SCORE_TOLERANCE
    (difference,) = score_differences(replace(scores, softmax=moved), scores, bitwise=False)
    assert f"the worst is {image}, class {label}: 8.99999975e-07 saved" in difference


def test_one_image_with_large_logits_opens_no_range_of_the_others() -> None:
    logits = DRAWN.copy()
    before = softmax_range(of_logits(logits))
    logits[0] *= 1e6
    after = softmax_range(of_logits(logits))
    assert np.allclose(before[0][1:], after[0][1:], rtol=1e-5, atol=0)
    assert np.allclose(before[1][1:], after[1][1:], rtol=1e-5, atol=0)
