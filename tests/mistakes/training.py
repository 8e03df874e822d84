"""Mistakes 14 and 18 to 21, of training: a small network on 48 drawn scenes, a few steps for each mistake."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from in4310repro.data.images import Batch, ImageSet, training_batches
from in4310repro.evaluation import prediction
from in4310repro.runs.config import Config
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.record_types import HistoryRow
from in4310repro.system.context import Context
from in4310repro.system.tensors import tensors_sha256
from in4310repro.training import optimizers, training
from tests.conftest import active
from tests.mistakes import drawn
from tests.mistakes.drawn import from_to
from tests.mistakes.handed_over import CONFIG, SGD, DoneError, handed_over
from tests.mistakes.mistake import Mistake

BRIEF = replace(CONFIG, epochs=1, schedule="constant", warm_up=0.0, settings=(SGD,))
Optimizer = torch.optim.Optimizer
State = dict[str, Tensor]


def network(seed: int = 0) -> nn.Sequential:
    """Return a small network with every kind of parameter and buffer that a ResNet has."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        body = [nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
        layers = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6))
    return cast("nn.Sequential", layers.to(memory_format=torch.channels_last))  # type: ignore[call-overload]


@functools.cache
def training_set() -> ImageSet:
    """Return 48 training scenes."""
    images = drawn.image_sets()["training"]
    places = np.arange(0, 120, 5)
    places = np.sort(np.concatenate([places, places + 2]))
    paths, keys = (tuple(names[i] for i in places) for names in (images.paths, images.keys))
    return ImageSet("training", paths, keys, images.labels[places], images.pixels[places])


def batches(epoch: int = 0) -> Iterator[Batch]:
    return training_batches(training_set(), BRIEF.batch_size, "none", 0, epoch)


def fit(model: nn.Module, config: Config = BRIEF) -> list[HistoryRow]:
    """Train the network with the package in a temporary folder, and return the history."""
    with tempfile.TemporaryDirectory() as name:
        files = RunFolder.create(Path(name) / "run")
        return training.fit(task(model, config, files))


def task(model: nn.Module, config: Config, files: RunFolder) -> training.Task:
    return training.Task(
        model=model,
        training=training_set(),
        validation=drawn.image_sets()["validation"],
        config=config,
        setting=config.settings[0],
        files=files,
        context=Context(active()),
        start_sha256="0" * 64,
    )


def plain_epoch(model: nn.Module, optimizer: Optimizer, epoch: int = 0) -> float:
    """Train one epoch in a plain PyTorch loop, and return the mean loss over the images."""
    model.train()
    total = 0.0
    for batch in batches(epoch):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(batch.images), batch.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += float(loss.detach()) * len(batch.labels)
    return total / len(training_set())


def sgd(model: nn.Module) -> Optimizer:
    return torch.optim.SGD(model.parameters(), lr=SGD.learning_rate, momentum=SGD.momentum)


Starts = list[tuple[str, float]]


def our_starts() -> Starts:
    """Return a pair (sha256 of the initial weights, 0.0) for each optimizer's training that `train` begins."""
    return [(sha256, 0.0) for sha256 in handed_over().starts]


@functools.cache
def trained_on() -> Starts:
    model, starts = network(), []
    for _ in range(2):
        sha256 = tensors_sha256(model.state_dict())
        starts.append((sha256, plain_epoch(model, sgd(model))))
    return starts


def check_starts(starts: Starts) -> None:
    """Every setting (one optimizer's training) starts from the same weights."""
    assert len(starts) == 2
    assert starts[0][0] == starts[1][0]


def head_start(_ours: Starts, twin: Starts) -> str:
    return from_to("loss of the second setting's first epoch", twin[0][1], twin[1][1], digits=2)


Trained = tuple[State, State, list[float]]


@functools.cache
def our_training() -> Trained:
    """Return the weights before and after a training, and the loss of each epoch."""
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rows = fit(model, replace(BRIEF, epochs=2))
    return before, model.state_dict(), [row["train_loss"] for row in rows]


@functools.cache
def another_models_parameters() -> Trained:
    optimizer, model = sgd(network()), network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses = [plain_epoch(model, optimizer, epoch) for epoch in range(2)]
    return before, model.state_dict(), losses


def check_moved(trained: Trained) -> None:
    """Training moves every weight."""
    before, after, _ = trained
    for name in before:
        assert not torch.equal(before[name], after[name]), name


def no_progress(ours: Trained, twin: Trained) -> str:
    return from_to("loss of the second epoch", ours[2][1], twin[2][1], digits=2).replace("read as", "with the mistake")


