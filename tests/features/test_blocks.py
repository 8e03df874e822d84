"""Sums over a tree of blocks have the same bits however the images are distributed over processes."""

import functools
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from in4310repro.features import FeatureStatistics, spectra
from in4310repro.features.blocks import BLOCK, batches, block_range, first_image, merge_nodes
from in4310repro.features.covariance import Moments, merge_moments
from in4310repro.features.kernel import Counts, kernel_description
from in4310repro.features.spectra import FlatMaps
from in4310repro.features.stream import Settings, Stream, finalize, join_ranges
from tests.features.copies import error_of

Samples = Literal["images", "positions", "flat"]
pytestmark = pytest.mark.usefixtures("either_way")
IMAGES = 5 * BLOCK + 9
MODEL = nn.Sequential(nn.Conv2d(3, 12, 3, bias=False), nn.ReLU(inplace=True))
MAPS = torch.randn(IMAGES, 3, 7, 7, generator=torch.Generator().manual_seed(5))


def measure(samples: Samples | None, indices: list[range], first_image: int = 0) -> FeatureStatistics:
    with FeatureStatistics(MODEL, ["0", "1"], samples, first_image=first_image) as statistics:
        for batch in indices:
            MODEL(MAPS[batch.start : batch.stop])
    return statistics


@functools.cache
def bits_of_one_run(samples: Samples | None, _kernel: str) -> list[object]:
    """Return all result values of one pass over the images; `_kernel` only separates cache entries."""
    return bits(measure(samples, batches(IMAGES, 32)))


def bits(statistics: FeatureStatistics) -> list[object]:
    """Return all values of the results, with the matrices instead of their spectra."""
    values: list[object] = []
    for name, result in statistics.result().items():
        values += [name, result.images, result.values, result.non_positive, result.zeros, result.rows]
        if result.moments is not None:
            values += [result.mean.tolist(), result.covariance.tolist()]
        if result.gram is not None:
            values += [result.gram.tolist()]
    return values


def shards(samples: Samples | None, number: int) -> list[FeatureStatistics]:
    """Return the FeatureStatistics that each of `number` processes gathers from its share of the images."""
    dealt = [batches(IMAGES, 32, rank, number) for rank in range(number)]
    return [measure(samples, mine, mine[0].start) for mine in dealt]


@pytest.mark.parametrize("samples", [None, "images", "positions", "flat"])
@pytest.mark.parametrize("number", [2, 3, 4, 6])
def test_any_number_of_shards_merged_in_any_order_gives_the_bits_of_one_run(
    number: int, samples: Samples | None
) -> None:
    parts = shards(samples, number)
    random.Random(number).shuffle(parts)
    for part in parts[1:]:
        parts[0].merge(part)
    assert bits(parts[0]) == bits_of_one_run(samples, kernel_description())


@pytest.mark.parametrize("samples", ["images", "positions"])
def test_merging_is_associative_to_the_bit(samples: Samples) -> None:
    a, b, c = shards(samples, 3)
    left, right = a.fresh(), b.fresh()
    left.merge(a)
    left.merge(b)
    left.merge(c)
    right.merge(b)
    right.merge(c)
    a.merge(right)
    assert bits(left) == bits(a)


@pytest.mark.parametrize("samples", ["images", "positions"])
def test_an_empty_partner_changes_nothing_on_either_side(samples: Samples) -> None:
    complete = measure(samples, batches(IMAGES, 32))
    before = bits(complete)
    complete.merge(complete.fresh())
    empty = complete.fresh()
    empty.merge(complete)
    assert bits(complete) == before == bits(empty)


@pytest.mark.parametrize("samples", [None, "images", "positions", "flat"])
@pytest.mark.parametrize("cut", [1, 2, 7])
def test_a_run_cut_anywhere_and_resumed_from_a_file_gives_the_same_bits(
    cut: int, samples: Samples | None, tmp_path: Path
) -> None:
    indices = batches(IMAGES, 32)
    path = tmp_path / "state.safetensors"
    save_file(measure(samples, indices[:cut]).state_dict(), path)
    resumed = FeatureStatistics(MODEL, ["0", "1"], samples)
    resumed.load_state_dict(load_file(path))
    with resumed:
        for batch in indices[cut:]:
            MODEL(MAPS[batch.start : batch.stop])
    assert bits(resumed) == bits_of_one_run(samples, kernel_description())


