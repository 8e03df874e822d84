"""The nox sessions `train` and `report`, called with the same options."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import noxfile
import pytest


@dataclass
class Session:
    """Stand-in for nox's session; its `train` command writes the `--next-command` file."""

    posargs: Sequence[str]
    leaves: Sequence[str] = ()
    started: list[list[str]] = field(default_factory=list)

    def run(self, *words: str, **_limits: object) -> None:
        _, option, program, *arguments = words
        assert (option, program) == ("-m", "in4310repro")
        self.started.append(arguments)
        if self.leaves and arguments[0] == "train":
            file = Path(arguments[arguments.index("--next-command") + 1])
            file.write_text(json.dumps(self.leaves), encoding="utf-8")

    def error(self, message: str) -> None:
        raise RuntimeError(message)


@pytest.fixture(autouse=True)
def _new_call_of_nox() -> None:
    noxfile.report_of.clear()


OPTIONS = ("--data", "photos/mine", "--model", "mynets:small")


def test_the_run_that_train_wrote_is_reported_and_no_option_of_train_is_given_to_report() -> None:
    noxfile.train(Session(OPTIONS, leaves=("report", "runs/mine-2", "--model", "mynets:small")))
    session = Session(OPTIONS)
    noxfile.report(session)
    assert session.started == [["report", "runs/mine-2", "--model", "mynets:small"]]


def test_a_report_after_a_training_that_left_no_run_is_an_error() -> None:
    noxfile.train(Session((*OPTIONS, "--dry-run")))
    with pytest.raises(RuntimeError, match="made no run"):
        noxfile.report(Session(OPTIONS))


def test_a_report_without_a_training_before_it_takes_the_run_that_is_named() -> None:
    session = Session(("runs/mine", "--no-photographs"))
    noxfile.report(session)
    assert session.started == [["report", "runs/mine", "--no-photographs"]]
