"""Kernels built with sanitizers, and the tests of kernels, checkpoints and replay that run on them.

    nox -s evidence -- sanitizers
    nox -s evidence -- sanitizers address                                # or `threads` alone
    nox -s evidence -- sanitizers address tests/arithmetic/test_steps.py # some tests alone

AddressSanitizer and UndefinedBehaviorSanitizer watch the first run, ThreadSanitizer the second, if it can start. A
report of either ends a test process and fails the session. Before the tests, every fault of a faulty twin of a kernel
must be reported, to show that the session can see faults.

Results of kernels are in memory of the C library, which has red zones around it, not in `arithmetic.buffers`.
ThreadSanitizer does not know OpenMP's threads, so that it only watches the kernels of `arithmetic`.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from in4310repro import arithmetic

ROOT = Path(__file__).parents[1]
TESTS = {
    "address": (
        "tests/arithmetic",
        *(f"tests/features/test_{name}.py" for name in ("kernel", "blocks", "histogram", "top_images")),
        "tests/trace/test_hashing.py",
        *("tests/test_checkpoint_files.py", "tests/training/test_checkpoints.py", "tests/verification/replay"),
        *("tests/bad_input/test_table.py", "--deselect=tests/bad_input/test_table.py::test_the_page_shows_the_table"),
    ),
    "threads": (
        *(f"tests/arithmetic/test_{name}.py" for name in ("threads", "self_test", "steps", "product", "loss")),
        "tests/arithmetic/test_functions.py",
    ),
}
# Only rows of the table of bad input whose files reach kernels; no tests that build, fork, or ask for block addresses.
CHOSEN = "not test_bad_input or checkpoints or run-folders"
IGNORED = tuple(f"--ignore=tests/arithmetic/test_{name}.py" for name in ("build", "buffers", "memory", "fork"))
# Four functions: an access past the end, an integer overflow, a data race, and none of these.
TWIN = """
#include "threads.hpp"
#include "vectors.hpp"
using namespace arithmetic;
EXPORTED int address(ptrdiff_t threads, ptrdiff_t number, float *values) {
    parallel(int(threads), number + 1, [&](ptrdiff_t item, int) { values[item] += 1; });
    return DONE;
}
EXPORTED int undefined(ptrdiff_t, ptrdiff_t number, float *values) {
    values[0] = float(number * (PTRDIFF_MAX / 2));
    return DONE;
}
EXPORTED int threads(ptrdiff_t threads, ptrdiff_t number, float *values) {
    parallel(int(threads), 10000 * number, [&](ptrdiff_t, int) { values[0] += 1; });
    return DONE;
}
EXPORTED int honest(ptrdiff_t threads, ptrdiff_t number, float *values) {
    parallel(int(threads), number, [&](ptrdiff_t item, int) { values[item] += 1; });
    return DONE;
}
"""
CALL = """
import ctypes, sys
library, values = ctypes.CDLL(sys.argv[1]), (ctypes.c_float * 1000)()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
values = ctypes.c_void_p(libc.malloc(4000))
getattr(library, sys.argv[2])(*map(ctypes.c_ssize_t, (4, 1000)), values)
"""


@dataclass(frozen=True)
class Watch:
    """A sanitizer: its compiler flags, its library, and the faulty functions that it must report."""

    flags: tuple[str, ...]
    library: str
    reported: tuple[str, ...]

    def environment(self, reports: Path, package: Path) -> dict[str, str]:
        """Return the environment variables for a process with instrumented kernels, which writes reports to files."""
        # The C++ library is preloaded too, so that its exceptions are intercepted from the start.
        preloaded = [find_library(name) for name in (self.library, "libstdc++.so.6")]
        ends = f"halt_on_error=1:log_path={reports}/report"
        return os.environ | {
            "LD_PRELOAD": " ".join(preloaded),
            # Python frees some memory only at exit, and a test allocates more memory than exists on purpose.
            "ASAN_OPTIONS": f"detect_leaks=0:allocator_may_return_null=1:{ends}",
            "UBSAN_OPTIONS": f"print_stacktrace=1:{ends}",
            # Python, torch and OpenMP are not instrumented; ThreadSanitizer cannot see how they synchronise.
            "TSAN_OPTIONS": f"ignore_noninstrumented_modules=1:exitcode=66:die_after_fork=0:{ends}",
            "PYTHONPATH": os.pathsep.join([str(package), str(ROOT)]),
        }


WATCHES = {
    "address": Watch(
        ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"), "libasan.so", ("address", "undefined")
    ),
    "threads": Watch(("-fsanitize=thread",), "libtsan.so", ("threads",)),
}


def find_library(name: str) -> str:
    """Return the path of a library of the compiler."""
    done = subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def _use_c_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn off the package's memory reuse; this module is a pytest plugin for `-p`."""
    from in4310repro.arithmetic import buffers

    monkeypatch.setattr(buffers, "LEAST", 1 << 62)


