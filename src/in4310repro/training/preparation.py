"""Preparation of a training: before the first step, check data, weights and network, and decode all images."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np
import torch

from in4310repro.data.check import Group
from in4310repro.data.class_folders import describe_counts
from in4310repro.data.comparison import Sample, imagenet
from in4310repro.data.embedded import embedded_catalogue, refuse_too_many
from in4310repro.data.folders import Catalogue, catalogue
from in4310repro.data.images import ImageSet, decoder
from in4310repro.data.preprocessing import Preprocessing
from in4310repro.data.reading import UnreadableImagesError
from in4310repro.data.splits import PARTS, Split, parse_sizes, stratified_split, to_csv
from in4310repro.evaluation.doubts.resemblances import find_groups
from in4310repro.evaluation.feature_maps.of_run import comparison_sets
from in4310repro.evaluation.prediction import predict, refuse_too_large
from in4310repro.features import choose
from in4310repro.metrics import wilson
from in4310repro.models import modules, trained_part
from in4310repro.models.sources import FIVE_MODULES
from in4310repro.models.weights import Weights
from in4310repro.runs.config import Config, with_preprocessing
from in4310repro.runs.presets import refuse_without_images, with_counts
from in4310repro.runs.settings import LOOK_ALIKES, OptimizerSetting
from in4310repro.system.context import Context
from in4310repro.system.fingerprint import Fingerprint, fingerprint
from in4310repro.system.numerics import Numerics
from in4310repro.system.progress import Progress
from in4310repro.system.tensors import tensors_sha256
from in4310repro.training.epochs import TrainingInputs

WORDNET_ID = re.compile(r"(?:^|/)(n\d{8})(?=[_/.])")  # begins a folder or a file name
IMAGES = 300  # that are looked at, at most
LOWEST = 0.5  # expected of weights whose accuracy nobody says


@functools.cache
def wordnet_ids() -> list[str]:
    """Return the WordNet ids of ImageNet's 1,000 classes, in the order of a network's scores."""
    ids: list[str] = json.loads((resources.files("in4310repro.data") / "wordnet_ids.json").read_text("ascii"))
    return ids


@dataclass(frozen=True)
class WeightsCheck:
    """Numbers of images and of correctly classified ones in a check of weights, and the expected accuracy."""

    correct: int
    images: int
    expected: float  # top-1 accuracy that is said of them on the validation images of ImageNet

    def line(self, weights: str) -> str:
        """Return the result as a line of text, with a warning if the accuracy is clearly below the expected one."""
        low, high = wilson(self.correct, self.images)
        share = f"{self.correct} of {self.images}, {self.correct / self.images:.2f} ({low:.2f} to {high:.2f})"
        line = f"{weights} name the class of {share} images of --imagenet"
        if high >= self.expected:
            return line
        return (
            f"warning: {line}, and {self.expected:.2f} is expected: the weights are of another network, or images are "
            "prepared otherwise than for them (--mean, --std, --interpolation)"
        )


def check_weights(config: Config, weights: Weights, context: Context) -> WeightsCheck | None:
    """Classify ImageNet images with the initial weights of a training run; count the correctly classified ones.

    Args:
        config: the configuration; the preprocessing of the weights is already filled in.
        weights: the weights that the configuration names.
        context: arithmetic, progress and processes of the computation.

    Returns:
        The number of images, how many of them are correctly classified, and the expected accuracy. The result is
        None if the check is impossible: there are no weights or no folder of ImageNet images, no file name
        contains a WordNet id of a class, or the weights do not score 1,000 classes.
    """
    if weights.tensors is None or not config.imagenet:
        return None
    places = {name: place for place, name in enumerate(wordnet_ids())}
    loaded, head = weights.tensors, config.network.head()
    if any(key not in loaded or len(loaded[key]) != len(places) for key in head):
        return None
    how = _choose_preprocessing(config)
    images = imagenet(Path(config.imagenet), Sample(IMAGES, how.size, config.seed, how))
    found = [WORDNET_ID.search(path) for path in images.paths]
    known = [n for n, each in enumerate(found) if each and each.group(1) in places]
    if not known:
        return None
    labels = np.array([places[found[n].group(1)] for n in known], np.int64)  # type: ignore[union-attr]
    named = replace(images.at(known), labels=labels)
    model = context.numerics.place(config.network.build(len(places), config.seed, weights))
    scores = predict(model, named, config, context.silent())
    correct = int((scores.softmax.argmax(axis=1) == labels).sum())
    return WeightsCheck(correct, len(known), _expected(config))


def _choose_preprocessing(config: Config) -> Preprocessing:
    """Return the preprocessing for `check_weights`.

    For ImageNet weights it is the resizing and cropping of their published evaluation, with the mean, standard
    deviation and interpolation of the configuration. For other weights it is that of the configuration.
    """
    if config.weights != "imagenet":
        return config.preprocessing
    return replace(
        config.network.imagenet.evaluation,
        mean=config.preprocessing.mean,
        std=config.preprocessing.std,
        interpolation=config.preprocessing.interpolation,
    )


def _expected(config: Config) -> float:
    return (config.network.imagenet.top_1 or LOWEST) if config.weights == "imagenet" else LOWEST


def print_weights_check(config: Config, weights: Weights, context: Context) -> None:
    """Run `check_weights` and show its result; do nothing if progress is not shown."""
    if context.progress.console is None:
        return
    if found := check_weights(config, weights, context):
        name = f"ImageNet weights of {config.network.name}" if config.weights == "imagenet" else config.weights
        context.progress.message(found.line(name))


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """All inputs of a training that determine its results: configuration, split, images and initial network."""

    config: Config  # with the split as counts, and the modules of its network
    groups: list[Group]  # of images that the split holds on one side, beside files of equal bytes
    split: Split
    sets: Mapping[str, ImageSet]  # of each part
    network: torch.nn.Module  # with the initial weights
    fingerprint: Fingerprint

    @property
    def test_each_epoch(self) -> ImageSet | None:
        """The test images, if the protocol scores them after every epoch; else None."""
        return self.sets["test"] if self.config.protocol.scores_test_each_epoch else None

    @functools.cached_property
    def split_csv(self) -> bytes:
        """The split as the bytes of `split.csv`."""
        return to_csv(self.split)

    @property
    def pixels(self) -> dict[str, str]:
        """The sha256 of the decoded pixels of each image, by path."""
        hashes = {path: sha256 for images in self.sets.values() for path, sha256 in images.pixel_hashes().items()}
        return dict(sorted(hashes.items()))

    def network_with(self, weights: dict[str, torch.Tensor], source: str, *, of_file: bool = False) -> torch.nn.Module:
        """Return a copy of the network with these weights and buffers.

        Raises:
            ValueError: the weights do not fit the network; the message names their source.
        """
        return self.config.network.restore(len(self.split.classes), weights, source, of_file=of_file)

    def inputs(
        self, setting: OptimizerSetting, context: Context, weights: dict[str, torch.Tensor] | None = None
    ) -> TrainingInputs:
        """Return the inputs of training with one setting, from these weights; None: from the initial ones."""
        return TrainingInputs(
            model=self.network_with(weights or self.network.state_dict(), "the initial weights"),
            training=self.sets["training"],
            validation=self.sets["validation"],
            test=self.test_each_epoch,
            config=self.config,
            setting=setting,
            context=context,
        )


def plan_training(config: Config, context: Context, class_folders: str | None = None) -> TrainingPlan:
    """Check the data, weights and network of a training run, decode all its images, and return its plan.

    In the plan's configuration, options that were left to the weights or the network are filled in. The test
    images are decoded too, so that an unreadable one is reported before the training and not after it.

    Args:
        config: every option that changes the run's results.
        context: arithmetic, progress and processes of the training.
        class_folders: which folders were the classes of a run that is resumed; None: as the configuration says.

    Raises:
        ValueError: the network is unknown, or has no portable arithmetic; an optimizer has no portable
            arithmetic, although it was requested; memory or disk space is too small; the images, the split, the
            weights or the options are invalid; an image cannot be decoded; or a group of look-alikes does not fit
            the split.
    """
    _refuse_impossible(config, context.numerics)
    config, images = _load_catalogue(config, context.progress, class_folders or config.class_folders)
    split = _split(images, config)
    config, network = _open_network(config, len(images.classes), context)
    groups = _find_groups(images, network, config, context)
    if groups:
        split = _split(images, config, groups)
    sets = _load_parts(split, config, context.progress)
    current = _fingerprint(config, network, sets, context.numerics)
    return TrainingPlan(config=config, groups=groups, split=split, sets=sets, network=network, fingerprint=current)


def _refuse_impossible(config: Config, numerics: Numerics) -> None:
    """Raise ValueError if the options or the resources of this machine make the training impossible."""
    if numerics.portable and (reason := config.optimizer_obstacle()):
        raise ValueError(f"{reason}; --numerics native allows all optimizers")
    config.network.trust()
    config.network.check()
    refuse_too_large(config, numerics, training=True)
    if not config.data:
        refuse_too_many(config.scenes, config.image_size, config.seed)
    if config.imagenet or config.cifar10:
        comparison_sets(config)


def _load_catalogue(config: Config, progress: Progress, class_folders: str | None) -> tuple[Config, Catalogue]:
    """Return the configuration and the catalogue of its images, and show their classes.

    If no split was given for the images, it is filled in as image counts in the proportions of the preset.
    """
    refuse_without_images(config)
    if config.data:
        images = catalogue(Path(config.data), progress, class_folders)
    else:
        images = embedded_catalogue(config.scenes, config.image_size, config.seed, progress)
    config = with_counts(config, len(images.entries))
    progress.message(
        f"{len(images.entries)} images of {len(images.classes)} classes, split {config.split}: "
        f"{describe_counts(images.labels().values())}"
    )
    return config, images


def _open_network(config: Config, classes: int, context: Context) -> tuple[Config, torch.nn.Module]:
    """Return the completed configuration, and the network with its initial weights.

    The configuration gets the preprocessing of the weights and, if no modules were chosen, the default modules of
    the network.
    """
    weights = config.network.read_weights(config.weights)
    network = config.network.build(classes, config.seed, weights)
    config = _for_network(with_preprocessing(config, weights.preprocessing), network, classes, context.numerics)
    print_weights_check(config, weights, context)
    return config, network


def _find_groups(images: Catalogue, network: torch.nn.Module, config: Config, context: Context) -> list[Group]:
    """Return the groups of images that must be in one part of the split; empty if grouping is turned off."""
    if config.group != LOOK_ALIKES:
        return []
    copy = config.network.restore(len(images.classes), network.state_dict(), "the initial weights", of_file=False)
    groups = find_groups(images, copy, config, context)
    context.progress.message(
        f"{sum(map(len, groups))} images that are copies of each other or look alike are in one part each, in "
        f"{len(groups)} groups"
    )
    return groups


def _split(images: Catalogue, settings: Config, groups: Sequence[Group] = ()) -> Split:
    return stratified_split(images, parse_sizes(settings.split, len(images.entries)), settings.seed, groups)


def _fingerprint(
    config: Config, network: torch.nn.Module, sets: Mapping[str, ImageSet], numerics: Numerics
) -> Fingerprint:
    current = fingerprint(numerics)
    if config.records_code and (sha256 := config.network.code_sha256()):
        current["code_sha256"] = sha256
    current["initial_weights_sha256"] = tensors_sha256(network.state_dict())
    current["decoder"] = decoder()
    current["pixels_sha256"] = {part: images.pixels_sha256() for part, images in sets.items()}
    return current


def _for_network(config: Config, model: torch.nn.Module, classes: int, numerics: Numerics) -> Config:
    """Check that the configuration fits the network; return it with the default modules if none were chosen.

    Raises:
        ValueError: the network cannot process images of this size, lacks a chosen module, or has no portable
            arithmetic.
    """
    network = config.network
    modules.check_scores(model, network.name, classes, config.image_size)
    if config.modules == FIVE_MODULES:
        config = replace(config, modules=modules.default_modules(model, network.name, config.image_size))
    choose(model, config.modules)
    for setting in config.settings:
        trained_part.frozen_modules(model, config.trained_part(setting))
        if config.fits_head(setting):
            trained_part.last_layer_name(model, network)
    if numerics.portable and (reason := network.obstacle(config.image_size)):
        raise ValueError(f"{network.name} has no portable arithmetic: {reason}; use --numerics native")
    return config


def _load_parts(split: Split, config: Config, progress: Progress) -> dict[str, ImageSet]:
    """Return the decoded images of each part of the split; a single error names all unreadable files."""
    sets, unreadable = {}, dict[Path, str]()
    for part in PARTS:
        try:
            read_as = config.protocol.part_read_as(part)
            sets[part] = config.load(read_as, split.root, split.parts[read_as], progress)
        except UnreadableImagesError as error:
            unreadable |= error.reasons
    if unreadable:
        raise UnreadableImagesError(unreadable)
    return sets
