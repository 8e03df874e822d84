"""Second derivatives, and those of forward mode, are right or refused: never zero, None or without a tangent."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from in4310repro.arithmetic import cross_entropy, portable, same, shares
from in4310repro.arithmetic.functions import Function
from in4310repro.arithmetic.pooling import fork
from in4310repro.arithmetic.products import convolution
from tests.arithmetic.test_modules import batch, network, sha256
from tests.arithmetic.test_views import FACES, MAPS, RUNNING, WEIGHT, values

# torch compiles a part of its forward mode when it is first used.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")

Compute = Callable[..., Any]
by_torch: Any = torch.autograd.functional


def of_network(model: nn.Module) -> Compute:
    """Return a function of maps and of the first weight that computes the network."""
    return lambda maps, weight: torch.func.functional_call(model, {"0.weight": weight}, (maps,), strict=False)


def networks(training: bool) -> Iterator[nn.Module]:
    """Yield a small network in portable arithmetic, and in torch's and float64."""
    norm = nn.BatchNorm2d(3)
    norm.running_mean = RUNNING[0].clone()
    layers = [nn.Conv2d(3, 3, 3), norm, nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.ReLU6(inplace=True)]
    model = nn.Sequential(*layers).train(training)
    yield portable(copy.deepcopy(model))
    yield model.double()


# Name -> ours, torch's, and the tensors that can be differentiated.
CASES: dict[str, Any] = {
    name: FACES[name]
    for name in (
        *("convolution", "convolution, batch norm", "linear", "batch_norm", "adaptive_average_pool", "max_pool"),
        *("add", "dropout", "fork", "cross_entropy"),
    )
} | {
    f"network, training={training}": (*map(of_network, networks(training)), [MAPS, values(3, 3, 3, 3)])
    for training in (True, False)
}
BLOCK = same.InvertedResidual(3, 3, 3, 1, 2)
# A block is computed as one function of maps in channels_last memory.
ALIGNED = MAPS.contiguous(memory_format=torch.channels_last)
CASES["inverted residual"] = portable(copy.deepcopy(BLOCK)), BLOCK.double(), [ALIGNED]


def with_tangent(values: Tensor) -> Tensor:
    return forward_ad.make_dual(values, values.cos())  # type: ignore[no-any-return, no-untyped-call]


def tangent(values: Tensor) -> Tensor | None:
    return forward_ad.unpack_dual(values).tangent  # type: ignore[no-any-return, no-untyped-call]


def tangent_of(compute: Compute, given: Tensor) -> Tensor | None:
    with forward_ad.dual_level():
        return tangent(compute(with_tangent(given)))


def tangent_of_gradient(compute: Compute, given: Tensor) -> Tensor | None:
    """Give backward() a gradient with a tangent."""
    leaf = given.clone().requires_grad_()
    result = compute(leaf)
    with forward_ad.dual_level():
        return tangent(torch.autograd.grad(result, leaf, with_tangent(torch.ones_like(result)))[0])


def penalty(compute: Compute, given: Tensor) -> Tensor | None:
    leaf = given.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(compute(leaf), leaf, create_graph=True)
    gradient.square().sum().backward()  # type: ignore[no-untyped-call]
    return leaf.grad


def penalty_of_jacobian(compute: Compute, given: Tensor) -> Tensor | None:
    leaf = given.clone().requires_grad_()
    by_torch.jacobian(compute, leaf, create_graph=True).square().sum().backward()
    return leaf.grad


def batched_gradients(compute: Compute, given: Tensor) -> Tensor:
    leaf = given.clone().requires_grad_()
    return torch.autograd.grad(compute(leaf), leaf, torch.arange(3.0).to(leaf.dtype), is_grads_batched=True)[0]


def forward_jacobian(compute: Compute, given: Tensor) -> Tensor:
    found: Tensor = by_torch.jacobian(compute, given, vectorize=True, strategy="forward-mode")
    return found


def forward_hessian(compute: Compute, given: Tensor) -> Tensor:
    found: Tensor = by_torch.hessian(compute, given, vectorize=True, outer_jacobian_strategy="forward-mode")
    return found


