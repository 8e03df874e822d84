"""Images that resemble each other: copies by bytes, hashes and details, and look-alikes in other classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from in4310repro.data.check import Findings, Group, read
from in4310repro.data.folders import Entry
from in4310repro.data.linking import link, members
from in4310repro.doubts.crops import CANDIDATES, Crop, crops
from in4310repro.doubts.look_alikes import LookAlike, look_alikes
from in4310repro.doubts.neighbours import nearest
from in4310repro.preprocessing import APPLIED
from in4310repro.progress import SILENT, Progress


@dataclass(frozen=True, kw_only=True)
class Resemblances:
    """Resemblances between images, given by position."""

    crops: list[Crop]
    copies: list[int]  # of each image the number of its group, see `linked`
    look_alikes: list[LookAlike]

    def groups(self) -> list[list[int]]:
        """Return the groups of images linked by copies of any kind and look-alikes."""
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
    """Find parts of images, and look-alikes in other classes, by features.

    Args:
        root: the folder of the images.
        entries: those that can be read.
        findings: of `data.check` on them, which knows the copies by bytes and hashes.
        features: of each image.
        progress: where to show how far it is.
        orientation: whether that of EXIF is applied, see `reading.read_rgb`.
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
    """Return the number of each image's group of copies by bytes or hashes, see `linked`."""
    place = {path: position for position, path in enumerate(paths)}
    groups: list[Group] = [*findings.identical, *findings.near_duplicates]
    groups += [[each.first, each.second] for each in findings.turned]
    return link(len(paths), [[place[path] for path in group if path in place] for group in groups])
