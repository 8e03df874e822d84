"""Other tools that accumulate a covariance, each behind the same two methods."""

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
    """Takes rows of one module and gives their covariance, divided by n."""

    def update(self, rows: Tensor) -> None:
        """Rows, one a position, with their channels."""

    def covariance(self) -> Matrix:
        """Channel x channel."""


class PlainSums:
    """E[x x^T] - E[x] E[x]^T in one type: what most scripts do in float32, and torchmetrics in float64."""

    def __init__(self, _channels: int, dtype: torch.dtype = torch.float32) -> None:
        self._dtype = dtype
        self._rows = 0
        self._sum: Any = 0
        self._products: Any = 0

    def update(self, rows: Tensor) -> None:
        """Add rows."""
        rows = rows.to(self._dtype)
        self._rows += len(rows)
        self._sum = self._sum + rows.sum(dim=0)
        self._products = self._products + rows.T @ rows

    def covariance(self) -> Matrix:
        """Of all rows, divided by their number."""
        mean = self._sum / self._rows
        return host(self._products / self._rows - torch.outer(mean, mean))


class TorchMetrics:
    """The sums of torchmetrics' FID, fed with rows in the place of images."""

    def __init__(self, channels: int) -> None:
        rows_as_they_are = nn.Identity()
        rows_as_they_are.num_features = channels  # type: ignore[assignment]
        metric = importlib.import_module("torchmetrics.image.fid").FrechetInceptionDistance
        self._metric = metric(feature=rows_as_they_are)

    def update(self, rows: Tensor) -> None:
        """Add rows."""
        self._metric.to(rows.device).update(rows, real=True)

    def covariance(self) -> Matrix:
        """Of all rows, divided by their number."""
        number = self._metric.real_features_num_samples
        mean = self._metric.real_features_sum / number
        return host(self._metric.real_features_cov_sum / number - torch.outer(mean, mean))


class WelfordTorch:
    """welford-torch's OnlineCovariance, as it comes: float32."""

    def __init__(self, _channels: int) -> None:
        self._online = importlib.import_module("welford_torch").OnlineCovariance()

    def update(self, rows: Tensor) -> None:
        """Add rows."""
        self._online.add_all(rows)

    def covariance(self) -> Matrix:
        """Of all rows, divided by their number."""
        return host(self._online.cov)


class TorchLens:
    """torchlens' Covariance: Chan's formula in float64, divided by n - 1."""

    def __init__(self, _channels: int) -> None:
        self._rows = 0
        self._running = importlib.import_module("torchlens.stats").Covariance()

    def update(self, rows: Tensor) -> None:
        """Add rows."""
        self._rows += len(rows)
        self._running.update(rows)

    def covariance(self) -> Matrix:
        """Of all rows, divided by their number."""
        return host(self._running.result()) * ((self._rows - 1) / self._rows)


class DeepTime:
    """deeptime's Covariance: NumPy, float64."""

    def __init__(self, _channels: int) -> None:
        make = importlib.import_module("deeptime.covariance").Covariance
        self._estimator = make(compute_c00=True, remove_data_mean=True, bessels_correction=False)

    def update(self, rows: Tensor) -> None:
        """Add rows."""
        self._estimator.partial_fit(host(rows))

    def covariance(self) -> Matrix:
        """Of all rows, divided by their number."""
        return np.asarray(self._estimator.fetch_model().cov_00)


class IncrementalPca:
    """scikit-learn's IncrementalPCA of at most COMPONENTS components, put together to a covariance."""

    def __init__(self, channels: int) -> None:
        self._most = min(COMPONENTS, channels)
        self._pca: Any = None

    def update(self, rows: Tensor) -> None:
        """Add rows."""
        if self._pca is None:
            make = importlib.import_module("sklearn.decomposition").IncrementalPCA
            self._pca = make(n_components=min(self._most, len(rows)))
        self._pca.partial_fit(rows.cpu().numpy())

    def covariance(self) -> Matrix:
        """Of all rows, divided by their number."""
        parts = self._pca.components_
        number = self._pca.n_samples_seen_
        return np.asarray((parts.T * self._pca.explained_variance_) @ parts * ((number - 1) / number))


class StoreEverything:
    """Every map kept, then numpy.cov."""

    def __init__(self, _channels: int) -> None:
        self._kept: list[Tensor] = []

    def update(self, rows: Tensor) -> None:
        """Add rows."""
        self._kept.append(rows.cpu().clone())

    def covariance(self) -> Matrix:
        """Of all rows, divided by their number."""
        return np.cov(torch.cat(self._kept).numpy().T, bias=True)


def host(values: Tensor) -> Matrix:
    """A float64 array in the host's memory."""
    return np.asarray(values.detach().cpu().double().numpy())


PEERS: dict[str, tuple[str, Callable[[int], Peer]]] = {  # distribution, class
    "plain float32 sums": ("torch", PlainSums),
    "torchmetrics": ("torchmetrics", TorchMetrics),
    "welford-torch": ("welford-torch", WelfordTorch),
    "torchlens": ("torchlens", TorchLens),
    "deeptime": ("deeptime", DeepTime),
    f"IncrementalPCA, {COMPONENTS} components": ("scikit-learn", IncrementalPca),
    "store everything, numpy.cov": ("numpy", StoreEverything),
}
