"""Check of an image folder: unreadable files, wrong folders, duplicates, conflicting labels, leaks in a split."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from in4310repro.data.class_folders import chosen_in
from in4310repro.data.folders import Catalogue, Entry, Survey, skipped_files, survey
from in4310repro.data.near_duplicates import (
    ENOUGH,
    ORIENTATION_NAMES,
    ORIENTATIONS,
    details,
    near_duplicate_groups,
    part_of,
    perceptual_hashes,
    turn_image,
    turned_pairs,
)
from in4310repro.data.preprocessing import APPLIED
from in4310repro.data.reading import TRANSPOSITIONS, UPRIGHT, read_image
from in4310repro.data.splits import Split, from_csv, parts_of, split_differences
from in4310repro.system.files import reason
from in4310repro.system.progress import SILENT, Progress

AT_ONCE = 16  # images that a thread reads at a time
PRINTED_EXAMPLES = 10  # of each kind of finding, and of the files in each group

OF_SPLIT = ("leaks", "near_duplicate_leaks", "turned_leaks", "split_differences")  # findings that need a split
Group = list[str]  # paths, in their order


@dataclass(frozen=True)
class Turned:
    """Two images, and the rotation or reflection that turns the first into a near-duplicate of the second."""

    first: str
    second: str
    how: str  # of `ORIENTATION_NAMES`


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Contents of an image folder, and the faults found in it; paths are relative to the folder."""

    faults: list[str]  # of the tree, for which training refuses it, as sentences
    nested: list[str]  # folders in class folders that hold images themselves, as sentences
    images: dict[str, int]  # class -> number of images that can be read
    sizes: dict[str, int]  # "width x height" in pixels -> number of images, the most frequent first
    not_square: int  # images
    modes: dict[str, int]  # Pillow's mode -> number of images, the most frequent first
    oriented: dict[str, int]  # path -> EXIF orientation, 2 to 8, that was applied to the pixels of the file
    skipped: list[str]  # paths of files whose suffix is that of no image which is read here
    unreadable: dict[str, str]  # path -> reason
    degenerate: dict[str, str]  # path -> why the picture shows nothing
    identical: list[Group]  # files with equal bytes
    conflicts: list[Group]  # groups of identical files with several labels
    near_duplicates: list[Group]  # files that similar perceptual hashes link, of at least two contents
    near_duplicate_conflicts: list[Group]  # groups of near-duplicates with several labels
    leaks: list[dict[str, Group]]  # groups of identical files in several parts of the split, by part
    near_duplicate_leaks: list[dict[str, Group]]  # groups of near-duplicates in several parts of the split, by part
    turned: list[Turned]  # turned or mirrored near-duplicates; of a group of near-duplicates the first one alone
    turned_conflicts: list[Group]  # such pairs, each with its near-duplicates, with several labels
    turned_leaks: list[dict[str, Group]]  # those in several parts of the split, by part
    split_differences: list[str]  # in what the split contradicts the folder or itself, as sentences
    with_split: bool  # whether there was a split to compare with

    @property
    def wrong(self) -> bool:
        """True if there is a definite fault; near-duplicates do not count, since they need human judgement."""
        return bool(self.faults or self.unreadable or self.conflicts or self.leaks or self.split_differences)

    def to_json(self) -> dict[str, object]:
        """Return a dict from field name to JSON value; fields about the split are None if no split was given."""
        return asdict(self) | ({} if self.with_split else dict.fromkeys(OF_SPLIT))


@dataclass(frozen=True, slots=True)
class _ReadImage:
    size: tuple[int, int]  # width, height, pixels
    mode: str
    orientation: int  # that was applied; 1 where the file's pixels are upright
    hashes: tuple[int, ...]  # of 64 bits, in each orientation
    degenerate: str  # why it shows nothing; empty where it may show something


def check(
    root: Path, split: Path | None = None, progress: Progress = SILENT, class_folders: str | None = None
) -> Findings:
    """Look for faults in a tree with one folder per class; if a split is given, compare the tree with the split.

    An image counts as unreadable if training would refuse it (see `reading.read_rgb`). Near-duplicates are
    grouped by the 64-bit perceptual hashes of their pixels (see `perceptual_hashes` and `near_duplicate_groups`).
    Time and memory are about linear in the number of images, even if many images are near-duplicates.

    To find turned and mirrored copies, the hash of each image is compared with the hashes of the others in seven
    more orientations. Most pairs found in this way show different pictures, so the details of their pixels are
    compared, too.

    Faults of the tree are findings, too, and do not prevent the remaining checks.

    Args:
        root: the folder of class folders.
        split: the `split.csv` of a run that trained on this folder; None: no comparison.
        progress: where to show how many images have been read.
        class_folders: which folders are the classes, see `survey_with`.

    Raises:
        ValueError: the folder does not exist, or the split is corrupt.
    """
    listed = from_csv(split, root) if split else None
    return examine_tree(survey_with(listed, root, progress, class_folders), listed, progress)


