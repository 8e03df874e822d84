"""A finished run extended by more epochs has the bytes of a run trained with all of them at once."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.soak import find_differing_files
from in4310repro.evaluation.feature_maps import of_run
from in4310repro.runs.config import Config
from in4310repro.runs.deviations import parse
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.training import experiment, training
from in4310repro.verification.routine import verify
from tests.conftest import Replace

TINY = PRESETS["tiny"]
CONSTANT = replace(TINY, schedule="constant", warm_up=0.0)
# A small network, two settings, two steps an epoch, and a seed with which the third epoch changes what is selected.
TWO = replace(
    CONSTANT,
    seed=2,
    model="benchmarks.soak:small_network",
    modules=("0",),
    settings=TINY.settings[1:],
    split="16/12/20",
)
THREE = replace(TWO, epochs=3)


class KilledError(BaseException):
    """Exception that simulates the end of the process."""


@pytest.fixture(scope="module")
def runs(numerics: Numerics, tmp_path_factory: pytest.TempPathFactory, _cache_of_this_session: None) -> Path:
    """Return the folder of runs of 2 and 3 epochs, with all saved states; tests must not change it."""
    folder = tmp_path_factory.mktemp("extended")
    for config in (TWO, THREE):
        experiment.train(config, folder / f"{config.epochs}", keep_epochs=True, context=Context(numerics))
    return folder


@pytest.fixture
def run(runs: Path, tmp_path: Path) -> Path:
    """Return a copy of the run of 2 epochs with hard-linked weights: replace them, never edit them in place."""
    return Path(shutil.copytree(runs / "2", tmp_path / "run", copy_function=os.link))


def kill_at(monkeypatch: pytest.MonkeyPatch, number: int, *, after: bool) -> list[Path]:
    """Raise KilledError at replaced file `number`; return a list that collects the replaced files."""
    replaced, written = Path.replace, list[Path]()

    def replace_or_die(self: Path, target: Path) -> Path:
        written.append(target)
        if len(written) == number and not after:
            raise KilledError
        moved = replaced(self, target)
        if len(written) == number:
            raise KilledError
        return moved

    monkeypatch.setattr(Path, "replace", replace_or_die)
    return written


def test_an_extended_run_has_the_bytes_of_one_that_was_trained_with_so_many_epochs(
    run: Path, runs: Path, numerics: Numerics
) -> None:
    # The control: two epochs are not three, so that equal files say something.
    other = {
        "config.json",
        "metrics.json",
        "scores.npz",
        "sgd/history.json",
        "sgd/tensors.json",
        "sgd/best.safetensors",
    }
    assert other <= set(find_differing_files(runs / "3", run))
    of_run.write_features(FinishedRun.open(run), TWO, Context(numerics))
    extended = experiment.train(THREE, run, resume=True, context=Context(numerics))
    assert find_differing_files(runs / "3", run) == []
    assert extended.training_sha256 == FinishedRun.open(runs / "3").training_sha256
    assert RunFolder(run).manifest() == {**RunFolder(run).manifest(), **unspeedy(runs / "3")}
    assert verify(run, context=Context(numerics)).differences == []
    # The same command again, as after a kill that came too late.
    experiment.train(THREE, run, resume=True, context=Context(numerics))
    assert find_differing_files(runs / "3", run) == []


@pytest.mark.slow
def test_the_tiny_preset_with_a_constant_rate_goes_on_to_the_same_bytes(numerics: Numerics, tmp_path: Path) -> None:
    one = replace(CONSTANT, settings=TINY.settings[:1], epochs=1)
    for config in (one, replace(one, epochs=2)):
        experiment.train(config, tmp_path / f"{config.epochs}", keep_epochs=True, context=Context(numerics))
    experiment.train(replace(one, epochs=2), tmp_path / "1", resume=True, context=Context(numerics))
    assert find_differing_files(tmp_path / "2", tmp_path / "1") == []
    assert verify(tmp_path / "1", context=Context(numerics)).differences == []


def unspeedy(folder: Path) -> dict[str, str]:
    """Return the manifest without the history files, which contain training speeds."""
    return {name: sha256 for name, sha256 in RunFolder(folder).manifest().items() if "history" not in name}


def kill_and_continue(run: Path, numerics: Numerics, number: int, *, after: bool) -> int:
    """Kill an extension at a write and repeat it; return the number of files written before, or 0."""
    before = FinishedRun.open(run).config
    with pytest.MonkeyPatch.context() as patch:
        written = kill_at(patch, number, after=after)
        try:
            experiment.train(THREE, run, resume=True, context=Context(numerics))
        except KilledError:
            count = len(written)
        else:
            return 0
    if not (run / "metrics.json").is_file():
        with pytest.raises(ValueError, match="holds no finished run"):
            FinishedRun.open(run)
    elif RunFolder(run).read_json("config.json")["epochs"] == before.epochs:
        assert verify(run, context=Context(numerics)).differences == []
    experiment.train(THREE, run, resume=True, context=Context(numerics))
    return count


# Of the writes: 1 and 2 are checkpoints, 3 the configuration, 4 its line in the manifest, 6 the lines of the results.
@pytest.mark.parametrize(("number", "after"), [(2, False), (6, True)])
def test_an_extension_that_was_killed_is_continued_by_the_same_command(
    number: int, after: bool, run: Path, runs: Path, numerics: Numerics
) -> None:
    assert kill_and_continue(run, numerics, number, after=after) == number
    assert find_differing_files(runs / "3", run) == []


@pytest.mark.slow
def test_an_extension_that_was_killed_at_any_write_is_continued(runs: Path, numerics: Numerics, tmp_path: Path) -> None:
    number = 1
    while True:
        for after in (False, True):
            folder = Path(shutil.copytree(runs / "2", tmp_path / f"{number}{after}", copy_function=os.link))
            written = kill_and_continue(folder, numerics, number, after=after)
            assert find_differing_files(runs / "3", folder) == [], (number, after)
            shutil.rmtree(folder)
        if not written:
            break
        number += 1
    assert number > 20


def test_settings_that_an_interrupted_extension_has_trained_are_not_trained_again(
    run: Path, runs: Path, numerics: Numerics, replace_fit: Replace
) -> None:
    fitted: list[tuple[str, int]] = []

    def fit(task: training.Task) -> object:
        if len(fitted) == 1:
            fitted.append(("killed", 0))
            raise KilledError
        history = training.fit(task)
        fitted.append((task.setting.name, len(history)))
        return history

    replace_fit(fit)
    with pytest.raises(KilledError):
        experiment.train(THREE, run, resume=True, context=Context(numerics))
    assert not (run / "metrics.json").exists()
    experiment.train(THREE, run, resume=True, context=Context(numerics))
    assert fitted == [("rmsprop", 3), ("killed", 0), ("sgd", 3)]
    assert find_differing_files(runs / "3", run) == []


def test_checkpoints_of_an_extension_that_was_given_up_do_not_disturb_another(
    run: Path, runs: Path, numerics: Numerics, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_at(monkeypatch, 3, after=False)
    with pytest.raises(KilledError):
        experiment.train(replace(TWO, epochs=4), run, resume=True, context=Context(numerics))
    monkeypatch.undo()
    experiment.train(THREE, run, resume=True, context=Context(numerics))
    assert find_differing_files(runs / "3", run) == []


def refusal(config: Config, run: Path, numerics: Numerics) -> str:
    """Return the error message of an attempt to resume a run, after checking that the run's files are unchanged."""
    before = {file: file.read_bytes() for file in run.rglob("*.json")}
    with pytest.raises(ValueError, match=r"\w") as raised:
        experiment.train(config, run, resume=True, context=Context(numerics))
    assert {file: file.read_bytes() for file in run.rglob("*.json")} == before
    return str(raised.value)


