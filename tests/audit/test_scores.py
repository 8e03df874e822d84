"""Scores of one class and its number of images: compared with hand-computed values and all possible counts."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from in4310repro.audit import scores
from in4310repro.audit.claims import CONDITIONS, FORMATS, Claim
from in4310repro.audit.document import Average, Measure
from in4310repro.audit.intervals import Interval, Rounding, half_precision
from in4310repro.audit.scores import BEYOND, check_scores, f1_interval, find_predictions, harmonic
from in4310repro.audit.search import count_images, find_image_sets
from in4310repro.audit.shares import (
    ARITHMETIC,
    HALF,
    check_counts,
    check_printed_counts,
    check_range,
    counts,
    list_counted_columns,
)
from in4310repro.audit.verdicts import Counted, ImageSet, Options
from tests.audit.by_hand import E, cell, column, number, sheet_of, value

ACCURACY, RECALL, PRECISION, F1 = Measure.ACCURACY, Measure.RECALL, Measure.PRECISION, Measure.F1
BALANCED, KAPPA, OTHER = Measure.BALANCED_ACCURACY, Measure.KAPPA, Measure.OTHER
CUT, TWICE = CONDITIONS[Rounding.TRUNCATED], CONDITIONS[Rounding.TWICE]
ROUNDED = Rounding.ROUNDED


@pytest.mark.parametrize(
    ("text", "measure", "conditions"),
    [
        ("0.5", ACCURACY, None),
        ("1.0", ACCURACY, None),
        ("1.0000000000000002", ACCURACY, None),
        ("-0.00", ACCURACY, None),
        ("-0.01", ACCURACY, None),
        ("-0.02", ACCURACY, None),
        ("-1", ACCURACY, None),
        ("-1.5", ACCURACY, None),
        ("-0.3", BALANCED, None),
        ("-0.3", KAPPA, None),
        ("7.5", OTHER, None),
        ("1.5", F1, ("1.5 is a percentage without its sign",)),
        ("100", ACCURACY, ("100 is a percentage without its sign",)),
        ("101", ACCURACY, ("101 is a count or in another unit",)),
        ("101%", ACCURACY, ()),
    ],
)
def test_a_share_below_zero_or_above_one_is_none_unless_it_is_something_else(
    text: str, measure: Measure, conditions: tuple[str, ...] | None
) -> None:
    for name, subject in (("a", f"{measure} of a"), (None, "Mean")):
        made = value(text, name, measure, label="Mean")
        claims = list(check_range(sheet_of(value("0.5", "b", KAPPA), made, value("0.5", "c", F1))))
        if conditions is None:
            assert claims == []
            continue
        (claim,) = claims
        assert [each.value for each in claim.cells] == [made]
        assert replace(claim, cells=()) == Claim(
            kind="range",
            message=f"{subject} is printed as {text}, which is not a share between 0 and 1",
            cells=(),
            conditions=conditions,
            excluded=("a share", "a percentage"),
        )


def test_a_share_above_one_among_shares_is_no_percentage() -> None:
    (claim,) = check_range(sheet_of(*column(RECALL, a="1.006", b="0.947", c="0.500", d="1.000")))
    assert claim.conditions == ()
    zeros = [*column(F1, a="0.0", b="0.0", c="0.0"), value("1.6", None, F1, Average.MACRO, label="macro avg F1 (%)")]
    assert all(claim.conditions for claim in check_range(sheet_of(*zeros)))
    for a, b in (("17.006", "0.947"), ("1.006", "94.700"), ("1.006", "0.94")):
        claims = list(check_range(sheet_of(*column(RECALL, a=a, b=b, c="0.912"))))
        assert all(claim.conditions for claim in claims)


def test_class_values_of_at_most_one_beside_a_mean_in_percent_are_shares() -> None:
    values = [*column(ACCURACY, a="0.9071", b="0.9636", c="0.6242")]
    mean = value("82.49 %", None, ACCURACY, Average.MACRO, line=4)
    made = sheet_of(*values, mean, sizes={"a": 678, "b": 247, "c": 48})
    assert [claim.cells[0].value.class_name for claim in check_counts(made)] == ["c"]
    assert not any(cell.ambiguous for cell in made.classes[ACCURACY].values())
    # Beside a class in percent it may be either.
    mixed = sheet_of(*column(ACCURACY, a="0.95", b="93.00"))
    assert mixed.classes[ACCURACY]["a"].ambiguous


def test_other_values_of_a_column_rule_out_that_it_was_cut_off_or_computed_in_half_precision() -> None:
    # 322/323 = .9969, 405/410 = .9878 and 330/331 = .99698 are rounded up; 659 of 689 in half precision are .9565.
    sizes = {"a": 689, "b": 323, "c": 410, "d": 331}
    (claim,) = check_counts(sheet_of(*column(ACCURACY, a="0.957", b="0.997", c="0.988", d="0.997"), sizes=sizes))
    assert claim.cells[0].value.class_name == "a"
    assert CUT not in claim.conditions
    (claim,) = check_counts(sheet_of(*column(ACCURACY, a="0.957", b="0.997"), sizes=sizes))
    assert CUT in claim.conditions
    assert HALF in claim.conditions


def test_a_percentage_by_its_heading_may_be_a_count() -> None:
    made = value("101%", "a")
    by_heading = replace(made, printed=replace(made.printed, text="101"))
    (claim,) = check_range(sheet_of(by_heading))
    assert claim.conditions == ("101 is a count or in another unit",)


def test_columns_of_shares_of_images_are_recalls_or_accuracies_without_other_scores() -> None:
    def measures(*of: Measure, **others: Any) -> list[Measure]:
        values = [each for measure in of for each in column(measure, a="0.5", b="0.25")]
        return [next(iter(each.values())).value.measure for each in list_counted_columns(sheet_of(*values, **others))]

    assert measures(ACCURACY) == [ACCURACY]
    assert measures(ACCURACY, RECALL) == [RECALL]
    assert measures(ACCURACY, PRECISION) == measures(ACCURACY, F1) == measures(F1) == []
    assert measures(ACCURACY, Measure.AVERAGE_PRECISION) == [ACCURACY]
    assert measures(RECALL, whole_images=False) == []


# 0.52 of 25 is 13; 0.53 is none, and neither truncated nor rounded twice.
def test_a_value_that_no_number_of_images_gives_is_claimed_with_its_neighbours() -> None:
    (claim,) = check_counts(sheet_of(*column(RECALL, a="0.53", b="0.52", c="0.53"), sizes={"a": 25, "b": 25}))
    assert [each.value.class_name for each in claim.cells] == ["a"]
    assert replace(claim, cells=()) == Claim(
        kind="count",
        message="recall of a is printed as 0.53, and no number of 25 images gives that (13/25 = 0.52, 14/25 = 0.56)",
        cells=(),
        inputs=("25 images of a, printed",),
        excluded=(ARITHMETIC, FORMATS),
        needs_counts=True,
    )
    spread = replace(column(RECALL, a="0.53")[0], spread=number("0.01"))
    assert list(check_counts(sheet_of(spread, sizes={"a": 25}))) == []
    # 2/3 truncated.
    (cut,) = check_counts(sheet_of(*column(RECALL, a="0.66", b="0.33"), sizes={"a": 3, "b": 3}))
    assert (cut.conditions, cut.message[:27]) == ((CUT,), "recall of a is printed as 0")
    assert list(check_counts(sheet_of(*column(RECALL, a="0.53"), sizes={"a": 0}))) == []


@pytest.mark.parametrize(
    ("text", "size", "neighbours"),
    [
        ("0.5%", 1, ""),
        ("0.99", 25, " (24/25 = 0.96, 25/25 = 1)"),
        ("0.01", 25, " (0/25 = 0, 1/25 = 0.04)"),
        ("0.987", 7, " (6/7 = 0.857143, 7/7 = 1)"),
    ],
)
def test_neighbours_of_a_share_are_counts_of_the_class(text: str, size: int, neighbours: str) -> None:
    (claim,) = check_counts(sheet_of(*column(RECALL, a=text), sizes={"a": size}))
    assert claim.message == f"recall of a is printed as {text}, and no number of {size} images gives that{neighbours}"


OTHER_SET = "the table is of another image set than the sizes that are given"


@pytest.mark.parametrize(
    ("wrong", "right", "excused"), [(3, 2, True), (3, 3, False), (2, 0, False), (4, 4, False), (4, 3, True)]
)
def test_sizes_that_are_given_may_be_of_another_set_where_three_and_most_values_do_not_fit(
    wrong: int, right: int, excused: bool
) -> None:
    texts = {f"w{place}": "0.53" for place in range(wrong)} | {f"r{place}": "0.52" for place in range(right)}
    sizes = dict.fromkeys(texts, 25)
    given = list(check_counts(sheet_of(*column(RECALL, **texts), options=Options(sizes=sizes))))
    assert [claim.conditions for claim in given] == [(OTHER_SET,) if excused else ()] * wrong
    printed = list(check_counts(sheet_of(*column(RECALL, **texts), sizes=sizes)))
    assert [claim.conditions for claim in printed] == [()] * wrong


def test_counts_of_a_share_are_those_of_trying_all() -> None:
    for text, size in itertools.product(("0.50", "0.9", "1.0", "0.00", "0.123"), (1, 7, 30, 300)):
        half = Fraction(1, 2 * 10 ** (len(text) - 2))
        close = half + 4 * E
        # Zeros at the end are no decimals: a column that was rounded before.
        made = replace(cell(text), unit=2 * half)
        tried = [k for k in range(size + 1) if abs(Fraction(k, size) - Fraction(text)) <= close]
        assert list(counts(made, size, ROUNDED)) == tried


def test_counts_in_half_precision_are_looked_for_where_there_are_no_others() -> None:
    # 421/463 = 0.909287 is 0.90918 in half precision (931/1024), which is printed with five decimals.
    made = cell("0.90918")
    assert counts(made, 463, ROUNDED) == range(0)
    assert counts(made, 463, ROUNDED, half=True) == range(421, 422)
    assert counts(cell("0.90928"), 463, ROUNDED, half=True) == range(0)
    # Of 3,000 images several share a number: a step of 1/2048 has one or two counts.
    several = counts(cell("0.90918"), 3000, ROUNDED, half=True)
    tried = [k for k in range(2700, 2760) if abs(k / 3000 - 931 / 1024) < 1 / 4096]
    assert set(tried) <= set(several)
    assert len(several) < 8
    # Numbers of many images are rounded themselves, by several.
    for count in range(39_900, 40_001, 7):
        printed = [cell(f"{share:.7f}") for share in half_precision(40_000, count)]
        of_no_count = [each for each in printed if not counts(each, 40_000, ROUNDED)]
        assert all(count in counts(each, 40_000, ROUNDED, half=True) for each in of_no_count)


@pytest.mark.parametrize(
    ("count", "conditions"),
    [
        ((286, 300), None),
        ((280, 300), ()),
        ((0, 0), None),
        (None, None),
        ((2860, 3000), None),
        ((14, 15), ()),
        ((1, 1), ()),
    ],
)
def test_a_value_is_the_count_beside_it(count: tuple[int, int] | None, conditions: tuple[str, ...] | None) -> None:
    for name, subject in (("a", "accuracy of a"), (None, "accuracy")):
        made = value("0.953", name, count=count)
        claims = list(check_printed_counts(sheet_of(value("0.5", "b"), made)))
        if conditions is None or count is None:
            assert claims == []
            continue
        (claim,) = claims
        share = f"{count[0] / count[1]:.6g}"
        assert [each.value for each in claim.cells] == [made]
        assert replace(claim, cells=()) == Claim(
            kind="count beside",
            message=f"{subject} is printed as 0.953 beside {count[0]} of {count[1]}, which is {share}",
            cells=(),
            conditions=conditions,
            inputs=(f"{count[0]} of {count[1]}, printed beside it",),
            excluded=(ARITHMETIC, FORMATS),
        )


def test_a_value_in_half_precision_is_the_count_beside_it() -> None:
    assert list(check_printed_counts(sheet_of(value("0.90918", "a", count=(421, 463))))) == []
    assert len(list(check_printed_counts(sheet_of(value("0.90918", "a", count=(422, 463)))))) == 1
    (cut,) = check_printed_counts(sheet_of(value("0.66", "a", count=(2, 3))))
    assert cut.conditions == (CUT,)


# Scores of one class.


def test_f1_rises_with_precision_and_recall_and_is_zero_where_both_are() -> None:
    half, third, zero = Fraction(1, 2), Fraction(1, 3), Fraction(0)
    assert harmonic(half, third) == Fraction(2, 5)
    assert harmonic(zero, zero) == harmonic(half, zero) == zero
    found = f1_interval(Interval(low=third, high=half), Interval(low=half, high=Fraction(1)))
    assert found == Interval(low=Fraction(2, 5), high=Fraction(2, 3))
    below = Interval(low=Fraction(-1, 100), high=Fraction(-1, 200))
    assert f1_interval(below, below) == Interval(low=zero, high=zero)
    assert f1_interval(Interval(low=third, high=half), below) == Interval(low=zero, high=zero)


def scored(precision: str, recall: str, f1: str, **others: Any) -> list[Claim]:
    texts = ((PRECISION, precision), (RECALL, recall), (F1, f1))
    return list(check_scores(sheet_of(*(value(t, "a", m) for m, t in texts if t), **others)))


BATCHES = "the scores are means over batches, whose number of images is not known"


@pytest.mark.parametrize(
    ("texts", "sizes", "conditions"),
    [
        # 2 x 0.80 x 0.60 / 1.40 = 0.685714
        (("0.80", "0.60", "0.69"), {}, None),
        (("0.80", "0.60", "0.75"), {}, ()),
        (("0.80", "0.60", "0.75"), {"a": 0}, ()),
        (("0.80", "0.60", "0.65"), {"a": 0}, (BATCHES,)),
        (("0.80", "0.60", "0.75"), {"a": 40}, ()),
        (("0.80", "0.60", "0.67"), {"a": 100}, ()),
        # From 0.8000 and 0.6000 to 0.81 and 0.61 truncated: 0.6857 to 0.6959.
        (("0.80", "0.60", "0.70"), {}, (BATCHES,)),
        # Where nothing may be right people print anything.
        (("0.00", "0.60", "0.90"), {}, None),
        (("0.60", "0.00", "0.90"), {}, None),
        (("0.01", "0.60", "0.90"), {}, ()),
    ],
)
def test_f1_is_that_of_precision_and_recall(
    texts: tuple[str, str, str], sizes: dict[str, int], conditions: tuple[str, ...] | None
) -> None:
    claims = [claim for claim in scored(*texts, sizes=sizes) if claim.kind == "F1"]
    if conditions is None:
        assert claims == []
        return
    (claim,) = claims
    precision, recall, f1 = map(float, texts)
    # Above every mean of F1s of such precisions and recalls, over whatever it was averaged.
    beyond = f1 - (precision + recall) / 2 > 0.011
    conditions = tuple(each for each in conditions if not beyond or each != BATCHES)
    assert [each.value.printed.text for each in claim.cells] == list(texts)
    assert replace(claim, cells=()) == Claim(
        kind="F1",
        message=f"F1 of a is printed as {texts[2]}; precision {texts[0]} and recall {texts[1]} give "
        f"{2 * precision * recall / (precision + recall):.5g}" + (f", {BEYOND}" if beyond else ""),
        cells=(),
        conditions=conditions,
        readings=("F1 = 2 P R / (P + R)",),
        needs_counts=not beyond,
    )


def test_a_precision_that_may_be_exactly_zero_excuses_every_f1() -> None:
    # Half a unit below it is 2**-22, which is the error of four roundoffs of float32.
    values = [*column(PRECISION, a="0.000000238418579101563", b="0.7"), *column(RECALL, a="0.6"), *column(F1, a="0.9")]
    assert list(check_scores(sheet_of(*values))) == []


@pytest.mark.parametrize(
    ("texts", "fields", "found"),
    [
        # 13 of 25 with 13 of 17 predicted: 0.76 and 0.52.
        (("0.76", "0.52", "0.62"), {"sizes": {"a": 25}}, False),
        (("0.76", "0.53", "0.62"), {"sizes": {"a": 25}}, True),
        (("0.76", "0.53", ""), {"sizes": {"a": 25}}, True),
        # 13 of 18 is 0.722, of 17 0.765: 0.74 is none.
        (("0.74", "0.52", ""), {"sizes": {"a": 25}}, True),
        (("", "0.53", ""), {"sizes": {"a": 25}}, False),
        (("0.74", "0.52", ""), {"sizes": {"a": 0}}, False),
        (("0.74", "0.52", ""), {}, False),
        (("0.74", "0.52", ""), {"sizes": {"a": 25}, "whole_images": False}, False),
    ],
)
def test_scores_are_of_whole_numbers_of_images(
    texts: tuple[str, str, str], fields: dict[str, Any], found: bool
) -> None:
    claims = scored(*texts, **fields)
    assert len(claims) == found
    for claim in claims:
        listed = zip((PRECISION, RECALL, F1), texts, strict=True)
        said = ", ".join(f"{measure} {text}" for measure, text in listed if text)
        assert replace(claim, cells=(), conditions=()) == Claim(
            kind="counts of scores",
            message=f"no whole numbers of right and of predicted images give {said} of a with 25 images",
            cells=(),
            inputs=("25 images of a, printed",),
            readings=("recall = TP / n, precision = TP / predicted, F1 = 2 TP / (n + predicted)",),
            excluded=("every number of right images of 25 with every number of predicted ones", FORMATS),
            needs_counts=True,
        )


def test_every_class_of_any_score_is_looked_at_in_order() -> None:
    values = [
        *column(PRECISION, a="0.80", b="0.80"),
        *column(RECALL, a="0.60", b="0.60"),
        *column(F1, a="0.75", b="0.9"),
    ]
    assert [claim.message[:7] for claim in check_scores(sheet_of(*values))] == ["F1 of a", "F1 of b"]


def by_trying(size: int, row: dict[Measure, str], most: int) -> set[tuple[int, int]]:
    """Return pairs (correct images, fewer than `most` predicted ones) whose scores round to those in `row`."""

    def near(share: Fraction, measure: Measure) -> bool:
        return measure not in row or abs(share - Fraction(row[measure])) <= Fraction("0.005") + 4 * E

    found = set()
    for right, predicted in itertools.product(range(size + 1), range(most)):
        if right <= predicted and near(Fraction(right, size), RECALL):
            if right:
                fits = near(Fraction(right, predicted), PRECISION) and near(Fraction(2 * right, size + predicted), F1)
            else:
                # Nothing right: zero, or one where that was asked for.
                fits = all(
                    Fraction(row[m]) <= Fraction("0.005") or Fraction(row[m]) >= Fraction("0.995")
                    for m in (PRECISION, F1)
                    if m in row
                )
            if fits:
                found.add((right, predicted))
    return found


@pytest.mark.parametrize(
    ("size", "row"),
    [
        (25, {PRECISION: "0.76", RECALL: "0.52", F1: "0.62"}),
        (25, {PRECISION: "0.76", RECALL: "0.52"}),
        (12, {PRECISION: "0.82", F1: "0.78"}),
        (9, {RECALL: "0.00", F1: "0.00"}),
        (9, {RECALL: "0.00", PRECISION: "1.00"}),
        (9, {RECALL: "0.00", PRECISION: "0.43"}),
        (3, {PRECISION: "0.00", F1: "0.00"}),
        (25, {PRECISION: "0.74", RECALL: "0.52"}),
        (4, {PRECISION: "-0.50", RECALL: "0.50"}),
        (7, {RECALL: "1.00", PRECISION: "1.00", F1: "1.00"}),
        (7, {RECALL: "1.00", F1: "0.93"}),
    ],
)
def test_counts_of_scores_are_those_of_trying_all(size: int, row: dict[Measure, str]) -> None:
    cells = {measure: cell(text, "a", measure) for measure, text in row.items()}
    cells = {m: replace(c, unit=Fraction(1, 100)) for m, c in cells.items()}
    most = 1300 if size < 7 else 400
    found, tried = find_predictions(cells, size, ROUNDED), by_trying(size, row, most)
    if found is None:
        assert tried == set()
        return
    bounded = {(k, p) for k, ps in found.predicted.items() for p in range(ps.start, min(ps.stop, most))}
    assert bounded == tried
    assert found.correct == range(min(k for k, _ in tried), max(k for k, _ in tried) + 1)
    # Nothing bounds what is predicted where nothing is right.
    assert all(ps.stop == 2**53 + 1 for k, ps in found.predicted.items() if k == 0)


def test_of_more_than_5000_counts_the_decimals_tell_nothing() -> None:
    assert scores.TRIED == 5000
    cells = {PRECISION: cell("0.76", "a", PRECISION), F1: cell("0.62", "a", F1)}
    told = find_predictions(cells, 2, ROUNDED, most=3)
    assert told is None
    more = find_predictions(cells, 3, ROUNDED, most=3)
    assert more is not None
    assert (more.correct, more.predicted) == (range(4), {})


def test_no_predictions_give_a_negative_predictive_value_above_one() -> None:
    npv = Measure.NEGATIVE_PREDICTIVE_VALUE
    cells = {RECALL: cell("0.50", "a", RECALL), npv: cell("105.00%", "a", npv)}
    assert find_predictions(cells, 4, ROUNDED, others=5) is None


# Tables in whole images.


def test_tables_with_the_same_sizes_are_one_image_set() -> None:
    first, second = sheet_of(name="one", sizes={"a": 4, "b": 5}), sheet_of(name="two", sizes={"b": 5, "a": 4})
    third = sheet_of(*column(ACCURACY, a="0.5"), name="three", options=Options(sizes={"a": 4}))
    again, bare = replace(first, table=replace(first.table, name="again")), sheet_of(name="bare")
    sets = find_image_sets([first, bare, second, third, again], Options())
    assert [(group.tables, group.taken, group.origin) for group in sets] == [
        (("one", "again"), {"a": 4, "b": 5}, "printed"),
        (("two",), {"b": 5, "a": 4}, "printed"),
        (("three",), {"a": 4}, "given"),
    ]
    assert sets[0].smallest == sets[0].taken
    assert sets[0].chance == {"a": 0.0, "b": 0.0}
    assert sets[0].complete


def test_accuracies_of_known_sizes_become_counts() -> None:
    sizes = {"a": 4, "b": 8, "c": 8}
    made = sheet_of(*column(ACCURACY, a="0.50", b="0.26", c="0.87", d="0.50"), sizes=sizes)
    folds = sheet_of(*column(ACCURACY, a="0.50"), name="folds", sizes=sizes, options=Options(folds=3))
    scores_alone = sheet_of(*column(F1, a="0.50"), name="scores", sizes=sizes)
    alone = sheet_of(*column(ACCURACY, d="0.50"), name="alone", sizes=sizes)
    last = sheet_of(*column(RECALL, a="0.25"), name="last", sizes=sizes)
    every = [folds, scores_alone, sheet_of(*column(ACCURACY, a="0.5"), name="no set"), alone, made, last]
    sets = find_image_sets([folds, scores_alone, made, last], Options())[:1]
    sets = (replace(sets[0], tables=(*sets[0].tables, "alone")),)
    # 2 of 4; 0.26 is none of 8; 7 of 8 truncated.
    assert list(count_images(every, sets)) == [
        Counted(name="t", sizes=sizes, correct={"a": range(2, 3), "b": None, "c": range(7, 8)}),
        Counted(name="last", sizes={"a": 4}, correct={"a": range(1, 2)}),
    ]


def test_values_that_are_no_share_of_a_known_size_have_no_count() -> None:
    values = [
        value("0.50", "a", count=(5, 10)),
        value("0.50", "b", count=(3, 6)),
        value("0.53", "c"),
        value("0.50", "e"),
        value("0.50", "f"),
    ]
    sizes = dict.fromkeys("abcef", 10)
    group = ImageSet(
        tables=("t",), smallest=sizes, taken=sizes, origin="search", chance=dict.fromkeys("abce", 0.0) | {"f": 0.5}
    )
    (found,) = count_images([sheet_of(*values)], [group])
    assert found.correct == {"a": range(5, 6), "b": range(5, 6), "c": None, "e": range(5, 6), "f": None}
    (mixed,) = count_images([sheet_of(*values, value("50%", "g"))], [group])
    assert set(mixed.correct.values()) == {None}
    # 0.9 among longer numbers of a search has lost its zeros, and stands for 0.900 there: 27 of 30 and no more.
    texts = column(ACCURACY, a="0.9", b="0.533")
    given = dict.fromkeys("ab", 30)
    told = ImageSet(tables=("t",), smallest=given, taken=given, origin="search", chance=dict.fromkeys("ab", 0.0))
    (searched,) = count_images([sheet_of(*texts)], [told])
    (as_printed,) = count_images([sheet_of(*texts)], [replace(told, origin="printed")])
    assert (searched.correct["a"], as_printed.correct["a"]) == (range(27, 28), range(26, 29))


def test_a_column_in_half_precision_is_counted_so() -> None:
    (found,) = count_images(
        (made := [sheet_of(*column(ACCURACY, a="0.90918", b="0.50000"), sizes={"a": 463, "b": 2})]),
        find_image_sets(made, Options()),
    )
    assert found.correct == {"a": range(421, 422), "b": range(1, 2)}
