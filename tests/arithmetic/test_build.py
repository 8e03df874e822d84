"""Builds by GCC and clang at every optimisation level give the bits of the installed library."""

from __future__ import annotations

import importlib
import platform
import runpy
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from in4310repro.arithmetic import library
from in4310repro.arithmetic.self_test import self_test
from tests.arithmetic.formulas import compute_with

ROOT = Path(__file__).parents[2]
SMALLEST = "avx2" if platform.machine().lower() in ("x86_64", "amd64") else "base"

pytestmark = pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="an installed package has no setup.py")


@pytest.fixture
def extensions(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Any]]:
    """Return a function that lists the libraries that setup.py builds for a platform."""
    monkeypatch.chdir(ROOT)
    libraries: Callable[[str], list[Any]] = runpy.run_path("setup.py")["libraries"]
    return libraries


def build_library(compiler: str, level: str, extension: Any, folder: Path) -> Path:
    """Compile an extension with setup.py's flags, except for the compiler and the optimisation level."""
    flags = [level if flag == "-O3" else flag for flag in extension.extra_compile_args]
    assert level in flags
    macros = [f"-D{name}={value}" for name, value in extension.define_macros]
    file = folder / "built.so"
    words = [compiler, "-shared", "-fPIC", *flags, *macros, *extension.sources, *extension.extra_link_args]
    subprocess.run([*words, "-o", str(file)], cwd=ROOT, check=True, capture_output=True)
    return file


# GCC's -O3 is the installed one, most often; clang's -O1 is built in the next test.
@pytest.mark.parametrize(
    ("compiler", "level"),
    [
        pytest.param("g++", "-O1", marks=pytest.mark.slow),
        pytest.param("clang++", "-O3", marks=pytest.mark.slow),
        *(pytest.param("g++", level, marks=pytest.mark.soak) for level in ("-O2", "-O3")),
        *(pytest.param("clang++", level, marks=pytest.mark.soak) for level in ("-O1", "-O2")),
    ],
)
def test_every_compiler_and_level_gives_the_same_bits(
    compiler: str, level: str, extensions: Callable[[str], list[Any]], tmp_path: Path
) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler} here")
    [extension] = [
        each for each in extensions(sysconfig.get_platform()) if each.name.endswith(f"_arithmetic_{SMALLEST}")
    ]
    reference = self_test()
    kernels = library.Library(build_library(compiler, level, extension, tmp_path), SMALLEST)
    for threads in (1, 3):
        with compute_with(kernels, threads):
            assert self_test() == reference


@pytest.mark.slow
def test_clang_builds_where_the_compiler_of_the_platform_is_microsofts(
    extensions: Callable[[str], list[Any]], tmp_path: Path
) -> None:
    if not shutil.which("clang++"):
        pytest.skip("no clang++ here")
    [extension] = [
        each for each in extensions(sysconfig.get_platform()) if each.name.endswith(f"_arithmetic_{SMALLEST}")
    ]
    # Which compiles soonest; every level gives the same bits.
    extension.extra_compile_args = ["-O1" if flag == "-O3" else flag for flag in extension.extra_compile_args]
    # Its types are in no version that every Python here comes with.
    distribution: Any = importlib.import_module("setuptools").Distribution

    class WithoutPosition(runpy.run_path("setup.py")["PlainLibraries"]):  # type: ignore[misc]
        """Windows has no -fPIC, and here there is no library without it."""

        def spawn(self, words: list[str]) -> None:
            subprocess.run([*words, "-fPIC"], check=True)

    command = WithoutPosition(distribution())
    command.ensure_finalized()
    command.compiler, command.build_lib, command.inplace = SimpleNamespace(compiler_type="msvc"), str(tmp_path), False
    command.build_extension(extension)
    reference = self_test()
    with compute_with(library.Library(tmp_path.joinpath(*extension.name.split(".")).with_suffix(".so"), SMALLEST), 2):
        assert self_test() == reference


@pytest.mark.parametrize(("said", "workers"), [(None, True), (3, 3)])
def test_libraries_are_named_and_compiled_at_once_with_object_files_of_their_own(
    said: int | None,
    workers: int,
    extensions: Callable[[str], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sources = [source for each in extensions("linux-x86_64") for source in each.sources]
    assert len(set(sources)) < len(sources)
    module = runpy.run_path("setup.py")
    folders: list[str] = []
    monkeypatch.setattr(module["build_ext"], "build_extension", lambda self, _: folders.append(self.build_temp))
    command = module["PlainLibraries"](importlib.import_module("setuptools").Distribution())
    command.parallel = said
    command.ensure_finalized()
    assert command.parallel == workers
    command.compiler = SimpleNamespace(compiler_type="unix")
    for each in command.distribution.ext_modules:
        command.build_extension(each)
        assert capsys.readouterr().err == f"compiling {each.name} from {len(each.sources)} source files\n"
    assert len(set(folders)) == len(folders) == len(command.distribution.ext_modules) > 1


def test_contraction_is_off_behind_all_other_flags(extensions: Callable[[str], list[Any]]) -> None:
    arithmetic = [each for each in extensions("linux-x86_64") if ".arithmetic." in each.name]
    assert [each.name.rpartition("_")[2] for each in arithmetic] == ["avx2", "avx512"]
    assert all(each.extra_compile_args[-2:] == ["-fno-fast-math", "-ffp-contract=off"] for each in arithmetic)


@pytest.mark.parametrize("name", ["linux-aarch64", "macosx-11.0-arm64", "win-arm64"])
def test_other_platforms_get_their_base_set_and_no_flag_of_x86(
    name: str, extensions: Callable[[str], list[Any]]
) -> None:
    found = extensions(name)
    assert {tuple(each.name.split(".")) for each in found} == {
        ("in4310repro", "arithmetic", "_arithmetic_base"),
        ("in4310repro", "features", "_kernel_base"),
        ("in4310repro", "trace", "_trace_base"),
    }
    assert not any("x86" in flag or "avx" in flag for each in found for flag in each.extra_compile_args)


def test_the_files_of_libraries_name_no_version_of_python() -> None:
    files = list(Path(library.__file__).parent.glob("_arithmetic_*"))
    assert {file.name for file in files} == {f"_arithmetic_{name}.so" for name in library.built_instruction_sets()}


def test_a_library_from_other_sources_is_refused() -> None:
    file = Path(library.__file__).with_name(f"_arithmetic_{SMALLEST}.so")
    with pytest.raises(ValueError, match=r"was compiled from other sources: install again, pip install -e \."):
        library.Library(file, SMALLEST, source=file.with_name("linear.cpp"))


def test_a_library_that_does_not_load_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    damaged = tmp_path / f"_arithmetic_{SMALLEST}.so"
    damaged.write_bytes(b"\x7fELF and no more")
    assert library.open_if_built(library.Library, damaged, SMALLEST) is None
