"""Faulty kernels: small patches written by hand, each compiled in a copy of the project and tested."""

from __future__ import annotations

import platform
import runpy
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mutants.forks import Ending
from tests.mutants.fresh import Copy, import_libraries
from tests.mutants.record import Row
from tests.mutants.swap import PASSED
from tests.mutants.tasks import PACKAGE, ROOT, limit, read_commit

PATH = "src/in4310repro"
# Every level of optimisation gives the same bits (tests/arithmetic/test_build.py), and this one compiles soonest.
LEVEL = "-O1"
SMALLEST = "avx2" if platform.machine().lower() in ("x86_64", "amd64") else "base"
LIMIT = 900.0  # seconds


@dataclass(frozen=True)
class Fault:
    """A patch of a kernel: its description, file, old text (which occurs once), new text and test files."""

    fault: str
    source: str
    before: str
    after: str
    tests: tuple[str, ...]


# Source and its test files: description, text to replace, and its replacement.
_FAULTS = {
    ("features/kernel.cpp", "kernel"): (
        ("zeros count as positive", "positive += bits > 0;", "positive += bits >= 0;"),
        ("-0.0 is no zero", "bits > 0;\n        zeros += magnitude == 0;", "bits > 0;\n        zeros += bits == 0;"),
        ("infinities are finite", "non_finite += magnitude >= INFINITE;", "non_finite += magnitude > INFINITE;"),
        ("spatial means are not shifted", "(sum - double(shift) * positions) / positions", "sum / positions"),
        (
            "half of the lanes are summed",
            "for (int half = LANES / 2; half; half /= 2)",
            "for (int half = LANES / 4; half; half /= 2)",
        ),
        (
            "the values of a position that is left out stay in products",
            "row * WIDTH + channel % WIDTH] = 0;",
            "row * WIDTH + channel % WIDTH] += 0;",
        ),
        (
            "channels that fill no vector have no products",
            "ptrdiff_t count = (maps.channels + FLOATS - 1) / FLOATS",
            "ptrdiff_t count = maps.channels / FLOATS",
        ),
        (
            "a segment replaces those before it",
            "k < leading; k++) to[k] += own[k];",
            "k < leading; k++) to[k] = own[k];",
        ),
        ("zeros are counted with the smallest values", "- (magnitude != 0);", "+ 1;"),
        ("a table of bins is left out", "k < SIZE; k++) counts[k % BINS]", "k < SIZE - BINS; k++) counts[k % BINS]"),
        ("what is not finite is a peak", "bool finite = (bits & INT32_MAX) < INFINITE;", "bool finite = true;"),
    ),
    ("features/kernel.cpp", "range"): (
        ("scaled channels are scaled back on one side", "* (units.row[i] * units.column[k]);", "* units.row[i];"),
    ),
    ("arithmetic/loss.cpp", "loss"): (
        (
            "the gradient is of the sum and not of the mean",
            "double(k == labels[image])) / double(whole));",
            "double(k == labels[image])));",
        ),
        ("exponentials of scores as they are", "exponential(scores[k] - most)", "exponential(scores[k])"),
        ("a leaf is the loss of its last image", "sum += each[image];", "sum = each[image];"),
    ),
    ("arithmetic/linear.cpp", "linear"): (("no bias", "bias ? double(bias[output]) : 0.0", "bias ? 0.0 : 0.0"),),
    ("arithmetic/product.cpp", "product"): (
        (
            "products are rounded before they are added",
            "arithmetic::fma(value, wide[v], chains[i][v])",
            "chains[i][v] + value * wide[v]",
        ),
        ("segments of 64 rows", "ROWS = 32;", "ROWS = 64;"),
    ),
    ("arithmetic/steps.cpp", "steps"): (
        (
            "AdamW decays after its step",
            "fma(root(v), scales, least), p * keeps);",
            "fma(root(v), scales, least), p) * keeps;",
        ),
        ("RMSprop's epsilon is inside of the root", "g / (root(v) + least)", "g / root(v + least)"),
        ("SGD keeps no momentum", "            store_lanes(buffers[tensor] + at, g, lanes);\n", ""),
    ),
    ("arithmetic/pooling.cpp", "functions modules"): (
        (
            "windows of an average end too soon",
            "((output + 1) * size + outputs - 1) / outputs",
            "(output + 1) * size / outputs",
        ),
        ("the last of equal maxima", "(value > most)", "(value >= most)"),
    ),
    ("arithmetic/dropout.cpp", "dropout"): (
        ("nine rounds", "round < 10;", "round < 9;"),
        ("all images have one mask", "uint32_t(image), uint32_t(image >> 32)}", "0, 0}"),
        ("a thread begins with the first elements", "uint64_t(begin + at) / 4", "uint64_t(at) / 4"),
    ),
    ("arithmetic/batch_norm.hpp", "normalisation"): (
        ("running variances divide by n", "variance * (number / (number - 1))", "variance"),
        ("the batch's mean has no gradient", "given ? 0 : float(offset)", "given ? 0 : 0"),
    ),
    ("arithmetic/convolution.cpp", "convolution"): (
        (
            "rows of a kernel in the order of the maps",
            "k_y + (high - 1 - a) * s.stride_y",
            "k_y + a * s.stride_y",
        ),
    ),
    ("arithmetic/residual.cpp", "residuals"): (
        (
            "expanded rows stay where the last strip had them",
            "expanded + (top - begin) * line, size_t(",
            "expanded, size_t(",
        ),
    ),
    ("arithmetic/training.cpp", "residuals"): (
        ("the sum passes no gradient", "return sum && maps_gradient ?", "return false ?"),
        ("the last layer is activated", "before, PLAIN, given", "before, RELU6, given"),
        ("batches are not counted", "++*trained->batches;", ""),
    ),
    ("arithmetic/weights.cpp", "weight_gradient"): (("sections of 128 positions", "SECTION = 64;", "SECTION = 128;"),),
}
FAULTS = tuple(
    Fault(
        fault,
        source,
        before,
        after,
        tuple(f"tests/{source.partition('/')[0]}/test_{name}.py" for name in tests.split()),
    )
    for (source, tests), faults in _FAULTS.items()
    for fault, before, after in faults
)


