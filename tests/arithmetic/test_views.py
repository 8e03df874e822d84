"""Every public function gives the right values for tensors in any memory layout, or refuses them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import tv_tensors

from in4310repro import arithmetic, features
from in4310repro.arithmetic import dropout, functions, pooling, products, tree
from in4310repro.features import kernel
from in4310repro.features.activations import response_keys
from in4310repro.features.kernel import count
from tests.arithmetic.formulas import batch_norm
from tests.arithmetic.test_dropout import key_by_numpy, words_of

Compute = Callable[..., Any]
RUNNING = torch.tensor([0.5, -0.5, 0.25]), torch.tensor([1.0, 2.0, 0.5])
LABELS = torch.tensor([0, 2, 1, 2])


def values(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


MAPS, WEIGHT = values(4, 3, 6, 5), values(2, 3, 3, 3)
ROWS, MATRIX = values(4, 3), values(5, 3)
CHANNELS = values(3)
DOUBLES = values(6, 4, dtype=torch.float64)


def normalised(maps: Tensor, weight: Tensor, bias: Tensor, other: Tensor) -> Tensor:
    return functional.relu(functional.batch_norm(maps, None, None, weight, bias, training=True) + other)


def take_steps(kind: type[Any], parameter: Tensor, gradient: Tensor, **settings: float) -> Tensor:
    """Return a copy of the parameter after two optimizer steps."""
    leaf = nn.Parameter(parameter.detach().clone(memory_format=torch.contiguous_format))
    optimizer = kind([leaf], lr=0.1, **settings)
    for _ in range(2):
        leaf.grad = gradient.detach()
        optimizer.step()
    return leaf.detach()


def of_features(function: Compute) -> Compute:
    """Bind the compiled kernel for feature statistics as the first argument of `function`."""
    return lambda *tensors: function(kernel.active_kernel(), *tensors)


def kernel_means(compiled: kernel.Kernel, maps: Tensor, shift: Tensor) -> Tensor:
    return compiled.spatial_means(maps, shift)[0]


def kernel_products(compiled: kernel.Kernel, maps: Tensor, shift: Tensor) -> Tensor:
    sums, products = torch.zeros(16, dtype=torch.float64), torch.zeros(16, 16, dtype=torch.float64)
    compiled.position_sums(maps, functional.pad(shift, (0, 13)), sums, products, exact=True)
    return products.triu()[:3, :3]


def products_by_torch(maps: Tensor, shift: Tensor) -> Tensor:
    rows = (maps.double() - shift.double().view(-1, 1, 1)).movedim(1, 0).flatten(1)
    return (rows @ rows.T).triu()


def statistics(maps: Tensor) -> Tensor:
    model = nn.Sequential(nn.Identity())
    with features.FeatureStatistics(model, ["0"], "images") as measured:
        model(maps)
    return measured.result()["0"].mean


def counts(values: Tensor) -> Tensor:
    return torch.tensor([int((values <= 0).sum()), int((values == 0).sum()), int((~values.isfinite()).sum())])


def histogram_counts(compiled: kernel.Kernel, values: Tensor) -> Tensor:
    found = torch.zeros(kernel.BINS, dtype=torch.int64)
    compiled.histogram(values, found)
    return torch.stack([found[1 : kernel.SIDE].sum(), found[kernel.SIDE :].sum()])


def normalised_convolution(maps: Tensor, weight: Tensor, bias: Tensor, *norm: Any) -> Tensor:
    given = functions.Norm(*norm, activation="relu")  # type: ignore[misc]
    return products.convolution(maps, weight, bias, (1, 1), (0, 0), 1, given)


def dropped(maps: Tensor) -> Tensor:
    torch.manual_seed(1)
    return dropout.dropout(maps, 0.25)


def dropped_by_numpy(values: Tensor) -> Tensor:
    is_maps = values.ndim == 4
    rows = values.movedim(1, -1) if is_maps else values
    # One image more, since there may be none.
    words = np.stack([words_of(rows.shape[1:].numel(), image, key_by_numpy(1)) for image in range(len(rows) + 1)])
    factors = torch.from_numpy(np.where(words[:-1] < 2**30, 0, 1 / 0.75)).reshape(rows.shape).to(rows.dtype)
    return values * (factors.movedim(-1, 1) if is_maps else factors)


# Name -> ours, torch's, and tensors of which each is given in every way.
FACES: dict[str, tuple[Compute, Compute, list[Tensor]]] = {
    "convolution": (
        lambda maps, weight, bias: products.convolution(maps, weight, bias, (2, 1), (1, 1)),
        lambda maps, weight, bias: functional.conv2d(maps, weight, bias, (2, 1), (1, 1)),
        [MAPS, WEIGHT, values(2)],
    ),
    "convolution, batch norm of evaluation": (
        torch.no_grad()(lambda maps, weight, bias, *norm: normalised_convolution(maps, weight, bias, *norm, False)),
        lambda maps, weight, bias, *norm: functional.relu(
            functional.batch_norm(functional.conv2d(maps, weight, bias), *norm)
        ),
        [MAPS, WEIGHT, values(2), *(each[:2] for each in RUNNING), values(2), values(2).flip(0)],
    ),
    "convolution, batch norm": (
        lambda maps, weight, bias, *norm: normalised_convolution(maps, weight, bias, None, None, *norm, True),
        lambda maps, weight, bias, scale, shift: functional.relu(
            functional.batch_norm(functional.conv2d(maps, weight, bias), None, None, scale, shift, training=True)
        ),
        [MAPS, WEIGHT, values(2), values(2), values(2)],
    ),
    "linear": (products.linear, functional.linear, [ROWS, MATRIX, values(5)]),
    "product": (products.product, lambda rows: rows.T @ rows, [DOUBLES]),
    "batch_norm": (
        lambda maps, weight, bias, other: batch_norm(
            maps, None, None, weight, bias, training=True, activation="relu", other=other
        ),
        normalised,
        [MAPS, CHANNELS, values(3).flip(0), values(4, 3, 6, 5).flip(0)],
    ),
    "batch_norm in evaluation": (
        lambda maps, mean, variance: batch_norm(maps, mean, variance, None, None, training=False),
        lambda maps, mean, variance: functional.batch_norm(maps, mean, variance),
        [MAPS, *RUNNING],
    ),
    "cross_entropy": (arithmetic.cross_entropy, functional.cross_entropy, [ROWS, LABELS]),
    "losses": (
        arithmetic.losses,
        lambda scores, labels: functional.cross_entropy(scores.double(), labels, reduction="none"),
        [ROWS, LABELS],
    ),
    "softmax": (arithmetic.softmax, lambda scores: scores.softmax(dim=1), [ROWS]),
    "adaptive_average_pool": (
        lambda maps: pooling.adaptive_average_pool(maps, (2, 3)),
        lambda maps: functional.adaptive_avg_pool2d(maps, (2, 3)),
        [MAPS],
    ),
    "max_pool": (
        lambda maps: pooling.max_pool(maps, (3, 3), (2, 2), (1, 1)),
        lambda maps: functional.max_pool2d(maps, 3, 2, 1),
        [MAPS],
    ),
    "add": (pooling.add, torch.add, [MAPS, MAPS.flip(0)]),
    "dropout": (dropped, dropped_by_numpy, [MAPS]),
    "fork": (lambda maps: pooling.add(*pooling.fork(maps)), lambda maps: 2 * maps, [MAPS]),
    "quotients": (lambda sums: tree.quotients(sums, 3), lambda sums: (sums / 3).float(), [DOUBLES]),
    "AdamW": (
        lambda *tensors: take_steps(arithmetic.AdamW, *tensors),
        lambda *tensors: take_steps(torch.optim.AdamW, *tensors),
        [MATRIX, values(5, 3).flip(0)],
    ),
    "RMSprop": (
        lambda *tensors: take_steps(arithmetic.RMSprop, *tensors),
        lambda *tensors: take_steps(torch.optim.RMSprop, *tensors),
        [MATRIX, values(5, 3).flip(0)],
    ),
    "SGD": (
        lambda *tensors: take_steps(arithmetic.SGD, *tensors, momentum=0.9),
        lambda *tensors: take_steps(torch.optim.SGD, *tensors, momentum=0.9),
        [WEIGHT, values(2, 3, 3, 3).flip(0)],
    ),
    "portable": (
        lambda maps: arithmetic.portable(nn.Sequential(nn.MaxPool2d(2), nn.ReLU()))(maps),
        lambda maps: functional.relu(functional.max_pool2d(maps, 2)),
        [MAPS],
    ),
    "Kernel.count": (of_features(lambda compiled, maps: torch.tensor(compiled.count(maps))), counts, [MAPS]),
    "Kernel.histogram": (
        of_features(histogram_counts),
        lambda maps: torch.stack([(maps > 0).sum(), (maps < 0).sum()]),
        [MAPS],
    ),
    "Kernel.spatial_means": (
        of_features(kernel_means),
        lambda maps, shift: maps.double().mean(dim=(2, 3)) - shift,
        [MAPS, CHANNELS],
    ),
    "Kernel.position_sums": (of_features(kernel_products), products_by_torch, [MAPS, CHANNELS]),
    "Kernel.peaks": (of_features(kernel.Kernel.peaks), lambda maps: maps.amax(dim=(2, 3)), [MAPS]),
    "FeatureStatistics": (statistics, lambda maps: maps.double().mean(dim=(0, 2, 3)), [MAPS]),
    "count": (lambda maps: torch.tensor(count(maps).to_ints()[1:]), counts, [MAPS]),
    "response_keys": (lambda maps: response_keys(maps, 0), lambda maps: response_keys(maps.clone(), 0), [MAPS]),
    "self_product": (kernel.self_product, lambda rows: rows.T @ rows, [DOUBLES]),
    "column_sums": (kernel.column_sums, lambda rows: rows.sum(dim=0), [DOUBLES]),
}
# What takes no tensors, writes where it reads (test_signatures), or is another's name of the above.
OTHERS = {
    *("VERSION", "instruction_set", "obstacle", "refused_modules", "self_test"),
    *("BLOCK", "FeatureResult", "Histogram", "ModuleChoice", "TopImages"),
    *("batches", "choose", "first_image", "gather", "kernel_description"),
}


class Own(Tensor):
    """A tensor subclass that changes nothing."""


def negative(value: Tensor) -> Tensor:
    return torch._neg_view(-value)


def imaginary(value: Tensor) -> Tensor:
    """Return the same values as a view with the negative bit and stride 2 (imaginary part of a conjugate)."""
    return torch.complex(torch.zeros_like(value), -value).conj().imag


def with_gaps(value: Tensor) -> Tensor:
    wider = value.new_zeros([size + 2 for size in value.shape])
    inside = tuple(slice(1, -1) for _ in value.shape)
    wider[inside] = value
    return wider[inside]


def every_other(value: Tensor) -> Tensor:
    return value.repeat_interleave(2, dim=-1)[..., ::2]


def turned(value: Tensor) -> Tensor:
    """Return the same values with reversed strides: the first axis is contiguous in memory."""
    axes = list(range(value.ndim))[::-1]
    return value.permute(axes).contiguous().permute(axes)


def last(value: Tensor) -> Tensor:
    return value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value.clone()


def offset(value: Tensor) -> Tensor:
    return torch.cat([value.new_ones(3), value.flatten()])[3:].view(value.shape)


FLOATING: dict[str, Callable[[Tensor], Tensor]] = {
    "negative": negative,
    "imaginary part of a conjugate": imaginary,
    "a gradient is wanted": lambda value: value.clone().requires_grad_(),
    "a parameter": lambda value: nn.Parameter(value.clone()),
    "negative, and a gradient is wanted": lambda value: negative(value).requires_grad_(),
}
WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "with gaps": with_gaps,
    "every other": every_other,
    "turned": turned,
    "channels last": last,
    "behind others": offset,
    "in two batches": lambda value: torch.cat([value, value])[: len(value)],
    "a subclass": lambda value: value.clone().as_subclass(Own),
    "an image of torchvision": lambda value: value.clone().as_subclass(tv_tensors.Mask),
    "made in inference mode": lambda value: torch.inference_mode()(value.clone)(),
    **FLOATING,
}


DTYPES = [
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64),
    *(torch.int32, torch.int64, torch.uint8, torch.bool),
]
REFUSALS = ValueError, RuntimeError, TypeError, NotImplementedError


def places() -> list[Any]:
    return [
        pytest.param(name, place, id=f"{name}, tensor {place}")
        for name, (*_, tensors) in FACES.items()
        for place in range(len(tensors))
    ]


def assert_near(found: Tensor, expected: Tensor, case: str, *, tolerance: float = 1e-5) -> None:
    """Assert that two tensors are close, whatever their strides; `case` begins the failure message."""
    torch.testing.assert_close(
        found,
        expected,
        rtol=tolerance,
        atol=tolerance,
        check_stride=False,
        equal_nan=True,
        msg=lambda text: f"{case}: {text}",
    )


def equal(given: list[Tensor], tensors: list[Tensor]) -> bool:
    """Return True if the tensors have equal values, whatever their strides."""
    plain = [value.detach().as_subclass(Tensor).clone() for value in given]
    return all(map(torch.equal, plain, tensors))


def test_the_table_has_every_public_function() -> None:
    public = {*arithmetic.__all__, *features.__all__}
    for module in (dropout, functions, pooling, products):
        public |= {
            name
            for name, each in vars(module).items()
            if getattr(each, "__module__", "") == module.__name__ and not name.startswith("_") and name.islower()
        }
    public |= {f"Kernel.{name}" for name in vars(kernel.Kernel) if not name.startswith("_")}
    # Of modules and of what they compute with: forms, checks, and gradients over parts of a batch.
    internal = {"check_maps", "check_norm", "coefficients", "normalise", "normalise_backward", "first_only"}
    internal |= {"shape_of", "result_sizes"}
    assert public - FACES.keys() - OTHERS - internal == set()
    assert not hasattr(arithmetic, "Sequential")  # of the module that portable() comes from


@pytest.mark.parametrize(("name", "place"), places())
def test_values_count_and_not_how_they_lie_in_memory(name: str, place: int) -> None:
    ours, theirs, tensors = FACES[name]
    with torch.no_grad():
        expected, plain = theirs(*tensors), ours(*tensors)
    for way, change in WAYS.items():
        if way in FLOATING and not tensors[place].is_floating_point():
            continue
        given = [change(value) if at == place else value for at, value in enumerate(tensors)]
        assert equal(given, tensors), way
        # These two refuse a gradient that is wanted, since they have none.
        with torch.set_grad_enabled(name not in ("losses", "softmax")):
            found = ours(*given).detach()
        assert_near(found, expected, way)
        # Not one bit depends on it.
        assert torch.equal(found, plain), way
        assert equal(given, tensors), way


@pytest.mark.parametrize("way", ["expanded", "overlapping", "one image"])
@pytest.mark.parametrize("name", [name for name, (*_, tensors) in FACES.items() if tensors[0].ndim == 4])
def test_maps_that_share_memory_with_themselves_are_read_as_what_they_are(name: str, way: str) -> None:
    ours, theirs, (maps, *others) = FACES[name]
    if name == "SGD":
        pytest.skip("a parameter is written")
    given = {
        "expanded": lambda: maps[:1].expand(4, 3, 6, 5),
        "overlapping": lambda: maps.flatten().as_strided((4, 3, 6, 5), (20, 15, 5, 1)),
        "one image": lambda: maps[:1, :, :, :1].expand(4, 3, 6, 5),
    }[way]()
    with torch.no_grad():
        found, expected = ours(given, *others), theirs(given.clone(), *others)
        assert torch.equal(found, ours(given.clone(), *others))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5, check_stride=False)


@pytest.mark.parametrize(("name", "place"), places())
def test_another_dtype_is_refused_or_computed_as_torch_does(name: str, place: int) -> None:
    ours, theirs, tensors = FACES[name]
    for dtype in DTYPES:
        if dtype == tensors[place].dtype:
            continue
        given = [value.to(dtype) if at == place else value for at, value in enumerate(tensors)]
        with warnings.catch_warnings(action="ignore"):
            try:
                found = ours(*given)
            except REFUSALS:
                continue
            expected = theirs(*given)
        torch.testing.assert_close(
            found.detach().to(expected.dtype),
            expected.detach(),
            rtol=1e-2,
            atol=1e-2,
            check_stride=False,
            msg=f"{dtype}",
        )


STRANGE: dict[str, Callable[[Tensor], Any]] = {
    "on meta": lambda value: value.to("meta"),
    "sparse": lambda value: value.to_sparse(),
    "nested": lambda value: torch.nested.nested_tensor([value, value]),
    "empty": lambda value: value[:0],
    "an axis more": lambda value: value[None],
    "an axis less": lambda value: value[0],
    "a row less": lambda value: value[..., :-1],
    "an array": lambda value: value.numpy(),
    "without memory": lambda value: torch._subclasses.FakeTensorMode().from_tensor(value),
    "masked": lambda value: torch.masked.masked_tensor(value, torch.ones_like(value, dtype=torch.bool)),
}


@pytest.mark.parametrize(("name", "place"), places())
def test_what_a_kernel_cannot_read_is_refused_or_computed_as_torch_does(name: str, place: int) -> None:
    ours, theirs, tensors = FACES[name]
    for strange, change in STRANGE.items():
        with warnings.catch_warnings(action="ignore"):
            given = [change(value) if at == place else value for at, value in enumerate(tensors)]
            try:
                found = ours(*given)
            except (*REFUSALS, AttributeError, IndexError, AssertionError):
                continue
            # Statistics take images of any number of axes; tensors without values give none.
            if name == "FeatureStatistics" and "axis" in strange:
                continue
            expected = theirs(*given)
        assert (found.device, type(found)) == (expected.device, type(expected)), strange
        if expected.device.type == "cpu" and type(expected) is Tensor:
            assert_near(found.detach(), expected.detach(), strange)


@pytest.mark.parametrize("name", FACES)
def test_within_functionalize_a_function_is_computed_or_refused(name: str) -> None:
    ours, _, tensors = FACES[name]
    for gradients in (True, False):
        for given in (tensors, [torch._to_functional_tensor(each) for each in tensors]):
            found: list[Any] = []

            def compute(_: Tensor, given: list[Tensor] = given, found: list[Any] = found) -> Tensor:
                found.append(ours(*given))
                return _

            # Where torch gives tensors no memory: to read or write it would end the process.
            try:
                with torch.set_grad_enabled(gradients), warnings.catch_warnings(action="ignore"):
                    torch.func.functionalize(compute)(MAPS)
            except REFUSALS:
                continue
            assert torch.equal(found[0], ours(*tensors))


def test_inside_of_vmap_a_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scores: a tensor inside of torch\.func"):
        torch.vmap(lambda scores: arithmetic.softmax(scores))(torch.ones(2, 3, 4))


@pytest.mark.parametrize(
    "name", ["convolution", "linear", "batch_norm", "max_pool", "adaptive_average_pool", "add", "fork"]
)
def test_gradients_that_come_in_with_a_negative_bit_and_by_any_way_give_torchs(name: str) -> None:
    ours, theirs, tensors = FACES[name]
    gradients = []
    for function in (ours, theirs):
        for change in (torch.clone, negative, turned, with_gaps):
            leaves = [value.clone().requires_grad_() for value in tensors]
            result = function(*leaves)
            incoming = torch.linspace(-1, 1, result.numel()).reshape(result.shape)
            gradients.append(torch.autograd.grad(result, leaves, change(incoming)))
    for found in gradients[1:]:
        for one, other in zip(gradients[0], found, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, check_stride=False)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("way", [every_other, negative])
def test_running_statistics_that_a_kernel_cannot_write_are_refused_and_stay(
    way: Callable[[Tensor], Tensor], place: int
) -> None:
    running = [value.clone() for value in RUNNING]
    running[place] = way(running[place])
    with pytest.raises(ValueError, match=r"normalise: running_(mean|variance) is .*side by side"):
        batch_norm(MAPS, running[0], running[1], None, None, training=True)
    assert all(torch.equal(value.clone(), before) for value, before in zip(running, RUNNING, strict=True))


def test_running_mean_without_running_variance_is_refused() -> None:
    for running in ((torch.zeros(3), None), (None, torch.ones(3))):
        with pytest.raises(ValueError, match="it needs both or neither"):
            batch_norm(MAPS, running[0], running[1], None, None, training=True)
