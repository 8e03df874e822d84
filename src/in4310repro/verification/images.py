"""Checks of a run's images and their pixels, and of its split and groups of images, which are computed again."""

import copy
from collections.abc import Iterator

from in4310repro.data import class_folders, embedded, splits
from in4310repro.data.folders import catalogue
from in4310repro.data.images import ImageSet, decoder, sha256_of_hashes
from in4310repro.evaluation.doubts.resemblances import find_groups
from in4310repro.runs import finished, names, settings
from in4310repro.system import files, schema
from in4310repro.verification.evidence import NOT_SHOWN, Claim, Evidence, Finding

ENDS = "that no picture has bytes behind its end"


def scene_differences(evidence: Evidence) -> list[str]:
    """Generate the scenes again, and return a message for each difference from the split.

    The list is empty for a run on a folder of images.
    """
    split, config, progress = evidence.run.split, evidence.run.config, evidence.context.progress
    drawn = config.scenes, config.image_size, config.seed
    return [] if config.data else embedded.differences_from_drawn(split, *drawn, progress)


def split_differences(evidence: Evidence) -> list[str]:
    """Draw the split again from seed and sizes, and return a message on the first row of split.csv that differs.

    The files are compared byte for byte, so a row in another place or in another format is a difference too.
    """
    run, config = evidence.run, evidence.run.config
    file, images = run.folder / names.SPLIT, run.split.catalogue()
    try:
        sizes = splits.parse_sizes(config.split, len(images.entries))
        drawn = splits.to_csv(splits.stratified_split(images, sizes, config.seed, run.groups))
        written = files.read_bytes(run.files.file(names.SPLIT))
    except (ValueError, OSError) as error:
        return [f"{file}: no split can be drawn from its images: {error}"]
    rows = zip(*(content.decode().splitlines() for content in (written, drawn)), strict=False)
    for number, (row, now) in enumerate(rows, start=1):
        if row != now:
            groups = f" and the groups of {names.GROUPS}" if config.group == settings.LOOK_ALIKES else ""
            needed = f"seed {config.seed} and split {config.split} draw {now} from the images{groups}"
            return [f"{file}: row {number} is {row}; {needed}"]
    lengths = f"{file} has {len(written)} bytes; the split that is drawn from its images has {len(drawn)}"
    return [lengths] * (drawn != written)


def image_differences(evidence: Evidence) -> Iterator[Finding]:
    """Yield a message for each image whose bytes have changed, and one on images that the split does not list.

    Also yield a claim, since no format is read to the end of a picture. Generated scenes have no files, and none.

    Raises:
        ValueError: an image is missing.
    """
    split = evidence.split
    try:
        images = catalogue(split.root, evidence.context.progress, class_folders.chosen_in(split.catalogue().labels()))
    except ValueError as error:
        yield f"the images are not those of the run: {error}"
        return
    now = {entry.path: entry.sha256 for entry in images.entries}
    listed = {entry.path: (part, entry.sha256) for part, entries in split.parts.items() for entry in entries}
    for path, (part, sha256) in sorted(listed.items()):
        if now.get(path) != sha256:
            yield f"{part} image {split.root / path} has other bytes than when the run was made"
    if added := sorted(now.keys() - listed.keys()):
        yield f"{split.root} holds {len(added)} images that {names.SPLIT} does not list, such as {added[0]}"
    if evidence.run.config.data:
        yield Claim(ENDS, NOT_SHOWN)


def decoded_differences(evidence: Evidence) -> Iterator[str]:
    """Compare the pixels of the images with the recorded hashes, those of training only where they are decoded anyway.

    Yield a message for each part of the split whose pixels differ. If equal bits are not required, a
    difference counts only if the decoder has the recorded versions.
    """
    run = evidence.run
    if run.config.is_canonical:
        yield from wrong_in_pixels(run)
    for part in ("test", "validation", *(["training"] if decodes_training(run) else [])):
        yield from pixel_differences(run, part, evidence.images(part), bitwise=evidence.bitwise)


