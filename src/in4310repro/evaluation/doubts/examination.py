"""Search of a folder for copies, look-alikes and doubtful labels; its findings as JSON and as text."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float32

from in4310repro.data.check import Findings, Group, conflicts, join_paths, leaks, lines_on_groups, list_examples
from in4310repro.data.folders import Catalogue, Entry
from in4310repro.data.splits import PARTS, Split, members, parts_of
from in4310repro.evaluation.doubts.labels import count_pairs, draw_folds, find_doubts, out_of_fold
from in4310repro.evaluation.doubts.resemblances import copies_by_hashes, resemblances
from in4310repro.metrics import wilson
from in4310repro.system.progress import SILENT, Progress

OF_SPLIT = ("copy_leaks", "look_alike_leaks", "doubts_by_part")  # findings that need a split


@dataclass(frozen=True, kw_only=True)
class CropPair:
    """Paths of two images, of which `part` shows a part of `whole`, or all of it."""

    whole: str
    part: str
    side: float  # of the part, as a share of the whole's
    correlation: float  # of the details of both, at most 1


@dataclass(frozen=True, kw_only=True)
class LookAlike:
    """Two images of different classes, each the nearest neighbour of the other."""

    paths: Group
    labels: list[str]
    similarity: float  # cosine of their features beyond the mean


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """An image whose label differs from the class predicted by a classifier that was not trained on the image."""

    path: str
    label: str
    seems: str
    probability: float  # of the class that it seems to be of
    of_label: float


@dataclass(frozen=True, kw_only=True)
class Count:
    """Number of doubtful images in a group of images."""

    doubts: int
    images: int
    interval: list[float] | None  # of the share, 95 %; None without images


@dataclass(frozen=True, kw_only=True)
class Doubts:
    """Findings of the search for doubtful labels and copies, to be judged by a person; paths are relative."""

    features: dict[str, object]  # of which network they are
    seed: int  # of the folds
    crops: list[CropPair]
    copies: list[Group]  # images that copies of any kind link
    copy_conflicts: list[Group]  # of them with several labels
    copy_leaks: list[dict[str, Group]]  # of them in several parts of the split, by part
    look_alikes: list[LookAlike]  # the most similar first
    look_alike_leaks: list[dict[str, Group]]  # those in several parts of the split, by part
    doubts: list[Doubt]  # the most doubtful first
    doubts_by_class: dict[str, Count]
    doubts_by_part: dict[str, dict[str, Count]]  # part -> class -> count; without a split empty
    confusion_matrix: list[list[int]]  # rows: label; columns: most probable class
    confusions: list[Doubt]  # every image whose most probable class is another one, the most probable first

    def to_json(self) -> dict[str, object]:
        """Return all fields as JSON values by name; fields that need a split are null if none was given."""
        return asdict(self) | ({} if self.doubts_by_part else dict.fromkeys(OF_SPLIT))


def count_doubts(doubts: int, images: int) -> Count:
    """Return the number of doubtful images in a group, with the 95 % interval of their share of the group."""
    return Count(doubts=doubts, images=images, interval=wilson(doubts, images) if images else None)


def total(counts: Mapping[str, Count]) -> Count:
    """Return the count of doubtful images, summed over all classes."""
    return count_doubts(sum(each.doubts for each in counts.values()), sum(each.images for each in counts.values()))


def render(found: Doubts) -> str:
    """Return the findings as text, with the first examples of each kind of finding."""
    crops = [f"{each.part} ~ {each.side:.0%} of the side of {each.whole}" for each in found.crops]
    alike = [f"{join_paths(each.paths)} ({each.similarity:.2f})" for each in found.look_alikes]
    doubts = [f"{each.path} ({each.seems} {each.probability:.2f}, {each.of_label:.2f})" for each in found.doubts]
    lines = list_examples("pairs of which one is a part of the other", crops)
    copy_leaks, alike_leaks = (found.copy_leaks, found.look_alike_leaks) if found.doubts_by_part else (None, None)
    copies = [join_paths(paths) for paths in found.copies]
    lines += lines_on_groups("groups of copies of any kind", copies, found.copy_conflicts, copy_leaks)
    lines += lines_on_groups("pairs of look-alikes in different classes", alike, None, alike_leaks)
    lines += list_examples("doubtful labels", doubts)
    of_parts = {f"the {part} part": total(counts) for part, counts in found.doubts_by_part.items()}
    counts = found.doubts_by_class | of_parts | {"all": total(found.doubts_by_class)}
    for name, each in counts.items():
        interval = "" if each.interval is None else " ({:.1%} to {:.1%})".format(*each.interval)
        lines.append(f"  {name}: {each.doubts} of {each.images}{interval}")
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
    entries, classes = readable(images, findings, seed), images.classes
    paths, labels = [entry.path for entry in entries], np.array([entry.label for entry in entries], np.int64)
    names = {entry.path: classes[entry.label] for entry in entries}
    found = resemblances(images.root, entries, findings, features, progress)
    probabilities = out_of_fold(features, labels, _keys(entries, found.copies), classes, seed, progress)
    predicted, parts = probabilities.argmax(axis=1), parts_of(split) if split else {}

    def doubt(position: int, seems: int) -> Doubt:
        path, (probability, of_label) = paths[position], probabilities[position, [seems, labels[position]]].tolist()
        return Doubt(path=path, label=names[path], seems=classes[seems], probability=probability, of_label=of_label)

    def by_class(part: str | None = None) -> dict[str, Count]:
        """Return the number of doubtful images of each class, by class name; None: of all parts."""
        among = {path: name for path, name in names.items() if part is None or parts.get(path) == part}
        images_of, doubtful = Counter(among.values()), Counter(each.label for each in doubts if each.path in among)
        return {name: count_doubts(doubtful[name], images_of[name]) for name in classes}

    doubts = [doubt(*each) for each in find_doubts(labels, probabilities)]
    wrong = np.flatnonzero(predicted != labels).tolist()
    confusions = [doubt(position, predicted[position].item()) for position in wrong]
    groups = [[paths[position] for position in group] for group in members(found.copies)]
    alike = [([paths[first], paths[second]], similarity) for first, second, similarity in found.look_alikes]
    return Doubts(
        features=dict(described),
        seed=seed,
        crops=[
            CropPair(whole=paths[crop.whole], part=paths[crop.part], side=crop.side, correlation=crop.correlation)
            for crop in found.crops
        ],
        copies=groups,
        copy_conflicts=conflicts(groups, names),
        copy_leaks=leaks(groups, parts),
        look_alikes=[
            LookAlike(paths=pair, labels=[names[path] for path in pair], similarity=each) for pair, each in alike
        ],
        look_alike_leaks=leaks([pair for pair, _ in alike], parts),
        doubts=doubts,
        doubts_by_class=by_class(),
        doubts_by_part={part: by_class(part) for part in (PARTS if split else ())},
        confusion_matrix=count_pairs(labels, predicted, len(classes)).tolist(),
        confusions=sorted(confusions, key=lambda each: (-each.probability, each.path)),
    )


def _keys(entries: Sequence[Entry], copies: Sequence[int]) -> list[str]:
    """Return a key for each image: the smallest sha256 among the image and its copies.

    The key decides the image's cross-validation fold, so that copies are in the same fold.
    """
    smallest: dict[int, str] = {}
    for entry, number in zip(entries, copies, strict=True):
        smallest[number] = min(smallest.get(number, entry.sha256), entry.sha256)
    return [smallest[number] for number in copies]
