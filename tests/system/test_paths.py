"""Paths from outside: only a path inside its folder is valid."""

from pathlib import Path

import pytest

from in4310repro.system.files import folder_name, path_below, regular_file, relative_path


@pytest.mark.parametrize("path", ["1.png", "sea/1.png", "a b/c,d.png", "größe/ü.png", "a..b/..c.png", "-/_"])
def test_what_a_catalogue_may_hold_is_valid(path: str) -> None:
    assert relative_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        *("", ".", "..", "/a.png", "a//b.png", "a/", "./a.png", "a/./b.png", "../a.png", "a/../b.png", "a/.."),
        *("C:a.png", "C:/a.png", "c:", "a\\b.png", "\\\\host\\share\\a.png", "//host/share/a.png", "..\\a.png"),
        *("a\0.png", "a\n.png", "a\x1b[2J.png", "\u202egnp.exe", "\ud800.png"),
    ],
)
def test_what_could_lead_elsewhere_or_cannot_be_printed_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"it must be a relative FOLDER/FILE, no \.\., drive or backslash"):
        relative_path(path)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "-", "_-", "a/b", "a\\b", "a.b", "a b", "C:x", "a\n", "x" * 101, "com1"]
)
def test_a_name_that_is_no_plain_folder_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"preset .* names a folder: it must be at most 60 letters, digits, - and _"):
        folder_name(name, "preset")


def test_a_link_may_lead_to_another_file_of_its_folder_and_to_no_other(tmp_path: Path) -> None:
    folder, outside = tmp_path / "run", tmp_path / "outside"
    (folder / "a").mkdir(parents=True)
    outside.mkdir()
    (folder / "here").write_text("mine")
    (folder / "a/inner").symlink_to("../here")
    (folder / "a/outer").symlink_to("../../outside/new")
    (folder / "b").symlink_to(outside)
    (folder / "circle").symlink_to("circle")
    assert regular_file(folder, "a/inner").read_text() == "mine"
    for name in ("a/outer", "b/new", "b"):
        with pytest.raises(ValueError, match="is a link that leads out of"):
            path_below(folder, name)
    with pytest.raises(ValueError, match="circle"):
        regular_file(folder, "circle")


def test_a_folder_that_is_itself_reached_by_a_link_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/file").write_text("mine")
    (tmp_path / "link").symlink_to("run")
    assert regular_file(tmp_path / "link", "file").read_text() == "mine"


def test_a_folder_in_the_place_of_a_file_and_a_file_that_is_missing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").mkdir()
    with pytest.raises(ValueError, match="is not a regular file"):
        regular_file(tmp_path, "metrics.json")
    with pytest.raises(ValueError, match=r"none\.json is not there"):
        regular_file(tmp_path, "none.json")
