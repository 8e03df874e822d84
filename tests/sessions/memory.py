"""Anonymous memory of five commands over the number of images: the largest that each holds, sampled while it runs.

    nox -s memory

Images are noise of 32 x 32 pixels, so that little but names, hashes and what is kept for each image can grow. Anonymous
memory is `RssAnon` of Linux, which the pages of a mapped file are no part of. The numbers go to docs/memory.json, and
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
from pathlib import Path

from PIL import Image
from torch import nn

from in4310repro.randomness import generator_for

IMAGES = (1000, 8000, 64000)
CLASSES = 6
SIDE = 32  # pixels
BETWEEN = 0.005  # seconds
ME = "tests.sessions.memory:small"
COMMANDS = ("train", "report", "verify", "data check", "features")


def small(num_classes: int) -> nn.Module:
    """A network whose feature maps are small beside what is kept for each image."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)
    )


def draw(folder: Path, images: int) -> None:
    """Writes images of noise in class folders, as BMP: a header that is the same for all, and the pixels."""
    stream = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE)).save(stream, "BMP")
    header = stream.getvalue()[: -3 * SIDE**2]
    generator = generator_for(0, "noise")
    for label in range(CLASSES):
        (folder / f"class{label}").mkdir(parents=True)
    for number in range(images):
        file = folder / f"class{number % CLASSES}" / f"{number // CLASSES:05d}.bmp"
        file.write_bytes(header + generator.bytes(3 * SIDE**2))


def commands(data: Path, run: Path) -> dict[str, list[str]]:
    """Each command with its words, in the order in which they can run."""
    own, images = ["--model", ME], ["--data", f"{data}"]
    training = "--preset tiny --epochs 1 --optimizer SGD --batch-size 64 --numerics native"
    measured = "--weights none --numerics native --image-size 32 --batch-size 64 --images 1000000"
    return {
        "train": ["train", *training.split(), *own, *images, "--out", f"{run}"],
        "report": ["report", *own, *images, "--out", f"{run}"],
        "verify": ["verify", f"{run}", *own, *images],
        "data check": ["data", "check", f"{data}"],
        "features": ["features", *measured.split(), *own, *images, "--out", f"{run}/maps.json"],
    }


def most_anonymous(words: list[str], log: Path) -> int:
    """Runs a command and returns the most bytes of anonymous memory that it was seen to hold."""
    most = 0
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "in4310repro", *words], stdout=output, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            most = max(most, anonymous(process.pid))
            time.sleep(BETWEEN)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}:\n{log.read_text()[-2000:]}")
    return most


def anonymous(process: int) -> int:
    """Bytes of anonymous memory that a process holds now; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="nox -s memory --", description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=IMAGES)
    parser.add_argument("--commands", nargs="+", default=COMMANDS)
    arguments = parser.parse_args()
    for images in arguments.images:
        with tempfile.TemporaryDirectory(prefix="memory-") as name:
            folder = Path(name)
            os.environ["IN4310REPRO_CACHE"] = f"{folder / 'cache'}"
            draw(folder / "images", images)
            for command, words in commands(folder / "images", folder / "run").items():
                if command in arguments.commands:
                    start = time.monotonic()
                    most = most_anonymous(words, folder / "log")
                    sys.stdout.write(f"{images} {command}: {most / 1e6:.1f} MB, {time.monotonic() - start:.0f} s\n")
                    sys.stdout.flush()


if __name__ == "__main__":
    main()
