"""The search for class sizes and the grouping of tables, each against values by hand or brute force."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from in4310repro.audit import grouping, search
from in4310repro.audit.document import Measure
from in4310repro.audit.grouping import Accuracies, Evidence, Prior, common_sizes, group_by_image_set, log_choices
from in4310repro.audit.intervals import Cell, Rounding
from in4310repro.audit.search import (
    expect_fits,
    expect_totals,
    find_only_choice,
    list_known_sets,
    list_sizes,
    restore_zeros,
    search_bound,
)
from in4310repro.audit.verdicts import ImageSet, Options
from tests.audit.by_hand import cell as read_cell, column, number, sheet_of

ACCURACY = Measure.ACCURACY
SCENES = (463, 483, 521, 535, 490, 508)


def cell(text: str) -> Cell:
    """Return a Cell with the printed value `text`, whose rounding unit is its last decimal."""
    return replace(read_cell(text), unit=number(text).unit)


def accuracies(name: str = "t", declared: tuple[str | None, int | None] = (None, None), **texts: str) -> Accuracies:
    cells = {each: cell(text) for each, text in texts.items()}
    allowed = {each: list_sizes(made, Rounding.ROUNDED, 50) for each, made in cells.items()}
    return Accuracies(name=name, cells=cells, fits=allowed, rounding=Rounding.ROUNDED, declared=declared)


@pytest.mark.parametrize("text", ["0.5", "0.53", "0.1429", "0.333333333", "0.999", "0.00", "1.00", "0.142857142857"])
@pytest.mark.parametrize("way", Rounding)
def test_sizes_that_fit_are_those_of_trying_all(text: str, way: Rounding) -> None:
    made = cell(text)
    interval = made.interval(way, made.error)
    tried = [n for n in range(1, 41) if any(interval.low <= Fraction(k, n) <= interval.high for k in range(n + 1))]
    assert list_sizes(made, way, 40).tolist() == tried


def test_sizes_that_fit_are_exact_where_numbers_have_many_decimals() -> None:
    # 1/3 less one in the ninth decimal is near 33/100 of no size, and floats are generous by more than that.
    exact = replace(cell("0.333333333"), error=Fraction(0))
    off = replace(exact, share=exact.share - Fraction(1, 10**9))
    assert list_sizes(exact, Rounding.ROUNDED, 20).tolist() == [3, 6, 9, 12, 15, 18]
    assert list_sizes(off, Rounding.ROUNDED, 20).tolist() == []
    close = replace(exact, share=Fraction(1, 2) - Fraction(4, 10**10), unit=Fraction(1, 10**10))
    assert list_sizes(close, Rounding.ROUNDED, 2).tolist() == []
    # Where the interval is as wide as a millionth, floats suffice.
    assert list_sizes(replace(off, unit=Fraction(2, 10**6)), Rounding.ROUNDED, 20).tolist() == [3, 6, 9, 12, 15, 18]
    # They are generous by 1e-9 images on either side.
    for past, sizes in ((0.5, [1]), (1.5, [])):
        for share in (Fraction(past) / 10**9 + Fraction(1, 10**6), 1 - Fraction(past) / 10**9 - Fraction(1, 10**6)):
            assert list_sizes(replace(off, share=share, unit=Fraction(2, 10**6)), Rounding.ROUNDED, 1).tolist() == sizes
    below = replace(exact, share=Fraction(-1, 10**10), unit=Fraction(1, 10**9))
    assert list_sizes(below, Rounding.ROUNDED, 3).tolist() == [1, 2, 3]
    above = replace(exact, share=1 + Fraction(1, 10**10), unit=Fraction(1, 10**9))
    assert list_sizes(above, Rounding.ROUNDED, 3).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("texts", "units"),
    [
        ("0.9 0.531", "0.001 0.001"),
        ("0.90 0.531", "0.01 0.001"),
        ("0.9 0.53 0", "0.01 0.01 1"),
        ("10 0.53", "0.01 0.01"),
        ("90.0% 53.12%", "0.001 0.0001"),
    ],
)
def test_zeros_are_put_back_where_none_is_printed(texts: str, units: str) -> None:
    column_of = {str(place): cell(text) for place, text in enumerate(texts.split())}
    assert [each.unit for each in restore_zeros(column_of).values()] == [Fraction(unit) for unit in units.split()]
    assert restore_zeros({}) == {}


@pytest.mark.parametrize(
    ("texts", "bound", "expected"),
    [
        ("0.5", 7, 7),
        ("0.53", None, 2000),
        # sqrt(0.02 / 1e-9) = 4472, and of 1e-12 more than is searched.
        ("0.533333333", None, 4472),
        ("0.533333333 0.53", None, 2000),
        ("0.533333333 1.0 0", None, 4472),
        ("0.533333333333", None, 20_000),
        ("1", None, 2000),
    ],
)
def test_the_bound_is_as_given_or_as_far_as_the_coarsest_accuracy_tells(
    texts: str, bound: int | None, expected: int
) -> None:
    assert search_bound([cell(text) for text in texts.split()], Options(bound=bound)) == expected


def test_many_values_are_searched_less_far() -> None:
    many = [cell("0.533333333333")] * 1000
    assert search_bound(many, Options()) == 10_000
    assert search_bound(many * 10, Options()) == 2000


def test_random_digits_allow_so_many_sizes_by_summing_over_all() -> None:
    cells = [cell("0.53"), cell("0.1"), cell("1.0"), cell("0")]
    expected = sum(min(1.0, (n + 1) * 0.01) * min(1.0, (n + 1) * 0.1) for n in range(1, 151))
    assert expect_fits(cells, 150) == pytest.approx(expected, rel=1e-12)
    assert expect_fits(cells[2:], 150) == 150
    assert expect_fits([], 3) == 3


@pytest.mark.parametrize("total", [3, 4, 7, 12])
def test_choices_of_sizes_are_counted_by_trying_all(total: int) -> None:
    for classes in (1, 2, 3):
        ways = sum(sum(sizes) == total for sizes in itertools.product(range(1, total + 1), repeat=classes))
        assert math.exp(log_choices(total, classes)) == pytest.approx(ways, rel=1e-9)


def test_the_choices_with_a_total_that_random_digits_allow_are_bounded_by_equal_sizes() -> None:
    made = accuracies(a="0.533", b="0.677", c="1.000")
    # C(19, 2) = 171 choices; each of the two that tell has at most (20/2 + 1) counts of 1000.
    expected = min(1.0, 171 * 11**2 * 0.001**2)
    assert expect_totals([made], "abc", 20) == pytest.approx(expected, rel=1e-9)
    assert expect_totals([made, made], "abc", 20) == pytest.approx(expected * 11**2 * 1e-6, rel=1e-9)
    assert expect_totals([made], "abc", 2) == 1.0
    assert expect_totals([made], "abc", 3) == pytest.approx(2.5**2 * 1e-6, rel=1e-9)
    # Coarse values exclude nothing, and the chance is one at most.
    assert expect_totals([accuracies(a="0.5", b="0.5")], "ab", 20) == 1.0
    none = replace(made, fits=dict.fromkeys("abc", np.array([], dtype=np.int64)))
    assert expect_totals([none], "abc", 3) == 1.0


@pytest.mark.parametrize(
    "options",
    [[(3, 6), (5, 10)], [(1, 2, 3), (1, 2, 3), (4,)], [(2, 4), (2, 4)], [(7,)], [(30, 1), (2,)], [(1, 2), (3, 5)]],
)
def test_the_only_choice_with_a_sum_is_that_of_trying_all(options: list[tuple[int, ...]]) -> None:
    for total in range(1, 40):
        ways = [each for each in itertools.product(*options) if sum(each) == total]
        assert find_only_choice(options, total) == (ways[0] if len(ways) == 1 else None)


def test_a_sum_that_takes_too_many_steps_is_not_searched() -> None:
    assert find_only_choice([(5,), (6,)], 11, steps=22) == (5, 6)
    assert find_only_choice([(5,), (6,)], 11, steps=21) is None
    assert find_only_choice([(), ()], 11) is None
    made = accuracies(a="0.5")
    steps = 4 * len(made.fits["a"])
    assert math.isfinite(grouping.weigh_total([made], "a", 4, steps))
    assert grouping.weigh_total([made], "a", 4, steps - 1) == -math.inf


def test_sets_that_are_known_beforehand_are_those_given_else_the_scenes() -> None:
    names = list("abcdef")
    assert list_known_sets(names, Options()) == [SCENES, (309, 322, 347, 357, 327, 338)]
    assert list_known_sets(names, Options(images=3000)) == [SCENES]
    assert list_known_sets(names, Options(images=5)) == []
    assert list_known_sets(["a", "b"], Options()) == []
    assert list_known_sets(["a", "B "], Options(sizes={" A": 1, "b": 2})) == []
    more = Options(sizes={" A": 1, "b": 2}, more_sizes=({"a": 3, "b": 4, "c": 5}, {"a": 9}, {"a": 1, "b": 2}))
    assert list_known_sets(["a", "B "], more) == [(1, 2), (3, 4)]


# Grouping.


def test_common_sizes_are_those_of_all_tables_that_tell() -> None:
    half, third, none = accuracies(a="0.500"), accuracies(a="0.333"), accuracies(a="0.500")
    none.fits["a"] = np.array([], dtype=np.int64)  # type: ignore[index]
    assert set(common_sizes([half, third], "a")) == set(half.fits["a"]) & set(third.fits["a"])
    assert common_sizes([none, half], "a").tolist() == half.fits["a"].tolist()
    assert common_sizes([none], "a").tolist() == []


def likelihood(size: int, *texts: str) -> float:
    """Return the likelihood of a class size: the product of max(1 / (size + 1), 10^-decimals) over the values."""
    return math.prod(max(10.0 ** -(len(text) - 2), 1 / (size + 1)) for text in texts)


BOUND = 50


def free(*texts: str) -> float:
    """Return the mean of `likelihood` over all class sizes n up to BOUND, weighted by 1/sqrt(n)."""
    tables = [accuracies(a=text) for text in texts]
    sizes = common_sizes(tables, "a").tolist()
    weights = {n: n**-0.5 for n in range(1, BOUND + 1)}
    return float(sum(weights[n] * likelihood(n, *texts) for n in sizes) / sum(weights.values()))


def test_evidence_is_the_sum_over_all_sizes_less_what_a_set_costs() -> None:
    first, second = accuracies("one", a="0.533"), accuracies("two", a="0.667")
    evidence = Evidence([[first], [second]], ["a"], Prior(bound=BOUND, totals=()))
    assert evidence.of([0]) == pytest.approx(math.log(free("0.533")) - 2, rel=1e-9)
    assert evidence.of([1, 0]) == pytest.approx(math.log(free("0.533", "0.667")) - 2, rel=1e-9)
    assert evidence.by_total([0, 1]) is evidence.by_total([1, 0])
    assert evidence.tables([1, 0]) == (first, second)
    assert evidence.of_partition([(0,), (1,)]) == pytest.approx(evidence.of([0]) + evidence.of([1]), rel=1e-12)
    # Two classes cost half a unit more, and one that is always right or always wrong tells nothing of its size.
    for text in ("1.000", "0.000"):
        both = Evidence([[accuracies(a="0.533", b=text)]], ["a", "b"], Prior(bound=BOUND, totals=()))
        assert both.of([0]) == pytest.approx(math.log(free("0.533")) - 2.5, rel=1e-9)
    none = accuracies(a="0.533", b="0.5")
    none.fits["b"] = np.array([], dtype=np.int64)  # type: ignore[index]
    assert Evidence([[none]], ["b", "a"], Prior(bound=BOUND, totals=())).of([0]) == pytest.approx(both.of([0]))
    apart = Evidence([[accuracies(a="0.48"), accuracies(a="0.0204")]], ["a"], Prior(bound=26, totals=()))
    assert apart.of([0]) == -math.inf or math.isfinite(apart.of([0]))


def test_a_total_that_is_given_is_summed_over_all_choices_and_another_one_costs_seven() -> None:
    made = accuracies(a="0.533", b="0.667")
    evidence = Evidence([[made]], ["a", "b"], Prior(bound=BOUND, totals=(45, 3)))
    pairs = [(n, m) for n in made.fits["a"].tolist() for m in made.fits["b"].tolist() if n + m == 45]
    assert pairs
    summed = sum(likelihood(n, "0.533") * likelihood(m, "0.667") for n, m in pairs) / 44
    plain = Evidence([[made]], ["a", "b"], Prior(bound=BOUND, totals=()))
    assert evidence.by_total([0]) == {
        None: pytest.approx(plain.of([0]) - 7, rel=1e-9),
        45: pytest.approx(math.log(summed) - 2.5, rel=1e-9),
        3: -math.inf,
    }
    assert evidence.of([0]) == evidence.by_total([0])[45]
    # The first set of a total is free of that; a second one of the same costs seven.
    two = Evidence([[made], [made]], ["a", "b"], Prior(bound=BOUND, totals=(45,)))
    told, other = two.by_total([0])[45], two.by_total([0])[None]
    assert two.of_partition([(0,), (1,)]) == pytest.approx(max(2 * told - 7, told + other), rel=1e-12)


def test_too_few_images_for_the_classes_have_no_choice() -> None:
    made = accuracies(a="1.0", b="1.0")
    assert grouping.weigh_total([made], "ab", 1) == -math.inf
    # One choice, of one image each.
    assert grouping.weigh_total([made], "ab", 2) == pytest.approx(0.0)
    assert grouping.weigh_total([made], "ab", 3) == pytest.approx(0.0)


def names(groups: list[Any]) -> list[str]:
    return ["".join(each.name for each in group.tables) for group in groups]


def grouped(*tables: Accuracies) -> list[Any]:
    return group_by_image_set(list(tables), list(tables[0].cells), Prior(bound=BOUND, totals=()))


def test_tables_of_one_declared_set_stay_together_where_some_size_fits() -> None:
    # 0.5333 is 8/15 alone, 0.5217 is 12/23, and 16/30, 24/46 have no size up to 50 in common.
    test, other = ("test", None), ("val", 23)
    one, two = accuracies("1", test, a="0.5333"), accuracies("2", test, a="0.8667")
    three, four = accuracies("3", other, a="0.5217"), accuracies("4", other, a="0.9130")
    found = grouped(one, three, two, four)
    assert names(found) == ["12", "34"]
    assert all(group.doubt < 0.5 for group in found)
    # Declared as one set, and of no size in common: apart.
    assert names(grouped(one, replace(three, declared=test))) == ["1", "3"]
    units = grouping.join_declared([one, three, two, accuracies("5", a="0.5333"), accuracies("6", a="0.5333")], "a")
    assert [["".join(t.name for t in unit)] for unit in units] == [["12"], ["3"], ["5"], ["6"]]
    none = replace(two, name="7", fits={"a": np.array([], dtype=np.int64)})
    assert [len(unit) for unit in grouping.join_declared([none, replace(none, name="8")], "a")] == [2]


def test_all_partitions_are_tried() -> None:
    assert [len(list(grouping.list_partitions(range(n)))) for n in range(8)] == [1, 1, 2, 5, 15, 52, 203, 877]
    assert list(grouping.list_partitions([0, 1, 2])) == [
        [(0, 1, 2)], [(0, 1), (2,)], [(0, 2), (1,)], [(0,), (1, 2)], [(0,), (1,), (2,)],
    ]  # fmt: skip


class Given:
    """Stand-in for Evidence: a group of tables has its log probability in `values`, or else `other`."""

    def __init__(self, number: int, values: Mapping[tuple[int, ...], float], other: float = -50.0) -> None:
        self.units = [[accuracies(chr(65 + place), a="0.5")] for place in range(number)]
        self.values, self.other = values, other

    def tables(self, places: Any) -> tuple[Accuracies, ...]:
        return tuple(table for place in sorted(places) for table in self.units[place])

    def of(self, places: Any) -> float:
        return self.values.get(tuple(sorted(places)), self.other)

    def of_partition(self, groups: Any) -> float:
        return sum(map(self.of, groups))


def test_the_most_probable_partition_is_taken_with_its_doubt_and_its_rivals_in_order() -> None:
    # Three partitions with weights 0.5, 0.3 and 0.2.
    values = {(0, 1): math.log(5), (2,): 0.0, (0,): math.log(3), (1, 2): 0.0, (0, 1, 2): math.log(2)}
    found = list(grouping.find_best_partition(Given(3, values)))  # type: ignore[arg-type]
    assert names(found) == ["AB", "C"]
    assert [group.doubt for group in found] == pytest.approx([0.5, 0.5])
    assert [group.rivals for group in found] == [("A | B, C", "A, B, C")] * 2
    (certain,) = grouping.find_best_partition(Given(2, {(0, 1): 0.0}))  # type: ignore[arg-type]
    assert (names([certain]), certain.rivals) == (["AB"], ())
    assert certain.doubt == pytest.approx(0)
    # Nothing explains the values: each table by itself.
    none = list(grouping.find_best_partition(Given(2, {}, -math.inf)))  # type: ignore[arg-type]
    assert (names(none), [group.doubt for group in none]) == (["A", "B"], [0.0, 0.0])
    # Of many rivals three are named, of at least one in a hundred.
    flat = list(grouping.find_best_partition(Given(3, {}, 0.0)))  # type: ignore[arg-type]
    assert [group.rivals for group in flat] == [("A, B | C", "A, C | B", "A | B, C")]
    rare = {(0, 1): math.log(995), (0,): math.log(5), (1,): 0.0}
    assert [group.rivals for group in grouping.find_best_partition(Given(2, rare))] == [()]  # type: ignore[arg-type]
    common_one = {(0, 1): math.log(985), (0,): math.log(15), (1,): 0.0}
    assert [group.rivals for group in grouping.find_best_partition(Given(2, common_one))] == [("A | B",)]  # type: ignore[arg-type]
    half = float(np.exp(-np.logaddexp(0, 0)))
    even = Given(2, {}, 0.0)
    assert [group.rivals for group in grouping.find_best_partition(even, half)] == [()]  # type: ignore[arg-type]


def test_many_units_are_put_where_they_fit_best_in_their_order() -> None:
    pairs = {(0, 2): 10.0, (1, 3): 10.0, (0,): 1.0, (1,): 1.0, (2,): 1.0, (3,): 1.0}
    assert grouping.assign_greedily(Given(4, pairs)) == [[0, 2], [1, 3]]  # type: ignore[arg-type]
    equal = {(0,): 1.0, (1,): 1.0, (0, 1): 2.0}
    assert grouping.assign_greedily(Given(2, equal)) == [[0, 1]]  # type: ignore[arg-type]
    assert grouping.assign_greedily(Given(2, equal | {(0, 1): 1.9})) == [[0], [1]]  # type: ignore[arg-type]


def test_beyond_seven_units_partitions_are_not_all_tried() -> None:
    tables = [accuracies(str(place), a="0.5333") for place in range(8)]
    assert [names(grouped(*tables[:number])) for number in (7, 8)] == [["0123456"], ["01234567"]]
    # Of the partitions that were not tried nothing is known.
    assert [grouped(*tables[:number])[0].doubt > 0 for number in (7, 8)] == [True, False]
    assert (grouping.SEARCHED, grouping.NAMED) == (7, 3)


# Image sets.


def sets(*tables: Mapping[str, str], options: Options | None = None, **others: Any) -> list[ImageSet]:
    chosen = options or Options(bound=BOUND)
    made = [
        sheet_of(*column(ACCURACY, **texts), name=str(place), options=chosen, **others)
        for place, texts in enumerate(tables)
    ]
    return list(search.search(made, chosen))


def test_the_smallest_sizes_that_fit_are_taken_or_the_only_choice_with_the_total() -> None:
    texts = {"a": "0.53333333", "b": "0.52173913"}
    (found,) = sets(texts)
    assert (found.tables, found.origin, found.rivals) == (("0",), "search", ())
    assert found.smallest == found.taken == {"a": 15, "b": 23}
    expected = sum((n + 1) * 1e-8 for n in range(1, BOUND + 1))
    assert found.chance == {name: pytest.approx(expected, rel=1e-9) for name in "ab"}
    (told,) = sets(texts, options=Options(bound=BOUND, images=53))
    assert (told.smallest, told.taken) == ({"a": 15, "b": 23}, {"a": 30, "b": 23})
    # The total that the text has does the same.
    (printed,) = sets(texts, total=53)
    assert printed.taken == {"a": 30, "b": 23}
    assert all(each < expected * 1.001 for each in printed.chance.values())
    # What is given comes before what the text has, with which another choice would be the only one.
    (given,) = sets(texts, total=61, options=Options(bound=BOUND, images=53))
    assert given.taken == {"a": 30, "b": 23}
    (neither,) = sets(texts, options=Options(bound=BOUND, images=54))
    assert neither.taken == {"a": 15, "b": 23}


def test_tables_are_searched_by_their_classes_without_sizes_folds_and_other_scores() -> None:
    texts = {"a": "0.53333333", "b": "0.52173913"}
    assert sets(texts, sizes={"a": 15, "b": 23}) == []
    assert sets(texts, whole_images=False) == []
    assert sets(texts, options=Options(bound=BOUND, folds=3)) == []
    assert sets({"a": "53%", "b": "0.5"}) == []
    turned = dict(reversed(texts.items()))
    assert [group.tables for group in sets(texts, {"c": "0.53333333"}, turned)] == [("0", "2"), ("1",)]


def test_a_truncated_column_is_searched_as_one_and_a_value_that_nothing_gives_is_left_open() -> None:
    # 2/3 and 6/7 cut off.
    (found,) = sets({"a": "0.66666666", "b": "0.85714285"})
    assert found.taken == {"a": 3, "b": 7}
    (wrong,) = sets({"a": "0.66666667", "b": "0.51234567"})
    assert wrong.taken["a"] == 3
    assert (wrong.taken["b"], wrong.chance["b"]) == (1, 50.0)
    assert wrong.identified == ("a",)


def test_of_more_than_500_values_those_that_random_digits_fit_are_not_searched() -> None:
    assert search.CELLS == 500

    def found(a: str, b: str, **limits: float) -> int:
        return len(list(search.search([sheet_of(*column(ACCURACY, a=a, b=b))], Options(bound=BOUND), **limits)))  # type: ignore[arg-type]

    assert (found("0.5333", "0.5217", most=1), found("0.5333", "0.5217", most=2)) == (0, 1)
    assert found("0.53333333", "0.52173913", most=1) == 1
    # Up to the chance that is allowed.
    assert found("0.5333", "0.5217", most=1, allowed=expect_fits([cell("0.5333")], BOUND)) == 1


def test_a_table_whose_value_nothing_gives_says_nothing_of_the_size() -> None:
    other = accuracies(a="0.53333333")
    other.fits["a"] = np.array([], dtype=np.int64)  # type: ignore[index]
    found = search.infer_image_set(grouping.Group(tables=(accuracies(a="0.53333333"), other)), ["a"], BOUND, Options())
    assert found.chance == {"a": pytest.approx(sum((n + 1) * 1e-8 for n in range(1, BOUND + 1)), rel=1e-9)}


def test_the_scenes_are_told_where_random_digits_would_hardly_fit() -> None:
    right = (461, 475, 395, 474, 489, 330)
    for decimals, known in ((4, True), (2, False)):
        texts = {c: f"{k / n:.{decimals}f}" for c, k, n in zip("abcdef", right, SCENES, strict=True)}
        (found,) = sets(texts, options=Options())
        assert (tuple(found.taken.values()) == SCENES) is known
        assert (set(found.chance.values()) == {0.0}) is known


@pytest.mark.parametrize(
    ("tables", "sizes", "told"),
    [
        ([{"a": "0.533"}], (8,), True),
        ([{"a": "0.533"}], (9,), False),
        ([{"a": "0.533"}] * 2, (98,), True),
        ([{"a": "0.533"}] * 2, (100,), False),
        # Coarse digits tell nothing, nor do those of a class that is always right or wrong.
        ([{"a": "0.533", "b": "0.5"}], (8, 999), True),
        ([{"a": "1.000", "b": "0.000"}], (8, 8), False),
    ],
)
def test_sizes_are_told_where_random_digits_would_fit_them_once_in_a_hundred(
    tables: list[Any], sizes: tuple[int, ...], told: bool
) -> None:
    assert search.is_significant([accuracies(**texts) for texts in tables], "ab"[: len(sizes)], sizes) is told


def test_of_several_given_sets_the_one_that_fits_is_taken_and_two_are_in_doubt() -> None:
    texts = {"a": "0.5333", "b": "0.5217"}
    given = Options(bound=BOUND, sizes={"a": 15, "b": 24}, more_sizes=({"a": 30, "b": 23}, {"a": 15, "b": 46}))

    def searched(options: Options) -> ImageSet:
        # As the audit has it where no set was chosen for the table.
        made = sheet_of(*column(ACCURACY, **texts), options=Options())
        (found,) = search.search([made], options)
        return found

    both = searched(given)
    assert (both.taken, set(both.chance.values())) == ({"a": 30, "b": 23}, {1.0})
    one = searched(replace(given, more_sizes=given.more_sizes[:1]))
    assert (one.taken, set(one.chance.values())) == ({"a": 30, "b": 23}, {0.0})


def test_a_table_allows_a_size_in_the_way_of_its_column_or_truncated() -> None:
    made = accuracies(a="0.66", b="0.67", c="0.53")
    assert [made.fit(name, 3) for name in "abc"] == [True, True, False]
    assert replace(made, rounding=Rounding.TRUNCATED).fit("b", 3) is False
