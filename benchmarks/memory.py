"""Anonymous memory of five commands by number of images: the peak of each, sampled while it runs.

    nox -s evidence -- memory

Images are noise of 32 x 32 pixels, so that mostly names, hashes and other data kept for each image can grow.
Anonymous memory is `RssAnon` of Linux, which excludes pages of mapped files. The numbers go to docs/memory.json, and
docs/images/memory.svg is drawn from them.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image
from torch import nn

from in4310repro.report.markup import Panel, Scale, axes, file, join, label, legend, mark, path
from in4310repro.system.files import json_bytes, read_json, write_file
from in4310repro.system.machine import resident
from in4310repro.system.numerics import generator_for

ROOT = Path(__file__).parents[1]
NUMBERS, FIGURE = ROOT / "docs/memory.json", ROOT / "docs/images/memory.svg"
LIMIT = 2000  # bytes an image
IMAGES = (1000, 8000, 64000)
CLASSES = 6
SIDE = 32  # pixels
BETWEEN = 0.005  # seconds between two samples
ME = "benchmarks.memory:make_small_network"
COMMANDS = ("train", "report", "verify", "data check", "features")
Peaks = dict[str, list[int]]  # by command, bytes at each number of images


def make_small_network(num_classes: int) -> nn.Module:
    """Return a network whose feature maps are small compared with the data kept for each image."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)
    )


def draw_images(folder: Path, images: int) -> None:
    """Write BMP files of noise into class folders."""
    stream = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE)).save(stream, "BMP")
    header = stream.getvalue()[: -3 * SIDE**2]
    generator = generator_for(0, "noise")
    for number in range(CLASSES):
        (folder / f"class{number}").mkdir(parents=True)
    for number in range(images):
        file = folder / f"class{number % CLASSES}" / f"{number // CLASSES:05d}.bmp"
        file.write_bytes(header + generator.bytes(3 * SIDE**2))


def list_commands(data: Path, run: Path) -> dict[str, list[str]]:
    """Return the arguments of each command; the commands can run in this order."""
    own, images = ["--model", ME], ["--data", f"{data}"]
    training = "--preset tiny --epochs 1 --optimizer SGD --batch-size 64 --numerics native"
    measured = "--weights none --numerics native --image-size 32 --batch-size 64 --images 1000000"
    return {
        "train": ["train", *training.split(), *own, *images, "--out", f"{run}"],
        "report": ["report", f"{run}", *own, *images],
        "verify": ["verify", f"{run}", *own, *images],
        "data check": ["data", "check", f"{data}"],
        "features": ["features", *measured.split(), *own, *images, "--out", f"{run}/maps.json"],
    }


def measure(numbers: Sequence[int], names: Sequence[str] = COMMANDS) -> Peaks:
    """Measure and print the peak of anonymous memory by command and number of images."""
    peaks: Peaks = {name: [] for name in names}
    for images in numbers:
        with tempfile.TemporaryDirectory(prefix="memory-") as place:
            folder = Path(place)
            draw_images(folder / "images", images)
            for command, words in list_commands(folder / "images", folder / "run").items():
                if command in names:
                    start = time.monotonic()
                    peaks[command].append(measure_peak(words, folder))
                    seconds = time.monotonic() - start
                    sys.stdout.write(f"{images} {command}: {peaks[command][-1] / 1e6:.1f} MB, {seconds:.0f} s\n")
                    sys.stdout.flush()
    return peaks


def measure_peak(words: list[str], folder: Path) -> int:
    """Run a command in a folder and return its peak of anonymous memory in bytes."""
    paths = os.pathsep.join(filter(None, (f"{ROOT}", os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": paths, "IN4310REPRO_CACHE": f"{folder / 'cache'}"}
    most, log = 0, folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "in4310repro", *words],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
        )
        while process.poll() is None:
            most = max(most, resident("RssAnon", Path(f"/proc/{process.pid}/status")) or 0)
            time.sleep(BETWEEN)
    # Exit code 1 reports a finding: noise may have near-duplicates.
    if process.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}:\n{log.read_text()[-2000:]}")
    return most


def compute_growth(images: Sequence[int], peaks: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Return the growth of each command's peak memory in bytes per image."""
    return {name: (values[-1] - values[0]) / (images[-1] - images[0]) for name, values in peaks.items()}


def draw_figure(images: Sequence[int], peaks: Mapping[str, Sequence[int]]) -> str:
    """Return an SVG file that shows each command's memory growth over the number of images, and the limit."""
    left, right, height = 40.0, 322.0, 180.0
    signs, above = legend(list(peaks), 14)
    top, most = above + 32, LIMIT * (images[-1] - images[0]) / 1e6
    x = Scale((0, images[-1]), [(n, f"{n:,}") for n in (0, *images[1:])], (left + 8, right - 20))
    y = Scale((0, most * 1.1), [(step * 20.0, f"{step * 20}") for step in range(7)], (top + height, top))
    limit = [(x(images[0]), y(0)), (x(images[-1]), y(most))]
    parts = [signs, axes(left, x, y, ("images", "MB more than at the fewest images"))]
    parts += [path(limit, "chance"), label(limit[1][0] - 20, limit[1][1] + 4, "2 kB an image", "quiet", "end")]
    for style, values in enumerate(peaks.values()):
        shown = [(x(count), y((value - values[0]) / 1e6)) for count, value in zip(images, values, strict=True)]
        parts += [path(shown, f"l{style}"), *(mark(*point, style) for point in shown)]
    rates = ", ".join(f"{name} {grown / 1000:.2f}" for name, grown in compute_growth(images, peaks).items())
    panel = Panel("Anonymous memory", top + height + 38, join(parts))
    return file([panel], f"Growth of anonymous memory in kB an image: {rates}")


def draw_figure_of(numbers: Path) -> str:
    content = read_json(numbers)
    return draw_figure(content["images"], content["peak_bytes"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="nox -s evidence -- memory", description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=IMAGES, help="written to docs/ for 1000 8000 64000")
    images = tuple(parser.parse_args().images)
    peaks = measure(images)
    for name, grown in compute_growth(images, peaks).items():
        sys.stdout.write(f"{name}: {grown:.0f} bytes an image\n")
    if images == IMAGES:
        write_file(NUMBERS, json_bytes({"images": images, "side": SIDE, "peak_bytes": peaks}))
        write_file(FIGURE, draw_figure_of(NUMBERS).encode())


if __name__ == "__main__":
    main()
