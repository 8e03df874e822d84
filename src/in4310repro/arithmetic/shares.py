"""The batch over which sums are computed: entirely in this process, or divided between several processes.

    connection = connect()                                 # in each process that torchrun started
    share = Share(32, connection)                          # of a batch of 32 images
    with share:
        loss = cross_entropy(model(images[share.images]), labels[share.images])
    loss.backward()
    share.finish()                                         # all processes have the gradients of the batch

Sums are computed along a tree (see `tree`), whose leaves are groups of 8 images. Each process has consecutive
leaves, and computes every node of the tree whose leaves are all its own. Every process computes the rest of
the tree by itself. Gradients of weights are divided into pieces instead: one process sums a piece, and
sends it to the others. Therefore the bits are those of one process, for any number of processes; no sum is
left to a library.
"""

import functools
import itertools
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, distributed as dist

from in4310repro.arithmetic import buffers, tree

BUCKET = 1 << 20  # values of gradients that are sent together, at least

Parts = list[tuple[slice, Tensor]]


class Whole:
    """A batch whose images are all in this process; within its `with` block, sums are computed over this batch.

    Args:
        identities: int64 [image], by which dropout draws the mask of each image in this process (see `dropout`);
            None for the images' places in the batch.
    """

    is_shared = False  # with other processes
    images = range(0)  # places in the batch; in a `Share`

    def __init__(self, identities: Tensor | None = None) -> None:
        self._identities = identities

    def __enter__(self) -> Self:
        _entered.set((*_entered.get(), self))
        return self

    def __exit__(self, *_: object) -> None:
        _entered.set(_entered.get()[:-1])

    def finish(self) -> None:
        """After the backward pass, wait until all gradients are complete. A single process does not have to wait."""

    def images_of_batch(self, images: int) -> int:
        """Return the number of images in the whole batch, given the number in this process."""
        return images

    def identities(self, images: int) -> Tensor:
        """Return the identities of `images` images, those in this process.

        Raises:
            ValueError: this process has another number of images.
        """
        self.images_of_batch(images)
        start, found = self.images.start, self._identities
        found = torch.arange(start, start + images, device="cpu") if found is None else found
        if len(found) != images:
            raise ValueError(f"dropout of values with {images} in the first axis; they must be of {len(found)} images")
        return found

    def total(self, rows: Tensor) -> Tensor:
        """Return the sum of float64 `rows` over all images of the batch; the memory of `rows` may be overwritten."""
        return tree.add_rows(rows)

    def parts(self, weight: Tensor) -> Parts:
        """Return tensors for a weight's gradient, each with the images in this process over which it has to be summed.

        It is one tensor for all images, the gradient; of a `Share` there may be several or none, from which `finish`
        computes the gradient and stores it in `.grad`.
        """
        return [(slice(None), buffers.maps(weight.shape))]


@dataclass(frozen=True)
class Connection:
    """Connection between processes on CPUs that divide batches among themselves."""

    rank: int
    size: int
    messages: dist.ProcessGroup  # carries small messages, for which all processes wait
    gradients: dist.ProcessGroup


def connect() -> Connection:
    """Connect all processes, and return the connection.

    Each process must first initialise torch.distributed, then call this function.
    """
    groups = (dist.new_group(backend="gloo") for _ in range(2))
    return Connection(dist.get_rank(), dist.get_world_size(), *groups)


def images_of(batch: int, connection: Connection | None) -> range:
    """Return the range of this process's images within a batch; all images if there is no connection.

    Images are distributed in groups of 8 (`tree.LEAF`), the units in which sums over a batch are computed. If
    there are fewer groups than processes, a process without a group gets image 0. Its result is not used.
    """
    if connection is None:
        return range(batch)
    return tree.images_of(tree.share(batch, connection.rank, connection.size), batch) or range(1)


