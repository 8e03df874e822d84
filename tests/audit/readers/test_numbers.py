"""Numbers: every printed form that is read, and texts that are not numbers."""

from fractions import Fraction

import pytest

from in4310repro.audit.readers.numbers import count, images, is_missing, parse, parse_measured, parse_ratio, to_percent


@pytest.mark.parametrize(
    ("text", "digits", "decimals", "percent"),
    [
        ("0.9882", 9882, 4, False),
        ("98.82 %", 9882, 4, True),
        ("98,82%", 9882, 4, True),
        ("0,982", 982, 3, False),
        (".93", 93, 2, False),
        ("1.", 1, 0, False),
        ("9.9e-01", 99, 2, False),
        ("100", 100, 0, False),
        ("\u22120.1", -1, 1, False),
        ("98.82\u00a0%", 9882, 4, True),
        ("98.82\uff05", 9882, 4, True),
        ("0.90", 90, 2, False),
    ],
)
def test_a_printed_number_keeps_its_decimals(text: str, digits: int, decimals: int, percent: bool) -> None:
    printed = parse(text, 7)
    assert (printed.digits, printed.decimals, printed.percent, printed.line) == (digits, decimals, percent, 7)


def test_thirty_decimals_are_kept() -> None:
    assert parse("0.700350175087543771885942971486", 1).decimals == 30


def test_an_exponent_moves_the_point_and_loses_no_digit() -> None:
    assert parse("9.5e-3", 1).value == Fraction(95, 10000)
    assert parse("9.9e99", 1).value == 99 * 10**98


@pytest.mark.parametrize("text", ["", "nan", "0.9.8", "1,234.5", "inf", "sea", "%"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"0\.9882 .*98\.82 %"):
        parse(text, 3)


def test_a_percentage_by_its_heading_is_a_hundredth_of_its_number() -> None:
    assert to_percent(parse("75", 1)).value == Fraction(3, 4)
    assert to_percent(parse("75 %", 1)).value != Fraction(3, 400)


@pytest.mark.parametrize(
    ("text", "value", "beside", "spread", "size"),
    [
        ("95.3% (286/300)", "95.3%", (286, 300), None, None),
        ("286/300 (95.3%)", "95.3%", (286, 300), None, None),
        ("82% (97,275 / 117,750)", "82%", (97275, 117750), None, None),
        ("286 of 300", None, (286, 300), None, None),
        ("93.2 ± 0.4", "93.2", None, "0.4", None),
        ("93.2 +/- 0.4 %", "93.2", None, "0.4", None),
        ("93.2 (0.4)", "93.2", None, "0.4", None),
        ("0.91 (n=300)", "0.91", None, None, 300),
        ("93.2 (+1.3)", "93.2", None, None, None),
    ],
)
def test_a_cell_gives_its_value_and_what_stands_beside_it(
    text: str, value: str | None, beside: tuple[int, int] | None, spread: str | None, size: int | None
) -> None:
    cell = parse_measured(text, 1)
    assert cell
    assert (cell.printed and cell.printed.text) == value
    assert (cell.count, cell.spread and cell.spread.text, cell.images) == (beside, spread, size)


@pytest.mark.parametrize("text", ["+1.2", "0765456", "0.91-0.93", "12 epochs", "v2"])
def test_a_difference_a_range_and_a_number_without_its_point_are_no_values(text: str) -> None:
    assert parse_measured(text, 1) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [("2,421", 2421), ("2 421", 2421), ("2'421", 2421), ("365.0", 365), ("1.200", 1200), ("0.93", None), ("sea", None)],
)
def test_a_number_of_images_may_have_separators_between_thousands(text: str, number: int | None) -> None:
    assert count(text) == number


def test_thousands_of_images_are_not_read_as_a_share() -> None:
    cell = parse_measured("2,421", 1)
    assert cell
    assert cell.printed
    assert cell.printed.value != count("2,421")


def test_words_name_a_number_of_images() -> None:
    assert images("accuracy on 500 real radar samples") == 500
    assert images("on the 10000 test images") == 10000
    assert images("after 20 epochs") is None
    assert parse_ratio("286 out of 300") == (286, 300)


@pytest.mark.parametrize("text", ["-", "n/a", "NaN", "", "—", "None"])
def test_a_cell_may_say_that_there_is_no_value(text: str) -> None:
    assert is_missing(text)
    assert not is_missing("0")
