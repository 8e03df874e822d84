"""Preparation of a training: before the first step, check data, weights and network, and decode all images."""

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.nn import Module

from in4310repro.data import embedded, folders, reading, splits
from in4310repro.data.class_folders import describe_counts
from in4310repro.data.images import ImageSet, decoder
from in4310repro.data.references import Sample, imagenet
from in4310repro.evaluation.doubts.resemblances import find_groups
from in4310repro.evaluation.feature_maps.of_run import comparison_sets
from in4310repro.evaluation.prediction import predict, refuse_too_large
from in4310repro.features.hooks import choose
from in4310repro.metrics import wilson
from in4310repro.models import building, modules, sources
from in4310repro.models.weights import Weights
from in4310repro.runs import presets, record_types, settings
from in4310repro.runs.config import Config, with_preprocessing
from in4310repro.system.context import Context
from in4310repro.system.fingerprint import Fingerprint, fingerprint
from in4310repro.system.numerics import Numerics
from in4310repro.system.progress import Progress
from in4310repro.system.tensors import tensors_sha256
from in4310repro.training.training import TrainingInputs

WORDNET_ID = re.compile(r"(?:^|/)(n\d{8})(?=[_/.])")  # begins a folder or a file name
IMAGES = 300  # that are looked at, at most
LOWEST = 0.5  # expected of weights whose accuracy nobody says


@functools.cache
def wordnet_ids() -> list[str]:
    """Return the WordNet ids of ImageNet's 1,000 classes, in the order of a network's scores."""
    ids: list[str] = json.loads((resources.files("in4310repro.data") / "wordnet_ids.json").read_text("ascii"))
    return ids


def describe_check(weights: str, correct: int, images: int, expected: float) -> str:
    """Return the result of a check of weights as a line, with a warning if it is clearly below the expected accuracy.

    Args:
        weights: what the weights are called.
        correct: number of correctly classified images.
        images: number of all images.
        expected: top-1 accuracy that is reported for the weights on the validation images of ImageNet.
    """
    low, high = wilson(correct, images)
    share = f"{correct / images:.2f} ({low:.2f} to {high:.2f})"
    line = f"{weights} classify {correct} of {images} images of --imagenet correctly, {share}"
    if high >= expected:
        return line
    return (
        f"warning: {line}, and {expected:.2f} is expected: the weights are of another network, or images are "
        "not prepared as they need (--mean, --std, --interpolation)"
    )


def check_weights(config: Config, weights: Weights, context: Context) -> str:
    """Classify ImageNet images with the initial weights of a training run; describe how many are correctly classified.

    Args:
        config: the configuration; the preprocessing of the weights is already filled in.
        weights: the weights that the configuration names.
        context: arithmetic, progress and processes of the computation.

    Returns:
        A line with the number of images, how many of them are correctly classified, and the expected accuracy. It
        is empty if the check is impossible: there are no weights or no folder of ImageNet images, no file name
        contains a WordNet id of a class, or the weights do not score 1,000 classes.
    """
    places = {name: place for place, name in enumerate(wordnet_ids())}
    network, loaded = config.network, weights.tensors
    if loaded is None or not config.imagenet:
        return ""
    if any(len(loaded.get(key, ())) != len(places) for key in building.head(network)):
        return ""
    how, expected, name = config.preprocessing, LOWEST, config.weights
    if name == "imagenet":
        # The resizing and cropping of their published evaluation, with what the configuration says of the rest.
        own = {name: getattr(how, name) for name in ("mean", "std", "interpolation")}
        how, expected = replace(network.imagenet.evaluation, **own), network.imagenet.top_1 or LOWEST
        name = f"ImageNet weights of {network.name}"
    images = imagenet(Path(config.imagenet), Sample(IMAGES, how.size, config.seed, how))
    ids = [match[1] if match else "" for match in map(WORDNET_ID.search, images.paths)]
    if not (known := [n for n, name_of_class in enumerate(ids) if name_of_class in places]):
        return ""
    labels = np.array([places[ids[n]] for n in known], np.int64)
    model = context.numerics.place(network.build(len(places), config.seed, weights))
    scores = predict(model, replace(images.at(known), labels=labels), config, context.silent())
    return describe_check(name, int((scores.softmax.argmax(axis=1) == labels).sum()), len(known), expected)


