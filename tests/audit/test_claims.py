"""Single checks on hand-made values: the claim, its evidence, and the conditions that would excuse the value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from in4310repro.audit import averages
from in4310repro.audit.averages import batch_means
from in4310repro.audit.claims import CONDITIONS, FORMATS, ROUNDED, Claim, describe_sizes, find_conditions, make_finding
from in4310repro.audit.confusion import check_matrix, matrix_counts
from in4310repro.audit.document import Average, Measure, Value
from in4310repro.audit.intervals import Interval, Rounding
from in4310repro.audit.links import Link
from in4310repro.audit.matrix_scores import score_matrix
from in4310repro.audit.search import check_unsized
from in4310repro.audit.shares import check_floor, check_totals, least_average_precision, list_ranked
from in4310repro.audit.sheets import Sheet, make_cells
from in4310repro.audit.verdicts import Finding, Options, Rank
from tests.audit.by_hand import cell, column, matrix, number, sheet_of, value

ACCURACY, RECALL, PRECISION, F1 = Measure.ACCURACY, Measure.RECALL, Measure.PRECISION, Measure.F1
AP, KAPPA = Measure.AVERAGE_PRECISION, Measure.KAPPA
R, T, W = Rounding.ROUNDED, Rounding.TRUNCATED, Rounding.TWICE
TWICE, CUT = CONDITIONS[W], CONDITIONS[T]


@pytest.mark.parametrize(
    ("fitting", "apart", "expected"),
    [
        ([(R, R), (T, T)], True, None),
        ([], True, ()),
        ([(W, W)], False, (TWICE,)),
        ([(T, T)], False, (CUT,)),
        ([(T, T), (W, W)], False, (TWICE, CUT)),
        ([(T, W)], True, (CUT,)),
        ([(W, T)], True, (CUT,)),
        ([(W, T), (T, W), (T, T)], True, (CUT,)),
        ([(W, T), (T, W)], False, ()),
        ([(R, T), (T, R), (R, W)], True, ()),
    ],
)
def test_other_ways_of_rounding_are_conditions_the_summary_in_another_one_only_where_it_was_printed_apart(
    fitting: list[tuple[Rounding, Rounding]], apart: bool, expected: tuple[str, ...] | None
) -> None:
    parts, summary = [cell("0.50")], cell("0.512" if apart else "0.51")
    assert find_conditions(lambda *ways: ways in fitting, parts, summary) == expected


@pytest.mark.parametrize(
    ("summary", "parts", "apart"),
    [("50%", "50%", True), ("50.0%", "50.0%", False), ("0.50", "0.50", False), ("0.5", "0.50", True)],
)
def test_a_summary_is_printed_apart_with_other_decimals_or_as_a_percentage_without_any(
    summary: str, parts: str, apart: bool
) -> None:
    given = find_conditions(lambda *ways: ways == (T, W), [cell(parts)], cell(summary))
    assert given == ((CUT,) if apart else ())
    assert find_conditions(lambda *ways: ways == (T, W), [cell(parts)]) == ()


SHARES = (cell("0.50"), cell("0.25"))


def judged(cells: tuple[Any, ...] = SHARES, averaged: bool = False, gap: bool = False, **fields: Any) -> Finding:
    sheet = sheet_of(*column(ACCURACY, a="0.50", b="0.25"), partial=gap, options=Options(folds=5 if averaged else None))
    return make_finding(Claim(kind="k", message="m", cells=cells, **fields), sheet)


GAP, MEANS = "classes are left out of the table", "the values are means over 5 folds or runs"


@pytest.mark.parametrize(
    ("fields", "conditions"),
    [
        ({}, ()),
        ({"conditions": ("c", "c")}, ("c",)),
        ({"needs_all": True}, (GAP,)),
        ({"needs_counts": True}, (MEANS,)),
        ({"needs_all": True, "needs_counts": True, "conditions": ("c",)}, ("c", GAP, MEANS)),
    ],
)
def test_a_claim_with_a_condition_accuses_nobody(fields: dict[str, Any], conditions: tuple[str, ...]) -> None:
    made = judged(averaged=True, gap=True, **fields)
    assert made == Finding(
        kind="k",
        rank=Rank.UNLESS if conditions else Rank.IMPOSSIBLE,
        tables=("t",),
        message="m",
        conditions=conditions,
        values=tuple(each.value for each in SHARES),
        readings=("as shares of one",),
        excluded=(FORMATS,),
    )
    assert judged(needs_all=True, needs_counts=True).rank is Rank.IMPOSSIBLE


def test_what_is_excluded_names_the_ways_of_rounding_that_are_no_condition() -> None:
    assert judged(excluded=("x", FORMATS)).excluded == ("x", FORMATS)
    assert judged(excluded=("x", FORMATS), conditions=("c",)).excluded == ("x", FORMATS)
    assert judged(excluded=("x", FORMATS), conditions=("c", CUT)).excluded == ("x", ROUNDED)
    assert judged(conditions=(TWICE,)).excluded == (ROUNDED,)
    assert (judged(readings=("r",)).readings, judged(inputs=("i",)).inputs) == (("r",), ("i",))


@pytest.mark.parametrize(
    ("kind", "lines", "of_matrix", "rests"),
    [
        ("mean", (1, 2), False, True),
        ("mean", (1,), False, False),
        ("mean", (2,), False, False),
        # The matrix is of the table.
        ("confusion matrix", (1,), False, False),
        ("confusion matrix", (2,), False, True),
        # The matrix stands beside the table, as the second value does.
        ("confusion matrix", (1,), True, True),
        ("confusion matrix", (2,), True, False),
    ],
)
def test_a_claim_rests_on_a_link_where_it_uses_what_stands_on_both_sides(
    kind: str, lines: tuple[int, ...], of_matrix: bool, rests: bool
) -> None:
    link = Link(text="t", lines=frozenset({2}), matrix=of_matrix, conditions=("c",))
    cells = make_cells([value("0.50", "a", line=line) for line in lines])
    made = make_finding(Claim(kind=kind, message="m", cells=tuple(cells)), replace(sheet_of(), links=(link,)))
    assert (made.conditions, made.inputs) == (("c",) * rests, ("t",) * rests)


@pytest.mark.parametrize(
    ("texts", "reading"),
    [
        ("0.50 0.25", "as shares of one"),
        ("50% 25%", "as percentages"),
        ("50% 0", "as percentages and shares"),
        ("50% 0.5", "as percentages; those of at most one also as shares"),
    ],
)
def test_how_numbers_were_taken_is_said(texts: str, reading: str) -> None:
    cells = tuple(make_cells([value(text, "a") for text in texts.split()]))
    assert judged(cells).readings == (reading,)


def test_sizes_that_are_used_are_named_with_where_they_are_from() -> None:
    sheet = sheet_of(*column(ACCURACY, a="0.50", b="0.25"), options=Options(sizes={"a": 4}))
    assert describe_sizes(sheet, ["a", "b"]) == ("4 images of a, given",)
    assert describe_sizes(sheet_of(sizes={"b": 3}), ["b"]) == ("3 images of b, printed",)


# Totals: counts beside the classes and the summary.


def counted(*counts: tuple[int, int] | None, measure: Measure = ACCURACY) -> list[Value]:
    return [value("0.5", name, measure, count=count) for name, count in zip("abc", counts, strict=False)]


@pytest.mark.parametrize(
    ("classes", "total", "found"),
    [
        (counted((1, 2), (3, 4)), (4, 6), False),
        (counted((1, 2), (3, 4)), (5, 6), True),
        (counted((1, 2), (3, 4)), (5, 7), False),
        (counted((1, 2), (3, 4)), None, False),
        (counted((1, 2), (3, 4), None), (5, 6), False),
        (counted((4, 6)), (5, 6), False),
        (counted((1, 2), (3, 4), measure=RECALL), (5, 6), False),
    ],
)
def test_counts_over_all_images_are_the_sum_of_those_of_the_classes_where_the_images_add_up(
    classes: list[Value], total: tuple[int, int] | None, found: bool
) -> None:
    whole = value("0.7", None, ACCURACY, Average.OVERALL, count=total, label="Overall")
    claims = list(check_totals(sheet_of(*counted(measure=F1), value("0.5", "a", F1), *classes, whole)))
    assert len(claims) == found
    for claim in claims:
        assert [each.value for each in claim.cells] == [whole, *classes]
        assert replace(claim, cells=()) == Claim(
            kind="total",
            message="Overall is printed with 5 of 6 images right; the classes have 4",
            cells=(),
            inputs=("1 of 2", "3 of 4"),
            readings=("counts of right images beside each class",),
            needs_all=True,
        )


def test_a_total_without_a_label_is_named_by_its_measure_and_a_class_without_images_is_no_input() -> None:
    whole = value("0.7", None, ACCURACY, Average.OVERALL, count=(4, 4))
    (claim,) = check_totals(sheet_of(*counted((0, 0), (3, 4)), whole))
    assert claim.message == "accuracy is printed with 4 of 4 images right; the classes have 3"
    assert claim.inputs == ("3 of 4",)


# The floor of average precision.


def test_the_floor_is_below_the_worst_ranking_by_less_than_a_billionth() -> None:
    for positives, negatives in ((1, 1), (3, 7), (50, 20)):
        exact = sum(Fraction(i, i + negatives) for i in range(1, positives + 1)) / positives
        assert Fraction(1, 2**41) < 1 - least_average_precision(positives, negatives) / exact < Fraction(1, 2**39)


def test_images_are_ranked_where_all_sizes_are_known_and_a_class_has_images_and_a_value() -> None:
    values = column(AP, a="0.50", b="0.00", c="0.25", d="0.75")
    sizes = {"a": 1, "b": 2, "c": 0, "d": 3, "e": 4}
    assert [(name, cell.share, p, n) for name, cell, p, n in list_ranked(sheet_of(*values, sizes=sizes))] == [
        ("a", Fraction("0.5"), 1, 9),
        ("d", Fraction("0.75"), 3, 7),
    ]
    for others in ({"sizes": {"a": 1, "b": 2, "c": 3}}, {"sizes": sizes, "whole_images": False}):
        assert list(list_ranked(sheet_of(*values, **others))) == []
    assert list(list_ranked(sheet_of(*column(ACCURACY, a="0.5"), sizes=sizes))) == []


@pytest.mark.parametrize("beside", [False, True])
def test_an_average_precision_below_the_floor_is_claimed_and_is_of_boxes_unless_accuracies_stand_beside(
    beside: bool,
) -> None:
    # The worst of one image among ten has 1/10, which is printed as 0.10 and, truncated, as 0.09.
    values = [*column(AP, a="0.08", b="0.90"), *(column(ACCURACY, a="0.50") if beside else [])]
    (claim,) = check_floor(sheet_of(*values, sizes={"a": 1, "b": 9}))
    assert replace(claim, cells=()) == Claim(
        kind="floor",
        message="average precision of a is printed as 0.08; the worst ranking of 1 images among 10 has 0.1000",
        cells=(),
        conditions=() if beside else ("the average precision is of boxes, not of whole images",),
        inputs=("1 images of a, printed",),
        needs_all=True,
        needs_counts=True,
    )
    assert [each.share for each in claim.cells] == [Fraction("0.08")]
    assert list(check_floor(sheet_of(*column(AP, a="0.09", b="0.90"), sizes={"a": 1, "b": 9}))) == []


# Accuracies that no class up to the bound has.


def lonely(*values: Value, bound: int = 100, **others: Any) -> list[Finding]:
    return list(check_unsized([sheet_of(*values, options=Options(bound=bound), **others)], Options(bound=bound)))


def test_an_accuracy_that_no_size_up_to_the_bound_gives_needs_a_larger_class() -> None:
    # Rounded twice, from 5/9 of a unit below; truncated, to one above. No number in half precision is printed so.
    least = next(n for n in range(1, 999) if any(-5 / 90_000 <= k / n - 0.4957 <= 0.0001 for k in range(n + 1)))
    first, second = column(ACCURACY, a="0.4957", b="0.5000")
    (found,) = lonely(first, second)
    assert found == Finding(
        kind="no fraction",
        rank=Rank.UNLESS,
        tables=("t",),
        message="accuracy of a is printed as 0.4957, and no k/n with n up to 100 is printed so",
        conditions=(f"the class has {least} images or more", "the value is a mean over batches, folds or runs"),
        values=(first,),
        readings=("as the share of images of the class that are right",),
        excluded=("every k/n with n up to 100, rounded or truncated, in float64 and float32",),
    )
    assert lonely(first, second, bound=least) == []
    assert len(lonely(first, second, bound=least - 1)) == 1
    assert len(lonely(second, first)) == 1
    # 0.4953 is that of a number in half precision, which may be of any count.
    assert lonely(*column(ACCURACY, a="0.4953")) == []


@pytest.mark.parametrize(
    "others",
    [
        {"sizes": {"a": 50, "b": 50}},
        {"whole_images": False},
        {"values": (value("0.4957", "a", spread=number("0.01")), value("0.5", "b"))},
        {"values": (value("-0.4957", "a"), value("0.5", "b"))},
        {"values": (value("0.4957", "a", PRECISION), value("0.5", "b", PRECISION))},
    ],
)
def test_values_with_a_size_or_a_spread_or_below_zero_are_no_lonely_ones(others: dict[str, Any]) -> None:
    assert lonely(*others.pop("values", column(ACCURACY, a="0.4957", b="0.5000")), **others) == []


def test_folds_excuse_one_table_and_not_the_next() -> None:
    values = column(RECALL, a="0.4957", b="0.5000")
    of_folds, plain = sheet_of(*values, name="folds", options=Options(folds=5)), sheet_of(*values)
    found = list(check_unsized([of_folds, plain], Options(bound=100)))
    assert [(each.tables, each.message[:11]) for each in found] == [(("t",), "recall of a")]


# Means over batches.


def test_batches_of_one_image_up_to_1024_and_the_error_of_doubles_are_considered() -> None:
    assert averages.BATCH == 1024
    half = Interval(low=Fraction(1, 2), high=Fraction(1, 2))
    # Of one image: a batch of one.
    assert batch_means(Interval(low=Fraction(1), high=Fraction(1)), 1).high == 1 + averages.ERROR
    assert 1 / averages.ERROR == 1_000_000_000_000
    # Of two images with one right no batch size moves the mean, and of none at all nothing does.
    assert batch_means(half, 2) == half.widened(averages.ERROR)


@pytest.mark.parametrize("images", [3, 4, 5, 1023, 1024, 1025, 2048])
def test_the_largest_batch_is_the_whole_set_or_1024_images(images: int) -> None:
    right = images - 1
    share = Interval(low=Fraction(right, images), high=Fraction(right, images))
    # One wrong image in a last batch of r weighs 1/(B r); it is the worst in the smallest last batch.
    worst = min(
        1 - 1 / (-(-images // b) * (images - (-(-images // b) - 1) * b)) for b in range(1, min(images, 1024) + 1)
    )
    assert float(batch_means(share, images).low) == pytest.approx(worst, abs=3e-12)


# Confusion matrices.


def test_scores_of_a_matrix_by_hand_are_none_where_they_are_undefined() -> None:
    scores = score_matrix([[3, 1, 0], [1, 5, 0], [0, 0, 0]])
    assert scores.sizes == (4, 6, 0)
    assert {measure: scores.by_measure[measure] for measure in (RECALL, PRECISION, F1)} == {
        RECALL: (Fraction(3, 4), Fraction(5, 6), None),
        PRECISION: (Fraction(3, 4), Fraction(5, 6), None),
        F1: (Fraction(3, 4), Fraction(5, 6), Fraction(0)),
    }
    # p = 8/10, e = (16 + 36)/100: (80 - 52) / (100 - 52)
    assert (scores.accuracy, scores.kappa) == (Fraction(4, 5), Fraction(28, 48))
    assert score_matrix([[1]]).accuracy == 1
    alone = score_matrix([[2, 0], [0, 0]])
    assert (alone.accuracy, alone.kappa) == (Fraction(1), None)
    assert alone.of_class(Measure.BALANCED_ACCURACY, 0) == ()
    empty = score_matrix([[0, 0], [0, 0]])
    assert (empty.accuracy, empty.kappa, empty.by_measure[PRECISION]) == (Fraction(0), None, (None, None))


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (matrix("8 4", "2 7"), [[8, 4], [2, 7]]),
        (matrix("8.0 0", "2 7"), [[8, 0], [2, 7]]),
        (matrix("8.5 4", "2 7"), None),
        (matrix("8 -4", "2 7"), None),
        (matrix("8 4", "2 7", shares=True), None),
        (matrix("8 4"), None),
    ],
)
def test_counts_are_whole_and_of_a_square_matrix(made: Any, expected: list[list[int]] | None) -> None:
    assert matrix_counts(made) == expected


def report(recalls: str = "0.67 0.78", *others: Value, of: Any = None, **fields: Any) -> Sheet:
    made = of or matrix("8 4", "2 7")
    values = [value(text, name, RECALL) for text, name in zip(recalls.split(), "abc", strict=False)]
    return sheet_of(*values, *others, **{"matrix": made, "sizes": {"a": 12, "b": 9}, **fields})


def messages(sheet: Sheet) -> list[tuple[str, tuple[str, ...]]]:
    return [(claim.message, claim.conditions) for claim in check_matrix(sheet)]


B = "recall of b is printed as 0.70; the confusion matrix gives 7/9 = 0.777778"


def test_a_value_that_is_not_that_of_the_matrix_is_claimed_with_all_that_it_rests_on() -> None:
    assert messages(report()) == []
    made = matrix("8 4", "2 7")
    spread = tuple(
        tuple(replace(each, line=7 + i + 2 * j) for j, each in enumerate(row)) for i, row in enumerate(made.rows)
    )
    (claim,) = check_matrix(report("0.67 0.70", of=replace(made, rows=spread)))
    assert replace(claim, cells=()) == Claim(
        kind="confusion matrix",
        message=B,
        cells=(),
        inputs=("the confusion matrix from line 7, whose sums are the class sizes",),
        readings=("rows are the true classes",),
        excluded=("the other orientation of the matrix", FORMATS),
        needs_counts=True,
    )
    assert [each.value.class_name for each in claim.cells] == ["b"]
    # Turned, with the sums of its columns as sizes.
    (turned,) = check_matrix(report("0.67 0.70", of=matrix("8 2", "4 7")))
    assert (turned.message, turned.readings) == (B, ("rows are the predicted classes",))
    # 8 of 10 and 7 of 11 by its rows, which are not the sizes.
    sums = list(check_matrix(report("0.80 0.64", of=matrix("8 2", "4 7"))))
    assert [each.readings for each in sums] == [("rows are the predicted classes",)] * 2
    truncated = report("0.66 0.77")
    assert [conditions for _, conditions in messages(truncated)] == [(CUT,), (CUT,)]


def nothing() -> Iterator[Sheet]:
    wrong = "0.67 0.70"
    yield report(wrong, matrix=None)
    yield report(wrong, sizes={"a": 12, "b": 9, "c": 3})
    yield report(f"{wrong} 0.5")
    yield report("0.67")
    yield report(wrong, of=matrix("8.5 4", "2 7"))
    # Of both orientations with these sizes one fits.
    yield report("0.60 0.60", of=matrix("6 4", "4 6"), sizes={"a": 10, "b": 10})


@pytest.mark.parametrize("sheet", list(nothing()), ids=range(6))
def test_a_matrix_of_other_sizes_or_classes_says_nothing(sheet: Sheet) -> None:
    assert messages(sheet) == []


ORDER = "the matrix has its classes in another order"


@pytest.mark.parametrize(
    ("sizes", "names", "conditions"),
    [((10, 10), "ab", ()), ((10, 10), "AB", ()), ((10, 10), "cd", (ORDER,)), ((12, 9), "cd", ())],
)
def test_equal_sizes_do_not_tell_the_order_of_the_classes(
    sizes: tuple[int, int], names: str, conditions: tuple[str, ...]
) -> None:
    rows = (f"8 {sizes[0] - 8}", f"{sizes[1] - 7} 7")
    found = messages(report("0.50 0.50", of=matrix(*rows, classes=names), sizes=dict(zip("ab", sizes, strict=True))))
    assert [each for _, each in found] == [conditions] * 2


def test_summaries_over_all_classes_are_held_against_the_matrix_in_the_way_that_has_the_fewest_faults() -> None:
    overall = value("0.90", None, ACCURACY, Average.OVERALL)
    kappa, mean = value("0.90", None, KAPPA), value("0.90", None, ACCURACY, Average.MACRO)
    recall = value("0.90", None, RECALL, Average.OVERALL)
    # kappa = (21 x 15 - (12 x 10 + 9 x 11)) / (441 - 219); the bare recall is that of no class and no average.
    found = list(check_matrix(report("0.67 0.78", overall, kappa)))
    assert [claim.message for claim in found] == [
        "accuracy over all classes is printed as 0.90; the confusion matrix gives 5/7 = 0.714286",
        "kappa over all classes is printed as 0.90; the confusion matrix gives 16/37 = 0.432432",
    ]
    (together,) = check_matrix(report("0.67 0.78", recall, overall, kappa, mean))
    assert [each.value.measure for each in together.cells] == [RECALL, ACCURACY, KAPPA, ACCURACY]
    assert together.conditions == ()
    # 6 and 4 of 10 by rows, 6 of 8 and 4 of 6... by columns other sums: one orientation alone has these sizes.
    both = report("0.60 0.40 ", overall, of=matrix("6 4", "4 6"), sizes={"a": 10, "b": 10})
    assert [message.split(" is")[0] for message, _ in messages(both)] == ["recall of b", "accuracy over all classes"]


def test_classes_without_images_have_no_recall_in_a_matrix() -> None:
    made = matrix("8 0 4", "0 0 0", "2 0 7", classes="abc")
    assert messages(report("0.67 0.50 0.78", of=made, sizes={"a": 12, "b": 0, "c": 9})) == []