# Each computes a derivative of a scalar function at `given`.
WAYS: dict[str, Compute] = {
    "penalty": penalty,
    "penalty of a Jacobian": penalty_of_jacobian,
    "hessian": by_torch.hessian,
    "hessian, vectorized": lambda compute, given: by_torch.hessian(compute, given, vectorize=True),
    "hessian, forward": forward_hessian,
    "jacobian, forward": forward_jacobian,
    "hvp": lambda compute, given: by_torch.hvp(compute, given, given.cos())[1],
    "vhp": lambda compute, given: by_torch.vhp(compute, given, given.cos())[1],
    "jvp": lambda compute, given: by_torch.jvp(compute, given, given.cos())[1],
    "tangent": tangent_of,
    "tangent under no_grad": torch.no_grad()(tangent_of),
    "tangent of inference mode": torch.inference_mode()(tangent_of),
    "tangent in inference mode": lambda compute, given: tangent_of(torch.inference_mode()(compute), given),
    "tangent of the gradient": tangent_of_gradient,
    "batched gradients": batched_gradients,
    "func.grad of func.grad": lambda compute, given: torch.func.grad(
        lambda one: torch.func.grad(compute)(one).square().sum()
    )(given),
    "func.hessian": lambda compute, given: torch.func.hessian(compute)(given),
    "func.jacfwd": lambda compute, given: torch.func.jacfwd(compute)(given),
    "func.jacrev": lambda compute, given: torch.func.jacrev(compute)(given),
    "func.jvp": lambda compute, given: torch.func.jvp(compute, (given,), (given.cos(),))[1],
    "func.linearize": lambda compute, given: torch.func.linearize(compute, given)[1](given.cos()),
    "func.vmap": lambda compute, given: torch.func.vmap(compute)(torch.stack([given, given.cos()])),
    "func.functionalize": lambda compute, given: torch.func.functionalize(compute)(given),
}


def refused_or_computed(way: Compute, compute: Compute, given: Tensor) -> Tensor | str | None:
    try:
        found: Tensor | None = way(compute, given)
    except (ValueError, RuntimeError) as error:
        return str(error)
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CASES)
def test_a_derivative_of_any_kind_is_right_or_refused(name: str, way: str) -> None:
    ours, theirs, tensors = CASES[name]
    for place, given in enumerate(tensors):
        if not given.is_floating_point():
            continue

        def scalar(function: Compute, one: Tensor, place: int = place) -> Tensor:
            others = [each.to(one.dtype) if each.is_floating_point() else each for each in tensors]
            result: Tensor = function(*others[:place], one, *others[place + 1 :])
            return result.square().sum()

        found = refused_or_computed(WAYS[way], lambda one: scalar(ours, one), given.float())
        if isinstance(found, str):
            # The error names a function or tensor, and what to do.
            assert "compute it in native arithmetic" in found, found
            continue
        truth = WAYS[way](lambda one: scalar(theirs, one), given.double())
        assert (found is None) == (truth is None)
        if found is not None:
            torch.testing.assert_close(found.double(), truth, rtol=1e-3, atol=1e-3 * float(truth.abs().max()))


def test_the_cases_call_every_function_of_autograd() -> None:
    def names(node: Any) -> Iterator[str]:
        if node is not None:
            yield node.name().removesuffix("Backward")
            for following, _ in node.next_functions:
                yield from names(following)

    called = set()
    for ours, _, tensors in CASES.values():
        called |= {*names(ours(*[each.clone().requires_grad_(each.is_floating_point()) for each in tensors]).grad_fn)}
    assert {each.__name__ for each in Function.__subclasses__()} <= called


@pytest.mark.parametrize("name", CASES)
def test_a_derivative_by_one_tensor_of_a_gradient_by_another_is_right_or_refused(name: str) -> None:
    ours, theirs, tensors = CASES[name]
    floats = [place for place, each in enumerate(tensors) if each.is_floating_point()]
    for first in floats:
        found: list[Any] = []
        truth: list[Any] = []
        for function, dtype, results in ((ours, torch.float32, found), (theirs, torch.float64, truth)):
            leaves = [
                each.to(dtype, copy=True).requires_grad_() if each.is_floating_point() else each for each in tensors
            ]
            (gradient,) = torch.autograd.grad(function(*leaves).square().sum(), leaves[first], create_graph=True)
            for second in floats:
                try:
                    results += torch.autograd.grad(
                        gradient.square().sum(), leaves[second], retain_graph=True, materialize_grads=True
                    )
                except RuntimeError as error:
                    results.append(str(error))
        for one, other in zip(found, truth, strict=True):
            if isinstance(one, str):
                assert "no second derivatives of" in one
            else:
                torch.testing.assert_close(one.double(), other, rtol=1e-3, atol=1e-3 * float(other.abs().max()))


