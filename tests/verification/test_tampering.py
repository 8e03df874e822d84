"""Three ways to falsify a copy of a run are all detected, and the original stays unchanged."""

import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from in4310repro.cli import demo
from in4310repro.cli.demo import Attempt, Check
from in4310repro.data.splits import from_csv
from in4310repro.runs.config import Config
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.presets import PRESETS
from in4310repro.verification import tampering
from tests.conftest import Call, Replace

FOUND = Check("in4310repro verify copy", ["difference: [red]a[/red]", "b", "c"], 1)
MISSED = Check("in4310repro verify copy", [], 0)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {f"{file.relative_to(folder)}": file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_each_change_is_found_and_no_byte_of_the_run_is_another(call: Call, finished_run: Path) -> None:
    before = bytes_of(finished_run)
    code, printed, error = call("demo", "--break", str(finished_run), "--json", "--quiet")
    assert (code, error) == (0, "")
    changes = json.loads(printed)["changes"]
    assert [(each["title"], each["found"]) for each in changes] == [(title, True) for title in tampering.CHANGES]
    commands = [check["command"].split()[1] for each in changes for check in each["checks"]]
    assert commands == ["verify", "verify", "audit", "verify", "data"]
    for each in changes:
        assert {check["exit_code"] for check in each["checks"]} == {1}
    assert bytes_of(finished_run) == before


@pytest.fixture
def replace_attempts(monkeypatch: pytest.MonkeyPatch) -> Replace:
    return functools.partial(monkeypatch.setattr, demo, "_attempts")


def test_a_change_that_is_not_found_ends_with_1(call: Call, own_records: Path, replace_attempts: Replace) -> None:
    replace_attempts(lambda *_arguments: [Attempt("a", "b", [FOUND]), Attempt("c", "d", [MISSED])])
    code, printed, _ = call("demo", "--break", str(own_records))
    assert code == 1
    assert "   exit code 0: NOT FOUND" in printed
    assert f"1 of 2 changes of a copy of {own_records} were found" in printed
    assert "   | difference: [red]a[/red]\n" in printed


def test_on_a_terminal_each_change_is_a_numbered_panel_green_where_it_was_found_and_red_where_not(
    call: Call, finished_run: Path, replace_attempts: Replace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    found = Check("verify", ["[red]1[/red]", "2"], 1)
    replace_attempts(lambda *_: [Attempt("a", "b", [found]), Attempt("c", "d", [MISSED])])
    printed = call("demo", "--break", str(finished_run))[1]
    tops = re.findall(r"^\x1b\[(\d+)m.*?(\d)  ([ac]) ", printed, re.MULTILINE)
    assert tops == [("32", "1", "a"), ("31", "2", "c")]
    assert "... and" not in printed
    assert "[red]1[/red]" in printed


def test_without_a_run_a_tiny_one_is_trained(
    call: Call, finished_run: Path, replace_train: Replace, replace_attempts: Replace
) -> None:
    asked = []

    def train(config: Config, *_arguments: object, **_named: object) -> FinishedRun:
        asked.append(config)
        return FinishedRun.open(finished_run)

    replace_train(train)
    replace_attempts(lambda original, *_: [Attempt(f"{original}", "b", [FOUND])])
    code, printed, _ = call("demo", "--break")
    assert (code, asked) == (0, [PRESETS["tiny"]])
    assert f"1. {finished_run}: b" in printed
    assert "of a copy of a tiny run, trained for this" in printed


def test_the_demo_is_trained_where_it_was_not_and_reported(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []
    monkeypatch.setattr(demo, "train", lambda: called.append("train"))
    monkeypatch.setattr(demo, "report", lambda: called.append("report"))
    code, printed, error = call("demo", "--json")
    assert (code, called) == (0, ["train", "report"])
    assert json.loads(printed) == {"run": "runs/demo", "report": "reports/demo"}
    assert error == "next: in4310repro demo --break\n"
    (tmp_path / "runs/demo").mkdir(parents=True)
    (tmp_path / "runs/demo/metrics.json").touch()
    assert call("demo", "-q") == (0, "", "")
    assert called == ["train", "report", "report"]


def test_of_what_a_check_prints_the_first_lines_are_shown() -> None:
    assert FOUND.shown() == ["difference: [red]a[/red]", "b", "... and 1 more line"]
    sha256 = "0123456789ab" + "c" * 52
    assert Check("", [f"it is {sha256}; {'x' * 300}"], 1).shown() == [f"it is 0123456789ab...; {'x' * 177}..."]
    assert Attempt("A", "b", [MISSED]).report(1).splitlines()[-1] == "   exit code 0: NOT FOUND"


@pytest.mark.parametrize("title", tampering.CHANGES)
def test_a_change_fits_the_manifest_and_is_undone(title: str, finished_run: Path, tmp_path: Path) -> None:
    copy = tampering.copy_run(finished_run, tmp_path / "copy")
    change = tampering.CHANGES[title](copy)
    assert copy.changed_files() == []
    now, before = bytes_of(copy.folder), bytes_of(finished_run)
    assert {name for name in now if now[name] != before[name]} == {*map(str, map(Path, change.files)), "manifest.json"}
    assert len(set(now) ^ set(before)) == 0
    tampering.copy_run(finished_run, copy.folder)
    assert bytes_of(copy.folder) == before


def test_a_copy_of_a_read_only_run_can_be_read_and_written(own_records: Path, tmp_path: Path) -> None:
    (own_records / "metrics.json").chmod(0o400)
    copy = tampering.copy_run(own_records, tmp_path / "copy").folder
    assert (copy / "metrics.json").stat().st_mode & 0o600 == 0o600


def test_one_bit_of_one_weight_is_flipped(finished_run: Path, tmp_path: Path) -> None:
    copy = tampering.copy_run(finished_run, tmp_path / "copy")
    (name,) = tampering.flip_bit(copy).files
    before, now = RunFolder(finished_run).read_tensors(name), copy.read_tensors(name)
    bits = [before[tensor].numpy().tobytes() for tensor in before], [now[tensor].numpy().tobytes() for tensor in before]
    first, second = (np.frombuffer(b"".join(each), np.uint8) for each in bits)
    assert np.unpackbits(first ^ second).sum() == 1


def test_one_image_of_the_test_set_is_in_the_training_set_too(finished_run: Path, tmp_path: Path) -> None:
    copy = tampering.copy_run(finished_run, tmp_path / "copy")
    tampering.leak_image(copy)
    before, now = (from_csv(each / "split.csv", Path()).parts for each in (finished_run, copy.folder))
    (leaked,) = {*now["training"]} - {*before["training"]}
    assert leaked in now["test"]
    assert now["test"] == before["test"]
