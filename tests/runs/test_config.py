"""Presets, TOML files and overrides: valid values, and the message about an invalid one."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from in4310repro.cli.application import app
from in4310repro.cli.options import KINDS
from in4310repro.data.preprocessing import IGNORED
from in4310repro.features import FeatureStatistics
from in4310repro.features.covariance import Precision
from in4310repro.runs.chain import start_sha256
from in4310repro.runs.config import check_format, from_json, to_json
from in4310repro.runs.presets import PRESETS, command_line_options, configure, to_toml
from in4310repro.runs.settings import CHOICES, FORMAT, OPTIONS, OptimizerSetting
from in4310repro.system.files import json_bytes, read_json


def test_the_course_preset_is_the_assignment() -> None:
    course = PRESETS["course"]
    assert (course.model, course.weights, course.image_size) == ("resnet18", "imagenet", 224)
    assert (course.batch_size, course.epochs, course.split) == (16, 20, "12034/2000/3000")
    rates = {setting.optimizer: setting.learning_rate for setting in course.settings}
    assert rates == {"AdamW": 1e-3, "RMSprop": 1e-3, "SGD": 1e-3}
    assert course.feature_images == 200
    report = read_json(Path(__file__).parents[2] / "reports/course/run.json")
    assert from_json(report["config"], "a report").settings == course.settings


@pytest.mark.parametrize("name", PRESETS)
def test_a_configuration_reads_back_from_json_as_it_was(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(json_bytes(to_json(PRESETS[name])))
    assert from_json(read_json(tmp_path / "config.json"), "config.json") == PRESETS[name]


def test_a_protocol_is_the_sorted_list_of_its_deviations(tmp_path: Path) -> None:
    config = configure("tiny", None, {"protocol": "warm-start,shared-split"})
    assert to_json(config)["protocol"] == ["shared-split", "warm-start"]
    assert from_json(to_json(config), "config.json") == config
    (tmp_path / "mine.toml").write_text('protocol = ["shared-split", "warm-start"]')
    assert configure("tiny", tmp_path / "mine.toml", {}).protocol == config.protocol


@pytest.mark.parametrize("number", [None, 1, FORMAT + 1])
def test_a_configuration_of_another_format_is_refused_in_one_sentence(number: int | None) -> None:
    content = {name: value for name, value in to_json(PRESETS["tiny"]).items() if name != "format"}
    with pytest.raises(
        ValueError, match=rf"^a/config\.json is of format {number or 1} and this version reads formats 2, .*, 6 and 7; "
    ):
        from_json(content if number is None else content | {"format": number}, "a/config.json")


def test_a_run_of_format_2_is_refused_and_its_configuration_in_a_report_is_read() -> None:
    content = to_json(replace(PRESETS["tiny"], orientation=IGNORED)) | {"format": 2}
    assert from_json(content, "reports/x/run.json") == replace(PRESETS["tiny"], orientation=IGNORED, format=2)
    with pytest.raises(
        ValueError, match=r"^a/config\.json is of format 2 and this version reads formats 3, 4, 5, 6 and 7; "
    ):
        check_format(content, "a/config.json")


@pytest.mark.parametrize("number", [3, 4])
def test_a_configuration_of_an_older_format_ignores_the_orientation_and_has_no_key_for_it(number: int) -> None:
    content = {name: value for name, value in to_json(PRESETS["tiny"]).items() if name != "orientation"}
    older = from_json(content | {"format": number}, "config.json")
    check_format(content | {"format": number}, "config.json")
    assert older == replace(PRESETS["tiny"], orientation=IGNORED, format=number)
    assert from_json(content, "config.json").orientation == "exif"
    assert to_json(older, number) == content | {"format": number}
    # Continued by this version, it stays what it was.
    assert to_json(older) == content | {"format": number}
    assert to_json(replace(PRESETS["tiny"], orientation=IGNORED)) == content | {"format": 4}
    with pytest.raises(ValueError, match=rf"format {number} has no setting orientation; format 7 has"):
        from_json(content | {"format": number, "orientation": "exif"}, "config.json")


def test_a_file_of_settings_says_that_the_orientation_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('orientation = "ignored"', encoding="utf-8")
    config = configure("tiny", tmp_path / "mine.toml", {})
    assert config.orientation == config.preprocessing.orientation == IGNORED
    (tmp_path / "again.toml").write_text(to_toml(config), encoding="utf-8")
    assert configure("tiny", tmp_path / "again.toml", {}) == config
    (tmp_path / "mine.toml").write_text('orientation = "upright"', encoding="utf-8")
    with pytest.raises(ValueError, match=r"orientation is 'upright'; it must be one of exif, ignored"):
        configure("tiny", tmp_path / "mine.toml", {})


@pytest.mark.parametrize("content", [[], {}, {"format": 4}, {"format": 4, "preset": 3}, None])
def test_what_is_no_configuration_is_refused(content: Any) -> None:
    with pytest.raises(ValueError, match="holds no configuration"):
        from_json(content, "config.json")


def test_overrides_win_over_the_file_and_the_file_over_the_preset(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('epochs = 7\nseed = 3\n[[settings]]\nname = "mine"\noptimizer = "SGD"\nlearning_rate = 1\n')
    config = configure("demo", file, {"seed": 5, "data": None})
    assert (config.epochs, config.seed, config.image_size) == (7, 5, PRESETS["demo"].image_size)
    assert config.settings == (OptimizerSetting(name="mine", optimizer="SGD", learning_rate=1.0),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 7", "unknown setting 'epoch'; it must be one of augmentation, batch_size"),
        ('epochs = "7"', "epochs is '7'; it takes int"),
        ("epochs = true", "epochs is True; it takes int"),
        ("epochs = 0", "epochs is 0; it must be at least 1"),
        ("warm_up = 1.5", "warm_up is 1.5; it must be a share"),
        ("settings = []", "at least one is needed"),
        ('settings = ["sgd"]', "settings are tables such as"),
        ('[[settings]]\nname = "a"', "a setting lacks optimizer"),
        ('[[settings]]\nname = "a"\noptimizer = "Adadelta"', "optimizer is 'Adadelta'; it must be one of AdamW, RMS"),
        ('[[settings]]\nname = "../a"\noptimizer = "SGD"', "setting '../a' names a folder"),
        ('[[settings]]\nname = "a"\noptimizer = "SGD"\nlearning_rate = -1', "learning_rate > 0"),
        ('model = "vgg/16"', "model is 'vgg/16'; it must be a network of torchvision such as resnet18"),
        ('precision = "half"', "precision is 'half'; it must be one of fast, exact"),
        ("epochs =", "is not TOML"),
        ('data = ""', "data is ''; it needs a value"),
        ("warm_up = nan", "warm_up is nan; it needs a value"),
        ('preset = "tiny"', "names preset 'tiny'; remove it there and give --preset"),
        (
            "epochs = 1" + 20 * "0",
            "epochs is 1" + 20 * "0" + "; it must be at most 1000000$",
        ),
        ("image_size = 31", "image_size is 31; it must be at least 32"),
        ("image_size = 100000", "image_size is 100000; it must be at most 16384$"),
        ("checkpoint_steps = 9_223_372_036_854_775_808", "it must be at most 9223372036854775807"),
        (
            "batch_size = 1_000_000_000",
            "batch_size is 1000000000; it must be at most 1048576$",
        ),
        ("scenes = 1_000_000_000_000", "scenes is 1000000000000; it must be at most 10000000$"),
        ("seed = 1" + 4000 * "0", r"seed is 1\.00e\+4000; it must be at most 9223372036854775807"),
        ("seed = 1" + 5000 * "0", "is not TOML: a number has too many digits$"),
        ("warm_up = 1" + 400 * "0", r"warm_up is 1\.00e\+400; it must be at most 1e\+30"),
        ("modules = " + 5000 * "[", "is not TOML: it is nested too deep"),
        ("modules = []", r"modules is \[\]; at least one name such as conv1 is needed"),
        ("modules = [1]", r"modules is \[1\]; it must be a list of names"),
        ("modules = [[]]", r"modules is \[\[\]\]; it must be a list of names"),
        (r'data = "a\u0000b"', "it must be a text without the character 0"),
        (
            '[[settings]]\nname = "-"\noptimizer = "SGD"',
            "setting '-' names a folder: it must be at most 60 letters, digits, - and _",
        ),
        (
            '[[settings]]\nname = "con"\noptimizer = "SGD"',
            "'con' names a folder: .* not the name of a Windows device",
        ),
        (
            '[[settings]]\nname = "a"\noptimizer = "SGD"\n[[settings]]\nname = "A"\noptimizer = "SGD"',
            r"\['a', 'A'\]; .* names must differ in more than case",
        ),
        (f'[[settings]]\nname = "{"a" * 300}"\noptimizer = "SGD"', "names a folder"),
        (
            '[[settings]]\nname = "a"\noptimizer = "RMSprop"\nmomentum = 0.9',
            "setting a: momentum is 0.9, and RMSprop has none; leave it out, or take SGD, which has one",
        ),
        (
            'train = "head"\n[[settings]]\nname = "b"\noptimizer = "L-BFGS"\nmomentum = 0.5',
            "setting b: momentum is 0.5, and L-BFGS has none",
        ),
        (
            'train = "head"\n[[settings]]\nname = "b"\noptimizer = "L-BFGS"\nlearning_rate = 0.5',
            "setting b: learning_rate is 0.5, and L-BFGS has none",
        ),
    ],
    ids=lambda value: value[:40],
)
def test_a_wrong_value_is_refused_with_the_valid_ones(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        configure("demo", tmp_path / "wrong.toml", {})


def test_a_recorded_momentum_that_earlier_versions_ignored_is_still_read() -> None:
    recorded = to_json(PRESETS["tiny"])
    recorded["settings"] = [setting | {"momentum": 0.9} for setting in recorded["settings"]]
    older = from_json(recorded | {"format": 6}, "config.json")
    assert [setting.momentum for setting in older.settings] == [0.9, 0.9, 0.9]
    with pytest.raises(ValueError, match=r"config\.json: setting adamw: momentum is 0\.9, and AdamW has none"):
        from_json(recorded, "config.json")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_that_begins_with_a_mark_of_windows_is_read(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("epochs = 7", encoding=encoding)
    assert configure("demo", tmp_path / "mine.toml", {}).epochs == 7


def test_an_unknown_preset_or_file_is_refused() -> None:
    with pytest.raises(ValueError, match="preset is 'dmo'; it must be one of demo, course, tiny"):
        configure("dmo", None, {})
    with pytest.raises(ValueError, match=r"no file nowhere\.toml"):
        configure("demo", Path("nowhere.toml"), {})


def test_options_make_the_configuration_of_its_preset_again() -> None:
    given: dict[str, Any] = {"data": "scenes", "image_size": 64, "protocol": "published", "seed": 2}
    config = configure("course", None, given)
    words = command_line_options(config).split()
    assert words[:2] == ["--preset", "course"]
    read = {
        name.removeprefix("--").replace("-", "_"): value for name, value in zip(words[2::2], words[3::2], strict=True)
    }
    assert read == {name: str(value) for name, value in given.items()}
    assert command_line_options(PRESETS["demo"]) == "--preset demo"


def test_options_name_what_a_file_must_set_and_no_folder_of_this_machine() -> None:
    config = replace(PRESETS["tiny"], schedule="constant", data="/home/somebody/scenes")
    assert command_line_options(config) == "--preset tiny --data scenes --config FILE (with schedule)"


def test_the_command_line_has_the_declared_options() -> None:
    parameters: list[Any] = app.commands["train"].params
    shown = {each.name: (each.help, each.panel) for each in parameters if each.name in KINDS}
    declared = {name: (option.help, option.group) for name, option in OPTIONS.items() if option.help}
    assert shown == declared


def test_the_choices_are_those_of_the_feature_statistics() -> None:
    assert CHOICES["precision"] == get_args(Precision)
    parameters = get_type_hints(FeatureStatistics.__init__)
    assert CHOICES["calls"] == get_args(parameters["calls"])
    samples, none = get_args(parameters["samples"])
    assert CHOICES["samples"] == (*get_args(samples), "none")
    assert none is type(None)


@pytest.mark.parametrize("name", [name for name, option in OPTIONS.items() if option.high is not None])
def test_values_beyond_the_declared_bounds_are_refused(name: str) -> None:
    low, high = OPTIONS[name].low, OPTIONS[name].high
    assert high is not None
    with pytest.raises(ValueError, match=rf"^{name} is {low - 1}; it must be at least {low}$"):
        configure("tiny", None, {name: low - 1})
    with pytest.raises(ValueError, match=rf"^{name} is {high + 1}; it must be at most {high}"):
        configure("tiny", None, {name: high + 1})
    assert getattr(configure("tiny", None, {name: low}), name) == low


@pytest.mark.parametrize("name", [name for name, option in OPTIONS.items() if option.choices])
def test_a_value_that_is_none_of_the_declared_choices_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 'other'; it must be one of {', '.join(OPTIONS[name].choices)}"):
        configure("tiny", None, {name: "other"})


def test_the_start_of_the_chain_depends_on_the_declared_options() -> None:
    others: dict[str, Any] = {"model": "resnet34", "augmentation": "none", "schedule": "constant", "warm_up": 0.5}
    tiny, setting = PRESETS["tiny"], PRESETS["tiny"].settings[0]
    starts = {
        name: start_sha256(replace(tiny, **{name: others.get(name) or getattr(tiny, name) + 1}), setting, "", "", "")
        for name, option in OPTIONS.items()
        if option.hashed
    }
    assert starts.keys() == {*others, "image_size", "batch_size", "epochs", "seed"}
    assert len({start_sha256(tiny, setting, "", "", ""), *starts.values()}) == len(starts) + 1
    briefly = replace(tiny, checkpoint_steps=7, evaluation_batch_size=9)
    assert start_sha256(briefly, setting, "", "", "") == start_sha256(tiny, setting, "", "", "")