@pytest.mark.parametrize("samples", ["images", "positions", "flat"])
def test_a_state_whose_tensors_lie_in_memory_otherwise_is_resumed_by_its_values(samples: Samples) -> None:
    indices = batches(IMAGES, 32)
    state = measure(samples, indices[:1]).state_dict()
    turned = {name: value.T.contiguous().T if value.ndim == 2 else value for name, value in state.items()}
    assert any(not value.is_contiguous() for value in turned.values())
    resumed = FeatureStatistics(MODEL, ["0", "1"], samples)
    resumed.load_state_dict(turned)
    with resumed:
        for batch in indices[1:]:
            MODEL(MAPS[batch.start : batch.stop])
    assert bits(resumed) == bits_of_one_run(samples, kernel_description())


def moments_by_hand(rows: Tensor, shift: float) -> Moments:
    mean = rows.mean(dim=0)
    return Moments(
        rows=torch.tensor(float(len(rows)), dtype=torch.float64),
        shift=torch.full_like(mean, shift),
        offset=mean - shift,
        scatter=(rows - mean).T @ (rows - mean),
    )


def test_merged_moments_are_those_of_all_rows() -> None:
    rows = torch.randn(50, 9, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    rows[:12] += 3
    merged = merge_moments(moments_by_hand(rows[:12], shift=2.0), moments_by_hand(rows[12:], shift=-1.0))
    expected = np.cov(rows.numpy().T, bias=True) * 50
    assert error_of(merged.scatter, expected) <= 1e-13
    torch.testing.assert_close(merged.mean, rows.mean(dim=0), rtol=1e-13, atol=1e-14)


def test_moments_of_no_rows_change_nothing_and_are_no_nan_with_each_other() -> None:
    rows = torch.randn(12, 4, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    some, none = (
        moments_by_hand(rows, shift=2.0),
        {name: torch.zeros(4, dtype=torch.float64) for name in ("shift", "offset")},
    )
    empty = Moments(rows=torch.tensor(0.0, dtype=torch.float64), scatter=torch.zeros(4, 4, dtype=torch.float64), **none)
    for merged in (merge_moments(some, empty), merge_moments(empty, some)):
        assert all(torch.equal(part, vars(some)[name]) for name, part in vars(merged).items())
    assert all(torch.equal(part, vars(empty)[name]) for name, part in vars(merge_moments(empty, empty)).items())


def test_calls_of_different_channels_cannot_be_pooled() -> None:
    settings = Settings(samples="images", precision="exact", calls="pool", on_non_finite="count", correction=0)
    calls = [Stream(settings, first_image=0) for _ in range(2)]
    for channels, call in zip((3, 2), calls, strict=True):
        call.update(MAPS[:8, :channels], 1, 8)
    with pytest.raises(ValueError, match=r'2 channels, and 3 before; they cannot be pooled: .* with calls="keep"'):
        finalize(calls, settings)


def test_an_image_measured_twice_is_refused() -> None:
    first = measure("images", [range(16)])
    with pytest.raises(ValueError, match="images 0 to 15 were measured before"):
        first.merge(measure("images", [range(16, 48)]))


def test_statistics_of_other_settings_do_not_merge() -> None:
    with pytest.raises(ValueError, match=r"^two statistics have samples 'images' and 'positions'; they must be equal$"):
        measure("images", [range(16)]).merge(measure("positions", [range(16)]))


def test_a_state_of_other_settings_is_refused() -> None:
    state = measure("images", [range(16)]).state_dict()
    with pytest.raises(ValueError, match="have samples 'positions' and 'images'; they must be equal"):
        FeatureStatistics(MODEL, ["0", "1"], "positions").load_state_dict(state)


@pytest.mark.parametrize("samples", ["images", "positions"])
def test_another_number_of_channels_is_refused_and_what_was_measured_stays(samples: Samples) -> None:
    model = nn.Sequential(nn.Identity())
    with FeatureStatistics(model, ["0"], samples) as statistics:
        model(MAPS[:20])
        with pytest.raises(ValueError, match="module '0': 2 channels, and 3 before"):
            model(MAPS[20:30, :2])
    with FeatureStatistics(model, ["0"], samples) as expected:
        model(MAPS[:20])
    assert bits(statistics) == bits(expected)
    with FeatureStatistics(model, ["0"], samples, first_image=BLOCK) as other:
        model(MAPS[:20, :2])
    with pytest.raises(ValueError, match="2 channels, and 3 before"):
        statistics.merge(other)


@pytest.mark.parametrize("part", ["sums", "products", "row_count"])
def test_a_state_whose_parts_do_not_fit_together_is_refused(part: str) -> None:
    state = measure("positions", [range(16)]).state_dict()
    (key,) = (key for key in state if key.startswith("0.open") and key.endswith(part))
    state[key] = torch.zeros(3, dtype=torch.float64)
    with pytest.raises(
        ValueError, match=rf"{part} is torch.float64 of shape \(3,\); it must be torch.float64 of shape \(.*\)"
    ):
        FeatureStatistics(MODEL, ["0", "1"], "positions").load_state_dict(state)


OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "a column less": lambda value: value[..., :-1] if value.ndim else value,
    "a row more": lambda value: torch.cat([value, value[:1]]) if value.ndim else value.expand(2),
    "flattened": lambda value: value.flatten() if value.ndim > 1 else value[None, None],
    "empty": lambda value: value.flatten()[:0],
    "integers of another width": lambda value: value.int(),
    "complex": lambda value: value.to(torch.complex64),
    "booleans": lambda value: value.bool(),
    "halves": lambda value: value.half(),
}


# 80 images: a node of the first 64, and rows or sums of the others.
@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("samples", ["images", "positions", "flat"])
def test_every_tensor_of_a_state_is_checked_before_it_is_computed_with(samples: Samples, other: str) -> None:
    model = nn.Sequential(nn.Identity())
    with FeatureStatistics(model, ["0"], samples, histogram=True, top_images=2) as statistics:
        for start in (0, 64):
            model(MAPS[start : start + (64 if not start else 16)])
    state = statistics.state_dict()
    for name, value in state.items():
        # Images, and channels that they excite, are counted elsewhere. Maps of any floats are maps.
        free = (other == "a row more" and name.endswith(("1.rows", "keys"))) or (
            samples == "flat" and "activations" not in name and other in ("a row more", "halves")
        )
        changed = OTHERS[other](value)
        if name == "metadata" or free or (changed.dtype, changed.shape) == (value.dtype, value.shape):
            continue
        with pytest.raises(ValueError, match=r"must be|must have|channels, and 3 before"):
            statistics.fresh().load_state_dict(state | {name: changed})


@pytest.mark.parametrize("samples", ["images", "positions"])
def test_a_block_saved_with_other_parts_is_refused(samples: Samples) -> None:
    state = measure(samples, [range(16)]).state_dict()
    state["0.open.0.waiting"] = torch.zeros(3)
    with pytest.raises(ValueError, match=r"a block saved with .*'waiting'.*; it must have .*"):
        FeatureStatistics(MODEL, ["0", "1"], samples).load_state_dict(state)


@pytest.mark.parametrize("images", [16, 64])
def test_a_block_saved_without_a_part_is_refused(images: int) -> None:
    state = measure("images", [range(images)]).state_dict()
    (key,) = (key for key in state if key.startswith("0.") and key.endswith("shift"))
    del state[key]
    with pytest.raises(ValueError, match=r"a block saved with .*; it must have .*'shift'"):
        FeatureStatistics(MODEL, ["0", "1"], "images").load_state_dict(state)


def test_a_dictionary_that_is_no_state_is_refused() -> None:
    with pytest.raises(ValueError, match="no entry 'metadata'"):
        FeatureStatistics(MODEL, ["0"], "images").load_state_dict({"weight": torch.ones(2)})


def test_loading_over_a_measurement_is_refused() -> None:
    statistics = measure("images", [range(16)])
    with pytest.raises(ValueError, match="measured already"):
        statistics.load_state_dict(statistics.state_dict())


@pytest.mark.parametrize("number", [1, 2, 4, 7])
@pytest.mark.parametrize("images", [1, 63, 64, 65, 200, 1000])
def test_ranks_together_have_every_image_once(images: int, number: int) -> None:
    dealt = [batches(images, 16, rank, number) for rank in range(number)]
    assert [index for mine in dealt for batch in mine for index in batch] == list(range(images))


def test_200_images_in_batches_of_16_end_with_a_batch_of_8() -> None:
    assert [len(batch) for batch in batches(200, 16)] == [16] * 12 + [8]


def test_a_rank_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="rank is 2; it must be 0 to 1"):
        batches(10, 4, rank=2, world_size=2)


