"""Blocks of memory: which results lie on one, how large it is, when it is used again and when it is given back."""

from __future__ import annotations

import gc
import mmap
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from in4310repro.arithmetic import buffers
from in4310repro.arithmetic.buffers import _round_up, _Sizes

# As many bytes as the least block has, and 2048 fewer.
LEAST, LESS = (2, 4, 64, 32), (2, 4, 64, 31)


@pytest.fixture(autouse=True)
def _undisturbed() -> Iterator[None]:
    """No free blocks, and none that the collection of garbage frees meanwhile."""
    gc.disable()
    buffers.release()
    yield
    buffers.release()
    gc.enable()


def in_use(make: Any) -> int:
    """Bytes of blocks that a result takes."""
    before = _Sizes.used
    result = make()
    taken = _Sizes.used - before
    assert result.dtype == torch.float32
    return taken


def test_results_from_64_kib_lie_on_a_block_in_channels_last_memory() -> None:
    assert (in_use(lambda: buffers.maps(LEAST)), in_use(lambda: buffers.maps(LESS))) == (1 << 16, 0)
    for shape in (LEAST, LESS):
        maps = buffers.maps(shape)
        assert (tuple(maps.shape), maps.storage_offset()) == (shape, 0)
        assert maps.stride() == torch.empty(shape).to(memory_format=torch.channels_last).stride()


def test_results_like_others_have_their_strides() -> None:
    assert in_use(lambda: buffers.like(torch.empty(LEAST))) == 1 << 16
    assert in_use(lambda: buffers.like(torch.empty(LESS))) == 0
    for shape in (LEAST, LESS):
        for values in (torch.empty(shape), torch.empty(shape).to(memory_format=torch.channels_last)):
            found = buffers.like(values)
            assert (found.shape, found.stride(), found.dtype) == (values.shape, values.stride(), torch.float32)


def test_a_block_has_one_of_eight_sizes_for_each_power_of_two_and_whole_pages() -> None:
    mebi = 1 << 20
    assert [_round_up(mebi), _round_up(mebi + 1), _round_up(mebi * 9 // 8)] == [mebi, mebi * 9 // 8, mebi * 9 // 8]
    numbers = range(mebi, 2 * mebi, 4096)
    assert len({_round_up(number) for number in numbers}) == 9  # the last is the next power itself
    assert all(number <= _round_up(number) <= number * 9 / 8 for number in numbers)
    assert [_round_up(100), _round_up(mmap.PAGESIZE), _round_up(mmap.PAGESIZE + 1)] == [
        mmap.PAGESIZE,
        mmap.PAGESIZE,
        2 * mmap.PAGESIZE,
    ]


def test_bytes_in_use_and_free_are_counted() -> None:
    assert _Sizes.free == 0
    assert _Sizes.used % mmap.PAGESIZE == 0
    used, size = _Sizes.used, 1 << 16
    first, second = buffers.maps(LEAST), buffers.maps(LEAST)
    assert (_Sizes.used - used, _Sizes.free) == (2 * size, 0)
    del first
    assert (_Sizes.used - used, _Sizes.free, len(buffers._free[size])) == (size, size, 1)
    third = buffers.maps(LEAST)
    assert (_Sizes.used - used, _Sizes.free, len(buffers._free[size])) == (2 * size, 0, 0)
    del second, third
    assert (_Sizes.used - used, _Sizes.free, len(buffers._free[size])) == (0, 2 * size, 2)
    buffers.release()
    assert (_Sizes.used - used, _Sizes.free, len(buffers._free[size])) == (0, 0, 0)


@pytest.mark.parametrize(("beyond", "released"), [(0, 0), (1, 1)])
def test_free_blocks_go_back_where_they_are_256_mib_more_than_those_in_use(
    beyond: int, released: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    monkeypatch.setattr(buffers, "release", lambda: calls.append(1))
    monkeypatch.setattr(_Sizes, "used", 1 << 20)
    monkeypatch.setattr(_Sizes, "free", (1 << 20) + (1 << 28) + beyond)
    buffers._new(1 << 16)
    assert len(calls) == released


@pytest.mark.parametrize(("beyond", "taken"), [(0, 1 << 16), (1, 2 << 16)])
def test_the_smallest_larger_block_serves_where_more_is_free_than_in_use_and_spare(
    beyond: int, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, larger = buffers.maps((2, 4, 64, 64)), buffers.maps((2, 4, 64, 128))
    del large, larger
    used = _Sizes.used
    monkeypatch.setattr(buffers, "SPARE", (6 << 16) - used - beyond)
    result = buffers.maps(LEAST)
    assert (_Sizes.used - used, tuple(result.shape)) == (taken, LEAST)
    assert _Sizes.free == (6 << 16) - beyond * taken


def test_batches_in_evaluation_take_no_new_memory_once_their_blocks_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "SPARE", 1 << 16)
    new = buffers._new
    made: list[int] = []

    def counted(size: int) -> tuple[int, mmap.mmap]:
        made.append(size)
        return new(size)

    monkeypatch.setattr(buffers, "_new", counted)
    for _ in range(5):
        before = len(made)
        # Each map is made from the one before, as in a network.
        maps = buffers.maps(LEAST)
        for images in (12, 6, 8, 3, 10, 4, 2):
            maps = buffers.maps((images, *LEAST[1:]))
        del maps
    assert len(made) == before


class Advised(mmap.mmap):
    """Memory that keeps which advice it was given."""

    advice: tuple[int, ...] = ()

    def madvise(self, *words: int) -> None:
        self.advice = words


def test_memory_is_new_of_no_file_and_in_huge_pages_where_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "mmap", Advised)
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", 14, raising=False)
    _, memory = buffers._new(1 << 16)
    assert (vars(memory)["advice"], len(memory), memory[:4]) == ((14,), 1 << 16, bytes(4))
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE")
    assert buffers._new(1 << 16)[1].advice == ()  # type: ignore[attr-defined]


def test_memory_that_cannot_be_had_is_asked_for_again_after_free_blocks_went_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    block = buffers.maps(LEAST)
    del block
    asked: list[tuple[int, int, int]] = []
    new = mmap.mmap

    def once(file: int, size: int, **options: int) -> mmap.mmap:
        asked.append((file, size, _Sizes.free))
        if len(asked) == 1:
            raise OSError(12, "Cannot allocate memory")
        return new(file, size, **options)

    monkeypatch.setattr(mmap, "mmap", once)
    maps = buffers.maps((1, 1, 128, 256))
    assert asked == [(-1, 1 << 17, 1 << 16), (-1, 1 << 17, 0)]
    maps.fill_(1.0)
    assert float(maps.sum()) == 1 << 15
