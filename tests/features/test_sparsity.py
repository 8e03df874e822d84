"""Counts of zero and non-positive values, against NumPy on the same values."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from in4310repro.features.kernel import Counts, _in_one_row, count, widen

pytestmark = pytest.mark.usefixtures("either_way")


def counts_by_numpy(values: Tensor) -> tuple[int, int, int, int]:
    numbers = values.double().numpy()
    return numbers.size, int((numbers <= 0).sum()), int((numbers == 0).sum()), int((~np.isfinite(numbers)).sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (3, 5, 7, 2), (2, 1100, 33, 31)])
def test_counts_are_numpys(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0)).round(decimals=1).to(dtype)
    assert count(values).to_ints() == counts_by_numpy(values)


def test_values_by_hand() -> None:
    values = torch.tensor([-math.inf, -1.0, -0.0, 0.0, 1e-45, 2.0, math.inf, math.nan, -math.nan])
    assert count(values).to_ints() == (9, 4, 2, 4)


def test_a_sum_that_overflows_is_no_non_finite_value() -> None:
    values = torch.tensor([3e38, 3e38, -1.0, 0.0])
    assert count(values).to_ints() == (4, 2, 1, 0)


@pytest.mark.parametrize("view", ["channels-last", "transposed", "strided", "expanded"])
def test_layout_does_not_matter(view: str) -> None:
    values = torch.randn(4, 6, 5, 5, generator=torch.Generator().manual_seed(1)).relu()
    views = {
        "channels-last": values.contiguous(memory_format=torch.channels_last),
        "transposed": values.transpose(1, 3),
        "strided": values[:, ::2],
        "expanded": values[:1].expand(3, -1, -1, -1),
    }
    assert count(views[view]).to_ints() == counts_by_numpy(views[view].contiguous())


def test_counting_leaves_the_values_alone() -> None:
    values = torch.randn(100, generator=torch.Generator().manual_seed(2))
    before = values.clone()
    count(values)
    assert torch.equal(values, before)


def test_counts_of_two_tensors_add_up_each_with_its_own_kind() -> None:
    assert (Counts(7, 5, 3, 2) + Counts(100, 60, 40, 20)).to_ints() == (107, 65, 43, 22)
    assert Counts().to_ints() == (0, 0, 0, 0)


def test_only_values_that_do_not_fill_their_memory_are_copied() -> None:
    values = torch.randn(4, 6, 5, 5, generator=torch.Generator().manual_seed(1))
    last = values.contiguous(memory_format=torch.channels_last)
    for dense in (values, values.flatten(), last):
        assert _in_one_row(dense).data_ptr() == dense.data_ptr()
    negated = torch.complex(torch.zeros_like(values), -values).conj().imag
    for scattered in (values[..., 1:], last[..., 1:], values.transpose(1, 2), negated):
        row = _in_one_row(scattered)
        assert row.is_contiguous()
        assert not row.is_neg()
        assert row.data_ptr() != scattered.data_ptr()
        assert torch.equal(row.sort().values, scattered.flatten().sort().values)


def test_halves_are_widened_and_counts_on_a_cpu_are_plain_numbers() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        assert widen(torch.ones(2, dtype=dtype)).dtype == torch.float32
    for dtype in (torch.float32, torch.float64):
        values = torch.ones(2, dtype=dtype)
        assert widen(values) is values
        counts = count(values)
        assert {type(part) for part in counts} == {int}
