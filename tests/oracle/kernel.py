"""The page's WebAssembly, called with tensors; networks whose modules are computed by it."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import in4310repro.report
from in4310repro.arithmetic.same import Conv2dSame
from tests.oracle.program import SOURCES

FILE = Path(in4310repro.report.__file__).with_name("check.wasm")
Ends = tuple[tuple[int, int], tuple[int, int]]
FORMS = {"none": 0, "relu": 1, "relu6": 2, "sum relu": 3}


def compiled(folder: Path, sources: Path = SOURCES) -> Path:
    """Compile the sources into a folder by the compiler that compiled the package's file; skip the test without it.

    Raises:
        RuntimeError: the compiler refuses the sources.
    """
    wanted = FILE.with_suffix(".txt").read_text(encoding="utf-8").splitlines()[-1]
    folders = os.environ.get("PATH", "").split(os.pathsep)
    found = (shutil.which("rustc", path=each) for each in folders)
    compiler = next((each for each in found if each and outcome([each, "--version"]).stdout.strip() == wanted), None)
    needs = "apt install rustc libstd-rust-dev-wasm32 lld"
    if compiler is None or shutil.which("wasm-ld") is None:
        pytest.skip(f"no {wanted}, or no wasm-ld: {needs}")
    done = outcome([str(sources / "build.sh"), str(folder / "check.wasm")], RUSTC=compiler)
    if "can't find crate for `std`" in done.stderr:
        pytest.skip(f"this rustc has no wasm32-unknown-unknown: {needs}")
    if done.returncode:
        raise RuntimeError(done.stderr)
    return folder / "check.wasm"


def outcome(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)


class Kernel:
    """The functions of `oracle/page.rs`: tensors are copied into its memory, and results out of it."""

    def __init__(self, file: Path = FILE) -> None:
        wasmtime = pytest.importorskip("wasmtime", reason="wasmtime is not installed; pip install -e '.[dev]'")
        self.store = wasmtime.Store()
        module = wasmtime.Module.from_file(self.store.engine, str(file))
        self.exports = wasmtime.Instance(self.store, module, []).exports(self.store)
        self.memory = self.exports["memory"]

    def call(self, name: str, *arguments: float) -> float:
        """Call an export, to which pointers are numbers."""
        result: float = self.exports[name](self.store, *arguments)
        return result

    def write(self, data: bytes) -> int:
        """Return the pointer to a copy of the data, which the caller frees."""
        pointer = int(self.call("allocate", len(data)))
        assert pointer > 0
        assert pointer % 64 == 0
        self.memory.write(self.store, data, pointer)
        return pointer

    def read(self, pointer: int, length: int) -> bytearray:
        data: bytearray = self.memory.read(self.store, pointer, pointer + length)
        return data

    @contextmanager
    def written(self, *arguments: float | Tensor | None) -> Iterator[list[float]]:
        """Give the arguments with pointers in the place of tensors, and 0 in that of None."""
        words: list[float] = []
        spaces = []
        for each in arguments:
            if isinstance(each, Tensor):
                data = each.detach().contiguous().numpy().tobytes()
                spaces.append((self.write(data), len(data)))
                words.append(spaces[-1][0])
            else:
                words.append(0 if each is None else each)
        yield words
        for space in spaces:
            self.call("free", *space)

    def __call__(self, name: str, *arguments: float | Tensor | None, shape: tuple[int, ...]) -> Tensor:
        """Return the float32 that an export writes behind its last argument.

        Raises:
            ValueError: the export gives a code.
        """
        with self.written(*arguments, torch.full(shape, torch.nan)) as words:
            if code := self.call(name, *words):
                raise ValueError(f"{name} gives the code {code}")
            result = torch.frombuffer(self.read(int(words[-1]), 4 * torch.Size(shape).numel()), dtype=torch.float32)
        return result.reshape(shape)

    def convolve(
        self, maps: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], ends: Ends, groups: int
    ) -> Tensor:
        """Return the convolution of one image, [1, channel, height, width]."""
        outputs, _, *kernel = weight.shape
        _, channels, *size = maps.shape
        result = [
            (length + sum(end) - taps) // step + 1
            for length, end, taps, step in zip(size, ends, kernel, stride, strict=True)
        ]
        with self.written(weight) as (pointer,):
            sizes = (*kernel, *stride, *ends[0], *ends[1], groups)
            layer = self.call("layer", *size, channels, pointer, outputs, *sizes)
        return of_rows(self("apply", layer, rows_of(maps), bias, shape=(*result, outputs)))

    def normalise(self, norm: nn.BatchNorm2d, maps: Tensor, form: str = "none", other: Tensor | None = None) -> Tensor:
        """Return the batch norm of one image in evaluation."""
        _, channels, height, width = maps.shape
        statistics = norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.eps
        rows, others = rows_of(maps), None if other is None else rows_of(other)
        sizes = height * width, channels
        return of_rows(self("normalise", rows, *sizes, *statistics, FORMS[form], others, shape=tuple(rows.shape)))


def rows_of(maps: Tensor) -> Tensor:
    """Return one image's [height, width, channel]."""
    return maps[0].permute(1, 2, 0).contiguous()


