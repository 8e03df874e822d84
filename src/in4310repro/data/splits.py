"""Splits of images into training, validation and test: drawn by class and content, stored, and compared."""

import bisect
import csv
import io
import math
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from in4310repro.data.folders import Catalogue, Entry
from in4310repro.system.files import LARGEST_TEXT, file_sha256, read_there, relative_path
from in4310repro.system.numerics import generator_for

PARTS = ("training", "validation", "test")
COLUMNS = ["path", "class", "sha256", "part"]
Item = TypeVar("Item", int, str)
Sizes = tuple[int, int, int]  # images of the parts
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Split:
    """Images divided into the parts training, validation and test, each sorted by path.

    The label of an image is an index into `classes`.
    """

    root: Path
    classes: tuple[str, ...]
    parts: Mapping[str, tuple[Entry, ...]]

    def catalogue(self) -> Catalogue:
        """Return the images of all three parts, sorted by path."""
        entries = sorted((entry for part in self.parts.values() for entry in part), key=lambda entry: entry.path)
        return Catalogue(self.root, self.classes, tuple(entries))

    def supports(self) -> dict[str, dict[str, int]]:
        """Return a dict from part of the split to a dict from class name to number of images."""
        return {part: Catalogue(self.root, self.classes, entries).counts() for part, entries in self.parts.items()}


def parse_sizes(text: str, images: int) -> Sizes:
    """Return the numbers of training, validation and test images from a text TRAINING/VALIDATION/TEST.

    Args:
        text: three image counts such as `12034/2000/3000`, or three fractions such as `0.7/0.12/0.18`.
            Fractions of validation and test are rounded to whole images; training gets the rest.
        images: the number of images to be split.

    Raises:
        ValueError: the text is not three positive numbers, the image counts do not add up to `images`, or the
            fractions do not add up to 1.
    """
    example = f"it must be three counts that add up to the {images} images, or shares such as 0.7/0.12/0.18"
    try:
        numbers = [float(part) for part in text.split("/")]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or not all(0 < number < math.inf for number in numbers):
        raise ValueError(f"split {text!r} is not three positive numbers; {example}")
    if all(number < 1 for number in numbers):
        if abs(sum(numbers) - 1) > 1e-9:
            raise ValueError(f"split {text!r} adds up to {sum(numbers):.6g} instead of 1; {example}")
        validation, test = (round(number * images) for number in numbers[1:])
        return images - validation - test, validation, test
    training, validation, test = map(int, numbers)
    if [training, validation, test] != numbers or training + validation + test != images:
        raise ValueError(f"split {text!r} adds up to {sum(numbers):.10g} images; {example}")
    return training, validation, test


def stratified_split(catalogue: Catalogue, sizes: Sizes, seed: int, together: Iterable[Sequence[str]] = ()) -> Split:
    """Draw a split with exactly the requested sizes, whose parts have nearly the same proportions of classes.

    In each part a class has its fraction of all images, rounded by the largest-remainder method. Byte-identical
    files form a group, even if their labels differ, and all images of a group go into the same part. Groups are
    placed first, each in a random part, chosen in proportion to the sizes. A group that does not fit there goes
    into the part with the most room. Single images then fill every part exactly. The random numbers of an image
    depend only on the seed and the sha256 of its file. For a group, the sha256 is the smallest one in the
    group. Therefore names and order of the files do not matter.

    Args:
        catalogue: the images.
        sizes: numbers of training, validation and test images; their sum is the number of all images.
        seed: the seed of the random numbers.
        together: groups of paths; the images of a group must be in the same part. Groups that share an image are
            joined.

    Raises:
        ValueError: a class has too few images to have one in each part, or a group does not fit into any part.

    Examples:
        >>> from pathlib import Path
        >>> from in4310repro.data.folders import Catalogue, Entry
        >>> entries = [Entry(f"{'cat' if n < 8 else 'dog'}/{n}.png", int(n >= 8), f"hash {n}") for n in range(20)]
        >>> split = stratified_split(Catalogue(Path("animals"), ("cat", "dog"), tuple(entries)), (10, 5, 5), seed=0)
        >>> split.supports()["training"], split.supports()["test"]
        ({'cat': 4, 'dog': 6}, {'cat': 2, 'dog': 3})
    """
    remaining = _quotas(catalogue, sizes)
    # Images that must stay in one part, by the smallest sha256 of them; most are alone in their group.
    contents = {entry.path: entry.sha256 for entry in catalogue.entries}
    linked = link(
        [entry.sha256 for entry in catalogue.entries],
        ([contents[path] for path in paths if path in contents] for paths in together),
    )
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry, sha256 in zip(catalogue.entries, linked, strict=True):
        groups[sha256].append(entry)
    draws = {sha256: tuple(generator_for(seed, "split", sha256).random(2)) for sha256 in groups}
    assigned: dict[str, list[Entry]] = {part: [] for part in PARTS}

    def room(part: str) -> int:
        """Return how many more images a part can take after the group, in the class that has the fewest; or below 0."""
        return min(remaining[part][label] - count for label, count in Counter(each.label for each in group).items())

    # Groups come before single images, which can fill any remaining gap.
    for sha256 in sorted(groups, key=lambda sha256: (len(groups[sha256]) == 1, draws[sha256], sha256)):
        group = groups[sha256]
        # Uniform in [0, 1), so that each part is chosen with a probability proportional to its size.
        part = PARTS[bisect.bisect_right([sizes[0], sizes[0] + sizes[1]], draws[sha256][1] * sum(sizes))]
        if len(group) == 1 or room(part) < 0:
            part = max(PARTS, key=room)
        if room(part) < 0:
            name = catalogue.classes[group[0].label]
            alike = "identical files" if len({entry.sha256 for entry in group}) == 1 else "images that are alike"
            raise ValueError(
                f"class {name}: {alike} such as {group[0].path} fill more than a part's share, and one part has to "
                f"hold all {len(group)}; enlarge a part, or remove some of them"
            )
        for entry in group:
            remaining[part][entry.label] -= 1
        assigned[part] += group
    parts = {part: tuple(sorted(entries, key=lambda entry: entry.path)) for part, entries in assigned.items()}
    return Split(catalogue.root, catalogue.classes, parts)


