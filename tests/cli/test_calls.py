"""What commands print and how they end, where a stand-in computes nothing."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from in4310repro.report import published_page
from in4310repro.runs.finished import FinishedRun
from in4310repro.system import machine, processes, progress
from in4310repro.system.files import write_file
from in4310repro.trace import causes
from in4310repro.training import ablation
from tests.conftest import Call, Replace, refused


@pytest.mark.parametrize("chosen", [(), ("warm-start", "shared-split")])
def test_an_ablation_prints_its_page_and_its_files_and_says_what_an_interrupt_leaves(
    chosen: tuple[str, ...], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ablate(_config: object, _context: object, runs: Path, out: Path, *, protocols: tuple[str, ...]) -> list[Path]:
        assert protocols == (chosen or ablation.EACH_THEN_ALL)
        if (runs / "corrected/config.json").exists():
            raise KeyboardInterrupt
        write_file(runs / "corrected/config.json", b"{}")
        return [write_file(out / name, text) for name, text in (("ablation.json", b"{}"), ("ablation.md", b"| page |"))]

    monkeypatch.setattr(ablation, "ablation", ablate)
    words = ("ablation", "--preset", "tiny", *(("--deviations", ",".join(chosen)) if chosen else ()))
    wrote = [f"wrote reports/ablation/ablation.{kind}" for kind in ("json", "md")]
    code, printed, _ = call(*words)
    assert (code, printed.splitlines()) == (0, ["| page |", *wrote])
    code, _, error = call(*words)
    kept = "in4310repro: interrupted; runs/ablation is kept, and the same command continues"
    assert (code, error.splitlines()[-1]) == (130, kept)


def test_a_page_is_of_runs_from_scratch_unless_imagenet_is_named(
    own_records: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    for function in ("write", "write_evidence"):
        monkeypatch.setattr(published_page, function, lambda *_given, name=function: [Path(name)])
    words = ("published", str(own_records), str(own_records))
    assert call(*words)[:2] == (0, "wrote write\n")
    assert call(*words, "--from-imagenet")[:2] == (0, "wrote write_evidence\n")


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
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = list[tuple[str, list[str], list[str]]]()

    def explain(function: str, *, arguments: list[str], libraries: list[str], shown: Any, **_named: object) -> Any:
        given.append((function, arguments, libraries))
        shown("again")
        return SimpleNamespace(findings=(), lines=lambda: ["cause: none found"], to_json=dict)

    monkeypatch.setattr(causes, "explain", explain)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0)
    for training in ("train:make", "."):
        code, printed, error = call("explain", training)
        assert (code, printed, f"running {training}, 1: again" in error) == (0, "cause: none found\n", True)
    module = "in4310repro.verification.replay.first_steps"
    assert given == [("train:make", [], []), (f"{module}:first_steps", [str(tmp_path)], [module])]


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
