"""The tree in which sums over a batch are added, as leaves.hpp has it, and which of its nodes a part of the batch has.

A node is the range of its leaves.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from in4310repro.arithmetic import library

LEAF = 8  # images


def leaves(images: int) -> range:
    """The leaves of a batch: the root of its tree."""
    return range(-(-images // LEAF))


def part(number: int, rank: int, size: int) -> range:
    """What one of `size` processes has of so many: side by side, in the order of ranks, numbers equal or one apart."""
    return range(rank * number // size, (rank + 1) * number // size)


def share(images: int, rank: int, size: int) -> range:
    """The leaves of one of `size` processes, see `part`.

    Examples:
        >>> [share(40, rank, 3) for rank in range(3)], share(8, 0, 2)
        ([range(0, 1), range(1, 3), range(3, 5)], range(0, 0))
    """
    return part(len(leaves(images)), rank, size)


def images_of(node: range, images: int) -> range:
    """The images of a node, by their place in a batch of so many."""
    return range(min(node.start * LEAF, images), min(node.stop * LEAF, images))


def halves(node: range) -> tuple[range, range]:
    """The two nodes below one of several leaves, which are split at the largest power of two below their number."""
    left = 1 << (len(node) - 1).bit_length() - 1
    return node[:left], node[left:]


def nodes(own: range, node: range) -> list[range]:
    """The largest nodes below `node`, itself included, whose leaves are all in `own`.

    Examples:
        >>> nodes(range(1, 5), range(5))
        [range(1, 2), range(2, 4), range(4, 5)]
    """
    if node.start >= own.stop or own.start >= node.stop:
        return []
    if own.start <= node.start and node.stop <= own.stop:
        return [node]
    return [found for half in halves(node) for found in nodes(own, half)]


def add(node: range, sums: Mapping[range, Tensor]) -> Tensor:
    """The sum of a node from those of nodes below it, which it may overwrite; float32 or float64 values of any number.

    Raises:
        ValueError: the sums leave a gap.
    """
    if (known := sums.get(node)) is not None:
        return known
    if len(node) < 2:
        raise ValueError(f"no sum has leaf {node.start}")
    left, right = (add(half, sums) for half in halves(node))
    function = "add_doubles" if left.dtype == torch.float64 else "add_floats"
    library.library().call(function, left.numel(), right, left)
    return left


def rows(images: int, width: int) -> Tensor:
    """Room for float64 sums of each leaf of so many images [leaf, width]."""
    return torch.empty((len(leaves(images)), width), dtype=torch.float64, device="cpu")


def add_rows(rows: Tensor) -> Tensor:
    """The sum of float64 rows [leaf, width], of all leaves below a node; overwrites them."""
    library.library().call("add_leaves", *rows.shape, rows)
    return rows[0]


def quotients(values: Tensor, divisor: int = 1) -> Tensor:
    """float64 values / divisor, rounded to float32 once."""
    result = torch.empty(values.shape, dtype=torch.float32, device="cpu")
    values = library.plain("values", values)
    library.library().call("quotients", values.numel(), float(divisor), values, result)
    return result