def survey_with(listed: Split | None, root: Path, progress: Progress, class_folders: str | None) -> Survey:
    """Survey an image tree; where `class_folders` is None, its folders are read as those of the split were."""
    return survey(root, progress, class_folders or (chosen_in(listed.catalogue().labels()) if listed else None))


def examine_tree(surveyed: Survey, listed: Split | None = None, progress: Progress = SILENT) -> Findings:
    """Check an image tree that was already listed, and a split that was already read; see `check`."""
    found = examine(surveyed.images, listed, progress)
    # Files that could not be hashed are in no catalogue; their rows in the split are not wrong.
    missing = {f"{path} is in the split and not in the folder" for path in surveyed.unreadable}
    return replace(
        found,
        faults=surveyed.faults,
        unreadable=dict(sorted({**found.unreadable, **surveyed.unreadable}.items())),
        split_differences=[each for each in found.split_differences if each not in missing],
    )


def examine(
    images: Catalogue, listed: Split | None = None, progress: Progress = SILENT, orientation: str = APPLIED
) -> Findings:
    """Check images and a split that have already been read. For `orientation` see `reading.read_rgb`."""
    root = images.root
    readable, unreadable = _read(images, progress, orientation)
    labels = images.labels()
    identical, alike = _identical_groups(images), _near_duplicate_groups(readable)
    near_duplicates = _drop_identical(images, alike)
    turned = _find_turned(root, readable, alike, orientation)
    turned_groups = _add_near_duplicates(turned, alike)
    sizes = Counter(image.size for image in readable.values())
    counts = Counter(entry.label for entry in images.entries if entry.path in readable)
    parts = parts_of(listed) if listed else {}
    return Findings(
        faults=[],
        nested=_nested(images),
        images={name: counts[label] for label, name in enumerate(images.classes)},
        sizes={f"{width} x {height}": number for (width, height), number in sizes.most_common()},
        not_square=sum(number for (width, height), number in sizes.items() if width != height),
        modes=dict(Counter(image.mode for image in readable.values()).most_common()),
        oriented={path: image.orientation for path, image in readable.items() if image.orientation != UPRIGHT},
        skipped=[file.relative_to(root).as_posix() for file in skipped_files(root)],
        unreadable=unreadable,
        degenerate={path: image.degenerate for path, image in readable.items() if image.degenerate},
        identical=identical,
        conflicts=conflicts(identical, labels),
        near_duplicates=near_duplicates,
        near_duplicate_conflicts=conflicts(near_duplicates, labels),
        leaks=leaks(identical, parts),
        near_duplicate_leaks=leaks(near_duplicates, parts),
        turned=turned,
        turned_conflicts=conflicts(turned_groups, labels),
        turned_leaks=leaks(turned_groups, parts),
        split_differences=split_differences(images, listed) if listed else [],
        with_split=listed is not None,
    )


def near_duplicates_of(
    images: Sequence[Entry], others: Sequence[Entry], progress: Progress = SILENT, orientation: str = APPLIED
) -> set[str]:
    """Return the paths of images that are near-duplicates, also turned ones, of other images.

    Chains of similar images count, as in `check`. The paths are absolute; unreadable images are omitted.
    """
    readable, _ = _read(Catalogue(Path(), ("",), (*images, *others)), progress, orientation)
    alike = _near_duplicate_groups(readable)
    groups = alike + _add_near_duplicates(_find_turned(Path(), readable, alike, orientation), alike)
    compared = {entry.path for entry in others}
    linked = {path for group in groups if not compared.isdisjoint(group) for path in group}
    return linked & {entry.path for entry in images}


def _nested(images: Catalogue) -> list[str]:
    """Return a message for each folder that lies inside another folder with images."""
    folders = {PurePosixPath(path).parent: name for path, name in images.labels().items()}
    pairs = ((folder, around) for folder in folders for around in folder.parents if around in folders)
    return sorted(f"{folder} lies in {around}: its images are of class {folders[folder]}" for folder, around in pairs)


