"""Drawing of one image's feature map: its channels as tiles of a grid, in a PNG with a palette."""

import io
import math

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

SHADES = 126  # of values that are not positive, and as many of positive ones
NOT_FINITE, GAP = 2 * SHADES, 2 * SHADES + 1  # indices in the palette
ZERO, LOWEST = (70, 130, 255), (8, 16, 60)
SMALLEST, HIGHEST = (60, 36, 10), (255, 222, 130)  # of positive values
COLOURS = {
    "zero": ZERO,
    "the minimum below zero": LOWEST,
    "just above zero": SMALLEST,
    "the maximum above zero": HIGHEST,
    "not finite": (255, 0, 200),
    "between tiles": (255, 255, 255),
}
SIDE = 1024  # pixels; a picture is enlarged up to this width and height
LARGEST_FACTOR = 16
LARGEST = 2**26  # pixels


def to_png(channels: Float32[np.ndarray, "channel height width"]) -> bytes:
    """Return the channels of one image's feature map as a PNG file, in a grid in row-major order.

    Each value is a square of equal pixels, and tiles are one pixel apart. Values <= 0 are blue, positive ones from
    brown to yellow. The shade is sqrt(|value| / m), where m is the magnitude of the lowest or of the highest finite
    value of the whole map, so that a colour means the same value in each channel.

    Raises:
        ValueError: the picture would have more than 2^26 pixels.
    """
    picture = Image.fromarray(_grid(to_shades(channels)))
    steps = np.linspace(0, 1, SHADES)[:, None]
    ramps = [
        np.rint((1 - steps) * start + steps * end)
        for start, end in map(np.array, ((ZERO, LOWEST), (SMALLEST, HIGHEST)))
    ]
    palette = np.concatenate([*ramps, [COLOURS["not finite"], COLOURS["between tiles"]]])
    picture.putpalette(palette.astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, format="png")
    return buffer.getvalue()


def to_shades(values: Float32[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Return the place of each value in the palette: 0 for zero, 125 minimum, 126 just above zero, 251 maximum."""
    finite = np.isfinite(values)
    known = np.where(finite, values, 0).astype(np.float64)
    below, above = (np.rint(_relative(each.clip(min=0)) * (SHADES - 1)) for each in (-known, known))
    return np.where(finite, np.where(known > 0, SHADES + above, below), NOT_FINITE).astype(np.uint8)


def _relative(magnitudes: np.ndarray) -> np.ndarray:
    """Return the square roots of the values as shares of the highest one; 0 where all are 0."""
    highest = magnitudes.max(initial=0)
    return np.sqrt(magnitudes / highest) if highest else magnitudes


def _grid(shades: UInt8[np.ndarray, "channel height width"]) -> UInt8[np.ndarray, "row column"]:
    channels, height, width = shades.shape
    columns = math.ceil(math.sqrt(channels))
    rows = math.ceil(channels / columns)
    room = min(SIDE // columns - 1, SIDE // rows - 1)
    factor = max(1, min(LARGEST_FACTOR, room // max(height, width)))
    tall, wide = height * factor + 1, width * factor + 1
    if rows * tall * columns * wide > LARGEST:
        raise ValueError(
            f"{rows} x {columns} tiles of {height} x {width} values are too many for a picture of {LARGEST} pixels; "
            "choose other modules"
        )
    tiles = np.full((rows * columns, tall, wide), GAP, np.uint8)
    tiles[:channels, :-1, :-1] = shades.repeat(factor, axis=1).repeat(factor, axis=2)
    # The gap after the last row and column is left out.
    return tiles.reshape(rows, columns, tall, wide).swapaxes(1, 2).reshape(rows * tall, columns * wide)[:-1, :-1]
