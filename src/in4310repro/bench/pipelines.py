"""Whole pipelines on the same forward passes: bare, ours and others', each timed with its peak memory and error."""

import ctypes
import importlib.metadata
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from in4310repro.bench.peers import PEERS, Matrix, Peer, host
from in4310repro.features import FeatureStatistics

Covariances = dict[str, Matrix]
Finish = Callable[[], Covariances]
Samples = Literal["images", "positions"]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Something that runs along with forward passes; `finish` gives what it measured."""

    name: str
    samples: Samples | None
    modules: tuple[str, ...]
    start: Callable[[nn.Module, tuple[str, ...]], AbstractContextManager[Finish]]
    needs: str = "torch"  # the distribution that has to be installed

    @property
    def version(self) -> str | None:
        """Version of the distribution; None if it is not installed."""
        try:
            return importlib.metadata.version(self.needs)
        except importlib.metadata.PackageNotFoundError:
            return None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One pass of a contender over all batches."""

    seconds: float  # forward passes with the hooks in them
    finish_seconds: float
    peak_bytes: int | None  # above what was in use before
    covariances: Covariances


def bare() -> Contender:
    """The forward passes alone."""

    @contextmanager
    def start(_model: nn.Module, _modules: tuple[str, ...]) -> Iterator[Finish]:
        yield dict

    return Contender(name="bare forward", samples=None, modules=(), start=start)


def ours(
    name: str, modules: tuple[str, ...], samples: Samples | None, precision: Literal["fast", "exact"] = "fast"
) -> Contender:
    """FeatureStatistics."""

    @contextmanager
    def start(model: nn.Module, modules: tuple[str, ...]) -> Iterator[Finish]:
        def finish() -> Covariances:
            results = statistics.result()
            return {n: host(r.covariance) for n, r in results.items()} if samples is not None else {}

        with FeatureStatistics(model, modules or "leaves", samples, precision) as statistics:
            yield finish

    return Contender(name=name, samples=samples, modules=modules, start=start)


def hooked(model: nn.Module, take: dict[str, Callable[[Tensor], object]]) -> AbstractContextManager[object]:
    """A hook on each module that hands its output on."""

    @contextmanager
    def placed() -> Iterator[None]:
        handles = [
            model.get_submodule(name).register_forward_hook(lambda *call, name=name: (take[name](call[2]), None)[1])
            for name in take
        ]
        yield
        for handle in handles:
            handle.remove()

    return placed()


def plain_count(name: str, modules: tuple[str, ...]) -> Contender:
    """What most scripts do: (x <= 0).sum() in a hook, added up."""

    @contextmanager
    def start(model: nn.Module, modules: tuple[str, ...]) -> Iterator[Finish]:
        leaves = [n for n, m in model.named_modules() if not any(m.children())]
        counts = dict.fromkeys(modules or leaves, torch.zeros(()))

        def adding(name: str) -> Callable[[Tensor], object]:
            def add(maps: Tensor) -> None:
                counts[name] = counts[name] + (maps <= 0).sum()

            return add

        with hooked(model, {name: adding(name) for name in counts}):
            yield dict

    return Contender(name=name, samples=None, modules=modules, start=start)


def peer(name: str, needs: str, make: Callable[[int], Peer], modules: tuple[str, ...]) -> Contender:
    """Another tool, given every position as a row inside a hook."""

    @contextmanager
    def start(model: nn.Module, modules: tuple[str, ...]) -> Iterator[Finish]:
        peers: dict[str, Peer] = {}

        def adding(name: str) -> Callable[[Tensor], object]:
            def add(maps: Tensor) -> None:
                rows = maps.movedim(1, -1).reshape(-1, maps.shape[1])
                if name not in peers:
                    peers[name] = make(maps.shape[1])
                peers[name].update(rows)

            return add

        with hooked(model, {name: adding(name) for name in modules}):
            yield lambda: {name: each.covariance() for name, each in peers.items()}

    return Contender(name=name, samples="positions", modules=modules, start=start, needs=needs)


