"""Feature maps of a run's network on three image sets: fractions of values <= 0, and covariance spectra."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from in4310repro.data import references
from in4310repro.data.images import ImageSet, evaluation_batches
from in4310repro.evaluation.feature_maps.measurement import IMAGES, activation_record
from in4310repro.evaluation.prediction import refuse_too_large
from in4310repro.features import FeatureStatistics, gather
from in4310repro.features.blocks import BLOCK, block_range
from in4310repro.features.kernel import kernel_description
from in4310repro.runs import deviations, folder, names, presets
from in4310repro.runs.config import Config
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.record_types import FeatureMaps, ImageSetFeatures, ModuleFeatures
from in4310repro.system.context import Context
from in4310repro.system.fingerprint import fingerprint
from in4310repro.system.progress import SILENT, Progress
from in4310repro.system.tensors import tensors_sha256

EIGENVALUES = 15  # of a module that has so many channels


def sample_of(settings: Config) -> references.Sample:
    """Return how many images to measure in each set, the seed for drawing them, and the preprocessing."""
    return references.Sample(settings.feature_images, settings.image_size, settings.seed, settings.preprocessing)


def comparison_sets(settings: Config) -> list[ImageSet]:
    """Return the two image sets with which the test images are compared.

    The first is a sample of ImageNet, and the second a sample of CIFAR-10. If the settings name no folder for
    ImageNet, scikit-learn's photographs are used instead. If they name none for CIFAR-10, scikit-learn's digits
    are used instead. The names of the sets say which images they contain.

    Raises:
        ValueError: a folder cannot be read.
    """
    sample = sample_of(settings)
    return [
        in_folder(Path(place), sample) if (place := getattr(settings, option)) else of_library(sample)
        for option, in_folder, of_library in references.COMPARED
    ]


def image_sets(run: FinishedRun, settings: Config, data: str | None, progress: Progress = SILENT) -> list[ImageSet]:
    """Return three image sets: a sample of the run's test images, and two sets to compare them with.

    Args:
        run: gives the test images.
        settings: give sample size, seed and the folders of the two sets.
        data: the present folder of the run's images; None if it is still the recorded one.
        progress: shows the progress.

    Raises:
        ValueError: a folder or an image cannot be read, or the images are not those of the run.
    """
    tested = run.test_images(data, progress)
    return [references.subset(tested, settings.feature_images, settings.seed), *comparison_sets(settings)]


def write_features(
    run: FinishedRun, config: Config, context: Context, data: str | None = None, *, locked: bool = True
) -> FinishedRun:
    """Measure a run's feature maps, and write them to `features.json` in the run's folder.

    A message says so if the folder is read-only; the feature maps are then returned all the same.

    Args:
        run: gives the network and the test images.
        config: gives modules, sample size, precision, comparison folders and deviations.
        context: arithmetic, progress and processes of the computation.
        data: the present folder of the run's images; None if it is still the recorded one.
        locked: False if this process may not write into the folder, where another process might.

    Returns:
        The run with its feature maps.

    Raises:
        ValueError: a module is unknown, an image set cannot be read, or the weights changed since the training
            began.
    """
    features = measure_run(run, config, context, data)
    try:
        if locked:
            run.files.write_json(names.FEATURES, features)
    except OSError as error:
        if error.errno not in folder.READ_ONLY:
            raise
        locked = False
    if not locked and features != run.features:
        context.progress.message(
            f"{run.folder} is read-only, so its {names.FEATURES} stays as it is; verify --report compares a report "
            "with that file"
        )
    return replace(run, features=features)


def measure_run(run: FinishedRun, config: Config, context: Context, data: str | None = None) -> FeatureMaps:
    """Measure a run's feature maps on three image sets; return the content of `features.json`.

    A run that started from pretrained weights is measured with these weights, before training. A run that started
    from random weights is measured with its selected network, after training.

    Args:
        run: gives the network and the test images.
        config: gives modules, sample size, precision, comparison folders and deviations.
        context: arithmetic, progress and processes of the computation.
        data: the present folder of the run's images; None if it is still the recorded one.

    Raises:
        ValueError: a module is unknown, an image set cannot be read, or the weights changed since the training
            began.
    """
    refuse_too_large(config, context.numerics)
    if config.weights == "none":
        model = run.selected_network()
    else:
        model = run.initial_network()
        if tensors_sha256(model.state_dict()) != run.fingerprint.get("initial_weights_sha256"):
            raise ValueError(
                f"weights {config.weights} are no longer those that {run.folder} was trained from; restore them"
            )
    current = fingerprint(context.numerics)
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
    """Return a description of the network whose feature maps were measured, for `features.json`."""
    if run.config.weights == "none":
        return f"{run.config.model} as trained here by setting {run.metrics['setting']}"
    return f"{run.config.model} with {presets.publishable(run.config).weights} weights, not fine-tuned"


def measure_sets(
    model: torch.nn.Module, sets: Sequence[ImageSet], config: Config, context: Context
) -> list[ImageSetFeatures]:
    """Return the feature statistics of each image set, measured by the protocol in the configuration.

    Args:
        model: the network, on the device.
        sets: the image sets, in the order in which they are measured.
        config: gives modules, precision, batch size and deviations.
        context: arithmetic, progress and processes of the computation.
    """
    records: list[ImageSetFeatures] = []
    accumulated: FeatureStatistics | None = None
    first = 0  # index of the first image of a set
    for images in sets:
        statistics = _measure_set(model, images, first, config, config.evaluation_batch_size, context)
        sparsity = statistics.result()
        if config.protocol.batch_norm_mode == "train":
            changed = with_batch_statistics(model)
            statistics = _measure_set(changed, images, first, config, deviations.PUBLISHED_BATCH_SIZE, context)
        if accumulated:
            statistics.merge(accumulated)
        spectra, divisor = statistics.result(), config.protocol.share_divisor(len(images))
        modules = {
            name: ModuleFeatures(
                non_positive=sparsity[name].non_positive / divisor,
                non_finite=sparsity[name].non_finite,
                channels=len(sparsity[name].mean),
                eigenvalues=spectra[name].eigenvalues(min(EIGENVALUES, len(spectra[name].mean))).tolist(),
                activations=activation_record(sparsity[name], images.paths, first),
            )
            for name in config.modules
        }
        record = ImageSetFeatures(name=images.name, images=len(images), modules=modules)
        if (pooled_images := next(iter(spectra.values())).images) > len(images):
            record["pooled_images"] = pooled_images
        records.append(record)
        if config.protocol.accumulates_sets:
            accumulated = statistics
            # The next set begins with a new block, so that no image has the index of another.
            first += math.ceil(len(images) / BLOCK) * BLOCK
    return records


def _measure_set(
    model: torch.nn.Module, images: ImageSet, first: int, config: Config, batch_size: int, context: Context
) -> FeatureStatistics:
    """Return the statistics of an image set whose first image has the index `first`, gathered from all processes."""
    processes = context.processes
    # Each process measures blocks of 64 images.
    blocks = block_range(len(images), processes.rank, processes.size)
    part = range(blocks.start * BLOCK, min(blocks.stop * BLOCK, len(images)))
    statistics = FeatureStatistics(
        model,
        config.modules,
        "images",
        config.precision,
        first_image=first + part.start,
        histogram=True,
        top_images=IMAGES,
    )
    task = context.progress.task(f"feature maps of {images.name}", len(part))
    with torch.inference_mode(), statistics, task as advance:
        for batch in evaluation_batches(images, batch_size, part=part):
            model(batch.images.to(context.numerics.device))
            advance(len(batch.paths), "")
    if processes.size > 1:
        gather(statistics)
    return statistics


def with_batch_statistics(model: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of the network whose batch norms use the mean and variance of each batch, even in eval mode."""
    copied = copy.deepcopy(model)
    for module in copied.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean = module.running_var = None
    return copied
