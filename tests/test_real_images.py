"""The chain on real photographs, where a machine has them: IN4310REPRO_DATA names the folder that holds them."""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from in4310repro import experiment, feature_maps
from in4310repro.data import check, comparison
from in4310repro.data.folders import catalogue
from in4310repro.data.images import decode
from in4310repro.data.splits import PARTS, parse_sizes, split
from in4310repro.evaluation import verify
from in4310repro.numerics import Numerics
from in4310repro.presets import PRESETS
from in4310repro.report import page

ROOT = Path(os.environ.get("IN4310REPRO_DATA", Path(__file__).parents[2] / "shared" / "data"))
pytestmark = pytest.mark.skipif(
    not (ROOT / "intel_scenes_part").is_dir(),
    reason=f"no real images at {ROOT}; IN4310REPRO_DATA names a folder with intel_scenes_part, imagenet_sample "
    "and cifar10_sample",
)


def test_a_class_has_300_images_and_18_pairs_are_identical() -> None:
    found = catalogue(ROOT / "intel_scenes_part")
    assert set(found.counts().values()) == {300}
    copies = Counter(entry.sha256 for entry in found.entries)
    assert Counter(copies.values()) == {1: 1764, 2: 18}


@pytest.mark.parametrize("seed", range(3))
def test_no_content_is_on_two_sides(seed: int) -> None:
    found = catalogue(ROOT / "intel_scenes_part")
    parts = split(found, parse_sizes("1200/300/300", 1800), seed).parts
    sides: dict[str, set[str]] = {}
    for part in PARTS:
        for entry in parts[part]:
            sides.setdefault(entry.sha256, set()).add(part)
    assert {len(side) for side in sides.values()} == {1}
    assert [len(parts[part]) for part in PARTS] == [1200, 300, 300]


def test_the_check_of_the_folder_finds_the_copies_and_their_conflicts() -> None:
    found = check.check(ROOT / "intel_scenes_part")
    assert (len(found.identical), len(found.conflicts), found.not_square) == (18, 13, 27)
    assert found.wrong


def test_photographs_that_are_not_square_are_kept_without_distortion() -> None:
    found = catalogue(ROOT / "intel_scenes_part")
    uneven = []
    for entry in found.entries:
        with Image.open(found.root / entry.path) as picture:
            if picture.width != picture.height:
                uneven.append(entry.path)
    assert len(uneven) == 27
    assert all(decode(found.root / path, 64).shape == (64, 64, 3) for path in uneven)


def test_the_comparison_samples_are_read() -> None:
    assert len(comparison.imagenet(ROOT / "imagenet_sample", 200, 64, 0)) == 200
    assert len(comparison.cifar10(ROOT / "cifar10_sample", 200, 64, 0)) == 200


def test_a_few_steps_on_photographs_end_in_a_report(numerics: Numerics, tmp_path: Path) -> None:
    config = replace(
        PRESETS["tiny"],
        data=str(ROOT / "intel_scenes_part"),
        imagenet=str(ROOT / "imagenet_sample"),
        cifar10=str(ROOT / "cifar10_sample"),
        split="36/18/1746",
        settings=PRESETS["tiny"].settings[:1],
        epochs=1,
        evaluation_batch_size=64,
    )
    run = experiment.train(config, numerics, tmp_path / "run")
    feature_maps.measure(run, config, numerics)
    markdown, _ = page.write(run, tmp_path / "report")
    assert verify(run, numerics) == []
    for name in ("intel_scenes_part", "ImageNet", "CIFAR-10", "1746 images"):
        assert name in markdown.read_text()
