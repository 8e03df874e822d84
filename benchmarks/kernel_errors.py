"""Errors of the kernels, compared with torch's errors on the same data; takes minutes.

    python -m benchmarks.kernel_errors

writes docs/kernel-errors.json and docs/arithmetic.md. The layers are those of torchvision's networks at
64 px and 200 random ones, in channels_last memory; an error is the root mean square difference from torch in double.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from tests.arithmetic.shapes import NAMES, Case, Doubles, random_case, random_wide_case, ratios_of, squared_errors
from tests.docs.marks import replaced
from torch import Tensor, nn

from in4310repro import arithmetic
from in4310repro.arithmetic import functions, products
from in4310repro.system.files import json_bytes, read_json, write_file
from in4310repro.system.fingerprint import fingerprint
from in4310repro.system.numerics import activate, generator_for

NETWORKS = ("resnet18", "resnet50", "vgg16", "mobilenet_v2", "resnext50_32x4d")
IMAGES, SIDE, DRAWS = 16, 64, 6  # random shapes, which are small, are drawn twice as often
# Of batch norm, linear layers and softmax.
MAPS = (32, 64, 16, 16)
ROWS, FEATURES, OUTPUTS = 32, (128, 512, 2048), (6, 1000)
SCORES = (32, 6)
Function = Callable[..., Tensor]
RANDOM = "random, most of odd sizes"
# Of 3x3 convolutions with many channels: images of a batch, by row of the table.
WIDE = {"random 3x3, 16 to 33 images": (16, 24, 32, 33), "random 3x3, 1 to 9 images": (1, 2, 8, 9)}
WIDE_SHAPES = 60
ROOT = Path(__file__).parents[1]
NUMBERS, PAGE = ROOT / "docs/kernel-errors.json", ROOT / "docs/arithmetic.md"
# A ratio counts as above 1 from this many deviations on, plus a margin for its own rounding.
DEVIATIONS, LEAST = 4, 1e-3


def list_cases() -> Iterator[tuple[str, Case]]:
    """Yield pairs (table row, convolution) for all distinct convolutions of the networks, then for random ones."""
    seen: dict[Case, str] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        _, channels, *side = inputs[0].shape
        assert isinstance(module.padding, tuple)
        size, kernel, stride, padding = (
            (int(a), int(b)) for a, b in (side, module.kernel_size, module.stride, module.padding)
        )
        case = Case(IMAGES, channels, size, module.out_channels, kernel, stride, padding, module.groups)
        seen[case] = name_kind(case)

    with torch.device("meta"):
        for name in NETWORKS:
            model = getattr(torchvision.models, name)(weights=None).eval()
            for module in model.modules():
                if isinstance(module, nn.Conv2d):
                    module.register_forward_hook(note)
            model(torch.empty(1, 3, SIDE, SIDE))
    yield from ((value, case) for case, value in seen.items())
    generator = np.random.default_rng(0)
    yield from ((RANDOM, random_case(generator)) for _ in range(200))
    for name, images in WIDE.items():
        yield from ((name, random_wide_case(generator, images)) for _ in range(WIDE_SHAPES))


def name_kind(case: Case) -> str:
    """Return the name of the table row to which a convolution belongs."""
    if case.depthwise:
        return "depth-wise 3x3"
    if case.channels == 3:
        return "first layers, 3 channels"
    if case.groups > 1:
        return "3x3 in 32 groups"
    if case.kernel == (1, 1):
        # The kernel works on leaves of 8 images.
        return "1x1, maps above 4x4" if case.result[0] > 4 else "1x1, maps of 4x4 and 2x2"
    return "3x3"


def convolutions() -> dict[str, Any]:
    """Return a dict from type of convolution to a summary of its error ratios and relative errors."""
    squares: dict[str, list[Doubles]] = {}
    for number, (name, case) in enumerate(list_cases()):
        draws = DRAWS if name != RANDOM else 2 * DRAWS
        squares.setdefault(name, []).append(squared_errors(case, draws, seed=number * 100))
        sys.stderr.write(f"\r{number}")
    return {name: _summary(found) for name, found in squares.items()}


def _summary(found: list[Doubles]) -> dict[str, Any]:
    ratios, deviations = np.moveaxis(np.array([ratios_of(each) for each in found]), 1, 0)
    ours, torchs, values = np.moveaxis(np.array([each.sum(0) for each in found]), 1, 0)
    # A gradient can be 0 everywhere, as where no tap lies inside of the map.
    shares = [np.sqrt(errors / np.where(values > 0, values, np.nan)) for errors in (ours, torchs)]
    return {
        "shapes": len(found),
        "ratios": {name: [float(r.min()), float(r.max())] for name, r in zip(NAMES, ratios.T, strict=True)},
        "above": dict(zip(NAMES, (ratios > 1 + DEVIATIONS * deviations + LEAST).sum(0).tolist(), strict=True)),
        "mean shares": {name: [float(np.nanmean(each[:, at])) for each in shares] for at, name in enumerate(NAMES)},
    }


def other_kernels() -> dict[str, Any]:
    """Return the errors of package and torch for each result of batch norm, linear layers and softmax."""
    found: dict[str, Any] = {}
    for mean in (0, 1000):
        errors = _errors(_batch_norm, _torch_batch_norm, MAPS, (MAPS[1],), (MAPS[1],), mean=mean)
        found[f"batch norm, {' x '.join(map(str, MAPS))}, mean {mean}, deviation 1"] = dict(
            zip(("output", "gradient of the maps", "gradient of the weight"), errors.T.tolist(), strict=False)
        )
    shapes = [((ROWS, features), (outputs, features), (outputs,)) for features in FEATURES for outputs in OUTPUTS]
    linear = np.array([_errors(products.linear, torch.nn.functional.linear, *shape) for shape in shapes])
    # The largest over the shapes, of both.
    found[f"linear, {ROWS} rows of {', '.join(map(str, FEATURES))} to {' and '.join(map(str, OUTPUTS))}: largest"] = (
        dict(zip(("output", "gradient of the rows"), linear.max(0).T.tolist(), strict=False))
    )
    softmax = _errors(arithmetic.softmax, _torch_softmax, SCORES, gradients=False, largest=True)
    found[f"softmax, {' x '.join(map(str, SCORES))} scores, largest error of a probability"] = {
        "output": softmax.T.tolist()[0]
    }
    return found


def _batch_norm(maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return functions.batch_norm(maps, functions.Norm(None, None, weight, bias, training=True))


def _torch_batch_norm(maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.nn.functional.batch_norm(maps, None, None, weight, bias, training=True)


def _torch_softmax(scores: Tensor) -> Tensor:
    return torch.softmax(scores, 1)


def _errors(
    ours: Function,
    torchs: Function,
    *shapes: Sequence[int],
    mean: float = 0,
    gradients: bool = True,
    largest: bool = False,
) -> NDArray[np.float64]:
    """Return relative root mean square errors or, if `largest`, maximum errors, as [package or torch, output]."""
    squares, sizes, worst = [], [], []
    for draw in range(DRAWS):
        values = [_drawn(draw, place, shape, mean if place == 0 else 0) for place, shape in enumerate(shapes)]
        exact = _computed(torchs, [value.double() for value in values], gradients)
        results = [_computed(function, values, gradients) for function in (ours, torchs)]
        squares.append([[float((a - b).square().sum()) for a, b in zip(each, exact, strict=True)] for each in results])
        worst.append([[float((a - b).abs().max()) for a, b in zip(each, exact, strict=True)] for each in results])
        sizes.append([float(value.square().sum()) for value in exact])
    if largest:
        greatest: NDArray[np.float64] = np.array(worst).max(0)
        return greatest
    shares: NDArray[np.float64] = np.sqrt(np.array(squares).sum(0) / np.array(sizes).sum(0))
    return shares


def _drawn(draw: int, place: int, shape: Sequence[int], mean: float) -> Tensor:
    values = torch.from_numpy(generator_for(draw, place, *shape).standard_normal(tuple(shape), dtype="float32")) + mean
    return values.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else values


def _computed(function: Function, values: Sequence[Tensor], gradients: bool) -> list[Tensor]:
    leaves = [value.clone().requires_grad_(gradients) for value in values]
    result = function(*leaves)
    if not gradients:
        return [result.detach()]
    above = torch.from_numpy(generator_for(DRAWS, *result.shape).standard_normal(tuple(result.shape), dtype="float32"))
    return [result.detach(), *torch.autograd.grad(result, leaves, above.to(result.dtype))]


def kernels_table(kernels: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    columns = list(dict.fromkeys(what for found in kernels.values() for what in found))
    lines = [f"| kernel, data | {' | '.join(columns)} |", f"|{'---|' * (1 + len(columns))}"]
    for name, found in kernels.items():
        cells = [" / ".join(f"{error:.1e}" for error in found.get(what, ())) for what in columns]
        # Without sizes, which the JSON file has.
        short = re.sub(r", \d+( x \d+)+|, \d+ rows of .*|, deviation 1|, largest.*", "", name)
        lines.append(f"| {short} | {' | '.join(cells)} |")
    return "\n".join(lines)


def layers_table(layers: dict[str, Any]) -> str:
    lines = ["| layers | error here / torch's | above |", "|---|---|---|"]
    for name, found in layers.items():
        ratios = [ratio for each in NAMES for ratio in found["ratios"][each]]
        above = f"{sum(found['above'].values())}/{found['shapes'] * len(NAMES)}"
        lines.append(f"| {name} | {min(ratios):.2f} to {max(ratios):.2f} | {above} |")
    return "\n".join(lines)


def with_tables(text: str, numbers: dict[str, Any]) -> str:
    text = replaced(text, "kernels", kernels_table(numbers["kernels"]))
    return replaced(text, "layers", layers_table(numbers["layers"]))


def main() -> None:
    """Measure the errors, and write the JSON file and the tables."""
    here = fingerprint(activate("portable", "cpu"))
    # Our rounding does not depend on the number of threads; torch's does a little.
    torch.set_num_threads(1)
    numbers = {
        "command": "python -m benchmarks.kernel_errors",
        "here": {name: here[name] for name in ("processor", "capability", "numeric_class")},
        "torch": here["versions"]["torch"],
        "kernels": other_kernels(),
        "layers": convolutions(),
    }
    write_file(NUMBERS, json_bytes(numbers))
    write_file(PAGE, with_tables(PAGE.read_text(encoding="utf-8"), read_json(NUMBERS)).encode())


if __name__ == "__main__":
    main()
