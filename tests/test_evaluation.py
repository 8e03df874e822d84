"""Prediction, selection, ranking, and the reproduction routine with everything that must make it fail."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from in4310repro import models
from in4310repro.data.images import ImageSet, normalised
from in4310repro.evaluation import Scores, compared, predict, read_scores, select, top_and_bottom, verify
from in4310repro.numerics import Numerics
from in4310repro.presets import PRESETS, Config, to_json
from in4310repro.runs import Run


def image_set(count: int) -> ImageSet:
    generator = np.random.default_rng(0)
    names = tuple(f"a/{number:03d}.png" for number in range(count))
    pixels = generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return ImageSet("made up", names, names, generator.integers(0, 6, count), pixels)


def in_batches(size: int) -> Config:
    return replace(PRESETS["tiny"], evaluation_batch_size=size)


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return models.build("resnet18", 6, seed=0)


def test_scores_are_the_softmax_of_the_whole_set_in_eval_mode(network: torch.nn.Module) -> None:
    images = image_set(20)
    scores = predict(network, images, in_batches(20))
    with torch.no_grad():
        logits = network.eval()(normalised(images.pixels)).double()
    oracle = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    torch.testing.assert_close(torch.from_numpy(scores.softmax).double(), oracle, rtol=0, atol=1e-6)
    picked = oracle[torch.arange(20), torch.from_numpy(images.labels)]
    assert scores.loss == pytest.approx(float(-picked.log().mean()), rel=1e-5)
    network.train()
    in_train_mode = network(normalised(images.pixels)).softmax(dim=1)
    assert (in_train_mode - torch.from_numpy(scores.softmax)).abs().max() > 1e-3


def test_scores_and_loss_do_not_depend_on_the_batch_size(network: torch.nn.Module) -> None:
    reference = predict(network, image_set(33), in_batches(33))
    for size in (1, 7, 16, 200):
        scores = predict(network, image_set(33), in_batches(size))
        # 1e-5: floats are not bit-equal across batch sizes.
        torch.testing.assert_close(
            torch.from_numpy(scores.softmax), torch.from_numpy(reference.softmax), rtol=0, atol=1e-5
        )
        assert scores.loss == pytest.approx(reference.loss, rel=1e-5)
        assert scores.paths == reference.paths


def test_a_mean_of_batch_losses_is_another_number(network: torch.nn.Module) -> None:
    images = image_set(17)
    parts = [slice(0, 16), slice(16, 17)]
    losses = [
        predict(
            network,
            ImageSet("x", images.paths[p], images.keys[p], images.labels[p], images.pixels[p]),
            in_batches(16),
        ).loss
        for p in parts
    ]
    assert abs(predict(network, images, in_batches(16)).loss - sum(losses) / 2) > 1e-3


def test_predicting_puts_the_networks_mode_back(network: torch.nn.Module) -> None:
    for mode in (True, False):
        network.train(mode)
        predict(network, image_set(2), in_batches(2))
        assert network.training is mode


def test_the_setting_with_the_best_epoch_is_selected() -> None:
    histories = {
        "a": [{"epoch": 1, "mean_class_accuracy": 0.8}, {"epoch": 2, "mean_class_accuracy": 0.7}],
        "b": [{"epoch": 1, "mean_class_accuracy": 0.5}, {"epoch": 2, "mean_class_accuracy": 0.75}],
    }
    assert select(histories) == ("a", histories["a"][0])
    by_the_last_epoch = max(histories, key=lambda name: histories[name][-1]["mean_class_accuracy"])
    assert by_the_last_epoch == "b"


def test_the_first_of_equals_is_selected() -> None:
    rows = [{"epoch": 1, "mean_class_accuracy": 0.5}, {"epoch": 2, "mean_class_accuracy": 0.5}]
    assert select({"b": rows, "a": rows}) == ("b", rows[0])


def made_up_scores(count: int = 40) -> Scores:
    softmax = np.random.default_rng(0).dirichlet(np.ones(6), count).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, 6, count)
    return Scores(tuple(f"{number:03d}.png" for number in range(count)), labels, softmax, 1.0)


def test_top_and_bottom_by_sorting() -> None:
    scores = made_up_scores()
    oracle = sorted(zip(scores.softmax[:, 2].tolist(), scores.paths, strict=True), reverse=True)
    found = top_and_bottom(scores, 2)
    assert [(image["score"], image["path"]) for image in found["top"]] == oracle[:10]
    assert [(image["score"], image["path"]) for image in found["bottom"]] == oracle[::-1][:10]
    assert found["top"][0]["label"] == scores.labels[scores.paths.index(found["top"][0]["path"])]


def test_equal_scores_are_equal_bit_for_bit() -> None:
    assert compared(made_up_scores(), made_up_scores(), bitwise=True) == []


def nudged(by: float) -> Scores:
    scores = made_up_scores()
    softmax = scores.softmax.copy()
    softmax[17, 3] += by
    return replace(scores, softmax=softmax)


def test_a_difference_within_the_tolerance_passes_only_where_bits_may_differ() -> None:
    assert compared(made_up_scores(), nudged(5e-7), bitwise=False) == []
    (found,) = compared(made_up_scores(), nudged(5e-7), bitwise=True)
    assert "the worst is 017.png, class 3" in found


def test_the_worst_image_is_named_with_its_two_scores() -> None:
    changed = nudged(1e-3)
    (found,) = compared(made_up_scores(), changed, bitwise=False)
    assert "1 of 40 images have other scores (tolerance 1e-06); the worst is 017.png" in found
    assert f"{made_up_scores().softmax[17, 3]:.9g} saved, {changed.softmax[17, 3]:.9g} now" in found


def test_a_changed_prediction_is_a_difference_at_any_tolerance() -> None:
    saved = made_up_scores()
    close = saved.softmax.copy()
    close[5, :2] = 0.4999999, 0.5
    swapped = close.copy()
    swapped[5, :2] = 0.5, 0.4999999
    found = compared(replace(saved, softmax=close), replace(saved, softmax=swapped), bitwise=False)
    assert found == ["1 predictions changed, the first is that of 005.png"]


def test_a_nan_is_a_difference() -> None:
    assert compared(made_up_scores(), nudged(float("nan")), bitwise=False)
    assert compared(nudged(float("nan")), made_up_scores(), bitwise=False)


def test_scores_of_other_images_or_in_another_order_are_a_difference() -> None:
    saved = made_up_scores()
    assert "list other images" in compared(saved, replace(saved, paths=saved.paths[::-1]), bitwise=False)[0]
    lost = Scores(saved.paths[1:], saved.labels[1:], saved.softmax[1:], 1.0)
    assert "000.png" in compared(saved, lost, bitwise=False)[0]


def test_logits_saved_as_softmax_are_a_difference() -> None:
    saved = made_up_scores()
    assert compared(replace(saved, softmax=np.log(saved.softmax)), saved, bitwise=False)


def test_comparing_labels_would_not_have_seen_it() -> None:
    changed = nudged(1e-3)
    assert np.array_equal(changed.softmax.argmax(1), made_up_scores().softmax.argmax(1))
    assert compared(made_up_scores(), changed, bitwise=False)


def test_an_untouched_run_is_verified(own_run: Path, numerics: Numerics) -> None:
    assert verify(Run.open(own_run), numerics) == []


def test_a_run_is_verified_within_the_tolerance_in_another_numeric_class(own_run: Path, numerics: Numerics) -> None:
    assert verify(Run.open(own_run), replace(numerics, numeric_class="another")) == []


def flipped(file: Path, position: int) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(bytes(data))


def setting_of(folder: Path) -> str:
    return str(Run.open(folder).read_json("metrics.json")["setting"])


@pytest.mark.parametrize("position", [200, -1])
@pytest.mark.parametrize("name", ["weights", "scores.npz", "split.csv"])
def test_one_flipped_bit_in_the_run_is_found(name: str, position: int, own_run: Path, numerics: Numerics) -> None:
    file = f"{setting_of(own_run)}/best.safetensors" if name == "weights" else name
    flipped(own_run / file, position)
    assert any(file in difference for difference in verify(Run.open(own_run), numerics))


@pytest.mark.parametrize("bit", [2**14, 2**22])
def test_changed_weights_change_scores_even_where_the_manifest_was_forged(
    bit: int, own_run: Path, numerics: Numerics
) -> None:
    run = Run.open(own_run)
    name = f"{setting_of(own_run)}/best.safetensors"
    state = run.read_tensors(name)
    state["fc.weight"].view(torch.int32)[0, 0] ^= bit
    run.write_tensors(name, state)
    found = verify(run, numerics)
    assert len(found) >= 1
    assert "images have other scores" in found[0]


def test_a_flipped_bit_in_a_test_image_is_found(
    own_run: Path, numerics: Numerics, tmp_path: Path, copied_scenes: Callable[[Path], Path]
) -> None:
    root = copied_scenes(tmp_path / "scenes")
    run = Run.open(own_run)
    assert verify(run, numerics, str(root)) == []
    path = read_scores(run).paths[0]
    flipped(root / path, -20)
    found = verify(run, numerics, str(root))
    assert any(path in difference and "other bytes" in difference for difference in found)
    assert any("images have other scores" in difference for difference in found)


def test_a_missing_test_image_is_named(
    own_run: Path, numerics: Numerics, tmp_path: Path, copied_scenes: Callable[[Path], Path]
) -> None:
    root = copied_scenes(tmp_path / "scenes")
    path = read_scores(Run.open(own_run)).paths[3]
    (root / path).unlink()
    assert any(path in difference for difference in verify(Run.open(own_run), numerics, str(root)))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("metrics.json", '"setting"', '"settinh"'), ("metrics.json", '"loss"', '"lost"'), ("split.csv", "path,", "pat,")],
)
def test_damage_that_hides_an_entry_is_a_difference_and_no_crash(
    name: str, old: str, new: str, own_run: Path, numerics: Numerics
) -> None:
    (own_run / name).write_text((own_run / name).read_text().replace(old, new, 1))
    found = verify(Run.open(own_run), numerics)
    assert any(name in difference for difference in found)


def test_a_lost_manifest_is_a_difference(own_run: Path, numerics: Numerics) -> None:
    (own_run / "manifest.json").unlink()
    assert any("manifest.json is missing" in difference for difference in verify(Run.open(own_run), numerics))


def test_a_run_that_did_not_finish_is_refused(tmp_path: Path, numerics: Numerics) -> None:
    run = Run.create(tmp_path / "run")
    run.write_json("config.json", to_json(PRESETS["tiny"]))
    with pytest.raises(ValueError, match=r"holds no finished run: it has no metrics\.json"):
        verify(run, numerics)
