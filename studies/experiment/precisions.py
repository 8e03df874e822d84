"""Whether the printed average precisions go with the printed accuracies in networks of each cell.

A pair is a class's accuracy and average precision after one epoch of one setting. Each printed pair is compared with
the pairs of a cell whose accuracy lies within `NEAR` logits of the printed one, if enough lie on both sides of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from in4310repro.metrics import ClassMetrics
from studies.experiment.cells import Cell

NEAR = 0.5  # logits: from .98 to .97 on one side and .988 on the other
FEWEST = 30  # pairs with which a printed one is compared
BESIDE = 10  # of them with a lower accuracy, and as many with a higher one
EDGE = 1e-4  # accuracies of 0 and 1 have no logit


def pairs_of(cells: Iterable[Cell]) -> NDArray[np.float64]:
    """Return (pair, [accuracy, average precision]) of all classes, epochs and settings."""
    rows = [row for cell in cells for of_setting in cell["history"].values() for row in of_setting]
    return np.array([pair for accuracies, precisions in rows for pair in zip(accuracies, precisions, strict=True)])


def compare(printed: ClassMetrics, pairs: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Return for each class how many pairs are near, and the share of them with a lower average precision."""
    places = logit(np.clip(pairs[:, 0], EDGE, 1 - EDGE))
    found = []
    for accuracy, precision in zip(printed["class_accuracy"], printed["average_precision"], strict=True):
        near = pairs[np.abs(places - logit(np.clip(accuracy, EDGE, 1 - EDGE))) <= NEAR]
        sides = [int((near[:, 0] < accuracy).sum()), int((near[:, 0] > accuracy).sum())]
        enough = len(near) >= FEWEST and min(sides) >= BESIDE
        # A tie counts half, so that a printed value that all pairs share is in the middle.
        share = ((near[:, 1] < precision).mean() + (near[:, 1] == precision).mean() / 2) if enough else None
        found.append({"near": len(near), "lower": None if share is None else float(share)})
    return found
