"""Ways to average class values, each compared with hand-computed values; F = 2^-24 is float32's unit roundoff.

A cell of two decimals is its number +- 0.005 +- 4 F, and a mean of m numbers has m + 1 F more.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from in4310repro.audit.averages import (
    Summary,
    error_is_double,
    list_readings,
    list_summaries,
    nearest_batch_mean,
    sum_error,
)
from in4310repro.audit.document import Average, Measure, Value
from in4310repro.audit.intervals import Interval, Rounding
from in4310repro.audit.scores import f1_interval
from in4310repro.audit.sheets import Sheet
from tests.audit.by_hand import E, about, cell, column, sheet_of, value

ACCURACY, RECALL, PRECISION, F1 = Measure.ACCURACY, Measure.RECALL, Measure.PRECISION, Measure.F1
AP, BALANCED, KAPPA = Measure.AVERAGE_PRECISION, Measure.BALANCED_ACCURACY, Measure.KAPPA


def read(sheet: Sheet, way: Rounding = Rounding.ROUNDED) -> dict[str, Interval]:
    """Return a dict from averaging method to its interval for the only average of a table (Sheet)."""
    (summary,) = list_summaries(sheet)
    readings = list(list_readings(summary, sheet))
    assert all(set(reading.means) == set(Rounding) for reading in readings)
    return {reading.name: reading.means[way] for reading in readings}


def made(average: Average, *others: Value, of: Measure = ACCURACY, parts: Measure = ACCURACY) -> tuple[Value, ...]:
    """Return class values 0.50 and 0.25 of metric `parts`, an average 0.40 of metric `of`, and `others`."""
    return (*column(parts, a="0.50", b="0.25"), value("0.40", None, of, average), *others)


def test_a_summary_is_held_against_the_first_measure_that_is_part_of_it_and_has_at_least_two_classes() -> None:
    skipped = (
        value("0.5", None, KAPPA),  # no measure of classes is part of it
        value("0.5", None, ACCURACY),  # no average
        value("0.5", None, PRECISION, Average.MACRO),  # one part
        value("0.5", None, F1, Average.MACRO),  # no part
    )
    pairs = ((ACCURACY, Average.MACRO), (RECALL, Average.OVERALL), (BALANCED, None), (AP, Average.UNNAMED))
    sheet = sheet_of(
        *column(RECALL, a="0.50", b="0.25"),
        *column(ACCURACY, a="0.60", b="0.70", c="0.80"),
        *column(AP, a="0.10", b="0.20"),
        value("0.3", "a", PRECISION),
        *(each for pair in zip(skipped, [value("0.4", None, *pair) for pair in pairs], strict=True) for each in pair),
    )
    found = [(s.cell.value.measure, s.measure, s.average, list(s.parts)) for s in list_summaries(sheet)]
    assert found == [
        (ACCURACY, ACCURACY, Average.MACRO, ["a", "b", "c"]),
        (RECALL, RECALL, Average.OVERALL, ["a", "b"]),
        (BALANCED, RECALL, Average.MACRO, ["a", "b"]),
        (AP, AP, Average.UNNAMED, ["a", "b"]),
    ]
    # Without accuracies an accuracy is of recalls, and without recalls a balanced accuracy is of accuracies.
    assert [s.measure for s in list_summaries(sheet_of(*made(Average.MACRO, parts=RECALL)))] == [RECALL]
    assert [
        s.measure for s in list_summaries(sheet_of(*column(ACCURACY, a="0.5", b="0.6"), value("0.5", None, BALANCED)))
    ]


PLAIN = about("0.375", "0.005", 4 + 3)
# (3 x 0.50 + 0.25) / 4: 0.50 is of no whole number of 3 images.
WEIGHTED = about("0.4375", "0.005", 4 + 3)
# p = 1 - (2 - 0.75) / 2
REST = about("0.375", "0.005", 4)
RESTS = "share of all images, where those of classes are against the rest"
BY_IMAGES = "weighted by images"


@pytest.mark.parametrize(
    ("average", "of", "sizes", "expected"),
    [
        (Average.MACRO, ACCURACY, {}, {"plain mean": PLAIN, RESTS: REST}),
        (Average.MACRO, ACCURACY, {"a": 3, "b": 1}, {"plain mean": PLAIN, RESTS: REST}),
        (Average.WEIGHTED, ACCURACY, {"a": 3, "b": 1}, {BY_IMAGES: WEIGHTED}),
        (Average.WEIGHTED, ACCURACY, {"a": 3}, {}),
        (Average.WEIGHTED, ACCURACY, {"a": 0, "b": 0}, {}),
        (Average.WEIGHTED, ACCURACY, {"a": 0, "b": 1}, {BY_IMAGES: about("0.25", "0.005", 4 + 3)}),
        (Average.MICRO, ACCURACY, {"a": 3, "b": 1}, {BY_IMAGES: WEIGHTED}),
        (Average.UNNAMED, ACCURACY, {"a": 3, "b": 1}, {}),
        # 2 of 4 and 2 of 8: exactly 4 of 12.
        (Average.WEIGHTED, ACCURACY, {"a": 4, "b": 8}, {BY_IMAGES: about(Fraction(1, 3), "0", 3)}),
    ],
)
def test_the_label_of_a_summary_allows_these_averages(
    average: Average, of: Measure, sizes: dict[str, int], expected: dict[str, Interval]
) -> None:
    assert read(sheet_of(*made(average, of=of), sizes=sizes)) == expected


@pytest.mark.parametrize(
    ("measure", "names"), [(ACCURACY, [BY_IMAGES]), (RECALL, [BY_IMAGES]), (PRECISION, []), (F1, []), (AP, [])]
)
def test_a_micro_average_is_weighted_by_images_where_it_is_of_recalls(measure: Measure, names: list[str]) -> None:
    sheet = sheet_of(*made(Average.MICRO, of=measure, parts=measure), sizes={"a": 3, "b": 1})
    assert list(read(sheet)) == names


@pytest.mark.parametrize("measure", [PRECISION, F1, AP])
def test_a_weighted_average_of_other_measures_takes_no_counts(measure: Measure) -> None:
    sheet = sheet_of(*made(Average.WEIGHTED, of=measure, parts=measure), sizes={"a": 4, "b": 8})
    assert read(sheet) == {BY_IMAGES: about(Fraction(1, 3), "0.005", 4 + 3)}


def test_an_overall_accuracy_is_weighted_or_plain_or_against_the_rest_or_a_mean_over_batches() -> None:
    sheet = sheet_of(*made(Average.OVERALL), sizes={"a": 3, "b": 1})
    assert read(sheet) == {
        BY_IMAGES: WEIGHTED,
        "plain mean": PLAIN,
        RESTS: REST,
        "mean over batches": nearest_batch_mean(WEIGHTED, 4, about("0.40", "0.005", 4)),
    }
    (summary,) = list_summaries(sheet)
    conditions = [reading.condition for reading in list_readings(summary, sheet)]
    assert conditions == ["", "", "", "the value is a mean over batches of up to 1024 images"]


@pytest.mark.parametrize(("size", "rest"), [(48, 2), (125, 2), (200, 100)])
def test_an_accuracy_may_be_the_mean_over_a_batch_that_is_right_and_a_last_one_that_is_wrong(
    size: int, rest: int
) -> None:
    half = about("0.5", "0", 0)
    assert nearest_batch_mean(about(Fraction(size, size + rest), "0", 0), size + rest, half).meets(half)


def test_accuracies_beside_precisions_may_be_against_the_rest_and_are_not_weighted() -> None:
    beside = value("0.7", "a", PRECISION)
    assert read(sheet_of(*made(Average.WEIGHTED, beside), sizes={"a": 3, "b": 1})) == {}
    recalls = sheet_of(*made(Average.WEIGHTED, beside, of=RECALL, parts=RECALL), sizes={"a": 3, "b": 1})
    assert read(recalls) == {BY_IMAGES: WEIGHTED}


def test_every_way_of_rounding_the_parts_has_its_own_mean() -> None:
    sheet = sheet_of(*made(Average.MACRO, of=RECALL, parts=RECALL))
    assert read(sheet) == {"plain mean": PLAIN}
    assert read(sheet, Rounding.TRUNCATED) == {"plain mean": about("0.38", "0.005", 7)}
    assert read(sheet, Rounding.TWICE) == {"plain mean": about("0.375", Fraction(1, 180), 7)}


def test_of_three_classes_each_wrong_image_is_wrong_for_two() -> None:
    values = (*column(ACCURACY, a="0.90", b="0.80", c="0.90"), value("0.8", None, ACCURACY, Average.MACRO))
    # 1 - (3 - 2.6) / 2, each of three cells +- 0.005 +- 4 F
    assert read(sheet_of(*values))[RESTS] == about("0.8", "0.0075", 6)
    recalls = (*column(RECALL, a="0.90", b="0.50", c="0.80"), value("0.8", None, ACCURACY, Average.MACRO))
    mean = "mean accuracy of each class against the rest"
    expected = Interval(
        low=1 - Fraction(2, 3) * (Fraction("0.505") + 4 * E), high=1 - Fraction(2, 3) * (Fraction("0.095") - 4 * E)
    )
    assert read(sheet_of(*recalls))[mean] == expected
    balanced = (*recalls[:3], value("0.8", None, BALANCED))
    assert mean not in read(sheet_of(*balanced))


def test_classes_without_images_and_without_a_value_may_be_left_out_or_count_as_zeros() -> None:
    values = (*column(AP, a="0.50", b="0.25", c="0.00"), value("0.4", None, AP, Average.MACRO), value("0.1", "d", F1))
    three = about("0.25", "0.005", 4 + 4)
    assert read(sheet_of(*values)) == {
        "plain mean": three,
        "plain mean of 2 classes, without some of those printed as zero": about("0.375", "0.0075", 6 + 4),
        "plain mean with classes without a value as zeros": about(Fraction("0.75") / 4, "0.00375", 3 + 4),
    }
    # A size tells whether a class has images: none, and then it is left out; or some, and then it is not.
    assert read(sheet_of(*values[:4], sizes={"a": 4, "b": 4, "c": 0})) == {
        "plain mean": three,
        "plain mean of the classes that have images": about("0.375", "0.005", 4 + 4),
    }
    assert read(sheet_of(*values[:4], sizes={"a": 4, "b": 4, "c": 1})) == {"plain mean": three}
    assert set(read(sheet_of(*values[:4], sizes={"a": 4, "b": 4, "c": 1, "e": 1}))) == {
        "plain mean",
        "plain mean with classes without a value as zeros",
    }
    # Where no class has images, no mean is of those that have.
    assert set(read(sheet_of(*values[:4], sizes={"a": 0, "b": 0, "c": 0}))) == {"plain mean"}


def test_of_several_zeros_any_number_may_be_left_out_and_never_all_classes() -> None:
    def numbers(**texts: str) -> list[str]:
        sheet = sheet_of(*column(AP, **texts), value("0.4", None, AP, Average.MACRO))
        return [name.split()[3] for name in read(sheet) if name.endswith("as zero")]

    assert numbers(a="0.50", b="0.00", c="0.00", d="0.20") == ["3", "2"]
    assert numbers(a="0.00", b="0.00", c="0.00") == ["2", "1"]
    assert numbers(a="0.10", b="0.20", c="0.30") == []


def test_f1_may_be_that_of_the_mean_precision_and_recall_with_the_same_label() -> None:
    scores = (value("0.60", None, PRECISION, Average.MACRO), value("0.40", None, RECALL, Average.MACRO))
    others = (value("0.9", None, PRECISION, Average.WEIGHTED), value("0.9", None, AP, Average.MACRO))
    parts = made(Average.MACRO, of=F1, parts=F1)
    found = read(sheet_of(*parts, *others, *scores))
    expected = f1_interval(about("0.60", "0.005", 4), about("0.40", "0.005", 4))
    assert found == {"plain mean": PLAIN, "F1 of mean precision and mean recall": expected}
    assert set(read(sheet_of(*parts, scores[0], *others))) == {"plain mean"}
    # A recall is no F1.
    recalls = sheet_of(*made(Average.MACRO, of=RECALL, parts=RECALL), *scores)
    assert set(read_all(recalls)) == {"plain mean"}


def read_all(sheet: Sheet) -> set[str]:
    return {reading.name for summary in list_summaries(sheet) for reading in list_readings(summary, sheet)}


def test_a_balanced_accuracy_may_be_adjusted_for_chance() -> None:
    values = (*column(RECALL, a="0.50", b="0.25", c="0.90"), value("0.4", None, BALANCED))
    mean, chance = about("0.55", "0.005", 4 + 4), Fraction(1, 3)
    expected = Interval(low=(mean.low - chance) / (1 - chance), high=(mean.high - chance) / (1 - chance))
    # (0.55 - 1/3) / (2/3)
    assert (expected.low + expected.high) / 2 == Fraction("0.325")
    assert read(sheet_of(*values)) == {"plain mean": mean, "balanced accuracy adjusted for chance": expected}


@pytest.mark.parametrize(("unit", "double"), [(E / 128, False), (E / 129, True)])
def test_a_number_is_double_where_its_digits_are_finer_than_a_part_in_2_to_the_8_of_float32(
    unit: Fraction, double: bool
) -> None:
    assert error_is_double(replace(cell("0.5"), unit=unit, error=Fraction(0))) is double


@pytest.mark.parametrize(
    ("text", "error"), [("0.12345678901", 3 * E), ("0.123456789012", Fraction(3, 2**53)), ("0.5000", 3 * E)]
)
def test_a_sum_has_a_roundoff_a_number_of_double_precision_where_it_shows_twelve_decimals(
    text: str, error: Fraction
) -> None:
    parts = {name: cell("0.51") for name in "ab"}
    # Without an error of their own both long numbers are finer than float32.
    whole = replace(cell(text), error=Fraction(0), unit=Fraction(1, 10**12))
    assert sum_error(Summary(cell=whole, measure=ACCURACY, parts=parts)) == error


def test_a_sum_of_numbers_in_half_precision_has_two_of_its_roundoffs_more() -> None:
    # Sevenths of sixteenths have these digits in half precision: 5/16 and 7/16 exactly.
    parts = {"a": cell("0.3125"), "b": cell("0.4375")}
    assert sum_error(Summary(cell=cell("0.3750"), measure=ACCURACY, parts=parts)) == 3 * E + Fraction(2, 2**11)
