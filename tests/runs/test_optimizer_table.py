"""Every optimizer in the table: torch's step, its named state, and resumed trainings with the same bits."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from in4310repro import arithmetic
from in4310repro.models.sources import open_network
from in4310repro.runs.config import Config, change
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.presets import PRESETS
from in4310repro.runs.settings import CHOICES, FITS_HEAD, OPTIMIZERS, Kept, OptimizerSetting, obstacle
from in4310repro.system.context import Context
from in4310repro.system.numerics import activate
from in4310repro.training import checkpoints, experiment, optimizers
from in4310repro.training.checkpoints import Position
from tests.builders import Watched
from tests.conftest import Call, refused

MODEL = "benchmarks.soak:small_network"
TINY = PRESETS["tiny"]
NATIVE = [name for name, each in OPTIMIZERS.items() if not each.is_portable]
CONFIG: dict[str, Any] = {"of": "a test"}


def setting(name: str) -> OptimizerSetting:
    momentum = 0.9 if OPTIMIZERS[name].has_momentum else 0.0
    return OptimizerSetting(name=name.lower(), optimizer=name, weight_decay=0.01, momentum=momentum)


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))


def begin(name: str) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    model = network()
    return model, optimizers.build(setting(name), model.parameters(), portable=False)


def take_steps(model: torch.nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    for step in range(first, last):
        generator = torch.Generator().manual_seed(step)
        optimizer.zero_grad()
        (model(torch.randn(8, 5, generator=generator)) ** 2).mean().backward()
        optimizer.step()


def test_the_choices_are_the_table_and_what_fits_a_head() -> None:
    assert CHOICES["optimizer"] == (*OPTIMIZERS, FITS_HEAD)
    assert NATIVE
    for name, each in OPTIMIZERS.items():
        assert hasattr(torch.optim, name)
        assert (getattr(arithmetic, name, None) is not None) == each.is_portable
        assert (obstacle(name) == "") == each.is_portable


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_state_after_a_step_is_what_the_table_names(name: str) -> None:
    model, optimizer = begin(name)
    take_steps(model, optimizer, 0, 3)
    for index, parameter in enumerate(model.parameters()):
        state = optimizer.state_dict()["state"][index]
        assert state.keys() == OPTIMIZERS[name].state.keys()
        for key, kept in OPTIMIZERS[name].state.items():
            assert state[key].dtype == torch.float32
            assert state[key].shape == (parameter.shape if kept.has_shape_of_parameter else ())
            if kept is Kept.COUNT:
                assert state[key].item() == 3
            if kept is Kept.SQUARES:
                assert (state[key] >= 0).all()
    values = sum(state[key].numel() for state in optimizer.state.values() for key in state if state[key].ndim)
    values += sum(each.numel() for each in model.parameters())
    assert 4 * values == checkpoints.kept_epoch_bytes(model, setting(name))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_steps_are_those_of_torchs_class(name: str) -> None:
    ours, optimizer = begin(name)
    take_steps(ours, optimizer, 0, 5)
    theirs = network()
    options = {"momentum": 0.9} if name == "SGD" else {}
    take_steps(theirs, getattr(torch.optim, name)(theirs.parameters(), lr=1e-3, weight_decay=0.01, **options), 0, 5)
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(own, other)
    assert not torch.equal(next(ours.parameters()), next(network().parameters()))


@pytest.mark.parametrize("steps", [0, 1, 4])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_training_that_goes_on_from_a_checkpoint_has_the_bits_of_one_that_did_not_stop(
    name: str, steps: int, tmp_path: Path
) -> None:
    whole, optimizer = begin(name)
    take_steps(whole, optimizer, 0, 8)
    first = begin(name)
    take_steps(*first, 0, steps)
    checkpoints.save(tmp_path, checkpoints.tensors_of(*first), Position(batch=steps, loss=float(steps > 0)), CONFIG)
    second = begin(name)
    position, warnings = checkpoints.restore(tmp_path, *second, CONFIG)
    assert (position.batch, warnings) == (steps, [])
    take_steps(*second, steps, 8)
    for own, other in zip(whole.parameters(), second[0].parameters(), strict=True):
        assert torch.equal(own, other)
    if steps:
        # The wrong twin goes on with the weights and a new state.
        forgetful = begin(name)
        forgetful[0].load_state_dict(first[0].state_dict())
        take_steps(*forgetful, steps, 8)
        assert not torch.equal(next(forgetful[0].parameters()), next(whole.parameters()))


WRONG = {Kept.COUNT: -1.0, Kept.FACTOR: 1.5, Kept.SQUARES: -1.0}
STATES = [(name, key) for name, each in OPTIMIZERS.items() for key in each.state]


@pytest.mark.parametrize(("name", "key"), STATES, ids=["-".join(each) for each in STATES])
def test_a_state_that_lacks_a_tensor_or_holds_another_is_refused(name: str, key: str) -> None:
    model, optimizer = begin(name)
    take_steps(model, optimizer, 0, 2)
    weights, state = model.state_dict(), checkpoints.optimizer_tensors(optimizer)
    place, kept = f"0.{key}", OPTIMIZERS[name].state[key]
    changes: list[dict[str, torch.Tensor]] = [
        {each: value for each, value in state.items() if each != place},
        state | {place: state[place].double()},
        state | {place: torch.zeros(2, 7)},
        state | {f"{place}_of_another": torch.zeros(())},
    ]
    if kept in WRONG:
        changes.append(state | {place: torch.full_like(state[place], WRONG[kept])})
    for changed in changes:
        with pytest.raises(ValueError, match=key):
            checkpoints.load_into(weights, changed, *begin(name), "a file")
    checkpoints.load_into(weights, state, *begin(name), "a file")


def config(name: str, **changes: Any) -> Config:
    small = replace(TINY, model=MODEL, modules=("0",), settings=(setting(name),))
    return change(small, changes, "options")


@pytest.mark.parametrize("name", NATIVE)
def test_portable_arithmetic_refuses_a_native_optimizer_before_anything_is_written(
    name: str, call: Call, tmp_path: Path
) -> None:
    (tmp_path / "c.toml").write_text(f'[[settings]]\nname = "a"\noptimizer = "{name}"\n')
    words = ("train", "--preset", "tiny", "--config", "c.toml", "--numerics", "portable", "--out", "runs/a")
    refused(call, words, name, "--numerics native", "AdamW, RMSprop, SGD can")
    assert not (tmp_path / "runs").exists()
    with pytest.raises(ValueError, match=f"optimizer {name}"):
        optimizers.build(setting(name), network().parameters(), portable=True)


def interrupt_after_an_epoch(line: str) -> None:
    if "epoch 1:" in line:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("name", NATIVE)
def test_a_native_optimizer_trains_repeats_resumes_and_is_replayed(name: str, tmp_path: Path, call: Call) -> None:
    open_network(MODEL).trust()
    folder = tmp_path / "run"
    run = experiment.train(config(name), folder, keep_epochs=True, context=Context(activate("native", "cpu")))
    losses = [row["train_loss"] for row in run.histories[name.lower()]]
    assert np.isfinite(losses).all()
    assert run.fingerprint["numerics"] == "native"
    again = experiment.train(config(name), tmp_path / "again", context=Context(activate("native", "cpu")))
    assert again.training_sha256 == FinishedRun.open(folder).training_sha256
    stopped = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        experiment.train(
            config(name), stopped, context=Context(activate("native", "cpu"), Watched(say=interrupt_after_an_epoch))
        )
    assert list(stopped.glob("*/checkpoint/*.safetensors"))
    resumed = experiment.train(config(name), stopped, resume=True, context=Context(activate("native", "cpu")))
    assert resumed.training_sha256 == again.training_sha256
    code, out, error = call("verify", f"{folder}", "--model", MODEL, "--numerics", "native", "--replay", "1")
    assert code == 0, out + error
    assert "replayed" in out
