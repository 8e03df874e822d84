"""Classes by folders: told by names and places as by hand here, as by torchvision, or refused with every reading."""

from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder

from in4310repro.data.class_folders import CLASS_FOLDERS, chosen_in, read, read_as
from tests.builders import write_images

YEARS = ("forest/2023/1.png", "forest/2024/2.png", "sea/2023/3.png", "sea/2024/4.png")
# Classes of the images, in order, by hand.
TOLD = {
    "one-level": ("forest/1.png", "sea/2.png", "forest sea"),
    "any-depth": ("forest/1.png", "forest/2023/2.png", "sea/a/b/3.png", "forest forest sea"),
    "other-names-inside": ("forest/2023/1.png", "sea/2023/2.png", "sea/2024/3.png", "forest sea sea"),
    "one-other-name-inside": ("forest/2023/1.png", "forest/2024/2.png", "sea/2023/3.png", "sea/2025/4.png",
                              "forest forest sea sea"),
    "the-same-single-name-inside": ("forest/images/1.png", "sea/images/2.png", "forest sea"),
    "parts-in-classes": ("forest/train/1.png", "forest/test/2.png", "sea/train/3.png", "sea/test/4.png",
                         "forest forest sea sea"),
    "a-folder-around": ("archive/data/forest/1.png", "archive/data/sea/2.png", "forest sea"),
    "parts": ("Train/forest/1.png", "Train/sea/2.png", "Validation/sea/3.png", "forest sea sea"),
    "parts-with-other-classes": ("train/forest/1.png", "test/sea/2.png", "val/bay/3.png", "forest sea bay"),
    "parts-twice": ("seg_train/seg_train/sea/1.png", "seg_test/seg_test/bay/2.png", "sea bay"),
    "years-in-parts": ("train/forest/2023/1.png", "train/sea/2023/2.png", "test/sea/2024/3.png", "forest sea sea"),
    "folder-in-parts": ("x/train/images/forest/1.png", "x/test/images/sea/2.png", "forest sea"),
    "a-class-named-test": ("cat/1.png", "dog/2.png", "test/3.png", "cat dog test"),
    "classes-named-valid": ("invalid/1.png", "valid/2.png", "invalid valid"),
}  # fmt: skip
# Readings that are offered.
DOUBTFUL = {
    "years": (*YEARS, "outermost has forest 2, sea 2", "innermost has 2023 2, 2024 2"),
    "years-around": ("2023/sea/1.png", "2023/bay/2.png", "2024/Sea/3.png", "2024/bay/4.png",
                     "outermost has 2023 2, 2024 2", "innermost has Sea 1, bay 2, sea 1"),
    "three-levels": ("b/x/1/1.png", "b/y/1/1.png", "b/x/2/1.png", "b/y/2/1.png", "c/x/1/1.png", "c/y/1/1.png",
                     "outermost has b 4, c 2", "innermost has 1 4, 2 2", "second has x 3, y 3"),
    "the-same-names-deeper": ("b/all/x/1.png", "b/all/y/1.png", "c/all/x/1.png", "c/all/y/1.png",
                              "outermost has b 2, c 2", "innermost has x 2, y 2"),
    "parts-in-years": ("1/train/x/1.png", "1/train/y/2.png", "2/train/x/3.png", "2/train/y/4.png",
                       "outermost has 1 2, 2 2", "innermost has x 2, y 2"),
    "a-part-beside-classes": ("cat/1.png", "dog/2.png", "test/cat/3.png", "test/dog/4.png",
                              "outermost has cat 1, dog 1, test 2", "innermost has cat 2, dog 2"),
    "a-folder-beside-parts": ("train/cat/1.png", "test/dog/2.png", "more/3.png",
                              "outermost has more 1, test 1, train 1", "innermost has cat 1, dog 1, more 1"),
    "a-class-in-another": ("cat/1.png", "dog/2.png", "old/dog/3.png",
                           "outermost has cat 1, dog 1, old 1", "innermost has cat 1, dog 2"),
    "a-folder-in-one-part": ("train/cat/1.png", "train/dog/2.png", "test/all/cat/3.png",
                             "outermost has test 1, train 2", "innermost has cat 2, dog 1",
                             "second has all 1, cat 1, dog 1"),
    "images-in-parts": ("train/1.png", "test/2.png", "outermost has test 1, train 1"),
}  # fmt: skip


