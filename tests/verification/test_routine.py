"""Findings of `verify`, its output, and its list of what is not checked."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from in4310repro.runs.config import to_json
from in4310repro.runs.deviations import parse
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.presets import PRESETS
from in4310repro.runs.settings import LOOK_ALIKES
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.verification import checks, routine
from in4310repro.verification.checks import CHECKS, Verification, of_each_setting
from in4310repro.verification.evidence import IN_CLASS, REPLAY, Claim, Evidence, Note
from in4310repro.verification.file_checks import preset_findings
from in4310repro.verification.folder_checks import changed_files
from in4310repro.verification.routine import answer, verify
from tests.verification import table


def test_an_untouched_run_is_verified_to_the_bit_and_says_what_it_leaves_as_a_claim(
    finished_run: Path, numerics: Numerics
) -> None:
    verified = verify(finished_run, context=Context(numerics))
    assert (verified.differences, verified.bitwise, verified.notes) == ([], True, [])
    verdict, *claimed, matches, last = answer(finished_run, verified).lines
    assert verdict == f"{finished_run}: verified, no difference, bit for bit"
    assert verified.not_checked == []
    for words in ("training losses", "learning rate", "each setting began", "images per second", "no other run"):
        assert any(words in line and line.startswith("claimed and not computed again") for line in claimed)
    assert matches == "every file matches the manifest; whoever changes a file can rewrite the manifest too"
    assert ": computed again, bit for bit: the split from the images and the seed, " in last
    assert last.endswith(f"sha256 {RunFolder(finished_run).manifest_sha256()}")


@pytest.mark.slow
def test_a_run_is_verified_within_the_tolerance_in_native_arithmetic_of_another_class(
    finished_run: Path, numerics: Numerics
) -> None:
    verified = verify(finished_run, context=Context(replace(numerics, mode="native", numeric_class="another")))
    assert (verified.differences, verified.bitwise) == ([], False)
    assert (
        "within tolerances (logits 2e-05 of their size), in another numeric class"
        in answer(finished_run, verified).lines[-1]
    )


def test_what_another_class_leaves_open_is_said_with_what_is_computed_again_and_claimed(
    finished_run: Path, numerics: Numerics, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, other_class = FinishedRun.open(finished_run), replace(numerics, mode="native", numeric_class="another")
    fitted = replace(run, config=replace(run.config, train="head"))
    claim = Claim("the average precision of sea", IN_CLASS)
    monkeypatch.setattr(routine, "make_checks", lambda _: [claim])
    verified = verify(finished_run, opened=fitted, context=Context(other_class))
    assert verified.claimed[-1] == claim
    for words in ("average precisions as far as", "feature maps within 0.0001", "every fit of the head (losses within"):
        assert any(words in each for each in verified.computed_again)


def flip_bit(file: Path, position: int) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(bytes(data))


def setting_of(folder: Path) -> str:
    return FinishedRun.open(folder).metrics["setting"]


@pytest.mark.parametrize("position", [200, -1])
@pytest.mark.parametrize("name", ["weights", "scores.npz", "split.csv"])
def test_one_flipped_bit_in_the_run_is_found(name: str, position: int, own_run: Path) -> None:
    file = f"{setting_of(own_run)}/best.safetensors" if name == "weights" else name
    flip_bit(own_run / file, position)
    assert any(file in difference for difference in changed_files(RunFolder(own_run)))


@pytest.mark.slow
def test_changed_weights_change_all_that_follows_from_them_even_where_the_manifest_was_forged(
    own_run: Path, numerics: Numerics
) -> None:
    run = RunFolder.open(own_run)
    selected = setting_of(own_run)
    state = run.read_tensors(f"{selected}/best.safetensors")
    state["fc.weight"].view(torch.int32)[0, 0] ^= 2**22
    run.write_weights(f"{selected}/best.safetensors", state, PRESETS["tiny"].preprocessing)
    differences = verify(own_run, context=Context(numerics)).differences
    assert "images have other scores" in differences[0]
    for words in ("metrics.json: loss is", "metrics.json: weights_sha256 is", f"{selected}/history.json: epoch"):
        assert any(words in difference for difference in differences)
    assert differences[-1].endswith("best.safetensors: fc.weight, 1 in all")


@pytest.mark.slow
def test_other_weights_of_a_setting_that_was_not_selected_are_a_difference(own_run: Path, numerics: Numerics) -> None:
    run, selected = RunFolder.open(own_run), setting_of(own_run)
    other = next(name for name in FinishedRun.open(own_run).histories if name != selected)
    run.write_weights(
        f"{other}/best.safetensors", run.read_tensors(f"{selected}/best.safetensors"), PRESETS["tiny"].preprocessing
    )
    differences = verify(own_run, context=Context(numerics)).differences
    assert any(f"{other}/history.json: epoch" in each and "weights_sha256" in each for each in differences)
    assert any(f"{other}/history.json: epoch" in each and "val_loss" in each for each in differences)
    assert all(other in each for each in differences)


def test_a_counter_that_no_score_depends_on_is_a_difference(own_run: Path, numerics: Numerics) -> None:
    run = RunFolder.open(own_run)
    name = f"{setting_of(own_run)}/best.safetensors"
    state = run.read_tensors(name)
    state["bn1.num_batches_tracked"] += 1
    run.write_weights(name, state, PRESETS["tiny"].preprocessing)
    differences = verify(own_run, context=Context(numerics)).differences
    assert len(differences) == 3
    assert "weights_sha256" in differences[0]


def test_a_flipped_bit_in_a_test_image_is_found(
    finished_run: Path, numerics: Numerics, tmp_path: Path, copied_scenes: Callable[[Path], Path]
) -> None:
    root = copied_scenes(tmp_path / "scenes")
    run = FinishedRun.open(finished_run)
    path = run.scores.paths[0]
    flip_bit(root / path, -20)
    differences = verify(finished_run, str(root), context=Context(numerics)).differences
    assert any(path in difference and "other bytes" in difference for difference in differences)
    assert any("images have other scores" in difference for difference in differences)


def test_a_missing_test_image_is_named_and_one_that_is_no_picture_is_a_difference(
    finished_run: Path, numerics: Numerics, tmp_path: Path, copied_scenes: Callable[[Path], Path]
) -> None:
    root = copied_scenes(tmp_path / "scenes")
    path = FinishedRun.open(finished_run).scores.paths[3]
    (root / path).write_bytes(b"BM")
    last = verify(finished_run, str(root), context=Context(numerics)).differences[-1]
    assert last.startswith("the images cannot be predicted again: ")
    assert path in last
    (root / path).unlink()
    with pytest.raises(ValueError, match=re.escape(path)):
        verify(finished_run, str(root), context=Context(numerics))


def test_damage_is_a_difference_even_where_the_images_are_not_there(own_records: Path, numerics: Numerics) -> None:
    (own_records / "features.json").unlink()
    assert any(
        "features.json" in line for line in verify(own_records, str(own_records), context=Context(numerics)).differences
    )


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("metrics.json", '"setting"', '"settinh"'), ("metrics.json", '"loss"', '"lost"'), ("split.csv", "path,", "pat,")],
)
def test_damage_that_hides_an_entry_is_a_difference_and_no_crash(
    name: str, old: str, new: str, own_records: Path, numerics: Numerics
) -> None:
    (own_records / name).write_text((own_records / name).read_text().replace(old, new, 1))
    assert any(name in difference for difference in verify(own_records, context=Context(numerics)).differences)


def test_a_lost_manifest_is_a_difference(own_records: Path, numerics: Numerics) -> None:
    (own_records / "manifest.json").unlink()
    assert any(
        "manifest.json is missing" in difference
        for difference in verify(own_records, context=Context(numerics)).differences
    )


def test_settings_that_are_not_the_presets_are_named_and_no_difference(finished_run: Path) -> None:
    run = FinishedRun.open(finished_run)
    dropped = replace(run, config=replace(run.config, settings=run.config.settings[1:]))
    older = replace(run, config=replace(run.config, orientation="ignored"))
    assert [*preset_findings(run)] == [*preset_findings(older)] == []
    assert [*preset_findings(dropped)] == [Note(f"{run.folder / 'config.json'} differs from preset tiny in settings")]


def test_a_preset_that_there_is_not_is_a_difference(finished_run: Path) -> None:
    run = FinishedRun.open(finished_run)
    (difference,) = preset_findings(replace(run, config=replace(run.config, preset="tinny")))
    assert isinstance(difference, str)
    assert "preset is tinny" in difference
    assert "did you mean tiny?" in difference


def test_a_run_that_did_not_finish_is_refused(tmp_path: Path, numerics: Numerics) -> None:
    RunFolder.create(tmp_path / "run").write_json("config.json", to_json(PRESETS["tiny"]))
    with pytest.raises(ValueError, match=r"holds no finished run: it has no metrics\.json"):
        verify(tmp_path / "run", context=Context(numerics))


PAGE = table.PAGE


def test_the_tables_of_the_docs_are_those_of_the_checks() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert table.with_tables(text) == text


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_that_is_left_out_or_says_something_else_is_missed_on_the_page(name: str) -> None:
    without = {each: check for each, check in CHECKS.items() if each != name}
    text = PAGE.read_text(encoding="utf-8")
    assert table.with_tables(text, without) != text


def test_nothing_is_confirmed_or_claimed_of_a_run_with_differences() -> None:
    found = Verification(differences=["one"])
    assert (found.computed_again, found.claimed) == ([], [])
    assert answer(Path("run"), found).document == {"differences": ["one"]}


def test_claims_are_put_together_by_what_would_show_them(finished_run: Path) -> None:
    found = [Claim("a", IN_CLASS), Claim("b", REPLAY), Claim("c", IN_CLASS)]
    claimed = replace(Verification.expected(FinishedRun.open(finished_run)), found=found).grouped_claims
    assert (claimed[IN_CLASS], claimed[REPLAY][-1]) == (["a", "c"], "b")


def test_every_epoch_that_was_not_trained_again_is_a_claim_and_a_fitted_head_has_none(finished_run: Path) -> None:
    def left(verified: Verification) -> set[str]:
        return {claim.what for claim in verified.claimed}

    run = FinishedRun.open(finished_run)
    losses, _ = checks.OF_EPOCHS
    named = f"{losses} (setting adamw, epoch 2; setting rmsprop; setting sgd)"
    again = replace(Verification.expected(run), replayed={"adamw": [1], "sgd": []})
    assert again.wordings[losses] == [named]
    assert named in left(again)
    assert [each for each in again.computed_again if "training" in each] == ["the training of setting adamw, epoch 1"]
    fitted = Verification.expected(replace(run, config=replace(run.config, train="head")))
    assert {losses, checks.TRAINING_PIXELS} <= left(Verification.expected(run)) - left(fitted)
    assert left(fitted) - left(replace(fitted, fits_repeat=True)) == {"tensor hashes of fits other than the best"}


OF_START = ("that training began from the seed", "the feature maps, which are of the weights before training")
IN_GROUPS: dict[str, Any] = {"group": LOOK_ALIKES}
FITTED: dict[str, Any] = {"train": "head"}


@pytest.mark.parametrize(
    ("config", "facts", "confirmed", "claimed"),
    [
        (IN_GROUPS, {}, {checks.GROUPS}, set()),
        (IN_GROUPS, {"bitwise": False}, set(), {checks.GROUPS}),
        ({"train": "from:layer4"}, {}, {checks.FROZEN}, set()),
        ({"train": "from:layer4"}, {"start": False}, set(), {checks.FROZEN, *OF_START}),
        (
            {"protocol": parse("test-loss-each-epoch")},
            {},
            {"the test loss of each setting's best epoch"},
            {checks.TEST_LOSSES},
        ),
        (
            FITTED,
            {"fits_repeat": True},
            {"every fit of the head (to the bit), and that nothing else has moved"},
            {checks.WITHOUT_EPOCHS},
        ),
        (
            FITTED,
            {"fits_repeat": True, "bodies_compared": False},
            {"every fit of the head (to the bit)"},
            {checks.WITHOUT_EPOCHS, "that nothing but the heads that were fitted has moved"},
        ),
    ],
)
def test_what_is_confirmed_and_claimed_of_a_run_beside_what_is_of_every_run(
    config: dict[str, Any], facts: dict[str, Any], confirmed: set[str], claimed: set[str], finished_run: Path
) -> None:
    run = FinishedRun.open(finished_run)
    plain = Verification.expected(run)
    other = replace(Verification.expected(replace(run, config=replace(run.config, **config))), **facts)
    assert {*other.computed_again} - {*plain.computed_again} == confirmed
    assert {each.what for each in other.claimed} - {each.what for each in plain.claimed} == claimed


def test_a_check_of_each_setting_begins_with_the_selected_one(finished_run: Path, numerics: Numerics) -> None:
    selected, *others = of_each_setting(lambda each: [each.name])(Evidence(finished_run, Context(numerics)))
    assert selected == setting_of(finished_run)
    assert {*map(str, others)} == {"adamw", "rmsprop", "sgd"} - {selected}
