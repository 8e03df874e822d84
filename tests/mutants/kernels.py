"""Faulty kernels: small patches written by hand, each compiled in a copy of the project and run against its tests."""

from __future__ import annotations

import platform
import runpy
import subprocess
import sysconfig
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.mutants.survey import HERE, run_tasks
from tests.mutants.table import PACKAGE
from tests.mutants.touching import First
from tests.mutants.trials import PATIENCE, SLOWER, Copy, Outcome

# Every level of optimisation gives the same bits (tests/arithmetic/test_build.py), and this one compiles soonest.
LEVEL = "-O1"
SMALLEST = "avx2" if platform.machine().lower() in ("x86_64", "amd64") else "base"
LIMIT = 900.0  # seconds
FEATURES, ARITHMETIC = "tests/features", "tests/arithmetic"


@dataclass(frozen=True)
class Fault:
    """A faulty kernel: description, source file, the text to replace (found once), its replacement, and test files."""

    fault: str
    source: str
    before: str
    after: str
    tests: tuple[str, ...]


def _features(fault: str, before: str, after: str, *tests: str) -> Fault:
    names = tests or ("test_kernel",)
    return Fault(fault, "features/kernel.cpp", before, after, tuple(f"{FEATURES}/{name}.py" for name in names))


def _arithmetic(fault: str, source: str, before: str, after: str, *tests: str) -> Fault:
    return Fault(fault, f"arithmetic/{source}", before, after, tuple(f"{ARITHMETIC}/{name}.py" for name in tests))


FAULTS = (
    _features("zeros count as positive", "positive += bits > 0;", "positive += bits >= 0;"),
    _features(
        "-0.0 is no zero", "bits > 0;\n        zeros += magnitude == 0;", "bits > 0;\n        zeros += bits == 0;"
    ),
    _features("infinities are finite", "non_finite += magnitude >= INFINITE;", "non_finite += magnitude > INFINITE;"),
    _features("spatial means are not shifted", "(sum - double(shift) * positions) / positions", "sum / positions"),
    _features(
        "half of the lanes are summed",
        "for (int half = LANES / 2; half; half /= 2)",
        "for (int half = LANES / 4; half; half /= 2)",
    ),
    _features(
        "the values of a position that is left out stay in products",
        "row * WIDTH + channel % WIDTH] = 0;",
        "row * WIDTH + channel % WIDTH] += 0;",
    ),
    _features(
        "channels that fill no vector have no products",
        "ptrdiff_t count = (maps.channels + FLOATS - 1) / FLOATS",
        "ptrdiff_t count = maps.channels / FLOATS",
    ),
    _features(
        "a segment replaces those before it", "k < leading; k++) to[k] += own[k];", "k < leading; k++) to[k] = own[k];"
    ),
    _features("zeros are counted with the smallest values", "- (magnitude != 0);", "+ 1;"),
    _features(
        "a table of bins is left out", "k < SIZE; k++) counts[k % BINS]", "k < SIZE - BINS; k++) counts[k % BINS]"
    ),
    _features("what is not finite is a peak", "bool finite = (bits & INT32_MAX) < INFINITE;", "bool finite = true;"),
    _features(
        "scaled channels are scaled back on one side",
        "* (units.row[i] * units.column[k]);",
        "* units.row[i];",
        "test_range",
    ),
    _arithmetic(
        "the gradient is of the sum and not of the mean",
        "loss.cpp",
        "double(k == labels[image])) / double(whole));",
        "double(k == labels[image])));",
        "test_loss",
    ),
    _arithmetic(
        "exponentials of scores as they are",
        "loss.cpp",
        "exponential(scores[k] - most)",
        "exponential(scores[k])",
        "test_loss",
    ),
    _arithmetic(
        "a leaf is the loss of its last image", "loss.cpp", "sum += each[image];", "sum = each[image];", "test_loss"
    ),
    _arithmetic("no bias", "linear.cpp", "bias ? double(bias[output]) : 0.0", "bias ? 0.0 : 0.0", "test_linear"),
    _arithmetic(
        "products are rounded before they are added",
        "product.cpp",
        "arithmetic::fma(value, wide[v], chains[i][v])",
        "chains[i][v] + value * wide[v]",
        "test_product",
    ),
    _arithmetic("segments of 64 rows", "product.cpp", "ROWS = 32;", "ROWS = 64;", "test_product"),
    _arithmetic(
        "AdamW decays after its step",
        "steps.cpp",
        "fma(root(v), scales, least), p * keeps);",
        "fma(root(v), scales, least), p) * keeps;",
        "test_steps",
    ),
    _arithmetic(
        "RMSprop's epsilon is inside of the root",
        "steps.cpp",
        "g / (root(v) + least)",
        "g / root(v + least)",
        "test_steps",
    ),
    _arithmetic(
        "SGD keeps no momentum",
        "steps.cpp",
        "            store_lanes(buffers[tensor] + at, g, lanes);\n",
        "",
        "test_steps",
    ),
    _arithmetic(
        "windows of an average end too soon",
        "pooling.cpp",
        "((output + 1) * size + outputs - 1) / outputs",
        "(output + 1) * size / outputs",
        "test_functions",
        "test_modules",
    ),
    _arithmetic(
        "the last of equal maxima", "pooling.cpp", "(value > most)", "(value >= most)", "test_functions", "test_modules"
    ),
    _arithmetic(
        "running variances divide by n",
        "normalisation.cpp",
        "variance * (number / (number - 1))",
        "variance",
        "test_normalisation",
    ),
    _arithmetic(
        "the batch's mean has no gradient",
        "normalisation.cpp",
        "given ? 0 : float(offset)",
        "given ? 0 : 0",
        "test_normalisation",
    ),
    _arithmetic("segments of 64 steps", "convolution.cpp", "STEPS = 128;", "STEPS = 64;", "test_convolution"),
    _arithmetic("sections of 128 positions", "weights.cpp", "SECTION = 64;", "SECTION = 128;", "test_weight_gradient"),
)


