"""Errors of covariance and eigenvalues, against NumPy on the same maps."""

import functools
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from in4310repro.features import FeatureStatistics
from in4310repro.features.covariance import (
    LARGE,
    SMALL,
    estimate_shift,
    means_by_sums,
    scale,
    split_images,
    working_dtype,
)
from tests.features.conftest import measure
from tests.features.copies import covariance_by_numpy, error_of, rows_by_numpy

Samples = Literal["images", "positions"]
Precision = Literal["fast", "exact"]
pytestmark = pytest.mark.usefixtures("either_way")
BOUND = {"fast": 1e-6, "exact": 1e-12}


def correlated_maps(ratio: float, images: int = 70, channels: int = 24, side: int = 9) -> Tensor:
    """Return random maps with correlated channels, whose means are up to `ratio` standard deviations from 0."""
    generator = torch.Generator().manual_seed(11)
    mixing = torch.randn(channels, channels, generator=generator) / channels**0.5
    noise = torch.randn(images, channels, side, side, generator=generator)
    level = torch.randn(images, channels, 1, 1, generator=generator)
    maps = torch.einsum("nchw,cd->ndhw", noise + level, mixing)
    return maps / maps.std() + ratio * torch.linspace(0.5, 1.0, channels)[:, None, None]


@functools.cache
def correlated_maps_and_covariance(ratio: float, samples: Samples) -> tuple[Tensor, NDArray[Any]]:
    maps = correlated_maps(ratio)
    return maps, covariance_by_numpy(maps, samples)


def covariance_of(
    maps: Tensor, size: int, samples: Samples, precision: Precision = "fast", network: nn.Module | None = None
) -> Tensor:
    model = network or nn.Sequential(nn.Identity())
    with FeatureStatistics(model, ["0"], samples=samples, precision=precision) as statistics:
        for batch in torch.split(maps, size):
            model(batch)
    return statistics.result()["0"].covariance


@pytest.mark.parametrize("size", [1, 7, 64, 70])
@pytest.mark.parametrize("ratio", [0.0, 1e2, 1e4, 1e6])
@pytest.mark.parametrize("samples", ["images", "positions"])
@pytest.mark.parametrize("precision", ["fast", "exact"])
def test_error_stays_in_bounds_for_every_mean_and_batch_size(
    precision: Precision, samples: Samples, ratio: float, size: int
) -> None:
    maps, expected = correlated_maps_and_covariance(ratio, samples)
    assert error_of(covariance_of(maps, size, samples, precision), expected) <= BOUND[precision]


@pytest.mark.parametrize("channels_last", [False, True], ids=["channels-first", "channels-last"])
@pytest.mark.parametrize("shape", [(5, 64, 80, 80), (70, 96, 7, 7), (6, 133, 20, 20), (70, 32, 1, 1), (70, 1, 5, 5)])
def test_long_short_and_degenerate_maps_stay_in_bounds(shape: tuple[int, int, int, int], channels_last: bool) -> None:
    images, channels, side, _ = shape
    maps = correlated_maps(0.5, images, channels, side)
    maps = maps.contiguous(memory_format=torch.channels_last) if channels_last else maps
    covariance = covariance_of(maps, 16, "positions")
    expected = covariance_by_numpy(maps, "positions").reshape(channels, channels)
    assert error_of(covariance, expected) <= 1e-6


def covariance_by_plain_float32_sums(maps: Tensor) -> Tensor:
    """Compute E[x x^T] - E[x] E[x]^T in float32, the mistake that the tests must find."""
    rows = maps.movedim(1, -1).reshape(-1, maps.shape[1])
    mean = rows.mean(dim=0)
    return (rows.T @ rows / len(rows) - torch.outer(mean, mean)).double()


def test_plain_float32_sums_fail_the_bound_that_ours_meet() -> None:
    maps = correlated_maps(1e2)
    expected = covariance_by_numpy(maps, "positions")
    assert error_of(covariance_of(maps, 16, "positions"), expected) <= BOUND["fast"]
    assert error_of(covariance_by_plain_float32_sums(maps), expected) > 1e-4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_widened_before_anything_is_summed(dtype: torch.dtype) -> None:
    maps = correlated_maps(3.0).to(dtype)
    for samples in ("images", "positions"):
        assert error_of(covariance_of(maps, 16, samples), covariance_by_numpy(maps, samples)) <= 1e-6


def test_float64_maps_are_not_narrowed_by_fast() -> None:
    maps = correlated_maps(1e4).double()
    assert error_of(covariance_of(maps, 16, "positions"), covariance_by_numpy(maps, "positions")) <= 1e-12


