"""Counts: against brute force over all fractions, and against mlscorecheck where its question is the same."""

import logging
import random
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest

from in4310repro.audit.counts import CONVENTIONS, chance_fits, counts, explain, only_choice
from in4310repro.audit.reading import parse

BOUND = 40


def texts_by_decimal(k: int, n: int, decimals: int) -> dict[str, set[str]]:
    """How k/n is printed with so many decimals, by the decimal module at 60 digits."""
    with localcontext(prec=60):
        share, place = Decimal(k) / Decimal(n), Decimal(1).scaleb(-decimals)
        ways = {"half-even": ROUND_HALF_EVEN, "half-up": ROUND_HALF_UP, "truncated": ROUND_DOWN}
        texts = {name: {str(share.quantize(place, how))} for name, how in ways.items()}
    texts["half either way"] = texts["half-even"] | texts["half-up"] | {f"{k / n:.{decimals}f}"}
    texts["float64"] = {repr(k / n), repr(1 - (n - k) / n)}
    single = np.float32(k) / np.float32(n)
    texts["float32"] = {str(single), repr(float(single)), f"{float(single):.{decimals}f}"}
    return texts


@pytest.mark.parametrize("decimals", [1, 2, 3, 5])
@pytest.mark.parametrize("convention", ["half-even", "half-up", "truncated"])
def test_counts_are_those_found_by_brute_force(convention: str, decimals: int) -> None:
    by_text: dict[str, set[tuple[int, int]]] = {}
    for n in range(1, BOUND + 1):
        for k in range(n + 1):
            for text in texts_by_decimal(k, n, decimals)[convention]:
                by_text.setdefault(text, set()).add((k, n))
    strings = [f"{a / 10**decimals:.{decimals}f}" for a in range(0, 10**decimals + 1, max(1, 10**decimals // 100))]
    for text in {*strings, *list(by_text)[:100]}:
        printed = parse(text, "here")
        found = {(k, n) for n in range(1, BOUND + 1) for k in counts(printed, convention, n)}
        assert found == by_text.get(text, set()), text


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_count_is_recovered_from_every_way_of_printing_it(convention: str) -> None:
    generator = random.Random(0)
    for _ in range(200):
        n = generator.randint(1, 2000)
        k = generator.randint(0, n)
        for text in texts_by_decimal(k, n, 9)[convention]:
            assert k in counts(parse(text, "here"), convention, n), (k, n, text)


def test_a_tie_tells_the_roundings_apart() -> None:
    # 1/8 = 0.125 lies between 0.12 and 0.13.
    accepted = {
        name: [text for text in ("0.12", "0.13") if 1 in counts(parse(text, "x"), name, 8)]
        for name in ("half-even", "half-up", "half either way", "truncated")
    }
    assert accepted == {
        "half-even": ["0.12"],
        "half-up": ["0.13"],
        "half either way": ["0.12", "0.13"],
        "truncated": ["0.12"],
    }


def test_a_percentage_of_full_floats_is_recovered() -> None:
    for text in (f"{100 * (461 / 463)!r} %", f"{100 * 461 / 463!r}%"):
        assert counts(parse(text, "x"), "float64", 463) == range(461, 462)


def test_one_less_the_share_of_errors_is_recovered_though_its_last_bit_differs() -> None:
    n = 463
    k = next(k for k in range(n) if 1 - (n - k) / n != k / n)
    assert counts(parse(repr(1 - (n - k) / n), "x"), "float64", n) == range(k, k + 1)


def explained(*rows: str, bound: int = 2000) -> tuple[str, list[tuple[str, ...]], list[int]]:
    """Convention, groups of tables, and the smallest size of the first class for rows of printed accuracies."""
    accuracies = {
        f"T{number}": {str(c): parse(text, "x") for c, text in enumerate(row.split())}
        for number, row in enumerate(rows)
    }
    found = explain(accuracies, bound)
    return found.convention, [group.tables for group in found.groups], [group.fits["0"][0] for group in found.groups]


def test_the_smallest_common_size_divides_every_share_and_not_just_one() -> None:
    # 9/12 and 8/12 reduce to quarters and thirds.
    assert explained(repr(9 / 12), repr(8 / 12), bound=50) == ("float64", [("T0", "T1")], [12])


def test_tables_of_different_images_fall_into_groups() -> None:
    assert explained(repr(461 / 463), repr(300 / 307), repr(460 / 463)) == (
        "float64",
        [("T0", "T2"), ("T1",)],
        [463, 307],
    )


def test_truncated_numbers_are_known_by_the_sizes_they_share() -> None:
    shares = [Fraction(k, 463) for k in (461, 454, 460, 458, 433, 421)]
    rows = [f"{int(share * 10**6) / 10**6:.6f}" for share in shares]
    assert explained(*rows)[0] == "truncated"


def test_a_number_printed_in_another_way_than_the_rest_is_no_proof() -> None:
    texts = [*(repr(k / 463) for k in range(440, 463)), "0.98765"]
    found = explain({"T": {str(c): parse(text, "x") for c, text in enumerate(texts)}}, 2000)
    *full, rounded = found.readings["T"].values()
    assert {reading.convention for reading in full} == {"float64"}
    assert rounded.convention == "half-even"
    assert rounded.sizes


def test_one_choice_of_sizes_is_found_and_two_are_not_one() -> None:
    assert only_choice([(3, 6), (5, 10)], 11) == (6, 5)
    assert only_choice([(3, 6), (3, 6)], 9) is None
    assert only_choice([(3, 6), (5, 10)], 12) is None


def test_the_choice_is_that_of_trying_all() -> None:
    generator = random.Random(1)
    for _ in range(100):
        options = [sorted(generator.sample(range(1, 30), 4)) for _ in range(3)]
        total = generator.randint(5, 80)
        ways = [(a, b, c) for a in options[0] for b in options[1] for c in options[2] if a + b + c == total]
        assert only_choice(options, total) == (ways[0] if len(ways) == 1 else None)


def test_chance_fits_are_about_as_many_as_random_digits_have() -> None:
    generator = random.Random(2)
    trials, fits = 2000, 0
    for _ in range(trials):
        pair = [generator.randrange(1000) for _ in range(2)]
        # Some k has 1000 k / n within half of each a.
        fits += sum(all((2 * a + 1) * n // 2000 >= -((1 - 2 * a) * n // 2000) for a in pair) for n in range(1, 101))
    expected = chance_fits([parse("0.123", "x")] * 2, 100)
    assert fits / trials == pytest.approx(expected, rel=0.15)
    # Of one number alone, there are many.
    assert chance_fits([parse("0.123", "x")], 100) > 10 * expected


def test_mlscorecheck_finds_the_same_accuracies_possible_for_a_class_of_known_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Comparable: sensitivity of one class, its size known, half a unit of uncertainty, up to five decimals.

    Beyond, its own tolerance of 1e-6 covers the unit. It knows no unknown sizes, no tables that share them, no ties
    and no list of class values under a mean, so nothing else here has a counterpart.
    """
    binary = pytest.importorskip("mlscorecheck.check.binary")
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
    generator = random.Random(3)
    verdicts = set()
    for _ in range(120):
        n, decimals = generator.randint(30, 700), generator.choice([3, 4, 5])
        text = f"{generator.uniform(0.5, 1.0):.{decimals}f}"
        theirs = binary.check_1_testset_no_kfold(
            testset={"p": n, "n": 1}, scores={"sens": float(text)}, eps=0.5 * 10**-decimals
        )
        ours = bool(counts(parse(text, "x"), "half either way", n))
        edge = min(abs(abs(Fraction(k, n) - Fraction(text)) * 10**decimals - Fraction(1, 2)) for k in range(n + 1))
        if edge > Fraction(10**decimals, 10**5) / 5:
            verdicts.add(ours)
            assert theirs["inconsistency"] == (not ours), (text, n)
    assert verdicts == {True, False}
