"""The drawn scenes as files: lossless, drawn once, and refused when they were changed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from in4310repro.data import embedded, scenes
from in4310repro.data.embedded import embedded_catalogue, write_scenes


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IN4310REPRO_CACHE", str(tmp_path / "cache"))


def test_files_hold_the_pixels_that_were_drawn() -> None:
    drawn = embedded_catalogue(2, 32, 0)
    assert drawn.counts() == dict.fromkeys(scenes.CLASSES, 2)
    with Image.open(drawn.root / "sea" / "0001.bmp") as picture:
        assert np.array_equal(np.asarray(picture), scenes.draw("sea", 1, 32, 0))


def test_scenes_are_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = embedded_catalogue(2, 32, 0)
    monkeypatch.setattr(scenes, "draw", None)
    assert embedded_catalogue(2, 32, 0) == first


def test_a_changed_scene_is_refused() -> None:
    root = embedded_catalogue(2, 32, 0).root
    Image.new("RGB", (32, 32)).save(root / "sea" / "0001.bmp")
    with pytest.raises(ValueError, match="was changed since its scenes were drawn; remove it"):
        embedded_catalogue(2, 32, 0)


def test_an_interrupted_drawing_leaves_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = scenes.draw

    def interrupted(label: str, *arguments: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        if label == "sea":
            raise KeyboardInterrupt
        return draw(label, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(scenes, "draw", interrupted)
        with pytest.raises(KeyboardInterrupt):
            embedded_catalogue(2, 32, 0)
    assert not embedded.embedded_folder(2, 32, 0).exists()
    assert len(embedded_catalogue(2, 32, 0).entries) == 12


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="mine is not empty"):
        write_scenes(tmp_path / "mine", 1, 32, 0)