class Build:
    """Compile the libraries of a copy as setup.py does; reuse the objects of unchanged sources."""

    def __init__(self, copy: Copy) -> None:
        self._root = copy.root
        for file in self._root.glob(f"{PACKAGE}/*/_*.so"):
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
        content = (self._root / source).read_bytes()
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
        with chdir(self._root), patch("setuptools.setup", lambda **_options: None):
            every = runpy.run_path("setup.py")["libraries"](sysconfig.get_platform())
        return [extension for extension in every if extension.name.endswith(f"_{SMALLEST}")]


def survey(pool: Executor, say: Callable[[str], None], faults: tuple[Fault, ...] = FAULTS) -> list[dict[str, Any]]:
    """Return the outcome of the tests for each fault; kernels without a fault must pass first."""
    rows = {}
    for fault, outcome in run_tasks(pool, _try, faults):
        say(f"{fault.source}: {fault.fault}: {outcome.ending}, {outcome.seconds:.1f} s")
        rows[fault] = {
            "source": fault.source,
            "fault": fault.fault,
            "tests": list(fault.tests),
            "ending": outcome.ending,
            "killed": outcome.killed,
        }
    return [rows[fault] for fault in faults]


def _try(fault: Fault) -> tuple[Fault, Outcome]:
    """Build and run the tests without the fault, once for each set of tests, then with it."""
    copy = HERE["copy"]
    if copy not in BUILDS:
        BUILDS[copy] = Build(copy)
    if fault.tests not in CONTROLS:
        CONTROLS[fault.tests] = _outcome(copy, fault.tests, LIMIT)
    control = CONTROLS[fault.tests]
    if control.ending != "passed":
        return fault, Outcome("no tests", 0, f"without the fault: {control.ending} {control.tail}")
    path = copy.root / PACKAGE / fault.source
    text = path.read_text(encoding="utf-8")
    if text.count(fault.before) != 1:
        return fault, Outcome("no tests", 0, f"{fault.before!r} stands there {text.count(fault.before)} times")
    try:
        path.write_text(text.replace(fault.before, fault.after), encoding="utf-8")
        return fault, _outcome(copy, fault.tests, SLOWER * control.seconds + PATIENCE)
    finally:
        path.write_text(text, encoding="utf-8")


def _outcome(copy: Copy, tests: tuple[str, ...], limit: float) -> Outcome:
    error = BUILDS[copy].build()
    # A fault that does not compile is one of ours.
    return Outcome("no tests", 0, error) if error else copy.run(tests, limit, First())


# Of this process.
BUILDS: dict[Copy, Build] = {}
CONTROLS: dict[tuple[str, ...], Outcome] = {}