@dataclass(frozen=True)
class TrainingPlan:
    """All inputs of a training that determine its results: configuration, split, images and initial network."""

    config: Config  # with the split as counts, and the modules of its network
    groups: record_types.Groups  # of images that the split holds on one side, beside files of equal bytes
    split: splits.Split
    sets: Mapping[str, ImageSet]  # of each part
    network: Module  # with the initial weights
    fingerprint: Fingerprint

    @property
    def test_each_epoch(self) -> ImageSet | None:
        """The test images, if the protocol scores them after every epoch; else None."""
        return self.sets["test"] if self.config.protocol.scores_test_each_epoch else None

    @functools.cached_property
    def split_csv(self) -> bytes:
        """The split as the bytes of `split.csv`."""
        return splits.to_csv(self.split)

    def network_with(self, weights: dict[str, Tensor], source: str, *, of_file: bool = False) -> Module:
        """Return a copy of the network with these weights and buffers.

        Raises:
            ValueError: the weights do not fit the network; the message names their source.
        """
        return self.config.network.restore(len(self.split.classes), weights, source, of_file=of_file)

    def inputs(
        self, setting: settings.OptimizerSetting, context: Context, weights: dict[str, Tensor] | None = None
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
    numerics, progress, network = context.numerics, context.progress, config.network
    _refuse_impossible(config, numerics)
    if config.data:
        images = folders.catalogue(Path(config.data), progress, class_folders or config.class_folders)
    else:
        images = embedded.embedded_catalogue(config.scenes, config.image_size, config.seed, progress)
    config, classes = presets.with_counts(config, len(images.entries)), len(images.classes)
    progress.message(
        f"{len(images.entries)} images of {classes} classes, split {config.split}: "
        f"{describe_counts(images.labels().values())}"
    )
    sizes = splits.parse_sizes(config.split, len(images.entries))
    split = splits.stratified_split(images, sizes, config.seed)
    weights = network.read_weights(config.weights)
    model = network.build(classes, config.seed, weights)
    config = _for_network(with_preprocessing(config, weights.preprocessing), model, classes, numerics)
    if progress.console is not None and (line := check_weights(config, weights, context)):
        progress.message(line)
    groups: record_types.Groups = []
    if config.group == settings.LOOK_ALIKES:
        copy = network.restore(classes, model.state_dict(), "the initial weights", of_file=False)
        groups = find_groups(images, copy, config, context)
        split = splits.stratified_split(images, sizes, config.seed, groups)
        progress.message(
            f"{sum(map(len, groups))} images that are copies of each other or look alike are in one part each, in "
            f"{len(groups)} groups"
        )
    sets, current = _load_parts(split, config, progress), fingerprint(numerics)
    if config.records_code and (sha256 := network.code_sha256()):
        current["code_sha256"] = sha256
    current |= {"initial_weights_sha256": tensors_sha256(model.state_dict()), "decoder": decoder()}
    current["pixels_sha256"] = {part: each.pixels_sha256() for part, each in sets.items()}
    return TrainingPlan(config, groups, split, sets, model, current)


def _refuse_impossible(config: Config, numerics: Numerics) -> None:
    """Raise ValueError if the options or the resources of this machine make the training impossible."""
    if numerics.portable and (reason := config.optimizer_obstacle()):
        raise ValueError(f"{reason}; --numerics native allows all optimizers")
    config.network.trust()
    config.network.check()
    refuse_too_large(config, numerics, training=True)
    if not config.data:
        embedded.refuse_too_many(config.scenes, config.image_size, config.seed)
    if config.imagenet or config.cifar10:
        comparison_sets(config)
    presets.refuse_without_images(config)


def _for_network(config: Config, model: Module, classes: int, numerics: Numerics) -> Config:
    """Check that the configuration fits the network; return it with the default modules if none were chosen.

    Raises:
        ValueError: the network cannot process images of this size, lacks a chosen module, or has no portable
            arithmetic.
    """
    network = config.network
    modules.check_scores(model, network.name, classes, config.image_size)
    if config.modules == sources.FIVE_MODULES:
        config = replace(config, modules=modules.default_modules(model, network.name, config.image_size))
    choose(model, config.modules)
    for setting in config.settings:
        building.frozen_modules(model, config.trained_part(setting))
        if config.fits_head(setting):
            building.last_layer(model, network)
    if numerics.portable and (reason := modules.obstacle(network, config.image_size)):
        raise ValueError(f"{network.name} has no portable arithmetic: {reason}; use --numerics native")
    return config


def _load_parts(split: splits.Split, config: Config, progress: Progress) -> dict[str, ImageSet]:
    """Return the decoded images of each part of the split; a single error names all unreadable files."""
    sets, unreadable = {}, dict[Path, str]()
    for part in splits.PARTS:
        try:
            sets[part] = config.load_part(split, part, progress)
        except reading.UnreadableImagesError as error:
            unreadable |= error.reasons
    if unreadable:
        raise reading.UnreadableImagesError(unreadable)
    return sets
