"""Rules that give the channel axis of the result of a layer or function."""

import functools
import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from in4310repro.features import axis_moves as moves
from in4310repro.features.axis_moves import Axes, Call, Rule, combine, join, keep, reshape, stack

# Classes whose code is known; a subclass with its own forward() may do anything.
KNOWN_CODE = ("torch.nn.", "torch.ao.nn.", "in4310repro.arithmetic.")
# Modules with channels on the last axis, by the names of torch's classes.
LAST = {
    *("Linear", "Bilinear", "Embedding", "EmbeddingBag", "RNN", "LSTM", "GRU", "MultiheadAttention", "Transformer"),
    *("TransformerEncoder", "TransformerEncoderLayer", "TransformerDecoder", "TransformerDecoderLayer"),
}
SECOND = re.compile(
    r"(?:Sync)?BatchNorm(?:[123]d)?|InstanceNorm[123]d|GroupNorm|LocalResponseNorm|ChannelShuffle|Upsample|Fold|Unfold"
)
# Layers by their number of axes after the channel axis.
BEFORE_SPACE = re.compile(r"(?:Conv|ConvTranspose|\w*Pool|MaxUnpool)([123])d")


class ContradictionError(ValueError):
    """Error for a layer whose channel axis contradicts the axis assumed in earlier measurements."""


def reduce(call: Call) -> Axes | None:
    """Return the channel axes that remain after a reduction, such as a sum or mean, of the first tensor."""
    given, ndim = call.first, call.tensors[0].ndim
    if given is None:
        return None
    dims = call.argument(1, "dim", call.keywords.get("axis"))
    if dims is None or isinstance(dims, Tensor):
        return given.on(()) if call.output.ndim == 0 else None
    gone = {dim % ndim for dim in ([dims] if isinstance(dims, int) else dims)}
    if call.output.ndim == ndim:
        return given.on(given.axes - gone)
    left = [axis for axis in range(ndim) if axis not in gone]
    return given.on(place for place, axis in enumerate(left) if axis in given.axes)


def produce(axis: int, *, if_unknown: bool = False) -> Rule:
    """Return a rule for layers with channels on the same axis of input and output.

    Args:
        axis: the axis, counted from the start or, if negative, from the end.
        if_unknown: if True and the input's channel axes are known, the output has these axes instead of `axis`.
    """

    def rule(call: Call) -> Axes | None:
        if if_unknown and (given := keep(call)) is not None and given.axes:
            return given
        if call.output.ndim < 2:
            return None
        check_convention(call.first, call.tensors[0], axis % call.tensors[0].ndim)
        return Axes(frozenset({axis % call.output.ndim}))

    return rule


def check_convention(given: Axes | None, tensor: Tensor, axis: int) -> None:
    """Raise ContradictionError if a layer takes its channels from a different axis than was assumed.

    The error is raised only if modules were already measured with the assumption, since their results would then
    be wrong. `given` holds the assumed channel axes of the layer's input `tensor`, and `axis` is the axis that
    the layer uses.
    """
    if given is None or given.convention is None or not given.convention.modules:
        return
    if axis not in given.axes and (given.axes or tensor.ndim == 2):
        name = given.convention.modules[0]
        raise ContradictionError(
            f"module {name!r} was measured as what the model is given: images with channels on axis 1, tokens with "
            f"channels on the last; a layer that follows takes them from axis {axis} of shape "
            f"{tuple(tensor.shape)}: channel_axis={{{name!r}: AXIS}} says which it is"
        )


def normalise(call: Call) -> Axes | None:
    """Return the channel axis after layer_norm or rms_norm.

    If one axis is normalised, the channel axis is the last axis. If several axes are normalised, the channel axis
    is that of the input. The result is None if earlier layers show that the last axis does not hold the channels.
    """
    shape = call.argument(1, "normalized_shape")
    if not isinstance(shape, int) and len(shape) != 1:
        return keep(call)
    given, last = call.first, call.output.ndim - 1
    if given is not None and given.convention is None and len(given.axes) == 1 and last not in given.axes:
        return None
    check_convention(given, call.tensors[0], last)
    return Axes(frozenset({last}))


