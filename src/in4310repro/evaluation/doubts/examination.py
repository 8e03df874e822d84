"""Search for copies, look-alikes and doubtful labels in a folder of images, by features of the images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32, Float64, Int64

from in4310repro.data.check import Findings, conflicts, leaks
from in4310repro.data.folders import Catalogue, Entry
from in4310repro.data.linking import members
from in4310repro.data.split_differences import parts_of
from in4310repro.data.splits import PARTS, Split
from in4310repro.evaluation.doubts import confident
from in4310repro.evaluation.doubts.findings import Count, CropPair, Doubt, Doubts, LookAlike, count_doubts
from in4310repro.evaluation.doubts.folds import check_folds, out_of_fold
from in4310repro.evaluation.doubts.look_alikes import LookAlike as PairOfTwoClasses
from in4310repro.evaluation.doubts.resemblances import copies_by_hashes, resemblances
from in4310repro.system.progress import SILENT, Progress


def readable(images: Catalogue, findings: Findings, seed: int = 0) -> tuple[Entry, ...]:
    """Return the images that can be decoded, in the catalogue's order; raise ValueError if a class has too few.

    Args:
        images: the catalogue of the folder.
        findings: the result of `data.check` for the folder.
        seed: seed of the random folds.

    Raises:
        ValueError: the folder has fewer than two classes, or a class has too few distinct images.
    """
    entries = tuple(entry for entry in images.entries if entry.path not in findings.unreadable)
    if len(images.classes) < 2:
        raise ValueError(
            f"{images.root} has images of {len(images.classes)} classes; labels are doubted among 2 or more"
        )
    copies = copies_by_hashes([entry.path for entry in entries], findings)
    check_folds(np.array([entry.label for entry in entries], np.int64), _keys(entries, copies), images.classes, seed)
    return entries


def examine(
    images: Catalogue,
    findings: Findings,
    features: Float32[np.ndarray, "image feature"],
    described: Mapping[str, object],
    split: Split | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Doubts:
    """Find cropped copies, look-alikes of different classes and doubtful labels, by features of a network.

    Args:
        images: the catalogue of the folder.
        findings: the result of `data.check` for the folder.
        features: features of each of the `readable` images.
        described: description of the network that gave the features, for the record.
        split: a split to search for copies and look-alikes in different parts; None: no search.
        seed: seed of the random folds.
        progress: shows the progress.

    Raises:
        ValueError: a class has too few distinct images.
    """
    entries = readable(images, findings, seed)
    paths = [entry.path for entry in entries]
    labels = np.array([entry.label for entry in entries], np.int64)
    found = resemblances(images.root, entries, findings, features, progress)
    probabilities = out_of_fold(features, labels, _keys(entries, found.copies), images.classes, seed, progress)
    doubts = [_doubt(entries, images.classes, probabilities, *each) for each in confident.doubts(labels, probabilities)]
    groups = [[paths[position] for position in group] for group in members(found.copies)]
    alike = _look_alikes(found.look_alikes, entries, images.classes)
    parts = parts_of(split) if split else {}
    return Doubts(
        features=dict(described),
        seed=seed,
        crops=[
            CropPair(whole=paths[crop.whole], part=paths[crop.part], side=crop.side, correlation=crop.correlation)
            for crop in found.crops
        ],
        copies=groups,
        copy_conflicts=conflicts(groups, {entry.path: images.classes[entry.label] for entry in entries}),
        copy_leaks=leaks(groups, parts),
        look_alikes=alike,
        look_alike_leaks=leaks([each.paths for each in alike], parts),
        doubts=doubts,
        doubts_by_class=_by_class(entries, doubts, images.classes),
        doubts_by_part={
            part: _by_class([entry for entry in entries if parts.get(entry.path) == part], doubts, images.classes)
            for part in (PARTS if split else ())
        },
        confusion_matrix=_confusion_matrix(labels, probabilities),
        confusions=_confusions(entries, images.classes, probabilities),
    )


def _keys(entries: Sequence[Entry], copies: Sequence[int]) -> list[str]:
    """Return for each image the smallest sha256 among its copies, a key that puts copies into the same fold."""
    smallest: dict[int, str] = {}
    for entry, number in zip(entries, copies, strict=True):
        smallest[number] = min(smallest.get(number, entry.sha256), entry.sha256)
    return [smallest[number] for number in copies]


def _look_alikes(
    pairs: Sequence[PairOfTwoClasses], entries: Sequence[Entry], classes: Sequence[str]
) -> list[LookAlike]:
    return [
        LookAlike(
            paths=[entries[first].path, entries[second].path],
            labels=[classes[entries[first].label], classes[entries[second].label]],
            similarity=similarity,
        )
        for first, second, similarity in pairs
    ]


def _doubt(
    entries: Sequence[Entry],
    classes: Sequence[str],
    probabilities: Float64[np.ndarray, "image label"],
    position: int,
    seems: int,
) -> Doubt:
    entry, row = entries[position], probabilities[position]
    return Doubt(
        path=entry.path,
        label=classes[entry.label],
        seems=classes[seems],
        probability=float(row[seems]),
        of_label=float(row[entry.label]),
    )


def _by_class(entries: Sequence[Entry], doubts: Sequence[Doubt], classes: Sequence[str]) -> dict[str, Count]:
    """Return the number of doubtful images of each class, by class name."""
    images = Counter(classes[entry.label] for entry in entries)
    paths = {entry.path for entry in entries}
    doubtful = Counter(doubt.label for doubt in doubts if doubt.path in paths)
    return {name: count_doubts(doubtful[name], images[name]) for name in classes}


def _confusion_matrix(
    labels: Int64[np.ndarray, " image"], probabilities: Float64[np.ndarray, "image label"]
) -> list[list[int]]:
    classes = probabilities.shape[1]
    flat = np.bincount(labels * classes + probabilities.argmax(axis=1), minlength=classes**2)
    matrix: list[list[int]] = flat.reshape(classes, classes).tolist()
    return matrix


def _confusions(
    entries: Sequence[Entry], classes: Sequence[str], probabilities: Float64[np.ndarray, "image label"]
) -> list[Doubt]:
    predicted = probabilities.argmax(axis=1)
    confused = [
        _doubt(entries, classes, probabilities, position, int(seems))
        for position, seems in enumerate(predicted)
        if seems != entries[position].label
    ]
    return sorted(confused, key=lambda each: (-each.probability, each.path))
