"""Checks of a run's files and images: exact bytes, preset, fingerprint, split, groups and pixels."""

import copy
import io
import json
import reprlib
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from in4310repro.data import class_folders, embedded, splits
from in4310repro.data.folders import catalogue
from in4310repro.data.images import ImageSet, decoder, sha256_of_hashes
from in4310repro.data.preprocessing import IGNORED, Preprocessing, to_metadata, without_size
from in4310repro.evaluation.doubts.resemblances import find_groups
from in4310repro.runs import finished, names, settings
from in4310repro.runs.config import to_json
from in4310repro.runs.presets import PRESETS
from in4310repro.system import files, fingerprint, schema, text
from in4310repro.system.numerics import Numerics, class_of
from in4310repro.system.tensors import tensors_sha256
from in4310repro.verification.evidence import (
    NOT_SHOWN,
    Claim,
    Evidence,
    Finding,
    Note,
    SettingEvidence,
    earlier_version,
)
from in4310repro.verification.folder_checks import needed_files

ENDS = "that no picture has bytes behind its end"
LENGTH = 8  # bytes before the header of a safetensors file, which hold its length and divide it


def form_differences(run: finished.FinishedRun) -> Iterator[str]:
    """Yield a message for each JSON file that is valid, but not byte for byte what a run would write.

    A number in a different notation or a duplicate key, for example, could hide text. There is also a message if
    the archive of the scores has a wrong length. Its bytes are not compared, since archives name the operating
    system. Files of weights are checked by `weights_differences`.
    """
    for file in (run.files.file(name) for name in needed_files(run) if name.endswith(".json")):
        if files.read_bytes(file) != files.json_bytes(files.read_json(file)):
            yield f"{file} is not written as a run writes JSON, though it reads as if it were"
    config, scores = run.files.read_json(names.CONFIG), run.files.file(names.SCORES)
    for each in schema.differences(config, to_json(run.config, config["format"]), rules={}):
        # Older runs lack newer options.
        if each.first is not None:
            yield f"{run.folder / names.CONFIG}: {each.path} is {each.first}; a run writes {each.second}"
            break
    found, needed = files.read_bytes(scores), finished.score_bytes(run.scores)
    if len(found) != len(needed):
        yield f"{scores} has {len(found)} bytes; its arrays make {len(needed)}"
        return
    written, made = (zipfile.ZipFile(io.BytesIO(each)) for each in (found, needed))
    if written.namelist() != made.namelist():
        yield f"{scores} has its arrays in another order than {', '.join(made.namelist())}"
    elif other := [name for name in made.namelist() if written.read(name) != made.read(name)]:
        yield f"{scores}: {other[0]} has other bytes than a run writes for its values"


def weights_differences(setting: SettingEvidence) -> Iterator[str]:
    """Yield a message for each difference between a setting's weights files and the format that a run writes.

    Raises:
        ValueError: the weights are damaged or belong to another network.
    """
    run, stored = setting.run, {names.BEST_WEIGHTS: setting.stored}
    older = run.files.read_json(names.CONFIG)["format"] < settings.WEIGHTS_SAY
    if run.config.protocol.starts_warm:
        stored[names.LAST_WEIGHTS] = run.files.read_tensors(f"{setting.name}/{names.LAST_WEIGHTS}")
    for name, tensors in stored.items():
        yield from weights_form(setting.file(name), run.config.preprocessing, older=older)
        states = setting.network.state_dict(), tensors
        needed, held = ({n: f"{value.dtype}" for n, value in state.items()} for state in states)
        for each in [*schema.differences(needed, held)][:1]:
            then, now = (dtype or "absent" for dtype in (each.second, each.first))
            yield f"{setting.file(name)}: {each.path} is {then}; a run writes {now}"
        found, recorded = tensors_sha256(tensors), run.tensors[setting.name][-1]["weights_sha256"]
        if name == names.LAST_WEIGHTS and found != recorded:
            words = f"{names.TENSORS} has {recorded} after the last epoch"
            yield f"{setting.file(name)} holds weights with sha256 {found}; {words}"


def weights_form(file: Path, preprocessing: Preprocessing, *, older: bool = False) -> Iterator[str]:
    """Yield a message if metadata or header bytes of a weights file are not those that a run writes.

    Args:
        file: the weights.
        preprocessing: the run's preprocessing, which the metadata must state.
        older: whether the run's format is so old that weights may lack metadata.
    """
    data = files.read_bytes(file)
    end = LENGTH + int.from_bytes(data[:LENGTH], "little")
    header = json.loads(data[LENGTH:end])
    shortest = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    padded = shortest + b" " * (-len(shortest) % LENGTH)
    found, needed = header.get("__metadata__"), to_metadata(preprocessing)
    if found not in (needed, without_size(preprocessing), *((None,) if older else ())):
        yield f"{file}: its metadata are {reprlib.repr(found)}; a run with this {names.CONFIG} writes {needed}"
    elif data[LENGTH:end] != padded:
        yield f"{file} has another header than a run writes for its tensors"


