"""A user's own images: the split, folder names, and a page that mentions no other images."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from in4310repro.cli.training import default_folder
from in4310repro.data.folders import Catalogue, Entry, catalogue
from in4310repro.data.images import load_images
from in4310repro.data.reading import decode
from in4310repro.data.splits import parse_sizes, stratified_split
from in4310repro.report.page import may_write
from in4310repro.runs.config import to_json
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.presets import PRESETS, configure, default_names, with_counts
from in4310repro.system.files import json_bytes, write_file
from in4310repro.system.progress import Progress
from tests.builders import write_class_folders
from tests.conftest import Call


def sizes(preset: str, images: int) -> tuple[int, int, int]:
    config = with_counts(configure(preset, None, {"data": "mine"}), images)
    return parse_sizes(config.split, images)


def test_as_many_images_as_the_preset_has_get_its_split() -> None:
    assert [sizes(name, n) for name, n in (("course", 17034), ("demo", 780), ("tiny", 48))] == [
        (12034, 2000, 3000),
        (480, 120, 180),
        (24, 12, 12),
    ]


def test_other_numbers_of_images_get_the_shares_of_the_preset() -> None:
    assert sizes("demo", 78) == (48, 12, 18)
    assert sizes("tiny", 102) == (50, 26, 26)


def test_a_split_that_is_given_stays(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("split = '0.5/0.2/0.3'", encoding="utf-8")
    assert configure("demo", None, {"data": "mine", "split": "20/5/5"}).split == "20/5/5"
    assert configure("demo", tmp_path / "mine.toml", {"data": "mine"}).split == "0.5/0.2/0.3"
    assert configure("demo", None, {}).split == PRESETS["demo"].split


@pytest.mark.parametrize("preset", PRESETS)
def test_ten_images_of_a_class_are_enough_beside_any_others(preset: str) -> None:
    generator = np.random.default_rng(0)
    for others in ([10], [10, 10, 10], [9000], [11, 500, 13], *generator.integers(10, 400, (20, 5)).tolist()):
        labels = [label for label, count in enumerate([10, *others]) for _ in range(count)]
        entries = tuple(Entry(f"{label}/{place}.png", label, f"{place}") for place, label in enumerate(labels))
        images = Catalogue(Path(), tuple(map(str, range(1 + len(others)))), entries)
        split = stratified_split(images, sizes(preset, len(entries)), seed=0)
        assert all(min(counts.values()) > 0 for counts in split.supports().values())


def first(names: Iterator[str]) -> list[str]:
    return list(itertools.islice(names, 3))


@pytest.mark.parametrize(
    ("preset", "data", "names"),
    [
        ("demo", None, ["demo", "demo-2", "demo-3"]),
        ("demo", "photos/mine", ["mine", "mine-2", "mine-3"]),
        ("tiny", "my photos (2)/", ["my-photos-2", "my-photos-2-2", "my-photos-2-3"]),
        ("demo", "x/course", ["course-2", "course-3", "course-4"]),
        ("course", "photos/mine", ["course", "course-2", "course-3"]),
        ("demo", "/", ["demo-2", "demo-3", "demo-4"]),
    ],
)
def test_runs_and_reports_are_named_after_the_folder_of_the_images(
    preset: str, data: str | None, names: list[str]
) -> None:
    assert first(default_names(preset, data)) == names


@pytest.mark.slow
def test_own_images_are_trained_and_reported_under_their_name_beside_no_numbers_of_the_original(
    call: Call, tmp_path: Path
) -> None:
    words = ("--preset", "tiny", "--epochs", "1", "--data")
    mine = write_class_folders(tmp_path / "photos" / "mine", dict.fromkeys(("cat", "dog", "owl"), 10))
    code, _, progress = call("train", *words, f"{mine}")
    assert (code, "30 images of 3 classes, split 14/8/8" in progress) == (0, True)
    assert call("report", "runs/mine")[0] == 0
    page = (tmp_path / "reports/mine/report.md").read_text(encoding="utf-8")
    # Drawings have coordinates such as 98.8.
    html = re.sub(r"<svg.*?</svg>", "", (tmp_path / "reports/mine/index.html").read_text(encoding="utf-8"))
    for text in (page, html):
        assert "mine: networks trained and tested on images of 3 classes" in text
        assert not [word for word in ("riginal", "0.9882", "98.8", "cenes in six") if word in text]


YEARS = ("cat/2023", "cat/2024", "dog/2023", "dog/2024")
HEAD = ("--preset", "tiny", "--train", "head", "--out", "run", "--data", "mine")
CHOICE = "class_folders"


def test_a_folder_of_which_nothing_tells_the_classes_is_not_trained(call: Call, tmp_path: Path) -> None:
    write_class_folders(tmp_path / "mine", dict.fromkeys(YEARS, 6))
    said = "--class-folders outermost has cat 12, dog 12; --class-folders innermost has 2023 12, 2024 12"
    for code, words in ((1, ("data", "check", "mine")), (2, ("train", *HEAD))):
        ended, printed, error = call(*words)
        assert (ended, said in printed + error) == (code, True)
    assert not Path("run").exists()
    code, printed, _ = call("data", "check", "mine", "--class-folders", "innermost")
    assert (code, "24 images: 2023 12, 2024 12" in printed) == (0, True)


@pytest.mark.parametrize("chosen", ["outermost", "innermost"])
def test_a_run_keeps_the_classes_that_were_chosen_for_it(chosen: str, call: Call, tmp_path: Path) -> None:
    write_class_folders(tmp_path / "mine", dict.fromkeys(YEARS, 6))
    classes = ["cat", "dog"] if chosen == "outermost" else ["2023", "2024"]
    code, printed, progress = call("train", *HEAD, "--class-folders", chosen)
    run = FinishedRun.open(Path("run"))
    assert (code, run.classes, run.config.class_folders) == (0, classes, chosen)
    assert f"24 images of 2 classes, split 12/6/6: {classes[0]} 12, {classes[1]} 12" in progress
    row = run.histories["head"][run.metrics["epoch"] - 1]
    assert f"wrote run: head, C = {row['strength']:g}; on test images" in printed
    if chosen == "innermost":
        # As a version wrote it that always took the folder that an image is in.
        recorded = run.files.read_json("config.json")
        RunFolder.reopen(Path("run")).write_json("config.json", {k: recorded[k] for k in recorded if k != CHOICE})
    for words in (
        ("train", *HEAD, "--resume"),
        ("verify", "run"),
        ("evaluate", "run", "--data", "mine"),
        ("data", "check", "mine", "--split", "run/split.csv"),
    ):
        code, printed, error = call(*words)
        assert code == 0, printed + error
    again = FinishedRun.open(Path("run"))
    assert (again.split, again.metrics) == (run.split, run.metrics)
    code, _, error = call("evaluate", "run", "--data", "mine", "--class-folders", "outermost")
    assert (code, "['cat', 'dog'], which the network" in error) == ((0, False) if chosen == "outermost" else (2, True))


def test_the_same_name_elsewhere_is_other_data_and_gets_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, data in (("mine", "photos/mine"), ("mine-2", "else/mine")):
        config = to_json(configure("tiny", None, {"data": f"{tmp_path / data}", "split": "4/4/4"}))
        write_file(tmp_path / "runs" / folder / "config.json", json_bytes(config))
    for data, folder in (("photos/mine", "mine"), ("else/mine", "mine-2"), ("third/mine", "mine-3"), ("new", "new")):
        assert default_folder("tiny", data) == Path("runs") / folder


def test_a_report_replaces_its_own_and_none_of_another_run(finished_run: Path, tmp_path: Path) -> None:
    run = FinishedRun.open(finished_run)
    hashes = run.files.manifest()
    for report, may in (
        ({"files_sha256": hashes}, True),
        ({"files_sha256": hashes | {"scores.npz": "0" * 64}}, True),
        ({"files_sha256": hashes | {"split.csv": "0" * 64}}, False),
        ({"files_sha256": hashes | {"config.json": "0" * 64}}, False),
        ({"files_sha256": 7}, True),
    ):
        write_file(tmp_path / "run.json", json_bytes(report))
        assert may_write(run, tmp_path) == may
    assert may_write(run, tmp_path / "nowhere")


def test_all_unreadable_images_are_named_at_once_of_whatever_part(call: Call, tmp_path: Path) -> None:
    mine = write_class_folders(tmp_path / "mine", dict.fromkeys(("cat", "dog"), 10))
    bad = [mine / "cat" / "3.png", mine / "dog" / "5.png", mine / "dog" / "7.png"]
    for file in bad:
        file.write_bytes(b"no picture")
    code, _, error = call("train", "--preset", "tiny", "--data", f"{mine}")
    assert code == 2
    assert "3 files are not readable images" in error
    assert all(f"{file}" in error for file in bad)


def test_more_unreadable_images_than_a_line_holds_are_counted(tmp_path: Path) -> None:
    mine = write_class_folders(tmp_path / "mine", dict.fromkeys(("cat", "dog"), 10))
    for file in mine.rglob("*.png"):
        file.write_bytes(file.name.encode())
    with pytest.raises(ValueError, match=r"20 files are not readable images: .*; 10 more; replace or remove them"):
        load_images("all", mine, catalogue(mine).entries, 16)


def test_skipped_files_are_counted_and_named_by_training_and_by_the_check(call: Call, tmp_path: Path) -> None:
    mine = write_class_folders(tmp_path / "mine", dict.fromkeys(("cat", "dog"), 10))
    for name in ("a.avif", "b.avif", "notes.txt", ".hidden"):
        (mine / "dog" / name).write_bytes(b"?")
    said = "3 files were skipped, since their names are not those of images (2 of .avif, 1 of .txt), such as dog/a.avif"
    text = io.StringIO()
    catalogue(mine, Progress(Console(file=text, width=1000)))
    assert said in text.getvalue()
    printed = call("data", "check", f"{mine}")[1]
    assert "skipped, since their names are not those of images" in printed
    assert "dog/b.avif" in printed


def test_pictures_of_telephones_are_read_where_their_library_is(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    heif.register_heif_opener()
    Image.new("RGB", (64, 48), (200, 30, 60)).save(tmp_path / "a.heic", quality=100)
    pixels = decode(tmp_path / "a.heic", 16)
    assert np.abs(pixels.astype(int) - (200, 30, 60)).max() <= 3
