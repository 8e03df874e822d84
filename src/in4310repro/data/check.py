"""What is wrong with a folder of images: unreadable files, copies, conflicting labels, leaks between parts."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
from jaxtyping import Bool
from PIL import Image

from in4310repro.data.folders import Catalogue, catalogue
from in4310repro.data.images import READING_ERRORS
from in4310repro.data.splits import from_csv
from in4310repro.progress import SILENT, Progress

# Bits of 64 in which the perceptual hashes of two images may differ. Of the course's 17,034 images, pairs up to 6 show
# the same picture (recompressed, tinted, the next frame of a film); from 8 on the first different ones come in.
NEAR = 6
ROWS = 2048  # compared with all others at a time
SHOWN = 10  # of each kind of finding, in print

Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a folder holds and what is wrong with it; paths are relative to it."""

    images: dict[str, int]  # of each class
    sizes: dict[str, int]  # images of each width x height
    not_square: int
    modes: dict[str, int]
    unreadable: dict[str, str]  # path -> why
    identical: list[list[str]]  # groups of files with equal bytes
    conflicts: list[list[str]]  # those of them that have several labels
    near: list[Pair]  # other pairs that look alike
    near_conflicts: list[Pair]
    leaks: list[list[str]]  # groups with equal bytes in several parts of the split
    near_leaks: list[Pair]
    split_differences: list[str]  # where the split and the folder do not list the same images

    @property
    def wrong(self) -> bool:
        """Whether anything is proven wrong; pairs that look alike are for a person to judge."""
        return bool(self.unreadable or self.conflicts or self.leaks or self.split_differences)

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return asdict(self)


@dataclass(frozen=True)
class _Seen:
    size: tuple[int, int]
    mode: str
    bits: Bool[np.ndarray, " 64"]


def check(root: Path, split: Path | None = None, progress: Progress = SILENT) -> Findings:
    """Reads every image of a class-per-folder tree, and holds it against a split where one is given.

    Images look alike when the 64-bit perceptual hashes (imagehash.phash: the signs of the lowest frequencies) differ in
    at most `NEAR` bits.

    Raises:
        ValueError: the tree has no class folders, or the split is damaged.
    """
    images = catalogue(root, progress)
    parts = _parts(split, root) if split else {}
    seen, unreadable = _read(images, progress)
    labels = {entry.path: images.classes[entry.label] for entry in images.entries}
    groups: dict[str, list[str]] = defaultdict(list)
    for entry in images.entries:
        groups[entry.sha256].append(entry.path)
    identical = [paths for paths in groups.values() if len(paths) > 1]
    copies = {pair for paths in identical for pair in combinations(paths, 2)}
    near = [pair for pair in look_alike(list(seen), [one.bits for one in seen.values()]) if pair not in copies]
    sizes = Counter(one.size for one in seen.values())

    def several(kinds: dict[str, str], paths: Sequence[str]) -> bool:
        return len({kinds[path] for path in paths if path in kinds}) > 1

    part_of = {path: part for path, (part, _) in parts.items()}
    return Findings(
        images=images.counts(),
        sizes={f"{width} x {height}": number for (width, height), number in sizes.most_common()},
        not_square=sum(number for (width, height), number in sizes.items() if width != height),
        modes=dict(Counter(one.mode for one in seen.values()).most_common()),
        unreadable=unreadable,
        identical=identical,
        conflicts=[paths for paths in identical if several(labels, paths)],
        near=near,
        near_conflicts=[pair for pair in near if several(labels, pair)],
        leaks=[paths for paths in identical if several(part_of, paths)],
        near_leaks=[pair for pair in near if several(part_of, pair)],
        split_differences=_split_differences(images, parts) if split else [],
    )


def _read(images: Catalogue, progress: Progress) -> tuple[dict[str, _Seen], dict[str, str]]:
    """What each image is by path, and why each unreadable one is not."""
    seen, unreadable = {}, {}

    def read(path: str) -> _Seen | str:
        try:
            with Image.open(images.root / path) as image:
                image.load()
                return _Seen(image.size, image.mode, imagehash.phash(image).hash.ravel())
        except READING_ERRORS as error:
            return " ".join(str(error).split())

    paths = [entry.path for entry in images.entries]
    with progress.task("reading images", len(paths)) as advance, ThreadPoolExecutor(os.cpu_count()) as threads:
        for path, found in zip(paths, threads.map(read, paths), strict=True):
            if isinstance(found, str):
                unreadable[path] = found
            else:
                seen[path] = found
            advance(1, "")
    return seen, unreadable


def look_alike(paths: Sequence[str], bits: Sequence[Bool[np.ndarray, " bit"]]) -> list[Pair]:
    """Pairs of images whose hashes differ in at most `NEAR` bits, in order.

    With bits as -1 and 1, a product of two hashes is their length minus twice the bits that differ, exactly.
    """
    signs = np.array(bits, np.float32).reshape(len(bits), -1) * 2 - 1
    found = []
    for start in range(0, len(signs), ROWS):
        apart = (signs.shape[1] - signs[start : start + ROWS] @ signs[start:].T) / 2
        found += [(start + int(i), start + int(j)) for i, j in np.argwhere(apart <= NEAR) if i < j]
    return [(paths[i], paths[j]) for i, j in found]


def _parts(split: Path, root: Path) -> dict[str, tuple[str, str]]:
    """Part and sha256 of each image of a split."""
    parts = from_csv(split, root, check_contents=False).parts
    return {entry.path: (part, entry.sha256) for part, entries in parts.items() for entry in entries}


def _split_differences(images: Catalogue, parts: dict[str, tuple[str, str]]) -> list[str]:
    here = {entry.path: entry.sha256 for entry in images.entries}
    found = [f"{path} is in the split and not in the folder" for path in sorted(parts.keys() - here.keys())]
    found += [f"{path} is in the folder and not in the split" for path in sorted(here.keys() - parts.keys())]
    changed = sorted(path for path in here.keys() & parts.keys() if here[path] != parts[path][1])
    return found + [f"{path} has other bytes than in the split" for path in changed]


def render(found: Findings) -> str:
    """The findings as text, the first of each kind by name."""
    counts = ", ".join(f"{name} {number}" for name, number in found.images.items())
    sizes = ", ".join(f"{size}: {number}" for size, number in list(found.sizes.items())[:3])
    more = f" and {len(found.sizes) - 3} more" if len(found.sizes) > 3 else ""
    lines = [
        f"{sum(found.images.values())} images: {counts}",
        f"sizes {sizes}{more}; {found.not_square} not square",
        f"modes {', '.join(f'{mode}: {number}' for mode, number in found.modes.items())}",
    ]
    lines += _listed("unreadable", [f"{path} ({why})" for path, why in found.unreadable.items()])
    for title, groups, sign in (
        ("groups of byte-identical files", found.identical, " = "),
        ("of them with several labels", found.conflicts, " = "),
        ("of them in several parts of the split", found.leaks, " = "),
        ("other pairs that look alike", found.near, " ~ "),
        ("of them with two labels", found.near_conflicts, " ~ "),
        ("of them in two parts of the split", found.near_leaks, " ~ "),
    ):
        lines += _listed(title, [sign.join(paths) for paths in groups])
    lines += _listed("differences from the split", found.split_differences)
    return "\n".join(lines)


def _listed(title: str, findings: list[str]) -> list[str]:
    rest = [f"  and {len(findings) - SHOWN} more"] if len(findings) > SHOWN else []
    return [f"{len(findings)} {title}", *(f"  {finding}" for finding in findings[:SHOWN]), *rest]
