"""Contradictions within a split, and differences between a split and its image folder."""

from __future__ import annotations

from collections import Counter, defaultdict

from in4310repro.data.folders import Catalogue
from in4310repro.data.splits import Split


def split_differences(images: Catalogue, split: Split) -> list[str]:
    """Return a message for each contradiction in a split and each difference from its folder; none if they agree."""
    return _contradictions(split) + _differences(images, split)


def parts_of(split: Split) -> dict[str, str]:
    """Return the part of the split (training, validation or test) of each image, by path."""
    return {entry.path: part for part, entries in split.parts.items() for entry in entries}


def _contradictions(split: Split) -> list[str]:
    """Return a message for each contradiction within a split; none if it is consistent."""
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
    """Return a message for each difference between a split and its image folder; none if they agree."""
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
