"""The hash chain of a training, by the formula of docs/verification.md."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
import torch

from in4310repro.runs import chain
from in4310repro.runs.config import Config
from in4310repro.runs.deviations import parse
from tests.runs import made_up
from tests.runs.made_up import CONFIG, INITIAL

WARM = replace(CONFIG, protocol=parse("warm-start"))
SHARED = replace(CONFIG, protocol=parse("shared-split"))


OLDER = replace(CONFIG, format=5)
# Section 3.2.2 of RFC 8785, and what Python writes for it.
EXAMPLE = {
    "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
    "string": '\u20ac$\u000f\nA\'B"\\\\"/',
    "literals": [None, True, False],
}
OF_EXAMPLE = (
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
    '"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
)
IN_PYTHON = OF_EXAMPLE.replace("\u20ac", "\\u20ac")


def test_a_hash_is_of_the_canonical_json_of_rfc_8785() -> None:
    assert chain.sha256_of(EXAMPLE, CONFIG) == hashlib.sha256(OF_EXAMPLE.encode()).hexdigest()
    assert chain.sha256_of({"\ue000": 1e-5, "\U0001f600": 1.0}, CONFIG) == (
        hashlib.sha256('{"\U0001f600":1,"\ue000":0.00001}'.encode()).hexdigest()
    )


def test_up_to_format_5_a_hash_is_of_what_python_writes() -> None:
    assert chain.sha256_of(EXAMPLE, OLDER) == hashlib.sha256(IN_PYTHON.encode()).hexdigest()
    assert chain.sha256_of({"\ue000": 1e-5, "\U0001f600": 1.0}, OLDER) == (
        hashlib.sha256(b'{"\\ue000":1e-05,"\\ud83d\\ude00":1.0}').hexdigest()
    )


@pytest.mark.parametrize("config", [CONFIG, OLDER])
def test_what_is_no_number_has_no_hash(config: Config) -> None:
    with pytest.raises(ValueError, match=r"not JSON compliant|nan"):
        chain.sha256_of({"loss": float("nan")}, config)


def test_a_seed_of_63_bits_begins_a_chain_of_its_own() -> None:
    first = CONFIG.settings[0]
    starts = {
        chain.start_sha256(replace(CONFIG, seed=seed), first, "", INITIAL, "a class") for seed in (2**53, 2**53 + 1)
    }
    assert len(starts) == 2


def test_a_run_of_format_5_starts_from_the_hash_that_it_recorded() -> None:
    made = made_up.records(OLDER)
    needed = {each.name: made_up.start_sha256(OLDER, each, INITIAL) for each in CONFIG.settings}
    assert chain.starts(OLDER, made.fingerprint, made.split, made.tensors) == needed
    assert needed != {each.name: made_up.start_sha256(CONFIG, each, INITIAL) for each in CONFIG.settings}


PREPARED = {"mean": (0.5, 0.25, 0.125), "std": (1.0, 2.0, 0.5), "interpolation": "bicubic", "crop_ratio": 0.875}


@pytest.mark.parametrize(
    ("changes", "also"),
    [({"data": "photos"}, {"orientation": "exif"}), (PREPARED, {"preprocessing": PREPARED | {"size": 224}})],
)
def test_the_start_says_how_images_are_prepared_where_that_is_not_as_for_drawn_scenes(
    changes: dict[str, Any], also: dict[str, Any]
) -> None:
    config, made = replace(CONFIG, **changes), made_up.records()
    assert chain.starts(config, made.fingerprint, made.split, made.tensors) == {
        each.name: made_up.start_sha256(config, each, INITIAL, **also) for each in config.settings
    }


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
