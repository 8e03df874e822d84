"""Unsupported input is rejected with the given and the valid values; values at the limits are accepted."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from in4310repro.arithmetic import functions, layers
from in4310repro.arithmetic.functions import cross_entropy, losses, softmax
from in4310repro.arithmetic.pooling import adaptive_average_pool, add, fork, max_pool
from in4310repro.arithmetic.products import convolution, linear, product
from tests.arithmetic.formulas import batch_norm, batch_sum, record_calls, rows_of


def ones(*shape: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Tensor:
    return torch.ones(shape, dtype=dtype, device=device)


def pool_side(size: int, kernel: int, stride: int, padding: int, round_up: bool = False) -> int:
    """Return the output width of max pooling over maps with one row."""
    return max_pool(ones(1, 1, 1, size), (1, kernel), (1, stride), (0, padding), round_up).shape[3]


DOUBLE: Any = {"dtype": torch.float64}
META: Any = {"device": "meta"}
MAPS = "it must be torch.float32 [image, channel, height, width] on the CPU, not empty"
SCORES = "it must be torch.float32 [image, class] on the CPU, not empty"
# Size, kernel, stride, padding.
SIDES = ((5, 3, 1, -1), (5, 3, 1, 2), (5, 3, 0, 1), (1, 4, 1, 1), (2, 3, 1, 0))
WINDOWS: list[Any] = [(*sides, False) for sides in SIDES]
LABELS = torch.tensor([0, 2])

REFUSED: list[tuple[Callable[[], Any], str]] = [
    # Convolution.
    *(
        (
            lambda maps=maps, weight=weight: convolution(ones(*maps), ones(*weight)),
            f"maps {maps}, weight {weight}; each must have four sizes from 1",
        )
        for maps, weight in (
            ((2, 3, 4), (5, 3, 1, 1)),
            ((2, 3, 4, 5), (5, 3, 1)),
            ((2, 3, 4, 0), (5, 3, 1, 1)),
            ((2, 3, 4, 5), (0, 3, 1, 1)),
        )
    ),
    *(
        (
            lambda weight=weight, groups=groups: convolution(ones(2, 4, 3, 5), ones(*weight), groups=groups),
            f"maps of 4 channels, weight {weight}, {groups} groups; channels must be {weight[1]} x groups and "
            "outputs must be divisible by groups",
        )
        for weight, groups in (((6, 3, 1, 1), 1), ((5, 2, 1, 1), 2), ((6, 4, 1, 1), 0), ((6, 4, 1, 1), -1))
    ),
    *(
        (
            lambda stride=stride, padding=padding: convolution(
                ones(2, 3, 4, 5), ones(5, 3, 1, 1), None, stride, padding
            ),
            f"stride {stride}, padding {padding}; strides must be 1 or more and paddings 0 or more",
        )
        for stride, padding in (
            *(((1, 0), (0, 0)), ((0, 1), (0, 0)), ((1, 1), (0, -1)), ((1, 1), (-1, 1))),
            *(((1, 1), ((0, -1), 1)), ((1, 1), ((1, 1), (-1, 1))), ((1, 1), (0, (1, -1)))),
        )
    ),
    *(
        (
            lambda padding=padding: convolution(ones(2, 3, 4, 5), ones(5, 3, 1, 1), padding=padding),
            f"padding {padding}; it must be (rows, columns) or ((top, bottom), (left, right))",
        )
        for padding in ((1,), (1, 1, 1), ((0, 1, 0), (0, 1)), ((0, 1), ()))
    ),
    *(
        (
            lambda size=size, kernel=kernel, padding=padding: convolution(
                ones(2, 3, *size), ones(5, 3, *kernel), None, (1, 1), padding
            ),
            f"a kernel {kernel} over maps {size} with padding {padding}; it must fit into them",
        )
        for size, kernel, padding in (
            ((1, 9), (4, 3), (1, 1)),
            ((9, 1), (3, 4), (1, 1)),
            ((9, 2), (3, 5), (2, 1)),
            ((9, 2), (3, 5), (2, (2, 0))),
            ((1, 9), (4, 3), ((0, 2), (5, 5))),
        )
    ),
    (
        lambda: convolution(ones(2, 3, 4, 5, **DOUBLE), ones(5, 3, 1, 1)),
        "maps: torch.float64 of shape (2, 3, 4, 5) on cpu; it must be torch.float32 of shape (2, 3, 4, 5) on the CPU",
    ),
    (
        lambda: convolution(ones(2, 3, 4, 5), ones(5, 3, 1, 1, **DOUBLE)),
        "weight: torch.float64 of shape (5, 3, 1, 1) on cpu; it must be torch.float32 of shape (5, 3, 1, 1) on the CPU",
    ),
    (
        lambda: convolution(ones(2, 3, 4, 5), ones(5, 3, 1, 1), ones(3)),
        "bias: torch.float32 of shape (3,) on cpu; it must be torch.float32 of shape (5,) on the CPU",
    ),
    # Linear layer and product.
    *(
        (
            lambda rows=rows, weight=weight: linear(ones(*rows), ones(*weight)),
            f"rows {rows}, weight {weight}; they must be [image, feature] and [output, feature], none of them 0",
        )
        for rows, weight in (
            ((3,), (2, 3)),
            ((4, 3, 1), (2, 3)),
            ((4, 3), (2, 3, 1)),
            ((4, 2), (2, 3)),
            ((0, 3), (2, 3)),
            ((4, 3), (0, 3)),
        )
    ),
    (
        lambda: linear(ones(4, 3, **DOUBLE), ones(2, 3)),
        "rows: torch.float64 of shape (4, 3) on cpu; it must be torch.float32 of shape (4, 3) on the CPU",
    ),
    (
        lambda: linear(ones(4, 3), ones(2, 3, **DOUBLE)),
        "weight: torch.float64 of shape (2, 3) on cpu; it must be torch.float32 of shape (2, 3) on the CPU",
    ),
    (
        lambda: linear(ones(4, 3), ones(2, 3), ones(3)),
        "bias: torch.float32 of shape (3,) on cpu; it must be torch.float32 of shape (2,) on the CPU",
    ),
    *(
        (
            lambda shape=shape: product(ones(*shape, **DOUBLE)),
            f"a product of {shape}; it must be [row, column] with a column or more",
        )
        for shape in ((3,), (3, 2, 1), (3, 0))
    ),
    (
        lambda: product(ones(3, 2)),
        "rows of a product: torch.float32 of shape (3, 2) on cpu; it must be torch.float64 of shape (3, 2) on the CPU",
    ),
    # Batch norm.
    (
        lambda: batch_norm(ones(2, 3, 4), None, None, None, None, training=True),
        f"maps: torch.float32 of shape (2, 3, 4) on cpu; {MAPS}",
    ),
    *(
        (
            lambda place=place: batch_norm(
                ones(2, 3, 4, 5), *(ones(4) if place == at else None for at in range(4)), training=True
            ),
            f"{name}: torch.float32 of shape (4,) on cpu; it must be torch.float32 of shape (3,) on the CPU",
        )
        for place, name in enumerate(("running mean", "variance", "weight", "bias"))
    ),
    (
        lambda: batch_norm(ones(1, 3, 1, 1), None, None, None, None, training=True),
        "maps of shape (1, 3, 1, 1) have one value per channel; batch norm in training needs 2 or more",
    ),
    *(
        (
            lambda mean=mean, variance=variance: batch_norm(
                ones(2, 3, 4, 5), mean, variance, None, None, training=False
            ),
            "batch norm in evaluation needs running mean and variance; there are none",
        )
        for mean, variance in ((None, None), (ones(3), None), (None, ones(3)))
    ),
    (
        lambda: batch_norm(ones(2, 3, 4, 5), None, None, None, None, training=True, activation="gelu"),
        "activation is 'gelu'; it must be one of none, relu, relu6",
    ),
    (
        lambda: batch_norm(
            ones(2, 3, 4, 5), None, None, None, None, training=True, activation="relu6", other=ones(2, 3, 4, 5)
        ),
        "a second map with activation 'relu6'; it must be relu",
    ),
    (
        lambda: batch_norm(
            ones(2, 3, 4, 5), None, None, None, None, training=True, activation="relu", other=ones(2, 3, 5, 4)
        ),
        "second map: torch.float32 of shape (2, 3, 5, 4) on cpu; it must be torch.float32 of shape (2, 3, 4, 5) on the "
        "CPU",
    ),
    *(
        (
            lambda maps=maps: functions.check_maps("them", maps),
            f"them: {maps.dtype} of shape {tuple(maps.shape)} on {maps.device}; {MAPS}",
        )
        for maps in (ones(1, 2, 3, 4, **DOUBLE), ones(1, 2, 3), ones(1, 2, 3, 4, **META), ones(1, 2, 0, 4))
    ),
    # Loss and softmax.
    *(
        (
            lambda function=function, scores=scores: function(scores),
            f"scores: {scores.dtype} of shape {tuple(scores.shape)} on {scores.device}; {SCORES}",
        )
        for function in (softmax, lambda scores: losses(scores, LABELS), lambda scores: cross_entropy(scores, LABELS))
        for scores in (ones(2, 3, **DOUBLE), ones(2, 3, 1), ones(2, 3, **META), ones(2, 0))
    ),
    *(
        (
            lambda function=function, labels=labels: function(ones(2, 3), torch.tensor(labels)),
            f"labels from {min(labels)} to {max(labels)}; they must be 0 to 2",
        )
        for function in (losses, cross_entropy)
        for labels in ([0, 3], [-1, 2])
    ),
    *(
        (
            lambda function=function, labels=labels: function(ones(2, 3), torch.tensor(labels)),
            f"labels: {dtype} of shape ({len(labels)},) on cpu; it must be torch.int64 of shape (2,) on the CPU",
        )
        for function in (losses, cross_entropy)
        for labels, dtype in (([0], torch.int64), ([0.0, 1.0], torch.float32))
    ),
    # Pooling and sums.
    (lambda: adaptive_average_pool(ones(2, 3, 4), (1, 1)), f"maps: torch.float32 of shape (2, 3, 4) on cpu; {MAPS}"),
    (
        lambda: adaptive_average_pool(ones(2, 3, 4, 5), (1, 0)),
        "a map cannot be pooled to (1, 0); it must be two numbers from 1",
    ),
    (lambda: max_pool(ones(2, 3, 4), (1, 1), (1, 1), (0, 0)), f"maps: torch.float32 of shape (2, 3, 4) on cpu; {MAPS}"),
    *(
        (
            lambda window=window: pool_side(*window),
            (
                "a window of {1}, stride {2}, padding {3} on {0}; windows must fit, strides be 1 or more "
                "and paddings 0 to half of the window"
            ).format(*window),
        )
        for window in WINDOWS
    ),
    (lambda: add(ones(2, 3), ones(2, 3)), f"first maps: torch.float32 of shape (2, 3) on cpu; {MAPS}"),
    (
        lambda: add(ones(1, 2, 3, 4), ones(1, 2, 4, 3)),
        "second maps: torch.float32 of shape (1, 2, 4, 3) on cpu; it must be torch.float32 of shape (1, 2, 3, 4) on "
        "the CPU",
    ),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED, ids=[sentence[:70] for _, sentence in REFUSED])
def test_what_has_no_kernel_is_refused(call: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        call()


@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (1, 3, 2, 1), (1, 3, 1, 2)], ids=str)
def test_two_values_of_a_channel_are_enough(shape: tuple[int, ...]) -> None:
    maps = torch.arange(6.0).reshape(shape)
    settings = {"training": True, "epsilon": 0.0}
    assert batch_norm(maps, None, None, None, None, **settings).flatten().sort().values.tolist() == [-1] * 3 + [1] * 3
    # In evaluation one is.
    assert batch_norm(ones(1, 3, 1, 1), ones(3), ones(3), None, None, training=False).flatten().tolist() == [0] * 3


def test_batch_norm_adds_1e_5_to_the_variance_and_moves_statistics_by_a_tenth() -> None:
    mean, variance = torch.zeros(1), torch.zeros(1)
    maps = torch.tensor([-1e-3, 1e-3]).reshape(2, 1, 1, 1)
    result = batch_norm(maps, mean, variance, None, None, training=True)
    # The variance of the batch is 1e-6, the unbiased one 2e-6.
    torch.testing.assert_close(result.flatten(), torch.tensor([-1e-3, 1e-3]) / 1.1e-5**0.5, rtol=1e-6, atol=0)
    torch.testing.assert_close(variance, torch.tensor([2e-7]), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("window", "down", "up"),
    [
        # Size, kernel, stride, padding; by hand.
        ((5, 3, 1, 0), 3, 3),
        ((5, 2, 2, 0), 2, 3),
        ((6, 3, 2, 1), 3, 4),
        ((3, 3, 1, 0), 1, 1),
        ((1, 3, 2, 1), 1, 1),
        ((1, 2, 1, 1), 2, 2),
        # Rounded up, a last window would begin behind the map.
        ((3, 2, 2, 1), 2, 2),
        ((2, 2, 3, 1), 1, 1),
        ((4, 4, 5, 2), 1, 2),
    ],
    ids=str,
)
def test_windows_of_a_side_are_torchs(window: tuple[int, int, int, int], down: int, up: int) -> None:
    size, kernel, stride, padding = window
    for round_up, number in ((False, down), (True, up)):
        pooled = torch.nn.functional.max_pool1d(torch.ones(1, 1, size), kernel, stride, padding, ceil_mode=round_up)
        assert (pool_side(*window, round_up), pooled.shape[2]) == (number, number)


def test_without_gradients_no_autograd_function_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.autograd.Function, "apply", None)
    maps = torch.rand(2, 3, 4, 5).requires_grad_()
    with torch.no_grad():
        assert convolution(maps, ones(2, 3, 1, 1)).shape == (2, 2, 4, 5)
        assert linear(maps[0, 0], ones(2, 5)).shape == (4, 2)
        assert batch_norm(maps, None, None, None, None, training=True).shape == maps.shape
        assert cross_entropy(maps[0, 0], torch.tensor([0, 1, 2, 4])).shape == ()
        assert adaptive_average_pool(maps, (1, 2)).shape == (2, 3, 1, 2)
        assert max_pool(maps, (2, 2), (2, 2), (0, 0)).shape == (2, 3, 2, 2)
        assert torch.equal(add(maps, maps), 2 * maps)
        assert all(each is maps for each in fork(maps))
    # And where gradients are recorded but none is asked for.
    scores = maps[0, 0].detach()
    with record_calls() as calls:
        cross_entropy(scores, torch.tensor([0, 1, 2, 4]))
    assert calls[0][-1] is None
    assert all(each is scores for each in fork(scores))


@pytest.mark.parametrize("wanted", range(3), ids=["values", "weight", "bias"])
@pytest.mark.parametrize("kind", ["convolution", "linear"])
def test_only_gradients_that_are_wanted_are_computed(kind: str, wanted: int) -> None:
    shapes = {"convolution": ((2, 3, 4, 5), (4, 3, 3, 2), (4,)), "linear": ((2, 3), (4, 3), (4,))}[kind]
    inputs = [torch.rand(shape) for shape in shapes]
    inputs[wanted].requires_grad_()
    function: Any = convolution if kind == "convolution" else linear
    result = function(*inputs)
    with record_calls() as calls:
        result.sum().backward()
    first = {"convolution": "convolution_backward", "linear": "linear_rows_gradient"}[kind]
    assert [call[0] for call in calls][:1] == [(first, "weight_gradient", "bias_leaves")[wanted]]
    assert {call[0] for call in calls[1:]} == ({"add_leaves", "quotients"} if wanted == 2 else set())


def test_the_gradient_of_a_convolutions_bias_is_the_sum_of_a_batch() -> None:
    bias = torch.zeros(4).requires_grad_()
    result = convolution(torch.rand(9, 3, 5, 7), torch.rand(4, 3, 2, 3), bias)
    gradient = torch.randn(result.shape, generator=torch.Generator().manual_seed(0))
    result.backward(gradient)  # type: ignore[no-untyped-call]
    expected = batch_sum(rows_of(gradient).astype("float64")).astype("float32")
    assert bias.grad is not None
    assert bias.grad.tolist() == expected.tolist()


def test_vectors_in_steps_count_as_their_values() -> None:
    maps, step = torch.rand(2, 3, 4, 5), torch.rand(3, 2)[:, 0]
    for place in range(2):
        vectors: list[Any] = [None, None]
        vectors[place] = step
        alone = batch_norm(maps, None, None, *vectors, training=True)
        vectors[place] = step.clone()
        assert torch.equal(alone, batch_norm(maps, None, None, *vectors, training=True))
    rows, weight = torch.rand(2, 4), torch.rand(3, 4)
    assert torch.equal(linear(rows, weight, step), linear(rows, weight, step.clone()))


def test_gradients_of_batch_norm_are_of_what_there_is() -> None:
    maps, weight, bias = torch.rand(2, 3, 4, 5).requires_grad_(), ones(3).requires_grad_(), ones(3).requires_grad_()
    for given in ((None, None), (weight, None), (None, bias), (weight, bias)):
        result = batch_norm(maps, None, None, *given, training=True)
        found = torch.autograd.grad(result.square().sum(), [maps, *(value for value in given if value is not None)])
        assert [value.shape for value in found] == [maps.shape, *((3,) for value in given if value is not None)]


def test_a_gradient_that_came_one_way_alone_is_that_of_the_maps() -> None:
    maps = torch.rand(1, 2, 3, 4).requires_grad_()
    for way in range(2):
        with record_calls() as calls:
            (gradient,) = torch.autograd.grad(fork(maps)[way], maps, torch.full((1, 2, 3, 4), -0.0))
        assert calls == []
        assert torch.signbit(gradient).all()


def test_a_loss_that_is_scaled_scales_its_gradient_and_one_that_is_not_leaves_denormals() -> None:
    scores = torch.tensor([[0.0, -90.0]]).requires_grad_()
    label = torch.tensor([0])
    (plain,) = torch.autograd.grad(cross_entropy(scores, label), scores)
    (doubled,) = torch.autograd.grad(2 * cross_entropy(scores, label), scores)
    assert torch.equal(doubled, 2 * plain)
    if not torch.set_flush_denormal(True):
        pytest.skip("torch cannot set this processor to flush denormals")
    try:
        (again,) = torch.autograd.grad(cross_entropy(scores, label), scores)
    finally:
        torch.set_flush_denormal(False)
    assert 0 < float(plain[0, 1]) < torch.finfo(torch.float32).tiny
    assert torch.equal(again.view(torch.int32), plain.view(torch.int32))


def test_labels_at_both_ends_are_valid() -> None:
    scores = torch.zeros(2, 3)
    torch.testing.assert_close(losses(scores, LABELS), torch.full((2,), 3.0, dtype=torch.float64).log())
    torch.testing.assert_close(cross_entropy(scores, LABELS), torch.tensor(3.0).log())


def test_layers_of_the_package_are_torchs_layers() -> None:
    for ours in (layers.Conv2d(2, 3, 1), layers.Linear(2, 3), layers.BatchNorm2d(2), layers.MaxPool2d(2)):
        assert type(ours).__name__ in repr(ours)
        assert issubclass(type(ours), getattr(torch.nn, type(ours).__name__))
