"""Probabilities out of fold: no classifier judges an image if it was fitted to that image or a copy."""

import re

import numpy as np
import pytest

from in4310repro.evaluation.doubts.folds import FOLDS, fold_of, out_of_fold

CLASSES = ("a", "b", "c")


def made_up(images: int = 90) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return features that show the class, labels and keys."""
    generator = np.random.default_rng(0)
    labels = np.arange(images) % 3
    features = (np.eye(3)[labels] * 3 + generator.standard_normal((images, 3))).astype(np.float32)
    return features, labels, [f"{place:064x}" for place in range(images)]


def test_the_fold_of_an_image_depends_on_its_key_and_the_seed_alone() -> None:
    assert fold_of("ab", 0) == fold_of("ab", 0)
    assert {fold_of(f"{place}", 0) for place in range(50)} == set(range(FOLDS))
    assert [fold_of(f"{place}", 0) for place in range(50)] != [fold_of(f"{place}", 1) for place in range(50)]


def test_the_label_of_an_image_and_of_its_copies_does_not_enter_its_probabilities() -> None:
    features, labels, keys = made_up()
    features[1], keys[1] = features[0], keys[0]
    before = out_of_fold(features, labels, keys, CLASSES)
    other = labels.copy()
    other[[0, 1]] = 2
    assert np.array_equal(out_of_fold(features, other, keys, CLASSES)[[0, 1]], before[[0, 1]])
    # A copy in another fold has seen it.
    keys[1] = next(f"{place:x}" for place in range(99) if fold_of(f"{place:x}", 0) != fold_of(keys[0], 0))
    apart = [out_of_fold(features, each, keys, CLASSES)[0] for each in (labels, other)]
    assert not np.array_equal(*apart)


def test_probabilities_are_high_for_the_class_that_features_tell() -> None:
    features, labels, keys = made_up()
    probabilities = out_of_fold(features, labels, keys, CLASSES)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert (probabilities.argmax(axis=1) == labels).mean() > 0.9


def test_a_class_of_copies_alone_is_refused() -> None:
    features, labels, keys = made_up()
    keys = ["same" if label == 1 else key for label, key in zip(labels, keys, strict=True)]
    with pytest.raises(ValueError, match=re.escape("class b has 1 readable images that are no copies of each other")):
        out_of_fold(features, labels, keys, CLASSES)
