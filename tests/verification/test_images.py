"""Checks of images, their pixels, and the split, against the records of a run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from in4310repro.data.images import ImageSet, decoder, load_images
from in4310repro.data.splits import Split, to_csv
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.system.context import Context
from in4310repro.system.fingerprint import Fingerprint
from in4310repro.system.numerics import Numerics
from in4310repro.system.progress import SILENT
from in4310repro.verification.file_checks import (
    image_differences,
    pixel_differences,
    scene_differences,
    split_differences,
    wrong_in_pixels,
)
from in4310repro.verification.routine import verify
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
    """Return the run after replacing the images of some parts (training, validation, test) in its split."""
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


def test_a_split_of_other_scenes_than_are_drawn_is_a_difference_that_ends_the_verification(
    run: FinishedRun, of_scenes: Find, numerics: Numerics
) -> None:
    entry, *others = run.split.parts["training"]
    changed = forged(run, training=(replace(entry, sha256="0" * 64), *others))
    assert f"the split lacks the scene {entry.path} as it is drawn now" in of_scenes(changed)
    assert verify(run.folder, opened=changed, context=Context(numerics)).differences[-1] == of_scenes(changed)[-1]


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
    changed, added = map(str, image_differences(evidence_of(run, numerics, str(root))))
    assert f"training image {root / first}" in changed
    assert "1 images" in added
    assert "sea/9999.bmp" in added
    (root / second).unlink()
    with pytest.raises(ValueError, match=f"{second}.*--data"):
        [*image_differences(evidence_of(run, numerics, str(root)))]


@pytest.fixture
def test_images(run: FinishedRun) -> ImageSet:
    return run.test_images(None, SILENT)


def with_fingerprint(run: FinishedRun, **changes: Any) -> FinishedRun:
    return replace(run, fingerprint=Fingerprint(**{**run.fingerprint, **changes}))  # type: ignore[typeddict-item]


def test_the_fingerprint_holds_the_decoder_and_a_hash_of_the_pixels_of_each_part(run: FinishedRun) -> None:
    assert run.fingerprint["decoder"] == decoder()
    split = run.split_below(None)
    for part in ("training", "validation", "test"):
        images = load_images(part, split.root, split.parts[part], run.config.image_size, cache=False)
        whole = hashlib.sha256()
        for image in images.pixels:
            whole.update(hashlib.sha256(image.tobytes()).digest())
        assert run.fingerprint["pixels_sha256"][part] == whole.hexdigest()


def test_a_hash_of_pixels_is_the_same_without_a_file(test_images: ImageSet) -> None:
    assert replace(test_images, cached=None).pixels_sha256() == test_images.pixels_sha256()
    other = test_images.pixels.copy()
    other[3, 0, 0, 0] ^= 1
    assert replace(test_images, cached=None, pixels=other).pixels_sha256() != test_images.pixels_sha256()


def test_recorded_hashes_of_pixels_are_of_each_image_and_those_of_the_fingerprint(run: FinishedRun) -> None:
    assert [*wrong_in_pixels(run)] == []
    hashes, paths = run.pixel_hashes(), [entry.path for entry in run.split.parts["training"]]
    changed = hashes | {paths[0]: "0" * 64}
    given = hashlib.sha256(bytes.fromhex("".join(changed[path] for path in paths))).hexdigest()
    recorded = run.fingerprint["pixels_sha256"]["training"]
    for pixels, fault in (
        ({path: sha256 for path, sha256 in hashes.items() if path != paths[0]}, f"{paths[0]} is missing"),
        (hashes | {"sea/none.bmp": "0" * 64}, "sea/none.bmp is not an image that the run of config.json reads"),
        (
            changed,
            f"the hashes of the training images give {given}; pixels_sha256 in fingerprint.json has {recorded}",
        ),
    ):
        run.files.write_json("pixels.json", pixels)
        assert [*wrong_in_pixels(run)] == [f"{run.folder / 'pixels.json'}: {fault}"]
    run.files.write_json("pixels.json", hashes)
    (sentence,) = wrong_in_pixels(with_fingerprint(run, pixels_sha256=run.fingerprint["pixels_sha256"] | {"test": "0"}))
    assert re.search(r"the test images give [0-9a-f]{64}; pixels_sha256 in fingerprint\.json has 0$", sentence)


@pytest.mark.parametrize("bitwise", [True, False])
def test_other_pixels_by_the_same_decoder_are_a_difference(
    bitwise: bool, run: FinishedRun, test_images: ImageSet
) -> None:
    assert [*pixel_differences(run, "test", test_images, bitwise=bitwise)] == []
    forged = with_fingerprint(run, pixels_sha256={"test": "0" * 64})
    (sentence,) = pixel_differences(forged, "test", test_images, bitwise=bitwise)
    assert f"pixels_sha256 of the test images is {'0' * 64}; they are decoded to" in sentence
    assert "another decoder" not in sentence


def test_another_decoder_is_named_and_only_a_difference_where_bits_are_required(
    run: FinishedRun, test_images: ImageSet
) -> None:
    older = with_fingerprint(run, decoder={**decoder(), "pillow": "1.0"}, pixels_sha256={"test": "0" * 64})
    assert [*pixel_differences(older, "test", test_images, bitwise=False)] == []
    (sentence,) = pixel_differences(older, "test", test_images, bitwise=True)
    assert f"(another decoder: pillow 1.0 in the run and {decoder()['pillow']} here)" in sentence


def test_a_run_of_before_says_nothing_of_its_pixels(run: FinishedRun, test_images: ImageSet) -> None:
    before = {name: value for name, value in run.fingerprint.items() if name not in ("decoder", "pixels_sha256")}
    old = replace(run, fingerprint=before)  # type: ignore[arg-type]
    assert [*pixel_differences(old, "test", test_images, bitwise=True)] == []
