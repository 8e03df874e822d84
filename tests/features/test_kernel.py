"""The compiled kernel: equal bits on every instruction set, memory layout and number of threads."""

import hashlib
import inspect
import math
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from in4310repro import arithmetic
from in4310repro.arithmetic import library
from in4310repro.features import FeatureStatistics, kernel
from in4310repro.features.activations import count_bins
from in4310repro.features.covariance import means_by_lanes
from in4310repro.features.kernel import (
    BINS,
    SIDE,
    Kernel,
    active_kernel,
    kernel_description,
    kernel_for,
    load_kernel,
    locate,
)
from tests.features.conftest import measure
from tests.features.copies import covariance_by_numpy, error_of


def runs_here(instruction_set: str) -> bool:
    """Return True if the processor's flags list an instruction set, even if torch was told to use less."""
    flags = {"base": set(), "avx2": {"avx2", "fma"}, "avx512": {f"avx512{part}" for part in ("f", "bw", "dq", "vl")}}
    cpuinfo = Path("/proc/cpuinfo")
    return flags[instruction_set] <= set(cpuinfo.read_text().split() if cpuinfo.exists() else ())


NAMES = [name for name in library.SETS if runs_here(name) and load_kernel(name)]
# A product and a sum are two roundings where the processor has no instruction for both.
FUSED = [name for name in NAMES if name != "base" or platform.machine().lower() in ("aarch64", "arm64")]

pytestmark = pytest.mark.skipif(active_kernel() is None, reason="no kernel was built: no C++ compiler at installation")

Matrix = NDArray[np.float64]
Outputs = tuple[tuple[int, ...], tuple[int, ...], Matrix, Matrix, Matrix]
# Segments and slices of the products; panels that images share; channels that fill no vector; one of everything.
SHAPES = [
    (14, 1030, 9, 9),
    (3, 64, 24, 24),
    (5, 20, 9, 7),
    (2, 133, 16, 17),
    (70, 32, 1, 1),
    (4, 1, 13, 5),
    (1, 3, 40, 41),
    (2, 6, 1, 9),
]
# The same with fewer rows of the widest, for tests that compute many times; its segments are those of (3, 64, 24, 24).
NARROWER = [(1, 1030, 9, 9), *SHAPES[1:]]


def maps_of(shape: tuple[int, ...]) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(math.prod(shape))) * 2 + 1
    return values.where(values.abs() > 0.05, 0)


def values_of_all_sizes(shape: tuple[int, ...]) -> Tensor:
    """Return values of very different magnitudes, so that the order of a sum changes its bits."""
    return maps_of(shape) * 10 ** (12 * torch.rand(shape, generator=torch.Generator().manual_seed(1)) - 6)


def layouts(maps: Tensor) -> dict[str, Tensor]:
    """Return the same values in several memory layouts, the contiguous one first."""
    images, channels, height, width = maps.shape
    wider = torch.full((images, channels + 3, height + 2, width + 5), torch.nan)
    wider[:, 1 : channels + 1, 1 : height + 1, 2 : width + 2] = maps
    rows = torch.full((images, height, width, channels + 2), torch.nan)
    rows[..., 1 : channels + 1] = maps.permute(0, 2, 3, 1)
    turned = torch.empty(width, images, channels, height)
    turned.copy_(maps.permute(3, 0, 1, 2))
    return {
        "contiguous": maps,
        "channels last": maps.contiguous(memory_format=torch.channels_last),
        "some of the channels, every second image": torch.cat([maps, maps], dim=1).repeat_interleave(2, dim=0)[
            ::2, :channels
        ],
        "a window": wider[:, 1 : channels + 1, 1 : height + 1, 2 : width + 2],
        "some of the channels, channels last": rows[..., 1 : channels + 1].permute(0, 3, 1, 2),
        "an order of no kind": turned.permute(1, 2, 3, 0),
        "negated by a bit": torch.complex(torch.zeros_like(maps), -maps).conj().imag,
    }


def shift_of(maps: Tensor) -> Tensor:
    """Return the first image's channel means, which do not depend on the memory layout."""
    return maps[0].contiguous().mean(dim=(1, 2))


