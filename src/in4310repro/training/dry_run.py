"""Dry run: pass one batch through every stage of a training, and estimate its time, disk space and memory."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from in4310repro.data import comparison, images, preprocessing
from in4310repro.evaluation.feature_maps.of_run import measure_sets
from in4310repro.evaluation.prediction import predict
from in4310repro.models.sources import Network
from in4310repro.runs import names, settings
from in4310repro.runs.config import Config
from in4310repro.runs.folder import moves_to
from in4310repro.system import tensors, text
from in4310repro.system.context import Context
from in4310repro.system.machine import most_used, nearest, refuse_beyond_disk, resident, size_text
from in4310repro.system.numerics import Numerics
from in4310repro.training import checkpoints, preparation
from in4310repro.training.epochs import Epochs, Step

WARM_UP = 1  # batches of a setting before the one that is timed
WRITTEN = (names.CONFIG, names.FINGERPRINT, names.SPLIT, names.PIXELS, names.SCORES, names.METRICS, names.MANIFEST)
OF_SETTING = (names.HISTORY, names.TENSORS, names.BEST_WEIGHTS)


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """Estimates of a training's time, disk space and memory, from a few of its batches."""

    plan: preparation.TrainingPlan
    numerics: Numerics
    folder: Path
    moves_to: Path | None  # the run that is there
    keep_epochs: bool
    steps: Mapping[str, Step]  # the timed one of each setting
    validation_seconds: float  # an image
    checkpoint_bytes: Mapping[str, int]  # of each setting
    weights_bytes: int
    memory: int | None  # that this process held at most
    mapped: int | None  # of mapped files, at its end
    gpu_memory: int = 0

    @property
    def steps_per_epoch(self) -> int:
        """Number of optimizer steps in each epoch."""
        return len(images.training_ranges(len(self.plan.sets["training"]), self.plan.config.batch_size))

    @property
    def fitted(self) -> bool:
        """True if the training only fits last layers, and so takes no optimizer steps."""
        return not self.steps

    @property
    def seconds(self) -> float:
        """Estimated seconds of the training run, without fitting last layers and without decoding images."""
        config, sets = self.plan.config, self.plan.sets
        if self.fitted:
            return self.validation_seconds * sum(map(len, sets.values()))
        training = sum(step.seconds / step.images for step in self.steps.values()) * len(sets["training"])
        scored = len(sets["validation"]) + len(self.plan.test_each_epoch or ())
        validation = len(config.settings) * self.validation_seconds * scored
        return config.epochs * (training + validation) + self.validation_seconds * len(sets["test"])

    @property
    def disk(self) -> tuple[int, int]:
        """Bytes on disk after the training run, and the most bytes at any time during it, as a pair.

        Small text files are not counted.
        """
        config, sizes = self.plan.config, self.checkpoint_bytes
        files = 2 if config.protocol.starts_warm else 1
        end = files * self.weights_bytes * len(config.settings)
        end += config.epochs * sum(sizes.values()) if self.keep_epochs else 0
        # One more for the moment in which the newest is there and the oldest not yet gone.
        return end, end + (checkpoints.KEPT + 1) * max(sizes.values(), default=0)


