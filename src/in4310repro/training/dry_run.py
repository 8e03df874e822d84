"""Dry run: pass one batch through every stage of a training, and estimate its time, disk space and memory."""

import os
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from in4310repro.data import preprocessing, references
from in4310repro.evaluation.feature_maps.of_run import measure_sets
from in4310repro.evaluation.prediction import predict
from in4310repro.models import building
from in4310repro.models.sources import Network
from in4310repro.runs import settings
from in4310repro.runs.config import Config
from in4310repro.runs.folder import moves_to
from in4310repro.system import tensors, text
from in4310repro.system.context import Context
from in4310repro.system.machine import most_used, nearest, refuse_beyond_disk, resident, size_text
from in4310repro.training import checkpoints, preparation, regression
from in4310repro.training.step_log import Step
from in4310repro.training.training import Epochs

WARM_UP = 1  # batches of a setting before the one that is timed


def rehearse(config: Config, context: Context, folder: Path, *, keep_epochs: bool = False) -> Iterator[str]:
    """Do all checks of a training run, decode all images, and pass one or two batches through every stage.

    The stages are loading, augmentation, forward pass, loss, backward pass, a step of each setting's optimizer,
    evaluation, checkpoint and feature maps. No image of the test part is passed through a network. Only the
    cache of decoded images is written. Yield the training's images, disk space, memory and time as lines of text.

    Args:
        config: configuration of the training.
        context: arithmetic, progress and processes of the computation.
        folder: the folder that the run would be written to.
        keep_epochs: whether the training would keep the weights after each epoch.

    Raises:
        ValueError: a training run would fail before or in its first steps, or the disk has too little space.
    """
    moves_to(folder)  # refuses other files than a run's
    if not os.access(nearest(folder), os.W_OK):
        raise ValueError(f"{folder} cannot be written: permission is denied in {nearest(folder)}")
    plan, numerics = preparation.plan_training(config, context), context.numerics
    steps, evaluation, checkpoint_bytes = pass_through_stages(plan, context)
    end, most = disk(plan, checkpoint_bytes if keep_epochs else {}, checkpoint_bytes)
    refuse_beyond_disk("while it trains the run takes", most, folder)
    counts = {part: len(entries) for part, entries in plan.split.parts.items()}
    yield (
        f"images: {sum(counts.values())} of {len(plan.split.classes)} classes ({', '.join(plan.split.classes)}), "
        + ", ".join(f"{count} {part}" for part, count in counts.items())
    )
    yield f"disk: {size_text(end)} at the end, up to {size_text(most)} meanwhile"
    if (held := most_used()) is not None:
        yield f"memory: {size_text(held)}, which this dry run held at most"
    if (mapped := resident("RssFile")) is not None:
        yield f"memory of mapped files, which the system can drop: {size_text(mapped)} at the end"
    if numerics.device_name != "cpu":
        yield f"memory of {numerics.device_name}: {size_text(torch.cuda.max_memory_allocated(numerics.device))}"
    took = text.duration_text(seconds(plan, steps.values(), evaluation))
    if steps:
        yield f"time: {config.epochs} epochs of {len(config.settings)} settings: about {took} here"
    else:
        width = building.last_layer(plan.network, config.network)[1].in_features
        fit = regression.seconds_of_fit(len(plan.sets["training"]), width, len(plan.split.classes))
        fits = text.duration_text(len(settings.STRENGTHS) * fit)
        yield (
            f"time: features of all images: about {took} here; then {len(settings.STRENGTHS)} fits: about {fits}, "
            f"if each takes {regression.TYPICAL_PASSES} passes over them (at most {regression.ITERATIONS:,})"
        )


def disk(
    plan: preparation.TrainingPlan, kept: Mapping[str, int], checkpoint_bytes: Mapping[str, int]
) -> tuple[int, int]:
    """Return the bytes on disk after the training, and the most bytes at any time during it.

    Small text files are not counted.

    Args:
        plan: the training.
        kept: the bytes that each setting keeps of an epoch.
        checkpoint_bytes: the bytes of a checkpoint of each setting.
    """
    config, metadata = plan.config, preprocessing.to_metadata(plan.config.preprocessing)
    files = (2 if config.protocol.starts_warm else 1) * len(config.settings)
    end = files * len(tensors.tensor_bytes(plan.network.state_dict(), metadata)) + config.epochs * sum(kept.values())
    # One more for the moment in which the newest is there and the oldest not yet gone.
    return end, end + (checkpoints.KEPT + 1) * max(checkpoint_bytes.values(), default=0)


def seconds(plan: preparation.TrainingPlan, steps: Collection[Step], evaluation: float) -> float:
    """Return the estimated seconds of the training, without fitting last layers and without decoding images.

    Args:
        plan: the training.
        steps: the timed step of each setting; empty if only last layers are fitted.
        evaluation: seconds of the evaluation of an image.
    """
    config, sets = plan.config, plan.sets
    if not steps:
        return evaluation * sum(map(len, sets.values()))
    training = sum(step.seconds / step.images for step in steps) * len(sets["training"])
    scored = len(config.settings) * (len(sets["validation"]) + len(plan.test_each_epoch or ()))
    return config.epochs * (training + evaluation * scored) + evaluation * len(sets["test"])


def pass_through_stages(
    plan: preparation.TrainingPlan, context: Context
) -> tuple[dict[str, Step], float, dict[str, int]]:
    """Pass a batch through every stage of the training, and measure time and sizes.

    Return a timed step per setting, the seconds per evaluated image, and the size of a checkpoint per setting.
    Settings that only fit the last layer have no step and no checkpoint size.
    """
    config, silent, seconds = plan.config, context.silent(), 0.0
    steps, sizes = dict[str, Step](), dict[str, int]()
    batch = references.subset(plan.sets["validation"], config.evaluation_batch_size, config.seed)
    few = references.subset(plan.sets["training"], (WARM_UP + 1) * config.batch_size, config.seed)
    for setting in config.settings:
        context.progress.message(f"one batch through every stage of {setting.name}")
        inputs = replace(plan.inputs(setting, silent), training=few)
        if config.fits_head(setting):
            model = context.numerics.place(inputs.model)
        else:
            with _name_stage(config.network, f"in a step of {setting.name}"):
                epochs = Epochs(inputs)
                epochs.train(lambda: None)
            # The last step is timed.
            model, steps[setting.name] = epochs.model, epochs.last
            sizes[setting.name] = len(tensors.tensor_bytes(checkpoints.tensors_of(model, epochs.optimizer)))
        with _name_stage(config.network, "in an evaluation"):
            start = time.perf_counter()
            predict(model, batch, config, silent)
            seconds = time.perf_counter() - start
    with _name_stage(config.network, "where its feature maps are measured"):
        measure_sets(model, [batch], config, silent)
    return steps, seconds / len(batch), sizes


@contextmanager
def _name_stage(network: Network, stage: str) -> Iterator[None]:
    """Convert errors in the code of third-party networks to a ValueError that names network and stage."""
    try:
        yield
    except Exception as error:
        if not network.foreign or isinstance(error, ValueError | OSError | MemoryError):
            raise
        raise ValueError(f"{network.name} fails {stage}: {type(error).__name__}: {error}") from error