def unfold(call: Call) -> Axes | None:
    """Return the channel axes after `unfold`.

    Tensor.unfold appends an axis of windows and keeps the channel axes; functional.unfold puts all channels on
    axis 1.
    """
    if call.output.ndim == call.tensors[0].ndim + 1:
        return call.first
    return Axes(frozenset({1}))


def attend(call: Call) -> Axes | None:
    """Return the channel axes of attention's output: those of its argument `value`."""
    return call.look_up(call.argument(2, "value"))


def attention_and_weights(call: Call) -> Axes | None:
    """Return the channel axis of a result of multi-head attention.

    It is the last axis for the first result, the output, and None for the second result, the attention weights.
    """
    return None if call.position else Axes(frozenset({call.output.ndim - 1}))


def multiply(call: Call) -> Axes | None:
    """Return the channel axes of a matrix product, derived from those of its two factors."""
    one, other = call.tensors[-2:]
    letters = "abcdefghijklmnop"
    if min(one.ndim, other.ndim) < 2:
        return None
    first, second = letters[-one.ndim + 1 :][: one.ndim - 2] + "yz", letters[-other.ndim + 1 :][: other.ndim - 2] + "zx"
    common = max(first[:-2], second[:-2], key=len)
    return _contract(call, [first, second], f"{common}yx", [one, other])


def sum_products(call: Call) -> Axes | None:
    """Return the channel axes of einsum's result; None if the equation has no `->` or has an ellipsis."""
    equation = call.arguments[0]
    if not isinstance(equation, str) or "->" not in equation or "." in equation:
        return None
    operands, result = equation.replace(" ", "").split("->")
    return _contract(call, operands.split(","), result, call.tensors)


def _contract(call: Call, operands: list[str], result: str, tensors: Sequence[Tensor]) -> Axes | None:
    """Return the channel axes of an einsum's result. Constant factors are treated as weights of a layer.

    The sum with weights is expected to run over the channels of the input. If the input's channel axis is only an
    assumption and this sum runs over a different axis, that axis may hold channels or positions. The result is
    then None. `operands` and `result` are the terms before and after the `->` of the equation.
    """
    constants = "".join(letters for letters, tensor in zip(operands, tensors, strict=True) if call.is_constant(tensor))
    held: set[str] = set()
    of_images: set[str] = set()
    conventions = []
    for letters, tensor in zip(operands, tensors, strict=True):
        if call.is_constant(tensor):
            continue
        given = call.look_up(tensor)
        if given is None or len(letters) != tensor.ndim:
            return None
        summed = [axis for axis, letter in enumerate(letters) if letter in constants and letter not in result]
        if given.convention is not None and summed and given.axes.isdisjoint(summed):
            check_convention(given, tensor, summed[-1])
            return None
        of_images.update(letters)
        held.update(letters[axis] for axis in given.axes)
        conventions.append(given.convention)
    if not conventions:
        return None
    if held - set(result):
        held.update(set(result) - of_images)
    convention = conventions[0] if all(conventions) else None
    return Axes(frozenset(place for place, letter in enumerate(result) if letter in held), convention)


def _names(names: str, rule: Rule) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


