"""Checks of images and split: the images as they are now, and the split drawn again from them."""

from __future__ import annotations

from collections.abc import Iterator

from in4310repro.data.embedded import differences_from_drawn
from in4310repro.data.folders import catalogue
from in4310repro.data.splits import parse_sizes, stratified_split, to_csv
from in4310repro.runs import names
from in4310repro.runs.config import LOOK_ALIKES
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.files import read_bytes
from in4310repro.verification.evidence import Evidence
from in4310repro.verification.pixels import pixel_differences


def scene_differences(evidence: Evidence) -> list[str]:
    """Generate the scenes again and list their differences from the split; none for a run on a folder of images."""
    run, config = evidence.run, evidence.run.config
    if config.data:
        return []
    return differences_from_drawn(run.split, config.scenes, config.image_size, config.seed, evidence.context.progress)


def split_differences(evidence: Evidence) -> list[str]:
    """Return a message on the first row of split.csv that differs from the split drawn again from seed and sizes.

    The bytes of the whole file are compared, so a moved or reformatted row is a difference too.
    """
    run = evidence.run
    file = run.folder / names.SPLIT
    images = run.split.catalogue()
    try:
        sizes = parse_sizes(run.config.split, len(images.entries))
        drawn = to_csv(stratified_split(images, sizes, run.config.seed, run.groups))
        written = read_bytes(run.files.file(names.SPLIT))
    except (ValueError, OSError) as error:
        return [f"{file}: no split can be drawn from its images: {error}"]
    if drawn == written:
        return []
    rows, rows_now = (content.decode().splitlines() for content in (written, drawn))
    for number, (row, now) in enumerate(zip(rows, rows_now, strict=False), start=1):
        if row != now:
            needed = f"seed {run.config.seed} and split {run.config.split} draw {now} from the images{_groups(run)}"
            return [f"{file}: row {number} is {row}; {needed}"]
    return [f"{file} has {len(written)} bytes; the split that is drawn from its images has {len(drawn)}"]


def _groups(run: FinishedRun) -> str:
    return f" and the groups of {names.GROUPS}" if run.config.group == LOOK_ALIKES else ""


def image_differences(evidence: Evidence) -> Iterator[str]:
    """Yield a message for each image whose bytes have changed, and one on images that the split does not list.

    Raises:
        ValueError: an image is missing.
    """
    split = evidence.split
    try:
        now = {entry.path: entry.sha256 for entry in catalogue(split.root, evidence.context.progress).entries}
    except ValueError as error:
        yield f"the images are not those of the run: {error}"
        return
    listed = {entry.path: (part, entry) for part, entries in split.parts.items() for entry in entries}
    for path, (part, entry) in sorted(listed.items()):
        if now.get(path) != entry.sha256:
            yield f"{part} image {split.root / path} has other bytes than when the run was made"
    if added := sorted(now.keys() - listed.keys()):
        yield f"{split.root} holds {len(added)} images that {names.SPLIT} does not list, such as {added[0]}"


def decoded_differences(evidence: Evidence) -> Iterator[str]:
    """Yield a message for each part of the split whose decoded pixels differ from those in the run's fingerprint."""
    for part in ("test", "validation"):
        yield from pixel_differences(evidence.run, part, evidence.images(part), bitwise=evidence.bitwise)