@functools.cache
def _nodes(images: int, size: int) -> list[list[range]]:
    """Return, for each process, the nodes of the summation tree that the process sums.

    The tree is that of a batch of `images` images, divided among `size` processes. A node is a range of leaves,
    and a leaf is a group of 8 images.
    """
    return [tree.nodes(tree.share(images, rank, size), tree.leaves(images)) for rank in range(size)]


class Share(Whole):
    """One process's part of a batch; within its `with` block, sums include the images of all processes.

    Every process must call the same functions in the same order, with the images at the positions in `images`.

    Args:
        batch: number of images in the whole batch.
        connection: the connection between the processes that divide the batch.
        identities: as of `Whole`.
    """

    is_shared = True

    def __init__(self, batch: int, connection: Connection, identities: Tensor | None = None) -> None:
        super().__init__(identities)
        self.batch, self.connection = batch, connection
        self.own = tree.share(batch, connection.rank, connection.size)
        self.images = images_of(batch, connection)
        self._nodes = _nodes(batch, connection.size)
        # The bucket of gradients that is being filled, and the exchanges of those before it.
        self._weights: list[Tensor] = []
        self._used = self._capacity = 0  # values
        self._exchanges: list[Iterator[None]] = []

    def images_of_batch(self, images: int) -> int:
        """Return the number of images in the whole batch; see `Whole.images_of_batch`.

        Raises:
            ValueError: `images` is not the number of images in this process.
        """
        if images != len(self.images):
            share = f"the share of process {self.connection.rank} in a batch of {self.batch}"
            raise ValueError(f"{images} images; there must be {len(self.images)}, {share}")
        return self.batch

    def total(self, rows: Tensor) -> Tensor:
        """Return the sum of `rows` over the images of all processes, which exchange partial sums; see `Whole.total`."""
        sent = torch.zeros((max(map(len, self._nodes)), rows.shape[1]), dtype=torch.float64, device="cpu")
        for to, node in zip(sent, self._nodes[self.connection.rank], strict=False):
            to.copy_(tree.add_rows(rows[node.start - self.own.start : node.stop - self.own.start]))
        # Sent to each process directly: gloo's all-gather passes along a ring, one hop per process.
        copies = sent.expand(self.connection.size, *sent.shape).contiguous()
        received = torch.empty_like(copies)
        dist.all_to_all_single(received, copies, group=self.connection.messages)
        rows_of = zip(self._nodes, received, strict=True)
        sums = {node: row for nodes, sent_rows in rows_of for node, row in zip(nodes, sent_rows, strict=False)}
        return tree.add(tree.leaves(self.batch), sums)

    def parts(self, weight: Tensor) -> Parts:
        """Return tensors for this process's part of a weight's gradient, which `finish` will sum and store.

        They lie in a bucket. If the current one has too little space left, it is sent and a new one is begun.

        Raises:
            ValueError: the weight is computed from other tensors, so that torch does not fill its `.grad`.
        """
        if not weight.is_leaf:
            computed = "a weight is computed from other tensors, such as by torch.nn.utils.parametrize"
            raise ValueError(f"{computed}, and several processes cannot sum its gradient; train in one process")
        number, own = weight.numel(), self._nodes[self.connection.rank]
        if self._used + number > self._capacity:
            self._send()
            self._used, self._capacity = 0, max(BUCKET, number)
            # All processes get pieces of equal size, so the last one may extend beyond the last value.
            self._values = buffers.empty(len(own), self._capacity + self.connection.size)
        rows = self._values[:, self._used : self._used + number]
        self._used += number
        self._weights.append(weight)
        start, ranges = self.images.start, (tree.images_of(node, self.batch) for node in own)
        return [(slice(each.start - start, each.stop - start), to) for each, to in zip(ranges, rows, strict=True)]

    def _send(self) -> None:
        """Start sending the current bucket of gradients, then sum the gradients of the previous bucket."""
        if self._weights:
            self._exchanges.append(_exchange(self._weights, self._values, self._nodes, self.connection))
            for exchange in self._exchanges[:-3:-1]:
                next(exchange)
            self._weights = []
            del self._values

    def finish(self) -> None:
        """Wait until all gradients have been received and stored; see `Whole.finish`."""
        self._send()
        for exchange in (*self._exchanges[-1:], *self._exchanges):
            next(exchange, None)