class Build:
    """Compiler of the kernel libraries in a copy of the project, which reuses objects of unchanged sources."""

    def __init__(self, copy: Copy) -> None:
        self._root = copy.root
        for file in self._root.glob(f"{PATH}/*/_*.so"):
            # Another one would be taken before this one, or refused as built from other sources.
            file.unlink()
        self._objects: dict[tuple[str, bytes, str], Path] = {}
        self._folder = self._root.parent / "objects"
        self._folder.mkdir(exist_ok=True)

    def build(self) -> str:
        """Compile the changed sources; return the compiler's error, or an empty text."""
        for extension in self._extensions():
            objects = []
            for source in extension.sources:
                path, error = self._object(source, extension)
                if error:
                    return error
                objects.append(str(path))
            target = f"src/{extension.name.replace('.', '/')}.so"
            if error := self._compile(["-shared", *objects, *extension.extra_link_args, "-o", target]):
                return error
        return ""

    def _object(self, source: str, extension: Any) -> tuple[Path, str]:
        macros = [f"-D{name}={value}" for name, value in extension.define_macros]
        file = self._root / source
        content = b"".join(each.read_bytes() for each in (file, *sorted(file.parent.glob("*.hpp"))))
        # Only where the hash of all sources stands does an object depend on the others.
        key = (source, content, macros[0] if b"SOURCE" in content else "")
        if key not in self._objects:
            path = self._folder / f"{len(self._objects)}.o"
            flags = [LEVEL if flag == "-O3" else flag for flag in extension.extra_compile_args]
            if error := self._compile(["-c", "-fPIC", *flags, *macros, source, "-o", str(path)]):
                return path, error
            self._objects[key] = path
        return self._objects[key], ""

    def _compile(self, words: list[str]) -> str:
        done = subprocess.run(["g++", *words], cwd=self._root, capture_output=True, text=True, check=False)
        return done.stderr[-2000:] if done.returncode else ""

    def _extensions(self) -> list[Any]:
        with chdir(self._root):
            every = runpy.run_path("setup.py")["libraries"](sysconfig.get_platform())
        return [extension for extension in every if extension.name.endswith(f"_{SMALLEST}")]


def survey(say: Callable[[str], None], faults: Sequence[Fault] = FAULTS) -> list[Row]:
    """Return a row for each source: how many of its faults the tests notice that pass without a fault."""
    commit = read_commit()[:12]
    noticed: dict[str, list[bool]] = {}
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        import_libraries()
        copy = Copy(ROOT, Path(folder))
        build = Build(copy)
        controls: dict[tuple[str, ...], Ending] = {}
        for fault in faults:
            if fault.tests not in controls:
                copy.change({})
                controls[fault.tests] = _try(copy, build, fault.tests, LIMIT)
            ending = control = controls[fault.tests]
            if control.text == PASSED:
                copy.change({f"{PATH}/{fault.source}": _fault(fault)})
                ending = _try(copy, build, fault.tests, limit(control.seconds))
                say(f"{fault.source}: {fault.fault}: {ending.text} in {ending.step}")
            else:
                say(f"{fault.source}: without a fault: {control.text} in {control.step}\n{control.printed}")
            noticed.setdefault(fault.source, []).append(control.text == PASSED != ending.text)
            seconds[fault.source] = seconds.get(fault.source, 0.0) + ending.seconds
    return [
        Row(source, len(each), len(each), sum(each), sum(each), 0, round(seconds[source], 1), commit)
        for source, each in noticed.items()
    ]


def _fault(fault: Fault) -> str:
    text = (PACKAGE / fault.source).read_text(encoding="utf-8")
    if text.count(fault.before) != 1:
        raise ValueError(
            f"{fault.source}: {fault.before!r} must stand there once, not {text.count(fault.before)} times"
        )
    return text.replace(fault.before, fault.after)


def _try(copy: Copy, build: Build, tests: tuple[str, ...], seconds: float) -> Ending:
    # A fault that does not compile is one of ours.
    if error := build.build():
        raise ValueError(error)
    return copy.run(tests, seconds)