def _group_by_value(values: Mapping[str, str], paths: Sequence[str]) -> dict[str, Group]:
    """Group paths by their value, which is a label or a part of the split; omit paths without a value."""
    groups: dict[str, Group] = defaultdict(list)
    for path in paths:
        if path in values:
            groups[values[path]].append(path)
    return dict(groups)


def conflicts(groups: Sequence[Group], labels: Mapping[str, str]) -> list[Group]:
    """Return the groups whose images do not all have the same label."""
    return [paths for paths in groups if len(_group_by_value(labels, paths)) > 1]


def leaks(groups: Sequence[Group], parts: Mapping[str, str]) -> list[dict[str, Group]]:
    """Return the groups with images in several parts of the split, each as a dict from part to paths."""
    by_part = (_group_by_value(parts, paths) for paths in groups)
    return [found for found in by_part if len(found) > 1]


def _identical_groups(images: Catalogue) -> list[Group]:
    files = Counter(entry.sha256 for entry in images.entries)
    by_content: dict[str, Group] = defaultdict(list)
    for entry in images.entries:
        if files[entry.sha256] > 1:
            by_content[entry.sha256].append(entry.path)
    return list(by_content.values())


def _near_duplicate_groups(readable: Mapping[str, _ReadImage]) -> list[Group]:
    """Return groups of images with similar hashes, including files with equal bytes."""
    paths = list(readable)
    groups = near_duplicate_groups([image.hashes[0] for image in readable.values()])
    return [[paths[position] for position in group] for group in groups]


def _drop_identical(images: Catalogue, groups: Sequence[Group]) -> list[Group]:
    """Drop groups whose files all have equal bytes. They are reported separately, as identical files."""
    contents = {entry.path: entry.sha256 for entry in images.entries}
    return [group for group in groups if len({contents[path] for path in group}) > 1]


def _find_turned(
    root: Path, readable: Mapping[str, _ReadImage], alike: Sequence[Group], orientation: str
) -> list[Turned]:
    """Return pairs of images that are rotated or mirrored copies of each other.

    Pairs are found by hashes and confirmed by pixel details. Only one image of each group of near-duplicates
    (`alike`) is compared with the other images.
    """
    others = {path for group in alike for path in group[1:]}
    paths = [path for path in readable if path not in others]
    found = []
    for first, second, turn in turned_pairs([readable[path].hashes for path in paths]):
        one, other = (read_image(root / paths[place], orientation).image for place in (first, second))
        if _is_part(turn_image(one, turn), other):
            found.append(Turned(paths[first], paths[second], ORIENTATION_NAMES[turn]))
    return found


def _is_part(first: Image.Image, second: Image.Image) -> bool:
    """Return whether two images show the same picture, or one image shows a part of the other."""
    one, other = details(first), details(second)
    return max(part_of(one, other)[0], part_of(other, one)[0]) >= ENOUGH


def _add_near_duplicates(turned: Sequence[Turned], alike: Sequence[Group]) -> list[Group]:
    """Return a sorted group for each pair of turned copies: the two images and all their near-duplicates."""
    group_of = {group[0]: group for group in alike}
    pairs = ((group_of.get(each.first, [each.first]), group_of.get(each.second, [each.second])) for each in turned)
    return [sorted(first + second) for first, second in pairs]


def _read(images: Catalogue, progress: Progress, orientation: str) -> tuple[dict[str, _ReadImage], dict[str, str]]:
    """Return two dicts by path: the readable images, and the reason for each unreadable image."""
    # Each content is compared once: a folder may hold thousands of copies.
    contents = list({entry.sha256: entry for entry in images.entries}.values())

    def read_from(start: int) -> list[tuple[str, _ReadImage | str]]:
        share = contents[start : start + AT_ONCE]
        return [(each.sha256, _read_image(images.root / each.path, orientation)) for each in share]

    outcomes: dict[str, _ReadImage | str] = {}
    # Threads suffice: Pillow releases the interpreter's lock while decoding.
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


def _read_image(file: Path, orientation: str) -> _ReadImage | str:
    """Return an image's hashes and other facts that the check needs, or the reason why it cannot be read."""
    try:
        picture = read_image(file, orientation)
    except (OSError, ValueError) as error:
        return reason(error) if isinstance(error, OSError) else str(error)
    image = picture.image
    return _ReadImage(image.size, picture.mode, picture.orientation, perceptual_hashes(image), _degenerate(image))


