"""Test results of ResNets of five depths, selected by mAP, from finished runs: the table of docs/own-network.md.

    nox -s evidence -- depths            trains the five depths on drawn scenes
    nox -s evidence -- depths RUN...     adds finished runs to the table, such as two depths on photographs

The numbers go to docs/depths.json. A run replaces the row of the same images, network, weights and image size.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.docs.marks import replaced

from in4310repro.metrics import SCALARS
from in4310repro.models.sources import RESNETS
from in4310repro.report.uncertainty import intervals
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.presets import command_line_options
from in4310repro.system.files import json_bytes, read_json, write_file

ROOT = Path(__file__).parents[1]
NUMBERS, PAGE, NAME = ROOT / "docs/depths.json", ROOT / "docs/own-network.md", "depths"
OPTIONS = ("--select", "mean_average_precision", "--image-size", "32")
SHOWN = ("mean_average_precision", "mean_class_accuracy")
SAME = ("images", "model", "weights", "image_size")  # of two rows, of which the later one stays
HEADING = ("images", "network", "px", "selected", *(f"{SCALARS[name].label} (95 %)" for name in SHOWN))


def row_of(run: FinishedRun) -> dict[str, Any]:
    """Return what the table shows of a run, with the intervals of its report and the command that repeats it.

    Raises:
        ValueError: the run has another network, selects by another metric than mAP, or deviates from the assignment.
    """
    config, metrics = run.config, run.metrics
    if config.model not in RESNETS:
        raise ValueError(f"{run.folder} has the network {config.model}; {', '.join(RESNETS)} are valid")
    if config.select != SHOWN[0] or not config.protocol.is_corrected:
        raise ValueError(f"{run.folder} selects by {config.select}, protocol {config.protocol}; {SHOWN[0]} is needed")
    ranges = intervals(run.scores)
    return {
        "images": "photographs" if config.data else "drawn scenes",
        "model": config.model,
        "weights": config.weights if config.weights in ("none", "imagenet") else "a file",
        "image_size": config.image_size,
        "epochs": config.epochs,
        "seed": config.seed,
        "setting": metrics["setting"],
        "epoch": metrics["epoch"],
        "test_images": len(run.scores.labels),
        "numeric_class": run.fingerprint["numeric_class"],
        "options": command_line_options(config),
        **{name: {"value": metrics[name], "interval": ranges[name]} for name in SHOWN},  # type: ignore[literal-required]
    }


def merge(rows: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows by images and depth; a new one replaces that of the same images, network, weights and size."""
    kept = {tuple(row[name] for name in SAME): row for row in (*rows, *new)}
    return sorted(kept.values(), key=lambda row: (row["images"], RESNETS.index(row["model"]), row["weights"]))


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of the page, with the options that repeat each kind of row."""
    lines = [f"| {' | '.join(HEADING)} |", "| --- | --- | ---: | --- | ---: | ---: |"]
    for row in rows:
        selected = f"{row['setting']}, epoch {row['epoch']} of {row['epochs']}"
        values = [f"{_three(row[name]['value'])} ({' to '.join(map(_three, row[name]['interval']))})" for name in SHOWN]
        network = row["model"] if row["weights"] == "none" else f"{row['model']} from {row['weights']}"
        cells = (row["images"], network, row["image_size"], selected, *values)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    kinds = {(row["images"], row["test_images"], row["seed"], row["numeric_class"]) for row in rows}
    notes = (
        f"{images}: {count:,} test images, one training of seed {seed} each, numeric class `{numeric_class}`."
        for images, count, seed, numeric_class in sorted(kinds)
    )
    return "\n".join([*lines, "", *notes])


def _three(value: float) -> str:
    return f"{value:.3f}"


def with_table(text: str, rows: Sequence[Mapping[str, Any]]) -> str:
    return replaced(text, NAME, table(rows))


def train_depths(folder: Path) -> list[Path]:
    """Train the five depths on drawn scenes, as the page says, and return their runs."""
    runs = []
    for model in RESNETS:
        runs.append(folder / model)
        words = ("in4310repro", "train", "--model", model, *OPTIONS, "--out", f"{runs[-1]}")
        subprocess.run([sys.executable, "-m", *words], check=True)
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(prog="nox -s evidence -- depths", description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN")
    given = parser.parse_args().runs
    with tempfile.TemporaryDirectory(prefix="depths-") as place:
        rows = [row_of(FinishedRun.open(run)) for run in given or train_depths(Path(place))]
    write_file(NUMBERS, json_bytes({"rows": merge(read_json(NUMBERS)["rows"], rows)}))
    write_file(PAGE, with_table(PAGE.read_text(encoding="utf-8"), read_json(NUMBERS)["rows"]).encode())


if __name__ == "__main__":
    main()
