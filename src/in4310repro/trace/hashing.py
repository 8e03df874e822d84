"""Hash and summary of a tensor, equal on the CPU and on a GPU.

The values are read in the order of the tensor's axes, as words x of 32 bits with zeros behind the last byte. The hash
is, modulo 2^64, the sum over blocks b of 4,096 words of (s(b) | 1) * sum_j w_j x_(b, j), where s is splitmix64 and w_j
the lower half of s(2^32 + j) with its last bit set: a multilinear hash (Carter and Wegman 1979, Lemire and Kaser 2014).
One changed word always changes it; other changes are missed with a probability of about 2^-31. It finds accidents, not
forgeries.

The sketch of a tensor has eight sums of its finite values with random signs: the value at place i = 4096 b + j belongs
to sum i % 8, with a minus where bit 31 of w_j differs from bit 63 of s(b). The squares of the differences of two
sketches add up to the squared distance of the tensors, by expectation (Charikar, Chen and Farach-Colton 2002).
"""

import base64
import ctypes
import functools
import math
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from in4310repro.arithmetic import library
from in4310repro.arithmetic.signatures import PLAIN, in_memory, parse

BLOCK = 4096  # words
LARGEST_TABLE = 2**18  # weights of channels_last maps
_MASK = 2**64 - 1
_KERNEL = Path(__file__).with_name("kernel.cpp")
SIGNATURES = parse(
    """
const char *source()
int digests(ptrdiff_t threads, ptrdiff_t number, const int64_t tensors[number 7], const int32_t weights[4112],
    int64_t results[number 12])
""",
    {},
)
# Each of their values is a float32 value.
_NARROW = (
    *(torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu),
)


class Digest(NamedTuple):
    """Hash of a tensor's bits, with norm and largest magnitude to see how far two tensors are apart."""

    hash: str  # 16 hexadecimal digits
    largest: float  # magnitude of the finite values
    norm: float  # Euclidean, of the finite values
    not_finite: int  # values that are infinite or NaN
    sketch: str  # eight float32 values in base64


# Values that the kernel returns for a tensor: hash, largest magnitude, sum of squares, number of others, sketch.
_RESULT = struct.Struct("=Qddq8d")
_SKETCH = struct.Struct("<8f")
_LARGEST = float(np.finfo(np.float32).max)
_PROCESS = os.getpid()
# Dispatch keys of a plain CPU tensor; one that is nested, negated, wrapped or without values has others.
_PLAIN_KEYS = frozenset(
    torch._C._dispatch_keys(each).raw_repr()
    for each in (torch.empty(0, device="cpu"), torch.inference_mode()(torch.empty)(0, device="cpu"))
)
# A row of int64: hash, and the bits of the summary as float64. It stays on its device until it is read.
Row = Tensor


def digest(values: Tensor) -> Digest:
    """Return the hash and summary (`Digest`) of one tensor; see `digests`."""
    return digests([values])[0]


def digests(tensors: Sequence[Tensor], *, compiled: bool = True) -> list[Digest]:
    """Return the hash and summary (`Digest`) of each tensor, for any device, dtype and strides.

    Args:
        tensors: the tensors.
        compiled: if False, torch's operations are used on a CPU too, as on a GPU, instead of the compiled kernel.

    Raises:
        ValueError: a tensor is sparse, nested or quantized, has no memory, or belongs to a
            transform of torch.func.
    """
    return read(measure(tensors, compiled=compiled))


def measure(tensors: Sequence[Tensor], names: Sequence[str] = (), *, compiled: bool = True) -> list[Digest | Row]:
    """Return for each tensor a `Digest`, or a `Row` that `read` later converts to a `Digest`.

    A `Row` stays on the tensor's device, so that the program does not wait for a GPU.

    Args:
        tensors: the tensors.
        names: names of the tensors, for error messages.
        compiled: as for `digests`.

    Raises:
        ValueError: as for `digests`.
    """
    plain = [_plain(each, name) for each, name in zip(tensors, names or ["a tensor"] * len(tensors), strict=True)]
    if compiled and active_kernel() and all(each.is_cpu for each in plain):
        return [*_measure_by_kernel(plain)]
    return [_measure_by_torch(each.contiguous()) for each in plain]