def _exchange(
    weights: list[Tensor], values: Tensor, nodes: list[list[range]], connection: Connection
) -> Iterator[None]:
    """Sum gradients of weights over all processes, and store them in `.grad`; yield while messages are under way.

    `values` has a row of partial sums for each node of the summation tree that this process sums. Each process receives
    the range of gradient values that it has to sum, then the sums of all.
    """
    size, numbers = connection.size, [each.numel() for each in weights]
    used = sum(numbers)
    piece = -(-used // size)
    values[:, used : size * piece] = 0
    lengths = [len(each) * piece for each in nodes]
    sent = values[:, : size * piece].reshape(len(values), size, piece).transpose(0, 1).flatten()
    received, own = values.new_empty(sum(lengths)), [lengths[connection.rank]] * size
    work = dist.all_to_all_single(received, sent, lengths, own, group=connection.gradients, async_op=True)
    yield
    work.wait()
    sums = dict(zip(itertools.chain(*nodes), received.reshape(-1, piece), strict=True))
    total = tree.add(range(max(node.stop for node in sums)), sums)
    values = received.new_empty(size * piece)
    work = dist.all_gather([*values.reshape(size, piece)], total, group=connection.gradients, async_op=True)
    yield
    work.wait()
    for weight, gradient in zip(weights, values[:used].split(numbers), strict=True):  # type: ignore[no-untyped-call]
        # channels_last: the channels of a position are adjacent.
        turned = gradient.view_as(weight.movedim(1, -1)).movedim(-1, 1) if weight.ndim == 4 else gradient
        summed = turned.view(weight.shape)
        weight.grad = summed if weight.grad is None else weight.grad + summed


WHOLE = Whole()


# The batches of the `with` blocks around what runs now; every thread and task has its own.
_entered: ContextVar[tuple[Whole, ...]] = ContextVar("entered", default=(WHOLE,))


def current() -> Whole:
    """Return the batch of the innermost `with` block that was entered with a `Whole` or a `Share`.

    Outside of such blocks, and in threads that one starts, return a batch whose images are all in this process.
    """
    return _entered.get()[-1]


def all_gather_bytes(data: bytes, group: dist.ProcessGroup | None) -> list[bytes]:
    """Return the `data` of each process, in order of process rank. The bytes are sent as they are, without pickle."""

    def gather(values: Tensor) -> list[Tensor]:
        gathered = [torch.zeros_like(values) for _ in range(dist.get_world_size(group))]
        dist.all_gather(gathered, values, group=group)
        return gathered

    lengths = [int(each) for each in gather(torch.tensor([len(data)], device=device_of(group)))]
    padded = _values(data.ljust(max(lengths), b"\0")).to(device_of(group))
    return [each[:length].cpu().numpy().tobytes() for each, length in zip(gather(padded), lengths, strict=True)]


def broadcast_bytes(data: bytes) -> bytes:
    """Send the bytes of the process with rank 0 to all processes; return these bytes."""
    length = torch.tensor([len(data)], device=device_of())
    dist.broadcast(length, 0)
    sent = _values(data if dist.get_rank() == 0 else bytes(int(length))).to(length.device)
    dist.broadcast(sent, 0)
    return sent.cpu().numpy().tobytes()


def _values(data: bytes) -> Tensor:
    # torch cannot make a tensor from an empty buffer.
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.zeros(0, dtype=torch.uint8)


def device_of(group: dist.ProcessGroup | None = None) -> torch.device:
    """Return the device that tensors must be on so that the process group can send them."""
    return torch.device("cuda" if dist.get_backend(group) == "nccl" else "cpu")
