"""One pass of a contender (a benchmarked tool): seconds, peak memory, covariances and their errors."""

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.contenders import Contender, Covariances, Samples, output_hooks
from benchmarks.peers import Matrix, to_numpy

EIGENVALUES = 8  # the largest, whose errors count


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Seconds, memory and covariances of one pass of a contender over all batches."""

    seconds: float  # of the forward passes, hooks included
    finish_seconds: float  # from the last forward pass to the covariances
    peak_bytes: int | None  # above the bytes in use before; None where the system does not report it
    covariances: Covariances


def measure(contender: Contender, model: nn.Module, batches: list[Tensor]) -> Measurement:
    """Time one pass of a contender; before, an untimed batch allocates the working memory.

    Args:
        contender: the tool that runs along with the passes.
        model: the network, in evaluation mode.
        batches: images, all on the model's device.
    """
    device = batches[0].device
    bytes_before = reset_peak(device)
    with torch.no_grad():
        model(batches[0])
    with torch.no_grad(), contender.start(model, contender.modules) as finish:
        start = Timestamp(device)
        for batch in batches:
            model(batch)
        forward_end = Timestamp(device)
        covariances = finish()
        finish_end = Timestamp(device)
    bytes_at_peak = peak_bytes(device)
    return Measurement(
        seconds=forward_end.seconds_since(start),
        finish_seconds=finish_end.seconds_since(forward_end),
        peak_bytes=None if bytes_at_peak is None or bytes_before is None else bytes_at_peak - bytes_before,
        covariances=covariances,
    )


class Timestamp:
    """A point in time: on the host's clock or, for a GPU, as an event that its stream records without stopping."""

    def __init__(self, device: torch.device) -> None:
        self._event: torch.cuda.Event | None = None
        if device.type == "cuda":
            self._event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            self._event.record(torch.cuda.current_stream(device))
        self._seconds = time.perf_counter()

    def seconds_since(self, earlier: "Timestamp") -> float:
        """Return the seconds since an earlier timestamp of the same device; wait until a GPU has reached both."""
        if self._event is None or earlier._event is None:
            return self._seconds - earlier._seconds
        self._event.synchronize()
        return float(earlier._event.elapsed_time(self._event)) / 1e3


def reset_peak(device: torch.device) -> int | None:
    """Reset the peak of memory use; return the bytes in use, or None if the system does not report them."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    try:
        # Memory that was freed but not returned to the system would hide what the next pass allocates.
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return None
    return _status_bytes("VmRSS")


def peak_bytes(device: torch.device) -> int | None:
    """Return the highest memory use since `reset_peak`, in bytes; None if the system does not report it."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _status_bytes("VmHWM")


def _status_bytes(field: str) -> int | None:
    """Return a size in bytes from /proc/self/status; None if the system has no such file or entry."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), None)


def reference_covariances(
    model: nn.Module, batches: list[Tensor], modules: tuple[str, ...], samples: Samples
) -> Covariances:
    """Return each module's covariance matrix, channel x channel, by `numpy.cov(bias=True)` in float64.

    The first value of each channel is subtracted first, since a large mean would cost NumPy digits.
    """
    copies: dict[str, list[Tensor]] = {name: [] for name in modules}

    def make_consumer(name: str) -> Callable[[Tensor], object]:
        return lambda maps: copies[name].append(maps.detach().cpu().clone())

    with torch.no_grad(), output_hooks(model, {name: make_consumer(name) for name in modules}):
        for batch in batches:
            model(batch)
    covariances = {}
    for name in modules:
        maps = torch.cat(copies.pop(name)).flatten(start_dim=2).double().numpy()
        maps = maps - maps[0, :, 0][:, None]
        rows = maps.mean(axis=2) if samples == "images" else np.moveaxis(maps, 1, 2).reshape(-1, maps.shape[1])
        covariances[name] = np.cov(rows.T, bias=True)
    return covariances


def worst_error(measured: Covariances, expected: Covariances) -> float:
    """Return the largest error over all modules, as defined by `relative_error`."""
    return max(relative_error(measured[name], expected[name]) for name in expected)


def relative_error(measured: Matrix, expected: Matrix) -> float:
    """Return the larger of the covariance's relative error (Frobenius norm) and that of its largest eigenvalues."""
    expected_values, values = (_eigenvalues(matrix)[:EIGENVALUES] for matrix in (expected, measured))
    # The relative error of an eigenvalue that is zero up to rounding is meaningless.
    nonzero = expected_values > 1e-9 * expected_values[0]
    frobenius = np.linalg.norm(measured - expected) / np.linalg.norm(expected)
    return float(max(frobenius, np.max(np.abs(values - expected_values)[nonzero] / expected_values[nonzero])))


def _eigenvalues(matrix: Matrix) -> Matrix:
    """Return eigenvalues in decreasing order, by torch, since NumPy's threads would compete with torch's."""
    return to_numpy(torch.linalg.eigvalsh(torch.from_numpy(matrix)).flip(0))
