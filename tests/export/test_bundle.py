"""The bundle of a run: what is in it, what never is, and equal bytes for equal runs."""

from __future__ import annotations

import getpass
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from in4310repro.data.embedded import embedded_catalogue
from in4310repro.export import bundle, formats
from in4310repro.export.formats import write_archive
from in4310repro.export.table import Contents, Extras
from in4310repro.report import check_page, page
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.presets import PRESETS
from in4310repro.system import archive

RUN_FILES = [
    *("config.json", "features.json", "fingerprint.json", "manifest.json", "metrics.json", "pixels.json"),
    *("scores.npz", "split.csv"),
    *(f"{setting}/{name}" for setting in ("adamw", "rmsprop", "sgd") for name in ("history.json", "tensors.json")),
]


@pytest.fixture
def run(own_records: Path) -> FinishedRun:
    """Return a tiny run with a few bytes in place of each file of weights, listed in its manifest."""
    files = FinishedRun.open(own_records).files
    for setting in ("adamw", "rmsprop", "sgd"):
        files.write_bytes(f"{setting}/best.safetensors", setting.encode())
    return FinishedRun.open(own_records)


def export(run: FinishedRun, to: Path, extras: Extras) -> Path:
    (file,) = formats.export(run, "bundle", to, extras)
    return file


def contents(run: FinishedRun, to: Path, extras: Extras) -> dict[str, bytes]:
    """Return the files of a run's bundle, as zipfile reads them."""
    with zipfile.ZipFile(export(run, to, extras)) as zipped:
        assert zipped.testzip() is None
        return {name: zipped.read(name) for name in zipped.namelist()}


def test_a_bundle_has_the_files_of_the_manifest_with_their_bytes(run: FinishedRun, tmp_path: Path) -> None:
    held = contents(run, tmp_path / "out", Extras())
    assert held.pop("README.txt")
    assert held.pop("statement/statement.json")
    weights = [f"{setting}/best.safetensors" for setting in ("adamw", "rmsprop", "sgd")]
    assert sorted(held) == sorted(f"run/{name}" for name in (*RUN_FILES, *weights))
    for name, content in held.items():
        assert content == (run.folder / name.removeprefix("run/")).read_bytes()


