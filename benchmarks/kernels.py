"""Timings of the kernels of feature statistics and of the operations of torch that they replace: `nox -s bench`.

Maps are those of 8 images in the first and the last stage of ResNet-18 at 224 px, in both memory layouts.
"""

from collections.abc import Callable
from typing import Literal

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from in4310repro.features.covariance import ImageRows, PositionRows, estimate_shift
from in4310repro.features.kernel import count
from in4310repro.system.numerics import activate

activate("native", "cpu")
LAYOUTS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
STAGES = {"conv1": (64, 112), "layer4": (512, 7)}


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> torch.memory_format:
    return LAYOUTS[request.param]


@pytest.fixture(params=STAGES)
def maps(request: pytest.FixtureRequest, layout: torch.memory_format) -> Tensor:
    channels, side = STAGES[request.param]
    return torch.randn(8, channels, side, side).contiguous(memory_format=layout)


def flatten_rows(maps: Tensor) -> Tensor:
    """Return maps as a matrix with one row of channels per position."""
    return maps.movedim(1, -1).reshape(-1, maps.shape[1])


def spatial_means(maps: Tensor) -> Tensor:
    rows = ImageRows(estimate_shift(maps), "exact")
    rows.add(maps)
    return rows.moments().scatter


def positions(precision: Literal["fast", "exact"]) -> Callable[[Tensor], Tensor]:
    def scatter(maps: Tensor) -> Tensor:
        rows = PositionRows(estimate_shift(maps), precision)
        rows.add(maps)
        return rows.moments().scatter

    return scatter


KERNELS: dict[str, dict[str, Callable[[Tensor], object]]] = {
    "counts": {"ours": count, "(x <= 0).sum()": lambda maps: (maps <= 0).sum()},
    "counts, spatial means and their scatter": {
        "ours": spatial_means,
        "without counts: float64 copy, torch.cov": lambda maps: torch.cov(maps.double().mean(dim=(2, 3)).T),
    },
    "counts and scatter of positions": {
        "ours, fast": positions("fast"),
        "ours, exact": positions("exact"),
        "without counts: float32 x.T @ x": lambda maps: flatten_rows(maps).T @ flatten_rows(maps),
        "without counts: float32 copy, torch.cov": lambda maps: torch.cov(flatten_rows(maps).T),
        "without counts: float64 copy, torch.cov": lambda maps: torch.cov(flatten_rows(maps).double().T),
    },
}


@pytest.mark.parametrize(
    ("kernel", "method"), [(kernel, method) for kernel, methods in KERNELS.items() for method in methods]
)
def test_kernel(benchmark: BenchmarkFixture, kernel: str, method: str, maps: Tensor) -> None:
    channels, side = maps.shape[1:3]
    layout = "channels_last" if maps.is_contiguous(memory_format=torch.channels_last) else "nchw"
    benchmark.group = f"{kernel}, {channels} x {side} x {side}, {layout}"
    benchmark(KERNELS[kernel][method], maps)
