"""Fit of the last layer alone: multinomial logistic regression on features that are computed once per image."""

import time
import warnings
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64
from threadpoolctl import threadpool_limits

from in4310repro import metrics
from in4310repro.data.images import ImageSet
from in4310repro.evaluation.embedding import Embedding, embed
from in4310repro.evaluation.prediction import measure, scores_of
from in4310repro.metrics.scores import Scores
from in4310repro.models import building
from in4310repro.runs import chain, names, settings
from in4310repro.runs.record_types import Chain, History, HistoryRow
from in4310repro.system import machine, signals
from in4310repro.system.numerics import Numerics
from in4310repro.system.tensors import tensors_sha256
from in4310repro.training import regression
from in4310repro.training.checkpoints import Position
from in4310repro.training.training import Task, TrainingInputs, read_history


class Head(NamedTuple):
    """Weights and biases of the last layer."""

    weight: Float32[torch.Tensor, "class feature"]
    bias: Float32[torch.Tensor, " class"]


class Features(NamedTuple):
    """Inputs of the last layer, for all training images and all validation images."""

    training: Embedding
    validation: Embedding


def fit(task: Task) -> History:
    """Fit the last layer once for each penalty strength; return a row of metrics per strength.

    Every fit starts from zero weights, independently of the others. After each fit, `SETTING/history.json`
    and `SETTING/tensors.json` are written, and also `SETTING/best.safetensors` if the fit is the best so far. An
    interrupted run continues with the first strength whose row is not yet in these files.

    Raises:
        ValueError: the network does not end in one linear layer, or this machine cannot hold the features.
        KeyboardInterrupt: the process was asked to stop; raised after the current fit has ended.
    """
    with signals.interrupts() as interrupted:
        task, progress = replace(task, model=task.context.numerics.place(task.model)), task.context.progress
        features, position = features_of(task), _position(task)
        with progress.task(f"fits of {task.setting.name}", len(settings.STRENGTHS)) as advance:
            for number, strength in enumerate(settings.STRENGTHS, start=1):
                if number > len(position.history):
                    row = fit_row(task, features, number, strength)
                    task.write(position, row, task.model, {})
                    progress.message(
                        f"C = {strength:g}: loss {row['train_loss']:.3f} training, {row['val_loss']:.3f} "
                        f"validation; {metrics.line(row)}"
                    )
                    if interrupted():
                        raise KeyboardInterrupt
                advance(1, "")
        return position.history


def follow(inputs: TrainingInputs) -> None:
    """Help the first process, which calls `fit`, to compute features. All other processes call this function."""
    features_of(replace(inputs, model=inputs.context.numerics.place(inputs.model)))


def features_of(inputs: TrainingInputs, *, cache: bool = True) -> Features:
    """Return the inputs of the last layer for all training and validation images; the network is on its device.

    If `cache` is False, all of them are computed and none are read from the cache.

    Raises:
        ValueError: the network does not end in one linear layer, a feature is not finite, the disk is too full,
            or a fit would need more memory than the machine has.
    """
    config = inputs.config
    embeddings = [
        embed(inputs.model, config, images, inputs.context, cache=cache)
        for images in (inputs.training, inputs.validation)
    ]
    layer = building.last_layer(inputs.model, config.network)[1]
    # As float64: the features, and scikit-learn's copy of them or the scores.
    values = layer.in_features + max(layer.in_features, layer.out_features)
    machine.refuse_beyond_memory(f"features of {len(inputs.training)} images take", len(inputs.training) * values * 8)
    return Features(*embeddings)


def fit_row(inputs: TrainingInputs, features: Features, number: int, strength: float) -> HistoryRow:
    """Fit the last layer with one penalty strength, load it into the network, and return a row of metrics.

    Args:
        inputs: the images, the configuration and the network, whose last layer is replaced.
        features: the inputs of the last layer.
        number: the row's number, from 1.
        strength: see `fit_head`.
    """
    images, config, numerics = inputs.training, inputs.config, inputs.context.numerics
    start = time.perf_counter()
    fitted = fit_head(features.training, images.labels, strength)
    seconds = time.perf_counter() - start
    _, layer = building.last_layer(inputs.model, config.network)
    with torch.no_grad():
        layer.weight.copy_(fitted.weight)
        layer.bias.copy_(fitted.bias)
    training, validation = (
        scores_of_features(layer, of_part, part, config.evaluation_batch_size, numerics)
        for of_part, part in zip(features, (images, inputs.validation), strict=True)
    )
    return HistoryRow(
        epoch=number,
        train_loss=training.loss,
        val_loss=validation.loss,
        **validation.metrics(by_logits=config.protocol.ranks_logits),  # type: ignore[typeddict-item] # no test loss is in it
        images_per_second=len(images) / seconds,
        weights_sha256=tensors_sha256(inputs.model.state_dict()),
        strength=strength,
    )


