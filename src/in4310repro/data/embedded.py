"""The embedded scenes as files: class folders of lossless images, drawn once into the cache."""

from __future__ import annotations

import hashlib
import inspect
import shutil
import uuid
from pathlib import Path

from PIL import Image

from in4310repro.data import drawing, scenes
from in4310repro.data.folders import Catalogue, catalogue, contents_sha256
from in4310repro.data.images import cache_folder
from in4310repro.progress import SILENT, Progress

SEAL = ".contents"


def embedded_catalogue(images_per_class: int, size: int, seed: int, progress: Progress = SILENT) -> Catalogue:
    """The catalogue of the embedded scenes, which are drawn where the cache lacks them.

    Raises:
        ValueError: the cached files are not the ones that were drawn.
    """
    folder = embedded_folder(images_per_class, size, seed)
    if not folder.exists():
        _draw_whole(folder, images_per_class, size, seed, progress)
    drawn = catalogue(folder)
    if contents_sha256(drawn.entries) != (folder / SEAL).read_text():
        raise ValueError(f"{folder} was changed since its scenes were drawn; remove it and they are drawn again")
    return drawn


def embedded_folder(images_per_class: int, size: int, seed: int) -> Path:
    """Where scenes of these arguments and of this version of the drawing code are kept."""
    sources = "".join(map(inspect.getsource, (scenes, drawing)))
    code = hashlib.sha256(sources.encode()).hexdigest()[:12]
    return cache_folder() / "scenes" / f"{images_per_class}-{size}px-seed{seed}-{code}"


def write_scenes(folder: Path, images_per_class: int, size: int, seed: int, progress: Progress = SILENT) -> None:
    """Draws `folder/CLASS/NNNN.bmp`.

    BMP, since its bytes are the pixels: those of a PNG depend on the zlib that packed it.

    Raises:
        ValueError: the folder holds something already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; scenes are drawn into a new folder")
    with progress.task("drawing scenes", images_per_class * len(scenes.CLASSES)) as advance:
        for label in scenes.CLASSES:
            (folder / label).mkdir(parents=True, exist_ok=True)
            for index in range(images_per_class):
                pixels = scenes.draw(label, index, size, seed)
                Image.fromarray(pixels).save(folder / label / f"{index:04d}.bmp")
                advance(1, "")


def _draw_whole(folder: Path, images_per_class: int, size: int, seed: int, progress: Progress) -> None:
    """Draws beside the target and renames, so that other processes see all scenes or none."""
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:12]}")
    write_scenes(temporary, images_per_class, size, seed, progress)
    (temporary / SEAL).write_text(contents_sha256(catalogue(temporary).entries))
    try:
        temporary.rename(folder)
    except OSError:
        # Another process was first; its scenes are the same.
        shutil.rmtree(temporary)
