"""The hash and summary of a tensor in NumPy and Python's integers, and short ways to trace a step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from in4310repro.trace import Event, Trace, TraceFile, read_trace

MODULUS = 2**64


def scrambled_by_steele(number: int) -> int:
    """Return the splitmix64 hash of a number, as published by Steele, Lea and Flood."""
    number = (number + 0x9E3779B97F4A7C15) % MODULUS
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 % MODULUS
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB % MODULUS
    return number ^ (number >> 31)


WEIGHTS = [scrambled_by_steele(2**32 + j) % 2**32 | 1 for j in range(4096)]


def hash_by_numpy(values: Tensor) -> str:
    """Return the trace hash of a tensor, computed with Python's unbounded integers."""
    content = bytes(
        values.detach().cpu().clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8).numpy()
    )
    words = np.frombuffer(content + bytes(-len(content) % 4), dtype="<u4")
    total = 0
    for block in range(0, len(words), 4096):
        inner = sum(int(word) * weight for word, weight in zip(words[block : block + 4096], WEIGHTS, strict=False))
        total += (scrambled_by_steele(block // 4096) | 1) * inner
    return f"{total % MODULUS:016x}"


def trace_step(
    folder: Path, model: nn.Module, work: Callable[[], Any], optimizer: Any = None, **options: Any
) -> TraceFile:
    """Return the trace of a single step that calls `work`; its result, unless None, is recorded as the loss."""
    file = folder / "one.trace"
    with Trace(model, optimizer, file, **options) as trace, trace.step() as step:
        if (loss := work()) is not None:
            step.record(loss=loss)
    return read_trace(file)


def events(trace: TraceFile, phase: str, step: int = -1) -> dict[str, Event]:
    """Return the recorded tensors of one phase of a step (such as forward), by name."""
    return {each.tensor.name: each for each in trace.steps[step].events if each.tensor.phase == phase}


def hashes(trace: TraceFile, phase: str, step: int = -1) -> dict[str, str]:
    """Return the tensor hashes of one phase of a step (such as forward), by tensor name."""
    return {name: each.hash for name, each in events(trace, phase, step).items()}