def test_of_what_the_manifest_does_not_list_only_epochs_that_a_replay_needs_are_in_it(
    run: FinishedRun, tmp_path: Path
) -> None:
    selected = run.metrics["setting"]
    other = next(setting for setting in run.histories if setting != selected)
    left = (
        *("status.json", "notes.txt", f"logs/{selected}/steps.csv", f"logs/{selected}.trace"),
        *(f"{selected}/checkpoint/000001-00000000-0123456789abcdef.safetensors", f"{selected}/epochs/notes.txt"),
        *(f"{other}/epochs/000001.safetensors", f"{selected}/epochs/000003.safetensors"),
    )
    kept = [f"{selected}/epochs/00000{epoch}.safetensors" for epoch in (1, 2)]
    for name in (*left, *kept):
        (run.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (run.folder / name).write_bytes(b"state")
    held = contents(run, tmp_path / "out", Extras())
    assert {f"run/{name}" for name in kept} <= held.keys()
    assert not {f"run/{name}" for name in left} & held.keys()


def test_equal_runs_have_equal_bundles(run: FinishedRun, tmp_path: Path) -> None:
    first = export(run, tmp_path / "first", Extras()).read_bytes()
    # Written anew in another order, with other times and rights, and in a folder of another name.
    for file in sorted(run.folder.rglob("*.*"), reverse=True):
        copy = tmp_path / "another name" / file.relative_to(run.folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
        copy.chmod(0o600)
        os.utime(copy, (10**9, 10**9))
    again = FinishedRun.open(tmp_path / "another name")
    assert export(again, tmp_path / "second", Extras()).read_bytes() == first
    again.files.write_bytes("sgd/best.safetensors", b"sge")
    assert export(again, tmp_path / "third", Extras()).read_bytes() != first


EXPORT = """import os, sys; from pathlib import Path; os.umask(0o77)
from in4310repro.export.formats import export; from in4310repro.export.table import Extras
from in4310repro.runs.finished import FinishedRun
export(FinishedRun.open(Path(sys.argv[1])), "bundle", Path(sys.argv[2]), Extras())"""


@pytest.mark.process
@pytest.mark.long(8)
def test_another_process_in_another_language_writes_an_equal_bundle(run: FinishedRun, tmp_path: Path) -> None:
    language = {"LC_ALL": "C", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7", "HOME": "/nowhere"}
    words = [sys.executable, "-c", EXPORT, str(run.folder), str(tmp_path / "second")]
    subprocess.run(words, env=os.environ | language, check=True)
    first = export(run, tmp_path / "first", Extras()).read_bytes()
    assert (tmp_path / "second" / "bundle.zip").read_bytes() == first


def test_the_readme_names_the_hashes_the_version_and_how_to_check(run: FinishedRun, tmp_path: Path) -> None:
    readme = contents(run, tmp_path / "out", Extras())["README.txt"].decode()
    assert len(readme.splitlines()) == 10
    for name in ("manifest.json", f"{run.metrics['setting']}/best.safetensors"):
        sha256 = hashlib.sha256((run.folder / name).read_bytes()).hexdigest()
        assert f"{sha256}  run/{name}" in readme.splitlines()
    for words in (
        f"version {run.fingerprint['versions']['in4310repro']}",
        f"numeric class {run.fingerprint['numeric_class']}",
        "in4310repro verify BUNDLE.zip",
        "docs/arithmetic.md",
        "are drawn by the package",
    ):
        assert words in readme


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum: GNU's coreutils have it")
@pytest.mark.process
def test_sha256sum_checks_the_lines_of_the_readme(run: FinishedRun, tmp_path: Path) -> None:
    with zipfile.ZipFile(export(run, tmp_path / "out", Extras())) as zipped:
        zipped.extractall(tmp_path / "unpacked")
    done = subprocess.run(["sha256sum", "-c", "README.txt"], cwd=tmp_path / "unpacked", capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.count(": OK") == 2


def test_a_bundle_names_no_user_and_no_place_of_this_machine(run: FinishedRun, tmp_path: Path) -> None:
    def private(held: dict[str, bytes]) -> list[str]:
        words = {f"{Path.home()}/", f"{tmp_path}", socket.gethostname(), f"/{getpass.getuser()}/"}
        return [name for name, content in held.items() if any(word.encode() in content for word in words)]

    held = contents(run, tmp_path / "out", Extras())
    assert private(held) == []
    assert private(held | {"x": f"{tmp_path}".encode()}) == ["x"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data", "/home/ada/scenes"),
        ("data", "../scenes"),
        ("weights", "C:\\ada\\w.pth"),
        ("imagenet", "/data/imagenet"),
    ],
)
def test_a_configuration_that_shows_a_place_is_refused(key: str, value: str, run: FinishedRun, tmp_path: Path) -> None:
    private = replace(run, config=replace(run.config, **{key: value}))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"config.json: {key} is .* which shows where files are on a machine"):
        export(private, tmp_path / "out", Extras())
    assert not (tmp_path / "out").exists()


def test_a_run_that_was_changed_is_refused(run: FinishedRun, tmp_path: Path) -> None:
    (run.folder / "sgd" / "history.json").write_text("[]")
    with pytest.raises(ValueError, match=r"history\.json is missing or has other bytes.*; only an unchanged run"):
        export(run, tmp_path / "out", Extras())
    (run.folder / "sgd" / "last.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="only an unchanged run"):
        export(run, tmp_path / "out", Extras())
    assert not (tmp_path / "out").exists()


@pytest.fixture
def report(run: FinishedRun, tmp_path: Path) -> Path:
    """Return the folder of the run's report with photographs, images for its check page, and a note of somebody's."""
    page.write(run, tmp_path / "report")
    check_page.write_images(run, tmp_path / "report")
    (tmp_path / "report" / check_page.PIXELS).write_bytes(b"decoded")
    (tmp_path / "report" / "notes.txt").write_text("mine")
    return tmp_path / "report"


def test_the_report_is_in_it_where_it_is_given_but_nothing_beside_it(
    run: FinishedRun, report: Path, tmp_path: Path
) -> None:
    held = contents(run, tmp_path / "out", Extras(report=report))
    expected = {f"report/{file.name}" for file in report.iterdir() if file.name != "notes.txt"}
    assert {name for name in held if name.startswith("report/")} == expected
    assert len(expected) > 20
    assert "open report/check.html" in held["README.txt"].decode()


def test_photographs_are_in_it_only_where_they_are_asked_for(run: FinishedRun, report: Path, tmp_path: Path) -> None:
    own = replace(run, config=replace(run.config, data="photos/mine"))
    with pytest.raises(ValueError, match="shows photographs; --pixels bundles them"):
        export(own, tmp_path / "out", Extras(report=report))
    assert "report/check-images.zip" in contents(own, tmp_path / "out", Extras(report=report, pixels=True))
    shutil.rmtree(report)
    page.write(run, report, photographs=False)
    check_page.write_images(run, report)
    (report / check_page.PIXELS).write_bytes(b"decoded")
    held = contents(own, tmp_path / "without", Extras(report=report))
    assert "report/index.html" in held
    assert not {"report/check-images.zip", "report/check-pixels.safetensors"} & held.keys()
    assert "names by sha256 are not in here." in held["README.txt"].decode()


def test_the_report_of_another_run_is_refused(run: FinishedRun, report: Path, tmp_path: Path) -> None:
    (report / "figure01.json").write_text("{}")
    with pytest.raises(ValueError, match=r"report is not a report of .*tiny as it is now: .*figure01\.json"):
        export(run, tmp_path / "out", Extras(report=report))


def test_images_are_in_it_only_where_their_folder_is_given(run: FinishedRun, tmp_path: Path) -> None:
    tiny = PRESETS["tiny"]
    scenes = embedded_catalogue(tiny.scenes, tiny.image_size, tiny.seed).root
    held = contents(run, tmp_path / "out", Extras(images=scenes))
    images = {name.removeprefix("images/"): content for name, content in held.items() if name.startswith("images/")}
    recorded = {entry.path: entry.sha256 for entry in run.split.catalogue().entries}
    assert {path: hashlib.sha256(content).hexdigest() for path, content in images.items()} == recorded
    assert "are below images" in held["README.txt"].decode()
    with pytest.raises(ValueError, match="is not"):
        export(run, tmp_path / "out", Extras(images=tmp_path))


def test_other_formats_are_below_their_folders_without_copies_of_the_run(run: FinishedRun) -> None:
    for date, crate in (("2026-11-28", ["ro-crate-metadata.json"]), (None, [])):
        held = bundle.contents(run, Extras(date=date))
        others = {name: content for name, content in held.items() if not name.startswith("run/")}
        assert others.keys() == {"README.txt", "statement/statement.json", *crate}
        assert all(isinstance(content, bytes) for content in others.values())


def test_a_zip_file_with_other_bytes_is_refused_though_its_size_and_time_are_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_at_once(file: Path, held: Contents, write: Callable[..., None] = archive.write) -> None:
        write(file, held)
        os.utime(file, (1, 1))

    monkeypatch.setattr(archive, "write", write_at_once)
    write_archive(tmp_path / "a.zip", {"a": b"one"})
    with pytest.raises(ValueError, match=r"a\.zip is there with other content"):
        write_archive(tmp_path / "a.zip", {"a": b"two"})


def test_a_bundle_is_written_whole_or_not_at_all(
    run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("in4310repro.system.archive.copy", stop)
    with pytest.raises(KeyboardInterrupt):
        export(run, tmp_path / "out", Extras())
    assert [*(tmp_path / "out").iterdir()] == []


def test_a_bundle_that_is_there_is_kept_if_it_is_equal_and_never_replaced(run: FinishedRun, tmp_path: Path) -> None:
    file = export(run, tmp_path / "out", Extras())
    before = file.read_bytes(), file.stat().st_mtime_ns
    export(run, tmp_path / "out", Extras())
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    run.files.write_bytes("sgd/best.safetensors", b"other")
    with pytest.raises(ValueError, match=r"bundle\.zip is there with other content; --out takes a new or empty folder"):
        export(run, tmp_path / "out", Extras())
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
