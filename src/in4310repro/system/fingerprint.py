"""Fingerprint of a process: versions, hardware and settings that could explain different results."""

import contextlib
import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from in4310repro.system.numerics import Numerics
from in4310repro.system.schema import PositiveCount, Sha256, Text


class GitState(TypedDict):
    """Commit of the source code, and whether files are changed; None if the source is not in its own git checkout."""

    commit: Text | None
    dirty: bool | None


class Fingerprint(TypedDict):
    """Library versions, processor, arithmetic mode and source code of a process."""

    versions: dict[Text, Text]
    processor: Text
    capability: Text  # the instruction set that torch uses
    numerics: Annotated[str, Field(pattern="^(native|portable)$")]
    numeric_class: Text
    probe: dict[Text, Text]
    threads: NotRequired[PositiveCount]  # not where features were measured in portable arithmetic
    device: Text
    device_name: Text
    git: GitState
    initial_weights_sha256: NotRequired[Sha256]  # of a run
    code_sha256: NotRequired[Sha256]  # of a run, from format 7 on: of the file of the user's network
    decoder: NotRequired[dict[Text, Text]]  # of a run: versions of what decoded its images
    pixels_sha256: NotRequired[dict[Text, Sha256]]  # of a run: of the decoded pixels of each part
    feature_kernel: NotRequired[Text]  # where feature maps were measured


def fingerprint(numerics: Numerics) -> Fingerprint:
    """Return the fingerprint of this process: library versions, processor, arithmetic mode and source code."""
    import PIL.features
    import torch

    from in4310repro.trace.environment import processor

    source, state = Path(__file__).parents[3], GitState(commit=None, dirty=None)
    with contextlib.suppress(FileNotFoundError, ValueError):
        # An installed package may lie inside somebody else's repository.
        if git(source, "rev-parse", "--show-toplevel") == f"{source.resolve()}":
            state = GitState(commit=git(source, "rev-parse", "HEAD"), dirty=bool(git(source, "status", "--porcelain")))
    packages = ("in4310repro", "torch", "torchvision", "numpy", "pillow", "scikit-learn", "safetensors")
    return {
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages}
        # Its own version also names the build, as 2.15.0+cu132.
        | {"torch": f"{torch.__version__}"}
        | {"libjpeg": str(PIL.features.version("libjpeg_turbo") or PIL.features.version("jpg"))},
        "processor": processor("model name"),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "numerics": numerics.mode,
        "numeric_class": numerics.numeric_class,
        "probe": numerics.probe,
        "threads": numerics.threads,
        "device": numerics.device,
        "device_name": numerics.device_name,
        "git": state,
    }


def git(place: Path, *words: str) -> str:
    """Return what git answers in a folder; raise ValueError with what it says if it fails."""
    command = ["git", "-C", f"{place}", *words]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return done.stdout.strip()
