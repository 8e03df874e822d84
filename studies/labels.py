"""The fraction of wrong labels among test photographs, estimated from a judge's verdicts.

    python -m studies.labels FINDINGS RUN

FINDINGS is the file that `data check --weights --split --out` wrote, RUN the run whose split it used. Writes
`labels.json` and `labels.md` beside `reports/labels/judged.csv`, with file names and counts but no photographs.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from in4310repro.data.references import sample_positions
from in4310repro.evaluation.doubts.examination import total
from in4310repro.metrics import Interval, wilson
from in4310repro.report.exhibit import original
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.files import json_bytes, read_json, write_file
from in4310repro.system.numerics import generator_for

FOLDER = Path(__file__).parents[1] / "reports/labels"
EACH = 100  # images of each kind


def draw_sample(paths: Sequence[str], doubted: Collection[str], seed: int, each: int = EACH) -> list[str]:
    """Draw equally many images with and without doubtful labels, for a person to judge.

    Return the paths of these images in random order.

    Args:
        paths: paths of the images to choose from, such as the test images.
        doubted: paths of the images with doubtful labels; may include images that are not in `paths`.
        seed: seed of the random numbers; apart from the seed, these depend only on the paths.
        each: number of images of each kind (doubted, undoubted); if a kind has fewer images, all are returned.

    Examples:
        >>> sorted(draw_sample(["a", "b", "c", "d"], {"b", "c", "x"}, seed=0, each=2))
        ['a', 'b', 'c', 'd']
    """
    kinds = ([path for path in paths if (path in doubted) is doubtful] for doubtful in (True, False))
    chosen = [kind[position] for kind in kinds for position in sample_positions(kind, each, seed)]
    return sorted(chosen, key=lambda path: (generator_for(seed, "mixed", path).random(), path))


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A sample of the doubted (or undoubted) images that a person judged, with the number of all such images."""

    images: int
    judged: int
    wrong: list[str]  # paths whose label is none of the classes that were said
    open: list[str]  # paths whose label is one of several

    @property
    def interval(self) -> Interval:
        """95 % Wilson interval of the share of wrong labels. If all images were judged, both ends are this share."""
        if self.judged == self.images:
            return [len(self.wrong) / self.images] * 2
        return wilson(len(self.wrong), self.judged)


@dataclass(frozen=True, kw_only=True)
class Study:
    """An estimate of the number of wrong labels among all images, from a judged sample."""

    doubted: Kind
    undoubted: Kind

    @property
    def share(self) -> float:
        """Estimated share of wrong labels among all images, from the judged samples of doubted and undoubted images."""
        return self._weighted([len(kind.wrong) / kind.judged for kind in (self.doubted, self.undoubted)])

    @property
    def interval(self) -> Interval:
        """Conservative interval (at least 95 %) of the share of wrong labels among all images.

        It is the weighted mean of the intervals for doubted and undoubted images. The weights are the numbers of
        images.
        """
        ends = zip(self.doubted.interval, self.undoubted.interval, strict=True)
        return [self._weighted(pair) for pair in ends]

    def _weighted(self, shares: Sequence[float]) -> float:
        images = [self.doubted.images, self.undoubted.images]
        return sum(n * share for n, share in zip(images, shares, strict=True)) / sum(images)


def study(labels: Mapping[str, str], doubted: Collection[str], said: Mapping[str, Collection[str]]) -> Study:
    """Estimate the share of wrong labels from a person's judgements of the images that `draw_sample` drew.

    A label is wrong if it is none of the classes that the person found fitting.

    Args:
        labels: the class of each image that the estimates are about, by path.
        doubted: paths of the images with doubtful labels; may include images that are not in `labels`.
        said: for each judged image, by path, all classes that the person found fitting.

    Raises:
        ValueError: a judged image is not in `labels`, or no image of a kind (doubted, undoubted) was judged.

    Examples:
        >>> labels = {"a": "sea", "b": "sea", "c": "forest", "d": "forest"}
        >>> found = study(labels, {"a"}, {"a": ["forest"], "b": ["sea", "forest"]})
        >>> found.doubted.wrong, found.undoubted.open, found.share
        (['a'], ['b'], 0.25)
    """
    if unknown := sorted(said.keys() - labels.keys()):
        raise ValueError(f"{unknown[0]} was judged, which is none of the {len(labels)} images")
    kinds = []
    for doubtful in (True, False):
        paths = [path for path in labels if (path in doubted) is doubtful]
        judged = [path for path in paths if path in said]
        if not judged:
            kind = "with a doubtful label" if doubtful else "without a doubtful label"
            raise ValueError(f"no image {kind} was judged, of {len(paths)}; at least 1 is needed")
        kinds.append(
            Kind(
                images=len(paths),
                judged=len(judged),
                wrong=[path for path in judged if labels[path] not in said[path]],
                open=[path for path in judged if labels[path] in said[path] and len(said[path]) > 1],
            )
        )
    return Study(doubted=kinds[0], undoubted=kinds[1])


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
            **{f"{part} part": total(counts) for part, counts in doubts["doubts_by_part"].items()},
            "all": total(of_classes),
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
    printed = original()["settings"]["test"]["mean_class_accuracy"]
    return template.render(values, printed=printed) + "\n"


def main(findings: Path, run: Path) -> None:
    with (FOLDER / "judged.csv").open(encoding="utf-8", newline="") as stream:
        said = {row["path"]: row["said"].split() for row in csv.DictReader(stream)}
    values = compute_numbers(read_json(findings), FinishedRun.open(run), said)
    write_file(FOLDER / "labels.json", json_bytes(values))
    write_file(FOLDER / "labels.md", page(values).encode())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
