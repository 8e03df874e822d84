"""Every metric of the table: its range, direction and invariances, and scikit-learn's value."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_type_hints

import numpy as np
import pytest
import sklearn.metrics
import torch

from in4310repro import metrics
from in4310repro.metrics import METRICS, PER_CLASS, SCALARS, ClassMetrics, ends, summary
from in4310repro.metrics.table import COUNTS, RANKING
from in4310repro.runs.record_types import HistoryRow, RunMetrics, UnseenMetrics
from in4310repro.system.schema import check

CLASSES = 4
Labels = np.ndarray[Any, Any]
# What runs of the first format that is read hold: a metric that joins the table later is absent there.
FIRST = {"class_accuracy", "average_precision", "mean_class_accuracy", "mean_average_precision"}


def recalls(labels: Labels, predicted: Labels, _scores: Labels) -> Any:
    return sklearn.metrics.recall_score(labels, predicted, average=None, labels=range(CLASSES))


def precisions(labels: Labels, _predicted: Labels, scores: Labels) -> Any:
    return [sklearn.metrics.average_precision_score(labels == label, scores[:, label]) for label in range(CLASSES)]


def f1(labels: Labels, predicted: Labels, average: str | None = "macro", **options: Any) -> Any:
    return sklearn.metrics.f1_score(
        labels, predicted, average=average, labels=range(CLASSES), **{"zero_division": 0, **options}
    )


ORACLES: dict[str, Callable[[Labels, Labels, Labels], Any]] = {
    "class_accuracy": recalls,
    "average_precision": precisions,
    "mean_class_accuracy": lambda labels, predicted, _: sklearn.metrics.balanced_accuracy_score(labels, predicted),
    "mean_average_precision": lambda *example: np.mean(precisions(*example)),
    "macro_f1": lambda labels, predicted, _: f1(labels, predicted),
    "accuracy": lambda labels, predicted, _: sklearn.metrics.accuracy_score(labels, predicted),
}


def example(seed: int, decimals: int = 8, never_predicted: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return labels of unbalanced classes, and scores rounded to `decimals`, so that ties can occur."""
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(CLASSES), generator.choice(CLASSES, 50, p=(0.5, 0.25, 0.15, 0.1))])
    scores = (generator.random((len(labels), CLASSES)) + 0.4 * np.eye(CLASSES)[labels]).round(decimals)
    if never_predicted is not None:
        scores[:, never_predicted] = -1 - scores[:, never_predicted]
    return torch.from_numpy(labels), torch.from_numpy(scores)


def value_of(name: str, labels: torch.Tensor, scores: torch.Tensor) -> Any:
    return dict(summary(labels, scores))[name]


def is_better(name: str, first: float, second: float) -> bool:
    return first > second if METRICS[name].higher_is_better else first < second


def test_every_metric_has_an_oracle_and_reads_what_stands_above_it() -> None:
    assert ORACLES.keys() == METRICS.keys()
    known = {COUNTS, RANKING}
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.reads in known
        known.add(name)
        assert metric.label
        assert metric.heading


def test_the_records_of_a_run_are_those_of_the_table_and_older_ones_may_lack_what_joined_since() -> None:
    assert {name for name, metric in METRICS.items() if metric.in_every_run} == FIRST
    for record in (ClassMetrics, HistoryRow, RunMetrics, UnseenMetrics):
        assert METRICS.keys() <= get_type_hints(record).keys()
    made = dict(summary(*example(0)))
    older = {name: value for name, value in made.items() if name in FIRST}
    for valid in (made, older):
        assert check(valid, ClassMetrics, "m.json") == valid
    for name in FIRST:
        with pytest.raises(ValueError, match=f"m.json lacks {name}"):
            check({key: value for key, value in made.items() if key != name}, ClassMetrics, "m.json")


@pytest.mark.parametrize("wrong", [1.5, -0.1, "0.5", None, float("nan"), [0.5]], ids=str)
@pytest.mark.parametrize("name", METRICS)
def test_a_record_refuses_a_value_that_is_no_share(name: str, wrong: Any) -> None:
    value = [0.5, wrong] if name in PER_CLASS else wrong
    with pytest.raises(ValueError, match=name):
        check(dict(summary(*example(0))) | {name: value}, ClassMetrics, "m.json")


