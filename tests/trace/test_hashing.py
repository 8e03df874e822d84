"""The hash of a tensor is that of its bits in the order of its axes, for every dtype, layout and number of threads."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from in4310repro.trace.hashing import active_kernel, digest, digests, splitmix
from tests.trace.oracles import hash_by_numpy

SEEDED = torch.Generator().manual_seed(0)
MAPS = torch.randn(3, 5, 17, 11, generator=SEEDED)
DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool, torch.complex64, torch.complex128),
)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("number", [0, 1, 3, 9, 5000])
def test_the_hash_of_each_dtype_agrees_with_numpy(dtype: torch.dtype, number: int) -> None:
    values = (10 * torch.randn(number, generator=SEEDED)).to(dtype)
    assert digest(values).hash == hash_by_numpy(values)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("number", [0, 1, 3, 9, 5000])
def test_the_operations_that_a_gpu_runs_give_the_same_digest(dtype: torch.dtype, number: int) -> None:
    values = (10 * torch.randn(number, generator=SEEDED)).to(dtype)
    (found,) = digests([values], compiled=False)
    expected = digest(values)
    assert found == expected._replace(norm=found.norm)
    assert found.norm == pytest.approx(expected.norm, rel=1e-12)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": lambda maps: maps.transpose(0, 3),
    "channels_last": lambda maps: maps.contiguous(memory_format=torch.channels_last),
    "every second": lambda maps: maps[:, :, ::2, 1::3],
    "expanded": lambda maps: maps[:1].expand(4, 5, 17, 11),
    "no axes": lambda maps: maps[0, 0, 0, 0],
    "one byte in": lambda maps: maps.view(torch.uint8)[..., 1:],
    "parameter": lambda maps: torch.nn.Parameter(maps),
    "with gradient": lambda maps: maps.clone().requires_grad_() * 1,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_hash_of_each_layout_is_that_of_the_values_in_the_order_of_the_axes(layout: str) -> None:
    values = LAYOUTS[layout](MAPS)
    assert digest(values).hash == hash_by_numpy(values)


@pytest.mark.parametrize(
    "shape",
    [
        *[(2, 8, 8, 8), (3, 64, 3, 3), (1, 9, 5, 7), (5, 17, 1, 2), (2, 8, 65, 64), (1, 40, 40, 9)],
        # Two images in a block; channels of a vector in several blocks; blocks that end inside of a channel.
        *[(5, 512, 2, 2), (2, 48, 32, 32), (2, 24, 56, 56), (9, 200, 3, 3), (1, 33, 64, 128)],
        # Positions for which a table of weights would be large.
        *[(1, 16, 35, 35), (2, 9, 71, 71), (1, 8, 112, 112)],
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.int32], ids=str)
def test_maps_in_channels_last_order_have_the_digest_of_contiguous_ones(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    maps = (100 * torch.randn(shape, generator=SEEDED)).to(dtype)
    if maps.is_floating_point():
        maps[0, 3, 0, -1] = -torch.inf
    found, expected = digests([maps.contiguous(memory_format=torch.channels_last), maps])
    assert found == expected._replace(norm=found.norm)
    assert found.not_finite == maps.is_floating_point()
    assert found.norm == pytest.approx(expected.norm, rel=1e-12)
    assert found.hash == hash_by_numpy(maps)


@pytest.mark.parametrize("number", [5, 6, 7, 8, 10])
def test_modes_of_torch_around_a_first_hash_change_no_hash(number: int) -> None:
    if number in (6, 7, 8) and not active_kernel():
        pytest.skip("no kernel was built here, and torch's operations compute nothing in this mode")
    maps = torch.randn(2, 16, number, number, generator=SEEDED).contiguous(memory_format=torch.channels_last)
    maps.requires_grad_(number == 8)
    found = []

    def hashed(values: Tensor) -> Tensor:
        found.append(digest(maps).hash)
        return values.sum()

    if number == 10:
        with torch.device("meta"):
            hashed(maps)
    elif number == 5:
        torch.func.grad(hashed)(torch.ones(2))
    elif number == 6:
        torch.func.functionalize(hashed)(torch.ones(2))
    else:
        with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
            found.append(digest(maps).hash)
    assert [*found, digest(maps).hash] == 2 * [hash_by_numpy(maps)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
@pytest.mark.process
def test_a_forked_child_hashes_what_its_parent_has_hashed_on_all_threads() -> None:
    code = (
        "import os, torch; from in4310repro.trace.hashing import digest\n"
        "torch.set_num_threads(2); values = torch.arange(3e6); found = digest(values)\n"
        "if not os.fork(): os._exit(digest(values) != found)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0


def test_views_that_are_conjugate_or_negative_are_hashed_by_their_values() -> None:
    values = torch.randn(7, dtype=torch.complex64, generator=SEEDED)
    assert digest(values.conj()).hash == hash_by_numpy(values.conj().resolve_conj())
    assert digest(values.conj().imag).hash == hash_by_numpy(-values.imag)


def test_zeros_without_memory_are_zeros() -> None:
    assert digest(torch._efficientzerotensor((3,))) == digest(torch.zeros(3))


@pytest.mark.parametrize("number", [1, 4095, 4096, 4097, 40_000])
def test_one_changed_bit_anywhere_changes_the_hash(number: int) -> None:
    values = torch.randn(number, generator=SEEDED)
    before = digest(values).hash
    for place in {0, number // 2, number - 1}:
        for bit in (0, 22, 31):
            changed = values.clone()
            changed.view(torch.int32)[place] ^= -(2**31) if bit == 31 else 1 << bit
            assert digest(changed).hash != before


def test_an_exchange_of_two_values_changes_the_hash_and_a_plain_sum_of_words_would_not_notice() -> None:
    values = torch.randn(9000, generator=SEEDED)
    for first, second in ((0, 1), (0, 8), (3, 4096), (4095, 8191)):
        swapped = values.clone()
        swapped[[first, second]] = values[[second, first]]
        assert digest(swapped).hash != digest(values).hash
        assert swapped.view(torch.int32).sum() == values.view(torch.int32).sum()


def test_no_two_weights_or_block_factors_are_equal() -> None:
    assert len({splitmix(2**32 + j) % 2**32 | 1 for j in range(4096)}) == 4096
    assert len({splitmix(block) | 1 for block in range(20_000)}) == 20_000


def test_zeros_of_other_sign_have_another_hash() -> None:
    assert digest(torch.zeros(3)).hash != digest(-torch.zeros(3)).hash


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.complex64], ids=str)
def test_the_summary_agrees_with_numpy(dtype: torch.dtype) -> None:
    values = (100 * torch.randn(9001, generator=SEEDED)).to(dtype)
    parts = torch.view_as_real(values) if dtype.is_complex else values
    numbers = parts.double().numpy()
    found = digest(values)
    assert found.largest == np.abs(numbers).max()
    assert found.norm == pytest.approx(float(np.linalg.norm(numbers)), rel=1e-12)
    assert found.not_finite == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16], ids=str)
def test_values_that_are_not_finite_are_counted_and_kept_out_of_the_summary(dtype: torch.dtype) -> None:
    values = torch.tensor([3.0, math.inf, -4.0, math.nan, -math.inf], dtype=dtype)
    assert digest(values)[1:4] == (4.0, 5.0, 3)
    assert digest(torch.tensor(math.nan, dtype=dtype))[1:4] == (0.0, 0.0, 1)


def test_the_norm_of_huge_float64_values_stays_finite() -> None:
    found = digest(torch.full((4,), 1e308, dtype=torch.float64))
    assert found.largest == 1e308
    assert math.isfinite(found.norm)


def test_the_digest_does_not_depend_on_the_number_of_threads_or_on_the_tensors_beside_it() -> None:
    tensors = [torch.randn(size, generator=SEEDED) for size in (1, 0, 300_000, 7, 4096)]
    threads = torch.get_num_threads()
    alone = [digest(each) for each in tensors]
    try:
        torch.set_num_threads(3)
        assert digests(tensors) == alone
    finally:
        torch.set_num_threads(threads)


def test_a_gpu_gives_the_same_hash() -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU; the operations that it would run are tested on the CPU")
    assert digest(MAPS.cuda()).hash == digest(MAPS).hash


REFUSED: dict[str, tuple[Callable[[], Tensor], str]] = {
    "sparse": (lambda: torch.eye(3).to_sparse(), "torch.sparse_coo"),
    "without memory": (lambda: torch.empty(3, device="meta"), "without memory"),
    "quantized": (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "quantized"),
}


@pytest.mark.filterwarnings("ignore:.*quantize")
@pytest.mark.parametrize("kind", REFUSED)
def test_a_tensor_without_plain_values_is_refused(kind: str) -> None:
    make, word = REFUSED[kind]
    with pytest.raises(ValueError, match=f"{word}; dense values in memory can be traced"):
        digest(make())


def test_a_tensor_with_too_little_memory_is_refused() -> None:
    values = torch.ones(6)[3:]
    values.untyped_storage().resize_(20)
    with pytest.raises(ValueError, match="in 20 bytes of memory; it must have 24 or more"):
        digest(values)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int64, torch.bool], ids=str)
def test_within_functionalize_a_hash_is_right_or_refused(dtype: torch.dtype, compiled: bool) -> None:
    values, found = torch.ones(3).to(dtype), []

    def hashed(_: Tensor) -> Tensor:
        found.extend(digests([values], compiled=compiled))
        return _

    if compiled and dtype is torch.float32 and active_kernel():
        torch.func.functionalize(hashed)(torch.ones(2))
        assert found == [digest(values)]
        return
    # torch computes nothing there, and reading it would end the process.
    with pytest.raises(ValueError, match=r"torch computes no values here|inside of torch\.func"):
        torch.func.functionalize(hashed)(torch.ones(2))


def test_a_functional_tensor_is_refused() -> None:
    wrapped = torch._to_functional_tensor(torch.ones(3))
    with pytest.raises(ValueError, match=r"inside of torch\.func"):
        digest(wrapped)


def test_a_tensor_inside_of_vmap_is_refused() -> None:
    with pytest.raises(ValueError, match=r"inside of torch\.func"):
        torch.vmap(lambda row: row * len(digest(row).hash))(torch.ones(2, 3))
