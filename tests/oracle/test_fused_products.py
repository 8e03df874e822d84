"""Fused products of the page's WebAssembly, which has no instruction for them, are rounded once."""

from __future__ import annotations

import itertools
import math
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.arithmetic.formulas import equal_bits
from tests.oracle.kernel import Kernel, compiled
from tests.oracle.program import SOURCES

Floats = NDArray[np.float32]
Triples = tuple[Floats, Floats, Floats]


def single(value: Fraction) -> float:
    """Return the float32 next to an exact value that is not 0; of two, the even one."""
    power = abs(value.numerator).bit_length() - value.denominator.bit_length()
    power -= Fraction(2) ** power > abs(value)
    last = Fraction(2) ** max(power - 23, -149)
    rounded = round(value / last) * last  # round() of a fraction goes to even
    return math.copysign(math.inf if abs(rounded) >= 2**128 else rounded, value)


def fused_by_fractions(triples: Triples) -> Floats:
    def fused(a: float, b: float, c: float) -> float:
        if not math.isfinite(a * b + c) or Fraction(a) * Fraction(b) + Fraction(c) == 0:
            return a * b + c
        return single(Fraction(a) * Fraction(b) + Fraction(c))

    return np.array([fused(*triple) for triple in zip(*(each.tolist() for each in triples), strict=True)], np.float32)


def fused_by_rounding_twice(triples: Triples) -> Floats:
    left, right, addend = (each.astype(np.float64) for each in triples)
    with np.errstate(all="ignore"):
        return (left * right + addend).astype(np.float32)


def planted(exponent: int, number: int = 64) -> Triples:
    """Return a, b and c of which a b + c is so close to the middle between two float32 that double rounds it to there.

    c is of size 2^exponent. The product is half of its last place, times 1 + r / 2^47 with 0 < |r| < 2^17.
    """
    generator = np.random.default_rng(0)
    half = max(exponent - 23, -149) - 1  # an exponent too
    digits = 2**23 if exponent > -127 else 2**22
    triples: list[tuple[float, float, float]] = []
    while len(triples) < number:
        a = int(generator.integers(2**23, 2**24))
        b = round(2**47 / a)
        if 0 < abs(a * b - 2**47) < 2**17:
            sign, c = int(generator.choice([-1, 1])), int(generator.integers(digits, 2 * digits))
            # No factor is denormal: each has a half of the exponent.
            factors = a * 2.0 ** (half // 2 - 23), sign * b * 2.0 ** (half - half // 2 - 24)
            triples.append((*factors, c * 2.0 ** (half + 1)))
    left, right, addend = np.array(triples, np.float32).T
    return left, right, addend


SPECIAL = (0.0, -0.0, 1.0, -1.5, 1e-45, -1e-39, 2.0**-126, 3e38, -3.4028235e38, math.inf, -math.inf, math.nan)
TRIPLES = {
    **{f"2^{exponent}": planted(exponent) for exponent in (0, 40, 110, -60, -127)},
    "special": tuple(np.array(list(itertools.product(SPECIAL, repeat=3)), np.float32).T),
}


def depthwise(kernel: Kernel, triples: Triples) -> Tensor:
    """Return fma(a, b, c) as a depth-wise convolution of one position has it."""
    left, right, addend = (torch.from_numpy(each) for each in triples)
    maps, weight = left[None, :, None, None], right[:, None, None, None]
    return kernel.convolve(maps, weight, addend, (1, 1), ((0, 0), (0, 0)), len(left)).flatten()


def normalised(kernel: Kernel, triples: Triples) -> Tensor:
    """Return fma(a, b, c) + 0 as a batch norm of mean 0 and variance 1 has it."""
    left, right, addend = (torch.from_numpy(each) for each in triples)
    channels = len(left)
    statistics = right, addend, torch.zeros(channels), torch.ones(channels), 0.0
    return kernel("normalise", left, 1, channels, *statistics, 0, None, shape=(channels,))


@pytest.mark.parametrize("triples", TRIPLES.values(), ids=TRIPLES)
def test_fused_products_are_rounded_once(kernel: Kernel, triples: Triples) -> None:
    exact = torch.from_numpy(fused_by_fractions(triples))
    assert equal_bits(depthwise(kernel, triples), exact)
    # The shift of a batch norm whose weight is not finite is NaN.
    finite = np.isfinite(triples[1])
    assert equal_bits(normalised(kernel, triples)[finite], exact[finite] + 0)


@pytest.mark.parametrize("name", [name for name in TRIPLES if name != "special"])
def test_rounding_twice_differs_in_the_planted_triples(name: str) -> None:
    wrong = fused_by_rounding_twice(TRIPLES[name]) != fused_by_fractions(TRIPLES[name])
    assert wrong.mean() > 0.3  # in about half of them the even neighbour is the right one by chance


def test_fused_products_within_a_long_sum_are_rounded_once(kernel: Kernel) -> None:
    left, right, addend = (torch.from_numpy(each) for each in TRIPLES["2^0"])
    number, steps = len(left), 40
    maps, weight = torch.zeros(1, steps, 1, number), torch.zeros(number, steps, 1, 1)
    maps[0, 0], maps[0, 1] = 1, left
    weight[:, 0, 0, 0], weight[:, 1, 0, 0] = addend, right
    result = kernel.convolve(maps, weight, None, (1, 1), ((0, 0), (0, 0)), 1)[0, :, 0]
    # Output o at position i is a_i b_o + c_o.
    pairs = np.indices((number, number)).reshape(2, -1)
    triples = left.numpy()[pairs[1]], right.numpy()[pairs[0]], addend.numpy()[pairs[0]]
    assert equal_bits(result.flatten(), torch.from_numpy(fused_by_fractions(triples)))


TWINS = {
    "middles are overlooked": ("lanes.rs", "!u32x4_all_true(ties)", "!u32x4_all_true(v128_or(ties, no_ties()))"),
    "sums are rounded twice": ("lanes.rs", "f64x2_gt(f64x2_abs(error), f64x2_splat(0.0))", "v128_xor(error, error)"),
    "all values are taken as suitable": ("lanes.rs", "is_finite && self.smallest", "is_finite || self.smallest"),
}


@pytest.mark.slow
@pytest.mark.parametrize("twin", TWINS)
def test_a_kernel_with_one_rule_changed_rounds_planted_triples_otherwise(twin: str, tmp_path: Path) -> None:
    file, right, wrong = TWINS[twin]
    sources = shutil.copytree(SOURCES, tmp_path / "sources")
    text = (sources / file).read_text(encoding="utf-8")
    assert text.count(right) == 1
    (sources / file).write_text(text.replace(right, wrong), encoding="utf-8")
    changed = Kernel(compiled(tmp_path, sources))
    exact = [torch.from_numpy(fused_by_fractions(triples)) for triples in TRIPLES.values()]
    assert not all(map(equal_bits, exact, (depthwise(changed, triples) for triples in TRIPLES.values())))
