"""Doubtful labels by cross-validated class probabilities and confident learning, and a judged sample."""

import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

from in4310repro.evaluation.embedding import Features
from in4310repro.system.numerics import generator_for
from in4310repro.system.progress import SILENT, Progress

FOLDS = 5
# Factor of the squared weights of standardised features, added to the mean loss. Of 0.007, 0.07 and 0.007 / 10 the
# second had the lowest out-of-fold loss on the course's images.
PENALTY = 0.07
ITERATIONS, TOLERANCE = 1000, 1e-3
Labels = Int64[np.ndarray, " image"]  # the given class of each image, from 0
Probabilities = Float64[np.ndarray, "image label"]  # of each class, by a classifier that was not trained on the image


def out_of_fold(
    features: Features,
    labels: Labels,
    keys: Sequence[str],
    classes: Sequence[str],
    seed: int = 0,
    progress: Progress = SILENT,
) -> Probabilities:
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
    # With mean 0 and standard deviation 1 over the images; a constant feature becomes 0.
    mean, deviation = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    standard = np.subtract(features, mean.astype(np.float32), dtype=np.float32)
    standard /= np.where(deviation > 0, deviation, 1).astype(np.float32)
    probabilities = np.zeros((len(labels), len(classes)))
    with progress.task("fitting folds", FOLDS) as advance:
        for fold in range(FOLDS):
            inside = folds == fold
            if inside.any():
                model = LogisticRegression(C=1 / (PENALTY * (~inside).sum()), max_iter=ITERATIONS, tol=TOLERANCE)
                with warnings.catch_warnings(action="ignore"):
                    # A fit that has not converged still gives out-of-fold probabilities.
                    model.fit(standard[~inside], labels[~inside])
                probabilities[inside] = model.predict_proba(standard[inside])
            advance(1, "")
    return probabilities


def draw_folds(labels: Labels, keys: Sequence[str], classes: Sequence[str], seed: int) -> Labels:
    """Return each image's fold, drawn at random from `seed` and the image's key.

    Raises:
        ValueError: all images of a class are in one fold, so that none are left to train on.
    """
    folds = np.array([generator_for(seed, "fold", key).integers(FOLDS) for key in keys], np.int64)
    for label, name in enumerate(classes):
        own = np.flatnonzero(labels == label).tolist()
        if len({*folds[own]}) < 2:
            raise ValueError(
                f"class {name} has {len({keys[place] for place in own})} readable images that are no copies of each "
                f"other, all in one of {FOLDS} folds, so that none is left to learn from; add images to it: 10 are "
                "enough"
            )
    return folds


def confident_classes(labels: Labels, probabilities: Probabilities) -> Labels:
    """Return the class that each image is confidently assigned to, or -1 if there is none; each class has an image.

    This is the most probable of the classes whose probability is at least their threshold: their mean probability over
    the images labelled with them.

    Examples:
        >>> confident_classes(np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.5, 0.5], [0.25, 0.75]])).tolist()
        [0, -1, 1]
    """
    thresholds = [probabilities[labels == label, label].mean() for label in range(probabilities.shape[1])]
    reached = np.where(probabilities >= thresholds, probabilities, -1.0)
    return np.where(reached.max(axis=1) >= 0, reached.argmax(axis=1), -1)


def find_doubts(labels: Labels, probabilities: Probabilities) -> list[tuple[int, int]]:
    """Return (image index, predicted class) of each image with a confident prediction that differs from its label.

    The image with the largest difference of the two probabilities comes first.
    """
    seeming, images = confident_classes(labels, probabilities), np.arange(len(labels))
    margins = np.where(seeming >= 0, probabilities[images, seeming] - probabilities[images, labels], 0)
    ordered = np.argsort(-margins, kind="stable")[: (margins > 0).sum()]
    return [*zip(ordered.tolist(), seeming[ordered].tolist(), strict=True)]