def decodes_training(run: finished.FinishedRun) -> bool:
    """Return whether `verify` decodes the training images: to fit heads, or since the test images are the same."""
    fitted = any(map(run.config.fits_head, run.config.settings))
    return fitted or run.config.protocol.part_read_as("training") == "test"


def wrong_in_pixels(run: finished.FinishedRun) -> Iterator[str]:
    """Yield a message if `pixels.json` has not one hash for each image that the run read.

    Also yield one for each part whose hash in `fingerprint.json` is not that of these hashes.
    """
    file, pixels, parts = run.folder / names.PIXELS, run.pixel_hashes(), run.split.parts
    paths = {part: [entry.path for entry in parts[run.config.protocol.part_read_as(part)]] for part in parts}
    needed = {path for each in paths.values() for path in each}
    if others := sorted(pixels.keys() ^ needed):
        fault = "missing" if others[0] in needed else f"no image that the run of {names.CONFIG} reads"
        yield f"{file}: {others[0]} is {fault}"
        return
    recorded = run.fingerprint.get("pixels_sha256", {})
    for part, each in paths.items():
        if (found := sha256_of_hashes(pixels[path] for path in each)) != recorded.get(part):
            said = f"pixels_sha256 in {names.FINGERPRINT} has {recorded.get(part)}"
            yield f"{file}: the hashes of the {part} images give {found}; {said}"


def pixel_differences(run: finished.FinishedRun, part: str, images: ImageSet, *, bitwise: bool) -> Iterator[str]:
    """Yield an error message if the hash of an image set's pixels differs from the hash that the run recorded.

    Nothing is checked if the run's version recorded no hashes of pixels.

    Args:
        run: a finished run.
        part: a part of the split.
        images: the images of the part, decoded now.
        bitwise: whether pixels must be equal even if the versions of the decoder differ.
    """
    recorded, computed = run.fingerprint.get("pixels_sha256", {}).get(part), images.pixels_sha256()
    made_by, here = run.fingerprint.get("decoder", {}), decoder()
    if recorded in (None, computed) or not (bitwise or made_by == here):
        return
    versions = ", ".join(
        f"{each.path} {each.first or 'none'} in the run and {each.second or 'none'} here"
        for each in schema.differences(made_by, here)
    )
    why = f" (another decoder: {versions})" if versions else ""
    hashes, saved = images.pixel_hashes(), run.pixel_hashes()
    if other := [path for path in hashes if saved.get(path, hashes[path]) != hashes[path]]:
        why = f", first of {len(other)} other images {other[0]}{why}"
    place = f"{run.folder / names.FINGERPRINT}: pixels_sha256 of the {part} images"
    yield f"{place} is {recorded}; they are decoded to {computed}{why}"


def group_differences(evidence: Evidence) -> Iterator[str]:
    """Find the groups of look-alikes again; yield a message for the first image whose group has changed.

    If only the order of the groups has changed, yield one message about the order. Nothing is compared if the
    initial weights are not available, or if equal bits are not required, since the last bit of a feature may
    decide which image is the nearest. No cache is read.

    Raises:
        ValueError: an image or the initial weights cannot be read.
    """
    run, config = evidence.run, evidence.run.config
    if config.group != settings.LOOK_ALIKES or not (evidence.start_at_hand and evidence.bitwise):
        return
    # A copy, since it is placed.
    network, images = copy.deepcopy(evidence.initial_network), evidence.split.catalogue()
    again = find_groups(images, network, config, evidence.context, cache=False)
    if again == run.groups:
        return
    recorded, found = ({path: group for group in groups for path in group} for groups in (run.groups, again))
    changed = min(schema.differences(recorded, found), key=lambda each: each.path, default=None)
    if changed is None:
        yield f"{run.folder / names.GROUPS} has its groups in another order than they are found in"
    else:
        then, now = (" and ".join(each or ["no other"]) for each in (changed.first, changed.second))
        yield f"{run.folder / names.GROUPS}: {changed.path} is held together with {then}; found again it is {now}"
