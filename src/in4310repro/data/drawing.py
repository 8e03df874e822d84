"""Drawing on a grid of pixels, with arithmetic that gives equal bits on all processors.

Pixels are computed with + - * /, comparisons, floor, abs, minimum, maximum, where and indexing alone, which
IEEE 754 rounds once, so that the bytes should not depend on the processor. Positions are fractions of the picture
(x from 0 at the left to 1 at the right, y from 0 at the top to 1 at the bottom): only the grain depends on
the size in pixels, and a larger picture shows the same scene.
"""

from collections.abc import Callable, Sequence
from copy import copy
from typing import TypeVar

import numpy as np
from jaxtyping import Float64, Int64

Field = Float64[np.ndarray, "..."]
Plane = Float64[np.ndarray, "#height #width"]
Index = Int64[np.ndarray, "..."]
Colour = Float64[np.ndarray, "3 #height #width"]
Level = Plane | float
Choice = TypeVar("Choice")

KNOTS = 256
LATTICE = 32


def palette(codes: str) -> tuple[Colour, ...]:
    """Return hexadecimal colours, separated by spaces in `codes`, as arrays of shape (3, 1, 1) from 0 to 1."""
    numbers = [int(code, 16) for code in codes.split()]
    return tuple(np.array([n >> 16, n >> 8 & 255, n & 255]).reshape(3, 1, 1) / 255 for n in numbers)


def mix(first: Field, second: Field, share: Field | float) -> Field:
    """Return (1 - share) x first + share x second, for two colours or planes."""
    return first + (second - first) * share


def unit(values: Field | float) -> Field:
    """Return values clipped to [0, 1]."""
    return np.minimum(np.maximum(values, 0.0), 1.0)


def ease(values: Field) -> Field:
    """Return the smooth step 3t^2 - 2t^3 of values clipped to [0, 1]."""
    inside = unit(values)
    return inside * inside * (3.0 - 2.0 * inside)


def index(values: Field) -> Index:
    """Return each value rounded down, as an index."""
    return np.floor(values).astype(np.int64)


def fraction(values: Field) -> Field:
    """Return the fractional part of each value, in [0, 1)."""
    return values - np.floor(values)


def cover(distance: Plane, pixel: Level) -> Plane:
    """Return the fraction of each pixel that lies inside a shape.

    `distance` is the distance of each pixel from the shape's edge: positive inside, negative outside. `pixel` is
    the width of a pixel.
    """
    return unit(distance / pixel + 0.5)


def stripes(position: Plane, width: Plane, pixel: Level) -> Plane:
    """Return a pattern of stripes, one in the middle of each unit interval of `position`.

    Stripes finer than a pixel are blurred to a uniform value.
    """
    sharp = cover(width / 2 - abs(fraction(position) - 0.5), pixel)
    return mix(sharp, width, unit(2 * pixel - 0.6))


def smooth_noise(lattices: Float64[np.ndarray, "octave row column"], across: Plane, down: Plane) -> Plane:
    """Return smooth noise in [0, 1): a sum of random lattices, whose spacing and strength halve at each step."""
    total, share, strength = np.zeros((1, 1)), 0.0, 1.0
    for lattice in lattices:
        column, row = index(across), index(down)
        left, right = lattice[:, column[0] % LATTICE], lattice[:, (column[0] + 1) % LATTICE]
        lines = mix(left, right, ease(across - column))
        upper, lower = lines[row[:, 0] % LATTICE], lines[(row[:, 0] + 1) % LATTICE]
        total = total + mix(upper, lower, ease(down - row)) * strength
        across, down, share, strength = across * 2 + 7.3, down * 2 + 3.7, share + strength, strength / 2
    return total / share


# Clear, fair, overcast, low sun, blue hour, storm: colours of the sky at the top and at the horizon, a factor of the
# light for each channel, and how much distant objects fade to the colour at the horizon, in [0, 1].
WEATHER = (
    palette("3373d1 4785cc b3bac4 737399 404d85 667080"),
    palette("b8dbf5 d1e6f0 e0e3e6 ffd194 bfb3c7 bdc4c9"),
    palette("ffffff fff8ee e6ebf0 ffd6b3 a8b3d6 c7d1db"),
    [*np.array((0.35, 0.55, 0.6, 0.6, 0.5, 0.7))],
)
SNOW_SHADE, SNOW, CREAM, TILES, SLATE, GLASS = palette("8099c7 fafaff f2f0d9 94523d 4d4d54 e6ffff")
ROCK = "6b5e54 5c5e6b 755c47"
PLASTER = np.concatenate(palette("b8a88f 945742 9e9e9e d1b87a 6b808f"), axis=1)[:, :, 0]


