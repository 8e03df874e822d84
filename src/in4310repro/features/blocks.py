"""Moments of blocks of a fixed number of images, merged along a binary tree whose shape is fixed.

Images k*BLOCK .. (k+1)*BLOCK-1 form block k, whichever process measures them. Nodes 2j and 2j+1 of a level merge into
node j of the next one, left before right, as soon as both are present. The result is therefore a function of the blocks
alone, to the last bit: it depends neither on the number of processes nor on where a measurement was interrupted.
B blocks leave at most log2(B) + 1 nodes.
"""

from functools import reduce
from typing import Literal

import torch
from torch import Tensor

from in4310repro.features import covariance
from in4310repro.features.covariance import ImageRows, Moments, PositionRows, Precision, merge_moments
from in4310repro.features.kernel import Counts
from in4310repro.features.tensors import FeatureMaps

BLOCK = 64  # images

Node = tuple[int, int]  # level, index
Nodes = dict[Node, Moments]


def image_range(node: Node) -> range:
    """Return the range of images that a tree node covers."""
    width = BLOCK << node[0]
    return range(node[1] * width, (node[1] + 1) * width)


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
    return reduce(merge_moments, (nodes[node] for node in sorted(nodes, key=lambda node: image_range(node).start)))


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

        Raises:
            ValueError: the number of channels differs from that of earlier maps.
        """
        self._check_channels(maps.shape[1])
        start, stop, counts = first_image, first_image + len(maps), Counts()
        while start < stop:
            block = start // BLOCK
            end = min(stop, (block + 1) * BLOCK)
            part = maps[start - first_image : end - first_image]
            if self._open_block is None:
                self._open_block = (block, self._row_type(covariance.estimate_shift(part), self._precision))
            counts += self._open_block[1].add(part)
            if end == (block + 1) * BLOCK:
                insert(self._nodes, (0, block), self._open_block[1].moments())
                self._open_block = None
            start = end
        return counts

    def _check_channels(self, channels: int | None) -> None:
        if None not in (channels, self.row_width) and channels != self.row_width:
            raise ValueError(
                f"{channels} channels, and {self.row_width} before; a covariance needs the same channels in all images"
            )
        self.row_width = self.row_width or channels

    def nodes(self) -> Nodes:
        """Return the moments of all added images as tree nodes, including those of the unfinished block."""
        nodes = dict(self._nodes)
        if self._open_block is not None:
            insert(nodes, (0, self._open_block[0]), self._open_block[1].moments())
        return nodes

    def merge(self, other: "BlockMoments") -> None:
        """Add the blocks of `other`. The two must not have an image in common.

        Raises:
            ValueError: the numbers of channels differ.
        """
        self._check_channels(other.row_width)
        # A copy: the old nodes may be those of a shallow copy of this object.
        nodes = dict(self._nodes)
        for node, moments in other.nodes().items():
            insert(nodes, node, moments)
        self._nodes = nodes

    def state(self) -> dict[str, Tensor]:
        """Return the tensors that `restore` needs, named `node.LEVEL.INDEX.NAME` and `open.BLOCK.NAME`."""
        groups = {f"node.{level}.{index}": vars(moments) for (level, index), moments in self._nodes.items()}
        if self._open_block is not None:
            groups[f"open.{self._open_block[0]}"] = self._open_block[1].state()
        return {f"{prefix}.{name}": value for prefix, group in groups.items() for name, value in group.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Load the moments of a saved state. No maps may have been added before.

        Raises:
            ValueError: the entries of the state do not fit together.
        """
        groups: dict[str, dict[str, Tensor]] = {}
        for key, value in state.items():
            prefix, _, name = key.rpartition(".")
            groups.setdefault(prefix, {})[name] = value
        for prefix, values in groups.items():
            kind, *indices = prefix.split(".")
            if kind == "node":
                channels = covariance.check_keys(values, torch.float64, "rows", "offset", "scatter")
                for name, axes in (("rows", 0), ("offset", 1), ("scatter", 2)):
                    covariance.check_tensor(name, values[name], torch.float64, *[channels] * axes)
                self._nodes[(int(indices[0]), int(indices[1]))] = Moments(**values)
            else:
                self._open_block = (int(indices[0]), self._row_type.from_state(values, self._precision))
            self._check_channels(len(values["shift"]))
