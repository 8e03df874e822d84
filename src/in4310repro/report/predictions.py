"""What must be seen if the hypothesis of `deviations` is right, compared with every run of the published protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from in4310repro.audit.oddities import CEILINGS
from in4310repro.metrics import ClassMetrics
from in4310repro.report.original import original
from in4310repro.report.published_numbers import RunSummary

# No single network in the public competition on these images came above it.
CEILING = float(max(CEILINGS.values()))


class Prediction(TypedDict):
    """What follows from the hypothesis, what is printed, what the runs show, and whether they show it."""

    claim: str
    printed: str
    measured: str
    holds: bool


def predictions(corrected: RunSummary, published: Sequence[RunSummary]) -> list[Prediction]:
    """Five predictions, each of which could have failed.

    Args:
        corrected: the run of the corrected protocol.
        published: at least one run of the published protocol.
    """
    printed = original()["settings"]
    fair = corrected["test"]["mean_class_accuracy"]
    names = list(published[0]["settings"])
    best = [[run["settings"][name]["mean_class_accuracy"] for name in names] for run in published]
    seen = [run["test"]["mean_class_accuracy"] for run in published]
    unseen = [run["unseen"]["mean_class_accuracy"] for run in published]
    as_printed = [printed[name]["mean_class_accuracy"] for name in original()["optimizers"]]
    levels = list(zip(*best, strict=True))
    looks = [_two_looks(run["settings"][run["selected"]], run["test"], run["supports"]) for run in published]
    first = _two_looks(printed["sgd"], printed["test"], published[0]["supports"])
    return [
        Prediction(
            claim=f"On the images that it was trained on the selected network is above {CEILING}, the best of the "
            "public competition",
            printed=f"{printed['test']['mean_class_accuracy']:.4f}",
            measured=span(seen),
            holds=min(seen) > CEILING,
        ),
        Prediction(
            claim=f"On images that it never read it is no better than the corrected protocol's {fair:.4f}",
            printed="-",
            measured=span(unseen),
            holds=max(unseen) <= fair,
        ),
        Prediction(
            claim="One network is trained on: each setting is better than the one before, and the last is selected",
            printed=" < ".join(f"{value:.4f}" for value in as_printed),
            measured=" < ".join(span(values) for values in levels),
            holds=all(row == sorted(row) for row in best) and all(run["selected"] == names[-1] for run in published),
        ),
        Prediction(
            claim="Validation and test are two looks at the same images, each with its own flips: few images change "
            "and classes keep their counts",
            printed=_describe_looks(first),
            measured="; ".join(map(_describe_looks, looks)),
            holds=all(equal >= 1 and abs(difference) <= 30 for equal, difference in looks),
        ),
        Prediction(
            claim="If all else were equal, too: each setting reaches the printed level within the range of the seeds",
            printed=", ".join(f"{value:.4f}" for value in as_printed),
            measured=", ".join(span(values) for values in levels),
            holds=all(min(v) <= value <= max(v) for v, value in zip(levels, as_printed, strict=True)),
        ),
    ]


def _two_looks(first: ClassMetrics, second: ClassMetrics, supports: Mapping[str, int]) -> tuple[int, int]:
    """Classes with an equal number of correct images, and by how many images the totals differ."""
    counts = [
        [round(value * images) for value, images in zip(look["class_accuracy"], supports.values(), strict=True)]
        for look in (first, second)
    ]
    return sum(a == b for a, b in zip(*counts, strict=True)), sum(counts[1]) - sum(counts[0])


def _describe_looks(looks: tuple[int, int]) -> str:
    return f"{looks[0]} of 6 equal, {looks[1]:+d} images"


def span(values: Sequence[float]) -> str:
    """One value, or the lowest and the highest."""
    low, high = f"{min(values):.4f}", f"{max(values):.4f}"
    return low if low == high else f"{low} to {high}"
