"""Reference values computed from copied feature maps by NumPy in float64, without the package's code."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


def maps_by_copies(network: nn.Module, name: str, batches: Sequence[Tensor]) -> list[Tensor]:
    """Return copies of a module's outputs, one per call, in evaluation mode without gradients."""
    copies: list[Tensor] = []
    handle = network.get_submodule(name).register_forward_hook(lambda *call: copies.append(call[2].clone()))
    was_training = network.training
    network.eval()
    with torch.no_grad():
        for batch in batches:
            network(batch)
    network.train(was_training)
    handle.remove()
    return copies


def rows_by_numpy(maps: Tensor, samples: str) -> NDArray[Any]:
    """Return a float64 matrix [sample, channel], minus one constant per channel.

    A sample is a position or, if `samples` is "images", the mean over an image's positions.
    """
    numbers: NDArray[Any] = maps.double().numpy()
    numbers = numbers.reshape(*numbers.shape[:2], -1)
    numbers = numbers - numbers[0, :, 0][:, None]
    if samples == "images":
        means: NDArray[Any] = numbers.mean(axis=2)
        return means
    return np.moveaxis(numbers, 1, 2).reshape(-1, numbers.shape[1])


def covariance_by_numpy(maps: Tensor, samples: str) -> NDArray[Any]:
    return np.cov(rows_by_numpy(maps, samples).T, bias=True)


def error_of(covariance: Tensor, expected: NDArray[Any]) -> float:
    """Return the larger of the relative Frobenius error and the worst relative error of the top 8 eigenvalues."""
    frobenius = np.linalg.norm(covariance.numpy() - expected) / np.linalg.norm(expected)
    expected_values = np.linalg.eigvalsh(expected)[::-1][:8]
    measured = np.linalg.eigvalsh(covariance.numpy())[::-1][:8]
    return float(max(frobenius, np.max(np.abs(measured - expected_values) / expected_values)))
