"""The three image sets and the initial weights that `train` passes to each setting (one optimizer's training)."""

from __future__ import annotations

import functools
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast
from unittest import mock

import torch

from in4310repro.data.images import ImageSet
from in4310repro.runs.presets import PRESETS
from in4310repro.runs.record_types import HistoryRow
from in4310repro.runs.settings import OptimizerSetting
from in4310repro.system.context import Context
from in4310repro.system.tensors import tensors_sha256
from in4310repro.training import experiment
from in4310repro.training.training import Task
from tests.conftest import active

SIZE, SCENES, SIZES = 16, 40, (120, 48, 72)
SGD = OptimizerSetting(name="sgd", optimizer="SGD", learning_rate=0.05, momentum=0.9)
CONFIG = replace(
    PRESETS["tiny"], image_size=SIZE, scenes=SCENES, split="120/48/72", settings=(SGD, replace(SGD, name="again"))
)


class DoneError(Exception):
    """Exception that ends a training or a prediction as soon as a test has seen enough."""


@dataclass(frozen=True)
class HandedOver:
    """Image sets by part (training, validation, test), and a sha256 of each optimizer's initial weights."""

    sets: dict[str, ImageSet]
    starts: list[str]


@functools.cache
def handed_over() -> HandedOver:
    """Run `train` with a stand-in for the training loop that records its arguments and changes the network."""
    result = HandedOver({}, [])

    def keep(task: Task) -> list[HistoryRow]:
        result.sets.update(training=task.training, validation=task.validation)
        result.starts.append(tensors_sha256(task.model.state_dict()))
        task.files.write_weights(f"{task.setting.name}/best.safetensors", task.model.state_dict())
        with torch.no_grad():
            for parameter in task.model.parameters():
                parameter.add_(1)
        return [cast("HistoryRow", {"epoch": 1, "mean_class_accuracy": 0.5})]

    def keep_test(_model: Any, images: ImageSet, *_: Any, **_named: Any) -> None:
        result.sets["test"] = images
        raise DoneError

    with (
        tempfile.TemporaryDirectory() as name,
        mock.patch.multiple(experiment, fit=keep, predict=keep_test),
        suppress(DoneError),
    ):
        experiment.train(CONFIG, Path(name) / "run", context=Context(active()))
    return result
