"""A Python for arm64 with torch, run by an emulator to compute on another type of processor.

    python -m benchmarks.arm64                  prepares it
    python -m benchmarks.arm64 -m pytest ...    prepares it and runs it with these arguments

It is outside the project, in `arm64` of the package's cache folder or in the folder IN4310REPRO_ARM64: a root with
Debian's Python (packages of arm64 unpacked; nothing is installed on the machine and no rights are needed), a folder
with wheels from PyPI, and a copy of the project with its kernels built for arm64. Existing parts are not fetched again;
an interrupted preparation continues. apt and pip check the signatures and hashes of their downloads.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from in4310repro.data.cache import cache_folder

# qemu's names of Arm's first server core, with NEON only, and of one with vectors of 256 bits (SVE).
PROCESSORS = ("neoverse-n1", "neoverse-v1")
DEBIAN_PACKAGES = ("python3", "libstdc++6", "libgomp1")
# The last arm64 wheels without CUDA.
TORCH = ("torch==2.9.1", "torchvision==0.24.1")
# Imports of the package and of torch; wheels of the versions that this Python has.
SHARED = (
    *("annotated-types", "platformdirs", "pydantic", "pydantic-core", "typing-inspection"),
    *("cloudpickle", "filelock", "fsspec", "jaxtyping", "jinja2", "joblib", "markdown-it-py", "markupsafe", "mdurl"),
    *("mpmath", "narwhals", "networkx", "numpy", "pillow", "pygments", "rfc8785", "rich", "safetensors"),
    *("scikit-learn", "scipy", "sympy", "threadpoolctl", "typing-extensions"),
    *("wadler-lindig",),
)
WHEEL_PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
TOOLS = {
    "qemu-aarch64": "qemu-user",
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
    "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu",
}
PROJECT = Path(__file__).parents[1]


class UnavailableError(Exception):
    """Error raised if the arm64 Python cannot be prepared; it names what is missing and how to get it."""


@dataclass(frozen=True)
class EmulatedPython:
    """Parameters to run the arm64 Python: `[*command(processor), ...]` in `folder` with `environment`."""

    root: Path
    folder: Path  # a copy of the project, its kernels built for arm64
    environment: dict[str, str]

    def command(self, processor: str = PROCESSORS[0]) -> list[str]:
        """Return the command that starts the emulated Python, to be followed by Python's arguments."""
        return ["qemu-aarch64", "-cpu", processor, "-L", str(self.root), str(self.root / "usr/bin/python3")]


def emulated_python() -> EmulatedPython | str:
    """Return the arm64 Python, preparing it if needed, or the reason why it is unavailable."""
    try:
        return prepare(cache_path())
    except UnavailableError as error:
        return str(error)


def cache_path() -> Path:
    """Return the folder of the arm64 Python."""
    named = os.environ.get("IN4310REPRO_ARM64")
    return (Path(named) if named else cache_folder() / "arm64").resolve()


def prepare(folder: Path) -> EmulatedPython:
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if missing:
        raise UnavailableError(
            f"{', '.join(missing)} not installed; on Debian and Ubuntu: apt-get install {' '.join(missing)}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    root = folder / "root"
    if not root.exists():
        _unpack_debian(folder, root)
    site = folder / "site"
    version = next((root / "usr/bin").glob("python3.*")).name.removeprefix("python")
    wanted = "\n".join([version, *_requirements()])
    if not (site / ".complete").is_file() or (site / ".complete").read_text() != wanted:
        _unpack_wheels(folder, site, version)
        (site / ".complete").write_text(wanted)
    tree = _build_copy(folder / "project")
    # A core type set for OpenBLAS on this processor does not exist on the emulated one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, (tree / "src", tree, site)))
    return EmulatedPython(root, tree, environment)


def _unpack_debian(folder: Path, root: Path) -> None:
    """Download and unpack Debian's packages for arm64, with a state of apt separate from this machine's."""
    if shutil.which("apt-get") is None:
        raise UnavailableError(
            "apt-get is missing: the arm64 Python is made of Debian's packages; use Debian or Ubuntu"
        )
    state = folder / "apt"
    for part in ("lists/partial", "archives/partial"):
        (state / part).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    settings = {
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::Cache": state,
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        # By default a list that cannot be fetched is only a warning.
        "APT::Update::Error-Mode": "any",
    }
    apt = ["apt-get", "-q", "-y", *(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))]
    hint = "Debian's packages of arm64 are unavailable; apt's sources must name a server of Debian's, or Ubuntu's ports"
    _run([*apt, "update"], hint)
    _run([*apt, "--download-only", "install", *DEBIAN_PACKAGES], hint)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        new = Path(temporary) / "root"
        for name in ("bin", "lib"):
            (new / "usr" / name).mkdir(parents=True)
            (new / name).symlink_to(f"usr/{name}")
        for package in sorted((state / "archives").glob("*.deb")):
            _run(["dpkg-deb", "-x", str(package), str(new)], f"{package} is damaged; remove it and try again")
        new.rename(root)
    shutil.rmtree(state)


