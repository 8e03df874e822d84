"""All figures of a run: the eleven of the published report, with the run's numbers, and further ones."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from in4310repro.report import class_exhibits, feature_exhibits, history_exhibits, score_exhibits
from in4310repro.report.exhibit import Exhibit
from in4310repro.report.published_numbers import has_original_classes
from in4310repro.runs.finished import FinishedRun


def _test_exhibits(run: FinishedRun) -> list[Exhibit]:
    """Build figures 4 and 13, which has the intervals of figure 4."""
    test = class_exhibits.test_exhibit(run)
    return [test, score_exhibits.curves_exhibit(run, test.numbers["intervals"].get("average_precision"))]


# What builds the figures of each group of the page: one of them, several, or None where the run has not their numbers.
FIGURES: dict[str, Sequence[Callable[[FinishedRun], Any]]] = {
    "On the test set": (
        _test_exhibits,
        score_exhibits.confusion_exhibit,
        score_exhibits.calibration_exhibit,
        score_exhibits.ranking_exhibit,
    ),
    "How the network was selected": (
        class_exhibits.validation_exhibits,
        history_exhibits.loss_exhibit,
        history_exhibits.accuracy_exhibit,
    ),
    "What its feature maps say": (
        feature_exhibits.sparsity_exhibit,
        feature_exhibits.spectrum_exhibits,
        feature_exhibits.activation_exhibit,
    ),
}


def exhibits(run: FinishedRun) -> list[Exhibit]:
    """Build all figures of a finished run, in order.

    Raises:
        ValueError: the run has no measured feature maps.
    """
    feature_exhibits.measured(run)
    made = [(group, build(run)) for group, builders in FIGURES.items() for build in builders]
    listed = [
        (group, each) for group, built in made for each in (built if isinstance(built, list) else [built]) if each
    ]
    return sorted((_complete(run, group, each) for group, each in listed), key=lambda each: each.number)


def _complete(run: FinishedRun, group: str, exhibit: Exhibit) -> Exhibit:
    """Return the figure with its group, the label of a deviation, and a remark on the published report's figure."""
    label, numbers = run.config.protocol.label, exhibit.numbers
    if label:
        exhibit = replace(exhibit, source=replace(exhibit.source, values={"label": label, **numbers}))
    if not has_original_classes(run.classes):
        return replace(exhibit, group=group, counterpart=None)
    drawn, remark = not run.config.data, exhibit.remark
    if numbers.get("original"):
        remark = f"Diamonds are what the original prints{exhibit.beside}."
        if drawn:
            prints = "The table has the numbers that the original prints, of photographs and not comparable with drawn"
            remark = f"{prints} scenes{exhibit.beside}."
    return replace(exhibit, group=group, caption=(*exhibit.caption, f" {remark}"), draws_original=not drawn)
