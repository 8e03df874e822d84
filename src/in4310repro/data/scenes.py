"""Six classes of drawn scenes of landscape and town, whose bytes depend only on (label, image, size, seed).

The classes are easy to tell apart, but have the ambiguities of the real ones: facades in buildings and
streets, snow and rock in mountains and glaciers, water in the sea and below the ice.
"""

import numpy as np
from jaxtyping import UInt8

from in4310repro.data import drawing as d
from in4310repro.data.drawing import CREAM, Colour, Picture, ease, mix, palette, unit

CLASSES = ("buildings", "forest", "glacier", "mountain", "sea", "street")
SMALLEST = 16  # width and height, pixels
FOAM, BLACK = palette("f2f5f5 1a1a1f")
GREENS, PAVING = "335c1a 576b1f 42611f 945c1f 8c9194", "99948c"
COATS, PAINTS = "403842 8c3a30 5a6472 b0a58e", "a52a22 cccccc 2a2d36 3d5a90"
# Piles of boxes, see `Picture.pile`.
PERSON = "0.6 2.4 0 1a1a1f, 1 5 2.2 body, 0.6 6.4 5.1 997359"
BOAT = "0.35 0.9 0 f2f0d9, 0.2 1.4 0.9 f2f0d9, 0.08 2 1.4 f2f0d9, 0.7 0.1 -0.25 body"
CAR = "0.8 1.5 0.8 1a1a1f, 1 0.3 -0.1 1a1a1f, 1 0.9 0.15 body, 0.9 0.75 0.55 f26650, 0.55 0.75 0.55 body"
LAMP_POSTS = ("0.02 1 0 1a1a1f, 0.06 1 0.96 f2f0d9", "0.02 1 0 1a1a1f, 0.1 1 0.96 f2f0d9")


def glacier(view: Picture) -> None:
    """Paint an icy scene: a glacier in a valley, crevasses below mountains, a cliff at the water, or floes."""
    view.sky(0.45)
    top = view(0.25, 0.5)
    if view.chance(0.35):
        # A glacier that flows down a valley between ridges, with rubble on the ice.
        view.massif(top - 0.2, 0.3, view(0.2, 1.2), 0.4)
        view.massif(top, 0.3, view(-0.3, 0.8), 0.15)
        part = view.crop(top + 0.05)
        fall, ragged = np.maximum(part.y - top - 0.05, 0), part.clouds(8, 8)
        bend = (view.jagged(2, 2, 0.4)(fall) - 0.5) * view(0.2, 0.7)
        aside = abs(part.x - view(0.3, 0.7) - bend) - (ragged - 0.5) * 0.1
        half = view(0.02, 0.08) + view(0.05, 0.7) * fall
        rubble = ease(part.clouds(3, 3, 4) * 4 - view(1.4, 3))
        flow = mix(part.ice(8, 14), view.tint(d.ROCK, 0.2), rubble * 0.8)
        part.paint(view.cover(half - aside, 2), flow)
        return
    foot, across, down = view.pick(((1.1, 7, 14), (0.9, 14, 7), (0.7, 20, 6), (0, 1, 1)))
    view.massif(top - view(0.1, 0.3), 0.32, view(-0.3, 1.1), 0.4)
    part = view.crop(top - 0.1)
    edge = top + 0.15 * (view.jagged(4, 5, 0.55)(part.x) - 0.5)
    front = part.ice(across * view(0.7, 1.3), down * view(0.7, 1.3))
    part.paint(view.cover(np.minimum(part.y - edge, foot - part.y)), front)
    view.lake(max(foot, 0.6), view(-0.3, 1.2) if foot else 1.2)


def mountain(view: Picture) -> None:
    """Paint ridges, one behind the other, above a meadow, a wood or a lake."""
    view.sky(0.5)
    top, snow, count = view(0.08, 0.35), view(-0.4, 1.4), view.whole(1, 4)
    for k in range(count):
        view.massif(top + 0.14 * k, view(0.28, 0.45), snow - 0.2 * k, 0.25 * (count - k))
    if view.chance(0.45):
        view.hill(view(0.6, 0.8), view.tint("526b2e 3d5729 807047"), 0.15)
    if view.chance(0.3):
        view.lake(view(0.6, 0.85), view(-0.5, 0.7))
    if not view.chance(0.45):
        return
    # A row of pointed trees, with their feet at the height `base`.
    base, height, count = view(0.8, 1.0), view(0.1, 0.4), view.whole(6, 22)
    _, place, each = view.cells(count)
    tall, part = height * each(0.4, 0.6), view.crop(base - height)
    fall = (part.y - base + tall) / tall  # 0 at the tip, 1 at the foot
    reach = fall * (0.35 + 0.3 * d.fraction(fall * 6)) - abs(place - 0.5)
    mask = view.cover(reach, count) * view.cover(part.y - base + tall)
    needles = view.tint("1a331f") * (0.5 + place * 0.5 + part.clouds(40, 40, 1) / 2)
    part.paint(np.maximum(mask, view.cover(part.y - base)), needles, 0.1)


