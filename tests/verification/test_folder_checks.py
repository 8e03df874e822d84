"""Checks of a run folder against its manifest, and the list of files that no check compares."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from in4310repro.runs import names
from in4310repro.runs.config import to_json
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.presets import PRESETS
from in4310repro.system.files import json_bytes
from in4310repro.verification.folder_checks import (
    altered_files,
    changed_essentials,
    changed_files,
    describe,
    other_manifest,
    recorded_files,
    unchecked_in,
    wrong_in_manifest,
)


@pytest.fixture
def small(tmp_path: Path) -> RunFolder:
    """Return a run folder of two files and their manifest."""
    files = RunFolder.create(tmp_path / "run")
    files.write_json("config.json", to_json(PRESETS["tiny"]))
    files.write_json("metrics.json", {"loss": 0.5})
    return files


def test_a_manifest_as_a_run_writes_it_is_no_difference(small: RunFolder) -> None:
    assert changed_files(small) == []


def test_every_flipped_bit_of_a_manifest_is_a_difference_and_none_makes_the_folder_no_run(small: RunFolder) -> None:
    file = small.folder / names.MANIFEST
    data = file.read_bytes()
    survivors = []
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(bytes(flipped))
        if not (changed_essentials(recorded_files(small.folder)) or changed_files(small)):
            survivors.append(bit)
    assert survivors == []


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "\n",
        lambda text: text.removesuffix("\n"),
        lambda text: json.dumps(json.loads(text)),
        lambda text: json.dumps(dict(reversed(json.loads(text).items())), indent=1) + "\n",
        lambda text: text.replace("{", '{\n "config.json": "' + "0" * 64 + '",', 1),
    ],
    ids=["newline added", "newline gone", "one line", "other order", "a name twice"],
)
def test_a_manifest_with_the_same_lines_in_another_text_is_a_difference(small: RunFolder, change) -> None:  # type: ignore[no-untyped-def]
    file = small.folder / names.MANIFEST
    assert small.manifest() == json.loads(change(file.read_text()))
    file.write_text(change(file.read_text()))
    (sentence,) = changed_files(small)
    assert sentence == f"{file} has other bytes than a run writes for these lines"


@pytest.mark.parametrize("name", ["features.json", "sgd/tensors.json", "metrics.json", "nadam/history.json"])
def test_a_file_of_a_run_without_its_line_is_a_difference(small: RunFolder, name: str) -> None:
    small.write_json(name, {})
    manifest = {key: value for key, value in small.manifest().items() if key != name}
    (small.folder / names.MANIFEST).write_bytes(json.dumps(manifest, indent=1).encode() + b"\n")
    assert changed_files(small) == []
    assert altered_files(small) == [f"{small.folder} has no manifest entry for {name}"]


def test_a_manifest_is_read_as_often_whatever_the_number_of_files(
    small: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reads() -> int:
        monkeypatch.setattr(RunFolder, "manifest", counted := Mock(wraps=small.manifest))
        assert altered_files(small) == []
        return counted.call_count

    before = reads()
    monkeypatch.undo()
    for number in range(9):
        small.write_json(f"setting-{number}/history.json", [])
    assert reads() == before


@pytest.mark.parametrize("name", ["config.json", "fingerprint.json", "scores.npz", "sgd/best.safetensors"])
def test_what_is_left_of_a_finished_run_is_a_run(name: str, own_records: Path) -> None:
    (own_records / name).unlink(missing_ok=True)
    manifest = {key: value for key, value in RunFolder(own_records).manifest().items() if key != name}
    (own_records / names.MANIFEST).write_bytes(json.dumps(manifest, indent=1).encode() + b"\n")
    assert recorded_files(own_records).folder == own_records


def test_a_deleted_configuration_is_a_difference_whether_its_line_is_deleted_too_or_not(small: RunFolder) -> None:
    (small.folder / "config.json").unlink()
    file = small.folder / names.MANIFEST
    expected = f"{small.folder / 'config.json'} is missing or has other bytes than were written"
    assert changed_essentials(recorded_files(small.folder)) == [expected]
    lines = {"metrics.json": small.manifest()["metrics.json"]}
    file.write_text(json.dumps(lines, indent=1) + "\n")
    assert f"{small.folder / 'config.json'} is not there" in changed_essentials(recorded_files(small.folder))
    file.unlink()
    assert changed_essentials(recorded_files(small.folder))


def test_an_unfinished_run_and_a_folder_of_another_program_are_none_to_verify(small: RunFolder, tmp_path: Path) -> None:
    (small.folder / "metrics.json").unlink()
    lines = {"config.json": small.manifest()["config.json"]}
    (small.folder / names.MANIFEST).write_text(json.dumps(lines, indent=1) + "\n")
    with pytest.raises(ValueError, match=r"holds no finished run: it has no metrics\.json"):
        recorded_files(small.folder)
    (tmp_path / "page").mkdir()
    (tmp_path / "page/manifest.json").write_text('{"name": "My page", "icons": []}')
    with pytest.raises(ValueError, match="is not a run folder"):
        recorded_files(tmp_path / "page")


def test_a_setting_that_the_configuration_dropped_leaves_files_that_are_of_no_run(own_records: Path) -> None:
    files = RunFolder.open(own_records)
    config = files.read_json("config.json")
    dropped = next(s["name"] for s in config["settings"] if s["name"] != files.read_json("metrics.json")["setting"])
    files.write_json("config.json", config | {"settings": [s for s in config["settings"] if s["name"] != dropped]})
    sentence = f"{own_records / 'manifest.json'} lists {dropped}/history.json, which is not a file of this run"
    assert sentence in wrong_in_manifest(FinishedRun.open(own_records))
    lines = {name: sha256 for name, sha256 in files.manifest().items() if not name.startswith(f"{dropped}/")}
    (own_records / names.MANIFEST).write_text(json.dumps(lines, indent=1) + "\n")
    assert f"{own_records} has no manifest entry for {dropped}/history.json" in altered_files(files)


def test_the_hash_of_a_run_ignores_its_feature_maps_alone(small: RunFolder) -> None:
    before = small.manifest_sha256()
    small.write_json("features.json", {"sets": []})
    assert other_manifest(small, before) == []
    small.write_json("metrics.json", {"loss": 0.25})
    (sentence,) = other_manifest(small, before)
    assert sentence.endswith(f"has the sha256 {small.manifest_sha256()} instead of {before}")
    assert other_manifest(small, None) == []


@pytest.mark.parametrize("sha256", ["", "abc", "F" * 64, "0" * 65])
def test_a_hash_that_is_none_is_refused(sha256: str, small: RunFolder) -> None:
    with pytest.raises(ValueError, match="it must be 64 hex digits in lower case"):
        other_manifest(small, sha256)


CHECKED = {"config.json", "adamw/history.json"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in CHECKED:
        add(tmp_path / "run", name)
    return tmp_path / "run"


def add(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("0.99")


def kinds(folder: Path) -> dict[str, str]:
    return {each["path"]: each["kind"] for each in unchecked_in(folder, CHECKED, {"adamw": 2})}


def test_of_a_folder_that_is_checked_whole_nothing_is_said(folder: Path) -> None:
    assert unchecked_in(folder, CHECKED) == []
    assert describe([]) == ""


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("status.json", "status of the training"),
        ("logs/adamw/steps.csv", "log"),
        ("logs/adamw/other.csv", "unknown file"),
        ("logs/adamw.trace", "log"),
        ("logs/adamw.12.trace", "log"),
        ("logs/adamw.012.trace", "unknown file"),
        ("logs/best.trace", "unknown file"),
        ("logs/adamw/steps.trace", "unknown file"),
        ("logs/best/steps.csv", "unknown file"),
        ("adamw/checkpoint/000001-00000003-0123456789abcdef.safetensors", "checkpoint"),
        ("adamw/checkpoint/000002-00000000-0123456789abcdef.safetensors", "checkpoint"),
        ("adamw/checkpoint/000003-00000000-0123456789abcdef.safetensors", "unknown file"),
        ("adamw/checkpoint/0000001-00000000-0123456789abcdef.safetensors", "unknown file"),
        ("adamw/checkpoint/000001-00000003-0123456789ABCDEF.safetensors", "unknown file"),
        ("adamw/checkpoint/000001-00000003-0123456789abcdef.safetensors.bak", "unknown file"),
        ("adamw/checkpoint/deep/000001-00000003-0123456789abcdef.safetensors", "unknown file"),
        ("adamw/checkpoint/0000.safetensors", "unknown file"),
        ("adamw/checkpoint/index.html", "unknown file"),
        ("adamw/checkpoint", "unknown file"),
        ("adamw/epochs/000001.safetensors", "kept epoch"),
        ("adamw/epochs/000002.safetensors", "kept epoch"),
        ("adamw/epochs/000000.safetensors", "unknown file"),
        ("adamw/epochs/000003.safetensors", "unknown file"),
        ("adamw/epochs/000099.safetensors", "unknown file"),
        ("adamw/epochs/0000001.safetensors", "unknown file"),
        ("adamw/epochs/\u0660\u0660\u0660\u0660\u0660\u0661.safetensors", "unknown file"),
        ("adamw/epochs/1.safetensors", "unknown file"),
        ("nadam/epochs/000001.safetensors", "unknown file"),
        ("nadam/checkpoint/000001-00000003-0123456789abcdef.safetensors", "unknown file"),
        ("adamw/status.json", "unknown file"),
        (".hidden", "unknown file"),
        (".git/config", "unknown file"),
        ("a\nb\x1b[2J.txt", "unknown file"),
        ("history.json", "unknown file"),
    ],
)
def test_each_file_is_listed_with_its_kind(name: str, kind: str, folder: Path) -> None:
    if sys.platform == "win32" and "\n" in name:
        pytest.skip("no such name on this system")
    add(folder, name)
    assert kinds(folder) == {name: kind}
    assert describe(unchecked_in(folder, CHECKED, {"adamw": 2})).startswith("not checked: ")


def test_links_empty_folders_and_special_files_are_listed(folder: Path, tmp_path: Path) -> None:
    add(tmp_path, "outside/secret.txt")
    (folder / "empty/inner").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "adamw/link.json").symlink_to(folder / "config.json")
    (folder / "dangling").symlink_to("nowhere")
    expected = {"empty/inner/": "empty folder", "link": "link", "adamw/link.json": "link", "dangling": "link"}
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe")
        expected["pipe"] = "special file"
    assert kinds(folder) == expected
    said = describe(unchecked_in(folder, CHECKED))
    assert "empty/inner/ (empty folder)" in said
    assert "dangling (link)" in said


def test_a_checked_name_that_is_a_link_is_listed_since_it_may_lead_elsewhere_tomorrow(folder: Path) -> None:
    (folder / "config.json").rename(folder / "elsewhere.json")
    (folder / "config.json").symlink_to("elsewhere.json")
    assert kinds(folder) == {"config.json": "link", "elsewhere.json": "unknown file"}


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
def test_a_name_that_is_no_text_is_shown_and_written_with_escapes(folder: Path) -> None:
    (folder / os.fsdecode(b"caf\xe9")).touch()
    listed = unchecked_in(folder, CHECKED)
    assert [each["path"] for each in listed] == ["caf\\xe9"]
    assert b"xe9" in json_bytes(listed)


def test_many_files_make_one_short_sentence_and_a_whole_list(folder: Path) -> None:
    for number in range(30):
        add(folder, f"adamw/epochs/{number + 1:06d}.safetensors")
        add(folder, f"notes/{number:02d}.txt")
    listed = unchecked_in(folder, CHECKED, {"adamw": 30})
    assert len(listed) == 60
    said = describe(listed)
    assert "adamw/epochs/ (30 files)" in said
    assert "notes/09.txt and 20 more" in said
    assert len(said) < 300
