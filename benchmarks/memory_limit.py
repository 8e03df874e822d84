"""Memory of each preset beside the 2 GB of GPU memory that the assignment allows, as `train --dry-run` holds it.

    nox -s evidence -- memory-limit --data FOLDER --imagenet FOLDER --cifar10 FOLDER

On a CPU: anonymous memory (`RssAnon` of Linux, sampled), and the peak that the command prints, which also counts mapped
files. The numbers go to docs/memory-limit.json, and the table to docs/own-network.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.docs.marks import replaced

from benchmarks.memory import measure_peak
from in4310repro.runs.presets import PRESETS
from in4310repro.system.files import json_bytes, read_json, write_file
from in4310repro.system.machine import size_text

ROOT = Path(__file__).parents[1]
NUMBERS, PAGE, NAME = ROOT / "docs/memory-limit.json", ROOT / "docs/own-network.md", "memory-limit"
LIMIT = 2e9  # bytes
ARITHMETIC = ("portable", "native")
SAID = re.compile(r"memory(?: of .+)?: ([\d.]+ [kMGT]?B)")
HEADING = ("preset", "batch", "arithmetic", "printed", "anonymous", "anonymous below 2 GB")


def list_words(preset: str, images: Mapping[str, str], **options: object) -> list[str]:
    """Return the arguments of a dry run of a preset; presets of drawn scenes read no folder of `images`."""
    config = PRESETS[preset]
    given = {} if config.scenes else dict(images)
    if config.weights == "imagenet" and config.model.startswith("resnet"):
        # Equally large as ImageNet weights, which are a download.
        given["weights"] = "none"
    named = {**given, **options}
    return ["train", "--preset", preset, "--dry-run", *(word for k, v in named.items() for word in (f"--{k}", f"{v}"))]


def measure(preset: str, numerics: str, batch_size: int, images: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """Measure one dry run of a preset, and return its row."""
    config = PRESETS[preset]
    own = {"batch-size": batch_size} if batch_size != config.batch_size else {}
    anonymous = measure_peak(list_words(preset, images, numerics=numerics, **own), folder)
    printed = SAID.search((folder / "log").read_text(encoding="utf-8"))
    row = {
        "preset": preset,
        "network": config.model,
        "image_size": config.image_size,
        "batch_size": batch_size,
        "numerics": numerics,
        "printed": printed.group(1) if printed else "unknown",
        "anonymous": anonymous,
    }
    sys.stdout.write(f"{json.dumps(row)}\n")
    sys.stdout.flush()
    return row


def measure_all(images: Mapping[str, str], folder: Path) -> list[dict[str, Any]]:
    """Measure each preset in both arithmetics; halve the batch of `course` until it stays below the limit."""
    rows = []
    for preset, config in PRESETS.items():
        for numerics in ARITHMETIC:
            batch_size = config.batch_size
            rows.append(measure(preset, numerics, batch_size, images, folder))
            while preset == "course" and rows[-1]["anonymous"] >= LIMIT and batch_size > 1:
                batch_size //= 2
                rows.append(measure(preset, numerics, batch_size, images, folder))
    return rows


def table(measured: Mapping[str, Any]) -> str:
    """Return the table of the page, with what it was measured on."""
    lines = [f"| {' | '.join(HEADING)} |", "| --- | ---: | --- | ---: | ---: | --- |"]
    for row in measured["rows"]:
        cells = (
            f"`{row['preset']}`",
            row["batch_size"],
            row["numerics"],
            row["printed"],
            size_text(row["anonymous"]),
            "yes" if row["anonymous"] < LIMIT else "no",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(
        [
            *lines,
            "",
            f"Measured on a CPU, with {measured['threads']} threads. Memory of a GPU: not measured, since none was "
            "available.",
        ]
    )


def with_table(text: str, measured: Mapping[str, Any]) -> str:
    return replaced(text, NAME, table(measured))


def main() -> None:
    parser = argparse.ArgumentParser(prog="nox -s evidence -- memory-limit", description=__doc__)
    for name in ("data", "imagenet", "cifar10"):
        parser.add_argument(f"--{name}", required=name == "data")
    images = {name: f"{Path(value).resolve()}" for name, value in vars(parser.parse_args()).items() if value}
    with tempfile.TemporaryDirectory(prefix="memory-") as place:
        rows = measure_all(images, Path(place))
    write_file(NUMBERS, json_bytes({"threads": os.cpu_count(), "rows": rows}))
    write_file(PAGE, with_table(PAGE.read_text(encoding="utf-8"), read_json(NUMBERS)).encode())


if __name__ == "__main__":
    main()