def _degenerate(image: Image.Image) -> str:
    """Return the reason why an RGB image is useless; an empty text if it is useful.

    An image is useless if all its pixels have the same colour, or if it is one pixel wide or high.
    """
    width, height = image.size
    if 1 in image.size:
        return f"{width} x {height} pixels"
    colours = np.asarray(image.getextrema())
    return "a single colour" if (colours[:, 0] == colours[:, 1]).all() else ""


def render(findings: Findings) -> str:
    """Return the findings as text, with the first `PRINTED_EXAMPLES` examples of each kind of finding."""
    counts = ", ".join(f"{name} {number}" for name, number in findings.images.items())
    sizes = ", ".join(f"{size}: {number}" for size, number in list(findings.sizes.items())[:3])
    more = f" and {len(findings.sizes) - 3} more" if len(findings.sizes) > 3 else ""
    lines = list_examples("faults of the folder", findings.faults) if findings.faults else []
    lines += [
        f"{sum(findings.images.values())} images: {counts or 'no class'}",
        f"sizes {sizes or 'none'}{more}; {findings.not_square} not square",
        f"modes {', '.join(f'{mode}: {number}' for mode, number in findings.modes.items()) or 'none'}",
    ]
    if findings.nested:
        lines += list_examples("folders lie in class folders", findings.nested)
    if findings.oriented:
        turns = (f"{path} ({_turn(orientation)})" for path, orientation in findings.oriented.items())
        lines += list_examples("pictures carry an orientation; it was applied", [*turns])
    lines += list_examples("skipped, since their names are of no image", findings.skipped)
    lines += list_examples(
        "unreadable files, which are not counted as images",
        [f"{path} ({reason})" for path, reason in findings.unreadable.items()],
    )
    if findings.degenerate:
        degenerate = [f"{path} ({why})" for path, why in findings.degenerate.items()]
        lines += list_examples("pictures that show nothing", degenerate)
    lines += list_examples("groups of byte-identical files", [join_paths(paths, " = ") for paths in findings.identical])
    lines += lines_on_conflicts(findings.conflicts, " = ")
    lines += lines_on_leaks(findings.leaks, " = ") if findings.with_split else []
    lines += list_examples("groups of near-duplicates", [join_paths(paths) for paths in findings.near_duplicates])
    lines += lines_on_conflicts(findings.near_duplicate_conflicts)
    lines += lines_on_leaks(findings.near_duplicate_leaks) if findings.with_split else []
    turned = [f"{each.first} {each.how} ~ {each.second}" for each in findings.turned]
    lines += list_examples("pairs of turned or mirrored near-duplicates", turned)
    lines += lines_on_conflicts(findings.turned_conflicts)
    if findings.with_split:
        lines += lines_on_leaks(findings.turned_leaks)
        lines += list_examples("differences from the split", findings.split_differences)
    return "\n".join(lines)


def _turn(orientation: int) -> str:
    """Describe in words how an EXIF orientation turns or mirrors the stored pixels."""
    return ORIENTATION_NAMES[ORIENTATIONS.index(TRANSPOSITIONS[orientation])]


def lines_on_conflicts(groups: Sequence[Group], sign: str = " ~ ") -> list[str]:
    """Return lines of text about groups of images with different labels. Paths of a group are joined by `sign`."""
    return list_examples("of them with several labels", [join_paths(paths, sign) for paths in groups])


def lines_on_leaks(groups: Sequence[Mapping[str, Group]], sign: str = " ~ ") -> list[str]:
    """Return lines of text about the groups with images in several parts of the split, with paths joined by `sign`."""
    by_part = ["; ".join(f"{part}: {join_paths(paths, sign)}" for part, paths in parts.items()) for parts in groups]
    return list_examples("of them in several parts of the split", by_part)


def join_paths(paths: Sequence[str], sign: str = " ~ ") -> str:
    """Return the first `PRINTED_EXAMPLES` paths joined by `sign`, then the number of any further paths."""
    more = f" and {len(paths) - PRINTED_EXAMPLES} more" if len(paths) > PRINTED_EXAMPLES else ""
    return sign.join(paths[:PRINTED_EXAMPLES]) + more


def list_examples(title: str, examples: Sequence[str]) -> list[str]:
    """Return lines of text: the number of examples and a title, then the first `PRINTED_EXAMPLES` examples."""
    more = [f"  and {len(examples) - PRINTED_EXAMPLES} more"] if len(examples) > PRINTED_EXAMPLES else []
    return [f"{len(examples)} {title}", *(f"  {example}" for example in examples[:PRINTED_EXAMPLES]), *more]
