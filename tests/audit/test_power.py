"""Errors planted in a report one by one, messages about them, and options rejected before any reading."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from in4310repro.audit import power
from in4310repro.audit.claims import Claim, make_finding
from in4310repro.audit.document import Average, Document, Measure, Value
from in4310repro.audit.examine import audit, choose_sizes, conclude, list_remarks
from in4310repro.audit.power import (
    KINDS,
    Plant,
    drop_class,
    measure_power,
    replace_decimal,
    set_digits,
    swap_digits,
    take_other_row,
)
from in4310repro.audit.verdicts import Detection, ImageSet, Options, Rank
from tests.audit.by_hand import column, document, number, sheet_of, table, value

ACCURACY, RECALL, F1, OTHER = Measure.ACCURACY, Measure.RECALL, Measure.F1, Measure.OTHER
MACRO = Average.MACRO


class Draws:
    """Stand-in for a random generator that returns the given numbers, or the options with these indices."""

    def __init__(self, *places: int) -> None:
        self.places = list(places)

    def choice(self, options: Any) -> Any:
        return options[self.places.pop(0)]

    def integers(self, number: int) -> int:
        place = self.places.pop(0)
        assert place < number
        return place

    def permutation(self, number: int) -> Any:
        return np.arange(number)


def planted(plant: Plant, text: str, *places: int, others: tuple[str, ...] = ()) -> str | None:
    """Return the text to which `plant` changes the value `text` in a column with `others`, or None."""
    own = value(text, "a")
    made = plant(own, [own, *(value(each, "b") for each in others)], Draws(*places))  # type: ignore[arg-type]
    if made is not None:
        # The text says the number.
        assert number(made.text).value == made.value
        assert (made.decimals, made.percent, made.line) == (own.printed.decimals, own.printed.percent, 1)
    return made.text if made else None


@pytest.mark.parametrize(
    ("text", "digits", "expected"),
    [
        ("0.953", 1, "0.001"), ("0.953", 0, "0.000"), ("0.953", 1000, "1.000"), ("0.953", 1001, None),
        ("0.953", -1, None), ("95.3%", 42, "4.2%"), ("95.3%", 1000, "100.0%"), ("95%", 7, "7%"), ("1", 0, "0"),
    ],
)  # fmt: skip
def test_other_digits_are_printed_in_the_same_way_unless_they_are_no_share(
    text: str, digits: int, expected: str | None
) -> None:
    made = set_digits(number(text), digits)
    assert (made and made.text) == expected
    assert made is None or (made.digits, made.decimals) == (digits, number(text).decimals)


def test_a_percentage_by_its_heading_keeps_its_form() -> None:
    made = set_digits(replace(number("95.3%"), text="95.3"), 42)
    assert made
    assert made.text == "4.2"


@pytest.mark.parametrize(
    ("position", "text", "place", "expected"),
    [
        # The digits without the old one: 0 to 8 for nine, and so on.
        (1, "0.953", 0, "0.053"), (1, "0.953", 8, "0.853"), (2, "0.953", 5, "0.963"), (3, "0.953", 3, "0.954"),
        (-1, "0.953", 0, "0.950"), (3, "0.95", 0, None), (2, "0.95", 0, "0.90"), (1, "95.3%", 0, "5.3%"),
        (1, "1.000", 0, None), (-1, "95%", 0, "90%"), (1, "1", 0, None), (-1, "1", 0, None), (-1, "0.9", 1, "0.1"),
    ],
)  # fmt: skip
def test_one_decimal_is_replaced_by_another_digit(position: int, text: str, place: int, expected: str | None) -> None:
    assert planted(replace_decimal(position), text, place) == expected


@pytest.mark.parametrize(
    ("text", "place", "expected"),
    [
        ("0.953", 0, "0.593"), ("0.953", 1, "0.935"), ("0.995", 0, "0.959"), ("0.999", 0, None),
        ("0.012", 0, "0.102"), ("95.3%", 0, "59.3%"), ("0.5", 0, None), ("1.00", 0, "0.10"),
        ("-0.3", 0, None), ("-0.35", 0, None),
    ],
)  # fmt: skip
def test_two_neighbouring_different_digits_are_swapped(text: str, place: int, expected: str | None) -> None:
    assert planted(swap_digits, text, place) == expected


def test_the_value_of_another_class_with_as_many_decimals_is_copied() -> None:
    assert planted(take_other_row, "0.95", 0, others=("0.50", "0.7", "0.25")) == "0.50"
    assert planted(take_other_row, "0.95", 1, others=("0.50", "0.7", "0.25")) == "0.25"
    assert planted(take_other_row, "0.95", others=("0.7",)) is None
    assert planted(take_other_row, "0.95") is None


@pytest.mark.parametrize(
    ("text", "parts", "place", "expected"),
    [
        ("0.40", "0.50 0.40 0.30", 0, "0.35"),
        ("0.40", "0.50 0.40 0.30", 2, "0.45"),
        ("0.42", "0.50 0.40 0.30", 0, "0.35"),
        ("0.43", "0.50 0.40 0.30", 0, None),
        ("0.402", "0.500 0.400 0.300", 0, "0.350"),
        ("0.403", "0.500 0.400 0.300", 0, None),
        ("0.45", "0.50 0.40", 0, None),
        ("40%", "0.50 0.40 0.30", 0, None),
        ("40%", "50% 40% 30%", 1, "40%"),
    ],
)
def test_one_class_is_left_out_of_a_mean_that_is_near_the_plain_one(
    text: str, parts: str, place: int, expected: str | None
) -> None:
    values = column(ACCURACY, **dict(zip("abc", parts.split(), strict=False)))
    made = drop_class(value(text, None, ACCURACY, MACRO), values, Draws(place))  # type: ignore[arg-type]
    assert (made and made.text) == expected


def test_the_column_of_a_value_has_the_class_values_of_its_measure() -> None:
    values = (*column(ACCURACY, a="0.51", b="0.42"), value("0.46", None, ACCURACY, MACRO), *column(F1, a="0.3"))
    assert power.list_column(values[0], table(*values)) == list(values[:2])


NAMES = (
    "first decimal replaced", "second decimal replaced", "third decimal replaced", "last decimal replaced",
    "two digits swapped", "value copied to the wrong row", "wrong class dropped from a mean",
)  # fmt: skip


def accusing(rank: Rank | None, kinds: list[str] | None = None) -> Any:
    """Return a substitute for the audit that reports all values except 0.51, 0.42, 0.33 and 0.420.

    Args:
        rank: severity of the finding; None means no finding.
        kinds: list to which the substitute appends the names of the audited tables.
    """
    kinds = [] if kinds is None else kinds

    def accuse(group: Any) -> Any:
        kinds.append(" ".join(each.name for each in group))
        cells = [c for s in group for col in s.classes.values() for c in col.values()]
        cells += [c for s in group for c in s.summaries]
        wrong = tuple(c for c in cells if c.value.printed.text not in ("0.51", "0.42", "0.33", "0.420"))
        conditions = () if rank is Rank.IMPOSSIBLE else ("c",)
        claim = Claim(kind="k", message="m", cells=wrong, conditions=conditions)
        return ((make_finding(claim, group[0]),) if wrong and rank else ()), ()

    return accuse


def report(*others: Value, mean: str = "0.420") -> Document:
    values = [*column(ACCURACY, a="0.51", b="0.42", c="0.33"), value(mean, None, ACCURACY, MACRO)]
    return document(table(*values, *others))


@pytest.mark.parametrize("rank", [Rank.IMPOSSIBLE, Rank.UNLESS, None])
def test_errors_of_each_kind_are_tried_and_counted_by_the_rank_of_what_is_found(rank: Rank | None) -> None:
    found = measure_power(report(), Options(bound=9), accusing(rank))
    assert found
    assert found.seed == 0
    kinds = {each.kind: each for each in found.detections}
    # Two decimals have no third one, and 0.33 has no digits to swap.
    assert set(kinds) == set(NAMES) - {"third decimal replaced"}
    for name, each in kinds.items():
        assert 0 < each.tried <= 40
        # What is copied is a value of the report.
        copied = name == NAMES[5]
        assert each.as_read == (each.tried if rank is Rank.IMPOSSIBLE and not copied else 0)
        assert each.unless == (each.tried if rank is Rank.UNLESS and not copied else 0)
    # Each of three targets is tried thirteen times.
    assert kinds[NAMES[0]].tried == kinds[NAMES[3]].tried == 39


def test_at_most_forty_errors_and_so_much_work_are_planted() -> None:
    assert (power.PLANTED, power.AUDITED, power.SEED) == (40, 4000, 0)
    many = document(table(*column(ACCURACY, **{f"c{place}": "0.51" for place in range(5)})))
    found = measure_power(many, Options(bound=9), accusing(None), planted=4)
    assert found
    assert found.detections[0] == Detection(kind=NAMES[0], tried=4, impossible=0, unless=0)
    # Of five targets each is tried once: three have digits to swap.
    some = document(table(*column(ACCURACY, a="0.51", b="0.51", c="0.51", d="0.33", e="0.33")))
    swapping = measure_power(some, Options(bound=9), accusing(None), planted=4)
    assert swapping
    assert {each.kind: each.tried for each in swapping.detections}[NAMES[4]] == 3
    # Each error audits 5 values again.
    less = measure_power(many, Options(bound=9), accusing(None), planted=4, most=11)
    assert less
    assert less.detections[0].tried == 3


def test_values_that_are_found_already_or_without_decimals_are_no_targets() -> None:
    assert measure_power(document(), Options(), accusing(None)) is None
    nothing = document(table(*column(OTHER, a="0.51"), *column(ACCURACY, a="1", b="0")))
    assert measure_power(nothing, Options(), accusing(None)) is None
    # All values are found, so that there is none to change.
    wrong = document(table(*column(ACCURACY, a="0.71", b="0.72")))
    assert measure_power(wrong, Options(bound=9), accusing(Rank.UNLESS)) is None
    # One of two is found.
    half = document(table(*column(ACCURACY, a="0.71", b="0.42")))
    found = measure_power(half, Options(bound=9), accusing(Rank.UNLESS))
    assert found
    assert {each.kind: each.tried for each in found.detections}[NAMES[0]] == 40
    # A mean alone cannot lack a class.
    alone = document(table(value("0.42", None, ACCURACY, MACRO)))
    assert measure_power(alone, Options(), accusing(None)) is None


REMARK = (
    "without class sizes, values with {} decimals of a share can be contradicted only by their mean, "
    "as nearly every such value is some k/n; give the sizes with --sizes"
)


def test_few_decimals_without_sizes_are_remarked() -> None:
    def remark(made: Document, **options: Any) -> str:
        found = measure_power(made, Options(bound=9, **options), accusing(None))
        assert found
        return found.remark

    assert remark(report()) == REMARK.format(3)
    assert remark(report(mean="0.42")) == REMARK.format(2)
    assert remark(report(mean="0.4200")) == ""
    assert remark(report(), sizes={"a": 9}) == ""


def test_the_tables_of_one_group_are_audited_together_with_the_wrong_value_in_its_own() -> None:
    first = table(*column(ACCURACY, a="0.51", b="0.42"), name="one")
    second = table(*column(ACCURACY, a="0.42", b="0.33"), name="two")
    apart = table(*column(ACCURACY, x="0.51", y="0.42"), name="apart")
    asked: list[str] = []
    assert measure_power(document(first, second, apart), Options(bound=9), accusing(Rank.IMPOSSIBLE, asked))
    assert set(asked) == {"one two", "apart"}


# The audit as a whole.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": 0}, "images 0; .*1 to 1000000000"),
        ({"images": [5, 1_000_000_001]}, "images 1000000001; .*1 to 1000000000"),
        ({"bound": 200_001}, "bound 200001; .*1 to 200000"),
        ({"folds": 1001}, "folds 1001; .*1 to 1000"),
        ({"sizes": {"a": -1}}, "size -1 of class a; .*0 to 1000000000 images"),
        ({"sizes": [{"a": 1}, {"b": 1_000_000_001}]}, "size 1000000001 of class b; .*0 to 1000000000 images"),
        ({"ceilings": {"c": Fraction(0)}}, r"ceiling 0.0 \(c\); .*more than 0 and less than 1"),
        ({"ceilings": {"c": Fraction(1)}}, r"ceiling 1.0 \(c\); .*more than 0 and less than 1"),
    ],
)
def test_arguments_beyond_their_limits_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        audit("Accuracy of a: 0.5", **arguments)


def test_arguments_at_their_limits_are_options_of_the_audit() -> None:
    text = "Accuracy of a: 0.5\nAccuracy of b: 0.5"
    least = audit(text, images=1, sizes={"a": 0, "b": 1}, bound=1, folds=1, power=False).options
    assert least == Options(images=1, sizes={"a": 0, "b": 1}, bound=1, folds=1)
    most = audit(text, images=[10**9, 1], sizes=[{"a": 10**9}, {"a": 3}], bound=200_000, folds=1000, power=False)
    assert most.options == Options(
        images=10**9, more_images=(1,), sizes={"a": 10**9}, more_sizes=({"a": 3},), bound=200_000, folds=1000,
        chosen=most.options.chosen,
    )  # fmt: skip
    assert audit(text, power=False).options == Options()
    assert audit(text, power=False).power is None
    assert audit(text).power is not None


def test_sizes_of_several_sets_are_chosen_by_the_fewest_findings() -> None:
    # 0.53 is 8 of 15 and no count of 4 or 5; 0.50 is of 4 and of 10.
    fits = table(value("0.53", "a"), value("0.47", "b"), name="fits")
    either = table(value("0.50", "a"), value("0.25", "b"), name="either")
    none = table(value("0.123", "a"), value("0.50", "b"), name="none")
    made = document(fits, either, none)

    def chosen(*sizes: dict[str, int]) -> dict[str, Any]:
        return dict(choose_sizes(made, Options.of_sets([], sizes)))

    four, fifteen, eight = ({"a": n, "b": n} for n in (4, 15, 8))
    # 0.123 is of neither; 0.50 is of 4 images and not of 15.
    assert chosen(four, fifteen) == {"fits": fifteen, "either": four, "none": four}
    assert chosen(four, eight)["either"] == {}
    assert chosen(four, dict(four))["either"] == four


def test_findings_stand_in_the_order_of_their_ranks() -> None:
    values = [*column(ACCURACY, a="0.4957", b="1.50", c="0.50", d="0.25"), value("0.5", None, RECALL)]
    found = conclude(document(table(*values)), Options(bound=50)).findings
    ranks = [list(Rank).index(each.rank) for each in found]
    assert ranks == sorted(ranks)
    assert found[0].rank is Rank.AS_READ
    assert len(set(ranks)) == 2


def remarks(*sheets: Any, sets: tuple[ImageSet, ...] = (), options: Options | None = None) -> list[str]:
    return list(list_remarks(sheets, sets, options or Options()))


def test_means_and_sizes_that_are_missing_are_remarked_of_at_most_four_tables_by_name() -> None:
    lonely = [sheet_of(*column(F1, a="0.5", b="0.6"), name=f"t{place}") for place in range(5)]
    told = ": no mean F1 is printed, so no mean was checked"
    assert remarks(*lonely[:4]) == [f"t0, t1, t2, t3{told}"]
    assert remarks(*lonely) == [f"t0, t1, t2 and 2 more tables{told}"]
    assert remarks(sheet_of(value("0.5", "a", F1))) == []
    assert remarks(sheet_of(*column(F1, a="0.5", b="0.6"), value("0.5", None, F1))) == []
    assert remarks(sheet_of(*column(OTHER, a="0.5", b="0.6"))) == []
    one, sized = sheet_of(value("0.5", "a")), sheet_of(value("0.5", "a"), sizes={"a": 2})
    unsized = "t: class sizes are neither printed nor given by the decimals: no counts"
    assert remarks(one, sized) == [unsized]
    group = ImageSet(tables=("t",), smallest={"a": 2}, taken={"a": 4}, chance={"a": 0.0}, origin="search")
    assert remarks(one, sets=(group,)) == []
    assert remarks(one, sets=(replace(group, origin="given"),)) == [unsized]


def test_what_the_counts_rest_on_is_remarked() -> None:
    group = ImageSet(tables=("t", "u"), smallest={"a": 2, "b": 3}, taken={"a": 2, "b": 3}, chance={"a": 0.0, "b": 0.0},
                     origin="search")  # fmt: skip
    smallest = "t, u: the smallest class sizes that fit are used; the true ones may be multiples of them"
    assert remarks(sets=(group,)) == [smallest]
    assert remarks(sets=(replace(group, origin="printed"),)) == []
    assert remarks(sets=(replace(group, taken={"a": 4, "b": 3}),)) == []
    unknown = replace(group, chance={"a": 0.0, "b": 0.011})
    assert remarks(sets=(unknown,)) == [
        "t, u: the size of 1 of 2 classes is unknown, as random digits would fit as well; counts of these classes, "
        "totals, and oddities that need them are left out"
    ]
    assert remarks(sets=(replace(group, chance={"a": 0.0, "b": 0.01}),)) == [smallest]
    totals = Options(images=9, more_images=(8,))
    assert remarks(sets=(group,), options=totals) == [
        "t, u: no choice, or more than one, of the class sizes that fit adds up to 9 or 8; the smallest are used, and "
        "the true ones may be multiples"
    ]
    assert remarks(sets=(group,), options=Options(images=5)) == []
    assert remarks(sets=(replace(group, origin="given"),), options=totals) == []


def test_other_groupings_are_remarked_once_with_the_most_probable_one() -> None:
    def group(name: str, *rivals: str) -> ImageSet:
        return ImageSet(tables=(name, f"{name}2"), smallest={}, taken={}, chance={}, origin="given", rivals=rivals)

    sets = (group("a", "a | b"), group("b", "a | b"), group("c", "c", "d"), group("e"))
    told = "the decimals do not show which tables share an image set: "
    most, decides = (
        " is the most probable grouping, and ",
        " possible, too; --sizes or --images, once for each image set, decides it",
    )
    assert remarks(sets=sets) == [f"{told}a, a2 | b, b2{most}a | b is{decides}", f"{told}c, c2{most}c; d are{decides}"]


def test_every_kind_of_error_has_its_plant() -> None:
    assert tuple(KINDS) == NAMES
    texts = [planted(KINDS[name], "0.1234", 8) for name in NAMES[:4]]
    assert texts == ["0.9234", "0.1934", "0.1294", "0.1239"]
