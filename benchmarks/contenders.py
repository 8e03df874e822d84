"""Contenders of the feature benchmark: bare forward passes, our feature statistics, third-party tools in hooks."""

import importlib.metadata
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from benchmarks.peers import PEERS, Matrix, Peer, Peers, to_numpy
from in4310repro.features import FeatureStatistics

Covariances = dict[str, Matrix]  # by module, channel x channel
Finish = Callable[[], Covariances]
Samples = Literal["images", "positions"]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Tool timed during forward passes; `start` adds its hooks and yields a function that returns its covariances."""

    name: str
    samples: Samples | None  # samples of its covariances; None if it has none
    modules: tuple[str, ...]  # empty: all leaf modules, or none for the bare pass
    start: Callable[[nn.Module, tuple[str, ...]], AbstractContextManager[Finish]]
    needs: str = "torch"  # the required distribution

    @property
    def version(self) -> str | None:
        """Version of the installed distribution; None if it is not installed."""
        try:
            return importlib.metadata.version(self.needs)
        except importlib.metadata.PackageNotFoundError:
            return None


def bare_pass() -> Contender:
    """Return the contender that measures nothing; its time is that of the forward passes alone."""

    @contextmanager
    def start(_model: nn.Module, _modules: tuple[str, ...]) -> Iterator[Finish]:
        yield dict

    return Contender(name="bare forward", samples=None, modules=(), start=start)


def feature_statistics(
    name: str,
    modules: tuple[str, ...],
    samples: Samples | None,
    precision: Literal["fast", "exact"] = "fast",
    *,
    histogram: bool = False,
    top_images: int = 0,
) -> Contender:
    """Return FeatureStatistics as a contender; empty `modules` means all leaf modules, samples=None only counts."""

    @contextmanager
    def start(model: nn.Module, modules: tuple[str, ...]) -> Iterator[Finish]:
        def finish() -> Covariances:
            results = statistics.result()
            return {name: to_numpy(result.covariance) for name, result in results.items()} if samples else {}

        with FeatureStatistics(
            model, modules or "leaves", samples, precision, histogram=histogram, top_images=top_images
        ) as statistics:
            yield finish

    return Contender(name=name, samples=samples, modules=modules, start=start)


@contextmanager
def output_hooks(model: nn.Module, consumers: dict[str, Callable[[Tensor], object]]) -> Iterator[None]:
    """Call each consumer with every output of the module it is named after, during a `with` block."""
    handles = [
        model.get_submodule(name).register_forward_hook(lambda *call, name=name: (consumers[name](call[2]), None)[1])
        for name in consumers
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def plain_count(name: str, modules: tuple[str, ...]) -> Contender:
    """Return a contender that counts (x <= 0).sum() in a hook; empty `modules` means all leaf modules."""

    @contextmanager
    def start(model: nn.Module, modules: tuple[str, ...]) -> Iterator[Finish]:
        leaves = [name for name, module in model.named_modules() if not any(module.children())]
        counts = dict.fromkeys(modules or leaves, torch.zeros(()))

        def make_consumer(name: str) -> Callable[[Tensor], object]:
            def add(maps: Tensor) -> None:
                counts[name] = counts[name] + (maps <= 0).sum()

            return add

        with output_hooks(model, {name: make_consumer(name) for name in counts}):
            yield dict

    return Contender(name=name, samples=None, modules=modules, start=start)


def peer(name: str, needs: str, make: Callable[[int], Peer], modules: tuple[str, ...]) -> Contender:
    """Return a third-party tool as a contender; its hook passes it one row of channels for each position.

    Args:
        name: name of the contender in the tables.
        needs: the required distribution.
        make: constructs the tool for a number of channels.
        modules: names of modules; each has a separate instance of the tool.
    """

    @contextmanager
    def start(model: nn.Module, modules: tuple[str, ...]) -> Iterator[Finish]:
        peers: dict[str, Peer] = {}

        def make_consumer(name: str) -> Callable[[Tensor], object]:
            def update(maps: Tensor) -> None:
                rows = maps.movedim(1, -1).reshape(-1, maps.shape[1])
                if name not in peers:
                    peers[name] = make(maps.shape[1])
                peers[name].update(rows)

            return update

        with output_hooks(model, {name: make_consumer(name) for name in modules}):
            yield lambda: {name: tool.covariance() for name, tool in peers.items()}

    return Contender(name=name, samples="positions", modules=modules, start=start, needs=needs)


def contenders(convolutions: tuple[str, ...], five: tuple[str, ...], peers: Peers = PEERS) -> list[Contender]:
    """Return all contenders, the bare pass first; the modules in `five` get their covariance over images."""
    number = len(convolutions)
    return [
        bare_pass(),
        feature_statistics(f"counts, {number} convolutions", convolutions, None),
        plain_count(f"(x <= 0).sum(), {number} convolutions", convolutions),
        feature_statistics("counts, all leaf modules", (), None),
        plain_count("(x <= 0).sum(), all leaf modules", ()),
        feature_statistics(f"counts and `images` covariance, {len(five)} modules", five, "images"),
        feature_statistics(
            f"counts, histogram and 8 top images, {len(five)} modules", five, None, histogram=True, top_images=8
        ),
        feature_statistics("`positions` fast", convolutions, "positions"),
        feature_statistics("`positions` exact", convolutions, "positions", "exact"),
        *(peer(name, needs, make, convolutions) for name, (needs, make) in peers.items()),
    ]