def _quotas(catalogue: Catalogue, sizes: Sizes) -> dict[str, list[int]]:
    """Return a dict from part to its number of images of each class. Training gets the remaining images."""
    for name, count in catalogue.counts().items():
        if count < len(PARTS):
            raise ValueError(f"class {name} has {count} images; at least {len(PARTS)} are needed, one for each part")
    # Python's integers, since they do not overflow.
    counts = np.array([*catalogue.counts().values()], np.object_)
    validation, test = (_largest_remainder(counts, size) for size in sizes[1:])
    quotas = dict(zip(PARTS, np.array((counts - validation - test, validation, test)).tolist(), strict=True))
    for part, quota in quotas.items():
        for name, images in zip(catalogue.classes, quota, strict=True):
            if images < 1:
                raise ValueError(f"class {name} gets {images} images in the {part} part; enlarge that part")
    return quotas


def _largest_remainder(counts: NDArray[np.object_], size: int) -> NDArray[np.object_]:
    """Divide `size` into integers proportional to `counts`, by the largest-remainder (Hamilton) method."""
    # Integers, because rounding errors of floats would decide between equal remainders.
    shares: NDArray[np.object_] = counts * size // counts.sum()
    shares[np.argsort(-(counts * size % counts.sum()), kind="stable")[: size - shares.sum()]] += 1
    return shares


def to_csv(split: Split) -> bytes:
    """Return the split as UTF-8 CSV with columns path, class, sha256 and part, sorted by path."""
    rows = sorted(
        (entry.path, split.classes[entry.label], entry.sha256, part)
        for part, entries in split.parts.items()
        for entry in entries
    )
    table = io.BytesIO()
    # Bytes, because StringIO takes four bytes per character.
    with io.TextIOWrapper(table, encoding="utf-8", newline="") as text:
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
        text.flush()
        return table.getvalue()


