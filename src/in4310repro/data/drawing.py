"""Drawing on a grid of pixels, with arithmetic that gives equal bits on all processors.

Pixels are computed with + - * /, comparisons, floor, abs, minimum, maximum, where and indexing alone, which
IEEE 754 rounds once, so that the bytes should not depend on the processor. Positions are fractions of the picture
(x from 0 at the left to 1 at the right, y from 0 at the top to 1 at the bottom): only the grain depends on
the size in pixels, and a larger picture shows the same scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from jaxtyping import Float64, Int64, UInt8

Random = np.random.Generator
Real = float | int
Field = Float64[np.ndarray, "..."]
Plane = Float64[np.ndarray, "#height #width"]
Row = Float64[np.ndarray, "1 #width"]
Cell = Int64[np.ndarray, "1 #width"]
Colour = Float64[np.ndarray, "3 #height #width"]
Colours = tuple[Colour, ...]
Pile = tuple[tuple[Real, Real, Real, Colour], ...]
Profile = Float64[np.ndarray, " knot"]
Choice = TypeVar("Choice")

KNOTS = 256
LATTICE = 32


@dataclass(frozen=True)
class Picture:
    """Pixels in [0, 1] that functions paint in place, with pixel coordinates, sky colours, light and haze."""

    pixels: Float64[np.ndarray, "3 height width"]
    x: Float64[np.ndarray, "1 width"]
    y: Float64[np.ndarray, "height 1"]
    pixel: float  # side of a pixel, a fraction of the picture
    zenith: Colour  # of the sky at the top
    horizon: Colour  # of the sky at the horizon, to which distant objects fade
    gain: Colour  # of the light: a factor for each channel
    haze: float  # how much distant objects fade, in [0, 1]


def palette(codes: str) -> Colours:
    """Return hexadecimal colours, separated by spaces in `codes`, as arrays of shape (3, 1, 1) from 0 to 1."""
    numbers = [int(code, 16) for code in codes.split()]
    return tuple(np.array([n >> 16, n >> 8 & 255, n & 255]).reshape(3, 1, 1) / 255 for n in numbers)


def between(rng: Random, low: Real, high: Real) -> float:
    """Draw a number uniformly from [low, high)."""
    return low + (high - low) * float(rng.random())


def chance(rng: Random, share: Real) -> bool:
    """Return True with probability `share`, otherwise False."""
    return float(rng.random()) < share


def pick(rng: Random, choices: Sequence[Choice]) -> Choice:
    """Draw one of the choices, all with equal probability."""
    return choices[int(rng.integers(0, len(choices)))]


def tint(rng: Random, colours: Colours, spread: Real) -> Colour:
    """Draw one of the colours, and vary its brightness and hue by up to the fraction `spread`."""
    hue = 1 + (rng.random((3, 1, 1)) - 0.5) * spread
    return unit(pick(rng, colours) * hue * between(rng, 1 - spread, 1 + spread))


def mix(first: Field, second: Field, share: Field | Real) -> Field:
    """Return (1 - share) x first + share x second, for two colours or planes."""
    return first + (second - first) * share


def unit(values: Field) -> Field:
    """Return values clipped to [0, 1]."""
    return np.minimum(np.maximum(values, 0.0), 1.0)


def ease(values: Field) -> Field:
    """Return the smooth step 3t^2 - 2t^3 of values clipped to [0, 1]."""
    inside = unit(values)
    return inside * inside * (3.0 - 2.0 * inside)


def fraction(values: Field) -> Field:
    """Return the fractional part of each value, in [0, 1)."""
    return values - np.floor(values)


def cover(distance: Plane, pixel: Plane | Real) -> Plane:
    """Return the fraction of each pixel that lies inside a shape.

    `distance` is the distance of each pixel from the shape's edge: positive inside, negative outside. `pixel` is
    the width of a pixel.
    """
    return unit(distance / pixel + 0.5)


def stripes(position: Plane, width: Plane, pixel: Plane) -> Plane:
    """Return a pattern of stripes, one in the middle of each unit interval of `position`.

    Stripes finer than a pixel are blurred to a uniform value.
    """
    sharp = cover(width / 2 - np.abs(fraction(position) - 0.5), pixel)
    return mix(sharp, width, unit(2 * pixel - 0.6))


def crop(view: Picture, left: Real, top: Real, right: Real, bottom: Real) -> Picture:
    """Return a view of the picture around a box, with two pixels of margin; painting on it changes the picture."""
    columns = _span(left - float(view.x[0, 0]), right - float(view.x[0, 0]), view.pixel, view.x.shape[1])
    rows = _span(top - float(view.y[0, 0]), bottom - float(view.y[0, 0]), view.pixel, view.y.shape[0])
    return replace(view, pixels=view.pixels[:, rows, columns], x=view.x[:, columns], y=view.y[rows])


def _span(first: float, last: float, pixel: float, count: int) -> slice:
    start = min(max(int(first / pixel) - 1, 0), count - 1)
    return slice(start, max(min(int(last / pixel) + 3, count), start + 1))


def paint(view: Picture, mask: Plane | Real, colour: Colour, distance: Plane | Real = 0.0) -> None:
    """Blend a colour into the picture with the opacity `mask`, from 0 to 1.

    Haze shifts the colour towards that of the horizon, by an amount proportional to `distance`, from 0 to 1.
    """
    faded = mix(unit(colour), view.horizon, view.haze * distance)
    view.pixels[...] += (faded - view.pixels) * mask


def box(view: Picture, left: Real, top: Real, right: Real, bottom: Real, colour: Colour) -> None:
    """Paint a filled rectangle between these edges."""
    part = crop(view, left, top, right, bottom)
    across = cover(np.minimum(part.x - left, right - part.x), view.pixel)
    paint(part, across * cover(np.minimum(part.y - top, bottom - part.y), view.pixel), colour)


def pile(view: Picture, rng: Random, x: Real, foot: Real, size: Real, choices: Sequence[Pile]) -> None:
    """Paint one of the piles of boxes in `choices`, chosen at random.

    The coordinates of its boxes are multiples of `size`, measured from the point (x, foot).
    """
    for half, top, bottom, colour in pick(rng, choices):
        box(view, x - size * half, foot - size * top, x + size * half, foot - size * bottom, colour)


def profile(rng: Random, bends: int, octaves: int, roughness: Real) -> Profile:
    """Return the heights of a jagged line, in [0, 1), at KNOTS + 1 equally spaced positions.

    The line is a sum of piecewise linear noise at doubling frequencies.
    """
    spot = np.arange(KNOTS + 1) / KNOTS * bends
    total, share, strength = np.zeros(KNOTS + 1), 0.0, 1.0
    for _ in range(octaves):
        heights, knot = rng.random(int(spot[-1]) + 2), np.floor(spot).astype(np.int64)
        total = total + strength * mix(heights[knot], heights[knot + 1], spot - knot)
        spot, share, strength = spot * 2, share + strength, strength * roughness
    return total / share


def lookup(line: Profile, position: Plane) -> Plane:
    """Return a profile's height at each position; positions outside [0, 1] get the height at the nearer end."""
    spot = np.minimum(np.maximum(position, 0.0), 0.9999) * KNOTS
    knot = np.floor(spot).astype(np.int64)
    return mix(line[knot], line[knot + 1], spot - knot)


