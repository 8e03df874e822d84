"""Search of a folder for copies, look-alikes and doubtful labels, by cross-validation and confident learning."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from in4310repro.data.check import Findings, conflicts, join_paths, leaks, lines_on_groups, list_examples
from in4310repro.data.folders import Catalogue, Entry
from in4310repro.data.splits import PARTS, Split, members, parts_of
from in4310repro.evaluation.doubts.resemblances import copies_by_hashes, resemblances
from in4310repro.evaluation.embedding import Features, Labels
from in4310repro.metrics import confusion_matrix, wilson
from in4310repro.system.numerics import generator_for
from in4310repro.system.progress import SILENT, Progress

FOLDS = 5
# Factor of the squared weights of standardised features, added to the mean loss. Of 0.007, 0.07 and 0.007 / 10 the
# second had the lowest out-of-fold loss on the course's images.
PENALTY = 0.07
ITERATIONS, TOLERANCE = 1000, 1e-3
Probabilities = Float64[np.ndarray, "image label"]  # of each class, by a classifier that was not trained on the image


def out_of_fold(
    features: Features,
    labels: Labels,
    keys: Sequence[str],
    classes: Sequence[str],
    seed: int = 0,
    progress: Progress = SILENT,
) -> Probabilities:
    """Return each image's class probabilities, predicted by logistic regression with cross-validation.

    The regression that predicts a fold is trained on the images of the other folds. Features are standardised by
    their mean and standard deviation over all images, since this uses no labels. The regression is that of
    scikit-learn, so the last digits depend on its version and on the machine.

    Args:
        features: the features of each image.
        labels: the class of each image, from 0.
        keys: a text for each image, which decides its fold; copies of an image have equal keys.
        classes: names of the classes, for the error message.
        seed: seed of the random folds.
        progress: shows the number of folds done.

    Raises:
        ValueError: all images of a class are in one fold.
    """
    # Imported here because it takes a second and other checks do not need it.
    from sklearn.linear_model import LogisticRegression

    folds = draw_folds(labels, keys, classes, seed)
    # With mean 0 and standard deviation 1 over the images; a constant feature becomes 0.
    mean, deviation = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    standard = np.subtract(features, mean.astype(np.float32), dtype=np.float32)
    standard /= np.where(deviation > 0, deviation, 1).astype(np.float32)
    probabilities = np.zeros((len(labels), len(classes)))
    with progress.task("fitting folds", FOLDS) as advance:
        for fold in range(FOLDS):
            inside = folds == fold
            if inside.any():
                # With one of NumPy's numbers scikit-learn would add in float64 and give other digits.
                strength = 1 / (PENALTY * int((~inside).sum()))
                model = LogisticRegression(C=strength, max_iter=ITERATIONS, tol=TOLERANCE)
                with warnings.catch_warnings(action="ignore"):
                    # A fit that has not converged still gives out-of-fold probabilities.
                    model.fit(standard[~inside], labels[~inside])
                probabilities[inside] = model.predict_proba(standard[inside])
            advance(1, "")
    return probabilities


def draw_folds(labels: Labels, keys: Sequence[str], classes: Sequence[str], seed: int) -> Labels:
    """Return each image's fold, drawn at random from `seed` and the image's key.

    Raises:
        ValueError: all images of a class are in one fold, so that none are left to train on.
    """
    folds = np.array([generator_for(seed, "fold", key).integers(FOLDS) for key in keys], np.int64)
    for label, name in enumerate(classes):
        own = np.flatnonzero(labels == label).tolist()
        if len({*folds[own]}) < 2:
            raise ValueError(
                f"class {name} has {len({keys[place] for place in own})} readable images that are not copies of each "
                f"other, all in one of {FOLDS} folds, so that none is left to learn from; add images to it: 10 are "
                "enough"
            )
    return folds


def confident_classes(labels: Labels, probabilities: Probabilities) -> Labels:
    """Return the class that each image is confidently assigned to, or -1 if there is none; each class has an image.

    This is the most probable of the classes whose probability is at least their threshold: their mean probability over
    the images labelled with them.

    Examples:
        >>> confident_classes(np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.5, 0.5], [0.25, 0.75]])).tolist()
        [0, -1, 1]
    """
    thresholds = [probabilities[labels == label, label].mean() for label in range(probabilities.shape[1])]
    reached = np.where(probabilities >= thresholds, probabilities, -1.0)
    return np.where(reached.max(axis=1) >= 0, reached.argmax(axis=1), -1)


def find_doubts(labels: Labels, probabilities: Probabilities) -> list[tuple[int, int]]:
    """Return (image index, predicted class) of each image with a confident prediction that differs from its label.

    The image with the largest difference of the two probabilities comes first.
    """
    seeming, images = confident_classes(labels, probabilities), np.arange(len(labels))
    margins = np.where(seeming >= 0, probabilities[images, seeming] - probabilities[images, labels], 0)
    ordered = np.argsort(-margins, kind="stable")[: (margins > 0).sum()]
    return [*zip(ordered.tolist(), seeming[ordered].tolist(), strict=True)]


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
    # If numbers are equal, the last one is kept.
    smallest = dict(sorted(hashes, reverse=True))
    return [smallest[number] for number in copies]
