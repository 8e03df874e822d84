"""The groups of images that a split may hold on one side: copies of any kind, and look-alikes in other classes."""

from __future__ import annotations

import torch

from in4310repro.config import Config
from in4310repro.data import check
from in4310repro.data.check import Group
from in4310repro.data.folders import Catalogue
from in4310repro.data.images import load_images
from in4310repro.doubts.resemblances import resemblances
from in4310repro.embedding import embed
from in4310repro.numerics import Numerics
from in4310repro.processes import ALONE, Processes
from in4310repro.progress import SILENT, Progress


def groups(
    images: Catalogue,
    network: torch.nn.Module,
    config: Config,
    numerics: Numerics,
    progress: Progress = SILENT,
    *,
    cache: bool = True,
    processes: Processes = ALONE,
) -> list[Group]:
    """Paths of the images that belong together, by the features of a network that has seen none of their labels.

    Args:
        images: all of them.
        network: with the weights that training begins from; it is placed by `numerics`.
        config: gives preprocessing, image size and batch size.
        numerics: the arithmetic of this process.
        progress: where to show how far it is.
        cache: as `embed` and `load_images`.
        processes: those that call this together and all get the groups.

    Raises:
        ValueError: an image cannot be read, or the network does not end in one linear layer.
    """
    how = config.preprocessing
    loaded = load_images(
        "images", images.root, images.entries, config.image_size, preprocessing=how, cache=cache, progress=progress
    )
    size, placed = config.evaluation_batch_size, numerics.place(network)
    features = embed(placed, config.model, loaded, size, numerics, progress, cache=cache, processes=processes)
    found: list[Group] = []
    if processes.leads:
        findings = check.examine(images, None, progress, how.orientation)
        rows = features.take(range(len(loaded)))
        near = resemblances(images.root, images.entries, findings, rows, progress, how.orientation)
        found = [[images.entries[position].path for position in group] for group in near.groups()]
    told: list[Group] = processes.told_json(found)
    return told