def test_autocast_around_the_model_does_not_reach_the_statistics() -> None:
    maps = correlated_maps(1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        covariance = covariance_of(maps, 16, "positions", "exact")
    assert error_of(covariance, covariance_by_numpy(maps, "positions")) <= 1e-12


# Of torch 2.9.
@pytest.mark.filterwarnings("ignore:Please use the new API settings:UserWarning")
def test_low_precision_flags_of_the_caller_change_nothing_and_stay_set() -> None:
    maps = correlated_maps(1.0)
    torch.set_float32_matmul_precision("medium")
    try:
        covariance = covariance_of(maps, 16, "positions")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert error_of(covariance, covariance_by_numpy(maps, "positions")) <= 1e-6


@pytest.mark.parametrize("samples", ["images", "positions"])
def test_samples_with_nan_or_inf_are_left_out_and_counted(samples: Samples) -> None:
    maps = correlated_maps(1.0)
    maps[0, 3, 2, 2], maps[9, 0, 1, 1], maps[9, 5, 1, 1] = torch.nan, torch.inf, -torch.inf
    model = nn.Sequential(nn.Identity())
    result = measure(model, "0", maps, samples=samples)
    clean = maps.clone()
    clean[0, :, 2, 2], clean[9, :, 1, 1] = 0, 0
    rows = rows_by_numpy(clean, samples)
    lost = [0, 9] if samples == "images" else [2 * 9 + 2, 9 * 81 + 9 + 1]
    expected = np.cov(np.delete(rows, lost, axis=0).T, bias=True)
    assert (result.non_finite, result.rows_left_out, result.rows) == (3, 2, len(rows) - 2)
    assert error_of(result.covariance, expected) <= 1e-6


def test_correction_1_divides_by_one_less() -> None:
    maps = correlated_maps(0.0)
    model = nn.Sequential(nn.Identity())
    expected = np.cov(rows_by_numpy(maps, "images").T)
    result = measure(model, "0", maps, samples="images", correction=1)
    assert error_of(result.covariance, expected) <= 1e-6
    np.testing.assert_allclose(result.eigenvalues(5).numpy(), np.linalg.eigvalsh(expected)[:-6:-1], rtol=1e-6)


def test_mean_is_numpys_mean() -> None:
    maps = correlated_maps(1e4)
    model = nn.Sequential(nn.Identity())
    expected = torch.from_numpy(maps.double().numpy().mean(axis=(0, 2, 3)))
    # The maps are float32, whose steps at 1e4 are 1e-3; the mean of 5670 of them is good to 1e-7 of a deviation.
    torch.testing.assert_close(measure(model, "0", maps, samples="positions").mean, expected, rtol=1e-10, atol=0)


def test_the_shift_is_the_mean_over_some_1024_positions_of_the_first_image() -> None:
    def of(height: int, width: int) -> float:
        rows = torch.arange(float(height))[:, None].expand(2, 1, height, width).clone()
        rows[1] = 1e6
        return float(estimate_shift(rows)[0])

    assert of(1, 3000) == 0
    assert of(4, 5) == 1.5
    assert of(62, 33) == 30.5  # 2,046 positions: all of them
    assert of(64, 32) == 31  # 2,048: every second row
    assert of(64, 64) == 30  # every fourth


def test_the_shift_of_a_channel_without_a_finite_mean_is_0() -> None:
    maps = torch.tensor([torch.nan, torch.inf, -torch.inf, 2.5]).reshape(1, 4, 1, 1)
    assert estimate_shift(maps).tolist() == [0, 0, 0, 2.5]


@pytest.mark.parametrize("precision", ["fast", "exact"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_are_in_float64_where_that_is_asked_or_what_the_maps_are(
    dtype: torch.dtype, precision: Literal["fast", "exact"]
) -> None:
    wide = torch.float64 if (dtype, precision) != (torch.float32, "fast") else torch.float32
    assert working_dtype(torch.ones(1, dtype=dtype), precision) == wide
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 6.0], [0.0, 9.0]]], [[[2.0**24, 1.0], [1.0, 1.0], [1.0, 2.0]]]])
    means = means_by_sums(maps.to(dtype), torch.tensor([1.0]), precision)
    assert means.dtype == torch.float64
    assert means.shape == (2, 1)
    assert float(means[0, 0]) == 15 / 6
    if wide == torch.float64:
        assert float(means[1, 0]) == 2**24 / 6


def test_images_are_taken_together_up_to_16384_positions() -> None:
    def of(*shape: int) -> list[int]:
        return [len(part) for part in split_images(torch.empty(shape))]

    assert of(129, 2, 1, 128) == [128, 1]
    assert of(146, 1, 1, 113) == [144, 2]
    assert of(3, 1, 2, 8193) == [1, 1, 1]
    assert of(3, 2, 0, 4) == [3]
    assert of(16_385, 1, 1, 1) == [16_384, 1]


def test_channels_outside_of_the_bounds_are_scaled_by_a_power_of_two() -> None:
    small, large = 2.0**-50, 2.0**50
    peaks = [1.0, 0.0, small, 0.75 * small, large, 1.5 * large, 2.0**-149, 2.0**127]
    units = [1, 1, 1, 2.0**-50, 1, 2.0**51, 2.0**-120, 2.0**120]
    rows = torch.tensor([[0.0] * len(peaks), peaks, [-peak / 2 for peak in peaks]])[:, :, None, None]
    scaled, by = scale(rows)
    assert by.tolist() == units
    assert torch.equal(scaled.double() * by[:, None, None], rows.double())
    assert (small, large) == (SMALL, LARGE)
    assert scale(rows[:0])[1].tolist() == [1] * len(peaks)
    for other in (rows.double(), rows[:, [0, 2, 4]]):
        same, ones = scale(other)
        assert same is other
        assert ones.dtype == torch.float64
        assert ones.tolist() == [1] * other.shape[1]
