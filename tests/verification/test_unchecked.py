"""Files in a folder that are not checked: any type, links, hidden and empty files, any names."""

import os
import sys
from pathlib import Path

import pytest

from in4310repro.system.files import json_bytes
from in4310repro.verification.unchecked import describe, unchecked_in, unchecked_in_run

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
    return {each["path"]: each["kind"] for each in unchecked_in_run(folder, CHECKED, {"adamw": 2})}


def test_of_a_folder_that_is_checked_whole_nothing_is_said(folder: Path) -> None:
    assert unchecked_in(folder, CHECKED) == []
    assert describe([]) == ""


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("status.json", "status of the training"),
        ("logs/adamw/steps.csv", "log"),
        ("logs/adamw/other.csv", "unknown file"),
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
    assert describe(unchecked_in_run(folder, CHECKED, {"adamw": 2})).startswith("not checked: ")


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
    listed = unchecked_in_run(folder, CHECKED, {"adamw": 30})
    assert len(listed) == 60
    said = describe(listed)
    assert "adamw/epochs/ (30 files)" in said
    assert "notes/09.txt and 20 more" in said
    assert len(said) < 300
