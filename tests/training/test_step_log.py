"""Logs of every step: exact numbers, each step exactly once after a kill, and a training that stays the same."""

import csv
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock, call

import pytest
import torch

from benchmarks.soak import remove_speed
from in4310repro.data.images import training_batches
from in4310repro.runs import names
from in4310repro.runs.folder import RunFolder
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.training import experiment, training
from in4310repro.training.step_log import log_formats
from in4310repro.verification.folder_checks import unchecked_in
from tests.builders import image_set
from tests.conftest import Call, active, refused
from tests.training.test_checkpoints import CutOffError, cut_after
from tests.training.test_extension import THREE, TWO
from tests.training.test_training import TINY, network, once, task

SETTING = TINY.settings[0]
CSV = frozenset({"csv"})
TITLE = ["epoch", "step", "images", "loss", "learning_rate", "seconds"]
STEPS = 6  # of an epoch of 48 images in batches of 8


def rows_of(run: RunFolder) -> list[dict[str, str]]:
    with (run.folder / "logs" / "adamw" / "steps.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def train_and_log(
    folder: Path, cuts: tuple[int, ...] = (), checkpoint_steps: int = 0, formats: frozenset[str] = CSV
) -> RunFolder:
    """Train with a step log, interrupting and resuming after each number of steps in `cuts`."""
    run, config = RunFolder(folder), replace(TINY, checkpoint_steps=checkpoint_steps)
    for cut in cuts:
        cut_task = replace(
            task(network(0), config, SETTING, run), log_steps=formats, context=Context(active(), cut_after(cut))
        )
        with pytest.raises(CutOffError):
            training.fit(cut_task)
    training.fit(replace(task(network(0), config, SETTING, run), log_steps=formats))
    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train_and_log(tmp_path_factory.mktemp("logged") / "run")


