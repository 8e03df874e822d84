"""Precision and recall of `data check --weights` on planted faults; writes docs/doubts.md.

    nox -s evidence -- planted

A network is trained on scenes of one seed, and scenes of another are drawn with faults
(see `tests.evaluation.doubts.planted`).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.docs.marks import replaced
from tests.evaluation.doubts import planted

from in4310repro.data import check
from in4310repro.data.folders import catalogue
from in4310repro.evaluation.doubts.examination import examine, readable
from in4310repro.evaluation.doubts.folder_features import features_of, open_source
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.context import Context
from in4310repro.system.files import json_bytes, write_file
from in4310repro.system.numerics import activate

ROOT = Path(__file__).parents[1]
NUMBERS, PAGE, MARK = ROOT / "docs/doubts.json", ROOT / "docs/doubts.md", "planted"
IMAGES, SIDE, SEED = 300, 96, 7
TRAINING = ("--scenes", "400", "--split", "0.7/0.15/0.15", "--epochs", "6")


def measure(
    folder: Path, images: int = IMAGES, training: Sequence[str] = TRAINING, program: str = "in4310repro"
) -> dict[str, Any]:
    """Train a network, plant faults in `images` scenes of each class, and search for them.

    Args:
        folder: folder of the run and the scenes.
        images: number of scenes of each class.
        training: options of the training in addition to its preset.
        program: module that trains.
    """
    words = ("train", "--preset", "demo", "--seed", "1", "--optimizer", "AdamW", "--numerics", "native", *training)
    command = [sys.executable, "-m", program, *words, "--out", f"{folder / 'run'}", "--quiet"]
    subprocess.run(command, cwd=ROOT, check=True)
    truth = planted.plant(folder / "scenes", images, SIDE, SEED)
    source, numerics = open_source(f"{folder / 'run'}", {}), activate("native", "cpu")
    listed = catalogue(folder / "scenes")
    findings = check.examine(listed)
    features = features_of(source, listed.root, readable(listed, findings), Context(numerics))
    doubts = examine(listed, findings, features, source.described())
    run = FinishedRun.open(folder / "run")
    wrong_alike = [each for each in doubts["look_alikes"] if truth.wrong.keys() & set(each["paths"])]
    return {
        "images": images,
        "side": SIDE,
        "seed": SEED,
        "training": " ".join(words),
        "accuracy": run.metrics["mean_class_accuracy"],
        "look_alikes": len(doubts["look_alikes"]),
        "look_alikes_with_a_wrong_label": len(wrong_alike),
        "kinds": {kind: asdict(found) for kind, found in planted.measured(truth, findings, doubts).items()},
    }


def table(result: Mapping[str, Any]) -> str:
    lines = [
        f"{result['images']} scenes of each class, {result['side']} px, seed {result['seed']}, features by "
        f"`{result['training']}`, whose mean class accuracy on test scenes is {result['accuracy']:.3f}. Of "
        f"{result['look_alikes']} pairs of look-alikes {result['look_alikes_with_a_wrong_label']} have an image with a "
        "wrong label.",
        "",
        "| planted | images | found of them | recall | found in all | of them planted | precision |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for kind, each in result["kinds"].items():
        precision, recall = planted.shares({kind: planted.Found(**each)})[kind]
        lines.append(
            f"| {kind} | {each['planted']} | {each['recalled']} | {recall:.2f} | {each['found']} | {each['right']} "
            f"| {precision:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="planted-") as place:
        result = measure(Path(place))
    write_file(NUMBERS, json_bytes(result))
    page = PAGE.read_text(encoding="utf-8")
    write_file(PAGE, replaced(page, MARK, table(result)).encode())
    sys.stdout.write(f"{table(result)}\n")


if __name__ == "__main__":
    main()
