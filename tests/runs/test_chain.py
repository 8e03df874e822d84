"""The hash chain of a training, by the formula of docs/replay.md."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
import torch

from in4310repro.runs import chain
from in4310repro.runs.deviations import parse
from tests.runs import made_up
from tests.runs.made_up import CONFIG, INITIAL

WARM = replace(CONFIG, protocol=parse("warm-start"))
SHARED = replace(CONFIG, protocol=parse("shared-split"))


def test_a_hash_is_of_sorted_keys_without_spaces_in_ascii() -> None:
    text = '{"a":[1,0.5],"b":"\\u00e5"}'
    assert chain.sha256_of({"b": "å", "a": [1, 0.5]}) == hashlib.sha256(text.encode("ascii")).hexdigest()


def test_what_is_no_number_has_no_hash() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        chain.sha256_of({"loss": float("nan")})


def test_an_entry_holds_hashes_of_weights_and_state_and_12_digits_of_each_tensor() -> None:
    weight, step = torch.tensor([[1.0, -2.0]]), torch.tensor(3, dtype=torch.int64)
    of_weight = hashlib.sha256(b"w torch.float32 (1, 2)\n" + weight.numpy().tobytes()).hexdigest()
    of_state = hashlib.sha256(b"0.step torch.int64 ()\n" + step.numpy().tobytes()).hexdigest()
    assert chain.entry(7, "before", {"w": weight}, {"0.step": step}) == {
        "epoch": 7,
        "previous": "before",
        "weights_sha256": of_weight,
        "optimizer_sha256": of_state,
        "tensors": {"w": of_weight[:12]},
    }


def test_a_part_is_read_as_itself_and_as_the_test_part_with_a_shared_split() -> None:
    assert [CONFIG.protocol.part_read_as(part) for part in ("training", "validation")] == ["training", "validation"]
    assert [SHARED.protocol.part_read_as(part) for part in ("training", "validation")] == ["test", "test"]


def test_every_setting_starts_from_the_same_weights() -> None:
    made = made_up.records()
    needed = {each.name: made_up.start_sha256(CONFIG, each, INITIAL) for each in CONFIG.settings}
    assert chain.starts(CONFIG, made.fingerprint, made.split, made.tensors) == needed
    shared = {each.name: made_up.start_sha256(SHARED, each, INITIAL, "test") for each in CONFIG.settings}
    assert chain.starts(SHARED, made.fingerprint, made.split, made.tensors) == shared
    nameless = {name: value for name, value in made.fingerprint.items() if name != "initial_weights_sha256"}
    unknown = {each.name: made_up.start_sha256(CONFIG, each, "") for each in CONFIG.settings}
    assert chain.starts(CONFIG, nameless, made.split, made.tensors) == unknown  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("epochs", "initial"), [((1, 2, 3), made_up.digest("one 3")), ((), INITIAL)], ids=["trained", "no epoch yet"]
)
def test_a_warm_start_is_from_the_last_weights_of_the_setting_before(epochs: tuple[int, ...], initial: str) -> None:
    made = made_up.records()
    first, second = CONFIG.settings
    before: Any = [{**made.tensors["one"][0], "weights_sha256": made_up.digest(f"one {epoch}")} for epoch in epochs]
    found = chain.starts(WARM, made.fingerprint, made.split, {"one": before, "two": []})
    assert found == {
        "one": made_up.start_sha256(WARM, first, INITIAL),
        "two": made_up.start_sha256(WARM, second, initial),
    }


def test_what_is_trained_and_a_rate_of_the_head_are_in_the_start_where_they_are_not_the_default() -> None:
    first = CONFIG.settings[0]
    plain = chain.start_sha256(CONFIG, first, "", INITIAL, "a class")
    part = replace(first, train="from:layer3")
    changed = [
        chain.start_sha256(CONFIG, part, "", INITIAL, "a class"),
        chain.start_sha256(replace(CONFIG, train="from:layer4"), first, "", INITIAL, "a class"),
        chain.start_sha256(CONFIG, replace(first, head_learning_rate=0.5), "", INITIAL, "a class"),
    ]
    assert len({plain, *changed}) == 4
    # Where it is said makes no difference.
    assert chain.start_sha256(replace(CONFIG, train="from:layer3"), first, "", INITIAL, "a class") == changed[0]
    assert chain.start_sha256(CONFIG, replace(first, train="all"), "", INITIAL, "a class") == plain