def test_what_torch_checks_second_derivatives_with_is_refused() -> None:
    leaves: list[Any] = [each[:1, :, :3, :3].clone().requires_grad_() for each in (MAPS, WEIGHT)]
    with (
        pytest.warns(UserWarning, match="double precision"),
        pytest.raises(RuntimeError, match="no second derivatives"),
    ):
        torch.autograd.gradgradcheck(lambda *given: FACES["convolution"][0](*given, None), leaves, atol=1)


def test_a_penalty_on_gradients_is_refused_and_not_taken_for_a_constant() -> None:
    model, (images, labels) = portable(network("resnet18")).train(), batch(2)
    leaf = images.requires_grad_()
    loss = cross_entropy(model(leaf), labels)
    for gradient in torch.autograd.grad(loss, [leaf, *model.parameters()], create_graph=True):
        with pytest.raises(RuntimeError, match="portable arithmetic has no second derivatives"):
            (loss + gradient.square().sum()).backward(retain_graph=True)  # type: ignore[no-untyped-call]


def test_gradients_of_several_processes_that_may_be_differentiated_are_refused() -> None:
    # `finish` would store the gradient of the weight, which knows nothing of the graph.
    class Shared(shares.Whole):
        is_shared = True

    weight = WEIGHT.clone().requires_grad_()
    with Shared():
        loss = convolution(MAPS, weight).sum()
    with pytest.raises(RuntimeError, match="Convolution with create_graph=True needs a single process"):
        torch.autograd.grad(loss, weight, create_graph=True)


def test_gradients_that_may_be_differentiated_have_the_same_bits() -> None:
    model, (images, labels) = portable(network("mobilenet_v2")).train(), batch(2)
    parameters = list(model.parameters())
    loss = cross_entropy(model(images), labels)
    first, second = (
        torch.autograd.grad(loss, parameters, create_graph=create, retain_graph=True) for create in (True, False)
    )
    assert sha256([value.detach() for value in first]) == sha256(list(second))


def test_only_gradients_of_gradients_are_recorded() -> None:
    maps = MAPS.clone().requires_grad_()
    FACES["batch_norm"][0](maps, None, None, None).sum().backward()
    assert maps.grad is not None
    assert not maps.grad.requires_grad
    scores = values(2, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(scores, torch.tensor([0, 1])), scores, create_graph=True)
    assert gradient.requires_grad


@pytest.mark.parametrize("name", ["convolution, batch norm of evaluation", "losses", "softmax", "product"])
def test_a_function_without_gradients_refuses_a_tangent(name: str) -> None:
    ours, _, tensors = FACES[name]
    for place, given in enumerate(tensors):
        if given.is_floating_point():
            with pytest.raises(ValueError, match="a tensor with a tangent"):
                tangent_of(lambda one: ours(*tensors[:place], one, *tensors[place + 1 :]), given)  # noqa: B023


@pytest.mark.parametrize("name", ["losses", "softmax"])
def test_a_function_without_gradients_refuses_scores_that_require_one(name: str) -> None:
    ours, _, (scores, *others) = FACES[name]
    leaf = scores.clone().requires_grad_()
    with pytest.raises(ValueError, match=f"portable arithmetic has no gradient of {name}"):
        ours(leaf, *others)
    with torch.no_grad():
        assert torch.equal(ours(leaf, *others), ours(scores, *others))


def test_a_fork_has_a_second_derivative() -> None:
    maps = MAPS.clone().requires_grad_()
    first, second = fork(maps)
    (gradient,) = torch.autograd.grad((first * second).sum(), maps, create_graph=True)
    assert torch.equal(gradient, 2 * maps)
    assert torch.equal(torch.autograd.grad(gradient.sum(), maps)[0], torch.full_like(maps, 2))
