"""The map of features: images with near features are near on the plane, unlike on a random map."""

import numpy as np
import pytest
from numpy.typing import NDArray

from in4310repro.evaluation.doubts.plane import plane

CENTRES = np.random.default_rng(1).standard_normal((3, 40)) * 6
LABELS = np.arange(60) % 3
FEATURES = (CENTRES[LABELS] + np.random.default_rng(2).standard_normal((60, 40))).astype(np.float32)


def share_of_neighbours_in_class(places: NDArray[np.float64]) -> float:
    distances = np.linalg.norm(places[:, None] - places[None], axis=2) + 9 * np.eye(len(places))
    return float((LABELS[distances.argmin(axis=1)] == LABELS).mean())


def test_images_that_are_near_by_their_features_are_near_on_the_plane() -> None:
    places = plane(FEATURES, seed=0)
    assert (places.min(axis=0).tolist(), places.max(axis=0).tolist()) == ([0, 0], [1, 1])
    assert share_of_neighbours_in_class(places) == 1
    assert share_of_neighbours_in_class(np.random.default_rng(0).random((60, 2))) < 0.6


def test_a_seed_gives_one_map() -> None:
    assert np.array_equal(plane(FEATURES[:20], seed=0), plane(FEATURES[:20], seed=0))


@pytest.mark.parametrize(("images", "places"), [(0, 0), (4, 0), (5, 5)])
def test_few_images_have_a_map_or_none(images: int, places: int) -> None:
    assert plane(FEATURES[:images], seed=0).shape == (places, 2)


def test_images_that_are_all_alike_lie_in_one_place() -> None:
    assert (plane(np.ones((9, 4), np.float32), seed=0) == 0.5).all()
