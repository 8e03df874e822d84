"""Six classes of drawn scenes of landscape and town, whose bytes depend only on (label, image, size, seed).

The classes are easy to tell apart, but have the ambiguities of the real ones: facades in buildings and
streets, snow and rock in mountains and glaciers, water in the sea and below the ice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from jaxtyping import UInt8

from in4310repro.data import drawing as d

CLASSES = ("buildings", "forest", "glacier", "mountain", "sea", "street")
SMALLEST = 16  # width and height, pixels
FOAM, BLACK, LAMP, SKIN = d.palette("f2f5f5 1a1a1f f26650 997359")
DEEP, GREENS = d.palette("0d406b 0a6170 3d5461"), d.palette("335c1a 576b1f 42611f 945c1f 8c9194")
GROUND, PAVING, ASPHALT = d.palette("737375 99948a 47662e"), d.palette("99948c"), d.palette("5c5c61")
COATS, PAINTS = d.palette("403842 8c3a30 5a6472 b0a58e"), d.palette("a52a22 cccccc 2a2d36 3d5a90")

# Each is a pile of boxes: half the width, top and bottom above the foot, and colour.
PEOPLE = [((0.6, 2.4, 0, BLACK), (1, 5, 2.2, coat), (0.6, 6.4, 5.1, SKIN)) for coat in COATS]
SAIL = ((0.35, 0.9, 0, d.CREAM), (0.2, 1.4, 0.9, d.CREAM), (0.08, 2, 1.4, d.CREAM))
BOATS = [(*SAIL, (0.7, 0.1, -0.25, hull)) for hull in COATS]
CABIN, LAMPS = ((0.8, 1.5, 0.8, BLACK), (1, 0.3, -0.1, BLACK)), (0.9, 0.75, 0.55, LAMP)
CARS = [(*CABIN, (1, 0.9, 0.15, body), LAMPS, (0.55, 0.75, 0.55, body)) for body in PAINTS]
LAMP_POSTS = [((0.02, 1, 0, BLACK), (arm, 1, 0.96, d.CREAM)) for arm in (0.06, 0.1)]


def ice_tongue(view: d.Picture, rng: d.Random, top: float) -> None:
    """Paint a glacier that flows down a valley between ridges, with rubble on the ice."""
    d.massif(view, rng, top - 0.2, 0.3, d.between(rng, 0.2, 1.2), 0.4)
    d.massif(view, rng, top, 0.3, d.between(rng, -0.3, 0.8), 0.15)
    part = d.crop(view, 0, top + 0.05, 1, 1)
    fall, ragged = np.maximum(part.y - top - 0.05, 0), d.clouds(part, rng, 8, 8)
    bend = (d.lookup(d.profile(rng, 2, 2, 0.4), fall) - 0.5) * d.between(rng, 0.2, 0.7)
    aside = np.abs(part.x - d.between(rng, 0.3, 0.7) - bend) - (ragged - 0.5) * 0.1
    half = d.between(rng, 0.02, 0.08) + d.between(rng, 0.05, 0.7) * fall
    rubble = d.ease(d.clouds(part, rng, 3, 3, 4) * 4 - d.between(rng, 1.4, 3))
    flow = d.mix(d.ice(part, rng, 8, 14), d.tint(rng, d.ROCK, 0.2), rubble * 0.8)
    d.paint(part, d.cover(half - aside, view.pixel * 2), flow)


def glacier(view: d.Picture, rng: d.Random) -> None:
    """Paint an icy scene: a glacier in a valley, crevasses below mountains, a cliff at the water, or floes."""
    d.sky(view, rng, 0.45)
    top = d.between(rng, 0.25, 0.5)
    if d.chance(rng, 0.35):
        ice_tongue(view, rng, top)
        return
    foot, across, down = d.pick(rng, ((1.1, 7, 14), (0.9, 14, 7), (0.7, 20, 6), (0, 1, 1)))
    d.massif(view, rng, top - d.between(rng, 0.1, 0.3), 0.32, d.between(rng, -0.3, 1.1), 0.4)
    part = d.crop(view, 0, top - 0.1, 1, 1)
    edge = top + 0.15 * (d.lookup(d.profile(rng, 4, 5, 0.55), part.x) - 0.5)
    front = d.ice(part, rng, across * d.between(rng, 0.7, 1.3), down * d.between(rng, 0.7, 1.3))
    d.paint(part, d.cover(np.minimum(part.y - edge, foot - part.y), view.pixel), front)
    d.lake(view, rng, max(foot, 0.6), d.between(rng, -0.3, 1.2) if foot else 1.2)


def conifers(view: d.Picture, rng: d.Random, base: float, height: float, count: int) -> None:
    """Paint a row of pointed trees, with their feet at height `base`."""
    cell, place = d.cells(rng, view.x, count)
    tall, part = height * (0.4 + 0.6 * rng.random(count))[cell], d.crop(view, 0, base - height, 1, 1)
    fall = (part.y - base + tall) / tall  # 0 at the tip, 1 at the foot
    reach = fall * (0.35 + 0.3 * d.fraction(fall * 6)) - np.abs(place - 0.5)
    mask = d.cover(reach, view.pixel * count) * d.cover(part.y - base + tall, view.pixel)
    needles = d.tint(rng, d.palette("1a331f"), 0.25) * (0.5 + place * 0.5 + d.clouds(part, rng, 40, 40, 1) / 2)
    d.paint(part, np.maximum(mask, d.cover(part.y - base, view.pixel)), needles, 0.1)


def mountain(view: d.Picture, rng: d.Random) -> None:
    """Paint ridges, one behind the other, above a meadow, a wood or a lake."""
    d.sky(view, rng, 0.5)
    top, snow, count = d.between(rng, 0.08, 0.35), d.between(rng, -0.4, 1.4), int(rng.integers(1, 4))
    for k in range(count):
        d.massif(view, rng, top + 0.14 * k, d.between(rng, 0.28, 0.45), snow - 0.2 * k, 0.25 * (count - k))
    if d.chance(rng, 0.45):
        d.hill(view, rng, d.between(rng, 0.6, 0.8), d.tint(rng, d.palette("526b2e 3d5729 807047"), 0.25), 0.15)
    if d.chance(rng, 0.3):
        d.lake(view, rng, d.between(rng, 0.6, 0.85), d.between(rng, -0.5, 0.7))
    if d.chance(rng, 0.45):
        conifers(view, rng, d.between(rng, 0.8, 1.0), d.between(rng, 0.1, 0.4), int(rng.integers(6, 22)))


def waves(view: d.Picture, rng: d.Random, horizon: float) -> None:
    """Paint the open sea: waves that get smaller towards the horizon, foam, and a path of reflected light."""
    part, lattices = d.crop(view, 0, horizon, 1, 1), rng.random((5, d.LATTICE, d.LATTICE))
    near = np.maximum(part.y - horizon, 0.0) / (1.02 - horizon)
    # Even steps of 1 / (height in the picture) are even steps on the water.
    rows = 10.0 / (near + 0.12)
    fine = d.smooth_noise(lattices[:2], part.x * 14, rows * 1.5)
    swell = d.mix(fine, d.smooth_noise(lattices[2:], part.x * 4, rows), near)
    water = d.mix(d.tint(rng, DEEP, 0.25), view.horizon, 0.55 - 0.55 * d.ease(near * 1.5 + 0.2))
    water = water + (swell - 0.5) * d.between(rng, 0.25, 0.7)
    caps = d.ease((swell - d.between(rng, 0.55, 0.85)) * 9) * d.ease(near * 4)
    d.paint(part, d.cover(part.y - horizon, view.pixel), d.mix(water, FOAM, caps * 0.9))
    if d.chance(rng, 0.3):
        path = d.unit(1 - np.abs(part.x - d.between(rng, 0.2, 0.8)) / (0.05 + 0.25 * near))
        d.paint(part, path * d.ease(swell * 4 - 1.6) * 0.8, view.horizon * 1.15)


def beach(view: d.Picture, rng: d.Random, horizon: float) -> None:
    """Paint a beach or rocky shore across a corner, with a line of foam."""
    jagged, soil = d.pick(rng, ((0.4, "4d4540"), (0.05, "ccb385"), (0.05, "b5a27c")))
    coast = jagged * (d.lookup(d.profile(rng, 4, 4, 0.45), view.x) - 0.5)
    edge = d.between(rng, 0.62, 0.95) + d.between(rng, -0.6, 0.6) * (view.x - 0.5) + coast
    depth, grain = view.y - np.maximum(edge, horizon + 0.03), d.clouds(view, rng, 16, 16)
    d.paint(view, d.ease((depth + 0.03 + 0.05 * grain) * 30), FOAM)
    ground = d.tint(rng, d.palette(soil), 0.2) * (0.65 + 0.35 * d.ease(depth * 9)) * (0.7 + 0.6 * grain)
    d.paint(view, d.cover(depth, view.pixel), ground)


def sea(view: d.Picture, rng: d.Random) -> None:
    """Paint water up to the horizon, with a coast, a beach, rocks or a boat."""
    horizon = d.between(rng, 0.22, 0.62)
    d.sky(view, rng, horizon)
    if d.chance(rng, 0.35):
        d.hill(view, rng, horizon - d.between(rng, 0.04, 0.18), d.palette("475442")[0], d.between(rng, 0.2, 0.9))
    if d.chance(rng, 0.15):
        d.massif(view, rng, horizon - 0.22, 0.25, d.between(rng, -0.5, 0.8), 0.8)
    waves(view, rng, horizon)
    if d.chance(rng, 0.25):
        d.pile(view, rng, d.between(rng, 0.15, 0.85), horizon, d.between(rng, 0.03, 0.09), BOATS)
    if d.chance(rng, 0.55):
        beach(view, rng, horizon)


def trunks(view: d.Picture, rng: d.Random, count: int, foot: float, distance: float) -> None:
    """Paint a layer of tree trunks. The larger `distance` is, the more the trunks fade in haze."""
    cell, place = d.cells(rng, view.x, count)
    half, lean = (0.06 + 0.16 * rng.random(count))[cell], (0.4 * rng.random(count) - 0.2)[cell]
    aside = (place - (0.35 + 0.3 * rng.random(count))[cell] - lean * (view.y - 0.5)) / half
    bark = d.tint(rng, d.palette("42362b 383029 807a70"), 0.3) * (1 + 0.45 * aside)
    mask = d.cover((0.8 + 0.4 * view.y - np.abs(aside)) * half, view.pixel * count)
    mask = mask * d.cover(foot + (0.06 * rng.random(count))[cell] - view.y, view.pixel)
    d.paint(view, mask, bark * (0.6 + 0.8 * d.clouds(view, rng, 30, 10, 1)), distance)


def leaves(view: d.Picture, rng: d.Random, green: d.Colour, top: float, bottom: float, density: float) -> None:
    """Paint a mass of foliage between two heights."""
    part = d.crop(view, 0, top, 1, bottom)
    mass = d.clouds(part, rng, d.between(rng, 3, 6), d.between(rng, 4, 8), 4)
    inside = np.minimum(np.minimum(part.y - top, bottom - part.y) * 5, 0.3)
    leaf = green * (0.3 + 1.4 * d.clouds(part, rng, 24, 24, 2))
    d.paint(part, d.ease((mass - 1.2 + density + inside) * 12), leaf)


def forest(view: d.Picture, rng: d.Random) -> None:
    """Paint layers of tree trunks below foliage, and a ground covered with leaves."""
    green, ground = d.tint(rng, GREENS, 0.25), d.between(rng, 0.6, 0.85)
    gaps = d.clouds(view, rng, 6, 6, 4) * 2.5 - d.between(rng, 0.6, 1.3)
    d.paint(view, 1.0, d.mix(green * 0.8, view.horizon, d.ease(gaps)))
    trunks(view, rng, int(rng.integers(12, 24)), ground + 0.02, 0.8)
    soil = d.mix(green * 0.7, d.tint(rng, d.palette("5c452e"), 0.3), d.between(rng, 0, 1))
    floor = d.crop(view, 0, ground, 1, 1)
    d.paint(floor, d.cover(floor.y - ground, view.pixel * 2), soil * (0.4 + 1.2 * d.clouds(floor, rng, 16, 26)))
    leaves(view, rng, green, -0.2, d.between(rng, 0.2, 0.6), 0.7)
    trunks(view, rng, int(rng.integers(6, 13)), ground + 0.08, 0.45)
    leaves(view, rng, green * 1.1, -0.2, d.between(rng, 0.0, 0.4), d.between(rng, 0.6, 0.8))
    trunks(view, rng, int(rng.integers(2, 7)), ground + 0.2, 0.1)
    leaves(view, rng, green * 0.9, d.between(rng, 0.7, 0.9), 1.3, d.between(rng, 0.5, 0.75))


def houses(view: d.Picture, rng: d.Random, count: int, base: float, tall: float, storey: float) -> None:
    """Paint a row of houses from the front, with walls at most `tall` high. Some have a shaded right side."""
    cell, place = d.cells(rng, view.x, count)
    shade = np.where(place > (0.6 + 0.6 * rng.random(count))[cell], 0.65, 1.0)
    eaves = base - tall * (0.45 + 0.55 * rng.random(count))[cell]
    roof = 4 * storey * np.maximum(rng.random(count) - 0.5, 0)[cell] * d.unit(1.6 - 3.2 * np.abs(place - 0.5))
    size, foot = np.zeros_like(view.x) + storey, np.zeros_like(view.x) + base
    d.wall(view, rng, cell, view.x / storey, size, eaves, eaves - roof, foot, shade)


def corner(view: d.Picture, rng: d.Random) -> None:
    """Paint a tall building seen from its corner, with two walls in perspective."""
    edge, eye, storey = d.between(rng, 0.2, 0.8), d.between(rng, 0.75, 1.2), d.between(rng, 0.06, 0.14)
    slope = np.where(view.x < edge, d.between(rng, 0.3, 1.1), d.between(rng, 0.3, 1.1))
    size = np.maximum(1 - np.abs(view.x - edge) * slope, 0.2)
    eaves, foot = eye - size * (eye - d.between(rng, -0.3, 0.3)), eye + size * 0.3
    cell, shade = np.zeros(view.x.shape, dtype=np.int64), np.where(view.x < edge, 1.1, 0.65)
    d.wall(view, rng, cell, (view.x - edge) / size / storey, size * storey, eaves, eaves, foot, shade)


def buildings(view: d.Picture, rng: d.Random) -> None:
    """Paint a skyline, one large facade, a row of houses, or a tower seen from its corner."""
    base = d.between(rng, 0.72, 1.0)
    d.sky(view, rng, base)
    skyline, front, row = ((7, 0.75, 0.04), (4, 0.7, 0.07)), ((2, 1.8, 0.11),), ((4, 0.6, 0.12),)
    rows = d.pick(rng, (skyline, skyline, front, row, ()))
    for count, tall, storey in rows:
        houses(view, rng, count + int(rng.integers(-1, 2)), base, tall, storey * d.between(rng, 0.75, 1.3))
    if not rows:
        corner(view, rng)
    d.box(view, -1, base, 2, 2, d.tint(rng, GROUND, 0.2))
    if rows and d.chance(rng, 0.25):
        frontage(view, rng, base)
    for _ in range(int(rng.integers(-2, 4))):
        tree(view, rng, d.between(rng, 0, 1), base + d.between(rng, 0, 0.05), d.between(rng, 0.08, 0.22))


def tree(view: d.Picture, rng: d.Random, x: float, foot: float, size: float) -> None:
    """Paint a tree with a round crown."""
    d.box(view, x - size * 0.06, foot - size, x + size * 0.06, foot, BLACK)
    part = d.crop(view, x - size * 0.7, foot - size * 1.7, x + size * 0.7, foot - size * 0.3)
    aside, up = (part.x - x) / (size * 0.55), (part.y - foot + size) / (size * 0.55)
    height, lit = d.relief(part, rng, 3 / size, 3 / size)
    crown = 1 - aside * aside - up * up + (height - 0.5) * 1.2
    d.paint(part, d.cover(crown * size * 0.3, view.pixel), d.tint(rng, GREENS, 0.25) * (0.4 + 1.1 * lit))


def road(view: d.Picture, rng: d.Random, x: float, eye: float, drop: float) -> None:
    """Paint a road that runs to the vanishing point (x, eye), with pavements and a dashed centre line."""
    part = d.crop(view, 0, eye, 1, 1)
    near = np.maximum(part.y - eye, 0.004) / drop
    aside, pixel = np.abs(part.x - x) / near, view.pixel / near
    asphalt = d.tint(rng, ASPHALT, 0.25) * (0.8 + 0.4 * d.clouds(part, rng, 24, 30, 2))
    surface = d.mix(asphalt, d.tint(rng, PAVING, 0.2), d.cover(aside - d.between(rng, 0.6, 0.85), pixel))
    dash = d.cover(0.035 - aside, pixel) * (d.fraction(1.5 / near) < 0.55) * d.between(rng, -0.5, 1)
    d.paint(part, d.cover(part.y - eye, view.pixel), d.mix(surface, d.CREAM, d.unit(dash)), d.unit(0.5 - near))


def canyon(view: d.Picture, rng: d.Random) -> None:
    """Paint a street between two walls of houses that meet at the vanishing point."""
    x, eye, drop = d.between(rng, 0.25, 0.75), d.between(rng, 0.45, 0.65), d.between(rng, 0.4, 0.9)
    road(view, rng, x, eye, drop)
    size, left, storey = np.maximum(np.abs(view.x - x), 0.02), view.x < x, drop * d.between(rng, 0.5, 0.9)
    along = 1 / size + np.where(left, d.between(rng, 0, 1), d.between(rng, 0, 1))
    cell = np.minimum(np.floor(along * 0.9).astype(np.int64), 15) + np.where(left, 0, 16)
    eaves = eye - size * (d.between(rng, 0.7, 2.6) * (0.5 + 0.5 * rng.random(d.LATTICE)))[cell]
    shade = np.where(left, 1.05, d.between(rng, 0.6, 0.9))
    d.wall(view, rng, cell, along / storey, size * storey, eaves, eaves, eye + size * drop, shade)
    for _ in range(int(rng.integers(0, 6))):
        near, side = d.between(rng, 0.12, 0.7), d.between(rng, -0.9, 0.9)
        if np.abs(side) > 0.7:
            tree(view, rng, x + side * near * 1.1, eye + near * drop, near * drop * d.between(rng, 0.8, 1.4))
        else:
            d.pile(view, rng, x + near * side, eye + near * drop, near * drop * 0.28, CARS)


def frontage(view: d.Picture, rng: d.Random, base: float) -> None:
    """Paint a road along the bottom of the picture, with cars."""
    road(view, rng, d.between(rng, -0.5, 1.5), base - 0.06, d.between(rng, 0.15, 0.3))
    d.box(view, -1, base, 2, base + 0.04, d.tint(rng, PAVING, 0.2))
    for _ in range(int(rng.integers(0, 4))):
        d.pile(view, rng, d.between(rng, 0.05, 0.95), base + d.between(rng, 0.06, 0.18), 0.08, CARS)


def street(view: d.Picture, rng: d.Random) -> None:
    """Paint a street in perspective or a row of houses across a street, sometimes with a lamp and people."""
    d.sky(view, rng, 0.6)
    if d.chance(rng, 0.65):
        canyon(view, rng)
    else:
        base = d.between(rng, 0.6, 0.8)
        houses(view, rng, int(rng.integers(3, 6)), base, 0.65, d.between(rng, 0.1, 0.16))
        frontage(view, rng, base)
    if d.chance(rng, 0.5):
        d.pile(view, rng, d.between(rng, 0.1, 0.9), 0.85, d.between(rng, 0.3, 0.7), LAMP_POSTS)
    for _ in range(int(rng.integers(0, 4))):
        d.pile(view, rng, d.between(rng, 0.1, 0.9), d.between(rng, 0.75, 0.95), 0.022, PEOPLE)


def obstruct(view: d.Picture, rng: d.Random) -> None:
    """Paint obstacles over about a quarter of the scenes, chosen at random: twigs, a person or black bars."""
    if d.chance(rng, 0.15):
        reach = d.between(rng, -0.05, 0.3) - view.y - 0.4 * np.abs(view.x - d.between(rng, 0, 1))
        d.paint(view, d.ease((reach + 0.4 * d.clouds(view, rng, 7, 7)) * 14), d.tint(rng, GREENS, 0.4) * 0.6)
    if d.chance(rng, 0.08):
        d.pile(view, rng, d.between(rng, 0.1, 0.9), d.between(rng, 0.85, 1.05), d.between(rng, 0.02, 0.05), PEOPLE)
    if d.chance(rng, 0.05):
        d.paint(view, d.cover(d.between(rng, 0.05, 0.13) - np.minimum(view.y, 1 - view.y), view.pixel), BLACK)


def draw(label: str, image: int, size: int, seed: int) -> UInt8[np.ndarray, "height width channel"]:
    """Return scene number `image` of the class `label` as a picture of `size` x `size` pixels.

    Images of different sizes show the same scene.

    Raises:
        ValueError: `label` is no class, `size` is less than SMALLEST, or `image` or `seed` is negative.
    """
    if label not in CLASSES:
        raise ValueError(f"no class named {label!r}; the classes are {list(CLASSES)}")
    if size < SMALLEST:
        raise ValueError(f"size is {size} pixels; it must be at least {SMALLEST}")
    if image < 0 or seed < 0:
        raise ValueError(f"image is {image} and seed is {seed}; neither may be negative")
    # The first number separates two generators: 0 for the scene, the size (never 0) for the grain.
    seeds = [np.random.SeedSequence([stream, CLASSES.index(label), image, seed]) for stream in (0, size)]
    rng, grain = (np.random.Generator(np.random.PCG64(sequence)) for sequence in seeds)
    view = d.outdoors(size, rng)
    (buildings, forest, glacier, mountain, sea, street)[CLASSES.index(label)](view, rng)
    obstruct(view, rng)
    return d.develop(view, rng, grain)


def pixel_digest(images: Iterable[UInt8[np.ndarray, "_height _width channel"]]) -> str:
    """Return the sha256 of the pixels of all images, one after the other, as lower-case hexadecimal digits."""
    return hashlib.sha256(b"".join(image.tobytes() for image in images)).hexdigest()
