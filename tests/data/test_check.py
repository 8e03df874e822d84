"""What is wrong with a folder: planted faults are found, and nothing else."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from in4310repro.data import check, scenes
from in4310repro.data.check import look_alike
from in4310repro.data.splits import COLUMNS
from in4310repro.runs import file_sha256

CLASSES = ("forest", "sea", "street")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine different drawn scenes of three classes."""
    for name in CLASSES:
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.fromarray(scenes.draw(name, number, 96, 0)).save(tmp_path / name / f"{number}.png")
    return tmp_path


def copied(folder: Path, source: str, target: str) -> None:
    (folder / target).write_bytes((folder / source).read_bytes())


def test_nothing_is_wrong_with_different_scenes(folder: Path) -> None:
    found = check.check(folder)
    assert not found.wrong
    assert found.images == {"forest": 3, "sea": 3, "street": 3}
    assert (found.sizes, found.not_square, found.modes) == ({"96 x 96": 9}, 0, {"RGB": 9})
    assert (found.identical, found.near) == ([], [])


def test_copies_are_grouped_and_conflict_under_two_labels(folder: Path) -> None:
    copied(folder, "sea/0.png", "sea/again.png")
    copied(folder, "sea/1.png", "forest/again.png")
    found = check.check(folder)
    assert found.identical == [["forest/again.png", "sea/1.png"], ["sea/0.png", "sea/again.png"]]
    assert found.conflicts == [["forest/again.png", "sea/1.png"]]
    assert found.near == []
    assert found.wrong


def test_a_recompressed_brighter_image_looks_alike_and_is_no_proof(folder: Path) -> None:
    with Image.open(folder / "street/2.png") as image:
        image.resize((80, 80)).point(lambda value: min(255, value + 12)).save(folder / "sea/other.jpg", quality=60)
    found = check.check(folder)
    assert found.near == [("sea/other.jpg", "street/2.png")] == found.near_conflicts
    assert not found.wrong


def test_truncated_and_false_images_are_named_and_the_rest_is_still_checked(folder: Path) -> None:
    with Image.open(folder / "sea/0.png") as image:
        image.save(folder / "sea/cut.jpg")
    data = (folder / "sea/cut.jpg").read_bytes()
    (folder / "sea/cut.jpg").write_bytes(data[: len(data) // 2])
    (folder / "forest/note.jpg").write_text("no image")
    Image.new("L", (40, 30)).save(folder / "sea/grey.png")
    found = check.check(folder)
    assert set(found.unreadable) == {"sea/cut.jpg", "forest/note.jpg"}
    assert "truncated" in found.unreadable["sea/cut.jpg"]
    assert (found.not_square, found.modes) == (1, {"RGB": 9, "L": 1})
    assert "sea/cut.jpg" in check.render(found)


def split_file(folder: Path, parts: dict[str, str]) -> Path:
    file = folder.parent / "split.csv"
    rows = [[path, path.split("/")[0], file_sha256(folder / path), part] for path, part in parts.items()]
    with file.open("w", newline="") as lines:
        csv.writer(lines).writerows([COLUMNS, *rows])
    return file


def test_a_split_that_leaks_by_bytes_or_by_looks_is_found(folder: Path) -> None:
    copied(folder, "sea/0.png", "sea/again.png")
    with Image.open(folder / "street/2.png") as image:
        image.save(folder / "street/other.jpg", quality=70)
    parts = {file.relative_to(folder).as_posix(): "training" for file in sorted(folder.glob("*/*"))}
    assert not check.check(folder, split_file(folder, parts)).wrong
    parts |= {"sea/again.png": "test", "street/other.jpg": "validation"}
    found = check.check(folder, split_file(folder, parts))
    assert found.leaks == [["sea/0.png", "sea/again.png"]]
    assert found.near_leaks == [("street/2.png", "street/other.jpg")]
    assert found.wrong


def test_a_split_of_other_images_is_a_difference(folder: Path) -> None:
    parts = {file.relative_to(folder).as_posix(): "training" for file in sorted(folder.glob("*/*"))}
    parts |= {"sea/0.png": "test", "sea/1.png": "validation"}
    file = split_file(folder, parts)
    copied(folder, "street/0.png", "street/new.png")
    (folder / "forest/0.png").unlink()
    (folder / "forest/1.png").write_bytes((folder / "forest/1.png").read_bytes() + b"x")
    assert check.check(folder, file).split_differences == [
        "forest/0.png is in the split and not in the folder",
        "street/new.png is in the folder and not in the split",
        "forest/1.png has other bytes than in the split",
    ]


def differing_bits(one: np.ndarray, other: np.ndarray) -> int:
    """Of two hashes, as integers."""
    first, second = (int("".join("01"[int(bit)] for bit in bits), 2) for bits in (one, other))
    return (first ^ second).bit_count()


@pytest.mark.parametrize("rows", [1, 7, 2048])
def test_pairs_that_look_alike_are_those_of_the_counted_bits(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "ROWS", rows)
    generator = np.random.default_rng(0)
    bits = [generator.random(64) < 0.5 for _ in range(20)]
    for flips in range(check.NEAR + 3):
        bits.append(bits[flips] ^ (np.arange(64) < flips))
    names = [f"{number:02d}" for number in range(len(bits))]
    by_hand = [
        (names[i], names[j])
        for i in range(len(bits))
        for j in range(i + 1, len(bits))
        if differing_bits(bits[i], bits[j]) <= check.NEAR
    ]
    assert look_alike(names, bits) == by_hand
    assert len(by_hand) == check.NEAR + 1
    # A looser threshold is noticed.
    monkeypatch.setattr(check, "NEAR", check.NEAR + 1)
    assert look_alike(names, bits) != by_hand
