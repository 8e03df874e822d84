"""Histograms against NumPy on the same values, and quantiles against a full sort."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from in4310repro.features import FeatureStatistics, Histogram
from in4310repro.features.activations import RELATIVE_ERROR, count_bins, histogram_of
from in4310repro.features.kernel import BINS
from tests.features.conftest import Tangled
from tests.features.copies import maps_by_copies

pytestmark = pytest.mark.usefixtures("either_way")
SHARES = [*range(0, 1001, 37), 1, 500, 999, 1000]  # in thousandths
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def values_of_every_kind(seed: int, number: int = 4000) -> Tensor:
    """Return random bit patterns including nan, ordinary values, bin edges and their neighbours, and zeros."""
    generator = np.random.default_rng(seed)
    bits = generator.integers(0, 2**32, number // 4, dtype=np.uint32).view(np.float32)
    borders = np.ldexp(1 + generator.integers(0, 64, number // 4) / 32, generator.integers(-151, 127, number // 4))
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 2**-126, 3.4028235e38, -3.4028235e38])
    parts: list[NDArray[Any]] = [
        bits,
        generator.standard_normal(number // 4),
        np.nextafter(borders.astype(np.float32), np.float32(0)),
        -borders,
        generator.choice(special, number // 20),
    ]
    every = np.concatenate([part.astype(np.float32) for part in parts])
    return torch.from_numpy(generator.permutation(every))


def middle_of(value: float) -> float:
    """Return the centre of the histogram bin of a finite value, computed by arithmetic instead of from its bits."""
    if value == 0:
        return 0.0
    width = math.ldexp(1, max(math.frexp(value)[1] - 1, -126) - 5)
    return math.copysign((math.floor(abs(value) / width) + 0.5) * width, value)


def bins_by_numpy(values: Tensor) -> dict[float, int]:
    numbers = values.double().numpy()
    found = Counter(middle_of(value) for value in numbers[np.isfinite(numbers)].tolist())
    return dict(sorted(found.items()))


def histogram(values: Tensor) -> Histogram:
    counts = torch.zeros(BINS, dtype=torch.int64)
    count_bins(values, counts)
    assert int(counts.sum()) == values.numel()
    return histogram_of(counts)


def as_dict(histogram: Histogram) -> dict[float, int]:
    return dict(zip(histogram.middles.tolist(), histogram.counts.tolist(), strict=True))


def at_place(ordered: NDArray[Any], thousandths: int) -> float:
    """Return the quantile of sorted values at `thousandths` / 1000."""
    return float(ordered[max(1, -(-thousandths * len(ordered) // 1000)) - 1])


def is_within(found: Histogram, thousandths: int, exact: float) -> bool:
    bound = 0.0 if exact == 0 else max(RELATIVE_ERROR * abs(exact), 2.0**-132)
    return abs(found.quantile(thousandths / 1000) - exact) <= bound


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(3))
def test_bins_are_those_of_arithmetic_on_the_values(seed: int, dtype: torch.dtype) -> None:
    values = values_of_every_kind(seed).to(dtype)
    assert as_dict(histogram(values)) == bins_by_numpy(values)


def test_a_float64_value_beside_a_border_is_on_its_own_side() -> None:
    beside = torch.tensor([1.0 - 1e-12, 1.0, 1.0 + 1e-12, -2.0 + 1e-12, 1e-60, -1e-300], dtype=torch.float64)
    assert as_dict(histogram(beside)) == bins_by_numpy(beside)
    assert as_dict(histogram(beside)) != as_dict(histogram(beside.float()))


@pytest.mark.parametrize("number", [0, 1, 15, 16, 17, 1000, 65_537])
@pytest.mark.parametrize("seed", range(3))
def test_quantiles_are_within_the_bound_of_a_sort_of_everything(seed: int, number: int) -> None:
    torch.set_num_threads(2)
    values = values_of_every_kind(seed, 2 * number + 40)[:number]
    ordered = np.sort(values[values.isfinite()].double().numpy())
    if not len(ordered):
        with pytest.raises(ValueError, match="no value is finite; quantiles of no values are undefined"):
            histogram(values).quantile(0.5)
        return
    found = histogram(values)
    assert all(is_within(found, share, at_place(ordered, share)) for share in SHARES)


def test_the_bound_is_reached_and_not_more() -> None:
    values = torch.linspace(1, 1.0625, 101)[:-1]
    errors = [abs(histogram(value[None]).quantile(1.0) / float(value) - 1) for value in values]
    assert 0.95 * RELATIVE_ERROR < max(errors) <= RELATIVE_ERROR == 1 / 64


def test_a_share_is_what_its_decimals_say() -> None:
    ten = histogram(torch.arange(10.0))
    # As doubles, 0.1 is above one tenth, and 10 times 0.3 is 3.
    assert [ten.quantile(share) for share in (0.0, 0.1, 0.3, 0.30001, 1.0)] == [0.0, 0.0, 2.03125, 3.03125, 9.125]
    for share in (-0.01, 1.01, math.nan):
        with pytest.raises(ValueError, match=f"a quantile at {share}; it must be from 0 to 1"):
            ten.quantile(share)


WRONG: dict[str, Callable[[Tensor], Tensor]] = {
    "rounded to float16": lambda values: values.half().float(),
    "rounded to bfloat16": lambda values: values.bfloat16().float(),
    "subnormal values are zero": lambda values: torch.where(values.abs() < 2.0**-126, 0.0, values),
    "the sign is lost": torch.abs,
}


@pytest.mark.parametrize("mistake", WRONG)
def test_bins_of_changed_values_are_others(mistake: str) -> None:
    values = values_of_every_kind(0)
    assert as_dict(histogram(WRONG[mistake](values))) != bins_by_numpy(values)


def test_the_next_place_is_another_quantile() -> None:
    values = values_of_every_kind(1)
    ordered = np.sort(values[values.isfinite()].double().numpy())
    next_place = np.append(ordered[1:], ordered[-1])
    found = histogram(values)
    assert all(is_within(found, share, at_place(ordered, share)) for share in range(1001))
    assert not all(is_within(found, share, at_place(next_place, share)) for share in range(1001))


@pytest.mark.parametrize("view", ["channels-last", "strided", "expanded", "negated", "no axis", "parameter"])
def test_layout_does_not_matter(view: str) -> None:
    values = values_of_every_kind(2, 5000)[:4800].reshape(4, 6, 10, 20)
    views = {
        "channels-last": values.contiguous(memory_format=torch.channels_last),
        "strided": values[:, ::2, 1:],
        "expanded": values[:1].expand(3, -1, -1, -1),
        "negated": torch.complex(torch.zeros_like(values), -values).conj().imag,
        "no axis": values[0, 0, 0, 0],
        "parameter": nn.Parameter(values),
    }
    assert as_dict(histogram(views[view])) == bins_by_numpy(views[view].detach().contiguous())


def test_values_by_power_of_two() -> None:
    values = torch.tensor([-5.0, -4.0, -0.0, 0.0, 0.0, 1e-45, 1e-39, 2.0**-126, 1.0, 1.99, 2.0, math.nan, -math.inf])
    assert histogram(values).by_exponent() == [
        (-1, 2, 2), (0, None, 3), (1, -127, 2), (1, -126, 1), (1, 0, 2), (1, 1, 1)
    ]  # fmt: skip


def test_statistics_count_every_value_of_copies_taken_in_the_hook(tangled: Tangled, images: Tensor) -> None:
    with FeatureStatistics(tangled, ["conv1", "relu", "head"], histogram=True, samples=None) as statistics:
        for batch in torch.split(images, 8):
            tangled(batch)
    for name, result in statistics.result().items():
        maps = torch.cat([each.flatten() for each in maps_by_copies(tangled, name, torch.split(images, 8))])
        assert result.histogram is not None
        assert result.top_images is None
        assert as_dict(result.histogram) == bins_by_numpy(maps)
        assert int(result.histogram.counts.sum()) == result.values - result.non_finite
        not_positive = result.histogram.counts[result.histogram.middles <= 0]
        assert int(not_positive.sum()) == result.non_positive_values


def test_a_value_that_no_float32_comes_near_is_refused() -> None:
    model = nn.Sequential(nn.Identity())
    message = r"module '0': the largest magnitude is 1e\+39, in float64; .* to 3.40\d*e\+38 is needed: scale them"
    with (
        FeatureStatistics(model, ["0"], histogram=True, samples=None) as statistics,
        pytest.raises(ValueError, match=message),
    ):
        model(torch.tensor([[1.0, -1e39, math.inf, math.nan]], dtype=torch.float64))
    with FeatureStatistics(model, ["0"], histogram=True, samples=None) as statistics:
        model(torch.tensor([[3.4028234663852886e38, math.inf]], dtype=torch.float64))
        model(torch.zeros(0, 2, dtype=torch.float64))
    largest = statistics.result()["0"].histogram
    assert largest is not None
    assert as_dict(largest) == {(1 + 31.5 / 32) * 2.0**127: 1}
