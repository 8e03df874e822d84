"""Preprocessing of images: read from the weights file, changed by options and recorded in the run."""

import hashlib
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from PIL import Image
from torchvision.transforms import v2

from in4310repro import models
from in4310repro.data.images import evaluation_batches, training_batches
from in4310repro.data.preprocessing import Preprocessing, to_metadata, without_size
from in4310repro.data.reading import crop_square, decode
from in4310repro.data.references import subset
from in4310repro.evaluation.feature_maps.of_run import comparison_sets
from in4310repro.models.sources import open_network
from in4310repro.runs.config import change, from_json, to_json
from in4310repro.runs.deviations import parse
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.presets import PRESETS, command_line_options, configure, to_toml
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.system.progress import SILENT
from in4310repro.system.tensors import read_tensors, tensor_bytes
from in4310repro.training import experiment
from in4310repro.verification.file_checks import weights_form
from in4310repro.verification.routine import verify
from tests.builders import image_set
from tests.conftest import Call

TINY = PRESETS["tiny"]
OTHER = Preprocessing(mean=(0.5, 0.25, 0.125), std=(0.5, 0.25, 0.75), interpolation="bicubic", crop_ratio=0.75)
OPTIONS = ("--mean", "0.5,0.25,0.125", "--std", "0.5,0.25,0.75", "--interpolation", "bicubic", "--crop-ratio", "0.75")
VALUES = {"mean": [0.5, 0.25, 0.125], "std": [0.5, 0.25, 0.75], "interpolation": "bicubic", "crop_ratio": 0.75}
SMALL = replace(TINY, model="benchmarks.soak:small_network", modules=("0",), epochs=1, settings=TINY.settings[2:])


def preprocessing_of(name: str, weights: str) -> Preprocessing | None:
    return open_network(name).read_weights(weights).preprocessing


