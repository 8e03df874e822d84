"""Cells of the experiment: which one a finished run is, and what is kept of it in reports/experiment/cells.json."""

from __future__ import annotations

import hashlib
import shlex
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from in4310repro.data.preprocessing import channels
from in4310repro.evaluation.prediction import predict
from in4310repro.metrics.scores import Scores
from in4310repro.report.exhibit import original
from in4310repro.runs.config import Config
from in4310repro.runs.deviations import PUBLISHED, Deviation, Protocol, parse
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context
from in4310repro.system.numerics import activate
from in4310repro.system.text import shell_command
from studies.published.numbers import summarize

FOLDER = Path(__file__).parents[2] / "reports/experiment"
LOOKS = 6  # with random flips, drawn anew for each
# Settings that no cell changes.
AS_PRESET = ("settings", "select", "train", "group", "augmentation", "schedule", "warm_up", "crop_ratio", "orientation")
Predictions = dict[str, Any]
Cell = dict[str, Any]  # what is kept of a run
Kept = dict[str, dict[str, dict[str, Cell]]]  # network -> cell -> seed -> what is kept of the run


def read_predictions() -> Predictions:
    return tomllib.loads((FOLDER / "predictions.toml").read_text(encoding="utf-8"))


def options_of(network: str, cell: str, predictions: Predictions) -> dict[str, str]:
    """Return the options of a cell by name, without their two dashes."""
    special = {**predictions["cells"], PUBLISHED: f"--protocol {PUBLISHED}"}[cell]
    words = shlex.split(f"{predictions['networks'][network]['options']} {special}")
    return {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}


def command_of(network: str, cell: str, seed: int, predictions: Predictions) -> str:
    """Return the command that trains a cell."""
    options = options_of(network, cell, predictions) | {
        "data": "mandatory1/data",
        **({"seed": f"{seed}"} if seed else {}),
        "imagenet": "imagenet-sample-images",
        "cifar10": "CIFAR-10-images/test",
        "out": f"runs/{network}/{cell}" + (f"-{seed}" if seed else ""),
    }
    return shell_command(["in4310repro", "train", *(word for name in options for word in (f"--{name}", options[name]))])


def cell_of(config: Config, predictions: Predictions) -> tuple[str, str]:
    """Return network and cell of a run; the cell is `published` if all seven deviations are on.

    Raises:
        ValueError: the run is none of the experiment's.
    """
    for network in predictions["networks"]:
        for cell in (*predictions["cells"], PUBLISHED):
            options = options_of(network, cell, predictions)
            preset = PRESETS[options["preset"]]
            expected = {
                "protocol": parse(options["protocol"]),
                "split": options.get("split", preset.split),
                "epochs": int(options.get("epochs", preset.epochs)),
                "model": preset.model,
                "weights": options.get("weights", preset.weights),
                "image_size": int(options.get("image-size", preset.image_size)),
                "batch_size": int(options.get("batch-size", preset.batch_size)),
                "mean": channels(options["mean"], "mean") if "mean" in options else preset.mean,
                "std": channels(options["std"], "std") if "std" in options else preset.std,
                "interpolation": options.get("interpolation", preset.interpolation),
                **{name: getattr(preset, name) for name in AS_PRESET},
            }
            if all(getattr(config, name) == value for name, value in expected.items()):
                return network, cell
    raise ValueError(
        f"a run of {config.model}, weights {config.weights}, {config.image_size} px, {config.epochs} epochs, split "
        f"{config.split}, protocol {config.protocol} is no cell of predictions.toml"
    )


def in_order(kept: Kept, predictions: Predictions) -> Kept:
    """Return what is kept of all runs, in the order of predictions.toml and of the seeds, `published` last."""
    names = (*predictions["cells"], PUBLISHED)
    return {
        network: {
            cell: {seed: kept[network][cell][seed] for seed in sorted(kept[network][cell], key=int)}
            for cell in names
            if cell in kept[network]
        }
        for network in predictions["networks"]
        if network in kept
    }


def measure(run: FinishedRun, data: str) -> Cell:
    """Return what the experiment keeps of a run; its selected network predicts the test images in `data` again.

    Raises:
        ValueError: the run has other classes than the report, or an image is missing.
    """
    if run.classes != original()["classes"]:
        raise ValueError(f"{run.folder} has classes {run.classes}; expected {original()['classes']}")
    return {
        "summary": summarize(run),
        "test": {"paths_sha256": _sha256_of_paths(run.scores), "correct": pack(correct_images(run.scores))},
        "history": {
            name: [[row["class_accuracy"], row["average_precision"]] for row in rows]
            for name, rows in run.histories.items()
        },
        "looks": _look_again(run, data),
        "arithmetic": run.fingerprint["numerics"],
        "numeric_class": run.fingerprint["numeric_class"],
        "format": run.config.format,
        "files_sha256": run.files.manifest(),
    }


def _look_again(run: FinishedRun, data: str) -> dict[str, Any]:
    """Return class accuracies of looks with random flips, and average precision by logits, on the test images."""
    context = Context(activate(run.config.numerics, run.config.device))
    images, model = run.test_images(data, context.progress), context.numerics.place(run.selected_network())
    plain = replace(run.config, protocol=Protocol(run.config.protocol - {Deviation.RANDOM_FLIP_AT_TEST}))
    flipping = replace(run.config, protocol=parse("random-flip-at-test"))
    straight = predict(model, images, plain, context)
    looks = [predict(model, images, flipping, context, epoch=epoch) for epoch in range(LOOKS)]
    return {
        "flipped": [scores.metrics()["class_accuracy"] for scores in looks],
        "by_softmax": straight.metrics()["average_precision"],
        "by_logits": straight.metrics(by_logits=True)["average_precision"],
    }


def correct_images(scores: Scores) -> NDArray[np.bool_]:
    """Return whether each image is classified correctly, the images in the order of their paths."""
    correct: NDArray[np.bool_] = scores.softmax.argmax(axis=1) == scores.labels
    return correct[np.argsort(np.array(scores.paths))]


def pack(values: NDArray[np.bool_]) -> str:
    return np.packbits(values).tobytes().hex()


def unpack(text: str, images: int) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8))[:images].astype(bool)


def _sha256_of_paths(scores: Scores) -> str:
    return hashlib.sha256("\n".join(sorted(scores.paths)).encode()).hexdigest()
