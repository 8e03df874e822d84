"""Images that resemble each other: copies by bytes, hashes and details, and look-alikes of different classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from in4310repro.data.check import Findings, Group, read
from in4310repro.data.folders import Entry
from in4310repro.data.linking import link, members
from in4310repro.data.preprocessing import APPLIED
from in4310repro.evaluation.doubts.crops import CANDIDATES, Crop, crops
from in4310repro.evaluation.doubts.look_alikes import LookAlike, look_alikes
from in4310repro.evaluation.doubts.neighbours import nearest
from in4310repro.system.progress import SILENT, Progress


@dataclass(frozen=True, kw_only=True)
class Resemblances:
    """Pairs and groups of images that resemble each other; images are given by their positions."""

    crops: list[Crop]
    copies: list[int]  # of each image the number of its group, see `linked`
    look_alikes: list[LookAlike]

    def groups(self) -> list[list[int]]:
        """Return the groups of images that are connected by copies of any kind or by look-alikes."""
        pairs = [(first, second) for first, second, _ in self.look_alikes]
        return members(link(len(self.copies), [*members(self.copies), *pairs]))


def resemblances(
    root: Path,
    entries: Sequence[Entry],
    findings: Findings,
    features: Float32[np.ndarray, "image feature"],
    progress: Progress = SILENT,
    orientation: str = APPLIED,
) -> Resemblances:
    """Find images that are parts of other images, and look-alikes of different classes, by features.

    Args:
        root: the folder of the images.
        entries: the images that can be read.
        findings: the result of `data.check` for them, with their copies by bytes and hashes.
        features: features of each image.
        progress: shows the progress.
        orientation: whether the orientation in EXIF data is applied, see `reading.read_rgb`.
    """
    paths = [entry.path for entry in entries]
    by_hash = copies_by_hashes(paths, findings)
    neighbours = nearest(features, CANDIDATES + 1, progress)
    found = crops(
        neighbours,
        lambda first, second: by_hash[first] == by_hash[second],
        lambda position: read(root / paths[position], orientation),
        progress,
    )
    copies = link(len(paths), [*members(by_hash), *((crop.whole, crop.part) for crop in found)])
    labels = np.array([entry.label for entry in entries], np.int64)
    return Resemblances(crops=found, copies=copies, look_alikes=look_alikes(neighbours, labels, copies))


def copies_by_hashes(paths: Sequence[str], findings: Findings) -> list[int]:
    """Return a group number for each image, equal for copies found by bytes or hashes (see `link`)."""
    place = {path: position for position, path in enumerate(paths)}
    groups: list[Group] = [*findings.identical, *findings.near_duplicates]
    groups += [[each.first, each.second] for each in findings.turned]
    return link(len(paths), [[place[path] for path in group if path in place] for group in groups])
