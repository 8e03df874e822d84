"""The commands about this machine: `doctor`, which checks it, `fingerprint` and `cache`."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from in4310repro.cli import console
from in4310repro.cli.console import conclude, print_line
from in4310repro.cli.options import command, of_config, option
from in4310repro.data import cache as pixel_cache
from in4310repro.models.sources import open_network
from in4310repro.system import machine
from in4310repro.system.machine import size_text
from in4310repro.system.numerics import activate

# Bytes, above what the demo was measured to take: 0.15e9 of disk when it is done, with checkpoints beside it while it
# trains, and 1.2e9 of memory.
DEMO_DISK, DEMO_MEMORY = 2**29, 2**31
COMPILERS = ("c++", "g++", "clang++")


@command()
def doctor() -> None:
    """Print what is installed, and what is missing with the command that installs it; exit code 0 if the demo can run.

    Examples:
        in4310repro doctor
    """
    console.load_torch()
    findings = []
    for finding in examine(Path("runs")):
        sign = "!" if finding.stops_demo else "-" if finding.wanted else "+"
        wanted = f" -> {finding.wanted}" if finding.wanted else ""
        print_line(f"{sign} {finding.topic:<13}{finding.text}{wanted}")
        findings.append(asdict(finding))
    runs = not any(finding["stops_demo"] for finding in findings)
    if runs:
        print_line("the demo can run")
    conclude({"demo_can_run": runs, "findings": findings}, 0 if runs else console.WRONG_INPUT)
    console.print_next("in4310repro train")


@command()
@option("--clear", "Remove all of it; it is made again when needed.", bool)
def cache(clear: bool) -> None:
    """Show the size and the limit of the cache of decoded images and drawn scenes, or clear it.

    Examples:
        in4310repro cache
        in4310repro cache --clear
    """
    folder, most, sizes = pixel_cache.cache_folder(), pixel_cache.limit(), pixel_cache.bytes_by_folder()
    for part, size in sizes.items():
        if clear:
            # The folder itself may be one that holds more.
            shutil.rmtree(folder / part, ignore_errors=True)
        print_line(f"{size_text(size):>10}  {'removed from' if clear else 'in'} {folder / part}")
    evicted = f"{folder / 'pixels'} may hold before the longest unused is evicted"
    print_line(f"{size_text(most):>10}  {evicted}; {pixel_cache.LIMIT_VARIABLE} sets it, in GB")
    conclude({"folder": f"{folder}", "bytes": sizes, "limit": most, "cleared": clear})


@command()
@of_config("numerics", "device", default="auto")
def fingerprint(numerics: str, device: str) -> None:
    """Print all that could explain another result: libraries, processor, arithmetic, source.

    Examples:
        in4310repro fingerprint
        in4310repro fingerprint --numerics portable
    """
    active = console.activate(numerics, device).numerics
    from in4310repro.features.kernel import kernel_description
    from in4310repro.system.files import json_bytes
    from in4310repro.system.fingerprint import fingerprint

    content = fingerprint(active) | {"feature_kernel": kernel_description()}
    console.print_text(json_bytes(content).decode().rstrip())
    conclude(content)


@dataclass(frozen=True)
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
    # torch and more, which no help needs.
    import torch

    from in4310repro import arithmetic
    from in4310repro.features.kernel import kernel_description
    from in4310repro.system.fingerprint import fingerprint

    numerics = activate("auto", "cpu")
    found = fingerprint(numerics)
    versions = (f"{'Python' if name == 'python' else name} {version}" for name, version in found["versions"].items())
    yield Finding("installation", ", ".join(versions))
    commit, changed = found["git"]["commit"], " with changes" if found["git"]["dirty"] else ""
    yield Finding("source", f"commit {commit[:12]}{changed}" if commit else "no checkout of git")
    yield Finding("processor", f"{found['processor']}, {found['capability']}")
    compiler = next(filter(shutil.which, COMPILERS), None)
    yield Finding("compiler", compiler or "none of c++, g++ and clang++; only a build from source needs one")
    again = (
        "pip install -e . --force-reinstall --no-deps" if compiler else "install g++ or clang, then pip install -e ."
    )
    obstacle, kernel = arithmetic.obstacle(), kernel_description()
    said = f"{numerics.mode}, numeric class {numerics.numeric_class}, {numerics.threads} threads"
    yield Finding("arithmetic", f"{said}; {obstacle}" if obstacle else said, obstacle and again)
    yield Finding("statistics", kernel, "" if kernel.startswith("compiled") else again)
    cards = ", ".join(map(torch.cuda.get_device_name, range(torch.cuda.device_count()))) or "none"
    held = machine.memory()
    what = f"{os.cpu_count()} processors{f', {size_text(held)} of memory' if held else ''}; CUDA: {cards}"
    too_small = held is not None and held < DEMO_MEMORY
    wanted = f"a machine with {size_text(DEMO_MEMORY)} of memory" if too_small else ""
    yield Finding("devices", what, wanted, too_small)
    yield _disk("runs", folder, "start in a folder of your own")
    yield _disk("cache", pixel_cache.cache_folder(), "set IN4310REPRO_CACHE to another folder")
    sizes = ", ".join(f"{size_text(size)} of {part}" for part, size in pixel_cache.bytes_by_folder().items())
    try:
        yield Finding("cached", f"{sizes}; pixels may take {size_text(pixel_cache.limit())}")
    except ValueError as error:
        yield Finding("cached", sizes, f"{error}")
    yield Finding("scenes", "the demo draws its own; no download")
    if machine.has_weights():
        yield Finding("weights", "ImageNet's for photographs of your own are installed")
    here = open_network("resnet18").has_weights("imagenet")
    yield Finding(
        "weights",
        f"ImageNet's for resnet18 are {'in' if here else 'not in'} torchvision's cache",
        "" if here else "train --preset course downloads them (45 MB), or --weights FILE",
    )
    for module, (_, purpose) in machine.PACKAGES.items():
        if importlib.util.find_spec(module) is None:
            said = f"{module} is not installed; it is for {purpose}"
            yield Finding("optional", said, machine.install_command(module))


def _disk(topic: str, folder: Path, otherwise: str) -> Finding:
    there = machine.nearest(folder)
    if not os.access(there, os.W_OK):
        return Finding(topic, f"nothing can be written to {folder}", otherwise, stops_demo=True)
    free = shutil.disk_usage(there).free
    wanted = f"{size_text(DEMO_DISK)} of free disk" if free < DEMO_DISK else ""
    return Finding(topic, f"{folder}, {size_text(free)} free", wanted, bool(wanted))
