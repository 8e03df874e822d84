"""Third-party tools that accumulate a covariance, each wrapped in the same interface."""

import importlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

COMPONENTS = 32  # of IncrementalPCA
Matrix = NDArray[np.float64]


class Peer(Protocol):
    """Interface of a tool that accumulates the rows of one module and computes their covariance."""

    def update(self, rows: Tensor) -> None:
        """Add the features of a batch: position x channel, one row for each position of each image."""

    def covariance(self) -> Matrix:
        """Return the covariance of all rows, divided by their number: channel x channel."""


class PlainSums:
    """Covariance as E[x x^T] - E[x] E[x]^T: most scripts compute it in float32, torchmetrics in float64."""

    def __init__(self, _channels: int, dtype: torch.dtype = torch.float32) -> None:
        self._dtype = dtype
        self._rows = 0
        self._sum = torch.zeros((), dtype=dtype)
        self._products = torch.zeros((), dtype=dtype)

    def update(self, rows: Tensor) -> None:
        """Add the features of a batch: position x channel."""
        rows = rows.to(self._dtype)
        self._rows += len(rows)
        self._sum = self._sum + rows.sum(dim=0)
        self._products = self._products + rows.T @ rows

    def covariance(self) -> Matrix:
        """Return the covariance of all rows, divided by their number: channel x channel."""
        mean = self._sum / self._rows
        return to_numpy(self._products / self._rows - torch.outer(mean, mean))


class TorchMetrics:
    """Covariance from the sums in torchmetrics' FID, with rows in place of image features."""

    def __init__(self, channels: int) -> None:
        identity = nn.Identity()
        identity.num_features = channels  # type: ignore[assignment]
        metric = importlib.import_module("torchmetrics.image.fid").FrechetInceptionDistance
        self._metric = metric(feature=identity)

    def update(self, rows: Tensor) -> None:
        """Add the features of a batch: position x channel."""
        self._metric.to(rows.device).update(rows, real=True)

    def covariance(self) -> Matrix:
        """Return the covariance of all rows, divided by their number: channel x channel."""
        number = self._metric.real_features_num_samples
        mean = self._metric.real_features_sum / number
        return to_numpy(self._metric.real_features_cov_sum / number - torch.outer(mean, mean))


class WelfordTorch:
    """Covariance by welford-torch's OnlineCovariance with its defaults: float32."""

    def __init__(self, _channels: int) -> None:
        self._online = importlib.import_module("welford_torch").OnlineCovariance()

    def update(self, rows: Tensor) -> None:
        """Add the features of a batch: position x channel."""
        self._online.add_all(rows)

    def covariance(self) -> Matrix:
        """Return the covariance of all rows, divided by their number: channel x channel."""
        return to_numpy(self._online.cov)


class TorchLens:
    """Covariance by torchlens: Chan's formula in float64, divided by n - 1."""

    def __init__(self, _channels: int) -> None:
        self._rows = 0
        self._running = importlib.import_module("torchlens.stats").Covariance()

    def update(self, rows: Tensor) -> None:
        """Add the features of a batch: position x channel."""
        self._rows += len(rows)
        self._running.update(rows)

    def covariance(self) -> Matrix:
        """Return the covariance of all rows, divided by their number: channel x channel."""
        return to_numpy(self._running.result()) * ((self._rows - 1) / self._rows)


class DeepTime:
    """Covariance by deeptime: NumPy, float64."""

    def __init__(self, _channels: int) -> None:
        estimator_class = importlib.import_module("deeptime.covariance").Covariance
        self._estimator = estimator_class(compute_c00=True, remove_data_mean=True, bessels_correction=False)

    def update(self, rows: Tensor) -> None:
        """Add the features of a batch: position x channel."""
        self._estimator.partial_fit(to_numpy(rows))

    def covariance(self) -> Matrix:
        """Return the covariance of all rows, divided by their number: channel x channel."""
        return np.asarray(self._estimator.fetch_model().cov_00)


class IncrementalPca:
    """Covariance from scikit-learn's IncrementalPCA with at most COMPONENTS components."""

    def __init__(self, channels: int) -> None:
        self._max_components = min(COMPONENTS, channels)
        self._pca: Any = None

    def update(self, rows: Tensor) -> None:
        """Add the features of a batch: position x channel."""
        if self._pca is None:
            pca_class = importlib.import_module("sklearn.decomposition").IncrementalPCA
            self._pca = pca_class(n_components=min(self._max_components, len(rows)))
        self._pca.partial_fit(rows.cpu().numpy())

    def covariance(self) -> Matrix:
        """Return the covariance of all rows, divided by their number: channel x channel."""
        components = self._pca.components_
        number = self._pca.n_samples_seen_
        return np.asarray((components.T * self._pca.explained_variance_) @ components * ((number - 1) / number))


class StoreEverything:
    """Covariance by numpy.cov on stored copies of all maps."""

    def __init__(self, _channels: int) -> None:
        self._copies: list[Tensor] = []

    def update(self, rows: Tensor) -> None:
        """Add the features of a batch: position x channel."""
        self._copies.append(rows.cpu().clone())

    def covariance(self) -> Matrix:
        """Return the covariance of all rows, divided by their number: channel x channel."""
        return np.cov(torch.cat(self._copies).numpy().T, bias=True)


def to_numpy(values: Tensor) -> Matrix:
    """Return a tensor as a float64 array in the host's memory."""
    return np.asarray(values.detach().cpu().double().numpy())


Peers = dict[str, tuple[str, Callable[[int], Peer]]]  # name -> distribution and class
PEERS: Peers = {
    "plain float32 sums": ("torch", PlainSums),
    "torchmetrics": ("torchmetrics", TorchMetrics),
    "welford-torch": ("welford-torch", WelfordTorch),
    "torchlens": ("torchlens", TorchLens),
    "deeptime": ("deeptime", DeepTime),
    f"IncrementalPCA, {COMPONENTS} components": ("scikit-learn", IncrementalPca),
    "store everything, numpy.cov": ("numpy", StoreEverything),
}
