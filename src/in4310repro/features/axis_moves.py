"""Channel axes of tensors, and how functions that move, join or reshape axes change them."""

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class Convention:
    """Assumption that channels are on axis 1 of images or the last of tokens; `modules` were measured by it."""

    modules: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Axes:
    """Axes on which a tensor has its channels: none, one, or several after a split into heads or groups."""

    axes: frozenset[int]
    convention: Convention | None = None  # where no layer has said so

    def on(self, axes: Iterable[int]) -> "Axes":
        """Return a copy with the axis numbers `axes`; the field `convention` is copied unchanged."""
        return Axes(frozenset(axes), self.convention)


@dataclass(frozen=True)
class Call:
    """Call of a torch function, with one of the tensors that it returned."""

    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    output: Tensor
    position: int  # in the tuple that was returned; else 0
    look_up: Callable[[Tensor], Axes | None]  # None: not known
    is_constant: Callable[[Tensor], bool]  # whether a tensor does not depend on the images

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """Return the argument at position `place` or with this name; the default if it was not given."""
        return self.arguments[place] if place < len(self.arguments) else self.keywords.get(name, default)

    @functools.cached_property
    def tensors(self) -> list[Tensor]:
        """Tensors among the arguments and in lists of arguments, except the argument `out`."""
        values = [*self.arguments, *(value for name, value in self.keywords.items() if name != "out")]
        flat = [part for value in values for part in (value if isinstance(value, list | tuple) else (value,))]
        return [value for value in flat if isinstance(value, Tensor)]

    @property
    def first(self) -> Axes | None:
        """Channel axes of the first tensor; None if unknown."""
        return self.look_up(self.tensors[0])


Rule = Callable[[Call], Axes | None]


def keep(call: Call) -> Axes | None:
    """Return the channel axes of the first tensor, for a function that keeps the order of axes.

    If the result has additional leading axes, the axis numbers are increased by the number of these axes.
    """
    given, more = call.first, call.output.ndim - call.tensors[0].ndim
    return None if given is None or more < 0 else given.on(axis + more for axis in given.axes)


def combine(call: Call) -> Axes | None:
    """Return the channel axes on which all arguments agree after broadcasting; None if they disagree."""
    known = []
    for tensor in call.tensors:
        given, more = call.look_up(tensor), call.output.ndim - tensor.ndim
        if given is None or more < 0:
            continue
        # An axis of size 1 that is repeated holds no channels of the result.
        axes = [a + more for a in given.axes if tensor.shape[a] == call.output.shape[a + more]]
        known.append(given.on(axes))
    return _agree(known)


def join(call: Call) -> Axes | None:
    """Return the channel axes on which all tensors given to torch.cat agree; None if they disagree."""
    return _agree([given for tensor in call.tensors if (given := call.look_up(tensor)) is not None])


def _agree(known: list[Axes]) -> Axes | None:
    said = [each for each in known if each.convention is None and each.axes] or [each for each in known if each.axes]
    if len({each.axes for each in said}) > 1:
        return None
    return said[0] if said else known[0] if known else None


def stack(call: Call) -> Axes | None:
    """Return the channel axes after torch.stack, which inserts an axis; None if the tensors' axes differ."""
    new = call.argument(1, "dim", 0) % call.output.ndim
    given = [known for tensor in call.tensors if (known := call.look_up(tensor)) is not None]
    if not given or len({each.axes for each in given}) > 1:
        return None
    return given[0].on(axis + (axis >= new) for axis in given[0].axes)


def move(order: Callable[[Call], Sequence[int | None] | None]) -> Rule:
    """Return a rule for functions that reorder axes.

    For a call, `order` returns a list: axis i of the result is axis list[i] of the first tensor. An entry None
    stands for a new axis.
    """

    def rule(call: Call) -> Axes | None:
        given, sources = call.first, order(call)
        if given is None or sources is None or len(sources) != call.output.ndim:
            return None
        return given.on(place for place, source in enumerate(sources) if source in given.axes)

    return rule


def permute_order(call: Call) -> Sequence[int]:
    """Return the axis order of permute, called as permute(2, 0, 1) or permute((2, 0, 1))."""
    dims: Sequence[Any] = call.arguments[1:] or (call.keywords["dims"],)
    dims = dims[0] if isinstance(dims[0], list | tuple) else dims
    return [dim % call.tensors[0].ndim for dim in dims]


def transpose_order(call: Call) -> Sequence[int]:
    """Return the axis order of transpose, which swaps two axes."""
    order = list(range(call.tensors[0].ndim))
    one = call.argument(1, "dim0", call.keywords.get("axis0"))
    other = call.argument(2, "dim1", call.keywords.get("axis1"))
    order[one], order[other] = order[other], order[one]
    return order


