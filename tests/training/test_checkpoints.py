"""Exact resume: an interrupted training ends with the bits of an uninterrupted one."""

import functools
import hashlib
import json
import signal
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from benchmarks.soak import WRITES, Soak, remove_speed, small_network
from in4310repro.runs.config import to_json
from in4310repro.runs.folder import RunFolder
from in4310repro.system.context import Context
from in4310repro.system.numerics import generator_for
from in4310repro.system.progress import Progress
from in4310repro.system.tensors import read_tensors, tensor_bytes
from in4310repro.training import checkpoints, optimizers, training
from in4310repro.training.checkpoints import Position
from tests.builders import Watched
from tests.conftest import active
from tests.training.test_training import TINY, network, task

STEPS = replace(TINY, checkpoint_steps=1)


class CutOffError(Exception):
    """Error raised in the middle of a training."""


def raise_cut_off() -> None:
    raise CutOffError


def cut_after(steps: int, then: Callable[[], None] = raise_cut_off) -> Progress:
    """Return a progress display that calls `then` after a number of steps; by default, it raises CutOffError."""
    left = iter(range(steps - 1, -1, -1))
    return Watched(step=lambda _title, _done, detail: then() if detail and next(left, -1) == 0 else None)


def train_with_cuts(
    folder: Path, position: int, cuts: tuple[int, ...] = (), config: Any = STEPS
) -> tuple[Any, dict[str, Any]]:
    """Train, with an interruption after each of `cuts` steps; return history, and last and best weights."""
    run = RunFolder(folder)
    for cut in cuts:
        with pytest.raises(CutOffError):
            training.fit(
                replace(
                    task(network(0), config, config.settings[position], run), context=Context(active(), cut_after(cut))
                )
            )
    model = network(0)
    history = training.fit(task(model, config, config.settings[position], run))
    best = run.read_tensors(f"{config.settings[position].name}/best.safetensors")
    return list(map(remove_speed, history)), {**{f"last {k}": v for k, v in model.state_dict().items()}, **best}


@functools.cache
def train_undisturbed(position: int) -> tuple[Any, dict[str, Any]]:
    """Return the history, and last and best weights, of an uninterrupted training, which is made once."""
    return train_with_cuts(Path(tempfile.mkdtemp()) / "whole", position)


def equal(one: Any, other: Any) -> bool:
    return one[0] == other[0] and all(torch.equal(one[1][name], value) for name, value in other[1].items())


OPTIMIZERS = pytest.mark.parametrize("position", [0, 1, 2], ids=["adamw", "rmsprop", "sgd"])
# A process for each kill and one for each resumption; AdamW has the most state to lose.
OPTIMIZERS_OF_KILLED = pytest.mark.parametrize(
    "position",
    [
        pytest.param(0, id="adamw", marks=pytest.mark.slow),
        *[pytest.param(n, id=i, marks=pytest.mark.soak) for n, i in ((1, "rmsprop"), (2, "sgd"))],
    ],
)


@OPTIMIZERS
@pytest.mark.parametrize("cuts", [(2,), (6,), (7,), (9, 4), (1, 1, 1)], ids=str)
def test_a_training_that_was_cut_off_ends_with_the_same_bits(
    position: int, cuts: tuple[int, ...], tmp_path: Path
) -> None:
    assert equal(train_undisturbed(position), train_with_cuts(tmp_path / "cut", position, cuts))


def drop_part(position: Position, part: str) -> Position:
    """Return the Position (point reached in the training) with the field `part` reset to its default."""
    return replace(position, **{part: getattr(Position(), part)})