def smooth_noise(lattices: Float64[np.ndarray, "octave row column"], across: Plane, down: Plane) -> Plane:
    """Return smooth noise in [0, 1): a sum of random lattices, whose spacing and strength halve at each step."""
    total, share, strength = np.zeros((1, 1)), 0.0, 1.0
    for lattice in lattices:
        column, row = np.floor(across).astype(np.int64), np.floor(down).astype(np.int64)
        left, right = lattice[:, column[0] % LATTICE], lattice[:, (column[0] + 1) % LATTICE]
        lines = mix(left, right, ease(across - column))
        upper, lower = lines[row[:, 0] % LATTICE], lines[(row[:, 0] + 1) % LATTICE]
        total = total + mix(upper, lower, ease(down - row)) * strength
        across, down, share, strength = across * 2 + 7.3, down * 2 + 3.7, share + strength, strength / 2
    return total / share


def clouds(view: Picture, rng: Random, across: Real, down: Real, octaves: int = 3) -> Plane:
    """Return noise in [0, 1) with about `across` blobs over the picture's width and `down` over its height."""
    return smooth_noise(rng.random((octaves, LATTICE, LATTICE)), view.x * across, view.y * down)


def relief(view: Picture, rng: Random, across: Real, down: Real) -> tuple[Plane, Plane]:
    """Return smooth noise in [0, 1), and its shading in [0, 1] as a relief lit from the upper left."""
    lattices = rng.random((3, LATTICE, LATTICE))
    height = smooth_noise(lattices, view.x * across, view.y * down)
    behind = smooth_noise(lattices, view.x * across + 0.15, view.y * down + 0.15)
    return height, unit(0.5 + (height - behind) * 3.5)


def cells(rng: Random, x: Plane, count: int) -> tuple[Cell, Plane]:
    """Divide the width of the picture into at most `count` cells of random width.

    Return two arrays with one value for each pixel column: the index of the cell that contains the column, and
    the column's position inside the cell, from 0 to 1.
    """
    edges = np.concatenate([np.zeros(1), np.cumsum(0.5 + rng.random(count))])
    edges = edges / edges[count] * 1.2 - 0.2 * float(rng.random())
    cell = np.searchsorted(edges[1:count], x[0], side="right").astype(np.int64)
    return cell[None, :], unit((x[0] - edges[cell]) / (edges[cell + 1] - edges[cell]))[None, :]


