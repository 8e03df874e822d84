"""Checks of the labels and scores from which metrics are computed."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64


def check(
    labels: Int64[torch.Tensor, " image"], scores: Float[torch.Tensor, "image label"], *, every_class: bool = True
) -> None:
    """Raise ValueError unless labels are class indices, scores are finite floats, and their shapes fit together.

    Args:
        labels: the true class of each image, from 0.
        scores: a score for each image and class.
        every_class: whether every class must have images.

    Raises:
        ValueError: the message names the first wrong value and what would be valid.
    """
    _check_shapes(labels, scores)
    if not bool(scores.isfinite().all()):
        image = int((~scores.isfinite()).any(dim=1).nonzero()[0])
        raise ValueError(f"image {image} has the scores {scores[image].tolist()}; finite scores are valid")
    classes = scores.shape[1]
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"labels reach from {int(labels.min())} to {int(labels.max())}; 0 to {classes - 1} are valid")
    empty = [label for label, count in enumerate(torch.bincount(labels, minlength=classes).tolist()) if count == 0]
    if empty and every_class:
        raise ValueError(f"class {empty[0]} has no image, so its recall is undefined")


def _check_shapes(labels: torch.Tensor, scores: torch.Tensor) -> None:
    """Raise ValueError unless each image has one integer label and one row of floating-point scores."""
    for name, value in (("labels", labels), ("scores", scores)):
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"{name} is of type {type(value).__name__}; a torch.Tensor is valid")
    if labels.ndim != 1 or labels.dtype not in (torch.int8, torch.int16, torch.int32, torch.int64):
        described = f"labels has shape {tuple(labels.shape)} of {labels.dtype}"
        raise ValueError(f"{described}; one integer for each image is valid, the index of its class")
    if scores.ndim != 2 or not scores.is_floating_point():
        described = f"scores has shape {tuple(scores.shape)} of {scores.dtype}"
        raise ValueError(f"{described}; floating-point values of shape (images, classes) are valid")
    if len(labels) != len(scores):
        raise ValueError(f"there are {len(labels)} labels and scores of {len(scores)} images; as many are valid")
    if scores.numel() == 0:
        raise ValueError(f"scores has shape {tuple(scores.shape)}; at least one image and one class are needed")
