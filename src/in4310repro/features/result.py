"""Result of a measurement of one module: counts, moments, covariance and spectrum of its output."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jaxtyping import Float64
from torch import Tensor

from in4310repro.features.activations import Histogram, TopImages
from in4310repro.features.covariance import Moments
from in4310repro.features.outputs import Record, Vector
from in4310repro.features.spectra import Spectrum, spectrum


@dataclass(frozen=True)
class FeatureResult(Record):
    """Counts and moments of one module's output.

    `rows` is the number of samples of mean and covariance: images, or images x positions, times the pooled calls.
    Samples with a value that is not finite are excluded; `rows_left_out` is their number.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from in4310repro.features import FeatureStatistics
        >>> model = nn.Sequential(nn.Identity())
        >>> with FeatureStatistics(model, ["0"], samples="positions") as statistics:
        ...     outputs = model(torch.tensor([[[[-3.0, 3.0]], [[0.0, 4.0]]]]))  # one image, 2 channels, 1 x 2 positions
        >>> result = statistics.result()["0"]
        >>> result.rows, result.values, result.non_positive
        (2, 4, 0.5)
        >>> result.mean.tolist(), result.covariance.tolist()
        ([0.0, 2.0], [[9.0, 6.0], [6.0, 4.0]])
        >>> round(result.spectrum.trace_share(1), 6)
        1.0
    """

    images: int
    rows: int
    rows_left_out: int
    values: int
    non_positive_values: int
    zeros: int
    non_finite: int  # values
    correction: int  # the covariance divides by rows - correction
    moments: Moments | None  # None for samples=None and "flat"
    gram: Float64[Tensor, "row row"] | None  # of the centred, flattened maps; for "flat" alone
    histogram: Histogram | None = None  # of all finite values, where it was asked for
    top_images: TopImages | None = None  # of each channel, where they were asked for

    @property
    def non_positive(self) -> float:
        """Number of values <= 0 divided by the number of all values, in [0, 1]."""
        return self.non_positive_values / self.values

    @property
    def mean(self) -> Vector:
        """Mean of each channel over all samples (images or positions).

        Raises:
            ValueError: only counts were measured.
        """
        return self._require_moments().mean

    @property
    def covariance(self) -> Float64[Tensor, "channel channel"]:
        """Covariance matrix of the channels, estimated from all finite samples.

        It is the sum of (x - mean)(x - mean)^T over these samples x, divided by (their number - correction).

        Raises:
            ValueError: only counts or flattened maps were measured, or the number of finite samples is not above
                the correction.
        """
        upper = self._require_moments().scatter.triu()
        return self._normalize(upper + upper.triu(1).T)

    @cached_property
    def spectrum(self) -> Spectrum:
        """Eigenvalues of the covariance matrix, with methods for trace share and effective rank.

        For samples="flat" the eigenvalues are computed from the n x n Gram matrix, which has the same nonzero
        eigenvalues as the covariance matrix.

        Raises:
            ValueError: there is no covariance.
        """
        return spectrum(self.covariance if self.gram is None else self._normalize(self.gram))

    def eigenvalues(self, k: int | None = None) -> Float64[Tensor, " k"]:
        """Return the covariance's k largest eigenvalues in decreasing order; all of them if k is None.

        Raises:
            ValueError: k is not in 1..channels, or there is no covariance.
        """
        return self.spectrum.largest(k)

    def plot(self, axes: Any = None, k: int | None = None) -> Any:
        """Plot the k largest eigenvalues, or all if k is None, in decreasing order on a logarithmic scale.

        Args:
            axes: where to draw, matplotlib's axes, which are returned; None makes a figure with pyplot.
            k: how many eigenvalues.

        Raises:
            ValueError: k is not in 1..channels, or there is no covariance.
        """
        values = self.eigenvalues(k).numpy()
        if axes is None:
            from matplotlib import pyplot

            axes = pyplot.figure().add_subplot()
        axes.semilogy(range(1, len(values) + 1), values, marker=".")
        axes.set(xlabel="index of the eigenvalue", ylabel="variance")
        return axes

    def _require_moments(self) -> Moments:
        if self.moments is None:
            valid = 'samples="images" or "positions"; None counts only, "flat" has only eigenvalues'
            raise ValueError(f"mean and covariance need {valid}")
        return self.moments

    def _normalize(self, scatter: Tensor) -> Tensor:
        if self.rows <= self.correction:
            raise ValueError(f"{self.rows} rows give no covariance with correction {self.correction}; more are needed")
        return scatter / (self.rows - self.correction)
