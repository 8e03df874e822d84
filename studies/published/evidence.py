"""Evidence on how the published numbers arose: consequences of a hypothesis, and runs from ImageNet weights.

The hypothesis is stated in `deviations`. The thresholds were chosen after seeing the published values, so that no
statement here is a prediction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from scipy import special, stats

from in4310repro.audit.oddities import chance_of_at_least, chance_of_same_count
from in4310repro.audit.verdicts import Audit
from in4310repro.metrics import ClassMetrics, Interval, wilson
from in4310repro.report import page
from in4310repro.report.exhibit import original
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.files import read_json
from in4310repro.system.text import publishable_place
from studies.published.numbers import RunSummary, refuse_incomparable, summarize

FILE = "published/imagenet.json"
PRINTED = ("figure 3 (sgd)", "test")  # the two tables of the selected network


class Consequence(TypedDict):
    """A statement implied by the hypothesis that the published network was tested on its training images."""

    claim: str
    printed: str
    measured: str
    holds: bool
    weight: str  # strength of the evidence: the probability of the observation without the hypothesis


def consequences(corrected: RunSummary, published: Sequence[RunSummary]) -> list[Consequence]:
    """Return five statements implied by the hypothesis that the published network was tested on training images.

    Args:
        corrected: a run that was tested on images not used in training.
        published: at least one run that was tested on its training images, as the hypothesis says.
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
            claim=f"On its training images, the selected network reaches the printed {level:.4f}",
            printed=f"{level:.4f}",
            measured=format_span(seen),
            holds=min(seen) >= level,
            weight="little: expected of a network that is tested on its training images",
        ),
        Consequence(
            claim=f"On other images, it is not above the corrected protocol's {fair:.4f}",
            printed="-",
            measured=format_span(unseen),
            holds=max(unseen) <= fair,
            weight="little: expected of a network with fewer training images",
        ),
        Consequence(
            claim="Training goes on with one network: each setting beats the one before, and the last is selected",
            printed=" < ".join(f"{value:.4f}" for value in as_printed),
            measured=" < ".join(format_span(values) for values in levels),
            holds=all(row == sorted(row) for row in best) and all(run["selected"] == names[-1] for run in published),
            weight="little: expected where training on the tested images goes on long enough; three "
            "unrelated networks have this order with probability 1/6",
        ),
        Consequence(
            claim="The last two tables are two looks at the same images: at least 1 of 6 classes keeps its count, and "
            "the totals differ by at most 30 images",
            printed=_describe_looks(first),
            measured="; ".join(map(_describe_looks, looks)),
            holds=all(equal >= 1 and abs(difference) <= 30 for equal, difference in looks),
            weight="little: at the printed rates, two different image sets give such counts with probability "
            f"{chances[1]:.2f}, and {first[0]} or more equal ones with {chances[first[0]]:.3f}. This pair is one of "
            "six",
        ),
        Consequence(
            claim="If the printed training were ours, each printed accuracy would lie within the range of our seeds",
            printed=", ".join(f"{value:.4f}" for value in as_printed),
            measured=", ".join(format_span(values) for values in levels),
            holds=all(min(v) <= value <= max(v) for v, value in zip(levels, as_printed, strict=True)),
            weight=_weigh_levels(levels, as_printed),
        ),
    ]


def _weigh_levels(levels: Sequence[Sequence[float]], printed: Sequence[float]) -> str:
    """Return what the published values tell, beside the range of the measured ones of each training setting.

    A range is over runs with different seeds. The value that lies farthest outside of its range is named.
    """
    if len(levels[0]) < 2:
        return "nothing: one seed has no range"
    outside = [
        max(min(of_seeds) - value, value - max(of_seeds)) for of_seeds, value in zip(levels, printed, strict=True)
    ]
    place = outside.index(max(outside))
    if outside[place] <= 0:
        return "nothing: the printed training may be this one"
    low, high = min(levels[place]), max(levels[place])
    side = "below" if printed[place] < low else "above"
    return (
        f"that the printed training is not this one: {printed[place]:.4f} lies {outside[place]:.4f} {side} a range of "
        f"{high - low:.4f}"
    )


def compare_counts(first: ClassMetrics, second: ClassMetrics, supports: Mapping[str, int]) -> tuple[int, int]:
    """Compare how many images of each class are classified correctly in two tables of metrics.

    Return the number of classes with equal counts, and the total of `second` minus the total of `first`.
    `supports` has the number of images of each class.
    """
    counts = [_counts(look, supports) for look in (first, second)]
    return sum(a == b for a, b in zip(*counts, strict=True)), sum(counts[1]) - sum(counts[0])


