"""An inverted residual computed by one kernel, in evaluation or in training, has the bits of its layers one by one."""

import copy
import gc
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.mobilenetv2 import InvertedResidual as OfTorchvision

from in4310repro.arithmetic import portable, residuals, same
from in4310repro.system.numerics import Numerics, generator_for
from tests.arithmetic.formulas import assert_same_bits_everywhere


@pytest.fixture(autouse=True)
def _kernels(numerics: Numerics) -> None:
    if not numerics.portable:
        pytest.skip(f"portable arithmetic is unavailable here: {numerics.note}")


def random(*sizes: int, name: str = "maps") -> Tensor:
    """Return random values; maps are in channels_last memory, as from the layer before."""
    values = torch.from_numpy(generator_for(0, name).standard_normal(sizes, dtype="float32"))
    return values.contiguous(memory_format=torch.channels_last) if len(sizes) == 4 else values


def make_block(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, expansion: int = 6) -> Any:
    """Return a portable block in evaluation, with random weights and statistics."""
    block = portable(same.InvertedResidual(inputs, outputs, kernel, stride, expansion)).eval()
    for name, value in block.state_dict().items():
        if value.ndim:
            drawn = random(*value.shape, name=name)
            value.copy_(drawn.abs() + 0.5 if name.endswith("running_var") else drawn / max(1, value[0].numel()) ** 0.5)
    return block


@contextmanager
def observed(block: Any) -> Iterator[None]:
    """Let the layers of a block be computed one by one, as a hook on one of them does."""
    hook = next(each for each in block.modules() if isinstance(each, nn.BatchNorm2d)).register_forward_hook(
        lambda *_: None
    )
    try:
        yield
    finally:
        hook.remove()


def one_by_one(block: Any, maps: Tensor) -> Tensor:
    with torch.inference_mode(), observed(block):
        return block(maps)  # type: ignore[no-any-return]


def at_once(block: Any, maps: Tensor) -> Tensor:
    with torch.inference_mode():
        return block(maps)  # type: ignore[no-any-return]


def equal(block: Any, maps: Tensor) -> bool:
    expected = one_by_one(block, maps)
    return torch.equal(at_once(block, maps).nan_to_num(7), expected.nan_to_num(7))


def is_prepared(block: Any) -> bool:
    plan = residuals._plans.get(block)
    return plan is not None and plan.call is not None


SHAPES = [
    ((3, 16, 9, 7), 16, 3, 1, 6),
    ((1, 8, 61, 40), 8, 5, 1, 6),  # several strips and bands
    ((5, 24, 10, 10), 40, 5, 2, 6),
    ((2, 32, 33, 31), 16, 3, 1, 1),  # no expansion
    ((1, 40, 57, 44), 48, 3, 2, 6),  # several strips with steps of two rows
    ((9, 112, 2, 2), 112, 5, 1, 6),  # several images at a time
    ((7, 10, 5, 3), 13, 3, 2, 3),  # no whole vectors
    ((4, 7, 1, 1), 7, 3, 1, 6),
]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("sizes", "outputs", "kernel", "stride", "expansion"), SHAPES)
def test_bits_are_those_of_the_layers_one_by_one(
    sizes: tuple[int, ...], outputs: int, kernel: int, stride: int, expansion: int, threads: int
) -> None:
    block, maps, before = (
        make_block(sizes[1], outputs, kernel, stride, expansion),
        random(*sizes),
        torch.get_num_threads(),
    )
    torch.set_num_threads(threads)
    try:
        assert equal(block, maps)
        assert is_prepared(block) == (sizes[0] >= threads or sizes[2] >= 8 * kernel)
        maps[0, 0, 0, 0], maps[-1, -1, -1, -1] = float("nan"), float("-inf")
        assert equal(block, maps)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("sizes", "stride"), [((1, 16, 40, 29), 1), ((3, 40, 6, 5), 2)])
def test_one_block_has_equal_bits_on_every_instruction_set_and_number_of_threads(
    sizes: tuple[int, ...], stride: int
) -> None:
    block, maps = make_block(sizes[1], sizes[1], 3, stride), random(*sizes)
    assert_same_bits_everywhere(lambda: [at_once(block, maps).clone()])


def test_the_result_is_that_of_torch_in_float64_within_rounding_and_not_without_its_sum() -> None:
    block, maps = make_block(24, 24), random(2, 24, 14, 14)
    wide = same.InvertedResidual(24, 24, 3, 1, 6).double().eval()
    wide.load_state_dict(block.state_dict())
    with torch.no_grad():
        expected, without = wide(maps.double()), wide(maps.double()) - maps.double()
    found = at_once(block, maps).double()
    assert torch.allclose(found, expected, rtol=0, atol=1e-5)
    assert not torch.allclose(found, without, rtol=0, atol=1e-5)


