"""Consequences of a hypothesis on the published numbers, checked with these numbers and with measured runs.

The hypothesis is stated in `deviations`. The thresholds were chosen after seeing the published values, so
that no statement here is a prediction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from in4310repro.audit.oddities import chance_of_at_least, chance_of_same_count
from in4310repro.metrics import ClassMetrics
from in4310repro.report.original import original
from in4310repro.report.published_numbers import RunSummary


class Consequence(TypedDict):
    """A statement that follows from the hypothesis, with values as printed and measured, and its weight as evidence."""

    claim: str
    printed: str
    measured: str
    holds: bool
    weight: str  # strength of the evidence: the probability of the observation without the hypothesis


def consequences(corrected: RunSummary, published: Sequence[RunSummary]) -> list[Consequence]:
    """Return five statements that follow from the hypothesis, each with its weight as evidence.

    Args:
        corrected: a run of the corrected protocol.
        published: at least one run of the supposed protocol.
    """
    printed = original()["settings"]
    fair = corrected["test"]["mean_class_accuracy"]
    level = printed["test"]["mean_class_accuracy"]
    names = list(published[0]["settings"])
    best = [[run["settings"][name]["mean_class_accuracy"] for name in names] for run in published]
    seen = [run["test"]["mean_class_accuracy"] for run in published]
    unseen = [run["unseen"]["mean_class_accuracy"] for run in published]
    as_printed = [printed[name]["mean_class_accuracy"] for name in original()["optimizers"]]
    levels = list(zip(*best, strict=True))
    supports = published[0]["supports"]
    looks = [compare_counts(run["settings"][run["selected"]], run["test"], run["supports"]) for run in published]
    first = compare_counts(printed["sgd"], printed["test"], supports)
    chances = [
        probability_of_equal_counts(classes, printed["sgd"], printed["test"], supports)
        for classes in range(len(supports) + 1)
    ]
    return [
        Consequence(
            claim=f"On the images that it was trained on, the selected network reaches the printed {level:.4f}",
            printed=f"{level:.4f}",
            measured=format_span(seen),
            holds=min(seen) >= level,
            weight="little: expected of a network after all its epochs on the images that it is tested on",
        ),
        Consequence(
            claim=f"On images that it never read, it is not above the corrected protocol's {fair:.4f}",
            printed="-",
            measured=format_span(unseen),
            holds=max(unseen) <= fair,
            weight="little: expected of a network that was trained on fewer images",
        ),
        Consequence(
            claim="One network is trained on: each setting is better than the one before, and the last is selected",
            printed=" < ".join(f"{value:.4f}" for value in as_printed),
            measured=" < ".join(format_span(values) for values in levels),
            holds=all(row == sorted(row) for row in best) and all(run["selected"] == names[-1] for run in published),
            weight="little: expected where training goes on long enough with the images that are tested; three "
            "unrelated networks have this order with probability 1/6",
        ),
        Consequence(
            claim="The two last tables are two looks at the same images: at least 1 of 6 classes keeps its count, and "
            "the totals differ by at most 30 images",
            printed=_describe_looks(first),
            measured="; ".join(map(_describe_looks, looks)),
            holds=all(equal >= 1 and abs(difference) <= 30 for equal, difference in looks),
            weight="little: two different sets of images have such counts with probability "
            f"{chances[1]:.2f} at the printed rates, and {first[0]} equal ones, as printed, with "
            f"{chances[first[0]]:.3f}, for this one of six pairs of tables",
        ),
        Consequence(
            claim="If all else were equal, each setting would reach the printed level within the range of the seeds",
            printed=", ".join(f"{value:.4f}" for value in as_printed),
            measured=", ".join(format_span(values) for values in levels),
            holds=all(min(v) <= value <= max(v) for v, value in zip(levels, as_printed, strict=True)),
            weight=f"that the printed training is not this one: {_describe_farthest(levels, as_printed)}"
            if len(published) > 1
            else "nothing: one seed has no range",
        ),
    ]


def _describe_farthest(levels: Sequence[Sequence[float]], printed: Sequence[float]) -> str:
    """Return a clause on the published value that lies farthest outside the range over seeds."""
    outside = [
        max(min(of_seeds) - value, value - max(of_seeds)) for of_seeds, value in zip(levels, printed, strict=True)
    ]
    place = outside.index(max(outside))
    low, high = min(levels[place]), max(levels[place])
    side = "below" if printed[place] < low else "above"
    return f"{printed[place]:.4f} lies {outside[place]:.4f} {side} a range of {high - low:.4f}"


def compare_counts(first: ClassMetrics, second: ClassMetrics, supports: Mapping[str, int]) -> tuple[int, int]:
    """Return the number of classes with equal correct counts, and the second total of correct images less the first."""
    counts = [_counts(look, supports) for look in (first, second)]
    return sum(a == b for a, b in zip(*counts, strict=True)), sum(counts[1]) - sum(counts[0])


def probability_of_equal_counts(
    classes: int, first: ClassMetrics, second: ClassMetrics, supports: Mapping[str, int]
) -> float:
    """Return the probability that at least `classes` classes have equal numbers of correct images in two sets.

    Errors are assumed independent, at each class's mean rate over both tables. The bound on the difference of the
    totals is left out; it changes the probability in the fifth decimal.
    """
    pairs = zip(_counts(first, supports), _counts(second, supports), supports.values(), strict=True)
    return chance_of_at_least(
        classes, [chance_of_same_count(images, 1 - (one + other) / (2 * images)) for one, other, images in pairs]
    )


def _counts(look: ClassMetrics, supports: Mapping[str, int]) -> list[int]:
    return [round(value * images) for value, images in zip(look["class_accuracy"], supports.values(), strict=True)]


def _describe_looks(looks: tuple[int, int]) -> str:
    return f"{looks[0]} of 6 equal, {looks[1]:+d} images"


def format_span(values: Sequence[float]) -> str:
    """Format values as "lowest to highest" with four decimals, or as one number if both ends round to it."""
    low, high = f"{min(values):.4f}", f"{max(values):.4f}"
    return low if low == high else f"{low} to {high}"
