"""The elements in which two kept tensors differ: which, how many, how far in ulps, and where."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from in4310repro.trace import compare_values, read_values
from in4310repro.trace.values import KeptValues, ordered, values_file
from tests.trace.recording import record

INTEGERS = {torch.float16: np.int16, torch.float32: np.int32, torch.float64: np.int64}
KEPT = {"step": 1, "tensors": ["0.weight", "loss", "labels", "images[1]"]}


def ulps_by_numpy(first: Tensor, second: Tensor) -> list[int]:
    """Return the distance in ulps of each pair of elements, computed with Python's integers."""
    numbers = []
    for each in (first, second):
        bits = each.numpy().reshape(-1).view(INTEGERS[each.dtype]).tolist()
        magnitude = 2 ** (8 * each.element_size() - 1) - 1
        numbers.append([-(bit & magnitude) if bit < 0 else bit for bit in bits])
    return [abs(a - b) for a, b in zip(*numbers, strict=True)]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_elements_ulps_and_places_are_those_of_numpy(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(5, 4, 3, generator=generator, dtype=torch.float64).to(dtype)
    changed = torch.rand(5, 4, 3, generator=generator) < 0.3
    second = torch.where(changed, first * (1 + 1e-2 * torch.randn(5, 4, 3, generator=generator)), first).to(dtype)
    second[0, 0, 0] = -first[0, 0, 0]
    found = compare_values(first, second)
    assert found
    places = np.argwhere(first.numpy() != second.numpy())
    ulps = ulps_by_numpy(first, second)
    assert (found.differing, found.elements) == (len(places), 60)
    assert found.largest_ulps == min(max(ulps), 2**63 - 1) == found.farthest.ulps
    assert found.median_ulps == sorted(filter(None, ulps))[(len(places) - 1) // 2]
    assert found.farthest.index == (0, 0, 0)
    assert [each.index for each in found.examples] == [tuple(each) for each in places[:3]]
    assert [(each.first, each.second) for each in found.examples] == [
        (first[i].item(), second[i].item()) for i in map(tuple, places[:3])
    ]
    expected = [
        (size, len({*column}), min(column), max(column))
        for size, column in zip((5, 4, 3), places.T.tolist(), strict=True)
    ]
    assert [(each.size, each.differing, each.lowest, each.highest) for each in found.axes] == expected


def test_the_difference_of_bits_is_no_count_of_ulps_across_zero() -> None:
    tiny = torch.tensor([1e-45, -1e-45])
    wrong = int(tiny.view(torch.int32).diff().abs())
    found = compare_values(tiny[:1], tiny[1:])
    assert found
    assert found.largest_ulps == 2 != wrong


def test_neighbours_in_bfloat16_are_one_ulp_apart() -> None:
    values = torch.tensor([1.0, 1.0078125, -1.0, 0.0, -0.0], dtype=torch.bfloat16)
    assert (ordered(values)[1] - ordered(values)[0]).item() == 1
    assert ordered(values)[3:].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("first", "second", "ulps", "farthest"),
    [
        ([0.0, 1.0], [-0.0, 1.0], 0, (0,)),
        ([1.0, 2.0], [1.0, float("nan")], None, (1,)),
        ([1.0, 2.0, 3.0], [9.0, float("inf"), 3.0], 26214400, (1,)),
    ],
    ids=["signs of zero", "not a number", "infinite"],
)
def test_values_that_are_special_differ_by_their_bits(
    first: list[float], second: list[float], ulps: int | None, farthest: tuple[int, ...]
) -> None:
    for one, other in ((first, second), (second, first)):
        found = compare_values(torch.tensor(one), torch.tensor(other))
        assert found
        assert (found.largest_ulps, found.median_ulps, found.farthest.index) == (ulps, ulps, farthest)
        assert found.farthest.ulps == (None if not all(map(np.isfinite, (*one, *other))) else ulps)


def test_integers_truth_values_and_complex_numbers_are_compared_too() -> None:
    labels = compare_values(torch.tensor([1, 2, 3]), torch.tensor([1, 9, 2]))
    assert labels
    assert (labels.differing, labels.largest_ulps, labels.farthest.index) == (2, None, (1,))
    assert "[1] 2 and 9; [2] 3 and 2" in labels.describe()
    masks = compare_values(torch.tensor([True, False]), torch.tensor([True, True]))
    assert masks
    assert masks.differing == 1
    found = compare_values(torch.tensor([1 + 1j]), torch.tensor([1 + 2j]))
    assert found
    assert (found.farthest.index, found.elements) == ((0, 1), 2)


def test_one_number_has_no_axes_and_equal_bits_no_difference() -> None:
    found = compare_values(torch.tensor(1.0), torch.tensor(1.5))
    assert found
    assert found.describe() == (
        "1 of 1 elements differ, by 4,194,304 ulps (median) to 4,194,304 ulps. The first ones: [] 1 and 1.5 "
        "(4,194,304 ulps). The farthest: [] 1 and 1.5 (4,194,304 ulps). Indices with a difference: the only element."
    )
    assert compare_values(torch.tensor([float("nan")]), torch.tensor([float("nan")])) is None
    assert compare_values(torch.empty(0, 3), torch.empty(0, 3)) is None
    with pytest.raises(ValueError, match=r"torch.float32 of shape \[1\] and torch.float32 of shape \[2\]"):
        compare_values(torch.zeros(1), torch.zeros(2))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Return the path of a trace that keeps the values of four tensors of step 1."""
    record(tmp_path / "a.trace", keep=KEPT)
    return tmp_path / "a.trace"


def test_kept_values_are_those_of_the_training(kept: Path) -> None:
    weights: dict[int, Tensor] = {}

    def note(number: int, model: nn.Module) -> None:
        weights[number] = model.get_parameter("0.weight").detach().clone()

    record(kept.with_name("b.trace"), before=note)
    values = read_values(kept, 1)
    assert set(values) == set(KEPT["tensors"])  # type: ignore[call-overload]
    assert torch.equal(values["0.weight"], weights[2])
    assert (values["loss"].shape, values["labels"].dtype) == ((), torch.int64)


def test_a_kept_tensor_without_elements_has_its_dtype_and_shape(tmp_path: Path) -> None:
    kept = KeptValues(tmp_path / "a.trace", [{"step": 0, "tensors": ["none"]}])
    keep = kept.of_step(0)
    assert keep
    keep("none", torch.empty(0, 3, dtype=torch.int64))
    kept.write(0)
    (value,) = read_values(tmp_path / "a.trace", 0).values()
    assert (value.shape, value.dtype) == ((0, 3), torch.int64)


def test_a_name_that_the_step_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"step 1 has no tensor 0\.weigth"):
        record(tmp_path / "a.trace", keep={"step": 1, "tensors": ["0.weigth"]})
    with pytest.raises(ValueError, match=r'"tensors": \[NAME, ...\]} was expected'):
        record(tmp_path / "a.trace", keep={"step": 1, "tensors": "0.weight"})


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def header(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Return a function that applies `change` to the header of a file of kept values, by the layout of safetensors."""

    def edit(file: Path) -> None:
        content = file.read_bytes()
        (size,) = struct.unpack("<Q", content[:8])
        entries = json.loads(content[8 : 8 + size])
        change(entries)
        text = json.dumps(entries).encode()
        file.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])

    return edit


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        lambda file: file.write_bytes(b""),
        lambda file: file.write_text("no values"),
        header(lambda entries: entries["0.weight"].update(shape=[2**40, 2**40])),
        header(lambda entries: entries["0.weight"].update(dtype="load")),
        header(lambda entries: entries["0.weight"].update(dtype="F64")),
        header(lambda entries: entries.update({"0.weight": 3})),
    ],
    ids=["cut", "empty", "text", "shape", "name of a dtype", "dtype", "entry"],
)
def test_a_damaged_file_of_values_is_refused_with_its_name(damage: Callable[[Path], object], kept: Path) -> None:
    file = values_file(kept, 1)
    damage(file)
    with pytest.raises(ValueError, match=r"a\.trace\.step1\.safetensors holds no values of a trace"):
        read_values(kept, 1)


def test_values_that_were_not_kept_are_missed_with_the_line_that_keeps_them(kept: Path) -> None:
    with pytest.raises(ValueError, match=r'record them with keep=\{"step": 2, "tensors": \[NAME, ...\]\}'):
        read_values(kept, 2)
