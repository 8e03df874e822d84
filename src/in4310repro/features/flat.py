"""The spectrum of flattened maps through the n x n Gram matrix: channels x positions is never squared.

Every pair of images has to meet, so this mode keeps the maps themselves: n x channels x positions values.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from in4310repro.features.sparsity import Counts, count

LIMIT = 4 << 30  # bytes
COLUMNS = 1 << 15  # values of each map multiplied at a time


class FlatMaps:
    """The maps of all images by the index of the first image of their batch."""

    def __init__(self) -> None:
        self._batches: dict[int, Tensor] = {}

    @property
    def width(self) -> int | None:
        """Values of a map; None before the first."""
        return next((batch.shape[1] for batch in self._batches.values()), None)

    def add(self, first_image: int, maps: Float[Tensor, "image channel height width"]) -> Counts:
        """Count and keep a copy of the maps of images first_image, first_image + 1, ....

        Raises:
            ValueError: the copies would take more memory than LIMIT.
        """
        kept = sum(batch.nbytes for batch in self._batches.values()) + maps.nbytes
        if kept > LIMIT:
            raise ValueError(
                f'samples="flat" keeps every map, {kept} bytes by image {first_image}; the limit is {LIMIT}'
            )
        self._batches[first_image] = maps.flatten(start_dim=1).clone()
        return count(maps)

    def merge(self, other: "FlatMaps") -> None:
        """Add the maps of another."""
        self._batches |= other._batches

    def maps(self) -> Float[Tensor, "image value"]:
        """All maps, flattened, in the order of the images."""
        return torch.cat([self._batches[first] for first in sorted(self._batches)])

    def state(self) -> dict[str, Tensor]:
        """The maps."""
        return {f"{first}": batch for first, batch in self._batches.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a saved state."""
        self._batches = {int(first): batch for first, batch in state.items()}


def gram(maps: Float[Tensor, "row value"]) -> Float64[Tensor, "kept kept"]:
    """(x_i - mean) . (x_j - mean) of the rows without a non-finite value, in float64.

    Its eigenvalues are the non-zero ones of the scatter matrix of the rows, which would have value x value entries.
    """
    kept = maps[maps.isfinite().all(dim=1)]
    products = maps.new_zeros(len(kept), len(kept), dtype=torch.float64)
    for part in torch.split(kept, COLUMNS, dim=1):
        # Minus the first row: a mean of 1e6 deviations would cost the digits of the sum.
        shifted = part.double() - part[:1].double()
        centred = shifted - shifted.mean(dim=0)
        products += centred @ centred.T
    return products
