"""The check of an image folder: unreadable files, copies, conflicting labels, leaks between the parts of a split."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import imagehash

from in4310repro.data.folders import Catalogue, catalogue, skipped_files
from in4310repro.data.images import read_rgb
from in4310repro.data.near_duplicates import near_duplicate_groups
from in4310repro.data.splits import Split, from_csv
from in4310repro.files import open_regular, reason
from in4310repro.progress import SILENT, Progress

AT_ONCE = 16  # images that a thread reads at a time
PRINTED_EXAMPLES = 10  # of each kind of finding, and of the files in each group

Group = list[str]  # paths, in their order


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a folder holds and what is wrong with it; paths are relative to the folder."""

    images: dict[str, int]  # class -> number of images that can be read
    sizes: dict[str, int]  # "width x height" in pixels -> number of images, the most frequent first
    not_square: int  # images
    modes: dict[str, int]  # Pillow's mode -> number of images, the most frequent first
    skipped: list[str]  # paths of files whose suffix is that of no image which is read here
    unreadable: dict[str, str]  # path -> reason
    identical: list[Group]  # files with equal bytes
    conflicts: list[Group]  # groups of identical files with several labels
    near_duplicates: list[Group]  # files that similar perceptual hashes link, of at least two contents
    near_duplicate_conflicts: list[Group]  # groups of near-duplicates with several labels
    leaks: list[dict[str, Group]]  # groups of identical files in several parts of the split, by part
    near_duplicate_leaks: list[dict[str, Group]]  # groups of near-duplicates in several parts of the split, by part
    split_differences: list[str]  # in what the split contradicts the folder or itself, as sentences

    @property
    def wrong(self) -> bool:
        """Whether the folder has an error for certain; near-duplicates are for a person to judge."""
        return bool(self.unreadable or self.conflicts or self.leaks or self.split_differences)

    def to_json(self) -> dict[str, object]:
        """All fields as JSON values, under their names."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _ReadImage:
    size: tuple[int, int]  # width, height, pixels
    mode: str
    hash: int  # of 64 bits


def check(root: Path, split: Path | None = None, progress: Progress = SILENT) -> Findings:
    """Reads every image of a class-per-folder tree, and compares the tree with a split where one is given.

    An image is unreadable where training would refuse it (see `images.read_rgb`). Near-duplicates are grouped by the
    64-bit perceptual hashes of their pixels (`imagehash.phash`: the lowest frequencies of the cosine transform, each
    above or below their median; see `near_duplicate_groups`). Time and memory grow with the number of images, however
    many of them are alike.

    Args:
        root: the folder of class folders.
        split: a `split.csv` of a run over images of this folder.
        progress: where to show how many images have been read.

    Raises:
        ValueError: the tree has no class folders, or the split is corrupt.
    """
    images = catalogue(root, progress)
    listed = from_csv(split, root) if split else None
    readable, unreadable = _read(images, progress)
    labels = {entry.path: images.classes[entry.label] for entry in images.entries}
    identical, near_duplicates = _identical_groups(images), _near_duplicate_groups(images, readable)
    sizes = Counter(image.size for image in readable.values())
    counts = Counter(entry.label for entry in images.entries if entry.path in readable)
    part_of = {entry.path: part for part, entries in listed.parts.items() for entry in entries} if listed else {}
    return Findings(
        images={name: counts[label] for label, name in enumerate(images.classes)},
        sizes={f"{width} x {height}": number for (width, height), number in sizes.most_common()},
        not_square=sum(number for (width, height), number in sizes.items() if width != height),
        modes=dict(Counter(image.mode for image in readable.values()).most_common()),
        skipped=[file.relative_to(root).as_posix() for file in skipped_files(root)],
        unreadable=unreadable,
        identical=identical,
        conflicts=[paths for paths in identical if len(_by_value(labels, paths)) > 1],
        near_duplicates=near_duplicates,
        near_duplicate_conflicts=[paths for paths in near_duplicates if len(_by_value(labels, paths)) > 1],
        leaks=_leaks(identical, part_of),
        near_duplicate_leaks=_leaks(near_duplicates, part_of),
        split_differences=_contradictions(listed) + _differences(images, listed) if listed else [],
    )


def _by_value(values: Mapping[str, str], paths: Sequence[str]) -> dict[str, Group]:
    """The paths by their label or part; those of no part are left out."""
    groups: dict[str, Group] = defaultdict(list)
    for path in paths:
        if path in values:
            groups[values[path]].append(path)
    return dict(groups)


def _leaks(groups: Sequence[Group], part_of: Mapping[str, str]) -> list[dict[str, Group]]:
    by_part = (_by_value(part_of, paths) for paths in groups)
    return [parts for parts in by_part if len(parts) > 1]


def _identical_groups(images: Catalogue) -> list[Group]:
    """Paths of files with equal bytes, for each content that several files have."""
    files = Counter(entry.sha256 for entry in images.entries)
    by_content: dict[str, Group] = defaultdict(list)
    for entry in images.entries:
        if files[entry.sha256] > 1:
            by_content[entry.sha256].append(entry.path)
    return list(by_content.values())


def _near_duplicate_groups(images: Catalogue, readable: Mapping[str, _ReadImage]) -> list[Group]:
    """Groups of near-duplicates; those of one content alone are reported as identical and not a second time."""
    contents = {entry.path: entry.sha256 for entry in images.entries}
    paths = list(readable)
    groups = near_duplicate_groups([image.hash for image in readable.values()])
    named = [[paths[position] for position in group] for group in groups]
    return [group for group in named if len({contents[path] for path in group}) > 1]


def _read(images: Catalogue, progress: Progress) -> tuple[dict[str, _ReadImage], dict[str, str]]:
    """The readable images by path, and the reason why each unreadable one is not, by path."""
    # Each content once: a folder may hold thousands of copies.
    contents = list({entry.sha256: entry for entry in images.entries}.values())

    def read_from(start: int) -> list[tuple[str, _ReadImage | str]]:
        return [(each.sha256, _read_image(images.root / each.path)) for each in contents[start : start + AT_ONCE]]

    outcomes: dict[str, _ReadImage | str] = {}
    # Threads and not processes: Pillow decodes without holding the interpreter's lock.
    with progress.task("reading images", len(contents)) as advance, ThreadPoolExecutor(os.cpu_count()) as threads:
        for read in threads.map(read_from, range(0, len(contents), AT_ONCE)):
            outcomes |= read
            advance(len(read), "")
    readable: dict[str, _ReadImage] = {}
    unreadable: dict[str, str] = {}
    for entry in images.entries:
        outcome = outcomes[entry.sha256]
        if isinstance(outcome, str):
            unreadable[entry.path] = outcome
        else:
            readable[entry.path] = outcome
    return readable, unreadable


def _read_image(file: Path) -> _ReadImage | str:
    """What is kept of an image, or why it cannot be read."""
    try:
        with open_regular(file) as stream:
            image, mode = read_rgb(stream)
    except (OSError, ValueError) as error:
        return reason(error) if isinstance(error, OSError) else str(error)
    return _ReadImage(image.size, mode, int(str(imagehash.phash(image)), 16))


def _contradictions(split: Split) -> list[str]:
    """What is wrong with a split whatever the folder holds, as sentences."""
    parts_of: dict[str, Counter[str]] = defaultdict(Counter)
    for part, entries in split.parts.items():
        for entry in entries:
            parts_of[entry.path][part] += 1
    empty = [f"the split has no image in its {part} part" for part, entries in split.parts.items() if not entries]
    several = [
        f"{path} is in several parts of the split: {', '.join(counts)}"
        for path, counts in sorted(parts_of.items())
        if len(counts) > 1
    ]
    repeated = [
        f"{path} is listed {count} times in the {part} part"
        for path, counts in sorted(parts_of.items())
        for part, count in counts.items()
        if count > 1
    ]
    return empty + several + repeated


def _differences(images: Catalogue, split: Split) -> list[str]:
    """What the split says otherwise than the folder, as sentences."""
    folder = {entry.path: entry for entry in images.entries}
    contents = {entry.sha256: entry.path for entry in images.entries}
    listed = sorted((entry for entries in split.parts.values() for entry in entries), key=lambda entry: entry.path)
    paths = {entry.path for entry in listed}
    missing = [f"{path} is in the split and not in the folder" for path in sorted(paths - folder.keys())]
    added = [f"{path} is in the folder and not in the split" for path in sorted(folder.keys() - paths)]
    changed, relabelled = [], []
    for entry in listed:
        now = folder.get(entry.path, entry)
        if entry.sha256 != now.sha256:
            owner = f", which has the sha256 of {contents[entry.sha256]}" if entry.sha256 in contents else ""
            changed.append(f"{entry.path} has other bytes than in the split{owner}")
        label = split.classes[entry.label]
        if entry.path in folder and label != images.classes[now.label]:
            relabelled.append(
                f"{entry.path} has class {label} in the split and {images.classes[now.label]} in the folder"
            )
    return missing + added + changed + relabelled


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
    lines += _listed("skipped, since their names are of no image", findings.skipped)
    lines += _listed(
        "unreadable files, which are not counted as images",
        [f"{path} ({reason})" for path, reason in findings.unreadable.items()],
    )
    for title, groups, conflicts, leaks, sign in (
        ("groups of byte-identical files", findings.identical, findings.conflicts, findings.leaks, " = "),
        (
            "groups of near-duplicates",
            findings.near_duplicates,
            findings.near_duplicate_conflicts,
            findings.near_duplicate_leaks,
            " ~ ",
        ),
    ):
        lines += _listed(title, [_joined(paths, sign) for paths in groups])
        lines += _listed("of them with several labels", [_joined(paths, sign) for paths in conflicts])
        lines += _listed(
            "of them in several parts of the split",
            ["; ".join(f"{part}: {_joined(paths, sign)}" for part, paths in parts.items()) for parts in leaks],
        )
    lines += _listed("differences from the split", findings.split_differences)
    return "\n".join(lines)


def _joined(paths: Sequence[str], sign: str) -> str:
    more = f" and {len(paths) - PRINTED_EXAMPLES} more" if len(paths) > PRINTED_EXAMPLES else ""
    return sign.join(paths[:PRINTED_EXAMPLES]) + more


def _listed(title: str, examples: list[str]) -> list[str]:
    more = [f"  and {len(examples) - PRINTED_EXAMPLES} more"] if len(examples) > PRINTED_EXAMPLES else []
    return [f"{len(examples)} {title}", *(f"  {example}" for example in examples[:PRINTED_EXAMPLES]), *more]