def contenders(convolutions: tuple[str, ...], five: tuple[str, ...]) -> list[Contender]:
    """All of them; the bare pass first."""
    number = len(convolutions)
    return [
        bare(),
        ours(f"counts, {number} convolutions", convolutions, None),
        plain_count(f"(x <= 0).sum(), {number} convolutions", convolutions),
        ours("counts, all leaf modules", (), None),
        plain_count("(x <= 0).sum(), all leaf modules", ()),
        ours(f"counts and `images` covariance, {len(five)} modules", five, "images"),
        ours("`positions` fast", convolutions, "positions"),
        ours("`positions` exact", convolutions, "positions", "exact"),
        *(peer(name, needs, make, convolutions) for name, (needs, make) in PEERS.items()),
    ]


def run(contender: Contender, model: nn.Module, batches: list[Tensor]) -> Run:
    """One timed pass, in evaluation mode without gradients; an untimed batch first fills the memory."""
    device = batches[0].device
    before = reset_peak(device)
    with torch.no_grad():
        model(batches[0])
    with torch.no_grad(), contender.start(model, contender.modules) as finish:
        start = Moment(device)
        for batch in batches:
            model(batch)
        ran = Moment(device)
        covariances = finish()
        finished = Moment(device)
    used = peak(device)
    return Run(
        seconds=ran.since(start),
        finish_seconds=finished.since(ran),
        peak_bytes=None if used is None or before is None else used - before,
        covariances=covariances,
    )


class Moment:
    """Now, on the host's clock or, as an event that stops nothing, on a card's."""

    def __init__(self, device: torch.device) -> None:
        self.event: Any = None
        if device.type == "cuda":
            self.event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            self.event.record(torch.cuda.current_stream(device))
        self.seconds = time.perf_counter()

    def since(self, earlier: "Moment") -> float:
        """Seconds between two moments of one device."""
        if self.event is None or earlier.event is None:
            return self.seconds - earlier.seconds
        self.event.synchronize()
        return float(earlier.event.elapsed_time(self.event)) / 1e3


def reset_peak(device: torch.device) -> int | None:
    """Forget the highest memory use so far; bytes in use now. None where neither can be known."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    try:
        # Memory that was freed but not given back would hide what the next run takes.
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return status_bytes("VmRSS")


def peak(device: torch.device) -> int | None:
    """Highest memory use since reset_peak, in bytes."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else status_bytes("VmHWM")


def status_bytes(field: str) -> int | None:
    """A size from Linux's account of this process."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), None)


def reference(model: nn.Module, batches: list[Tensor], modules: tuple[str, ...], samples: Samples) -> Covariances:
    """NumPy in float64 on copies of the maps, less a constant a channel without which its own error would show."""
    kept: dict[str, list[Tensor]] = {name: [] for name in modules}

    def keeping(name: str) -> Callable[[Tensor], object]:
        return lambda maps: kept[name].append(maps.detach().cpu().clone())

    with torch.no_grad(), hooked(model, {name: keeping(name) for name in modules}):
        for batch in batches:
            model(batch)
    found = {}
    for name in modules:
        maps = torch.cat(kept.pop(name)).flatten(start_dim=2).double().numpy()
        maps = maps - maps[0, :, 0][:, None]
        rows = maps.mean(axis=2) if samples == "images" else np.moveaxis(maps, 1, 2).reshape(-1, maps.shape[1])
        found[name] = np.cov(rows.T, bias=True)
    return found


def error(found: Covariances, expected: Covariances) -> float:
    """Worst over modules of the relative error of the covariance (Frobenius) and of the 8 largest eigenvalues."""
    return max(error_of(found[name], expected[name]) for name in expected)


def error_of(found: Matrix, expected: Matrix) -> float:
    """The same of one module."""
    right, ours = (eigenvalues(matrix)[:8] for matrix in (expected, found))
    # Eigenvalues that rank and rounding leave at nothing have no relative error.
    real = right > 1e-9 * right[0]
    frobenius = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    return float(max(frobenius, np.max(np.abs(ours - right)[real] / right[real])))


def eigenvalues(matrix: Matrix) -> Matrix:
    """In decreasing order; by MKL, whose threads are the forward pass's, so that two pools do not get in their way."""
    return host(torch.linalg.eigvalsh(torch.from_numpy(matrix)).flip(0))
