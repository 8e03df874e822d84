"""Measurement of one thread's peak rate of fused multiply-adds, for comparison with the kernels' rates."""

import torch

from in4310repro.arithmetic import library


def fused_operations(rounds: int) -> int:
    """Compute independent chains of float32 fused multiply-adds on one thread; return the number of operations.

    Args:
        rounds: length of the chains.

    Returns:
        The number of floating-point operations: two for each fused multiply-add.

    Raises:
        RuntimeError: no kernel was built for this processor.
    """
    return library.library().number("fused_operations", rounds, torch.empty((), dtype=torch.float32))
