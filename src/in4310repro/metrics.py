"""Class accuracy, average precision and their means: pure functions of labels and scores."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64, Int64


def class_accuracy(
    labels: Int64[torch.Tensor, " image"], scores: Float[torch.Tensor, "image label"]
) -> Float64[torch.Tensor, " label"]:
    """Correct images of a class / images of that class (recall), in [0, 1].

    The predicted class is the one with the highest score, the first of equals.

    Raises:
        ValueError: a class has no image, or a score is not finite.
    """
    _check(labels, scores)
    correct = scores.argmax(dim=1) == labels
    classes = scores.shape[1]
    images = torch.bincount(labels, minlength=classes)
    return torch.bincount(labels[correct], minlength=classes).double() / images.double()


def average_precision(
    labels: Int64[torch.Tensor, " image"], scores: Float[torch.Tensor, "image label"]
) -> Float64[torch.Tensor, " label"]:
    """One-vs-rest average precision of each class, in [0, 1].

    AP = sum_n (R_n - R_{n-1}) P_n over distinct scores: tied images share one threshold.
    Definition of sklearn.metrics.average_precision_score.

    Raises:
        ValueError: a class has no image, so its recall is undefined, or a score is not finite.
    """
    _check(labels, scores)
    return torch.stack([_average_precision(labels == label, scores[:, label]) for label in range(scores.shape[1])])


def _average_precision(relevant: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    ordered, order = scores.sort(descending=True, stable=True)
    # Counted in integers: CUDA has no deterministic cumulative sum of floats.
    found = relevant[order].long().cumsum(dim=0)
    # The last image of each run of equal scores closes a threshold.
    closes = torch.ones_like(relevant)
    closes[:-1] = ordered[1:] != ordered[:-1]
    positions = torch.arange(1, len(scores) + 1, device=scores.device)
    precision = found[closes].double() / positions[closes].double()
    gained = torch.diff(found[closes], prepend=found.new_zeros(1)).double()
    return (gained * precision).sum() / found[-1].double()


def _check(labels: torch.Tensor, scores: torch.Tensor) -> None:
    if not bool(scores.isfinite().all()):
        image = int((~scores.isfinite()).any(dim=1).nonzero()[0])
        raise ValueError(f"image {image} has the scores {scores[image].tolist()}; finite scores are valid")
    classes = scores.shape[1]
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"labels reach from {int(labels.min())} to {int(labels.max())}; 0 to {classes - 1} are valid")
    empty = [label for label, count in enumerate(torch.bincount(labels, minlength=classes).tolist()) if count == 0]
    if empty:
        raise ValueError(f"class {empty[0]} has no image, so its recall is undefined")


def summary(
    labels: Int64[torch.Tensor, " image"],
    scores: Float[torch.Tensor, "image label"],
    ranked: Float[torch.Tensor, "image label"] | None = None,
) -> dict[str, object]:
    """Both metrics of each class and their means, under the names of the result files.

    Average precision ranks the scores, or other ones where they are given.
    """
    accuracy = class_accuracy(labels, scores)
    precision = average_precision(labels, scores if ranked is None else ranked)
    return {
        "class_accuracy": accuracy.tolist(),
        "average_precision": precision.tolist(),
        "mean_class_accuracy": float(accuracy.mean()),
        "mean_average_precision": float(precision.mean()),
    }
