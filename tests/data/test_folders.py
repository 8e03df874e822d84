"""Catalogues of trees with a folder for each class: sorted, hashed, and with every fault named."""

import hashlib
import os
import sys
from pathlib import Path

import pytest

from in4310repro.data.class_folders import Reading
from in4310repro.data.folders import catalogue, contents_sha256, image_files, survey
from tests.builders import Watched, write_images


def test_labels_follow_the_sorted_class_names(tmp_path: Path) -> None:
    images = catalogue(write_images(tmp_path, "sea/1.png", "forest/2.png", "forest/1.png", "buildings/9.png"))
    assert images.classes == ("buildings", "forest", "sea")
    assert [(entry.path, entry.label) for entry in images.entries] == [
        ("buildings/9.png", 0),
        ("forest/1.png", 1),
        ("forest/2.png", 1),
        ("sea/1.png", 2),
    ]


def test_an_entry_carries_the_sha256_of_its_file(tmp_path: Path) -> None:
    entry = catalogue(write_images(tmp_path, "a/1.png", "b/1.png")).entries[0]
    assert entry.sha256 == hashlib.sha256((tmp_path / "a/1.png").read_bytes()).hexdigest()


@pytest.mark.parametrize("around", ["", "archive/"])
def test_kaggles_nested_folders_are_joined_and_its_unlabelled_one_is_skipped(around: str, tmp_path: Path) -> None:
    paths = [f"seg_train/seg_train/{name}/1.jpg" for name in ("sea", "forest")]
    paths += ["seg_test/seg_test/sea/2.jpg", "seg_test/seg_test/forest/2.jpg", "seg_pred/seg_pred/3.jpg"]
    said: list[str] = []
    images = catalogue(write_images(tmp_path, *(f"{around}{path}" for path in paths)), Watched(say=said.append))
    assert images.counts() == {"forest": 2, "sea": 2}
    skipped = [line for line in said if "skipped" in line]
    assert skipped == [f"{tmp_path / around / 'seg_pred'} is skipped: its images have no classes"]
    assert len(image_files(tmp_path)) == 4
    assert len(image_files(tmp_path, unlabelled=True)) == 5


def test_a_reader_tells_the_classes_unless_they_are_chosen(tmp_path: Path) -> None:
    root = write_images(tmp_path, "cat/2023/1.png", "dog/2024/2.png")
    for chosen, classes in ((None, ("a", "b")), ("innermost", ("2023", "2024"))):
        images = catalogue(root, Watched(), chosen, lambda paths: Reading(dict(zip(paths, "ab", strict=True))))
        assert images.classes == classes


def test_paths_are_relative_so_the_tree_can_move(tmp_path: Path) -> None:
    first = catalogue(write_images(tmp_path / "here", "a/1.png", "b/1.png"))
    (tmp_path / "here").rename(tmp_path / "there")
    assert contents_sha256(catalogue(tmp_path / "there").entries) == contents_sha256(first.entries)


def test_a_changed_byte_changes_the_contents(tmp_path: Path) -> None:
    before = contents_sha256(catalogue(write_images(tmp_path, "a/1.png", "b/1.png")).entries)
    file = tmp_path / "a/1.png"
    file.write_bytes(file.read_bytes() + b"\0")
    assert contents_sha256(catalogue(tmp_path).entries) != before


def test_images_are_the_files_with_an_images_suffix_in_any_case(tmp_path: Path) -> None:
    suffixes = ["BMP", "bmp", "gif", "jpeg", "jpg", "png", "ppm", "tif", "tiff", "webp"]
    for suffix in (*suffixes, "avif", "csv", "svg"):
        (tmp_path / f"1.{suffix}").touch()
    assert [path.name for path in image_files(tmp_path)] == [f"1.{suffix}" for suffix in suffixes]


def test_hidden_files_and_those_without_an_images_suffix_are_skipped(tmp_path: Path) -> None:
    write_images(tmp_path, "a/1.png", "b/1.png", "a/.hidden.png", ".git/x/1.png")
    (tmp_path / "a/notes.txt").write_text("no image")
    assert len(catalogue(tmp_path).entries) == 2