def read(measured: Sequence[Digest | Row]) -> list[Digest]:
    """Return a `Digest` for each result of `measure`. The rows on a GPU are transferred together."""
    rows = [each for each in measured if isinstance(each, Tensor)]
    devices = {each.device for each in rows}
    content = {device: iter(torch.stack([each for each in rows if each.device == device]).cpu()) for device in devices}
    return [_read_row(next(content[each.device])) if isinstance(each, Tensor) else each for each in measured]


def _read_row(row: Tensor) -> Digest:
    largest, norm, not_finite, *sums = row[1:].view(torch.float64).tolist()
    return Digest(f"{int(row[0]) & _MASK:016x}", largest, norm, int(not_finite), _sketch(sums))


def _sketch(sums: Sequence[float]) -> str:
    clipped = [max(-_LARGEST, min(_LARGEST, each)) for each in sums]
    return base64.b64encode(_SKETCH.pack(*clipped)).decode()


def splitmix(number: int) -> int:
    """Return the splitmix64 hash of a number, 64 pseudorandom bits (Steele, Lea and Flood 2014)."""
    number = (number + 0x9E3779B97F4A7C15) & _MASK
    number = ((number ^ number >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ number >> 27) * 0x94D049BB133111EB) & _MASK
    return number ^ number >> 31


class _Weights(NamedTuple):
    """Weights in memory, made by NumPy: modes of torch, such as another default device, do not touch them."""

    words: np.ndarray[Any, np.dtype[np.uint32]]
    address: int


@functools.cache
def _weights() -> _Weights:
    # The kernel reads up to 15 weights behind the last one.
    words = np.array([splitmix(2**32 + j) % 2**32 | 1 for j in range(BLOCK)] + 16 * [0], dtype=np.uint32)
    return _Weights(words, words.ctypes.data)


@functools.lru_cache(maxsize=16)
def _turned_weights(positions: int) -> _Weights | None:
    """Return the hash weights for channels_last feature maps, [position, channel]; None if they need over 1 MB.

    Along the channels, the weights are periodic. The array holds one period and 16 further channels, since the
    kernel reads 16 channels at once. `positions` is the number of positions (pixels) in a map.
    """
    channels = BLOCK // math.gcd(positions, BLOCK) + 16
    if channels * positions > LARGEST_TABLE:
        return None
    words = _weights().words[(np.arange(channels) * positions + np.arange(positions)[:, None]) % BLOCK]
    return _Weights(words, words.ctypes.data)


@functools.cache
def _wide_weights(device: torch.device) -> Tensor:
    return torch.from_numpy(_weights().words[:BLOCK].astype(np.int64)).to(device)


@functools.lru_cache(maxsize=256)
def _block_factors(blocks: int, device: torch.device) -> Tensor:
    factors = np.array([splitmix(block) | 1 for block in range(blocks)], dtype=np.uint64)
    return torch.from_numpy(factors.view(np.int64)).to(device)


def _signs(blocks: int, device: torch.device) -> Tensor:
    """Return the sign of each value of so many blocks, [block, place], as float64."""
    by_place = 1 - 2 * (_wide_weights(device) >> 31).double()
    # A number with bit 63 is negative.
    return _block_factors(blocks, device).sign().double()[:, None] * by_place


def _plain(values: Tensor, name: str) -> Tensor:
    """Return the tensor's values as real numbers that can be read from memory.

    Complex values become pairs of real values. Pending conjugations and negations are carried out. A tensor
    that the compiled kernel can read is returned as it is.

    Raises:
        ValueError: the values cannot be hashed.
    """
    if _is_readable(values):
        return values
    if kind := _refused_kind(values):
        raise ValueError(f"{name} is {kind}; dense values in memory can be traced")
    if type(values) not in PLAIN:
        with torch._C.DisableTorchFunctionSubclass():
            values = values.as_subclass(Tensor)
    if values.requires_grad:
        values = values.detach()
    values = in_memory(name, values)
    if values.is_complex():
        values = torch.view_as_real(values.resolve_conj())
    return values.resolve_neg() if values.is_neg() else values


