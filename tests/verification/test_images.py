"""The split and its images: the split is drawn again, and no image is changed, missing or added."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from in4310repro.data.splits import Split, to_csv
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.system.numerics import Numerics
from in4310repro.verification.images import image_differences, scene_differences, split_differences
from tests.verification.given import evidence_of

Find = Callable[[FinishedRun], list[str]]


@pytest.fixture
def of_split(numerics: Numerics) -> Find:
    return lambda run: split_differences(evidence_of(run, numerics))


@pytest.fixture
def of_scenes(numerics: Numerics) -> Find:
    return lambda run: scene_differences(evidence_of(run, numerics))


@pytest.fixture
def run(own_records: Path) -> FinishedRun:
    return FinishedRun.open(own_records)


def forged(run: FinishedRun, **parts: tuple[object, ...]) -> FinishedRun:
    """Return the run with other parts (training, validation, test) of its split, also in its file."""
    split = Split(run.split.root, run.split.classes, {**run.split.parts, **parts})  # type: ignore[dict-item]
    run.files.write_bytes("split.csv", to_csv(split))
    return replace(run, split=split)


def test_the_split_of_a_run_is_drawn_again(run: FinishedRun, of_split: Find, of_scenes: Find) -> None:
    assert of_split(run) == []
    assert of_scenes(run) == []


def test_training_and_test_swapped_are_found_by_the_first_row(run: FinishedRun, of_split: Find) -> None:
    (sentence,) = of_split(forged(run, training=run.split.parts["test"], test=run.split.parts["training"]))
    assert re.search(r"split\.csv: row \d+ is buildings/.*,test; seed 0 and split 24/12/12 draw .*,training", sentence)


def test_two_images_that_changed_places_are_found(run: FinishedRun, of_split: Find) -> None:
    training, test = run.split.parts["training"], run.split.parts["test"]
    changed = forged(run, training=(*training[1:], test[0]), test=(*test[1:], training[0]))
    assert len(of_split(changed)) == 1


def test_a_split_of_other_scenes_than_are_drawn_is_a_difference(run: FinishedRun, of_scenes: Find) -> None:
    entry, *others = run.split.parts["training"]
    changed = forged(run, training=(replace(entry, sha256="0" * 64), *others))
    assert f"the split has no {entry.path} that is the scene drawn now" in of_scenes(changed)


def test_a_row_left_out_is_found_by_sizes_and_by_scenes(run: FinishedRun, of_split: Find, of_scenes: Find) -> None:
    changed = forged(run, training=run.split.parts["training"][1:])
    assert "no split can be drawn from its images" in of_split(changed)[0]
    assert "the split has 47 images" in of_scenes(changed)[0]


def test_a_test_row_in_training_too_is_found(run: FinishedRun, of_split: Find) -> None:
    changed = forged(run, training=(*run.split.parts["training"][1:], run.split.parts["test"][0]))
    assert of_split(changed)


def test_another_seed_draws_another_split(run: FinishedRun, of_split: Find) -> None:
    assert "seed 1 and split 24/12/12 draw" in of_split(replace(run, config=replace(run.config, seed=1)))[0]


def test_a_split_with_its_rows_in_another_order_is_a_difference(run: FinishedRun, of_split: Find) -> None:
    heading, *rows = (run.folder / "split.csv").read_text().splitlines()
    RunFolder(run.folder).write_bytes("split.csv", ("\n".join([heading, *reversed(rows)]) + "\n").encode())
    assert "row 2 is " in of_split(run)[0]


def test_a_split_with_other_line_ends_is_a_difference(run: FinishedRun, of_split: Find) -> None:
    content = (run.folder / "split.csv").read_bytes()
    RunFolder(run.folder).write_bytes("split.csv", content.replace(b"\n", b"\r\n"))
    assert "bytes; the split that is drawn from its images has" in of_split(run)[0]


def test_images_changed_added_and_missing_are_said(
    run: FinishedRun, numerics: Numerics, copied_scenes: Callable[[Path], Path], tmp_path: Path
) -> None:
    root = copied_scenes(tmp_path / "scenes")
    assert [*image_differences(evidence_of(run, numerics, str(root)))] == []
    first, second = (entry.path for entry in run.split.parts["training"][:2])
    (root / first).write_bytes((root / second).read_bytes())
    (root / "sea/9999.bmp").write_bytes(b"another")
    changed, added = image_differences(evidence_of(run, numerics, str(root)))
    assert f"training image {root / first}" in changed
    assert "1 images" in added
    assert "sea/9999.bmp" in added
    (root / second).unlink()
    with pytest.raises(ValueError, match=f"{second}.*--data"):
        [*image_differences(evidence_of(run, numerics, str(root)))]