def list_extensions() -> list[Any]:
    """Return the extensions that setup.py builds for the instruction set in use."""
    with contextlib.chdir(ROOT):
        found = runpy.run_path("setup.py")["libraries"](sysconfig.get_platform())
    # The kernel of traces has none for AVX-512.
    used = {arithmetic.instruction_set(), "avx2" if arithmetic.instruction_set() == "avx512" else None}
    return [
        each
        for each in found
        if each.name.rpartition("_")[2] in (used if ".trace." in each.name else {arithmetic.instruction_set()})
    ]


def compile_to(file: Path, watch: Watch, flags: Sequence[str], sources: Sequence[str], links: Sequence[str]) -> None:
    """Compile an instrumented library at -O1, which keeps every memory access of the source."""
    quick = [flag for flag in flags if flag != "-O3"]
    words = ["g++", "-shared", "-fPIC", "-g", "-O1", "-fno-omit-frame-pointer", *quick, *watch.flags, *sources, *links]
    subprocess.run([*words, "-o", str(file)], cwd=ROOT, check=True)


def build(watch: Watch, folder: Path) -> Path:
    """Copy the package, build its kernels with the sanitizer, and return the folder to import it from."""
    package = folder / "src"
    shutil.copytree(ROOT / "src", package, ignore=shutil.ignore_patterns("*.so", "*.egg-info", "__pycache__"))

    def one(extension: Any) -> None:
        macros = [f"-D{name}={value}" for name, value in extension.define_macros]
        file = package.joinpath(*extension.name.split(".")).with_suffix(".so")
        flags = [*extension.extra_compile_args, *macros]
        compile_to(file, watch, flags, extension.sources, extension.extra_link_args)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, list_extensions()))
    return package


def check_control(watch: Watch, folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each function of the twin that is reported although correct, or missed although faulty."""
    source, twin = folder / "twin.cpp", folder / "twin.so"
    source.write_text(TWIN)
    [kernels] = [each for each in list_extensions() if ".arithmetic." in each.name]
    include = f"-I{ROOT / 'src/in4310repro/arithmetic'}"
    compile_to(twin, watch, [*kernels.extra_compile_args, include], [str(source)], kernels.extra_link_args)
    for function in ("honest", *watch.reported):
        words = [sys.executable, "-c", CALL, str(twin), function]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        reports = take_reports(folder)
        if (function == "honest") == bool(done.returncode or reports):
            ended = f"ended with {done.returncode} and {len(reports)} reports"
            yield f"the twin's function {function!r} {ended}: {done.stderr}{''.join(reports)}"


def take_reports(folder: Path) -> list[str]:
    """Return the sanitizer's reports so far, and delete their files."""
    files = sorted((folder / "reports").iterdir())
    texts = [file.read_text(errors="replace") for file in files]
    for file in files:
        file.unlink()
    return texts


def run_tests(kind: str, folder: Path, options: Sequence[str]) -> Iterator[str]:
    """Run tests under the sanitizer `kind`; yield faults of its control, a failure of the tests, and all reports."""
    watch = WATCHES[kind]
    (folder / "reports").mkdir()
    package = build(watch, folder)
    environment = watch.environment(folder / "reports", package)
    if wrong := list(check_control(watch, folder, environment)):
        if kind == "threads" and "'honest'" in wrong[0]:
            sys.stdout.write(f"ThreadSanitizer does not start here: {wrong[0]}\n")
            return
        yield from wrong
        return
    sys.stdout.write(f"{kind}: the faulty functions ({', '.join(watch.reported)}) are reported, the right one is not\n")
    sys.stdout.flush()
    words = [sys.executable, "-m", "pytest", "-q", "-p", "benchmarks.sanitizers", "-p", "no:cacheprovider"]
    named = any((ROOT / word.partition("::")[0]).exists() for word in options if not word.startswith("-"))
    chosen = () if named else TESTS[kind]
    done = subprocess.run([*words, "-k", CHOSEN, *IGNORED, *chosen, *options], cwd=ROOT, env=environment, check=False)
    if done.returncode:
        yield f"tests under the {kind} sanitizers ended with {done.returncode}"
    yield from take_reports(folder)


def main() -> None:
    """Run tests under the named sanitizers (default: both); exit with 1 if a test fails or a sanitizer reports."""
    kinds = [word for word in sys.argv[1:] if word in WATCHES] or list(WATCHES)
    options = [word for word in sys.argv[1:] if word not in WATCHES]
    found = []
    for kind in kinds:
        with tempfile.TemporaryDirectory(prefix="sanitizers-") as place:
            for fault in run_tests(kind, Path(place), options):
                sys.stdout.write(f"{fault}\n")
                found.append(fault)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
