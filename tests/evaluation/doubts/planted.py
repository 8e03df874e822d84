"""Drawn scenes with known faults: wrong labels, and copies that are turned, cropped or recompressed."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from in4310repro.data import check, scenes
from in4310repro.evaluation.doubts.examination import Doubts

WRONG, EACH_COPY = 0.03, 0.02  # shares of the images: labels that are wrong, and copies of each kind
TURNS = (
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_180,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSPOSE,
    Image.Transpose.TRANSVERSE,
)
SIDES = (0.65, 0.95)  # of crops, as a share of the image's
QUALITIES = (40, 80)  # of JPEG
KINDS = ("turned", "cropped", "recompressed")
Pair = frozenset[str]


@dataclass(frozen=True)
class Truth:
    """Planted faults: wrongly labelled images with their true classes, and pairs of copies by type."""

    wrong: dict[str, str] = field(default_factory=dict)  # path -> the class that is drawn
    copies: dict[str, set[Pair]] = field(default_factory=lambda: {kind: set() for kind in KINDS})


@dataclass(frozen=True)
class Found:
    """Numbers of planted faults, of planted faults found, of all findings, and of correct findings."""

    planted: int
    recalled: int
    found: int
    right: int


def plant(folder: Path, images: int, side: int, seed: int) -> Truth:
    """Draw `images` scenes of each class into class folders, and plant faults.

    A copy is in the folder of its original under another number; no image has two faults.
    """
    truth, draws = Truth(), np.random.default_rng([seed, 4310])
    drawn = [(name, number) for name in scenes.CLASSES for number in range(images)]
    order = [drawn[place] for place in draws.permutation(len(drawn))]
    wrong, each = round(WRONG * len(drawn)), round(EACH_COPY * len(drawn))
    for name in scenes.CLASSES:
        (folder / name).mkdir(parents=True)
    for place, (name, number) in enumerate(order):
        picture = Image.fromarray(scenes.draw(name, number, side, seed))
        label = name
        if place < wrong:
            label = str(draws.choice([other for other in scenes.CLASSES if other != name]))
            truth.wrong[f"{label}/{name}{number:05d}.png"] = name
        path = f"{label}/{name}{number:05d}.png"
        picture.save(folder / path)
        kind = (place - wrong) // each if place >= wrong else len(KINDS)
        if kind < len(KINDS):
            copy = f"{name}/copy{place:05d}.{'jpg' if kind else 'png'}"
            (folder / copy).write_bytes(_copied(picture, KINDS[kind], draws))
            truth.copies[KINDS[kind]].add(frozenset((path, copy)))
    return truth


def _copied(picture: Image.Image, kind: str, draws: np.random.Generator) -> bytes:
    stream, quality = io.BytesIO(), int(draws.integers(*QUALITIES))
    if kind == "turned":
        picture.transpose(TURNS[int(draws.integers(len(TURNS)))]).save(stream, "PNG")
        return stream.getvalue()
    if kind == "cropped":
        width = picture.width
        side = round(width * draws.uniform(*SIDES))
        left, top = (int(draws.integers(width - side + 1)) for _ in range(2))
        picture = picture.crop((left, top, left + side, top + side)).resize((width, width), Image.Resampling.BICUBIC)
    picture.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def measured(truth: Truth, findings: check.Findings, doubts: Doubts) -> dict[str, Found]:
    """Return a dict from kind of fault to the numbers of planted and of found faults.

    A copy counts as found if any kind of link leads from it to its original. A found pair is correct if it was
    planted as a copy of any kind, because a slightly cropped copy is a near-duplicate too.
    """
    linked = {pair for group in doubts["copies"] for pair in _pairs(group)}
    planted = set().union(*truth.copies.values())
    by_kind = {
        "turned": {frozenset((each.first, each.second)) for each in findings.turned},
        "cropped": {frozenset((each["whole"], each["part"])) for each in doubts["crops"]},
        "recompressed": {pair for group in findings.near_duplicates for pair in _pairs(group)},
    }
    wrong = {each["path"] for each in doubts["doubts"]}
    result = {"wrong labels": _found(truth.wrong.keys(), truth.wrong.keys() & wrong, wrong, truth.wrong.keys())}
    for kind in KINDS:
        result[kind] = _found(truth.copies[kind], truth.copies[kind] & linked, by_kind[kind], planted)
    return result


def _pairs(group: Collection[str]) -> set[Pair]:
    return {frozenset((one, other)) for one in group for other in group if one < other}


def _found(
    planted: Collection[object], recalled: Collection[object], found: Collection[object], right: Collection[object]
) -> Found:
    return Found(len(planted), len(recalled), len(found), len(set(found) & set(right)))


def shares(found: Mapping[str, Found]) -> dict[str, tuple[float, float]]:
    """Return a dict from kind of fault to (precision, recall); precision is 1 if nothing was found."""
    return {
        kind: (each.right / each.found if each.found else 1.0, each.recalled / each.planted)
        for kind, each in found.items()
    }
