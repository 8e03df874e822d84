"""Moments of fixed blocks of images, merged in a fixed binary tree.

Images k*BLOCK .. (k+1)*BLOCK-1 form block k, whoever measures them. Nodes 2j and 2j+1 of a level merge into node j of
the next one, left before right, as soon as both are there. The result is therefore a function of the blocks alone, to
the last bit: not of the number of processes, nor of where a run was cut. B blocks leave at most log2(B) + 1 nodes.
"""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from in4310repro.features.covariance import ImageRows, PositionRows, Precision, has_parts, look_at
from in4310repro.features.moments import Moments, merged
from in4310repro.features.sparsity import Counts

BLOCK = 64  # images

Node = tuple[int, int]  # level, index
Nodes = dict[Node, Moments]


def images_of(node: Node) -> range:
    """Indices of the images under a node."""
    level, index = node
    width = BLOCK << level
    return range(index * width, (index + 1) * width)


def insert(nodes: Nodes, node: Node, moments: Moments) -> None:
    """Add one node and merge upwards as far as siblings are present."""
    while (sibling := (node[0], node[1] ^ 1)) in nodes:
        other = nodes.pop(sibling)
        moments = merged(moments, other) if node < sibling else merged(other, moments)
        node = (node[0] + 1, node[1] // 2)
    nodes[node] = moments


def total(nodes: Nodes) -> Moments:
    """Moments of everything, the nodes folded from the first image to the last."""
    first, *others = sorted(nodes, key=lambda node: images_of(node).start)
    result = nodes[first]
    for node in others:
        result = merged(result, nodes[node])
    return result


class BlockMoments:
    """The nodes of the finished blocks, and the sums of the block being filled."""

    def __init__(self, samples: Literal["images", "positions"], precision: Precision) -> None:
        self._rows = ImageRows if samples == "images" else PositionRows
        self._precision = precision
        self.width: int | None = None  # channels
        self._nodes: Nodes = {}
        self._open: tuple[int, ImageRows | PositionRows] | None = None  # block and its sums

    def add(self, first_image: int, maps: Float[Tensor, "image channel height width"]) -> Counts:
        """Take in and count the maps of images first_image, first_image + 1, ..., cut at the borders of blocks.

        Raises:
            ValueError: the number of channels is not what it was.
        """
        self._agree(maps.shape[1])
        start, stop = first_image, first_image + len(maps)
        counts = Counts()
        while start < stop:
            block = start // BLOCK
            cut = min(stop, (block + 1) * BLOCK)
            part = maps[start - first_image : cut - first_image]
            if self._open is None:
                self._open = (block, self._rows(look_at(part), self._precision))
            counts += self._open[1].add(part)
            if cut == (block + 1) * BLOCK:
                insert(self._nodes, (0, block), self._open[1].moments())
                self._open = None
            start = cut
        return counts

    def _agree(self, channels: int | None) -> None:
        if None not in (channels, self.width) and channels != self.width:
            raise ValueError(f"{channels} channels, and {self.width} before; one covariance is of the same ones")
        self.width = self.width or channels

    def nodes(self) -> Nodes:
        """All nodes, with the block being filled as it stands; itself it stays as it is."""
        nodes = dict(self._nodes)
        if self._open is not None:
            block, rows = self._open
            insert(nodes, (0, block), rows.moments())
        return nodes

    def merge(self, other: "BlockMoments") -> None:
        """Add the blocks of another; that no image is in both is for the caller to see to.

        Raises:
            ValueError: the numbers of channels differ.
        """
        self._agree(other.width)
        for node, moments in other.nodes().items():
            insert(self._nodes, node, moments)

    def state(self) -> dict[str, Tensor]:
        """Everything needed to go on to the same bits."""
        state: dict[str, Tensor] = {}
        for (level, index), moments in self._nodes.items():
            state |= {f"node.{level}.{index}.{part}": value for part, value in vars(moments).items()}
        if self._open is not None:
            block, rows = self._open
            state |= {f"open.{block}.{part}": value for part, value in rows.state().items()}
        return state

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a saved state.

        Raises:
            ValueError: its parts do not fit together.
        """
        parts: dict[str, dict[str, Tensor]] = {}
        for key, value in state.items():
            place, _, part = key.rpartition(".")
            parts.setdefault(place, {})[part] = value
        for place, values in parts.items():
            kind, *where = place.split(".")
            if kind == "node":
                has_parts(values, *Moments.__annotations__)
                self._nodes[(int(where[0]), int(where[1]))] = Moments(**values)
            else:
                self._open = (int(where[0]), self._rows.restored(values, self._precision))
            self._agree(len(values["shift"]))