def _requirements() -> list[str]:
    try:
        return [*TORCH, *(f"{name}=={importlib.metadata.version(name)}" for name in SHARED)]
    except importlib.metadata.PackageNotFoundError as error:
        raise UnavailableError(f"{error.name} is not installed; pip install -e '.[dev]'") from None


def _unpack_wheels(folder: Path, site: Path, version: str) -> None:
    """Download the wheels for arm64 and this version of Python and unpack them."""
    platforms = [word for name in WHEEL_PLATFORMS for word in ("--platform", f"{name}_aarch64")]
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        new = Path(temporary) / "site"
        target = ["--target", str(new), "--python-version", version, "--only-binary=:all:", *platforms]
        # Without dependencies, since pip would choose those of this processor.
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile", *target]
        _run([*install, *_requirements()], "wheels of arm64 are unavailable; pip needs PyPI or a mirror of it")
        shutil.rmtree(site, ignore_errors=True)
        new.rename(site)


def _build_copy(tree: Path) -> Path:
    """Copy the project, build its kernels for arm64 in the copy, and return the copy's folder."""
    for name in ("src", "tests", "benchmarks"):
        ignored = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info")
        shutil.rmtree(tree / name, ignore_errors=True)
        shutil.copytree(PROJECT / name, tree / name, ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(PROJECT / name, tree / name)
    compilers = {"CC": "aarch64-linux-gnu-gcc", "CXX": "aarch64-linux-gnu-g++"}
    words = ["egg_info", "build_ext", "--inplace", "--plat-name", "linux-aarch64"]
    _run([sys.executable, "setup.py", "-q", *words], "the kernels cannot be built for arm64", tree, compilers)
    # A kernel that cannot be built does not fail the build, so check that its file exists.
    built = {path.parent.name for path in tree.glob("src/**/*.so")}
    if missing := {path.parent.name for path in tree.glob("src/**/*.cpp")} - built:
        raise UnavailableError(
            f"no kernel of {', '.join(sorted(missing))} was built; see: (cd {tree}; {_format_command(words)})"
        )
    return tree


def _format_command(words: Sequence[str]) -> str:
    return f"CC=aarch64-linux-gnu-gcc CXX=aarch64-linux-gnu-g++ {sys.executable} setup.py {' '.join(words)}"


def _run(command: list[str], hint: str, folder: Path | None = None, environment: dict[str, str] | None = None) -> None:
    variables = os.environ | (environment or {})
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise UnavailableError(f"{hint} ({command[0]}: {''.join(last)})")


def _size(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file() or file.is_symlink())


def main() -> None:
    """Prepare the arm64 Python and print its folder; run it if there are arguments."""
    start = time.perf_counter()
    python = emulated_python()
    if isinstance(python, str):
        sys.exit(f"arm64: {python}")
    folder = cache_path()
    sys.stderr.write(f"arm64: {folder}, ready after {time.perf_counter() - start:.0f} s\n")
    if words := sys.argv[1:]:
        sys.exit(subprocess.run([*python.command(), *words], cwd=python.folder, env=python.environment).returncode)
    for part in ("root", "site", "project"):
        sys.stderr.write(f"{part}: {_size(folder / part) / 1e6:.0f} MB\n")
    code = "import platform, torch; print(platform.machine(), torch.__version__)"
    subprocess.run([*python.command(), "-c", code], env=python.environment, check=True)


if __name__ == "__main__":
    main()
