"""The reproduction routine with everything that must make it fail."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from in4310repro.config import to_json
from in4310repro.numerics import Numerics
from in4310repro.presets import PRESETS
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.scores import Scores
from in4310repro.verification import Verification, score_differences, verify
from tests.builders import made_up_scores


def test_equal_scores_are_equal_bit_for_bit() -> None:
    assert score_differences(made_up_scores(), made_up_scores(), bitwise=True) == []


def nudged(by: float) -> Scores:
    scores = made_up_scores()
    softmax = scores.softmax.copy()
    softmax[17, 3] += by
    return replace(scores, softmax=softmax)


def test_a_difference_within_the_tolerance_passes_only_where_bits_may_differ() -> None:
    assert score_differences(made_up_scores(), nudged(5e-7), bitwise=False) == []
    (difference,) = score_differences(made_up_scores(), nudged(5e-7), bitwise=True)
    assert "the worst is 017.png, class 3" in difference


def test_the_worst_image_is_named_with_its_two_scores() -> None:
    changed = nudged(1e-3)
    (difference,) = score_differences(made_up_scores(), changed, bitwise=False)
    assert "1 of 40 images have other scores (tolerance 1e-06); the worst is 017.png" in difference
    assert f"{made_up_scores().softmax[17, 3]:.9g} saved, {changed.softmax[17, 3]:.9g} now" in difference


def test_a_changed_prediction_is_a_difference_at_any_tolerance() -> None:
    saved = made_up_scores()
    close = saved.softmax.copy()
    close[5, :2] = 0.4999999, 0.5
    swapped = close.copy()
    swapped[5, :2] = 0.5, 0.4999999
    differences = score_differences(replace(saved, softmax=close), replace(saved, softmax=swapped), bitwise=False)
    assert differences == ["1 predictions changed, the first is that of 005.png"]


def test_a_nan_is_a_difference() -> None:
    assert score_differences(made_up_scores(), nudged(float("nan")), bitwise=False)
    assert score_differences(nudged(float("nan")), made_up_scores(), bitwise=False)


def test_scores_of_other_images_or_in_another_order_are_a_difference() -> None:
    saved = made_up_scores()
    assert "are of other images" in score_differences(saved, replace(saved, paths=saved.paths[::-1]), bitwise=False)[0]
    lost = Scores(saved.paths[1:], saved.labels[1:], saved.softmax[1:], 1.0)
    assert "000.png" in score_differences(saved, lost, bitwise=False)[0]


def test_logits_saved_as_softmax_are_a_difference() -> None:
    saved = made_up_scores()
    assert score_differences(replace(saved, softmax=np.log(saved.softmax)), saved, bitwise=False)


def test_comparing_labels_would_not_have_seen_it() -> None:
    changed = nudged(1e-3)
    assert np.array_equal(changed.softmax.argmax(1), made_up_scores().softmax.argmax(1))
    assert score_differences(made_up_scores(), changed, bitwise=False)


def test_an_untouched_run_is_verified(finished_run: Path, numerics: Numerics) -> None:
    assert verify(finished_run, numerics) == Verification(differences=[], bitwise=True)


def test_a_run_is_verified_within_the_tolerance_in_another_numeric_class(
    finished_run: Path, numerics: Numerics
) -> None:
    assert verify(finished_run, replace(numerics, numeric_class="another")) == Verification(
        differences=[], bitwise=False
    )


def flip_bit(file: Path, position: int) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(bytes(data))


def setting_of(folder: Path) -> str:
    return FinishedRun.open(folder).metrics["setting"]


@pytest.mark.parametrize("position", [200, -1])
@pytest.mark.parametrize("name", ["weights", "scores.npz", "split.csv"])
def test_one_flipped_bit_in_the_run_is_found(name: str, position: int, own_run: Path, numerics: Numerics) -> None:
    file = f"{setting_of(own_run)}/best.safetensors" if name == "weights" else name
    flip_bit(own_run / file, position)
    assert any(file in difference for difference in verify(own_run, numerics).differences)


@pytest.mark.parametrize("bit", [2**14, 2**22])
def test_changed_weights_change_scores_even_where_the_manifest_was_forged(
    bit: int, own_run: Path, numerics: Numerics
) -> None:
    run = RunFolder.open(own_run)
    name = f"{setting_of(own_run)}/best.safetensors"
    state = run.read_tensors(name)
    state["fc.weight"].view(torch.int32)[0, 0] ^= bit
    run.write_tensors(name, state)
    differences = verify(own_run, numerics).differences
    assert len(differences) >= 1
    assert "images have other scores" in differences[0]


def test_a_flipped_bit_in_a_test_image_is_found(
    finished_run: Path, numerics: Numerics, tmp_path: Path, copied_scenes: Callable[[Path], Path]
) -> None:
    root = copied_scenes(tmp_path / "scenes")
    run = FinishedRun.open(finished_run)
    assert verify(finished_run, numerics, str(root)).differences == []
    path = run.scores.paths[0]
    flip_bit(root / path, -20)
    differences = verify(finished_run, numerics, str(root)).differences
    assert any(path in difference and "other bytes" in difference for difference in differences)
    assert any("images have other scores" in difference for difference in differences)


def test_a_split_of_other_scenes_than_are_drawn_is_a_difference_even_where_the_manifest_was_forged(
    own_run: Path, numerics: Numerics
) -> None:
    entry = FinishedRun.open(own_run).split.parts["training"][0]
    text = (own_run / "split.csv").read_text().replace(entry.sha256, "0" * 64)
    RunFolder.open(own_run).write_bytes("split.csv", text.encode())
    assert f"the split has no {entry.path} that is the scene drawn now" in verify(own_run, numerics).differences


def test_a_missing_test_image_is_named(
    finished_run: Path, numerics: Numerics, tmp_path: Path, copied_scenes: Callable[[Path], Path]
) -> None:
    root = copied_scenes(tmp_path / "scenes")
    path = FinishedRun.open(finished_run).scores.paths[3]
    (root / path).unlink()
    with pytest.raises(ValueError, match=re.escape(path)):
        verify(finished_run, numerics, str(root))


def test_damage_is_a_difference_even_where_the_images_are_not_there(own_records: Path, numerics: Numerics) -> None:
    (own_records / "features.json").unlink()
    assert any("features.json" in line for line in verify(own_records, numerics, str(own_records)).differences)


def test_other_weights_than_the_metrics_name_are_a_difference(linked_run: Path, numerics: Numerics) -> None:
    run = RunFolder.open(linked_run)
    name = f"{setting_of(linked_run)}/best.safetensors"
    state = run.read_tensors(name)
    state["bn1.num_batches_tracked"] += 1
    run.write_tensors(name, state)
    assert "weights_sha256 of other weights" in verify(linked_run, numerics).differences[0]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("metrics.json", '"setting"', '"settinh"'), ("metrics.json", '"loss"', '"lost"'), ("split.csv", "path,", "pat,")],
)
def test_damage_that_hides_an_entry_is_a_difference_and_no_crash(
    name: str, old: str, new: str, own_run: Path, numerics: Numerics
) -> None:
    (own_run / name).write_text((own_run / name).read_text().replace(old, new, 1))
    differences = verify(own_run, numerics).differences
    assert any(name in difference for difference in differences)


def test_a_lost_manifest_is_a_difference(own_run: Path, numerics: Numerics) -> None:
    (own_run / "manifest.json").unlink()
    assert any("manifest.json is missing" in difference for difference in verify(own_run, numerics).differences)


def test_a_run_that_did_not_finish_is_refused(tmp_path: Path, numerics: Numerics) -> None:
    RunFolder.create(tmp_path / "run").write_json("config.json", to_json(PRESETS["tiny"]))
    with pytest.raises(ValueError, match=r"holds no finished run: it has no metrics\.json"):
        verify(tmp_path / "run", numerics)
