"""All leaf modules of 59 torchvision and timm models, compared with NumPy or rejected with a reason.

    nox -s evidence -- zoo

Weights are random and images small. Counts of every leaf are compared exactly; covariances with every position as a
sample, of at most WIDEST channels, with NumPy's in float64, and their number of channels with that of the layer with
parameters before or after them. Modules that are refused are left out by the name that the error gives, as a user
would, until the rest is measured. Any other difference is an error.
"""

import importlib.util
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision import models

from in4310repro.features import FeatureResult, FeatureStatistics

WIDEST = 768  # channels of a covariance
BOUND = 1e-9  # of its error, relative to its largest entry
IMAGES = 2
Inputs = Tensor | list[Tensor]
# Side of the images, pixels -> names of models; detection models take a list of images.
TORCHVISION = {
    32: (
        "convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s mnasnet0_5 mobilenet_v2 "
        "mobilenet_v3_small regnet_y_400mf resnet18 resnext50_32x4d shufflenet_v2_x0_5 squeezenet1_1 "
        "swin_t swin_v2_t vgg11_bn vit_b_32 wide_resnet50_2 segmentation/deeplabv3_mobilenet_v3_large "
        "segmentation/fcn_resnet50 segmentation/lraspp_mobilenet_v3_large video/mc3_18 video/r2plus1d_18"
    ),
    64: (
        "alexnet googlenet maxvit_t detection/fasterrcnn_mobilenet_v3_large_320_fpn "
        "detection/keypointrcnn_resnet50_fpn detection/maskrcnn_resnet50_fpn "
        "detection/retinanet_resnet50_fpn detection/fcos_resnet50_fpn "
        "detection/ssdlite320_mobilenet_v3_large"
    ),
    80: "inception_v3",
}
TIMM = {
    32: "convnextv2_atto ghostnet_050 repvgg_a0 res2net50_26w_4s",
    64: (
        "edgenext_xx_small efficientvit_b0 focalnet_tiny_srf hrnet_w18_small maxvit_rmlp_pico_rw_256 "
        "mobilevit_xxs nfnet_l0 poolformer_s12 pvt_v2_b0 swinv2_cr_tiny_224"
    ),
    224: (
        "beit_base_patch16_224 cait_xxs24_224 coat_lite_tiny davit_tiny efficientformer_l1 gcvit_xxtiny "
        "gmlp_ti16_224 levit_128s mixer_s32_224 pit_ti_224 vit_tiny_patch16_224 xcit_nano_12_p16_224"
    ),
    240: "crossvit_9_240",
}
OPTIONS: dict[str, dict[str, Any]] = {
    "googlenet": {"init_weights": False},
    "inception_v3": {"init_weights": False},
    "vit_b_32": {"image_size": 32},
    "maxvit_rmlp_pico_rw_256": {"img_size": 64},
    "swinv2_cr_tiny_224": {"img_size": 64, "window_size": 2},
}
# maxvit_t with windows of 2 positions; its usual windows of 7 need images of 224 pixels.
MAXVIT: dict[str, Any] = {
    "input_size": (64, 64),
    "stem_channels": 64,
    "partition_size": 2,
    "block_channels": [64, 128, 256, 512],
    "block_layers": [2, 2, 5, 2],
    "head_dim": 32,
    "stochastic_depth_prob": 0.2,
}
CASES = {name: side for side, names in TORCHVISION.items() for name in names.split()} | {
    f"timm/{name}": side for side, names in TIMM.items() for name in names.split()
}


@dataclass
class Comparison:
    counted: int = 0  # number of outputs of leaves, by module and call
    covariances: int = 0
    refusals: dict[str, str] = field(default_factory=dict)  # module left out -> the sentence that refused it
    deviation: float = 0.0  # largest deviation of a covariance, relative to its largest entry


