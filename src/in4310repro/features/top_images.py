"""Images to which each channel responds most, and channels that respond to no image.

The response of a channel to an image is the largest finite value over its positions, as a float32. Ties go to
the lower image index. Therefore the first K of all images can be found from the first K of each subset.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from in4310repro.features.kernel import kernel_for
from in4310repro.features.sparsity import widen

NO_IMAGE = -(2**63)  # the key below all others
INDICES = 2**32  # of images, below which the key of a response holds one
MAGNITUDE = 0x7FFFFFFF  # the bits of a float32 but for its sign


@dataclass(frozen=True)
class TopImages:
    """Each channel's images with the largest responses, in decreasing order.

    If fewer images had a finite value in a channel, the remaining entries are image -1 and response -inf.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from in4310repro.features import FeatureStatistics
        >>> model = nn.Sequential(nn.Identity())
        >>> with FeatureStatistics(model, ["0"], top_images=2) as statistics:
        ...     outputs = model(torch.tensor([[[[-3.0, 3.0]], [[0.0, -4.0]]], [[[-1.0, 5.0]], [[-2.0, 0.0]]]]))
        >>> top = statistics.result()["0"].top_images
        >>> top.images.tolist(), top.responses.tolist()
        ([[1, 0], [0, 1]], [[5.0, 3.0], [0.0, 0.0]])
        >>> top.never_positive.tolist()
        [False, True]
    """

    images: Int64[Tensor, "channel place"]
    responses: Float32[Tensor, "channel place"]

    @property
    def never_positive(self) -> Bool[Tensor, " channel"]:
        """Mask of the channels that had no finite value above 0 in any image."""
        return self.responses[:, 0] <= 0

    def to_json(self) -> dict[str, Any]:
        """Return images and responses as lists, with None for missing responses."""
        responses = [[None if value == -inf else value for value in row] for row in self.responses.tolist()]
        return {"images": self.images.tolist(), "responses": responses}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "TopImages":
        """Return the top images that a record from `to_json` describes."""
        responses = [[-inf if value is None else value for value in row] for row in content["responses"]]
        return cls(torch.tensor(content["images"]), torch.tensor(responses, dtype=torch.float32))


def response_keys(
    maps: Float[Tensor, "image channel height width"], first_image: int
) -> Int64[Tensor, "channel image"]:
    """Return integer keys that encode response and image index; a larger key ranks higher."""
    responses = _responses(widen(maps))
    bits = responses.view(torch.int32)
    # Ordered as the floats: the magnitudes of negative ones are in reverse order.
    ordered = torch.where(bits < 0, bits ^ MAGNITUDE, bits).long()
    images = torch.arange(first_image, first_image + len(maps), device=maps.device)
    keys = (ordered << 32) | (INDICES - 1 - images)[:, None]
    return torch.where(responses == -inf, NO_IMAGE, keys).T


def _responses(maps: Float[Tensor, "image channel height width"]) -> Float32[Tensor, "image channel"]:
    if kernel := kernel_for(maps):
        return kernel.peaks(maps)
    peaks = torch.where(maps.isfinite(), maps, -inf).amax(dim=(2, 3))
    # -0 becomes 0.
    return peaks.float() + 0.0


def first_keys(keys: Int64[Tensor, "channel image"], number: int) -> Int64[Tensor, "channel place"]:
    """Return each channel's `number` largest keys, in decreasing order; NO_IMAGE fills missing ones."""
    missing = number - keys.shape[1]
    if missing > 0:
        keys = torch.nn.functional.pad(keys, (0, missing), value=NO_IMAGE)
    return keys.topk(number, dim=1).values


def top_images_of(keys: Int64[Tensor, "channel place"]) -> TopImages:
    """Return the top images that sorted keys encode."""
    keys = keys.cpu()
    absent = keys == NO_IMAGE
    bits = (keys >> 32).int()
    responses = torch.where(bits < 0, bits ^ MAGNITUDE, bits).view(torch.float32)
    images = INDICES - 1 - (keys & (INDICES - 1))
    return TopImages(torch.where(absent, -1, images), torch.where(absent, -inf, responses))


def without_repeats(keys: Int64[Tensor, "channel place"]) -> Int64[Tensor, "channel place"]:
    """Return sorted keys; if an image has several keys, all but its largest are replaced by NO_IMAGE."""
    images = keys & (INDICES - 1)
    same = (images[:, :, None] == images[:, None, :]).tril(diagonal=-1)
    return torch.where(same.any(dim=2), NO_IMAGE, keys)
