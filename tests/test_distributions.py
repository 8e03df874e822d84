"""The published wheel and source distribution install in an empty environment without a compiler."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = [pytest.mark.slow, pytest.mark.long(200)]


def run(*words: str | Path, **environment: str) -> str:
    """Run a command and return its output; if it fails, the assertion shows its errors."""
    command = [f"{word}" for word in words]
    around = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=around | environment, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the source distribution and the wheel built from it, by file suffix."""
    folder = tmp_path_factory.mktemp("distributions")
    # What isolation would install, an installation from the source did.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return {file.suffix: file for file in folder.iterdir()}


def fingerprint_of_an_installation(distribution: Path, folder: Path) -> dict[str, Any]:
    """Return the output of `in4310repro fingerprint` where only a distribution is installed.

    Everything that the package needs comes from the environment around it, and no compiler can be found.
    """
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    place = {"base": f"{folder}", "platbase": f"{folder}"}
    scripts = Path(sysconfig.get_path("scripts", "venv", place))
    libraries = Path(sysconfig.get_path("purelib", "venv", place))
    (libraries / "around.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    python = scripts / Path(sys.executable).name
    compilers = {"CC": "no-compiler", "CXX": "no-compiler"}
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", distribution, **compilers)
    # From elsewhere, so that no module is found in the current folder.
    where = run(python, "-c", f"import os; os.chdir({f'{folder}'!r}); import in4310repro; print(in4310repro.__file__)")
    assert Path(where.strip()).is_relative_to(libraries), where
    fingerprint: dict[str, Any] = json.loads(run(scripts / "in4310repro", "fingerprint", PATH=f"{scripts}"))
    return fingerprint


def test_the_wheel_is_named_by_its_platform_alone(distributions: dict[str, Path]) -> None:
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    assert distributions[".whl"].name.endswith(f"-py3-none-{platform}.whl")


def test_both_bring_every_file_of_the_package(distributions: dict[str, Path]) -> None:
    files = {file.relative_to(ROOT) for file in (ROOT / "src" / "in4310repro").rglob("*") if file.is_file()}
    names = {file.as_posix() for file in files if file.suffix not in (".pyc", ".so")}
    with zipfile.ZipFile(distributions[".whl"]) as wheel, tarfile.open(distributions[".gz"]) as source:
        assert names - {f"src/{name}" for name in wheel.namelist()} == set()
        assert names - {name.partition("/")[2] for name in source.getnames()} == set()


def test_the_wheel_brings_the_kernels(distributions: dict[str, Path], tmp_path: Path) -> None:
    installed = fingerprint_of_an_installation(distributions[".whl"], tmp_path / "wheel")
    assert installed["numerics"] == "portable"
    assert installed["feature_kernel"].startswith("compiled")


def test_the_source_installs_without_a_compiler(distributions: dict[str, Path], tmp_path: Path) -> None:
    installed = fingerprint_of_an_installation(distributions[".gz"], tmp_path / "source")
    assert installed["numerics"] == "native"
