"""FeatureStatistics on a network that misleads hooks, compared with copies of its maps."""

import json
import re
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from in4310repro.features import FeatureStatistics
from in4310repro.features.stream import Settings
from tests.features.conftest import Tangled, count_hooks
from tests.features.copies import covariance_by_numpy, error_of, maps_by_copies

Samples = Literal["images", "positions"]
pytestmark = pytest.mark.usefixtures("either_way")
NAMES = ["conv1", "bn1", "bn2", "block.conv1", "late"]


def run(statistics: FeatureStatistics, network: nn.Module, images: Tensor, size: int = 8) -> FeatureStatistics:
    with statistics:
        for batch in torch.split(images, size):
            network(batch)
    return statistics


@pytest.mark.parametrize("size", [1, 7, 8, 26])
@pytest.mark.parametrize("name", NAMES)
def test_counts_are_those_of_copies_taken_in_the_hook(tangled: Tangled, images: Tensor, name: str, size: int) -> None:
    result = run(FeatureStatistics(tangled, NAMES, samples=None), tangled, images, size).result()[name]
    maps = torch.cat(maps_by_copies(tangled, name, torch.split(images, size))).numpy()
    assert (result.images, result.values, result.zeros) == (26, maps.size, int((maps == 0).sum()))
    assert (result.non_positive_values, result.non_finite) == (int((maps <= 0).sum()), 0)
    assert result.non_positive == (maps <= 0).sum() / maps.size


