"""What commands print and how they end, where a stand-in computes nothing."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from in4310repro.runs.finished import FinishedRun
from in4310repro.system import machine, processes, progress
from in4310repro.trace import causes
from tests.conftest import Call, Replace, refused


def test_of_several_processes_the_first_alone_writes_a_report(
    own_records: Path, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(processes, "join", lambda _device: nullcontext(SimpleNamespace(leads=False)))
    opened = nullcontext(FinishedRun.open(own_records))
    monkeypatch.setattr("in4310repro.runs.finished.open_run", lambda *_given: opened)
    monkeypatch.setattr("in4310repro.evaluation.feature_maps.of_run.write_features", lambda *_given, **_named: None)
    assert call("report", str(own_records))[:2] == (0, "")
    assert not (tmp_path / "reports").exists()


def test_a_training_without_a_mistake_ends_with_0_and_each_of_its_runs_is_shown(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = list[tuple[list[str], list[str]]]()

    def explain(command: list[str], *, libraries: list[str], shown: Any, **_named: object) -> Any:
        given.append((command, libraries))
        shown("again")
        return SimpleNamespace(findings=(), lines=lambda: ["cause: none found"], to_json=dict)

    monkeypatch.setattr(causes, "explain", explain)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0)
    for words in (["-m", "train", "--lr", "0.1"], ["."]):
        code, printed, error = call("explain", "--", *words)
        assert (code, printed, f"running {' '.join(words)}, 1: again" in error) == (0, "cause: none found\n", True)
    module = "in4310repro.verification.first_steps"
    assert given == [(["-m", "train", "--lr", "0.1"], []), (["-m", module, "."], [module])]


def test_a_training_keeps_epochs_when_told_to_and_prints_which_was_chosen_and_how_to_get_missing_weights(
    call: Call, finished_run: Path, replace_train: Replace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, kept = FinishedRun.open(finished_run), list[object]()

    def train(*_given: object, **named: object) -> FinishedRun:
        kept.append(named.get("keep_epochs"))
        return run

    replace_train(train)
    monkeypatch.setattr("in4310repro.runs.finished.advise", lambda _run: "try --preset photographs-head")
    chosen = f"{run.metrics['setting']}, epoch {run.metrics['epoch']}; on test images "
    for words, installed in (((), False), (("--keep-epochs",), True)):
        monkeypatch.setattr(machine, "has_weights", lambda there=installed: there)
        printed = call("train", "--preset", "tiny", *words)[1]
        assert printed.startswith(f"wrote {finished_run}: {chosen}")
        assert ("\nits weights are a package: " in printed) != installed
    assert kept == [False, True]


def test_class_folders_without_a_folder_of_images_are_refused(own_records: Path, call: Call) -> None:
    refused(call, ("evaluate", f"{own_records}", "--class-folders", "innermost"), "--class-folders goes with --data")
