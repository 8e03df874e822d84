"""Forgeries of images: in the folder that `--data` names, and in the verifier's cache of scenes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from in4310repro.data.embedded import CONTENTS_FILE, embedded_folder, write_scenes
from in4310repro.data.folders import catalogue, contents_sha256
from in4310repro.data.splits import parse_sizes, stratified_split, to_csv
from tests.forgeries.forger import Forger
from tests.forgeries.row import Forge, forgeries_of
from tests.forgeries.splits import SPLIT, fewer_training, parts_of
from tests.forgeries.starts import PHOTOS


def poison(forger: Forger, work: Path) -> None:
    """Fill each class of the verifier's image cache with copies of one scene that differ only in an added byte."""
    config = forger.config()
    os.environ["IN4310REPRO_CACHE"] = str(work)
    folder = embedded_folder(config.scenes, config.image_size, config.seed)
    write_scenes(folder, config.scenes, config.image_size, config.seed)
    for kind in (each for each in folder.iterdir() if each.is_dir()):
        same = (kind / "0000.bmp").read_bytes()
        for number, file in enumerate(sorted(kind.iterdir())):
            # Bytes at the end, which no reader of images looks at: contents are distinct and have hashes of their own.
            file.write_bytes(same + bytes([number]))
    (folder / CONTENTS_FILE).write_text(contents_sha256(catalogue(folder).entries))


def poisoned_cache(forger: Forger) -> None:
    """Compute the scores with a poisoned cache, and write the split of the poisoned files."""
    before = os.environ["IN4310REPRO_CACHE"]
    try:
        poison(forger, forger.work / "cache")
        config = forger.config()
        root = embedded_folder(config.scenes, config.image_size, config.seed)
        images = catalogue(root)
        split = stratified_split(images, parse_sizes(config.split, len(images.entries)), config.seed)
        forger.write(SPLIT, to_csv(split))
        forger.make_fit()
    finally:
        os.environ["IN4310REPRO_CACHE"] = before


def poisoned_images_alone(forger: Forger) -> None:
    """Poison the cache without changing the run."""
    before = os.environ["IN4310REPRO_CACHE"]
    try:
        poison(forger, forger.work / "cache")
    finally:
        os.environ["IN4310REPRO_CACHE"] = before


def photos_changed(change: Callable[[Forger, Any], object]) -> Forge:
    """Change images of the folder that `--data` names, and write the split of the changed files."""

    def forge(forger: Forger) -> None:
        change(forger, forger.work / PHOTOS)
        rows = forger.read(SPLIT).decode().splitlines()
        kept = [rows[0]]
        for line in rows[1:]:
            path, label, _, part = line.split(",")
            file = forger.work / PHOTOS / path
            if file.exists():
                kept.append(f"{path},{label},{hashlib.sha256(file.read_bytes()).hexdigest()},{part}")
        forger.write(SPLIT, ("\n".join(kept) + "\n").encode())
        forger.write_split(dict(parts_of(forger)))
        forger.make_fit()

    return forge


def first_test_image(forger: Forger, root: Path) -> Path:
    return root / forger.split().parts["test"][0].path


def remove_image(forger: Forger, root: Path) -> None:
    (root / forger.split().parts["training"][0].path).unlink()


def only_in_the_split(forger: Forger) -> None:
    parts = parts_of(forger)
    fewer_training(parts)
    forger.write_split(dict(parts))
    forger.make_fit()


def brighten(forger: Forger) -> None:
    """Change a pixel of a test image, and nothing else."""
    file = first_test_image(forger, forger.work / PHOTOS)
    data = bytearray(file.read_bytes())
    data[-20] ^= 0x40
    file.write_bytes(bytes(data))


row = forgeries_of("images", start="folder")
ROWS = [
    row("a training row removed, its image is still there", only_in_the_split, "split"),
    row(
        "a training row and its image removed, everything computed anew",
        photos_changed(remove_image),
        "trained again",
        by="replay",
        replay="--replay 0",
    ),
    row("a test image replaced", brighten, "other bytes"),
    row(
        "the verifier's cache holds one scene for all of a class, and the split is of these",
        poisoned_cache,
        "drawn",
        start="tiny",
        own_cache=True,
    ),
    row("the verifier's cache alone", poisoned_images_alone, "other bytes", start="tiny", own_cache=True),
]
