"""Hashes of each compiled kernel's results, compared between instruction sets, including arm64's.

    python -m benchmarks.kernel_hashes

A control must differ on arm64: torch's own convolution, whose gradient of the weights depends on the processor. It
takes minutes and reads no images; `nox -s portability` runs the whole chain. Values are drawn by NumPy.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from benchmarks import arm64
from in4310repro import arithmetic
from in4310repro.arithmetic import functions, library, pooling, products
from in4310repro.features import kernel
from in4310repro.system.numerics import generator_for

# images, channels, height, width, outputs, kernel height, kernel width, stride, padding, groups
CONVOLUTIONS = (
    (5, 3, 40, 36, 32, 7, 7, 2, 3, 1),
    (9, 16, 11, 13, 33, 3, 3, 1, 1, 1),
    (9, 24, 9, 9, 40, 3, 3, 2, 1, 1),
    (17, 40, 6, 7, 20, 1, 1, 1, 0, 1),
    (3, 32, 8, 8, 64, 1, 1, 2, 0, 1),
    (10, 12, 9, 8, 12, 3, 3, 1, 1, 12),
    (2, 24, 10, 10, 36, 3, 5, 3, 2, 4),
    (1, 130, 1, 1, 70, 1, 1, 1, 0, 1),
    (1, 4, 40, 40, 6, 3, 3, 1, 1, 1),
)
FEATURE_MAPS = ((2, 64, 16, 16), (3, 7, 5, 9), (4, 33, 1, 1), (5, 130, 7, 7), (1, 1, 31, 31), (2, 3, 64, 64))
CONTROL = "control: torch's convolution"
NETWORKS = {"resnet18": 40, "resnet50": 32, "mobilenet_v2": 40}  # name -> side of its images, pixels


def compute_results(threads: int) -> Iterator[tuple[str, Iterable[Tensor]]]:
    """Yield the name of each kernel and its results."""
    torch.set_num_threads(threads)
    for case in CONVOLUTIONS:
        yield f"convolution {' '.join(map(str, case))}", _convolution(case)
    yield (
        CONTROL,
        _add_gradients(lambda maps, weight: torch.conv2d(maps, weight), _values(9, 24, 9, 9), _values(40, 24, 3, 3)),
    )
    rows, weight, bias = _values(19, 70, seed=2), _values(10, 70, seed=3), _values(10, seed=4)
    yield "linear", _add_gradients(products.linear, rows, weight, bias)
    maps, other, scale, bias = (_values(*shape) for shape in ((9, 21, 7, 8), (9, 21, 7, 8), (21,), (21,)))
    for form in ("none", "relu", "relu6", "sum"):
        yield f"batch norm, {form}", _batch_norm(form, maps, other, scale, bias)
    for size in ((1, 1), (7, 7), (3, 2)):
        yield (
            f"adaptive average pooling to {size}",
            _add_gradients(lambda maps, size=size: pooling.adaptive_average_pool(maps, size), maps),
        )
    scores, labels = _values(37, 6) * 4, torch.from_numpy(generator_for(5).integers(0, 6, 37))
    yield "cross-entropy", _add_gradients(lambda scores: arithmetic.cross_entropy(scores, labels), scores)
    yield "losses", [arithmetic.losses(scores, labels)]
    yield "softmax", [arithmetic.softmax(scores), arithmetic.softmax(_values(3, 1000) * 20)]
    yield "float64 product", [products.product(_values(150, 37).double()), products.product(_values(2, 5).double())]
    for name, make in (("SGD", arithmetic.SGD), ("AdamW", arithmetic.AdamW), ("RMSprop", arithmetic.RMSprop)):
        yield f"three steps of {name}", _steps(make)
    for name, side in NETWORKS.items():
        yield f"two training steps of {name}, then scores", _training(name, side)
    if statistics := kernel.active_kernel():
        for shape in FEATURE_MAPS:
            yield f"feature statistics {shape}", _statistics(statistics, _values(*shape).clamp(min=-0.3))


def _values(*shape: int, seed: int = 1) -> Tensor:
    values: Tensor = torch.from_numpy(generator_for(seed, *shape).standard_normal(shape, dtype="float32"))
    return values


def _add_gradients(function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    inputs = tuple(values.clone().requires_grad_() for values in inputs)
    result = function(*inputs)
    above = _values(*result.shape, seed=7)
    return [result, *torch.autograd.grad(result, inputs, above)]


def _convolution(case: tuple[int, ...]) -> list[Tensor]:
    images, channels, height, width, outputs, kernel_height, kernel_width, stride, padding, groups = case

    def function(maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return products.convolution(maps, weight, bias, (stride, stride), (padding, padding), groups)

    weight = _values(outputs, channels // groups, kernel_height, kernel_width)
    return _add_gradients(function, _values(images, channels, height, width), weight, _values(outputs))


def _batch_norm(form: str, maps: Tensor, other: Tensor, scale: Tensor, bias: Tensor) -> list[Tensor]:
    found: list[Tensor] = []
    for training in (True, False):
        mean, variance = _values(21, seed=8), _values(21, seed=9).abs() + 0.1

        def function(
            maps: Tensor,
            scale: Tensor,
            bias: Tensor,
            other: Tensor | None = None,
            *,
            mean: Tensor = mean,
            variance: Tensor = variance,
            training: bool = training,
        ) -> Tensor:
            activation = "relu" if form == "sum" else form
            norm = functions.Norm(mean, variance, scale, bias, training, activation=activation, other=other)
            return functions.batch_norm(maps, norm)

        inputs = (maps, scale, bias, other) if form == "sum" else (maps, scale, bias)
        found += [*_add_gradients(function, *inputs), mean, variance]
    return found


def _steps(make: Callable[..., torch.optim.Optimizer]) -> list[Tensor]:
    parameters = [torch.nn.Parameter(_values(*shape)) for shape in ((1000,), (8, 4, 3, 3), (7, 11))]
    optimizer = make(parameters)
    for step in range(3):
        for parameter in parameters:
            parameter.grad = _values(*parameter.shape, seed=step)
        optimizer.step()
    return [parameter.detach() for parameter in parameters]


def _training(name: str, side: int) -> list[Tensor]:
    import torchvision.models

    model = torchvision.models.get_model(name, num_classes=6, **({"dropout": 0.0} if "mobilenet" in name else {}))
    state = {key: _initial(key, value) for key, value in model.state_dict().items()}
    model.load_state_dict(state)
    model = arithmetic.portable(model).train()
    optimizer = arithmetic.AdamW(model.parameters())
    images, labels = _values(10, 3, side, side), torch.arange(10) % 6
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        loss = arithmetic.cross_entropy(model(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.detach())
    scores = arithmetic.softmax(model.eval()(images).detach())
    return [*losses, *model.state_dict().values(), scores]


def _initial(name: str, value: Tensor) -> Tensor:
    if value.ndim < 2:
        return torch.full_like(value, 1 if name.endswith(("weight", "running_var")) else 0)
    return _values(*value.shape) * math.sqrt(len(value) / value.numel())


def _statistics(statistics: kernel.Kernel, maps: Tensor) -> list[Tensor]:
    channels = maps.shape[1]
    leading = -(-channels // kernel.LEADING) * kernel.LEADING
    shift = torch.zeros(leading)
    shift[:channels] = _values(channels)
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        values = maps.contiguous(memory_format=layout)
        means, counts = statistics.spatial_means(values, shift[:channels].clone())
        found += [means, torch.tensor(counts)]
        for exact in (False, True):
            sums = torch.zeros(leading, dtype=torch.float64)
            products = torch.zeros(leading, leading, dtype=torch.float64)
            counts = statistics.position_sums(values, shift, sums, products, exact=exact)
            found += [sums[:channels], products[:channels, :channels].triu(), torch.tensor(counts)]
    return found


def compute_hashes(instruction_set: str, threads: int) -> dict[str, str]:
    """Return 8 hex digits of the hash of each kernel's results, with one instruction set."""
    libraries = {name: library.open_library(name) for name in library.SETS}
    library.SETS = (instruction_set,)  # type: ignore[assignment]
    kernel.active_kernel = lambda: kernel.load_kernel(instruction_set)  # type: ignore[assignment]
    if libraries[instruction_set] is None:
        sys.exit(f"no library of {instruction_set} was built; valid values are {library.built_instruction_sets()}")
    return {name: _hash(values) for name, values in compute_results(threads)}


