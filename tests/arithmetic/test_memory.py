"""Memory that cannot be had is a MemoryError with the sizes, inside of a kernel too; blocks are used again."""

from __future__ import annotations

import gc
import mmap
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from in4310repro.arithmetic import buffers
from in4310repro.arithmetic.convolutions import convolution

SIDE = 1 << 10  # 4 MB of float32 a map
# Calls with so many megabytes of address space left, less than the kernel wants, then a small one: the library is
# whole.
LIMITED = """
import resource, sys, torch
from in4310repro.arithmetic.convolutions import convolution
torch.set_num_threads(1)
small = torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3)
convolution(*small)
for megabytes, call in zip(sys.argv[1::2], sys.argv[2::2]):
    pages = int(open("/proc/self/statm").read().split()[0])
    limit = pages * resource.getpagesize() + (int(megabytes) << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    try:
        eval(call)
    except MemoryError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(convolution(*small).sum().item())
"""
# A list of steps for each of 40,000 places with other taps inside, 1 GB; and 144 MB of weights, which are packed.
LISTS = "convolution(torch.ones(1, 1, 200, 200), torch.ones(1, 1, 200, 200), None, (1, 1), (100, 100))"
PACKED = "convolution(torch.ones(1, 1, 1, 1), torch.ones(40_000, 1, 30, 30), None, (1, 1), (15, 15))"


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits address space as Linux does")
def test_a_kernel_without_memory_raises_and_the_process_goes_on() -> None:
    words = [sys.executable, "-c", LIMITED, "100", LISTS, "250", PACKED]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lists, packed, result = done.stdout.splitlines()
    assert lists.startswith("no working memory for convolution of images 1 channels 1 height 200 width 200 outputs 1 ")
    assert packed.startswith("no working memory for convolution of images 1 channels 1 height 1 width 1 outputs 40000 ")
    assert float(result) == 36


def test_a_result_without_memory_is_a_memory_error_with_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def refuse(_file: int, size: int, **_options: int) -> mmap.mmap:
        calls.append(size)
        raise OSError(12, "Cannot allocate memory")

    buffers.release()
    monkeypatch.setattr(mmap, "mmap", refuse)
    with pytest.raises(MemoryError, match=r"no memory for a result of 4194304 bytes: .*Cannot allocate memory"):
        convolution(torch.ones(1, 1, SIDE, SIDE), torch.ones(1, 1, 1, 1))
    # Once more after all free blocks were given back.
    assert calls == [4 * SIDE * SIDE] * 2


def test_a_block_is_used_again_once_nobody_holds_it() -> None:
    first = buffers.maps((1, 1, SIDE, SIDE))
    address = first.data_ptr()
    view = first[0]
    del first
    gc.collect()
    assert buffers.maps((1, 1, SIDE, SIDE)).data_ptr() != address
    del view
    gc.collect()
    assert buffers.maps((1, 1, SIDE, SIDE)).data_ptr() == address
