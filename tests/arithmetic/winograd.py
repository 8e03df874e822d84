"""Slow, plain NumPy reference for convolutions "by fewer products", see docs/arithmetic.md."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.arithmetic.formulas import Floats, fused, tree
from tests.arithmetic.shapes import Case
from tests.arithmetic.test_convolution import backward_formula, forward_formula
from tests.arithmetic.test_weight_gradient import Order as DirectOrder, Product, chain_of, cut, formula, fused_chain

OUTPUT, OF_MAPS, OF_WEIGHT = range(3)
METHODS = (
    "direct",
    "two, two",
    "two, four",
    "pair, pair",
    "four, four",
)  # schemes along the rows and along the columns
Function = Callable[..., tuple[Floats, ...]]  # of arrays, one for each place of a tile along an axis
Places = NDArray[np.int64]


class Axis(NamedTuple):
    """Numbers of results and of values along an axis, and the place of the first value that result 0 sees."""

    results: int
    values: int
    first: int


def axes_of(case: Case, result: int) -> list[Axis]:
    """Return the axis of the rows and that of the columns."""
    results, values = (case.size, case.result) if result == OF_MAPS else (case.result, case.size)
    first = [padding - 2 if result == OF_MAPS else -padding for padding in case.padding]
    return [Axis(*numbers) for numbers in zip(results, values, first, strict=True)]


def method_of(case: Case, result: int) -> str:
    """Return which of METHODS computes the OUTPUT, OF_MAPS or OF_WEIGHT of a convolution."""
    if (case.kernel, case.stride, case.groups) != ((3, 3), (1, 1), 1):
        return "direct"
    axes, methods = axes_of(case, result), ["two, two"]
    summed, others = (case.outputs, case.channels) if result == OF_MAPS else (case.channels, case.outputs)
    few = summed < 32 or others < 16
    if result == OF_WEIGHT:
        few = summed < 64 or others < 64 or math.prod(case.result) < 64
    else:
        methods += ["pair, pair"] * (axes == [(2, 2, -1)] * 2)
        methods += ["two, four"] * (summed >= 64) + ["four, four"] * (summed >= 512)

    def products(method: str) -> int:
        return math.prod(products_along(name, axis) for name, axis in zip(method.split(", "), axes, strict=True))

    method = min(methods, key=products)
    return "direct" if few or 4 * products(method) > 3 * math.prod(map(direct_products_along, axes)) else method


def products_along(name: str, axis: Axis) -> int:
    return {"two": 4 * -(-axis.results // 2), "four": 6 * -(-axis.results // 4), "pair": 3}[name]


def direct_products_along(axis: Axis) -> int:
    return sum(0 <= at + axis.first + tap < axis.values for at in range(axis.results) for tap in range(3))


@dataclass(frozen=True)
class Scheme:
    """Number of results and of values of a tile, and its linear functions; `skipped` values begin no tile."""

    results: int
    reach: int
    of_values: Function
    of_weights: Function
    of_products: Function
    skipped: int = 0

    def places(self, axis: Axis) -> Places:
        """Return the places of the values of each tile along an axis."""
        tiles = np.arange(-(-axis.results // self.results))[:, None]
        return axis.first + self.skipped + self.results * tiles + np.arange(self.reach)


def two_values(d0: Floats, d1: Floats, d2: Floats, d3: Floats) -> tuple[Floats, ...]:
    return d0 - d2, d1 + d2, d2 - d1, d1 - d3


def two_weights(g0: Floats, g1: Floats, g2: Floats) -> tuple[Floats, ...]:
    half = np.float32(0.5)
    return g0, half * ((g0 + g2) + g1), half * ((g0 + g2) - g1), g2


def two_results(m0: Floats, m1: Floats, m2: Floats, m3: Floats) -> tuple[Floats, ...]:
    return (m0 + m1) + m2, (m1 - m2) - m3


def two_gradient(e0: Floats, e1: Floats) -> tuple[Floats, ...]:
    return e0, e0 + e1, e0 - e1, -e1


def two_sums(s0: Floats, s1: Floats, s2: Floats, s3: Floats) -> tuple[Floats, ...]:
    return fma(0.5, s1 + s2, s0), np.float32(0.5) * (s1 - s2), fma(0.5, s1 + s2, s3)


def pair_values(d0: Floats, d1: Floats) -> tuple[Floats, ...]:
    return d0 + d1, d1, d0


def pair_weights(g0: Floats, g1: Floats, g2: Floats) -> tuple[Floats, ...]:
    return g1, g2 - g1, g0 - g1


def pair_results(m0: Floats, m1: Floats, m2: Floats) -> tuple[Floats, ...]:
    return m0 + m1, m0 + m2


def four_at(a: float, b: float) -> Scheme:
    """Return the scheme for four results with the points a, -a, b and -b."""
    a2, b2 = a * a, b * b
    # The factors of the weights, written in the document as hexadecimal numbers.
    at_0, at_a, at_b = (np.float32(1 / value) for value in (a2 * b2, 2 * a2 * (a2 - b2), 2 * b2 * (b2 - a2)))

    def of_values(d0: Floats, d1: Floats, d2: Floats, d3: Floats, d4: Floats, d5: Floats) -> tuple[Floats, ...]:
        u, v, x, y = fma(-b2, d2, d4), fma(-b2, d1, d3), fma(-a2, d2, d4), fma(-a2, d1, d3)
        first, last = (
            fma(a2 * b2, one, fma(-(a2 + b2), two, three)) for one, two, three in ((d0, d2, d4), (d1, d3, d5))
        )
        return first, fma(a, v, u), fma(-a, v, u), fma(b, y, x), fma(-b, y, x), last

    def of_weights(g0: Floats, g1: Floats, g2: Floats) -> tuple[Floats, ...]:
        u, x = fma(a2, g2, g0), fma(b2, g2, g0)
        of_a, of_b = (at_a * fma(a, g1, u), at_a * fma(-a, g1, u)), (at_b * fma(b, g1, x), at_b * fma(-b, g1, x))
        return (at_0 * g0, *of_a, *of_b, g2)

    def of_products(m0: Floats, m1: Floats, m2: Floats, m3: Floats, m4: Floats, m5: Floats) -> tuple[Floats, ...]:
        return (
            (m0 + (m1 + m2)) + (m3 + m4),
            fma(b, m3 - m4, np.float32(a) * (m1 - m2)),
            fma(b2, m3 + m4, np.float32(a2) * (m1 + m2)),
            fma(b2 * b, m3 - m4, fma(a2 * a, m1 - m2, m5)),
        )

    return Scheme(4, 6, of_values, of_weights, of_products)


def fma(factor: float, value: Floats, addend: Floats) -> Floats:
    return fused(np.array(factor, np.float32), value, addend)


TWO = Scheme(2, 4, two_values, two_weights, two_results)
FOUR = four_at(5 / 8, 3 / 2)
PAIR = Scheme(2, 2, pair_values, pair_weights, pair_results, skipped=1)


@dataclass(frozen=True)
class Order:
    """How the results are computed: by default as in docs/arithmetic.md; tests change a field to get other bits."""

    rows_first: bool = False
    edge: str = "zeros"  # or "wrap" or "repeat": values outside of the map
    two: Scheme = TWO
    four: Scheme = FOUR
    pair: Scheme = PAIR
    unit: int = 64
    part: int = 16
    bias_first: bool = False
    section: int = 64
    part_of_section: int = 8
    add: Callable[[list[Floats]], Floats] = tree
    back_after_the_tree: bool = False

    def schemes(self, method: str) -> list[Scheme]:
        named = {"two": self.two, "four": self.four, "pair": self.pair}
        return [named[name] for name in method.split(", ")]


def tiles_of(values: Floats, places: list[Places], edge: str = "zeros") -> Floats:
    """Cut [..., row, column] into [..., row of tiles, column of tiles, row of a tile, column of a tile]."""
    both, inside = [], []
    for at, size in zip(places, values.shape[-2:], strict=True):
        both.append(at % size if edge == "wrap" else at.clip(0, size - 1))
        inside.append((at >= 0) & (at < size) if edge == "zeros" else np.ones(at.shape, np.bool_))
    (rows, columns), (of_rows, of_columns) = both, inside
    tiles = values[..., rows[:, None, :, None], columns[:, None, :]]
    return np.where(of_rows[:, None, :, None] & of_columns[:, None, :], tiles, np.float32(0))


def along_both(functions: list[Function], values: Floats, order: Order) -> Floats:
    """Use the functions of the rows and of the columns along the last two axes."""
    for axis in (-2, -1) if order.rows_first else (-1, -2):
        values = np.stack(functions[axis](*np.moveaxis(values, axis, 0)), axis)
    return values


def sum_of(products: list[Product], section: int, part: int, start: Floats) -> Floats:
    """Return `start` plus the products, cut into sections and those into parts."""
    zero = np.zeros_like(start)
    totals: list[Floats] = []
    for of_section in cut(products, section):
        parts = [fused_chain(each, zero) for each in cut(of_section, part)]
        totals.append(chain_of([zero if totals else start, *parts]))
    return chain_of(totals)


def output(case: Case, maps: Tensor, weight: Tensor, bias: Tensor, order: Order | None = None) -> Tensor:
    """Return the convolution of finite or other values by the method that docs/arithmetic.md gives it."""

    def direct(some: Case, maps: Tensor) -> Tensor:
        return forward_formula(some, maps, weight, bias)

    return _each_image(case, OUTPUT, maps, weight, bias, order or Order(), direct)


def maps_gradient(case: Case, gradient: Tensor, weight: Tensor, order: Order | None = None) -> Tensor:
    """Return the gradient of the maps by the method that docs/arithmetic.md gives it."""

    def direct(some: Case, gradient: Tensor) -> Tensor:
        return backward_formula(some, gradient, weight)

    turned = weight.transpose(0, 1).flip(2, 3)
    return _each_image(case, OF_MAPS, gradient, turned, torch.zeros(case.channels), order or Order(), direct)


def _each_image(
    case: Case,
    result: int,
    values: Tensor,
    weight: Tensor,
    bias: Tensor,
    order: Order,
    direct: Callable[[Case, Tensor], Tensor],
) -> Tensor:
    with np.errstate(all="ignore"):
        method = method_of(case, result)
        if method == "direct":
            return direct(case, values)
        arrays = [value.contiguous().numpy() for value in (values, weight, bias)]
        found = torch.from_numpy(_by_fewer_products(axes_of(case, result), order.schemes(method), arrays, order))
        spoiled = ~found.isfinite().flatten(1).all(1)
        if spoiled.any():
            found[spoiled] = direct(replace(case, images=int(spoiled.sum())), values[spoiled])
    return found


def _by_fewer_products(axes: list[Axis], schemes: list[Scheme], inputs: list[Floats], order: Order) -> Floats:
    """Return the results [image, other, row, column] of values [image, summed, row, column], weights and bias."""
    values, weight, bias = inputs
    places = [scheme.places(axis) for scheme, axis in zip(schemes, axes, strict=True)]
    tiles = along_both([scheme.of_values for scheme in schemes], tiles_of(values, places, order.edge), order)
    weights = along_both([scheme.of_weights for scheme in schemes], weight, order)
    products: list[Product] = [(tiles[:, None, at], weights[:, at, None, None]) for at in range(weight.shape[1])]
    start = np.zeros((len(values), len(weight), *tiles.shape[2:]), np.float32)
    if order.bias_first:  # in "two, two", the sum at this point is a term of all results
        start[..., 1, 1] = bias[:, None, None]
    sums = sum_of(products, order.unit, order.part, start)
    results = along_both([scheme.of_products for scheme in schemes], sums, order).swapaxes(-3, -2)
    rows, columns = (number * size for number, size in zip(tiles.shape[2:4], results.shape[-3::2], strict=True))
    whole = results.reshape(*results.shape[:2], rows, columns)[:, :, : axes[0].results, : axes[1].results]
    return np.ascontiguousarray(whole if order.bias_first else whole + bias[:, None, None])


def weight_gradient(case: Case, maps: Tensor, gradient: Tensor, order: Order | None = None) -> Tensor:
    """Return the gradient of the weights by the method that docs/arithmetic.md gives it.

    The maps may have the first few channels only, and the gradient the first few outputs, but nothing infinite or NaN
    may be left out.
    """
    order, given = order or Order(), replace(case, channels=maps.shape[1], outputs=gradient.shape[1])
    with np.errstate(all="ignore"):
        if method_of(case, OF_WEIGHT) == "direct":
            return formula(given, maps, gradient)
        sums = _sums_of_leaves(case, maps, gradient, order)
        if order.back_after_the_tree:
            return torch.from_numpy(along_both([two_sums] * 2, order.add(sums), order))
        leaves = [along_both([two_sums] * 2, each, order) for each in sums]
        for place, leaf in enumerate(leaves):
            if not np.isfinite(leaf).all():
                leaves[place] = formula(given, maps, gradient, DirectOrder(add=operator.itemgetter(place))).numpy()
        return torch.from_numpy(order.add(leaves))


def _sums_of_leaves(case: Case, maps: Tensor, gradient: Tensor, order: Order) -> list[Floats]:
    """Return the sums of each leaf at all points: [output, channel, row, column]."""
    axes = axes_of(case, OF_WEIGHT)
    of_tiles = [np.arange(0, axis.results, 2)[:, None] + np.arange(2) for axis in axes]
    gradients = along_both([two_gradient] * 2, tiles_of(gradient.contiguous().numpy(), of_tiles), order)
    places = [order.two.places(axis) for axis in axes]
    values = along_both([order.two.of_values] * 2, tiles_of(maps.contiguous().numpy(), places, order.edge), order)
    leaves = []
    for first in range(0, case.images, 8):
        products: list[Product] = []
        for image, row, column in np.ndindex(min(8, case.images - first), *values.shape[2:4]):
            left, right = (each[first + image, :, row, column] for each in (gradients, values))
            products.append((left[:, None], right))
        start = np.zeros((gradients.shape[1], values.shape[1], 4, 4), np.float32)
        leaves.append(sum_of(products, order.section, order.part_of_section, start))
    return leaves
