"""Splits: stratified over linked file contents, exact in size, written and read as a table."""

import functools
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from in4310repro.data.folders import Catalogue, Entry, catalogue
from in4310repro.data.splits import (
    PARTS,
    Split,
    check_contents,
    from_csv,
    link,
    members,
    parse_sizes,
    stratified_split,
    to_csv,
)
from in4310repro.system.numerics import generator_for
from tests.builders import write_images

SCENES = {"buildings": 2628, "forest": 2745, "glacier": 2957, "mountain": 3037, "sea": 2784, "street": 2883}
SUPPORTS = {
    "training": [1856, 1940, 2089, 2145, 1967, 2037],
    "validation": [309, 322, 347, 357, 327, 338],
    "test": [463, 483, 521, 535, 490, 508],
}


def made_up(counts: dict[str, int], pairs: tuple[tuple[str, str], ...] = ()) -> Catalogue:
    """Return a catalogue of made-up files, all different except for the byte-identical `pairs`."""
    classes = tuple(sorted(counts))
    numbers = {f"{name}/{n:05d}.jpg": f"{name}{n}" for name in classes for n in range(counts[name])}
    for number, (first, second) in enumerate(pairs):
        numbers[first] = numbers[second] = f"pair {number}"
    entries = (Entry(path, classes.index(path.split("/")[0]), contents) for path, contents in sorted(numbers.items()))
    return Catalogue(Path("nowhere"), classes, tuple(entries))


def class_counts(entries: Iterable[Entry], classes: int) -> list[int]:
    counts = Counter(entry.label for entry in entries)
    return [counts[label] for label in range(classes)]


@functools.cache
def course_split() -> Split:
    return stratified_split(made_up(SCENES), (12034, 2000, 3000), seed=0)


def test_the_full_set_is_split_into_the_supports_of_the_course() -> None:
    split = course_split()
    assert {part: class_counts(entries, 6) for part, entries in split.parts.items()} == SUPPORTS
    assert split.supports() == {part: dict(zip(SCENES, counts, strict=True)) for part, counts in SUPPORTS.items()}


