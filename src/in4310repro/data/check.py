"""Check of an image folder: unreadable files, wrong folders, duplicates, conflicting labels, leaks in a split."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from in4310repro.data import near_duplicates as near
from in4310repro.data.class_folders import chosen_in
from in4310repro.data.folders import Catalogue, in_threads, skipped_files, survey
from in4310repro.data.preprocessing import APPLIED
from in4310repro.data.reading import TRANSPOSITIONS, UPRIGHT, read_image
from in4310repro.data.splits import Split, members, parts_of, split_differences
from in4310repro.system.files import reason
from in4310repro.system.progress import SILENT, Progress
from in4310repro.system.text import first_of

AT_ONCE = 16  # images that a thread reads at a time
PRINTED = 10  # of each kind of finding, and of the files in each group

Group = list[str]  # paths, in their order
ByPath = Mapping[str, str]  # the class, the part or the sha256 of each image
Leaks = list[dict[str, Group]] | None  # None where no split was given


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
    leaks: Leaks  # groups of identical files in several parts of the split, by part
    near_duplicate_leaks: Leaks  # groups of near-duplicates in several parts of the split, by part
    turned: list[Turned]  # turned or mirrored near-duplicates; of a group of near-duplicates the first one alone
    turned_conflicts: list[Group]  # such pairs, each with its near-duplicates, with several labels
    turned_leaks: Leaks  # those in several parts of the split, by part
    split_differences: list[str] | None  # in what the split contradicts the folder or itself, as sentences

    @property
    def wrong(self) -> bool:
        """True if there is a definite fault; near-duplicates do not count, since they need human judgement."""
        return bool(self.faults or self.unreadable or self.conflicts or self.leaks or self.split_differences)

    def to_json(self) -> dict[str, object]:
        """Return a dict from field name to JSON value."""
        return asdict(self) | {"with_split": self.leaks is not None}


class _ReadImage(NamedTuple):
    size: tuple[int, int]  # width, height, pixels
    mode: str
    orientation: int  # that was applied; 1 where the file's pixels are upright
    hashes: Sequence[int]  # of 64 bits, in each orientation
    degenerate: str  # why it shows nothing; empty where it may show something


def check(
    root: Path, listed: Split | None = None, progress: Progress = SILENT, class_folders: str | None = None
) -> tuple[Catalogue, Findings]:
    """Look for faults in a tree with one folder per class; if a split is given, compare the tree with the split.

    An image counts as unreadable if training would refuse it (see `reading.read_rgb`). Near-duplicates are
    grouped by the 64-bit perceptual hashes of their pixels (see `perceptual_hashes` and `near_duplicate_groups`).
    To find turned and mirrored copies, the hash of each image is compared with the hashes of the others in seven
    more orientations. Most pairs found in this way show different pictures, so the details of their pixels are
    compared, too.

    Memory grows in proportion to the number of images, even if many images are near-duplicates. So does the time up to
    some hundred thousand images, of which most is spent on reading files. The comparison of hashes grows faster: it
    compares 1 in 2,300 pairs of unrelated images, and of a million small images it is about a tenth of the time.

    Faults of the tree are findings, too, and do not prevent the remaining checks.

    Args:
        root: the folder of class folders.
        listed: the split of a run that trained on this folder; None: no comparison.
        progress: where to show how many images have been read.
        class_folders: which folders are the classes; None: those that were the split's, else as the folders tell.

    Returns:
        The images that can be hashed, and what was found.

    Raises:
        ValueError: the folder does not exist.
    """
    chosen = class_folders or (chosen_in(listed.catalogue().labels()) if listed else None)
    images, faults, not_hashed = survey(root, progress, chosen)
    return images, examine(images, listed, progress, APPLIED, faults, not_hashed)


def examine(
    images: Catalogue,
    listed: Split | None = None,
    progress: Progress = SILENT,
    orientation: str = APPLIED,
    faults: Sequence[str] = (),
    not_hashed: Sequence[tuple[str, str]] = (),
) -> Findings:
    """Check images and a split that have already been read.

    Args:
        images: the images.
        listed: a split to compare them with.
        progress: where to show how many images have been read.
        orientation: see `reading.read_rgb`.
        faults: those of the tree, as sentences.
        not_hashed: files that could not be hashed, which are in no catalogue, with the reasons.
    """
    contents, labels = {entry.path: entry.sha256 for entry in images.entries}, images.labels()
    readable, unreadable = _read(images.root, contents, progress, orientation)
    paths = [*contents]
    identical = [[paths[position] for position in group] for group in members([*contents.values()])]
    alike, turned, turned_groups = _find_alike(images.root, readable, orientation)
    # Groups whose files all have equal bytes are reported as identical files.
    near_duplicates = [group for group in alike if len({contents[path] for path in group}) > 1]
    sizes = Counter(image.size for image in readable.values())
    counts = Counter(map(labels.get, readable))
    parts, differences = (parts_of(listed), split_differences(images, listed)) if listed else ({}, None)
    folders = {PurePosixPath(path).parent: name for path, name in labels.items()}
    nested = ((folder, around) for folder in folders for around in folder.parents if around in folders)
    # Rows of files that could not be hashed are not wrong.
    missing = {f"{path} is in the split and not in the folder" for path, _ in not_hashed}
    return Findings(
        faults=[*faults],
        nested=sorted(f"{inner} lies in {outer}: its images are of class {folders[inner]}" for inner, outer in nested),
        images={name: counts[name] for name in images.classes},
        sizes={f"{width} x {height}": number for (width, height), number in sizes.most_common()},
        not_square=sum(number for (width, height), number in sizes.items() if width != height),
        modes=dict(Counter(image.mode for image in readable.values()).most_common()),
        oriented={path: image.orientation for path, image in readable.items() if image.orientation != UPRIGHT},
        skipped=skipped_files(images.root),
        unreadable=dict(sorted([*unreadable.items(), *not_hashed])),
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
        split_differences=differences and [each for each in differences if each not in missing],
    )


def near_duplicates_of(
    images: ByPath, others: ByPath, progress: Progress = SILENT, orientation: str = APPLIED
) -> set[str]:
    """Return the paths of images that are near-duplicates, also turned ones, of other images.

    Chains of similar images count, as in `check`; unreadable images are omitted.

    Args:
        images: the sha256 of each image, by its absolute path.
        others: those of the other images.
        progress: where to show how many images have been read.
        orientation: see `reading.read_rgb`.
    """
    readable, _ = _read(Path(), {**images, **others}, progress, orientation)
    alike, _, turned_groups = _find_alike(Path(), readable, orientation)
    linked = {path for group in alike + turned_groups if not others.keys().isdisjoint(group) for path in group}
    return linked & images.keys()


def conflicts(groups: Sequence[Group], labels: ByPath) -> list[Group]:
    """Return the groups whose images do not all have the same label."""
    return [paths for paths in groups if len({labels[path] for path in paths}) > 1]


def leaks(groups: Sequence[Group], parts: ByPath) -> Leaks:
    """Return the groups with images in several parts of the split, each by part; None without parts."""
    found = []
    for paths in groups:
        by_part: dict[str, Group] = {}
        for path in paths:
            if path in parts:
                by_part.setdefault(parts[path], []).append(path)
        found += [by_part] * (len(by_part) > 1)
    return found if parts else None


def _find_alike(
    root: Path, readable: Mapping[str, _ReadImage], orientation: str
) -> tuple[list[Group], list[Turned], list[Group]]:
    """Return groups of images with similar hashes, pairs of rotated or mirrored copies, and a group for each pair.

    Files with equal bytes are in a group too. Pairs are found by hashes and confirmed by pixel details. Only one image
    of each group of near-duplicates is compared with the other images; the group of a pair has all of them, sorted.
    """
    paths = list(readable)
    groups = near.near_duplicate_groups([image.hashes[0] for image in readable.values()])
    alike = [[paths[position] for position in group] for group in groups]
    group_of, others = {group[0]: group for group in alike}, {path for group in alike for path in group[1:]}
    paths = [path for path in paths if path not in others]
    turned, turned_groups = list[Turned](), list[Group]()
    for first, second, turn in near.turned_pairs([readable[path].hashes for path in paths]):
        pair = paths[first], paths[second]
        images = [read_image(root / path, orientation).image for path in pair]
        one, other = near.details(near.turn_image(images[0], turn)), near.details(images[1])
        # One of them may show a part of the other.
        if max(near.part_of(one, other)[0], near.part_of(other, one)[0]) >= near.ENOUGH:
            turned.append(Turned(*pair, near.ORIENTATION_NAMES[turn]))
            turned_groups.append(sorted(path for each in pair for path in group_of.get(each, [each])))
    return alike, turned, turned_groups


def _read(
    root: Path, contents: ByPath, progress: Progress, orientation: str
) -> tuple[dict[str, _ReadImage], dict[str, str]]:
    """Return two dicts by path: the readable images, and the reason for each unreadable one; `contents` has sha256s."""
    # Each content is compared once: a folder may hold thousands of copies.
    files = {sha256: root / path for path, sha256 in contents.items()}

    def work(file: Path) -> _ReadImage | str:
        try:
            image, mode, turn = read_image(file, orientation)
        except (OSError, ValueError) as error:
            return reason(error)
        useless = "a single colour" if all(low == high for low, high in image.getextrema()) else ""  # type: ignore[misc]
        if 1 in image.size:
            useless = f"{image.width} x {image.height} pixels"
        return _ReadImage(image.size, mode, turn, near.perceptual_hashes(image), useless)

    outcomes = dict(zip(files, in_threads(work, [*files.values()], "reading images", progress, AT_ONCE), strict=True))
    read = {path: outcomes[sha256] for path, sha256 in contents.items()}
    readable = {path: outcome for path, outcome in read.items() if not isinstance(outcome, str)}
    return readable, {path: outcome for path, outcome in read.items() if isinstance(outcome, str)}


def render(found: Findings) -> str:
    """Return the findings as text, with the first `PRINTED` examples of each kind of finding."""
    turns = {path: near.DESCRIPTIONS[TRANSPOSITIONS[each]] for path, each in found.oriented.items()}
    turned = [[f"{each.first} {each.how} ~ {each.second}"] for each in found.turned]
    alike = found.near_duplicates, found.near_duplicate_conflicts, found.near_duplicate_leaks
    lines = [
        *(found.faults and list_examples("faults of the folder", found.faults)),
        f"{sum(found.images.values())} images: "
        f"{', '.join(f'{name} {number}' for name, number in found.images.items()) or 'no class'}",
        f"sizes {first_of([f'{size}: {number}' for size, number in found.sizes.items()], 3) or 'none'}; "
        f"{found.not_square} not square",
        f"modes {', '.join(f'{mode}: {number}' for mode, number in found.modes.items()) or 'none'}",
    ]
    lines += found.nested and list_examples("folders lie in class folders", found.nested)
    lines += turns and list_examples("pictures with an EXIF orientation, which was applied", turns)
    lines += list_examples("skipped, since their names are not those of images", found.skipped)
    lines += list_examples("unreadable files, which are not counted as images", found.unreadable)
    lines += found.degenerate and list_examples("pictures that show nothing", found.degenerate)
    for title, groups, conflicting, leaking, sign in (
        ("groups of byte-identical files", found.identical, found.conflicts, found.leaks, " = "),
        ("groups of near-duplicates", *alike, " ~ "),
        ("pairs of turned or mirrored near-duplicates", turned, found.turned_conflicts, found.turned_leaks, " ~ "),
    ):
        lines += lines_on_groups(title, groups, conflicting, leaking, sign)
    if found.split_differences is not None:
        lines += list_examples("differences from the split", found.split_differences)
    return "\n".join(lines)


def lines_on_groups(
    title: str,
    groups: Sequence[Group],
    conflicting: Sequence[Group] | None,
    leaking: Leaks,
    sign: str = " ~ ",
) -> list[str]:
    """Return lines of text about groups of images, those with several labels, and those in several parts of the split.

    None leaves out the labels or the parts. Paths of a group are joined by `sign`; a group may be one line about it.
    """
    lines = list_examples(title, [join_paths(paths, sign) for paths in groups])
    if conflicting is not None:
        lines += list_examples("of them with several labels", [join_paths(paths, sign) for paths in conflicting])
    if leaking is not None:
        by_part = ["; ".join(f"{part}: {join_paths(paths, sign)}" for part, paths in each.items()) for each in leaking]
        lines += list_examples("of them in several parts of the split", by_part)
    return lines


def join_paths(paths: Sequence[str], sign: str = " ~ ") -> str:
    """Return the first `PRINTED` paths joined by `sign`, then the number of any further paths."""
    return first_of(paths, PRINTED, sign)


def list_examples(title: str, examples: Sequence[str] | Mapping[str, str]) -> list[str]:
    """Return lines of text: the number of examples and a title, then the first `PRINTED` examples.

    Examples are texts, or a dict from a path to the note on it.
    """
    said = [f"{path} ({why})" for path, why in examples.items()] if isinstance(examples, Mapping) else examples
    more = [f"  and {len(said) - PRINTED} more"] * (len(said) > PRINTED)
    return [f"{len(said)} {title}", *(f"  {example}" for example in said[:PRINTED]), *more]