def make(name: str) -> tuple[nn.Module, Inputs]:
    """Return the model in evaluation mode with random weights, and images for it."""
    side = CASES[name]
    torch.manual_seed(0)
    folder, _, short = name.rpartition("/")
    options: dict[str, Any] = {}
    if folder == "timm":
        import timm

        network: nn.Module = timm.create_model(short, pretrained=False, **OPTIONS.get(short, {}))
        return network.eval(), torch.randn(IMAGES, 3, side, side)
    if folder in ("detection", "segmentation"):
        options = {"weights_backbone": None}
    if folder == "detection" and not short.startswith("ssd"):
        options |= {"min_size": side, "max_size": side}
    options |= OPTIONS.get(short, {})
    network = models.MaxVit(**MAXVIT) if short == "maxvit_t" else models.get_model(short, weights=None, **options)
    network.eval()
    if folder == "detection":
        return network, [torch.rand(3, side, side - 8 * index) for index in range(IMAGES)]
    shape = (IMAGES, 3, 4, side, side) if folder == "video" else (IMAGES, 3, side, side)
    return network, torch.randn(shape)


def compare(network: nn.Module, images: Inputs) -> Comparison:
    """Measure the outputs of each leaf module of a model, and compare with numbers computed from copies of them.

    Raises:
        AssertionError: a number differs.
    """
    comparison = Comparison()
    copies = copy_outputs(network, images)
    counts = measure(network, images, None, [], comparison)
    for title, result in counts.items():
        values = copies[title][1]
        assert (result.images, result.values) == (IMAGES, values.size), title
        assert result.non_positive_values == int((values <= 0).sum()), title
    comparison.counted = len(counts)
    wide = sorted({key.partition("#")[0] for key, (axes, values) in copies.items() if width(axes, values) > WIDEST})
    results = measure(network, images, "positions", wide, comparison)
    for title, result in results.items():
        axes, values = copies[title]
        channels = len(result.mean)
        axes = [place for place in axes if values.shape[place] == channels]
        assert axes, f"{title} of shape {values.shape}: {channels} channels, those of no layer beside it"
        deviation = min(measure_deviation(result, values, place) for place in axes)
        assert deviation <= BOUND, f"{title}: {deviation}"
        comparison.deviation = max(comparison.deviation, deviation)
    comparison.covariances = len(results)
    return comparison


def measure(
    network: nn.Module,
    images: Inputs,
    samples: Literal["positions"] | None,
    leave_out: list[str],
    comparison: Comparison,
) -> dict[str, FeatureResult]:
    """Return the statistics of all modules without submodules; record rejected modules in `comparison`."""
    trial: Literal["images", "positions"] | None = samples
    while True:
        torch.manual_seed(1)
        try:
            with FeatureStatistics(network, "leaves", trial, "exact", calls="keep", leave_out=leave_out) as statistics:
                network(images)
            if trial == samples:
                return statistics.result()
            trial = samples
        except ValueError as error:
            hint = re.search(r"leave_out=\['([^']+)'\]", str(error))
            if hint is None or hint[1] in leave_out:
                raise
            comparison.refusals[f"{samples}: {hint[1]}"] = str(error)
            leave_out = [*leave_out, hint[1]]
            # Images as samples are refused for the same modules and cost less.
            trial = "images" if samples else None


def measure_deviation(result: FeatureResult, values: NDArray[Any], axis: int) -> float:
    """Return a covariance's largest deviation from NumPy's result, relative to the largest entry of that result."""
    expected = covariance_by_numpy(values, axis)
    scale = max(float(np.abs(expected).max()), float(np.square(values).mean()) * 1e-12, 1e-300)
    return float(np.abs(result.covariance.numpy() - expected).max()) / scale


def copy_outputs(network: nn.Module, images: Inputs) -> dict[str, tuple[list[int], NDArray[Any]]]:
    """Return copies of the output tensors of all modules without submodules, with their possible channel axes.

    The class of a layer with parameters gives its axis. Other outputs have as many channels as the previous layer with
    parameters gives, or as the next one takes.
    """
    copies: dict[str, tuple[nn.Module, NDArray[Any]]] = {}
    calls: Counter[str] = Counter()

    def keep(name: str, module: nn.Module, output: object) -> None:
        title = f"{name}#{calls[name]}"
        calls[name] += 1
        for path, tensor in list_tensors(output):
            copies[title + path] = (module, tensor.double().numpy().copy())

    handles = [
        module.register_forward_hook(lambda module, _, output, name=name: keep(name, module, output))
        for name, module in network.named_modules()
        if not list(module.children())
    ]
    torch.manual_seed(1)
    with torch.no_grad():
        network(images)
    for handle in handles:
        handle.remove()
    before = count_channels(copies.values(), taken=False)
    after = count_channels(reversed(copies.values()), taken=True)[::-1]
    found = zip(copies.items(), before, after, strict=True)
    return {title: (list_axes(*copy, {*beside}), copy[1]) for (title, copy), *beside in found}


