"""Pictures of feature maps: where each value is, what its colour says, and how large a picture is."""

import io
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from in4310repro.evaluation.feature_maps.pictures import COLOURS, LARGEST, SIDE, to_png

Colour = tuple[int, ...]


def colours_of(channels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the decoded picture [row column RGB]."""
    return np.asarray(Image.open(io.BytesIO(to_png(channels))).convert("RGB"))


def tile_by_hand(picture: NDArray[np.uint8], channel: int, channels: int, height: int, width: int) -> NDArray[np.uint8]:
    """Return the middle colour of each value of a channel; tiles are in row-major order, one pixel apart."""
    columns = next(each for each in range(1, channels + 1) if each * each >= channels)
    factor = ((picture.shape[1] + 1) // columns - 1) // width
    top, left = (channel // columns) * (height * factor + 1), (channel % columns) * (width * factor + 1)
    middle = factor // 2
    return picture[top + middle : top + height * factor : factor, left + middle : left + width * factor : factor]


def is_bluish(colours: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return whether more blue than red is in each colour."""
    return colours[..., 2] > colours[..., 0]


@pytest.mark.parametrize("shape", [(1, 5, 4), (6, 3, 7), (64, 16, 16), (10, 1, 1)], ids=str)
def test_each_channel_is_a_tile_in_row_major_order_where_blue_is_not_positive(shape: tuple[int, int, int]) -> None:
    maps = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    maps.flat[::5] = 0
    picture = colours_of(maps)
    for channel, values in enumerate(maps):
        tile = tile_by_hand(picture, channel, *shape)
        np.testing.assert_array_equal(is_bluish(tile), values <= 0)


def test_tiles_in_column_major_order_would_be_noticed() -> None:
    maps = np.random.default_rng(0).normal(size=(9, 4, 4)).astype(np.float32)
    transposed = maps.reshape(3, 3, 4, 4).swapaxes(0, 1).reshape(9, 4, 4)
    assert (is_bluish(tile_by_hand(colours_of(transposed), 1, 9, 4, 4)) != (maps[1] <= 0)).any()


def test_zero_extremes_and_values_that_are_not_finite_have_the_colours_of_the_legend() -> None:
    values = np.array([[[0, -4, 9, 1e-9], [math.nan, math.inf, -math.inf, -0.0]]], np.float32)
    tile = tile_by_hand(colours_of(values), 0, 1, 2, 4)
    expected = ["zero", "the minimum below zero", "the maximum above zero", "just above zero"]
    assert [tuple(colour) for colour in tile[0].tolist()] == [COLOURS[name] for name in expected]
    assert [tuple(colour) for colour in tile[1].tolist()] == [COLOURS["not finite"]] * 3 + [COLOURS["zero"]]
    white = colours_of(np.zeros((4, 1, 1), np.float32))[16]
    assert (white == 255).all()


def test_the_smallest_positive_number_is_not_drawn_as_zero() -> None:
    tile = tile_by_hand(colours_of(np.array([[[1e-45, 1e30, 0]]], np.float32)), 0, 1, 1, 3)
    assert is_bluish(tile).tolist() == [[False, False, True]]


def test_a_colour_means_the_same_value_in_every_channel() -> None:
    maps = np.stack([np.full((2, 2), 1), np.full((2, 2), 4)]).astype(np.float32)
    first, second = (tile_by_hand(colours_of(maps), channel, 2, 2, 2)[0, 0].tolist() for channel in (0, 1))
    # sqrt(1 / 4) is the middle between the smallest and the highest.
    middle = [(a + b) / 2 for a, b in zip(COLOURS["just above zero"], COLOURS["the maximum above zero"], strict=True)]
    assert tuple(second) == COLOURS["the maximum above zero"]
    assert first == pytest.approx(middle, abs=2)


@pytest.mark.parametrize("value", [0, 3, -3])
def test_a_map_of_one_value_has_one_colour(value: int) -> None:
    names = {0: "zero", 3: "the maximum above zero", -3: "the minimum below zero"}
    assert set(map(tuple, colours_of(np.full((1, 3, 3), value, np.float32)).reshape(-1, 3).tolist())) == {
        COLOURS[names[value]]
    }


@pytest.mark.parametrize("shape", [(2048, 7, 7), (512, 1, 1), (64, 112, 112), (3, 224, 100)], ids=str)
def test_a_picture_is_enlarged_up_to_1024_pixels(shape: tuple[int, int, int]) -> None:
    width, height = Image.open(io.BytesIO(to_png(np.zeros(shape, np.float32)))).size
    assert SIDE / 4 < max(width, height) <= SIDE


def test_a_map_that_is_larger_than_that_is_drawn_value_by_pixel() -> None:
    assert Image.open(io.BytesIO(to_png(np.zeros((64, 256, 256), np.float32)))).size == (8 * 257 - 1, 8 * 257 - 1)


def test_a_picture_of_too_many_pixels_is_refused() -> None:
    channels = np.broadcast_to(np.float32(0), (1024, 300, 300))
    with pytest.raises(ValueError, match=f"32 x 32 tiles of 300 x 300 values are too many for a picture of {LARGEST}"):
        to_png(channels)


def test_equal_maps_have_files_of_equal_bytes() -> None:
    maps = np.random.default_rng(0).normal(size=(6, 5, 5)).astype(np.float32)
    assert to_png(maps) == to_png(maps.copy())
