"""A dry run: every stage of a training processes one batch, no file is written, and its forecast is right."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from benchmarks.soak import small_network
from in4310repro.runs.presets import PRESETS
from in4310repro.runs.settings import OptimizerSetting
from in4310repro.system.context import Context
from in4310repro.system.machine import most_used, resident
from in4310repro.system.numerics import Numerics, activate
from in4310repro.training import dry_run, experiment, preparation
from in4310repro.training.dry_run import rehearse
from in4310repro.training.step_log import Step
from tests.builders import Watched, write_class_folders
from tests.conftest import Call, refused

TINY = PRESETS["tiny"]
SMALL = replace(TINY, model="benchmarks.soak:small_network", modules=("0",), epochs=3)
COMMAND = ("train", "--preset", "tiny", "--dry-run")


class Stumbling(nn.Module):
    """A network that raises RuntimeError in one stage: training, evaluation or the backward pass."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self.inner, self.stage = small_network(6), stage

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > 1 and self.stage == ("training" if self.training else "evaluation"):
            raise RuntimeError("it stumbles")
        scores = self.inner(images)
        if self.training and self.stage == "backward":
            scores.register_hook(self.stumble)
        assert isinstance(scores, torch.Tensor)
        return scores

    def stumble(self, _gradient: torch.Tensor) -> None:
        raise RuntimeError("it stumbles")


def in_training(num_classes: int) -> nn.Module:  # noqa: ARG001
    return Stumbling("training")


def in_backward(num_classes: int) -> nn.Module:  # noqa: ARG001
    return Stumbling("backward")


def in_evaluation(num_classes: int) -> nn.Module:  # noqa: ARG001
    return Stumbling("evaluation")


@pytest.fixture(scope="module")
def plan(numerics: Numerics, _cache_of_this_session: None) -> preparation.TrainingPlan:
    return preparation.plan_training(SMALL, Context(numerics))


def test_what_a_dry_run_foretells_is_what_a_training_writes(
    plan: preparation.TrainingPlan, numerics: Numerics, tmp_path: Path
) -> None:
    said: list[str] = []
    context = Context(numerics, Watched(say=said.append))
    run = experiment.train(SMALL, tmp_path / "run", keep_epochs=True, log_steps="csv", context=context)
    # For 2,464 bytes of weights and buffers, two moments of the 2,328 bytes of parameters, or one.
    each = "7.12 kB an epoch with adamw, 4.79 kB an epoch with rmsprop, 4.79 kB an epoch with sgd"
    assert f"kept epochs take {each}, in all 50.1 kB below {run.folder}" in said
    steps, _, sizes = dry_run.pass_through_stages(plan, Context(numerics))
    # The second step of each setting is timed.
    assert [step.step for step in steps.values()] == [2, 2, 2]
    for setting in SMALL.settings:
        kept = run.folder / setting.name / "epochs" / "000003.safetensors"
        assert sizes[setting.name] == kept.stat().st_size
    tensors = sum(file.stat().st_size for file in run.folder.rglob("*.safetensors"))
    assert dry_run.disk(plan, sizes, sizes) == (tensors, tensors + 3 * max(sizes.values()))
    # The network that a training starts from, its images, and its modules.
    assert plan.fingerprint["initial_weights_sha256"] == run.fingerprint.get("initial_weights_sha256")
    assert plan.split.parts == run.split.parts


def test_the_time_is_that_of_every_image_at_the_measured_rates(plan: preparation.TrainingPlan) -> None:
    steps = [Step(epoch=1, step=2, images=8, loss=1.0, learning_rate=0.1, seconds=seconds) for seconds in (4.0, 8.0)]
    made_up = replace(plan, config=replace(SMALL, settings=SMALL.settings[:2]))
    # 24 images at 0.5 s and at 1 s, 2 x 12 of validation; 3 epochs; and 12 of test.
    assert dry_run.seconds(made_up, steps, 0.5) == 3 * (12 + 24 + 24 * 0.5) + 12 * 0.5
    # A fit of last layers reads the features of all 48 images once.
    assert dry_run.seconds(made_up, [], 0.5) == 48 * 0.5


