"""Images that a run has seen: those that its network was trained on and those that chose the fit, by content."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from in4310repro.data.check import near_duplicates_of
from in4310repro.data.folders import Entry
from in4310repro.data.images import ImageSet, decoder
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun, image_root
from in4310repro.system.files import file_sha256
from in4310repro.system.progress import Progress
from in4310repro.system.text import publishable_place

# What an image was to the network: the parts of a split, and an image that is new to it.
TRAINED, CHOSE, NEW = "trained on", "chose the fit", ""
ROLES = {"training": TRAINED, "validation": CHOSE}


def read_contents(run: FinishedRun) -> dict[str, str]:
    """Return what each image that the run trained or selected on was to it, by the sha256 of its file and its pixels.

    The pixels are those of a network's input. Runs up to format 5 recorded no hash of them. With the deviation
    `shared-split`, the images are those of the test part.

    Raises:
        ValueError: the record of the pixels is missing or damaged.
    """
    pixels, contents = run.pixel_hashes(), dict[str, str]()
    for part in reversed(ROLES):
        for entry in run.split.parts[run.config.protocol.part_read_as(part)]:
            contents |= dict.fromkeys((entry.sha256, pixels.get(entry.path, entry.sha256)), ROLES[part])
    return contents


def roles_of(images: ImageSet, contents: Mapping[str, str]) -> list[str]:
    """Return what each image was to a run, given the result of `read_contents`: `TRAINED`, `CHOSE` or `NEW`."""
    hashes = zip(images.keys, images.pixel_hashes().values(), strict=True)
    found = ({contents.get(each, NEW) for each in pair} for pair in hashes)
    return [next(role for role in (TRAINED, CHOSE, NEW) if role in roles) for roles in found]


def unrecognised(run: FinishedRun) -> list[str]:
    """Return a sentence about each kind of images that the run may have seen and that `roles_of` calls new."""
    sentences = []
    if not run.config.is_canonical:
        sentences.append(f"seen images with other bytes are not recognised, since the run has no {names.PIXELS}")
    elif run.fingerprint.get("decoder") != decoder():
        sentences.append("seen images with other bytes may not be recognised, since the run decoded by other libraries")
    if run.config.weights not in ("none", "imagenet"):
        weights = publishable_place(run.config.weights)
        sentences.append(f"the run started from the weights {weights}, and the images that these have seen are unknown")
    return sentences


def find_near_duplicates(
    run: FinishedRun, root: Path, images: Sequence[Entry], roles: Sequence[str], progress: Progress
) -> tuple[list[str] | None, str]:
    """Find the new images of a folder that are near-duplicates, also turned ones, of images that the run has seen.

    Args:
        run: the run.
        root: the folder.
        images: the images below it.
        roles: what each of them was to the run.
        progress: where to show how many images have been read.

    Returns:
        The paths below `root`, and an empty text. Where images that the run has seen are neither in this folder nor
        where the run names them, None, and the reason.
    """
    here = {entry.sha256: root / entry.path for entry in images}
    below, seen = image_root(run.config, None), dict[str, str]()
    for part in ROLES:
        for entry in run.split.parts[run.config.protocol.part_read_as(part)]:
            file = here.get(entry.sha256, below / entry.path)
            if entry.sha256 not in here and (not file.is_file() or file_sha256(file) != entry.sha256):
                return None, f"the {part} image {entry.path} is not at hand"
            seen[f"{file.absolute()}"] = entry.sha256
    new = {f"{(root / entry.path).absolute()}": entry for entry, role in zip(images, roles, strict=True) if role == NEW}
    ours = {file: entry.sha256 for file, entry in new.items()}
    found = near_duplicates_of(ours, seen, progress, run.config.orientation)
    return [entry.path for file, entry in new.items() if file in found], ""


def describe_roles(trained: int, chose: int, new: int) -> str:
    """Return a clause with the numbers of images that were trained on and that chose the fit.

    Examples:
        >>> describe_roles(424, 70, 106)
        '424 of 600 were trained on, 70 chose the fit; on the 106 others'
        >>> describe_roles(0, 0, 2), describe_roles(1, 0, 0)
        ('none of 2 was trained on or chose the fit', '1 of 1 was trained on, 0 chose the fit')
    """
    total = trained + chose + new
    if new == total:
        return f"none of {total} was trained on or chose the fit"
    others = f"; on the {new} others" if new > 1 else "; on the other one" if new else ""
    return f"{trained} of {total} {'was' if trained == 1 else 'were'} trained on, {chose} chose the fit{others}"
