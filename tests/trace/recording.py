"""A small training that is traced, with one thing changed at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from in4310repro.trace import Trace, TraceFile, read_trace

Batch = dict[str, Any]  # arguments of `Trace.step`


def network(*, middle: nn.Module | None = None, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), middle or nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(16, 4))


def batches(number: int = 4, seed: int = 0, images: int = 4) -> list[Batch]:
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            "images": torch.randn(images, 3, 8, 8, generator=generator),
            "labels": torch.randint(0, 4, (images,), generator=generator),
        }
        for _ in range(number)
    ]


def record(
    path: Path,
    *,
    model: nn.Module | None = None,
    read: Iterable[Batch] | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy,
    learning_rate: float = 1e-2,
    before: Callable[[int, nn.Module], object] = lambda _number, _model: None,
    prepare: Callable[[Tensor], Tensor] = lambda images: images,
    **options: Any,
) -> TraceFile:
    """Train one step for each batch and return the trace; `before` is called before each step."""
    model = model or network()
    torch.manual_seed(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    with Trace(model, optimizer, path, **options) as trace:
        for number, batch in enumerate(batches() if read is None else read):
            before(number, model)
            with trace.step(**batch) as step:
                value = loss(model(prepare(batch["images"])), batch["labels"])
                optimizer.zero_grad()
                value.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                step.record(loss=value)
    return read_trace(path)


def edit_head(path: Path, **entries: Any) -> TraceFile:
    """Change environment entries in the header of a trace file; return the changed trace."""
    head, rest = path.read_bytes().split(b"\n", 1)
    content = json.loads(head)
    content["environment"] |= entries
    path.write_bytes(json.dumps(content).encode() + b"\n" + rest)
    return read_trace(path)
