"""Remarks on odd results: the binomial tail and the chance of equal counts, against scipy and simulation."""

from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from in4310repro.audit.document import Measure
from in4310repro.audit.oddities import (
    LARGEST,
    chance_of_at_least,
    chance_of_same_count,
    find_equal_counts,
    find_high_level,
    find_oddities,
    format_scientific,
    upper_tail,
)
from in4310repro.audit.verdicts import Counted, Options
from tests.audit.by_hand import sheet_of, value


@pytest.mark.parametrize(
    ("correct", "images", "accuracy"),
    [(2964, 3000, "0.9635"), (2964, 3000, "0.929"), (0, 10, "0.5"), (10, 10, "0.5"), (700, 1000, "0.72")],
)
def test_the_tail_agrees_with_scipy(correct: int, images: int, accuracy: str) -> None:
    expected = stats.binom.sf(correct - 1, images, float(accuracy))
    assert float(upper_tail(correct, images, Fraction(accuracy))) == pytest.approx(expected, rel=1e-9)


def test_the_tail_counts_the_value_itself() -> None:
    assert upper_tail(2, 2, Fraction(1, 2)) == Fraction(1, 4)
    # The strict twin, P(X > k), would be 0.
    assert upper_tail(3, 2, Fraction(1, 2)) == 0


def test_a_tail_smaller_than_any_float_is_not_written_as_zero() -> None:
    assert format_scientific(upper_tail(3000, 3000, Fraction(1, 2))) == "8.1e-904"


@pytest.mark.parametrize(("images", "rate"), [(463, 0.00756), (490, 0.5), (10, 0.0), (10, 1.0)])
def test_the_chance_of_the_same_count_agrees_with_scipy(images: int, rate: float) -> None:
    expected = float((stats.binom.pmf(np.arange(images + 1), images, rate) ** 2).sum())
    assert chance_of_same_count(images, rate) == pytest.approx(expected, rel=1e-9)


def test_the_chance_of_so_many_events_is_that_of_a_binomial_where_all_are_alike() -> None:
    for number in range(7):
        assert chance_of_at_least(number, [0.3] * 6) == pytest.approx(stats.binom.sf(number - 1, 6, 0.3), rel=1e-12)


def test_the_chance_of_equal_counts_is_that_of_a_simulation() -> None:
    generator = np.random.default_rng(0)
    sizes, rates = np.array([463, 521, 508]), np.array([0.01, 0.02, 0.004])
    one, other = generator.binomial(sizes, rates, (2, 40000, 3))
    simulated = ((one == other).sum(axis=1) >= 2).mean()
    found = chance_of_at_least(2, [chance_of_same_count(int(n), float(q)) for n, q in zip(sizes, rates, strict=True)])
    # Four standard errors of the simulation.
    assert found == pytest.approx(simulated, abs=4 * np.sqrt(simulated / 40000))


SUPPORTS = dict(zip("abcdef", (463, 483, 521, 535, 490, 508), strict=True))


def counted(name: str, *correct: int) -> Counted:
    return Counted(
        name=name, sizes=SUPPORTS, correct={c: range(k, k + 1) for c, k in zip(SUPPORTS, correct, strict=True)}
    )


THIRD = counted("Figure 3", 460, 479, 514, 527, 486, 506)
FOURTH = counted("Figure 4", 458, 479, 509, 526, 486, 506)
CEILINGS = {"best": Fraction("0.9635"), "honest": Fraction("0.929")}


def test_the_originals_equal_counts_have_the_probability_of_the_derivation() -> None:
    (oddity,) = find_equal_counts([THIRD, FOURTH])
    assert (oddity.tables, oddity.probability) == (("Figure 3", "Figure 4"), "0.037")


def test_counts_that_are_equal_without_an_error_are_not_odd() -> None:
    perfect = tuple(SUPPORTS.values())
    assert list(find_equal_counts([counted("one", *perfect), counted("other", *perfect)])) == []


def test_the_originals_level_has_the_tails_of_the_derivation() -> None:
    (oddity,) = find_high_level([THIRD, FOURTH], CEILINGS)
    assert oddity.tables == ("Figure 3", "Figure 4")
    assert "Figure 4: P(>= 2964 of 3000) is 1.1e-16 at 0.9635, 2.7e-53 at 0.929" in oddity.evidence


def test_a_level_between_two_ceilings_is_not_odd() -> None:
    between = counted("ResNet-50", *(round(0.947 * n) for n in SUPPORTS.values()))
    assert list(find_high_level([between], CEILINGS)) == []
    assert len(list(find_high_level([between], {"honest": Fraction("0.929")}))) == 1
    assert list(find_high_level([between], {})) == []


def test_a_table_with_an_unknown_class_has_no_level() -> None:
    unknown = Counted(name="x", sizes=SUPPORTS, correct={**THIRD.correct, "a": None})
    assert list(find_high_level([unknown], CEILINGS)) == []
    assert list(find_equal_counts([unknown, FOURTH])) == []
    # One right image of one would be odd.
    alone = Counted(name="x", sizes={"a": 1}, correct={"a": None})
    assert list(find_high_level([alone], {"c": Fraction("0.04")})) == []


@pytest.mark.parametrize(("ceiling", "found"), [("0.049", 1), ("0.05", 0), ("0.051", 0)])
def test_what_is_less_probable_than_one_in_twenty_is_odd(ceiling: str, found: int) -> None:
    # One of one image is as probable as the ceiling.
    one = Counted(name="x", sizes={"a": 1}, correct={"a": range(1, 2)})
    assert len(list(find_high_level([one], {"c": Fraction(ceiling)}))) == found


def test_tables_of_more_images_than_are_computed_exactly_are_not_odd() -> None:
    assert LARGEST == 20_000
    for largest, found in ((535, 1), (534, 0)):
        assert len(list(find_equal_counts([THIRD, FOURTH], largest))) == found
    for largest, found in ((3000, 1), (2999, 0)):
        assert len(list(find_high_level([THIRD], CEILINGS, largest))) == found


@pytest.mark.parametrize(("text", "found"), [("0.20", 0), ("0.40", 1), ("0.48", 1), ("0.49", 0)])
def test_an_average_precision_between_the_worst_ranking_and_the_class_share_is_odd(text: str, found: int) -> None:
    # The worst ranking of 50 images among 100 has 0.31.
    values = (value(text, "a", Measure.AVERAGE_PRECISION), value("0.90", "b", Measure.AVERAGE_PRECISION))
    odd = list(find_oddities([sheet_of(*values, sizes={"a": 50, "b": 50})], [], Options()))
    assert [finding.values for finding in odd] == [values[:1]] * found


def test_all_classes_together_have_from_the_fewest_to_the_most_correct_images_that_the_decimals_allow() -> None:
    made = Counted(name="x", sizes={"a": 4, "b": 7}, correct={"a": range(1, 4), "b": range(5, 7)})
    assert (made.images, made.totals) == (11, range(6, 10))
