"""The nox sessions `train` and `report`, called with the same options."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import noxfile
import pytest


@dataclass
class Session:
    """Stand-in for nox's session, in which `train` prints a line or a document, or fails."""

    posargs: Sequence[str]
    printed: Any = None
    started: list[list[str]] = field(default_factory=list)

    def run(self, *words: str, **_limits: object) -> str:
        _, option, program, *arguments = words
        assert (option, program) == ("-m", "in4310repro")
        self.started.append(arguments)
        if arguments[0] != "train":
            return ""
        if self.printed is None:
            raise ValueError("it fails")
        if {"--json", "--dry-run"}.isdisjoint(arguments):
            return f"wrote {self.printed['run']}: sgd, epoch 2; on test images accuracy 0.5\nmore: of it; on\n"
        return json.dumps(self.printed)

    def error(self, message: str) -> None:
        raise RuntimeError(message)


@pytest.fixture(autouse=True)
def _new_call_of_nox() -> None:
    noxfile.trained.clear()


OPTIONS = ("--data", "photos/mine", "--model", "mynets:small")


@pytest.mark.parametrize(("model", "option"), [("mynets:small", ["--model", "mynets:small"]), ("resnet18", [])])
def test_the_run_that_train_wrote_is_reported_and_no_option_of_train_is_given_to_report(
    model: str, option: list[str], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model": model}), encoding="utf-8")
    for given in ("--quiet", "--json", "--no-photographs"):
        noxfile.train(Session((*OPTIONS, given), {"run": f"{tmp_path}", "training_sha256": "0" * 64}))
        session = Session((*OPTIONS, given))
        noxfile.report(session)
        kept = [given] if given in ("--quiet", "--json") else []
        assert session.started == [["report", f"{tmp_path}", *option, *kept]]


def test_a_report_after_a_training_that_failed_or_left_no_run_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model": "resnet18"}', encoding="utf-8")
    earlier = {"run": f"{tmp_path}", "training_sha256": "0" * 64}
    for printed in (None, {"run": f"{tmp_path}", "dry_run": []}):
        noxfile.train(Session(OPTIONS, earlier))
        with contextlib.nullcontext() if printed else pytest.raises(ValueError, match="it fails"):
            noxfile.train(Session((*OPTIONS, "--dry-run"), printed))
        session = Session(OPTIONS)
        with pytest.raises(RuntimeError, match="the session train made no run to report"):
            noxfile.report(session)
        assert session.started == []


def test_a_report_without_a_training_before_it_takes_the_run_that_is_named() -> None:
    session = Session(("runs/mine", "--no-photographs"))
    noxfile.report(session)
    assert session.started == [["report", "runs/mine", "--no-photographs"]]