def count_channels(copies: Iterable[tuple[nn.Module, NDArray[Any]]], *, taken: bool) -> list[int]:
    """Return, for each output, the output channels (if `taken`, input channels) of the latest parametrized layer."""
    numbers: list[int] = []
    last = 0
    for module, values in copies:
        place: int | None = find_axis(module, values)
        if place is not None and place < values.ndim:
            last = int(values.shape[place])
            for name in ("in_channels", "in_features") if taken else ():
                last = int(getattr(module, name, last))
        numbers.append(last)
    return numbers


def list_axes(module: nn.Module, values: NDArray[Any], numbers: set[int]) -> list[int]:
    axis = find_axis(module, values)
    if axis is not None:
        return [axis]
    return [1] if values.ndim == 2 else [axis for axis in range(1, values.ndim) if values.shape[axis] in numbers]


def list_tensors(output: object) -> Iterator[tuple[str, Tensor]]:
    if isinstance(output, Tensor):
        yield "", output
    parts = (
        output.items() if isinstance(output, dict) else enumerate(output) if isinstance(output, list | tuple) else ()
    )
    for key, part in parts:
        for path, tensor in list_tensors(part):
            yield f"[{key}]{path}", tensor


def find_axis(module: nn.Module, values: NDArray[Any]) -> int | None:
    """Return the channel axis that the layer's class determines, or None."""
    kind = type(module).__name__
    if kind in ("Linear", "NonDynamicallyQuantizableLinear", "LayerNorm", "RMSNorm"):
        return values.ndim - 1
    return 1 if re.fullmatch(r"\w*(Conv|BatchNorm|Group_?Norm)\w*|LayerNorm2d", kind) else None


def width(axes: list[int], values: NDArray[Any]) -> int:
    return max((values.shape[axis] for axis in axes if axis < values.ndim), default=0)


def covariance_by_numpy(values: NDArray[Any], axis: int) -> NDArray[Any]:
    rows = np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis])
    rows = rows - rows.mean(axis=0)
    covariance: NDArray[Any] = rows.T @ rows / len(rows)
    return covariance


def main(write: Callable[[str], object] = sys.stdout.write) -> int:
    """Print a row per model and each reason for rejection; return 1 if a model differs, 2 without timm."""
    if importlib.util.find_spec("timm") is None:
        write("timm is not installed, and 27 of the 59 models are its: pip install -e '.[bench]'\n")
        return 2
    write("| model | outputs counted | covariances | refused | largest deviation |\n|---|---|---|---|---|\n")
    reasons: dict[str, Counter[str]] = {}
    totals, failed = Counter[str](), 0
    for name in CASES:
        try:
            found = compare(*make(name))
        except AssertionError as error:
            failed += 1
            write(f"| {name} | DIFFERS: {error} | | | |\n")
            continue
        row = f"{found.counted} | {found.covariances} | {len(found.refusals)} | {found.deviation:.0e}"
        write(f"| {name} | {row} |\n")
        totals.update(counted=found.counted, covariances=found.covariances, refused=len(found.refusals))
        for sentence in found.refusals.values():
            reason = re.sub(r"\(?\b\d[\d, ]*\)?", "N", sentence.partition(": ")[2].partition("; leave_out")[0])
            reasons.setdefault(reason, Counter())[sentence] += 1
    write(f"| {len(CASES)} models | {totals['counted']} | {totals['covariances']} | {totals['refused']} | |\n\n")
    for sentences in reasons.values():
        write(f"* {sentences.total()} times, the first: {next(iter(sentences))}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    raise SystemExit(main())
