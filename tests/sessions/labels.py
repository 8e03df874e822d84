"""The fraction of wrong labels among test photographs, estimated from a judge's verdicts.

    python -m tests.sessions.labels FINDINGS RUN

FINDINGS is the file that `data check --weights --split --out` wrote, RUN the run whose split it used. Writes
`labels.json` and `labels.md` beside `reports/labels/judged.csv`, with file names and counts but no photographs.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from in4310repro.evaluation.doubts.examination import count_doubts
from in4310repro.evaluation.doubts.labels import Kind, study
from in4310repro.metrics import wilson
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.files import json_bytes, read_json, write_file

FOLDER = Path(__file__).parents[2] / "reports/labels"


def compute_numbers(findings: dict[str, Any], run: FinishedRun, said: dict[str, list[str]]) -> dict[str, Any]:
    test = run.split.parts["test"]
    labels = {entry.path: run.classes[entry.label] for entry in test}
    doubts = findings["doubts"]
    doubted = {each["path"]: each["seems"] for each in doubts["doubts"]}
    of_classes = doubts["doubts_by_class"]
    found = study(labels, doubted.keys(), {path: classes for path, classes in said.items() if path in labels})
    others = {path: classes for path, classes in said.items() if path not in labels}
    wrong = [*found.doubted.wrong, *found.undoubted.wrong]
    return {
        "features": doubts["features"],
        "counts": {name: len(findings[name]) for name in ("identical", "conflicts", "near_duplicates", "turned")}
        | {name: len(doubts[name]) for name in ("crops", "copies", "copy_leaks", "look_alikes", "look_alike_leaks")},
        "doubts": {
            **of_classes,
            **{f"{part} part": sum_counts(counts) for part, counts in doubts["doubts_by_part"].items()},
            "all": sum_counts(of_classes),
        },
        "kinds": {"doubted": describe_kind(found.doubted), "undoubted": describe_kind(found.undoubted)},
        "other_parts": {"judged": len(others), "wrong": sum(path.split("/")[0] not in others[path] for path in others)},
        "wrong_share": found.share,
        "wrong_interval": found.interval,
        "wrong": [
            {"path": path, "label": labels[path], "said": said[path], "seems": doubted.get(path)} for path in wrong
        ],
        "confused": Counter(f"{labels[path]}, shows {' or '.join(said[path])}" for path in wrong),
        "accuracy": {
            "all test images": accuracy(run, ()),
            "without those that are doubted": accuracy(run, doubted),
            "without those whose label was judged wrong": accuracy(run, wrong),
        },
    }


def sum_counts(counts: dict[str, Any]) -> dict[str, Any]:
    doubts, images = (sum(each[name] for each in counts.values()) for name in ("doubts", "images"))
    return asdict(count_doubts(doubts, images))


def describe_kind(kind: Kind) -> dict[str, Any]:
    return {
        "images": kind.images,
        "judged": kind.judged,
        "wrong": len(kind.wrong),
        "open": len(kind.open),
        "interval": kind.interval,
    }


def accuracy(run: FinishedRun, without: Collection[str]) -> dict[str, Any]:
    """Return the selected network's accuracy and its interval, with some images left out."""
    scores = run.scores
    kept = np.array([path not in without for path in scores.paths])
    correct, images = int((scores.softmax.argmax(axis=1) == scores.labels)[kept].sum()), int(kept.sum())
    return {"correct": correct, "images": images, "share": correct / images, "interval": wilson(correct, images)}


def page(values: dict[str, Any]) -> str:
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)  # noqa: S701
    environment.filters["of_label"] = lambda confused, label: sum(
        images for words, images in confused.items() if words.startswith(f"{label}, ")
    )
    template = environment.from_string(Path(__file__).with_name("labels.md.jinja").read_text("utf-8"))
    return template.render(values) + "\n"


def main(findings: Path, run: Path) -> None:
    with (FOLDER / "judged.csv").open(encoding="utf-8", newline="") as stream:
        said = {row["path"]: row["said"].split() for row in csv.DictReader(stream)}
    values = compute_numbers(read_json(findings), FinishedRun.open(run), said)
    write_file(FOLDER / "labels.json", json_bytes(values))
    write_file(FOLDER / "labels.md", page(values).encode())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
