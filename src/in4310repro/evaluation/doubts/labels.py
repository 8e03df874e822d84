"""Doubtful labels by cross-validated class probabilities and confident learning, and a judged sample."""

import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64, Int64
from numpy.typing import NDArray

from in4310repro.system.numerics import generator_for
from in4310repro.system.progress import SILENT, Progress

FOLDS = 5
# Factor of the squared weights of standardised features, added to the mean loss. Of 0.007, 0.07 and 0.007 / 10 the
# second had the lowest out-of-fold loss on the course's images.
PENALTY = 0.07
ITERATIONS, TOLERANCE = 1000, 1e-3


def fold_of(key: str, seed: int) -> int:
    """Return the index of an image's cross-validation fold, drawn at random from `seed` and the image's `key`."""
    return int(generator_for(seed, "fold", key).integers(FOLDS))


def out_of_fold(
    features: Float32[np.ndarray, "image feature"],
    labels: Int64[np.ndarray, " image"],
    keys: Sequence[str],
    classes: Sequence[str],
    seed: int = 0,
    progress: Progress = SILENT,
) -> Float64[np.ndarray, "image label"]:
    """Return each image's class probabilities, predicted by logistic regression with cross-validation.

    The regression that predicts a fold is trained on the images of the other folds. Features are standardised by
    their mean and standard deviation over all images, since this uses no labels. The regression is that of
    scikit-learn, so the last digits depend on its version and on the machine.

    Args:
        features: the features of each image.
        labels: the class of each image, from 0.
        keys: a text for each image, which decides its fold; copies of an image have equal keys.
        classes: names of the classes, for the error message.
        seed: seed of the random folds.
        progress: shows the number of folds done.

    Raises:
        ValueError: all images of a class are in one fold.
    """
    # Imported here because it takes a second and other checks do not need it.
    from sklearn.linear_model import LogisticRegression

    folds = draw_folds(labels, keys, classes, seed)
    standard = _standardise(features)
    probabilities = np.zeros((len(labels), len(classes)))
    with progress.task("fitting folds", FOLDS) as advance:
        for fold in range(FOLDS):
            inside = folds == fold
            if inside.any():
                strength = 1 / (PENALTY * int((~inside).sum()))
                model = LogisticRegression(C=strength, max_iter=ITERATIONS, tol=TOLERANCE)
                with warnings.catch_warnings(action="ignore"):
                    # A fit that has not converged still gives out-of-fold probabilities.
                    model.fit(standard[~inside], labels[~inside])
                probabilities[inside] = model.predict_proba(standard[inside])
            advance(1, "")
    return probabilities


def _standardise(features: Float32[np.ndarray, "image feature"]) -> Float32[np.ndarray, "image feature"]:
    """Return features with mean 0 and standard deviation 1 over the images; a constant feature becomes 0."""
    mean, deviation = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    standard: NDArray[np.float32] = np.subtract(features, mean.astype(np.float32), dtype=np.float32)
    standard /= np.where(deviation > 0, deviation, 1).astype(np.float32)
    return standard


def draw_folds(
    labels: Int64[np.ndarray, " image"], keys: Sequence[str], classes: Sequence[str], seed: int
) -> Int64[np.ndarray, " image"]:
    """Return each image's fold. Raise ValueError if all images of a class are in one: none are left to train on."""
    folds = np.array([fold_of(key, seed) for key in keys], np.int64)
    for label, name in enumerate(classes):
        own = np.flatnonzero(labels == label).tolist()
        if len({*folds[own].tolist()}) < 2:
            raise ValueError(
                f"class {name} has {len({keys[place] for place in own})} readable images that are no copies of each "
                f"other, all in one of {FOLDS} folds, so that none is left to learn from; add images to it: 10 are "
                "enough"
            )
    return folds


def thresholds(
    labels: Int64[np.ndarray, " image"], probabilities: Float64[np.ndarray, "image label"]
) -> Float64[np.ndarray, " label"]:
    """Return each class's confidence threshold: its mean probability over the images labelled with it.

    Examples:
        >>> thresholds(np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.5, 0.5], [0.25, 0.75]])).tolist()
        [0.7, 0.75]
    """
    return np.array([probabilities[labels == label, label].mean() for label in range(probabilities.shape[1])])


def confident_classes(
    labels: Int64[np.ndarray, " image"], probabilities: Float64[np.ndarray, "image label"]
) -> Int64[np.ndarray, " image"]:
    """Return the class that each image is confidently assigned to, or -1 if there is none.

    This is the most probable of the classes whose probability is at least their threshold (see `thresholds`).

    Args:
        labels: the given class of each image; each class has an image.
        probabilities: probability of each class, by a classifier that was not trained on the image.
    """
    reached = np.where(probabilities >= thresholds(labels, probabilities), probabilities, -1.0)
    return np.where(reached.max(axis=1) >= 0, reached.argmax(axis=1), -1)


def count_pairs(
    rows: Int64[np.ndarray, " image"], columns: Int64[np.ndarray, " image"], classes: int
) -> Int64[np.ndarray, "row column"]:
    """Count images by the class in `rows` and the class in `columns`."""
    return np.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes)


def find_doubts(
    labels: Int64[np.ndarray, " image"], probabilities: Float64[np.ndarray, "image label"]
) -> list[tuple[int, int]]:
    """Return (image index, predicted class) of each image with a confident prediction that differs from its label.

    The image with the largest difference of the two probabilities comes first.
    """
    seeming, images = confident_classes(labels, probabilities), np.arange(len(labels))
    margins = np.where(seeming >= 0, probabilities[images, seeming] - probabilities[images, labels], 0)
    ordered = np.argsort(-margins, kind="stable")[: (margins > 0).sum()]
    return [(int(position), int(seeming[position])) for position in ordered]