def _is_readable(values: Tensor) -> bool:
    """Return whether the compiled kernel can read this CPU tensor directly, without a conversion or a copy."""
    if type(values) not in PLAIN or torch._C._dispatch_keys(values).raw_repr() not in _PLAIN_KEYS:
        return False
    layout = _layout(values.dtype, values.shape, values.stride())
    if layout is None:
        return False
    needed = values.storage_offset() * values.dtype.itemsize + layout.bytes
    return not layout.bytes or values.untyped_storage().nbytes() >= needed


class _Layout(NamedTuple):
    """What the kernel is told of a tensor in memory, beside the addresses of its values and their weights."""

    bytes: int
    is_float: bool  # float32
    images: int
    positions: int  # in channels_last order; 0 in the order of the axes
    channels: int


@functools.lru_cache(maxsize=4096)
def _layout(dtype: torch.dtype, shape: torch.Size, strides: tuple[int, ...]) -> _Layout | None:
    """Return how the kernel reads a CPU tensor with this dtype, shape and strides; None if it needs a copy."""
    if dtype.is_complex:
        return None
    size, is_float = math.prod(shape) * dtype.itemsize, dtype is torch.float32
    if _is_in_order(shape, strides):
        return _Layout(size, is_float, 0, 0, 0)
    # For few channels a copy is as fast.
    if len(shape) == 4 and dtype.itemsize == 4 and shape[1] >= 8:
        images, channels, height, width = shape
        order = (0, 2, 3, 1)
        if _is_in_order([shape[axis] for axis in order], [strides[axis] for axis in order]):
            return _Layout(size, is_float, images, height * width, channels)
    return None


