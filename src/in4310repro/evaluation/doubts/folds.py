"""Class probabilities of each image, by a classifier trained without this image and its copies."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64, Int64
from numpy.typing import NDArray

from in4310repro.system.numerics import generator_for
from in4310repro.system.progress import SILENT, Progress

FOLDS = 5
# Of the squared weights of standardised features, beside the mean loss of an image. Of 0.007, 0.07 and 0.007 / 10 the
# second had the lowest loss out of fold on the course's images.
PENALTY = 0.07
ITERATIONS, TOLERANCE = 1000, 1e-3


def fold_of(key: str, seed: int) -> int:
    """Return the number of an image's cross-validation fold, drawn at random from seed and key."""
    return int(generator_for(seed, "fold", key).integers(FOLDS))


def out_of_fold(
    features: Float32[np.ndarray, "image feature"],
    labels: Int64[np.ndarray, " image"],
    keys: Sequence[str],
    classes: Sequence[str],
    seed: int = 0,
    progress: Progress = SILENT,
) -> Float64[np.ndarray, "image label"]:
    """Return each image's class probabilities, by logistic regression on the images of the remaining folds.

    Features are standardised by their mean and deviation over all images, which do not depend on labels. The
    regression is scikit-learn's, so the last digits depend on its version and on the machine.

    Args:
        features: the features of each image.
        labels: the class of each image, from 0.
        keys: key of each image that decides its fold; copies have equal keys.
        classes: names of the classes, for the message.
        seed: seed of the random folds.
        progress: shows the number of folds done.

    Raises:
        ValueError: all images of a class are in one fold.
    """
    # Imported here because it takes a second and other checks do not need it.
    from sklearn.linear_model import LogisticRegression

    folds = np.array([fold_of(key, seed) for key in keys])
    check_folds(labels, keys, classes, seed)
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


def check_folds(labels: Int64[np.ndarray, " image"], keys: Sequence[str], classes: Sequence[str], seed: int) -> None:
    """Raise ValueError if all images of a class are in one fold, so that none are left to train on."""
    for label, name in enumerate(classes):
        contents = {key for key, own in zip(keys, labels == label, strict=True) if own}
        if len({fold_of(key, seed) for key in contents}) < 2:
            raise ValueError(
                f"class {name} has {len(contents)} readable images that are no copies of each other, and they have to "
                f"be in two of {FOLDS} folds; 10 are enough to doubt labels by"
            )
