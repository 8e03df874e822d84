"""Runs of older formats, made without regard to the EXIF orientation, are still read without regard to it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from in4310repro.data import scenes
from in4310repro.evaluation.evaluation import evaluate, label
from in4310repro.models.sources import open_network
from in4310repro.runs.config import change, to_json
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.system.progress import SILENT
from in4310repro.system.tensors import read_tensors, tensor_bytes
from in4310repro.training import checkpoints, experiment
from in4310repro.training.checkpoints import Position
from in4310repro.verification.replay import plan_replays, replay
from in4310repro.verification.routine import verify
from tests.builders import rechain

TINY = PRESETS["tiny"]
MODEL = "benchmarks.soak:small_network"
SMALL = replace(TINY, model=MODEL, modules=("0",), epochs=1, settings=TINY.settings[2:], split="12/6/6")
SMALL = replace(SMALL, schedule="constant", warm_up=0.0)
Older = tuple[Path, int]  # a run folder, and its format


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return scenes of three classes, every second one stored rotated with an orientation tag."""
    root, tags = tmp_path_factory.mktemp("photographs"), Image.Exif()
    tags[0x0112] = 6
    for name in ("forest", "sea", "street"):
        (root / name).mkdir()
        for number in range(8):
            image = Image.fromarray(scenes.draw(name, number, 48, 0))
            if number % 2:
                image.transpose(Image.Transpose.ROTATE_90).save(root / name / f"{number}.png", exif=tags)
            else:
                image.save(root / name / f"{number}.png")
    return root


def turn_into_format(folder: Path, number: int) -> Path:
    """Convert a run that ignored EXIF orientation to an older file format."""
    files = RunFolder.open(folder)
    files.write_json("config.json", to_json(FinishedRun.open(folder).config, number))
    if number == 3:
        for weights in folder.glob("*/best.safetensors"):
            files.write_bytes(weights.relative_to(folder).as_posix(), tensor_bytes(read_tensors(weights)))
    return folder


@pytest.fixture(scope="module", params=[3, 4])
def older(
    request: pytest.FixtureRequest, photographs: Path, numerics: Numerics, tmp_path_factory: pytest.TempPathFactory
) -> Older:
    """Return a finished run of an older format with kept epochs."""
    open_network(MODEL).trust()
    config = change(SMALL, {"data": f"{photographs}", "orientation": "ignored"}, "options")
    folder = tmp_path_factory.mktemp("older") / "run"
    experiment.train(config, folder, keep_epochs=True, context=Context(numerics))
    assert '"format": 4' in (folder / "config.json").read_text()
    return turn_into_format(folder, request.param), request.param


@pytest.fixture(scope="module")
def newer(photographs: Path, numerics: Numerics, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run on the same photographs by this version, which applies the EXIF orientation."""
    open_network(MODEL).trust()
    folder = tmp_path_factory.mktemp("newer") / "run"
    experiment.train(change(SMALL, {"data": f"{photographs}"}, "options"), folder, context=Context(numerics))
    return folder


def test_an_older_run_verifies_without_orientation_and_says_so(older: Older, numerics: Numerics) -> None:
    folder, number = older
    assert f'"format": {number}' in (folder / "config.json").read_text()
    found = verify(folder, context=Context(numerics))
    assert found.differences == []
    assert any("without their EXIF orientation" in note for note in found.notes)


def test_a_newer_run_says_its_orientation_and_verifies(newer: Path, numerics: Numerics) -> None:
    recorded = RunFolder.open(newer).read_json("config.json")
    assert (recorded["format"], recorded["orientation"]) == (7, "exif")
    found = verify(newer, context=Context(numerics))
    assert found.differences == []
    assert not any("EXIF" in note for note in found.notes)


def test_its_pictures_are_other_pixels_than_those_of_a_newer_run(older: Older, newer: Path) -> None:
    ignoring, applying = (FinishedRun.open(folder).test_images(None, SILENT) for folder in (older[0], newer))
    assert ignoring.paths == applying.paths
    lying = np.array([int(Path(path).stem) % 2 == 1 for path in ignoring.paths])
    differs = (ignoring.pixels != applying.pixels).any(axis=(1, 2, 3))
    assert lying.any()
    np.testing.assert_array_equal(differs, lying)


@pytest.mark.parametrize("number", [4, 5])
def test_a_run_that_claims_the_other_reading_is_found(
    number: int, older: Older, newer: Path, numerics: Numerics, tmp_path: Path
) -> None:
    """A false claim about EXIF orientation is detected even if the hash chain is recomputed."""
    folder = Path(shutil.copytree(newer if number == 4 else older[0], tmp_path / "run"))
    config = FinishedRun.open(folder).config
    claimed = to_json(replace(config, orientation="ignored" if number == 4 else "exif"), number)
    RunFolder.open(folder).write_json("config.json", claimed)
    assert any("chain" in each for each in verify(folder, context=Context(numerics)).differences)
    rechain(folder)
    assert any(
        "pixels_sha256" in each or "scores" in each for each in verify(folder, context=Context(numerics)).differences
    )


def test_an_older_run_is_evaluated_labels_and_is_replayed_as_it_was(older: Older, numerics: Numerics) -> None:
    run = FinishedRun.open(older[0])
    measured, scores = evaluate(run, context=Context(numerics))
    assert measured["mean_class_accuracy"] == run.metrics["mean_class_accuracy"]
    np.testing.assert_array_equal(scores.softmax, run.scores.softmax)
    root = run.split_below(None).root
    labelled = label(run, [root / path for path in run.scores.paths], context=Context(numerics))
    np.testing.assert_array_equal(labelled.softmax, run.scores.softmax)
    again = replay(run, plan_replays(run, 0, 0, numerics)[0], Context(numerics))
    assert (again.replayed, again.differences, again.missing) == ([1], [], {})


def test_an_older_run_goes_on_without_orientation_to_the_bits_of_one_that_did_so_at_once(
    older: Older, numerics: Numerics, photographs: Path, tmp_path: Path
) -> None:
    folder, number = Path(shutil.copytree(older[0], tmp_path / "run")), older[1]
    asked = change(SMALL, {"data": f"{photographs}", "epochs": 2}, "options")
    assert asked.orientation == "exif"
    run = experiment.train(asked, folder, resume=True, context=Context(numerics))
    assert (run.config.orientation, run.files.read_json("config.json")["format"]) == ("ignored", number)
    assert verify(folder, context=Context(numerics)).differences == []
    at_once = experiment.train(replace(asked, orientation="ignored"), tmp_path / "at once", context=Context(numerics))
    assert run.training_sha256 == at_once.training_sha256


def test_a_checkpoint_of_an_older_format_continues_and_of_the_other_reading_is_refused(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters())
    config = replace(SMALL, orientation="ignored")
    written = {name: value for name, value in to_json(config, 3).items() if name != "group"}
    checkpoints.save(tmp_path, checkpoints.tensors_of(model, optimizer), Position(batch=1), written)
    assert checkpoints.restore(tmp_path, model, optimizer, to_json(config))[0].batch == 1
    with pytest.raises(ValueError, match=r"another configuration: .*orientation 'exif' \(recorded: None\)"):
        checkpoints.restore(tmp_path, model, optimizer, to_json(SMALL))
