"""The record of a module's activations, against values by hand."""

import torch
from torch import Tensor, nn

from in4310repro.evaluation.feature_maps.activations import activation_record
from in4310repro.features import FeatureResult, FeatureStatistics
from in4310repro.features.blocks import BLOCK

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
    with FeatureStatistics(model, ["0"], histogram=True, top_images=3) as statistics:
        model(maps[..., None])
    record = activation_record(statistics.result()["0"], ["x\u202ey.jpg"])
    assert record["never_positive"] == [0, 1]
    assert record["top_images"] == [{"channel": 1, "images": ["x\\u202ey.jpg"], "responses": [-1.0]}]
