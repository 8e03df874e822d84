"""Catalogues of class-per-folder image trees: one entry an image, sorted and hashed."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from in4310repro.progress import SILENT, Progress
from in4310repro.runs import file_sha256

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
# Kaggle's unlabelled folder: its pictures have no class.
UNLABELLED = ("seg_pred",)


@dataclass(frozen=True)
class Entry:
    """One image: its path below the root with forward slashes, its class and the sha256 of its bytes."""

    path: str
    label: int
    sha256: str


@dataclass(frozen=True)
class Catalogue:
    """The images below a root, sorted by path; labels index the sorted class names."""

    root: Path
    classes: tuple[str, ...]
    entries: tuple[Entry, ...]

    def counts(self) -> dict[str, int]:
        """Images of each class."""
        counts = Counter(entry.label for entry in self.entries)
        return {name: counts[label] for label, name in enumerate(self.classes)}


def catalogue(root: Path, progress: Progress = SILENT) -> Catalogue:
    """Lists and hashes the images of a tree whose innermost folders are named after the classes.

    Wrapping folders may stand around the class folders (Kaggle's `seg_train/seg_train/sea` and
    `seg_test/seg_test/sea` are both class sea). Files with other endings than an image's are no images.

    Raises:
        ValueError: no such folder, images outside class folders, a class folder without images, under two classes.
    """
    files = sorted(image_files(root), key=lambda file: file.relative_to(root).as_posix())
    loose = [file.name for file in files if file.parent == root]
    if loose:
        raise ValueError(f"{root} has images outside class folders, such as {loose[0]}; ROOT/CLASS/IMAGE is valid")
    _refuse_empty_folders(root)
    classes = tuple(sorted({file.parent.name for file in files}))
    if len(classes) < 2:
        raise ValueError(f"{root} has {len(classes)} class folders with images; at least 2 are needed")
    with progress.task("hashing images", len(files)) as advance:
        entries = []
        for file in files:
            path = file.relative_to(root).as_posix()
            entries.append(Entry(path, classes.index(file.parent.name), file_sha256(file)))
            advance(1, "")
    return Catalogue(root, classes, tuple(entries))


def image_files(root: Path) -> list[Path]:
    """Files below a folder that end like images, hidden and unlabelled folders left out, in order of their paths.

    Raises:
        ValueError: there is no such folder.
    """
    if not root.is_dir():
        raise ValueError(f"no folder {root}; a folder of images is needed")
    found = []
    for folder, names in _walk(root):
        found += [folder / name for name in names if Path(name).suffix.lower() in SUFFIXES and name[0] != "."]
    for file in found:
        # As text, a control character would break split.csv, and a byte that is no UTF-8 every file.
        if not str(file.relative_to(root)).isprintable():
            raise ValueError(f"file name {str(file)!r} has characters that cannot be printed; rename it")
    return sorted(found)


def _walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every folder with its files' names; links to folders are followed, hidden and unlabelled folders left out.

    Raises:
        ValueError: a link leads back to a folder around it.
    """
    for name, folders, files in os.walk(root, followlinks=True):
        folder = Path(name)
        if folder != root and folder.resolve() in (parent.resolve() for parent in folder.parents):
            raise ValueError(f"{folder} is a link to a folder around it; remove it")
        folders[:] = [inner for inner in folders if inner[0] != "." and inner not in UNLABELLED]
        yield folder, files


def _refuse_empty_folders(root: Path) -> None:
    """A class folder that yields nothing is a fault of the data, not a class to leave out in silence."""
    for folder, _ in _walk(root):
        if not image_files(folder):
            raise ValueError(f"class folder {folder} has no images; remove it or fill it ({', '.join(SUFFIXES)})")


def contents_sha256(entries: tuple[Entry, ...]) -> str:
    """One sha256 for paths, labels and contents of a list of images."""
    lines = (f"{entry.path} {entry.label} {entry.sha256}\n" for entry in entries)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
