"""The check of an image folder: unreadable files, copies, conflicting labels, leaks between the parts of a split."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import imagehash
import numpy as np
from jaxtyping import Bool
from PIL import Image

from in4310repro.data.folders import Catalogue, catalogue
from in4310repro.data.images import READING_ERRORS
from in4310repro.data.splits import from_csv
from in4310repro.progress import SILENT, Progress

# Bits of 64 in which the perceptual hashes of near-duplicates may differ. Of the course's 17,034 images, pairs that
# differ in up to 6 bits show the same picture (recompressed, tinted, the next frame of a film); the first pairs of
# different pictures differ in 8.
NEAR_DUPLICATE_BITS = 6
BLOCK_ROWS = 2048  # hashes compared with all others at a time: bounds the memory for the distances
PRINTED_EXAMPLES = 10  # of each kind of finding

Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a folder holds and what is wrong with it; paths are relative to the folder."""

    images: dict[str, int]  # class -> number of images
    sizes: dict[str, int]  # "width x height" in pixels -> number of images, the most frequent first
    not_square: int  # images
    modes: dict[str, int]  # Pillow's mode -> number of images, the most frequent first
    unreadable: dict[str, str]  # path -> reason
    identical: list[list[str]]  # groups of files with equal bytes
    conflicts: list[list[str]]  # groups of identical files with several labels
    near_duplicates: list[Pair]  # pairs with similar perceptual hashes and different bytes
    near_duplicate_conflicts: list[Pair]  # near-duplicates with two labels
    leaks: list[list[str]]  # groups of identical files in several parts of the split
    near_duplicate_leaks: list[Pair]  # near-duplicates in two parts of the split
    split_differences: list[str]  # images that the split and the folder do not share, as sentences

    @property
    def wrong(self) -> bool:
        """Whether the folder has an error for certain; near-duplicates are for a person to judge."""
        return bool(self.unreadable or self.conflicts or self.leaks or self.split_differences)

    def to_json(self) -> dict[str, object]:
        """All fields as JSON values, under their names."""
        return asdict(self)


@dataclass(frozen=True)
class _ReadImage:
    size: tuple[int, int]  # width, height, pixels
    mode: str
    bits: Bool[np.ndarray, " 64"]


def check(root: Path, split: Path | None = None, progress: Progress = SILENT) -> Findings:
    """Reads every image of a class-per-folder tree, and compares the tree with a split where one is given.

    Near-duplicates are pairs whose 64-bit perceptual hashes (`imagehash.phash`: the lowest frequencies of the cosine
    transform, each above or below their median) differ in at most `NEAR_DUPLICATE_BITS` bits.

    Args:
        root: the folder of class folders.
        split: a `split.csv` of a run over images of this folder.
        progress: where to show how many images have been read.

    Raises:
        ValueError: the tree has no class folders, or the split is corrupt.
    """
    images = catalogue(root, progress)
    parts = _parts(split, root) if split else {}
    readable, unreadable = _read(images, progress)
    labels = {entry.path: images.classes[entry.label] for entry in images.entries}
    identical = _identical_groups(images)
    copies = {pair for paths in identical for pair in combinations(paths, 2)}
    # Copies have equal hashes; they are reported as identical and not a second time.
    pairs = near_duplicates(list(readable), [image.bits for image in readable.values()])
    pairs = [pair for pair in pairs if pair not in copies]
    sizes = Counter(image.size for image in readable.values())
    part_of = {path: part for path, (part, _) in parts.items()}
    return Findings(
        images=images.counts(),
        sizes={f"{width} x {height}": number for (width, height), number in sizes.most_common()},
        not_square=sum(number for (width, height), number in sizes.items() if width != height),
        modes=dict(Counter(image.mode for image in readable.values()).most_common()),
        unreadable=unreadable,
        identical=identical,
        conflicts=[paths for paths in identical if _differ(labels, paths)],
        near_duplicates=pairs,
        near_duplicate_conflicts=[pair for pair in pairs if _differ(labels, pair)],
        leaks=[paths for paths in identical if _differ(part_of, paths)],
        near_duplicate_leaks=[pair for pair in pairs if _differ(part_of, pair)],
        split_differences=_split_differences(images, parts) if split else [],
    )


def _differ(values: Mapping[str, str], paths: Sequence[str]) -> bool:
    """Whether the paths have more than one label or part; those of no part do not count."""
    return len({values[path] for path in paths if path in values}) > 1


def _identical_groups(images: Catalogue) -> list[list[str]]:
    """Paths of files with equal bytes, for each content that several files have."""
    groups: dict[str, list[str]] = defaultdict(list)
    for entry in images.entries:
        groups[entry.sha256].append(entry.path)
    return [paths for paths in groups.values() if len(paths) > 1]


