"""What `verify --replay` prints as lines and as JSON."""

import json
from pathlib import Path

import pytest

from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.verification import replay as of_run
from tests.conftest import Call
from tests.verification.replay.test_of_run import SMALL, small_run

WORDS = ("verify", "run", "--replay", "0", "--model", SMALL)


def test_a_replay_has_one_verdict_and_a_document_of_its_epochs_with_a_difference_too(
    numerics: Numerics, tmp_path: Path, call: Call
) -> None:
    run = small_run(tmp_path / "run", numerics, slice(1), epochs=2).files
    code, printed, error = call(*WORDS)
    assert (code, printed.count("verified, no difference")) == (0, 1)
    # None was to be drawn, so it is no news that none is left.
    assert "left to be drawn" not in error + printed
    rows = run.read_json("adamw/history.json")
    rows[1]["train_loss"] += 1e-9
    run.write_json("adamw/history.json", rows)
    code, printed, _ = call(*WORDS, "--json")
    document = json.loads(printed)
    assert (code, document["replays"]["adamw"]["replayed"]) == (1, [1, 2])
    assert document["differences"][0].startswith("adamw, epoch 2, trained again: train_loss is ")


def test_a_difference_that_was_found_before_a_replay_failed_is_in_its_document(
    numerics: Numerics, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_run(tmp_path / "run", numerics, slice(2), epochs=1)

    def replay(_run: object, plan: of_run.Plan, _context: Context, _data: str | None) -> of_run.Replay:
        if plan.setting == "rmsprop":
            raise ValueError("an image is gone")
        return of_run.Replay(plan=plan, training_sha256="0" * 64, portable=True, differences=["adamw differs"])

    monkeypatch.setattr(of_run, "replay", replay)
    code, printed, error = call(*WORDS, "--setting", "all", "--json")
    assert (code, json.loads(printed)["differences"]) == (1, ["adamw differs"])
    assert error.endswith("in4310repro: an image is gone\n")
