"""The hashes of eight orientations, from one transform, equal imagehash's hashes of the turned pictures."""

import imagehash
import numpy as np
import pytest
from PIL import Image

from in4310repro.data import scenes
from in4310repro.data.near_duplicates import INVERSE, ORIENTATION_NAMES, ORIENTATIONS, perceptual_hashes, turn_image


@pytest.mark.parametrize("name", scenes.CLASSES)
def test_hashes_are_those_of_the_turned_images(name: str) -> None:
    image = Image.fromarray(scenes.draw(name, 0, 96, 0)).resize((96, 80))
    found = perceptual_hashes(image)
    distances = [
        (value ^ int(str(imagehash.phash(turn_image(image, orientation))), 16)).bit_count()
        for orientation, value in enumerate(found)
    ]
    # Resized first across and then down, or the other way round: pixels differ by one.
    assert max(distances) <= 2
    assert distances[0] == 0
    assert len(set(found)) == len(ORIENTATION_NAMES) == len(ORIENTATIONS) == 8


def test_the_inverse_turns_back() -> None:
    image = Image.fromarray(scenes.draw("sea", 0, 32, 0))
    for orientation in range(8):
        back = turn_image(turn_image(image, orientation), INVERSE[orientation])
        assert np.array_equal(np.asarray(back), np.asarray(image))


def test_a_grey_surface_has_hashes() -> None:
    assert len(perceptual_hashes(Image.new("RGB", (50, 40), "grey"))) == 8
