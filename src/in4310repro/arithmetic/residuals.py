"""Inverted residuals, each by one call of a kernel in each direction, prepared once for a block and a shape of maps."""

import functools
import math
import operator
import weakref
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._C import _are_functorch_transforms_active

from in4310repro.arithmetic import buffers, functions, library, products, shares
from in4310repro.arithmetic.layers import BatchNorm2d, Conv2d, Conv2dSame, ReLU6
from in4310repro.arithmetic.signatures import address

# Attributes of a layer that its results depend on, besides tensors.
SETTINGS: dict[type[nn.Module], tuple[str, ...]] = {
    Conv2d: ("stride", "padding", "dilation", "groups", "padding_mode"),
    BatchNorm2d: ("training", "eps", "momentum", "track_running_stats"),
    ReLU6: ("min_val", "max_val"),
}
SETTINGS[Conv2dSame] = SETTINGS[Conv2d]
LEAVES = [*SETTINGS][:3]  # of an expansion or a depth-wise convolution; a projection has no activation
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
# The values of these names in the dict of a module.
_hooks, _hooks_everywhere = (operator.itemgetter(*(f"{of}{name}" for name in HOOKS)) for of in ("", "_global"))
_settings = {kind: operator.itemgetter(*names) for kind, names in SETTINGS.items()}


Call = Callable[[Tensor], Tensor | None]


class Plan(NamedTuple):
    """A call of a kernel that is prepared for a block and a shape of maps.

    Attributes:
        modules: the parts of the block, and then all modules in them, each once.
        state: what the call depends on: the number of threads, the maps' shape, and the state of each module.
        call: from maps to the result; None if the kernels do not support the modules or maps.
    """

    modules: list[nn.Module]
    state: list[Any]
    call: Call | None


_plans = weakref.WeakKeyDictionary[nn.Module, Plan]()
_places = {each.name: place for place, each in enumerate(library.SIGNATURES["inverted_residual"].parameters)}


def is_observed(module: nn.Module) -> bool:
    """Return whether a hook, or a forward() assigned to this module object, can see the module's inputs or outputs."""
    own = vars(module)
    return "forward" in own or any(_hooks(own)) or any(_hooks_everywhere(vars(torch.nn.modules.module)))


def compute(
    block: nn.Module, maps: Tensor, adds: bool, parts: Sequence[nn.Module], sequences: Container[type]
) -> Tensor | None:
    """Compute expansion, which may be missing, depth-wise convolution and projection of a block in one function.

    In evaluation without gradients, the maps between them stay in the cache, a strip of rows at a time. The bits are
    those of one layer after the other.

    Args:
        block: the block, for which the call is kept.
        maps: float32 [image, channel, height, width].
        adds: whether the maps are added to the result.
        parts: the block's convolutions, batch norms and ReLU6 in their order, or sequences of them.
        sequences: types of modules that pass maps through all that they hold.

    Returns:
        The result; None where layers have to be computed one by one: in evaluation with gradients, where processes
        share a batch, if a hook needs an intermediate result, or if no kernel supports the layers or the tensors.
    """
    if _are_functorch_transforms_active() or shares.current().is_shared or not library.is_plain(maps, torch.float32):
        return None
    plan = _plans.get(block)
    if plan is None or plan.modules[: len(parts)] != [*parts] or plan.state != _state(maps, adds, plan.modules):
        modules = [*dict.fromkeys((*parts, *(each for part in parts for each in part.modules())))]
        call = _prepare(maps, adds, _leaves(parts, sequences))
        plan = _plans[block] = Plan(modules, _state(maps, adds, modules), call)
    return plan.call(maps) if plan.call else None


