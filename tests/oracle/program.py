"""The second implementation of portable arithmetic: the Rust program in oracle/, and requests to it."""

from __future__ import annotations

import io
import math
import shutil
import struct
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

SOURCES = Path(__file__).parents[2] / "oracle"
DTYPES = {"f32": torch.float32, "f64": torch.float64, "i64": torch.int64}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
KEPT = {"adamw": 2, "rmsprop": 1, "sgd": 1}  # tensors that an optimizer keeps of a parameter
Value = float | int | str | Iterable[int]


def build(folder: Path, sources: Path = SOURCES) -> Oracle:
    """Compile the program into `folder`.

    Raises:
        FileNotFoundError: there is no Rust compiler.
        RuntimeError: the compiler refuses the sources.
    """
    program = folder / "oracle"
    compiler = shutil.which("rustc")
    if compiler is None:
        raise FileNotFoundError("no rustc: apt install rustc")
    # The processor's own fused multiply-add: the function of the C library has the same bits, and takes longer.
    options = ["--edition", "2021", "-O", "-C", "target-cpu=native", "-D", "warnings", "-o", str(program)]
    done = subprocess.run([compiler, *options, str(sources / "main.rs")], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return Oracle(program)


@dataclass(frozen=True)
class Oracle:
    """A compiled program. `oracle/stream.rs` describes requests and answers."""

    program: Path

    def __call__(self, operation: str, *inputs: Tensor | None, **keys: Value) -> list[Tensor]:
        """Return the results of an operation; inputs that are None are left out.

        Raises:
            RuntimeError: the program refuses the request.
        """
        request = encoded(operation, [each for each in inputs if each is not None], keys)
        done = subprocess.run([str(self.program)], input=request, capture_output=True)
        if done.returncode:
            raise RuntimeError(done.stderr.decode())
        return decoded(done.stdout)

    def take_step(
        self, optimizer: str, step: int, known: list[Tensor], gradient: Tensor, settings: Mapping[str, Value]
    ) -> list[Tensor]:
        """Return a parameter and what the optimizer keeps of it after a step, counted from 1.

        `known` is the same before it; of the first step the parameter alone.
        """
        parameter, *kept = known
        kept = kept or [torch.zeros_like(parameter) for _ in range(KEPT[optimizer])]
        counted = {"adamw": {"step": step}, "rmsprop": {}, "sgd": {"first": int(step == 1)}}[optimizer]
        return self(optimizer, parameter, gradient, *kept, **settings, **counted)


def encoded(operation: str, inputs: list[Tensor], keys: dict[str, Value]) -> bytes:
    words = [operation, *(f"{key}={written(value)}" for key, value in keys.items()), f"inputs={len(inputs)}"]
    request = (" ".join(words) + "\n").encode()
    for number, tensor in enumerate(inputs):
        sizes = ",".join(map(str, tensor.shape or (1,)))
        request += f"input{number} {NAMES[tensor.dtype]} {sizes}\n".encode()
        request += tensor.detach().contiguous().numpy().tobytes()
    return request


def written(value: Value) -> str:
    if isinstance(value, float):
        return struct.pack(">d", value).hex()
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def decoded(answer: bytes) -> list[Tensor]:
    stream = io.BytesIO(answer)
    _ok, outputs = stream.readline().split()
    tensors = []
    for _ in range(int(outputs.removeprefix(b"outputs="))):
        _name, dtype, sizes = stream.readline().decode().split()
        shape = [int(size) for size in sizes.split(",")]
        values = stream.read(math.prod(shape) * DTYPES[dtype].itemsize)
        tensors.append(torch.frombuffer(bytearray(values), dtype=DTYPES[dtype]).reshape(shape))
    return tensors
