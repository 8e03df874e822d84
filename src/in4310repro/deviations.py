"""Deviations from the assignment: none in the corrected protocol, all of them in the published one.

Together they are a working hypothesis of how the published numbers came about. Whatever is made with a deviation
carries a label wherever it is printed or drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import StrEnum

from in4310repro.text import did_you_mean

# The published report's batch size. 200 images are 13 batches of it, which it counts as 208 images.
PUBLISHED_BATCH_SIZE = 16


class Deviation(StrEnum):
    """One deviation from the assignment; its value is its name on the command line and in files."""

    SHARED_SPLIT = "shared-split"
    WARM_START = "warm-start"
    RANDOM_FLIP_AT_TEST = "random-flip-at-test"
    AP_FROM_LOGITS = "ap-from-logits"
    PADDED_DENOMINATOR = "padded-denominator"
    BATCH_NORM_IN_TRAIN_MODE = "batch-norm-in-train-mode"
    ACCUMULATOR_NOT_RESET = "accumulator-not-reset"


Deviations = frozenset[Deviation]

MEANING = {
    Deviation.SHARED_SPLIT: "training, validation and test read the same images",
    Deviation.WARM_START: "each setting starts from the trained network of the setting before",
    Deviation.RANDOM_FLIP_AT_TEST: "images are flipped at random in evaluation",
    Deviation.AP_FROM_LOGITS: "average precision ranks logits instead of softmax scores",
    Deviation.PADDED_DENOMINATOR: "non-positive shares are divided by the images of full batches, 208 for 200",
    Deviation.BATCH_NORM_IN_TRAIN_MODE: "covariance spectra are measured with batch norm in train mode",
    Deviation.ACCUMULATOR_NOT_RESET: "the covariance of an image set includes the image sets before it",
}
# These change only what is computed from the scores of a trained network, or from its feature maps.
OF_SCORES = frozenset({Deviation.AP_FROM_LOGITS})
OF_FEATURES = frozenset(
    {Deviation.PADDED_DENOMINATOR, Deviation.BATCH_NORM_IN_TRAIN_MODE, Deviation.ACCUMULATOR_NOT_RESET}
)
CORRECTED, PUBLISHED = "corrected", "published"
# What version 0.1 called them.
FORMER_NAMES = {
    "one-set": Deviation.SHARED_SPLIT,
    "no-fresh-start": Deviation.WARM_START,
    "flipped-evaluation": Deviation.RANDOM_FLIP_AT_TEST,
    "logit-precision": Deviation.AP_FROM_LOGITS,
    "whole-batches": Deviation.PADDED_DENOMINATOR,
    "train-mode": Deviation.BATCH_NORM_IN_TRAIN_MODE,
    "kept-accumulator": Deviation.ACCUMULATOR_NOT_RESET,
}


def parse(protocol: str | Iterable[str]) -> Deviations:
    """The deviations of a protocol.

    Args:
        protocol: `corrected`, `published`, names of deviations joined by commas, or a list of such names.

    Raises:
        ValueError: an unknown name; for a former name, what it is called now.

    Examples:
        >>> sorted(map(str, parse("warm-start,shared-split")))
        ['shared-split', 'warm-start']
        >>> len(parse("published")), len(parse("corrected"))
        (7, 0)
    """
    if protocol == CORRECTED:
        return frozenset()
    if protocol == PUBLISHED:
        return frozenset(Deviation)
    names = [name.strip() for name in protocol.split(",")] if isinstance(protocol, str) else list(protocol)
    for name in names:
        if name in FORMER_NAMES:
            raise ValueError(f"no protocol {name!r}; this deviation is called {FORMER_NAMES[name]} now")
        if name not in list(Deviation):
            valid = [CORRECTED, PUBLISHED, *Deviation]
            near = did_you_mean(name, valid)
            raise ValueError(
                f"no protocol {name!r}; valid are {', '.join(valid)}, and deviations joined by commas{near}"
            )
    return frozenset(map(Deviation, names))


def describe(deviations: Deviations) -> str:
    """The protocol as `--protocol` takes it: `corrected`, `published` or names joined by commas."""
    if not deviations:
        return CORRECTED
    return PUBLISHED if deviations == frozenset(Deviation) else ",".join(sorted(deviations))


def label(deviations: Deviations) -> str:
    """What is printed on everything made with a deviation; empty for the corrected protocol."""
    if not deviations:
        return ""
    if deviations == frozenset(Deviation):
        return "PUBLISHED PROTOCOL: not as the assignment defines it"
    return f"DEVIATION: {meanings(deviations)}"


def meanings(deviations: Deviations) -> str:
    """What the deviations do, in words, in the order of their definition."""
    return "; ".join(MEANING[deviation] for deviation in Deviation if deviation in deviations)


def padded_images(images: int) -> int:
    """Images of the full batches that hold so many images: 208 for 200."""
    return math.ceil(images / PUBLISHED_BATCH_SIZE) * PUBLISHED_BATCH_SIZE
