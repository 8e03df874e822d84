"""The commands about this machine: `doctor`, which checks it, `fingerprint` and `cache`."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from in4310repro.cli import before
from in4310repro.cli.console import activate_arithmetic, print_text
from in4310repro.cli.options import DEVICES, MACHINE, Device, choices, option
from in4310repro.runs.settings import CHOICES
from in4310repro.system.numerics import Numerics, activate

if TYPE_CHECKING:
    from in4310repro.system.fingerprint import Fingerprint

import os
from collections.abc import Iterator
from dataclasses import dataclass

from in4310repro.cli.console import WRONG_INPUT, conclude, load_torch, print_line, print_next
from in4310repro.models.network import open_network
from in4310repro.system import machine
from in4310repro.system.machine import nearest, size_text

# Bytes, above what the demo was measured to take: 0.15e9 of disk when it is done, with checkpoints beside it while it
# trains, and 1.2e9 of memory.
DEMO_DISK, DEMO_MEMORY = 2**29, 2**31
COMPILERS = ("c++", "g++", "clang++")


def doctor() -> None:
    """Say what is installed, what is missing and the command that gets it; exit code 0 if the demo can run.

    Examples:
        in4310repro doctor
    """
    load_torch()

    findings = []
    for finding in examine(Path("runs")):
        sign = "!" if finding.stops_demo else "-" if finding.wanted else "+"
        print_line(f"{sign} {finding.topic:<13}{finding.text}" + (f" -> {finding.wanted}" if finding.wanted else ""))
        findings.append(finding)
    stopped = any(finding.stops_demo for finding in findings)
    if not stopped:
        print_line("the demo can run")
    conclude({"demo_can_run": not stopped, "findings": list(map(asdict, findings))}, WRONG_INPUT if stopped else 0)
    print_next("in4310repro train")


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove all of it; it is made again when needed.")] = False,
) -> None:
    """Show the size and the limit of the cache of decoded images and drawn scenes, or clear it.

    Examples:
        in4310repro cache
        in4310repro cache --clear
    """
    from in4310repro.data.cache import LIMIT_VARIABLE, bytes_by_folder, cache_folder, limit

    folder, most, sizes = cache_folder(), limit(), bytes_by_folder()
    for part, size in sizes.items():
        if clear:
            # The folder itself may be one that holds more.
            shutil.rmtree(folder / part, ignore_errors=True)
        print_line(f"{size_text(size):>10}  {'removed from' if clear else 'in'} {folder / part}")
    what = f"{folder / 'pixels'} may hold before the longest unused is evicted; {LIMIT_VARIABLE} sets it, in GB"
    print_line(f"{size_text(most):>10}  {what}")
    conclude({"folder": str(folder), "bytes": sizes, "limit": most, "cleared": clear})


def fingerprint(
    numerics: Annotated[
        str, option(choices("numerics"), MACHINE, of=CHOICES["numerics"]), before.choice("numerics")
    ] = "auto",
    device: Annotated[str, option(Device, MACHINE, of=DEVICES), before.DEVICE] = "auto",
) -> None:
    """Print all that could explain another result: libraries, processor, arithmetic, source.

    Examples:
        in4310repro fingerprint
        in4310repro fingerprint --numerics portable
    """
    active = activate_arithmetic(numerics, device)
    from in4310repro.features import kernel_description
    from in4310repro.system.files import json_bytes
    from in4310repro.system.fingerprint import fingerprint

    content = fingerprint(active) | {"feature_kernel": kernel_description()}
    print_text(json_bytes(content).decode().rstrip())
    conclude(content)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of a check of this machine."""

    topic: str
    text: str
    wanted: str = ""  # the command that gets what is missing; empty where nothing is
    stops_demo: bool = False


