"""Values of every magnitude that a type can represent: correct in every channel, or rejected."""

from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from in4310repro.features import FeatureStatistics
from tests.features.conftest import measure

Samples = Literal["images", "positions"]
Precision = Literal["fast", "exact"]
pytestmark = pytest.mark.usefixtures("either_way")
BOUND = {"fast": 1e-6, "exact": 1e-13}
CHANNELS = 20


def maps_of_size(name: str) -> Tensor:
    noise = torch.randn(5, CHANNELS, 9, 7, generator=torch.Generator().manual_seed(3)) + 0.5
    if name == "mixed":
        return noise * (10.0 ** torch.linspace(-30, 30, CHANNELS))[:, None, None]
    if name == "subnormal":
        return noise * 1e-41
    if name == "largest":
        return noise / noise.abs().max() * torch.finfo(torch.float32).max
    if name == "sparse":
        maps = noise.clone()
        maps[:, 3], maps[:, 4], maps[:, 5:7] = 0, 1e-25, 0
        maps[0, 5, 0, 0], maps[4, 6, 8, 6] = 1e-30, 1e30
        return maps
    return noise * float(name)


SIZES = ["1e-30", "1e-21", "1e-19", "1", "1e18", "1e19", "1e30", "mixed", "subnormal", "largest", "sparse"]


def covariance_in_long_doubles(maps: Tensor, samples: Samples) -> NDArray[Any]:
    rows = np.moveaxis(maps.double().numpy().astype(np.longdouble), 1, 3)
    rows = rows.reshape(len(rows), -1, CHANNELS)
    rows = rows.mean(axis=1) if samples == "images" else rows.reshape(-1, CHANNELS)
    rows = rows - rows.mean(axis=0)
    covariance: NDArray[Any] = rows.T @ rows / len(rows)
    return covariance


def error_of_the_worst_entry(covariance: Tensor, expected: NDArray[Any]) -> float:
    """Return the largest error of a covariance entry, divided by the standard deviations of its two channels."""
    deviations = np.sqrt(np.diag(expected))
    units = np.outer(deviations, deviations)
    error = np.abs(covariance.numpy().astype(np.longdouble) - expected)
    return float(np.max(np.where(units > 0, error / np.where(units > 0, units, 1), error)))


@pytest.mark.parametrize("precision", ["fast", "exact"])
@pytest.mark.parametrize("samples", ["images", "positions"])
@pytest.mark.parametrize("size", SIZES)
def test_every_entry_of_a_covariance_is_right_for_values_of_every_size(
    size: str, samples: Samples, precision: Precision
) -> None:
    maps = maps_of_size(size)
    model = nn.Sequential(nn.Identity())
    result = measure(model, "0", maps, samples, precision)
    # Of one value among zeros, the small squares of all others are added to its large one, and rounded alike: torch may
    # add all 315 to one sum (MKL does on some processors), each with an error of 2^-24 at most.
    bound = max(BOUND[precision], 315 * 2**-24) if (size, precision) == ("sparse", "fast") else BOUND[precision]
    assert error_of_the_worst_entry(result.covariance, covariance_in_long_doubles(maps, samples)) <= bound
    assert bool(result.eigenvalues().isfinite().all())


@pytest.mark.parametrize("size", SIZES)
def test_eigenvalues_of_flat_maps_are_right_for_values_of_every_size(size: str) -> None:
    maps = maps_of_size(size)
    model = nn.Sequential(nn.Identity())
    rows = maps.flatten(1).double().numpy()
    expected = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2 / 5
    # Rounding is relative to the largest.
    measured = measure(model, "0", maps, "flat").eigenvalues(4).numpy()
    np.testing.assert_allclose(measured, expected[:4], rtol=1e-10, atol=1e-14 * expected[0])


def products_in_float32(maps: Tensor) -> NDArray[Any]:
    """Compute the covariance in float32 without scaling, the mistake that the tests must find."""
    rows = maps.movedim(1, -1).reshape(-1, CHANNELS)
    rows = rows - rows.mean(dim=0)
    return (rows.T @ rows / len(rows)).numpy()


@pytest.mark.parametrize("size", ["1e-30", "1e-21", "1e19", "1e30", "mixed"])
def test_products_of_differences_that_are_not_scaled_fail_the_bound(size: str) -> None:
    maps = maps_of_size(size)
    expected = covariance_in_long_doubles(maps, "positions")
    with np.errstate(invalid="ignore"):
        assert not error_of_the_worst_entry(torch.from_numpy(products_in_float32(maps)), expected) <= 1e-6


def test_a_channel_that_is_scaled_changes_no_bit_of_the_others() -> None:
    maps = maps_of_size("1")
    outputs = []
    for factor in (1.0, 2.0**-90, 2.0**90):
        scaled = maps.clone()
        scaled[:, 7] *= factor
        model = nn.Sequential(nn.Identity())
        with FeatureStatistics(model, ["0"], "positions") as statistics:
            model(scaled)
        covariance = statistics.result()["0"].covariance
        covariance[7] /= factor
        covariance[:, 7] /= factor
        outputs.append(covariance)
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


@pytest.mark.parametrize("samples", ["images", "positions", "flat"])
@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_float64_values_whose_squares_are_none_are_refused(
    size: float, samples: Literal["images", "positions", "flat"]
) -> None:
    maps = maps_of_size("1").double()
    maps[:, 1], maps[:, 2] = 0, maps[:, 2] * size
    maps[0, 2, 0, 0] = torch.nan
    model = nn.Sequential(nn.Identity())
    with FeatureStatistics(model, ["0"], samples), pytest.raises(ValueError, match=r"channel 2 is .*, in float64; 1e-"):
        model(maps)
    assert measure(model, "0", maps, samples=None).non_positive_values == int((maps <= 0).sum())


def test_a_finite_value_counts_even_where_its_difference_from_the_shift_is_infinite() -> None:
    largest = torch.finfo(torch.float32).max
    maps = torch.tensor([-1.0, 1.0, 1.0, 1.0]).reshape(1, 1, 2, 2) * largest
    result = measure(nn.Sequential(nn.Identity()), "0", maps, "positions")
    assert result.rows == 4
    assert float(result.mean[0]) == pytest.approx(largest / 2, rel=1e-6)
    assert float(result.covariance[0, 0]) == pytest.approx(0.75 * largest**2, rel=1e-6)
