"""Nearest neighbours equal those from a table of all pairs, in blocks of any size."""

import numpy as np
import pytest

from in4310repro.evaluation.doubts.neighbours import nearest


def by_all_pairs(features: np.ndarray, number: int) -> tuple[list[list[int]], np.ndarray]:
    """Return the neighbours in double precision, from the table of all pairs."""
    beyond = features.astype(np.float64) - features.astype(np.float64).mean(axis=0)
    cosines = np.array([[a @ b / np.sqrt((a @ a) * (b @ b)) for b in beyond] for a in beyond])
    orders = [sorted((j for j in range(len(row)) if j != i), key=lambda j: -row[j]) for i, row in enumerate(cosines)]
    return [order[:number] for order in orders], np.array(
        [row[order[:number]] for row, order in zip(cosines, orders, strict=True)]
    )


@pytest.mark.parametrize(("rows", "columns"), [(512, 4096), (7, 5), (1, 64), (64, 3)])
def test_neighbours_are_those_of_all_pairs(rows: int, columns: int) -> None:
    features = np.random.default_rng(0).random((60, 9), dtype=np.float32) + 5
    found = nearest(features, 8, rows_at_once=rows, columns_at_once=columns)
    images, similarities = by_all_pairs(features, 8)
    assert found.images.tolist() == images
    assert np.abs(found.similarities - similarities).max() < 1e-5


def test_features_that_are_not_centred_have_other_neighbours() -> None:
    features = np.array([[5, 6], [6, 5], [50, 61]], np.float32)
    assert nearest(features, 1).images[0, 0] == 1
    plain = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert plain[0] @ plain[2] > plain[0] @ plain[1]


def test_of_equal_images_the_first_are_the_neighbours() -> None:
    features = np.zeros((9, 2), np.float32)
    features[:, 0] = [1, 0, 1, 1, 0, 1, 1, 0, 1]
    assert nearest(features, 3).images.tolist()[0] == [2, 3, 5]
    assert nearest(features, 3).images.tolist()[4] == [1, 7, 0]


def test_an_image_has_at_most_all_others_as_neighbours() -> None:
    assert sorted(nearest(np.eye(3, dtype=np.float32), 11).images[1].tolist()) == [0, 2]