def fit_head(features: Embedding, labels: Int64[np.ndarray, " image"], strength: float) -> Head:
    """Fit a logistic regression of labels on features by L-BFGS in float64; return its weights.

    The last bits depend on the processor, since BLAS computes the sums. They do not depend on the number of threads:
    scikit-learn fits on one, and more classes than `regression.CLASSES` are fitted in blocks that do not depend on it.

    Args:
        features: the features of each image.
        labels: the class of each image, from 0.
        strength: scikit-learn's C, the weight of the summed losses relative to half the sum of squared weights.
    """
    values = features.take(range(len(features))).astype(np.float64)
    if (classes := int(labels.max()) + 1) > regression.CLASSES:
        weight, bias = np.split(regression.fit(values, labels, classes, strength), [-1], axis=1)
        return Head(torch.from_numpy(weight.astype(np.float32)), torch.from_numpy(bias[:, 0].astype(np.float32)))
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=strength, tol=regression.TOLERANCE, max_iter=regression.ITERATIONS)
    with threadpool_limits(1), warnings.catch_warnings():
        # With a weak penalty the loss may still be falling after so many steps; the weights by then are measured.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted.fit(values, labels)
    weight, bias = fitted.coef_, fitted.intercept_
    if len(weight) == 1:
        # For two classes there is one row, for the difference between the two scores.
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return Head(torch.from_numpy(weight.astype(np.float32)), torch.from_numpy(bias.astype(np.float32)))


def largest_derivative(
    fitted: Head, features: Embedding, labels: Int64[np.ndarray, " image"], strength: float
) -> float:
    """Return the largest absolute partial derivative of `fit_head`'s objective; it is about 0 at the minimum.

    The objective is the mean loss plus a penalty. The penalty is half the sum of squared weights, divided by the
    strength and by the number of images. With two classes, scikit-learn fits a single weight vector, which is the
    difference of the two rows, and penalises its squares.

    Args:
        fitted: the weights, as float32.
        features: the features of each image.
        labels: the class of each image, from 0.
        strength: see `fit_head`.
    """
    weight, bias = (each.double().requires_grad_() for each in fitted)
    logits = torch.from_numpy(features.take(range(len(features)))).double() @ weight.T + bias
    penalty = (2 if len(bias) == 2 else 1) * weight.square().sum() / (2 * strength * len(labels))
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)) + penalty
    return max(float(each.abs().max()) for each in torch.autograd.grad(loss, (weight, bias)))


def scores_of_features(
    layer: torch.nn.Module, features: Embedding, images: ImageSet, batch_size: int, numerics: Numerics
) -> Scores:
    """Compute the scores of images from the inputs of the last layer.

    The scores have the same bits as those of `predict` if the batches are the same.

    Args:
        layer: the network's last layer.
        features: the features of each image.
        images: the images, for their paths and labels.
        batch_size: images per batch.
        numerics: the arithmetic of this process, and its device.
    """
    labels, batches = torch.from_numpy(images.labels), []
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            rows = range(len(images))[start : start + batch_size]
            given = torch.from_numpy(features.take(rows)).to(numerics.device)
            batches.append(measure(layer(given), labels[rows.start : rows.stop].to(numerics.device), numerics))
    return scores_of(images, batches)


def _position(task: Task) -> Position:
    """Return the Position with the results of all completed fits, from which an interrupted run continues.

    If files are damaged or missing, return an empty Position.
    """
    if not (history := read_history(task.files, task.setting.name)):
        return Position()
    # The history is written last.
    entries = task.files.read_record(f"{task.setting.name}/{names.TENSORS}", Chain)[: len(history)]
    whole = len(entries) == len(history) and entries == chain.relink(entries, task.start_sha256, task.config)
    return Position(history=history, tensors=entries) if whole else Position()