def sea(view: Picture) -> None:
    """Paint water up to the horizon, with a coast, a beach, rocks or a boat."""
    horizon = view(0.22, 0.62)
    view.sky(horizon)
    if view.chance(0.35):
        view.hill(horizon - view(0.04, 0.18), palette("475442")[0], view(0.2, 0.9))
    if view.chance(0.15):
        view.massif(horizon - 0.22, 0.25, view(-0.5, 0.8), 0.8)
    # Waves get smaller towards the horizon, with foam and a path of reflected light.
    part, waves = view.crop(horizon), view.crop(horizon)
    near = np.maximum(part.y - horizon, 0.0) / (1.02 - horizon)
    # Even steps of 1 / (height in the picture) are even steps on the water.
    waves.y = 10.0 / (near + 0.12)
    swell = mix(waves.clouds(14, 1.5, 2), waves.clouds(4, 1), near)
    water = mix(view.tint("0d406b 0a6170 3d5461"), view.horizon, 0.55 - 0.55 * ease(near * 1.5 + 0.2))
    water = water + (swell - 0.5) * view(0.25, 0.7)
    caps = ease((swell - view(0.55, 0.85)) * 9) * ease(near * 4)
    part.paint(view.cover(part.y - horizon), mix(water, FOAM, caps * 0.9))
    if view.chance(0.3):
        path = unit(1 - abs(part.x - view(0.2, 0.8)) / (0.05 + 0.25 * near))
        part.paint(path * ease(swell * 4 - 1.6) * 0.8, view.horizon * 1.15)
    if view.chance(0.25):
        view.pile(view(0.15, 0.85), horizon, view(0.03, 0.09), BOAT, COATS)
    if not view.chance(0.55):
        return
    # A beach or rocky shore across a corner, with a line of foam.
    jagged, soil = view.pick(((0.4, "4d4540"), (0.05, "ccb385"), (0.05, "b5a27c")))
    coast = jagged * (view.jagged(4, 4, 0.45)(view.x) - 0.5)
    edge = view(0.62, 0.95) + view(-0.6, 0.6) * (view.x - 0.5) + coast
    depth, grain = view.y - np.maximum(edge, horizon + 0.03), view.clouds(16, 16)
    view.paint(ease((depth + 0.03 + 0.05 * grain) * 30), FOAM)
    ground = view.tint(soil, 0.2) * (0.65 + 0.35 * ease(depth * 9)) * (0.7 + 0.6 * grain)
    view.paint(view.cover(depth), ground)


def trunks(view: Picture, count: int, foot: float, distance: float) -> None:
    """Paint a layer of tree trunks. The larger `distance` is, the more the trunks fade in haze."""
    _, place, each = view.cells(count)
    half, lean = each(0.06, 0.16), each(-0.2, 0.4)
    aside = (place - each(0.35, 0.3) - lean * (view.y - 0.5)) / half
    bark = view.tint("42362b 383029 807a70", 0.3) * (1 + 0.45 * aside)
    mask = view.cover((0.8 + 0.4 * view.y - abs(aside)) * half, count)
    mask = mask * view.cover(foot + each(0, 0.06) - view.y)
    view.paint(mask, bark * (0.6 + 0.8 * view.clouds(30, 10, 1)), distance)


def leaves(view: Picture, green: Colour, top: float, bottom: float, density: float) -> None:
    """Paint a mass of foliage between two heights."""
    part = view.crop(top, bottom)
    mass = part.clouds(view(3, 6), view(4, 8), 4)
    inside = np.minimum(np.minimum(part.y - top, bottom - part.y) * 5, 0.3)
    leaf = green * (0.3 + 1.4 * part.clouds(24, 24, 2))
    part.paint(ease((mass - 1.2 + density + inside) * 12), leaf)