@pytest.mark.parametrize("first", [10, -64, 2**70 + 1])
def test_a_first_image_inside_a_block_is_refused(first: int) -> None:
    with pytest.raises(ValueError, match=f"first_image is {first}; it must be 0 or a multiple of 64"):
        FeatureStatistics(MODEL, ["0"], first_image=first, samples=None)


@pytest.mark.parametrize("samples", [None, "images", "positions", "flat"])
def test_images_of_any_index_are_measured_saved_and_merged(samples: Samples | None) -> None:
    parts = [measure(samples, [range(BLOCK)], first) for first in (2**32, 2**70, np.int64(BLOCK).item())]
    parts[0].merge(*parts[1:])
    again = parts[0].fresh()
    again.load_state_dict(parts[0].state_dict())
    assert again.result()["0"].images == 3 * BLOCK


def test_blocks_that_are_complete_are_leaves_of_the_tree_and_pairs_are_merged() -> None:
    for indices in (batches(IMAGES, 32), [range(IMAGES)]):
        state = measure("images", indices).state_dict()
        keys = {key.rpartition(".")[0] for key in state if key.startswith("0.")}
        assert keys == {"0.node.2.0", "0.node.0.4", "0.open.5"}


def test_nodes_are_merged_from_the_first_image_to_the_last() -> None:
    rows = torch.randn(60, 5, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    wide, middle, last = (moments_by_hand(part, shift=0.5) for part in torch.split(rows, 20))
    merged = merge_nodes({(0, 6): last, (2, 0): wide, (1, 2): middle})
    expected = merge_moments(merge_moments(wide, middle), last)
    other = merge_moments(merge_moments(last, middle), wide)
    assert torch.equal(merged.scatter, expected.scatter)
    assert torch.equal(merged.offset, expected.offset)
    assert not torch.equal(other.scatter, expected.scatter)


def test_a_state_shares_no_memory_with_what_it_was_taken_from_or_loaded_into() -> None:
    statistics = measure("positions", [range(16)])
    state = statistics.state_dict()
    before = {key: value.clone() for key, value in state.items()}
    resumed = statistics.fresh()
    resumed.load_state_dict(state)
    for continued in (statistics.fresh(), resumed):
        if continued is not resumed:
            continued.load_state_dict(state)
        with continued:
            MODEL(MAPS[16:80])
    assert all(torch.equal(state[key], before[key]) for key in before)


def test_a_state_stays_what_it_was_while_its_measurement_goes_on() -> None:
    with FeatureStatistics(MODEL, ["0"], "positions") as statistics:
        MODEL(MAPS[:16])
        state = statistics.state_dict()
        before = {key: value.clone() for key, value in state.items()}
        MODEL(MAPS[16:48])
    assert all(torch.equal(state[key], before[key]) for key in before)


def test_a_state_of_more_than_ten_modules_gives_each_its_own_tensors_in_memory_of_their_own() -> None:
    model = nn.Sequential(*(nn.Threshold(0, float(place)) for place in range(12)))
    with FeatureStatistics(model, "leaves", "positions") as statistics:
        model(MAPS[:8])
    state = statistics.state_dict()
    assert all(value.is_contiguous() for value in state.values())
    again = statistics.fresh()
    again.load_state_dict(state)
    assert bits(again) == bits(statistics)
    found = again.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    assert not {value.data_ptr() for value in found.values()} & {value.data_ptr() for value in state.values()}


@pytest.mark.parametrize(("images", "size"), [(0, 1), (-1, 1), (1, 0), (1, -1)])
def test_batches_of_nothing_are_refused(images: int, size: int) -> None:
    with pytest.raises(ValueError, match=f"^{images} images in batches of {size}; both must be at least 1$"):
        batches(images, size)


def test_a_batch_of_one_image_is_one() -> None:
    assert batches(1, 1) == [range(1)]
    assert batches(2, 1) == [range(1), range(1, 2)]


@pytest.mark.parametrize(
    ("images", "world_size", "dealt"),
    [
        (0, 2, [(0, 0, 0), (0, 0, 0)]),
        (64, 2, [(0, 0, 0), (0, 1, 0)]),
        (321, 4, [(0, 1, 0), (1, 3, 64), (3, 4, 192), (4, 6, 256)]),
    ],
)
def test_ranks_have_consecutive_blocks_and_begin_at_their_first_image(
    images: int, world_size: int, dealt: list[tuple[int, int, int]]
) -> None:
    for rank, (start, stop, first) in enumerate(dealt):
        assert block_range(images, rank, world_size) == range(start, stop)
        assert first_image(images, rank, world_size) == first
    for rank in (-1, world_size):
        with pytest.raises(ValueError, match=f"^rank is {rank}; it must be 0 to {world_size - 1}$"):
            block_range(images, rank, world_size)


def test_flat_maps_are_copies_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert spectra.MAX_BYTES == 4 * 1024**3
    maps, kept = torch.arange(8.0).reshape(2, 1, 2, 2), FlatMaps()
    monkeypatch.setattr(spectra, "MAX_BYTES", 96)
    for first in (2, 0, 4):
        kept.check(first, maps)
        assert kept.add(first, maps + first).to_ints() == (8, int(first == 0), int(first == 0), 0)
    with pytest.raises(ValueError, match="keeps every map, 128 bytes by image 6; the limit is 96"):
        kept.check(6, maps)
    expected = torch.cat([maps, maps + 2, maps + 4]).flatten(1)
    assert kept.row_width == 4
    assert torch.equal(kept.maps(), expected)
    again, other = FlatMaps(), FlatMaps()
    again.restore({name: part for name, part in kept.state().items() if name != "2"})
    other.add(2, shared := maps + 2)
    shared.zero_()
    again.merge(other)
    assert torch.equal(again.maps(), expected)


def test_a_gram_matrix_is_of_finite_rows_minus_their_mean_and_keeps_the_digits_of_a_large_one() -> None:
    column = torch.tensor([0.0, 1.0, math.nan, 5.0], dtype=torch.float64)
    centred = torch.tensor([-2.0, -1.0, 3.0], dtype=torch.float64)
    rows = torch.stack([column + 2.0**52, column], dim=1)
    assert torch.equal(spectra.gram_matrix(rows), 2 * torch.outer(centred, centred))
    assert spectra.gram_matrix(rows[2:3]).shape == (0, 0)


def test_a_gram_matrix_is_a_sum_over_all_values_of_maps_of_more_than_32768() -> None:
    rows = torch.randint(9, (3, 32768 + 5), generator=torch.Generator().manual_seed(2)).double()
    rows[2] = 3 - rows[0] - rows[1]  # so that the mean is 1 everywhere
    assert torch.equal(spectra.gram_matrix(rows), (rows - 1) @ (rows - 1).T)


@pytest.mark.parametrize(("samples", "sampled"), [(None, 0), ("images", 5), ("positions", 5 * 12), ("flat", 5)])
@pytest.mark.parametrize("axis", [1, 3])
def test_a_stream_counts_images_samples_and_values(samples: Any, sampled: int, axis: int) -> None:
    settings = Settings(samples=samples, precision="fast", calls="pool", on_non_finite="count", correction=0)
    stream = Stream(settings, first_image=64)
    maps = torch.ones(5, 2, 3, 4).movedim(1, axis)
    stream.update(maps[:3], axis, 3)
    stream.update(maps[3:], axis, 2)
    stream.update(maps[:0], axis, 0)
    assert (stream.sample_count, stream.image_ranges) == (sampled, [range(64, 69)])
    assert stream.state() == {
        "counts": [120, 0, 0, 0],
        "sample_count": sampled,
        "image_ranges": [[64, 69]],
        "next_image": 69,
    }
    again = Stream(settings, first_image=0)
    again.restore(stream.state(), {} if stream.accumulator is None else stream.accumulator.state())
    assert again.state() == stream.state()
    if stream.accumulator is not None:
        assert stream.accumulator.row_width == (24 if samples == "flat" else 2)


def test_ranges_of_images_are_joined_where_they_touch_and_refused_where_they_overlap() -> None:
    first, second = [range(5), range(8, 9)], [range(5, 7), range(7, 7), range(10, 12)]
    assert join_ranges(first, second) == [range(7), range(8, 9), range(10, 12)]
    assert join_ranges([range(5)], [range(5, 7)]) == [range(7)]
    assert join_ranges([], [range(5, 7)]) == [range(5, 7)]
    assert join_ranges([range(8, 9)], [range(5)]) == [range(5), range(8, 9)]
    for one, other, text in (
        (range(4, 9), range(9), "4 to 8"),
        (range(4, 9), range(4, 20), "4 to 8"),
        (range(3), range(2, 5), "2 to 2"),
    ):
        with pytest.raises(ValueError, match=rf"^images {text} were measured before; each counts once: give each part"):
            join_ranges([one], [other])


@pytest.mark.parametrize("on_non_finite", ["count", "raise"])
def test_what_a_gpu_has_counted_is_looked_at_in_the_result(on_non_finite: Literal["count", "raise"]) -> None:
    settings = Settings(samples=None, precision="fast", calls="pool", on_non_finite=on_non_finite, correction=1)
    stream = Stream(settings, first_image=0)
    stream.counts, stream.image_ranges, stream.sample_count = Counts(9, 5, 3, 1), [range(2)], 4
    if on_non_finite == "raise":
        with pytest.raises(ValueError, match=r"^1 of 9 values are not finite$"):
            finalize([stream], settings)
        return
    result = finalize([stream, stream], settings)
    counted = (result.values, result.non_positive_values, result.zeros, result.non_finite)
    assert counted == (18, 10, 6, 2)
    assert (result.images, result.rows, result.rows_left_out, result.correction) == (2, 0, 8, 1)
    assert (result.moments, result.gram) == (None, None)