def picture(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_middle_is_cropped_and_resized_as_torchvision_does_it(interpolation: str) -> None:
    # Sides with which the crop falls on whole pixels: 96 of 128.
    theirs = v2.functional.resize(
        v2.functional.center_crop(picture(160, 128), [96, 96]),
        [32, 32],
        interpolation=v2.InterpolationMode(interpolation),
        antialias=True,
    )
    ours = crop_square(picture(160, 128), 32, replace(OTHER, interpolation=interpolation))
    # At the edges ours also weighs pixels outside of the square.
    np.testing.assert_array_equal(ours[2:-2, 2:-2], np.asarray(theirs)[2:-2, 2:-2])
    assert (ours != crop_square(picture(160, 128), 32)).any()


def test_batches_are_normalised_as_their_images_say() -> None:
    images = replace(image_set(4), preprocessing=OTHER)
    oracle = (images.pixels / 255 - OTHER.mean) / OTHER.std
    (batch,) = evaluation_batches(images, 4)
    np.testing.assert_allclose(batch.images.permute(0, 2, 3, 1).numpy(), oracle, rtol=0, atol=1e-6)
    (trained,) = training_batches(images, 4, "none", 0, 0)
    order = [images.paths.index(path) for path in trained.paths]
    np.testing.assert_allclose(trained.images.permute(0, 2, 3, 1).numpy(), oracle[order], rtol=0, atol=1e-6)
    assert subset(images, 2, 0).preprocessing == OTHER


def test_image_sets_to_compare_with_are_prepared_alike() -> None:
    plain, other = comparison_sets(TINY), comparison_sets(change(TINY, VALUES, "options"))
    assert [images.preprocessing for images in other] == [replace(OTHER, size=32)] * 2
    assert all((one.pixels != two.pixels).any() for one, two in zip(plain, other, strict=True))


def test_weights_of_torchvision_and_timm_say_how_their_images_are_prepared() -> None:
    default = Preprocessing()
    resnet, *others = (open_network(name) for name in ("resnet18", "vit_b_16", "efficientnet_b1"))
    assert resnet.read_weights("none").preprocessing == resnet.imagenet.preprocessing == default
    assert [each.imagenet.preprocessing.interpolation for each in others] == ["bilinear", "bicubic"]
    timm = pytest.importorskip("timm")
    name = "timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    settings = timm.create_model(name.removeprefix("timm:")).pretrained_cfg
    said = open_network(name).imagenet.preprocessing
    assert (said.mean, said.std, said.interpolation) == (settings["mean"], settings["std"], settings["interpolation"])
    assert said.mean == (0.5, 0.5, 0.5)


def weights_file(file: Path, said: str | None = None) -> Path:
    open_network(SMALL.model).trust()
    state = models.build(SMALL.model, 6, seed=3).state_dict()
    contiguous = {name: value.contiguous() for name, value in state.items()}
    safetensors.torch.save_file(contiguous, file, {"preprocessing": said} if said is not None else None)
    return file


def test_a_run_of_before_whose_weights_do_not_say_the_size_is_still_one(own_run: Path) -> None:
    file = own_run / "sgd" / "best.safetensors"
    how = Preprocessing(size=32)
    assert json.loads(to_metadata(how)["preprocessing"]) == json.loads(without_size(how)["preprocessing"]) | {
        "size": 32
    }
    for metadata, faults in ((without_size(how), 0), (to_metadata(how), 0), (to_metadata(Preprocessing(size=33)), 1)):
        file.write_bytes(tensor_bytes(read_tensors(file), metadata))
        assert len(list(weights_form(file, how))) == faults


def test_a_file_says_it_in_its_metadata_and_weights_of_a_run_wherever_they_are(
    finished_run: Path, tmp_path: Path
) -> None:
    file = weights_file(tmp_path / "said.safetensors", json.dumps(VALUES))
    assert preprocessing_of(SMALL.model, str(file)) == replace(OTHER, size=224)
    copy = shutil.copy(finished_run / "sgd" / "best.safetensors", tmp_path / "copy.safetensors")
    assert preprocessing_of("resnet18", str(copy)) == Preprocessing(size=32)
    assert preprocessing_of(SMALL.model, str(weights_file(tmp_path / "silent.safetensors"))) is None
    for wrong in ("{", "[]", '{"mean": [0, 0, 0]}'):
        file = weights_file(tmp_path / "wrong.safetensors", wrong)
        with pytest.raises(ValueError, match=r"wrong\.safetensors: preprocessing in its metadata is .* JSON with mean"):
            preprocessing_of(SMALL.model, str(file))


def test_a_value_that_prepares_no_image_is_refused_in_the_metadata_of_a_file(tmp_path: Path) -> None:
    for name, value, words in (
        ("std", [1, 1], "std is"),
        ("crop_ratio", True, "crop_ratio is True; it must be a number"),
        ("crop_ratio", "0.5", "crop_ratio is '0.5'; it must be a number"),
        ("crop_ratio", 10**400, "crop_ratio is 10{99}; it must be above 0 and at most 1"),
        ("crop_ratio", -(10**400), "crop_ratio is -10{98}; it must be above 0"),
        ("interpolation", "cubic", "interpolation is 'cubic'; it must be one of nearest"),
    ):
        file = weights_file(tmp_path / "wrong.safetensors", json.dumps(VALUES | {name: value}))
        with pytest.raises(ValueError, match=rf"wrong\.safetensors: .*{words}"):
            preprocessing_of(SMALL.model, str(file))


def test_a_file_of_torchvision_is_known_by_its_name_and_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"fc.bias": torch.ones(6)}, content := io.BytesIO())
    digits = hashlib.sha256(content.getvalue()).hexdigest()[:8]
    theirs = torchvision.models.ResNet18_Weights.DEFAULT
    how = {"transforms": theirs.transforms, "meta": theirs.meta}
    weights = SimpleNamespace(name="x", url=f"https://x/resnet18-{digits}.pth", **how)
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda _: SimpleNamespace(DEFAULT=weights))
    file = tmp_path / f"resnet18-{digits}.pth"
    file.write_bytes(content.getvalue())
    assert preprocessing_of("resnet18", str(file)) == Preprocessing()
    torch.save({"fc.bias": torch.zeros(6)}, file)
    assert preprocessing_of("resnet18", str(file)) is None
    torch.save({}, tmp_path / "mine.pth")
    assert preprocessing_of("resnet18", str(tmp_path / "mine.pth")) is None