def forest(view: Picture) -> None:
    """Paint layers of tree trunks below foliage, and a ground covered with leaves."""
    green, ground = view.tint(GREENS), view(0.6, 0.85)
    gaps = view.clouds(6, 6, 4) * 2.5 - view(0.6, 1.3)
    view.paint(1.0, mix(green * 0.8, view.horizon, ease(gaps)))
    trunks(view, view.whole(12, 24), ground + 0.02, 0.8)
    soil = mix(green * 0.7, view.tint("5c452e", 0.3), view(0, 1))
    floor = view.crop(ground)
    floor.paint(view.cover(floor.y - ground, 2), soil * (0.4 + 1.2 * floor.clouds(16, 26)))
    leaves(view, green, -0.2, view(0.2, 0.6), 0.7)
    trunks(view, view.whole(6, 13), ground + 0.08, 0.45)
    leaves(view, green * 1.1, -0.2, view(0.0, 0.4), view(0.6, 0.8))
    trunks(view, view.whole(2, 7), ground + 0.2, 0.1)
    leaves(view, green * 0.9, view(0.7, 0.9), 1.3, view(0.5, 0.75))


def houses(view: Picture, count: int, base: float, tall: float, storey: float) -> None:
    """Paint a row of houses from the front, with walls at most `tall` high. Some have a shaded right side."""
    cell, place, each = view.cells(count)
    shade, eaves = np.where(place > each(0.6, 0.6), 0.65, 1.0), base - tall * each(0.45, 0.55)
    roof = 4 * storey * np.maximum(each(-0.5, 1), 0) * unit(1.6 - 3.2 * abs(place - 0.5))
    view.wall(cell, view.x / storey, storey, eaves, eaves - roof, base, shade)


def buildings(view: Picture) -> None:
    """Paint a skyline, one large facade, a row of houses, or a tower seen from its corner."""
    base = view(0.72, 1.0)
    view.sky(base)
    skyline, front, row = ((7, 0.75, 0.04), (4, 0.7, 0.07)), ((2, 1.8, 0.11),), ((4, 0.6, 0.12),)
    rows = view.pick((skyline, skyline, front, row, ()))
    for count, tall, storey in rows:
        houses(view, count + view.whole(-1, 2), base, tall, storey * view(0.75, 1.3))
    if not rows:
        # A tall building seen from its corner, with two walls in perspective.
        edge, eye, storey = view(0.2, 0.8), view(0.75, 1.2), view(0.06, 0.14)
        slope = np.where(view.x < edge, view(0.3, 1.1), view(0.3, 1.1))
        size = np.maximum(1 - abs(view.x - edge) * slope, 0.2)
        eaves, foot = eye - size * (eye - view(-0.3, 0.3)), eye + size * 0.3
        shade = np.where(view.x < edge, 1.1, 0.65)
        view.wall(d.index(view.x), (view.x - edge) / size / storey, size * storey, eaves, eaves, foot, shade)
    view.box(-1, base, 2, 2, view.tint("737375 99948a 47662e", 0.2))
    if rows and view.chance(0.25):
        frontage(view, base)
    for _ in range(view.whole(-2, 4)):
        tree(view, view(0, 1), base + view(0, 0.05), view(0.08, 0.22))


def tree(view: Picture, x: float, foot: float, size: float) -> None:
    """Paint a tree with a round crown."""
    view.box(x - size * 0.06, foot - size, x + size * 0.06, foot, BLACK)
    part = view.crop(foot - size * 1.7, foot - size * 0.3, x - size * 0.7, x + size * 0.7)
    aside, up = (part.x - x) / (size * 0.55), (part.y - foot + size) / (size * 0.55)
    height, lit = part.relief(3 / size, 3 / size)
    crown = 1 - aside * aside - up * up + (height - 0.5) * 1.2
    part.paint(view.cover(crown * size * 0.3), view.tint(GREENS) * (0.4 + 1.1 * lit))


def road(view: Picture, x: float, eye: float, drop: float) -> None:
    """Paint a road that runs to the vanishing point (x, eye), with pavements and a dashed centre line."""
    part = view.crop(eye)
    near = np.maximum(part.y - eye, 0.004) / drop
    aside, pixel = abs(part.x - x) / near, view.pixel / near
    asphalt = view.tint("5c5c61") * (0.8 + 0.4 * part.clouds(24, 30, 2))
    surface = mix(asphalt, view.tint(PAVING, 0.2), d.cover(aside - view(0.6, 0.85), pixel))
    dash = d.cover(0.035 - aside, pixel) * (d.fraction(1.5 / near) < 0.55) * view(-0.5, 1)
    part.paint(view.cover(part.y - eye), mix(surface, CREAM, unit(dash)), unit(0.5 - near))


