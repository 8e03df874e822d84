"""Drawn scenes as files: lossless, drawn once, and refused if they were changed."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from in4310repro.data import embedded, scenes
from in4310repro.data.embedded import (
    CONTENTS_FILE,
    differences_from_drawn,
    embedded_catalogue,
    write_scenes,
)
from in4310repro.data.folders import Entry, catalogue, contents_sha256
from in4310repro.data.splits import Split, stratified_split
from in4310repro.system import machine
from in4310repro.system.files import file_sha256
from in4310repro.system.progress import SILENT, Progress
from tests.builders import Watched


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IN4310REPRO_CACHE", str(tmp_path / "cache"))


def test_files_hold_the_pixels_that_were_drawn() -> None:
    drawn = embedded_catalogue(2, 32, 0)
    assert drawn.counts() == dict.fromkeys(scenes.CLASSES, 2)
    with Image.open(drawn.root / "sea" / "0001.bmp") as picture:
        assert np.array_equal(np.asarray(picture), scenes.draw("sea", 1, 32, 0))


def test_scenes_are_drawn_once() -> None:
    steps: list[object] = []
    progress = Watched(step=lambda *step: steps.append(step))
    first = embedded_catalogue(2, 32, 0, progress)
    assert steps == 12 * [("drawing scenes", 1, "")]
    assert embedded_catalogue(2, 32, 0, progress) == first
    assert len(steps) == 12


def test_a_changed_scene_is_refused() -> None:
    root = embedded_catalogue(2, 32, 0).root
    Image.new("RGB", (32, 32)).save(root / "sea" / "0001.bmp")
    with pytest.raises(ValueError, match="was changed since its scenes were drawn; remove it"):
        embedded_catalogue(2, 32, 0)


@pytest.mark.parametrize(
    "damage",
    [
        lambda root: (root / CONTENTS_FILE).unlink(),
        lambda root: (root / CONTENTS_FILE).write_bytes(b"\xff"),
        lambda root: (root / "sea/0000.bmp").unlink(),
        lambda root: [file.unlink() for file in (root / "sea").iterdir()],
        lambda root: (root / "sea/more.bmp").write_bytes((root / "sea/0000.bmp").read_bytes()),
        lambda root: (root / "sea/0000.bmp").rename(root / "forest/more.bmp"),
    ],
    ids=["no seal", "seal of other bytes", "missing", "no class", "added", "moved"],
)
def test_any_other_change_of_the_cache_is_refused_in_the_same_words(damage: Callable[[Path], object]) -> None:
    damage(embedded_catalogue(2, 32, 0).root)
    with pytest.raises(ValueError, match="was changed since its scenes were drawn; remove it"):
        embedded_catalogue(2, 32, 0)


def drawn_split(progress: Progress = SILENT) -> Split:
    return stratified_split(embedded_catalogue(3, 32, 0, progress), (6, 6, 6), 0)


def changed(split: Split, part: str, **values: object) -> Split:
    """Return the split with changed fields in the first entry of a part (training, validation or test)."""
    first, *others = split.parts[part]
    return replace(split, parts={**split.parts, part: (replace(first, **values), *others)})  # type: ignore[arg-type]


def test_a_split_of_drawn_scenes_is_found_so_without_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = Progress(Console(file=(shown := io.StringIO())))
    split = drawn_split(progress)
    (tmp_path / "file").touch()
    monkeypatch.setenv("IN4310REPRO_CACHE", str(tmp_path / "file"))
    assert differences_from_drawn(split, 3, 32, 0, progress) == []
    assert all(f"{task}: 18/18" in shown.getvalue() for task in ("drawing scenes", "drawing scenes again"))


@pytest.mark.parametrize("part", ["training", "validation", "test"])
def test_a_scene_that_was_changed_in_the_cache_with_its_seal_is_a_difference(part: str) -> None:
    path = drawn_split().parts[part][0].path
    root = embedded_catalogue(3, 32, 0).root
    Image.new("RGB", (32, 32)).save(root / path)
    (root / CONTENTS_FILE).write_text(contents_sha256(catalogue(root).entries))
    forged = {
        name: tuple(Entry(e.path, e.label, file_sha256(root / e.path)) for e in entries)
        for name, entries in drawn_split().parts.items()
    }
    differences = differences_from_drawn(replace(drawn_split(), parts=forged), 3, 32, 0)
    assert differences == [f"the split lacks the scene {path} as it is drawn now"]


def test_another_class_path_number_or_seed_is_a_difference() -> None:
    split = drawn_split()
    first = split.parts["test"][0]
    for other in (changed(split, "test", label=5 - first.label), changed(split, "test", path="sea/9999.bmp")):
        assert differences_from_drawn(other, 3, 32, 0) == [f"the split lacks the scene {first.path} as it is drawn now"]
    assert len(differences_from_drawn(split, 3, 32, 1)) == 10
    assert differences_from_drawn(split, 10**12, 32, 0) == [
        "the split has 18 images; 1000000000000 scenes of each of 6 classes are drawn"
    ]


def test_scenes_are_refused_from_the_byte_on_that_the_memory_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    need = 2 * 6 * 32 * 32 * 3
    monkeypatch.setattr(machine, "memory", lambda: need)
    embedded.refuse_too_many(2, 32, 0)
    monkeypatch.setattr(machine, "memory", lambda: need - 1)
    with pytest.raises(ValueError, match=r"^2 scenes of each .*, decoded, take at least .* of memory"):
        embedded.refuse_too_many(2, 32, 0)


def test_an_interrupted_drawing_leaves_no_folder() -> None:
    left = iter(range(5))

    def interrupt(*_step: object) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embedded_catalogue(2, 32, 0, Watched(step=interrupt))
    assert not embedded.embedded_folder(2, 32, 0).exists()
    assert len(embedded_catalogue(2, 32, 0).entries) == 12


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="mine is not empty"):
        write_scenes(tmp_path / "mine", 1, 32, 0)
