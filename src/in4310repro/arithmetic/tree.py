"""Binary tree that fixes the order of sums over a batch, as in leaves.hpp.

A leaf is a group of 8 images, summed first. A node of the tree is represented by the range of its leaves.
"""

import torch
from torch import Tensor

from in4310repro.arithmetic import buffers, library

LEAF = 8  # images


def leaves(images: int) -> range:
    """Return the root of the summation tree of a batch with `images` images.

    A node of the tree is a range of leaves, and the root is the range of all leaves. A leaf is a group of at most
    `LEAF` images.
    """
    return range(-(-images // LEAF))


def part(number: int, rank: int, size: int) -> range:
    """Divide `number` items into `size` consecutive ranges of nearly equal length; return range number `rank`."""
    return range(rank * number // size, (rank + 1) * number // size)


def share(images: int, rank: int, size: int) -> range:
    """Return the range of a batch's leaves (groups of 8 images) that the process with number `rank` sums.

    Examples:
        >>> [share(40, rank, 3) for rank in range(3)], share(8, 0, 2)
        ([range(0, 1), range(1, 3), range(3, 5)], range(0, 0))
    """
    return part(len(leaves(images)), rank, size)


def images_of(node: range, images: int) -> range:
    """Return the range of the images that a node sums, as indices in a batch of `images` images.

    A node is a range of leaves, and a leaf is a group of at most 8 images.
    """
    return range(min(node.start * LEAF, images), min(node.stop * LEAF, images))


def halves(node: range) -> tuple[range, range]:
    """Return the two children of a node.

    The number of leaves of the left child is the largest power of two that is smaller than `len(node)`.
    """
    left = 1 << (len(node) - 1).bit_length() - 1
    return node[:left], node[left:]


def nodes(own: range, node: range) -> list[range]:
    """Return the largest nodes within `node` whose leaves are all in the range `own`.

    Examples:
        >>> nodes(range(1, 5), range(5))
        [range(1, 2), range(2, 4), range(4, 5)]
    """
    if node.start >= own.stop or own.start >= node.stop:
        return []
    if own.start <= node.start and node.stop <= own.stop:
        return [node]
    return [found for half in halves(node) for found in nodes(own, half)]


def add(node: range, sums: dict[range, Tensor]) -> Tensor:
    """Return the sum of a tree node, computed from the known `sums` of nodes in it. May overwrite these tensors.

    Raises:
        ValueError: the given sums do not cover all leaves of the node.
    """
    if (known := sums.get(node)) is not None:
        return known
    if len(node) < 2:
        raise ValueError(f"no sum has leaf {node.start}")
    left, right = (add(half, sums) for half in halves(node))
    function = "add_doubles" if left.dtype == torch.float64 else "add_floats"
    library.call(function, left.numel(), right, left)
    return left


def rows(images: int, width: int) -> Tensor:
    """Return uninitialised memory for float64 sums [leaf, width], one row per leaf of a batch."""
    return buffers.empty(len(leaves(images)), width, dtype=torch.float64)


def add_rows(rows: Tensor) -> Tensor:
    """Return the sum of float64 `rows` [leaf, width] over all leaves, in the order of the tree. Overwrites `rows`."""
    library.call("add_leaves", *rows.shape, rows)
    return rows[0]


def quotients(values: Tensor, divisor: int = 1) -> Tensor:
    """Divide float64 `values` by `divisor` in float64; return the results converted to float32."""
    values = library.as_plain("values", values)
    return library.call("quotients", values.numel(), float(divisor), values, buffers.empty(*values.shape))
