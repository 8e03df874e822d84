"""File names: those that belong to a run, and those of kept epochs."""

import pytest

from in4310repro.runs import names


@pytest.mark.parametrize(
    ("name", "of_run"),
    [
        ("config.json", True),
        ("features.json", True),
        ("manifest.json", False),
        ("sgd/history.json", True),
        ("sgd/best.safetensors", True),
        ("history.json", False),
        ("sgd/config.json", False),
        ("a/sgd/history.json", False),
        ("/sgd/history.json", False),
        ("sgd/epochs/000001.safetensors", False),
    ],
)
def test_a_file_of_a_run_is_one_by_its_name_and_its_folder(name: str, of_run: bool) -> None:
    assert names.is_of_run(name) is of_run


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        (names.kept_epoch("sgd", 1), True),
        ("sgd/epochs/1000000.safetensors", True),
        ("sgd/epochs/00001.safetensors", False),
        ("sgd/epochs/000001.safetensors.part", False),
        ("a/sgd/epochs/000001.safetensors", False),
        ("epochs/000001.safetensors", False),
        ("sgd/best.safetensors", False),
    ],
)
def test_a_kept_epoch_has_at_least_six_digits_below_its_setting(name: str, kept: bool) -> None:
    assert names.is_kept_epoch(name) is kept


def test_a_kept_epoch_is_named_by_its_number() -> None:
    assert names.kept_epoch("sgd", 12) == "sgd/epochs/000012.safetensors"


def test_a_trace_is_named_by_the_steps_before_it() -> None:
    for steps, name in ((0, "logs/sgd.trace"), (12, "logs/sgd.12.trace")):
        assert names.steps_before(name, "sgd") == steps
