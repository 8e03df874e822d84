"""Numbers of one module on one image set, with standard errors over the images.

A quantity f of the eigenvalues l_k of a covariance changes with the weight of image i, of deviation x_i, by
t_i = sum_k df/dl_k ((u_k . x_i)^2 - l_k), where u_k is the eigenvector: the derivative of an eigenvalue that is simple.
Its standard error is sqrt(sum t_i^2 / (n (n - 1))), the infinitesimal jackknife (Jaeckel 1972; Efron 1982). Where the
largest eigenvalues lie close together it is wider than that of leaving out one image at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

from in4310repro.features import FeatureResult

# Of a standard normal distribution: 95 % of it lies within so many deviations.
DEVIATIONS = 1.96
LARGEST = 15  # eigenvalues, as many as the assignment asks for
Eigenvalues = NDArray[np.float64]


def effective_rank(values: Eigenvalues) -> tuple[float, Eigenvalues]:
    """Return exp(H), H the entropy of the eigenvalues divided by their sum (Roy and Vetterli 2007), and derivatives."""
    shares = values / values.sum()
    logarithms = np.log(np.where(shares > 0, shares, 1))
    entropy = -(shares * logarithms).sum()
    rank = math.exp(entropy)
    # An eigenvalue of 0 has no image that deviates in its direction, so that any finite derivative does.
    return rank, -rank * (logarithms + entropy) / values.sum()


def participation_ratio(values: Eigenvalues) -> tuple[float, Eigenvalues]:
    """Return the squared sum of the eigenvalues divided by the sum of their squares, and its derivatives."""
    total, squares = values.sum(), (values**2).sum()
    return float(total**2 / squares), 2 * total / squares - 2 * total**2 * values / squares**2


def first_share(values: Eigenvalues) -> tuple[float, Eigenvalues]:
    """Return the share of the largest eigenvalue in the sum of all, and its derivatives."""
    share = values.max() / values.sum()
    return float(share), ((values == values.max()) - share) / values.sum()


def total_variance(values: Eigenvalues) -> tuple[float, Eigenvalues]:
    """Return the sum of the eigenvalues, and its derivatives."""
    return float(values.sum()), np.ones_like(values)


QUANTITIES: dict[str, Callable[[Eigenvalues], tuple[float, Eigenvalues]]] = {
    "effective_rank": effective_rank,
    "participation_ratio": participation_ratio,
    "first_share": first_share,
    "total_variance": total_variance,
}


def with_errors(rows: Float64[np.ndarray, "image channel"]) -> dict[str, list[float]]:
    """Return each quantity of the covariance of the rows, divided by their number, with its standard error.

    Raises:
        ValueError: there are fewer than 4 rows, or all rows are equal.
    """
    images = len(rows)
    if images < 4 or not rows.std(axis=0).any():
        raise ValueError(f"{images} rows, of which not two may differ, have no standard error; 4 or more are needed")
    centred = rows - rows.mean(axis=0)
    # Left singular vectors times singular values are the rows in the directions of the eigenvectors.
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    values = singular**2 / images
    squares = (left * singular) ** 2 - values
    found = {}
    for name, quantity in QUANTITIES.items():
        value, derivatives = quantity(values)
        influences = squares @ derivatives
        found[name] = [value, math.sqrt(float((influences**2).sum()) / (images * (images - 1)))]
    return found


def describe(
    result: FeatureResult, rows: Float64[np.ndarray, "image channel"], shares: Float64[np.ndarray, " image"]
) -> dict[str, Any]:
    """Return the numbers of a module on a set of images, each [value, standard error over the images].

    Args:
        result: the statistics of the module, with one sample for each image.
        rows: the samples, for the standard errors.
        shares: share of values <= 0 of each image.
    """
    eigenvalues, errors = result.spectrum.eigenvalues.numpy(), with_errors(rows)
    numbers: dict[str, Any] = {name: [of(eigenvalues)[0], errors[name][1]] for name, of in QUANTITIES.items()}
    numbers["non_positive"] = [result.non_positive, float(shares.std(ddof=1)) / math.sqrt(len(shares))]
    numbers["norm_of_mean"] = float(result.mean.norm())
    numbers["channels"] = len(result.mean)
    numbers["eigenvalues"] = [float(value) for value in eigenvalues[:LARGEST]]
    return numbers


def split_by_class(rows: Float64[np.ndarray, "image channel"], labels: Int64[np.ndarray, " image"]) -> dict[str, float]:
    """Return the share of the total variance between class means, and the effective rank without these means."""
    within = rows.copy()
    for label in np.unique(labels):
        within[labels == label] -= rows[labels == label].mean(axis=0)
    total = ((rows - rows.mean(axis=0)) ** 2).sum()
    values = np.linalg.svd(within, compute_uv=False) ** 2
    return {"between": float(1 - (within**2).sum() / total), "rank_within": effective_rank(values)[0]}


def differ(first: list[float], second: list[float]) -> int:
    """Return the sign of second - first where 0 lies outside the 95 % interval of the difference, else 0."""
    difference, error = second[0] - first[0], math.hypot(first[1], second[1])
    return int(np.sign(difference)) if abs(difference) > DEVIATIONS * error else 0
