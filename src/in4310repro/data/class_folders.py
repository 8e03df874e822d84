"""Class of each image by the folders around it: told by their names and places, or chosen where nothing tells."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from itertools import takewhile
from typing import NamedTuple

from in4310repro.system.text import first_of

# Names of the parts of a download, in any capitals.
PARTS = frozenset(("train", "test", "val", "valid", "validation", "seg_train", "seg_test", "seg_pred"))
OUTERMOST, INNERMOST, SECOND = CLASS_FOLDERS = ("outermost", "innermost", "second")
SHOWN = 50  # classes that a message counts
Around = Mapping[str, tuple[str, ...]]  # path of an image -> names of folders around it, the outermost first


class Reading(NamedTuple):
    """Classes of the images of a folder, and sentences on folders that could be mistaken for classes."""

    classes: dict[str, str]  # path -> class, of images in class folders
    notes: tuple[str, ...] = ()
    doubt: str = ""  # why nothing tells the classes, with the possible readings


def read(paths: Iterable[str], chosen: str | None = None) -> Reading:
    """Return the class of each image: the outermost folder that is neither alone nor a part of a download.

    A folder that holds a single folder and no image is left out, if no image is directly in that folder. If all
    folders beside each other have names of `PARTS`, they are left out too, and equal names in them are one class.

    Args:
        paths: the images, with forward slashes, below one root.
        chosen: an entry of `CLASS_FOLDERS`, which decides whatever the names are: the outermost folders beside each
            other, the folder that an image is in, or the folders in the outermost; None: as the folders tell.

    Examples:
        >>> read(["forest/1.jpg", "forest/2023/2.jpg", "sea/3.jpg"]).classes
        {'forest/1.jpg': 'forest', 'forest/2023/2.jpg': 'forest', 'sea/3.jpg': 'sea'}
        >>> read(["train/sea/1.jpg", "train/bay/2.jpg", "test/sea/3.jpg"]).classes
        {'train/sea/1.jpg': 'sea', 'train/bay/2.jpg': 'bay', 'test/sea/3.jpg': 'sea'}
        >>> read(["2023/sea/1.jpg", "2023/bay/2.jpg", "2024/sea/3.jpg", "2024/bay/4.jpg"]).doubt
        'nothing tells which folders are the classes: --class-folders outermost has 2023 2, 2024 2; --class-folders \
innermost has bay 2, sea 2'
    """
    around, notes = _go_down({path: tuple(path.split("/")[:-1]) for path in paths})
    if chosen:
        return Reading(_classes(around, chosen))
    inside, parts = around, dict[str, None]()
    while names := _part_names(inside):
        parts |= dict.fromkeys(names)
        inside, left_out = _go_down({path: folders[1:] for path, folders in inside.items()})
        notes += left_out
    if parts:
        notes = (f"{', '.join(parts)} are parts of a download, and the folders in them are the classes", *notes)
    classes = _classes(inside, OUTERMOST)
    if _is_in_doubt(inside, after_parts=bool(parts)):
        return Reading(classes, doubt=_readings(around))
    if deeper := sorted({"/".join(folders[:2]) for folders in inside.values() if len(folders) > 1}):
        notes += (f"folders in class folders are not classes: {first_of(deeper, 3)}",)
    if single := sorted({folders[0] for folders in inside.values() if folders and _is_part(folders[0])}):
        notes += (f"{', '.join(single)} is a class like the folders beside it, not a part of a download",)
    return Reading(classes, notes)


def read_as(split: Mapping[str, str], paths: Collection[str]) -> Reading:
    """Return the first reading of images that has no other classes than a split: its own, or else another one.

    Args:
        split: the class of each image of the split, by path.
        paths: the images, which may be other ones than those of the split.
    """
    told, known = read(paths), {*split.values()}
    for chosen in dict.fromkeys((chosen_in(split), None, *CLASS_FOLDERS)):
        classes, _, doubt = read(paths, chosen) if chosen else told
        if len(classes) == len(paths) and {*classes.values()} <= known and not doubt:
            note = f"--class-folders {chosen} is used, since its classes are those of the run"
            return told if classes == told.classes and not told.doubt else Reading(classes, (note,))
    return told


def chosen_in(classes: Mapping[str, str]) -> str | None:
    """Return the entry of `CLASS_FOLDERS` that gives the images of a split their classes; None if none does."""
    return next((chosen for chosen in CLASS_FOLDERS if read(classes, chosen).classes == classes), None)


def describe_counts(classes: Iterable[str]) -> str:
    """Return the names of classes, sorted, with their numbers of images: `bay 2, sea 3`."""
    counts = sorted(Counter(classes).items())
    more = [f"and {len(counts) - SHOWN} more classes"] * (len(counts) > SHOWN)
    return ", ".join([*(f"{name} {count}" for name, count in counts[:SHOWN]), *more])


def _go_down(around: Around) -> tuple[Around, tuple[str, ...]]:
    """Leave out folders that hold a single folder and no image; return the rest, and a note on what was left out."""
    # The single folder may have no image of its own either: it would be the only class.
    levels = zip(*(folders[:-1] for folders in around.values()), strict=False)
    left_out = [first for first, *_ in takewhile(lambda names: len({*names}) == 1, levels)]
    note = f"{'/'.join(left_out)} holds all images, and the folders in it are the classes"
    return {path: folders[len(left_out) :] for path, folders in around.items()}, (note,) if left_out else ()


def _part_names(around: Around) -> list[str]:
    """Return the names of the outermost folders if all are parts of a download with folders in them, else none."""
    names = {folders[0] for folders in around.values() if folders}
    has_folders = any(len(folders) > 1 for folders in around.values())
    return sorted(names) if has_folders and all(map(_is_part, names)) else []


def _is_part(name: str) -> bool:
    return name.casefold() in PARTS


def _classes(around: Around, chosen: str) -> dict[str, str]:
    """Return the class of each image; images in too few folders are omitted."""
    place = {OUTERMOST: slice(1), SECOND: slice(1, 2), INNERMOST: slice(-1, None)}[chosen]
    return {path: name for path, folders in around.items() for name in folders[place]}


def _is_in_doubt(around: Around, *, after_parts: bool) -> bool:
    """Return whether the outermost folders may not be classes, although they are not all parts of a download."""
    names = {_plain(folders[0]) for folders in around.values() if folders}
    if len(names) < 2:
        return False
    # Folders named as parts that have no folders, or that are beside folders with other names.
    if names <= PARTS or any(_is_part(folders[0]) for folders in around.values() if len(folders) > 1):
        return True
    if any({*map(_plain, folders[1:])} & names - {_plain(folders[0])} for folders in around.values() if folders):
        return True
    return not after_parts and _repeats(around)


def _repeats(around: Around) -> bool:
    """Return whether all outermost folders hold the same two or more folders, and none of them an image."""
    inside: dict[str, set[str]] = defaultdict(set)
    for folders in around.values():
        if len(folders) < 2:
            return False
        inside[folders[0]].add(_plain(folders[1]))
    first = next(iter(inside.values()))
    if any(names != first for names in inside.values()):
        return False
    # A single name, and parts of a download, are not classes; the folders in them may be.
    is_choice = len(first) > 1 and not first <= PARTS
    return is_choice or _repeats({path: (folders[0], *folders[2:]) for path, folders in around.items()})


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _readings(around: Around) -> str:
    """Return a sentence with the classes that each choice would give."""
    readings: dict[str, dict[str, str]] = {}
    for chosen in CLASS_FOLDERS:
        classes = _classes(around, chosen)
        whole = len(classes) == len(around) or chosen != SECOND
        if whole and len({*classes.values()}) > 1 and classes not in readings.values():
            readings[chosen] = classes
    listed = (f"--class-folders {chosen} has {describe_counts(each.values())}" for chosen, each in readings.items())
    return f"nothing tells which folders are the classes: {'; '.join(listed)}"
