"""The images with the largest response of each channel, and channels never positive, against a full sort."""

import json
import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from in4310repro.features import FeatureResult, FeatureStatistics, TopImages
from in4310repro.features.blocks import BLOCK
from tests.features.conftest import Tangled
from tests.features.copies import maps_by_copies

pytestmark = pytest.mark.usefixtures("either_way")
SPECIAL = torch.tensor([math.nan, -math.nan, math.inf, -math.inf, -0.0, 1e-45, -1e-45, 3e38, -3e38])
Numbers = NDArray[Any]


def maps_with_ties(shape: tuple[int, ...], seed: int = 0, special: float = 0.02) -> Tensor:
    """Return maps with many equal and some special values (nan, inf, subnormal); the last channel is <= 0."""
    generator = torch.Generator().manual_seed(seed)
    values = (torch.randn(shape, generator=generator) * 4).round()
    chosen = torch.rand(shape, generator=generator) < special
    values[chosen] = SPECIAL[torch.randint(len(SPECIAL), (int(chosen.sum()),), generator=generator)]
    values[:, -1] = torch.where(values[:, -1].isfinite(), -values[:, -1].abs(), values[:, -1])
    values[: len(values) // 2, 0] = math.nan
    return values


def responses_by_numpy(maps: Tensor) -> Numbers:
    """Return the largest finite value of each image and channel; the maps have channels on axis 1."""
    numbers: Numbers = maps.double().numpy().reshape(*maps.shape[:2], -1)
    found: Numbers = np.where(np.isfinite(numbers), numbers, -np.inf).max(axis=2)
    return found


def first_by_numpy(responses: Numbers, number: int) -> tuple[list[list[int]], list[list[float]]]:
    """Return the top images of each channel by a full sort, padded with -1 and -inf."""
    images, values = [], []
    for channel in responses.T:
        order = [image for image in np.lexsort((np.arange(len(channel)), -channel)) if channel[image] > -np.inf]
        missing = [-1] * max(0, number - len(order))
        images.append([int(image) for image in order[:number]] + missing)
        values.append([float(channel[image]) for image in order[:number]] + [-math.inf] * len(missing))
    return images, values


def as_lists(top: TopImages | None) -> tuple[list[list[int]], list[list[float]]]:
    assert top is not None
    return top.images.tolist(), top.responses.tolist()


def measured(maps: Tensor, number: int, size: int = 16, **settings: Any) -> FeatureResult:
    model = nn.Sequential(nn.Identity())
    with FeatureStatistics(model, ["0"], top_images=number, **settings) as statistics:
        for batch in torch.split(maps, size):
            model(batch)
    return statistics.result()["0"]


@pytest.mark.parametrize("number", [1, 50])
@pytest.mark.parametrize("shape", [(40, 5, 3, 3), (40, 20, 9, 7), (33, 35, 1, 1), (20, 16, 16, 16)])
def test_first_images_are_those_of_a_sort_of_everything(shape: tuple[int, ...], number: int) -> None:
    maps = maps_with_ties(shape)
    assert as_lists(measured(maps, number).top_images) == first_by_numpy(responses_by_numpy(maps), number)


@pytest.mark.parametrize("samples", ["images", "positions", "flat"])
def test_samples_change_no_top_image_and_top_images_no_sample(samples: str) -> None:
    maps = maps_with_ties((40, 20, 9, 7))
    found, without = measured(maps, 3, samples=samples, histogram=True), measured(maps, 0, samples=samples)
    assert as_lists(found.top_images) == first_by_numpy(responses_by_numpy(maps), 3)
    kept = {name: value for name, value in found.to_json().items() if name not in ("histogram", "top_images")}
    assert json.dumps(kept) == json.dumps(without.to_json())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_types_have_the_same_order(dtype: torch.dtype) -> None:
    maps = maps_with_ties((30, 6, 4, 4)).to(dtype)
    assert as_lists(measured(maps, 4).top_images) == first_by_numpy(responses_by_numpy(maps.float()), 4)


@pytest.mark.parametrize("view", ["channels-last", "strided", "negated", "tokens", "rows"])
def test_layout_does_not_matter(view: str) -> None:
    torch.set_num_threads(2)
    maps = maps_with_ties((24, 18, 12, 10))
    views = {
        "channels-last": maps.contiguous(memory_format=torch.channels_last),
        "strided": maps[:, ::2, 1:],
        "negated": torch.complex(torch.zeros_like(maps), -maps).conj().imag,
        "tokens": maps.flatten(start_dim=2).transpose(1, 2).contiguous(),
        "rows": maps[:, :, 0, 0],
    }
    expected = {"tokens": maps}.get(view, views[view].resolve_neg())
    assert as_lists(measured(views[view], 5).top_images) == first_by_numpy(responses_by_numpy(expected), 5)


def test_a_default_device_changes_no_top_image() -> None:
    maps = maps_with_ties((24, 5, 3, 3))
    with torch.device("meta"):
        result = measured(maps, 3, histogram=True)
    assert result.histogram is not None
    assert result.histogram.middles.device.type == "cpu"
    assert as_lists(result.top_images) == first_by_numpy(responses_by_numpy(maps), 3)


def test_a_channel_that_is_never_positive_is_known_by_every_image() -> None:
    maps = maps_with_ties((200, 8, 3, 3))
    maps[:, 3] = -maps[:, 3].abs()
    maps[130, 3, 1, 1] = 1e-45
    maps[:, 5] = -0.0
    maps[:, 6] = math.inf
    numbers = maps.double().numpy()
    positive = ((numbers > 0) & np.isfinite(numbers)).any(axis=(0, 2, 3))
    top = measured(maps, 1).top_images
    assert top is not None
    assert top.never_positive.tolist() == (~positive).tolist()
    assert np.flatnonzero(~positive).tolist() == [5, 6, 7]
    assert top.responses[5].tolist() == [0.0]
    assert math.copysign(1, top.responses[5, 0]) == 1


WRONG: dict[str, Callable[[Tensor], tuple[list[list[int]], list[list[float]]]]] = {
    "ties go to the later image": lambda maps: (
        (len(maps) - 1 - np.array(first_by_numpy(responses_by_numpy(maps.flip(0)), 3)[0])).tolist(),
        first_by_numpy(responses_by_numpy(maps.flip(0)), 3)[1],
    ),
    "infinite is largest": lambda maps: first_by_numpy(maps.nan_to_num(-math.inf, posinf=None).amax((2, 3)).numpy(), 3),
    "means instead of peaks": lambda maps: first_by_numpy(maps.nan_to_num(0, 0, 0).mean((2, 3)).numpy(), 3),
    "one place further": lambda maps: (
        [row[1:] for row in first_by_numpy(responses_by_numpy(maps), 4)[0]],
        [row[1:] for row in first_by_numpy(responses_by_numpy(maps), 4)[1]],
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_another_order_is_noticed(mistake: str) -> None:
    maps = maps_with_ties((40, 5, 3, 3))
    found = as_lists(measured(maps, 3).top_images)
    assert found == first_by_numpy(responses_by_numpy(maps), 3)
    assert found != WRONG[mistake](maps)


def test_pooled_calls_name_an_image_once_by_its_largest_response(tangled: Tangled, images: Tensor) -> None:
    maps = maps_by_copies(tangled, "relu", torch.split(images, 8))
    first, second = (responses_by_numpy(torch.cat(maps[call::2])) for call in (0, 1))
    for calls, expected in (
        ("pool", {"relu": np.maximum(first, second)}),
        ("keep", {"relu#0": first, "relu#1": second}),
    ):
        settings: dict[str, Any] = {"calls": calls, "samples": None}
        with FeatureStatistics(tangled, ["relu"], top_images=6, histogram=True, **settings) as statistics:
            for batch in torch.split(images, 8):
                tangled(batch)
        for name, result in statistics.result().items():
            assert as_lists(result.top_images) == first_by_numpy(expected[name], 6)


def parts_of(maps: Tensor) -> list[FeatureStatistics]:
    """Return one FeatureStatistics for each block of 64 images."""
    model, parts = nn.Sequential(nn.Identity()), []
    for start in range(0, len(maps), BLOCK):
        with FeatureStatistics(
            model, ["0"], "images", first_image=start, histogram=True, top_images=4, on_non_finite="count"
        ) as statistics:
            for batch in torch.split(maps[start : start + BLOCK], 24):
                model(batch)
        parts.append(statistics)
    return parts


@pytest.mark.parametrize("seed", range(3))
def test_merges_in_any_order_have_the_same_bits(seed: int) -> None:
    maps = maps_with_ties((5 * BLOCK + 9, 6, 4, 4), seed, special=0.001)
    parts = parts_of(maps)
    random.Random(seed).shuffle(parts)
    merged = parts[0].fresh()
    for part in parts:
        other = part.fresh()
        other.load_state_dict(part.state_dict())
        merged.merge(other)
    together, alone = merged.result()["0"], measured(maps, 4, samples="images", histogram=True)
    assert as_lists(together.top_images) == as_lists(alone.top_images)
    assert as_lists(together.top_images) == first_by_numpy(responses_by_numpy(maps), 4)
    assert together.histogram is not None
    assert alone.histogram is not None
    assert torch.equal(together.histogram.middles, alone.histogram.middles)
    assert torch.equal(together.histogram.counts, alone.histogram.counts)
    assert torch.equal(together.covariance, alone.covariance)


def test_a_merge_leaves_the_other_alone() -> None:
    first, second = parts_of(maps_with_ties((2 * BLOCK, 3, 2, 2), special=0))
    empty = first.fresh()
    before = {name: value.clone() for name, value in second.state_dict().items()}
    empty.merge(second)
    empty.merge(first)
    assert all(torch.equal(value, before[name]) for name, value in second.state_dict().items())


def test_a_state_continues_to_the_same_bits() -> None:
    maps = maps_with_ties((3 * BLOCK, 6, 4, 4))
    model = nn.Sequential(nn.Identity())
    before = FeatureStatistics(model, ["0"], histogram=True, top_images=2, samples=None)
    with before:
        model(maps[:70])
    after = before.fresh()
    after.load_state_dict(before.state_dict())
    with after:
        model(maps[70:])
    with before.fresh() as whole:
        model(maps)
    states = [each.state_dict() for each in (after, whole)]
    assert states[0].keys() == states[1].keys() == {"0.activations.counts", "0.activations.keys", "metadata"}
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("counts", torch.zeros(5, dtype=torch.int64), r"counts is torch.int64 of shape \(5,\); .* \(16384,\)"),
        ("counts", torch.zeros(16384), r"counts is torch.float32 .*; it must be torch.int64 "),
        ("counts", torch.full((16384,), -1), r"a histogram with a count of -1; counts must be 0 or more"),
        ("keys", torch.zeros(3, 5, dtype=torch.int64), r"keys is torch.int64 of shape \(3, 5\); .* \(3, 2\)"),
        ("keys", torch.zeros(2, dtype=torch.int64), r"keys is torch.int64 of shape \(2,\); .* \(2, 2\)"),
    ],
)
def test_a_state_of_another_shape_is_refused(name: str, value: Tensor, message: str) -> None:
    model = nn.Sequential(nn.Identity())
    with FeatureStatistics(model, ["0"], histogram=True, top_images=2, samples=None) as statistics:
        model(torch.ones(2, 3))
    state = statistics.state_dict() | {f"0.activations.{name}": value}
    with pytest.raises(ValueError, match=message):
        statistics.fresh().load_state_dict(state)


def test_a_state_without_activations_is_what_it_was_before_there_were_any() -> None:
    model = nn.Sequential(nn.Identity())
    with FeatureStatistics(model, ["0"], samples=None) as statistics:
        model(torch.ones(2, 3))
    metadata = json.loads(bytes(statistics.state_dict()["metadata"].tolist()))
    assert not {"histogram", "top_images", "leave_out"} & metadata["settings"].keys()
    with pytest.raises(ValueError, match=r"^two statistics have top_images 1 and None; they must be equal$"):
        FeatureStatistics(model, ["0"], top_images=1, samples=None).merge(statistics)


def test_channels_that_change_are_refused() -> None:
    model = nn.Sequential(nn.Identity())
    for samples in (None, "flat"):
        with FeatureStatistics(model, ["0"], samples, top_images=1) as statistics:
            model(torch.ones(2, 3, 4))
            with pytest.raises(ValueError, match=r"module '0': 3 channels, and 4 before; they cannot be pooled"):
                model(torch.ones(2, 4, 3))
    others = []
    for start, channels in ((0, 3), (BLOCK, 4)):
        with FeatureStatistics(model, ["0"], top_images=1, first_image=start, samples=None) as statistics:
            model(torch.ones(2, channels))
        others.append(statistics)
    with pytest.raises(ValueError, match="4 channels, and 3 before; they cannot be pooled"):
        others[0].merge(others[1])


@pytest.mark.parametrize("first", [0, 2**31, 2**32 - BLOCK])
def test_top_images_have_their_index_up_to_32_bits_and_none_above(first: int) -> None:
    model = nn.Sequential(nn.Identity())
    maps = torch.arange(float(BLOCK)).reshape(BLOCK, 1, 1, 1)
    with FeatureStatistics(model, ["0"], top_images=2, first_image=first, samples=None) as statistics:
        model(maps)
        if first + BLOCK == 2**32:
            with pytest.raises(ValueError, match="image 4294967296; top images are only of images below 4294967296"):
                model(maps[:1])
    assert as_lists(statistics.result()["0"].top_images)[0] == [[first + BLOCK - 1, first + BLOCK - 2]]
    with (
        FeatureStatistics(model, ["0"], top_images=1, first_image=2**32, samples=None),
        pytest.raises(ValueError, match="image 4294967296; top images are only of images below 4294967296"),
    ):
        model(maps[:1])


def test_images_are_needed_on_axis_0_whatever_the_samples() -> None:
    model = nn.Sequential(nn.Flatten(0, 1))
    message = r"axis 0 must be the 2 images of the batch; samples=None and top_images=0 counts its values"
    with FeatureStatistics(model, ["0"], top_images=1, samples=None), pytest.raises(ValueError, match=message):
        model(torch.ones(2, 3, 4))
    with pytest.raises(ValueError, match="top_images is -1; it must be 0 or more images of each channel"):
        FeatureStatistics(model, ["0"], top_images=-1, samples=None)


def test_outputs_without_values_rank_no_image() -> None:
    model = nn.Sequential(nn.Identity())
    with FeatureStatistics(model, ["0"], top_images=1, histogram=True, samples=None) as statistics:
        model(torch.ones(0, 3, 2, 2))
        model(torch.ones(2, 3, 0, 2))
        model(torch.full((1, 3, 2, 2), -1.0))
    assert as_lists(statistics.result()["0"].top_images) == ([[2]] * 3, [[-1.0]] * 3)


@pytest.mark.parametrize("number", [1, 30])
def test_a_result_is_the_same_after_a_file_of_json(number: int) -> None:
    result = measured(maps_with_ties((20, 4, 3, 3)), number, histogram=True)
    text = json.dumps(result.to_json(), allow_nan=False)
    again = FeatureResult.from_json(json.loads(text))
    assert as_lists(again.top_images) == as_lists(result.top_images)
    assert again.histogram is not None
    assert result.histogram is not None
    assert torch.equal(again.histogram.middles, result.histogram.middles)
    assert torch.equal(again.histogram.counts, result.histogram.counts)
    without = {name: value for name, value in json.loads(text).items() if name not in ("histogram", "top_images")}
    assert FeatureResult.from_json(without).top_images is None


def test_negative_responses_that_differ_in_their_last_bit_have_an_order() -> None:
    smaller, larger = float(np.nextafter(np.float32(-1), np.float32(-2))), -1.0
    for first, second, expected in ((smaller, larger, [1, 0]), (larger, smaller, [0, 1])):
        model = nn.Sequential(nn.Identity())
        with FeatureStatistics(model, ["0"], top_images=2, samples=None) as statistics:
            model(torch.tensor([first, second]).reshape(2, 1, 1, 1))
        top = statistics.result()["0"].top_images
        assert top is not None
        assert (top.images.tolist(), top.responses.tolist()) == ([expected], [[larger, smaller]])
