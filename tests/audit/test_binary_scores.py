"""Scores of a binary test, compared with all possible integer counts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import pytest

from in4310repro.audit.binary_scores import LARGEST, has_counts
from in4310repro.audit.document import Measure
from in4310repro.audit.examine import audit
from in4310repro.audit.intervals import Interval
from in4310repro.audit.stated_sizes import Split
from in4310repro.audit.verdicts import Rank

SCORES = {
    "Sensitivity": Measure.RECALL,
    "Specificity": Measure.SPECIFICITY,
    "PPV": Measure.PRECISION,
    "NPV": Measure.NEGATIVE_PREDICTIVE_VALUE,
    "Accuracy": Measure.ACCURACY,
    "F1": Measure.F1,
    "Balanced accuracy": Measure.BALANCED_ACCURACY,
}


def share(part: int, whole: int) -> Fraction | None:
    return Fraction(part, whole) if whole else None


def exact(right: int, positives: int, rejected: int, negatives: int) -> dict[Measure, Fraction]:
    """Return the exact scores of a binary test by their definitions, without the undefined ones."""
    false, missed = negatives - rejected, positives - right
    scores = {
        Measure.RECALL: share(right, positives),
        Measure.SPECIFICITY: share(rejected, negatives),
        Measure.PRECISION: share(right, right + false),
        Measure.NEGATIVE_PREDICTIVE_VALUE: share(rejected, rejected + missed),
        Measure.ACCURACY: share(right + rejected, positives + negatives),
        Measure.F1: share(2 * right, 2 * right + false + missed),
        Measure.BALANCED_ACCURACY: (Fraction(right, positives) + Fraction(rejected, negatives)) / 2,
    }
    return {measure: score for measure, score in scores.items() if score is not None}


def about(score: Fraction, decimals: int) -> Interval:
    center, half = Fraction(round(score, decimals)), Fraction(1, 2 * 10**decimals)
    return Interval(low=center - half, high=center + half)


def by_trying_all(scores: Mapping[Measure, Interval], splits: list[tuple[int, int]]) -> bool:
    """Return True if some integer counts give all scores, by trying every TP, TN and number of positives."""
    return any(
        all(measure not in found or found[measure] in interval for measure, interval in scores.items())
        for positives, negatives in splits
        for right in range(positives + 1)
        for rejected in range(negatives + 1)
        for found in [exact(right, positives, rejected, negatives)]
    )


def drawn(generator: np.random.Generator, largest: int) -> tuple[int, int, dict[Measure, Fraction]]:
    positives, negatives = (int(n) for n in generator.integers(1, largest, 2))
    right, rejected = int(generator.integers(positives + 1)), int(generator.integers(negatives + 1))
    return positives, negatives, exact(right, positives, rejected, negatives)


@pytest.mark.parametrize("known", [True, False])
def test_the_search_agrees_with_trying_all_counts(known: bool) -> None:
    generator = np.random.default_rng(5 + known)
    answers = []
    for _ in range(80 if known else 60):
        positives, negatives, scores = drawn(generator, 14 if known else 8)
        measures = generator.permutation(list(scores))[: generator.integers(2, len(scores) + 1)].tolist()
        printed = {Measure(m): about(scores[Measure(m)], int(generator.integers(1, 4))) for m in measures}
        moved = Measure(measures[0])
        wrong = printed | {moved: about(scores[moved] + Fraction(int(generator.integers(-4, 5)), 80), 2)}
        total = positives + negatives
        splits = [(positives, negatives)] if known else [(p, total - p) for p in range(1, total)]
        split = Split(total=total, positives=positives if known else None)
        assert has_counts(printed, split)
        answers.append(by_trying_all(wrong, splits))
        assert has_counts(wrong, split) == answers[-1], (wrong, split)
    assert 0.1 < np.mean(answers) < 0.95


@pytest.mark.parametrize("positives", [None, 30_000])
@pytest.mark.parametrize("decimals", [2, 3, 4, 6])
def test_a_hundred_thousand_images_are_searched_at_once(positives: int | None, decimals: int) -> None:
    scores = exact(27_123, 30_000, 61_234, 70_000)
    printed = {measure: about(score, decimals) for measure, score in scores.items()}
    wrong = printed | {Measure.ACCURACY: about(scores[Measure.ACCURACY] + Fraction(3, 10**decimals), decimals)}
    start = time.perf_counter()
    found = [has_counts(each, Split(total=LARGEST, positives=positives)) for each in (printed, wrong)]
    assert time.perf_counter() - start < 1
    assert found == [True, False]


@pytest.mark.parametrize(("images", "undecided"), [(1413, False), (1414, True)])
def test_nothing_is_decided_of_more_than_a_million_pairs(images: int, undecided: bool) -> None:
    # Without a recall, P positives have P + 1 pairs: 998,990 for P from 1 to 1412, and 1,000,404 to 1413.
    scores = {Measure.F1: about(Fraction(1), 2), Measure.BALANCED_ACCURACY: about(Fraction(0), 2)}
    assert has_counts(scores, Split(total=images)) is undecided


@pytest.mark.parametrize("measure", [Measure.PRECISION, Measure.F1])
def test_a_score_of_exactly_zero_needs_no_right_positive(measure: Measure) -> None:
    zero = {measure: Interval(low=Fraction(0), high=Fraction(0))}
    assert has_counts(zero, Split(total=4, positives=2))
    assert not has_counts(zero | {Measure.RECALL: about(Fraction(1, 2), 2)}, Split(total=4, positives=2))


def report(scores: Mapping[Measure, Fraction], decimals: int, percent: bool = False) -> str:
    lines = []
    for name, measure in SCORES.items():
        if measure in scores:
            value = float(scores[measure])
            lines.append(f"{name}: {100 * value:.{decimals}f} %" if percent else f"{name}: {value:.{decimals}f}")
    return "\n".join(lines) + "\n"


HEADS = {
    "sentence": "Test set: {p} positives, {n} negatives\n\n",
    "counts by name": "Positives: {p}\nNegatives: {n}\n",
    "images": "Tested on {p} positive and {n} negative images.\n\n",
}


@pytest.mark.parametrize("head", HEADS)
def test_honest_tests_accuse_nobody_and_wrong_ones_are_found(head: str) -> None:
    generator = np.random.default_rng(11)
    found = 0
    for _ in range(25):
        positives, negatives = (int(n) for n in generator.integers(40, 900, 2))
        right, rejected = generator.binomial([positives, negatives], [0.9, 0.85]).tolist()
        scores = exact(right, positives, rejected, negatives)
        decimals, percent = int(generator.integers(2, 5)), bool(generator.integers(2))
        text = HEADS[head].format(p=positives, n=negatives)
        assert audit(text + report(scores, decimals, percent), power=False).findings == ()
        moved = [Measure.ACCURACY, Measure.PRECISION, Measure.F1, Measure.SPECIFICITY][int(generator.integers(4))]
        wrong = scores | {moved: scores[moved] - Fraction(1, 20)}
        found += audit(text + report(wrong, decimals, percent), power=False).exit_code
    assert found == 25


WRONG = {"Sensitivity": "0.91", "Specificity": "0.88", "PPV": "0.79", "NPV": "0.95", "Accuracy": "0.93", "F1": "0.85"}
LINES = "".join(f"{name}: {text}\n" for name, text in WRONG.items())
TABLE = "| metric | value |\n|---|---|\n" + "".join(f"| {name} | {text} |\n" for name, text in WRONG.items())

RECALLS = "| class | recall |\n|---|---|\n| sea | 0.92 |\n| town | 0.84 |\n"


@pytest.mark.parametrize(
    ("text", "rank"),
    [
        ("Test set: 100 positives, 200 negatives\n" + LINES, Rank.IMPOSSIBLE),
        ("Test set: 100 positives, 200 negatives\n\n" + TABLE, Rank.IMPOSSIBLE),
        # Of so many images in all, no split gives an accuracy beyond sensitivity and specificity.
        ("Test set: 300 images\n" + LINES, Rank.UNLESS),
        ("Test set: 300 images, benign and malignant\n" + LINES, Rank.IMPOSSIBLE),
        ("P = 100, N = 200\nSensitivity 0.91, specificity 0.88, accuracy 0.93\n", Rank.IMPOSSIBLE),
        ("Test set: 100 positives, 200 negatives, means over 5 folds\n" + LINES, Rank.UNLESS),
        ("Test set: 100 positives, 200 negatives, F1 at its own threshold\n" + LINES, Rank.UNLESS),
        ("Test set: 100 positives, 200 negatives\n" + LINES + "\nThe other network\n" + LINES, Rank.UNLESS),
        ("Test set: 100 positives, 200 negatives\n" + LINES + "\n" * 20 + "NPV: 0.90", Rank.UNLESS),
        # The scores begin in the ninth or the tenth line.
        ("Thresholds\n" + "\n" * 6 + "Test set: 100 positives, 200 negatives\n" + LINES, Rank.UNLESS),
        ("Thresholds\n" + "\n" * 7 + "Test set: 100 positives, 200 negatives\n" + LINES, Rank.IMPOSSIBLE),
        ("The data set has 100 positives and 200 negatives.\n\n\n\n" + LINES, Rank.UNLESS),
        ("We ran 5 folds.\n" + 20 * "\n" + "Test set: 100 positives, 200 negatives\n" + LINES, Rank.UNLESS),
        ("Trained on 100 positives, 200 negatives\n" + LINES, None),
        ("Test set: 100 positives, 200 negatives\n" + LINES.replace("F1", "Macro F1"), None),
        ("Test set: 100 positives, 200 negatives\n" + LINES.replace("0.93", "0.93 ± 0.01"), None),
        ("100 true positives, 200 true negatives\n" + LINES, None),
        ("91 positives of 300\n" + LINES, None),
        # Of more than 100,000 images no counts are tried.
        ("Test set: 50,000 positives, 50,001 negatives\n" + LINES, None),
        ("Test set: 0 positives, 200 negatives\n" + LINES, None),
        # Recalls of classes elsewhere are no second test.
        ("Test set: 100 positives, 200 negatives\n" + LINES + "\n" * 20 + RECALLS, Rank.IMPOSSIBLE),
        (LINES, None),
    ],
)
def test_the_rank_follows_from_what_the_text_says(text: str, rank: Rank | None) -> None:
    ranks = {finding.rank for finding in audit(text, power=False).findings if finding.kind == "binary scores"}
    assert ranks == ({rank} if rank else set())


@pytest.mark.parametrize("images", ["100 positives and 200 negatives", "300 images"])
def test_a_claim_names_the_images_that_the_text_has(images: str) -> None:
    (found,) = audit(f"Test set: {images}\n{LINES}", power=False).findings
    assert found.message.endswith(f" of {images}")
    assert found.inputs == (f"{images}, as line 1 says",)


def test_precision_and_recall_alone_may_be_averages_over_both_classes() -> None:
    text = "Test set: 100 positives, 200 negatives\nPrecision: 0.91\nRecall: 0.90\nF1: 0.90\nAccuracy: 0.90\n"
    assert audit(text, power=False).findings == ()
