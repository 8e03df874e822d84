"""Evidence from runs with ImageNet weights on how the published numbers arose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from scipy import special, stats

from in4310repro.audit.verdicts import Audit
from in4310repro.metrics import Interval, wilson
from in4310repro.report import page
from in4310repro.report.consequences import Consequence, consequences
from in4310repro.report.page import RunRecord
from in4310repro.report.published_numbers import RunSummary, refuse_incomparable, summarize
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.files import read_json
from in4310repro.system.text import publishable_place

FILE = "published/imagenet.json"
PRINTED = ("figure 3 (sgd)", "test")  # the two tables of the selected network


class Likelihood(TypedDict):
    """Probability of a published number of correct images, if each is independently right at a network's accuracy."""

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
    runs: dict[str, RunRecord]  # the corrected run first


def make_evidence(corrected: FinishedRun, published: Sequence[FinishedRun], printed: Audit) -> Evidence:
    """Return the evidence of runs from ImageNet weights on the hypothesis about the published numbers.

    Args:
        corrected: a finished run of the corrected protocol.
        published: finished runs of the supposed protocol that differ from `corrected` only in protocol and seed.
        printed: audit of the printed values, which counts the correct images.

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
    """Return the number of correct images and of all images, for each of the tables named in `PRINTED`."""
    counted = {table.name: (table.totals, table.images) for table in printed.counted if table.name in PRINTED}
    return {name: (totals[0], images) for name, (totals, images) in counted.items() if totals}


def likelihoods(
    corrected: RunSummary, published: Sequence[RunSummary], printed: Mapping[str, tuple[int, int]]
) -> list[Likelihood]:
    """Return two likelihoods of each published count: one for a test on unseen images, one on training images."""
    supports = list(corrected["supports"].values())
    seen = [_correct(run["test"]["class_accuracy"], supports) for run in published]
    readings = {
        "corrected protocol, images that took no part": (
            _correct(corrected["test"]["class_accuracy"], supports),
            sum(supports),
        ),
        "supposed protocol, images that it was trained on": (sum(seen), sum(supports) * len(seen)),
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
        printed=f"{name}, {correct} of {images}",
        correct=correct,
        images=images,
        accuracy=accuracy,
        interval=interval,
        side="or more" if more else "or fewer",
        log10=[log10_of_tail(correct, images, each, more=more) for each in (accuracy, *interval)],
    )


def log10_of_tail(correct: int, images: int, accuracy: float, *, more: bool) -> float:
    """Return log10 of the binomial probability of at least (if `more`) or at most `correct` correct images.

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
    """Format a probability, followed by the range of two others in brackets; all three are given as log10.

    Examples:
        >>> format_probabilities([-1.0, -2.0, -0.5]), format_probabilities([-30.2, -40.0, -22.0])
        ('0.1 (0.01 to 0.32)', '1e-30 (1e-40 to 1e-22)')
    """
    one, *ends = (f"1e{round(v)}" if v < -4 else f"{10**v:.2g}" for v in (values[0], *sorted(values[1:])))
    return f"{one} ({' to '.join(ends)})"