@pytest.mark.parametrize("decimals", [8, 1, 0], ids=["distinct", "ties", "almost-constant"])
@pytest.mark.parametrize("never_predicted", [None, 2], ids=["all-predicted", "never-predicted"])
@pytest.mark.parametrize("name", METRICS)
def test_a_metric_agrees_with_its_oracle(name: str, never_predicted: int | None, decimals: int) -> None:
    for seed in range(12):
        labels, scores = example(seed, decimals, never_predicted)
        predicted = scores.argmax(dim=1).numpy()
        assert (never_predicted in predicted) is False
        expected = ORACLES[name](labels.numpy(), predicted, scores.numpy())
        assert value_of(name, labels, scores) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_best_at_perfect_scores_and_in_its_range_everywhere(name: str) -> None:
    best = 1.0 if METRICS[name].higher_is_better else 0.0
    for seed in range(12):
        labels, scores = example(seed, decimals=seed % 3)
        perfect = torch.eye(CLASSES).double()[labels]
        for scored in (scores, perfect, 1 - perfect):
            values = np.ravel(value_of(name, labels, scored))
            assert ((values >= 0) & (values <= 1)).all()
        assert (np.ravel(value_of(name, labels, perfect)) == best).all()
        assert (np.ravel(value_of(name, labels, 1 - perfect)) != best).all()


@pytest.mark.parametrize("name", SCALARS)
def test_a_wrong_image_that_becomes_right_makes_no_metric_worse(name: str) -> None:
    for seed in range(12):
        labels, scores = example(seed)
        before, moved = value_of(name, labels, scores), 0
        for image in (scores.argmax(dim=1) != labels).nonzero().flatten().tolist():
            better = scores.clone()
            better[image, labels[image]] = better[image].max() + 0.01
            after = value_of(name, labels, better)
            assert not is_better(name, before, after)
            moved += is_better(name, after, before)
        assert moved


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_depends_neither_on_the_order_of_images_nor_on_that_of_classes(name: str) -> None:
    labels, scores = example(3, decimals=2)
    images = torch.from_numpy(np.random.default_rng(0).permutation(len(labels)))
    assert value_of(name, labels[images], scores[images]) == value_of(name, labels, scores)
    # Without ties, of which the first class is predicted.
    labels, scores = example(3)
    order = [2, 0, 3, 1]
    places = torch.tensor([order.index(label) for label in labels.tolist()])
    expected, found = value_of(name, labels, scores), value_of(name, places, scores[:, order])
    assert found == ([expected[label] for label in order] if name in PER_CLASS else pytest.approx(expected, abs=1e-15))


@pytest.mark.parametrize("name", SCALARS)
def test_a_mean_over_two_batches_is_another_number(name: str) -> None:
    gaps = []
    for seed in range(4):
        labels, scores = example(seed)
        parts: list[dict[str, Any]] = [
            {**summary(labels[part], scores[part], every_class=False)} for part in (slice(20), slice(20, None))
        ]
        gaps.append(abs(sum(part[name] for part in parts) / 2 - value_of(name, labels, scores)))
    assert max(gaps) > 1e-3


def test_f1_of_a_class_that_is_never_predicted_is_0_and_counts() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    scores = torch.tensor([[0.9, 0.1]] * 4)
    # By hand: precision 2/4 and recall 1 make 2/3 for class 0.
    assert value_of("macro_f1", labels, scores) == pytest.approx((2 / 3 + 0) / 2, abs=1e-15)
    left_out = f1(labels.numpy(), scores.argmax(1).numpy(), average=None)[:1].mean()
    assert left_out == pytest.approx(2 / 3)


@pytest.mark.parametrize("average", ["micro", "weighted"])
def test_other_averages_of_f1_are_other_numbers(average: str) -> None:
    labels, scores = example(5)
    predicted = scores.argmax(dim=1).numpy()
    assert abs(value_of("macro_f1", labels, scores) - f1(labels.numpy(), predicted, average)) > 0.005


def test_f1_of_mean_precision_and_mean_recall_is_another_number() -> None:
    labels, scores = example(5)
    precision, recall, *_ = sklearn.metrics.precision_recall_fscore_support(
        labels, scores.argmax(dim=1), average="macro"
    )
    assert abs(value_of("macro_f1", labels, scores) - 2 * precision * recall / (precision + recall)) > 0.005


