"""Sentences on the conditions of a run that differ from those of the published report ("the original").

The original states its three optimizers, ResNet18, 20 epochs and its rule of selection, but no more settings.
Image size, batch size and ImageNet weights are those of the assignment; the learning rates are our choice.
"""

from __future__ import annotations

from pathlib import Path

from in4310repro.models.network import ALL
from in4310repro.runs.config import IDENTICAL, Config
from in4310repro.runs.presets import PRESETS, publishable
from in4310repro.runs.records import RunMetrics
from in4310repro.runs.settings import STRENGTHS, OptimizerSetting, TrainingSettings


def describe_differences(config: Config, metrics: RunMetrics) -> dict[str, str]:
    """Return sentences on the protocol and on conditions that differ from the original's, by subject."""
    config, course = publishable(config), PRESETS["course"]
    training, validation, test = (sum(metrics["supports"][part].values()) for part in metrics["supports"])
    pictures = "drawn scenes that the package generates"
    if config.data:
        pictures = f"images of {Path(config.data).name or config.data}"
    conditions = {
        "Data": f"{training} training, {validation} validation and {test} test {pictures}; the course's split of "
        f"17,034 photographs is {course.split}.",
        "Weights": f"{_describe_weights(config.weights)}; the assignment asks for ImageNet weights.",
        "Size": f"{config.image_size} pixels; the assignment's is {course.image_size}.",
        "Training": f"{_describe_training(config)}; the original trains for {course.epochs} epochs, and the "
        f"assignment asks for batches of {course.batch_size}; neither gives a learning rate.",
        "Protocol": f"{_describe_protocol(config)}. The original does not print its own.",
    }
    same = {
        "Data": bool(config.data) and f"{training}/{validation}/{test}" == course.split,
        "Weights": config.weights == course.weights,
        "Size": config.image_size == course.image_size,
        "Training": _describe_training(config) == _describe_training(course),
    }
    conditions = {subject: sentence for subject, sentence in conditions.items() if not same.get(subject)}
    if len(config.settings) > 3:
        conditions["Settings"] = f"{len(config.settings)}; figures 1 to 3 show the first three, figure 6 shows all."
    if config.model != course.model:
        conditions["Network"] = f"{config.model}; the original's is {course.model}."
    return conditions


def _describe_training(config: Config) -> str:
    """Return a description of the training: by epochs, by fitting the last layer, or both if settings differ."""
    parts = []
    if rates := ", ".join(
        _describe_rate(config.training, each) for each in config.settings if not config.training.fits_head(each)
    ):
        parts.append(
            f"{config.epochs} epochs, batches of {config.batch_size}, {config.schedule} learning rate ({rates}), "
            f"augmentation {config.augmentation}"
        )
    if any(map(config.training.fits_head, config.settings)):
        parts.append(
            f"the last layer alone, a logistic regression on what it reads of each image, with {len(STRENGTHS)} "
            "strengths of its penalty"
        )
    return "; and ".join(parts)


def _describe_rate(training: TrainingSettings, setting: OptimizerSetting) -> str:
    head, part = setting.head_learning_rate, training.trained_part(setting)
    of_head = "" if head is None else f", of the head {head:g}"
    return f"{setting.optimizer} {setting.learning_rate:g}{of_head}{'' if part == ALL else f', {part} alone'}"


def _describe_protocol(config: Config) -> str:
    grouped = "identical files" if config.group == IDENTICAL else "copies and look-alikes"
    return config.protocol.meaning or (
        f"three disjoint image sets ({grouped} share a side), equal initial weights for every setting, the test set "
        "opened once in this run"
    )


def _describe_weights(weights: str) -> str:
    if weights == "none":
        return "from scratch"
    return "ImageNet weights" if weights == "imagenet" else f"those of {weights}"