def rehearse(config: Config, context: Context, folder: Path, *, keep_epochs: bool = False) -> Rehearsal:
    """Do all checks of a training run, decode all images, and pass one or two batches through every stage.

    The stages are loading, augmentation, forward pass, loss, backward pass, a step of each setting's optimizer,
    evaluation, checkpoint and feature maps. No image of the test part is passed through a network. Only the
    cache of decoded images is written.

    Args:
        config: configuration of the training.
        context: arithmetic, progress and processes of the computation.
        folder: the folder that the run would be written to.
        keep_epochs: whether the training would keep the weights after each epoch.

    Raises:
        ValueError: a training run would fail before or in its first steps, or the disk has too little space.
    """
    moved = moves_to(folder)
    if not os.access(nearest(folder), os.W_OK):
        raise ValueError(f"{folder} cannot be written: permission is denied in {nearest(folder)}")
    plan, device = preparation.plan_training(config, context), context.numerics.device
    steps, validation_seconds, checkpoint_bytes = _pass_through_stages(plan, context)
    rehearsal = Rehearsal(
        plan=plan,
        numerics=context.numerics,
        folder=folder,
        moves_to=moved,
        keep_epochs=keep_epochs,
        steps=steps,
        validation_seconds=validation_seconds,
        checkpoint_bytes=checkpoint_bytes,
        weights_bytes=len(
            tensors.tensor_bytes(plan.network.state_dict(), preprocessing.to_metadata(plan.config.preprocessing))
        ),
        memory=most_used(),
        mapped=resident("RssFile"),
        gpu_memory=0 if device == "cpu" else torch.cuda.max_memory_allocated(device),
    )
    refuse_beyond_disk("while it trains the run takes", rehearsal.disk[1], folder)
    return rehearsal


def _pass_through_stages(
    plan: preparation.TrainingPlan, context: Context
) -> tuple[dict[str, Step], float, dict[str, int]]:
    """Pass a batch through every stage of the training, and measure time and sizes.

    Return a timed step per setting, the seconds per evaluated image, and the size of a checkpoint per setting.
    Settings that only fit the last layer have no step and no checkpoint size.
    """
    config, silent, seconds = plan.config, context.silent(), 0.0
    steps, sizes = dict[str, Step](), dict[str, int]()
    batch = comparison.subset(plan.sets["validation"], config.evaluation_batch_size, config.seed)
    few = comparison.subset(plan.sets["training"], (WARM_UP + 1) * config.batch_size, config.seed)
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


def describe(rehearsal: Rehearsal) -> Iterator[str]:
    """Yield the results of a dry run as lines of text."""
    plan, numerics, config = rehearsal.plan, rehearsal.numerics, rehearsal.plan.config
    counts = {part: len(entries) for part, entries in plan.split.parts.items()}
    yield (
        f"images: {sum(counts.values())} of {len(plan.split.classes)} classes ({', '.join(plan.split.classes)}), "
        + ", ".join(f"{count} {part}" for part, count in counts.items())
    )
    yield (
        f"network: {config.model}, {sum(value.numel() for value in plan.network.parameters()) / 1e6:.1f} M parameters, "
        f"weights {config.weights}, {numerics.mode} arithmetic on {numerics.device_name}"
    )
    of_each = f"for each of {', '.join(each.name for each in config.settings)}: {', '.join(OF_SETTING)}"
    yield f"would write: {rehearsal.folder}: {', '.join(WRITTEN)}; {of_each}"
    if rehearsal.moves_to:
        yield f"the run that is there would move to {rehearsal.moves_to}"
    end, most = map(size_text, rehearsal.disk)
    each = ", ".join(f"{name} {size_text(size)}" for name, size in rehearsal.checkpoint_bytes.items()) or "none"
    yield f"disk: {end} at the end, up to {most} meanwhile; a checkpoint: {each}"
    for size, line in (
        (rehearsal.memory, "memory: {}, which this dry run held at most"),
        (rehearsal.mapped, "memory of mapped files, which the system can drop: {} at the end"),
        (rehearsal.gpu_memory or None, f"memory of {numerics.device_name}: {{}}"),
    ):
        if size is not None:
            yield line.format(size_text(size))
    took = text.duration_text(rehearsal.seconds)
    if rehearsal.fitted:
        yield f"time: features of all images: about {took} here; then {len(settings.STRENGTHS)} fits"
    else:
        rates = ", ".join(f"{name} {step.seconds:.3g} s" for name, step in rehearsal.steps.items())
        yield (
            f"time: a step: {rates}; {rehearsal.steps_per_epoch} steps an epoch, {config.epochs} epochs of "
            f"{len(config.settings)} settings: about {took} here"
        )
    yield "nothing was written but the cache of decoded images; the same command without --dry-run trains"
