"""Stratified splits over contents: byte-identical files share a side."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from in4310repro.data.folders import Catalogue, Entry
from in4310repro.numerics import generator_for
from in4310repro.runs import file_sha256

PARTS = ("training", "validation", "test")
COLUMNS = ["path", "class", "sha256", "part"]


@dataclass(frozen=True)
class Split:
    """Three disjoint lists of images, each sorted by path."""

    root: Path
    classes: tuple[str, ...]
    parts: Mapping[str, tuple[Entry, ...]]


def parse_sizes(text: str, images: int) -> tuple[int, int, int]:
    """Image counts of the three parts from `12034/2000/3000` or from shares such as `0.7/0.12/0.18`.

    Raises:
        ValueError: not three positive numbers, or they do not add up to all images (shares: to 1).
    """
    example = f"valid are three counts that add up to the {images} images, or shares such as 0.7/0.12/0.18"
    try:
        numbers = [float(part) for part in text.split("/")]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or not all(0 < number < math.inf for number in numbers):
        raise ValueError(f"split {text!r} is not three positive numbers; {example}")
    if all(number < 1 for number in numbers):
        if abs(sum(numbers) - 1) > 1e-9:
            raise ValueError(f"split {text!r} adds up to {sum(numbers):.6g} and not to 1; {example}")
        validation, test = (round(number * images) for number in numbers[1:])
        return images - validation - test, validation, test
    training, validation, test = (int(number) for number in numbers)
    if [training, validation, test] != numbers or training + validation + test != images:
        raise ValueError(f"split {text!r} adds up to {sum(numbers):.10g} images; {example}")
    return training, validation, test


def split(catalogue: Catalogue, sizes: tuple[int, int, int], seed: int) -> Split:
    """Draws the parts so that each has the classes' shares and exactly the asked number of images.

    Class quotas are the shares rounded by largest remainder. Groups of byte-identical files are placed first, each
    whole, in a part drawn by its share; single images then fill every quota exactly.

    Raises:
        ValueError: a class has too few images or contents for three parts.
    """
    left = _quotas(catalogue, sizes)
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in catalogue.entries:
        groups[entry.sha256].append(entry)
    draws = {sha256: tuple(generator_for(seed, "split", sha256).random(2)) for sha256 in groups}
    chosen: dict[str, list[Entry]] = {part: [] for part in PARTS}
    for sha256 in sorted(groups, key=lambda sha256: (len(groups[sha256]) == 1, draws[sha256], sha256)):
        group = groups[sha256]
        part = _drawn_part(sizes, draws[sha256][1])
        if len(group) == 1 or _room(left, part, group) < 0:
            part = max(PARTS, key=lambda part: _room(left, part, group))
        if _room(left, part, group) < 0:
            name = catalogue.classes[group[0].label]
            raise ValueError(f"class {name}: identical files such as {group[0].path} fill more than a part's share")
        for entry in group:
            left[part][entry.label] -= 1
            chosen[part].append(entry)
    parts = {part: tuple(sorted(entries, key=lambda entry: entry.path)) for part, entries in chosen.items()}
    return Split(catalogue.root, catalogue.classes, parts)


def _drawn_part(sizes: tuple[int, int, int], draw: float) -> str:
    """The part into which a uniform draw from [0, 1) falls when the parts lie end to end."""
    position = draw * sum(sizes)
    return PARTS[0] if position < sizes[0] else PARTS[1] if position < sizes[0] + sizes[1] else PARTS[2]


def _room(left: Mapping[str, Sequence[int]], part: str, group: Sequence[Entry]) -> int:
    """Images of the group's classes that the part still takes after the group; negative where it does not fit."""
    labels = [entry.label for entry in group]
    return min(left[part][label] - labels.count(label) for label in labels)


def _quotas(catalogue: Catalogue, sizes: tuple[int, int, int]) -> dict[str, list[int]]:
    counts = list(catalogue.counts().values())
    for name, count in catalogue.counts().items():
        if count < len(PARTS):
            raise ValueError(f"class {name} has {count} images; at least {len(PARTS)} are needed, one for each part")
    total = sum(counts)
    validation, test = (_largest_remainder(counts, size, total) for size in sizes[1:])
    training = [count - v - t for count, v, t in zip(counts, validation, test, strict=True)]
    quotas = {"training": training, "validation": validation, "test": test}
    for part, quota in quotas.items():
        for name, images in zip(catalogue.classes, quota, strict=True):
            if images < 1:
                raise ValueError(f"class {name} gets {images} images in the {part} part; enlarge that part")
    return quotas


def _largest_remainder(counts: Sequence[int], size: int, total: int) -> list[int]:
    """Shares of `size` in proportion to the counts, as integers that add up to `size`."""
    shares = [count * size // total for count in counts]
    remainders = [count * size % total for count in counts]
    by_remainder = sorted(range(len(counts)), key=lambda label: -remainders[label])
    for label in by_remainder[: size - sum(shares)]:
        shares[label] += 1
    return shares


def to_csv(split: Split) -> bytes:
    """The split as a table of path, class, sha256 and part, sorted by path."""
    rows = [
        [entry.path, split.classes[entry.label], entry.sha256, part]
        for part, entries in split.parts.items()
        for entry in entries
    ]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *sorted(rows)])
    return text.getvalue().encode()


def from_csv(file: Path, root: Path, *, check_contents: bool = True) -> Split:
    """Reads a split back; the images may have moved to another root as long as they have the same bytes.

    Raises:
        ValueError: the table is damaged, or an image is missing or has other bytes.
    """
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines, strict=True))
    except FileNotFoundError:
        raise ValueError(f"{file} is not there") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is damaged: {error}") from None
    if not rows or any(list(row) != COLUMNS or row["part"] not in PARTS for row in rows):
        raise ValueError(f"{file} is no split: columns {','.join(COLUMNS)} and parts {', '.join(PARTS)} are valid")
    classes = tuple(sorted({row["class"] for row in rows}))
    if check_contents:
        for row in rows:
            _check_image(root, row["path"], row["sha256"])
    parts = {
        part: tuple(
            Entry(row["path"], classes.index(row["class"]), row["sha256"]) for row in rows if row["part"] == part
        )
        for part in PARTS
    }
    return Split(root, classes, parts)


def _check_image(root: Path, path: str, sha256: str) -> None:
    if not (root / path).is_file():
        raise ValueError(f"image {path} of the split is not below {root}; --data names the folder that holds it")
    if file_sha256(root / path) != sha256:
        raise ValueError(f"image {root / path} has other bytes than when the split was made")
