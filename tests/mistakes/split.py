"""Mistakes 4 to 8, of the split: sizes, strata, selection, labels and the split's table."""

from __future__ import annotations

import csv
import functools
import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from unittest import mock

import numpy as np

from in4310repro.data import folders
from in4310repro.data.embedded import write_scenes
from in4310repro.data.folders import Entry
from in4310repro.data.splits import PARTS, Split, from_csv, stratified_split, to_csv
from in4310repro.runs.record_types import HistoryRow
from in4310repro.runs.selection import select
from tests.mistakes import drawn
from tests.mistakes.contents import by_names, loaded, neighbour
from tests.mistakes.drawn import Parts, Yielded, from_to
from tests.mistakes.handed_over import SIZE, SIZES
from tests.mistakes.mistake import Mistake


def check_sizes(parts: Parts) -> None:
    """Each loader yields the requested number of images."""
    assert tuple(len(parts[part].labels) for part in PARTS) == SIZES


def swapped() -> Parts:
    parts = drawn.our_parts()
    return {"training": parts["training"], "validation": parts["test"], "test": parts["validation"]}


def check_strata(parts: Parts) -> None:
    """The number of images of a class in a part is proportional to the class size, to within one image."""
    labels = np.concatenate([part.labels for part in parts.values()])
    for part in parts.values():
        shares = np.bincount(labels, minlength=6) / len(labels) * len(part.labels)
        assert (np.abs(np.bincount(part.labels, minlength=6) - shares) <= 1).all()


@functools.cache
def not_stratified() -> Parts:
    return loaded(by_names(drawn.catalogue()))


def share_in_test(_ours: Parts, twin: Parts) -> str:
    counts = np.bincount(twin["test"].labels, minlength=6)
    return f"{counts.min()} to {counts.max()} test images of a class instead of 12"


Candidates = list[tuple[dict[str, float], dict[str, float], str]]


