"""Departures from the assignment: named switches, each off in the corrected protocol, all on in the published one.

Together they are a working hypothesis of how the published numbers came about. What is made with a switch on carries
a label wherever it is printed or drawn.
"""

from __future__ import annotations

import math
from enum import StrEnum

# The published report's batch size. 200 images are 13 batches of it, which it counts as 208 images.
PUBLISHED_BATCH = 16


class Switch(StrEnum):
    """One departure; its value is its name on the command line."""

    ONE_SET = "one-set"
    NO_FRESH_START = "no-fresh-start"
    FLIPPED_EVALUATION = "flipped-evaluation"
    LOGIT_PRECISION = "logit-precision"
    WHOLE_BATCHES = "whole-batches"
    TRAIN_MODE = "train-mode"
    KEPT_ACCUMULATOR = "kept-accumulator"


MEANING = {
    Switch.ONE_SET: "training, validation and test read the same images",
    Switch.NO_FRESH_START: "each setting goes on with the network of the one before",
    Switch.FLIPPED_EVALUATION: "evaluation flips images at random",
    Switch.LOGIT_PRECISION: "average precision ranks logits and not softmax scores",
    Switch.WHOLE_BATCHES: "non-positive shares are divided by the images of whole batches, 208 for 200",
    Switch.TRAIN_MODE: "covariance spectra are measured in train mode",
    Switch.KEPT_ACCUMULATOR: "the covariance of an image set pools the sets before it",
}
# These change what is computed from the scores of a trained network, and from its maps, and nothing before.
OF_SCORES = (Switch.LOGIT_PRECISION,)
OF_FEATURES = (Switch.WHOLE_BATCHES, Switch.TRAIN_MODE, Switch.KEPT_ACCUMULATOR)
CORRECTED, PUBLISHED = "corrected", "published"


def switches(protocol: str) -> frozenset[Switch]:
    """The switches that a protocol turns on: `corrected`, `published`, or names joined by commas.

    Raises:
        ValueError: an unknown name.
    """
    if protocol == CORRECTED:
        return frozenset()
    if protocol == PUBLISHED:
        return frozenset(Switch)
    names = [name.strip() for name in protocol.split(",")]
    for name in names:
        if name not in list(Switch):
            valid = ", ".join([CORRECTED, PUBLISHED, *Switch])
            raise ValueError(f"no protocol {name!r}; valid are {valid}, and switches joined by commas")
    return frozenset(map(Switch, names))


def label(protocol: str) -> str:
    """What is printed on everything made with a switch on; empty for the corrected protocol."""
    on = switches(protocol)
    if not on:
        return ""
    if on == frozenset(Switch):
        return "PUBLISHED PROTOCOL: not as the assignment defines it"
    return f"DEPARTURE: {'; '.join(MEANING[switch] for switch in Switch if switch in on)}"


def counted_images(images: int) -> int:
    """Images of the whole batches that hold so many: 208 for 200."""
    return math.ceil(images / PUBLISHED_BATCH) * PUBLISHED_BATCH
