"""Means compared with the values they average, with known or unknown weights, and the classes they may cover."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from in4310repro.audit.averages import list_summaries
from in4310repro.audit.claims import CONDITIONS, FORMATS, Claim
from in4310repro.audit.document import Average, Measure, Value
from in4310repro.audit.intervals import Rounding
from in4310repro.audit.means import BLOCKS, check_means, list_variants
from in4310repro.audit.sheets import Sheet, interval_of
from in4310repro.audit.verdicts import MeanCheck
from in4310repro.audit.weights import (
    Column,
    _micro_ends,
    check_weights,
    group_tables,
    is_micro,
    is_one_vs_rest,
    is_plain_mean,
    is_weighted_mean,
    is_weighted_without_f1,
)
from tests.audit.by_hand import E, cell, column, sheet_of, value

ACCURACY, RECALL, PRECISION, F1 = Measure.ACCURACY, Measure.RECALL, Measure.PRECISION, Measure.F1
AP, BALANCED = Measure.AVERAGE_PRECISION, Measure.BALANCED_ACCURACY
MACRO, WEIGHTED, MICRO, OVERALL, ANY = (
    Average.MACRO, Average.WEIGHTED, Average.MICRO, Average.OVERALL, Average.UNNAMED,
)  # fmt: skip
CUT = CONDITIONS[Rounding.TRUNCATED]
R = Rounding.ROUNDED


def means(*values: Value, **others: Any) -> list[tuple[Claim | None, MeanCheck]]:
    return list(check_means(sheet_of(*values, **others)))


def test_a_wrong_plain_mean_is_claimed_with_all_that_it_rests_on() -> None:
    parts, whole = column(RECALL, a="0.50", b="0.25"), value("0.40", None, RECALL, MACRO, label="macro")
    ((claim, check),) = means(*parts, whole, sizes={"a": 3, "b": 1})
    assert claim
    assert [each.value for each in claim.cells] == [whole, *parts]
    assert replace(claim, cells=()) == Claim(
        kind="mean",
        message="macro is printed as 0.40; the plain mean of its 2 parts is 0.37 to 0.38",
        cells=(),
        readings=("macro: macro average of recall",),
        excluded=("plain mean: 0.37 to 0.38", FORMATS),
        needs_all=True,
    )
    assert check == MeanCheck(
        table="t",
        measure=RECALL,
        value=whole,
        parts=tuple(parts),
        difference=Fraction("0.025"),
        allowed=Fraction("0.01") + 3 * E,
        agrees=False,
        reading="plain mean",
    )
    ((fine, agreed),) = means(*parts, value("0.375", None, RECALL, MACRO))
    assert (fine, agreed.agrees, agreed.allowed) == (None, True, Fraction("0.0055") + 3 * E)
    ((none, _),) = means(*column(RECALL, a="50%", b="25%"), value("40%", None, RECALL, MACRO))
    assert none
    assert none.message == "recall is printed as 40%; the plain mean of its 2 parts is 37 to 38 %"
    ((exact, _),) = means(*column(RECALL, a="0.50000001", b="0.25000001"), value("0.40000001", None, RECALL, MACRO))
    assert exact
    assert exact.message.endswith("is 0.375")


def test_a_wrong_weighted_mean_names_its_sizes_and_needs_whole_images() -> None:
    parts, whole = column(RECALL, a="0.50", b="0.25"), value("0.40", None, RECALL, WEIGHTED)
    ((claim, check),) = means(*parts, whole, sizes={"a": 3, "b": 1})
    assert claim
    assert replace(claim, cells=()) == Claim(
        kind="weighted mean",
        message="recall is printed as 0.40; the mean weighted by images of its 2 parts is 0.4325 to 0.4425",
        cells=(),
        inputs=("3 images of a, printed", "1 images of b, printed"),
        readings=("recall: weighted average of recall",),
        excluded=("weighted by images: 0.4325 to 0.4425", FORMATS),
        needs_all=True,
        needs_counts=True,
    )
    assert check.reading == "weighted by images"


def test_a_mean_without_known_weights_is_compared_and_not_claimed() -> None:
    parts = column(RECALL, a="0.50", b="0.25")
    for text, agrees, reading in (
        ("0.375", True, "plain mean"),
        ("0.30", True, "some weights"),
        ("0.70", False, "plain mean"),
    ):
        ((claim, check),) = means(*parts, value(text, None, RECALL, ANY))
        assert (claim, check.agrees, check.reading) == (None, agrees, reading)
    # A mean of average precisions with unknown weights is none that is compared, but for a bare mean.
    aps = column(AP, a="0.50", b="0.25")
    assert [
        (check.value.printed.text, check.reading)
        for _, check in means(*aps, value("0.4", None, AP, WEIGHTED), value("0.3", None, AP, ANY))
    ] == [("0.3", "some weights")]
    # A negative summary is of another check; the next one is looked at.
    found = means(*parts, value("-0.4", None, RECALL, MACRO), value("0.40", None, RECALL, MACRO))
    assert [check.value.printed.text for _, check in found] == ["0.40"]


def test_a_mean_is_right_to_the_last_bit_where_the_doubles_sum_to_it_from_left_to_right() -> None:
    parts = {"a": "0.1234567890123", "b": "0.2345678901234", "c": "0.3456789012345"}
    exact = repr(sum(map(float, parts.values())) / 3)
    assert len(exact) > 14
    other = exact[:-1] + ("1" if exact[-1] != "1" else "2")
    for text, last in ((exact, True), (other, False)):
        ((_, check),) = means(*column(RECALL, **parts), value(text, None, RECALL, MACRO))
        assert check.last_bit is last
    ((_, short),) = means(*column(RECALL, a="0.50", b="0.25"), value("0.375", None, RECALL, MACRO))
    assert not short.last_bit
    ((_, shortest),) = means(*column(RECALL, a="0.50", b="0.25"), value("0.375000000000", None, RECALL, MACRO))
    assert shortest.last_bit


@pytest.mark.parametrize(("text", "conditions"), [("40%", None), ("39%", (CUT,)), ("50%", ())])
def test_truncated_percentages_are_excused_with_the_condition(text: str, conditions: tuple[str, ...] | None) -> None:
    # Parts of 40 to 41 and 39 to 40: rounded 39.0 to 40.0.
    ((claim, _),) = means(*column(RECALL, a="40%", b="39%"), value(text, None, RECALL, MACRO))
    if conditions is None:
        assert claim is None
    else:
        assert claim is None or claim.conditions == conditions


def test_an_overall_accuracy_may_be_a_mean_over_batches() -> None:
    parts = column(ACCURACY, a="0.50", b="0.50")
    batches = "the value is a mean over batches of up to 1024 images"
    for text, conditions in (("0.520", (batches,)), ("0.990", ())):
        ((claim, check),) = means(*parts, value(text, None, ACCURACY, OVERALL), sizes={"a": 50, "b": 51})
        assert claim
        assert (claim.conditions, check.agrees) == (conditions, False)
    # Six of eight images, without a last batch of six of which one is right; no batch gives 94 %.
    # 26 of 30, as 13 of 15 are 86.67 %, cut off: 20 of 20 without a last batch of ten with all four wrong ones.
    for texts, size, conditions in (("50% 74%", 7, (batches,)), ("50.0% 94.0%", 7, ()), ("86% 100.0%", 15, (batches,))):
        part, whole = texts.split()
        values = (*column(ACCURACY, a=part, b=part), value(whole, None, ACCURACY, OVERALL))
        ((claim, _),) = means(*values, sizes={"a": size, "b": size})
        assert claim
        assert claim.conditions == conditions


def test_another_list_of_classes_that_explains_a_mean_is_a_condition() -> None:
    parts = column(RECALL, background="0.99", a="0.50", b="0.25")
    ((claim, _),) = means(*parts, value("0.37", None, RECALL, MACRO))
    assert claim
    assert claim.conditions == ("background is not a class, or left out of the mean",)
    # That other list with what it leaves out as zero is none.
    ((zero, _),) = means(*parts, value("0.25", None, RECALL, MACRO))
    assert zero
    assert zero.conditions == ()
    ((added, _),) = means(*parts[1:], value("0.55", None, RECALL, MACRO), asides=(value("0.90", "best", RECALL),))
    assert added
    assert set(added.conditions) == {"best: a class, too"}
    ((neither, _),) = means(*parts[1:], value("0.60", None, RECALL, MACRO), asides=(value("0.90", "best", RECALL),))
    assert neither
    assert neither.conditions == ()


# Lists of classes.


def others(
    texts: dict[str, str], sizes: dict[str, int] | None = None, asides: tuple[Value, ...] = (), most: int = BLOCKS
) -> list[tuple[str, str]]:
    sheet = sheet_of(*column(RECALL, **texts), asides=asides, sizes=sizes or {})
    return [(each.condition, "".join(each.parts)) for each in list_variants(sheet.classes[RECALL], RECALL, sheet, most)]


OUT = "is not a class, or left out of the mean"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"a": "0.52", "b": "0.40", "c": "0.60"}, [(f"a {OUT}", "bc")]),
        ({"a": "0.40", "b": "0.60", "c": "0.52"}, [(f"c {OUT}", "ab")]),
        ({"a": "0.40", "b": "0.51", "c": "0.60"}, []),
        # As high as the highest, and as low as the lowest.
        ({"a": "0.61", "b": "0.41", "c": "0.61"}, [(f"a {OUT}", "bc"), (f"c {OUT}", "ab")]),
        ({"a": "0.41", "b": "0.41", "c": "0.61"}, [(f"a {OUT}", "bc")]),
        ({"a": "0.41", "bg": "0.91", "c": "0.95"}, [(f"bg {OUT}", "ac")]),
        ({"a": "0.4", "Other": "0.9"}, []),
        ({"a": "0.41", "Other x": "0.91", "c": "0.95"}, [(f"Other x {OUT}", "ac")]),
    ],
)
def test_a_row_at_the_edge_between_the_others_or_with_the_name_of_no_class_may_be_none(
    texts: dict[str, str], expected: list[tuple[str, str]]
) -> None:
    assert others(texts) == expected


def test_a_row_with_images_of_its_own_is_a_class_and_one_with_all_of_the_others_is_a_total() -> None:
    texts = {"a": "0.52", "b": "0.40", "c": "0.60"}
    left = [(f"a {OUT}", "bc")]
    assert others(texts, {"a": 7, "b": 3, "c": 4}) == left
    assert others(texts, {"a": 6, "b": 3, "c": 4}) == others(texts, {"a": 1, "b": 3}) == []
    assert others(texts, {"a": 0, "b": 3, "c": 4}) == others(texts, {"b": 3, "c": 4}) == left
    assert others(texts, {"a": 3, "b": 3}) == left


def test_rows_that_are_each_the_mean_of_those_beside_them_are_no_classes() -> None:
    below = {"W": "0.500", "a": "0.400", "b": "0.601", "V": "0.200", "c": "0.101", "d": "0.299"}
    said = "W, V: the mean of the rows beside it, no class"
    assert (said, "abcd") in others(below)
    above = dict(reversed(below.items()))
    assert ("W, V: the mean of the rows beside it, no class", "dcba") in others(above)
    assert not any("beside" in each for each, _ in others(below | {"d": "0.400"}))
    # A mean of a single row is none, and neither is a list of one class.
    assert not any("beside" in each for each, _ in others({"W": "0.500", "a": "0.500", "V": "0.300", "b": "0.300"}))
    assert BLOCKS == 200
    assert (said, "abcd") in others(below, most=6)
    assert not any("beside" in each for each, _ in others(below, most=5))


def test_the_fewest_subtotals_are_taken_and_five_are_named() -> None:
    many = {f"{name}{place}": text for place in range(6) for name, text in (("t", "0.5"), ("a", "0.4"), ("b", "0.6"))}
    (found,) = [each for each, _ in others(many) if "beside" in each]
    # One heading over all rows: they have the same mean.
    assert found == "t0: the mean of the rows beside it, no class"
    steps = {
        f"{name}{place}": f"0.{place + 2}{digit}"
        for place in range(6)
        for name, digit in (("t", "500"), ("a", "100"), ("b", "900"))
    }
    (named,) = [each for each, _ in others(steps) if "beside" in each]
    assert named == "t0, t1, t2, t3, t4: the mean of the rows beside it, no class"


def test_rows_that_were_set_aside_may_be_classes_each_and_all() -> None:
    asides = (value("0.9", "x", RECALL), value("0.8", None, RECALL, label="y"), value("0.8", "z", F1))
    assert others({"a": "0.5", "b": "0.6"}, None, asides) == [
        ("x: a class, too", "abx"),
        ("y: a class, too", "aby"),
        ("x, y: a class, too", "abxy"),
    ]
    # A row with the name of a class adds nothing.
    assert others({"a": "0.5", "b": "0.6"}, None, (value("0.9", "a", RECALL),)) == []


# Weights that nothing tells.


def columns(*values: Value, **fields: Any) -> list[Column]:
    sheet = sheet_of(*values, **fields)
    return [Column(sheet=sheet, summary=summary) for summary in list_summaries(sheet)]


# Two classes of 11 and 31 images, of which 8 and 15 are right and 12 and 28 predicted.
P, Q = {"a": "0.6667", "b": "0.5357"}, {"a": "0.7273", "b": "0.4839"}
F = {"a": "0.6957", "b": "0.5085"}


def scores(precision: str, recall: str, f1: str, average: Average = ANY) -> list[Value]:
    rows = [*column(PRECISION, **P), *column(RECALL, **Q), *column(F1, **F)]
    texts = ((PRECISION, precision), (RECALL, recall), (F1, f1))
    return [*rows, *(value(text, None, measure, average) for measure, text in texts if text)]


@pytest.mark.parametrize(
    ("texts", "fitting"),
    [
        (("0.6012", "0.6056", "0.6021"), "plain weighted"),
        # Weighted by 0.4 and 0.6.
        (("0.5881", "0.5813", "0.5834"), "weighted"),
        # The same with F1 = 2 P R / (P + R).
        (("0.5881", "0.5813", "0.5847"), "without_f1"),
        # 23 of 40, 23 of 42, and 46 of 82.
        (("0.5750", "0.5476", "0.5610"), "micro"),
        (("0.5750", "0.5476", ""), "micro"),
        (("", "0.5476", "0.5610"), "micro"),
        (("0.5750", "", ""), "weighted micro"),
        (("", "0.5476", ""), "weighted"),
        (("0.5881", "0.6813", "0.5834"), ""),
        (("0.5950", "0.5476", "0.5610"), ""),
        (("0.5750", "0.5476", "0.5810"), ""),
        (("0.5750", "0.5476", "0.5410"), ""),
    ],
)
def test_one_set_of_weights_explains_all_columns(texts: tuple[str, str, str], fitting: str) -> None:
    made = columns(*scores(*texts))
    ways = {
        "plain": is_plain_mean,
        "weighted": is_weighted_mean,
        "without_f1": is_weighted_without_f1,
        "micro": is_micro,
        "rest": is_one_vs_rest,
    }
    assert [name for name, way in ways.items() if way(made, R, R)] == fitting.split()


def test_micro_averages_need_precision_and_recall_of_the_classes() -> None:
    alone = columns(*column(PRECISION, **P), value("0.5750", None, PRECISION, ANY))
    assert not is_micro(alone, R, R)
    # A class without a recall, or with a precision that may be zero, may have any weight.
    missing = [*column(PRECISION, **P), *column(RECALL, a="0.7273"), value("0.9500", None, PRECISION, ANY)]
    assert is_micro([columns(*missing)[0]], R, R)
    zero = [*column(PRECISION, a="0.6667", b="0.0000"), *column(RECALL, **Q), value("0.9500", None, PRECISION, ANY)]
    assert is_micro([columns(*zero)[0]], R, R)


def test_a_class_whose_precision_is_none_or_zero_has_any_coefficient_in_a_micro_average() -> None:
    half, zero = cell("0.50"), replace(cell("0.00"), unit=Fraction(0), error=Fraction(0))
    printed = interval_of(half, R)
    for precision, recall in ((None, half), (half, None), (zero, half)):
        assert _micro_ends(PRECISION, printed, precision, recall, R) == (-1000, 1000)


def test_one_accuracy_alone_may_be_that_against_the_rest() -> None:
    # 1 - (2 - 1.85) / 2 = 0.925 of two classes, 1 - (3 - 2.75) / 2 = 0.875 of three.
    three = column(ACCURACY, a="0.90", b="0.95", c="0.90")
    assert is_one_vs_rest(columns(*three, value("0.875", None, ACCURACY, OVERALL)), R, R)
    assert not is_one_vs_rest(columns(*three, value("0.85", None, ACCURACY, OVERALL)), R, R)
    assert not is_one_vs_rest(columns(*three, *[value("0.875", None, ACCURACY, OVERALL)] * 2), R, R)


def claims(*values: Value, **fields: Any) -> list[Claim]:
    return [claim for claim, _ in check_weights([sheet_of(*values, **fields)])]


def test_a_row_of_means_that_no_weights_explain_is_claimed() -> None:
    values = scores("0.5881", "0.6813", "0.5834")
    values[6] = replace(values[6], label="avg / total")
    (claim,) = claims(*values)
    assert len(claim.cells) == 9
    assert replace(claim, cells=()) == Claim(
        kind="weights",
        message="no weights of the 2 classes give precision 0.5881, recall 0.6813, F1 0.5834 (avg / total) at once",
        cells=(),
        readings=("avg / total: a mean of the classes with any weights, the same in every column",),
        excluded=(
            "the plain mean",
            "one set of weights for all columns, by linear programming",
            "micro averages of precision, recall and F1",
            FORMATS,
        ),
        needs_all=True,
    )
    assert claims(*scores("0.5881", "0.5813", "0.5834")) == []
    # Each network's overall value stands for itself.
    assert claims(*scores("0.5881", "0.6813", "0.5834", OVERALL)) == []
    assert len(claims(*scores("0.5881", "0.6813", "0.5834", WEIGHTED))) == 1


def test_a_mean_outside_of_its_parts_is_claimed_with_what_may_excuse_it() -> None:
    parts = column(ACCURACY, a="0.50", b="0.60")
    several = "an image has several labels, and all of them have to be right"
    unknown = "the value is a mean over batches, or of other images than its parts"
    for text, conditions in (("0.40", (several, unknown)), ("0.80", (unknown,)), ("0.55", None)):
        found = claims(*parts, value(text, None, ACCURACY, OVERALL))
        assert [claim.conditions for claim in found] == ([] if conditions is None else [conditions])
    (claim,) = claims(*parts, value("0.80", None, ACCURACY, OVERALL))
    assert claim.kind == "mean"
    assert claim.message == "no weights of the 2 classes give accuracy 0.80 (accuracy); it lies outside its parts"
    # Of 101 images in batches of 100 the last is half of the mean: (0.6 + 1) / 2 at most.
    batches = "the value is a mean over batches of up to 1024 images"
    for text, expected in (("0.79", (batches,)), ("0.90", ())):
        found = claims(*parts, value(text, None, ACCURACY, OVERALL), total=101)
        assert [each.conditions for each in found] == [expected]
    # A mean of recalls is over no batches.
    recalls = column(RECALL, a="0.50", b="0.60")
    assert [each.conditions for each in claims(*recalls, value("0.40", None, RECALL, OVERALL))] == [()]


def test_a_row_that_was_set_aside_may_be_a_class_of_a_mean() -> None:
    parts, aside = column(RECALL, a="0.50", b="0.60"), value("0.90", "best", RECALL)
    (claim,) = claims(*parts, value("0.80", None, RECALL, ANY), asides=(aside,))
    assert claim.conditions == ("best: a class, too",)
    (none,) = claims(*parts, value("0.95", None, RECALL, ANY), asides=(aside,))
    assert none.conditions == ()


def test_means_by_known_sizes_and_of_average_precisions_are_of_other_checks() -> None:
    parts = column(RECALL, a="0.50", b="0.60")
    assert claims(*parts, value("0.80", None, RECALL, WEIGHTED), sizes={"a": 3, "b": 4}) == []
    assert claims(*parts, value("0.80", None, RECALL, MACRO)) == []
    aps = column(AP, a="0.50", b="0.60")
    assert [len(claims(*aps, value("0.80", None, AP, average))) for average in (ANY, MICRO, OVERALL)] == [1, 0, 0]


def test_two_means_of_one_column_are_two_rows() -> None:
    first, second = column(RECALL, a="0.50", b="0.60"), column(PRECISION, a="0.50", b="0.60")

    def row(recall: str, precision: str) -> list[Value]:
        return [value(recall, None, RECALL, ANY), value(precision, None, PRECISION, ANY)]

    assert claims(*first, *second, *row("0.52", "0.52"), *row("0.58", "0.58")) == []
    (claim,) = claims(*first, *second, *row("0.52", "0.52"), *row("0.52", "0.58"))
    assert [cell.value.printed.text for cell in claim.cells if cell.value.class_name is None] == ["0.52", "0.58"]
    third = column(F1, a="0.50", c="0.60")
    assert claims(*first, *third, value("0.52", None, RECALL, ANY), value("0.58", None, F1, ANY)) == []


def names(made: list[list[Sheet]]) -> list[str]:
    return ["".join(sheet.name for sheet in group) for group in made]


def test_tables_of_the_same_classes_on_the_same_lines_were_printed_side_by_side() -> None:
    one, two = column(RECALL, a="0.50", b="0.60"), column(RECALL, a="0.51", b="0.61")
    below = [replace(each, printed=replace(each.printed, line=each.printed.line + 5)) for each in one]
    other = column(RECALL, a="0.50", c="0.60")
    summary = value("0.5", None, RECALL, ANY)
    sheets = [
        sheet_of(*values, summary, name=name)
        for name, values in (("1", one), ("2", below), ("3", two), ("4", other), ("5", below))
    ]
    assert names(group_tables(sheets)) == ["13", "25", "4"]
    both = [sheet_of(*v, value(t, None, RECALL, ANY), name=n) for v, t, n in ((one, "0.52", "1"), (two, "0.60", "3"))]
    ((claim, of),) = check_weights(both)
    assert (of.name, claim.kind) == ("1", "weights")


def test_of_many_columns_twelve_are_named() -> None:
    parts = column(RECALL, a="0.50", b="0.60")
    texts = ["0.52"] * 12 + ["0.58"]
    many = [sheet_of(*parts, value(text, None, RECALL, ANY), name=str(place)) for place, text in enumerate(texts)]
    ((claim, _),) = check_weights(many)
    assert claim.message == f"no weights of the 2 classes give {', '.join(['recall 0.52'] * 12)} (recall) at once"
