"""verify --replay on whole runs: the epochs trained again, the messages about them, and errors."""

import csv
import hashlib
import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import safetensors.numpy
import torch

from benchmarks.soak import find_differing_files, small_network
from in4310repro.data.preprocessing import Preprocessing, to_metadata
from in4310repro.models.sources import open_network
from in4310repro.runs.deviations import parse
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.system.tensors import tensor_bytes
from in4310repro.training import experiment
from in4310repro.training.training import Task, TrainingInputs
from in4310repro.verification.checks import Verification
from in4310repro.verification.replay import (
    EpochRecord,
    Replay,
    difference_lines,
    make_plan,
    plan_replays,
    replay,
    result_lines,
)
from in4310repro.verification.routine import verify
from tests.builders import rechain
from tests.conftest import Call, Replace, refused
from tests.runs.made_up import canonical_sha256

TINY = PRESETS["tiny"]
# SGD alone, two steps an epoch.
CONFIG = replace(TINY, settings=TINY.settings[2:], split="16/12/20", epochs=4)


@pytest.fixture(scope="module")
def kept_run(numerics: Numerics, tmp_path_factory: pytest.TempPathFactory, _cache_of_this_session: None) -> Path:
    """Return a run with kept epochs, which a test must not change."""
    folder = tmp_path_factory.mktemp("kept") / "run"
    return experiment.train(CONFIG, folder, keep_epochs=True, context=Context(numerics)).folder


@pytest.fixture
def own_kept_run(kept_run: Path, tmp_path: Path) -> Path:
    """Return a hard-linked copy of the run with saved epochs: replace its files, never edit them in place."""
    return Path(shutil.copytree(kept_run, tmp_path / "run", copy_function=os.link))


def replay_run(folder: Path, numerics: Numerics, draws: int = 0, data: str | None = None) -> Replay:
    run = FinishedRun.open(folder)
    return replay(run, plan_replays(run, draws, 0, numerics)[0], Context(numerics), data)


@pytest.mark.slow
def test_a_replay_prints_what_was_trained_again_what_it_is_worth_and_what_it_does_not_show(
    kept_run: Path, call: Call
) -> None:
    code, printed, error = call("verify", str(kept_run), "--replay", "1", "--draw", "7")
    run = FinishedRun.open(kept_run)
    others = 4 - len({1, run.metrics["epoch"], 4})
    assert code == 0
    assert "sgd, epoch 4 of 4" in error
    trained = ", ".join(map(str, sorted({1, run.metrics["epoch"], 4})))
    verdict = printed.splitlines()[0]
    assert verdict.startswith(
        f"{kept_run}: verified, no difference, bit for bit; of sgd trained again: epoch {trained[0]}"
    )
    *_, replay_line, hash_line, odds, not_shown = printed.splitlines()
    assert "drawn by --draw 7: " in replay_line
    assert replay_line.endswith("are equal, bit for bit, in portable arithmetic")
    assert hash_line == f"the hash that commits to the training of sgd: {run.training_sha256}"
    assert odds == "every epoch of sgd was trained again" if others == 1 else f"K = 1: m = 1: {100 // others} %" in odds
    for word in ("not drawn", "a seed chosen", "hidden", "poisoned labels", "looked at"):
        assert word in not_shown


SMALL = "benchmarks.soak:small_network"


def small_run(folder: Path, numerics: Numerics, settings: slice, epochs: int = 3, **changes: Any) -> FinishedRun:
    """Train a network that takes no time, with kept epochs."""
    open_network(SMALL).trust()
    config = replace(TINY, model=SMALL, modules=("0",), settings=TINY.settings[settings], epochs=epochs, **changes)
    return experiment.train(config, folder, keep_epochs=True, context=Context(numerics))


def claimed_by(verified: Verification, *words: str) -> list[str]:
    return [claim.what for claim in verified.claimed if any(word in claim.what for word in words)]


def after_replay(verified: Verification, epochs: list[int]) -> Verification:
    return replace(verified, replayed={"sgd": epochs})


OF_TRAINING = (
    "training losses",
    "validation rows",
    "optimizer's settings",
    "began from the weights",
    "pixels of train",
)


