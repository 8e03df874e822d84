"""Checks of a run's files: their exact bytes, the preset and the fingerprint."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from in4310repro.arithmetic import VERSION
from in4310repro.data.preprocessing import Preprocessing
from in4310repro.runs.deviations import parse
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import array_bytes, read_arrays
from in4310repro.system.fingerprint import Fingerprint
from in4310repro.system.numerics import Numerics, class_of
from in4310repro.system.tensors import tensor_bytes, tensors_sha256
from in4310repro.verification.evidence import Note, requires_bits
from in4310repro.verification.file_checks import (
    fingerprint_differences,
    form_differences,
    weights_differences,
    weights_form,
)
from tests.verification.given import evidence_of

SAID = {
    "preprocessing": '{"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "interpolation": "bilinear", '
    '"crop_ratio": 1.0}'
}


def test_a_run_has_the_form_that_it_was_written_in(finished_run: Path) -> None:
    assert [*form_differences(FinishedRun.open(finished_run))] == []


def twice(text: str) -> str:
    key, value = next(iter(json.loads(text).items()))
    return text.replace("{", f"{{\n {json.dumps(key)}: {json.dumps(value)},", 1)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("metrics.json", lambda text: text + " ", "metrics.json is not written as"),
        ("features.json", lambda text: json.dumps(json.loads(text)), "features.json is not written as"),
        ("fingerprint.json", twice, "fingerprint.json is not written as"),
        ("sgd/history.json", lambda text: text.removesuffix("\n"), "sgd/history.json is not written as"),
        (
            "config.json",
            lambda text: text.replace('"warm_up": 0.2', '"warm_up": 0.20'),
            "config.json is not written as",
        ),
        ("config.json", lambda text: text.replace('"momentum": 0.0', '"momentum": 0', 1), "a run writes"),
    ],
)
def test_json_of_the_same_meaning_in_other_bytes_is_a_difference(
    name: str, change: Callable[[str], str], words: str, own_records: Path
) -> None:
    text = (own_records / name).read_text()
    assert json.loads(change(text)) == json.loads(text)
    (own_records / name).write_text(change(text))
    (sentence,) = form_differences(FinishedRun.open(own_records))
    assert words in sentence


def test_a_comment_in_the_archive_of_the_scores_is_a_difference(own_records: Path) -> None:
    with zipfile.ZipFile(own_records / "scores.npz", "a") as archive:
        archive.comment = b"mean class accuracy 0.99"
    run = FinishedRun.open(own_records)
    (sentence,) = form_differences(run)
    assert sentence.endswith(f"its arrays make {len(array_bytes(read_arrays(run.files.file('scores.npz'))))}")


def test_scores_that_are_stored_by_columns_are_a_difference(own_records: Path) -> None:
    files = FinishedRun.open(own_records).files
    arrays = read_arrays(files.file("scores.npz"))
    files.write_bytes("scores.npz", array_bytes(arrays | {"softmax": np.asfortranarray(arrays["softmax"])}))
    (sentence,) = form_differences(FinishedRun.open(own_records))
    assert sentence.endswith("scores.npz: softmax.npy has other bytes than a run writes for its values")


@pytest.mark.parametrize("count", range(1, 9))
def test_weights_have_the_metadata_of_the_configuration_and_no_room_in_their_header(count: int, tmp_path: Path) -> None:
    file, tensors = (
        tmp_path / "best.safetensors",
        {"w" * count: torch.zeros(2), "n": torch.zeros((), dtype=torch.int64)},
    )
    plain = tensor_bytes(tensors, SAID)
    file.write_bytes(plain)
    assert [*weights_form(file, Preprocessing())] == []
    (sentence,) = weights_form(file, Preprocessing(crop_ratio=0.5))
    assert "its metadata are {'preprocessing': " in sentence
    length = int.from_bytes(plain[:8], "little")
    spaced = (length + 8).to_bytes(8, "little") + plain[8 : 8 + length] + b" " * 8 + plain[8 + length :]
    for other in (spaced, tensor_bytes(tensors), tensor_bytes(tensors, SAID | {"accuracy": "0.99"})):
        file.write_bytes(other)
        assert len([*weights_form(file, Preprocessing())]) == 1


@pytest.mark.parametrize(
    ("stored", "sentence"),
    [
        ({"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}, None),
        (
            {"weight": torch.zeros(2, 3).double(), "bias": torch.zeros(2)},
            "weight is torch.float64; a run writes torch.f",
        ),
        ({"weight": torch.zeros(2, 3)}, "bias is absent; a run writes torch.float32"),
        ({"weight": torch.zeros(2, 3), "bias": torch.zeros(2), "note": torch.zeros(1)}, "a run writes absent"),
    ],
)
def test_weights_have_the_names_and_types_of_their_network(
    stored: dict[str, torch.Tensor], sentence: str | None, finished_run: Path, numerics: Numerics
) -> None:
    selected = evidence_of(FinishedRun.open(finished_run), numerics).selected
    selected.stored, selected.network = stored, torch.nn.Linear(3, 2)
    found = [each for each in weights_differences(selected) if "a run writes " in each]
    assert len(found) == (sentence is not None)
    assert (sentence or "") in "".join(found)


@pytest.mark.parametrize(("number", "count"), [(3, 0), (4, 1)])
def test_weights_say_their_preprocessing_from_format_4_on(
    number: int, count: int, own_run: Path, numerics: Numerics
) -> None:
    selected = evidence_of(FinishedRun.open(own_run), numerics).selected
    files = selected.evidence.run.files
    files.write_bytes(f"{selected.name}/best.safetensors", tensor_bytes(selected.stored))
    files.write_json("config.json", files.read_json("config.json") | {"format": number})
    assert len([*weights_differences(selected)]) == count


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_warm_start_leaves_the_weights_of_the_last_epoch(epoch: int, own_run: Path, numerics: Numerics) -> None:
    run = FinishedRun.open(own_run)
    name, place = run.metrics["setting"], own_run / run.metrics["setting"]
    os.link(place / "best.safetensors", place / "last.safetensors")
    entries: Any = [{**entry, "weights_sha256": "0" * 64} for entry in run.tensors[name]]
    entries[epoch]["weights_sha256"] = run.metrics["weights_sha256"]
    config = replace(run.config, protocol=parse("warm-start"))
    warm = replace(run, config=config, tensors={**run.tensors, name: entries})
    found = [*weights_differences(evidence_of(warm, numerics).selected)]
    assert ["000 after the last epoch" in each for each in found] == [True] * (epoch == 0)


def with_fingerprint(run: FinishedRun, **changes: Any) -> FinishedRun:
    return replace(run, fingerprint=Fingerprint(**{**run.fingerprint, **changes}))  # type: ignore[typeddict-item]


def differences(run: FinishedRun, numerics: Numerics) -> list[Any]:
    return [*fingerprint_differences(evidence_of(run, numerics))]


@pytest.fixture
def portable(numerics: Numerics) -> Numerics:
    return numerics if numerics.portable else pytest.skip("portable arithmetic is unavailable")


def test_a_changed_numeric_class_neither_lowers_the_tier_nor_goes_unseen(
    finished_run: Path, portable: Numerics
) -> None:
    run = FinishedRun.open(finished_run)
    assert differences(run, portable) == []
    forged = with_fingerprint(run, numeric_class="0123456789ab")
    assert requires_bits(forged.fingerprint, portable)
    (sentence,) = differences(forged, portable)
    assert "numeric_class and probe (0123456789ab) are not those of portable arithmetic" in sentence


def test_a_run_of_an_earlier_version_of_portable_arithmetic_is_compared_within_tolerances_and_that_is_said(
    finished_run: Path, portable: Numerics
) -> None:
    run = FinishedRun.open(finished_run)
    probe = {**run.fingerprint["probe"], "convolution": "0" * 12}

    def of_version(version: int) -> FinishedRun:
        return with_fingerprint(run, probe=probe, numeric_class=class_of(version, probe))

    earlier, later = (of_version(VERSION + step) for step in (-1, 1))
    assert not requires_bits(earlier.fingerprint, portable)
    (found,) = fingerprint_differences(evidence_of(earlier, portable))
    assert isinstance(found, Note)
    assert f"recorded in version {VERSION - 1} of portable arithmetic" in found.sentence
    assert requires_bits(later.fingerprint, portable)
    assert len(differences(later, portable)) == 1


def test_a_changed_probe_is_a_difference(finished_run: Path, portable: Numerics) -> None:
    run = FinishedRun.open(finished_run)
    probe = {**run.fingerprint["probe"], "product": "0" * 12}
    assert differences(with_fingerprint(run, probe=probe), portable)


def test_native_arithmetic_requires_bits_within_a_class_that_follows_from_its_probe(
    finished_run: Path, numerics: Numerics
) -> None:
    native = replace(numerics, mode="native")
    run = FinishedRun.open(finished_run)
    recorded = {"numerics": "native", "probe": native.probe, "threads": 3, "device_name": "cpu"}
    honest = with_fingerprint(run, **recorded, numeric_class=class_of(native.probe, 3, "cpu"))
    assert differences(honest, native) == []
    assert not requires_bits(honest.fingerprint, native)
    assert requires_bits(honest.fingerprint, replace(native, numeric_class=honest.fingerprint["numeric_class"]))
    (sentence,) = differences(with_fingerprint(honest, numeric_class="0123456789ab"), native)
    assert "its probe, threads and device make" in sentence


def test_arithmetic_that_the_configuration_excludes_is_a_difference(finished_run: Path, portable: Numerics) -> None:
    run = FinishedRun.open(finished_run)
    other = replace(run, config=replace(run.config, numerics="native"))
    (sentence,) = differences(other, portable)
    assert "numerics is portable; config.json has native" in sentence


def test_initial_weights_of_another_seed_are_a_difference(finished_run: Path, numerics: Numerics) -> None:
    run = FinishedRun.open(finished_run)
    (sentence,) = differences(with_fingerprint(run, initial_weights_sha256="0" * 64), numerics)
    assert "the weights that seed 0 draws have" in sentence


def test_a_hash_of_code_is_a_difference_where_a_network_has_none(finished_run: Path, numerics: Numerics) -> None:
    (sentence,) = differences(with_fingerprint(FinishedRun.open(finished_run), code_sha256="0" * 64), numerics)
    assert f"code_sha256 is {'0' * 64}; the file of resnet18 here has none to be recorded" in sentence


def test_a_drawn_start_that_is_called_trained_elsewhere_is_a_difference(finished_run: Path, numerics: Numerics) -> None:
    run = FinishedRun.open(finished_run)
    renamed = replace(run, config=replace(run.config, weights="imagenet"))
    (sentence,) = differences(renamed, numerics)
    assert sentence.endswith("the initial weights are those that seed 0 draws, not imagenet weights")


def test_the_weights_of_a_file_are_hashed_where_they_are_at_hand(
    finished_run: Path, numerics: Numerics, tmp_path: Path
) -> None:
    run = FinishedRun.open(finished_run)
    state, file = run.selected_network().state_dict(), tmp_path / "start.safetensors"
    file.write_bytes(tensor_bytes(state))
    begun = replace(run, config=replace(run.config, weights=str(file)))
    (sentence,) = differences(with_fingerprint(begun, initial_weights_sha256="0" * 64), numerics)
    assert f"{file} weights that are here have {tensors_sha256(state)}" in sentence
    honest = with_fingerprint(begun, initial_weights_sha256=tensors_sha256(state))
    assert differences(honest, numerics) == []
    file.unlink()
    assert differences(with_fingerprint(begun, initial_weights_sha256="0" * 64), numerics) == []
