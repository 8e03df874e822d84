"""Zero weights: some networks start with zeros, but a file with unexpected zeros is incomplete."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from in4310repro import models
from in4310repro.models.sources import open_network
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context
from in4310repro.system.numerics import activate
from in4310repro.system.tensors import read_tensors
from in4310repro.training import experiment, training
from in4310repro.training.preparation import plan_training
from in4310repro.training.training import Task
from tests.conftest import Replace

NAME = "tests.test_zero_weights:network"
TINY = PRESETS["tiny"]
NATIVE = replace(TINY, model=NAME, modules=("conv",), epochs=1, numerics="native", settings=TINY.settings[:1])
SHAPES = {"token": (1, 1, 8), "matrix": (8, 8), "scale": (8, 1, 1), "kernel": (2, 2, 2, 2)}


class Beginning(nn.Module):
    """A network with parameters initialised to zero, such as a class token; one of its tensors is unused."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2)
        self.token, self.matrix, self.scale, self.kernel = (
            nn.Parameter(torch.zeros(shape)) for shape in SHAPES.values()
        )
        self.register_buffer("table", torch.zeros(3, 3))
        self.head = nn.Linear(8, classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.relu(self.conv(images))
        rows = (maps + self.scale * maps).mean(dim=(2, 3))
        scores: Tensor = self.head(rows + rows @ self.matrix + self.token[0, 0])
        return scores


def network(num_classes: int) -> nn.Module:
    return Beginning(num_classes)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, _cache_of_this_session: None) -> FinishedRun:
    open_network(NAME).trust()
    folder = tmp_path_factory.mktemp("zeros") / "run"
    experiment.train(NATIVE, folder, context=Context(activate("native", "cpu")))
    return FinishedRun.open(folder)


def test_a_network_that_begins_with_zeros_is_trained_scored_and_read_again(run: FinishedRun) -> None:
    state = run.selected_network().state_dict()
    # What has a gradient has moved, and what is not used is still zero in the file.
    assert {name for name in (*SHAPES, "table") if not state[name].any()} == {"kernel", "table"}


@pytest.mark.parametrize("name", ["conv.weight", "head.weight"])
def test_a_file_whose_other_weights_are_zero_is_refused(name: str, tmp_path: Path) -> None:
    open_network(NAME).trust()
    state = {key: value.contiguous() for key, value in models.build(NAME, 6, seed=0).state_dict().items()}
    file = tmp_path / "weights.safetensors"
    save_file(state, file)
    models.build(NAME, 6, seed=0, weights=f"{file}")
    save_file(state | {name: torch.zeros_like(state[name])}, file)
    message = rf"weights\.safetensors: all values of {name} are 0"
    with pytest.raises(ValueError, match=message):
        models.build(NAME, 6, seed=0, weights=f"{file}")
    with pytest.raises(ValueError, match=message):
        open_network(NAME).restore(6, read_tensors(file), f"{file}")


def test_weights_in_memory_may_be_zero() -> None:
    plan = plan_training(NATIVE, Context(activate("native", "cpu")))
    state = plan.network.state_dict()
    zeros = state | {"conv.weight": torch.zeros_like(state["conv.weight"])}
    model = plan.network_with(zeros, "the selected weights")
    assert not model.state_dict()["conv.weight"].any()


def test_selected_weights_that_are_zero_in_their_file_are_not_scored(tmp_path: Path, replace_fit: Replace) -> None:
    def fit(task: Task) -> object:
        history, best = training.fit(task), "adamw/best.safetensors"
        state = task.files.read_tensors(best)
        zeros = {"conv.weight": torch.zeros_like(state["conv.weight"])}
        task.files.write_weights(best, state | zeros, task.config.preprocessing)
        return history

    replace_fit(fit)
    config = replace(TINY, model=NAME, modules=("conv",), epochs=1, numerics="native", settings=TINY.settings[:1])
    with pytest.raises(ValueError, match=r"adamw/best\.safetensors: all values of conv\.weight are 0"):
        experiment.train(config, tmp_path / "run", context=Context(activate("native", "cpu")))
    assert not (tmp_path / "run" / "scores.npz").exists()
