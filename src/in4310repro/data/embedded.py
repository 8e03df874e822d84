"""Image files of the embedded scenes, which this package draws: class folders of lossless images in the cache."""

import inspect
import io
import itertools
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from PIL import Image

from in4310repro.data import drawing, scenes
from in4310repro.data.cache import cache_folder
from in4310repro.data.folders import Catalogue, catalogue, contents_sha256
from in4310repro.data.splits import Split
from in4310repro.system.files import bytes_sha256, name_file_in_errors
from in4310repro.system.machine import refuse_beyond_disk, refuse_beyond_memory
from in4310repro.system.progress import SILENT, Progress

MOST_DIFFERENCES = 10  # that are listed before no more scenes are drawn
# File with the sha256 of the scenes as drawn; hidden, so that it is not taken for an image.
CONTENTS_FILE = ".contents"


def embedded_catalogue(images_per_class: int, size: int, seed: int, progress: Progress = SILENT) -> Catalogue:
    """Return the catalogue of the embedded scenes, after drawing them into the cache if they are missing.

    The sha256 of the scenes is stored beside them, and is checked. Somebody who changes scenes on purpose can
    replace the stored sha256 as well. `differences_from_drawn` notices even this, because it draws the scenes
    again.

    Args:
        images_per_class: number of images of each of the six classes.
        size: width and height, pixels.
        seed: the seed of the scenes.
        progress: where to show how many scenes have been drawn.

    Raises:
        ValueError: the files in the cache, or their sha256, were changed since they were drawn.
    """
    folder = embedded_folder(images_per_class, size, seed)
    if not folder.exists():
        # Renamed when all are drawn, so that other processes see all scenes or none.
        temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}")
        write_scenes(temporary, images_per_class, size, seed, progress)
        (temporary / CONTENTS_FILE).write_text(contents_sha256(catalogue(temporary).entries), encoding="ascii")
        try:
            temporary.rename(folder)
        except OSError:
            # Another process was faster and drew the same scenes.
            shutil.rmtree(temporary)
    with suppress(OSError, ValueError):
        drawn = catalogue(folder)
        if contents_sha256(drawn.entries) == (folder / CONTENTS_FILE).read_text(encoding="ascii"):
            return drawn
    raise ValueError(f"{folder} was changed since its scenes were drawn; remove it and they are drawn again")


def differences_from_drawn(
    split: Split, images_per_class: int, size: int, seed: int, progress: Progress = SILENT
) -> list[str]:
    """Draw a split's embedded scenes again; return up to ten messages about scenes that differ from the split.

    Every scene is drawn again in memory; the cache is not read. A scene is equal if its file has the same sha256.

    Args:
        split: a split of all scenes.
        images_per_class: number of images of each of the six classes.
        size: width and height, pixels.
        seed: the seed of the scenes.
        progress: where to show how many scenes have been drawn.
    """
    entries = [entry for part in split.parts.values() for entry in part]
    # Checked before drawing, because a configuration may request any number.
    if len(entries) != images_per_class * len(scenes.CLASSES):
        return [f"the split has {len(entries)} images; {images_per_class} scenes of each of 6 classes are drawn"]
    listed = {entry.path: (split.classes[entry.label], entry.sha256) for entry in entries}
    changed = (
        f"the split lacks the scene {path} as it is drawn now"
        for label, path, content in _draw(images_per_class, size, seed, "drawing scenes again", progress)
        if listed.get(path) != (label, bytes_sha256(content))
    )
    # A forged size would change every scene, and make drawing slow.
    return [*itertools.islice(changed, MOST_DIFFERENCES)]


def refuse_too_many(images_per_class: int, size: int, seed: int) -> None:
    """Raise ValueError if this machine has too little memory or disk for scenes that are not drawn yet."""
    if embedded_folder(images_per_class, size, seed).exists():
        return
    need = images_per_class * len(scenes.CLASSES) * size**2 * 3
    what = f"{images_per_class} scenes of each class at image_size {size}"
    refuse_beyond_memory(f"{what}, decoded, take", need)
    # The files, and their decoded pixels.
    refuse_beyond_disk(f"{what} take", 2 * need, cache_folder())


def embedded_folder(images_per_class: int, size: int, seed: int) -> Path:
    """Return the cache folder for scenes with these arguments; its name contains a hash of the drawing code."""
    sources = "".join(map(inspect.getsource, (scenes, drawing)))
    code = bytes_sha256(sources.encode())[:12]
    return cache_folder() / "scenes" / f"{images_per_class}-{size}px-seed{seed}-{code}"


def write_scenes(folder: Path, images_per_class: int, size: int, seed: int, progress: Progress = SILENT) -> None:
    """Draw scenes of every class into files `folder/CLASS/NNNN.bmp`.

    The format is BMP, whose bytes depend only on the pixels. The bytes of a PNG also depend on the version of
    zlib.

    Args:
        folder: a new or empty folder.
        images_per_class: number of images of each of the six classes.
        size: width and height, pixels.
        seed: the seed of the scenes.
        progress: where to show how many scenes have been drawn.

    Raises:
        ValueError: the folder is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; scenes are drawn into a new folder")
    for label, path, content in _draw(images_per_class, size, seed, "drawing scenes", progress):
        (folder / label).mkdir(parents=True, exist_ok=True)
        with name_file_in_errors(folder / path, len(content)):
            (folder / path).write_bytes(content)


def _draw(
    images_per_class: int, size: int, seed: int, title: str, progress: Progress
) -> Iterator[tuple[str, str, bytes]]:
    """Draw scenes of every class; yield class, path and bytes of the file of each."""
    with progress.task(title, images_per_class * len(scenes.CLASSES)) as advance:
        for label in scenes.CLASSES:
            for index in range(images_per_class):
                stream = io.BytesIO()
                Image.fromarray(scenes.draw(label, index, size, seed)).save(stream, "BMP")
                yield label, f"{label}/{index:04d}.bmp", stream.getvalue()
                advance(1, "")
