"""Splits: stratified over contents, exact in size, portable as a table."""

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from in4310repro.data.folders import Catalogue, Entry
from in4310repro.data.splits import PARTS, Split, from_csv, parse_sizes, split, to_csv

SCENES = {"buildings": 2628, "forest": 2745, "glacier": 2957, "mountain": 3037, "sea": 2784, "street": 2883}
SUPPORTS = {
    "training": [1856, 1940, 2089, 2145, 1967, 2037],
    "validation": [309, 322, 347, 357, 327, 338],
    "test": [463, 483, 521, 535, 490, 508],
}


def made_up(counts: dict[str, int], pairs: tuple[tuple[str, str], ...] = ()) -> Catalogue:
    """A catalogue of contents that differ, but for pairs of byte-identical files."""
    classes = tuple(sorted(counts))
    numbers = {f"{name}/{n:05d}.jpg": f"{name}{n}" for name in classes for n in range(counts[name])}
    for number, (one, other) in enumerate(pairs):
        numbers[one] = numbers[other] = f"pair {number}"
    entries = (Entry(path, classes.index(path.split("/")[0]), contents) for path, contents in sorted(numbers.items()))
    return Catalogue(Path("nowhere"), classes, tuple(entries))


def supports(found: Split) -> dict[str, list[int]]:
    return {
        part: [Counter(entry.label for entry in entries)[label] for label in range(len(found.classes))]
        for part, entries in found.parts.items()
    }


def test_the_full_set_is_split_into_the_supports_of_the_course() -> None:
    found = split(made_up(SCENES), (12034, 2000, 3000), seed=0)
    assert supports(found) == SUPPORTS


def test_an_unstratified_draw_has_other_supports() -> None:
    entries = made_up(SCENES).entries
    unstratified = Counter(entry.label for entry in entries[:: len(entries) // 3000][:3000])
    assert [unstratified[label] for label in range(6)] != SUPPORTS["test"]


def test_every_image_is_in_exactly_one_part() -> None:
    images = made_up({"a": 40, "b": 60})
    found = split(images, (70, 10, 20), seed=1)
    listed = [entry.path for part in PARTS for entry in found.parts[part]]
    assert sorted(listed) == [entry.path for entry in images.entries]


@pytest.mark.parametrize("seed", range(20))
def test_identical_files_share_a_side_even_under_two_classes(seed: int) -> None:
    pairs = tuple((f"a/{n:05d}.jpg", f"b/{n:05d}.jpg") for n in range(8))
    found = split(made_up({"a": 60, "b": 60}, pairs), (80, 20, 20), seed)
    sides = {part: {entry.sha256 for entry in entries} for part, entries in found.parts.items()}
    assert not (sides["training"] & sides["test"] | sides["training"] & sides["validation"])
    assert not sides["validation"] & sides["test"]
    assert [len(found.parts[part]) for part in PARTS] == [80, 20, 20]


def test_identical_files_reach_every_part_over_the_seeds() -> None:
    catalogue = made_up({"a": 60, "b": 60}, (("a/00000.jpg", "b/00000.jpg"),))
    reached = set()
    for seed in range(30):
        found = split(catalogue, (80, 20, 20), seed)
        reached |= {part for part in PARTS if any(entry.sha256 == "pair 0" for entry in found.parts[part])}
    assert reached == set(PARTS)


def test_a_split_by_names_lets_identical_files_leak() -> None:
    catalogue = made_up({"a": 60, "b": 60}, tuple((f"a/{n:05d}.jpg", f"b/{n:05d}.jpg") for n in range(8)))
    test = {entry.sha256 for entry in catalogue.entries[:60:6]}
    training = {entry.sha256 for position, entry in enumerate(catalogue.entries) if position % 6 or position >= 60}
    assert test & training


def test_the_seed_alone_decides_who_goes_where() -> None:
    images = made_up({"a": 40, "b": 60})
    assert split(images, (70, 10, 20), 1).parts == split(images, (70, 10, 20), 1).parts
    assert split(images, (70, 10, 20), 1).parts != split(images, (70, 10, 20), 2).parts


def test_sizes_are_counts_or_shares() -> None:
    assert parse_sizes("12034/2000/3000", 17034) == (12034, 2000, 3000)
    assert parse_sizes("0.7/0.1/0.2", 1000) == (700, 100, 200)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1200/300", "not three positive numbers"),
        ("a/b/c", "not three positive numbers"),
        ("1800/0/0", "not three positive numbers"),
        ("1200/300/400", "adds up to 1900 images"),
        ("1200.5/299.5/300", "adds up to 1800 images"),
        ("0.5/0.2/0.2", "adds up to 0.9 and not to 1"),
        ("nan/1/2", "not three positive numbers"),
        ("inf/1/2", "not three positive numbers"),
    ],
)
def test_a_wrong_split_is_refused_with_the_valid_form(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"{message}.*1800 images, or shares such as"):
        parse_sizes(text, 1800)


def test_a_class_with_fewer_images_than_parts_is_named() -> None:
    with pytest.raises(ValueError, match="class b has 2 images; at least 3 are needed"):
        split(made_up({"a": 40, "b": 2}), (30, 6, 6), 0)


def test_a_part_without_images_of_a_class_is_named() -> None:
    with pytest.raises(ValueError, match="class b gets 0 images in the validation part"):
        split(made_up({"a": 90, "b": 3}), (81, 2, 10), 0)


@pytest.fixture
def written(tmp_path: Path) -> tuple[Split, Path]:
    """A split of real files, and its table."""
    from in4310repro.data.folders import catalogue

    for number in range(24):
        file = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), number).save(file)
    found = split(catalogue(tmp_path / "images"), (12, 6, 6), 0)
    (tmp_path / "split.csv").write_bytes(to_csv(found))
    return found, tmp_path / "split.csv"


def test_a_table_holds_relative_paths(written: tuple[Split, Path]) -> None:
    found, file = written
    lines = file.read_text().splitlines()
    assert lines[0] == "path,class,sha256,part"
    assert all(line.startswith(("a/", "b/")) for line in lines[1:])
    assert str(found.root) not in file.read_text()


def test_a_split_reads_back_with_a_moved_root(written: tuple[Split, Path]) -> None:
    found, file = written
    moved = found.root.rename(found.root.with_name("moved"))
    again = from_csv(file, moved)
    assert (again.parts, again.classes, again.root) == (found.parts, found.classes, moved)


def test_a_missing_or_changed_image_is_named(written: tuple[Split, Path]) -> None:
    found, file = written
    (found.root / "a/0.png").write_bytes(b"other")
    with pytest.raises(ValueError, match=r"a/0\.png has other bytes"):
        from_csv(file, found.root)
    (found.root / "a/0.png").unlink()
    with pytest.raises(ValueError, match=r"a/0\.png of the split is not below"):
        from_csv(file, found.root)


@pytest.mark.parametrize("damage", [b"", b"path,class\n1,2\n", b"path,class,sha256,part\na/1.png,a,0,exam\n", b"\xff"])
def test_a_damaged_table_is_refused_by_name(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_bytes(damage)
    with pytest.raises(ValueError, match=r"split\.csv"):
        from_csv(tmp_path / "split.csv", tmp_path)