@functools.cache
def candidates() -> list[tuple[dict[str, float], dict[str, float]]]:
    """Return validation and test accuracies of ten nearest-neighbour classifiers on each of ten splits."""
    parts = drawn.our_parts()
    images = np.concatenate([parts[part].images for part in PARTS])
    labels = np.concatenate([parts[part].labels for part in PARTS])
    blurred = {
        f"{size} px, {channels} channels": images[:, :channels]
        .reshape(240, channels, size, SIZE // size, size, SIZE // size)
        .mean(axis=(3, 5))
        for size in (1, 2, 4, 8, 16)
        for channels in (1, 3)
    }
    measured = []
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(240)
        cut = np.split(order, np.cumsum(SIZES)[:2])
        rows: list[dict[str, float]] = [{}, {}]
        for name, maps in blurred.items():
            training, *others = (Yielded((), maps[places], labels[places]) for places in cut)
            for row, other in zip(rows, others, strict=True):
                row[name] = drawn.mean_accuracy(other.labels, drawn.nearest(training, other))
        measured.append((rows[0], rows[1]))
    return measured


def selected_on_validation() -> Candidates:
    chosen = []
    for validation, test in candidates():
        rows = {name: [cast("HistoryRow", {"mean_class_accuracy": value})] for name, value in validation.items()}
        chosen.append((validation, test, select(rows, "mean_class_accuracy")[0]))
    return chosen


def selected_on_test() -> Candidates:
    return [(validation, test, max(test, key=lambda name: test[name])) for validation, test in candidates()]


def check_selection(chosen: Candidates) -> None:
    """The selected classifier has the highest validation accuracy."""
    for validation, _, name in chosen:
        assert validation[name] == max(validation.values())


def gain(ours: Candidates, twin: Candidates) -> str:
    return from_to(
        "mean test accuracy of 10 selections",
        float(np.mean([test[name] for _, test, name in ours])),
        float(np.mean([test[name] for _, test, name in twin])),
    )


def listed(names: Iterator[Any], backwards: bool) -> Iterator[Any]:
    """Yield the entries of os.walk with names sorted forwards or backwards, as on different file systems."""
    for folder, inner, files in names:
        inner.sort(reverse=backwards)
        yield folder, inner, sorted(files, reverse=backwards)


LabelMaps = list[tuple[str, ...]]


def maps_of(classes_of: Any) -> LabelMaps:
    """Return the class names in the order of their labels, for each of two orders of directory listing."""
    walk = os.walk
    maps = []
    for backwards in (False, True):
        with mock.patch.object(os, "walk", lambda *a, b=backwards, **k: listed(walk(*a, **k), b)):
            maps.append(tuple(classes_of(drawn.catalogue().root)))
    return maps


def our_map() -> LabelMaps:
    return maps_of(lambda root: folders.catalogue(root).classes)


def map_as_listed() -> LabelMaps:
    return maps_of(lambda root: [name for _, inner, _ in itertools.islice(os.walk(root), 1) for name in inner])


def check_label_map(maps: LabelMaps) -> None:
    """A class gets the same label for every order of directory listing."""
    assert maps[0] == maps[1]


def read_with_another_map(_ours: LabelMaps, twin: LabelMaps) -> str:
    test = drawn.our_parts()["test"]
    predicted = drawn.logits(test.images).argmax(axis=1)
    moved = np.array([twin[1].index(name) for name in twin[0]])[predicted]
    right, wrong = (drawn.mean_accuracy(test.labels, each) for each in (predicted, moved))
    return from_to("mean class accuracy", right, wrong)


Table = tuple[list[str], bool]


def table_of(parts: Split) -> Table:
    """Return the paths in a split's table, and True if the files are found after the image folder is moved."""
    with tempfile.TemporaryDirectory() as name:
        first, second, file = Path(name) / "first", Path(name) / "second", Path(name) / "split.csv"
        write_scenes(first, 3, SIZE, 0)
        file.write_bytes(to_csv(parts).replace(b"ROOT", os.fsencode(first)))
        first.rename(second)
        with file.open(newline="") as stream:
            paths = [row["path"] for row in csv.DictReader(stream)]
        found = all((second / path).is_file() for path in paths)
        if found:
            assert len(from_csv(file, second).parts["training"]) == 6
    return paths, found


@functools.cache
def three_scenes(prefix: str) -> Split:
    with tempfile.TemporaryDirectory() as name:
        write_scenes(Path(name), 3, SIZE, 0)
        parts = stratified_split(folders.catalogue(Path(name)), (6, 6, 6), 0)
    longer = {
        part: tuple(Entry(f"{prefix}{entry.path}", entry.label, entry.sha256) for entry in entries)
        for part, entries in parts.parts.items()
    }
    return Split(parts.root, parts.classes, longer)


def check_table(table: Table) -> None:
    """A split can be read after its images were moved, because its paths are relative."""
    paths, found = table
    assert not any(Path(path).is_absolute() for path in paths)
    assert found


MISTAKES = [
    Mistake(
        number=4,
        name="validation and test swapped",
        check=check_sizes,
        ours=drawn.our_parts,
        twin=swapped,
        size=neighbour,
    ),
    Mistake(
        number=5,
        name="not stratified",
        check=check_strata,
        ours=drawn.our_parts,
        twin=not_stratified,
        size=share_in_test,
    ),
    Mistake(
        number=6,
        name="selection on test",
        check=check_selection,
        ours=selected_on_validation,
        twin=selected_on_test,
        size=gain,
    ),
    Mistake(
        number=7,
        name="labels in the order of a directory listing",
        check=check_label_map,
        ours=our_map,
        twin=map_as_listed,
        size=read_with_another_map,
    ),
    Mistake(
        number=8,
        name="absolute paths in the split",
        check=check_table,
        ours=lambda: table_of(three_scenes("")),
        twin=lambda: table_of(three_scenes("ROOT/")),
    ),
]