def preset_findings(run: finished.FinishedRun) -> Iterator[Finding]:
    """Yield a message if the preset does not exist, and notes on configuration values that differ from it."""
    place, named = run.folder / names.CONFIG, run.config.preset
    if named not in PRESETS:
        yield f"{place}: preset is {named}; expected one of {', '.join(PRESETS)}{text.did_you_mean(named, PRESETS)}"
    if run.config.orientation == IGNORED and any((run.config.data, run.config.imagenet, run.config.cifar10)):
        yield Note(f"{place}: pictures were read without their EXIF orientation, as here")
    if preset := PRESETS.get(named):
        expected = replace(preset, orientation=run.config.orientation, format=run.config.format)
        if changed := [name for name, value in vars(expected).items() if value != vars(run.config)[name]]:
            yield Note(f"{place} differs from preset {named} in {', '.join(changed)}")


def fingerprint_differences(evidence: Evidence) -> Iterator[Finding]:
    """Yield a message for each entry of fingerprint.json that contradicts the configuration or a recomputed value.

    The hash of the weights before the first step is compared if these weights are available.
    """
    run, config, recorded = evidence.run, evidence.run.config, evidence.run.fingerprint
    file = run.folder / names.FINGERPRINT
    if config.numerics not in ("auto", recorded["numerics"]):
        yield f"{file}: numerics is {recorded['numerics']}; {names.CONFIG} has {config.numerics}"
    yield from class_differences(f"{file}", recorded, evidence.context.numerics)
    code, now = recorded.get("code_sha256", ""), config.network.code_sha256() if config.records_code else ""
    if code != now:
        here = f"the file of {config.network.name} here has {now or 'none to be recorded'}"
        yield f"{file}: code_sha256 is {code or 'absent'}; {here}"
    sha256, needed = recorded.get("initial_weights_sha256"), tensors_sha256(evidence.drawn_network.state_dict())
    which = f"the weights that seed {config.seed} draws"
    if config.weights != "none":
        if sha256 == needed:
            yield f"{file}: the initial weights are those that seed {config.seed} draws, not {config.weights} weights"
        if sha256 == needed or not evidence.start_at_hand:
            return
        try:
            needed = tensors_sha256(evidence.initial_network.state_dict())
        except ValueError as error:
            yield f"{error}"
            return
        which = f"{config.weights} weights that are here"
    if sha256 != needed:
        yield f"{file}: initial_weights_sha256 is {sha256}; {which} have {needed}"


def class_differences(place: str, recorded: fingerprint.Fingerprint, numerics: Numerics) -> Iterator[Finding]:
    """Yield a message if the arithmetic that a fingerprint names is not that of its probe, or of this version."""
    named = recorded["numeric_class"]
    if recorded["numerics"] == "native":
        computed = class_of(recorded["probe"], recorded.get("threads", 0), recorded["device_name"])
        if named != computed:
            yield f"{place}: numeric_class is {named}; its probe, threads and device make {computed}"
    elif version := earlier_version(recorded):
        bits = "whose bits are not those of this version; numbers are compared within tolerances"
        yield Note(f"{place}: recorded in version {version} of portable arithmetic, {bits}")
    elif numerics.portable and (named, recorded["probe"]) != (numerics.numeric_class, numerics.probe):
        yield (
            f"{place}: numeric_class and probe ({named}) are not those of portable arithmetic "
            f"({numerics.numeric_class} in this version); the run names in4310repro "
            f"{recorded['versions'].get('in4310repro', 'another version')}"
        )


def scene_differences(evidence: Evidence) -> list[str]:
    """Generate the scenes again, and return a message for each difference from the split.

    The list is empty for a run on a folder of images.
    """
    config, progress = evidence.run.config, evidence.context.progress
    drawn = evidence.run.split, config.scenes, config.image_size, config.seed
    return [] if config.data else embedded.differences_from_drawn(*drawn, progress)


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
            groups = f" and the groups of {names.GROUPS}" * (config.group == settings.LOOK_ALIKES)
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
    for part in ("test", "validation", "training")[: 2 + decodes_training(run)]:
        yield from pixel_differences(run, part, evidence.images(part), bitwise=evidence.bitwise)


def decodes_training(run: finished.FinishedRun) -> bool:
    """Return whether `verify` decodes the training images: to fit heads, or since the test images are the same."""
    return any(map(run.config.fits_head, run.config.settings)) or run.config.protocol.part_read_as("training") == "test"


def wrong_in_pixels(run: finished.FinishedRun) -> Iterator[str]:
    """Yield a message unless `pixels.json` has one hash for each image that the run read.

    Also yield one for each part whose hash in `fingerprint.json` does not follow from these hashes.
    """
    file, pixels = run.folder / names.PIXELS, run.pixel_hashes()
    paths = {part: [entry.path for entry in run.entries(part)] for part in run.split.parts}
    needed = {path for each in paths.values() for path in each}
    if others := sorted(pixels.keys() ^ needed):
        fault = f"{'missing' if others[0] in needed else f'not an image that the run of {names.CONFIG} reads'}"
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
    # A copy, since placing the images changes it.
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
