"""The fingerprint: no claimed numeric class loosens portable arithmetic, and initial weights are drawn again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from in4310repro.runs.finished import FinishedRun
from in4310repro.system.fingerprint import Fingerprint
from in4310repro.system.numerics import Numerics, native_class
from in4310repro.system.tensors import tensor_bytes, tensors_sha256
from in4310repro.verification.evidence import requires_bits
from in4310repro.verification.fingerprint import fingerprint_differences
from tests.verification.given import evidence_of


def with_fingerprint(run: FinishedRun, **changes: Any) -> FinishedRun:
    return replace(run, fingerprint=Fingerprint(**{**run.fingerprint, **changes}))  # type: ignore[typeddict-item]


def differences(run: FinishedRun, numerics: Numerics) -> list[str]:
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
    honest = with_fingerprint(run, **recorded, numeric_class=native_class(native.probe, 3, "cpu"))
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
