"""Errors of covariances and eigenvalues, relative to NumPy in float64 on copies of the feature maps."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.contenders import Covariances, Samples, output_hooks
from benchmarks.peers import Matrix, to_numpy

EIGENVALUES = 8  # the largest, whose errors count


def reference_covariances(
    model: nn.Module, batches: list[Tensor], modules: tuple[str, ...], samples: Samples
) -> Covariances:
    """Return each module's covariance matrix, channel x channel, by `numpy.cov(bias=True)` in float64.

    The first value of each channel is subtracted first, since a large mean would cost NumPy digits.
    """
    copies: dict[str, list[Tensor]] = {name: [] for name in modules}

    def make_consumer(name: str) -> Callable[[Tensor], object]:
        return lambda maps: copies[name].append(maps.detach().cpu().clone())

    with torch.no_grad(), output_hooks(model, {name: make_consumer(name) for name in modules}):
        for batch in batches:
            model(batch)
    covariances = {}
    for name in modules:
        maps = torch.cat(copies.pop(name)).flatten(start_dim=2).double().numpy()
        maps = maps - maps[0, :, 0][:, None]
        rows = maps.mean(axis=2) if samples == "images" else np.moveaxis(maps, 1, 2).reshape(-1, maps.shape[1])
        covariances[name] = np.cov(rows.T, bias=True)
    return covariances


def worst_error(measured: Covariances, expected: Covariances) -> float:
    """Return the largest error over all modules, as defined by `relative_error`."""
    return max(relative_error(measured[name], expected[name]) for name in expected)


def relative_error(measured: Matrix, expected: Matrix) -> float:
    """Return the larger of the covariance's relative error (Frobenius norm) and that of its largest eigenvalues."""
    expected_values, values = (_eigenvalues(matrix)[:EIGENVALUES] for matrix in (expected, measured))
    # The relative error of an eigenvalue that is zero up to rounding is meaningless.
    nonzero = expected_values > 1e-9 * expected_values[0]
    frobenius = np.linalg.norm(measured - expected) / np.linalg.norm(expected)
    return float(max(frobenius, np.max(np.abs(values - expected_values)[nonzero] / expected_values[nonzero])))


def _eigenvalues(matrix: Matrix) -> Matrix:
    """Return eigenvalues in decreasing order, by torch, since NumPy's threads would compete with torch's."""
    return to_numpy(torch.linalg.eigvalsh(torch.from_numpy(matrix)).flip(0))
