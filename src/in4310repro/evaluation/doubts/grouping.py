"""Groups of images that a split keeps in one part: copies of any kind, and look-alikes of different classes."""

from __future__ import annotations

import torch

from in4310repro.data import check
from in4310repro.data.check import Group
from in4310repro.data.folders import Catalogue
from in4310repro.data.images import load_images
from in4310repro.evaluation.doubts.resemblances import resemblances
from in4310repro.evaluation.embedding import embed
from in4310repro.runs.config import Config
from in4310repro.system.context import Context


def groups(
    images: Catalogue,
    network: torch.nn.Module,
    config: Config,
    context: Context,
    *,
    cache: bool = True,
) -> list[Group]:
    """Return the groups of images, as paths, that a split must keep in one part.

    The features are those of a network that was not trained on the labels of these images.

    Args:
        images: the catalogue of all images.
        network: the network with its weights before training; it is moved to the device.
        config: gives preprocessing, image size and batch size.
        context: arithmetic, progress and processes of the computation.
        cache: if False, pixels and features are computed now, and no cache is read.

    Raises:
        ValueError: an image cannot be read, or the network does not end in one linear layer.
    """
    how = config.preprocessing
    loaded = load_images(
        "images",
        images.root,
        images.entries,
        config.image_size,
        preprocessing=how,
        cache=cache,
        progress=context.progress,
    )
    size, placed = config.evaluation_batch_size, context.numerics.place(network)
    features = embed(placed, config.network, loaded, size, context, cache=cache)
    found: list[Group] = []
    if context.processes.leads:
        findings = check.examine(images, None, context.progress, how.orientation)
        rows = features.take(range(len(loaded)))
        near = resemblances(images.root, images.entries, findings, rows, context.progress, how.orientation)
        found = [[images.entries[position].path for position in group] for group in near.groups()]
    told: list[Group] = context.processes.broadcast_json(found)
    return told
