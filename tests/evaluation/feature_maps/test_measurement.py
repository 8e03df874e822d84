"""Statistics of modules and their records, compared with hand-computed values."""

from __future__ import annotations

import csv
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from in4310repro.evaluation.feature_maps import measurement
from in4310repro.evaluation.feature_maps.measurement import activation_record, folder_result, to_csv
from in4310repro.features import FeatureResult, FeatureStatistics
from in4310repro.features.blocks import BLOCK
from tests.builders import feature_request

BATCHES = torch.randn(3, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.Flatten(), torch.nn.Linear(180, 2))


def measured(**options: Any) -> FeatureResult:
    model = network()
    with feature_request(data="photos", modules="0", **options).statistics(model) as statistics:
        for images in BATCHES:
            model(images)
    return statistics.result()["0"]


def test_measured_statistics_are_those_of_a_loop_by_hand() -> None:
    model = network()
    with FeatureStatistics(model, ["0"], "images", "exact") as by_hand, torch.no_grad():
        for images in BATCHES:
            model(images)
    found, expected = measured(precision="exact"), by_hand.result()["0"]
    assert (found.images, int(found.non_finite)) == (12, 0)
    assert torch.equal(found.covariance, expected.covariance)
    assert found.top_images is not None
    assert found.histogram is not None


def test_what_is_not_cut_into_images_has_no_top_images() -> None:
    assert measured(samples=None).top_images is None


def test_a_request_is_measured_with_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Mock()
    monkeypatch.setattr(measurement, "FeatureStatistics", made)
    options: Any = {"calls": "keep", "channel_axis": {"fc": 1}}
    asked = feature_request(data="photos", modules="conv1,fc", samples="positions", precision="exact", **options)
    asked.statistics(model := network(), BLOCK)
    expected = {**options, "first_image": BLOCK, "histogram": True, "top_images": 3}
    assert made.call_args == ((model, ["conv1", "fc"], "positions", "exact"), expected)


# Four images, five channels, two positions: channel 1 is at most zero, 3 and 4 have equal largest values.
MAPS = torch.tensor(
    [
        [[1.0, -3.0], [0.0, -1.0], [2.0, 0.5], [9.0, 1.0], [1.0, 0.0]],
        [[1.5, 0.0], [-1.0, -1.0], [3.0, 0.5], [9.0, 8.0], [1.0, 0.0]],
        [[1.0, 0.0], [-2.0, -1.0], [2.5, 0.5], [1.0, 1.0], [9.0, 0.0]],
        [[0.0, 0.0], [-1.0, -0.0], [4.0, 0.5], [7.0, 1.0], [9.0, 0.0]],
    ]
)


def result(maps: Tensor, first_image: int = 0) -> FeatureResult:
    model = nn.Sequential(nn.Identity())
    with FeatureStatistics(model, ["0"], "images", first_image=first_image, histogram=True, top_images=3) as statistics:
        model(maps[..., None])
    return statistics.result()["0"]


def test_a_record_names_the_channels_with_the_largest_responses_and_their_images() -> None:
    record = activation_record(result(MAPS), ["a.jpg", "b.jpg", "c.jpg", "d.jpg"])
    assert record["never_positive"] == [1]
    assert record["top_images"] == [
        {"channel": 3, "images": ["a.jpg", "b.jpg", "d.jpg"], "responses": [9.0, 9.0, 7.0]},
        {"channel": 4, "images": ["c.jpg", "d.jpg", "a.jpg"], "responses": [9.0, 9.0, 1.0]},
        {"channel": 2, "images": ["d.jpg", "b.jpg", "c.jpg"], "responses": [4.0, 3.0, 2.5]},
    ]


def test_of_many_channels_with_equal_responses_the_first_are_named() -> None:
    record = activation_record(result(torch.ones(1, 64, 1)), ["a"])
    assert [each["channel"] for each in record["top_images"]] == [0, 1, 2]


def test_a_folder_has_the_zeros_and_the_largest_eigenvalues_with_their_share_also_in_its_table() -> None:
    made = folder_result(feature_request(data="photos", eigenvalues=2), {"0": result(MAPS)}, ["a", "b", "c", "d"])
    module, oracle = made["modules"]["0"], np.linalg.eigvalsh(np.cov(MAPS.double().mean(dim=2).T, bias=True))[::-1]
    assert module["zeros"] == (MAPS == 0).sum()
    assert module["eigenvalues"] == pytest.approx(oracle[:2])
    assert module["trace_share"] == pytest.approx(oracle[:2].sum() / oracle.sum())
    (row,) = csv.DictReader(to_csv(made).splitlines())
    assert [float(row[name]) for name in ("zeros", "eigenvalue_1", "eigenvalue_2")] == [10, *module["eigenvalues"]]
    assert (row["images"], row["rows"], float(row["clamped"])) == ("4", "4", module["clamped"])


def test_a_record_counts_values_by_power_of_two_in_the_order_of_the_values() -> None:
    record = activation_record(result(MAPS), ["a", "b", "c", "d"])
    assert list(record["powers_of_two"].items()) == [
        ("-2^1", 2), ("-2^0", 5), ("0", 10), ("2^-1", 4), ("2^0", 9), ("2^1", 3), ("2^2", 2), ("2^3", 5)
    ]  # fmt: skip
    # The 20th of 40 is 0.5 and the 30th 1.5; the bin of 1.5 ends at 1.53125.
    assert record["quantiles"]["0.5"] == 0.5 * (1 + 1 / 64)
    assert record["quantiles"]["0.75"] == 1.515625
    assert record["quantiles"]["0.001"] == -3.03125


def test_images_are_counted_from_the_first_of_their_set() -> None:
    paths = ["a", "b", "c", "d"]
    assert activation_record(result(MAPS, 3 * BLOCK), paths, 3 * BLOCK) == activation_record(result(MAPS), paths)


def test_a_channel_that_is_never_finite_names_no_image_and_a_path_is_printable() -> None:
    maps = torch.full((1, 2, 2), torch.nan)
    maps[0, 1] = torch.tensor([-1.0, -2.0])
    model = nn.Sequential(nn.Identity())
    with FeatureStatistics(model, ["0"], histogram=True, top_images=3, samples=None) as statistics:
        model(maps[..., None])
    record = activation_record(statistics.result()["0"], ["x\u202ey.jpg"])
    assert record["never_positive"] == [0, 1]
    assert record["top_images"] == [{"channel": 1, "images": ["x\\u202ey.jpg"], "responses": [-1.0]}]