def _read(images: Catalogue, progress: Progress) -> tuple[dict[str, _ReadImage], dict[str, str]]:
    """The readable images by path, and the reason why each unreadable one is not, by path."""
    readable, unreadable = {}, {}

    def read(path: str) -> _ReadImage | str:
        try:
            with Image.open(images.root / path) as image:
                # Image.open reads the header alone; a truncated file fails only here.
                image.load()
                return _ReadImage(image.size, image.mode, imagehash.phash(image).hash.ravel())
        except READING_ERRORS as error:
            return " ".join(str(error).split())

    paths = [entry.path for entry in images.entries]
    # Threads and not processes: Pillow decodes without holding the interpreter's lock.
    with progress.task("reading images", len(paths)) as advance, ThreadPoolExecutor(os.cpu_count()) as threads:
        for path, outcome in zip(paths, threads.map(read, paths), strict=True):
            if isinstance(outcome, str):
                unreadable[path] = outcome
            else:
                readable[path] = outcome
            advance(1, "")
    return readable, unreadable


def near_duplicates(paths: Sequence[str], bits: Sequence[Bool[np.ndarray, " bit"]]) -> list[Pair]:
    """Pairs of images whose hashes differ in at most `NEAR_DUPLICATE_BITS` bits, in the order of the paths.

    With bits as -1 and 1, the product of two hashes is their length minus twice the number of bits that differ. The
    products are exact in float32.

    Args:
        paths: the images.
        bits: the hash of each image; all have the same length.
    """
    signs = np.array(bits, np.float32).reshape(len(bits), -1) * 2 - 1
    pairs = []
    for start in range(0, len(signs), BLOCK_ROWS):
        distances = (signs.shape[1] - signs[start : start + BLOCK_ROWS] @ signs[start:].T) / 2
        close = np.argwhere(distances <= NEAR_DUPLICATE_BITS)
        pairs += [(paths[start + i], paths[start + j]) for i, j in close if i < j]
    return pairs


def _parts(split: Path, root: Path) -> dict[str, tuple[str, str]]:
    """Part and sha256 of each image of a split, by path."""
    parts = from_csv(split, root).parts
    return {entry.path: (part, entry.sha256) for part, entries in parts.items() for entry in entries}


def _split_differences(images: Catalogue, parts: dict[str, tuple[str, str]]) -> list[str]:
    hashes = {entry.path: entry.sha256 for entry in images.entries}
    missing = [f"{path} is in the split and not in the folder" for path in sorted(parts.keys() - hashes.keys())]
    added = [f"{path} is in the folder and not in the split" for path in sorted(hashes.keys() - parts.keys())]
    common = sorted(hashes.keys() & parts.keys())
    changed = [f"{path} has other bytes than in the split" for path in common if hashes[path] != parts[path][1]]
    return missing + added + changed


def render(findings: Findings) -> str:
    """The findings as text, with the first `PRINTED_EXAMPLES` of each kind."""
    counts = ", ".join(f"{name} {number}" for name, number in findings.images.items())
    sizes = ", ".join(f"{size}: {number}" for size, number in list(findings.sizes.items())[:3])
    more = f" and {len(findings.sizes) - 3} more" if len(findings.sizes) > 3 else ""
    lines = [
        f"{sum(findings.images.values())} images: {counts}",
        f"sizes {sizes}{more}; {findings.not_square} not square",
        f"modes {', '.join(f'{mode}: {number}' for mode, number in findings.modes.items())}",
    ]
    lines += _listed("unreadable", [f"{path} ({reason})" for path, reason in findings.unreadable.items()])
    for title, groups, sign in (
        ("groups of byte-identical files", findings.identical, " = "),
        ("of them with several labels", findings.conflicts, " = "),
        ("of them in several parts of the split", findings.leaks, " = "),
        ("other pairs that are near-duplicates", findings.near_duplicates, " ~ "),
        ("of them with two labels", findings.near_duplicate_conflicts, " ~ "),
        ("of them in two parts of the split", findings.near_duplicate_leaks, " ~ "),
    ):
        lines += _listed(title, [sign.join(paths) for paths in groups])
    lines += _listed("differences from the split", findings.split_differences)
    return "\n".join(lines)


def _listed(title: str, examples: list[str]) -> list[str]:
    more = [f"  and {len(examples) - PRINTED_EXAMPLES} more"] if len(examples) > PRINTED_EXAMPLES else []
    return [f"{len(examples)} {title}", *(f"  {example}" for example in examples[:PRINTED_EXAMPLES]), *more]
