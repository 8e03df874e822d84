"""Look-alikes: two images of different classes that are each other's nearest and no copies."""

import numpy as np

from in4310repro.evaluation.doubts.look_alikes import look_alikes
from in4310repro.evaluation.doubts.neighbours import Neighbours

# 0 and 1 are nearest to each other; 2 is nearest to 0, but not the other way round; 3 and 4 are of one class.
IMAGES = np.array([[1, 2], [0, 2], [0, 1], [4, 0], [3, 0]], np.int32)
SIMILARITIES = np.array([[0.9, 0.5], [0.9, 0.4], [0.5, 0.4], [0.8, 0.1], [0.8, 0.1]], np.float32)


def test_only_mutual_neighbours_of_different_classes_are_look_alikes() -> None:
    neighbours, labels = Neighbours(IMAGES, SIMILARITIES), np.array([0, 1, 1, 1, 1])
    assert look_alikes(neighbours, labels, [0, 1, 2, 3, 4]) == [(0, 1, SIMILARITIES[0, 0])]
    assert look_alikes(neighbours, np.zeros(5, np.int64), [0, 1, 2, 3, 4]) == []


def test_a_copy_is_no_neighbour_and_the_next_image_is() -> None:
    neighbours = Neighbours(IMAGES, SIMILARITIES)
    assert look_alikes(neighbours, np.array([0, 0, 1, 1, 1]), [0, 0, 2, 3, 4]) == [(0, 2, SIMILARITIES[0, 1])]


def test_an_image_all_of_whose_known_neighbours_are_copies_is_no_look_alike() -> None:
    # 1 is nearest to 0, and of 1 a copy alone is known.
    neighbours = Neighbours(np.array([[1], [2], [1]], np.int32), np.array([[0.5], [0.9], [0.9]], np.float32))
    assert look_alikes(neighbours, np.array([0, 1, 1]), [0, 1, 1]) == []
    assert look_alikes(neighbours, np.array([0, 1, 0]), [0, 1, 2]) == [(1, 2, float(np.float32(0.9)))]


def test_the_most_similar_pair_comes_first() -> None:
    images, similarities = np.array([[1], [0], [3], [2]], np.int32), np.array([[0.1], [0.1], [0.7], [0.7]], np.float32)
    pairs = look_alikes(Neighbours(images, similarities), np.array([0, 1, 0, 1]), [0, 1, 2, 3])
    assert [pair[:2] for pair in pairs] == [(2, 3), (0, 1)]
