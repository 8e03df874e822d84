"""The check of a folder: it reports planted faults, and nothing else."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from in4310repro.data import check, scenes
from in4310repro.data.check import near_duplicates
from in4310repro.data.splits import COLUMNS
from in4310repro.files import file_sha256

CLASSES = ("forest", "sea", "street")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine different drawn scenes of three classes."""
    for name in CLASSES:
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.fromarray(scenes.draw(name, number, 96, 0)).save(tmp_path / name / f"{number}.png")
    return tmp_path


def copy_file(folder: Path, source: str, target: str) -> None:
    (folder / target).write_bytes((folder / source).read_bytes())


def test_nothing_is_wrong_with_different_scenes(folder: Path) -> None:
    findings = check.check(folder)
    assert not findings.wrong
    assert findings.images == {"forest": 3, "sea": 3, "street": 3}
    assert (findings.sizes, findings.not_square, findings.modes) == ({"96 x 96": 9}, 0, {"RGB": 9})
    assert (findings.identical, findings.near_duplicates) == ([], [])


def test_copies_are_grouped_and_conflict_under_two_labels(folder: Path) -> None:
    copy_file(folder, "sea/0.png", "sea/again.png")
    copy_file(folder, "sea/1.png", "forest/again.png")
    findings = check.check(folder)
    assert findings.identical == [["forest/again.png", "sea/1.png"], ["sea/0.png", "sea/again.png"]]
    assert findings.conflicts == [["forest/again.png", "sea/1.png"]]
    assert findings.near_duplicates == []
    assert findings.wrong


def test_a_recompressed_brighter_image_is_a_near_duplicate_and_no_error(folder: Path) -> None:
    with Image.open(folder / "street/2.png") as image:
        image.resize((80, 80)).point(lambda value: min(255, value + 12)).save(folder / "sea/other.jpg", quality=60)
    findings = check.check(folder)
    assert findings.near_duplicates == [("sea/other.jpg", "street/2.png")] == findings.near_duplicate_conflicts
    assert not findings.wrong


def test_truncated_images_and_other_files_are_named_and_the_rest_is_checked(folder: Path) -> None:
    with Image.open(folder / "sea/0.png") as image:
        image.save(folder / "sea/truncated.jpg")
    data = (folder / "sea/truncated.jpg").read_bytes()
    (folder / "sea/truncated.jpg").write_bytes(data[: len(data) // 2])
    (folder / "forest/note.jpg").write_text("no image")
    Image.new("L", (40, 30)).save(folder / "sea/grey.png")
    findings = check.check(folder)
    assert set(findings.unreadable) == {"sea/truncated.jpg", "forest/note.jpg"}
    assert "truncated" in findings.unreadable["sea/truncated.jpg"]
    assert (findings.not_square, findings.modes) == (1, {"RGB": 9, "L": 1})
    assert "sea/truncated.jpg" in check.render(findings)


def write_split(folder: Path, parts: dict[str, str]) -> Path:
    file = folder.parent / "split.csv"
    rows = [[path, path.split("/")[0], file_sha256(folder / path), part] for path, part in parts.items()]
    with file.open("w", newline="") as lines:
        csv.writer(lines).writerows([COLUMNS, *rows])
    return file


def test_a_split_with_copies_or_near_duplicates_in_two_parts_leaks(folder: Path) -> None:
    copy_file(folder, "sea/0.png", "sea/again.png")
    with Image.open(folder / "street/2.png") as image:
        image.save(folder / "street/other.jpg", quality=70)
    parts = {file.relative_to(folder).as_posix(): "training" for file in sorted(folder.glob("*/*"))}
    assert not check.check(folder, write_split(folder, parts)).wrong
    parts |= {"sea/again.png": "test", "street/other.jpg": "validation"}
    findings = check.check(folder, write_split(folder, parts))
    assert findings.leaks == [["sea/0.png", "sea/again.png"]]
    assert findings.near_duplicate_leaks == [("street/2.png", "street/other.jpg")]
    assert findings.wrong


def test_a_split_of_other_images_is_a_difference(folder: Path) -> None:
    parts = {file.relative_to(folder).as_posix(): "training" for file in sorted(folder.glob("*/*"))}
    parts |= {"sea/0.png": "test", "sea/1.png": "validation"}
    file = write_split(folder, parts)
    copy_file(folder, "street/0.png", "street/new.png")
    (folder / "forest/0.png").unlink()
    (folder / "forest/1.png").write_bytes((folder / "forest/1.png").read_bytes() + b"x")
    assert check.check(folder, file).split_differences == [
        "forest/0.png is in the split and not in the folder",
        "street/new.png is in the folder and not in the split",
        "forest/1.png has other bytes than in the split",
    ]


def differing_bits_by_integers(first_bits: np.ndarray, second_bits: np.ndarray) -> int:
    """The number of bits in which two hashes differ."""
    first, second = (int("".join("01"[int(bit)] for bit in bits), 2) for bits in (first_bits, second_bits))
    return (first ^ second).bit_count()


@pytest.mark.parametrize("rows", [1, 7, 2048])
def test_near_duplicates_are_pairs_whose_hashes_differ_in_few_bits(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "BLOCK_ROWS", rows)
    generator = np.random.default_rng(0)
    hashes = [generator.random(64) < 0.5 for _ in range(20)]
    for flips in range(check.NEAR_DUPLICATE_BITS + 3):
        hashes.append(hashes[flips] ^ (np.arange(64) < flips))
    names = [f"{number:02d}" for number in range(len(hashes))]
    oracle = [
        (names[i], names[j])
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        if differing_bits_by_integers(hashes[i], hashes[j]) <= check.NEAR_DUPLICATE_BITS
    ]
    assert near_duplicates(names, hashes) == oracle
    assert len(oracle) == check.NEAR_DUPLICATE_BITS + 1
    # Another threshold gives other pairs.
    monkeypatch.setattr(check, "NEAR_DUPLICATE_BITS", check.NEAR_DUPLICATE_BITS + 1)
    assert near_duplicates(names, hashes) != oracle
