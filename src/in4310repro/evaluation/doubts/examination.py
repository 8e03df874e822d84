"""Search of a folder for copies, look-alikes and doubtful labels; its findings as JSON and as text."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from in4310repro.data.check import Findings, conflicts, join_paths, leaks, lines_on_groups, list_examples
from in4310repro.data.folders import Catalogue, Entry
from in4310repro.data.splits import PARTS, Split, members, parts_of
from in4310repro.evaluation.doubts.labels import draw_folds, find_doubts, out_of_fold
from in4310repro.evaluation.doubts.resemblances import copies_by_hashes, resemblances
from in4310repro.evaluation.embedding import Features
from in4310repro.metrics import confusion_matrix, wilson
from in4310repro.system.progress import SILENT, Progress

Doubts = dict[str, Any]  # findings; `examine` says what each name is
Count = dict[str, Any]  # number of `doubts` and of `images`, 95 % `interval` of the share; None without images


def count_doubts(doubts: int, images: int) -> Count:
    """Return the number of doubtful images in a group, with the 95 % interval of their share of the group."""
    return {"doubts": doubts, "images": images, "interval": wilson(doubts, images) if images else None}


def total(counts: Mapping[str, Count]) -> Count:
    """Return the count of doubtful images, summed over all classes."""
    return count_doubts(*(sum(each[name] for each in counts.values()) for name in ("doubts", "images")))


def render(found: Doubts) -> str:
    """Return the findings as text, with the first examples of each kind of finding."""
    crops = [f"{each['part']} ~ {each['side']:.0%} of the side of {each['whole']}" for each in found["crops"]]
    alike = [[f"{join_paths(each['paths'])} ({each['similarity']:.2f})"] for each in found["look_alikes"]]
    doubts = ["{path} ({seems} {probability:.2f}, {of_label:.2f})".format(**each) for each in found["doubts"]]
    lines = list_examples("pairs of which one is a part of the other", crops)
    lines += lines_on_groups(
        "groups of copies of any kind", found["copies"], found["copy_conflicts"], found["copy_leaks"]
    )
    lines += lines_on_groups("pairs of look-alikes in different classes", alike, None, found["look_alike_leaks"])
    lines += list_examples("doubtful labels", doubts)
    of_parts = {f"the {part} part": total(counts) for part, counts in (found["doubts_by_part"] or {}).items()}
    counts = found["doubts_by_class"] | of_parts | {"all": total(found["doubts_by_class"])}
    for name, each in counts.items():
        interval = " ({:.1%} to {:.1%})".format(*each["interval"]) if each["images"] else ""
        lines.append(f"  {name}: {each['doubts']} of {each['images']}{interval}")
    return "\n".join(lines)


def readable(images: Catalogue, findings: Findings, seed: int = 0) -> tuple[Entry, ...]:
    """Return the images that can be decoded, in catalogue order. Check that they suffice for cross-validation.

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
            f"{images.root} has images of {len(images.classes)} class; at least 2 are needed to find doubtful labels"
        )
    labels = np.array([entry.label for entry in entries], np.int64)
    copies = copies_by_hashes([entry.path for entry in entries], findings)
    draw_folds(labels, _keys(entries, copies), images.classes, seed)
    return entries


def examine(
    images: Catalogue,
    findings: Findings,
    features: Features,
    described: Mapping[str, object],
    split: Split | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Doubts:
    """Find cropped copies, look-alikes of different classes and doubtful labels, by features of a network.

    The findings are to be judged by a person. Paths are relative to the folder, and the names are:
        features, seed: of which network the features are, and the seed of the folds.
        crops: pairs of images, of which `part` shows a part of `whole`, or all of it; `side` is that of the part, as a
            share of the whole's, and `correlation` that of the details of both, at most 1.
        copies: groups of images that copies of any kind link.
        copy_conflicts: of them those with several labels.
        copy_leaks: of them those in several parts of the split, by part; None without a split.
        look_alikes: `paths` and `labels` of two images of different classes, each the nearest neighbour of the other,
            and the `similarity`, the cosine of their features beyond the mean; the most similar first.
        look_alike_leaks: those in several parts of the split, by part; None without a split.
        doubts: `path` and `label` of an image that `seems` to be of another class to a classifier that was not trained
            on it, with the `probability` of that class and that `of_label`; the most doubtful first.
        doubts_by_class: counts of them, by class.
        doubts_by_part: the same by part of the split; None without a split.
        confusion_matrix: images by label (row) and most probable class (column).
        confusions: every image whose most probable class is another one, as in `doubts`; the most probable first.

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
    entries, classes = readable(images, findings, seed), images.classes
    paths, labels = [entry.path for entry in entries], np.array([entry.label for entry in entries], np.int64)
    names = {entry.path: classes[entry.label] for entry in entries}
    crops, copies, alike = resemblances(images.root, paths, labels, findings, features, progress)
    probabilities = out_of_fold(features, labels, _keys(entries, copies), classes, seed, progress)
    predicted, parts = probabilities.argmax(axis=1), parts_of(split) if split else {}

    def doubt(position: int, seems: int) -> dict[str, Any]:
        path, (probability, of_label) = paths[position], probabilities[position, [seems, labels[position]]].tolist()
        told = {"path": path, "label": names[path], "seems": classes[seems]}
        return told | {"probability": probability, "of_label": of_label}

    def by_class(part: str | None = None) -> dict[str, Count]:
        """Return the number of doubtful images of each class, by class name; None: of all parts."""
        among = {path: name for path, name in names.items() if part in (None, parts.get(path))}
        doubtful = Counter(each["label"] for each in doubts if each["path"] in among)
        images_of = Counter(among.values())
        return {name: count_doubts(doubtful[name], images_of[name]) for name in classes}

    wrong = np.flatnonzero(predicted != labels)
    confused = zip(wrong.tolist(), predicted[wrong].tolist(), strict=True)
    doubts, confusions = ([doubt(*each) for each in found] for found in (find_doubts(labels, probabilities), confused))
    groups = [[paths[position] for position in group] for group in members(copies)]
    pairs = [[paths[first], paths[second]] for first, second, _ in alike]
    return {
        "features": dict(described),
        "seed": seed,
        "crops": [
            {"whole": paths[crop.whole], "part": paths[crop.part], "side": crop.side, "correlation": crop.correlation}
            for crop in crops
        ],
        "copies": groups,
        "copy_conflicts": conflicts(groups, names),
        "copy_leaks": leaks(groups, parts),
        "look_alikes": [
            {"paths": pair, "labels": [names[path] for path in pair], "similarity": similarity}
            for pair, (*_, similarity) in zip(pairs, alike, strict=True)
        ],
        "look_alike_leaks": leaks(pairs, parts),
        "doubts": doubts,
        "doubts_by_class": by_class(),
        "doubts_by_part": {part: by_class(part) for part in PARTS} if split else None,
        "confusion_matrix": confusion_matrix(*map(torch.from_numpy, (labels, probabilities))).tolist(),
        "confusions": sorted(confusions, key=lambda each: (-each["probability"], each["path"])),
    }


def _keys(entries: Sequence[Entry], copies: Sequence[int]) -> list[str]:
    """Return a key for each image: the smallest sha256 among the image and its copies.

    The key decides the image's cross-validation fold, so that copies are in the same fold.
    """
    hashes = zip(copies, (entry.sha256 for entry in entries), strict=True)
    # Of equal numbers, the last one is kept.
    smallest = dict(sorted(hashes, reverse=True))
    return [smallest[number] for number in copies]