# Clear, fair, overcast, low sun, blue hour, storm.
ZENITH = palette("3373d1 4785cc b3bac4 737399 404d85 667080")
HORIZON = palette("b8dbf5 d1e6f0 e0e3e6 ffd194 bfb3c7 bdc4c9")
GAIN = palette("ffffff fff8ee e6ebf0 ffd6b3 a8b3d6 c7d1db")
HAZE = (0.35, 0.55, 0.6, 0.6, 0.5, 0.7)
SNOW_SHADE, SNOW, CREAM, TILES, SLATE, GLASS = palette("8099c7 fafaff f2f0d9 94523d 4d4d54 e6ffff")
ROCK, WATER = palette("6b5e54 5c5e6b 755c47"), palette("335c6b 477380")
PLASTER = np.concatenate(palette("b8a88f 945742 9e9e9e d1b87a 6b808f"), axis=1)[:, :, 0]


def outdoors(size: int, rng: Random) -> Picture:
    """Return an empty picture of `size` x `size` pixels in random weather.

    The weather is a random mixture of two kinds. It determines the colours of the sky and the light, and the
    haze.
    """
    one, other, share = int(rng.integers(0, 6)), int(rng.integers(0, 6)), between(rng, 0, 0.4)
    zenith = tint(rng, (mix(ZENITH[one], ZENITH[other], share),), 0.12)
    horizon = tint(rng, (mix(HORIZON[one], HORIZON[other], share),), 0.06)
    gain, haze = mix(GAIN[one], GAIN[other], share), HAZE[one] + (HAZE[other] - HAZE[one]) * share
    x = ((np.arange(size) + 0.5) / size)[None, :]
    return Picture(np.zeros((3, size, size)), x, x.transpose(), 1 / size, zenith, horizon, gain, haze)


def sky(view: Picture, rng: Random, horizon: Real) -> None:
    """Paint the sky: a colour gradient, clouds, and sometimes the sun."""
    paint(view, 1.0, mix(view.zenith, view.horizon, ease(view.y / max(horizon, 0.1))))
    if chance(rng, 0.25):
        x, y, radius = between(rng, 0.1, 0.9), horizon * between(rng, 0.2, 0.9), between(rng, 0.02, 0.05)
        square = (view.x - x) * (view.x - x) + (view.y - y) * (view.y - y)
        # (r^2 - d^2) / 2r is the distance to the edge, to first order, without a root.
        paint(view, cover((radius * radius - square) / (2 * radius), view.pixel), CREAM)
    part = crop(view, 0, 0, 1, horizon + 0.05)
    billow = clouds(part, rng, between(rng, 2, 4), between(rng, 4, 9))
    thick = ease((billow - between(rng, 0.45, 0.7)) * between(rng, 3, 7))
    paint(part, thick * between(rng, 0.4, 1), mix(view.horizon, SNOW, 0.6) * (0.75 + 0.3 * billow))


def massif(view: Picture, rng: Random, top: Real, height: Real, snow: Real, distance: Real) -> None:
    """Paint a rocky mountain ridge, lit from one side. Snow covers roughly its upper fraction `snow`."""
    line = profile(rng, int(rng.integers(2, 5)), 6, between(rng, 0.45, 0.6))
    part = crop(view, 0, top - 0.02, 1, 1)
    depth = part.y - top - height * (1 - lookup(line, part.x))
    rough, lit = relief(part, rng, 10, 14)
    # A face is lit where the ridge above it rises to the right: the line is looked up on both sides.
    spread = np.maximum(depth, 0) * between(rng, 0.4, 0.8) + 0.01
    place = part.x + (rough - 0.5) * 0.1
    faces = (lookup(line, place + spread) - lookup(line, place - spread)) / (spread + 0.05)
    shade = unit(0.45 + faces * between(rng, 0.25, 0.45) + (lit - 0.5) * 0.5)
    stone = tint(rng, ROCK, 0.2) * (0.4 + 0.9 * shade)
    reach = 0.2 + 1.1 * snow - (part.y - top) / height + (rough - 0.5) * 0.9 + (shade - 0.5) * 0.3
    cap = ease(reach * 4) * float(snow > 0)
    paint(part, cover(depth, view.pixel), mix(stone, mix(SNOW_SHADE, SNOW, shade), cap), distance)


