"""Native arithmetic in several processes by torch's DistributedDataParallel, without fixed summation order.

Results differ in the last digits from those of one process. Therefore each number of processes has its own
numeric class.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import distributed

from in4310repro.system.numerics import Numerics, native_class
from in4310repro.system.processes import Processes


def numerics_of(numerics: Numerics, processes: Processes) -> Numerics:
    """Return the arithmetic of several processes; a native numeric class depends on their number."""
    if numerics.portable or processes.size == 1:
        return numerics
    name = f"{processes.size} x {numerics.device_name}"
    return replace(numerics, device_name=name, numeric_class=native_class(numerics.probe, numerics.threads, name))


def share_batch_norm(model: torch.nn.Module) -> torch.nn.Module:
    """Return the network with batch norm over the images of all processes, for GPUs; the state dict is the same."""
    converted: torch.nn.Module = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return converted


def backward(loss: torch.Tensor, share: float, processes: Processes) -> torch.Tensor:
    """Compute the gradients of the mean loss over the images of all processes; return this loss.

    Args:
        loss: the mean loss over the images of this process.
        share: number of these images divided by the number in the whole batch.
        processes: all processes that have images of the batch.
    """
    # DistributedDataParallel divides by the number of processes.
    weighted = loss * share
    (weighted * processes.size).backward()  # type: ignore[no-untyped-call]
    whole = weighted.detach().clone()
    distributed.all_reduce(whole)
    return whole