def _hash(values: Iterable[Tensor]) -> str:
    digest = hashlib.sha256()
    for value in values:
        digest.update(value.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()[:8]


def _hash_here(instruction_set: str, threads: int) -> dict[str, str]:
    words = [sys.executable, "-m", "benchmarks.kernel_hashes", instruction_set, str(threads)]
    return _read(subprocess.run(words, env=os.environ, capture_output=True, text=True, check=False))


def _read(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    if done.returncode:
        sys.exit(f"kernels: ended with {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, str] = json.loads(done.stdout)
    return found


def main() -> None:
    """Print a table of hashes; exit with 1 if a kernel's hashes differ, or torch's own on arm64 do not."""
    if words := sys.argv[1:]:
        json.dump(compute_hashes(words[0], int(words[1])), sys.stdout)
        return
    columns = {
        f"{name}, {threads}": _hash_here(name, threads)
        for name in library.SETS
        for threads in (1, 3)
        if (built := library.open_library(name)) and built.usable
    }
    python = arm64.emulated_python()
    if isinstance(python, str):
        sys.stderr.write(f"arm64 is skipped: {python}\n")
    else:
        words = [*python.command(), "-m", "benchmarks.kernel_hashes", "base", "2"]
        done = subprocess.run(
            words, cwd=python.folder, env=python.environment, capture_output=True, text=True, check=False
        )
        columns["arm64, 2"] = _read(done)
    names = list(next(iter(columns.values())))
    width = max(map(len, names))
    lines = [" " * width + "".join(f"  {name:>10}" for name in columns)]
    lines += [f"{name:<{width}}" + "".join(f"  {found[name]:>10}" for found in columns.values()) for name in names]
    different = [name for name in names if len({found[name] for found in columns.values()}) > 1]
    wrong = [name for name in different if name != CONTROL]
    lines.append(f"different: {', '.join(wrong) or 'nothing'}")
    if not isinstance(python, str) and CONTROL not in different:
        wrong.append(CONTROL)
        lines.append(f"{CONTROL} does not differ; it must")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
