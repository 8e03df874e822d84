"""JSON values checked against their records: the first fault is reported with file, key and value."""

from typing import Any

import pytest

from in4310repro.runs.record_types import HistoryRow, Manifest, TensorHashes
from in4310repro.system.schema import check

ROW: dict[str, Any] = {
    "epoch": 1,
    "train_loss": 2.0,
    "val_loss": 1,
    "class_accuracy": [0.5, 1],
    "average_precision": [0.5, 0.25],
    "mean_class_accuracy": 0.75,
    "mean_average_precision": 0.375,
    "images_per_second": 10.0,
    "weights_sha256": "0" * 64,
}


def test_a_valid_value_comes_back_as_it_is() -> None:
    assert check([ROW], list[HistoryRow], "h.json") == [ROW]
    assert check([ROW | {"epoch": 2**53}], list[HistoryRow], "h.json")
    assert type(check([ROW], list[HistoryRow], "h.json")[0]["val_loss"]) is int


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("epoch", 0, "epoch is 0; it should be greater than or equal to 1"),
        ("epoch", 1.0, "epoch is 1.0; it should be a valid integer"),
        ("epoch", 10**400, "epoch is 1000"),
        ("epoch", 2**53 + 1, f"epoch is {2**53 + 1}; it should be less than or equal to {2**53}"),
        ("train_loss", "2", "train_loss is '2'; it should be a valid number"),
        # A value is shown in 60 characters, the quotes among them, and a place in 200.
        ("train_loss", "x" * 58, f"train_loss is '{'x' * 58}'; it"),
        ("train_loss", "x" * 59, f"train_loss is '{'x' * 27}...{'x' * 28}'; it"),
        ("k" * 198, 1, f"has 0.{'k' * 198}, which"),
        ("k" * 199, 1, "has '0.kkk"),
        ("train_loss", True, "train_loss is True; it should be a valid number"),
        ("train_loss", float("nan"), "train_loss is nan; it should be a finite number"),
        ("train_loss", float("inf"), "train_loss is inf; it should be a finite number"),
        ("train_loss", 10**400, "train_loss is 1000"),
        ("class_accuracy", [0.5, 1.5], "class_accuracy.1 is 1.5; it should be less than or equal to 1"),
        ("class_accuracy", {}, "class_accuracy is {}; it should be a valid list"),
        ("weights_sha256", "0" * 63, "weights_sha256 is '000"),
        ("weights_sha256", "0" * 64 + "\n", "weights_sha256 is '000"),
        ("colour", "red", "has 0.colour, which does not belong there"),
        ("a\x1b[2J", 1, r"has '0.a\x1b[2J', which does not belong there"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(key: str, value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=r"h\.json") as raised:
        check([ROW | {key: value}], list[HistoryRow], "h.json")
    assert words in str(raised.value)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        ([{}], list[HistoryRow], "h.json lacks 0."),
        ({}, list[HistoryRow], "h.json: its value is {}; it should be a valid list"),
        ({"../a": "0" * 64}, Manifest, "h.json: ../a is '../a'; '../a' is not valid"),
        ({"a": ["0" * 64]}, Manifest, "h.json: a is ['000"),
        ({"w": "0" * 64}, TensorHashes, "h.json: w is '000"),
        ({"\ud800": "0" * 12}, TensorHashes, "it should be a valid string"),
    ],
)
def test_a_value_of_another_kind_is_named(value: Any, kind: Any, words: str) -> None:
    with pytest.raises(ValueError, match=r"h\.json") as raised:
        check(value, kind, "h.json")
    assert words in str(raised.value)
