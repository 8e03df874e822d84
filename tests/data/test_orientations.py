"""The hashes of eight orientations, from one transform, equal imagehash's hashes of the turned pictures."""

import imagehash
import numpy as np
import pytest
from PIL import Image

from in4310repro.data import scenes
from in4310repro.data.orientations import INVERSE, NAMES, ORIENTATIONS, hashes, turn


@pytest.mark.parametrize("name", scenes.CLASSES)
def test_hashes_are_those_of_the_turned_images(name: str) -> None:
    image = Image.fromarray(scenes.draw(name, 0, 96, 0)).resize((96, 80))
    found = hashes(image)
    distances = [
        (value ^ int(str(imagehash.phash(turn(image, orientation))), 16)).bit_count()
        for orientation, value in enumerate(found)
    ]
    # Resized first across and then down, or the other way round: pixels differ by one.
    assert max(distances) <= 2
    assert distances[0] == 0
    assert len(set(found)) == len(NAMES) == len(ORIENTATIONS) == 8


def test_the_inverse_turns_back() -> None:
    image = Image.fromarray(scenes.draw("sea", 0, 32, 0))
    for orientation in range(8):
        back = turn(turn(image, orientation), INVERSE[orientation])
        assert np.array_equal(np.asarray(back), np.asarray(image))


def test_a_grey_surface_has_hashes() -> None:
    assert len(hashes(Image.new("RGB", (50, 40), "grey"))) == 8