def _state(maps: Tensor, adds: bool, modules: Sequence[nn.Module]) -> list[Any]:
    """Return what the result of modules depends on besides the values of tensors: cheaper than to prepare a call."""
    everywhere = any(_hooks_everywhere(vars(torch.nn.modules.module)))
    state = [torch.get_num_threads(), recorded := torch.is_grad_enabled(), maps.shape, adds, everywhere]
    for module in modules:
        kind, own = type(module), vars(module)
        state += kind, "forward" in own, "_conv_forward" in own, any(_hooks(own)), *own["_modules"].values()
        if settings := _settings.get(kind):
            state.append(settings(own))
            for value in (*own["_parameters"].values(), *own["_buffers"].values()):
                # Batches are counted in training only.
                if value is not None and (value.ndim or recorded):
                    state += id(value), value.data_ptr(), value.shape, value.stride(), value.dtype
    return state


def _leaves(modules: Iterable[nn.Module], sequences: Container[type]) -> list[nn.Module]:
    """Return the layers in modules in their order; modules that are observed or of another kind are among them."""
    leaves = list[nn.Module]()
    for module in modules:
        opens = type(module) in sequences and not is_observed(module)
        leaves += _leaves(module.children(), sequences) if opens else [module]
    return leaves


def _prepare(maps: Tensor, adds: bool, leaves: Sequence[nn.Module]) -> Call | None:
    sizes, shapes = tuple(maps.shape), list[library.Shape]()
    kinds = [Conv2d if type(each) is Conv2dSame else type(each) for each in leaves]
    if kinds not in ([*LEAVES, *LEAVES[:2]], [*LEAVES, *LEAVES, *LEAVES[:2]]) or any(map(is_observed, leaves)):
        return None
    layers: Any = [*zip(leaves[::3], leaves[1::3], strict=True)]
    for convolution, _ in layers:
        weight, bias, *geometry = convolution.arguments(maps)
        if bias is not None:
            return None
        shapes.append(products.shape_of(sizes, tuple(weight.shape), *geometry))
        sizes = products.result_sizes(shapes[-1])
    (training, *_), *others = {_settings[BatchNorm2d](vars(norm)) for _, norm in layers}
    if others or training != torch.is_grad_enabled():
        return None
    return (_prepare_training if training else _prepare_evaluation)(maps, adds, layers, shapes)


def _prepare_evaluation(
    maps: Tensor, adds: bool, layers: Sequence[Any], shapes: Sequence[library.Shape]
) -> Call | None:
    tensors = list[library.Maybe]()
    for convolution, norm in layers:
        tensors += [convolution.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var]
        if norm.running_mean is None:
            return None
    pointwise, depthwise = [shapes[-1], *shapes[:-2]], shapes[-2]
    fits = all(
        [getattr(each, name) for name in library.FIELDS[5:]] == [1, 1, 1, 1, 0, 0, 0, 0, 1] for each in pointwise
    )
    # A few rows for each thread would be expanded twice.
    few = depthwise.images < (threads := torch.get_num_threads()) and depthwise.height < 8 * depthwise.kernel_height
    if not fits or few or not depthwise.groups == depthwise.channels == depthwise.outputs:
        return None
    room = buffers.room_for(*(convolution.weight for convolution, _ in layers))
    # The kernel packs again when a hash of the weights has changed: no edit goes unnoticed.
    kept, form = buffers.memory_for_packed(room), functions.ACTIVATIONS["relu6"]
    numbers = (threads, depthwise, maps.shape[1], shapes[-1].outputs, form, int(adds), room, layers[0][1].eps)
    sizes = products.result_sizes(shapes[-1])
    arguments = (*numbers, maps, *[None] * (15 - len(tensors)), *tensors, kept, buffers.maps(sizes))
    passed, copies = library.SIGNATURES["inverted_residual"].bind(arguments)
    # What is copied for the kernel would have to be copied for each call.
    return None if copies else functools.partial(_evaluate, passed, sizes, kept)


def _evaluate(prepared: Sequence[Any], sizes: tuple[int, ...], _kept: Tensor, maps: Tensor) -> Tensor | None:
    passed, result = [*prepared], buffers.maps(sizes)
    passed[_places["maps"]], passed[_places["result"]] = maps.data_ptr(), result.data_ptr()
    return None if library.library().functions["inverted_residual"](*passed) else result