def test_the_memory_of_a_card_and_the_time_are_said(numerics: Numerics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _device: 5)
    monkeypatch.setattr(dry_run, "seconds", lambda *_: 150.0)
    lines = [*rehearse(SMALL, Context(replace(numerics, device_name="a card")), Path("runs/nowhere"), keep_epochs=True)]
    assert lines[-2:] == ["memory of a card: 5 B", "time: 3 epochs of 3 settings: about 2.5 min here"]
    assert lines[1] == "disk: 74.7 kB at the end, up to 102 kB meanwhile"


def test_a_dry_run_writes_nothing_and_says_images_disk_memory_and_time(call: Call, tmp_path: Path) -> None:
    code, printed, _ = call(*COMMAND, "--model", SMALL.model)
    assert code == 0
    assert list(tmp_path.iterdir()) == []
    said = printed.splitlines()
    assert said[0].startswith("images: 48 of 6 classes (buildings, ")
    assert said[0].endswith("24 training, 12 validation, 12 test")
    begins = [line.partition(":")[0] for line in said[1:]]
    files = ["memory of mapped files, which the system can drop"] if resident("RssFile") is not None else []
    assert begins == ["disk", "memory", *files, "time"] or most_used() is None


def test_a_run_that_is_there_stays(call: Call, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert call(*COMMAND, "--out", "run", "--model", SMALL.model)[0] == 0
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_what_a_training_would_refuse_a_dry_run_refuses(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_class_folders(tmp_path / "mine", {"a": 9, "b": 9})
    (tmp_path / "mine" / "a" / "0.png").write_bytes(b"no image")
    code, _, error = call(*COMMAND, "--data", "mine")
    assert (code, "0.png is not a readable image" in error.splitlines()[-1]) == (2, True)
    refused(call, (*COMMAND, "--out", "mine"), "mine holds other files than a run's")
    refused(call, (*COMMAND, "--weights", "mine.pth"), "weights is 'mine.pth'")
    refused(call, (*COMMAND, "--resume"), "--resume continues one; give one of them")
    # Its scenes are drawn now, and take no more room.
    assert call(*COMMAND, "--model", SMALL.model)[0] == 0
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1))
    code, _, error = call(*COMMAND, "--model", SMALL.model)
    assert code == 2
    assert re.search(r"the run takes \d\d\.\d kB below runs/tiny, where 1 B are free$", error)


def test_a_learning_rate_that_spoils_the_loss_is_found(numerics: Numerics) -> None:
    wild = (OptimizerSetting(name="wild", optimizer="SGD", learning_rate=1e30),)
    with pytest.raises(ValueError, match=r"wild, epoch 1 of 3: the training loss is (nan|inf); a learning_rate below"):
        list(rehearse(replace(SMALL, settings=wild), Context(numerics), Path("runs/nowhere")))


@pytest.mark.parametrize(
    ("function", "stage"),
    [
        ("in_training", "in a step of adamw"),
        ("in_backward", "in a step of adamw"),
        ("in_evaluation", "in an evaluation"),
    ],
)
def test_a_network_of_ones_own_that_fails_is_named_with_the_stage(
    function: str, stage: str, numerics: Numerics
) -> None:
    config = replace(SMALL, model=f"{__name__}:{function}", modules=("inner.0",))
    with pytest.raises(ValueError, match=rf"{function} has no portable .* fails with RuntimeError: it stumbles"):
        list(rehearse(config, Context(numerics), Path("runs/nowhere")))
    with pytest.raises(ValueError, match=rf"{function} fails {stage}: RuntimeError: it stumbles"):
        list(rehearse(config, Context(replace(numerics, mode="native")), Path("runs/nowhere")))


class Norms(nn.Module):
    """A layer that returns one number per image, so that its output has no channel axis."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        norms: torch.Tensor = torch.linalg.vector_norm(images.flatten(1), dim=1)
        return norms


def with_norms(num_classes: int) -> nn.Module:
    class WithNorms(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.norms = small_network(num_classes), Norms()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.norms(images)
            scores: torch.Tensor = self.inner(images)
            return scores

    return WithNorms()


def test_feature_maps_of_the_named_modules_are_measured() -> None:
    context = Context(activate("native", "cpu"))
    config = replace(SMALL, settings=SMALL.settings[:1], model=f"{__name__}:with_norms")
    list(rehearse(replace(config, modules=("inner.0",)), context, Path("runs/nowhere")))
    with pytest.raises(ValueError, match=r"^module 'norms': its output has shape .*, without channels"):
        list(rehearse(replace(config, modules=("norms",)), context, Path("runs/nowhere")))