@pytest.mark.parametrize("setting", [None, "adamw", "all"])
def test_what_a_replay_trained_again_is_no_claim_any_more(
    setting: str | None, numerics: Numerics, tmp_path: Path, call: Call
) -> None:
    run = small_run(tmp_path / "run", numerics, slice(3))
    again = {*run.histories} if setting == "all" else {setting or run.metrics["setting"]}
    options = ["--setting", setting] if setting else []
    code, printed, _ = call("verify", "run", "--replay", "9", *options, "--json", "--model", SMALL)
    document = json.loads(printed)
    assert (code, document["replays"].keys()) == (0, again)
    assert all(each["replayed"] == [1, 2, 3] for each in document["replays"].values())
    claims = [each["what"] for each in document["claimed"] if any(word in each["what"] for word in OF_TRAINING)]
    assert len(claims) == (0 if setting == "all" else 4)
    for name in run.histories:
        assert all((f"setting {name}" in each) == (name not in again) for each in claims)
        assert (f"the training of setting {name}" in document["proven"]) == (name in again)


def test_epochs_that_were_not_trained_again_stay_claims(numerics: Numerics, tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", numerics, slice(2, 3), epochs=5)
    verified = verify(run.folder, context=Context(numerics))
    assert len(claimed_by(verified, *OF_TRAINING)) == len(OF_TRAINING)
    # The state before epoch 4 is not there.
    kept_epoch = run.folder / "sgd/epochs/000003.safetensors"
    kept_epoch.unlink()
    result = replay(run, plan_replays(run, 5, 0, numerics)[0], Context(numerics))
    assert (result.differences, result.replayed) == ([], [1, 2, 3, 5])
    after = after_replay(verified, result.replayed)
    best = run.metrics["epoch"]
    assert claimed_by(after, *OF_TRAINING) == [
        "training losses and hashes of optimizer states (setting sgd, epoch 4)",
        next(each for each in claimed_by(verified, "optimizer's settings")) + " (setting sgd, epoch 4)",
        *(
            ["validation rows and tensor hashes of epochs other than each setting's best (setting sgd, epoch 4)"]
            * (best != 4)
        ),
    ]
    assert "the training of setting sgd, epoch 1, 2, 3, 5" in after.computed_again
    first = after_replay(verified, [2, 3, 4, 5])
    assert claimed_by(first, "began") == [
        "that each setting began from the weights that the run records (setting sgd, epoch 1)"
    ]
    assert claimed_by(after_replay(verified, [1, 2, 3, 4, 5]), *OF_TRAINING) == []


def test_a_setting_that_there_is_not_and_one_whose_head_was_fitted_are_refused(
    finished_run: Path, numerics: Numerics
) -> None:
    run = FinishedRun.open(finished_run)
    with pytest.raises(
        ValueError, match=r"--setting sdg: .* has no such .*; it must be one of adamw, rmsprop, sgd, all"
    ):
        plan_replays(run, 0, 0, numerics, "sdg")
    fitted = replace(run, config=replace(run.config, train="head"))
    for setting in (None, "sgd", "all"):
        with pytest.raises(ValueError, match=r"was fitted and has no epochs; .* fits it again$"):
            plan_replays(fitted, 0, 0, numerics, setting)
    adamw, *others = run.config.settings
    partly = replace(run, config=replace(run.config, settings=(replace(adamw, train="head"), *others)))
    with pytest.raises(ValueError, match=r"fits it again; --setting rmsprop or sgd has epochs$"):
        plan_replays(partly, 0, 0, numerics, "adamw")


def test_a_seed_that_is_drawn_is_one_of_2_to_the_32(
    finished_run: Path, numerics: Numerics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.randbelow", lambda bound: bound - 1)
    assert plan_replays(FinishedRun.open(finished_run), 0, None, numerics)[0].seed == 2**32 - 1


def test_a_training_step_that_does_not_fit_in_memory_is_refused_before_a_replay(
    finished_run: Path, numerics: Numerics, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = FinishedRun.open(finished_run)
    monkeypatch.setattr("in4310repro.system.machine.memory", lambda: 2**30)
    with pytest.raises(ValueError, match=r"^batch_size 1048576 at image_size 32 takes"):
        plan_replays(replace(run, config=replace(run.config, batch_size=2**20)), 0, 0, numerics)[0]


def test_the_hash_of_a_training_follows_from_the_files_by_the_formula_of_the_docs(kept_run: Path) -> None:
    folder = kept_run / "sgd"

    def of_arrays(arrays: dict[str, Any]) -> str:
        digest = hashlib.sha256()
        for name in sorted(arrays):
            array = arrays[name]
            digest.update(f"{name} torch.{array.dtype} {str(array.shape).replace(' ', ' ')}\n".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    fingerprint = json.loads((kept_run / "fingerprint.json").read_text())
    recorded = json.loads((kept_run / "config.json").read_text())
    names = ("model", "image_size", "batch_size", "epochs", "seed", "augmentation", "schedule", "warm_up")
    previous = canonical_sha256(
        {
            "config": {name: recorded[name] for name in names} | {"seed": str(recorded["seed"])},
            "initial_weights_sha256": fingerprint["initial_weights_sha256"],
            "numeric_class": fingerprint["numeric_class"],
            "setting": {
                name: recorded["settings"][0][name]
                for name in ("optimizer", "learning_rate", "weight_decay", "momentum")
            },
            "split_sha256": hashlib.sha256((kept_run / "split.csv").read_bytes()).hexdigest(),
            "training_images": "training",
        }
    )
    for epoch in range(1, 5):
        arrays = safetensors.numpy.load_file(folder / f"epochs/{epoch:06d}.safetensors")
        weights = {name[6:]: array for name, array in arrays.items() if name.startswith("model.")}
        state = {name[10:]: array for name, array in arrays.items() if name.startswith("optimizer.")}
        entry = {
            "epoch": epoch,
            "previous": previous,
            "weights_sha256": of_arrays(weights),
            "optimizer_sha256": of_arrays(state),
            "tensors": {name: of_arrays({name: array})[:12] for name, array in weights.items()},
        }
        previous = canonical_sha256(entry)
    assert previous == FinishedRun.open(kept_run).training_sha256


@pytest.mark.slow
def test_kept_epochs_change_no_other_file_and_stand_in_no_manifest(
    kept_run: Path, numerics: Numerics, tmp_path: Path
) -> None:
    experiment.train(CONFIG, tmp_path / "plain", context=Context(numerics))
    kept = [f"sgd/epochs/{epoch:06d}.safetensors is in one run only" for epoch in range(1, 5)]
    assert find_differing_files(kept_run, tmp_path / "plain") == kept
    assert not [name for name in RunFolder.open(kept_run).manifest() if "epochs" in name]


def test_a_resumed_run_goes_on_keeping_its_epochs_and_one_that_kept_none_does_not(
    own_kept_run: Path, numerics: Numerics, replace_fit: Replace
) -> None:
    (own_kept_run / "sgd/history.json").unlink()
    kept = []

    def seen(task: Task) -> None:
        kept.append(task.keep_epochs)
        raise RuntimeError("seen enough")

    replace_fit(seen)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="seen enough"):
            experiment.train(CONFIG, own_kept_run, resume=True, context=Context(numerics))
        shutil.rmtree(own_kept_run / "sgd/epochs", ignore_errors=True)
    assert kept == [True, False]


def test_what_is_not_kept_is_said_and_too_many_draws_are_said_before_anything_is_computed(
    own_kept_run: Path, call: Call
) -> None:
    for epoch in (1, 2, 3):
        (own_kept_run / f"sgd/epochs/{epoch:06d}.safetensors").unlink()
    # What is computed first needs the images.
    words = ("verify", str(own_kept_run), "--data", "nowhere", "--replay")
    code, printed, error = call(*words, "0")
    assert (code, printed) == (2, f"{own_kept_run}: neither verified nor refuted; the error says what is missing\n")
    said, _, after = error.partition("4; train --keep-epochs keeps them; only the others are trained again")
    assert "sgd/epochs has no state before epoch " in said
    assert after.splitlines()[-1].startswith("in4310repro: training image ")
    assert "again: " not in said.partition("sgd/epochs has")[0]
    _, _, error = call(*words, "99")
    assert "--replay 99: setting sgd has " in error


def test_a_run_that_cannot_be_read_is_a_difference_with_a_replay_too(own_kept_run: Path, call: Call) -> None:
    (own_kept_run / "scores.npz").unlink()
    code, printed, _ = call("verify", str(own_kept_run), "--replay", "0")
    assert code == 1
    assert "scores.npz is missing" in printed


def test_what_an_epoch_starts_from_may_be_missing_and_what_is_there_is_trained_again(
    own_kept_run: Path, numerics: Numerics
) -> None:
    shutil.rmtree(own_kept_run / "sgd/epochs")
    result = replay_run(own_kept_run, numerics)
    assert (result.replayed, result.differences) == ([1], [])
    assert "sgd/epochs has no state before it; train --keep-epochs keeps them" in result.missing[4]
    # Nothing was found by a draw that was not made.
    assert "at least one is found" not in "".join(result_lines(result))


def test_a_difference_counts_more_than_what_is_missing(numerics: Numerics, tmp_path: Path, call: Call) -> None:
    model, weights = "benchmarks.soak:small_network", tmp_path / "mine.safetensors"
    open_network(model).trust()
    weights.write_bytes(tensor_bytes(small_network(6).state_dict(), to_metadata(Preprocessing(size=CONFIG.image_size))))
    config = replace(CONFIG, model=model, modules=("0",), weights=str(weights))
    run = experiment.train(config, tmp_path / "run", keep_epochs=True, context=Context(numerics)).files
    weights.unlink()
    rows = run.read_json("sgd/history.json")
    rows[3]["train_loss"] += 1e-9
    run.write_json("sgd/history.json", rows)
    code, printed, error = call("verify", "run", "--replay", "0", "--model", model)
    assert code == 1
    assert printed.startswith("run: not verified, 1 difference\n")
    assert "difference: sgd, epoch 4, trained again: train_loss is " in printed
    assert "this training is not the one that the run records" in printed
    assert f"sgd, epoch 1: not trained again, since weights is '{weights}'" in error


def test_a_kept_epoch_that_is_damaged_is_a_difference_where_it_is_used(own_kept_run: Path, numerics: Numerics) -> None:
    for epoch in (1, 2):
        (own_kept_run / f"sgd/epochs/{epoch:06d}.safetensors").unlink()
    before_last = own_kept_run / "sgd/epochs/000003.safetensors"
    content = before_last.read_bytes()
    before_last.unlink()
    before_last.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    (difference,) = replay_run(own_kept_run, numerics).differences
    assert difference.startswith("sgd, epoch 4: it cannot be trained again: ")
    assert "000003.safetensors holds other optimizer state" in difference or "holds other weights" in difference
    assert "after epoch 3" in difference


def test_the_trace_of_an_epoch_is_gone_before_the_next_epoch(
    own_kept_run: Path, numerics: Numerics, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces: list[Path] = []

    def train(_inputs: TrainingInputs, recorded: EpochRecord, *more: Any) -> EpochRecord:
        *_, trace, _traced = more
        assert not any(each.exists() for each in traces)
        trace.write_bytes(b"")
        traces.append(trace)
        return recorded

    monkeypatch.setattr("in4310repro.verification.replay.train_again", train)
    assert replay_run(own_kept_run, numerics, draws=1).differences == []
    assert len(traces) > 1
    assert not traces[-1].exists()


def test_a_learning_rate_that_was_changed_everywhere_is_found(own_kept_run: Path, numerics: Numerics) -> None:
    run = RunFolder.open(own_kept_run)
    config = run.read_json("config.json")
    config["settings"][0]["learning_rate"] *= 2
    run.write_json("config.json", config)
    with pytest.raises(ValueError, match=r"sgd/tensors.json: epoch 1: the chain is broken"):
        FinishedRun.open(own_kept_run)
    rechain(own_kept_run)
    shutil.rmtree(own_kept_run / "sgd/epochs")
    difference = replay_run(own_kept_run, numerics).differences[0]
    assert difference.startswith("sgd, epoch 1, trained again: ")
    assert difference.endswith(" of 122 tensors differ, the first is conv1.weight")


def test_initial_weights_that_are_not_those_of_the_seed_are_found(
    own_kept_run: Path, numerics: Numerics, tmp_path: Path, copied_scenes: Callable[[Path], Path]
) -> None:
    run = RunFolder.open(own_kept_run)
    run.write_json("config.json", run.read_json("config.json") | {"seed": 1})
    rechain(own_kept_run)
    shutil.rmtree(own_kept_run / "sgd/epochs")
    result = replay_run(own_kept_run, numerics, data=str(copied_scenes(tmp_path / "scenes")))
    recorded = run.read_json("fingerprint.json")["initial_weights_sha256"]
    assert re.search(f"epoch 1: .*the initial weights .*{recorded}", result.differences[0])


def test_a_training_image_that_is_not_there_is_wrong_input(
    kept_run: Path, tmp_path: Path, copied_scenes: Callable[[Path], Path], call: Call
) -> None:
    root = copied_scenes(tmp_path / "scenes")
    with (kept_run / "split.csv").open() as lines:
        path = next(row["path"] for row in csv.DictReader(lines) if row["part"] == "training")
    (root / path).unlink()
    code, _, error = call("verify", str(kept_run), "--data", str(root), "--replay", "0")
    assert code == 2
    assert f"training image {path} is not below {root}" in error


@pytest.mark.parametrize("mode", ["portable", "native"])
def test_other_arithmetic_than_the_run_s_is_refused_with_both_classes(
    mode: str, own_kept_run: Path, numerics: Numerics
) -> None:
    run = FinishedRun.open(own_kept_run)
    run.fingerprint["numerics"] = mode
    elsewhere = replace(numerics, numeric_class="elsewhere")
    words = f"was trained in {mode} arithmetic of numeric class {numerics.numeric_class}, and this process .* elsewhere"
    with pytest.raises(ValueError, match=words):
        plan_replays(run, 0, 0, elsewhere)[0]


def test_a_difference_in_native_arithmetic_is_no_proof_and_said_so() -> None:
    result = Replay(plan=make_plan("sgd", 4, 2, 1, 7), training_sha256="0" * 64, portable=True)
    (difference,) = difference_lines(result)[:1]
    assert "this training is not the one that the run records" in difference
    assert "(drawn by --draw 7: 3)" in difference
    assert "a reason to look, not a proof" in difference_lines(replace(result, portable=False))[0]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--draw", "3"), ("--draw 3", "--replay is not given")),
        (("--setting", "all"), ("--setting all", "--replay is not given")),
        (("--replay", "-1"), ("--replay", "-1")),
        (("--replay", "1", "--draw", "-1"), ("--draw", "-1")),
        (("--replay", "x"), ("--replay", "valid integer")),
    ],
    ids=" ".join,
)
def test_numbers_that_cannot_be_are_refused(
    words: tuple[str, ...], parts: tuple[str, ...], kept_run: Path, call: Call
) -> None:
    refused(call, ("verify", str(kept_run), *words), *parts)


def test_kept_epochs_that_the_disk_lacks_are_refused_before_anything_is_trained(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=2**20))
    words = ("train", "--preset", "tiny", "--keep-epochs", "--out", "new")
    code, _, error = call(*words)
    assert code == 2
    sizes = "134 MB an epoch with adamw, 89.5 MB an epoch with rmsprop, 89.5 MB an epoch with sgd"
    assert f"kept epochs take {sizes}, in all 626 MB below new, where 1.05 MB are free" in error
    assert not (tmp_path / "new").exists()


class Pressed(torch.nn.Module):
    """Network that raises SIGINT (Ctrl-C) during training if the environment variable PRESSED is set."""

    steps: ClassVar[list[int]] = []  # images of each

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.inner = small_network(num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training and os.environ.get("PRESSED"):
            self.steps.append(len(images))
            signal.raise_signal(signal.SIGINT)
        scores: torch.Tensor = self.inner(images)
        return scores


def test_ctrl_c_ends_a_replay_after_its_step(
    numerics: Numerics, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = f"{__name__}:Pressed"
    open_network(model).trust()
    config = replace(CONFIG, model=model, modules=("inner.0",))
    experiment.train(config, tmp_path / "run", keep_epochs=True, context=Context(numerics))
    monkeypatch.setenv("PRESSED", "1")
    code, printed, error = call("verify", "run", "--replay", "0", "--model", model)
    assert code == 130
    assert Pressed.steps == [8]
    assert "replayed" not in printed
    assert error.splitlines()[-1] == "in4310repro: interrupted"


def test_a_warm_start_is_replayed_from_the_setting_before_and_said(numerics: Numerics, tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", numerics, slice(1, 3), epochs=2, protocol=parse("warm-start"))
    for setting in run.config.settings:
        run.metrics["setting"], run.metrics["epoch"] = setting.name, 2
        result = replay(run, plan_replays(run, 0, 0, numerics)[0], Context(numerics))
        assert result.differences == []
        assert result.replayed == [1, 2]
        assert result.first_epoch_from == (None if setting.name == "rmsprop" else "rmsprop")
