"""The command that repeats a configuration, and the configuration values that are safe to publish."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from in4310repro.cli import options
from in4310repro.runs.config import from_json, to_json
from in4310repro.runs.presets import PRESETS, command_line_options, configure, publishable, to_toml, with_one_setting
from in4310repro.runs.settings import STRENGTHS
from in4310repro.system.text import publishable_place
from tests.conftest import Call

TINY = PRESETS["tiny"]
HOME = "/home/ada-l"
AS_THEY_ARE = ("scenes", "photos/scenes", "my photos; touch x", "day:2/scenes", ".")
CALLED_SCENES = (
    *(f"{HOME}/scenes", "/scenes/", "//host/x/scenes", "../scenes", "a/../../b/scenes", "ada-l/scenes"),
    *(r"C:\Users\ada\scenes", r"\\host\share\scenes", "C:scenes"),
)
WITHOUT_NAME = (
    *("/", "..", HOME, f"{HOME}/", "ada-l", r"\\host\share"),
    *("a\nb", "a\u202e", "caf\udce9", "/caf\udce9"),
)
WORDS = (
    "my photos; touch x",
    "don't",
    '"',
    "$(touch x)",
    "`touch x`",
    "a\\b",
    "*",
    "~",
    "!x",
    "#",
    "a&b|c>d",
    "\u6d77",
)


@pytest.mark.skipif(sys.platform == "win32", reason="it has no POSIX shell")
def test_a_shell_reads_every_value_of_the_options_as_one_word(tmp_path: Path) -> None:
    for word in WORDS:
        config = replace(TINY, data=word, weights=word, imagenet=word, cifar10=word, split="1 / 2;3", seed=7)
        line = f"printf '%s\\n' {command_line_options(config)}"
        done = subprocess.run(["/bin/sh", "-c", line], cwd=tmp_path, capture_output=True, encoding="utf-8", check=True)
        words = done.stdout.splitlines()
        read = dict(zip(words[::2], words[1::2], strict=True))
        assert [read[f"--{name}"] for name in ("data", "weights", "imagenet", "cifar10")] == [word] * 4
        assert (read["--preset"], read["--split"], read["--seed"]) == ("tiny", "1 / 2;3", "7")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [*WORDS, "-rf", "--help", "--data", "--", "-"])
def test_the_command_line_reads_the_options_as_the_values_that_they_are_of(value: str) -> None:
    given: dict[str, Any] = {}

    @options.command()
    @options.OVERRIDES
    def command(**overrides: Any) -> None:
        given.update(options.given(overrides))

    words = shlex.split(command_line_options(replace(TINY, data=value, seed=7)))[2:]
    result = CliRunner().invoke(command, words)
    assert (result.exit_code, given) == (0, {"data": value, "seed": 7})


@pytest.mark.parametrize(
    ("place", "published"),
    [
        *((place, place) for place in AS_THEY_ARE),
        *((place, "scenes") for place in CALLED_SCENES),
        *((place, "PATH") for place in WITHOUT_NAME),
    ],
    ids=ascii,
)
def test_a_place_is_published_without_what_names_a_machine_or_its_user(
    place: str, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", HOME)
    assert publishable_place(place) == published
    config = replace(TINY, data=place, weights=place, imagenet=place)
    named = publishable(config)
    assert (named.data, named.weights, named.imagenet, named.cifar10) == (published, published, published, None)
    assert publishable(named) == named
    assert command_line_options(config) == command_line_options(named)


def test_weights_that_are_no_file_are_published_as_they_are() -> None:
    for weights in ("none", "imagenet"):
        assert publishable(replace(TINY, weights=weights)).weights == weights


@pytest.mark.parametrize(
    "text",
    [
        'protocol = ["warm-start", "shared-split"]',
        'protocol = ["ap-from-logits"]\nmodules = ["conv1", "fc"]\nfeature_images = 4\nwarm_up = 0',
        'protocol = "published"',
        'settings = [{name = "a", optimizer = "SGD", learning_rate = 1}, {name = "b", optimizer = "AdamW"}]',
        'data = "photos"\nweights = "mine.pth"\nimagenet = "a"\ncifar10 = "b"\nscenes = 4\nsplit = "0.5/0.2/0.3"',
        'evaluation_batch_size = 3\naugmentation = "none"\nschedule = "constant"\ncheckpoint_steps = 0',
        # In TOML, a letter beyond 16 bits is no pair of escapes.
        'settings = [{name = "a", optimizer = "SGD", train = "from:\\U00020000"}]',
        'image_size = 32\nbatch_size = 4\nepochs = 1\nseed = 3\nmodel = "resnet34"\nnumerics = "native"',
    ],
)
def test_every_value_of_a_file_is_the_same_for_training_and_report(text: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    trained = configure("tiny", file, {})
    recorded = from_json(json.loads(json.dumps(to_json(trained))), "config.json")
    assert recorded == trained
    file.write_text(to_toml(trained), encoding="utf-8")
    assert configure("tiny", file, {}) == trained


@pytest.mark.parametrize("preset", PRESETS)
def test_a_configuration_that_was_printed_reads_back_equal(preset: str, tmp_path: Path) -> None:
    overrides = {
        "data": 'caf\u00e9 "\\mine\U0001f600',
        "seed": 2**62,
        "model": "timm:resnet10t",
        # A head that is fitted knows no warm start and no flips.
        "protocol": "ap-from-logits" if PRESETS[preset].train == "head" else "published",
    }
    for asked in ({}, overrides, overrides | {"split": "0.7/0.15/0.15"}):
        config = configure(preset, None, asked)
        (tmp_path / "mine.toml").write_text(to_toml(config), encoding="utf-8")
        assert configure(preset, tmp_path / "mine.toml", {}) == config


def test_a_head_is_fitted_with_the_strengths_of_the_page() -> None:
    *weaker, last = map("{:g}".format, STRENGTHS)
    page = (Path(__file__).parents[2] / "docs/photographs.md").read_text(encoding="utf-8")
    assert f"for C = {', '.join(weaker)} and {last}." in page


def test_printing_the_configuration_trains_nothing(call: Call, tmp_path: Path) -> None:
    code, printed, _ = call("train", "--preset", "tiny", "--epochs", "7", "--print-config")
    (tmp_path / "mine.toml").write_text(printed, encoding="utf-8")
    assert code == 0
    assert configure("tiny", tmp_path / "mine.toml", {}) == replace(TINY, epochs=7)
    assert not Path("runs").exists()


@pytest.mark.parametrize(("model", "shown"), [("resnet34", True), ("vgg11", False), ("mynets:small", False)])
def test_a_printed_configuration_leaves_the_modules_out_where_a_training_chooses_them(
    model: str, shown: bool, call: Call
) -> None:
    words = ("train", "--preset", "tiny", "--model", model, "--print-config")
    assert ("modules" in tomllib.loads(call(*words)[1])) == shown
    assert ("modules" in json.loads(call(*words, "--json")[1])) == shown


def test_one_setting_can_be_trained_alone_at_another_learning_rate() -> None:
    sgd = TINY.settings[2]
    assert with_one_setting(TINY, None, None) == TINY
    assert with_one_setting(TINY, "SGD", None) == replace(TINY, settings=(sgd,))
    alone = with_one_setting(TINY, "SGD", 0.5)
    assert alone == replace(TINY, settings=(replace(sgd, learning_rate=0.5),))
    assert with_one_setting(alone, None, 0.25).settings == (replace(sgd, learning_rate=0.25),)


@pytest.mark.parametrize(
    ("optimizer", "learning_rate", "words"),
    [
        (
            None,
            0.1,
            "--learning-rate is for one setting, and there are 3; --optimizer chooses one of AdamW, RMSprop",
        ),
        ("Adam", None, "--optimizer Adam names 0 of the settings; --optimizer chooses one of AdamW, RMSprop, SGD, and"),
        ("SGD", -1.0, "learning_rate > 0"),
        ("SGD", float("nan"), "learning_rate is nan"),
    ],
)
def test_a_setting_that_is_not_meant_or_not_possible_is_refused(
    optimizer: str | None, learning_rate: float | None, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        with_one_setting(TINY, optimizer, learning_rate)