Rates = list[float]


@contextmanager
def rates_noted(rates: Rates) -> Iterator[None]:
    """Append to `rates` the learning rate of each training step in the `with` block, relative to the initial one."""
    build = optimizers.build

    def noted(*words: Any, **more: Any) -> Optimizer:
        optimizer = build(*words, **more)
        step = optimizer.step

        def noting(*closure: Any) -> Any:
            rates.append(optimizer.param_groups[0]["lr"] / SGD.learning_rate)
            return step(*closure)

        optimizer.step = noting  # type: ignore[method-assign,assignment]
        return optimizer

    with mock.patch.object(optimizers, "build", noted):
        yield


@functools.cache
def our_rates() -> Rates:
    rates: Rates = []
    with rates_noted(rates):
        fit(network(), replace(BRIEF, epochs=2, schedule="cosine"))
    return rates


def never_stepped() -> Rates:
    optimizer = sgd(network())
    torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12)
    return [optimizer.param_groups[0]["lr"] / SGD.learning_rate for _ in range(12)]


def check_rates(rates: Rates) -> None:
    """The learning rate follows half a cosine wave over the optimizer steps."""
    np.testing.assert_allclose(rates, [(1 + np.cos(np.pi * step / 12)) / 2 for step in range(12)], rtol=0, atol=1e-11)


def last_rate(ours: Rates, twin: Rates) -> str:
    return f"learning rate of the last step {twin[-1] / ours[-1]:.0f} times too high"


def our_frozen() -> Trained:
    model = network()
    model[0].requires_grad_(requires_grad=False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit(model)
    return before, model.state_dict(), []


@functools.cache
def freezes_nothing() -> Trained:
    model = network()
    # Sets an attribute of the module, which nothing reads; `requires_grad_` is the method.
    model[0].requires_grad = False  # type: ignore[assignment]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plain_epoch(model, sgd(model))
    return before, model.state_dict(), []


def check_frozen(trained: Trained) -> None:
    """Training does not change a frozen layer, but changes the head."""
    before, after, _ = trained
    assert torch.equal(before["0.weight"], after["0.weight"])
    assert not torch.equal(before["5.weight"], after["5.weight"])


def frozen_moved(_ours: Trained, twin: Trained) -> str:
    before, after, _ = twin
    share = (after["0.weight"] - before["0.weight"]).norm() / before["0.weight"].norm()
    return f"frozen weights moved by {100 * float(share):.0f} % in one epoch"


class Asking(nn.Module):
    """Module that records the device of its input and then raises DoneError."""

    def __init__(self, devices: list[str]) -> None:
        super().__init__()
        self.head = nn.Linear(1, 1)
        self.devices = devices

    def forward(self, images: Tensor) -> Tensor:
        self.devices.append(images.device.type)
        raise DoneError


def our_device() -> list[str]:
    """Return the devices of the images that training and evaluation pass to a network on device `meta`."""
    devices: list[str] = []
    elsewhere = replace(active(), mode="native", device="meta")
    with tempfile.TemporaryDirectory() as name:
        given = replace(task(Asking(devices), BRIEF, RunFolder.create(Path(name) / "run")), context=Context(elsewhere))
        with suppress(DoneError):
            training.fit(given)
        with suppress(DoneError):
            prediction.predict(given.model, training_set(), BRIEF, Context(elsewhere))
    return devices


def result_dropped() -> list[str]:
    devices: list[str] = []
    model = Asking(devices).to("meta")
    for _ in range(2):
        images = next(batches()).images
        images.to("meta")
        with suppress(DoneError):
            model(images)
    return devices


def check_device(devices: list[str]) -> None:
    """A network gets its images on the network's device, in training and in evaluation."""
    assert devices == ["meta", "meta"]


MISTAKES = [
    Mistake(
        number=14,
        name="no fresh start between settings",
        check=check_starts,
        ours=our_starts,
        twin=trained_on,
        size=head_start,
    ),
    Mistake(
        number=18,
        name="the optimizer holds another model's parameters",
        check=check_moved,
        ours=our_training,
        twin=another_models_parameters,
        size=no_progress,
    ),
    Mistake(
        number=19, name="scheduler never stepped", check=check_rates, ours=our_rates, twin=never_stepped, size=last_rate
    ),
    Mistake(
        number=20,
        name="freezing that freezes nothing",
        check=check_frozen,
        ours=our_frozen,
        twin=freezes_nothing,
        size=frozen_moved,
    ),
    Mistake(number=21, name="result of .to(device) dropped", check=check_device, ours=our_device, twin=result_dropped),
]
