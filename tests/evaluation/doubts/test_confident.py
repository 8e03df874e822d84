"""Confident learning, against its definition in loops and against cleanlab."""

import numpy as np
import pytest

from in4310repro.evaluation.doubts.confident import confident_joint, doubts, thresholds


def made_up(seed: int, peak: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw labels of 4 classes, a tenth of them wrong, and probabilities that mostly favour the true class."""
    generator = np.random.default_rng(seed)
    true = generator.integers(4, size=400)
    probabilities = np.array([generator.dirichlet(np.where(np.arange(4) == each, peak, 0.5)) for each in true])
    return np.where(generator.random(400) < 0.1, (true + 1) % 4, true), probabilities


def by_loops(labels: np.ndarray, probabilities: np.ndarray) -> tuple[list[list[int]], dict[int, int]]:
    """Return the joint counts and the apparent class of each confident image, as the paper defines them."""
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
    found = doubts(labels, probabilities)
    assert sorted(place for place, _ in found) == expected
    assert all(seems[place] == each for place, each in found)
    margins = [probabilities[place, each] - probabilities[place, labels[place]] for place, each in found]
    assert margins == sorted(margins, reverse=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_the_joint_and_the_doubts_are_those_of_cleanlab(seed: int) -> None:
    from cleanlab.count import compute_confident_joint, get_confident_thresholds
    from cleanlab.filter import find_label_issues

    labels, probabilities = made_up(seed, 9.0)
    assert np.allclose(thresholds(labels, probabilities), get_confident_thresholds(labels, probabilities))
    # cleanlab takes the most probable class of all where several are confident, which is the same here.
    expected = compute_confident_joint(labels, probabilities, calibrate=False)
    assert confident_joint(labels, probabilities).tolist() == expected.tolist()
    found = {place for place, _ in doubts(labels, probabilities)}
    off, every = expected.sum() - expected.trace(), set(np.nonzero(probabilities.argmax(axis=1) != labels)[0].tolist())
    assert len(found) == off < len(every)
    pruned = set(np.nonzero(find_label_issues(labels, probabilities, n_jobs=1))[0].tolist())
    assert len(found & pruned) >= 0.95 * len(found)


def test_a_less_confident_class_needs_less() -> None:
    labels = np.array([0, 0, 1, 1, 0])
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.5, 0.5], [0.4, 0.6], [0.45, 0.55]])
    assert doubts(labels, probabilities) == [(4, 1)]
    # Of equal thresholds, the last one would not do.
    assert 0.55 < (0.9 + 0.9 + 0.45) / 3


def test_the_joint_has_a_row_and_a_column_of_every_class_though_no_image_seems_to_be_of_the_last() -> None:
    probabilities = np.array([[0.9, 0.05, 0.05], [0.8, 0.1, 0.1], [0.95, 0.03, 0.02]])
    assert confident_joint(np.array([0, 1, 2]), probabilities).tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
