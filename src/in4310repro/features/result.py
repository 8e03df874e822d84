"""What a finished measurement says about one module."""

from dataclasses import dataclass
from functools import cached_property, reduce

import torch
from jaxtyping import Float64
from torch import Tensor

from in4310repro.features.blocks import BlockMoments, total
from in4310repro.features.flat import FlatMaps, gram
from in4310repro.features.moments import Moments, merged
from in4310repro.features.sparsity import Counts
from in4310repro.features.spectra import Spectrum, spectrum
from in4310repro.features.stream import Settings, Stream


@dataclass(frozen=True, kw_only=True)
class FeatureResult:
    """Counts and moments of one module's output.

    `rows` are the samples of mean and covariance: images, or images x positions, times the calls that are pooled.
    Samples that held a non-finite value are left out of them and counted in `rows_left_out`.
    """

    images: int
    rows: int
    rows_left_out: int
    values: int
    non_positive_values: int
    zeros: int
    non_finite: int
    correction: int
    moments: Moments | None
    gram: Float64[Tensor, "row row"] | None

    @property
    def non_positive(self) -> float:
        """Share of values <= 0 among all values, in [0, 1]; zero counts."""
        return self.non_positive_values / self.values

    @property
    def mean(self) -> Float64[Tensor, " channel"]:
        """Mean of each channel.

        Raises:
            ValueError: only counts were asked for.
        """
        return self._moments().mean

    @property
    def covariance(self) -> Float64[Tensor, "channel channel"]:
        """Sum of (x - mean)(x - mean)^T over the rows, divided by rows - correction.

        Raises:
            ValueError: only counts were asked for, or there are no more rows than the correction.
        """
        upper = self._moments().scatter.triu()
        return self._divided(upper + upper.triu(1).T)

    @cached_property
    def spectrum(self) -> Spectrum:
        """Eigenvalues of the covariance with trace share and effective rank.

        For samples="flat" they are those of the n x n Gram matrix, the non-zero ones of the covariance among them.

        Raises:
            ValueError: there is no covariance.
        """
        return spectrum(self.covariance if self.gram is None else self._divided(self.gram))

    def eigenvalues(self, k: int | None = None) -> Float64[Tensor, " k"]:
        """The k largest eigenvalues of the covariance in decreasing order; all of them for None.

        Raises:
            ValueError: k is not in 1..channels, or there is no covariance.
        """
        return self.spectrum.first(k)

    def _moments(self) -> Moments:
        if self.moments is None:
            raise ValueError(
                'mean and covariance need samples="images" or "positions"; None counts only, '
                '"flat" has only eigenvalues'
            )
        return self.moments

    def _divided(self, scatter: Tensor) -> Tensor:
        if self.rows <= self.correction:
            raise ValueError(f"{self.rows} rows give no covariance with correction {self.correction}")
        return scatter / (self.rows - self.correction)


def finished(streams: list[Stream], settings: Settings) -> FeatureResult:
    """The result of one stream, or of the calls of one module pooled; waits for the GPU.

    Raises:
        ValueError: a value is not finite and those are to raise, or the calls differ in their number of channels.
    """
    counts = sum((stream.counts for stream in streams), Counts())
    values, non_positive, zeros, non_finite = counts.numbers()
    if not values:
        raise ValueError("only empty batches passed; there is nothing to say of no values")
    if non_finite and settings.on_non_finite == "raise":
        raise ValueError(f"{non_finite} of {values} values are not finite")
    moments = pooled_moments([s.samples for s in streams if isinstance(s.samples, BlockMoments)])
    flat = pooled_gram([s.samples for s in streams if isinstance(s.samples, FlatMaps)])
    rows = int(moments.rows) if moments is not None else 0 if flat is None else len(flat)
    return FeatureResult(
        images=max(stream.images for stream in streams),
        rows=rows,
        rows_left_out=sum(stream.seen for stream in streams) - rows,
        values=values,
        non_positive_values=non_positive,
        zeros=zeros,
        non_finite=non_finite,
        correction=settings.correction,
        moments=moments,
        gram=flat,
    )


def pooled_moments(calls: list[BlockMoments]) -> Moments | None:
    """Moments over the rows of all calls, in the order of the calls; None without any.

    Raises:
        ValueError: the calls differ in their number of channels.
    """
    if not calls:
        return None
    totals = [total(call.nodes()).to("cpu") for call in calls]
    channels = sorted({len(moments.shift) for moments in totals})
    if len(channels) > 1:
        raise ValueError(f'its calls have {channels} channels and cannot be pooled; measure them with calls="keep"')
    return reduce(merged, totals)


def pooled_gram(calls: list[FlatMaps]) -> Float64[Tensor, "row row"] | None:
    """Gram matrix over the maps of all calls, in the order of the calls; None without any."""
    return gram(torch.cat([call.maps() for call in calls])).cpu() if calls else None
