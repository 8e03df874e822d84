"""Average precision, a metric that depends only on how the scores of a class rank the images."""

import math
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

ImageLabels: TypeAlias = Int64[Tensor, " image"]
ImageScores: TypeAlias = Float[Tensor, "image label"]
Numbers: TypeAlias = Int64[Tensor, " n"]


class Ranking(NamedTuple):
    """True labels, scores by which the images are ranked for each class, and the classes to measure."""

    labels: ImageLabels
    scores: ImageScores
    classes: list[int]


def average_precisions(ranking: Ranking) -> list[float]:
    """Return the one-vs-rest average precision of each class; see `average_precision`."""
    values = []
    for label in ranking.classes:
        added, true_positives, predicted = thresholds(ranking.labels == label, ranking.scores[:, label])
        precision = true_positives.double() / predicted.double()
        # Rounded once: a sum in vectors has other bits on another processor.
        values.append(math.fsum((added.double() * precision).tolist()) / int(true_positives[-1]))
    return values


def thresholds(relevant: Bool[Tensor, " image"], scores: Float[Tensor, " image"]) -> tuple[Numbers, Numbers, Numbers]:
    """Count images at each distinct score s of a class, in decreasing order of s.

    Returns three tensors with one entry for each s: the number of images of the class with score s, the number of
    images of the class with a score >= s, and the number of all images with a score >= s.
    """
    ordered, order = scores.sort(descending=True, stable=True)
    # Counted in integers: CUDA has no deterministic cumulative sum of floats.
    true_positives = relevant[order].long().cumsum(dim=0)
    # A threshold lies after the last of the images with equal scores.
    at_threshold = torch.ones_like(relevant)
    at_threshold[:-1] = ordered[1:] != ordered[:-1]
    predicted = torch.arange(1, len(scores) + 1, device=scores.device)[at_threshold]
    true_positives = true_positives[at_threshold]
    return torch.diff(true_positives, prepend=true_positives.new_zeros(1)), true_positives, predicted