@pytest.mark.parametrize("tree", TOLD.values(), ids=TOLD)
def test_folders_tell_the_classes(tree: tuple[str, ...]) -> None:
    *paths, classes = tree
    reading = read(paths)
    assert [reading.classes[path] for path in paths] == classes.split()
    assert not reading.doubt


@pytest.mark.parametrize("tree", DOUBTFUL.values(), ids=DOUBTFUL)
def test_where_nothing_tells_every_reading_is_offered_with_counts_and_its_option_gives_it(
    tree: tuple[str, ...],
) -> None:
    paths, offered = ([each for each in tree if ("." in each) == is_path] for is_path in (True, False))
    readings = "; ".join(f"--class-folders {each}" for each in offered)
    assert read(paths).doubt == f"nothing tells which folders are the classes: {readings}"
    for chosen, _, counts in (each.split(" ", 2) for each in offered):
        classes = read(paths, chosen)
        assert not classes.doubt
        assert len(classes.classes) == len(paths)
        listed = [name for each in counts.split(", ") for name in [each.split()[0]] * int(each.split()[1])]
        assert sorted(classes.classes.values()) == listed


@pytest.mark.parametrize("name", ["one-level", "any-depth", "other-names-inside", "a-class-named-test"])
def test_the_outermost_folders_are_torchvisions_classes(name: str, tmp_path: Path) -> None:
    *paths, _ = TOLD[name]
    folder = ImageFolder(str(write_images(tmp_path, *paths)))
    named = {Path(path).relative_to(tmp_path).as_posix(): folder.classes[label] for path, label in folder.samples}
    assert read(paths).classes == named


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("any-depth", "folders in class folders are not classes: forest/2023, sea/a"),
        (
            "one-other-name-inside",
            "folders in class folders are not classes: forest/2023, forest/2024, sea/2023 and 1 more",
        ),
        ("a-folder-around", "archive/data holds all images, and the folders in it are the classes"),
        ("parts", "Train, Validation are parts of a download, and the folders in them are the classes"),
        ("a-class-named-test", "test is a class like the folders beside it, not a part of a download"),
    ],
)
def test_folders_that_are_no_classes_are_named(name: str, note: str) -> None:
    assert read(TOLD[name][:-1]).notes == (note,)
    assert read(TOLD["one-level"][:-1]).notes == ()


@pytest.mark.parametrize("chosen", CLASS_FOLDERS)
def test_a_split_says_which_folders_were_its_classes(chosen: str) -> None:
    paths = [f"{letter}/{number}/{sign}/1.png" for letter in "ab" for number in "12" for sign in "xy"]
    classes = read(paths, chosen).classes
    assert chosen_in(classes) == chosen
    assert (read_as(classes, paths).classes, read_as(classes, paths).doubt) == (classes, "")
    # Another folder has its classes in other places, where they are found by their names.
    other = [f"{sorted({*classes.values()})[number % 2]}/{number}.png" for number in range(6)]
    assert {*read_as(classes, other).classes.values()} == {*classes.values()}


def test_a_split_decides_also_where_the_folders_tell_other_classes() -> None:
    paths = TOLD["other-names-inside"][:-1]
    years = dict(zip(paths, ["2023", "2023", "2024"], strict=True))
    assert read_as(years, paths).classes == years


def test_a_folder_of_unknown_classes_is_read_as_it_tells() -> None:
    classes = {"cat/1.png": "cat", "dog/2.png": "dog"}
    assert read_as(classes, ["cow/1.png", "cow/old/2.png", "dog/3.png"]).classes["cow/old/2.png"] == "cow"
    assert read_as(classes, YEARS).doubt