def probability_of_equal_counts(
    classes: int, first: ClassMetrics, second: ClassMetrics, supports: Mapping[str, int]
) -> float:
    """Return the probability that at least `classes` classes have equal counts in two different image sets.

    A count is the number of correctly classified images of a class. Errors are assumed to be independent. The
    error rate of a class is its mean over the tables `first` and `second`.

    The statement in `consequences` that quotes this probability also requires that the totals differ by at most
    30 images. This requirement is left out here, since it would change the probability only in the fifth decimal.
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
    """Format values as "LOWEST to HIGHEST" with four decimals.

    If both are equal after rounding, the text is a single number.
    """
    low, high = f"{min(values):.4f}", f"{max(values):.4f}"
    return low if low == high else f"{low} to {high}"


class Likelihood(TypedDict):
    """Probability that a network of given accuracy gets a published number of correct images or a more extreme one."""

    reading: str  # the network whose accuracy is assumed, and the images it was measured on
    printed: str  # name of the printed count
    correct: int  # correct images by the printed accuracies
    images: int
    accuracy: float  # of the network
    interval: Interval  # 95 % interval of the accuracy
    side: str  # "or more" or "or fewer": the printed count is above or below the expected one
    log10: list[float]  # log10 of the probability at the accuracy, and at both ends of its interval


class Evidence(TypedDict):
    """Content of `published/imagenet.json`: summaries of runs from ImageNet weights, and what follows from them."""

    corrected: RunSummary
    published: list[RunSummary]
    consequences: list[Consequence]
    likelihoods: list[Likelihood]
    runs: dict[str, dict[str, Any]]  # the corrected run first


def make_evidence(corrected: FinishedRun, published: Sequence[FinishedRun], printed: Audit) -> Evidence:
    """Compare runs with the published numbers; return the evidence on how these numbers were measured.

    All runs must start from ImageNet weights.

    Args:
        corrected: a finished run that was tested on images not used in training (protocol `corrected`).
        published: finished runs that were tested on their training images (protocol `published`). They differ
            from `corrected` only in protocol and seed.
        printed: audit of the printed values, with the numbers of correctly classified images that it inferred.

    Raises:
        ValueError: the runs are not of these protocols, differ in more than protocol and seed, or start from
            scratch.
    """
    refuse_incomparable(corrected, published)
    if corrected.config.weights == "none":
        raise ValueError(f"{corrected.folder} is trained from scratch; expected a run from ImageNet weights")
    fair, summaries = summarize(corrected), [summarize(run) for run in published]
    return Evidence(
        corrected=fair,
        published=summaries,
        consequences=consequences(fair, summaries),
        likelihoods=likelihoods(fair, summaries, printed_counts(printed)),
        runs={publishable_place(run.folder.as_posix()): page.make_record(run) for run in (corrected, *published)},
    )


def read(reports: Path) -> Evidence | None:
    """Return the evidence stored in the folder of the page; None if its file is missing."""
    file = reports / FILE
    found: Evidence | None = read_json(file) if file.is_file() else None
    return found


def printed_counts(printed: Audit) -> dict[str, tuple[int, int]]:
    """Return the numbers of correctly classified images and of all images, by name of the published table.

    Only the tables in `PRINTED` are used.
    """
    counted = {table.name: (table.totals, table.images) for table in printed.counted if table.name in PRINTED}
    return {name: (totals[0], images) for name, (totals, images) in counted.items() if totals}


def likelihoods(
    corrected: RunSummary, published: Sequence[RunSummary], printed: Mapping[str, tuple[int, int]]
) -> list[Likelihood]:
    """Return two likelihoods for each printed number of correctly classified images.

    The first kind assumes the accuracy measured on unseen images, and the second the accuracy on training images.
    """
    supports = list(corrected["supports"].values())
    seen = [_correct(run["test"]["class_accuracy"], supports) for run in published]
    readings = {
        "corrected protocol, separate test images": (
            _correct(corrected["test"]["class_accuracy"], supports),
            sum(supports),
        ),
        "supposed protocol, its training images": (sum(seen), sum(supports) * len(seen)),
    }
    return [
        _likelihood(reading, name, counts, measured)
        for reading, measured in readings.items()
        for name, counts in printed.items()
    ]


def _correct(shares: Sequence[float], sizes: Sequence[int]) -> int:
    return sum(round(share * size) for share, size in zip(shares, sizes, strict=True))


def _likelihood(reading: str, name: str, printed: tuple[int, int], measured: tuple[int, int]) -> Likelihood:
    correct, images = printed
    accuracy, interval = measured[0] / measured[1], wilson(*measured)
    more = correct / images >= accuracy
    return Likelihood(
        reading=reading,
        printed=f"{name}, {correct:,} of {images:,}",
        correct=correct,
        images=images,
        accuracy=accuracy,
        interval=interval,
        side="or more" if more else "or fewer",
        log10=[log10_of_tail(correct, images, each, more=more) for each in (accuracy, *interval)],
    )


def log10_of_tail(correct: int, images: int, accuracy: float, *, more: bool) -> float:
    """Return log10 of the probability of a count at least as extreme as `correct`, in a binomial distribution.

    Each of `images` images is classified correctly with probability `accuracy`. If `more` is true, the result is
    for at least `correct` correctly classified images, otherwise for at most `correct`.

    Examples:
        >>> round(10 ** log10_of_tail(2, 2, 0.5, more=True), 6), round(10 ** log10_of_tail(1, 2, 0.5, more=False), 6)
        (0.25, 0.75)
    """
    # Keep rates of 0 and 1 inside the open interval, by about one unit in the last place of float64.
    accuracy = min(max(accuracy, 1e-16), 1 - 1e-16)
    # Computed in logarithms, since a probability below 1e-308 is 0 in float64.
    counts = range(correct, images + 1) if more else range(correct + 1)
    tail = special.logsumexp(stats.binom.logpmf(counts, images, accuracy))
    return float(tail) / math.log(10)


def format_probabilities(values: Sequence[float]) -> str:
    """Format three log10 probabilities as text: the first value, then the two others as a range in brackets.

    Examples:
        >>> format_probabilities([-1.0, -2.0, -0.5]), format_probabilities([-30.2, -40.0, -22.0])
        ('0.1 (0.01 to 0.32)', '1e-30 (1e-40 to 1e-22)')
    """
    one, *ends = (f"1e{round(v)}" if v < -4 else f"{10**v:.2g}" for v in (values[0], *sorted(values[1:])))
    return f"{one} ({' to '.join(ends)})"
