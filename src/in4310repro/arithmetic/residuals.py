"""Inverted residuals in evaluation: one call of a kernel for each, prepared once for a block and a shape of maps."""

import weakref
from collections.abc import Container, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._C import _are_functorch_transforms_active

from in4310repro.arithmetic import buffers, functions, library, products
from in4310repro.arithmetic.layers import BatchNorm2d, Conv2d, Conv2dSame, ReLU6

# Attributes of a layer that its results depend on, besides tensors.
SETTINGS: dict[type[nn.Module], tuple[str, ...]] = {
    Conv2d: ("stride", "padding", "dilation", "groups", "padding_mode"),
    BatchNorm2d: ("training", "eps"),
    ReLU6: ("min_val", "max_val"),
}
SETTINGS[Conv2dSame] = SETTINGS[Conv2d]
LEAVES = [*SETTINGS][:3]  # of an expansion or a depth-wise convolution; a projection has no activation
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Plan(NamedTuple):
    """A call of the kernel that is prepared for a block and a shape of maps.

    Attributes:
        modules: the parts of the block, and then all modules in them, each once.
        state: what the call depends on: the number of threads, the maps' shape, and the state of each module.
        passed: the arguments for ctypes; None if the kernel does not support the modules or maps.
        sizes: shape of the result.
        kept: packed weights. The kernel packs again when a hash of the weights has changed: no edit goes unnoticed.
    """

    modules: list[nn.Module]
    state: list[Any]
    passed: list[Any] | None = None
    sizes: tuple[int, ...] = ()
    kept: Tensor | None = None


_plans = weakref.WeakKeyDictionary[nn.Module, Plan]()
_places = {each.name: place for place, each in enumerate(library.SIGNATURES["inverted_residual"].parameters)}


def is_observed(module: nn.Module) -> bool:
    """Return whether a hook, or a forward() assigned to this module object, can see the module's inputs or outputs."""
    own, everywhere = vars(module), vars(torch.nn.modules.module)
    return "forward" in own or any(own[name] or everywhere[f"_global{name}"] for name in HOOKS)


def evaluate(
    block: nn.Module, maps: Tensor, adds: bool, parts: Sequence[nn.Module], sequences: Container[type]
) -> Tensor | None:
    """Compute expansion, which may be missing, depth-wise convolution and projection of a block in one function.

    The maps between them stay in the cache, a strip of rows at a time; the bits are those of one layer after the other.

    Args:
        block: the block, for which the call is kept.
        maps: float32 [image, channel, height, width].
        adds: whether the maps are added to the result.
        parts: the block's convolutions, batch norms and ReLU6 in their order, or sequences of them.
        sequences: types of modules that pass maps through all that they hold.

    Returns:
        The result; None where layers have to be computed one by one: in training, where gradients are recorded, if a
        hook needs an intermediate result, or if the kernel does not support the layers or the tensors.
    """
    if torch.is_grad_enabled() or _are_functorch_transforms_active() or not library.is_plain(maps, torch.float32):
        return None
    plan = _plans.get(block)
    if plan is None or plan.modules[: len(parts)] != [*parts] or plan.state != _state(maps, adds, plan.modules):
        modules = [*dict.fromkeys((*parts, *(each for part in parts for each in part.modules())))]
        plan = _plans[block] = _prepare(
            Plan(modules, _state(maps, adds, modules)), maps, adds, _leaves(parts, sequences)
        )
    if plan.passed is None:
        return None
    passed, result = [*plan.passed], buffers.maps(plan.sizes)
    passed[_places["maps"]], passed[_places["result"]] = maps.data_ptr(), result.data_ptr()
    return None if library.library().functions["inverted_residual"](*passed) else result


def _state(maps: Tensor, adds: bool, modules: Sequence[nn.Module]) -> list[Any]:
    """Return what the result of modules depends on besides the values of tensors: cheaper than to prepare a call."""
    everywhere = vars(torch.nn.modules.module)
    state = [torch.get_num_threads(), maps.shape, adds, *[not everywhere[f"_global{name}"] for name in HOOKS]]
    for module in modules:
        kind, own = type(module), vars(module)
        state += kind, "forward" in own or "_conv_forward" in own, *own["_modules"].values()
        state += [not own[name] for name in HOOKS]
        state += [own[name] for name in SETTINGS.get(kind, ())]
        for tensors in (own["_parameters"], own["_buffers"]):
            for value in tensors.values():
                if value is not None and value.ndim:
                    state += value.data_ptr(), value.shape, value.stride(), value.dtype
    return state


def _leaves(modules: Iterable[nn.Module], sequences: Container[type]) -> list[nn.Module]:
    """Return the layers in modules in their order; modules that are observed or of another kind are among them."""
    leaves = list[nn.Module]()
    for module in modules:
        opens = type(module) in sequences and not is_observed(module)
        leaves += _leaves(module.children(), sequences) if opens else [module]
    return leaves


def _prepare(plan: Plan, maps: Tensor, adds: bool, leaves: Sequence[nn.Module]) -> Plan:
    sizes, shapes, tensors = tuple(maps.shape), list[library.Shape](), list[library.Maybe]()
    kinds = [Conv2d if type(each) is Conv2dSame else type(each) for each in leaves]
    if kinds not in ([*LEAVES, *LEAVES[:2]], [*LEAVES, *LEAVES, *LEAVES[:2]]) or any(map(is_observed, leaves)):
        return plan
    norms: Any = leaves[1::3]
    for convolution, norm in zip(leaves[::3], norms, strict=True):
        weight, bias, *geometry = convolution.arguments(maps)  # type: ignore[operator]
        if bias is not None or norm.training or norm.running_mean is None or norm.eps != norms[0].eps:
            return plan
        shapes.append(products.shape_of(sizes, tuple(weight.shape), *geometry))
        sizes = products.result_sizes(shapes[-1])
        tensors += [weight, norm.weight, norm.bias, norm.running_mean, norm.running_var]
    pointwise, depthwise = [shapes[-1], *shapes[:-2]], shapes[-2]
    fits = all(
        [getattr(each, name) for name in library.FIELDS[5:]] == [1, 1, 1, 1, 0, 0, 0, 0, 1] for each in pointwise
    )
    # A few rows for each thread would be expanded twice.
    few = depthwise.images < (threads := torch.get_num_threads()) and depthwise.height < 8 * depthwise.kernel_height
    if not fits or few or not depthwise.groups == depthwise.channels == depthwise.outputs:
        return plan
    room = buffers.room_for(*(convolution.weight for convolution in leaves[::3]))  # type: ignore[arg-type]
    kept, form = buffers.memory_for_packed(room), functions.ACTIVATIONS["relu6"]
    numbers = (threads, depthwise, maps.shape[1], shapes[-1].outputs, form, int(adds), room, norms[0].eps)
    arguments = (*numbers, maps, *[None] * (15 - len(tensors)), *tensors, kept, buffers.maps(sizes))
    passed, copies = library.SIGNATURES["inverted_residual"].bind(arguments)
    # What is copied for the kernel would have to be copied for each call.
    return plan if copies else plan._replace(passed=passed, sizes=sizes, kept=kept)
