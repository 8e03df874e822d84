"""Errors of the convolution kernels beside torch's on the same data, by kind of layer: a table in the docs (minutes).

    python -m tests.sessions.kernel_errors

The layers are those of torchvision's networks at 64 px and 200 random ones, in channels_last memory. A cell is the
range of the ratio of root mean square errors against torch in double, and on how many layers it is above 1 beyond
chance.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from tests.arithmetic.shapes import NAMES, Case, error_ratios, random_case

NETWORKS = ("resnet18", "resnet50", "vgg16", "mobilenet_v2", "resnext50_32x4d")
IMAGES, SIDE, DRAWS = 16, 64, 6  # random shapes, which are small, are drawn twice as often
RANDOM = "random, most of odd sizes"
PAGE = Path(__file__).parents[2] / "docs" / "arithmetic.md"
BEGIN, END = "<!-- kernel errors -->\n", "<!-- end of kernel errors -->\n"
# Deviations, and what rounding of the ratio itself leaves, before a ratio is above 1.
DEVIATIONS, LEAST = 4, 1e-3


def cases() -> Iterator[tuple[str, Case]]:
    """Kinds of layers and their shapes, each once."""
    seen: dict[Case, str] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        _, channels, *side = inputs[0].shape
        assert isinstance(module.padding, tuple)
        size, kernel, stride, padding = (
            (int(a), int(b)) for a, b in (side, module.kernel_size, module.stride, module.padding)
        )
        case = Case(IMAGES, channels, size, module.out_channels, kernel, stride, padding, module.groups)
        seen[case] = kind(case)

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


def kind(case: Case) -> str:
    """The row of the table."""
    if case.depthwise:
        return "depth-wise 3x3"
    if case.channels == 3:
        return "first layers, 3 channels"
    if case.groups > 1:
        return "3x3 in 32 groups"
    if case.kernel == (1, 1):
        # In leaves of 8 images.
        return "1x1, maps above 4x4" if case.result[0] > 4 else "1x1, maps of 4x4 and 2x2"
    return "3x3"


def table() -> list[str]:
    """A row for each kind."""
    rows: dict[str, list[np.ndarray]] = {}
    for number, (name, case) in enumerate(cases()):
        draws = DRAWS if name != RANDOM else 2 * DRAWS
        rows.setdefault(name, []).append(np.array(error_ratios(case, draws, seed=number * 100)))
        sys.stderr.write(f"\r{number}")
    lines = [f"| layers | shapes | {' | '.join(NAMES)} |", f"|{'---|' * (2 + len(NAMES))}"]
    for name, found in rows.items():
        ratios, deviations = np.moveaxis(np.array(found), 1, 0)
        above = (ratios > 1 + DEVIATIONS * deviations + LEAST).sum(0)
        cells = [
            f"{low:.2f} to {high:.2f}" + (f", {count} above" if count else "")
            for low, high, count in zip(ratios.min(0), ratios.max(0), above, strict=True)
        ]
        lines.append(f"| {name} | {len(found)} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Write the table in its place."""
    # Rounding does not depend on threads here; torch's own does a little.
    torch.set_num_threads(1)
    before, rest = PAGE.read_text().split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(before + BEGIN + "\n".join([*table(), ""]) + END + after)


if __name__ == "__main__":
    main()
