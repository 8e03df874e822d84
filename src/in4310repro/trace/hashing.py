"""Hash and summary of a tensor, equal on the CPU and on a card.

The values are read as words x of 32 bits, in the order of the tensor's axes and with zeros behind the last byte. The
hash is, modulo 2^64, the sum over blocks b of 4,096 words of (s(b) | 1) * sum_j w_j x_(b, j), where s is splitmix64 and
w_j the lower half of s(2^32 + j), with its last bit set: a multilinear hash (Carter and Wegman 1979, Lemire and Kaser
2014). One changed word always changes it; other changes stay unseen with a probability of about 2^-31. It protects from
accidents, not from forgers.
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from in4310repro.arithmetic import library
from in4310repro.arithmetic.signatures import parse

BLOCK = 4096  # words
_MASK = 2**64 - 1
_KERNEL = Path(__file__).with_name("kernel.cpp")
_SIGNATURES = parse(
    """
const char *source()
int digests(ptrdiff_t threads, ptrdiff_t tensors, const int64_t addresses[tensors], const int64_t words[tensors],
    const int64_t is_float[tensors], const int32_t weights[4096], int64_t hashes[tensors], double summaries[tensors 3])
""",
    {},
)


class Digest(NamedTuple):
    """Hash of a tensor's bits, and a summary that tells a near miss from other values."""

    hash: str  # 16 hexadecimal digits
    largest: float  # magnitude of the finite values
    norm: float  # Euclidean, of the finite values
    not_finite: int  # values that are infinite or NaN


def splitmix(number: int) -> int:
    """Return a 64-bit number that looks random (splitmix64; Steele, Lea and Flood 2014)."""
    number = (number + 0x9E3779B97F4A7C15) & _MASK
    number = ((number ^ number >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ number >> 27) * 0x94D049BB133111EB) & _MASK
    return number ^ number >> 31


@functools.cache
def _weights() -> Tensor:
    words = np.array([splitmix(2**32 + j) % 2**32 | 1 for j in range(BLOCK)], dtype=np.uint32)
    return torch.from_numpy(words.view(np.int32))


@functools.lru_cache(maxsize=64)
def _block_factors(blocks: int) -> Tensor:
    return torch.from_numpy(np.array([splitmix(b) | 1 for b in range(blocks)], dtype=np.uint64).view(np.int64))


def digest(values: Tensor) -> Digest:
    """Return the digest of a tensor; see `digests`."""
    return digests([values])[0]


def digests(tensors: Sequence[Tensor]) -> list[Digest]:
    """Return the digest of each tensor, whatever its device, dtype and strides.

    Raises:
        ValueError: a tensor is sparse, nested or has no memory.
    """
    plain = [_plain(each) for each in tensors]
    found: list[Digest | None] = [None] * len(plain)
    kernel = _kernel()
    at_once = [i for i, each in enumerate(plain) if kernel and each.device.type == "cpu"]
    if kernel and at_once:
        for i, each in zip(at_once, _digests_by_kernel(kernel, [plain[i] for i in at_once]), strict=True):
            found[i] = each
    return [_digest_by_torch(each) if done is None else done for done, each in zip(found, plain, strict=True)]


def _plain(values: Tensor) -> Tensor:
    """Return the values in the order of their axes in memory, without gradients."""
    if values.layout is not torch.strided or values.is_nested or values.is_meta:
        kind = "nested" if values.is_nested else "without memory" if values.is_meta else str(values.layout)
        raise ValueError(f"a tensor of shape {tuple(values.shape)} is {kind}; dense tensors can be traced")
    return values.detach().resolve_conj().resolve_neg().contiguous()


def _words(values: Tensor) -> Tensor:
    """Return the bytes of a contiguous tensor as int32, filled up with zeros."""
    if values.dtype is torch.int32:
        return values.reshape(-1)
    if values.numel() * values.element_size() % 4 == 0 and values.element_size() <= 8 and not values.is_complex():
        # A view of other element size needs at least one axis, and a last one that is a whole number of words.
        return values.reshape(-1).view(torch.int32)
    octets = torch.view_as_real(values) if values.is_complex() else values
    octets = octets.reshape(-1).view(torch.uint8)
    return torch.nn.functional.pad(octets, (0, -len(octets) % 4)).view(torch.int32)


@functools.cache
def _kernel() -> library.Library | None:
    """Return the compiled kernel; None if none was built for this processor."""
    if not (arithmetic := library.available()):
        return None
    headers = sorted(Path(library.__file__).parent.glob("*.hpp"))
    name = arithmetic.instruction_set
    return library.open_if_built(
        lambda file, which: library.Library(
            file, which, _SIGNATURES, library.hash_of([_KERNEL, *headers]), "another kernel.cpp"
        ),
        Path(__file__).with_name(f"_trace_{name}.so"),
        name,
    )


def _digests_by_kernel(kernel: library.Library, tensors: Sequence[Tensor]) -> list[Digest]:
    words = [_words(each) for each in tensors]
    number, is_float = len(words), [each.dtype is torch.float32 for each in tensors]
    table = torch.tensor([[each.data_ptr(), each.numel(), kind] for each, kind in zip(words, is_float, strict=True)])
    addresses, sizes, kinds = table.T.contiguous()
    hashes, summaries = torch.empty(number, dtype=torch.int64), torch.empty(number, 3, dtype=torch.float64)
    kernel.call("digests", number, addresses, sizes, kinds, _weights(), hashes, summaries)
    return [
        Digest(f"{value & _MASK:016x}", largest, math.sqrt(squares), int(not_finite))
        if kind
        else Digest(f"{value & _MASK:016x}", *_summary(values))
        for value, (largest, squares, not_finite), kind, values in zip(
            hashes.tolist(), summaries.tolist(), is_float, tensors, strict=True
        )
    ]


def _digest_by_torch(values: Tensor) -> Digest:
    """Return the digest computed by torch, on the device of the values."""
    words = _words(values).long() & 0xFFFFFFFF
    blocks = -(-len(words) // BLOCK)
    words = torch.nn.functional.pad(words, (0, blocks * BLOCK - len(words))).reshape(blocks, BLOCK)
    weights = (_weights().long() & 0xFFFFFFFF).to(words.device)
    # Products and sums of int64 wrap around.
    total = ((words * weights).sum(dim=1) * _block_factors(blocks).to(words.device)).sum()
    return Digest(f"{int(total) & _MASK:016x}", *_summary(values))


def _summary(values: Tensor) -> tuple[float, float, int]:
    """Return the largest magnitude and the norm of the finite values, and the number of others."""
    if not values.numel():
        return 0.0, 0.0, 0
    numbers = torch.view_as_real(values) if values.is_complex() else values
    numbers = numbers.double()
    finite = numbers.isfinite()
    kept = torch.where(finite, numbers, 0)
    return float(kept.abs().max()), float(kept.norm()), int((~finite).sum())
