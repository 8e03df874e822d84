"""Crops: candidates are closer than other neighbours, and the pictures decide."""

import numpy as np
from PIL import Image

from in4310repro.data import scenes
from in4310repro.evaluation.doubts.crops import candidates, crops
from in4310repro.evaluation.doubts.neighbours import Neighbours, nearest


def test_a_candidate_is_much_nearer_than_the_last_neighbour() -> None:
    images = np.array([[1, *range(4, 14)], [0, *range(4, 14)]], np.int32)
    distances = np.array([[0.7, *[0.95] * 9, 1.0], [0.85, *[0.9] * 9, 1.0]], np.float32)
    assert candidates(Neighbours(images, 1 - distances)) == [(0, 1)]
    assert candidates(Neighbours(images[1:], 1 - distances[1:])) == []


def test_in_a_small_folder_all_pairs_are_candidates() -> None:
    neighbours = nearest(np.random.default_rng(0).random((5, 3), dtype=np.float32), 11)
    assert candidates(neighbours) == [(one, other) for one in range(5) for other in range(one + 1, 5)]


def test_crops_are_found_whichever_comes_first_and_known_pairs_are_not_compared() -> None:
    pictures = [Image.fromarray(scenes.draw(name, 0, 96, 0)) for name in scenes.CLASSES]
    pictures = [pictures[0].crop((10, 5, 82, 77)), *pictures, pictures[5].crop((0, 20, 76, 96)), pictures[3]]
    neighbours = nearest(np.random.default_rng(0).random((9, 3), dtype=np.float32), 11)
    found = crops(neighbours, lambda *pair: pair == (4, 8), lambda position: pictures[position])
    assert [(crop.whole, crop.part) for crop in found] == [(1, 0), (6, 7)]
    assert [round(crop.side, 1) for crop in found] == [0.8, 0.8]