def examine(folder: Path) -> Iterator[Finding]:
    """Yield a finding for each requirement of the demo and of the other commands.

    Args:
        folder: where runs and reports would be written.
    """
    from in4310repro.data.cache import cache_folder
    from in4310repro.system.fingerprint import fingerprint

    numerics = activate("auto", "cpu")
    yield from _source(fingerprint(numerics))
    yield from _kernels(numerics)
    yield from _devices()
    yield _disk("runs", folder)
    yield _disk("cache", cache_folder())
    yield _cache()
    yield from _data()
    for module, package in machine.PACKAGES.items():
        if not machine.is_installed(module):
            said = f"{module} is not installed; it is for {package.purpose}"
            yield Finding(topic="optional", text=said, wanted=machine.install_command(module))


def _source(found: Fingerprint) -> Iterator[Finding]:
    python = found["versions"]["python"]
    versions = (f"{name} {version}" for name, version in found["versions"].items() if name != "python")
    yield Finding(topic="installation", text=f"Python {python}, {', '.join(versions)}")
    commit, changed = found["git"]["commit"], " with changes" if found["git"]["dirty"] else ""
    yield Finding(topic="source", text=f"commit {commit[:12]}{changed}" if commit else "no checkout of git")
    yield Finding(topic="processor", text=f"{found['processor']}, {found['capability']}")


def _kernels(numerics: Numerics) -> Iterator[Finding]:
    # torch and more, which no help needs.
    from in4310repro import arithmetic
    from in4310repro.features import kernel_description

    compiler = next((name for name in COMPILERS if shutil.which(name)), None)
    yield Finding(topic="compiler", text=compiler or "none of c++, g++ and clang++; only a build from source needs one")
    again = (
        "pip install -e . --force-reinstall --no-deps" if compiler else "install g++ or clang, then pip install -e ."
    )
    obstacle = arithmetic.obstacle()
    said = f"{numerics.mode}, numeric class {numerics.numeric_class}, {numerics.threads} threads"
    yield Finding(topic="arithmetic", text=f"{said}; {obstacle}" if obstacle else said, wanted=obstacle and again)
    kernel = kernel_description()
    yield Finding(topic="statistics", text=kernel, wanted="" if kernel.startswith("compiled") else again)


def _devices() -> Iterator[Finding]:
    import torch

    cards = [torch.cuda.get_device_name(card) for card in range(torch.cuda.device_count())]
    held = machine.memory()
    too_small = held is not None and held < DEMO_MEMORY
    what = f"{os.cpu_count()} processors" + (f", {size_text(held)} of memory" if held else "")
    yield Finding(
        topic="devices",
        text=f"{what}; CUDA: {', '.join(cards) or 'none'}",
        wanted=f"a machine with {size_text(DEMO_MEMORY)} of memory" if too_small else "",
        stops_demo=too_small,
    )


def _disk(topic: str, folder: Path) -> Finding:
    there = nearest(folder)
    free = shutil.disk_usage(there).free
    if not os.access(there, os.W_OK):
        variable = "set IN4310REPRO_CACHE to another folder" if topic == "cache" else "start in a folder of your own"
        return Finding(topic=topic, text=f"nothing can be written to {folder}", wanted=variable, stops_demo=True)
    full = free < DEMO_DISK
    wanted = f"{size_text(DEMO_DISK)} of free disk" if full else ""
    return Finding(topic=topic, text=f"{folder}, {size_text(free)} free", wanted=wanted, stops_demo=full)


def _cache() -> Finding:
    from in4310repro.data.cache import bytes_by_folder, limit

    sizes = ", ".join(f"{size_text(size)} of {part}" for part, size in bytes_by_folder().items())
    try:
        return Finding(topic="cached", text=f"{sizes}; pixels may take {size_text(limit())}")
    except ValueError as error:
        return Finding(topic="cached", text=sizes, wanted=str(error))


def _data() -> Iterator[Finding]:
    yield Finding(topic="scenes", text="the demo draws its own; no download")
    if machine.has_weights():
        yield Finding(topic="weights", text="ImageNet's for photographs of your own are installed")
    here = open_network("resnet18").has_weights("imagenet")
    yield Finding(
        topic="weights",
        text=f"ImageNet's for resnet18 are {'in' if here else 'not in'} torchvision's cache",
        wanted="" if here else "train --preset course downloads them (45 MB), or --weights FILE",
    )
