"""The benchmark of portable arithmetic: the same training steps in both modes, by turns, each in a separate process."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from in4310repro.bench.records import ArithmeticBenchmark, ArithmeticBenchmarkSettings
from in4310repro.bench.tables import arithmetic_table
from in4310repro.files import json_bytes, write_file
from in4310repro.fingerprint import fingerprint
from in4310repro.numerics import activate
from in4310repro.presets import PRESETS
from in4310repro.progress import SILENT, Progress

if TYPE_CHECKING:
    from torch import Tensor

MODES = ("native", "portable")
PRESET = PRESETS["demo"]
CLASSES = 6


def images_per_second(mode: str, steps: int) -> float:
    """Median speed of training steps of the demo's network, images and optimizer, in this process.

    Args:
        mode: "native" or "portable"; it is activated for the whole process.
        steps: how many are timed, after two that warm up.
    """
    activate(mode, "cpu")
    # After the arithmetic is set: these compute with torch.
    import torch

    from in4310repro import models, optimizers

    model = models.build(PRESET.model, CLASSES, PRESET.seed).train()
    optimizer = optimizers.build(PRESET.settings[0], model.parameters())
    images, labels = training_batch()
    seconds = []
    for _ in range(steps + 2):
        start = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    return len(images) / statistics.median(seconds[2:])


def training_batch() -> tuple[Tensor, Tensor]:
    """Images (image channel height width, channels last) and labels of one training step of the demo's size."""
    import torch

    size, side = PRESET.batch_size, PRESET.image_size
    images = torch.linspace(-2, 2, size * 3 * side**2).reshape(size, 3, side, side)
    return images.contiguous(memory_format=torch.channels_last), torch.arange(size) % CLASSES


def benchmark(out: Path, repeats: int = 5, steps: int = 12, progress: Progress = SILENT) -> list[Path]:
    """Times both modes in turns, each in a separate process; writes arithmetic.json and arithmetic.md.

    The ratio is the median over pairs that ran one after the other, since a shared machine changes its speed.

    Args:
        out: the folder of the files.
        repeats: pairs of processes.
        steps: timed training steps of each process.
        progress: where to report progress.

    Returns:
        The files that were written.

    Raises:
        ValueError: fewer than one repeat or step.
    """
    if min(repeats, steps) < 1:
        raise ValueError(f"repeats {repeats}, steps {steps}; each must be at least 1")
    speeds: dict[str, list[float]] = {mode: [] for mode in MODES}
    with progress.task("bench, arithmetic", repeats * len(MODES)) as advance:
        for _ in range(repeats):
            for mode in MODES:
                command = [sys.executable, "-m", "in4310repro.bench.arithmetic", mode, str(steps)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                speeds[mode].append(float(json.loads(done.stdout)))
                advance(1, f"{mode} {speeds[mode][-1]:.0f} images/s")
    report = ArithmeticBenchmark(
        fingerprint=fingerprint(activate("native", "cpu")),
        settings=ArithmeticBenchmarkSettings(
            repeats=repeats, steps=steps, image_size=PRESET.image_size, batch_size=PRESET.batch_size
        ),
        images_per_second=speeds,
        portable_over_native=[portable / native for native, portable in zip(*speeds.values(), strict=True)],
    )
    files = {"arithmetic.json": json_bytes(report), "arithmetic.md": arithmetic_table(report).encode()}
    return [write_file(out / name, data) for name, data in files.items()]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(images_per_second(sys.argv[1], int(sys.argv[2]))))
