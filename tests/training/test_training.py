"""The training loop: equal starts, every image seen, best weights kept, and bits that repeat."""

import functools
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.soak import remove_speed
from in4310repro.data.images import training_batches
from in4310repro.evaluation.prediction import predict
from in4310repro.runs.config import Config
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.presets import PRESETS
from in4310repro.runs.record_types import HistoryRow
from in4310repro.runs.settings import OptimizerSetting
from in4310repro.system.context import Context
from in4310repro.system.processes import Processes
from in4310repro.system.tensors import tensors_sha256
from in4310repro.training import checkpoints, training
from in4310repro.training.training import Epochs
from tests.builders import image_set
from tests.conftest import active

TINY = replace(PRESETS["tiny"], epochs=3)


def fitted(folder: Path, setting: OptimizerSetting, config: Config = TINY) -> tuple[list[HistoryRow], RunFolder]:
    run = RunFolder.create(folder)
    return training.fit(task(network(config.seed), config, setting, run)), run


def network(seed: int) -> torch.nn.Module:
    """Return a small network with every kind of parameter and buffer that a ResNet has."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [torch.nn.Conv2d(3, 16, 3, stride=2), torch.nn.BatchNorm2d(16), torch.nn.ReLU()]
        head = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(16, 6)]
        return torch.nn.Sequential(*layers, *head).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def task(model: torch.nn.Module, config: Config, setting: OptimizerSetting, files: RunFolder) -> training.Task:
    return training.Task(
        model=model,
        training=image_set(48),
        validation=image_set(12, seed=1),
        config=config,
        setting=setting,
        files=files,
        context=Context(active()),
        start_sha256="0" * 64,
    )


@functools.cache
def once(position: int) -> tuple[list[HistoryRow], RunFolder]:
    """Return history and run folder of the training by the optimizer at `position`, which is made once."""
    return fitted(Path(tempfile.mkdtemp()), TINY.settings[position])


@pytest.mark.parametrize("position", [0, 1, 2], ids=["adamw", "rmsprop", "sgd"])
def test_a_training_repeats_to_the_bit(position: int, tmp_path: Path) -> None:
    setting = TINY.settings[position]
    first, run = once(position)
    second, again = fitted(tmp_path / "two", setting)
    assert list(map(remove_speed, first)) == list(map(remove_speed, second))
    name = f"{setting.name}/best.safetensors"
    assert (run.folder / name).read_bytes() == (again.folder / name).read_bytes()


def test_a_process_that_follows_trains_to_the_end_from_what_it_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, own = (task(network(seed), TINY, TINY.settings[0], RunFolder(tmp_path)) for seed in (0, 1))
    start = Epochs(first)
    sent = checkpoints.pack(start.model, start.optimizer, start.position)
    monkeypatch.setattr(Processes, "broadcast", lambda _: sent)
    training.follow(own)
    assert tensors_sha256(own.model.state_dict()) == once(0)[0][-1]["weights_sha256"]


def test_a_checkpoint_is_written_after_each_epoch_but_the_last() -> None:
    _, run = once(0)
    files = sorted((run.folder / "adamw" / "checkpoint").iterdir())
    assert [file.name[:15] for file in files] == ["000001-00000000", "000002-00000000"]


def test_another_seed_is_another_training(tmp_path: Path) -> None:
    first, _ = once(0)
    second, _ = fitted(tmp_path / "two", TINY.settings[0], replace(TINY, seed=1, epochs=1))
    assert first[0]["train_loss"] != second[0]["train_loss"]


def test_training_learns() -> None:
    rows, _ = once(0)
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]


def test_a_row_holds_what_the_contract_names() -> None:
    rows, run = once(0)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert set(rows[0]) == {
        "epoch",
        "train_loss",
        "val_loss",
        "class_accuracy",
        "average_precision",
        "mean_class_accuracy",
        "mean_average_precision",
        "macro_f1",
        "accuracy",
        "images_per_second",
        "weights_sha256",
    }
    assert run.read_json("adamw/history.json") == rows


def test_the_best_weights_are_those_of_the_best_epoch_and_not_an_alias() -> None:
    rows, run = once(0)
    best = max(rows, key=lambda row: row["mean_class_accuracy"])
    state = run.read_tensors("adamw/best.safetensors")
    assert tensors_sha256(state) == best["weights_sha256"]
    model = network(5)
    model.load_state_dict(state)
    scores = predict(active().place(model), image_set(12, seed=1), TINY, Context(active()))
    assert scores.loss == best["val_loss"]


def test_a_network_that_was_trained_on_starts_the_next_setting_elsewhere(tmp_path: Path) -> None:
    # The mistake of no fresh start, to show that the equal starts of the experiment matter.
    model = network(0)
    briefly = replace(TINY, epochs=1)
    training.fit(task(model, briefly, TINY.settings[0], RunFolder.create(tmp_path / "a")))
    carried = training.fit(task(model, briefly, TINY.settings[1], RunFolder.create(tmp_path / "b")))
    fresh, _ = once(1)
    assert carried[0]["train_loss"] != fresh[0]["train_loss"]


def test_the_training_loss_is_the_mean_over_images_and_not_over_batches(tmp_path: Path) -> None:
    still = OptimizerSetting(name="still", optimizer="SGD", learning_rate=1e-30)
    config = replace(TINY, epochs=1, batch_size=20)
    run = RunFolder.create(tmp_path / "run")
    model = network(0)
    rows = training.fit(task(model, config, still, run))
    fresh = network(0).train()
    losses, sizes = [], []
    for batch in training_batches(image_set(48), 20, config.augmentation, config.seed, 0):
        with torch.no_grad():
            losses.append(float(torch.nn.functional.cross_entropy(fresh(batch.images), batch.labels)))
        sizes.append(len(batch.paths))
    assert sizes == [20, 20, 8]
    assert rows[0]["train_loss"] == pytest.approx(np.average(losses, weights=sizes), rel=1e-6)
    assert abs(rows[0]["train_loss"] - np.mean(losses)) > 1e-4


def test_the_schedule_reaches_the_optimizer(tmp_path: Path) -> None:
    constant, _ = fitted(tmp_path / "a", TINY.settings[0], replace(TINY, schedule="constant", warm_up=0.0, epochs=1))
    cosine, _ = once(0)
    assert constant[0]["weights_sha256"] != cosine[0]["weights_sha256"]


def test_a_loss_that_is_not_finite_before_the_first_step_blames_the_weights(tmp_path: Path) -> None:
    model = network(0)
    torch.nn.init.constant_(model[0].weight, 1e38)  # type: ignore[index]
    with pytest.raises(ValueError, match=r"loss is nan; it is so before the first step, so the initial weights are"):
        training.fit(task(model, TINY, TINY.settings[0], RunFolder.create(tmp_path / "run")))


def test_weights_that_the_last_step_of_an_epoch_spoils_are_found_on_validation(tmp_path: Path) -> None:
    wild = OptimizerSetting(name="wild", optimizer="SGD", learning_rate=1e30)
    config = replace(TINY, batch_size=48, warm_up=0.0)
    with pytest.raises(
        ValueError, match=r"wild, epoch 1 of 3: the validation loss is (nan|inf); a learning_rate below"
    ):
        fitted(tmp_path / "run", wild, config)


def test_a_loss_that_is_not_finite_stops_and_keeps_what_was_written(tmp_path: Path) -> None:
    wild = OptimizerSetting(name="wild", optimizer="SGD", learning_rate=1e30)
    with pytest.raises(ValueError, match=r"wild, epoch 1 of 3: the training loss is (nan|inf); a learning_rate below"):
        fitted(tmp_path / "run", wild)
