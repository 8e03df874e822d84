"""Mistakes 1 to 3, of the split: image contents that two loaders share."""

from __future__ import annotations

import functools
import itertools
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from in4310repro.data import folders
from in4310repro.data.embedded import write_scenes
from in4310repro.data.folders import Catalogue
from in4310repro.data.images import evaluation_batches, load_images, training_batches
from in4310repro.data.splits import PARTS, Split, stratified_split
from tests.mistakes import drawn
from tests.mistakes.drawn import Parts, Yielded, from_to
from tests.mistakes.handed_over import SIZE, SIZES
from tests.mistakes.mistake import Mistake


def contents(part: Yielded) -> set[bytes]:
    return {image.tobytes() for image in part.images}


def check_contents(parts: Parts) -> None:
    """No two loaders yield the same pixels."""
    for one, other in itertools.combinations(PARTS, 2):
        assert not contents(parts[one]) & contents(parts[other]), (one, other)


def one_object_behind_three_loaders() -> Parts:
    return dict.fromkeys(PARTS, drawn.our_parts()["test"])


def neighbour(ours: Parts, twin: Parts) -> str:
    return from_to("nearest neighbour's test accuracy", drawn.nearest_accuracy(ours), drawn.nearest_accuracy(twin))


def loaded(parts: Split) -> Parts:
    return {
        part: drawn.yielded(evaluation_batches(load_images(part, parts.root, parts.parts[part], SIZE, cache=False), 16))
        for part in PARTS
    }


def by_names(images: Catalogue) -> Split:
    """Return a random split of the list of files, whose only check is that no path is in two parts."""
    order = np.random.default_rng(0).permutation(len(images.entries))
    ends = np.cumsum(SIZES)
    cut = {part: order[end - size : end] for part, size, end in zip(PARTS, SIZES, ends, strict=True)}
    parts = {part: tuple(images.entries[i] for i in sorted(places)) for part, places in cut.items()}
    names = [{entry.path for entry in entries} for entries in parts.values()]
    assert not any(one & other for one, other in itertools.combinations(names, 2))
    return Split(images.root, images.classes, parts)


@functools.cache
def with_copies() -> tuple[Parts, Parts]:
    """Return the images of two splits (the package's, and `by_names`) of 240 files, 60 of which are copies."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_scenes(root, 30, SIZE, 0)
        for file in sorted(root.glob("*/000?.bmp")):
            shutil.copy(file, file.with_name(f"copy-{file.name}"))
        images = folders.catalogue(root)
        return loaded(stratified_split(images, SIZES, 0)), loaded(by_names(images))


def check_mirrors(parts: Parts) -> None:
    """No test image is a training image, or the mirror image of one."""
    seen = contents(parts["training"])
    for image in parts["test"].images:
        assert image.tobytes() not in seen
        assert image[:, :, ::-1].tobytes() not in seen


def augmented_while_training() -> Parts:
    epochs = [drawn.yielded(training_batches(drawn.image_sets()["training"], 16, "flip", 0, e)) for e in (0, 1)]
    joined = (np.concatenate([getattr(epoch, name) for epoch in epochs]) for name in ("images", "labels"))
    return {**drawn.our_parts(), "training": Yielded(epochs[0].paths + epochs[1].paths, *joined)}


@functools.cache
def augmented_before_the_split() -> Parts:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_scenes(root, 20, SIZE, 0)
        for file in sorted(root.glob("*/*.bmp")):
            with Image.open(file) as image:
                image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(file.with_name(f"flip-{file.name}"))
        return loaded(stratified_split(folders.catalogue(root), SIZES, 0))


def shared_mirrors(_ours: Parts, twin: Parts) -> str:
    test, seen = twin["test"].images, contents(twin["training"])
    return f"{sum(image[:, :, ::-1].tobytes() in seen for image in test)} of {len(test)} test images seen as mirrors"


def shared_contents(_ours: Parts, twin: Parts) -> str:
    test = twin["test"].images
    return f"{sum(image.tobytes() in contents(twin['training']) for image in test)} of {len(test)} test images seen"


MISTAKES = [
    Mistake(
        number=1,
        name="one object behind three loaders",
        check=check_contents,
        ours=drawn.our_parts,
        twin=one_object_behind_three_loaders,
        size=neighbour,
    ),
    Mistake(
        number=2,
        name="disjointness checked on names, not on contents",
        check=check_contents,
        ours=lambda: with_copies()[0],
        twin=lambda: with_copies()[1],
        size=shared_contents,
    ),
    Mistake(
        number=3,
        name="augmented copies saved before the split",
        check=check_mirrors,
        ours=augmented_while_training,
        twin=augmented_before_the_split,
        size=shared_mirrors,
    ),
]
