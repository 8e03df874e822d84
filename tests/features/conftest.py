"""A small network with everything that misleads hooks, and fixtures for the tests of features."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from in4310repro.features import FeatureResult, FeatureStatistics, kernel


class Tangled(nn.Module):
    """Network that applies an in-place ReLU twice, and defines submodules in another order than it calls them."""

    def __init__(self) -> None:
        super().__init__()
        self.late = nn.Conv2d(12, 10, 3, bias=False)
        self.conv1 = nn.Conv2d(3, 12, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(12)
        self.relu = nn.ReLU(inplace=True)
        self.block = nn.ModuleDict({"conv1": nn.Conv2d(12, 12, 3, padding=1, bias=False)})
        self.bn2 = nn.BatchNorm2d(12)
        self.head = nn.Linear(10, 6)

    def forward(self, images: Tensor) -> Tensor:
        identity = self.relu(self.bn1(self.conv1(images)))
        maps = self.bn2(self.block["conv1"](identity))
        maps += identity
        maps = self.relu(maps)
        late: Tensor = self.late(maps)
        logits: Tensor = self.head(late.mean(dim=(2, 3)))
        return logits


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Compute with one thread: tensors are so small that a second one would only wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def remove_kernel(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function that removes the compiled kernel, as if no compiler had been found."""
    return lambda: monkeypatch.setattr(kernel, "active_kernel", lambda: None)


@pytest.fixture(params=["compiled", "torch"])
def either_way(request: pytest.FixtureRequest, remove_kernel: Callable[[], None]) -> None:
    """Run the test with the compiled kernel, and again with torch's operations."""
    if request.param == "torch":
        remove_kernel()
    elif kernel.active_kernel() is None:
        pytest.skip("no kernel was built: no C++ compiler at installation")


def measure(model: nn.Module, name: str, images: Tensor, *settings: Any, **named: Any) -> FeatureResult:
    """Return the statistics of one module after a forward pass over the images."""
    with FeatureStatistics(model, [name], *settings, **named) as statistics:
        model(images)
    return statistics.result()[name]


def count_hooks(module: nn.Module) -> dict[str, int]:
    return {name: len(value) for name, value in vars(module).items() if name.endswith("_hooks")}


def draw_tangled() -> Tangled:
    """Return the network with weights and statistics drawn by seed 3."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = Tangled()
        for norm in (network.bn1, network.bn2):
            norm.running_mean = torch.randn(12) * 0.3
            norm.running_var = torch.rand(12) * 0.45 + 0.05
            nn.init.normal_(norm.bias, std=0.5)
    return network


@pytest.fixture
def tangled() -> Tangled:
    return draw_tangled()


@pytest.fixture
def images() -> Tensor:
    """Return 26 images of 15 x 15 pixels that differ in brightness; no map of Tangled is a cube."""
    generator = torch.Generator().manual_seed(4)
    noise = torch.randn(26, 3, 15, 15, generator=generator)
    scale, mean = torch.rand(2, 26, 1, 1, 1, generator=generator)
    brightened: Tensor = noise * (0.3 + scale) + 2 * mean - 1
    return brightened
