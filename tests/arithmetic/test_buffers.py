"""Memory blocks of results: their size, the results that get one, and their reuse and release."""

from __future__ import annotations

import gc
import mmap
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch

from in4310repro.arithmetic import buffers
from in4310repro.arithmetic.buffers import Sizes, block_size

# As many bytes as the least block has, and 131,072 fewer.
LEAST, LESS = (2, 16, 1024, 32), (2, 16, 1024, 31)


@pytest.fixture(autouse=True, scope="module")
def _uncollected() -> Iterator[None]:
    """Turn off the garbage collector during the tests of this module, so that it frees no blocks."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(autouse=True)
def _released() -> Iterator[None]:
    """Release the unused memory blocks before and after each test."""
    buffers.release()
    yield
    buffers.release()


def in_use(make: Any) -> int:
    """Call `make` and return the number of bytes by which the memory blocks in use grow."""
    before = Sizes.used
    result = make()
    taken = Sizes.used - before
    assert result.dtype == torch.float32
    return taken


def test_results_from_4_mib_lie_on_a_block_in_channels_last_memory() -> None:
    assert (in_use(lambda: buffers.maps(LEAST)), in_use(lambda: buffers.maps(LESS))) == (1 << 22, 0)
    for shape in (LEAST, LESS):
        maps = buffers.maps(shape)
        assert (tuple(maps.shape), maps.storage_offset()) == (shape, 0)
        assert maps.stride() == torch.empty(shape).to(memory_format=torch.channels_last).stride()


@pytest.mark.parametrize("shape", [(1024, 1024), (1024, 1023), (1048576,), (64, 32, 512), (3,)])
def test_results_of_another_number_of_axes_are_contiguous(shape: tuple[int, ...]) -> None:
    found = buffers.maps(shape)
    assert (tuple(found.shape), found.stride()) == (shape, torch.empty(shape).stride())
    assert (in_use(lambda: buffers.maps(shape)) > 0) == (found.nbytes >= 1 << 22)


def test_a_block_has_one_of_eight_sizes_for_each_power_of_two_and_whole_pages() -> None:
    mebi = 1 << 20
    assert [block_size(mebi), block_size(mebi + 1), block_size(mebi * 9 // 8)] == [mebi, mebi * 9 // 8, mebi * 9 // 8]
    numbers = range(mebi, 2 * mebi, 4096)
    assert len({block_size(number) for number in numbers}) == 9  # the last is the next power itself
    assert all(number <= block_size(number) <= number * 9 / 8 for number in numbers)
    assert [block_size(100), block_size(mmap.PAGESIZE), block_size(mmap.PAGESIZE + 1)] == [
        mmap.PAGESIZE,
        mmap.PAGESIZE,
        2 * mmap.PAGESIZE,
    ]


def test_bytes_in_use_and_free_are_counted() -> None:
    assert Sizes.free == 0
    assert Sizes.used % mmap.PAGESIZE == 0
    used, size = Sizes.used, 1 << 22
    first, second = buffers.maps(LEAST), buffers.maps(LEAST)
    assert (Sizes.used - used, Sizes.free) == (2 * size, 0)
    del first
    assert (Sizes.used - used, Sizes.free) == (size, size)
    third = buffers.maps(LEAST)
    assert (Sizes.used - used, Sizes.free) == (2 * size, 0)
    del second, third
    assert (Sizes.used - used, Sizes.free) == (0, 2 * size)
    buffers.release()
    assert (Sizes.used - used, Sizes.free) == (0, 0)


def of_bytes(number: int) -> tuple[int, int, int, int]:
    """Return the shape of a float32 map that occupies `number` bytes."""
    return (1, 1, number // 4, 1)


@pytest.mark.parametrize(("free", "left"), [(64, 64), (320, 0)])
def test_free_blocks_go_back_where_they_are_256_mib_more_than_those_in_use(free: int, left: int) -> None:
    mebi = 1 << 20
    block = buffers.maps(of_bytes(free * mebi))
    del block
    _larger = buffers.maps(of_bytes(2 * free * mebi))
    assert Sizes.free == left * mebi


@pytest.mark.parametrize(("free", "taken"), [((64, 128), 1 << 22), ((320, 384), 320 << 20)])
def test_the_smallest_larger_block_serves_where_more_is_free_than_in_use_and_spare(
    free: tuple[int, int], taken: int
) -> None:
    blocks = [buffers.maps(of_bytes(each << 20)) for each in free]
    del blocks
    used, before = Sizes.used, Sizes.free
    result = buffers.maps(LEAST)
    assert (Sizes.used - used, tuple(result.shape)) == (taken, LEAST)
    assert before - Sizes.free == (taken if taken > 1 << 22 else 0)


def test_batches_in_evaluation_take_no_new_memory_once_their_blocks_are_there() -> None:
    memory: list[int] = []
    for _ in range(5):
        memory = []
        # Each map is made from the one before, as in a network.
        maps = buffers.maps(of_bytes(8 << 26))
        for images in (12, 6, 8, 3, 10, 4, 2):
            maps = buffers.maps(of_bytes(images << 26))
            memory.append(Sizes.used + Sizes.free)
        del maps
    assert len(set(memory)) == 1


class Advised(mmap.mmap):
    """A memory map that records the advice (madvise) it is given."""

    made: ClassVar[list[tuple[int, tuple[int, ...]]]] = []  # sizes, and the advice

    def madvise(self, *words: int) -> None:
        self.made.append((len(self), words))


def test_memory_is_new_of_no_file_and_in_huge_pages_where_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "mmap", Advised)
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", 14, raising=False)
    first = buffers.maps(LEAST)
    assert not first.any()
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE")
    second = buffers.maps(LEAST)
    assert not second.any()
    assert Advised.made == [(1 << 22, (14,))]


def test_memory_that_cannot_be_had_is_asked_for_again_after_free_blocks_went_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    block = buffers.maps(LEAST)
    del block
    asked: list[tuple[int, int, int]] = []
    new = mmap.mmap

    def once(file: int, size: int, **options: int) -> mmap.mmap:
        asked.append((file, size, Sizes.free))
        if len(asked) == 1:
            raise OSError(12, "Cannot allocate memory")
        return new(file, size, **options)

    monkeypatch.setattr(mmap, "mmap", once)
    maps = buffers.maps((1, 1, 2048, 1024))
    assert asked == [(-1, 1 << 23, 1 << 22), (-1, 1 << 23, 0)]
    maps.fill_(1.0)
    assert float(maps.sum()) == 1 << 21