def from_csv(file: Path, root: Path) -> Split:
    """Read a split from the CSV that `to_csv` wrote.

    The images are not read; for that see `check_contents`.

    Args:
        file: the table.
        root: the folder that the paths are relative to; it may have moved since the split was made.

    Raises:
        ValueError: the table is missing or corrupt, or a row has a path outside the root or an invalid sha256.
    """
    none = f"{file} is not a split: its columns must be {','.join(COLUMNS)}, its parts {', '.join(PARTS)}"
    rows = list[tuple[str, str, str, str]]()
    try:
        content = read_there(file, LARGEST_TEXT)
        # Decoded as a whole, so that an error gives the position in the file.
        content.decode()
        table = csv.reader(io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline=""), strict=True)
        header = next(table, None)
        for line, row in enumerate(filter(None, table), start=2):
            if header != COLUMNS or len(row) != len(COLUMNS) or row[3] not in PARTS:
                raise ValueError(none)
            path, name, sha256, part = row
            try:
                relative_path(path)
            except ValueError as error:
                raise ValueError(f"{file}: row {line}: path {error}") from None
            if not name or "/" in name or not name.isprintable():
                raise ValueError(f"{file}: row {line}: class {name[:100]!r} is not the name of a folder")
            if not SHA256.fullmatch(sha256):
                raise ValueError(f"{file}: row {line}: sha256 {sha256[:100]!r} is not 64 hex digits in lower case")
            # Only path and hash are kept per row; other names are shared.
            rows.append((path, sys.intern(name), sha256, sys.intern(part)))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is corrupt: {error}") from None
    if not rows:
        raise ValueError(none)
    classes = tuple(sorted({name for _, name, _, _ in rows}))
    entries = [(of, Entry(path, bisect.bisect_left(classes, name), sha256)) for path, name, sha256, of in rows]
    return Split(root, classes, {part: tuple(entry for of, entry in entries if of == part) for part in PARTS})


def check_contents(split: Split) -> None:
    """Check that every image of a split exists and has the sha256 that the split records.

    Raises:
        ValueError: an image is missing or has a different sha256; the message names the first one by path.
    """
    # Sorted by path, so that the first mismatch reported is the first in the table.
    for entry in split.catalogue().entries:
        file = split.root / entry.path
        if not file.is_file():
            where = f"is not below {split.root}; --data names the folder that holds it"
            raise ValueError(f"image {entry.path} of the split {where}")
        if file_sha256(file) != entry.sha256:
            raise ValueError(f"image {file} has other bytes than when the split was made; restore it")


def link(items: Sequence[Item], groups: Iterable[Sequence[Item]]) -> list[Item]:
    """Return for each item the smallest one of its group, which represents the group.

    Args:
        items: such as the positions of images.
        groups: items that belong together; groups that share an item become one.

    Examples:
        >>> link(range(6), [(1, 4), (4, 2), (3, 5)])
        [0, 1, 1, 3, 1, 3]
    """
    parents = {item: item for item in items}

    def smallest(item: Item) -> Item:
        while parents[item] != item:
            # Halves the way for the next one that goes it.
            parents[item] = item = parents[parents[item]]
        return item

    for group in groups:
        for item in group:
            least, other = sorted((smallest(group[0]), smallest(item)))
            parents[other] = least
    return [smallest(item) for item in items]


def members(numbers: Sequence[Hashable]) -> list[list[int]]:
    """Return the groups of two or more images, as lists of image indices.

    Args:
        numbers: what the images of a group have in common, such as its number from `link`.
    """
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for position, number in enumerate(numbers):
        groups[number].append(position)
    return [group for group in groups.values() if len(group) > 1]


def split_differences(images: Catalogue, split: Split) -> list[str]:
    """Return a message for each contradiction within a split and for each difference from its folder.

    The list is empty if there are none.
    """
    listed: dict[str, Counter[str]] = defaultdict(Counter)
    for part, entries in split.parts.items():
        for entry in entries:
            listed[entry.path][part] += 1
    folder = {entry.path: entry for entry in images.entries}
    contents = {entry.sha256: entry.path for entry in images.entries}
    counts = sorted(listed.items())
    found = [
        *(f"the split has no image in its {part} part" for part, entries in split.parts.items() if not entries),
        *(f"{path} is in several parts of the split: {', '.join(of)}" for path, of in counts if len(of) > 1),
        *(
            f"{path} is listed {count} times in the {part} part"
            for path, of in counts
            for part, count in of.items()
            if count > 1
        ),
        *(f"{path} is in the split and not in the folder" for path, _ in counts if path not in folder),
        *(f"{path} is in the folder and not in the split" for path in sorted(folder.keys() - listed.keys())),
    ]
    relabelled = []
    for entry in split.catalogue().entries:
        if now := folder.get(entry.path):
            if entry.sha256 != now.sha256:
                found.append(
                    f"{entry.path} has other bytes than in the split"
                    f"{f', which has the sha256 of {contents[entry.sha256]}' if entry.sha256 in contents else ''}"
                )
            label, name = split.classes[entry.label], images.classes[now.label]
            if label != name:
                relabelled.append(f"{entry.path} has class {label} in the split and {name} in the folder")
    return found + relabelled


def parts_of(split: Split) -> dict[str, str]:
    """Return a dict from image path to part of the split (training, validation or test)."""
    return {entry.path: part for part, entries in split.parts.items() for entry in entries}