def test_an_unstratified_draw_has_other_supports() -> None:
    entries = made_up(SCENES).entries
    unstratified = entries[:: len(entries) // 3000][:3000]
    assert len(unstratified) == len(course_split().parts["test"])
    assert class_counts(course_split().parts["test"], 6) == SUPPORTS["test"]
    assert class_counts(unstratified, 6) != SUPPORTS["test"]


def test_every_image_is_in_exactly_one_part() -> None:
    images = made_up({"a": 40, "b": 60})
    split = stratified_split(images, (70, 10, 20), seed=1)
    listed = [entry.path for part in PARTS for entry in split.parts[part]]
    assert sorted(listed) == [entry.path for entry in images.entries]


EIGHT_PAIRS = made_up({"a": 60, "b": 60}, tuple((f"a/{n:05d}.jpg", f"b/{n:05d}.jpg") for n in range(8)))


def leaked_contents(first: Iterable[Entry], second: Iterable[Entry]) -> set[str]:
    return {entry.sha256 for entry in first} & {entry.sha256 for entry in second}


@pytest.mark.parametrize("seed", range(20))
def test_identical_files_are_in_one_part_even_with_two_labels(seed: int) -> None:
    split = stratified_split(EIGHT_PAIRS, (80, 20, 20), seed)
    training, validation, test = (split.parts[part] for part in PARTS)
    assert not leaked_contents(training, test)
    assert not leaked_contents(training, validation)
    assert not leaked_contents(validation, test)
    assert [len(training), len(validation), len(test)] == [80, 20, 20]


def test_identical_files_reach_every_part_over_the_seeds() -> None:
    images = made_up({"a": 60, "b": 60}, (("a/00000.jpg", "b/00000.jpg"),))
    reached = set()
    for seed in range(30):
        split = stratified_split(images, (80, 20, 20), seed)
        (part,) = {part for part in PARTS if any(entry.sha256 == "pair 0" for entry in split.parts[part])}
        # The second number of the content says where among the 120 images; the first one only orders groups.
        place = 120 * float(generator_for(seed, "split", "pair 0").random(2)[1])
        assert part == PARTS[sum(place >= end for end in (80, 100))]
        reached.add(part)
    assert reached == set(PARTS)


TWELVE_GROUPS = [[f"a/{n:05d}.jpg", f"b/{n:05d}.jpg", f"b/{n + 20:05d}.jpg"] for n in range(12)]


@pytest.mark.parametrize("seed", range(20))
def test_images_that_belong_together_are_in_one_part_of_exact_size(seed: int) -> None:
    split = stratified_split(made_up({"a": 60, "b": 60}), (80, 20, 20), seed, TWELVE_GROUPS)
    part = {entry.path: name for name in PARTS for entry in split.parts[name]}
    assert all(len({part[path] for path in group}) == 1 for group in TWELVE_GROUPS)
    assert split.supports() == stratified_split(made_up({"a": 60, "b": 60}), (80, 20, 20), seed).supports()
    plain = stratified_split(made_up({"a": 60, "b": 60}), (80, 20, 20), seed)
    part = {entry.path: name for name in PARTS for entry in plain.parts[name]}
    assert any(len({part[path] for path in group}) > 1 for group in TWELVE_GROUPS)


def test_a_group_takes_the_copies_of_its_images_with_it() -> None:
    first, second = "a/00000.jpg", "b/00001.jpg"
    for seed in range(20):
        split = stratified_split(EIGHT_PAIRS, (80, 20, 20), seed, [[first, second]])
        part = {entry.path: name for name in PARTS for entry in split.parts[name]}
        assert len({part[path] for path in (first, "b/00000.jpg", second, "a/00001.jpg")}) == 1


def test_a_group_that_no_part_holds_is_refused() -> None:
    images = made_up({"a": 60, "b": 60})
    everything = [[entry.path for entry in images.entries]]
    with pytest.raises(ValueError, match=r"class a: images that are alike such as a/00000\.jpg fill more than a part"):
        stratified_split(images, (80, 20, 20), 0, everything)
    copies = Catalogue(Path("nowhere"), ("a",), tuple(Entry(f"a/{n}.jpg", 0, "one content") for n in range(9)))
    with pytest.raises(ValueError, match=r"class a: identical files such as a/0\.jpg fill more than a part"):
        stratified_split(copies, (3, 3, 3), 0)


def test_sizes_beyond_64_bits_are_refused_with_what_is_left_of_a_class() -> None:
    for size in (10**18, 10**30):
        left = 60 - size // 2 - 10
        with pytest.raises(ValueError, match=rf"class a gets {left} images in the training part; enlarge that part"):
            stratified_split(made_up({"a": 60, "b": 60}), (80, size, 20), 0)


def test_a_split_by_names_lets_identical_files_leak() -> None:
    by_names = [*EIGHT_PAIRS.entries[:60:6], *EIGHT_PAIRS.entries[61::6]]
    others = set(EIGHT_PAIRS.entries) - set(by_names)
    ours = stratified_split(EIGHT_PAIRS, (80, 20, 20), 0).parts
    assert len(by_names) == len(ours["test"])
    assert leaked_contents(by_names, others)
    assert not leaked_contents(ours["test"], [*ours["training"], *ours["validation"]])


def test_the_split_depends_on_the_seed_alone() -> None:
    images = made_up({"a": 40, "b": 60})
    assert stratified_split(images, (70, 10, 20), 1).parts == stratified_split(images, (70, 10, 20), 1).parts
    assert stratified_split(images, (70, 10, 20), 1).parts != stratified_split(images, (70, 10, 20), 2).parts


def test_sizes_are_counts_or_shares() -> None:
    assert parse_sizes("12034/2000/3000", 17034) == (12034, 2000, 3000)
    assert parse_sizes("0.7/0.1/0.2", 1000) == (700, 100, 200)
    assert parse_sizes("1/1/1", 3) == (1, 1, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1200/300", "not three positive numbers"),
        ("a/b/c", "not three positive numbers"),
        ("1800/0/0", "not three positive numbers"),
        ("1200/300/400", "adds up to 1900 images"),
        ("1200.5/299.5/300", "adds up to 1800 images"),
        ("0.5/0.2/0.2", "adds up to 0.9 instead of 1"),
        ("nan/1/2", "not three positive numbers"),
        ("inf/1/2", "not three positive numbers"),
    ],
)
def test_a_wrong_split_is_refused_with_the_valid_form(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"{message}.*1800 images, or shares such as"):
        parse_sizes(text, 1800)


def test_a_class_with_fewer_images_than_parts_is_named() -> None:
    with pytest.raises(ValueError, match="class b has 2 images; at least 3 are needed"):
        stratified_split(made_up({"a": 40, "b": 2}), (30, 6, 6), 0)


