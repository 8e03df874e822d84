"""Metrics computed from labels and scores: single metrics by class, and the record of all metrics of a run."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from jaxtyping import Float64, Int, Int64
from torch import Tensor

from in4310repro.metrics.counts import Counts, recall
from in4310repro.metrics.ranking import ImageLabels, ImageScores, Ranking, average_precisions
from in4310repro.metrics.record import ClassMetrics
from in4310repro.metrics.table import COUNTS, METRICS, RANKING, SCALARS, SCORES


def check(labels: ImageLabels, scores: ImageScores, *, every_class: bool = True) -> None:
    """Raise ValueError unless labels are class indices, scores are finite floats, and their shapes fit.

    Args:
        labels: the true class of each image, from 0.
        scores: a score for each image and class.
        every_class: whether every class must have images.

    Raises:
        ValueError: a label, a score or a shape is invalid, or a class has no image and `every_class` is
            true. The message says what would be valid.
    """
    _check_shapes(labels, scores)
    if not bool(scores.isfinite().all()):
        image = int((~scores.isfinite()).any(dim=1).nonzero()[0])
        raise ValueError(f"image {image} has the scores {scores[image].tolist()}; they must be finite")
    classes = scores.shape[1]
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"labels are {int(labels.min())} to {int(labels.max())}; they must be 0 to {classes - 1}")
    if every_class and 0 in (counts := torch.bincount(labels, minlength=classes).tolist()):
        wrong = f"class {counts.index(0)} has no image, so its recall is undefined"
        raise ValueError(f"{wrong}; at least 1 image of each class is needed")


def _check_shapes(labels: Tensor, scores: Tensor) -> None:
    """Raise ValueError unless each image has one integer label and one row of floating-point scores."""
    for name, value in (("labels", labels), ("scores", scores)):
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} is of type {type(value).__name__}; it must be a torch.Tensor")
    of_labels, of_scores = (f"has shape {tuple(each.shape)} of {each.dtype}" for each in (labels, scores))
    if labels.ndim != 1 or labels.dtype not in (torch.int8, torch.int16, torch.int32, torch.int64):
        raise ValueError(f"labels {of_labels}; they must be one integer for each image, the index of its class")
    if scores.ndim != 2 or not scores.is_floating_point():
        raise ValueError(f"scores {of_scores}; they must be floating-point values of shape (images, classes)")
    if len(labels) != len(scores):
        raise ValueError(f"there are {len(labels)} labels and scores of {len(scores)} images; each image needs both")
    if scores.numel() == 0:
        raise ValueError(f"scores has shape {tuple(scores.shape)}; at least one image and one class are needed")


def class_accuracy(labels: ImageLabels, scores: ImageScores) -> Float64[Tensor, " label"]:
    """Return the accuracy (recall) of each class: its correctly predicted images divided by all its images.

    The predicted class is the one with the highest score; ties go to the lower index. The result is equal to that
    of `sklearn.metrics.recall_score(labels, predicted, average=None)`. The mean over the classes, the mean class
    accuracy, is the balanced accuracy: `sklearn.metrics.balanced_accuracy_score(labels, predicted)`.

    Args:
        labels: the true class of each image, from 0.
        scores: a score for each image and class; softmax or logits, which have the same maximum.

    Raises:
        ValueError: a class has no image, a score is not finite, a label is outside the classes, or there is not
            exactly one integer label and one row of scores for each image.

    Examples:
        Two of three images of class 0 are predicted correctly, and the only image of class 1 is, too:

        >>> labels = torch.tensor([0, 0, 0, 1])
        >>> scores = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
        >>> [round(value, 4) for value in class_accuracy(labels, scores).tolist()]
        [0.6667, 1.0]
    """
    check(labels, scores)
    return torch.tensor(recall(count(labels, scores)), dtype=torch.float64, device=scores.device)


def average_precision(labels: ImageLabels, scores: ImageScores) -> Float64[Tensor, " label"]:
    """Return the one-vs-rest average precision of each class, in [0, 1].

    AP = sum_n (R_n - R_{n-1}) P_n, where P_n and R_n are precision and recall if the n-th highest distinct score
    is the threshold. Images with equal scores share one threshold. This is also the definition of
    `sklearn.metrics.average_precision_score`.

    Args:
        labels: the true class of each image, from 0.
        scores: a score for each image and class. Softmax and logits rank the images of a class differently.

    Raises:
        ValueError: a class has no image, so its recall is undefined; a score is not finite; a label is outside
            the classes; or there is not exactly one integer label and one row of scores for each image.

    Examples:
        The images of class 0 have ranks 1 and 3 among the scores of class 0, so that AP is (1/1 + 2/3) / 2. The
        image of class 1 has rank 2 among the scores of class 1, so that AP is 1/2.

        >>> labels = torch.tensor([0, 1, 0])
        >>> scores = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
        >>> [round(value, 4) for value in average_precision(labels, scores).tolist()]
        [0.8333, 0.5]
    """
    check(labels, scores)
    values = average_precisions(Ranking(labels, scores, list(range(scores.shape[1]))))
    return torch.tensor(values, dtype=torch.float64, device=scores.device)


def summary(
    labels: ImageLabels, scores: ImageScores, ranked: ImageScores | None = None, *, every_class: bool = True
) -> ClassMetrics:
    """Return all metrics in METRICS as a dict; its keys are the names of the metrics in the result files.

    Args:
        labels: the true class of each image, from 0.
        scores: a score for each image and class.
        ranked: scores for the average precision alone, such as logits; None to rank by `scores`.
        every_class: True to refuse a class without images; False to leave it out of lists and means.

    Raises:
        ValueError: a class has no image and `every_class` is true, a score is not finite, a label is outside the
            classes, or labels, scores and ranked scores have shapes that do not fit together.
    """
    if ranked is not None and ranked.shape != scores.shape:
        raise ValueError(
            f"ranked has shape {tuple(ranked.shape)}, and scores {tuple(scores.shape)}; the shapes must be equal"
        )
    ranked = scores if ranked is None else ranked
    for each in (scores, ranked):
        check(labels, each, every_class=every_class)
    present = sorted(set(labels.tolist()))
    counts = count(labels, scores).of(present)
    return class_metrics(_evaluate(counts, Ranking(labels, ranked, present), Ranking(labels, scores, present)))


def _evaluate(counts: Counts, ranking: Ranking, scores: Ranking) -> dict[str, Any]:
    values: dict[str, Any] = {COUNTS: counts, RANKING: ranking, SCORES: scores}
    for name, metric in METRICS.items():
        values[name] = metric.function(values[metric.reads])
    return values


def class_metrics(record: Mapping[str, Any]) -> ClassMetrics:
    """Return the fields of a record that are metrics; records of older versions may lack some metrics."""
    return cast("ClassMetrics", {name: record[name] for name in METRICS if name in record})


def line(record: Mapping[str, Any]) -> str:
    """Return a record's single-number metrics as a line of text; metrics with a value per class are left out.

    Examples:
        >>> line({"mean_class_accuracy": 0.5, "mean_average_precision": 0.75, "epoch": 3})
        'mean class accuracy 0.5000, mAP 0.7500'
    """
    return ", ".join(f"{each.label} {record[name]:.4f}" for name, each in SCALARS.items() if name in record)


def ends(labels: ImageLabels, low: ImageScores, high: ImageScores) -> tuple[ClassMetrics, ClassMetrics]:
    """Return lower and upper bounds of all metrics, given lower and upper bounds of every score.

    Metrics computed from scores or their order, such as average precision, are worst if each image has its lowest
    score for its own class and its highest scores for all others, and best in the opposite case.

    Metrics computed from counts rise with the number of correct predictions of a class, and fall with the
    number of images of other classes that are predicted as the class. The lower bounds assume the largest
    number of such images that the scores allow, and the upper bounds the smallest. The bounds of other metrics
    computed from counts are the ends of their range.

    Args:
        labels: the true class of each image, from 0.
        low: the lowest score of each image and class.
        high: the highest score of each image and class.

    Raises:
        ValueError: a class has no image, or a score is not finite.
        RuntimeError: a label is not the index of a class, or the shapes do not fit together.
    """
    for each in (low, high):
        check(labels, each)
    own = torch.nn.functional.one_hot(labels.long(), low.shape[1]).bool()
    worst, best = torch.where(own, low, high), torch.where(own, high, low)
    bounds: list[dict[str, Any]] = []
    # The largest and the smallest number of images of others that the scores allow to be predicted as a class.
    for scores, taken in ((worst, high >= _best_of_others(low)), (best, low > _best_of_others(high))):
        counts, wrong = count(labels, scores), (taken & ~own).sum(dim=0)
        ranking = Ranking(labels, scores, list(range(low.shape[1])))
        predicted = (torch.tensor(counts.right) + wrong.cpu()).tolist()
        bounds.append(_evaluate(counts._replace(predicted=predicted), ranking, ranking))
    for name, metric in METRICS.items():
        if not metric.follows_counts:
            bounds[0][name], bounds[1][name] = metric.lowest, metric.highest
        elif not metric.higher_is_better:
            bounds[0][name], bounds[1][name] = bounds[1][name], bounds[0][name]
    return class_metrics(bounds[0]), class_metrics(bounds[1])


def _best_of_others(scores: ImageScores) -> ImageScores:
    """Return, for each image and class, the highest score among all classes except this one."""
    none = torch.full_like(scores[:, :1], -torch.inf)
    top = torch.cat([scores, none], dim=1).topk(2, dim=1)
    is_top = torch.zeros_like(scores, dtype=torch.bool).scatter(1, top.indices[:, :1], value=True)
    return torch.where(is_top, top.values[:, 1:], top.values[:, :1])


def confusion_matrix(labels: Int[Tensor, " image"], scores: ImageScores) -> Int64[Tensor, "label predicted"]:
    """Count images by true class (row) and predicted class (column), as `sklearn.metrics.confusion_matrix` does.

    The predicted class is the one with the highest score; ties go to the lower index. A class may have no image.
    """
    classes = scores.shape[1]
    # Products of small integers would overflow.
    predicted = labels.long() * classes + scores.argmax(dim=1)
    return torch.bincount(predicted, minlength=classes**2).reshape(classes, classes)


def count(labels: ImageLabels, scores: ImageScores) -> Counts:
    """Count, for each class, correctly predicted images, actual images and predicted images.

    The counts are taken from the confusion matrix.
    """
    matrix = confusion_matrix(labels, scores)
    return Counts(matrix.diag().tolist(), matrix.sum(dim=1).tolist(), matrix.sum(dim=0).tolist())