def frontage(view: Picture, base: float) -> None:
    """Paint a road along the bottom of the picture, with cars."""
    road(view, view(-0.5, 1.5), base - 0.06, view(0.15, 0.3))
    view.box(-1, base, 2, base + 0.04, view.tint(PAVING, 0.2))
    for _ in range(view.whole(0, 4)):
        view.pile(view(0.05, 0.95), base + view(0.06, 0.18), 0.08, CAR, PAINTS)


def street(view: Picture) -> None:
    """Paint a street in perspective or a row of houses across a street, sometimes with a lamp and people."""
    view.sky(0.6)
    if view.chance(0.65):
        # Two walls of houses that meet at the vanishing point (x, eye).
        x, eye, drop = view(0.25, 0.75), view(0.45, 0.65), view(0.4, 0.9)
        road(view, x, eye, drop)
        size, left, storey = np.maximum(abs(view.x - x), 0.02), view.x < x, drop * view(0.5, 0.9)
        along = 1 / size + np.where(left, view(0, 1), view(0, 1))
        cell = np.minimum(d.index(along * 0.9), 15) + np.where(left, 0, 16)
        eaves = eye - size * (view(0.7, 2.6) * (0.5 + 0.5 * view.random(d.LATTICE)))[cell]
        shade = np.where(left, 1.05, view(0.6, 0.9))
        view.wall(cell, along / storey, size * storey, eaves, eaves, eye + size * drop, shade)
        for _ in range(view.whole(0, 6)):
            near, side = view(0.12, 0.7), view(-0.9, 0.9)
            if abs(side) > 0.7:
                tree(view, x + side * near * 1.1, eye + near * drop, near * drop * view(0.8, 1.4))
            else:
                view.pile(x + near * side, eye + near * drop, near * drop * 0.28, CAR, PAINTS)
    else:
        base = view(0.6, 0.8)
        houses(view, view.whole(3, 6), base, 0.65, view(0.1, 0.16))
        frontage(view, base)
    if view.chance(0.5):
        view.pile(view(0.1, 0.9), 0.85, view(0.3, 0.7), view.pick(LAMP_POSTS))
    for _ in range(view.whole(0, 4)):
        view.pile(view(0.1, 0.9), view(0.75, 0.95), 0.022, PERSON, COATS)


def draw(label: str, image: int, size: int, seed: int) -> UInt8[np.ndarray, "height width channel"]:
    """Return scene number `image` of the class `label` as a picture of `size` x `size` pixels.

    Images of different sizes show the same scene.

    Raises:
        ValueError: `label` is not a class, `size` is less than SMALLEST, or `image` or `seed` is negative.
    """
    if label not in CLASSES:
        raise ValueError(f"unknown class {label!r}; the classes are {list(CLASSES)}")
    if size < SMALLEST:
        raise ValueError(f"size is {size} pixels; it must be at least {SMALLEST}")
    if image < 0 or seed < 0:
        raise ValueError(f"image is {image} and seed is {seed}; neither may be negative")
    # The first number separates two generators: 0 for the scene, the size (never 0) for the grain.
    number = CLASSES.index(label)
    bits = (np.random.PCG64([stream, number, image, seed]) for stream in (0, size))
    rng, grain = map(np.random.Generator, bits)
    view = Picture(size, rng)
    (buildings, forest, glacier, mountain, sea, street)[number](view)
    # Obstacles over about a quarter of the scenes: twigs, a person or black bars.
    if view.chance(0.15):
        reach = view(-0.05, 0.3) - view.y - 0.4 * abs(view.x - view(0, 1))
        view.paint(ease((reach + 0.4 * view.clouds(7, 7)) * 14), view.tint(GREENS, 0.4) * 0.6)
    if view.chance(0.08):
        view.pile(view(0.1, 0.9), view(0.85, 1.05), view(0.02, 0.05), PERSON, COATS)
    if view.chance(0.05):
        view.paint(view.cover(view(0.05, 0.13) - np.minimum(view.y, 1 - view.y)), BLACK)
    # Random changes of colour, contrast and brightness, grain, and mirroring.
    lit = view.pixels * view.gain
    grey = (lit[0] + lit[1] + lit[2]) / 3
    toned = mix(grey, lit, 0.0 if view.chance(0.07) else view(0.6, 1.2))
    bright = (toned - 0.5) * view(0.8, 1.25) + view(0.44, 0.56)
    strength = view(0, 0.25)
    speckle = (grain.random(grey.shape) + grain.random(grey.shape) - 1) * (strength * strength)
    pixels = np.floor(unit(bright + speckle) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0)
    return np.ascontiguousarray(pixels[:, ::-1] if view.chance(0.5) else pixels)
