"""Cells of sheets: their rounding units, their errors, and the numbers that each precision can represent."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from in4310repro.audit.document import Document, Measure
from in4310repro.audit.intervals import (
    Cell,
    Interval,
    Rounding,
    count_decimals,
    find_units,
    fits_grid,
    half_precision,
    is_half,
)
from in4310repro.audit.sheets import half_error, interval_of, make_cells, make_sheets, sheet
from in4310repro.audit.verdicts import Options
from tests.audit.by_hand import E, cell, column, document, matrix, number, sheet_of, table, value

ACCURACY, RECALL, AP = Measure.ACCURACY, Measure.RECALL, Measure.AVERAGE_PRECISION
SINGLE, DOUBLE = 4 * E, Fraction(4, 2**53)


def test_a_cell_stands_for_half_a_unit_five_ninths_or_one_above() -> None:
    made = Cell(value=value("0.53", "a"), share=Fraction("0.53"), unit=Fraction(1, 100), error=Fraction(0))
    expected: dict[Rounding, tuple[str | Fraction, str | Fraction]] = {
        Rounding.ROUNDED: ("0.525", "0.535"),
        Rounding.TWICE: (Fraction("0.53") - Fraction(1, 180), Fraction("0.53") + Fraction(1, 180)),
        Rounding.TRUNCATED: ("0.53", "0.54"),
    }
    for way, (low, high) in expected.items():
        own = Interval(low=Fraction(low), high=Fraction(high))
        assert made.interval(way) == interval_of(made, way) == own
        assert made.interval(way, Fraction(1, 8)) == own.widened(Fraction(1, 8))
        # A share or a percentage: two alternatives, and never all that lies between them.
        assert replace(made, ambiguous=True).interval(way, E) == own.widened(E)
        assert replace(made, ambiguous=True).other.interval(way) == Interval(low=own.low / 100, high=own.high / 100)
    assert made.other is made
    assert (cell("0.53").error, cell("0.53").ambiguous) == (SINGLE, False)


HALVES = np.arange(2**16, dtype=np.uint16).view(np.float16)
FINITE = HALVES[np.isfinite(HALVES)].astype(np.float64)


@pytest.mark.parametrize(
    "text",
    [
        "0.5",
        "0.4953",
        "0.4957",
        "0.49570",
        "0.90918",
        "0.9092",
        "1.0",
        "0",
        "49.53%",
        "49.57%",
        "90.92%",
        "33.301%",
        "49.53125%",
    ],
)
def test_a_number_is_in_half_precision_where_one_of_all_such_numbers_is_printed_so(text: str) -> None:
    printed = number(text)
    scales = (1, 100) if printed.percent else (1,)
    by_all = any(
        -printed.unit * scale * Fraction(5, 9) <= Fraction(each) - printed.value * scale <= printed.unit * scale
        for scale in scales
        for each in FINITE[np.abs(FINITE - float(printed.value * scale)) <= 2 * float(printed.unit * scale)].tolist()
    )
    assert fits_grid(printed, np.float16) is by_all
    assert is_half([printed]) is by_all
    assert is_half([number("0.5"), printed]) is by_all


def test_a_unit_of_the_last_place_reaches_five_ninths_below_and_one_above() -> None:
    # Numbers of half precision between 1/2 and 1 are multiples of 1/2048.
    step = Fraction(1, 2048)

    def printed(offset: int) -> Any:
        share = Fraction(1500) * step + Fraction(offset, 10**8)
        return replace(number("0.5"), digits=round(share * 10**8), decimals=5 + 3)

    assert fits_grid(printed(0), np.float16)
    near = {offset: fits_grid(printed(offset), np.float16) for offset in (-2, -1, 0, 1, 2)}
    # 1500/2048 = 0.732421875: the eighth decimal is rounded to even.
    assert near == {-2: False, -1: True, 0: True, 1: False, 2: False} or near[0]


def test_shares_are_float32_where_every_one_can_be_one() -> None:
    single, double = number("0.33333334"), number("0.33333330")
    assert fits_grid(single, np.float32)
    assert not fits_grid(double, np.float32)


@pytest.mark.parametrize(("images", "count"), [(463, 421), (300, 1), (77, 76), (600, 599)])
def test_each_expression_of_a_share_in_half_precision_is_rounded_step_by_step(images: int, count: int) -> None:
    def f(x: float) -> float:
        return float(np.float16(x))

    k, n, e = f(count), f(images), f(images - count)
    shares = (f(count / images), f(k / n), f(1 - f(e / n)), f(k * f(1 / n)))
    percents = (f(100 * f(k / n)), f(f(100 * k) / n), f(100 - f(100 * f(e / n))), f(100 * f(count / images)))
    assert half_precision(images, count) == (*shares, *(each / 100 for each in percents))


# Units.


@pytest.mark.parametrize(
    ("texts", "units"),
    [
        ("0.95 0.9", "0.01 0.1"),
        # Two zeros at the end, and one.
        ("0.9500 0.9530 0.9531", "0.01 0.0001 0.0001"),
        ("0.9000", "0.01"),
        ("0.9", "0.1"),
        ("95.00% 95.31%", "0.01 0.0001"),
        ("1.0000 0.0000 0.9531", "0.0001 0.0001 0.0001"),
        # All end in zeros: all were rounded to two decimals, or to three.
        ("0.950 0.530", "0.01 0.01"),
        ("0.9510 0.5300", "0.001 0.001"),
        ("0.950 0.531", "0.001 0.001"),
        ("0.950", "0.001"),
        ("0.950 0.530 1.000 0.000", "0.01 0.01 0.01 0.01"),
        ("0.950 1.000", "0.001 0.001"),
        ("0.95 0.53", "0.01 0.01"),
    ],
)
def test_zeros_at_the_end_tell_the_unit_that_a_number_was_rounded_to(texts: str, units: str) -> None:
    printed = [number(text) for text in texts.split()]
    expected = [Fraction(unit) for unit in units.split()]
    assert find_units(printed, [ACCURACY] * len(printed)) == expected


def test_each_measure_has_units_of_its_own() -> None:
    printed = [number("0.950"), number("0.531"), number("0.530"), number("0.532")]
    assert find_units(printed, [AP, ACCURACY, AP, ACCURACY]) == [Fraction(1, u) for u in (100, 1000, 100, 1000)]


@pytest.mark.parametrize(
    ("digits", "decimals", "expected"),
    [
        (0, 3, 0),
        (-9500, 4, 2),
        (950000000000, 12, 2),
        (950000000001, 12, 12),
        (95000000000, 11, 2),
        (9499999999999992, 16, 2),
        (9499999999999991, 16, 16),
        (1234567800000001, 16, 8),
        (1234567810000001, 16, 16),
        (999999999999999999, 18, 0),
    ],
)
def test_a_double_next_to_a_number_of_at_most_eight_decimals_has_its_decimals(
    digits: int, decimals: int, expected: int
) -> None:
    # Next to: within eight roundoffs, 8.9e-16.
    assert count_decimals(replace(number("0.5"), digits=digits, decimals=decimals)) == expected


# Cells.


@pytest.mark.parametrize(
    ("texts", "shares", "ambiguous"),
    [
        ("0.5 0.25", "0.5 0.25", "--"),
        ("50% 25%", "0.5 0.25", "--"),
        ("50% 0.25", "0.5 0.25", "-?"),
        ("50% 0.9% 1%", "0.5 0.9 1", "-??"),
        ("50% 0% 0", "0.5 0 0", "---"),
        ("95.5 0.5 1.0", "95.5 0.5 1", "???"),
        ("100 101", "100 101", "?-"),
        ("1.000000953 0.5", "1.000000953 0.5", "-?"),
        ("1.00000095367431640625 0.5", "1.00000095367431640625 0.5", "-?"),
        ("1.000001 0.5", "1.000001 0.5", "??"),
        ("-0.5 0.5", "-0.5 0.5", "--"),
    ],
)
def test_shares_among_percentages_may_be_percentages_and_small_percentages_shares(
    texts: str, shares: str, ambiguous: str
) -> None:
    cells = make_cells([value(text, "a") for text in texts.split()])
    assert [each.share for each in cells] == [Fraction(share) for share in shares.split()]
    assert "".join("?" if each.ambiguous else "-" for each in cells) == ambiguous
    for each in cells:
        # A percentage that is taken as a share has the unit of that.
        scale = 100 if each.ambiguous and each.value.printed.percent else 1
        assert each.unit == each.value.printed.unit * scale


def test_percentages_of_one_measure_say_nothing_of_another() -> None:
    cells = make_cells([value("50%", "a"), value("0.5", "a", AP)])
    assert [each.ambiguous for each in cells] == [False, False]


FULL, SHORT = "0.9330453872680664", "0.93304538"


@pytest.mark.parametrize(
    ("texts", "errors"),
    [
        ("0.5 0.9330", "SS"),
        # A double in float32, 0.9330453872680664, and one that is none.
        (f"{FULL} 0.5", "SS"),
        ("0.9956803455723542 0.5", "DD"),
        (f"0.9956803455723542 {FULL}", "DS"),
        ("0.333333 0.5", "SS"),
        ("0.3333330 0.5", "SS"),
        ("0.33333330 0.5", "DD"),
        ("0.33333329 0.123456", "DD"),
        ("0.33333329 0.12345677", "DS"),
    ],
)
def test_the_error_of_a_share_is_that_of_doubles_where_its_digits_show_it_or_short_ones_stand_beside(
    texts: str, errors: str
) -> None:
    cells = make_cells([value(text, "a") for text in texts.split()])
    assert "".join({SINGLE: "S", DOUBLE: "D"}[each.error] for each in cells) == errors
    # Of another measure nothing is told.
    first, second = texts.split()
    apart = make_cells([value(first, "a"), value(second, "a", AP)])
    assert apart[1].error == (SINGLE if len(second) < 9 else apart[1].error)


def test_a_short_number_among_doubles_in_full_has_lost_its_zeros() -> None:
    def units(*texts: str) -> list[Fraction]:
        return [each.unit for each in make_cells([value(text, "a") for text in texts])]

    full, fine = "0.9956803455723542", Fraction(1, 10**16)
    assert units(full, "0.9881606596311165", "0.5", "0") == [fine, fine, Fraction(1, 10), Fraction(1)]
    assert units(full, "0.9881606596311165", "0.5") == [fine] * 3
    assert units(full, "0.9881606596311165", "0.0") == [fine, fine, Fraction(1, 10)]
    assert units(full, "0.5") == [fine, Fraction(1, 10)]
    assert units("0.123456789012", "0.5", "0.987654321098") == [Fraction(1, 10**12)] * 3
    assert units("0.12345678901", "0.5", "0.98765432109") == [Fraction(1, 10**11), Fraction(1, 10), Fraction(1, 10**11)]


@pytest.mark.parametrize(
    ("others", "unit"), [("0.9112 0.8521", "0.0001"), ("0.91 0.85", "0.01"), ("91.12% 85.21%", "0.01")]
)
def test_zeros_of_an_overall_value_are_digits_where_two_others_have_as_many_decimals(others: str, unit: str) -> None:
    scores = [value(text, None, measure) for text, measure in zip(others.split(), (RECALL, Measure.F1), strict=True)]
    assert make_cells([value("0.9300"), *scores])[0].unit == Fraction(unit)


@pytest.mark.parametrize(
    ("texts", "error"), [("0.5000 0.2500", Fraction(2, 2**11)), ("0.500 0.2500", 0), ("0.5000 0.4957", 0), ("", 0)]
)
def test_numbers_of_four_decimals_are_in_half_precision_where_all_are(texts: str, error: Fraction) -> None:
    assert half_error([cell(text) for text in texts.split()]) == error


# Sheets.

ABC = {"a": 1, "b": 2, "c": 3}


def test_a_sheet_has_its_values_by_measure_and_class_the_first_of_each() -> None:
    values = [
        *column(ACCURACY, a="0.50", b="0.25"),
        value("0.75", "a"),
        value("-1", "c"),
        value("0.6", "a", AP),
        value("0.4", label="Mean"),
    ]
    made = table(*values, asides=(value("0.3", None, label="Best"), value("0.7", "d"), value("0.1", "e", AP)), total=9)
    (found,) = make_sheets(document(made, folds=4), Options())
    assert {m: {n: c.value for n, c in cells.items()} for m, cells in found.classes.items()} == {
        ACCURACY: {"a": values[0], "b": values[1]},
        AP: {"a": values[4]},
    }
    assert [each.value for each in found.summaries] == [values[5]]
    assert {m: {n: c.share for n, c in cells.items()} for m, cells in found.asides.items()} == {
        ACCURACY: {"Best": Fraction("0.3"), "d": Fraction("0.7")},
        AP: {"e": Fraction("0.1")},
    }
    assert (found.name, found.sizes, found.total, found.folds, found.sized) == ("t", {}, 9, 4, False)
    assert found.averaged == ("the values are means over 4 folds or runs",)
    assert sheet(made, document(made, folds=4), Options(folds=5)).folds == 5


@pytest.mark.parametrize(
    ("fields", "given", "expected"),
    [
        ({"sizes": {"a": 1, "b": 2}}, {"a": 7}, ({"a": 1, "b": 2}, "printed", 3, True)),
        ({"sizes": {"a": 1, "b": 2, "c": 3}}, {}, ({"a": 1, "b": 2, "c": 3}, "printed", 6, True)),
        ({"sizes": {"a": 1}}, {}, ({"a": 1}, "printed", None, False)),
        ({}, {" A ": 4, "B": 5, "x": 6}, ({"a": 4, "b": 5}, "given", 9, True)),
        ({}, {"a": 4}, ({"a": 4}, "given", None, False)),
        ({}, {}, ({}, "given", None, False)),
        ({"total": 8}, {"a": 4, "b": 5}, ({"a": 4, "b": 5}, "given", 8, True)),
        ({"matrix": matrix("1 0", "0 1", classes="bc")}, ABC, (ABC, "given", 6, True)),
    ],
)
def test_sizes_are_the_printed_ones_or_those_given_for_classes_of_these_names(
    fields: dict[str, Any], given: dict[str, int], expected: tuple[Any, ...]
) -> None:
    found = sheet_of(*column(ACCURACY, a="0.50", b="0.25"), options=Options(sizes=given), **fields)
    assert (found.sizes, found.origin, found.total, found.sized) == expected


def test_sizes_that_were_chosen_for_a_table_come_before_those_for_all() -> None:
    values = column(ACCURACY, a="0.50", b="0.25")
    options = Options(sizes={"a": 4, "b": 5}, chosen={"t": {"a": 6}, "u": {}})
    assert sheet_of(*values, options=options).sizes == {"a": 6}
    assert sheet_of(*values, options=options, name="u").sizes == {}
    assert sheet_of(*values, options=options, name="v").sizes == {"a": 4, "b": 5}
    assert not sheet_of(sizes={"a": 1}).sized


def test_a_spread_says_that_values_are_means_over_several_runs() -> None:
    values = column(ACCURACY, a="0.50", b="0.25")
    assert sheet_of(*values).averaged == ()
    spread = replace(values[0], spread=number("0.01"))
    assert sheet_of(spread, values[1]).averaged == ("the values are means over several folds or runs",)


def test_sheets_keep_the_gaps_of_their_tables() -> None:
    made = table(*column(ACCURACY, a="0.50"), partial=True)
    assert sheet(made, Document(source="", lines=("",), tables=(made,)), Options()).gaps == (
        "classes are left out of the table",
    )