def hill(view: Picture, rng: Random, top: Real, colour: Colour, distance: Real) -> None:
    """Paint a rounded hill covered with grass or trees."""
    line = profile(rng, int(rng.integers(1, 4)), 3, 0.3)
    part = crop(view, 0, top - 0.02, 1, 1)
    depth = part.y - top - 0.18 * (1 - lookup(line, part.x))
    paint(part, cover(depth, view.pixel), colour * (0.55 + 0.9 * clouds(part, rng, 16, 24)), distance)


def lake(view: Picture, rng: Random, top: Real, floes: Real = 0.0) -> None:
    """Paint a still lake from `top` down, which reflects the sky and may carry ice.

    The ice grows with `floes`: it covers nothing at 0, some 40 % of the lake at 1, and 90 % at 1.5.
    """
    part = crop(view, 0, top, 1, 1)
    streak = 0.2 + 0.5 * clouds(part, rng, 4, 50, 2) * between(rng, 0.3, 1)
    surface = mix(tint(rng, WATER, 0.3), view.horizon, streak)
    ice = ease((clouds(part, rng, 9, 34, 2) - 1 + 0.5 * floes) * 14)
    paint(part, cover(part.y - top, view.pixel), mix(surface, SNOW, ice))


def ice(view: Picture, rng: Random, across: Real, down: Real) -> Colour:
    """Return the colours of lumps of white ice, lit from the side, with blue hollows between them."""
    height, lit = relief(view, rng, across, down)
    pale = ease(0.55 + (height - 0.5) * between(rng, 1.2, 2.4) + (lit - 0.5) * 0.9)
    return mix(tint(rng, palette("4a82ae 6a8fa3 7a8898"), 0.2), tint(rng, (SNOW,), 0.06), pale)


def wall(
    view: Picture, rng: Random, cell: Cell, along: Row, size: Row, eaves: Row, top: Row, foot: Row, shade: Row
) -> None:
    """Paint a row of house fronts with windows on a vertical plane, one house for each cell.

    The arrays have a value for each pixel column. `cell` is the index of the house (see `cells`), `along` is the
    position along the plane in storeys, and `size` is the height of a storey in the picture. `eaves`, `top` and
    `foot` are the heights in the picture of the eaves, the top of the roof and the street. The colours are
    multiplied by `shade`.
    """
    bays, wide, tall, red = rng.random((4, 1, LATTICE))[:, :, cell[0]]
    floors, bay = (view.y - eaves) / size, along * (0.8 + 0.8 * bays)
    # Never 0, since it is a divisor.
    step = np.minimum(np.abs(bay[:, 1:] - bay[:, :-1]) + 0.001, 1.0)
    across = stripes(bay, 0.4 + 0.4 * wide, np.concatenate([step, step[:, -1:]], axis=1))
    window = across * stripes(floors, 0.4 + 0.4 * tall, view.pixel / size)
    panes, storey = rng.random((LATTICE, LATTICE)), np.floor(floors).astype(np.int64) % LATTICE
    pane = panes[storey, np.floor(bay).astype(np.int64) % LATTICE]
    glass = np.where(pane > 0.9, pane, 0.12 + 0.3 * pane) * GLASS
    hue = PLASTER[:, rng.integers(0, 5, LATTICE)] * (0.7 + 0.5 * rng.random((1, LATTICE)))
    plaster = (hue * (0.9 + 0.2 * rng.random((3, LATTICE))))[:, cell] * (0.85 + 0.3 * clouds(view, rng, 12, 8, 1))
    tiles = mix(SLATE, TILES, red) * (0.8 + 0.4 * fraction(floors * 4))
    front = mix(tiles, mix(plaster, glass, window), cover(view.y - eaves, view.pixel))
    # Small storeys are far away.
    inside = np.minimum(view.y - top, foot - view.y)
    paint(view, cover(inside, view.pixel), front * shade, unit(0.5 - 5 * size))


def develop(view: Picture, rng: Random, grain: Random) -> UInt8[np.ndarray, "height width channel"]:
    """Return a picture as 8-bit pixels after random changes: colour, contrast, brightness, grain and mirroring."""
    lit = view.pixels * view.gain
    grey = (lit[0:1] + lit[1:2] + lit[2:3]) / 3
    toned = mix(grey, lit, 0.0 if chance(rng, 0.07) else between(rng, 0.6, 1.2))
    bright = (toned - 0.5) * between(rng, 0.8, 1.25) + between(rng, 0.44, 0.56)
    strength = between(rng, 0, 0.25)
    speckle = (grain.random(grey.shape) + grain.random(grey.shape) - 1) * (strength * strength)
    pixels = np.floor(unit(bright + speckle) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0)
    return np.ascontiguousarray(pixels[:, ::-1] if chance(rng, 0.5) else pixels)
