"""The first tensor in which two runs differ, or a run and its replay, by the traces in their folders."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.training import experiment
from in4310repro.verification.compare import (
    compare_traces,
    describe_first_tensor,
    describe_replay,
    traced_steps,
)
from in4310repro.verification.replay import plan_replays, replay
from tests.builders import rechain
from tests.conftest import Call
from tests.trace.recording import batches, record

TINY = PRESETS["tiny"]
# SGD alone, two steps of 8 images.
CONFIG = replace(TINY, settings=TINY.settings[2:], split="16/12/20", epochs=1)
TRACE = "logs/sgd.trace"
WEIGHTS = "sgd/best.safetensors"


@pytest.fixture(scope="module")
def runs(numerics: Numerics, tmp_path_factory: pytest.TempPathFactory, _cache_of_this_session: None) -> Path:
    """Return a folder of three runs: `traced`, `plain` without a trace, and `faster` with twice the learning rate."""
    place = tmp_path_factory.mktemp("runs")
    (sgd,) = CONFIG.settings
    faster = replace(CONFIG, settings=(replace(sgd, learning_rate=2 * sgd.learning_rate),))
    for name, config, steps in (("traced", CONFIG, 2), ("plain", CONFIG, 0), ("faster", faster, 2)):
        experiment.train(config, place / name, trace=range(steps), context=Context(numerics))
    return place


@pytest.fixture
def forged(runs: Path, tmp_path: Path) -> Path:
    """Return a copy of the traced run that says that its learning rate was another."""
    run = RunFolder.open(Path(shutil.copytree(runs / "traced", tmp_path / "forged")))
    config = run.read_json("config.json")
    config["settings"][0]["learning_rate"] *= 2
    run.write_json("config.json", config)
    rechain(run.folder)
    return run.folder


def compared(call: Call, first: Path, second: Path) -> list[str]:
    """Return the lines of `compare` on two runs that differ."""
    code, printed, _ = call("compare", str(first), str(second))
    assert code == 1
    return printed.splitlines()


def test_weights_and_scores_are_those_of_a_training_without_a_trace(runs: Path, call: Call) -> None:
    for name in (WEIGHTS, "scores.npz", "metrics.json"):
        assert (runs / "traced" / name).read_bytes() == (runs / "plain" / name).read_bytes()
    assert call("compare", str(runs / "traced"), str(runs / "plain"))[0] == 0


def test_compare_names_the_first_tensor_after_the_epoch(runs: Path, call: Call) -> None:
    *before, last = compared(call, runs / "traced", runs / "faster")
    assert before[0].startswith("setting sgd differs from epoch 1 on")
    assert last.startswith("setting sgd, by traces: First difference: step 0, after the update:")
    assert "lr 0.01 and 0.02" in last
    assert f"`in4310repro diff {runs}/traced/{TRACE} {runs}/faster/{TRACE}`" in last


def test_compare_says_how_to_record_what_it_lacks(runs: Path, call: Call) -> None:
    *_, last = compared(call, runs / "plain", runs / "faster")
    assert f"there is no trace in {runs}/plain; train --trace 0:2 records the steps of epoch 1" in last


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("damaged", "they cannot be compared: "),
        ("empty", "they cannot be compared: "),
        ("of another model", "Not compared: the modules of the heads differ: "),
    ],
)
def test_a_bad_trace_takes_nothing_from_a_comparison(
    kind: str, sentence: str, runs: Path, tmp_path: Path, call: Call
) -> None:
    run = Path(shutil.copytree(runs / "traced", tmp_path / "run"))
    if kind == "damaged":
        lines = (run / TRACE).read_bytes().splitlines(keepends=True)
        (run / TRACE).write_bytes(b"".join([*lines[:2], b"{]\n", *lines[3:]]))
    elif kind == "empty":
        (run / TRACE).write_bytes(b"")
    else:
        record(run / TRACE)
    *before, last = compared(call, run, runs / "faster")
    assert last.startswith("setting sgd, by traces: ")
    assert sentence in last
    assert f"{run}/{TRACE}" in last
    assert before == compared(call, runs / "traced", runs / "faster")[:-1]


def test_verify_names_the_first_tensor_of_a_replay_that_differs(forged: Path, call: Call) -> None:
    code, printed, _ = call("verify", str(forged), "--replay", "0", "--draw", "1")
    *_, sentence, worth = printed.splitlines()
    assert code == 1
    assert "difference: sgd, epoch 1, trained again: " in printed
    assert worth.startswith("portable arithmetic has a fixed order")
    assert sentence.startswith("sgd, epoch 1, by its trace: First difference: step 0, after the update")
    assert "122 of the backward pass" in sentence
    assert "lr 0.01 and 0.02" in sentence


def test_a_replay_beside_a_damaged_trace_says_so_and_what_it_finds(forged: Path, numerics: Numerics) -> None:
    (forged / TRACE).write_text("no trace\n")
    run = FinishedRun.open(forged)
    result = replay(run, plan_replays(run, 0, 1, numerics)[0], Context(numerics))
    assert result.differences[0].startswith("sgd, epoch 1, trained again: ")
    (sentence,) = result.first_tensors
    assert sentence.startswith(f"sgd, epoch 1, by its trace: it cannot be compared: {forged}/{TRACE}, line 1: ")


def test_of_several_traces_those_with_the_earliest_difference_are_compared(tmp_path: Path) -> None:
    same = record(tmp_path / "same.trace")
    late = record(tmp_path / "late.trace", read=[*batches()[:2], *batches(2, seed=1)])
    early = record(tmp_path / "early.trace", learning_rate=0.02)
    comparison = compare_traces([same], [same, late, early])
    assert comparison
    assert comparison.places == (same.place, early.place)


def test_equal_traces_are_said_to_be_equal_until_after_their_last_step(own_records: Path) -> None:
    (own_records / "logs").mkdir(exist_ok=True)
    record(own_records / TRACE)
    run = FinishedRun.open(own_records)
    other = replace(run, histories={**run.histories, "sgd": [{**row, "val_loss": 9.0} for row in run.histories["sgd"]]})
    (sentence,) = describe_first_tensor(run, other)
    assert sentence.startswith("setting sgd, by traces: both runs are equal until after step 3; train --trace 0:3 ")
    again = describe_replay(run, "sgd", own_records / TRACE)
    assert again == "the training and its replay are equal until after step 3."
    assert describe_replay(run, "sgd", own_records / "none.trace") == ""
    assert traced_steps(run, "sgd", 1) == {0, 1, 2}
    (own_records / TRACE).write_text("no trace\n")
    assert traced_steps(run, "sgd", 1) == set()
