"""Prediction of softmax scores for the images of a set, and a check of the memory that this needs."""

import math
from collections.abc import Sequence

import safetensors.torch
import torch

from in4310repro.arithmetic import tree
from in4310repro.data.images import ImageSet, evaluation_batches
from in4310repro.features.hooks import evaluation_mode
from in4310repro.metrics.scores import Scores
from in4310repro.runs.config import Config
from in4310repro.system.context import Context
from in4310repro.system.machine import DRAWING_BYTES, EVALUATION_BYTES, TRAINING_BYTES, refuse_beyond_memory
from in4310repro.system.numerics import Numerics, generator_for
from in4310repro.system.processes import ALONE, Processes

Measured = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # softmax, logits, losses


def refuse_too_large(config: Config, numerics: Numerics, *, training: bool = False) -> None:
    """Raise ValueError if a batch or a synthetic image (drawn scene) needs more memory than this machine has.

    The estimates of the need are lower bounds. Batches are not checked on a GPU. The message names the options,
    the memory needed and the memory of the machine.

    Args:
        config: gives the sizes.
        numerics: gives the device.
        training: whether the network is also trained; if False, it is only evaluated.
    """
    pixels = config.image_size**2
    size = f"image_size {config.image_size} takes"
    if numerics.device == "cpu":
        if training:
            need = config.batch_size * pixels * TRAINING_BYTES
            refuse_beyond_memory(f"batch_size {config.batch_size} at {size}", need)
        need = config.evaluation_batch_size * pixels * EVALUATION_BYTES
        refuse_beyond_memory(f"evaluation_batch_size {config.evaluation_batch_size} at {size}", need)
    if not config.data:
        refuse_beyond_memory(f"a scene drawn at {size}", pixels * DRAWING_BYTES)


def predict(model: torch.nn.Module, images: ImageSet, config: Config, context: Context, *, epoch: int = 0) -> Scores:
    """Return softmax scores of every image, computed in eval mode without gradients; restore the model's mode.

    The loss is the mean cross-entropy of the images. The sum over the images is computed exactly
    and rounded once, so that the loss does not depend on the batches.

    Args:
        model: the network, as returned by `context.numerics.place`.
        images: the images, in the order of the scores.
        config: gives the size of the batches, the seed and the protocol.
        context: arithmetic, progress and processes of the computation.
        epoch: has an effect only with random-flip-at-test, which flips different images in each epoch.

    Examples:
        >>> import numpy as np
        >>> from in4310repro.system.context import Context
        >>> from in4310repro.system.numerics import activate
        >>> images = ImageSet("two", ("a", "b"), ("a", "b"), np.array([0, 1]), np.zeros((2, 8, 8, 3), np.uint8))
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8 * 8 * 3, 2))
        >>> scores = predict(model, images, Config(preset="mine"), Context(activate("native", "cpu")))
        >>> scores.softmax.shape, scores.paths, bool(np.allclose(scores.softmax.sum(axis=1), 1))
        ((2, 2), ('a', 'b'), True)
    """
    flips = None
    if config.protocol.flips_in_evaluation:
        flips = [generator_for(config.seed, "evaluation", epoch, key).random() < 0.5 for key in images.keys]
    numerics, part, columns = context.numerics, local_share(len(images), context.processes), []
    task = context.progress.task(f"predicting {images.name}", len(part))
    with evaluation_mode(model), torch.inference_mode(), task as advance:
        for batch in evaluation_batches(images, config.evaluation_batch_size, flips, part):
            logits = model(batch.images.to(numerics.device))
            columns.append(measure(logits, batch.labels.to(numerics.device), numerics))
            advance(len(batch.paths), "")
    return scores_of(images, columns, context.processes)


def measure(logits: torch.Tensor, labels: torch.Tensor, numerics: Numerics) -> Measured:
    """Return softmax scores, logits and cross-entropy of images, as tensors on the CPU."""
    return numerics.softmax(logits).cpu(), logits.cpu(), numerics.losses(logits, labels).cpu()


def scores_of(images: ImageSet, batches: Sequence[Measured], processes: Processes = ALONE) -> Scores:
    """Return the scores of an image set, concatenated over its batches and over all processes."""
    columns = ([batch[place] for batch in batches] for place in range(3))
    softmax, logits, losses = (gather_rows(column, processes).numpy() for column in columns)
    return Scores(images.paths, images.labels, softmax, math.fsum(losses.tolist()) / len(images), logits)


def local_share(images: int, processes: Processes) -> range:
    """Return the range of indices of the images that this process evaluates, out of all `images` images."""
    return tree.part(images, processes.rank, processes.size)


def gather_rows(parts: list[torch.Tensor], processes: Processes) -> torch.Tensor:
    """Concatenate the tensors of all processes along the first axis, in order of process rank."""
    own = {"rows": torch.cat(parts)} if parts else {}
    every = map(safetensors.torch.load, processes.gather(safetensors.torch.save(own)))
    return torch.cat([each["rows"] for each in every if each])
