"""The rate of fused products of one thread, for a table to hold kernels against."""

import torch

from in4310repro.arithmetic import library


def fused_operations(rounds: int) -> int:
    """Computes fused products and sums of float32 in chains that do not wait for each other, on one thread.

    Args:
        rounds: length of the chains.

    Returns:
        How many floating-point operations it took: two for each product that is summed.

    Raises:
        RuntimeError: no kernel was built for this processor.
    """
    return library.library().number("fused_operations", rounds, torch.empty((), dtype=torch.float32))
