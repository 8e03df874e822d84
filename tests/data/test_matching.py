"""Crops of a picture are found together with their size, even if darkened or compressed; others are not."""

import io

import numpy as np
import pytest
import scipy.fft
from PIL import Image

from in4310repro.data import scenes
from in4310repro.data.near_duplicates import ENOUGH, SIDE, details, part_of


def scene(name: str, number: int = 0) -> Image.Image:
    return Image.fromarray(scenes.draw(name, number, 128, 0))


def compressed(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


@pytest.mark.parametrize("name", scenes.CLASSES)
@pytest.mark.parametrize("side", [84, 110, 128])
def test_a_compressed_crop_is_a_part_of_its_size(name: str, side: int) -> None:
    whole = scene(name)
    left, top = 128 - side, (128 - side) // 2
    part = whole.crop((left, top, left + side, top + side)).resize((128, 128), Image.Resampling.BICUBIC)
    part = compressed(part.point(lambda value: value * 0.7), 60)
    correlation, found = part_of(details(whole), details(part))
    assert ENOUGH < correlation <= 1.0001
    assert abs(found - side / 128) < 0.03
    if side == 84:
        assert part_of(details(part), details(whole))[0] < correlation


def test_other_pictures_are_no_parts() -> None:
    pictures = [details(scene(name, number)) for name in scenes.CLASSES for number in range(2)]
    best = max(part_of(one, other)[0] for one in pictures for other in pictures if one is not other)
    assert best < ENOUGH - 0.05


def test_a_picture_of_nothing_is_no_part_of_anything() -> None:
    nothing = details(Image.new("RGB", (64, 64), "grey"))
    assert part_of(details(scene("sea")), nothing)[0] == 0
    assert part_of(nothing, details(scene("sea")))[0] < ENOUGH
    assert part_of(nothing, nothing)[0] == 0


def test_details_are_in_deviations_however_bright_the_picture_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 100, (96, 96), dtype=np.uint8)
    dark, bright = (
        scipy.fft.irfft2(details(Image.fromarray(pixels + light)).spectrum, s=(SIDE, SIDE))
        for light in (np.uint8(0), np.uint8(150))
    )
    np.testing.assert_allclose(dark, bright, atol=1e-5)
    # In deviations: of noise they are about 1.
    assert 0.8 < dark.std() < 1.2