@pytest.mark.parametrize("samples", ["images", "positions"])
@pytest.mark.parametrize("name", NAMES)
def test_covariances_are_those_of_copies_taken_in_the_hook(
    tangled: Tangled, images: Tensor, name: str, samples: Samples
) -> None:
    result = run(FeatureStatistics(tangled, NAMES, samples, "exact"), tangled, images).result()[name]
    maps = torch.cat(maps_by_copies(tangled, name, torch.split(images, 8)))
    # Means of 12 maps made from 3 channels: the eighth eigenvalue is 1e-6 of the first.
    assert error_of(result.covariance, covariance_by_numpy(maps, samples)) <= 1e-9
    assert result.rows == (26 if samples == "images" else maps.numel() // maps.shape[1])


@pytest.mark.parametrize("samples", ["images", "positions"])
def test_separate_calls_are_those_of_the_first_and_second_run(
    tangled: Tangled, images: Tensor, samples: Samples
) -> None:
    results = run(FeatureStatistics(tangled, ["relu"], samples, "exact", calls="keep"), tangled, images).result()
    maps = maps_by_copies(tangled, "relu", torch.split(images, 8))
    assert list(results) == ["relu#0", "relu#1"]
    for call in (0, 1):
        expected = torch.cat(maps[call::2])
        assert results[f"relu#{call}"].non_positive_values == int((expected <= 0).sum())
        assert error_of(results[f"relu#{call}"].covariance, covariance_by_numpy(expected, samples)) <= 1e-9


@pytest.mark.parametrize("samples", ["images", "positions"])
def test_pooled_calls_are_both_runs_together(tangled: Tangled, images: Tensor, samples: Samples) -> None:
    result = run(FeatureStatistics(tangled, ["relu"], samples), tangled, images).result()["relu"]
    maps = torch.cat(maps_by_copies(tangled, "relu", torch.split(images, 8)))
    assert (result.images, result.values) == (26, maps.numel())
    # Both calls share the first one's shift: where the values lie far from it, the rounding of float32 differences is
    # up to 1.4e-6 of the eighth eigenvalue (torch's products on an EPYC; 6e-7 by the kernel).
    assert error_of(result.covariance, covariance_by_numpy(maps, samples)) <= 3e-6


def test_flat_eigenvalues_are_those_of_the_covariance_of_flattened_maps(tangled: Tangled, images: Tensor) -> None:
    result = run(FeatureStatistics(tangled, ["late"], "flat"), tangled, images).result()["late"]
    maps = torch.cat(maps_by_copies(tangled, "late", torch.split(images, 8))).flatten(start_dim=1)
    centred = maps.double().numpy() - maps.double().numpy().mean(axis=0)
    expected = np.linalg.svd(centred, compute_uv=False) ** 2 / 26
    np.testing.assert_allclose(result.eigenvalues(25).numpy(), expected[:25], rtol=1e-10)
    assert result.rows == 26
    assert float(result.eigenvalues()[25]) < 1e-12 * expected[0]


def test_flat_has_no_covariance(tangled: Tangled, images: Tensor) -> None:
    result = run(FeatureStatistics(tangled, ["late"], "flat"), tangled, images).result()["late"]
    with pytest.raises(ValueError, match=r'^mean and covariance need .*"flat" has only eigenvalues$'):
        _ = result.covariance


def test_without_settings_all_leaves_are_measured_with_one_sample_an_image(images: Tensor) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    measured = run(FeatureStatistics(network), network, images).result()
    assert {name: result.rows for name, result in measured.items()} == {"0": len(images), "1": len(images)}
    means = network(images).mean(dim=(2, 3)).detach().double().numpy()
    np.testing.assert_allclose(measured["1"].covariance.numpy(), np.cov(means.T, ddof=0), rtol=1e-4, atol=1e-7)


def test_counts_alone_have_no_mean(tangled: Tangled, images: Tensor) -> None:
    result = run(FeatureStatistics(tangled, ["late"], samples=None), tangled, images).result()["late"]
    with pytest.raises(ValueError, match="None counts only"):
        _ = result.mean


def test_eigenvalues_are_the_covariances_largest_first(tangled: Tangled, images: Tensor) -> None:
    result = run(FeatureStatistics(tangled, ["late"], "images"), tangled, images).result()["late"]
    expected = np.linalg.eigvalsh(result.covariance.numpy())[::-1]
    np.testing.assert_allclose(result.eigenvalues(4).numpy(), expected[:4], rtol=1e-12)


class Nested(nn.Module):
    """A module that returns a dictionary with a tuple and None in it."""

    def forward(self, images: Tensor) -> dict[str, Any]:
        return {"maps": (images * 2, None), "logits": images.mean(dim=(2, 3)) - 1}


def test_every_tensor_of_a_nested_output_has_its_own_result(images: Tensor) -> None:
    model = nn.Sequential(Nested())
    results = run(FeatureStatistics(model, ["0"], "images", channel_axis={"0": 1}), model, images).result()
    assert list(results) == ["0[logits]", "0[maps][0]"]
    assert results["0[maps][0]"].non_positive_values == int((images <= 0).sum())
    assert error_of(results["0[maps][0]"].covariance, covariance_by_numpy(images * 2, "images")) <= 1e-6


def test_tokens_are_positions_and_their_last_axis_channels() -> None:
    tokens = torch.randn(20, 5, 12, generator=torch.Generator().manual_seed(8))
    model = nn.Sequential(nn.LayerNorm(12), nn.GELU())
    results = run(FeatureStatistics(model, "leaves", "positions"), model, tokens).result()
    with torch.no_grad():
        expected = nn.functional.gelu(nn.functional.layer_norm(tokens, (12,))).transpose(1, 2)
    assert results["1"].rows == 100
    assert error_of(results["1"].covariance, covariance_by_numpy(expected, "positions")) <= 1e-6


def test_channels_of_a_1d_convolution_are_on_axis_1_and_others_where_told() -> None:
    signals = torch.randn(30, 4, 16, generator=torch.Generator().manual_seed(9))
    model = nn.Sequential(nn.Conv1d(4, 9, 3), nn.Tanh())
    statistics = FeatureStatistics(model, ["0", "1"], "positions", channel_axis={"1": 1})
    results = run(statistics, model, signals).result()
    assert (results["0"].rows, len(results["0"].mean), len(results["1"].mean)) == (30 * 14, 9, 9)


def test_a_pattern_takes_whole_names_only(tangled: Tangled, images: Tensor) -> None:
    results = run(FeatureStatistics(tangled, re.compile("conv1|.*2"), samples=None), tangled, images).result()
    assert list(results) == ["conv1", "bn2"]


def test_leaves_are_all_modules_without_children(tangled: Tangled, images: Tensor) -> None:
    results = run(FeatureStatistics(tangled, "leaves", samples=None), tangled, images).result()
    assert list(results) == ["late", "conv1", "bn1", "relu", "block.conv1", "bn2", "head"]


def test_non_finite_values_raise_at_once_if_asked(tangled: Tangled, images: Tensor) -> None:
    images[3, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"module 'conv1': \d+ of \d+ values are not finite"):
        run(FeatureStatistics(tangled, ["conv1"], on_non_finite="raise", samples=None), tangled, images)
    assert not tangled.conv1._forward_hooks


@pytest.mark.parametrize(
    ("argument", "value", "valid"),
    [
        ("samples", "rows", "None, 'images', 'positions', 'flat'"),
        ("precision", "double", "'fast', 'exact'"),
        ("calls", "last", "'pool', 'keep'"),
        ("on_non_finite", "ignore", "'count', 'raise'"),
        ("correction", 2, "0, 1"),
    ],
)
def test_a_value_that_does_not_exist_is_named_with_those_that_do(argument: str, value: object, valid: str) -> None:
    right = {"samples": None, "precision": "fast", "calls": "pool", "on_non_finite": "count", "correction": 0}
    settings = object.__new__(Settings)  # past the type checker that runs in tests
    vars(settings).update(right | {argument: value})
    with pytest.raises(ValueError, match=re.escape(f"{argument} is {value!r}; it must be one of {valid}")):
        settings.__post_init__()


@pytest.mark.parametrize("samples", ["images", "positions"])
def test_maps_without_values_are_images_without_rows(samples: Samples) -> None:
    model = nn.Sequential(nn.Identity())
    statistics = run(FeatureStatistics(model, ["0"], samples), model, torch.zeros(2, 3, 4, 0))
    (stream,) = json.loads(bytes(statistics.state_dict()["metadata"].tolist()))["streams"]
    state = stream["state"]
    assert (state["image_ranges"], state["counts"]) == ([[0, 2]], [0, 0, 0, 0])


def test_ragged_batches_lose_and_repeat_no_image(tangled: Tangled, images: Tensor) -> None:
    expected = run(FeatureStatistics(tangled, ["conv1"], "images"), tangled, images, 26).result()["conv1"]
    ragged = FeatureStatistics(tangled, ["conv1"], "images")
    with ragged:
        for start, stop in ((0, 1), (1, 12), (12, 12), (12, 19), (19, 26)):
            tangled(images[start:stop])
    result = ragged.result()["conv1"]
    assert (result.images, result.non_positive_values) == (expected.images, expected.non_positive_values)
    # Floats are not bit-equal across batch sizes: those of the convolution are not.
    torch.testing.assert_close(result.covariance, expected.covariance, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("samples", ["images", "positions", "flat"])
def test_calls_that_cannot_be_pooled_are_refused_in_the_first_pass(
    samples: Literal["images", "positions", "flat"],
) -> None:
    shared = nn.ReLU()
    model = nn.Sequential(shared, nn.Conv2d(3, 4, 1), shared)
    with (
        FeatureStatistics(model, ["0"], samples),
        pytest.raises(
            ValueError, match=r"module '0': .* before; they cannot be pooled: .* separately with calls=.keep"
        ),
    ):
        model(torch.ones(2, 3, 4, 4))
    assert not any(count_hooks(shared).values())
    results = run(FeatureStatistics(model, ["0"], samples, calls="keep"), model, torch.rand(5, 3, 4, 4)).result()
    assert list(results) == ["0#0", "0#1"]


@pytest.mark.parametrize("samples", ["images", "positions", "flat"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_modes_that_a_model_runs_in_do_not_enter_the_statistics(
    images: Tensor, dtype: torch.dtype, samples: Literal["images", "positions", "flat"]
) -> None:
    model = nn.Sequential(nn.Tanh())
    data = images.to(dtype)
    expected = run(FeatureStatistics(model, ["0"], samples), model, data).result()["0"]
    torch.set_default_dtype(torch.float16)
    try:
        with FeatureStatistics(model, ["0"], samples) as statistics:
            with torch.inference_mode():
                model(data[:3])
            with torch.enable_grad():
                model(data[3:7].requires_grad_())
            model(data[7:].detach())
        result = statistics.result()["0"]
    finally:
        torch.set_default_dtype(torch.float32)
    assert not result.eigenvalues().requires_grad
    torch.testing.assert_close(result.eigenvalues(), expected.eigenvalues(), rtol=1e-5, atol=1e-9)
    assert result.non_positive == expected.non_positive


def test_maps_of_another_size_than_those_that_were_loaded_are_refused() -> None:
    model = nn.Sequential(nn.Tanh())
    saved = run(FeatureStatistics(model, ["0"], "flat"), model, torch.rand(4, 3, 5, 5)).state_dict()
    statistics = FeatureStatistics(model, ["0"], "flat")
    statistics.load_state_dict(saved)
    with statistics, pytest.raises(ValueError, match="module '0': 48 values per image, and 75 before"):
        model(torch.rand(4, 3, 4, 4))


def test_only_empty_batches_have_no_result() -> None:
    model = nn.Sequential(nn.Tanh())
    for counter in (None, len):
        empty = FeatureStatistics(model, ["0"], "images", count_images=counter)
        with pytest.raises(ValueError, match="module '0': only empty batches passed"):
            run(empty, model, torch.ones(0, 3, 4, 4)).result()


def test_counts_alone_have_no_rows(tangled: Tangled, images: Tensor) -> None:
    result = run(FeatureStatistics(tangled, ["late"], samples=None), tangled, images).result()["late"]
    assert (result.images, result.rows, result.rows_left_out) == (26, 0, 0)


def test_a_covariance_needs_more_rows_than_its_correction() -> None:
    model, image = nn.Sequential(nn.Identity()), torch.ones(1, 2, 1, 1)
    uncorrected, corrected = (FeatureStatistics(model, ["0"], "images", correction=c) for c in (0, 1))
    assert run(uncorrected, model, image).result()["0"].covariance.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    with pytest.raises(ValueError, match="1 rows give no covariance with correction 1"):
        _ = run(corrected, model, image).result()["0"].covariance


@pytest.mark.parametrize(("samples", "rows", "left_out"), [("images", 2, 1), ("positions", 11, 1)])
def test_rows_that_are_left_out_are_images_or_positions(samples: Samples, rows: int, left_out: int) -> None:
    model, maps = nn.Sequential(nn.Identity()), torch.ones(3, 2, 2, 2)
    maps[1, 0, 1, 1] = torch.nan
    result = run(FeatureStatistics(model, ["0"], samples), model, maps).result()["0"]
    assert (result.images, result.rows, result.rows_left_out) == (3, rows, left_out)
