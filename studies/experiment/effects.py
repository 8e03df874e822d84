"""Effects of shared split and warm start: contrasts of cells, with intervals over images and over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from studies.experiment.cells import Cell, unpack

Weights = dict[str, float]  # cell -> weight


def parse_contrast(text: str, divisor: float) -> Weights:
    """Return the weight of each cell in a sum such as `shared - separate`, divided by `divisor`."""
    words = text.split()
    signs = ["+", *words[1::2]]
    return {cell: (1 if sign == "+" else -1) / divisor for sign, cell in zip(signs, words[::2], strict=True)}


def correct_by_class(cell: Cell) -> list[NDArray[np.bool_]]:
    """Return for each class whether its test images, in the order of their paths, are classified correctly."""
    sizes = list(cell["summary"]["supports"].values())
    # Paths begin with the name of the class, and classes are in alphabetical order.
    return np.split(unpack(cell["test"]["correct"], sum(sizes)), np.cumsum(sizes)[:-1])


def contrast(cells: Mapping[str, Cell], weights: Weights) -> tuple[float, float]:
    """Return a contrast of mean class accuracies on test, and its standard error over the draw of test images.

    Cells that are tested on the same images are paired image by image; the classes are strata. Training again is not
    in the standard error.
    """
    groups: dict[str, list[str]] = {}
    for name in weights:
        groups.setdefault(cells[name]["test"]["paths_sha256"], []).append(name)
    total, variance = 0.0, 0.0
    for names in groups.values():
        by_class = [np.stack(rows, axis=1) for rows in zip(*(correct_by_class(cells[n]) for n in names), strict=True)]
        factors = np.array([weights[name] for name in names])
        for correct in by_class:
            each = correct @ factors
            total += each.mean() / len(by_class)
            variance += each.var(ddof=1) / len(each) / len(by_class) ** 2
    return float(total), math.sqrt(variance)


def of_seeds(values: Sequence[float]) -> list[float] | None:
    """Return the 95 % interval of the mean over seeds by Student's t; None for fewer than two seeds."""
    if len(values) < 2:
        return None
    spread = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return [float(np.mean(values) - spread), float(np.mean(values) + spread)]


def measure_effect(cells: Mapping[str, Mapping[str, Cell]], weights: Weights) -> dict[str, Any] | None:
    """Return an effect for each seed for which all its cells were run; None if there is no such seed.

    Args:
        cells: cell -> seed -> what is kept of the run.
        weights: weight of each cell.
    """
    seeds = sorted(set.intersection(*(set(cells.get(name, {})) for name in weights)), key=int)
    if not seeds:
        return None
    found = {seed: contrast({name: cells[name][seed] for name in weights}, weights) for seed in seeds}
    values = [value for value, _ in found.values()]
    return {
        "seeds": {s: {"value": v, "images": [v - 1.96 * e, v + 1.96 * e]} for s, (v, e) in found.items()},
        "mean": float(np.mean(values)),
        "over_seeds": of_seeds(values),
    }
