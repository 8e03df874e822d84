"""Doubtful labels: hand-made cases of cross-validation folds, and of confident learning."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from in4310repro.evaluation.doubts.examination import (
    FOLDS,
    PENALTY,
    TOLERANCE,
    confident_classes,
    draw_folds,
    find_doubts,
    out_of_fold,
)

CLASSES = ("a", "b", "c")


def fold_of(key: str, seed: int) -> int:
    return int(draw_folds(np.zeros(1, np.int64), [key], (), seed)[0])


def confident_joint(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Count images by given and confidently assigned class; omit images without an assigned class."""
    seeming = confident_classes(labels, probabilities)
    joint = np.zeros((probabilities.shape[1],) * 2, np.int64)
    np.add.at(joint, (labels[seeming >= 0], seeming[seeming >= 0]), 1)
    return joint


def shown_classes(images: int = 90) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return features that separate three classes, the labels, and a unique key for each image."""
    generator = np.random.default_rng(0)
    labels = np.arange(images) % 3
    features = (np.eye(3)[labels] * 3 + generator.standard_normal((images, 3))).astype(np.float32)
    return features, labels, [f"{place:064x}" for place in range(images)]


def test_the_fold_of_an_image_depends_on_its_key_and_the_seed_alone() -> None:
    assert fold_of("ab", 0) == fold_of("ab", 0)
    assert {fold_of(f"{place}", 0) for place in range(50)} == set(range(FOLDS))
    assert [fold_of(f"{place}", 0) for place in range(50)] != [fold_of(f"{place}", 1) for place in range(50)]


def test_the_label_of_an_image_and_of_its_copies_does_not_enter_its_probabilities() -> None:
    features, labels, keys = shown_classes()
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
    features, labels, keys = shown_classes()
    probabilities = out_of_fold(features, labels, keys, CLASSES)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert (probabilities.argmax(axis=1) == labels).mean() > 0.9
    # The unit of the features makes no difference.
    assert np.array_equal(out_of_fold(features / 1024, labels, keys, CLASSES), probabilities)


def test_a_fit_is_given_a_strength_by_which_it_stays_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = list[type]()

    def record(**options: Any) -> LogisticRegression:
        kinds.append(type(options["C"]))
        return LogisticRegression(**options)

    monkeypatch.setattr("sklearn.linear_model.LogisticRegression", record)
    out_of_fold(*shown_classes(), CLASSES)
    assert kinds == [float] * FOLDS


def test_a_fit_goes_on_until_it_has_converged() -> None:
    generator, labels = np.random.default_rng(0), np.arange(48) % 12
    # Features of many scales, which need more steps than the 100 that are usual in scikit-learn.
    scales = generator.standard_normal((48, 48)) / np.arange(1, 49) ** 1.5
    features = (scales @ generator.standard_normal((48, 512))).astype(np.float32)
    mean, deviation = (each(features, axis=0, dtype=np.float64).astype(np.float32) for each in (np.mean, np.std))
    standard = (features - mean) / deviation
    found = out_of_fold(features, labels, ["a"] * 12 + ["b"] * 36, [f"{label}" for label in range(12)])
    fit = LogisticRegression(C=1 / (PENALTY * 36), max_iter=9999, tol=TOLERANCE).fit(standard[12:], labels[12:])
    assert fit.n_iter_ > 100
    assert np.allclose(found[:12], fit.predict_proba(standard[:12]), atol=0.02)


def test_a_class_of_copies_alone_is_refused() -> None:
    features, labels, keys = shown_classes()
    keys = ["same" if label == 1 else key for label, key in zip(labels, keys, strict=True)]
    with pytest.raises(ValueError, match=re.escape("class b has 1 readable images that are not copies of each other")):
        out_of_fold(features, labels, keys, CLASSES)


def made_up(seed: int, peak: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw labels of 4 classes, a tenth of them wrong, and probabilities that mostly favour the true class."""
    generator = np.random.default_rng(seed)
    true = generator.integers(4, size=400)
    probabilities = np.array([generator.dirichlet(np.where(np.arange(4) == each, peak, 0.5)) for each in true])
    return np.where(generator.random(400) < 0.1, (true + 1) % 4, true), probabilities


def by_loops(labels: np.ndarray, probabilities: np.ndarray) -> tuple[list[list[int]], dict[int, int]]:
    """Return confident learning's joint counts, and the predicted class of each confident image."""
    mean = [np.mean([p[j] for label, p in zip(labels, probabilities, strict=True) if label == j]) for j in range(4)]
    joint, seems = [[0] * 4 for _ in range(4)], {}
    for place, (label, p) in enumerate(zip(labels, probabilities, strict=True)):
        confident = [j for j in range(4) if p[j] >= mean[j]]
        if confident:
            seems[place] = max(confident, key=lambda j: p[j])
            joint[label][seems[place]] += 1
    return joint, seems


@pytest.mark.parametrize("seed", range(5))
def test_the_joint_is_the_one_of_the_definition(seed: int) -> None:
    labels, probabilities = made_up(seed, 2.0)
    joint, seems = by_loops(labels, probabilities)
    assert confident_joint(labels, probabilities).tolist() == joint
    expected = [
        place for place, each in seems.items() if probabilities[place, each] > probabilities[place, labels[place]]
    ]
    found = find_doubts(labels, probabilities)
    assert sorted(place for place, _ in found) == expected
    assert all(seems[place] == each for place, each in found)
    margins = [probabilities[place, each] - probabilities[place, labels[place]] for place, each in found]
    assert margins == sorted(margins, reverse=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_the_joint_and_the_doubts_are_those_of_cleanlab(seed: int) -> None:
    from cleanlab.count import compute_confident_joint
    from cleanlab.filter import find_label_issues

    labels, probabilities = made_up(seed, 9.0)
    # cleanlab takes the most probable class of all where several are confident, which is the same here.
    expected = compute_confident_joint(labels, probabilities, calibrate=False)
    assert confident_joint(labels, probabilities).tolist() == expected.tolist()
    found = {place for place, _ in find_doubts(labels, probabilities)}
    off, every = expected.sum() - expected.trace(), set(np.nonzero(probabilities.argmax(axis=1) != labels)[0].tolist())
    assert len(found) == off < len(every)
    pruned = set(np.nonzero(find_label_issues(labels, probabilities, n_jobs=1))[0].tolist())
    assert len(found & pruned) >= 0.95 * len(found)


def test_a_less_confident_class_needs_less() -> None:
    labels = np.array([0, 0, 1, 1, 0])
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.5, 0.5], [0.4, 0.6], [0.45, 0.55]])
    assert find_doubts(labels, probabilities) == [(4, 1)]
    # Of equal thresholds, the last one would not do.
    assert 0.55 < (0.9 + 0.9 + 0.45) / 3


def test_images_can_seem_to_be_of_other_classes_than_the_last() -> None:
    probabilities = np.array([[0.9, 0.05, 0.05], [0.8, 0.1, 0.1], [0.95, 0.03, 0.02]])
    assert confident_classes(np.array([0, 1, 2]), probabilities).tolist() == [0, 1, 0]
