"""The message after a training whose network may be no better than guessing."""

from dataclasses import replace
from pathlib import Path

import pytest
import scipy.stats

from in4310repro.runs.finished import FinishedRun, advise
from in4310repro.runs.presets import PRESETS


def run_with(run: FinishedRun, training: list[int], validation: list[int], right: list[int]) -> FinishedRun:
    """Return the run with these numbers of images of each class, and of correct validation images."""
    named = {"training": training, "validation": validation, "test": [2] * 6}
    supports = {part: dict(zip(run.classes, counts, strict=True)) for part, counts in named.items()}
    shares = [correct / count for correct, count in zip(right, validation, strict=True)]
    mean = sum(shares) / len(shares)
    row = run.histories["sgd"][0] | {"class_accuracy": shares, "mean_class_accuracy": mean}
    return replace(run, metrics=run.metrics | {"supports": supports}, histories={"sgd": [row]})


@pytest.mark.parametrize(
    ("validation", "right"),
    [
        ([2] * 6, [1] * 6),
        ([20] * 6, [4] * 6),
        ([20] * 6, [6] * 6),
        ([20] * 6, [0] * 6),
        # Always the largest class.
        ([50, 10, 10, 10, 10, 10], [50, 0, 0, 0, 0, 0]),
        ([50, 10, 10, 10, 10, 10], [45, 5, 5, 5, 5, 5]),
    ],
)
def test_guessing_is_said_where_the_interval_of_the_validation_accuracy_reaches_it(
    validation: list[int], right: list[int], finished_run: Path
) -> None:
    said = advise(run_with(FinishedRun.open(finished_run), [100] * 6, validation, right))
    images = sum(validation)
    interval = scipy.stats.binomtest(sum(right), images).proportion_ci(0.95, method="wilson")
    if interval.low > max(validation) / images:
        assert said == ""
    else:
        assert said.startswith(f"no better than guessing, for all that {images} validation images tell: {sum(right)} ")
        assert f"({interval.low:.2f} to {interval.high:.2f})" in said
        assert ("within its interval: no difference seen" in said) == (max(validation) / images <= interval.high)
        assert said.endswith("try more images or more --epochs")


def test_few_training_images_are_said_and_no_weights_are_advised_that_are_there(finished_run: Path) -> None:
    run = FinishedRun.open(finished_run)
    few = run_with(run, [19, *[500] * 5], [50] * 6, [45] * 6)
    assert advise(few) == "19 training images of the smallest class are few; try more images or more --epochs"
    mine = replace(few, config=replace(run.config, data="photos/mine"))
    assert advise(mine).endswith("are few; try --preset photographs-head, more images or more --epochs")
    begun = replace(mine, config=replace(mine.config, weights="imagenet"))
    assert advise(begun).endswith("; try more images or more --epochs")
    fitted = replace(few, config=replace(PRESETS["photographs-head"], data="photos/mine"))
    assert advise(fitted).endswith("; try more images or --train all")
    assert advise(run_with(run, [20] * 6, [50] * 6, [45] * 6)) == ""