def test_every_step_is_a_row_with_its_images_rate_and_time(whole: RunFolder) -> None:
    rows = rows_of(whole)
    assert list(rows[0]) == TITLE
    numbers = [(int(row["epoch"]), int(row["step"])) for row in rows]
    assert numbers == [(step // STEPS + 1, step + 1) for step in range(3 * STEPS)]
    assert {row["images"] for row in rows} == {"8"}
    # Cosine after a warm-up of a fifth of 18 steps: 3 of them, at 1, 2 and 3 quarters.
    assert [float(row["learning_rate"]) for row in rows[:4]] == [0.25e-3, 0.5e-3, 0.75e-3, 1e-3]
    assert all(float(row["seconds"]) > 0 for row in rows)


def test_the_losses_are_exact(whole: RunFolder) -> None:
    rows = rows_of(whole)
    fresh = network(0).train()
    batch = next(training_batches(image_set(48), 8, TINY.augmentation, TINY.seed, 0))
    with torch.no_grad():
        first = float(torch.nn.functional.cross_entropy(fresh(batch.images), batch.labels))
    # Another order of sums.
    assert float(rows[0]["loss"]) == pytest.approx(first, rel=1e-5)
    for epoch, row in enumerate(whole.read_json("adamw/history.json")):
        losses = [float(each["loss"]) for each in rows[STEPS * epoch : STEPS * (epoch + 1)]]
        assert sum(loss * 8 for loss in losses) / 48 == row["train_loss"]


def kinds_of_logs(folder: Path) -> set[str]:
    """Return the kinds of file (such as "log") that `verify` reports in the run's folder logs/."""
    listed = unchecked_in(folder, (), {"adamw": 2})
    return {each["kind"] for each in listed if each["path"].startswith("logs/")}


def test_a_log_moves_no_bit_and_is_no_file_of_the_manifest(whole: RunFolder) -> None:
    history, plain = once(0)
    assert list(map(remove_speed, whole.read_json("adamw/history.json"))) == list(map(remove_speed, history))
    for name in ("adamw/best.safetensors", "adamw/tensors.json"):
        assert (whole.folder / name).read_bytes() == (plain.folder / name).read_bytes()
    assert whole.manifest().keys() == plain.manifest().keys()
    assert not (plain.folder / "logs").exists()
    assert kinds_of_logs(whole.folder) == {"log"}


def test_a_file_that_no_training_logs_is_foreign_beside_the_logs(whole: RunFolder, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole.folder, tmp_path / "run"))
    (folder / "logs" / "notes.txt").touch()
    assert kinds_of_logs(folder) == {"log", "unknown file"}
    assert names.setting_of_log("logs/sgd/events.out.tfevents.1.host.2.3") == "sgd"
    assert names.setting_of_log("logs/sgd/other/steps.csv") is None


# Without checkpoints in an epoch, after each step, and cut off in the first step after one.
@pytest.mark.parametrize(("cuts", "checkpoint_steps"), [((4,), 0), ((9, 2), 0), ((5, 1, 3), 2), ((7, 7), 1)], ids=str)
def test_a_log_has_no_step_twice_and_none_missing_after_kills(
    cuts: tuple[int, ...], checkpoint_steps: int, whole: RunFolder, tmp_path: Path
) -> None:
    timeless = [{**row, "seconds": ""} for row in rows_of(whole)]
    resumed = train_and_log(tmp_path / "run", cuts, checkpoint_steps)
    assert [{**row, "seconds": ""} for row in rows_of(resumed)] == timeless


def test_the_steps_of_an_epoch_are_on_the_disk_at_its_end(tmp_path: Path) -> None:
    log, lines = tmp_path / "run" / "logs" / "adamw" / "steps.csv", list[int]()
    count = cut_after(STEPS + 1, then=lambda: lines.append(len(log.read_text().splitlines())))
    run = RunFolder(tmp_path / "run")
    training.fit(replace(task(network(0), TINY, SETTING, run), log_steps=CSV, context=Context(active(), count)))
    assert lines == [1 + STEPS]


def test_a_line_that_was_cut_off_or_is_none_of_a_step_is_dropped(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    log = run.folder / "logs" / "adamw" / "steps.csv"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"\xff\n" + b"1,x,8,1,1,1\n" + b"1,1,8,2.5,1,1\n" + b"1,2,8,2")
    with pytest.raises(CutOffError):
        training.fit(
            replace(task(network(0), TINY, SETTING, run), log_steps=CSV, context=Context(active(), cut_after(1)))
        )
    # Nothing was done before, so nothing of it stays.
    assert log.read_bytes() == f"{','.join(TITLE)}\n".encode()
    assert log_formats(run.folder, None, True) == {"csv"}


def test_a_resumed_run_goes_on_with_its_log(call: Call, tmp_path: Path) -> None:
    words = ("train", "--preset", "tiny", "--optimizer", "SGD", "--out", "run", "--epochs", "1", "--model", TWO.model)
    assert call(*words, "--log-steps", "csv")[0] == 0
    log = tmp_path / "run" / "logs" / "sgd" / "steps.csv"
    assert len(log.read_text().splitlines()) == 1 + 3
    (tmp_path / "run" / "sgd" / "history.json").unlink()
    log.unlink()
    log.touch()
    assert call(*words, "--resume")[0] == 0
    assert len(log.read_text().splitlines()) == 1 + 3


def test_a_run_that_goes_on_with_more_epochs_goes_on_with_its_log(numerics: Numerics, tmp_path: Path) -> None:
    experiment.train(TWO, tmp_path / "run", keep_epochs=True, log_steps="csv", context=Context(numerics))
    experiment.train(THREE, tmp_path / "run", resume=True, context=Context(numerics))
    for setting in THREE.settings:
        lines = (tmp_path / "run" / "logs" / setting.name / "steps.csv").read_text().splitlines()
        assert [line.split(",")[:2] for line in lines[1:]] == [[f"{1 + n // 2}", f"{n + 1}"] for n in range(6)]


def test_tensorboard_reads_every_step_once_after_a_kill(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = train_and_log(tmp_path / "run", (9,), formats=frozenset({"csv", "tensorboard"}))
    assert log_formats(run.folder, None, True) == {"csv", "tensorboard"}
    events = accumulator.EventAccumulator(str(run.folder / "logs" / "adamw")).Reload()
    scalars = events.Scalars("loss")
    assert [each.step for each in scalars] == list(range(1, 3 * STEPS + 1))
    # TensorBoard keeps float32.
    assert [each.value for each in scalars] == pytest.approx([float(row["loss"]) for row in rows_of(run)], rel=1e-6)
    assert kinds_of_logs(run.folder) == {"log"}


def test_a_resumed_training_tells_tensorboard_which_steps_it_repeats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Mock()
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", Mock(SummaryWriter=board))
    train_and_log(tmp_path / "run", (9,), formats=frozenset({"tensorboard"}))
    folder = f"{tmp_path / 'run' / 'logs' / 'adamw'}"
    assert board.call_args_list == [call(folder, purge_step=None), call(folder, purge_step=STEPS + 1)]
    added = [each.args for each in board.return_value.add_scalar.call_args_list]
    # The ninth is cut off before it is logged; all after the first epoch are repeated.
    assert [step for name, _, step in added if name == "loss"] == [*range(1, 9), *range(STEPS + 1, 3 * STEPS + 1)]
    assert board.return_value.close.call_count == 2


def test_what_cannot_be_logged_is_one_line_before_anything_is_read(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refused(call, ("train", "--log-steps", "xml"), "log_steps is 'xml'; it must be one of csv, tensorboard")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    refused(call, ("train", "--log-steps", "tensorboard"), "needs tensorboard: ", "pip install tensorboard")
    assert list(tmp_path.iterdir()) == []