RULES: dict[str, Rule] = {
    **_names(
        "alpha_dropout as_subclass bfloat16 bernoulli broadcast_to celu chunk contiguous cpu cuda cumprod cumsum data "
        "dequantize detach double dropout dropout1d dropout2d dropout3d expand expand_as exponential "
        "feature_alpha_dropout feature_dropout fill flip float glu gumbel_softmax half hardsigmoid hardswish "
        "index_select local_response_norm log_sigmoid log_softmax narrow normal normalize pad prelu "
        "quantize_per_tensor repeat requires_grad roll silu softmax softmin softsign sort split split_with_sizes "
        "tanhshrink tensor_split tile to topk tril triu type type_as uniform zero",
        keep,
    ),
    **_names("cat concat concatenate", join),
    **_names("copy rdiv rfloordiv rmod rmul rpow rtruediv where floor_divide", combine),
    "stack": stack,
    "permute": moves.move(moves.permute_order),
    **_names("transpose swapaxes swapdims", moves.move(moves.transpose_order)),
    **_names("movedim moveaxis", moves.move(moves.movedim_order)),
    **_names("t mT mH adjoint", moves.move(moves.matrix_transpose_order)),
    **_names("T H", moves.move(moves.reverse_order)),
    **_names("select unbind", moves.move(moves.select_order)),
    "squeeze": moves.move(moves.squeeze_order),
    "unsqueeze": moves.move(moves.unsqueeze_order),
    "getitem": moves.move(moves.index_order),
    **_names("reshape view view_as reshape_as flatten unflatten ravel _unsafe_view", reshape),
    **_names("mean sum amax amin max min std var median norm logsumexp prod nanmean nansum vector_norm", reduce),
    **_names("linear bilinear embedding", produce(-1)),
    **_names("batch_norm instance_norm group_norm channel_shuffle native_channel_shuffle", produce(1)),
    **_names("interpolate upsample grid_sample fold deform_conv2d", produce(1, if_unknown=True)),
    **_names("pixel_shuffle pixel_unshuffle", produce(-3)),
    **_names("layer_norm rms_norm", normalise),
    "unfold": unfold,
    "scaled_dot_product_attention": attend,
    "multi_head_attention_forward": attention_and_weights,
    **_names("matmul bmm mm baddbmm addmm", multiply),
    "einsum": sum_products,
}
# Functions by their number of axes after the channel axis.
SPATIAL = re.compile(r"conv(?:_transpose)?([123])d|\w*_(?:un)?pool([123])d(?:_with_indices)?")


@functools.cache
def rule_of(name: str) -> Rule | None:
    """Return the rule for a torch function by name (`__iadd__` counts as `add`); None if there is no rule."""
    name = name if name.startswith("_unsafe") else name.strip("_")
    if spatial := SPATIAL.fullmatch(name):
        axis = -1 - int(spatial[1] or spatial[2])
        return produce(axis, if_unknown="pool" in name)
    for short in (name, name[1:] if name[:1] == "i" else name):
        if short in RULES:
            return RULES[short]
        packet = getattr(torch.ops.aten, short, None)
        if packet is not None and any(torch.Tag.pointwise in getattr(packet, o).tags for o in packet.overloads()):
            return combine
    return None


def own_axis(module: nn.Module, path: str, ndim: int) -> int | None:
    """Return the channel axis that a layer's definition fixes; None if it depends on the input.

    Args:
        module: the layer.
        path: the path of the output within the value that the layer returned.
        ndim: the output's number of axes.
    """
    if ndim < 2 or path not in ("", "[0]") or not _runs_known_code(module):
        return None
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        return ndim - 1 if len(module.normalized_shape) == 1 else None
    for kind in type(module).__mro__:
        name = kind.__name__ if kind.__module__.startswith("torch.") else ""
        if name in LAST:
            return ndim - 1
        if SECOND.fullmatch(name):
            return 1
        if name in ("PixelShuffle", "PixelUnshuffle"):
            return ndim - 3
        if spatial := BEFORE_SPACE.fullmatch(name):
            return ndim - 1 - int(spatial[1])
    portable = _place_of_code(module) == "in4310repro.arithmetic.networks"
    # Blocks of torchvision's networks for maps [image, channel, height, width], whose sums no function of torch shows.
    return 1 if portable and ndim == 4 and not isinstance(module, nn.Sequential) else None


def _runs_known_code(module: nn.Module) -> bool:
    return "forward" not in vars(module) and _place_of_code(module).startswith(KNOWN_CODE)


def _place_of_code(module: nn.Module) -> str:
    """Return the name of the Python module that defines a module's forward(); empty for a traced program."""
    forward = next(vars(kind)["forward"] for kind in type(module).__mro__ if "forward" in vars(kind))
    return str(getattr(forward, "__module__", ""))
