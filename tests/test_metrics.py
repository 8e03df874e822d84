"""Class accuracy and average precision against scikit-learn, hand-computed values and wrong formulas."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import sklearn.metrics
import torch
from scipy.special import xlogy

from benchmarks.intervals import bootstrap_of_mean, mover_of_mean
from in4310repro import metrics
from in4310repro.metrics import average_precision, class_accuracy, class_metrics, mean_interval, summary, wilson

CLASSES = 6


def example(seed: int, decimals: int = 8, images: int = 90) -> tuple[torch.Tensor, torch.Tensor]:
    """Return labels in which every class occurs, and scores rounded to `decimals`, so that ties can occur."""
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(CLASSES), generator.integers(0, CLASSES, images - CLASSES)])
    scores = generator.random((images, CLASSES)).round(decimals)
    scores[np.arange(images), labels] += generator.random(images).round(decimals) * 0.5
    return torch.from_numpy(labels), torch.from_numpy(scores)


def average_precision_by_sklearn(labels: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    truth = np.eye(CLASSES)[labels.numpy()]
    columns = [sklearn.metrics.average_precision_score(truth[:, c], scores[:, c].numpy()) for c in range(CLASSES)]
    return torch.tensor(columns, dtype=torch.float64)


def class_accuracy_by_counting(labels: torch.Tensor, scores: torch.Tensor) -> list[float]:
    counts = {label: [0, 0] for label in range(CLASSES)}
    for label, row in zip(labels.tolist(), scores.tolist(), strict=True):
        counts[label][0] += row.index(max(row)) == label
        counts[label][1] += 1
    return [correct / images for correct, images in counts.values()]


def assert_close(ours: torch.Tensor, oracle: torch.Tensor) -> None:
    torch.testing.assert_close(ours, oracle, rtol=0, atol=1e-12)


@pytest.mark.parametrize("decimals", [8, 2, 1, 0], ids=["distinct", "few-ties", "many-ties", "almost-constant"])
@pytest.mark.parametrize("seed", range(20))
def test_average_precision_agrees_with_sklearn(seed: int, decimals: int) -> None:
    labels, scores = example(seed, decimals)
    assert_close(average_precision(labels, scores), average_precision_by_sklearn(labels, scores))


OTHER_SCORES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "float32": lambda _labels, scores: scores.float(),
    "constant": lambda _labels, scores: torch.full_like(scores, 0.5),
    "perfect": lambda labels, _scores: torch.eye(CLASSES).double()[labels],
    "reversed": lambda labels, _scores: 1 - torch.eye(CLASSES).double()[labels],
}


@pytest.mark.parametrize("kind", OTHER_SCORES)
def test_average_precision_of_other_scores_agrees_with_sklearn(kind: str) -> None:
    labels, scores = example(1)
    scores = OTHER_SCORES[kind](labels, scores)
    found = average_precision(labels, scores)
    assert_close(found, average_precision_by_sklearn(labels, scores))
    if kind == "constant":
        assert_close(found, torch.bincount(labels, minlength=CLASSES).double() / len(labels))
    if kind == "perfect":
        assert_close(found, torch.ones(CLASSES).double())


def test_average_precision_by_hand() -> None:
    # Ranked by the score of class 0: correct, incorrect, correct -> (1/1 + 2/3) / 2.
    labels = torch.tensor([0, 1, 0])
    scores = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    assert average_precision(labels, scores)[0].item() == pytest.approx((1 + 2 / 3) / 2, abs=1e-15)


def test_tied_images_share_one_threshold() -> None:
    labels = torch.tensor([0, 1, 0, 1])
    scores = torch.tensor([[0.5, 0.5]] * 4)
    separate_thresholds = (1 / 1 + 2 / 3) / 2
    assert average_precision(labels, scores)[0].item() == 0.5 != separate_thresholds


def test_average_precision_does_not_depend_on_the_order_of_the_images() -> None:
    labels, scores = example(4, decimals=1)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(labels)))
    assert torch.equal(average_precision(labels[order], scores[order]), average_precision(labels, scores))


def test_average_precision_of_hard_labels_is_another_number() -> None:
    labels, scores = example(5)
    hard = torch.eye(CLASSES).double()[scores.argmax(dim=1)]
    assert (average_precision(labels, hard) - average_precision(labels, scores)).abs().max() > 0.01


def test_average_precision_of_logits_is_another_number() -> None:
    # Softmax compares a class with the others of its image; a logit does not.
    generator = np.random.default_rng(6)
    labels, scores = example(6)
    logits = scores * 4 + torch.from_numpy(generator.normal(0, 3, (len(labels), 1)))
    assert (average_precision(labels, logits) - average_precision(labels, logits.softmax(1))).abs().max() > 0.01


def test_average_precision_with_truth_and_score_swapped_is_another_number() -> None:
    labels, scores = example(7)
    swapped = sklearn.metrics.average_precision_score((scores[:, 0] > 0.8).numpy(), (labels == 0).double().numpy())
    assert abs(average_precision(labels, scores)[0].item() - swapped) > 0.01


def test_precision_is_not_average_precision() -> None:
    labels, scores = example(8)
    precision = sklearn.metrics.precision_score(labels, scores.argmax(dim=1), average=None)
    assert (average_precision(labels, scores) - torch.from_numpy(precision)).abs().max() > 0.01


@pytest.mark.parametrize("seed", range(20))
def test_class_accuracy_is_the_recall(seed: int) -> None:
    labels, scores = example(seed)
    assert class_accuracy(labels, scores).tolist() == class_accuracy_by_counting(labels, scores)
    recall = sklearn.metrics.recall_score(labels, scores.argmax(dim=1), average=None)
    assert_close(class_accuracy(labels, scores), torch.from_numpy(recall))


def test_one_vs_rest_accuracy_is_another_number() -> None:
    labels, scores = example(9)
    predicted = scores.argmax(dim=1)
    with_true_negatives = [((predicted == c) == (labels == c)).double().mean() for c in range(CLASSES)]
    assert (class_accuracy(labels, scores) - torch.stack(with_true_negatives)).abs().max() > 0.1


def test_mean_class_accuracy_is_not_overall_accuracy() -> None:
    labels = torch.tensor([0] * 8 + [1] * 2)
    scores = torch.tensor([[0.9, 0.1]] * 10)
    assert summary(labels, scores)["mean_class_accuracy"] == 0.5
    assert (scores.argmax(dim=1) == labels).double().mean().item() == 0.8


def test_a_mean_over_batches_is_another_number() -> None:
    labels, scores = example(10)
    halves = [slice(0, 60), slice(60, 90)]
    per_batch = torch.stack([average_precision(labels[half], scores[half]) for half in halves]).mean(dim=0)
    last_batch = average_precision(labels[halves[1]], scores[halves[1]])
    for wrong in (per_batch, last_batch):
        assert (average_precision(labels, scores) - wrong).abs().max() > 0.005


def test_a_class_without_images_is_refused() -> None:
    labels, scores = torch.tensor([0, 0, 2]), torch.rand(3, 3, generator=torch.Generator().manual_seed(0))
    for metric in (average_precision, class_accuracy):
        with pytest.raises(ValueError, match="class 1 has no image"):
            metric(labels, scores)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_not_finite_is_refused_with_its_image(value: float) -> None:
    labels, scores = example(11)
    scores[7, 3] = value
    with pytest.raises(ValueError, match="image 7 has the scores"):
        average_precision(labels, scores)


LABELS, SCORES = torch.tensor([0, 1, 1]), torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
MISFITS: dict[str, tuple[object, object, str]] = {
    "fewer labels than images": (LABELS[:2], SCORES, "there are 2 labels and scores of 3 images"),
    "more labels than images": (LABELS, SCORES[:2], "there are 3 labels and scores of 2 images"),
    "labels in a column": (LABELS[:, None], SCORES, r"labels has shape \(3, 1\) of torch.int64"),
    "one-hot labels": (torch.eye(2)[LABELS], SCORES, r"labels has shape \(3, 2\) of torch.float32"),
    "probabilities as labels": (
        SCORES[:, 0],
        SCORES,
        r"labels has shape \(3,\) of torch.float32; they must be one",
    ),
    "truth values as labels": (LABELS == 1, SCORES, r"labels has shape \(3,\) of torch.bool"),
    "one label": (torch.tensor(1), SCORES, r"labels has shape \(\)"),
    "predicted classes as scores": (LABELS, LABELS, r"scores has shape \(3,\) of torch.int64"),
    "the score of one class alone": (LABELS, SCORES[:, 1], r"scores has shape \(3,\) of torch.float32"),
    "scores of patches": (LABELS, SCORES[:, :, None], r"scores has shape \(3, 2, 1\)"),
    "counts as scores": (LABELS, SCORES.long(), r"scores has shape \(3, 2\) of torch.int64"),
    "no images": (LABELS[:0], SCORES[:0], r"scores has shape \(0, 2\); at least one image and one class"),
    "no classes": (LABELS, SCORES[:, :0], r"scores has shape \(3, 0\)"),
    "swapped": (SCORES, LABELS, r"labels has shape \(3, 2\) of torch.float32"),
    "arrays": (LABELS.numpy(), SCORES, "labels is of type ndarray"),
    "lists": (LABELS, SCORES.tolist(), "scores is of type list"),
    "a negative label": (LABELS - 1, SCORES, "labels are -1 to 0; they must be 0 to 1"),
    "labels from 1": (LABELS + 1, SCORES, "labels are 1 to 2; they must be 0 to 1"),
    "a score that is nan": (LABELS, SCORES.log() * 0 + math.nan, "image 0 has the scores"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_labels_and_scores_that_do_not_fit_are_refused_by_every_metric(case: str) -> None:
    labels, scores, message = MISFITS[case]
    for metric in (class_accuracy, average_precision, summary):
        with pytest.raises(ValueError, match=message):
            metric(labels, scores)  # type: ignore[arg-type]


def test_ranked_scores_of_another_shape_than_the_scores_are_refused() -> None:
    with pytest.raises(ValueError, match=r"ranked has shape \(3, 1\), and scores \(3, 2\)"):
        summary(LABELS, SCORES, SCORES[:, :1])


def test_labels_of_fewer_bits_give_the_same_accuracies() -> None:
    expected = class_accuracy(LABELS, SCORES)
    assert torch.equal(class_accuracy(LABELS.to(torch.int32), SCORES), expected)


def test_means_are_over_classes_and_the_logits_that_are_given_are_ranked() -> None:
    labels, scores = example(13)
    made = summary(labels, scores, ranked=-scores)
    assert made["average_precision"] == average_precision(labels, -scores).tolist()
    assert made["average_precision"] != average_precision(labels, scores).tolist()
    assert made["class_accuracy"] == class_accuracy(labels, scores).tolist()
    assert made["mean_average_precision"] == pytest.approx(sum(made["average_precision"]) / 6, rel=1e-14)
    assert made["mean_class_accuracy"] == pytest.approx(sum(made["class_accuracy"]) / 6, rel=1e-14)
    row: Any = {"epoch": 1, **made}
    assert class_metrics(row) == made


def test_labels_of_a_single_class_are_enough_for_one_class() -> None:
    labels, scores = torch.zeros(3, dtype=torch.int64), torch.ones(3, 1)
    assert class_accuracy(labels, scores).tolist() == average_precision(labels, scores).tolist() == [1.0]


def softmax_example(seed: int, missing: int = -1) -> tuple[torch.Tensor, torch.Tensor]:
    """Return softmax scores, some of them confident and wrong; class `missing` has no image."""
    labels, scores = example(seed)
    kept = labels != missing
    return labels[kept], (scores[kept] * (1 + seed)).softmax(dim=1)


def calibration_error_written_out(labels: torch.Tensor, scores: torch.Tensor, *, open_below: bool = True) -> float:
    """Compute the expected calibration error (Guo et al. 2017, equation 3) in a loop over 15 bins."""
    total = 0.0
    for number in range(15):
        lower, upper = number / 15, (number + 1) / 15
        inside = [
            (max(row), row.index(max(row)) == label)
            for label, row in zip(labels.tolist(), scores.tolist(), strict=True)
            if (lower < max(row) <= upper if open_below else lower <= max(row) < upper)
        ]
        if inside:
            confidence, right = (sum(column) / len(inside) for column in zip(*inside, strict=True))
            total += len(inside) / len(labels) * abs(right - confidence)
    return total


@pytest.mark.parametrize("missing", [-1, 2])
@pytest.mark.parametrize("seed", range(12))
def test_what_else_is_measured_agrees_with_sklearn(seed: int, missing: int) -> None:
    labels, scores = softmax_example(seed, missing)
    found, predicted = metrics.details(labels, scores), scores.argmax(dim=1)
    every: dict[str, Any] = {"labels": range(CLASSES), "average": None, "zero_division": np.nan}
    precision, _, f1, _ = sklearn.metrics.precision_recall_fscore_support(labels, predicted, **every)
    matrix = sklearn.metrics.confusion_matrix(labels, predicted, labels=range(CLASSES))
    assert found["confusion_matrix"] == matrix.tolist()
    for ours, theirs in ((found["precision"], precision), (found["f1"], f1)):
        assert [math.nan if value is None else value for value in ours] == pytest.approx(theirs, abs=1e-12, nan_ok=True)
    # The wrong twin is the transposed matrix.
    assert found["confusion_matrix"] != matrix.T.tolist()


@pytest.mark.parametrize("seed", range(12))
def test_the_calibration_error_is_the_formula_written_out(seed: int) -> None:
    labels, scores = softmax_example(seed)
    ours = metrics.details(labels, scores)["expected_calibration_error"]
    assert ours == pytest.approx(calibration_error_written_out(labels, scores), abs=1e-12)


def test_a_top_score_at_the_edge_of_a_bin_belongs_to_the_lower_one() -> None:
    """0.75 = 11.25/15 and 0.8 = 12/15 are in the same bin only if bins include their upper edge."""
    labels, scores = torch.tensor([0, 0]), torch.tensor([[0.75, 0.25], [0.2, 0.8]], dtype=torch.float64)
    ours = metrics.details(labels, scores)["expected_calibration_error"]
    assert ours == pytest.approx(abs(1 - 0.75 - 0.8) / 2) == calibration_error_written_out(labels, scores)
    assert ours != pytest.approx(calibration_error_written_out(labels, scores, open_below=False))


def test_metrics_of_some_classes_are_those_of_all_without_the_others() -> None:
    labels, scores = softmax_example(3, missing=2)
    found, present = summary(labels, scores, every_class=False), [0, 1, 3, 4, 5]
    truth = np.eye(CLASSES)[labels.numpy()]
    ranked = [sklearn.metrics.average_precision_score(truth[:, c], scores[:, c].numpy()) for c in present]
    recall = sklearn.metrics.recall_score(labels, scores.argmax(dim=1), average=None, labels=present)
    assert found["average_precision"] == pytest.approx(ranked, abs=1e-12)
    assert found["class_accuracy"] == pytest.approx(recall, abs=1e-12)
    assert found["mean_class_accuracy"] == pytest.approx(recall.mean(), abs=1e-12)
    with pytest.raises(ValueError, match="class 2 has no image"):
        summary(labels, scores)


@pytest.mark.parametrize("images", [1, 2, 7, 30, 500])
def test_the_wilson_interval_is_that_of_scipy(images: int) -> None:
    for correct in {0, 1, images // 2, images - 1, images}:
        theirs = scipy.stats.binomtest(correct, images).proportion_ci(0.95, method="wilson")
        assert wilson(correct, images) == pytest.approx([theirs.low, theirs.high], abs=1e-12)


def test_the_normal_interval_is_another_one_and_leaves_what_is_possible() -> None:
    share, half = 29 / 30, 1.96 * math.sqrt(29 / 30 * 1 / 30 / 30)
    assert share + half > 1 >= wilson(29, 30)[1]
    assert wilson(30, 30) == [pytest.approx(0.8865, abs=1e-4), 1.0]
    assert wilson(0, 30)[0] == 0.0


def mean_interval_by_likelihood(correct: Sequence[int], images: Sequence[int]) -> list[float]:
    """Return the ends for two classes: the most likely rates under a mean are found by search."""
    (k, other), (n, many) = correct, images

    def misfit(mean: float) -> float:
        low, high = max(0.0, 2 * mean - 1), min(1.0, 2 * mean)

        def unlikely(p: float) -> float:
            q = 2 * mean - p
            return -float(xlogy(k, p) + xlogy(n - k, 1 - p) + xlogy(other, q) + xlogy(many - other, 1 - q))

        p = scipy.optimize.minimize_scalar(unlikely, bounds=(low, high), options={"xatol": 1e-10}).x
        rates = np.array([p, 2 * mean - p])
        error = math.sqrt((rates * (1 - rates) / np.maximum(np.array(images) - 1, 1)).sum()) / 2
        return abs(mean - (k / n + other / many) / 2) - 1.959964 * error

    measured, near = (k / n + other / many) / 2, 1e-9
    below = scipy.optimize.brentq(misfit, near, measured) if measured > 0 else 0.0
    return [below, scipy.optimize.brentq(misfit, measured, 1 - near) if measured < 1 else 1.0]


@pytest.mark.parametrize(
    ("correct", "images"),
    [
        ([4, 5], [5, 7]),
        ([1, 30], [1, 40]),
        ([0, 3], [2, 9]),
        ([6, 12], [6, 30]),
        ([1, 0], [1, 1]),
        ([450, 480], [500] * 2),
    ],
)
def test_the_interval_of_a_mean_is_that_of_the_most_likely_rates(correct: list[int], images: list[int]) -> None:
    assert mean_interval(correct, images) == pytest.approx(mean_interval_by_likelihood(correct, images), abs=1e-5)


def test_the_interval_of_one_class_is_wilsons_of_one_image_less() -> None:
    share, square = 0.9, 1.959964**2 / 29
    half = math.sqrt(square * share * (1 - share) + square**2 / 4)
    ends = [(share + square / 2 - half) / (1 + square), (share + square / 2 + half) / (1 + square)]
    assert mean_interval([27], [30]) == pytest.approx(ends, abs=1e-6)


@pytest.mark.parametrize("images", [[1], [1, 1, 1], [3, 1, 180], [2] * 20, [30] * 3, [3000] * 3])
def test_the_interval_of_a_mean_holds_it_and_rises_with_every_right_image(images: list[int]) -> None:
    correct, before = [0] * len(images), mean_interval([0] * len(images), images)
    assert before[0] == 0 < before[1] < 1
    for place in [label for label, size in enumerate(images) for _ in range(min(size, 30))]:
        correct[place] += max(1, images[place] // 30)
        low, high = mean_interval(correct, images)
        assert 0 <= low <= sum(k / n for k, n in zip(correct, images, strict=True)) / len(images) <= high <= 1
        assert [low, high] >= before
        assert high >= before[1]
        before = [low, high]
    assert before[0] < 1 == before[1]


def test_the_interval_of_the_mean_of_many_images_is_the_normal_one() -> None:
    rates = np.array([0.8, 0.9, 0.95])
    error = math.sqrt((rates * (1 - rates) / 17_000).sum()) / 3
    expected = [rates.mean() - 1.959964 * error, rates.mean() + 1.959964 * error]
    assert mean_interval([13_600, 15_300, 16_150], [17_000] * 3) == pytest.approx(expected, abs=1e-4)


def test_the_mean_interval_refuses_a_class_without_images() -> None:
    with pytest.raises(ValueError, match="class 1 has no images"):
        mean_interval([1, 0], [1, 0])


@pytest.mark.parametrize(("classes", "size"), [(2, 3), (6, 5)])
def test_intervals_of_a_mean_hold_it_and_those_of_mover_and_a_bootstrap_do_not(classes: int, size: int) -> None:
    generator, images, held = np.random.default_rng(0), np.full(classes, size), np.zeros(3)
    for _ in range(200):
        rates = generator.uniform(0.8, 1, classes)
        correct = generator.binomial(size, rates)
        ends = (
            mean_interval(correct.tolist(), images.tolist()),
            mover_of_mean(correct, images),
            bootstrap_of_mean(correct, images, generator),
        )
        held += [low <= rates.mean() <= high for low, high in ends]
    ours, mover, bootstrap = held / 200
    assert ours >= 0.93
    assert bootstrap < 0.9
    assert mover < ours - 0.02
