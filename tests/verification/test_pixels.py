"""The decoded pixels in a run's fingerprint: hashed image by image, and compared when images are decoded again."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from in4310repro.data.images import ImageSet, decoder, load_images
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.fingerprint import Fingerprint
from in4310repro.system.progress import SILENT
from in4310repro.verification.pixels import pixel_differences


@pytest.fixture
def run(finished_run: Path) -> FinishedRun:
    return FinishedRun.open(finished_run)


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