def _is_in_order(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Return whether values of this shape lie side by side in memory, in the order of the axes."""
    # Not asked of a tensor made for it: modes of torch would change that one, and the answer is remembered.
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != expected and 0 not in shape:
            return False
        expected *= size
    return True


def _refused_kind(values: Tensor) -> str:
    """Return the kind of a tensor that cannot be hashed, such as nested; empty if it can be hashed."""
    if torch._C._functorch.is_functorch_wrapped_tensor(values) or torch._is_functional_tensor(values):
        return "inside of torch.func"
    if values.is_nested:
        return "nested"
    if values.is_quantized:
        return "quantized"
    if type(values).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return f"a {type(values).__name__}, which holds no plain values"
    if values.is_meta:
        return "without memory"
    return "" if values.layout is torch.strided else str(values.layout)


@functools.cache
def active_kernel() -> library.Library | None:
    """Return the compiled hash kernel for this processor; None if no kernel was built."""
    if not (arithmetic := library.available()):
        return None
    instruction_set = "base" if arithmetic.instruction_set == "base" else "avx2"
    return library.open_if_built(
        lambda file, name: library.Library(file, name, SIGNATURES, _KERNEL),
        Path(__file__).with_name(f"_trace_{instruction_set}.so"),
        instruction_set,
    )


def _measure_by_kernel(tensors: Sequence[Tensor]) -> list[Digest]:
    rows = _call(tensors)
    # The values of narrow types are summed up as float32.
    narrow = [i for i, each in enumerate(tensors) if each.dtype in _NARROW]
    widened = _call([_plain(tensors[i].float(), "a tensor as float32") for i in narrow]) if narrow else []
    for i, (_, *summary) in zip(narrow, widened, strict=True):
        rows[i] = (rows[i][0], *summary)
    return [
        Digest(f"{value:016x}", largest, math.sqrt(squares), not_finite, _sketch(sums))
        if values.dtype is torch.float32 or values.dtype in _NARROW
        else Digest(f"{value:016x}", *_summary(values))
        for (value, largest, squares, not_finite, *sums), values in zip(rows, tensors, strict=True)
    ]


def _call(tensors: Sequence[Tensor]) -> list[tuple[Any, ...]]:
    """Return the hash of each CPU tensor from the compiled kernel, with a summary for each float32 tensor."""
    kernel, number = active_kernel(), len(tensors)
    assert kernel is not None  # noqa: S101 - for the type checker
    content: list[int] = []
    held: list[object] = []
    size = 0
    for each in tensors:
        layout = _layout(each.dtype, each.shape, each.stride())
        if layout is None:
            each = each.contiguous()
            held.append(each)
            layout = _layout(each.dtype, each.shape, each.stride())
            assert layout is not None  # noqa: S101 - for the type checker
        turned = _turned_weights(layout.positions) if layout.positions else None
        held.append(turned)
        content += (each.data_ptr(), turned.address if turned else 0, *layout)
        size += layout.bytes
    # Buffers rather than tensors: checks of tensors would take longer than the hash of a small one.
    results = bytearray(_RESULT.size * number)
    status = kernel.functions["digests"](
        _threads(size),
        number,
        (ctypes.c_int64 * (7 * number))(*content),
        _weights().address,
        (ctypes.c_int64 * (12 * number)).from_buffer(results),
    )
    if status:
        raise MemoryError(f"no working memory to hash {number} tensors")
    return [*_RESULT.iter_unpack(results)]


def _threads(size: int) -> int:
    """Return the number of threads that hash `size` bytes: one or all of torch's."""
    # To wake a thread takes as long as to hash some 100 KB. A team of another size would end threads of torch, which
    # starts them again. In a child of fork(), OpenMP waits for threads that are not there.
    return 1 if size < 2**18 or os.getpid() != _PROCESS else torch.get_num_threads()


def _measure_by_torch(values: Tensor) -> Row:
    """Return hash and summary of a tensor as a `Row`, computed by torch on the tensor's device."""
    words = _words(values).long() & 0xFFFFFFFF
    blocks = -(-len(words) // BLOCK)
    words = nn.functional.pad(words, (0, blocks * BLOCK - len(words))).reshape(blocks, BLOCK)
    # Products and sums of int64 wrap around.
    total = ((words * _wide_weights(words.device)).sum(dim=1) * _block_factors(blocks, words.device)).sum()
    return torch.cat([total[None], _summary_row(values).view(torch.int64)])


def _words(values: Tensor) -> Tensor:
    """Return the bytes of a contiguous tensor as int32 values, padded with zeros."""
    words = _in_memory(torch.zeros(-(-values.nbytes // 4), dtype=torch.int32, device=values.device))
    words.view(torch.uint8)[: values.nbytes] = values.reshape(-1).view(torch.uint8)
    return words


def _in_memory(made: Tensor) -> Tensor:
    """Return a tensor that torch made, after checking that no mode of torch made one without values instead.

    Raises:
        ValueError: it has none, and to read them would end the process.
    """
    if type(made) is not Tensor or torch._is_functional_tensor(made):
        raise ValueError(
            "torch computes no values here (torch.func.functionalize, FakeTensorMode), which hashes of tensors need "
            "unless the compiled kernel reads float32; trace outside of it"
        )
    return made


def _summary(values: Tensor) -> tuple[float, float, int, str]:
    """Return largest magnitude and norm of the finite values, the number of others, and the sketch."""
    if values.numel() == 1 and math.isfinite(value := values.item()):
        # Place 0 has the sign of the first weight and block.
        sign = -1 if (int(_weights().words[0]) >> 31) != splitmix(0) >> 63 else 1
        return abs(float(value)), abs(float(value)), 0, _sketch([sign * float(value), *[0.0] * 7])
    largest, norm, not_finite, *sums = _summary_row(values).tolist()
    return largest, norm, int(not_finite), _sketch(sums)


def _summary_row(values: Tensor) -> Tensor:
    """Return a summary of the values as a float64 tensor on their device.

    It has largest magnitude and norm of the finite values, the number of infinite or NaN values, and the sketch.
    """
    numbers = _in_memory(values.to(torch.float64, copy=True)).reshape(-1)
    finite = numbers.isfinite()
    kept = torch.where(finite, numbers, 0)
    largest = torch.cat([kept.abs(), kept.new_zeros(1)]).amax()
    # Scaled, so that no square is infinite.
    scale = torch.where(largest > 0, largest, 1)
    norm = ((kept / scale).norm() * scale).clamp(max=torch.finfo(torch.float64).max)
    blocks = -(-len(kept) // BLOCK)
    padded = nn.functional.pad(kept, (0, blocks * BLOCK - len(kept))).reshape(blocks, BLOCK)
    sums = (padded * _signs(blocks, kept.device)).reshape(-1, 8).sum(dim=0)
    return torch.cat([torch.stack([largest, norm, (~finite).sum().double()]), sums])
