"""The whole chain on photographs, if the machine has them.

They are in the folder that IN4310REPRO_DATA names, or else in `../shared/data` beside the repository; without either
the tests are skipped. It holds `intel_scenes_part`, `imagenet_sample` and `cifar10_sample`.
"""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from in4310repro.data import references
from in4310repro.data.folders import catalogue
from in4310repro.data.reading import decode
from in4310repro.data.references import Sample
from in4310repro.data.splits import PARTS, parse_sizes, stratified_split
from in4310repro.evaluation.feature_maps import of_run
from in4310repro.report import page
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.training import experiment
from in4310repro.verification.routine import verify
from tests.builders import findings_of

ROOT = Path(os.environ.get("IN4310REPRO_DATA", Path(__file__).parents[2] / "shared" / "data"))
pytestmark = pytest.mark.skipif(
    not (ROOT / "intel_scenes_part").is_dir(),
    reason=f"no photographs in {ROOT}; IN4310REPRO_DATA (default: ../shared/data beside the repository) names a folder "
    "with intel_scenes_part, imagenet_sample and cifar10_sample",
)


def test_a_class_has_300_images_and_18_pairs_are_identical() -> None:
    images = catalogue(ROOT / "intel_scenes_part")
    assert set(images.counts().values()) == {300}
    copies = Counter(entry.sha256 for entry in images.entries)
    assert Counter(copies.values()) == {1: 1764, 2: 18}


@pytest.mark.parametrize("seed", range(3))
def test_no_content_is_in_two_parts(seed: int) -> None:
    images = catalogue(ROOT / "intel_scenes_part")
    parts = stratified_split(images, parse_sizes("1200/300/300", 1800), seed).parts
    parts_of: dict[str, set[str]] = {}
    for part in PARTS:
        for entry in parts[part]:
            parts_of.setdefault(entry.sha256, set()).add(part)
    assert {len(names) for names in parts_of.values()} == {1}
    assert [len(parts[part]) for part in PARTS] == [1200, 300, 300]


def test_the_check_of_the_folder_reports_the_copies_and_their_conflicting_labels() -> None:
    findings = findings_of(ROOT / "intel_scenes_part")
    assert (len(findings.identical), len(findings.conflicts), findings.not_square) == (18, 13, 27)
    assert findings.wrong


def test_photographs_that_are_not_square_are_decoded_without_distortion() -> None:
    images = catalogue(ROOT / "intel_scenes_part")
    not_square = []
    for entry in images.entries:
        with Image.open(images.root / entry.path) as picture:
            if picture.width != picture.height:
                not_square.append(entry.path)
    assert len(not_square) == 27
    assert all(decode(images.root / path, 64).shape == (64, 64, 3) for path in not_square)


def test_the_comparison_samples_are_read() -> None:
    assert len(references.imagenet(ROOT / "imagenet_sample", Sample(200, 64, 0))) == 200
    assert len(references.cifar10(ROOT / "cifar10_sample", Sample(200, 64, 0))) == 200


@pytest.mark.slow
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
    run = of_run.write_features(
        experiment.train(config, tmp_path / "run", context=Context(numerics)), config, Context(numerics)
    )
    markdown, _ = page.write(run, tmp_path / "report")
    verified = verify(run.folder, context=Context(numerics))
    assert (verified.differences, verified.bitwise) == ([], True)
    for name in ("intel_scenes_part", "ImageNet", "CIFAR-10", "1,746 images"):
        assert name in markdown.read_text()
