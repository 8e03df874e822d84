"""The study of feature maps: its numbers against plain NumPy, its changes on small networks, and its page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import nn
from torchvision.models import resnet18

from in4310repro.data.images import ImageSet
from in4310repro.models.sources import open_network
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.files import read_json
from studies.feature_maps import changes, figures, measurement, spectra, statements
from studies.feature_maps.changes import Piece
from studies.feature_maps.images import CIFAR, REDUCED, SCENES, THREE, TRAINED_ON, scale_up
from studies.feature_maps.networks import (
    LITE_MODULES,
    LITE_NORMS,
    RESNET_BLOCKS,
    RESNET_NORMS,
    Subject,
    merge,
    subjects_of_run,
)
from studies.feature_maps.page import FOLDER, LAST, NUMBERS, PAGE, Numbers, page, with_interval


def eigenvalues_by_numpy(rows: Float64[np.ndarray, "image channel"]) -> NDArray[np.float64]:
    values: NDArray[np.float64] = np.linalg.eigvalsh(np.cov(rows, rowvar=False, ddof=0))[::-1]
    return values


def effective_rank_by_numpy(eigenvalues: NDArray[np.float64]) -> float:
    entropy = 0.0
    for value in eigenvalues:
        if value > 1e-12:
            share = value / sum(eigenvalues)
            entropy -= share * np.log(share)
    return float(np.exp(entropy))


def without_one(rows: Float64[np.ndarray, "image channel"]) -> list[NDArray[np.float64]]:
    return [eigenvalues_by_numpy(np.delete(rows, image, axis=0)) for image in range(len(rows))]


def error_by_jackknife(values: NDArray[np.float64]) -> float:
    """Return sqrt((n - 1) / n * sum of (value - mean)^2) of values with one image left out at a time."""
    return float(np.sqrt((len(values) - 1) / len(values) * ((values - values.mean()) ** 2).sum()))


@pytest.mark.parametrize("shape", [(200, 5), (60, 90)], ids=["more-images", "more-channels"])
@pytest.mark.parametrize("name", list(spectra.QUANTITIES))
def test_errors_agree_with_those_of_leaving_out_one_image_at_a_time(shape: tuple[int, int], name: str) -> None:
    rows = np.random.default_rng(0).normal(1e3, 1, shape) * np.geomspace(1, 0.1 if shape[1] == 5 else 1e-3, shape[1])
    value, error = spectra.with_errors(rows)[name]
    quantity = spectra.QUANTITIES[name]
    assert value == pytest.approx(quantity(eigenvalues_by_numpy(rows).clip(min=0))[0], rel=1e-6)
    expected = error_by_jackknife(np.array([quantity(each.clip(min=0))[0] for each in without_one(rows)]))
    # The two differ by terms of the order 1/n. The infinitesimal one is wider where leading eigenvalues are close.
    assert 0.95 <= error / expected <= (1.05 if shape[1] == 5 else 1.25)
    # A wrong twin: the standard deviation over images, not divided by the square root of their number.
    assert error * np.sqrt(shape[0]) != pytest.approx(expected, rel=0.5)


def test_the_error_of_the_total_variance_is_that_of_a_mean_of_squares() -> None:
    rows = np.random.default_rng(2).normal(size=(40, 3))
    squares = ((rows - rows.mean(axis=0)) ** 2).sum(axis=1)
    expected = [squares.mean(), squares.std(ddof=1) / np.sqrt(40)]
    assert spectra.with_errors(rows)["total_variance"] == pytest.approx(expected, rel=1e-9)


def test_the_effective_rank_is_the_exponential_of_the_entropy_of_shares() -> None:
    eigenvalues = eigenvalues_by_numpy(np.random.default_rng(1).normal(size=(50, 8)) * np.arange(1, 9))
    rank, _ = spectra.effective_rank(eigenvalues)
    assert rank == pytest.approx(effective_rank_by_numpy(eigenvalues), rel=1e-12)
    assert spectra.effective_rank(np.array([2.0, 2.0, 2.0, 0.0]))[0] == pytest.approx(3)
    # Wrong twins: an entropy in bits, eigenvalues that are not divided by their sum, and the participation ratio.
    shares = eigenvalues / eigenvalues.sum()
    assert np.exp(-(shares * np.log2(shares)).sum()) != pytest.approx(rank, rel=0.05)
    assert np.exp(-(eigenvalues * np.log(eigenvalues)).sum()) != pytest.approx(rank, rel=0.05)
    assert spectra.participation_ratio(eigenvalues)[0] != pytest.approx(rank, rel=0.05)


@pytest.mark.parametrize("name", list(spectra.QUANTITIES))
def test_derivatives_are_those_of_small_differences(name: str) -> None:
    values, quantity = np.array([3.0, 1.0, 0.5]), spectra.QUANTITIES[name]
    for place, derivative in enumerate(quantity(values)[1]):
        step = 1e-6 * np.eye(3)[place]
        numeric = (quantity(values + step)[0] - quantity(values - step)[0]) / 2e-6
        assert derivative == pytest.approx(numeric, rel=1e-5, abs=1e-8)


def test_participation_ratio_and_first_share_of_a_case_by_hand() -> None:
    eigenvalues = np.array([3.0, 1.0])
    assert spectra.participation_ratio(eigenvalues)[0] == pytest.approx(16 / 10)
    assert spectra.first_share(eigenvalues)[0] == pytest.approx(0.75)


def test_intervals_hold_the_effective_rank_of_the_distribution() -> None:
    generator, scales, held = np.random.default_rng(3), np.array([3.0, 2, 1, 1, 0.5]), []
    for _ in range(300):
        rank, error = spectra.with_errors(generator.normal(size=(200, 5)) * scales)["effective_rank"]
        held.append(abs(rank - effective_rank_by_numpy(scales**2)) <= spectra.DEVIATIONS * error)
    # 0.95 is meant; 300 samples have a standard deviation of 0.013, and 200 images a rank that is a little too low.
    assert 0.9 <= np.mean(held) <= 0.99


def between_by_sums(rows: Float64[np.ndarray, "image channel"], labels: NDArray[np.int64]) -> float:
    """Return sum_c n_c |m_c - m|^2 / sum_i |x_i - m|^2, with the mean m and the class means m_c."""
    mean, between, total = rows.mean(axis=0), 0.0, 0.0
    for row, label in zip(rows, labels, strict=True):
        between += float(((rows[labels == label].mean(axis=0) - mean) ** 2).sum())
        total += float(((row - mean) ** 2).sum())
    return between / total


def test_the_share_between_classes_is_that_of_the_squares_of_their_means() -> None:
    generator, labels = np.random.default_rng(7), np.repeat(np.arange(3), (10, 20, 30))
    rows = generator.normal(size=(60, 4)) + generator.normal(size=(3, 4))[labels]
    found = spectra.split_by_class(rows, labels)
    assert found["between"] == pytest.approx(between_by_sums(rows, labels), rel=1e-9)
    within = sum(np.cov(rows[labels == label], rowvar=False, ddof=0) * (labels == label).sum() for label in range(3))
    assert found["rank_within"] == pytest.approx(effective_rank_by_numpy(np.linalg.eigvalsh(within)), rel=1e-9)
    # A wrong twin: class means that are not weighted by the number of their images.
    means = np.array([rows[labels == label].mean(axis=0) for label in range(3)])
    unweighted = means.var(axis=0).sum() / rows.var(axis=0).sum()
    assert found["between"] != pytest.approx(unweighted, rel=0.01)


def test_one_class_has_no_variance_between_classes() -> None:
    rows = np.random.default_rng(8).normal(size=(9, 3))
    found = spectra.split_by_class(rows, np.zeros(9, np.int64))
    assert found["between"] == pytest.approx(0, abs=1e-12)
    assert found["rank_within"] == pytest.approx(spectra.with_errors(rows)["effective_rank"][0])


def test_equal_rows_and_few_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="4 or more"):
        spectra.with_errors(np.ones((10, 3)))
    with pytest.raises(ValueError, match="3 rows"):
        spectra.with_errors(np.eye(3))


def test_a_difference_counts_only_beyond_the_interval() -> None:
    assert spectra.differ([1.0, 0.1], [1.2, 0.1]) == 0
    assert spectra.differ([1.0, 0.1], [1.4, 0.1]) == 1
    assert spectra.differ([1.4, 0.1], [1.0, 0.1]) == -1


@pytest.fixture(scope="module")
def images() -> ImageSet:
    pixels = np.random.default_rng(4).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    names = tuple(f"{number}" for number in range(12))
    return ImageSet("drawn", names, names, np.zeros(12, np.int64), pixels)


@pytest.fixture(scope="module")
def network(images: ImageSet) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model: nn.Module = resnet18(num_classes=6)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.bias, 0.1, 0.1)
                module.momentum = 1  # the running statistics are those of the last batch
    with torch.no_grad():
        model(torch.cat(list(measurement.batches(images))))
    return model.eval()


def test_rows_and_shares_are_those_that_the_statistics_have(network: nn.Module, images: ImageSet) -> None:
    for result, rows, shares in measurement.measure(network, images, list(RESNET_NORMS)).values():
        np.testing.assert_allclose(rows.mean(axis=0), result.mean, atol=1e-6)
        np.testing.assert_allclose(np.cov(rows, rowvar=False, ddof=0), result.covariance, atol=1e-5)
        assert shares.mean() == pytest.approx(result.non_positive, rel=1e-12)


def test_the_largest_eigenvalues_are_kept_in_descending_order(network: nn.Module, images: ImageSet) -> None:
    measured = measurement.measure(network, images, ["layer1.1.conv1"])["layer1.1.conv1"]
    kept = spectra.describe(*measured)["eigenvalues"]
    assert len(kept) == spectra.LARGEST
    np.testing.assert_allclose(kept, eigenvalues_by_numpy(measured.rows)[: len(kept)], atol=1e-6)


@pytest.fixture(scope="module")
def piece(network: nn.Module, images: ImageSet) -> Piece:
    name = "layer4.1.conv1"
    inputs = measurement.inputs_of(network, images, [name])[name]
    norm = network.get_submodule("layer4.1.bn1")
    return Piece(network.get_submodule(name), norm, inputs, torch.ones(512, 512, 3, 3))  # type: ignore[arg-type]


def test_inputs_are_what_the_convolution_reads(network: nn.Module, images: ImageSet, piece: Piece) -> None:
    expected = measurement.measure(network, images, ["layer4.1.conv1"])["layer4.1.conv1"].result.non_positive
    assert changes.CHANGES["as it is"](piece) == pytest.approx(expected, abs=1e-3)
    assert (piece.inputs >= 0).all()


def test_outputs_of_a_centred_input_have_a_mean_of_zero() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(6)
        convolution, inputs = nn.Conv2d(8, 5, 1, bias=False), torch.rand(20, 8, 4, 4)
    centred = inputs - inputs.mean(dim=(0, 2, 3), keepdim=True)
    result = measurement.statistics_of(convolution, centred, "positions")
    np.testing.assert_allclose(result.mean, 0, atol=1e-7)
    found = changes.centre_input(Piece(convolution, nn.BatchNorm2d(5), inputs, None))
    assert found == pytest.approx(result.non_positive, abs=1e-3)
    # A wrong twin: each image's own mean is subtracted, so that images no longer differ.
    own = inputs - inputs.mean(dim=(2, 3), keepdim=True)
    assert (
        np.ptp(measurement.statistics_of(convolution, own, "positions").covariance.numpy() - result.covariance.numpy())
        > 1e-4
    )


def test_centred_weights_give_nothing_on_a_constant_input(piece: Piece) -> None:
    weight = piece.convolution.weight.data
    centred = changes.with_weight(piece, weight - weight.mean(dim=(1, 2, 3), keepdim=True))
    outputs = centred(torch.ones(1, 512, 3, 3))[:, :, 1, 1]
    torch.testing.assert_close(outputs, torch.zeros(1, 512), rtol=0, atol=1e-4)
    assert torch.equal(piece.convolution.weight.data, weight)


def test_initial_weights_that_are_positive_leave_nothing_below_zero(piece: Piece) -> None:
    assert changes.restore_initial(piece) == pytest.approx(0, abs=0.01)
    assert changes.restore_initial(piece._replace(initial=None)) is None


def test_changes_of_a_batch_norm_are_those_of_its_formula(piece: Piece) -> None:
    with torch.no_grad():
        outputs, norm = piece.convolution(piece.inputs), piece.norm
        zero, own_mean = torch.zeros(512), norm.get_buffer("running_mean")
        for bias, mean, change in (
            (norm.bias, own_mean, "after batch norm"),
            (zero, own_mean, "after batch norm with bias 0"),
            (norm.bias, zero, "after batch norm that subtracts no mean"),
        ):
            scale = (norm.weight / (norm.get_buffer("running_var") + norm.eps).sqrt())[:, None, None]
            values = (outputs - mean[:, None, None]) * scale + bias[:, None, None]
            assert changes.CHANGES[change](piece) == pytest.approx(float((values <= 0).double().mean()), abs=1e-3)


def test_without_the_relu_before_it_a_convolution_reads_negative_values_and_no_other_layer_changes(
    network: nn.Module, images: ImageSet
) -> None:
    found = changes.measure_changes_before(network, images, {"layer4.1.conv1": RESNET_BLOCKS["layer4.1.conv1"]})
    assert set(found["layer4.1.conv1"]) == set(changes.BEFORE)
    changed = resnet18(num_classes=6)
    changed.load_state_dict(network.state_dict())
    changes.leave_out_relu(changed.layer4[0])
    names = ["layer4.0.conv2", "layer4.1.conv1"]
    before, after = (measurement.inputs_of(model, images, names) for model in (network, changed))
    assert torch.equal(before[names[0]], after[names[0]])
    assert torch.equal(before[names[1]], after[names[1]].relu())
    assert (after[names[1]] < 0).any()


def test_the_biases_that_end_both_branches_are_set_to_zero() -> None:
    model = resnet18(num_classes=6)
    block = model.layer4[0]
    for norm in (block.bn1, block.bn2, block.downsample[1]):
        nn.init.ones_(norm.bias)
    changes.zero_biases(block)
    assert [bool(norm.bias.any()) for norm in (block.bn1, block.bn2, block.downsample[1])] == [True, False, False]


def test_moved_outputs_have_other_shares_and_the_same_scores(network: nn.Module, images: ImageSet) -> None:
    found = changes.compare_moved(network, images, RESNET_NORMS)
    for what, share in (("to a mean of 0", 0.5), ("as printed", changes.PRINTED_SHARE)):
        assert found[what]["same class"] == found[what]["images"] == len(images)
        assert found[what]["largest difference of scores"] < 1e-4
        assert list(found[what]["shares"].values()) == pytest.approx([share] * 5, abs=0.1)


def test_images_through_fewer_pixels_keep_their_size_and_lose_detail(images: ImageSet) -> None:
    larger = scale_up(images, 64)
    assert larger.pixels.shape == (12, 64, 64, 3)
    assert (
        np.abs(np.diff(larger.pixels.astype(int), axis=2)).mean()
        < np.abs(np.diff(images.pixels.astype(int), axis=2)).mean()
    )


def test_modules_of_lite_are_convolutions_with_their_batch_norms() -> None:
    model = open_network("efficientnet_lite0").build(6, 0, None)
    assert set(LITE_MODULES) < set(LITE_NORMS)
    for convolution, norm in LITE_NORMS.items():
        assert isinstance(model.get_submodule(convolution), nn.Conv2d)
        assert model.get_submodule(norm).num_features == model.get_submodule(convolution).out_channels


def made_up(ranks: Mapping[str, list[float]]) -> dict[str, Any]:
    def of(values: list[float]) -> dict[str, Any]:
        return {f"m{place}": {"effective_rank": [value, 0.1]} for place, value in enumerate(values)}

    return {"kind": "trained", "sets": {name: of(values) for name, values in ranks.items()}}


def test_statements_can_hold_and_fail() -> None:
    network = made_up({SCENES: [1, 2, 3], CIFAR: [1.1, 3, 2], "ImageNet": [2, 3, 4]})
    assert list(statements.rank_differs(SCENES, CIFAR)(network)) == [False, True, True]
    assert list(statements.rises("effective_rank")(network)) == [name != CIFAR for name in THREE]
    assert statements.verdict([True, True]) == "holds, 2 of 2"
    assert statements.verdict([True, False]) == "in part, 1 of 2"
    assert statements.verdict([False, False]) == "**fails**, 0 of 2"
    assert statements.verdict([]) == "-"


def through_32_px(before: float, after: float) -> dict[str, Any]:
    return made_up({"ImageNet": [before], REDUCED["ImageNet"]: [after], CIFAR: [2.0], SCENES: [2.0]})


@pytest.mark.parametrize(
    ("after", "way", "halves"),
    [(3.0, 0.5, True), (3.1, 0.45, False), (0.9, 1.55, False), (1.5, 1.25, True), (5.0, -0.5, False)],
    ids=["half", "less-than-half", "far-beyond", "beyond", "away"],
)
def test_a_difference_halves_on_either_side_of_cifar(after: float, way: float, halves: bool) -> None:
    network = through_32_px(4.0, after)
    assert list(statements.ways(network, "ImageNet").values()) == pytest.approx([way])
    assert list(statements.difference_halves("ImageNet")(network)) == [halves]


def test_sets_that_do_not_differ_have_no_way_to_go() -> None:
    assert statements.ways(through_32_px(2.1, 2.0), "ImageNet") == {}
    assert list(statements.difference_halves("ImageNet")(through_32_px(2.1, 2.0))) == []


def signs(kind: str, shares: Mapping[str, float], mean_weight: float = 0.0) -> dict[str, Any]:
    """Return a network whose convolutions have shares, as they are and after batch norm."""
    changed = {
        name: {"as it is": share, "after batch norm": share, "mean weight": mean_weight, "its weights centred": 0.5}
        for name, share in shares.items()
    }
    return {"kind": kind, "signs": {"changes": changed}}


def test_a_mean_weight_tells_the_side_of_a_half_in_every_kind_of_network() -> None:
    for kind in statements.KINDS:
        network = signs(kind, {"first": 0.1, "below": 0.4, "above": 0.6, "near": 0.52}, mean_weight=0.01)
        assert list(statements.mean_weight_tells_the_side(network)) == [True, False]


def test_the_last_module_is_the_last_of_the_five_and_not_the_networks_last_convolution() -> None:
    network = signs("imagenet", {"stem.0": 0.5, "blocks.12.expand.0": 0.52, "blocks.12.project.0": 0.9, "last.0": 0.9})
    assert list(statements.in_depth(network)) == ["stem.0", "blocks.12.expand.0"]
    assert list(statements.last_cuts_more(network)) == [False]
    higher = signs("imagenet", {"stem.0": 0.5, "blocks.12.expand.0": 0.54, "last.0": 0.1})
    assert list(statements.last_cuts_more(higher)) == [True]


@pytest.mark.parametrize(("last", "above"), [(0.54, True), (0.52, False), (0.4, False)])
def test_before_and_after_batch_norm_three_points_make_a_difference(last: float, above: bool) -> None:
    modules = {name: {"non_positive": [share, 1e-6]} for name, share in (("m0", 0.5), ("m1", 0.9), ("m2", last))}
    network = {"kind": "trained", "sets": dict.fromkeys(THREE, modules)}
    assert list(statements.last_is_above_first("non_positive")(network)) == [above] * 3
    assert list(statements.last_cuts_more(signs("trained", {"m0": 0.5, "m1": 0.9, "m2": last}))) == [above]


def test_centred_weights_are_tried_on_shares_that_are_not_near_a_half() -> None:
    network = signs("trained", {"first": 0.1, "low": 0.4, "near": 0.52})
    assert list(statements.nearer("its weights centred")(network)) == [True]
    network["signs"]["changes"]["low"]["its weights centred"] = 0.7
    assert list(statements.nearer("its weights centred")(network)) == [False]


def trained(protocol: str, setting: str, share: float, **changed: object) -> dict[str, Any]:
    facts = {"protocol": protocol, "setting": setting, "after": None, "seed": 0, "training_images": 9, "epochs": 2}
    return {**signs("trained", {LAST: share}), **facts, "name": setting, "also": [], **changed}


def numbers_of(*networks: dict[str, Any]) -> Numbers:
    shares = {"conv1": 40.0, LAST: 70.0}
    return Numbers(
        {
            "networks": list(networks),
            "images": 200,
            "more_images": 1000,
            "printed": shares,
            "corrected_run": {"conv1": 42.0, LAST: 20.0},
        }
    )


def test_a_warm_start_continues_a_training_and_is_not_one_of_its_own() -> None:
    first, second = trained("published", "adamw", 0.3), trained("published", "rmsprop", 0.4, after="adamw")
    assert numbers_of(first, second).runs() == (
        "2 networks of 1 training from a fresh start, seed 0; `published`: adamw, rmsprop after adamw"
    )
    other = trained("corrected", "adamw", 0.3, seed=1)
    assert numbers_of(first, other).runs().startswith("2 networks of 2 trainings from a fresh start, seeds 0, 1; ")


def test_optimizers_are_compared_within_a_protocol_and_from_fresh_starts_alone() -> None:
    first, warm = trained("published", "adamw", 0.3), trained("published", "rmsprop", 0.4, after="adamw")
    other = trained("corrected", "sgd", 0.5)
    assert "not compared" in numbers_of(first, warm, other).optimizers()
    shared = {**first, "also": [{**other, "setting": "adamw"}]}
    assert numbers_of(shared, warm, other).optimizers() == (
        "Of settings with a fresh start in one protocol, with the number of networks: "
        "corrected, 9 images, 2 epochs: adamw 30.0 % (1), sgd 50.0 % (1)."
    )


def test_departures_are_distances_from_the_printed_shares() -> None:
    assert numbers_of().departures(["conv1"]) == "2.0"
    assert numbers_of().departures(["conv1", LAST]) == "2.0 to 50.0"


def test_the_example_of_upscaling_is_the_module_in_which_two_sets_are_furthest_apart() -> None:
    network = {**made_up({SCENES: [9.0, 2.0, 1.0], CIFAR: [3.0, 1.9, 9.0]}), "kind": "imagenet"}
    assert numbers_of(network).furthest(SCENES) == "m2"


def test_ranks_and_variances_after_training_are_those_of_each_network() -> None:
    network: dict[str, Any] = {"kind": "trained", "name": "a run, sgd", "sets": {}}
    for name, rank, variance in (
        (SCENES, 1.0, 10.0),
        ("ImageNet", 2.0, 0.0),
        (CIFAR, 3.0, 0.0),
        (TRAINED_ON, 4.0, 20.0),
    ):
        network["sets"][name] = {LAST: {"effective_rank": [rank, 0.1], "total_variance": [variance, 0.1]}}
    assert numbers_of(network).after_training() == (
        "1.0, 2.0, 3.0 (a run, sgd; total variance of scenes 10, of those of its training 20)"
    )


def test_more_images_give_less_and_more() -> None:
    network = made_up({name: [2.0, 4.0] for name in THREE})
    network["more"] = {name: {"m0": 1.0 if name == CIFAR else 2.0, "m1": 6.0} for name in THREE}
    network["more"][SCENES]["m1"] = 6.4
    assert numbers_of(network).limit() == (
        "0.50 (m0, CIFAR-10, ResNet-18, trained) to 1.60 times as much (m1, scenes, ResNet-18, trained)"
    )


def test_the_page_says_other_things_of_other_networks() -> None:
    numbers = read_json(NUMBERS)
    [alone] = [each for each in numbers["networks"] if "sets" in each and each["kind"] == "trained"][:1]
    kept = [each for each in numbers["networks"] if each["kind"] != "trained"]
    for module in alone["sets"][SCENES].values():
        module["effective_rank"] = [9.0, 1e3]
    changed = {**alone, "also": [], "after": None}
    text = page(numbers | {"networks": [*kept, changed]})
    assert "1 network of 1 training" in text
    assert "none differs" in text
    assert "optimizers are not compared" in text


def test_networks_with_equal_weights_are_measured_once_with_the_facts_of_both() -> None:
    first, second, third = (subject_of(seed, spectra_too) for seed, spectra_too in ((0, False), (0, True), (1, False)))
    merged = merge([first, second, third])
    assert [each.measures_spectra for each in merged] == [True, False]
    assert [each.also for each in merged] == [(second.facts,), ()]


def test_of_one_training_the_network_of_another_epoch_is_not_measured() -> None:
    first, second, third = (replace(subject_of(seed, False), last_weights=last) for seed, last in enumerate("aab"))
    assert [each.model for each in merge([first, second, third])] == [first.model, third.model]


def subject_of(seed: int, has_spectra: bool) -> Subject:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Conv2d(3, 4, 3)
    preprocessing = open_network("efficientnet_lite0").imagenet.preprocessing
    return Subject(
        name="drawn",
        model=model,
        modules=(),
        norms={},
        size=8,
        preprocessing=preprocessing,
        root="",
        classes=(),
        scenes=(),
        facts={"spectra": has_spectra},
    )


def test_marks_side_by_side_do_not_overlap_and_lie_around_the_tick() -> None:
    for count in (1, 2, 12):
        spots = figures.offsets(count)
        assert sum(spots) == pytest.approx(0)
        assert max(spots) - min(spots) < 0.75
        assert all(first < second for first, second in pairwise(spots))


def test_an_interval_is_that_of_the_widest() -> None:
    assert with_interval([[1.0, 0.1], [2.0, 0.5]], ".2f") == "1.00 to 2.00 ± 0.98"
    assert with_interval([[0.5, 0.01]], ".1f", 100) == "50.0 ± 2.0"


def test_the_page_on_feature_maps_is_what_its_numbers_give() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(read_json(NUMBERS))


def test_the_page_shows_the_figures_that_are_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert {file.name for file in Path(FOLDER).glob("*.svg")} == {
        name for name in ("spectra.svg", "shares.svg", "changes.svg") if f"]({name})" in text
    }


def test_networks_of_a_run_are_measured_on_scenes_that_it_did_not_read(
    finished_run: Path, copied_scenes: Callable[[Path], Path], tmp_path: Path
) -> None:
    run = FinishedRun.open(finished_run)
    initial, *trained = subjects_of_run(run, copied_scenes(tmp_path / "scenes"))
    assert [each.facts["setting"] for each in trained] == ["adamw", "rmsprop", "sgd"]
    read = {entry.path for part in ("training", "validation") for entry in run.split.parts[part]}
    assert {entry.path for entry in initial.scenes}.isdisjoint(read)
    assert [each.facts["setting"] for each in trained if each.measures_spectra] == [run.metrics["setting"]]
    assert trained[0].initial is initial.model
    before, after = (each.model.get_parameter("conv1.weight") for each in (initial, trained[0]))
    assert not torch.equal(before, after)
