"""Rate of fused multiply-adds of one thread, the peak that kernels are compared with."""

import torch

from in4310repro.arithmetic import library


def fused_operations(rounds: int) -> int:
    """Compute float32 fused multiply-adds in independent chains, on one thread.

    Args:
        rounds: length of the chains.

    Returns:
        How many floating-point operations it took: two for each product that is summed.

    Raises:
        RuntimeError: no kernel was built for this processor.
    """
    return library.library().number("fused_operations", rounds, torch.empty((), dtype=torch.float32))
