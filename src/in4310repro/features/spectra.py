"""Eigenvalues of a covariance matrix, with trace share and effective rank.

The spectrum of flattened maps is that of the n x n Gram matrix of n images, much smaller than their covariance matrix.
It needs the product of every pair of maps, so the maps themselves are kept: n x channels x positions values.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from in4310repro.features.kernel import Counts, column_sums, count, self_product
from in4310repro.features.outputs import FeatureMaps, State, Values, Vector


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues in decreasing order; negative ones, which rounding causes, are set to 0."""

    eigenvalues: Vector
    clamped: float  # magnitude of the most negative eigenvalue, which rounding had put below 0

    def largest(self, k: int | None = None) -> Float64[Tensor, " k"]:
        """Return the k largest eigenvalues; all of them if k is None.

        Raises:
            ValueError: k is not in 1..channels.
        """
        if k is not None and not 1 <= k <= len(self.eigenvalues):
            raise ValueError(f"{k} eigenvalues asked for; there are 1 to {len(self.eigenvalues)}")
        return self.eigenvalues[:k]

    def trace_share(self, k: int) -> float:
        """Return the sum of the k largest eigenvalues divided by the sum of all, in [0, 1].

        Raises:
            ValueError: k is not in 1..channels, or the total variance is 0.
        """
        return float(self.largest(k).sum() / self._trace())

    def effective_rank(self) -> float:
        """Return exp(H), in [1, channels]; H is the entropy of the eigenvalues after division by their sum.

        Roy, Vetterli, "The effective rank" (EUSIPCO 2007).

        Raises:
            ValueError: the total variance is 0.
        """
        return float(torch.special.entr(self.eigenvalues / self._trace()).sum().exp())

    def _trace(self) -> Tensor:
        trace = self.eigenvalues.sum()
        if not trace > 0:
            raise ValueError("the total variance is 0: all rows are equal, so no share of it is defined")
        return trace


def spectrum(covariance: Float64[Tensor, "channel channel"]) -> Spectrum:
    """Return the spectrum of a symmetric positive semi-definite matrix, by LAPACK's symmetric solver in float64.

    Raises:
        ValueError: the matrix has a value that is not finite.
    """
    if not torch.isfinite(covariance).all():
        raise ValueError(f"{int((~torch.isfinite(covariance)).sum())} entries of the covariance are not finite")
    # LAPACK's last bits depend on the number of its threads, from 128 channels on, and a second one saves no time.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ascending = torch.linalg.eigvalsh(covariance)
    finally:
        torch.set_num_threads(threads)
    return Spectrum(ascending.flip(0).clamp(min=0), clamped=max(0.0, -float(ascending[0])))


MAX_BYTES = 4 << 30  # bytes
COLUMN_CHUNK = 1 << 15  # values of each map in one product


class FlatMaps:
    """Maps of all images, flattened and stored in batches."""

    def __init__(self) -> None:
        self._batches: dict[int, Tensor] = {}

    @property
    def row_width(self) -> int | None:
        """Number of values in a flattened map; None before the first map."""
        return next((batch.shape[1] for batch in self._batches.values()), None)

    def check(self, first_image: int, maps: Values) -> None:
        """Check that copies of the maps of images first_image, first_image + 1, ... fit.

        Raises:
            ValueError: the copies would take more memory than MAX_BYTES.
        """
        total = sum(batch.nbytes for batch in self._batches.values()) + maps.nbytes
        if total > MAX_BYTES:
            raise ValueError(f'"flat" keeps every map, {total} bytes by image {first_image}; the limit is {MAX_BYTES}')

    def add(self, first_image: int, maps: FeatureMaps) -> Counts:
        """Store a copy of the maps of images first_image, first_image + 1, ...; return counts of the copied values."""
        self._batches[first_image] = maps.flatten(start_dim=1).clone()
        return count(maps)

    def merge(self, other: "FlatMaps") -> None:
        """Add the maps of `other`. The two must not have an image in common."""
        self._batches = self._batches | other._batches

    def maps(self) -> Float[Tensor, "image value"]:
        """Return all maps, flattened, in the order of the images."""
        return torch.cat([self._batches[first] for first in sorted(self._batches)])

    def state(self) -> State:
        """Return the stored batches of maps, by the index of the first image of each batch."""
        return {f"{first}": batch for first, batch in self._batches.items()}

    def restore(self, state: State) -> None:
        """Load the maps of a saved state.

        Raises:
            ValueError: a batch is not a matrix of floating-point values, or batches differ in their width.
        """
        for first, batch in state.items():
            if not batch.is_floating_point() or batch.ndim != 2 or self.row_width not in (None, batch.shape[1]):
                raise ValueError(
                    f"flattened maps of {batch.dtype} and shape {tuple(batch.shape)}; they must be floating-point "
                    "values [image, value] of one width"
                )
            self._batches[int(first)] = batch


def gram_matrix(maps: Float[Tensor, "row value"]) -> Float64[Tensor, "finite finite"]:
    """Return the Gram matrix of the centred rows in float64. Rows with values that are not finite are left out.

    Entry (i, j) is (x_i - mean) . (x_j - mean). The non-zero eigenvalues equal those of the scatter matrix, which
    is not computed because its size [value, value] would be much larger.
    """
    finite = maps[maps.isfinite().all(dim=1)]
    products = maps.new_zeros(len(finite), len(finite), dtype=torch.float64)
    for part in torch.split(finite, COLUMN_CHUNK, dim=1) if len(finite) else ():
        # Minus the first row: a mean of 1e6 standard deviations would cost the digits of the sum.
        shifted = part.double() - part[:1].double()
        centred = shifted - column_sums(shifted) / len(shifted)
        products += self_product(centred.T)
    return products