def of_rows(rows: Tensor) -> Tensor:
    return rows.permute(2, 0, 1)[None].contiguous(memory_format=torch.channels_last)


def computed_by(kernel: Kernel, model: nn.Module) -> nn.Module:
    """Return a copy whose convolutions, norms, activations, pools and linear layers are computed by the kernel."""
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        for kind, function in FUNCTIONS.items():
            if isinstance(module, kind):
                module.forward = lambda values, module=module, function=function: function(kernel, module, values)
    return model


def _convolved(kernel: Kernel, module: nn.Conv2d, maps: Tensor) -> Tensor:
    top, left = map(int, module.padding)
    ends = module.ends(maps) if isinstance(module, Conv2dSame) else ((top, top), (left, left))
    stride = int(module.stride[0]), int(module.stride[1])
    return kernel.convolve(maps, module.weight, module.bias, stride, ends, module.groups)


def _activated(kernel: Kernel, module: nn.Module, maps: Tensor) -> Tensor:
    """Return the activation of a batch norm that changes nothing."""
    identity = nn.BatchNorm2d(maps.shape[1], eps=0.0)
    return kernel.normalise(identity, maps, "relu6" if isinstance(module, nn.ReLU6) else "relu")


def _largest(kernel: Kernel, module: nn.MaxPool2d, maps: Tensor) -> Tensor:
    _, channels, height, width = maps.shape
    taps, stride, padding = (
        each for each in (module.kernel_size, module.stride, module.padding) if isinstance(each, int)
    )
    result = [(size + 2 * padding - taps) // stride + 1 for size in (height, width)]
    sizes = height, width, channels, taps, stride, padding
    return of_rows(kernel("max_pool", rows_of(maps), *sizes, shape=(*result, channels)))


def _averaged(kernel: Kernel, _module: nn.Module, maps: Tensor) -> Tensor:
    _, channels, height, width = maps.shape
    return of_rows(kernel("average_pool", rows_of(maps), height, width, channels, 1, 1, shape=(1, 1, channels)))


def _linear(kernel: Kernel, module: nn.Linear, features: Tensor) -> Tensor:
    outputs, inputs = module.weight.shape
    return kernel("linear", inputs, outputs, features, module.weight, module.bias, shape=(1, outputs))


FUNCTIONS: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Conv2d: _convolved,
    nn.BatchNorm2d: Kernel.normalise,
    nn.ReLU: _activated,
    nn.ReLU6: _activated,
    nn.MaxPool2d: _largest,
    nn.AdaptiveAvgPool2d: _averaged,
    nn.Linear: _linear,
}