class Picture:
    """Pixels in [0, 1] that functions paint in place, with coordinates of the pixels and random weather.

    `picture(low, high)` is a random number, as every picture needs dozens of them.

    The weather is a random mixture of two kinds. It determines the colours of the sky and the light, and the haze.

    Attributes:
        random, integers: the methods of the generator of all that is drawn at random.
        pixels: the pixels [channel, row, column].
        pixel: side of a pixel, a fraction of the picture.
        x, y: coordinates of the columns [1, column] and the rows [row, 1].
        zenith, horizon, gain, haze: the weather, see `WEATHER`.
    """

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        """Begin an empty picture of `size` x `size` pixels."""
        self.random, self.integers = rng.random, rng.integers
        self.pixels, self.pixel = np.zeros((3, size, size)), 1 / size
        self.x = ((np.arange(size) + 0.5) / size)[None, :]
        self.y = self.x.transpose()
        one, other, share = self.whole(0, 6), self.whole(0, 6), self(0, 0.4)
        zenith, horizon, self.gain, self.haze = (mix(kinds[one], kinds[other], share) for kinds in WEATHER)
        self.zenith, self.horizon = self.tint(zenith, 0.12), self.tint(horizon, 0.06)

    def __call__(self, low: float, high: float) -> float:
        """Draw a number uniformly from [low, high)."""
        return low + (high - low) * self.random()

    def whole(self, low: int, high: int) -> int:
        """Draw a whole number from low to high - 1."""
        return int(self.integers(low, high))

    def chance(self, share: float) -> bool:
        """Return True with probability `share`, otherwise False."""
        return self.random() < share

    def pick(self, choices: Sequence[Choice]) -> Choice:
        """Draw one of the choices, all with equal probability."""
        return choices[self.whole(0, len(choices))]

    def tint(self, colours: str | Colour, spread: float = 0.25) -> Colour:
        """Draw one of the colours (see `palette`), and vary its brightness and hue by up to the fraction `spread`."""
        hue = 1 + (self.random((3, 1, 1)) - 0.5) * spread
        colour = self.pick(palette(colours)) if isinstance(colours, str) else colours
        return unit(colour * hue * self(1 - spread, 1 + spread))

    def crop(self, top: float, bottom: float = 1, left: float = 0, right: float = 1) -> "Picture":
        """Return a view of the picture around a box, with two pixels of margin; painting on it changes the picture."""
        corners = np.array(((top, left), (bottom, right))) - (self.y[0, 0], self.x[0, 0])
        (first, last), sizes = (corners / self.pixel).astype(np.int64), np.array(self.pixels.shape[1:])
        first = np.minimum(np.maximum(first - 1, 0), sizes - 1)
        rows, columns = map(slice, first, np.maximum(np.minimum(last + 3, sizes), first + 1))
        part = copy(self)
        part.pixels, part.x, part.y = self.pixels[:, rows, columns], self.x[:, columns], self.y[rows]
        return part

    def cover(self, distance: Plane, pixels: Level = 1) -> Plane:
        """Return `cover` where the edge is as wide as a number of pixels."""
        return cover(distance, self.pixel * pixels)

    def paint(self, mask: Level, colour: Colour, distance: Level = 0.0) -> None:
        """Blend a colour into the picture with the opacity `mask`, from 0 to 1.

        Haze shifts the colour towards that of the horizon, by an amount proportional to `distance`, from 0 to 1.
        """
        faded = mix(unit(colour), self.horizon, self.haze * distance)
        self.pixels[...] += (faded - self.pixels) * mask

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Paint a filled rectangle between these edges."""
        part = self.crop(top, bottom, left, right)
        across = self.cover(np.minimum(part.x - left, right - part.x))
        part.paint(across * self.cover(np.minimum(part.y - top, bottom - part.y)), colour)

    def pile(self, x: float, foot: float, size: float, boxes: str, bodies: str = "0") -> None:
        """Paint a pile of boxes, such as "0.6 2 0 body, 1 5 2 f26650": half the width, top, bottom and colour of each.

        The numbers are multiples of `size`, measured from the point (x, foot). `body` is one of the colours `bodies`,
        chosen at random.
        """
        for box in boxes.replace("body", self.pick(bodies.split())).split(", "):
            *edges, colour = box.split()
            half, top, bottom = (size * float(edge) for edge in edges)
            self.box(x - half, foot - top, x + half, foot - bottom, *palette(colour))

    def jagged(self, bends: int, octaves: int, roughness: float) -> Callable[[Plane], Plane]:
        """Return a function with the heights, in [0, 1), of a jagged line; beyond [0, 1] it has those of the ends.

        The line is a sum of piecewise linear noise at doubling frequencies, at KNOTS + 1 equally spaced positions.
        """
        spot = np.arange(KNOTS + 1) / KNOTS * bends
        total, share, strength = np.zeros(KNOTS + 1), 0.0, 1.0
        for _ in range(octaves):
            heights, knot = self.random(int(spot[-1]) + 2), index(spot)
            total = total + strength * mix(heights[knot], heights[knot + 1], spot - knot)
            spot, share, strength = spot * 2, share + strength, strength * roughness
        line = total / share

        def lookup(position: Plane) -> Plane:
            spot = np.minimum(np.maximum(position, 0.0), 0.9999) * KNOTS
            knot = index(spot)
            return mix(line[knot], line[knot + 1], spot - knot)

        return lookup

    def clouds(self, across: float, down: float, octaves: int = 3) -> Plane:
        """Return noise in [0, 1) with about `across` blobs over the picture's width and `down` over its height."""
        return smooth_noise(self.random((octaves, LATTICE, LATTICE)), self.x * across, self.y * down)

    def relief(self, across: float, down: float) -> tuple[Plane, Plane]:
        """Return smooth noise in [0, 1), and its shading in [0, 1] as a relief lit from the upper left."""
        lattices = self.random((3, LATTICE, LATTICE))
        height = smooth_noise(lattices, self.x * across, self.y * down)
        behind = smooth_noise(lattices, self.x * across + 0.15, self.y * down + 0.15)
        return height, unit(0.5 + (height - behind) * 3.5)

    def cells(self, count: int) -> tuple[Index, Plane, Callable[[float, float], Plane]]:
        """Divide the width of the picture into at most `count` cells of random width.

        Return two arrays with one value for each pixel column: the index of the cell that contains the column, and
        the column's position inside the cell, from 0 to 1. Also return a function of a number and a spread, which
        draws a number for each cell uniformly from there, and returns that of each column.
        """
        edges = np.concatenate([np.zeros(1), np.cumsum(0.5 + self.random(count))])
        edges = edges / edges[count] * 1.2 - 0.2 * self.random()
        cell = np.searchsorted(edges[1:count], self.x, side="right")
        place = unit((self.x - edges[cell]) / (edges[cell + 1] - edges[cell]))
        return cell, place, lambda low, spread: (low + spread * self.random(count))[cell]

    def sky(self, horizon: float) -> None:
        """Paint the sky: a colour gradient, clouds, and sometimes the sun."""
        self.paint(1.0, mix(self.zenith, self.horizon, ease(self.y / max(horizon, 0.1))))
        if self.chance(0.25):
            x, y, radius = self(0.1, 0.9), horizon * self(0.2, 0.9), self(0.02, 0.05)
            square = (self.x - x) * (self.x - x) + (self.y - y) * (self.y - y)
            # (r^2 - d^2) / 2r is the distance to the edge, to first order, without a root.
            self.paint(self.cover((radius * radius - square) / (2 * radius)), CREAM)
        part = self.crop(0, horizon + 0.05)
        billow = part.clouds(self(2, 4), self(4, 9))
        thick = ease((billow - self(0.45, 0.7)) * self(3, 7))
        part.paint(thick * self(0.4, 1), mix(self.horizon, SNOW, 0.6) * (0.75 + 0.3 * billow))

    def massif(self, top: float, height: float, snow: float, distance: float) -> None:
        """Paint a rocky mountain ridge, lit from one side. Snow covers roughly its upper fraction `snow`."""
        line = self.jagged(self.whole(2, 5), 6, self(0.45, 0.6))
        part = self.crop(top - 0.02)
        depth = part.y - top - height * (1 - line(part.x))
        rough, lit = part.relief(10, 14)
        # A face is lit where the ridge above it rises to the right: the line is looked up on both sides.
        spread = np.maximum(depth, 0) * self(0.4, 0.8) + 0.01
        place = part.x + (rough - 0.5) * 0.1
        faces = (line(place + spread) - line(place - spread)) / (spread + 0.05)
        shade = unit(0.45 + faces * self(0.25, 0.45) + (lit - 0.5) * 0.5)
        stone = self.tint(ROCK, 0.2) * (0.4 + 0.9 * shade)
        reach = 0.2 + 1.1 * snow - (part.y - top) / height + (rough - 0.5) * 0.9 + (shade - 0.5) * 0.3
        cap = ease(reach * 4) * float(snow > 0)
        part.paint(self.cover(depth), mix(stone, mix(SNOW_SHADE, SNOW, shade), cap), distance)

    def hill(self, top: float, colour: Colour, distance: float) -> None:
        """Paint a rounded hill covered with grass or trees."""
        line = self.jagged(self.whole(1, 4), 3, 0.3)
        part = self.crop(top - 0.02)
        depth = part.y - top - 0.18 * (1 - line(part.x))
        part.paint(self.cover(depth), colour * (0.55 + 0.9 * part.clouds(16, 24)), distance)

    def lake(self, top: float, floes: float = 0.0) -> None:
        """Paint a still lake from `top` down, which reflects the sky and may carry ice.

        The ice grows with `floes`: it covers nothing at 0, some 40 % of the lake at 1, and 90 % at 1.5.
        """
        part = self.crop(top)
        streak = 0.2 + 0.5 * part.clouds(4, 50, 2) * self(0.3, 1)
        surface = mix(self.tint("335c6b 477380", 0.3), self.horizon, streak)
        ice = ease((part.clouds(9, 34, 2) - 1 + 0.5 * floes) * 14)
        part.paint(self.cover(part.y - top), mix(surface, SNOW, ice))

    def ice(self, across: float, down: float) -> Colour:
        """Return the colours of lumps of white ice, lit from the side, with blue hollows between them."""
        height, lit = self.relief(across, down)
        pale = ease(0.55 + (height - 0.5) * self(1.2, 2.4) + (lit - 0.5) * 0.9)
        return mix(self.tint("4a82ae 6a8fa3 7a8898", 0.2), self.tint(SNOW, 0.06), pale)

    def wall(self, cell: Index, along: Plane, size: Level, eaves: Plane, top: Plane, foot: Level, shade: Plane) -> None:
        """Paint a row of house fronts with windows on a vertical plane, one house for each cell.

        Arrays have a value for each pixel column. `cell` is the index of the house (see `cells`), `along` is the
        position along the plane in storeys, and `size` is the height of a storey in the picture. `eaves`, `top` and
        `foot` are the heights in the picture of the eaves, the top of the roof and the street. The colours are
        multiplied by `shade`.
        """
        bays, wide, tall, red = self.random((4, 1, LATTICE))[:, :, cell[0]]
        floors, bay = (self.y - eaves) / size, along * (0.8 + 0.8 * bays)
        # Never 0, since it is a divisor.
        step = np.minimum(abs(bay[:, 1:] - bay[:, :-1]) + 0.001, 1.0)
        across = stripes(bay, 0.4 + 0.4 * wide, np.concatenate([step, step[:, -1:]], axis=1))
        window = across * stripes(floors, 0.4 + 0.4 * tall, self.pixel / size)
        panes, storey = self.random((LATTICE, LATTICE)), index(floors) % LATTICE
        pane = panes[storey, index(bay) % LATTICE]
        glass = np.where(pane > 0.9, pane, 0.12 + 0.3 * pane) * GLASS
        hue = PLASTER[:, self.integers(0, 5, LATTICE)] * (0.7 + 0.5 * self.random((1, LATTICE)))
        plaster = (hue * (0.9 + 0.2 * self.random((3, LATTICE))))[:, cell] * (0.85 + 0.3 * self.clouds(12, 8, 1))
        tiles = mix(SLATE, TILES, red) * (0.8 + 0.4 * fraction(floors * 4))
        front = mix(tiles, mix(plaster, glass, window), self.cover(self.y - eaves))
        # Small storeys are far away.
        inside = np.minimum(self.y - top, foot - self.y)
        self.paint(self.cover(inside), front * shade, unit(0.5 - 5 * size))