def movedim_order(call: Call) -> Sequence[int]:
    """Return the axis order of movedim, for one axis or several."""
    ndim = call.tensors[0].ndim
    source, destination = call.argument(1, "source"), call.argument(2, "destination")
    sources, destinations = (
        [dim % ndim for dim in ([dims] if isinstance(dims, int) else dims)] for dims in (source, destination)
    )
    order = [axis for axis in range(ndim) if axis not in sources]
    for place, axis in sorted(zip(destinations, sources, strict=True)):
        order.insert(place, axis)
    return order


def matrix_transpose_order(call: Call) -> Sequence[int]:
    """Return the axis order of mT, which swaps the last two axes."""
    order = list(range(call.tensors[0].ndim))
    return [*order[:-2], *order[:-3:-1]]


def reverse_order(call: Call) -> Sequence[int]:
    """Return the axis order of T, which reverses the axes."""
    return list(range(call.tensors[0].ndim))[::-1]


def select_order(call: Call) -> Sequence[int]:
    """Return the axis order of select or unbind, which removes one axis."""
    order = list(range(call.tensors[0].ndim))
    del order[call.argument(1, "dim", 0)]
    return order


def squeeze_order(call: Call) -> Sequence[int]:
    """Return the axis order of squeeze, which removes axes of size 1."""
    shape, dims = call.tensors[0].shape, call.argument(1, "dim")
    dims = range(len(shape)) if dims is None else [dims] if isinstance(dims, int) else dims
    gone = {dim % len(shape) for dim in dims if shape[dim] == 1}
    return [axis for axis in range(len(shape)) if axis not in gone]


def unsqueeze_order(call: Call) -> Sequence[int | None]:
    """Return the axis order of unsqueeze, with None for the new axis."""
    order: list[int | None] = list(range(call.tensors[0].ndim))
    order.insert(call.argument(1, "dim") % call.output.ndim, None)
    return order


def index_order(call: Call) -> Sequence[int | None] | None:
    """Return the axis order of an indexed tensor x[...].

    The result is None if the index contains a list or tensor that is not a flat list of integers, such as a mask.
    """
    index = call.arguments[1]
    index = index if isinstance(index, tuple) else (index,)
    used = sum(item is not None and item is not Ellipsis for item in index)
    rest, axis = call.tensors[0].ndim - used, 0
    order: list[int | None] = []
    for item in (*index, Ellipsis):
        if item is Ellipsis:
            order += range(axis, axis + rest)
            axis, rest = axis + rest, 0
        elif item is None:
            order.append(None)
        elif isinstance(item, slice) or _is_list_of_numbers(item):
            order, axis = [*order, axis], axis + 1
        elif isinstance(item, int) and not isinstance(item, bool):
            axis += 1
        else:
            return None
    return order


def _is_list_of_numbers(item: object) -> bool:
    if isinstance(item, Tensor):
        return item.ndim == 1 and item.dtype not in (torch.bool, torch.uint8)
    return isinstance(item, list | range) and all(type(each) is int for each in item)


def reshape(call: Call) -> Axes | None:
    """Return the channel axes after a reshape; None if channels share an axis with other values."""
    given = call.first
    if given is None:
        return None
    axes = regroup(tuple(call.tensors[0].shape), given.axes, tuple(call.output.shape))
    return None if axes is None else given.on(axes)


def regroup(shape: Sequence[int], axes: frozenset[int], new: Sequence[int]) -> frozenset[int] | None:
    """Return the axes of the shape `new` that correspond to the axes `axes` of `shape`.

    The result is None if the reshape merges these axes with other axes, or if the shapes have different numbers
    of values, as after view(dtype).

    Examples:
        >>> sorted(regroup((2, 49, 96), frozenset({2}), (2, 49, 3, 4, 8)))
        [2, 3, 4]
        >>> regroup((2, 8, 7, 7), frozenset({1}), (2, 392)) is None
        True
    """
    if 0 in shape:
        return axes if tuple(shape) == tuple(new) else None
    if math.prod(shape) != math.prod(new):
        return None
    result: set[int] = set()
    i = j = 0
    while i < len(shape) and j < len(new):
        olds, news, one, other = [i], [j], shape[i], new[j]
        while one != other:
            if one < other:
                olds.append(olds[-1] + 1)
                one *= shape[olds[-1]]
            else:
                news.append(news[-1] + 1)
                other *= new[news[-1]]
        marked = {axis in axes for axis in olds if shape[axis] > 1} or {axis in axes for axis in olds}
        if len(marked) > 1:
            return None
        if marked == {True}:
            result.update([axis for axis in news if new[axis] > 1] or news[:1])
        i, j = olds[-1] + 1, news[-1] + 1
    return frozenset(result)
