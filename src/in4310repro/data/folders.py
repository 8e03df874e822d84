"""Catalogues of image trees with a folder per class: one entry per image, with a hash, in sorted order."""

import bisect
import importlib.util
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from in4310repro.data.class_folders import SECOND, Reading, read
from in4310repro.system.files import bytes_sha256, file_sha256, reason, relative_path
from in4310repro.system.machine import install_command
from in4310repro.system.progress import SILENT, Progress

# Formats of telephones, supported if the library for them is installed.
HEIF = (".heic", ".heif") if importlib.util.find_spec("pillow_heif") else ()
SUFFIXES = (".bmp", ".gif", *HEIF, ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
SHOWN = 3  # files that a message names
AT_ONCE = 64  # files that a thread hashes at a time
# Names, in any capitals, of Kaggle's folder of unlabelled images, and of what macOS adds to archives.
UNLABELLED, SKIPPED = "seg_pred", "__macosx"
Report = Callable[[str], None]  # takes a fault of a tree, as a sentence
Read = Callable[[Sequence[str]], Reading]  # gives the classes of images by their paths
Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class Entry:
    """One image: its path below the root with forward slashes, its label, and the sha256 of its file."""

    path: str
    label: int
    sha256: str


@dataclass(frozen=True)
class Catalogue:
    """Images below a root, sorted by path; a label is an index into the sorted class names."""

    root: Path
    classes: tuple[str, ...]
    entries: tuple[Entry, ...]

    def counts(self) -> dict[str, int]:
        """Return the number of images of each class by class name; 0 for a class without images."""
        counts = Counter(entry.label for entry in self.entries)
        return {name: counts[label] for label, name in enumerate(self.classes)}

    def labels(self) -> dict[str, str]:
        """Return the class name of each image by its path."""
        return {entry.path: self.classes[entry.label] for entry in self.entries}


def _refuse(fault: str) -> None:
    raise ValueError(fault)


def survey(
    root: Path,
    progress: Progress = SILENT,
    chosen: str | None = None,
    reader: Read = read,
    refuse: Report | None = None,
) -> tuple[Catalogue, list[str], list[tuple[str, str]]]:
    """List and hash the images of a tree as `catalogue` does, but collect all faults instead of raising the first.

    Images outside class folders are omitted. So are images whose names cannot be written into the files of a run.

    Args:
        root: the folder that paths are relative to.
        progress: where to show how many images have been hashed, and which folders are not classes.
        chosen: an entry of `class_folders.CLASS_FOLDERS`; None: the folders tell.
        reader: takes the place of `class_folders.read` if `chosen` is None.
        refuse: raises a fault as an error; None: faults are collected.

    Returns:
        The images, of any number of classes; the faults of the tree for which a training would fail, as sentences; and
        each path whose bytes cannot be read, with the reason.

    Raises:
        ValueError: the folder does not exist.
    """
    faults, unreadable = list[str](), list[tuple[str, str]]()
    labels = _list_images(root, progress, refuse or faults.append, chosen, reader)
    classes = sorted({*labels.values()})

    def digest(path: str) -> str:
        try:
            return file_sha256(root / path)
        except (OSError, ValueError) as error:
            if refuse:
                raise
            unreadable.append((path, reason(error)))
            return ""

    hashed = zip(labels.items(), in_threads(digest, [*labels], "hashing images", progress, AT_ONCE), strict=True)
    entries = (Entry(path, bisect.bisect_left(classes, name), sha256) for (path, name), sha256 in hashed if sha256)
    return Catalogue(root, tuple(classes), tuple(entries)), list(dict.fromkeys(faults)), unreadable


def catalogue(
    root: Path, progress: Progress = SILENT, class_folders: str | None = None, reader: Read = read
) -> Catalogue:
    """List and hash the images of a tree of class folders.

    The outermost folders are the classes, whose images are at any depth. Parts of a download are left out: Kaggle's
    `seg_train/seg_train/sea` and `seg_test/seg_test/sea` both have images of class sea (see `class_folders.read`).
    Files without the suffix of an image are skipped.

    Args:
        root: the folder that paths are relative to.
        progress: where to show how many images have been hashed, and which folders are not classes.
        class_folders: an entry of `class_folders.CLASS_FOLDERS`, which decides; None: the folders tell.
        reader: takes the place of `class_folders.read` if `class_folders` is None.

    Raises:
        ValueError: no such folder, images outside class folders, a folder without images, fewer than two classes,
            nothing tells which folders are the classes, or two names that differ by Unicode normalisation alone.
            `Sea` and `sea` are two classes.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("sea", "forest"):
        ...         (Path(folder) / name).mkdir()
        ...         Image.new("RGB", (8, 8)).save(Path(folder) / name / "1.png")
        ...     images = catalogue(Path(folder))
        >>> images.classes, [(entry.path, entry.label) for entry in images.entries]
        (('forest', 'sea'), [('forest/1.png', 0), ('sea/1.png', 1)])
    """
    return survey(root, progress, class_folders, reader, _refuse)[0]


def in_threads(
    work: Callable[[Item], Outcome], items: Sequence[Item], title: str, progress: Progress, at_once: int
) -> Iterator[Outcome]:
    """Yield the result of `work` for each item, in order; several threads compute them, `at_once` items at a time."""
    groups = (items[start : start + at_once] for start in range(0, len(items), at_once))
    # Threads suffice: reading, hashing and Pillow's decoding release the interpreter's lock.
    with progress.task(title, len(items)) as advance, ThreadPoolExecutor(os.cpu_count()) as threads:
        for outcomes in threads.map(lambda group: [*map(work, group)], groups):
            yield from outcomes
            advance(len(outcomes), "")


def _list_images(root: Path, progress: Progress, report: Report, chosen: str | None, reader: Read) -> dict[str, str]:
    """Return the class of each image in a class folder, by its path in sorted order; pass each fault to `report`."""
    folders, images, others = _walk(root, report)
    paths = [path for path in _check_names(root, images, report) if not _is_unlabelled(path)]
    if others:
        counts = Counter(file.suffix.lower() or "no suffix" for file in map(PurePosixPath, others))
        advice = f"; to read HEIC: {install_command('pillow_heif')}" if {".heic", ".heif"} & counts.keys() else ""
        progress.message(
            f"{root}: {len(others)} files were skipped, since their names are not those of images "
            f"({', '.join(f'{count} of {suffix}' for suffix, count in counts.most_common())}), such as "
            f"{', '.join(others[:SHOWN])}{advice}"
        )
    reading = read(paths, chosen) if chosen else reader(paths)
    for note in reading.notes:
        progress.message(f"{root}: {note}")
    if outside := [path for path in paths if path not in reading.classes]:
        valid = "ROOT/FOLDER/CLASS/IMAGE" if chosen == SECOND else "ROOT/CLASS/IMAGE"
        report(f"{root} has {len(outside)} images outside class folders, such as {outside[0]}; each must be in {valid}")
    if reading.doubt:
        report(f"{root}: {reading.doubt}")
    # A class folder without images is reported, so that a missing class is noticed.
    inner = {path.rpartition("/")[0] for path in paths}
    filled = {f"{around}" for folder in inner for around in (folder, *PurePosixPath(folder).parents)}
    for folder in folders:
        if not _is_unlabelled(f"{folder}/"):
            if folder and folder not in filled:
                report(f"class folder {root / folder} has no images; remove it or fill it ({', '.join(SUFFIXES)})")
        elif not _is_unlabelled(folder):
            progress.message(f"{root / folder} is skipped: its images have no classes")
    classes = sorted({*reading.classes.values()})
    _report_equal_names("class folders", classes, report)
    _report_equal_names("files", reading.classes, report)
    if len(classes) < 2:
        report(f"{root} has {len(classes)} class folders with images; at least 2 are needed")
    return reading.classes


def image_files(root: Path, *, unlabelled: bool = False) -> list[Path]:
    """Return the image files (see `SUFFIXES`) below a folder, sorted folder by folder.

    Hidden files, hidden folders and those that macOS adds are skipped. Links to folders are followed.

    Args:
        root: the folder.
        unlabelled: whether those below a folder `seg_pred`, which has images without classes, are among them.

    Raises:
        ValueError: the folder does not exist, a folder cannot be listed, a link leads to a folder that
            contains the link, or a name has a backslash or unprintable characters.
    """
    paths = _check_names(root, _walk(root, _refuse)[1], _refuse)
    wanted = (path for path in paths if unlabelled or not _is_unlabelled(path))
    return [root / path for path in sorted(wanted, key=lambda path: path.split("/"))]


def refuse_no_folder(root: str | Path) -> None:
    """Raise ValueError if the folder of images does not exist."""
    if not Path(root).is_dir():
        raise ValueError(f"no folder {root}; a folder of images is needed")


def refuse_no_images(place: Path) -> None:
    """Raise ValueError if neither an image nor a folder has this path."""
    if not place.exists():
        raise ValueError(f"no image and no folder {place}")


def count_images(root: Path, class_folders: str | None = None) -> int:
    """Return the number of images in class folders, without reading them; see `catalogue` for `class_folders`.

    Raises:
        ValueError: as `catalogue`.
    """
    return len(_list_images(root, SILENT, _refuse, class_folders, read))


def skipped_files(root: Path) -> list[str]:
    """Return the sorted paths of non-hidden files below a folder that `image_files` skips because of their suffixes."""
    return _walk(root, lambda _fault: None)[2]


def _walk(root: Path, report: Report) -> tuple[list[str], list[str], list[str]]:
    """Return relative paths below a folder: of folders, outermost first, of images, and of files with other suffixes.

    The root's own path is empty. Hidden folders and those that macOS adds are skipped. `report` gets a message about
    each folder that cannot be listed, and about each link to a folder that contains the link.

    Raises:
        ValueError: the folder does not exist, or its name is not valid UTF-8.
    """
    # Python represents bytes that are not UTF-8 as lone surrogates.
    if any("\ud800" <= letter <= "\udfff" for letter in str(root)):
        raise ValueError(f"folder name {str(root)!r} is not valid UTF-8; rename it")
    refuse_no_folder(root)
    visited, images, others = list[str](), list[str](), list[str]()

    unlisted = "folder {0.filename} cannot be listed ({1})"
    tree = os.walk(root, onerror=lambda error: report(unlisted.format(error, reason(error))), followlinks=True)
    for name, folders, names in tree:
        folder = Path(name)
        # os.walk would follow such a link forever.
        if folder != root and folder.resolve() in (parent.resolve() for parent in folder.parents):
            report(f"{folder} is a link to a folder around it; remove it")
            folders.clear()
            continue
        folders[:] = sorted(inner for inner in folders if inner[0] != "." and inner.casefold() != SKIPPED)
        below = "" if folder == root else folder.relative_to(root).as_posix()
        visited.append(below)
        for file in names:
            if file[0] != ".":
                (images if file.lower().endswith(SUFFIXES) else others).append(f"{below}/{file}".lstrip("/"))
    return visited, sorted(images), sorted(others, key=lambda path: path.split("/"))


def _check_names(root: Path, paths: Iterable[str], report: Report) -> Iterator[str]:
    """Yield the paths that can be written into the files of a run, and pass a message on each other one to `report`."""
    for path in paths:
        # Control characters would corrupt split.csv, and bytes that are not UTF-8 every text file.
        if not path.isprintable():
            report(f"file name {str(root / path)!r} has characters that cannot be printed; rename it")
            continue
        try:
            relative_path(path)
        except ValueError as error:
            report(f"{root / path}: {error}; rename it")
        else:
            yield path


def _is_unlabelled(path: str) -> bool:
    """Return whether the image with this relative path lies in Kaggle's folder of images without classes."""
    return UNLABELLED in path.casefold().split("/")[:-1]


def _report_equal_names(kind: str, names: Iterable[str], report: Report) -> None:
    """Report names that differ only by Unicode normalisation, which some systems treat as one name.

    `Sea` and `sea` are not reported: they are different classes, and systems that ignore case cannot have both.
    """
    first: dict[str, str] = {}
    for name in names:
        if (other := first.setdefault(unicodedata.normalize("NFC", name), name)) != name:
            report(f"{kind} {other!a} and {name!a} differ by Unicode normalisation alone; rename one of them")


def contents_sha256(entries: tuple[Entry, ...]) -> str:
    """Return one sha256, in lower-case hex, over the paths, labels and contents of images in their order."""
    lines = "".join(f"{entry.path} {entry.label} {entry.sha256}\n" for entry in entries)
    return bytes_sha256(lines.encode())
