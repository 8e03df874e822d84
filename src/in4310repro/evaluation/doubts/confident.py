"""Doubtful labels by confident learning: Northcutt, Jiang, Chuang, "Confident learning", JAIR 70 (2021)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64

Doubt = tuple[int, int]  # the position of an image, and the class that it seems to be of


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
    """Return the class that each image is confidently assigned to, or -1.

    It is the most probable of the classes whose probability reaches their threshold; -1 if no class reaches it.

    Args:
        labels: the given class of each image; each class has an image.
        probabilities: probability of each class, by a classifier that was not trained on the image.
    """
    reached = np.where(probabilities >= thresholds(labels, probabilities), probabilities, -1.0)
    return np.where(reached.max(axis=1) >= 0, reached.argmax(axis=1), -1)


def confident_joint(
    labels: Int64[np.ndarray, " image"], probabilities: Float64[np.ndarray, "image label"]
) -> Int64[np.ndarray, "label seeming"]:
    """Count images by given class and confidently assigned class; omit images without an assigned class."""
    seeming, classes = confident_classes(labels, probabilities), probabilities.shape[1]
    counted = seeming >= 0
    flat = np.bincount(labels[counted] * classes + seeming[counted], minlength=classes**2)
    return flat.reshape(classes, classes)


def doubts(labels: Int64[np.ndarray, " image"], probabilities: Float64[np.ndarray, "image label"]) -> list[Doubt]:
    """Return the images confidently assigned to a class more probable than their label, largest difference first."""
    seeming, images = confident_classes(labels, probabilities), np.arange(len(labels))
    margins = np.where(seeming >= 0, probabilities[images, seeming] - probabilities[images, labels], 0)
    ordered = np.argsort(-margins, kind="stable")[: (margins > 0).sum()]
    return [(int(position), int(seeming[position])) for position in ordered]