class Trained(NamedTuple):
    """What stays the same in the calls that train a block; see training.cpp.

    Attributes:
        numbers: layers, sum, and how many values there are of maps, of what is kept, of channels, of the result.
        moving: momentum and epsilon of the norms.
        shapes: int64 [layer, field], a Shape for each convolution.
        addresses: int64 [6 x layer], of weight, the norm's weight and bias, running mean, variance and their count.
        sizes: shape of the result.
        largest: number of values of the largest map.
    """

    numbers: tuple[int, ...]
    moving: tuple[float, float]
    shapes: Tensor
    addresses: Tensor
    sizes: tuple[int, ...]
    largest: int


def _prepare_training(maps: Tensor, adds: bool, layers: Sequence[Any], shapes: Sequence[library.Shape]) -> Call | None:
    parameters, addresses = list[Tensor](), list[int]()
    for convolution, norm in layers:
        parameters += (own := [convolution.weight, norm.weight, norm.bias])
        addresses += [address(each, torch.float32) for each in (*own, norm.running_mean, norm.running_var)]
        addresses.append(address(norm.num_batches_tracked, torch.int64))
    sizes = [products.result_sizes(shape) for shape in shapes]
    single = any(math.prod(each) == each[1] for each in sizes)  # value per channel: it has no variance
    if not all(addresses) or norm.momentum is None or not norm.track_running_stats or single:
        return None
    # Each map in what is kept begins on a line of the cache.
    values = [-(-math.prod(each) // 16) * 16 for each in sizes]
    room, channels = sum(values) + sum(values[:-1]), sum(each[1] for each in sizes)
    numbers = len(sizes), int(adds), maps.numel(), room, channels, math.prod(sizes[-1])
    fields = torch.tensor([[getattr(shape, name) for name in library.FIELDS] for shape in shapes], device="cpu")
    places, moving = torch.tensor(addresses, device="cpu"), (float(norm.momentum), float(norm.eps))
    trained = Trained(numbers, moving, fields, places, sizes[-1], max(values))
    return lambda maps: _Training.apply(maps, trained, *parameters)


class _Training(functions.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, trained: Trained, *parameters: Tensor) -> Tensor:
        room, channels, _ = trained.numbers[-3:]
        kept, statistics = buffers.maps((room,)), buffers.empty(2 * channels, dtype=torch.float64)
        tensors = trained.shapes, trained.addresses, maps, kept, statistics, buffers.maps(trained.sizes)
        ctx.trained, ctx.shapes = trained, [each.shape for each in parameters]
        ctx.save_for_backward(maps, kept, statistics, *parameters)
        return library.call("train_layers", *trained.numbers, *trained.moving, *tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[library.Maybe, ...]:
        trained, needs = ctx.trained, ctx.needs_input_grad
        maps, kept, statistics, *parameters = ctx.saved_tensors
        own, gradients = list[Tensor](), list[library.Maybe]()
        for value, shape, needed in zip(parameters, ctx.shapes, needs[2:], strict=True):
            value = library.check("a saved parameter", value, torch.float32, shape)
            order = torch.channels_last if len(shape) == 4 else torch.contiguous_format
            own.append(value.contiguous(memory_format=order))
            # The kernel leaves out the gradients of weights that need none.
            gradients.append(buffers.maps(shape) if needed or len(shape) == 1 else None)
        addresses = [0 if each is None else each.data_ptr() for each in (*own, *gradients)]
        given = trained.shapes, torch.tensor(addresses, device="cpu"), maps, kept, statistics, gradient
        working = buffers.maps((3 * trained.largest,))
        result = buffers.maps(maps.shape) if needs[0] else None
        library.call("train_layers_backward", *trained.numbers, trained.largest, *given, working, result)
        return result, None, *gradients