def test_blocks_of_torchvision_are_computed_at_once_too() -> None:
    block = portable(OfTorchvision(16, 16, 1, 6)).eval()
    assert equal(block, random(2, 16, 12, 12))
    assert is_prepared(block)


def edit_by_numpy(block: Any) -> None:
    block.project[0].weight.detach().numpy()[:] *= -1


def train_a_step(block: Any) -> None:
    block.train()
    block(random(4, 16, 6, 6, name="training")).sum().backward()
    torch.optim.SGD(block.parameters(), lr=0.1).step()
    block.eval()


def swap_layers(block: Any) -> None:
    block.expand = portable(make_block(16, 16).expand)
    block.expand[0].weight.data.mul_(2)


EDITS: dict[str, Callable[[Any], object]] = {
    "weights by .data": lambda block: block.expand[0].weight.data.clamp_(-0.1, 0.1),
    "two signs": lambda block: block.project[0].weight.data.view(-1)[:128:64].neg_(),
    "weights by NumPy": edit_by_numpy,
    "a depth-wise weight": lambda block: block.depthwise[0].weight.data[3, 0, 1, 1].add_(1),
    "statistics": lambda block: block.expand[1].running_mean.add_(1),
    "a training step": train_a_step,
    "loaded weights": lambda block: block.load_state_dict({k: v + 1 for k, v in block.state_dict().items()}),
    "other memory": lambda block: setattr(block.expand[0], "weight", nn.Parameter(torch.ones(96, 16, 1, 1))),
    "epsilon": lambda block: setattr(block.depthwise[1], "eps", 1.0),
    "stride": lambda block: setattr(block.depthwise[0], "dilation", 1),
    "another layer": swap_layers,
    "activation": lambda block: setattr(block.expand, "2", nn.Identity()),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=list(EDITS))
def test_no_edit_between_two_evaluations_goes_unnoticed(edit: Callable[[Any], object]) -> None:
    block, maps = make_block(16, 16), random(2, 16, 8, 8)
    before = at_once(block, maps).clone()
    edit(block)
    assert equal(block, maps)
    assert edit is EDITS["stride"] or not torch.equal(at_once(block, maps), before)


def test_layers_are_computed_one_by_one_in_evaluation_with_gradients_and_where_a_hook_looks() -> None:
    maps = random(2, 16, 8, 8)
    block = make_block(16, 16)
    assert block(maps).requires_grad
    assert not is_prepared(block)
    with torch.no_grad():
        block.train()(maps)
    assert not is_prepared(block)
    for training in (True, False):
        block, seen = make_block(16, 16).train(training), list[Tensor]()
        block.depthwise.register_forward_hook(lambda *given, seen=seen: seen.append(given[2]))
        with torch.set_grad_enabled(training):
            block(maps)
        assert len(seen) == 1
        assert not is_prepared(block)


def test_threads_that_evaluate_one_block_have_equal_bits() -> None:
    block, maps = make_block(24, 24), random(2, 24, 16, 16)
    expected = one_by_one(block, maps)
    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(each, expected) for each in pool.map(lambda _: at_once(block, maps), range(24)))


def test_what_is_kept_goes_with_the_block_and_is_in_no_state_or_copy() -> None:
    block = make_block(16, 16)
    names = set(vars(block))
    at_once(block, random(2, 16, 8, 8))
    assert set(vars(block)) == names
    kept = weakref.ref(residuals._plans[block].call.args[2])  # type: ignore[union-attr]
    del block
    gc.collect()
    assert kept() is None


def test_a_convolution_in_evaluation_notices_edits() -> None:
    layer: Any = portable(nn.Conv2d(16, 70, 1)).eval()
    maps = random(2, 16, 6, 6)
    with torch.inference_mode():
        before = layer(maps).clone()
        assert torch.equal(layer(maps), before)
    values = layer.weight.detach().numpy()
    values[:] = np.sign(values)
    fresh = portable(nn.Conv2d(16, 70, 1))
    fresh.load_state_dict(layer.state_dict())
    with torch.inference_mode():
        assert torch.equal(layer(maps), fresh(maps))
        assert not torch.equal(layer(maps), before)


def train(block: Any, maps: Tensor, one_by_one: bool = False) -> list[Tensor]:
    """Return the result of a training pass, the maps' gradient, and those and the values of what the block holds."""
    block.zero_grad()
    maps = maps.clone().requires_grad_()
    with observed(block) if one_by_one else nullcontext():
        result = block(maps)
    wanted = random(*result.shape, name="gradient of the result")
    (result * wanted).sum().backward()
    held = [*block.parameters(), *block.buffers()]
    gradients = [each.grad for each in block.parameters() if each.requires_grad]
    return [each.detach().clone() for each in (result, maps.grad, *gradients, *held)]


