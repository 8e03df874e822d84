"""Preparation of a training, and the check of its weights on ImageNet images."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from PIL import Image
from rich.console import Console

from in4310repro import models
from in4310repro.data.preprocessing import Preprocessing
from in4310repro.data.reading import decode
from in4310repro.data.references import imagenet
from in4310repro.data.scenes import CLASSES, draw
from in4310repro.models.sources import Published
from in4310repro.runs.config import Config
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.presets import PRESETS, SHARES
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.system.progress import Progress
from in4310repro.training import preparation

HOW = Preprocessing(mean=(0.4, 0.5, 0.6), size=48)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with weights files, and images named after the predicted class or a wrong one."""
    folder = tmp_path_factory.mktemp("weights")
    (folder / "images").mkdir()
    model = models.build("resnet18", 1000, seed=0)
    RunFolder(folder).write_weights("thousand.safetensors", model.state_dict(), HOW)
    RunFolder(folder).write_weights("six.safetensors", models.build("resnet18", 6, 0).state_dict(), HOW)
    ids = preparation.wordnet_ids()
    for number, name in enumerate(CLASSES):
        file = folder / f"{number}.png"
        Image.fromarray(draw(name, number, 60, 0)).save(file)
        pixels = torch.tensor(decode(file, 48, None, HOW)).float() / 255
        maps = ((pixels - torch.tensor(HOW.mean)) / torch.tensor(HOW.std)).permute(2, 0, 1)[None]
        with torch.inference_mode():
            said = int(model.eval()(maps).argmax())
        # The last two are named after another class than the network's.
        file.rename(folder / "images" / f"{ids[said if number < 4 else said - 1]}_{number}.png")
    return folder


def config(place: Path, weights: str = "thousand") -> Config:
    how = {"mean": HOW.mean, "std": HOW.std, "image_size": 48}
    file = str(place / f"{weights}.safetensors")
    return replace(PRESETS["tiny"], weights=file, imagenet=str(place / "images"), **how)  # type: ignore[arg-type]


def check(config: Config, context: Context) -> str:
    return preparation.check_weights(config, config.network.read_weights(config.weights), context)


def test_the_images_whose_class_the_weights_find_are_counted(place: Path, numerics: Numerics) -> None:
    found = check(config(place), Context(numerics))
    assert found == f"{place}/thousand.safetensors classify 4 of 6 images of --imagenet correctly, 0.67 (0.30 to 0.90)"


def test_at_most_300_images_are_looked_at(place: Path, numerics: Numerics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "imagenet", lambda _, sample: pytest.fail(f"{sample.count} of them"))
    with pytest.raises(pytest.fail.Exception, match=r"^300 of them"):
        check(config(place), Context(numerics))


def test_imagenet_weights_are_checked_with_the_mean_of_the_run_and_half_is_expected_where_nobody_says_more(
    place: Path, numerics: Numerics, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = config(place)
    weights = asked.network.read_weights(asked.weights)
    published = Published(evaluation=replace(HOW, mean=(1.0, 0.0, 1.0)), label="")
    monkeypatch.setattr(type(asked.network), "published", lambda _: published)
    drawn = Mock(wraps=imagenet)
    monkeypatch.setattr(preparation, "imagenet", drawn)
    described = Mock(wraps=preparation.describe_check)
    monkeypatch.setattr(preparation, "describe_check", described)
    assert preparation.check_weights(replace(asked, weights="imagenet"), weights, Context(numerics))
    described.assert_called_once_with("ImageNet weights of resnet18", 4, 6, 0.5)
    assert drawn.call_args.args[1].preprocessing == HOW


def test_weights_that_are_certainly_below_what_is_said_of_them_bring_a_warning() -> None:
    low, unsure = (preparation.describe_check("w", correct, 300, 0.75) for correct in (120, 220))
    assert low.startswith("warning: w classify 120 of 300 images of --imagenet correctly, 0.40 (0.35 to 0.46)")
    assert not unsure.startswith("warning")


def test_a_head_of_other_classes_and_images_without_names_are_not_asked(
    place: Path, tmp_path: Path, numerics: Numerics
) -> None:
    assert not check(config(place, "six"), Context(numerics))
    for number in range(2):
        Image.new("RGB", (40, 40)).save(tmp_path / f"{number}_n01440764x.png")
    assert not check(replace(config(place), imagenet=str(tmp_path)), Context(numerics))
    assert not check(replace(config(place), weights="none"), Context(numerics))


def test_it_is_told_where_somebody_reads_it(numerics: Numerics, monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    monkeypatch.setattr(preparation, "check_weights", lambda *_: "a line")
    preparation.plan_training(PRESETS["tiny"], Context(numerics, Progress(Console(file=text, width=200))))
    assert "\na line\n" in text.getvalue()
    # Where nobody reads it, nothing is computed.
    monkeypatch.setattr(preparation, "check_weights", lambda *_: pytest.fail("computed"))
    preparation.plan_training(PRESETS["tiny"], Context(numerics, Progress()))


def test_the_ids_are_a_thousand_in_the_order_of_the_alphabet() -> None:
    ids = preparation.wordnet_ids()
    assert len(set(ids)) == 1000
    # torchvision's folders of ImageNet are classes in this order.
    assert ids == sorted(ids)
    assert (ids[0], ids[207], ids[999]) == ("n01440764", "n02099601", "n15075141")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("n01440764_tench.JPEG", "n01440764"),
        ("n01440764/ILSVRC2012_val_1.JPEG", "n01440764"),
        ("n01440764.jpg", "n01440764"),
        ("tench-n01440764.jpg", None),
        ("n014407641_a.jpg", None),
    ],
)
def test_a_wordnet_id_begins_the_name_of_a_file_or_a_folder(path: str, found: str | None) -> None:
    match = preparation.WORDNET_ID.search(path)
    assert (match and match.group(1)) == found


def test_images_that_are_not_there_are_refused_before_anything_else(numerics: Numerics) -> None:
    with pytest.raises(ValueError, match="no folder nowhere"):
        preparation.plan_training(replace(PRESETS["tiny"], imagenet="nowhere"), Context(numerics))
    with pytest.raises(ValueError, match="preset photographs trains on real images: --data FOLDER names"):
        preparation.plan_training(replace(PRESETS["photographs"], image_size=32), Context(numerics))


def test_a_split_in_the_shares_of_the_preset_becomes_numbers_of_images(tmp_path: Path, numerics: Numerics) -> None:
    for name in CLASSES[:2]:
        (tmp_path / name).mkdir()
        for number in range(8):
            Image.fromarray(draw(name, number, 32, 0)).save(tmp_path / name / f"{number}.png")
    text = io.StringIO()
    asked = replace(PRESETS["tiny"], data=str(tmp_path), split=SHARES)
    plan = preparation.plan_training(asked, Context(numerics, Progress(Console(file=text, width=200))))
    assert plan.config.split == "8/4/4"
    assert {part: len(images) for part, images in plan.sets.items()} == {"training": 8, "validation": 4, "test": 4}
    assert "16 images of 2 classes, split 8/4/4" in text.getvalue()
