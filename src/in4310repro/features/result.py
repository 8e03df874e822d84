"""Result of a measurement of one module: counts, moments, covariance and spectrum of its output."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float64
from torch import Tensor

from in4310repro.features.activations import Histogram, TopImages, check_poolable, pool_histogram, pool_top_images
from in4310repro.features.blocks import BlockMoments, merge_nodes
from in4310repro.features.covariance import Moments, merge_moments
from in4310repro.features.kernel import Counts
from in4310repro.features.spectra import FlatMaps, Spectrum, gram_matrix, spectrum
from in4310repro.features.stream import Settings, Stream

if TYPE_CHECKING:
    import matplotlib.axes

# Fields that a result, and its JSON, has only if they were requested.
OPTIONAL: dict[str, type[Histogram] | type[TopImages]] = {"histogram": Histogram, "top_images": TopImages}


@dataclass(frozen=True, kw_only=True)
class FeatureResult:
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
    def mean(self) -> Float64[Tensor, " channel"]:
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

    def to_json(self) -> dict[str, Any]:
        """Return the result as numbers, lists and None, from which `from_json` restores it exactly."""
        content = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in OPTIONAL}
        moments = self.moments and {name: value.tolist() for name, value in vars(self.moments).items()}
        content |= {"moments": moments, "gram": None if self.gram is None else self.gram.tolist()}
        return content | {name: part.to_json() for name in OPTIONAL if (part := getattr(self, name)) is not None}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "FeatureResult":
        """Return the result that a record from `to_json` describes.

        Raises:
            ValueError: a name is missing or unknown.
        """
        names, known = {field.name for field in fields(cls)}, {field.name for field in fields(Moments)}
        moments, gram = content.get("moments"), content.get("gram")
        needed = names - (OPTIONAL.keys() - content.keys())
        for given, valid in ((content, needed), (moments or dict.fromkeys(known), known)):
            if wrong := sorted(given.keys() ^ valid):
                raise ValueError(f"{', '.join(wrong)}: missing or unknown; a result has {', '.join(sorted(valid))}")
        tensors = moments and {name: torch.tensor(value, dtype=torch.float64) for name, value in moments.items()}
        parts = {
            "moments": Moments(**tensors) if tensors else None,
            "gram": None if gram is None else torch.tensor(gram, dtype=torch.float64),
        }
        optional = {name: kind.from_json(content[name]) for name, kind in OPTIONAL.items() if name in content}
        return cls(**{**content, **parts, **optional})

    def plot(self, axes: "matplotlib.axes.Axes | None" = None, k: int | None = None) -> "matplotlib.axes.Axes":
        """Plot the k largest eigenvalues, or all if k is None, in decreasing order on a logarithmic scale.

        Args:
            axes: where to draw; None makes a figure with pyplot.
            k: how many eigenvalues.

        Raises:
            ValueError: k is not in 1..channels, or there is no covariance.
        """
        values = self.eigenvalues(k).numpy()
        if axes is None:
            from matplotlib import pyplot

            _, axes = pyplot.subplots()
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
            given = f"{self.rows} rows give no covariance with correction {self.correction}"
            raise ValueError(f"{given}; more rows than that are needed")
        return scatter / (self.rows - self.correction)


def finalize(streams: list[Stream], settings: Settings) -> FeatureResult:
    """Return the result over all `streams`, each of which holds the statistics of one call of a module.

    If the statistics are on a GPU, this function waits until the GPU has computed them.

    Raises:
        ValueError: only empty batches were measured, a value is not finite and `on_non_finite` is "raise",
            or the calls differ in their channels.
    """
    counts = sum((stream.counts for stream in streams), Counts())
    values, non_positive, zeros, non_finite = counts.to_ints()
    if not values:
        raise ValueError("only empty batches passed; statistics of no values are undefined")
    if non_finite and settings.on_non_finite == "raise":
        raise ValueError(f"{non_finite} of {values} values are not finite")
    moments = pool_moments([s.accumulator for s in streams if isinstance(s.accumulator, BlockMoments)])
    maps = [s.accumulator.maps() for s in streams if isinstance(s.accumulator, FlatMaps)]
    gram = gram_matrix(torch.cat(maps)).cpu() if maps else None
    activations = [stream.activations for stream in streams]
    rows = int(moments.rows) if moments is not None else 0 if gram is None else len(gram)
    return FeatureResult(
        images=max(stream.images for stream in streams),
        rows=rows,
        rows_left_out=sum(stream.sample_count for stream in streams) - rows,
        values=values,
        non_positive_values=non_positive,
        zeros=zeros,
        non_finite=non_finite,
        correction=settings.correction,
        moments=moments,
        gram=gram,
        histogram=pool_histogram(activations),
        top_images=pool_top_images(activations),
    )


def pool_moments(calls: list[BlockMoments]) -> Moments | None:
    """Return the moments over the rows of all calls of a module, merged in order of the calls; None without calls.

    Raises:
        ValueError: the calls differ in their number of channels.
    """
    if not calls:
        return None
    totals = [merge_nodes(call.nodes()).to("cpu") for call in calls]
    check_poolable(len(moments.shift) for moments in totals)
    return reduce(merge_moments, totals)
