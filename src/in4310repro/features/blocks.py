"""Moments of blocks of a fixed number of images, merged along a binary tree whose shape is fixed.

Images k*BLOCK .. (k+1)*BLOCK-1 form block k, whichever process measures them. Nodes 2j and 2j+1 of a level merge into
node j of the next one, left before right, as soon as both are present. The result is therefore a function of the blocks
alone, to the last bit: it depends neither on the number of processes nor on where a measurement was interrupted.
B blocks leave at most log2(B) + 1 nodes. Each of several processes measures consecutive blocks.
"""

from functools import reduce
from typing import Literal

import torch

from in4310repro.arithmetic.tree import part
from in4310repro.features import covariance
from in4310repro.features.covariance import ImageRows, Moments, PositionRows, Precision, merge_moments
from in4310repro.features.kernel import Counts
from in4310repro.features.outputs import FeatureMaps, State

BLOCK = 64  # images

Node = tuple[int, int]  # level, index
Nodes = dict[Node, Moments]


def insert(nodes: Nodes, node: Node, moments: Moments) -> None:
    """Add a tree node to `nodes` in place.

    If its sibling is also in `nodes`, their parent replaces both. This is repeated as long as the new node has
    a sibling there.
    """
    while (sibling := (node[0], node[1] ^ 1)) in nodes:
        other = nodes.pop(sibling)
        moments = merge_moments(moments, other) if node < sibling else merge_moments(other, moments)
        node = (node[0] + 1, node[1] // 2)
    nodes[node] = moments


def merge_nodes(nodes: Nodes) -> Moments:
    """Merge the moments of all nodes, in the order of their images, and return the result."""
    return reduce(merge_moments, (nodes[node] for node in sorted(nodes, key=lambda node: node[1] << node[0])))


class BlockMoments:
    """Moments of complete blocks of images as tree nodes, and sums over the unfinished block."""

    def __init__(self, samples: Literal["images", "positions"], precision: Precision) -> None:
        self._row_type = ImageRows if samples == "images" else PositionRows
        self._precision = precision
        self.row_width: int | None = None  # channels of the maps; None before any maps are added
        self._nodes: Nodes = {}
        self._open_block: tuple[int, ImageRows | PositionRows] | None = None  # its index and sums

    def add(self, first_image: int, maps: FeatureMaps) -> Counts:
        """Add the maps of images first_image, first_image + 1, ... to their blocks; return counts of the values.

        The maps have as many channels as earlier ones.
        """
        self.row_width = maps.shape[1]
        counts = Counts()
        while len(maps):
            block, first = divmod(first_image, BLOCK)
            some, maps = maps[: BLOCK - first], maps[BLOCK - first :]
            if self._open_block is None:
                self._open_block = (block, self._row_type(covariance.estimate_shift(some), self._precision))
            counts += self._open_block[1].add(some)
            first_image += len(some)
            if first_image % BLOCK == 0:
                insert(self._nodes, (0, block), self._open_block[1].moments())
                self._open_block = None
        return counts

    def nodes(self) -> Nodes:
        """Return the moments of all added images as tree nodes, including those of the unfinished block."""
        nodes = dict(self._nodes)
        if self._open_block is not None:
            insert(nodes, (0, self._open_block[0]), self._open_block[1].moments())
        return nodes

    def merge(self, other: "BlockMoments") -> None:
        """Add the blocks of `other`, which have as many channels. The two must not have an image in common."""
        self.row_width = self.row_width or other.row_width
        # A copy: the old nodes may be those of a shallow copy of this object.
        nodes = dict(self._nodes)
        for node, moments in other.nodes().items():
            insert(nodes, node, moments)
        self._nodes = nodes

    def state(self) -> State:
        """Return the tensors that `restore` needs, named `node.LEVEL.INDEX.NAME` and `open.BLOCK.NAME`."""
        groups = {f"node.{level}.{index}": vars(moments) for (level, index), moments in self._nodes.items()}
        if self._open_block is not None:
            groups[f"open.{self._open_block[0]}"] = self._open_block[1].state()
        return {f"{prefix}.{name}": value for prefix, group in groups.items() for name, value in group.items()}

    def restore(self, state: State) -> None:
        """Load the moments of a saved state. No maps may have been added before.

        Raises:
            ValueError: the entries of the state do not fit together.
        """
        groups: dict[str, State] = {}
        for key, value in state.items():
            prefix, _, name = key.rpartition(".")
            groups.setdefault(prefix, {})[name] = value
        for prefix, values in groups.items():
            kind, *indices = prefix.split(".")
            axes = {"rows": "", "offset": "c", "scatter": "cc"} if kind == "node" else self._row_type.SAVED
            shift = torch.float64 if kind == "node" else torch.float32
            self.row_width = covariance.check_state(values, self.row_width, shift, **axes)
            if kind == "node":
                self._nodes[int(indices[0]), int(indices[1])] = Moments(**values)
            else:
                # The kernel writes to them.
                ordered = {name: each.contiguous() for name, each in values.items()}
                self._open_block = (int(indices[0]), self._row_type(precision=self._precision, **ordered))


def block_range(images: int, rank: int, world_size: int) -> range:
    """Return the range of blocks of 64 images that a process rank measures.

    The numbers of blocks of two ranks differ by at most one.

    Raises:
        ValueError: the rank is not in 0..world_size-1.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank is {rank}; it must be 0 to {world_size - 1}")
    return part(-(-images // BLOCK), rank, world_size)


def first_image(images: int, rank: int, world_size: int) -> int:
    """Return the index of a process rank's first image, for the argument `first_image` of FeatureStatistics.

    Raises:
        ValueError: the rank is not in 0..world_size-1.
    """
    return block_range(images, rank, world_size).start * BLOCK


def batches(images: int, batch_size: int, rank: int = 0, world_size: int = 1) -> list[range]:
    """Return the batches of a process rank as ranges of image indices; all ranks together cover each image once.

    A batch ends at the border of a block, so that the batches do not depend on the number of ranks.

    Raises:
        ValueError: there are no images, the batch size is below 1, or the rank does not exist.

    Examples:
        >>> batches(150, 40)
        [range(0, 40), range(40, 64), range(64, 104), range(104, 128), range(128, 150)]
        >>> batches(150, 40, rank=1, world_size=2)
        [range(64, 104), range(104, 128), range(128, 150)]
    """
    if images < 1 or batch_size < 1:
        raise ValueError(f"{images} images in batches of {batch_size}; both must be at least 1")
    ranges = []
    for block in block_range(images, rank, world_size):
        stop = min((block + 1) * BLOCK, images)
        ranges += [range(i, min(i + batch_size, stop)) for i in range(block * BLOCK, stop, batch_size)]
    return ranges