@OPTIMIZERS
@pytest.mark.parametrize("part", ["epoch", "batch", "loss", "history", "model", "buffers", "optimizer"])
def test_a_part_of_the_state_that_is_dropped_is_noticed(
    part: str, position: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Cut in the second epoch of three, so that every part has something to lose.
    whole = train_undisturbed(position)
    restore = checkpoints.restore

    def careless(folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, *rest: Any) -> Any:
        fresh = {name: value.clone() for name, value in model.state_dict().items()}
        restored, warnings = restore(folder, model, optimizer, *rest)
        if part in vars(restored):
            return drop_part(restored, part), warnings
        if restored.epoch or restored.batch:
            if part == "optimizer":
                optimizer.state.clear()
            lost = {"model": ("weight", "bias"), "buffers": ("running_mean", "running_var"), "optimizer": ()}[part]
            kept = {k: v for k, v in model.state_dict().items() if not k.endswith(lost or ("nothing",))}
            model.load_state_dict(fresh | kept)
        return restored, warnings

    monkeypatch.setattr(checkpoints, "restore", careless)
    assert not equal(whole, train_with_cuts(tmp_path / "cut", position, (8,)))


@pytest.fixture
def cut_off(tmp_path: Path) -> Path:
    """Return a checkpoint folder with two files, written after batches 4 and 5 of the first epoch."""
    cut = replace(
        task(network(0), STEPS, STEPS.settings[0], RunFolder(tmp_path / "run")), context=Context(active(), cut_after(6))
    )
    with pytest.raises(CutOffError):
        training.fit(cut)
    return tmp_path / "run" / "adamw" / "checkpoint"


def test_the_last_two_checkpoints_are_kept(cut_off: Path) -> None:
    assert [file.name[:15] for file in sorted(cut_off.iterdir())] == ["000000-00000004", "000000-00000005"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_corrupt_checkpoint_is_skipped_with_a_warning(damage: str, cut_off: Path, tmp_path: Path) -> None:
    newest = max(cut_off.iterdir())
    data = bytearray(newest.read_bytes())
    if damage == "flipped":
        data[-3] ^= 1
    newest.write_bytes(bytes(data) if damage == "flipped" else bytes(data[: len(data) // 2 if damage == "cut" else 0]))
    model = network(0)
    optimizer = optimizers.build(STEPS.settings[0], model.parameters(), portable=active().portable)
    position, (warning,) = checkpoints.restore(cut_off, model, optimizer, to_json(STEPS))
    assert (position.epoch, position.batch) == (0, 4)
    assert newest.name in warning
    assert equal(train_with_cuts(tmp_path / "whole", 0), train_with_cuts(tmp_path / "run", 0))


@pytest.mark.parametrize("metadata", [None, {"config": "{}"}], ids=str)
def test_a_file_that_is_no_checkpoint_is_refused_by_name_whatever_its_hash(
    metadata: dict[str, str] | None, cut_off: Path
) -> None:
    data = safetensors.torch.save({"x": torch.zeros(1)}, metadata)
    (cut_off / f"9-{hashlib.sha256(data).hexdigest()[:16]}.safetensors").write_bytes(data)
    (cut_off / "99.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match=r"9-.* does not belong to this training .*; remove it"):
        train_with_cuts(cut_off.parents[1], 0)


def test_a_folder_of_corrupt_checkpoints_starts_from_the_beginning(cut_off: Path) -> None:
    for file in cut_off.iterdir():
        file.write_bytes(b"corrupt")
    model = network(0)
    optimizer = optimizers.build(STEPS.settings[0], model.parameters(), portable=active().portable)
    position, warnings = checkpoints.restore(cut_off, model, optimizer, to_json(STEPS))
    assert position == Position()
    assert len(warnings) == 2


def test_a_checkpoint_of_another_configuration_is_refused_with_the_values_that_differ(cut_off: Path) -> None:
    other = task(network(0), replace(STEPS, seed=4, epochs=9), STEPS.settings[0], RunFolder(cut_off.parents[1]))
    with pytest.raises(ValueError, match=r"another configuration: epochs 9 \(recorded: 3\); seed 4 \(recorded: 0\)"):
        training.fit(other)


def test_ctrl_c_finishes_the_step_writes_a_checkpoint_and_resumes_to_the_bit(tmp_path: Path) -> None:
    config = replace(TINY, checkpoint_steps=0)
    press = cut_after(4, then=lambda: signal.raise_signal(signal.SIGINT))
    run = RunFolder(tmp_path / "cut")
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        training.fit(replace(task(network(0), config, config.settings[0], run), context=Context(active(), press)))
    (file,) = (tmp_path / "cut/adamw/checkpoint").iterdir()
    assert file.name.startswith("000000-00000004")
    assert signal.getsignal(signal.SIGINT) is before
    assert equal(
        train_with_cuts(tmp_path / "whole", 0, config=config), train_with_cuts(tmp_path / "cut", 0, config=config)
    )


def test_a_checkpoint_holds_no_pickle(cut_off: Path) -> None:
    names = set(read_tensors(max(cut_off.iterdir())))
    assert {"model.0.weight", "model.1.running_mean", "optimizer.0.exp_avg", "optimizer.0.step"} <= names


@pytest.fixture(scope="module")
def soak(tmp_path_factory: pytest.TempPathFactory, _cache_of_this_session: None) -> Soak:
    return Soak(tmp_path_factory.mktemp("soak"), f"{small_network.__module__}:{small_network.__name__}")


@OPTIMIZERS_OF_KILLED
def test_a_run_killed_at_a_random_moment_ends_with_the_same_bits(position: int, soak: Soak) -> None:
    generator = generator_for(0, "kill", position)
    for _ in range(5):
        kills, differences = soak.kill_and_resume(position, generator)
        assert differences == []
        if kills:
            return
    pytest.fail("five processes ended before they were killed")


@OPTIMIZERS_OF_KILLED
@pytest.mark.parametrize("write", WRITES)
def test_a_run_killed_in_the_middle_of_a_write_ends_with_the_same_bits(write: str, position: int, soak: Soak) -> None:
    kills, differences = soak.kill_and_resume(position, generator_for(0, "torn", position), write)
    assert differences == []
    assert kills


def test_the_count_of_steps_keeps_its_type_beside_a_parameter_of_the_same_shape() -> None:
    model = torch.nn.Module()
    model.scale = torch.nn.Parameter(torch.ones((), dtype=torch.bfloat16))
    optimizer, again = (torch.optim.AdamW(model.parameters()) for _ in range(2))
    model.scale.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    # In bfloat16 it would be 256.
    optimizer.state[model.scale]["step"].fill_(257)
    checkpoints.unpack(checkpoints.pack(model, optimizer, Position(epoch=1)), model, again)
    assert again.state[model.scale]["step"].item() == 257


POSITION = {"epoch": 0, "batch": 1, "loss": 0.0, "history": [], "tensors": []}


@pytest.mark.parametrize(
    ("metadata", "tensors", "words"),
    [
        ({"config": "{}"}, {}, "does not belong to this training (KeyError: 'position')"),
        ({"config": "[" * 100_000, "position": "{}"}, {}, "does not belong to this training (RecursionError"),
        ({"config": "{}", "position": "[]"}, {}, "its value is []; it should be a valid dictionary"),
        ({"config": "{}", "position": json.dumps(POSITION | {"epoch": -1})}, {}, "epoch is -1"),
        ({"config": "{}", "position": json.dumps(POSITION | {"history": [{}]})}, {}, "lacks history.0."),
        (
            {"config": "{}", "position": json.dumps(POSITION)},
            {},
            "does not belong to this training (KeyError: 'model.weight')",
        ),
        (
            {"config": "{}", "position": json.dumps(POSITION)},
            {"model.weight": torch.zeros(3)},
            "does not belong to this training",
        ),
        (
            {"config": "{}", "position": json.dumps(POSITION)},
            {"model.weight": torch.zeros(1, 2), "optimizer.7.momentum_buffer": torch.zeros(1, 2)},
            "does not belong to this training",
        ),
    ],
)
def test_a_checkpoint_whose_hash_is_right_and_that_no_training_wrote_is_refused(
    metadata: dict[str, str], tensors: dict[str, torch.Tensor], words: str, tmp_path: Path
) -> None:
    data = tensor_bytes(tensors, metadata)
    name = f"000001-00000000-{hashlib.sha256(data).hexdigest()[:16]}.safetensors"
    (tmp_path / name).write_bytes(data)
    model = torch.nn.Linear(2, 1, bias=False)
    with pytest.raises(ValueError, match=f"checkpoint .*{name}") as raised:
        checkpoints.restore(tmp_path, model, torch.optim.SGD(model.parameters()), {})
    assert words in str(raised.value)