def test_a_file_that_does_not_say_is_refused_until_it_is_given(call: Call, tmp_path: Path) -> None:
    words = ("train", "--preset", "tiny", "--model", SMALL.model, "--optimizer", "SGD", "--epochs", "1", "--out", "run")
    silent = ("--weights", str(weights_file(tmp_path / "silent.safetensors")))
    for given in ((), OPTIONS[:-2]):
        code, _, error = call(*words, *silent, *given)
        words_of_error = "silent.safetensors does not say how images are prepared for it; --mean, --std"
        assert (code, words_of_error in error.splitlines()[-1]) == (2, True)
    assert not (tmp_path / "run").exists()
    assert call(*words, *silent, *OPTIONS)[0] == 0
    recorded = json.loads((tmp_path / "run" / "config.json").read_text())
    assert {name: recorded[name] for name in VALUES} == VALUES
    shown = command_line_options(FinishedRun.open(tmp_path / "run").config)
    assert '--mean "0.5,0.25,0.125" --std "0.5,0.25,0.75" --interpolation bicubic --crop-ratio 0.75' in shown


def test_a_run_keeps_how_its_images_were_prepared_and_verifies(numerics: Numerics, tmp_path: Path) -> None:
    config = change(SMALL, VALUES, "options")
    run = experiment.train(config, tmp_path / "run", keep_epochs=True, context=Context(numerics))
    plain = experiment.train(SMALL, tmp_path / "plain", context=Context(numerics))
    assert FinishedRun.open(run.folder).config.preprocessing == replace(OTHER, size=32)
    assert verify(run.folder, context=Context(numerics)).differences == []
    # A copy of its weights, and the weights that a setting after it started from, say it too.
    assert preprocessing_of(SMALL.model, str(run.folder / "sgd" / "best.safetensors")) == replace(OTHER, size=32)
    warm = replace(config, protocol=parse("warm-start"))
    warmed = experiment.train(warm, tmp_path / "warm", context=Context(numerics))
    last = warmed.folder / "sgd" / "last.safetensors"
    assert preprocessing_of(SMALL.model, str(last)) == replace(OTHER, size=32)
    state = warmed.files.read_tensors("sgd/last.safetensors")
    warmed.files.write_weights("sgd/last.safetensors", state)
    (difference,) = verify(warmed.folder, context=Context(numerics)).differences
    assert difference.startswith(f"{last}: its metadata are ")
    # The chain commits to it; without options it is as it was before there were any.
    assert run.tensors["sgd"][0]["previous"] != plain.tensors["sgd"][0]["previous"]
    root, path = run.split_below(None).root, run.split.parts["test"][0].path
    images = run.test_images(None, SILENT)
    np.testing.assert_array_equal(images.pixels[0], decode(root / path, 32, None, OTHER))


def test_a_configuration_of_before_reads_as_what_it_did(finished_run: Path) -> None:
    recorded = json.loads((finished_run / "config.json").read_text())
    assert {name: recorded.pop(name) for name in VALUES} == {
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "interpolation": "bilinear",
        "crop_ratio": 1.0,
    }
    assert from_json(recorded, "config.json") == TINY


def test_what_is_not_given_is_left_to_the_weights_that_are_read(tmp_path: Path) -> None:
    assert configure("tiny", None, {}).mean == Preprocessing().mean
    course = configure("course", None, {"crop_ratio": 0.875})
    assert (course.mean, course.interpolation, course.crop_ratio) == (None, None, 0.875)
    (tmp_path / "mine.toml").write_text(to_toml(course), encoding="utf-8")
    assert configure("course", tmp_path / "mine.toml", {}) == course
    assert from_json(to_json(course), "config.json") == course
    given = configure("tiny", None, {"mean": "0.5,0.25,0.125"})
    assert given.mean == (0.5, 0.25, 0.125)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mean": "0.5,0.5"}, "mean is 0.5,0.5; it must be three numbers"),
        ({"mean": [0.5, "a", 0.5]}, "it must be three numbers"),
        ({"mean": [0.5, True, 0.5]}, "it must be three numbers"),
        ({"mean": "nan,0,0"}, "it must be numbers for red, green and blue"),
        ({"mean": "0,0,1e6"}, "it must be numbers for red, green and blue"),
        ({"std": "0,1,1"}, "it must be numbers above 0 for red, green and blue"),
        ({"interpolation": "cubic"}, "interpolation is 'cubic'; it must be one of nearest, bilinear, bicubic, lanczos"),
        ({"crop_ratio": 1.5}, "crop_ratio is 1.5; it must be above 0 and at most 1"),
        ({"crop_ratio": 0}, "crop_ratio is 0.0; it must be above 0"),
    ],
    ids=str,
)
def test_what_prepares_no_image_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        change(TINY, changes, "options")
