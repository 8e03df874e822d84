"""TensorFlow's "same" padding: its numbers at both ends, computed by hand, and what is convolved with them."""

from __future__ import annotations

import pytest
import torch

from in4310repro.arithmetic.same import Conv2dSame

# Size, kernel and stride: padding before and after.
SIDES = {
    (128, 3, 2): (0, 1),
    (97, 3, 2): (1, 1),
    (32, 5, 2): (1, 2),
    (33, 5, 2): (2, 2),
    (7, 4, 2): (1, 2),
    (4, 2, 3): (0, 1),
    (6, 2, 3): (0, 0),  # a row is not read
    (5, 1, 2): (0, 0),
    (6, 5, 1): (2, 2),
    (6, 4, 1): (1, 2),
    (1, 3, 2): (1, 1),
}


@pytest.mark.parametrize(("side", "ends"), SIDES.items())
def test_the_larger_part_of_the_padding_comes_after_the_map(side: tuple[int, int, int], ends: tuple[int, int]) -> None:
    other, around = (9, 3, 4), (1, 1)
    for first, second, expected in ((side, other, (ends, around)), (other, side, (around, ends))):
        sizes, kernels, strides = zip(first, second, strict=True)
        layer = Conv2dSame(2, 4, kernels, strides, groups=2)
        assert layer.ends(torch.ones(1, 2, *sizes)) == layer.ends(torch.ones(2, *sizes)) == expected
        assert layer(torch.ones(1, 2, *sizes)).shape == (
            1,
            4,
            *(-(-a // b) for a, b in zip(sizes, strides, strict=True)),
        )


def test_maps_are_convolved_with_zeros_around_them() -> None:
    layer, maps = Conv2dSame(2, 4, (4, 3), (3, 2), groups=2), torch.rand(3, 2, 5, 6)
    around = torch.zeros(3, 2, 7, 7)
    around[:, :, 1:6, :6] = maps
    needed = torch.nn.functional.conv2d(around, layer.weight, layer.bias, (3, 2), groups=2)
    assert torch.equal(layer(maps), needed)


def test_it_has_a_bias_and_stride_1_by_default() -> None:
    assert Conv2dSame(1, 1, 3).bias is not None
    assert Conv2dSame(1, 1, 3, bias=False).bias is None
    assert Conv2dSame(2, 1, 3)(torch.ones(1, 2, 4, 5)).shape == (1, 1, 4, 5)
