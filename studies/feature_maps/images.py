"""The sets of images that a network is measured on, three of them and changes of one thing in these."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from in4310repro.data import references
from in4310repro.data.folders import Entry
from in4310repro.data.images import ImageSet, load_images
from in4310repro.data.reading import crop_square
from in4310repro.data.references import Sample, sample_positions
from studies.feature_maps.networks import Subject

IMAGES, MORE_IMAGES, SEED = 200, 1000, 0
CIFAR_SIDE = 32  # pixels
SCENES, IMAGENET, CIFAR = "scenes", "ImageNet", "CIFAR-10"
THREE = (SCENES, IMAGENET, CIFAR)
REDUCED = {name: f"{name} through 32 px" for name in (SCENES, IMAGENET)}
TRAINED_ON = "scenes that it was trained on"
ONE_CLASS = "scenes, one class: "


class Folders(NamedTuple):
    imagenet: Path
    cifar10: Path


def draw_scenes(subject: Subject, entries: Sequence[Entry], name: str, count: int, size: int) -> ImageSet:
    chosen = sample_positions([entry.path for entry in entries], count, SEED)
    return load_images(
        name, Path(subject.root), [entries[place] for place in chosen], size, preprocessing=subject.preprocessing
    )


def draw(subject: Subject, folders: Folders, name: str, count: int, size: int) -> ImageSet:
    """Return a sample of one of the three sets; that of fewer images is a part of that of more."""
    if name == SCENES:
        return draw_scenes(subject, subject.scenes, name, count, size)
    return draw_others(folders, name, Sample(count, size, SEED, subject.preprocessing))


@functools.cache
def draw_others(folders: Folders, name: str, sample: Sample) -> ImageSet:
    """Return a sample of ImageNet or CIFAR-10; its images are decoded once for all networks."""
    return (
        references.imagenet(folders.imagenet, sample)
        if name == IMAGENET
        else references.cifar10(folders.cifar10, sample)
    )


def scale_up(images: ImageSet, size: int) -> ImageSet:
    """Return the images at `size` pixels a side, by the interpolation that decoding uses."""
    pixels = [crop_square(Image.fromarray(np.asarray(each)), size, images.preprocessing) for each in images.pixels]
    return replace(images, pixels=np.stack(pixels), cached=None)


def image_sets(subject: Subject, folders: Folders) -> Iterator[tuple[str, ImageSet]]:
    """Yield each set of images by name: the three; two of them through 32 px; each class; and scenes trained on."""
    for name in THREE:
        yield name, draw(subject, folders, name, IMAGES, subject.size)
    for name, reduced in REDUCED.items():
        yield reduced, scale_up(draw(subject, folders, name, IMAGES, CIFAR_SIDE), subject.size)
    for label, name in enumerate(subject.classes):
        of_class = [entry for entry in subject.scenes if entry.label == label]
        yield f"{ONE_CLASS}{name}", draw_scenes(subject, of_class, name, IMAGES, subject.size)
    if subject.trained_on:
        yield TRAINED_ON, draw_scenes(subject, subject.trained_on, TRAINED_ON, IMAGES, subject.size)
