"""Everything that is checked, read and decoded before a training computes its first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from in4310repro import architectures, models, trained_part, weights_check
from in4310repro.capacity import refuse_beyond_disk, refuse_beyond_memory
from in4310repro.config import FIVE_MODULES, LOOK_ALIKES, Config
from in4310repro.data.cache import cache_folder
from in4310repro.data.check import Group
from in4310repro.data.comparison import comparison_sets
from in4310repro.data.embedded import embedded_catalogue, embedded_folder
from in4310repro.data.folders import Catalogue, catalogue
from in4310repro.data.images import ImageSet, UnreadableImagesError, decoder, load_images
from in4310repro.data.scenes import CLASSES
from in4310repro.data.splits import PARTS, Split, parse_sizes, stratified_split
from in4310repro.doubts import grouping
from in4310repro.epochs import refuse_too_large_a_step
from in4310repro.features import choose
from in4310repro.fingerprint import Fingerprint, fingerprint
from in4310repro.numerics import Numerics
from in4310repro.prediction import refuse_too_large
from in4310repro.presets import SHARES, with_counts
from in4310repro.processes import ALONE, Processes
from in4310repro.progress import Progress
from in4310repro.tensors import tensors_sha256


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a training starts from."""

    config: Config  # with the split as counts, and the modules of its network
    groups: list[Group]  # of images that the split holds on one side, beside files of equal bytes
    split: Split
    sets: Mapping[str, ImageSet]  # of each part
    network: torch.nn.Module  # with the initial weights
    fingerprint: Fingerprint

    def network_with(self, weights: dict[str, torch.Tensor], source: str, *, of_file: bool = False) -> torch.nn.Module:
        """The network with other weights; raises ValueError, which names their source, where they are not its own."""
        return models.from_state(self.config.model, len(self.split.classes), weights, source, of_file=of_file)


def prepare(config: Config, numerics: Numerics, progress: Progress, processes: Processes = ALONE) -> Prepared:
    """Checks all inputs and decodes all images.

    Args:
        config: of the training.
        numerics: the arithmetic of this process.
        progress: where to show how far it is.
        processes: those that call this together.

    Raises:
        ValueError: whatever is wrong with the data, the weights or the settings.
    """
    architectures.trust(config.model)
    architectures.check_name(config.model)
    _refuse_too_large(config, numerics)
    if config.imagenet or config.cifar10:
        comparison_sets(config)
    images = _catalogue(config, progress)
    if config.split == SHARES:
        config = with_counts(config, len(images.entries))
        progress.message(f"{len(images.entries)} images of {len(images.classes)} classes, split {config.split}")
    sizes = parse_sizes(config.split, len(images.entries))
    split = stratified_split(images, sizes, config.seed)
    network = models.build(config.model, len(split.classes), config.seed, config.weights)
    config = models.as_weights_say(config)
    config = _for_network(config, network, len(split.classes), numerics)
    weights_check.tell(config, numerics, progress)
    groups: list[Group] = []
    if config.group == LOOK_ALIKES:
        weights, source = network.state_dict(), "the initial weights"
        copy = models.from_state(config.model, len(split.classes), weights, source, of_file=False)
        groups = grouping.groups(images, copy, config, numerics, progress, processes=processes)
        progress.message(_held_together(groups))
        split = stratified_split(images, sizes, config.seed, groups)
    # The test images are decoded too, so that an unreadable one is reported now and not after hours.
    sets = _load_parts(split, config, progress)
    current = fingerprint(numerics)
    current["initial_weights_sha256"] = tensors_sha256(network.state_dict())
    current["decoder"] = decoder()
    current["pixels_sha256"] = {part: images.pixels_sha256() for part, images in sets.items()}
    return Prepared(config=config, groups=groups, split=split, sets=sets, network=network, fingerprint=current)


def _held_together(groups: Sequence[Group]) -> str:
    images = sum(map(len, groups))
    return f"{images} images that are copies of each other or look alike are in one part each, in {len(groups)} groups"


def _for_network(config: Config, model: torch.nn.Module, classes: int, numerics: Numerics) -> Config:
    """The configuration with the modules whose maps are measured, where it only has those of another network.

    Raises:
        ValueError: the network gives no scores to images of this size, has no such modules, or computes by functions
            that have no portable arithmetic.
    """
    architectures.check_scores(model, config.model, classes, config.image_size)
    if config.modules == FIVE_MODULES:
        config = replace(config, modules=architectures.default_modules(model, config.model, config.image_size))
    choose(model, config.modules)
    for setting in config.settings:
        trained_part.frozen_modules(model, config.trained_part(setting))
        if config.fits_head(setting):
            trained_part.last_layer_name(model, config.model)
    if numerics.portable and (reason := architectures.obstacle(config.model, config.image_size)):
        raise ValueError(f"{config.model} has no portable arithmetic: {reason}; --numerics native is the way out")
    return config


def _refuse_too_large(config: Config, numerics: Numerics) -> None:
    """Raises ValueError for sizes that this machine cannot hold, before anything is read or drawn."""
    pixels = config.image_size**2
    refuse_too_large_a_step(config, numerics)
    refuse_too_large(config, numerics)
    if not config.data and not embedded_folder(config.scenes, config.image_size, config.seed).exists():
        need = config.scenes * len(CLASSES) * pixels * 3
        what = f"{config.scenes} scenes of each class at image_size {config.image_size}"
        refuse_beyond_memory(f"{what}, decoded, take", need)
        # The files, and their decoded pixels.
        refuse_beyond_disk(f"{what} take", 2 * need, cache_folder())


def _catalogue(config: Config, progress: Progress) -> Catalogue:
    if config.data:
        return catalogue(Path(config.data), progress)
    if not config.scenes:
        raise ValueError(f"preset {config.preset} trains on real images: --data FOLDER names their class folders")
    return embedded_catalogue(config.scenes, config.image_size, config.seed, progress)


def _load_parts(split: Split, config: Config, progress: Progress) -> dict[str, ImageSet]:
    """The images of each part; raises one error that names the unreadable ones of all parts."""
    sets, unreadable = {}, dict[Path, str]()
    for part in PARTS:
        try:
            sets[part] = _load(split, config.protocol.part_read_as(part), config, progress)
        except UnreadableImagesError as error:
            unreadable |= error.reasons
    if unreadable:
        raise UnreadableImagesError(unreadable)
    return sets


def _load(split: Split, part: str, config: Config, progress: Progress) -> ImageSet:
    return load_images(
        part, split.root, split.parts[part], config.image_size, preprocessing=config.preprocessing, progress=progress
    )
