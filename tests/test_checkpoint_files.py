"""Checkpoint files without a training: their names and contents, which are kept, and which are rejected."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from in4310repro import arithmetic
from in4310repro.runs.record_types import EpochHashes, HistoryRow
from in4310repro.runs.settings import OptimizerSetting
from in4310repro.system.files import write_file
from in4310repro.system.tensors import read_tensors, tensor_bytes
from in4310repro.training import checkpoints
from in4310repro.training.checkpoints import (
    Position,
    kept_epoch_bytes,
    load_into,
    optimizer_tensors,
    read_kept_epoch,
    restore,
)

CONFIG: dict[str, Any] = {"seed": 7, "epochs": 3}


def save(folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, *rest: Any) -> Path:
    return checkpoints.save(folder, checkpoints.tensors_of(model, optimizer), *rest)


def write_kept_epoch(file: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    write_file(file, tensor_bytes(checkpoints.tensors_of(model, optimizer)))


def at(epoch: int, batch: int = 0, loss: float = 0.0) -> Position:
    """Return a Position (point reached in the training) with a history row for each finished epoch."""
    numbers = range(1, epoch + 1)
    return Position(
        epoch=epoch,
        batch=batch,
        loss=loss,
        history=[
            HistoryRow(
                epoch=number,
                train_loss=1.0,
                val_loss=1.0,
                class_accuracy=[0.5],
                average_precision=[0.5],
                mean_class_accuracy=0.5,
                mean_average_precision=0.5,
                images_per_second=1.0,
                weights_sha256="0" * 64,
            )
            for number in numbers
        ],
        tensors=[
            EpochHashes(epoch=number, previous="0" * 64, weights_sha256="0" * 64, optimizer_sha256="0" * 64, tensors={})
            for number in numbers
        ],
    )


POSITION = at(epoch=2, batch=3, loss=1.5)
Trained = tuple[torch.nn.Module, torch.optim.Optimizer]


def train_briefly(kind: type[Any] = torch.optim.AdamW, steps: int = 1, seed: int = 0, **settings: float) -> Trained:
    """Return a channels_last network and its optimizer after `steps` steps."""
    generator = torch.Generator().manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 2), torch.nn.BatchNorm2d(3)).to(  # type: ignore[call-overload]
        memory_format=torch.channels_last
    )
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator))
    optimizer = kind(model.parameters(), lr=0.1, **settings)
    for _ in range(steps):
        for parameter in model.parameters():
            parameter.grad = torch.rand(parameter.shape, generator=generator).to(memory_format=torch.preserve_format)
        optimizer.step()
    return model, optimizer


def tensors_of(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return safetensors.torch.load(checkpoints.pack(model, optimizer, Position()))


def same(one: Trained, other: Trained) -> bool:
    states = [(model.state_dict(), optimizer_tensors(optimizer)) for model, optimizer in (one, other)]
    return all(
        first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
        for first, second in zip(*states, strict=True)
    )


def test_a_checkpoint_is_named_by_its_position_and_16_digits_of_its_hash(tmp_path: Path) -> None:
    file = save(tmp_path / "new", *train_briefly(), POSITION, CONFIG)
    digits = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    assert file == tmp_path / "new" / f"000002-00000003-{digits}.safetensors"
    assert {name.partition(".")[0] for name in read_tensors(file)} == {"model", "optimizer"}


def test_the_last_two_checkpoints_stay_in_the_order_of_their_positions(tmp_path: Path) -> None:
    (tmp_path / "notes.safetensors").touch()
    for epoch, batch in ((0, 9), (0, 10), (1, 0), (1, 1)):
        save(tmp_path, *train_briefly(), Position(epoch=epoch, batch=batch), CONFIG)
    assert sorted(file.name[:15] for file in tmp_path.iterdir()) == [
        "000001-00000000",
        "000001-00000001",
        "notes.safetensors"[:15],
    ]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(torch.optim.AdamW, {}), (torch.optim.RMSprop, {}), (torch.optim.SGD, {"momentum": 0.9}), (torch.optim.SGD, {})],
)
def test_the_newest_checkpoint_puts_back_network_optimizer_and_position(
    kind: type[Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    ours, other = train_briefly(kind, steps=2, **settings), train_briefly(kind, seed=1, **settings)
    save(tmp_path, *train_briefly(kind, **settings), at(1), CONFIG)
    save(tmp_path, *ours, POSITION, CONFIG)
    other[1].param_groups[0]["lr"] = 0.25
    assert restore(tmp_path, *other, CONFIG) == (POSITION, [])
    assert same(ours, other)
    # What a setting is, is for the optimizer itself to say; a state lies in memory as its parameter does.
    assert other[1].param_groups[0]["lr"] == 0.25
    weight = next(other[0].parameters())
    for name, value in other[1].state[weight].items():
        assert name == "step" or value.stride() == weight.stride()


def test_a_training_without_checkpoints_starts_at_the_beginning(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        assert restore(folder, *train_briefly(), CONFIG) == (Position(0, 0, 0.0, [], []), [])


def test_a_corrupt_checkpoint_is_named_and_the_one_before_is_used(tmp_path: Path) -> None:
    first = train_briefly()
    save(tmp_path, *first, at(1), CONFIG)
    newest = save(tmp_path, *train_briefly(steps=2), at(2), CONFIG)
    newest.write_bytes(newest.read_bytes()[:-1])
    other = train_briefly(seed=1)
    assert restore(tmp_path, *other, CONFIG) == (at(1), [f"checkpoint {newest} is corrupt; the one before it is used"])
    assert same(first, other)
    for file in tmp_path.iterdir():
        file.write_bytes(b"")
    position, warnings = restore(tmp_path, *other, CONFIG)
    assert (position, len(warnings)) == (Position(), 2)


def write_forged(folder: Path, metadata: dict[str, str], tensors: dict[str, torch.Tensor]) -> Path:
    """Write a checkpoint with forged content, under a name that contains its hash."""
    data = tensor_bytes(tensors, metadata)
    file = folder / f"000001-00000000-{hashlib.sha256(data).hexdigest()[:16]}.safetensors"
    file.write_bytes(data)
    return file


RECORD = asdict(at(1))


@pytest.mark.parametrize(
    ("metadata", "tensors", "words"),
    [
        ({}, {}, "does not belong to this training (KeyError: 'config'); remove it, and the one before it is used"),
        (
            {"config": "{", "position": "{}"},
            {},
            "does not belong to this training (JSONDecodeError: Expecting property name enclosed in double quotes: "
            "line 1 column 2 (char 1)); remove it, and the one before it is used",
        ),
        ({"config": "{}", "position": "{}"}, {}, "belongs to another configuration: "),
        ({"config": json.dumps(CONFIG), "position": json.dumps(RECORD | {"batch": -1})}, {}, "batch is -1"),
        (
            {"config": json.dumps(CONFIG), "position": json.dumps(RECORD)},
            {},
            "does not belong to this training (KeyError: 'model.0.weight'); remove it, and the one before it is used",
        ),
    ],
    ids=["no metadata", "no JSON", "another configuration", "no position", "no tensors"],
)
def test_a_file_that_no_training_of_this_configuration_wrote_is_refused(
    metadata: dict[str, str], tensors: dict[str, torch.Tensor], words: str, tmp_path: Path
) -> None:
    file = write_forged(tmp_path, metadata, tensors)
    with pytest.raises(ValueError, match="checkpoint") as raised:
        restore(tmp_path, *train_briefly(), CONFIG)
    assert str(raised.value).startswith(f"checkpoint {file}")
    assert words in str(raised.value)


def test_what_is_wrong_is_said_in_200_characters_of_one_line(tmp_path: Path) -> None:
    model, optimizer = train_briefly()
    tensors = tensors_of(model, optimizer) | {"a\n  b " + "c" * 300: torch.zeros(1)}
    file = write_forged(tmp_path, {"config": json.dumps(CONFIG), "position": json.dumps(RECORD)}, tensors)
    with pytest.raises(ValueError, match=re.escape(str(file))) as raised:
        restore(tmp_path, model, optimizer, CONFIG)
    reason = re.fullmatch(r"[^(]+\((.+)\); [^)]+", str(raised.value))
    assert reason is not None
    assert reason[1] == f"ValueError: a b {'c' * 184}"
    assert len(reason[1]) == 200


def test_what_was_kept_of_an_epoch_reads_back_without_metadata(tmp_path: Path) -> None:
    ours, other = train_briefly(steps=2), train_briefly(seed=1)
    file = tmp_path / "sgd" / "000001.safetensors"
    write_kept_epoch(file, *ours)
    weights, state = read_kept_epoch(file)
    assert set(weights) == set(ours[0].state_dict())
    assert set(state) == {f"{at}.{name}" for at in range(4) for name in ("step", "exp_avg", "exp_avg_sq")}
    load_into(weights, state, *other, "epoch 1")
    assert same(ours, other)
    write_kept_epoch(tmp_path / "again", *other)
    assert (tmp_path / "again").read_bytes() == file.read_bytes()


def test_what_was_kept_of_another_network_is_refused_with_its_source() -> None:
    model, optimizer = train_briefly()
    long = {name + "x" * 300: value for name, value in model.state_dict().items()}
    with pytest.raises(
        ValueError, match=re.escape("epoch 1 does not belong to this training (KeyError: 'model.0.weight')")
    ):
        load_into(long, {}, model, optimizer, "epoch 1")
    wrong = optimizer_tensors(optimizer) | {"0.exp_avg." + "x" * 300: torch.zeros(1)}
    with pytest.raises(
        ValueError, match=r"epoch 1 does not belong to this training \(ValueError: 0\.exp_avg\.xxx"
    ) as raised:
        load_into(model.state_dict(), wrong, model, optimizer, "epoch 1")
    assert len(str(raised.value)) == len("epoch 1 does not belong to this training ()") + 200


@pytest.mark.parametrize(("optimizer", "momentum", "copies"), [("AdamW", 0.0, 2), ("RMSprop", 0.0, 1), ("SGD", 0.9, 1)])
def test_the_bytes_that_are_kept_are_those_of_weights_and_of_each_copy_of_the_parameters(
    optimizer: str, momentum: float, copies: int
) -> None:
    model = torch.nn.BatchNorm2d(10)
    setting = OptimizerSetting(name="x", optimizer=optimizer, momentum=momentum)
    # Two parameters and two running statistics of 40 bytes each, and a counter of 8.
    found = kept_epoch_bytes(model, setting)
    assert found == 4 * 40 + 8 + copies * 2 * 40


KINDS: dict[str, tuple[type[Any], dict[str, Any], str]] = {
    "AdamW": (torch.optim.AdamW, {}, "exp_avg"),
    "RMSprop": (torch.optim.RMSprop, {}, "square_avg"),
    "SGD": (torch.optim.SGD, {"momentum": 0.9}, "momentum_buffer"),
    "portable AdamW": (arithmetic.AdamW, {}, "exp_avg_sq"),
    "portable RMSprop": (arithmetic.RMSprop, {}, "square_avg"),
    "portable SGD": (arithmetic.SGD, {"momentum": 0.9}, "momentum_buffer"),
}
Tensors = dict[str, torch.Tensor]


def replace_tensor(key: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Tensors, str], Tensors]:
    """Return a function that changes the tensor `key`, after replacing MOMENT in `key` by its second argument."""
    return lambda tensors, moment: (
        tensors
        | {(name := key.replace("MOMENT", moment)): change(tensors[name] if name in tensors else torch.zeros(1))}
    )


WRONG_TENSORS: dict[str, tuple[Callable[[Tensors, str], Tensors], str]] = {
    "a smaller state": (replace_tensor("optimizer.0.MOMENT", lambda v: v[:1]), "0.MOMENT"),
    "a state of one value": (replace_tensor("optimizer.0.MOMENT", lambda v: v.flatten()[:1]), "0.MOMENT"),
    "an empty state": (replace_tensor("optimizer.0.MOMENT", lambda v: v[:0]), "0.MOMENT"),
    "a larger state": (replace_tensor("optimizer.0.MOMENT", lambda v: torch.cat([v, v])), "0.MOMENT"),
    "a state of another shape": (replace_tensor("optimizer.0.MOMENT", torch.Tensor.flatten), "0.MOMENT"),
    "a double state": (replace_tensor("optimizer.0.MOMENT", torch.Tensor.double), "0.MOMENT"),
    "a half state": (replace_tensor("optimizer.0.MOMENT", torch.Tensor.half), "0.MOMENT"),
    "a state of whole numbers": (replace_tensor("optimizer.0.MOMENT", torch.Tensor.int), "0.MOMENT"),
    "a missing state": (lambda t, moment: {k: v for k, v in t.items() if k != f"optimizer.0.{moment}"}, "0.MOMENT"),
    "no states": (lambda t, _: {k: v for k, v in t.items() if k.startswith("model.")}, "no state of"),
    "a state too many": (replace_tensor("optimizer.4.MOMENT", torch.clone), "4.MOMENT"),
    "a state of a parameter before the first": (replace_tensor("optimizer.-1.MOMENT", torch.clone), "-1.MOMENT"),
    "a state under another number of a parameter": (replace_tensor("optimizer.00.MOMENT", torch.clone), "00.MOMENT"),
    "another optimizer's state": (replace_tensor("optimizer.0.max_exp_avg_sq", torch.clone), "0.max_exp_avg_sq"),
    "a state without a number": (replace_tensor("optimizer.MOMENT", torch.clone), "MOMENT"),
    "a smaller weight": (replace_tensor("model.0.weight", lambda v: v[:1]), "0.weight"),
    "a double weight": (replace_tensor("model.0.weight", torch.Tensor.double), "0.weight"),
    "a complex weight": (replace_tensor("model.0.weight", lambda v: v + 0j), "0.weight"),
    "a counter with a fraction": (
        replace_tensor("model.1.num_batches_tracked", torch.Tensor.float),
        "num_batches_tracked",
    ),
    "a weight too many": (replace_tensor("model.2.weight", torch.clone), "2.weight"),
    "a tensor of nothing": (replace_tensor("other", torch.clone), "other"),
}
WRONG_COUNTS = {
    "not a number": math.nan,
    "infinite": math.inf,
    "below zero": -1.0,
    "a fraction": 1.5,
    "more than a float32 counts": 2.0**25,
}


def assert_both_refuse(folder: Path, kind: str, tensors: Tensors, words: str) -> None:
    """Assert that a checkpoint and a saved epoch with these tensors are refused and leave the network unchanged."""
    make, settings, _ = KINDS[kind]
    file = write_forged(folder, {"config": json.dumps(CONFIG), "position": json.dumps(RECORD)}, tensors)
    ours, untouched = (train_briefly(make, seed=1, **settings) for _ in range(2))
    with pytest.raises(ValueError, match=re.escape(words)) as raised:
        restore(folder, *ours, CONFIG)
    assert str(raised.value).startswith(f"checkpoint {file} does not belong to this training (")
    write_kept_epoch(folder / "kept", *ours)
    (folder / "kept").write_bytes(tensor_bytes(tensors))
    weights, state = read_kept_epoch(folder / "kept")
    if not any(name.startswith(("other", "optimizer.optimizer")) for name in tensors):
        with pytest.raises(ValueError, match=re.escape(words)):
            load_into(weights, state, *ours, "epoch 1")
    assert same(ours, untouched)


@pytest.mark.parametrize("wrong", WRONG_TENSORS)
@pytest.mark.parametrize("kind", KINDS)
def test_tensors_that_do_not_fit_the_network_and_its_optimizer_are_refused(
    kind: str, wrong: str, tmp_path: Path
) -> None:
    make, settings, moment = KINDS[kind]
    change, words = WRONG_TENSORS[wrong]
    model, optimizer = train_briefly(make, **settings)
    tensors = tensors_of(model, optimizer)
    assert_both_refuse(tmp_path, kind, change(tensors, moment), words.replace("MOMENT", moment))


@pytest.mark.parametrize("count", WRONG_COUNTS)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if "SGD" not in kind])
def test_a_number_of_steps_that_no_training_counts_is_refused(kind: str, count: str, tmp_path: Path) -> None:
    make, settings, _ = KINDS[kind]
    tensors = tensors_of(*train_briefly(make, **settings))
    assert_both_refuse(tmp_path, kind, tensors | {"optimizer.2.step": torch.tensor(WRONG_COUNTS[count])}, "2.step: ")


def test_a_network_of_ones_own_may_have_parameters_without_a_gradient(tmp_path: Path) -> None:
    class Own(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)

    def begun() -> Trained:
        model = Own()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        model.used(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        return model, optimizer

    ours, other = begun(), begun()
    save(tmp_path, *ours, POSITION, CONFIG)
    restore(tmp_path, *other, CONFIG)
    assert same(ours, other)


def test_before_the_first_step_there_is_no_state() -> None:
    ours, other = train_briefly(steps=0), train_briefly(seed=1, steps=0)
    assert checkpoints.unpack(checkpoints.pack(*ours, Position()), *other) == Position()
    assert same(ours, other)
    with pytest.raises(ValueError, match="no state of AdamW"):
        checkpoints.unpack(checkpoints.pack(*ours, POSITION), *other)


def write_forged_position(folder: Path, **changes: object) -> Path:
    record = asdict(POSITION) | changes
    metadata = {"config": json.dumps(CONFIG), "position": json.dumps(record)}
    return write_forged(folder, metadata, tensors_of(*train_briefly()))


ROWS, HASHES = asdict(at(3))["history"], asdict(at(3))["tensors"]
WRONG_POSITIONS: dict[str, tuple[dict[str, object], str]] = {
    "batches that no epoch has": ({"batch": 10**6}, "batch is 1000000; it must be at most 5"),
    "one batch too many": ({"batch": 6}, "batch is 6; it must be at most 5"),
    "more epochs than rows": ({"epoch": 3, "batch": 0, "loss": 0.0}, "epoch is 3, history has epochs [1, 2]"),
    "very many epochs": ({"epoch": 2**50}, "epoch is 1125899906842624, history has epochs [1, 2]"),
    "fewer epochs than rows": ({"epoch": 1}, "epoch is 1, history has epochs [1, 2]"),
    "no rows": ({"history": []}, "epoch is 2, history has epochs []"),
    "no hashes": ({"tensors": []}, "epoch is 2, tensors has epochs []"),
    "rows of other epochs": ({"history": ROWS[1:]}, "history has epochs [2, 3]"),
    "a row twice": ({"history": [ROWS[0], ROWS[0]]}, "history has epochs [1, 1]"),
    "hashes in another order": ({"tensors": HASHES[1::-1]}, "tensors has epochs [2, 1]"),
    "beyond the last epoch": (
        {"epoch": 3, "history": ROWS, "tensors": HASHES},
        "epoch is 3 and batch 3; they must be at most",
    ),
    "a loss below 0": ({"loss": -1e308}, "loss is -1e+308"),
    "a loss that is nan": ({"loss": math.nan}, "loss is nan"),
    "an infinite loss": ({"loss": math.inf}, "loss is inf"),
    "a loss of no batch": ({"batch": 0}, "loss is 1.5 before the first batch"),
    "a validation loss that is nan": ({"history": [ROWS[0], ROWS[1] | {"val_loss": math.nan}]}, "val_loss is nan"),
}


@pytest.mark.parametrize("wrong", WRONG_POSITIONS)
def test_a_position_that_contradicts_itself_or_the_training_is_refused(wrong: str, tmp_path: Path) -> None:
    changes, words = WRONG_POSITIONS[wrong]
    file, ours, untouched = write_forged_position(tmp_path, **changes), train_briefly(seed=1), train_briefly(seed=1)
    with pytest.raises(ValueError, match=re.escape(words)) as raised:
        restore(tmp_path, *ours, CONFIG, 5)
    assert str(raised.value).startswith(f"checkpoint {file}")
    assert "must be" in str(raised.value) or "should be" in str(raised.value)
    assert same(ours, untouched)


@pytest.mark.parametrize("position", [at(0), at(0, 5, 1.0), at(2, 5, 0.0), at(3)], ids=["begin", "end", "2", "3"])
def test_positions_from_the_start_to_the_end_of_a_training_are_taken(position: Position, tmp_path: Path) -> None:
    save(tmp_path, *train_briefly(), position, CONFIG)
    assert restore(tmp_path, *train_briefly(seed=1), CONFIG, 5) == (position, [])


SQUARES = {
    "AdamW": "exp_avg_sq",
    "RMSprop": "square_avg",
    "portable AdamW": "exp_avg_sq",
    "portable RMSprop": "square_avg",
}


@pytest.mark.parametrize("kind", SQUARES)
@pytest.mark.parametrize("value", [-1.0, -1e-45, -math.inf, math.nan])
def test_a_mean_of_squares_that_no_training_makes_is_refused(value: float, kind: str, tmp_path: Path) -> None:
    tensors = tensors_of(*train_briefly(KINDS[kind][0]))
    key = f"0.{SQUARES[kind]}"
    squares = tensors[f"optimizer.{key}"].clone()
    squares[-1, -1, -1, -1] = value
    assert_both_refuse(tmp_path, kind, tensors | {f"optimizer.{key}": squares}, f"{key} is ")


@pytest.mark.parametrize("kind", KINDS)
def test_a_count_of_batches_below_0_is_refused(kind: str, tmp_path: Path) -> None:
    make, settings, _ = KINDS[kind]
    tensors = tensors_of(*train_briefly(make, **settings)) | {"model.1.num_batches_tracked": torch.tensor(-5)}
    assert_both_refuse(tmp_path, kind, tensors, "num_batches_tracked is -5")


@pytest.mark.parametrize("kind", SQUARES)
def test_parameters_that_made_different_numbers_of_steps_are_refused(kind: str, tmp_path: Path) -> None:
    tensors = tensors_of(*train_briefly(KINDS[kind][0]))
    assert_both_refuse(tmp_path, kind, tensors | {"optimizer.2.step": torch.tensor(12345.0)}, "2.step 12345")


@pytest.mark.parametrize("gradient", [math.nan, math.inf, 1e30])
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_training_that_diverged_wrote_is_taken(kind: str, gradient: float, tmp_path: Path) -> None:
    make, settings, _ = KINDS[kind]
    model, optimizer = train_briefly(make, **settings)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, gradient)
    optimizer.step()
    save(tmp_path, model, optimizer, POSITION, CONFIG)
    other = train_briefly(make, seed=1, **settings)
    restore(tmp_path, *other, CONFIG)
    for one, two in zip(model.parameters(), other[0].parameters(), strict=True):
        assert torch.equal(one.nan_to_num(7.0), two.nan_to_num(7.0))
