"""Counts of images by true and predicted class."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from jaxtyping import Float, Int64

from in4310repro.metrics.counts import Counts

# Needed by annotations alone, which tests check: importing this package does not load torch.
if TYPE_CHECKING or "torch" in sys.modules:
    import torch


def confusion_matrix(
    labels: Int64[torch.Tensor, " image"], scores: Float[torch.Tensor, "image label"]
) -> Int64[torch.Tensor, "label predicted"]:
    """Count images by true class (row) and predicted class (column), as `sklearn.metrics.confusion_matrix` does.

    The predicted class is the one with the highest score; ties go to the lower index. A class may have no image.
    """
    import torch

    classes = scores.shape[1]
    return torch.bincount(labels * classes + scores.argmax(dim=1), minlength=classes**2).reshape(classes, classes)


def count(labels: Int64[torch.Tensor, " image"], scores: Float[torch.Tensor, "image label"]) -> Counts:
    """Return the numbers of correct, actual and predicted images of each class, from the confusion matrix."""
    matrix = confusion_matrix(labels, scores)
    return Counts(matrix.diag().tolist(), matrix.sum(dim=1).tolist(), matrix.sum(dim=0).tolist())
