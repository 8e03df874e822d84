"""What portable arithmetic costs: the same training steps in both modes, in turns."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from in4310repro.numerics import activate, fingerprint
from in4310repro.presets import PRESETS
from in4310repro.progress import SILENT, Progress
from in4310repro.runs import json_bytes, write_file

MODES = ("native", "portable")


def images_per_second(mode: str, steps: int) -> float:
    """Median speed of training steps of the demo's network, images and optimizer, in this process."""
    activate(mode, "cpu")
    # After the arithmetic is set: these compute with torch.
    import torch

    from in4310repro import models, optimizers

    demo = PRESETS["demo"]
    model = models.build(demo.model, 6, demo.seed).train()
    optimizer = optimizers.build(demo.settings[0], model.parameters())
    images = torch.linspace(-2, 2, demo.batch_size * 3 * demo.image_size**2).reshape(
        demo.batch_size, 3, demo.image_size, -1
    )
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(demo.batch_size) % 6
    seconds = []
    for _ in range(steps + 2):
        start = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    return demo.batch_size / statistics.median(seconds[2:])


def benchmark(out: Path, repeats: int = 5, steps: int = 12, progress: Progress = SILENT) -> list[Path]:
    """Times both modes in turns, each in a process of its own; writes arithmetic.json and arithmetic.md.

    The ratio is the median over pairs that ran one after the other, since a shared machine changes its speed.

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
    ratios = [portable / native for native, portable in zip(*speeds.values(), strict=True)]
    report = {
        "fingerprint": fingerprint(activate("native", "cpu")),
        "settings": {"repeats": repeats, "steps": steps, "image_size": PRESETS["demo"].image_size},
        "images_per_second": speeds,
        "portable_over_native": ratios,
    }
    files = {"arithmetic.json": json_bytes(report), "arithmetic.md": _markdown(report).encode()}
    return [write_file(out / name, data) for name, data in files.items()]


def _markdown(report: dict[str, Any]) -> str:
    made = report["fingerprint"]
    rows = [*report["images_per_second"].items(), ("portable / native", report["portable_over_native"])]
    lines = [
        "# What portable arithmetic costs",
        "",
        f"Training steps of ResNet-18 at {report['settings']['image_size']} px in batches of 32 on {made['processor']} "
        f"({made['capability']}), {made['threads']} threads, torch {made['versions']['torch']}; the modes in turns.",
        "",
        "| | median | lowest | highest |",
        "| --- | --- | --- | --- |",
    ]
    for name, values in rows:
        unit = "" if "/" in name else " images/s"
        digits = 2 if "/" in name else 0
        cells = (statistics.median(values), min(values), max(values))
        lines.append(f"| {name} | " + " | ".join(f"{cell:.{digits}f}{unit}" for cell in cells) + " |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.stdout.write(json.dumps(images_per_second(sys.argv[1], int(sys.argv[2]))))
