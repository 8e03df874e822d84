"""Kappa, correlation, specificity and micro averages beside the scores of all classes, without a matrix."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from in4310repro.audit.bounds import Tallies, extremes
from in4310repro.audit.document import Average, Measure, Value
from in4310repro.audit.examine import audit
from in4310repro.audit.intervals import Interval, Rounding
from in4310repro.audit.joint_counts import make_problem
from in4310repro.audit.joint_scores import WEIGHTED_KAPPA, check_report_scores
from in4310repro.audit.verdicts import Rank
from tests.audit.by_hand import REPORT, column, sheet_of, value
from tests.audit.simulation import simulate

P, R, F1 = Measure.PRECISION, Measure.RECALL, Measure.F1
SPECIFICITY, NPV, MCC = Measure.SPECIFICITY, Measure.NEGATIVE_PREDICTIVE_VALUE, Measure.MATTHEWS


@pytest.mark.parametrize("order", ["{report}\n{line}\n", "{line}\n\n{report}"], ids=["after", "before"])
@pytest.mark.parametrize(
    ("line", "right"),
    [
        ("Kappa: 0.67", True),
        ("Kappa: 0.72", False),
        ("Cohen's kappa score: 0.6673", True),
        ("Cohen's kappa score: 0.58", False),
        ("MCC: 0.67", True),
        ("MCC: 0.71", False),
        ("Matthews correlation coefficient: 0.7512", False),
        ("Specificity: 0.89", True),
        ("Specificity: 0.95", False),
        ("Macro specificity: 0.89", True),
        ("Macro specificity: 0.83", False),
        ("NPV: 0.89", True),
        ("NPV: 0.50", False),
        ("Balanced accuracy: 0.79", True),
        ("Balanced accuracy: 0.83", False),
        ("Micro F1: 0.78", True),
        ("Micro F1: 0.83", False),
        ("Micro-averaged precision: 0.83", False),
        ("Precision: 0.79", True),
        ("Precision: 0.61", False),
        ("F1: 0.89", False),
        # Weights by distances need more than sums.
        ("Quadratic weighted kappa: 0.95", True),
        ("Weighted kappa: 0.90", True),
        ("Kappa (linear): 0.90", True),
    ],
)
def test_a_summary_beside_a_report_is_one_that_its_scores_allow(order: str, line: str, right: bool) -> None:
    found = [finding.rank for finding in audit(order.format(report=REPORT, line=line), power=False).findings]
    assert found == ([] if right else [Rank.AS_READ])


def test_a_kappa_of_classes_with_an_order_may_be_weighted_by_it() -> None:
    graded = REPORT.replace(" sea", "mild").replace("    town", "moderate").replace("  wood", "severe")
    (found,) = audit(f"{graded}\nKappa: 0.72\n", power=False).findings
    assert (found.rank, found.conditions) == (Rank.UNLESS, (WEIGHTED_KAPPA,))


def scores_by_counting(matrix: np.ndarray) -> dict[tuple[Measure, int | None, Average | None], float]:
    """Return every score of a matrix by its definition, with (measure, class, average) as key."""
    total, right = matrix.sum(), np.trace(matrix)
    found: dict[tuple[Measure, int | None, Average | None], float] = {}
    for place in range(len(matrix)):
        tp, fn, fp = matrix[place, place], matrix[place].sum(), matrix[:, place].sum()
        fn, fp = fn - tp, fp - tp
        tn = total - tp - fn - fp
        root = float((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) ** 0.5
        found |= {
            (P, place, None): tp / max(1, tp + fp),
            (R, place, None): tp / (tp + fn),
            (F1, place, None): 2 * tp / (2 * tp + fp + fn),
            (SPECIFICITY, place, None): tn / (tn + fp),
            (NPV, place, None): tn / max(1, tn + fn),
            (MCC, place, None): (tp * tn - fp * fn) / root if root else 0.0,
            (Measure.BALANCED_ACCURACY, place, None): (tp / (tp + fn) + tn / (tn + fp)) / 2,
        }
    chance = float(matrix.sum(axis=0) @ matrix.sum(axis=1))
    spread = float(total**2 - (matrix.sum(axis=0) ** 2).sum()) * float(total**2 - (matrix.sum(axis=1) ** 2).sum())
    found[Measure.KAPPA, None, None] = (total * right - chance) / max(1.0, total**2 - chance)
    found[MCC, None, None] = (total * right - chance) / spread**0.5 if spread else 0.0
    found[F1, None, Average.MICRO] = found[P, None, Average.MICRO] = right / total
    for measure in (SPECIFICITY, NPV):
        found[measure, None, Average.MACRO] = float(np.mean([found[measure, c, None] for c in range(len(matrix))]))
    return found


def printed(matrix: np.ndarray, decimals: int = 2) -> list[Value]:
    return [
        value(f"{share:.{decimals}f}", None if place is None else "abcdef"[place], measure, average, line=1)
        for (measure, place, average), share in scores_by_counting(matrix).items()
    ]


@pytest.mark.parametrize("decimals", [2, 3, 4])
def test_no_scores_of_a_matrix_are_accused(decimals: int) -> None:
    generator = np.random.default_rng(17)
    for classes in (2, 3, 4, 5) * 8:
        sizes = [int(n) for n in generator.integers(2, 60, size=classes)]
        matrix = simulate(generator, "abcdef"[:classes], sizes).matrix
        sizes_by_name = dict(zip("abcdef", matrix.sum(axis=1).tolist(), strict=False))
        assert list(check_report_scores(sheet_of(*printed(matrix, decimals), sizes=sizes_by_name))) == []


@pytest.mark.parametrize(
    ("rows", "decimals"),
    [
        ([[1, 0, 2], [1, 1, 2], [10, 0, 2]], 2),
        ([[90, 10, 0], [10, 90, 0], [25, 25, 0]], 2),
        # A correlation of 0.73; those of the classes are 0.89, 0.80, 0.39 and 0.39, with a mean of 0.62.
        ([[28, 0, 4, 0], [0, 27, 7, 1], [0, 0, 3, 0], [0, 0, 2, 1]], 1),
    ],
)
def test_no_scores_of_a_matrix_are_accused_with_less_right_than_by_chance_or_a_class_with_few_or_without_any(
    rows: list[list[int]], decimals: int
) -> None:
    matrix = np.array(rows)
    sizes = dict(zip("abcd", matrix.sum(axis=1).tolist(), strict=False))
    assert list(check_report_scores(sheet_of(*printed(matrix, decimals), sizes=sizes))) == []


def test_what_is_claimed_of_small_classes_no_matrix_gives() -> None:
    generator, sizes = np.random.default_rng(5), (4, 3, 2)
    lines = [[s for s in itertools.product(range(size + 1), repeat=3) if sum(s) == size] for size in sizes]
    every = [np.array(choice) for choice in itertools.product(*lines)]
    basic = [place for place, each in enumerate(printed(every[0])) if each.measure in (P, R, F1) and each.class_name]
    tables = [[each.printed.text for each in printed(matrix)] for matrix in every]
    claimed = 0
    for _ in range(40):
        one, other = (int(generator.integers(len(every))) for _ in range(2))
        values, theirs = printed(every[one]), printed(every[other])
        rest = [place for place in range(len(values)) if place not in basic]
        place = int(generator.choice(rest))
        values = [values[each] for each in basic] + [theirs[place]]
        made = sheet_of(*values, sizes=dict(zip("abc", sizes, strict=True)))
        possible = any(
            [row[each] for each in basic] == [v.printed.text for v in values[:-1]]
            and row[place] == theirs[place].printed.text
            for row in tables
        )
        claims = list(check_report_scores(made))
        assert not (possible and claims)
        claimed += bool(claims)
    assert claimed >= 10


def test_scores_of_a_class_against_the_rest_go_with_its_counts() -> None:
    # 40 of 50 right and 50 predicted: specificity 90/100, NPV 90/100.
    for measure, text, found in (
        (SPECIFICITY, "0.90", False),
        (SPECIFICITY, "0.93", True),
        (NPV, "0.90", False),
        (NPV, "0.95", True),
        (MCC, "0.70", False),
        (MCC, "0.74", True),
        (Measure.BALANCED_ACCURACY, "0.85", False),
        (Measure.BALANCED_ACCURACY, "0.90", True),
    ):
        values = [*column(P, a="0.80", b="0.90"), *column(R, a="0.80", b="0.90"), *column(measure, a=text)]
        claims = list(check_report_scores(sheet_of(*values, sizes={"a": 50, "b": 100})))
        # Means over folds have no whole images.
        assert [(claim.kind, claim.needs_counts) for claim in claims] == [("scores against the rest", True)] * found


def test_a_contradiction_of_precision_and_recall_is_not_one_of_the_scores_against_the_rest_too() -> None:
    # 40 of 50 right: a precision of 0.25 needs 117 wrong predictions, and there are 100 other images.
    values = [*column(P, a="0.25", b="0.90"), *column(R, a="0.80", b="0.90"), *column(SPECIFICITY, a="0.50")]
    assert list(check_report_scores(sheet_of(*values, sizes={"a": 50, "b": 100}))) == []


def test_five_values_that_a_score_may_have_are_all_listed() -> None:
    # 90/100 and 40/50 of the classes: their mean, that by images, 130/150 over all decisions, and each.
    values = [*column(P, a="0.80", b="0.90"), *column(R, a="0.80", b="0.90"), value("0.50", None, SPECIFICITY)]
    (claim,) = check_report_scores(sheet_of(*values, sizes={"a": 50, "b": 100}))
    assert "specificity of 0.8500, or 0.8333, or 0.8667, or 0.9000, or 0.8000; 0.50 is printed" in claim.message


def test_extremes_of_a_sum_are_those_of_trying_all() -> None:
    generator = np.random.default_rng(3)
    for _ in range(50):
        ranges = [(int(low), int(low + more)) for low, more in generator.integers(0, 4, size=(3, 2))]
        values = [int(each) for each in generator.integers(0, 9, size=3)]
        total = int(generator.integers(sum(low for low, _ in ranges), sum(high for _, high in ranges) + 1))
        choices = itertools.product(*[range(low, high + 1) for low, high in ranges])
        sums = [int(np.dot(values, each)) for each in choices if sum(each) == total]
        assert extremes(values, ranges, total) == (min(sums), max(sums))


@pytest.mark.parametrize(
    ("accuracy", "summary", "found"),
    [
        # Each class has 75 to 85 of 100 right.
        (None, value("0.70", None, Measure.KAPPA, line=4), False),
        ("0.800", value("0.70", None, Measure.KAPPA, line=4), True),
        # An accuracy that the classes do not allow narrows nothing.
        ("0.700", value("0.70", None, Measure.KAPPA, line=4), False),
        # Of two classes, what is right of one is rejected of the other: it is the accuracy.
        (None, value("0.75", None, SPECIFICITY, Average.MICRO, line=4), False),
        (None, value("0.85", None, SPECIFICITY, Average.MICRO, line=4), False),
        (None, value("0.74", None, SPECIFICITY, Average.MICRO, line=4), True),
    ],
)
def test_a_narrow_accuracy_narrows_what_the_classes_allow(accuracy: str | None, summary: Value, found: bool) -> None:
    values = [each for measure in (P, R, F1) for each in column(measure, a="0.8", b="0.8")]
    label = "accuracy (precision)"
    over_all = [value(accuracy, None, Measure.ACCURACY, Average.OVERALL, line=3, label=label)] if accuracy else []
    made = sheet_of(*values, *over_all, summary, sizes={"a": 100, "b": 100})
    assert bool(list(check_report_scores(made))) is found


def test_no_kappa_is_claimed_where_all_images_would_be_predicted_as_each_class() -> None:
    # Each class has 50 of its 50 right among 100 predictions, and there are 100 images.
    values = [*column(P, a="0.50", b="0.50"), *column(R, a="1.00", b="1.00"), value("0.50", None, Measure.KAPPA)]
    assert list(check_report_scores(sheet_of(*values, sizes={"a": 50, "b": 50}))) == []


def test_scores_that_no_counts_give_bound_nothing() -> None:
    # No k of 2 images is 0.3 of them.
    problem = make_problem(sheet_of(*column(P, a="0.5", b="0.5"), *column(R, a="0.3", b="0.5"), sizes={"a": 2, "b": 2}))
    assert problem is not None
    tallies = Tallies(problem, Rounding.ROUNDED)
    assert (tallies.errors, tallies.kappas, tallies.matthews) == ((), (), ())


def test_a_micro_average_is_what_is_printed_where_that_touches_it() -> None:
    # One right image of two, and of two predicted ones, in each class: the micro average is 1/2.
    problem = make_problem(sheet_of(*column(P, a="0.5", b="0.5"), *column(R, a="0.5", b="0.5"), sizes={"a": 2, "b": 2}))
    assert problem is not None
    below, only, above = (Interval(low=Fraction(a, 4), high=Fraction(b, 4)) for a, b in ((1, 2), (2, 2), (3, 4)))
    tallies = Tallies(problem, Rounding.ROUNDED)
    assert [tallies.micro(F1, printed) for printed in (below, above)] == [[below], [only]]
