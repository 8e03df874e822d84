"""Changes of one thing in a network, and the share of values <= 0 that a convolution puts out after each.

A convolution is run again on its own input where the change lies in it or after it; where it lies before it, the
network is run again.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from in4310repro.data.images import ImageSet
from in4310repro.features import FeatureResult
from studies.feature_maps.measurement import batches, inputs_of, measure, share_of, statistics_of

PRINTED_SHARE = 0.743  # of layer4.1.conv1, by the original report


class Piece(NamedTuple):
    """A convolution with its input, the batch norm after it, and its weights before training."""

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d
    inputs: Float[Tensor, "image channel height width"]
    initial: Tensor | None


def with_weight(piece: Piece, weight: Tensor) -> nn.Conv2d:
    convolution = copy.deepcopy(piece.convolution)
    convolution.weight.data = weight.clone()
    return convolution


def centre_input(piece: Piece) -> float:
    return share_of(piece.convolution, piece.inputs - piece.inputs.mean(dim=(0, 2, 3), keepdim=True))


def centre_rows(piece: Piece) -> float:
    weight = piece.convolution.weight.data
    return share_of(with_weight(piece, weight - weight.mean(dim=(1, 2, 3), keepdim=True)), piece.inputs)


def restore_initial(piece: Piece) -> float | None:
    return None if piece.initial is None else share_of(with_weight(piece, piece.initial), piece.inputs)


def normalise(piece: Piece, **changed: Tensor) -> float:
    """Return the share after convolution and batch norm, with some tensors of the batch norm changed."""
    norm = copy.deepcopy(piece.norm)
    for name, value in changed.items():
        getattr(norm, name).data = value.clone()
    return share_of(nn.Sequential(piece.convolution, norm), piece.inputs)


CHANGES: dict[str, Callable[[Piece], float | None]] = {
    "as it is": lambda piece: share_of(piece.convolution, piece.inputs),
    "its input centred": centre_input,
    "its weights centred": centre_rows,
    "its initial weights": restore_initial,
    "after batch norm": normalise,
    "after batch norm with bias 0": lambda piece: normalise(piece, bias=torch.zeros_like(piece.norm.bias)),
    "after batch norm that subtracts no mean": lambda piece: normalise(
        piece, running_mean=torch.zeros(piece.norm.num_features)
    ),
}


def describe_channels(result: FeatureResult) -> dict[str, float]:
    """Return how the outputs' means lie: the share that normal distributions of their means and deviations have.

    Also the share of channels whose mean is not positive, and the median of |mean| / standard deviation.
    """
    deviations = result.covariance.diagonal().sqrt().clamp(min=torch.finfo(torch.float64).tiny)
    ratios = result.mean / deviations
    return {
        "from means and deviations": float(torch.special.ndtr(-ratios).mean()),
        "channels with a mean <= 0": float((result.mean <= 0).double().mean()),
        "median |mean| / deviation": float(ratios.abs().median()),
    }


class SkipSecond(nn.Module):
    """A ReLU that is left out of every second call: of a BasicBlock, the one after the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, values: Tensor) -> Tensor:
        self.calls += 1
        return torch.relu(values) if self.calls % 2 else values


def leave_out_relu(block: nn.Module) -> None:
    block.relu = SkipSecond()


def zero_biases(block: nn.Module) -> None:
    """Set the bias of the batch norms that end a BasicBlock's two branches to 0."""
    for name, module in block.named_modules():
        if name in ("bn2", "downsample.1"):
            nn.init.zeros_(module.get_parameter("bias"))


BEFORE: dict[str, Callable[[nn.Module], None]] = {
    "no ReLU before it": leave_out_relu,
    "batch norm's bias 0 before it": zero_biases,
}


def measure_changes(
    model: nn.Module, images: ImageSet, pieces: Mapping[str, str], initial: nn.Module | None
) -> dict[str, dict[str, Any]]:
    """Return the share of values <= 0 of each convolution after each change.

    Args:
        model: the network.
        images: the images.
        pieces: the name of each convolution, with that of its batch norm.
        initial: the network before training; None if it is unknown.
    """
    inputs, found = inputs_of(model, images, list(pieces)), {}
    for name, norm in pieces.items():
        weight = None if initial is None else initial.get_submodule(name).weight.data
        piece = Piece(model.get_submodule(name), model.get_submodule(norm), inputs.pop(name), weight)  # type: ignore[arg-type]
        shares = {change: share for change, of in CHANGES.items() if (share := of(piece)) is not None}
        shares |= describe_channels(statistics_of(piece.convolution, piece.inputs, "positions"))
        shares["values <= 0 of its input"] = float((piece.inputs <= 0).double().mean())
        shares["mean weight"] = float(piece.convolution.weight.data.double().mean())
        found[name] = shares
    return found


def measure_changes_before(model: nn.Module, images: ImageSet, blocks: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the share of each convolution after changes in the block before it, which `blocks` names."""
    found: dict[str, dict[str, Any]] = {name: {} for name in blocks}
    for change, apply in BEFORE.items():
        for name, block in blocks.items():
            changed = copy.deepcopy(model)
            apply(changed.get_submodule(block))
            inputs = inputs_of(changed, images, [name])[name]
            found[name][change] = share_of(changed.get_submodule(name), inputs)
    return found


def move_outputs(model: nn.Module, pieces: Mapping[str, str], deviations: float) -> nn.Module:
    """Return a copy of a network that computes the same scores from other outputs of its convolutions.

    From each channel of a convolution its running mean plus `deviations` standard deviations are subtracted, and
    from the running mean of the batch norm after it as much.
    """
    moved = copy.deepcopy(model)
    for name, norm_name in pieces.items():
        convolution, norm = moved.get_submodule(name), moved.get_submodule(norm_name)
        mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        shift = mean + deviations * variance.sqrt()
        convolution.bias = nn.Parameter(-shift)
        norm.running_mean = mean - shift
    return moved


def compare_moved(model: nn.Module, images: ImageSet, pieces: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the shares of two networks with moved outputs, and how far their scores are from the network's own."""
    found, first = {}, scores_of(model, images)
    for what, share in {"to a mean of 0": 0.5, "as printed": PRINTED_SHARE}.items():
        moved = move_outputs(model, pieces, statistics.NormalDist().inv_cdf(share))
        second = scores_of(moved, images)
        shares = measure(moved, images, list(pieces))
        found[what] = {
            "shares": {name: shares[name].result.non_positive for name in pieces},
            "same class": int((first.argmax(dim=1) == second.argmax(dim=1)).sum()),
            "images": len(images),
            "largest difference of scores": float((first.softmax(dim=1) - second.softmax(dim=1)).abs().max()),
        }
    return found


def scores_of(model: nn.Module, images: ImageSet) -> Float[Tensor, "image class"]:
    with torch.inference_mode():
        return torch.cat([model.eval()(batch) for batch in batches(images)])


def measure_unnormalised(convolution: nn.Module, images: ImageSet) -> dict[str, float]:
    """Return share and effective rank of the first convolution on pixels / 255, not normalised."""
    mean, std = (torch.tensor(each)[:, None, None] for each in (images.preprocessing.mean, images.preprocessing.std))
    pixels = torch.cat([batch * std + mean for batch in batches(images)])
    result = statistics_of(convolution, pixels, "images")
    return {"non_positive": result.non_positive, "effective_rank": result.spectrum.effective_rank()}
