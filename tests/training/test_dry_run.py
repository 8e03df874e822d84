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
from in4310repro.training import dry_run, experiment
from in4310repro.training.dry_run import Rehearsal, describe, rehearse
from in4310repro.training.epochs import Step
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
def rehearsal(numerics: Numerics, _cache_of_this_session: None) -> Rehearsal:
    return rehearse(SMALL, Context(numerics), Path("runs/nowhere"), keep_epochs=True)


def test_what_a_dry_run_foretells_is_what_a_training_writes(
    rehearsal: Rehearsal, numerics: Numerics, tmp_path: Path
) -> None:
    said: list[str] = []
    context = Context(numerics, Watched(say=said.append))
    run = experiment.train(SMALL, context, tmp_path / "run", keep_epochs=True, log_steps="csv")
    # For 2,464 bytes of weights and buffers, two moments of the 2,328 bytes of parameters, or one.
    sizes = "7.12 kB an epoch with adamw, 4.79 kB an epoch with rmsprop, 4.79 kB an epoch with sgd"
    assert f"kept epochs take {sizes}, in all 50.1 kB below {run.folder}" in said
    for setting in SMALL.settings:
        folder = run.folder / setting.name
        assert rehearsal.checkpoint_bytes[setting.name] == (folder / "epochs" / "000003.safetensors").stat().st_size
        assert rehearsal.weights_bytes == (folder / "best.safetensors").stat().st_size
        steps = (run.folder / "logs" / setting.name / "steps.csv").read_text().splitlines()
        assert rehearsal.steps_per_epoch * 3 == len(steps) - 1
    tensors = sum(file.stat().st_size for file in run.folder.rglob("*.safetensors"))
    assert rehearsal.disk == (tensors, tensors + 3 * max(rehearsal.checkpoint_bytes.values()))
    # The network that a training starts from, its images, and its modules.
    assert rehearsal.plan.fingerprint["initial_weights_sha256"] == run.fingerprint.get("initial_weights_sha256")
    assert rehearsal.plan.split.parts == run.split.parts
    written = {file.relative_to(run.folder).as_posix() for file in run.folder.rglob("*") if file.is_file()}
    written = {name for name in written if "logs/" not in name and "epochs/" not in name}
    assert written == set(dry_run.WRITTEN) | {f"{s.name}/{name}" for s in SMALL.settings for name in dry_run.OF_SETTING}


def test_the_time_is_that_of_every_image_at_the_measured_rates(rehearsal: Rehearsal) -> None:
    steps = {
        name: Step(epoch=1, step=2, images=8, loss=1.0, learning_rate=0.1, seconds=seconds)
        for name, seconds in (("adamw", 4.0), ("sgd", 8.0))
    }
    made_up = replace(rehearsal, steps=steps, validation_seconds=0.5)
    settings = SMALL.settings[:2]
    made_up = replace(made_up, plan=replace(rehearsal.plan, config=replace(SMALL, settings=settings)))
    # 24 images at 0.5 s and at 1 s, 2 x 12 of validation; 3 epochs; and 12 of test.
    assert made_up.seconds == 3 * (12 + 24 + 24 * 0.5) + 12 * 0.5
    assert "3 steps an epoch, 3 epochs of 2 settings: about 2.5 min here" in "\n".join(describe(made_up))
    # A fit of last layers reads the features of all 48 images once.
    assert replace(made_up, steps={}).seconds == 48 * 0.5


def test_the_second_step_of_each_setting_is_timed(rehearsal: Rehearsal) -> None:
    assert [step.step for step in rehearsal.steps.values()] == [2, 2, 2]


def test_the_memory_of_a_card_is_said(rehearsal: Rehearsal) -> None:
    numerics = replace(rehearsal.numerics, device_name="a card")
    assert "memory of a card: 5 B" in describe(replace(rehearsal, numerics=numerics, gpu_memory=5))


def test_a_dry_run_writes_nothing_and_says_what_would_be(call: Call, tmp_path: Path) -> None:
    code, printed, _ = call(*COMMAND, "--model", SMALL.model)
    assert code == 0
    assert list(tmp_path.iterdir()) == []
    said = printed.splitlines()
    assert said[0].startswith("images: 48 of 6 classes (buildings, ")
    assert said[0].endswith("24 training, 12 validation, 12 test")
    assert said[2].startswith("would write: runs/tiny: config.json, fingerprint.json, split.csv, ")
    assert said[2].endswith("for each of adamw, rmsprop, sgd: history.json, tensors.json, best.safetensors")
    begins = [line.partition(":")[0] for line in said[3:-1]]
    files = ["memory of mapped files, which the system can drop"] if resident("RssFile") is not None else []
    assert begins == ["disk", "memory", *files, "time"] or most_used() is None


def test_a_run_that_is_there_stays_and_its_next_place_is_said(call: Call, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    code, printed, _ = call(*COMMAND, "--out", "run", "--model", SMALL.model)
    assert (code, "the run that is there would move to run.1" in printed) == (0, True)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_what_a_training_would_refuse_a_dry_run_refuses(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_class_folders(tmp_path / "mine", {"a": 9, "b": 9})
    (tmp_path / "mine" / "a" / "0.png").write_bytes(b"no image")
    code, _, error = call(*COMMAND, "--data", "mine")
    assert (code, "0.png is not a readable image" in error.splitlines()[-1]) == (2, True)
    refused(call, (*COMMAND, "--out", "mine"), "mine holds files that are no run")
    refused(call, (*COMMAND, "--weights", "mine.pth"), "no weights 'mine.pth'")
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
        rehearse(replace(SMALL, settings=wild), Context(numerics), Path("runs/nowhere"))


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
        rehearse(config, Context(numerics), Path("runs/nowhere"))
    with pytest.raises(ValueError, match=rf"{function} fails {stage}: RuntimeError: it stumbles"):
        rehearse(config, Context(replace(numerics, mode="native")), Path("runs/nowhere"))


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
    rehearse(replace(config, modules=("inner.0",)), context, Path("runs/nowhere"))
    with pytest.raises(ValueError, match=r"^module 'norms': its output has shape .*, without channels"):
        rehearse(replace(config, modules=("norms",)), context, Path("runs/nowhere"))