def test_classes_without_images_are_left_out_of_every_metric() -> None:
    labels, scores = example(6)
    kept = labels != 1
    found: dict[str, Any] = {**summary(labels[kept], scores[kept], every_class=False)}
    predicted = scores[kept].argmax(dim=1)
    assert len(found["class_accuracy"]) == CLASSES - 1
    expected = f1(labels[kept].numpy(), predicted.numpy(), average=None)
    assert found["macro_f1"] == pytest.approx(np.delete(expected, 1).mean(), abs=1e-12)


def worst_and_best_arrangement(labels: torch.Tensor, scores: torch.Tensor, width: float) -> list[ClassMetrics]:
    own = torch.nn.functional.one_hot(labels, CLASSES).bool()
    return [summary(labels, scores + sign * torch.where(own, width, -width)) for sign in (-1, 1)]


@pytest.mark.parametrize("name", METRICS)
def test_the_ends_of_a_metric_hold_whatever_scores_lie_between(name: str) -> None:
    generator = np.random.default_rng(7)
    narrow = 0
    for seed in range(20):
        labels, scores = example(seed, decimals=1)
        low, high = (dict(each)[name] for each in ends(labels, scores - 0.1, scores + 0.1))
        for _ in range(20):
            moved = scores + torch.from_numpy(generator.uniform(-0.1, 0.1, scores.shape))
            value = np.array(value_of(name, labels, moved))
            assert (np.array(low) <= value + 1e-12).all()
            assert (value <= np.array(high) + 1e-12).all()
        narrow += np.mean(np.array(high) - np.array(low)) < 0.9
    # Bounds of 0 and 1 would hold always.
    assert narrow


def test_the_ends_at_no_distance_are_the_metrics_themselves() -> None:
    labels, scores = example(8)
    assert list(ends(labels, scores, scores)) == [summary(labels, scores)] * 2


def test_the_ends_of_a_metric_that_is_better_where_it_is_lower_are_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    accuracy = METRICS["accuracy"]

    def error(*given: Any) -> Any:
        return 1 - accuracy.function(*given)

    wrong = replace(accuracy, name="error", function=error, higher_is_better=False)
    monkeypatch.setitem(METRICS, "error", wrong)
    labels, scores = example(8, decimals=1)
    low, high = map(dict[str, Any], ends(labels, scores - 0.1, scores + 0.1))
    assert (low["error"], high["error"]) == (1 - high["accuracy"], 1 - low["accuracy"])
    assert low["error"] < high["error"]


def test_a_metric_is_a_share_where_it_counts_images_and_has_its_name_in_a_title() -> None:
    """Times the images that it is of, a share is a whole number for any labels and scores."""
    for name, metric in METRICS.items():
        whole = []
        for seed in range(5):
            labels, scores = example(seed)
            images = np.bincount(labels) if metric.per_class else len(labels)
            times = np.array(value_of(name, labels, scores)) * images
            whole.append(np.abs(times - times.round()).max() < 1e-9)
        assert metric.is_share == all(whole), name
        assert (metric.title[0], metric.title[1:]) == (metric.label[0].upper(), metric.label[1:])


def test_own_classes_at_one_end_and_others_at_the_other_do_not_bound_macro_f1() -> None:
    """An image of class 0 is always wrong, but its predicted class changes the F1 of classes 1 and 2."""
    labels = torch.tensor([0, 0, 1, 2, 2, 2, 2, 3])
    scores = torch.eye(CLASSES).double()[labels]
    scores[1] = torch.tensor([0.0, 0.5, 0.45, 0.0])
    moved = scores.clone()
    moved[1] = torch.tensor([0.0, 0.45, 0.5, 0.0])
    value = value_of("macro_f1", labels, moved)
    assert value > worst_and_best_arrangement(labels, scores, 0.05)[1]["macro_f1"]  # type: ignore[typeddict-item]
    low, high = (dict(each)["macro_f1"] for each in ends(labels, scores - 0.05, scores + 0.05))
    assert low <= value <= high


def test_the_line_of_a_record_names_what_it_has() -> None:
    made: dict[str, Any] = {**summary(*example(9))}
    assert all(f"{metric.label} {made[name]:.4f}" in metrics.line(made) for name, metric in SCALARS.items())
    older = {name: value for name, value in made.items() if name in FIRST}
    assert metrics.line(older).count(",") == 1