def is_trained_alike(block: Any, maps: Tensor) -> bool:
    """Return whether a pass at once has the bits of one layer after the other, in all that it returns and changes."""
    other = copy.deepcopy(block)
    pairs = zip(train(block, maps), train(other, maps, one_by_one=True), strict=True)
    return all(torch.equal(found.nan_to_num(7), expected.nan_to_num(7)) for found, expected in pairs)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("sizes", "outputs", "kernel", "stride", "expansion"), SHAPES)
def test_bits_of_a_training_pass_are_those_of_the_layers_one_by_one(
    sizes: tuple[int, ...], outputs: int, kernel: int, stride: int, expansion: int, threads: int
) -> None:
    block, maps = make_block(sizes[1], outputs, kernel, stride, expansion).train(), random(*sizes)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert is_trained_alike(block, maps)
        assert is_prepared(block)
        maps[0, 0, 0, 0], maps[-1, -1, -1, -1] = float("nan"), float("-inf")
        assert is_trained_alike(block, maps)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_trained_block_has_equal_bits_on_every_instruction_set_and_number_of_threads(stride: int) -> None:
    block, maps = make_block(16, 16, 3, stride).train(), random(3, 16, 11, 10)
    assert_same_bits_everywhere(lambda: train(copy.deepcopy(block), maps))


def test_gradients_are_those_of_torch_in_float64_within_rounding_and_not_without_the_sum() -> None:
    block, maps = make_block(24, 24).train(), random(5, 24, 9, 9)
    wide = same.InvertedResidual(24, 24, 3, 1, 6).double().train()
    wide.load_state_dict(block.state_dict())
    other = copy.deepcopy(wide)
    other.residual = False
    found, *expected = (train(each, maps.to(next(each.parameters()).dtype)) for each in (block, wide, other))

    def is_near(value: Tensor, wanted: Tensor) -> bool:
        return torch.allclose(value.double(), wanted.double(), rtol=0, atol=1e-4 * float(wanted.abs().max()))

    fits, twin = ([*map(is_near, found, each)] for each in expected)
    assert all(fits)
    assert twin[:2] == [False, False]


def freeze(block: Any) -> None:
    block.depthwise[0].weight.requires_grad_(False)


def share_memory(block: Any) -> None:
    """Put another parameter on the same memory: gradients go to what the block holds, not to what it held."""
    block.project[0].weight = nn.Parameter(block.project[0].weight.detach())


def average_all(block: Any) -> None:
    for each in block.children():
        each[1].momentum = None


TRAINING_EDITS: dict[str, Callable[[Any], object]] = {
    **EDITS,
    "momentum": lambda block: setattr(block.expand[1], "momentum", 0.5),
    "an average over all batches": average_all,
    "no running statistics": lambda block: setattr(block.project[1], "track_running_stats", False),
    "no scale": lambda block: setattr(block.project[1], "weight", None),
    "counted again": lambda block: block.expand[1].reset_running_stats(),
    "a frozen weight": freeze,
    "a parameter on the same memory": share_memory,
    "evaluation of one layer": lambda block: block.project[1].eval(),
}


@pytest.mark.parametrize("edit", TRAINING_EDITS.values(), ids=list(TRAINING_EDITS))
def test_no_edit_between_two_training_passes_goes_unnoticed(edit: Callable[[Any], object]) -> None:
    block, maps = make_block(16, 16).train(), random(4, 16, 8, 8)
    train(block, maps)
    assert is_prepared(block)
    edit(block)
    block.train(edit is not TRAINING_EDITS["evaluation of one layer"] or block.training)
    assert is_trained_alike(block, maps)


def test_images_need_no_gradient_and_a_frozen_weight_gets_none() -> None:
    block, maps = make_block(16, 16).train(), random(4, 16, 8, 8)
    freeze(block)
    block(maps).sum().backward()
    assert is_prepared(block)
    assert [each.grad is None for each in block.parameters()] == [not each.requires_grad for each in block.parameters()]


def test_saved_tensors_may_be_moved_by_a_hook_and_not_exchanged_for_others() -> None:
    block, maps = make_block(16, 16).train(), random(4, 16, 8, 8)
    expected = train(copy.deepcopy(block), maps)
    with torch.autograd.graph.save_on_cpu():
        found = train(block, maps)
    assert all(map(torch.equal, found, expected))
    with torch.autograd.graph.saved_tensors_hooks(lambda value: value, lambda value: value[:1]):
        result = block(maps)
    with pytest.raises(ValueError, match="must"):
        result.sum().backward()


def test_a_second_derivative_of_a_block_is_refused() -> None:
    block, maps = make_block(16, 16).train(), random(4, 16, 8, 8).requires_grad_()
    (gradient,) = torch.autograd.grad(block(maps).sum(), maps, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivatives of Training"):
        gradient.sum().backward()  # type: ignore[no-untyped-call]


def test_a_block_with_one_value_per_channel_is_refused_as_its_layers_are() -> None:
    with pytest.raises(ValueError, match="one value per channel"):
        make_block(16, 16).train()(random(1, 16, 1, 1))