def outputs_of(kernel: Kernel, maps: Tensor, *, exact: bool = False) -> Outputs:
    channels = maps.shape[1]
    shift = shift_of(maps)
    sums = torch.zeros(-(-channels // 16) * 16, dtype=torch.float64)
    products = torch.zeros(len(sums), len(sums), dtype=torch.float64)
    padded = torch.zeros(len(sums))
    padded[:channels] = shift
    counts = kernel.position_sums(maps, padded, sums, products, exact=exact)
    means, others = kernel.spatial_means(maps, shift)
    return counts, others, means.numpy(), sums.numpy(), products.triu().numpy()


def bits(outputs: Outputs) -> list[object]:
    return [part if isinstance(part, tuple) else part.tobytes() for part in outputs]


def kernel_of(name: str) -> Kernel:
    loaded = load_kernel(name)
    assert loaded is not None
    return loaded


@pytest.mark.parametrize("exact", [False, True], ids=["fast", "exact"])
@pytest.mark.parametrize("shape", NARROWER)
@pytest.mark.parametrize("name", NAMES)
def test_layouts_and_threads_have_the_same_bits(name: str, shape: tuple[int, ...], exact: bool) -> None:
    values = values_of_all_sizes(shape)
    expected = bits(outputs_of(kernel_of(name), values, exact=exact))
    for threads in (1, 3):
        torch.set_num_threads(threads)
        for layout, maps in layouts(values).items():
            assert bits(outputs_of(kernel_of(name), maps, exact=exact)) == expected, layout


@pytest.mark.parametrize("precision", ["fast", "exact"])
@pytest.mark.parametrize("samples", ["images", "positions"])
@pytest.mark.parametrize("shape", [*NARROWER, (130, 301, 2, 3)])
def test_statistics_of_layouts_and_threads_have_the_same_bits(
    shape: tuple[int, ...], samples: Literal["images", "positions"], precision: Literal["fast", "exact"]
) -> None:
    outputs = []
    # Made once: the powers in them depend on the number of threads.
    every = layouts(values_of_all_sizes(shape)).values()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        for maps in every:
            model = nn.Sequential(nn.Identity())
            with FeatureStatistics(model, ["0"], samples, precision) as statistics:
                model(maps)
            result = statistics.result()["0"]
            parts = statistics.state_dict() | {"mean": result.mean, "covariance": result.covariance}
            outputs.append({name: part.numpy().tobytes() for name, part in parts.items()})
    assert all(parts == outputs[0] for parts in outputs)


def test_means_by_torch_depend_on_the_layout_and_those_of_the_kernel_do_not() -> None:
    kernel, shift = kernel_of(NAMES[0]), torch.zeros(64)
    views = list(layouts(values_of_all_sizes((3, 64, 24, 24))).values())
    by_torch = [maps.mean(dim=(2, 3)) for maps in views]
    by_kernel = [kernel.spatial_means(maps, shift)[0] for maps in views]
    assert not all(torch.equal(means, by_torch[0]) for means in by_torch)
    assert all(torch.equal(means, by_kernel[0]) for means in by_kernel)


@pytest.mark.skipif(len(FUSED) < 2, reason=f"this processor and this build have {FUSED} to compare")
@pytest.mark.parametrize("exact", [False, True], ids=["fast", "exact"])
@pytest.mark.parametrize("shape", SHAPES)
def test_instruction_sets_have_the_same_bits(shape: tuple[int, ...], exact: bool) -> None:
    maps, outputs = values_of_all_sizes(shape), []
    for threads, name in enumerate(FUSED, start=1):
        torch.set_num_threads(threads)
        outputs.append(bits(outputs_of(kernel_of(name), maps, exact=exact)))
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_instruction_set_agrees_with_numpy(shape: tuple[int, ...], name: str) -> None:
    loaded = kernel_of(name)
    maps = maps_of(shape)
    values = maps.double().numpy()
    for exact, bound in ((False, 1e-6), (True, 1e-13)):
        counts, _, means, sums, products = outputs_of(loaded, maps, exact=exact)
        assert counts == (int((values <= 0).sum()), int((values == 0).sum()), 0, 0)
        shift = shift_of(maps).double().numpy()
        rows = np.moveaxis(values, 1, 3).reshape(-1, shape[1]) - shift
        np.testing.assert_allclose(means, values.mean(axis=(2, 3)) - shift, rtol=0, atol=1e-13)
        scale = np.abs(rows).sum(axis=0).max()
        np.testing.assert_allclose(sums[: shape[1]], rows.sum(axis=0), rtol=0, atol=bound * scale)
        upper = products[: shape[1], : shape[1]]
        expected = np.triu(rows.T @ rows)
        assert np.linalg.norm(upper - expected) <= bound * np.linalg.norm(expected)


def products_by_float32_of_unshifted(maps: Tensor) -> Matrix:
    """Compute float32 products of unshifted values, the mistake that the tests must find."""
    rows = maps.movedim(1, -1).reshape(-1, maps.shape[1])
    mean = rows.mean(dim=0)
    return (rows.T @ rows / len(rows) - torch.outer(mean, mean)).double().numpy()


def test_products_of_values_that_were_not_shifted_fail_the_bound() -> None:
    maps = maps_of((20, 32, 12, 12)) + 1e3
    model = nn.Sequential(nn.Identity())
    expected = covariance_by_numpy(maps, "positions")
    assert error_of(measure(model, "0", maps, "positions").covariance, expected) <= 1e-6
    wrong = products_by_float32_of_unshifted(maps)
    assert np.linalg.norm(wrong - expected) > 1e-3 * np.linalg.norm(expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels-last"])
@pytest.mark.parametrize("bad", [math.nan, -math.nan, math.inf, -math.inf])
def test_positions_with_a_value_that_is_not_finite_are_left_out(bad: float, channels_last: bool, name: str) -> None:
    loaded = kernel_of(name)
    maps = maps_of((4, 20, 15, 15))
    for image, channel, row in ((0, 19, 3), (2, 0, 14), (2, 5, 14)):
        maps[image, channel, row, 7] = bad
    maps = maps.contiguous(memory_format=torch.channels_last) if channels_last else maps
    shift = torch.zeros(32)
    shift[:20] = maps[0].nan_to_num(0, 0, 0).mean(dim=(1, 2))
    sums, products = torch.zeros(32, dtype=torch.float64), torch.zeros(32, 32, dtype=torch.float64)
    counts = loaded.position_sums(maps, shift, sums, products, exact=True)
    values = maps.double().numpy()
    assert counts == (int((values <= 0).sum()), int((values == 0).sum()), 3, 2)
    finite = np.isfinite(np.moveaxis(values, 1, 3).reshape(-1, 20)).all(axis=1)
    rows = (np.moveaxis(values, 1, 3).reshape(-1, 20) - shift[:20].double().numpy())[finite]
    np.testing.assert_allclose(products.triu().numpy()[:20, :20], np.triu(rows.T @ rows), rtol=1e-12)
    np.testing.assert_allclose(sums.numpy()[:20], rows.sum(axis=0), rtol=0, atol=1e-10)
    _, others = loaded.spatial_means(maps, shift[:20].contiguous())
    assert others == loaded.count(maps) == counts[:3]


@pytest.mark.parametrize("shape", SHAPES)
def test_spatial_means_have_the_bits_of_torchs_operations(shape: tuple[int, ...]) -> None:
    loaded = active_kernel()
    assert loaded is not None
    maps = values_of_all_sizes(shape)
    shift = shift_of(maps)
    means, _ = loaded.spatial_means(maps, shift)
    assert torch.equal(means, means_by_lanes(maps, shift))


def test_sums_in_another_order_have_other_bits_than_those_of_the_kernel() -> None:
    maps, shift = values_of_all_sizes((3, 64, 24, 24)), torch.zeros(64)
    plain = maps.double().flatten(start_dim=2).cumsum(dim=2)[:, :, -1] / 576
    by_kernel, _ = kernel_of(NAMES[0]).spatial_means(maps, shift)
    assert torch.equal(by_kernel, means_by_lanes(maps, shift))
    assert not torch.equal(plain, by_kernel)


@pytest.mark.parametrize("name", NAMES)
def test_denormal_numbers_are_positive_also_where_the_processor_flushes_them(name: str) -> None:
    values = torch.tensor([1e-45, -1e-45, 0.0, -0.0] * 20)
    with_nan = torch.cat([values, torch.tensor([math.nan])])
    negative = torch.tensor([-1.0, -1e-45, -2.0]).reshape(1, 1, 3, 1)
    assert torch.set_flush_denormal(True)
    try:
        assert kernel_of(name).count(values) == (60, 40, 0)
        assert kernel_of(name).count(with_nan) == (60, 40, 1)
        counts = torch.zeros(BINS, dtype=torch.int64)
        kernel_of(name).histogram(values, counts)
        assert counts[[0, 1, SIDE, SIDE + 1]].tolist() == [20, 20, 20, 20]
        assert kernel_of(name).peaks(negative).view(torch.int32).item() == 1 - 2**31
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("number", [0, 1, 15, 16, 17, 65_537, 200_001])
def test_bins_of_any_number_of_values_are_those_of_torchs_operations(
    number: int, name: str, remove_kernel: Callable[[], None]
) -> None:
    torch.set_num_threads(3)
    # All bits are equally likely: values of every size, and a part that is not finite.
    values = torch.randint(-(2**31), 2**31, (number + 1,), generator=torch.Generator().manual_seed(number))[1:]
    values = values.int().view(torch.float32)
    values[::5] = 0.0
    counts, expected = torch.ones(2, BINS, dtype=torch.int64)
    kernel_of(name).histogram(values, counts)
    remove_kernel()
    count_bins(values, expected)
    assert torch.equal(counts, expected)
    assert int(counts.sum()) == BINS + number


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", NARROWER)
def test_peaks_of_every_layout_are_torchs_maxima(shape: tuple[int, ...], name: str) -> None:
    maps = values_of_all_sizes(shape)
    # An image may have a channel that is never finite, one with a nan and one that is infinite.
    maps[0, 0], maps[-1, -1, -1, -1], maps[0, -1, 0, 0] = math.nan, -math.nan, math.inf
    expected = maps.where(maps.isfinite(), -math.inf).amax(dim=(2, 3))
    for threads in (1, 3):
        torch.set_num_threads(threads)
        for placed in layouts(maps).values():
            assert torch.equal(kernel_of(name).peaks(placed), expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("number", [0, 1, 15, 16, 17, 65_535, 65_536, 65_537, 200_001])
def test_counts_of_any_number_of_values_are_numpys(number: int, name: str) -> None:
    torch.set_num_threads(3)
    values = maps_of((number + 1,))[1:]
    numbers = values.numpy()
    assert kernel_of(name).count(values) == (int((numbers <= 0).sum()), int((numbers == 0).sum()), 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", SHAPES)
def test_memory_beside_the_results_is_not_written(shape: tuple[int, ...], name: str) -> None:
    channels = shape[1]
    leading = -(-channels // 16) * 16
    guarded = [torch.full((number + 64,), 7.0, dtype=torch.float64) for number in (leading, leading**2)]
    sums, products = guarded[0][32:-32], guarded[1][32:-32].view(leading, leading)
    sums.zero_(), products.zero_()
    kernel_of(name).position_sums(maps_of(shape), torch.zeros(leading), sums, products, exact=False)
    for memory in guarded:
        assert torch.equal(torch.cat([memory[:32], memory[-32:]]), torch.full((64,), 7.0, dtype=torch.float64))
    assert not sums[channels:].any()
    assert not products.triu()[:, channels:].any()


@pytest.mark.parametrize(
    "values",
    [
        torch.zeros(16, dtype=torch.float32),
        torch.zeros(10, dtype=torch.float64),
        torch.zeros(16, dtype=torch.float64, device="meta"),
        torch.zeros(32, dtype=torch.float64)[::2],
        torch._neg_view(torch.zeros(16, dtype=torch.float64)),
    ],
    ids=["another type", "too few", "another device", "in steps", "negative"],
)
def test_memory_that_the_kernel_would_take_for_something_else_is_refused(values: Tensor) -> None:
    _maps, layout = locate(maps_of((2, 10, 3, 3)))
    products, counts = torch.zeros(16, 16, dtype=torch.float64), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"sums is .*it must be torch.float64 of sizes \(16,\) side by side"):
        kernel_of(NAMES[0]).call("position_sums", layout, 16, 0, torch.zeros(16), values, products, counts)
    assert not products.any()


@pytest.mark.parametrize(
    "values",
    [torch.zeros(2, 3, 4, 5, dtype=torch.float64), torch.zeros(2, 3, 4, 5, device="meta"), torch.zeros(2, 3, 4)],
    ids=["another type", "another device", "three axes"],
)
def test_maps_that_the_kernel_would_take_for_something_else_are_refused(values: Tensor) -> None:
    with pytest.raises(ValueError, match="maps"):
        inspect.unwrap(locate)(values)


class Wrapped(Tensor):
    """A tensor subclass that wraps another tensor."""


def test_only_plain_values_in_the_memory_of_a_processor_go_to_the_kernel() -> None:
    values = torch.ones(2, 3)
    assert kernel_for(values) is kernel_for(nn.Parameter(values)) is active_kernel()
    for other in (values.double(), values.half(), values.to("meta"), values.to_sparse(), values.as_subclass(Wrapped)):
        assert kernel_for(other) is None


def test_an_image_of_more_values_than_32_bits_count_does_not_go_to_the_kernel() -> None:
    value = torch.ones(1, 1, 1, 1)
    assert kernel_for(value.expand(5, 1, 2**15, 2**16 - 1)) is active_kernel()
    assert kernel_for(value.expand(1, 1, 2**15, 2**16)) is None
    assert kernel_for(value.expand(1, 2, 2**15, 2**15)) is None


def test_no_more_values_are_counted_at_once_than_32_bits_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers: list[int] = []
    monkeypatch.setattr(library.Library, "call", lambda _self, _function, number, *_: numbers.append(number))
    kernel_of(NAMES[0]).histogram(torch.ones(1).expand(2**31 + 5), torch.zeros(BINS, dtype=torch.int64))
    assert numbers == [2**31, 5]


def test_a_default_device_does_not_move_the_results() -> None:
    maps, shift = maps_of((2, 3, 4, 4)), torch.zeros(3)
    with torch.device("meta"):
        means, _ = kernel_of(NAMES[0]).spatial_means(maps, shift)
    assert means.device.type == "cpu"


def test_a_library_from_another_source_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = sorted(Path(library.__file__).parent.glob("*.hpp"))
    files = [Path(kernel.__file__).with_name("kernel.cpp"), *headers]
    named = b"".join(file.name.encode() + b"\0" + file.read_bytes() for file in files)
    compiled = Path(kernel.__file__).with_name(f"_kernel_{NAMES[0]}.so")
    loaded = library.Library(compiled, NAMES[0], kernel.SIGNATURES, files[0])
    assert loaded.functions["source"]().decode() == hashlib.sha256(named).hexdigest()
    changed = tmp_path / "kernel.cpp"
    changed.write_text("// changed since\n")
    monkeypatch.setattr(kernel, "SOURCE", changed)
    with pytest.raises(ValueError, match=r"was compiled from other sources: install again, pip install -e \."):
        Kernel(compiled, NAMES[0])


def test_a_process_says_what_takes_its_statistics(remove_kernel: Callable[[], None]) -> None:
    loaded = active_kernel()
    assert loaded is not None
    assert kernel_description() == f"compiled, {loaded.instruction_set}"
    remove_kernel()
    assert kernel_description() == "torch's operations: no kernel was built or loads"


def test_a_library_that_does_not_load_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    damaged = tmp_path / "_kernel_base.so"
    damaged.write_bytes(b"\x7fELF and no more")
    assert library.open_if_built(Kernel, damaged, "base") is None


PLAIN = torch.arange(480.0).reshape(2, 3, 4, 20)
LAST = torch.arange(2160.0).reshape(2, 12, 15, 6).permute(0, 3, 1, 2)


WALKED = {
    "contiguous": (PLAIN, (240, 80, 1)),
    "one channel": (PLAIN[:, :1], (240, 80, 1)),
    "channels last": (LAST, (1080, 1, 6)),
    "one position, every second channel": (LAST[:, ::2, :1, :1], (1080, 2, 1)),
    "one position, channels last": (LAST[:, :, :1, :1], (1080, 1, 90)),
    "one column, channels last": (LAST[..., :1], (1080, 1, 90)),
    "part of one row": (PLAIN[:, :, :1, :3], (240, 80, 1)),
    "every second column of one channel": (PLAIN[:, :1, :, ::2], (240, 1, 2)),
    "one position": (PLAIN[:, :, :1, :1], (240, 80, 1)),
}


@pytest.mark.parametrize(("maps", "strides"), WALKED.values(), ids=list(WALKED))
def test_maps_that_the_kernel_can_walk_stay_where_they_are(maps: Tensor, strides: tuple[int, ...]) -> None:
    placed, layout = locate(maps)
    assert placed is maps
    images, channels, height, width = maps.shape
    assert (layout.data, layout.images, layout.channels) == (maps.data_ptr(), images, channels)
    assert layout.positions == height * width
    assert (layout.image_stride, layout.channel_stride, layout.position_stride) == strides


@pytest.mark.parametrize(
    "maps",
    [
        PLAIN[:, :, :2, :3],
        PLAIN[:, :, :3, :2],
        PLAIN[:, :, :, ::2],
        PLAIN[:, :, :1, ::10],
        PLAIN[:, :, :2, :4].contiguous()[..., ::2],
        PLAIN[:, :1, :, ::2].transpose(2, 3),
        torch.complex(PLAIN, -PLAIN).conj().imag,
    ],
)
def test_maps_that_it_cannot_walk_are_copied(maps: Tensor) -> None:
    placed, layout = locate(maps)
    channels, height, width = maps.shape[1:]
    assert torch.equal(placed, maps)
    assert placed.is_contiguous()
    assert not placed.is_neg()
    strides = (channels * height * width, height * width, 1)
    assert (layout.data, layout.positions) == (placed.data_ptr(), height * width)
    assert (layout.image_stride, layout.channel_stride, layout.position_stride) == strides
    assert placed is not maps


def test_a_kernel_without_memory_is_an_error_of_memory() -> None:
    loaded = active_kernel()
    assert loaded is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(loaded.functions, "peaks", lambda *_arguments: 1)
        with pytest.raises(MemoryError, match="no working memory for peaks of"):
            loaded.peaks(maps_of((2, 3, 4, 4)))


def test_products_are_torchs_where_no_kernel_was_built(remove_kernel: Callable[[], None]) -> None:
    rows = torch.randn(999, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ours, of_torch = arithmetic.product(rows), rows.T @ rows
    assert not torch.equal(ours, of_torch)
    assert torch.equal(kernel.self_product(rows), ours)
    assert kernel.self_product(rows.to("meta")).device.type == "meta"
    remove_kernel()
    assert torch.equal(kernel.self_product(rows), of_torch)


def test_rows_are_summed_also_where_there_is_no_order_to_choose() -> None:
    rows = torch.tensor([[1.0, 2.0], [3.0, -4.0], [5.0, 0.5]], dtype=torch.float64)
    assert kernel.column_sums(rows).tolist() == [9.0, -1.5]
    assert kernel.column_sums(rows.to("meta")).shape == (2,)


@pytest.mark.parametrize(
    ("widest", "tried"), [("avx512", ["avx512", "avx2", "base"]), ("avx2", ["avx2", "base"]), ("base", ["base"])]
)
def test_the_widest_kernel_that_was_built_and_that_the_processor_has_is_taken(
    widest: str, tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    built: dict[str, Kernel | None] = {"base": active_kernel()}

    def load(name: str) -> Kernel | None:
        asked.append(name)
        return built.get(name)

    find = active_kernel.__wrapped__
    monkeypatch.setattr(kernel, "load_kernel", load)
    monkeypatch.setattr(arithmetic, "instruction_set", lambda: widest)
    assert find() is built["base"]
    assert asked == tried
    # Where no arithmetic was built either, the kernel can be that for every processor.
    monkeypatch.setattr(arithmetic, "instruction_set", lambda: None)
    assert find() is built.pop("base")
    assert find() is None
