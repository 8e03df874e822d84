"""The audit's computations against brute force and scikit-learn: scores, matrices, batches, sizes, power."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    cohen_kappa_score,
    matthews_corrcoef,
    precision_recall_fscore_support,
)

from in4310repro.audit.averages import batch_means
from in4310repro.audit.document import Measure
from in4310repro.audit.examine import audit
from in4310repro.audit.intervals import Interval, smallest_size
from in4310repro.audit.matrix_scores import score_matrix
from in4310repro.audit.search import find_only_choice
from in4310repro.audit.shares import least_average_precision
from in4310repro.audit.verdicts import Rank

HEAD = "| Class | Precision | Recall | F1 | Support |\n|---|---|---|---|---|\n"


def scores_by_brute_force(size: int, predicted: int) -> set[tuple[str, str, str]]:
    """Return all (precision, recall, F1), as text, for `size` images and at most `predicted` predictions."""
    texts = set()
    for right, chosen in itertools.product(range(1, size + 1), range(1, predicted + 1)):
        if right <= chosen:
            precision, recall = right / chosen, right / size
            texts.add((f"{precision:.2f}", f"{recall:.2f}", f"{2 * right / (size + chosen):.2f}"))
    return texts


def test_scores_of_whole_counts_are_accused_exactly_where_brute_force_finds_none() -> None:
    size, possible = 27, scores_by_brute_force(27, 600)
    truncated = 0.0101
    for precision, recall, f1 in [*sorted(possible)[::97], ("0.76", "0.52", "0.62"), ("0.90", "0.52", "0.80")]:
        text = f"{HEAD}| sea | {precision} | {recall} | {f1} | {size} |\n| town | 1.00 | 1.00 | 1.00 | 10 |"
        accused = bool(audit(text, power=False).contradictions)
        near = any(
            all(
                0 <= float(a) - float(b) + truncated <= 2 * truncated
                for a, b in zip(other, (precision, recall, f1), strict=True)
            )
            for other in possible
        )
        assert not (accused and (precision, recall, f1) in possible)
        assert accused or near


def test_the_scores_of_a_matrix_are_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    truth, guess = generator.integers(0, 4, 300), generator.integers(0, 4, 300)
    counts = [[int(((truth == i) & (guess == j)).sum()) for j in range(4)] for i in range(4)]
    scores = score_matrix(counts)
    precision, recall, f1, support = precision_recall_fscore_support(truth, guess)
    mcc = [matthews_corrcoef(truth == place, guess == place) for place in range(4)]
    theirs = {Measure.PRECISION: precision, Measure.RECALL: recall, Measure.F1: f1, Measure.MATTHEWS: mcc}
    for measure, expected in theirs.items():
        assert [float(value or 0) for value in scores.by_measure[measure]] == pytest.approx(expected, rel=1e-12)
    assert scores.sizes == tuple(support)
    assert scores.kappa is not None
    assert float(scores.kappa) == pytest.approx(cohen_kappa_score(truth, guess), rel=1e-12)
    # The wrong twin, with rows as predictions, has precision and recall exchanged.
    twin = score_matrix([list(column) for column in zip(*counts, strict=True)])
    assert twin.by_measure[Measure.RECALL] == scores.by_measure[Measure.PRECISION] != scores.by_measure[Measure.RECALL]


def test_a_mean_over_batches_lies_in_its_bounds_and_the_bounds_are_reached() -> None:
    generator = np.random.default_rng(1)
    images, right = 530, 400
    exact = Fraction(right, images)
    bounds = batch_means(Interval(low=exact, high=exact), images)
    for batch in (2, 16, 64, 100, 128, 500, 512, 529):
        for _ in range(20):
            hits = generator.permutation(np.arange(images) < right)
            mean = np.mean([hits[start : start + batch].mean() for start in range(0, images, batch)])
            assert float(bounds.low) - 1e-9 <= mean <= float(bounds.high) + 1e-9
    # 529 images with 399 right, and a last batch of one that is right.
    assert float(bounds.high) == pytest.approx((399 / 529 + 1) / 2, abs=1e-9)


@pytest.mark.parametrize(("images", "right"), [(7, 3), (12, 11), (23, 2), (23, 20), (30, 15), (1500, 1499)])
def test_means_over_batches_reach_from_the_least_to_the_most_that_trying_all_last_batches_finds(
    images: int, right: int
) -> None:
    means = []
    for batch in range(1, min(images, 1024) + 1):
        batches = -(-images // batch)
        last = images - (batches - 1) * batch
        # A mean is linear in the hits of the last batch: its fewest and its most are enough.
        for hits in (max(0, right - (images - last)), min(right, last)):
            others = (right - hits) / batch
            means.append((others + hits / last) / batches)
    bounds = batch_means(Interval(low=Fraction(right, images), high=Fraction(right, images)), images)
    # Both ends have room for rounding errors, and not more.
    assert 0 <= min(means) - float(bounds.low) <= 5e-12
    assert 0 <= float(bounds.high) - max(means) <= 5e-12


@pytest.mark.parametrize(("positives", "negatives"), [(1, 1), (1, 5), (2, 3), (3, 3), (4, 2), (3, 0)])
def test_the_floor_is_the_least_average_precision_of_all_rankings(positives: int, negatives: int) -> None:
    images = positives + negatives
    worst = min(
        average_precision_score([place in chosen for place in range(images)], range(images))
        for chosen in itertools.combinations(range(images), positives)
    )
    assert float(least_average_precision(positives, negatives)) == pytest.approx(worst, rel=1e-9)


def test_the_smallest_size_is_that_of_trying_all() -> None:
    generator = np.random.default_rng(2)
    for _ in range(300):
        low = Fraction(int(generator.integers(0, 999)), 1000)
        high = low + Fraction(int(generator.integers(1, 40)), 10_000)
        tried = next(n for n in range(1, 2000) if any(low <= Fraction(k, n) <= high for k in (-(-low * n // 1),)))
        assert smallest_size(Interval(low=low, high=high)) == tried


def test_one_choice_of_sizes_is_found_and_two_are_not_one() -> None:
    assert find_only_choice([(3, 6), (5, 10)], 11) == (6, 5)
    assert find_only_choice([(3, 6), (3, 6)], 9) is None
    assert find_only_choice([(3, 6), (5, 10)], 12) is None


def alternating(decimals: int, sizes: tuple[int, int]) -> str:
    """Return four tables of two classes; tables 1 and 3 have the first size, tables 2 and 4 the second."""
    generator = np.random.default_rng(9)
    blocks = []
    for number in range(4):
        size = sizes[number % 2]
        # Prime to the size, so that no smaller one fits by itself.
        shares = [k / size for k in generator.choice([k for k in range(size) if np.gcd(k, size) == 1], 2)]
        rows = [f"Accuracy for class {c}: {share:.{decimals}f}" for c, share in enumerate(shares)]
        blocks.append("\n".join([*rows, f"Figure {number + 1}\n"]))
    return "\n".join(blocks)


def test_tables_that_alternate_between_two_image_sets_are_told_apart() -> None:
    groups = {group.tables: set(group.taken.values()) for group in audit(alternating(6, (300, 552)), power=False).sizes}
    assert groups == {("Figure 1", "Figure 3"): {300}, ("Figure 2", "Figure 4"): {552}}
    # Of one set there is one group.
    assert [group.tables for group in audit(alternating(6, (300, 300)), power=False).sizes] == [
        ("Figure 1", "Figure 2", "Figure 3", "Figure 4")
    ]


def test_power_is_that_of_the_report_and_repeats() -> None:
    text = "AP for sea = 0.5200\nAP for town = 0.6100\nAP for wood = 0.7300\nmAP = 0.6200"
    first, again = audit(text).power, audit(text).power
    assert first == again
    assert first is not None
    shares = {each.kind: each.as_read / each.tried for each in first.detections}
    # A first decimal of the first or last class may give what the mean of the other two is.
    assert shares["first decimal replaced"] > 0.9
    # A last decimal moves the mean by a third of what its rounding explains at most.
    assert shares["last decimal replaced"] < 1
    # Without its mean nothing can be found.
    alone = audit(text.rpartition("\n")[0]).power
    assert alone is not None
    assert all(each.impossible == 0 for each in alone.detections)


def test_a_matrix_that_gives_other_recalls_is_found() -> None:
    report = (
        "              precision    recall  f1-score   support\n\n"
        "         sea       0.80      0.67      0.73        12\n"
        "        town       0.64      0.78      0.70         9\n\n"
        "    accuracy                           0.71        21\n"
    )
    matrix = "\n[[8 4]\n [{a} {b}]]\n"
    good = report + matrix.format(a=2, b=7)
    assert audit(good, power=False).contradictions == ()
    wrong = report + matrix.format(a=4, b=5)
    assert "confusion matrix" in [finding.kind for finding in audit(wrong, power=False).contradictions]


def test_what_a_matrix_contradicts_is_named_with_its_class() -> None:
    report = (
        "              precision    recall  f1-score   support\n\n"
        "         sea       0.80      0.67      0.73        12\n"
        "        town       0.64      0.78      0.70         9\n"
    )
    found = audit(f"{report}\n[[8 4]\n [4 5]]\n", power=False).findings
    assert any(
        each.message.startswith("recall of town is printed as 0.78; the confusion matrix gives 5/9") for each in found
    )


@pytest.mark.parametrize(("printed", "findings"), [("0.4324", 0), ("0.4325", 1), ("0.7143", 1)])
def test_a_kappa_that_is_not_that_of_the_matrix_is_impossible_for_two_classes_where_weights_change_nothing(
    printed: str, findings: int
) -> None:
    text = (
        "              precision    recall  f1-score   support\n\n"
        "         sea       0.80      0.67      0.73        12\n"
        "        town       0.64      0.78      0.70         9\n\n"
        "    accuracy                           0.71        21\n"
        "\n[[8 4]\n [2 7]]\n\n"
        f"Cohen's kappa: {printed}\n"
    )
    audited = audit(text, power=False)
    found = [finding for finding in audited.findings if "kappa" in finding.message]
    assert len(found) == findings
    assert len(audited.contradictions) == findings


def test_a_count_beside_a_percentage_has_to_be_it() -> None:
    assert audit("Accuracy of sea: 95.3% (286/300)\nAccuracy of town: 70.0% (210/300)", power=False).findings == ()
    (finding,) = audit("Accuracy of sea: 93.3% (286/300)\nAccuracy of town: 70.0% (210/300)", power=False).findings
    assert (finding.kind, finding.rank) == ("count beside", Rank.AS_READ)