def test_a_linked_class_folder_is_a_class_like_any_other(tmp_path: Path) -> None:
    write_images(tmp_path / "data", "a/1.png", "b/1.png")
    write_images(tmp_path / "elsewhere", "1.png")
    (tmp_path / "data" / "c").symlink_to(tmp_path / "elsewhere")
    assert catalogue(tmp_path / "data").counts() == {"a": 1, "b": 1, "c": 1}


def test_a_link_in_a_circle_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="again is a link to a folder around it"):
        catalogue(tmp_path)


def test_a_name_that_breaks_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="characters that cannot be printed; rename it"):
        catalogue(write_images(tmp_path, "a/1\r.png", "b/1.png"))


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    write_images(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "glacier").mkdir()
    with pytest.raises(ValueError, match="glacier has no images"):
        catalogue(tmp_path)


@pytest.mark.parametrize("step", [1, -1])
def test_empty_class_folders_are_reported_by_name_whatever_the_order_of_the_directory(
    step: int, tmp_path: Path
) -> None:
    write_images(tmp_path, "a/1.png", "b/1.png")
    empty = [f"{letter}{number}" for letter in "cd" for number in range(5)]
    # A directory lists them by a hash, as they were made, or the last one first.
    for name in empty[::step]:
        (tmp_path / name).mkdir()
    named = [fault.split(" has no images")[0].rpartition("/")[2] for fault in survey(tmp_path)[1]]
    assert named == empty


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no folder .*nowhere"):
        catalogue(tmp_path / "nowhere")


def test_images_outside_class_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"such as 1\.png; each must be in ROOT/CLASS/IMAGE"):
        catalogue(write_images(tmp_path, "a/1.png", "b/1.png", "1.png"))


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 class folders with images; at least 2"):
        catalogue(write_images(tmp_path, "a/1.png"))


@pytest.mark.parametrize(
    ("composed", "decomposed"),
    [("caf\u00e9", "cafe\u0301"), ("\u00c5", "\u212b"), ("\ud55c", "\u1112\u1161\u11ab")],
    ids=ascii,
)
def test_two_names_that_differ_by_normalisation_alone_are_refused_as_classes_and_as_files(
    composed: str, decomposed: str, tmp_path: Path
) -> None:
    for paths, kind in (
        ((f"{composed}/1.png", f"{decomposed}/2.png", "b/1.png"), "class folders"),
        ((f"a/{composed}.png", f"a/{decomposed}.png", "b/1.png"), "files"),
        ((f"a/{composed}/1.png", f"a/{decomposed}/1.png", "b/1.png"), "files"),
    ):
        root = write_images(tmp_path / kind / paths[0], *paths)
        if len({file.relative_to(root) for file in root.rglob("*.png")}) < len(paths):
            pytest.skip("this file system takes both names for one")
        with pytest.raises(ValueError, match=rf"^{kind} .* differ by Unicode normalisation alone") as refused:
            catalogue(root)
        assert ascii(composed)[1:-1] in str(refused.value)
        assert ascii(decomposed)[1:-1] in str(refused.value)


def test_names_that_differ_in_case_are_two_classes(tmp_path: Path) -> None:
    root = write_images(tmp_path, "A/1.png", "a/1.png")
    if len(list(root.iterdir())) < 2:
        pytest.skip("this file system takes both names for one")
    assert catalogue(root).classes == ("A", "a")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_no_text_are_refused_in_one_sentence(tmp_path: Path) -> None:
    raw = os.fsdecode(b"caf\xe9")
    write_images(tmp_path, "plain/a/1.png", "plain/b/1.png", f"file/a/{raw}.png", f"class/{raw}/1.png", "class/b/1.png")
    (tmp_path / raw).mkdir()
    for root, kind in ((tmp_path / raw, "folder"), (tmp_path / "file", "file"), (tmp_path / "class", "file")):
        with pytest.raises(ValueError, match=rf"{kind} name '.*caf\\udce9.*; rename it$"):
            catalogue(root)
