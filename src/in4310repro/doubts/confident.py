"""Doubtful labels by confident learning: Northcutt, Jiang, Chuang, "Confident learning", JAIR 70 (2021)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64

Doubt = tuple[int, int]  # the position of an image, and the class that it seems to be of


def thresholds(
    labels: Int64[np.ndarray, " image"], probabilities: Float64[np.ndarray, "image label"]
) -> Float64[np.ndarray, " label"]:
    """The mean probability of each class over the images that are labelled so: what is confident for that class.

    Examples:
        >>> thresholds(np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.5, 0.5], [0.25, 0.75]])).tolist()
        [0.7, 0.75]
    """
    return np.array([probabilities[labels == label, label].mean() for label in range(probabilities.shape[1])])


def confident_classes(
    labels: Int64[np.ndarray, " image"], probabilities: Float64[np.ndarray, "image label"]
) -> Int64[np.ndarray, " image"]:
    """The class that each image seems to be of, -1 where it is confidently of none.

    It is the most probable one of those whose probability reaches its threshold.

    Args:
        labels: the given class of each image; each class has an image.
        probabilities: of each class, from a classifier that has not seen the image.
    """
    reached = np.where(probabilities >= thresholds(labels, probabilities), probabilities, -1.0)
    return np.where(reached.max(axis=1) >= 0, reached.argmax(axis=1), -1)


def confident_joint(
    labels: Int64[np.ndarray, " image"], probabilities: Float64[np.ndarray, "image label"]
) -> Int64[np.ndarray, "label seeming"]:
    """Images by their given class and the class that they seem to be of; those that seem of none are left out."""
    seeming, classes = confident_classes(labels, probabilities), probabilities.shape[1]
    counted = seeming >= 0
    flat = np.bincount(labels[counted] * classes + seeming[counted], minlength=classes**2)
    return flat.reshape(classes, classes)


def doubts(labels: Int64[np.ndarray, " image"], probabilities: Float64[np.ndarray, "image label"]) -> list[Doubt]:
    """The images that seem to be of a class that is more probable than the given one, by how much more it is."""
    seeming, images = confident_classes(labels, probabilities), np.arange(len(labels))
    margins = np.where(seeming >= 0, probabilities[images, seeming] - probabilities[images, labels], 0)
    ordered = np.argsort(-margins, kind="stable")[: (margins > 0).sum()]
    return [(int(position), int(seeming[position])) for position in ordered]