def test_a_part_without_images_of_a_class_is_named() -> None:
    with pytest.raises(ValueError, match="class b gets 0 images in the validation part"):
        stratified_split(made_up({"a": 90, "b": 3}), (81, 2, 10), 0)


@pytest.fixture
def written(tmp_path: Path) -> tuple[Split, Path]:
    """Return a split of image files, and the path of its CSV file."""
    root = write_images(tmp_path / "images", *(f"{'ab'[n % 2]}/{n}.png" for n in range(24)))
    split = stratified_split(catalogue(root), (12, 6, 6), 0)
    (tmp_path / "split.csv").write_bytes(to_csv(split))
    return split, tmp_path / "split.csv"


def test_a_table_holds_relative_paths(written: tuple[Split, Path]) -> None:
    split, file = written
    lines = file.read_text().splitlines()
    assert lines[0] == "path,class,sha256,part"
    assert all(line.startswith(("a/", "b/")) for line in lines[1:])
    assert str(split.root) not in file.read_text()


def test_a_split_reads_back_with_a_moved_root(written: tuple[Split, Path]) -> None:
    split, file = written
    moved = split.root.rename(split.root.with_name("moved"))
    read = from_csv(file, moved)
    assert (read.parts, read.classes, read.root) == (split.parts, split.classes, moved)


def test_a_missing_or_changed_image_is_named(written: tuple[Split, Path]) -> None:
    split, file = written
    check_contents(from_csv(file, split.root))
    (split.root / "a/0.png").write_bytes(b"other")
    with pytest.raises(ValueError, match=r"a/0\.png has other bytes"):
        check_contents(from_csv(file, split.root))
    (split.root / "a/0.png").unlink()
    with pytest.raises(ValueError, match=r"a/0\.png of the split is not below"):
        check_contents(from_csv(file, split.root))


@pytest.mark.parametrize("content", [b"", b"path,class\n1,2\n", b"path,class,sha256,part\na/1.png,a,0,exam\n", b"\xff"])
def test_a_corrupt_table_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"split\.csv"):
        from_csv(tmp_path / "split.csv", tmp_path)


def test_shares_add_up_to_1_within_a_rounding_error_of_theirs() -> None:
    assert parse_sizes("0.7/0.1000000005/0.2", 1000) == (700, 100, 200)
    with pytest.raises(ValueError, match="instead of 1"):
        parse_sizes("0.7/0.1000000015/0.2", 1000)


def test_a_class_with_an_image_in_each_part_is_enough() -> None:
    split = stratified_split(made_up({"a": 3, "b": 3}), (2, 2, 2), 0)
    assert split.supports() == {part: {"a": 1, "b": 1} for part in PARTS}


@pytest.mark.parametrize(
    ("path", "name", "sha256", "message"),
    [
        ("../a/1.png", "a", "0" * 64, r"row 2: path"),
        ("/a/1.png", "a", "0" * 64, r"row 2: path"),
        ("a/1.png", "", "0" * 64, r"row 2: class '' is not the name of a folder"),
        ("a/1.png", "a/b", "0" * 64, r"row 2: class 'a/b' is not"),
        ("a/1.png", "a\x1b", "0" * 64, r"row 2: class .* is not"),
        ("a/1.png", "a", "0" * 63, r"row 2: sha256 '0{63}' is not 64 hex digits"),
        ("a/1.png", "a", "A" * 64, r"row 2: sha256 'A{64}' is not 64 hex digits"),
    ],
)
def test_a_row_with_another_place_class_or_hash_is_refused(
    path: str, name: str, sha256: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "split.csv").write_text(f"path,class,sha256,part\n{path},{name},{sha256},test\n")
    with pytest.raises(ValueError, match=message):
        from_csv(tmp_path / "split.csv", tmp_path)


@pytest.mark.parametrize("seed", range(4))
def test_groups_are_the_connected_components_of_their_links(seed: int) -> None:
    generator = np.random.default_rng(seed)
    groups = [generator.choice(40, generator.integers(1, 4), replace=False).tolist() for _ in range(12)]
    graph = np.zeros((40, 40))
    for group in groups:
        graph[group[0], group] = 1
    _, component = scipy.sparse.csgraph.connected_components(graph, directed=False)
    numbers = link(range(40), groups)
    assert numbers == [int(np.nonzero(component == each)[0][0]) for each in component]
    assert members(numbers) == [
        np.nonzero(component == each)[0].tolist() for each in dict.fromkeys(component) if (component == each).sum() > 1
    ]