def test_a_run_goes_on_only_to_more_epochs_and_only_when_it_is_finished(run: Path, numerics: Numerics) -> None:
    fewer = refusal(replace(TWO, epochs=1), run, numerics)
    assert fewer == f"{run} has 2 epochs already; to continue it, give more with --epochs"
    assert "batch_size 9 (recorded: 8)" in refusal(replace(THREE, batch_size=9), run, numerics)
    (run / "metrics.json").unlink()
    assert refusal(THREE, run, numerics) == f"{run} is not finished: --resume --epochs 2 must finish it first"


def test_a_run_without_its_last_state_does_not_go_on(run: Path, numerics: Numerics) -> None:
    kept, other = (run / "sgd" / "epochs" / f"00000{epoch}.safetensors" for epoch in (2, 1))
    kept.unlink()
    assert refusal(THREE, run, numerics) == (
        f"{kept} is missing, from which sgd continues; train --keep-epochs keeps it"
    )
    shutil.copy(other, kept)
    assert refusal(THREE, run, numerics) == (f"{kept} holds other weights than tensors.json commits to after epoch 2")
    kept.write_bytes(b"")
    assert refusal(THREE, run, numerics).startswith(f"{kept} is not a complete safetensors file")


def test_a_damaged_run_does_not_go_on(run: Path, numerics: Numerics) -> None:
    (run / "sgd" / "best.safetensors").unlink()
    assert "best.safetensors has other bytes than were written" in refusal(THREE, run, numerics)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schedule": "cosine"}, "schedule 'cosine' and warm_up 0.0: the learning rate of every step depended"),
        ({"warm_up": 0.5}, "schedule 'constant' and warm_up 0.5: the learning rate of every step depended"),
        ({"protocol": parse("warm-start")}, "each setting started where the one before ended"),
    ],
    ids=["schedule", "warm-up", "warm start"],
)
def test_a_run_in_which_epochs_depend_on_their_number_is_resumed_as_it_is_and_does_not_go_on(
    changes: dict[str, object], words: str, numerics: Numerics, tmp_path: Path, replace_fit: Replace
) -> None:
    config = replace(TWO, epochs=1, settings=TWO.settings[1:], **changes)  # type: ignore[arg-type]
    run = experiment.train(config, tmp_path / "run", keep_epochs=True, context=Context(numerics)).folder
    replace_fit(lambda _: pytest.fail("a finished setting is trained again"))
    experiment.train(config, run, resume=True, context=Context(numerics))
    assert words in refusal(replace(config, epochs=2), run, numerics)
