"""Feature maps of a run's network on three image sets: sparsity (share of values <= 0) and covariance spectra."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from in4310repro.config import Config
from in4310repro.context import Context
from in4310repro.data.batches import evaluation_batches
from in4310repro.data.comparison import comparison_sets, subset
from in4310repro.data.images import ImageSet
from in4310repro.deviations import PUBLISHED_BATCH_SIZE
from in4310repro.feature_maps.activations import IMAGES, activation_record
from in4310repro.features import BLOCK, FeatureResult, FeatureStatistics, gather, kernel_description
from in4310repro.features.distributed import block_range
from in4310repro.fingerprint import Fingerprint, fingerprint
from in4310repro.prediction import refuse_too_large
from in4310repro.presets import publishable
from in4310repro.progress import SILENT, Progress
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.records import FeatureMaps, ImageSetFeatures, ModuleFeatures
from in4310repro.tensors import tensors_sha256

EIGENVALUES = 15  # of a module that has so many channels


def image_sets(run: FinishedRun, config: Config, data: str | None, progress: Progress = SILENT) -> list[ImageSet]:
    """The run's test images and two sets to compare them with, each a sample of the configured size.

    Args:
        run: gives the test images.
        config: gives sample size, seed and the folders of the other sets.
        data: where the run's images are now, if they moved.
        progress: where to report progress.

    Raises:
        ValueError: a folder or an image that cannot be read, or images that are not the run's.
    """
    return [subset(run.test_images(data, progress), config.feature_images, config.seed), *comparison_sets(config)]


def measure(
    run: FinishedRun,
    config: Config,
    context: Context,
    data: str | None = None,
) -> FinishedRun:
    """Measures the feature maps of a run and writes features.json to its folder; the arguments are `statistics`'.

    Returns:
        The run with its feature maps.

    Raises:
        ValueError: as in `statistics`.
    """
    features = statistics(run, config, context, data)
    run.files.write_json(names.FEATURES, features)
    return replace(run, features=features)


def statistics(
    run: FinishedRun,
    config: Config,
    context: Context,
    data: str | None = None,
) -> FeatureMaps:
    """Non-positive shares and covariance spectra of the modules on three image sets.

    The network has the weights that training started from; where those were random, it is the selected one.

    Args:
        run: gives the network and the test images.
        config: gives modules, sample size, precision, comparison folders and deviations.
        context: arithmetic, progress and processes of the computation.
        data: where the run's images are now, if they moved.

    Raises:
        ValueError: an unknown module, image sets that cannot be read, or other weights than training started from.
    """
    refuse_too_large(config, context.numerics)
    if config.weights == "none":
        model = run.selected_network()
    else:
        model = run.initial_network()
        if tensors_sha256(model.state_dict()) != run.fingerprint.get("initial_weights_sha256"):
            raise ValueError(f"weights {config.weights} are no longer those that {run.folder} was trained from")
    current: Fingerprint = fingerprint(context.numerics)
    current["feature_kernel"] = kernel_description()
    if context.numerics.portable:
        # No bit depends on it, and the record has the same bytes for any number of processes.
        del current["threads"]
    sets = image_sets(run, config, data, context.progress)
    return FeatureMaps(
        network=network_name(run),
        spectra_mode=config.protocol.batch_norm_mode,
        precision=config.precision,
        fingerprint=current,
        sets=measure_sets(context.numerics.place(model), sets, config, context),
    )


def network_name(run: FinishedRun) -> str:
    """What `features.json` calls the network whose feature maps it holds."""
    if run.config.weights == "none":
        return f"{run.config.model} as trained here by setting {run.metrics['setting']}"
    return f"{run.config.model} with {publishable(run.config).weights} weights, not fine-tuned"


def measure_sets(
    model: torch.nn.Module,
    sets: Sequence[ImageSet],
    config: Config,
    context: Context,
) -> list[ImageSetFeatures]:
    """Statistics of each image set, with the deviations of the configuration."""

    def measured(network: torch.nn.Module, images: ImageSet, batch_size: int) -> FeatureStatistics:
        return _pass_through(network, images, config, batch_size, begin, context)

    records: list[ImageSetFeatures] = []
    accumulated: FeatureStatistics | None = None
    begin = 0  # index of the first image of a set
    for images in sets:
        feature_statistics = measured(model, images, config.evaluation_batch_size)
        sparsity = feature_statistics.result()
        if config.protocol.batch_norm_mode == "train":
            feature_statistics = measured(with_batch_statistics(model), images, PUBLISHED_BATCH_SIZE)
        first = begin
        if accumulated:
            feature_statistics.merge(accumulated)
        if config.protocol.accumulates_sets:
            accumulated = feature_statistics
            # The next set begins with a new block, so that no image has the index of another.
            begin += math.ceil(len(images) / BLOCK) * BLOCK
        records.append(_set_record(images, first, sparsity, feature_statistics.result(), config))
    return records


def _set_record(
    images: ImageSet,
    first_image: int,
    sparsity: Mapping[str, FeatureResult],
    spectra: Mapping[str, FeatureResult],
    config: Config,
) -> ImageSetFeatures:
    """The record of one image set, whose first image has this index, from results by module."""
    divisor = config.protocol.share_divisor(len(images))
    modules = {name: _module_record(sparsity[name], spectra[name], divisor) for name in config.modules}
    for name, module in modules.items():
        module["activations"] = activation_record(sparsity[name], images.paths, first_image)
    record = ImageSetFeatures(name=images.name, images=len(images), modules=modules)
    pooled_images = next(iter(spectra.values())).images
    if pooled_images > len(images):
        record["pooled_images"] = pooled_images
    return record


def _pass_through(
    model: torch.nn.Module,
    images: ImageSet,
    config: Config,
    batch_size: int,
    begin: int,
    context: Context,
) -> FeatureStatistics:
    """Statistics of one image set, whose first image has the index `begin`, in eval mode."""
    device = next(model.parameters()).device
    # Whole blocks, which hold whole published batches.
    processes = context.processes
    blocks = block_range(len(images), processes.rank, processes.size)
    part = range(blocks.start * BLOCK, min(blocks.stop * BLOCK, len(images)))
    with (
        torch.inference_mode(),
        context.progress.task(f"feature maps of {images.name}", len(part)) as advance,
        FeatureStatistics(
            model,
            list(config.modules),
            "images",
            precision=config.precision,
            first_image=begin + part.start,
            histogram=True,
            top_images=IMAGES,
        ) as statistics,
    ):
        for batch in evaluation_batches(images, batch_size, part=part):
            model(batch.images.to(device))
            advance(len(batch.paths), "")
    if processes.size > 1:
        gather(statistics)
    return statistics


def with_batch_statistics(model: torch.nn.Module) -> torch.nn.Module:
    """A copy whose batch norms use each batch's own mean and variance, as in train mode, also in eval mode."""
    copied = copy.deepcopy(model)
    for module in copied.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean = module.running_var = None
    return copied


def _module_record(sparsity: FeatureResult, spectra: FeatureResult, divisor: float) -> ModuleFeatures:
    return ModuleFeatures(
        non_positive=float(sparsity.non_positive) / divisor,
        non_finite=int(sparsity.non_finite),
        channels=len(sparsity.mean),
        eigenvalues=[float(value) for value in spectra.eigenvalues(min(EIGENVALUES, len(spectra.mean)))],
    )
