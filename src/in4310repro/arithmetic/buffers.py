"""Memory for results, reused as soon as no tensor refers to it.

A training step makes the same maps each time. The system hands out fresh memory page by page, filled with
zeros: 5 % of a step's time at 64 px, 10 % at 224 px. Here a finalizer puts a block of memory into a list of
free blocks when the storage on it is freed.
"""

import ctypes
import functools
import math
import mmap

import torch
from torch import Tensor

# For smaller blocks the C library's own free lists are faster, and few lie on huge pages of memory.
LEAST = 1 << 22  # bytes
HEAD = 16  # values in memory for packed weights, before them; see direct.hpp
# If free blocks exceed those in use by more than this, a larger free block is used before new memory is requested:
# evaluation holds few maps at a time, but of many sizes. If no larger one exists, all free blocks are returned.
SPARE = 1 << 28  # bytes
# Shared mappings, mmap's default, would show the parent of a forked process what its child computes. Windows has
# neither fork() nor these flags.
PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}


def empty(*sizes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return uninitialised values on the CPU, even if torch's defaults are different."""
    return torch.empty(sizes, dtype=dtype, device="cpu")


def maps(shape: tuple[int, ...]) -> Tensor:
    """Return an uninitialised float32 tensor [image, channel, height, width] in channels_last memory layout.

    With another number of axes, the layout is contiguous.
    """
    number, is_maps = math.prod(shape), len(shape) == 4
    if 4 * number < LEAST:
        order = torch.channels_last if is_maps else torch.contiguous_format
        return torch.empty(tuple(shape), dtype=torch.float32, device="cpu", memory_format=order)
    strides = [math.prod(shape[axis:]) for axis in range(1, len(shape) + 1)]
    if is_maps:
        strides = [number // shape[0], 1, shape[3] * shape[1], shape[1]]
    values = torch.frombuffer(_take(block_size(4 * number)), dtype=torch.float32, count=number)
    # Not a view: autograd forbids an in-place ReLU after a function that returns a view.
    return values.set_(values.untyped_storage(), 0, shape, strides)


def room_for(*weights: Tensor, groups: int = 1) -> int:
    """Return the number of values that packed weights [output, ...] take at most, with what is before them."""
    # The outputs of a group fill whole vectors.
    return HEAD + sum(math.prod(weight.shape[1:]) * (len(weight) + 64 * groups) for weight in weights)


def memory_for_packed(room: int) -> Tensor:
    """Return memory in which a kernel keeps packed weights, with nothing packed yet."""
    memory = empty(room)
    # The hash of what is packed. The rest is left alone: kernels that pack nothing never touch it.
    memory[:HEAD] = 0
    return memory


@functools.lru_cache(maxsize=4096)
def block_size(number: int) -> int:
    """Round a number of bytes up to one of a few block sizes, so that freed blocks can be reused."""
    step = max(1 << (number.bit_length() - 4), mmap.PAGESIZE)
    return -(-number // step) * step


class _Sizes:
    """Total bytes of the blocks in use (`used`) and of the free blocks (`free`)."""

    used = 0
    free = 0


Block = ctypes.Array[ctypes.c_char]
Sizes = _Sizes()  # an instance, since each write to a class would clear Python's cache of its attributes


_free: dict[int, list[tuple[int, mmap.mmap]]] = {}  # size -> address and memory of the blocks that no tensor uses


@functools.cache
def _kind(size: int) -> type[Block]:
    """Return a ctypes array type of `size` bytes. A deleted array of this type returns its memory to the free list."""
    free = _free.setdefault(size, [])

    def put_back(self: Block) -> None:
        Sizes.used -= size
        Sizes.free += size
        free.append((ctypes.addressof(self), self.memory))  # type: ignore[attr-defined]

    return type("Block", (ctypes.c_char * size,), {"__del__": put_back})


def _take(size: int) -> Block:
    free = _free.get(size)
    if not free and _has_too_much_free():
        size = min((larger for larger, blocks in _free.items() if blocks and larger > size), default=size)
        free = _free.get(size)
    if free:
        address, memory = free.pop()
        Sizes.free -= size
    else:
        address, memory = _new(size)
    block = _kind(size).from_address(address)
    block.memory = memory  # type: ignore[attr-defined]
    Sizes.used += size
    return block


def _has_too_much_free() -> bool:
    return Sizes.free > Sizes.used + SPARE


def _new(size: int) -> tuple[int, mmap.mmap]:
    if _has_too_much_free():
        release()
    for is_last in (False, True):
        try:
            memory = mmap.mmap(-1, size, **PRIVATE)
            break
        except OSError as error:
            if is_last:
                raise MemoryError(f"no memory for a result of {size} bytes: {error}") from error
            release()
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return ctypes.addressof(ctypes.c_char.from_buffer(memory)), memory


def release() -> None:
    """Return the memory of all free blocks to the system."""
    for size, free in _free.items():
        Sizes.free -= size * len(free)
        free.clear()
