"""The check of a folder reports the planted faults and no others."""

import csv
import errno
import io
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from in4310repro.data import check, near_duplicates, scenes
from in4310repro.data.folders import catalogue
from in4310repro.data.reading import decode
from in4310repro.data.splits import COLUMNS
from in4310repro.system.files import file_sha256
from in4310repro.system.progress import Progress
from tests.builders import findings_of
from tests.conftest import Call

CLASSES = ("forest", "sea", "street")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of nine different drawn scenes of three classes."""
    for name in CLASSES:
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.fromarray(scenes.draw(name, number, 96, 0)).save(tmp_path / name / f"{number}.png")
    return tmp_path


def copy_file(folder: Path, source: str, target: str) -> None:
    (folder / target).write_bytes((folder / source).read_bytes())


def test_nothing_is_wrong_with_different_scenes(folder: Path) -> None:
    findings = findings_of(folder)
    assert not findings.wrong
    assert findings.images == {"forest": 3, "sea": 3, "street": 3}
    assert (findings.sizes, findings.not_square, findings.modes) == ({"96 x 96": 9}, 0, {"RGB": 9})
    assert (findings.identical, findings.near_duplicates) == ([], [])
    assert "orientation" not in check.render(findings)
    sizes, skipped = {f"{width} x 1": 6 - width for width in range(1, 6)}, [f"{number}.txt" for number in range(12)]
    printed = check.render(replace(findings, sizes=sizes, skipped=skipped))
    assert "\n  9.txt\n  and 2 more\n" in printed
    assert "more" not in check.render(replace(findings, skipped=skipped[:10]))
    assert "\nsizes 1 x 1: 5, 2 x 1: 4, 3 x 1: 3 and 2 more; 0 not square\n" in printed


def test_copies_are_grouped_and_conflict_under_two_labels(folder: Path) -> None:
    copy_file(folder, "sea/0.png", "sea/again.png")
    copy_file(folder, "sea/1.png", "forest/again.png")
    findings = findings_of(folder)
    assert findings.identical == [["forest/again.png", "sea/1.png"], ["sea/0.png", "sea/again.png"]]
    assert findings.conflicts == [["forest/again.png", "sea/1.png"]]
    assert findings.near_duplicates == []
    assert findings.wrong


def test_a_recompressed_brighter_image_is_a_near_duplicate_and_no_error(folder: Path) -> None:
    with Image.open(folder / "street/2.png") as image:
        image.resize((80, 80)).point(lambda value: min(255, value + 12)).save(folder / "sea/other.jpg", quality=60)
    findings = findings_of(folder)
    assert findings.near_duplicates == [["sea/other.jpg", "street/2.png"]] == findings.near_duplicate_conflicts
    assert not findings.wrong


@pytest.mark.parametrize("orientation", range(1, 8))
def test_a_turned_or_mirrored_copy_is_named_with_what_was_done_and_no_error(orientation: int, folder: Path) -> None:
    with Image.open(folder / "street/2.png") as image:
        near_duplicates.turn_image(image, orientation).save(folder / "sea/other.jpg", quality=60)
    findings = findings_of(folder, write_split(folder, PARTS_OF | {"sea/other.jpg": "training"}))
    how = near_duplicates.ORIENTATION_NAMES[near_duplicates.INVERSE[orientation]]
    assert findings.turned == [check.Turned("sea/other.jpg", "street/2.png", how)]
    assert findings.turned_conflicts == [["sea/other.jpg", "street/2.png"]]
    assert findings.turned_leaks == [{"training": ["sea/other.jpg"], "test": ["street/2.png"]}]
    assert (findings.near_duplicates, findings.wrong) == ([], False)
    assert f"sea/other.jpg {how} ~ street/2.png" in check.render(findings)


def test_a_turned_copy_of_several_near_duplicates_is_one_pair_that_stands_for_all(folder: Path) -> None:
    with Image.open(folder / "street/2.png") as image:
        image.save(folder / "street/again.jpg", quality=60)
        image.transpose(Image.Transpose.ROTATE_90).save(folder / "street/turned.png")
        image.transpose(Image.Transpose.ROTATE_90).save(folder / "forest/turned.jpg", quality=60)
    findings = findings_of(folder)
    assert [(each.first, each.second) for each in findings.turned] == [("forest/turned.jpg", "street/2.png")]
    assert findings.turned_conflicts == [["forest/turned.jpg", "street/2.png", "street/again.jpg", "street/turned.png"]]


def test_hashes_alone_make_no_turned_pair(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [f"{name}/{number}.png" for name in CLASSES for number in range(3)]
    monkeypatch.setattr(near_duplicates, "turned_pairs", lambda _: [(0, place, 3) for place in range(1, len(paths))])
    assert findings_of(folder).turned == []
    monkeypatch.setattr(near_duplicates, "part_of", lambda *_: (near_duplicates.ENOUGH, 1.0))
    assert len(findings_of(folder).turned) == 8
    monkeypatch.setattr(near_duplicates, "part_of", lambda *_: (0.0, 1.0))
    assert findings_of(folder).turned == []


def test_truncated_images_and_other_files_are_named_and_the_rest_is_checked(folder: Path) -> None:
    with Image.open(folder / "sea/0.png") as image:
        image.save(folder / "sea/truncated.jpg")
    data = (folder / "sea/truncated.jpg").read_bytes()
    (folder / "sea/truncated.jpg").write_bytes(data[: len(data) // 2])
    (folder / "forest/note.jpg").write_text("no image")
    Image.new("L", (40, 30)).save(folder / "sea/grey.png")
    findings = findings_of(folder)
    assert set(findings.unreadable) == {"sea/truncated.jpg", "forest/note.jpg"}
    assert "truncated" in findings.unreadable["sea/truncated.jpg"]
    assert (findings.not_square, findings.modes) == (1, {"RGB": 9, "L": 1})
    assert findings.images == {"forest": 3, "sea": 4, "street": 3}
    printed = check.render(findings).splitlines()
    assert printed[0] == "10 images: forest 3, sea 4, street 3"
    assert printed[printed.index("2 unreadable files, which are not counted as images") + 2].startswith(
        "  sea/truncated.jpg ("
    )


@pytest.mark.parametrize("mode", ["F", "I", "LAB", "CMYK", "LA", "P", "1", "I;16"])
def test_an_image_is_unreadable_for_the_check_exactly_where_training_refuses_it(mode: str, folder: Path) -> None:
    Image.new(mode, (40, 40)).save(folder / "sea/other.tif")
    findings = findings_of(folder)
    if mode in ("F", "I", "LAB"):
        with pytest.raises(ValueError, match=re.escape(findings.unreadable["sea/other.tif"])):
            decode(folder / "sea/other.tif", 32)
    else:
        assert decode(folder / "sea/other.tif", 32).shape == (32, 32, 3)
        assert findings.modes[mode] == 1
    assert findings.wrong == bool(findings.unreadable) == (mode in ("F", "I", "LAB"))


def test_many_copies_are_read_once_and_make_one_short_line(folder: Path) -> None:
    for number in range(50):
        copy_file(folder, "sea/0.png", f"sea/copy{number:02d}.png")
        Image.fromarray(scenes.draw("sea", 0, 96, 0) // 16 * 16 + number % 16).save(folder / f"forest/n{number}.png")
    shown = io.StringIO()
    findings = findings_of(folder, progress=Progress(Console(file=shown)))
    assert f"reading images: {9 + 16}/{9 + 16}" in shown.getvalue()
    assert [len(group) for group in findings.near_duplicates] == [101]
    assert max(map(len, findings.identical)) == 51
    assert "forest/n17.png and 91 more" in check.render(findings)


def add_every_fault(folder: Path) -> None:
    """Add to a folder files and links with each fault that the check of a folder reports."""
    (folder / "empty").mkdir()
    (folder / "bird" / "deeper").mkdir(parents=True)
    (folder / "sea" / "old").mkdir()
    Image.fromarray(scenes.draw("sea", 7, 96, 0)).save(folder / "sea/old/7.png")
    copy_file(folder, "sea/0.png", "loose.png")
    (folder / "sea/text.jpg").write_text("no image")
    (folder / "sea/link.png").symlink_to("nowhere")
    (folder / "forest/up").symlink_to("..")
    copy_file(folder, "sea/1.png", "forest/again.png")
    Image.new("RGB", (1, 1), "red").save(folder / "street/one.png")


def test_every_fault_of_a_tree_is_reported_in_one_run_with_everything_else(folder: Path) -> None:
    add_every_fault(folder)
    findings = findings_of(folder)
    for words in (
        "empty has no images",
        "bird has no images",
        "bird/deeper has no images",
        "1 images outside class folders, such as loose.png",
        "forest/up is a link to a folder around it",
    ):
        assert sum(words in fault for fault in findings.faults) == 1, words
    assert len(findings.faults) == 5
    assert findings.nested == ["sea/old lies in sea: its images are of class sea"]
    assert list(findings.unreadable) == ["sea/link.png", "sea/text.jpg"]
    assert findings.conflicts == [["forest/again.png", "sea/1.png"]]
    assert findings.degenerate == {"street/one.png": "1 x 1 pixels"}
    assert findings.images == {"forest": 4, "sea": 4, "street": 4}
    assert findings.wrong
    printed = check.render(findings)
    for words in ("5 faults of the folder", "sea/link.png (it is not there)", "1 folders lie in class folders"):
        assert words in printed


def test_the_command_ends_with_1_and_writes_all_of_it(folder: Path, call: Call) -> None:
    add_every_fault(folder)
    code, printed, _ = call("data", "check", f"{folder}", "--out", "findings.json")
    content = json.loads(Path("findings.json").read_text())
    assert (code, len(content["faults"]), list(content["unreadable"])) == (1, 5, ["sea/link.png", "sea/text.jpg"])
    assert "empty has no images" in printed
    code, printed, _ = call("--json", "data", "check", f"{folder}")
    assert (code, json.loads(printed)["faults"]) == (1, content["faults"])


@pytest.mark.parametrize("classes", [(), ("sea",)], ids=["no-image", "one-class"])
def test_too_few_classes_are_a_fault_and_the_rest_is_checked(classes: tuple[str, ...], folder: Path) -> None:
    for name in {*CLASSES} - {*classes}:
        shutil.rmtree(folder / name)
    findings = findings_of(folder)
    assert findings.faults == [f"{folder} has {len(classes)} class folders with images; at least 2 are needed"]
    assert (findings.images, findings.wrong) == (dict.fromkeys(classes, 3), True)
    assert f"{3 * len(classes)} images" in check.render(findings)


def test_a_tree_that_training_refuses_is_one_in_which_the_check_finds_a_fault(folder: Path) -> None:
    assert findings_of(folder).faults == []
    assert len(catalogue(folder).entries) == 9
    (folder / "glacier").mkdir()
    (fault,) = findings_of(folder).faults
    with pytest.raises(ValueError, match=re.escape(fault)):
        catalogue(folder)


def test_a_folder_that_cannot_be_listed_is_a_fault_and_not_an_absent_class(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refuses(path: str) -> Any:
        if Path(path).name == "street":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuses)
    findings = findings_of(folder)
    assert sum("street cannot be listed" in fault for fault in findings.faults) == 1
    assert findings.images == {"forest": 3, "sea": 3}
    with pytest.raises(ValueError, match="street cannot be listed"):
        catalogue(folder)


@pytest.mark.parametrize(
    ("size", "why"),
    [((1, 1), "1 x 1 pixels"), ((1, 40), "1 x 40 pixels"), ((40, 1), "40 x 1 pixels"), ((9, 9), "a single")],
)
def test_a_picture_that_shows_nothing_is_flagged_and_no_error(size: tuple[int, int], why: str, folder: Path) -> None:
    Image.new("L", size, 90).save(folder / "sea/nothing.png")
    findings = findings_of(folder)
    assert [*findings.degenerate] == ["sea/nothing.png"]
    assert findings.degenerate["sea/nothing.png"].startswith(why)
    assert f"sea/nothing.png ({why}" in check.render(findings)
    assert not findings.wrong
    with Image.open(folder / "sea/nothing.png") as image:
        almost = image.convert("RGB").resize((9, 9))
    almost.putpixel((4, 4), (90, 90, 91))
    almost.save(folder / "sea/nothing.png")
    assert findings_of(folder).degenerate == {}


def test_without_a_split_nothing_is_said_of_its_parts(folder: Path) -> None:
    copy_file(folder, "sea/0.png", "sea/again.png")
    without, split = findings_of(folder), write_split(folder, PARTS_OF | {"sea/again.png": "test"})
    assert "split" not in check.render(without)
    compared = findings_of(folder, split)
    assert "1 of them in several parts of the split" in check.render(compared)
    for name in ("leaks", "near_duplicate_leaks", "turned_leaks", "split_differences"):
        assert without.to_json()[name] is None
        assert isinstance(compared.to_json()[name], list)


def test_a_file_of_the_split_that_cannot_be_read_is_unreadable_and_not_missing(folder: Path) -> None:
    split = write_split(folder, PARTS_OF)
    (folder / "sea/1.png").unlink()
    (folder / "sea/1.png").symlink_to("nowhere")
    findings = findings_of(folder, split)
    assert (list(findings.unreadable), findings.split_differences) == (["sea/1.png"], [])


PATHS = tuple(f"{name}/{number}.png" for name in CLASSES for number in range(3))
PARTS_OF = dict(zip(PATHS, ["training", "validation", "test"] * 3, strict=True))


def write_split(folder: Path, parts: dict[str, str], *rows: list[str]) -> Path:
    """Write a split table from `parts` (a dict from path to part of the split), followed by the extra `rows`."""
    file = folder.parent / "split.csv"
    listed = [[path, path.split("/")[0], part] for path, part in parts.items()] + list(rows)
    with file.open("w", newline="") as lines:
        contents = ((path, name, file_sha256(folder / path), part) for path, name, part in listed)
        csv.writer(lines).writerows([COLUMNS, *contents])
    return file


def test_a_split_with_copies_or_near_duplicates_in_two_parts_leaks(folder: Path) -> None:
    copy_file(folder, "sea/0.png", "sea/again.png")
    with Image.open(folder / "street/2.png") as image:
        image.save(folder / "street/other.jpg", quality=70)
    parts = PARTS_OF | {"sea/again.png": "training", "street/other.jpg": "test"}
    assert not findings_of(folder, write_split(folder, parts)).wrong
    parts |= {"sea/again.png": "test", "street/other.jpg": "validation"}
    findings = findings_of(folder, write_split(folder, parts))
    assert findings.leaks == [{"training": ["sea/0.png"], "test": ["sea/again.png"]}]
    assert findings.near_duplicate_leaks == [{"test": ["street/2.png"], "validation": ["street/other.jpg"]}]
    assert findings.wrong
    assert "training: sea/0.png; test: sea/again.png" in check.render(findings)
    assert "test: street/2.png; validation: street/other.jpg" in check.render(findings)


def test_a_split_of_other_images_is_a_difference(folder: Path) -> None:
    file = write_split(folder, PARTS_OF)
    copy_file(folder, "street/0.png", "street/new.png")
    (folder / "forest/0.png").unlink()
    (folder / "forest/1.png").write_bytes((folder / "forest/1.png").read_bytes() + b"x")
    assert findings_of(folder, file).split_differences == [
        "forest/0.png is in the split and not in the folder",
        "street/new.png is in the folder and not in the split",
        "forest/1.png has other bytes than in the split",
    ]


def test_a_path_in_two_parts_is_a_difference(folder: Path) -> None:
    findings = findings_of(folder, write_split(folder, PARTS_OF, ["sea/0.png", "sea", "test"]))
    assert findings.split_differences == ["sea/0.png is in several parts of the split: training, test"]
    assert findings.wrong


def test_a_path_that_is_listed_twice_in_one_part_is_a_difference(folder: Path) -> None:
    findings = findings_of(folder, write_split(folder, PARTS_OF, ["sea/0.png", "sea", "training"]))
    assert findings.split_differences == ["sea/0.png is listed 2 times in the training part"]


def test_swapped_classes_are_differences(folder: Path) -> None:
    others = {path: part for path, part in PARTS_OF.items() if path not in ("sea/0.png", "forest/2.png")}
    swapped = [["sea/0.png", "forest", "training"], ["forest/2.png", "sea", "test"]]
    findings = findings_of(folder, write_split(folder, others, *swapped))
    assert findings.split_differences == [
        "forest/2.png has class sea in the split and forest in the folder",
        "sea/0.png has class forest in the split and sea in the folder",
    ]
    assert findings.wrong


def test_the_sha256_of_another_image_is_a_difference_that_names_it(folder: Path) -> None:
    file = write_split(folder, PARTS_OF)
    hashes = file_sha256(folder / "sea/0.png"), file_sha256(folder / "street/0.png")
    file.write_text(file.read_text().replace(*hashes))
    assert findings_of(folder, file).split_differences == [
        "sea/0.png has other bytes than in the split, which has the sha256 of street/0.png"
    ]


def test_a_part_without_images_is_a_difference(folder: Path) -> None:
    parts = {path: "training" if part == "test" else part for path, part in PARTS_OF.items()}
    findings = findings_of(folder, write_split(folder, parts))
    assert findings.split_differences == ["the split has no image in its test part"]


def test_an_unknown_part_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=re.escape("split.csv")):
        findings_of(folder, write_split(folder, PARTS_OF | {"sea/0.png": "dev"}))
