"""Access to tensors and other values inside nested inputs and outputs of modules, with their paths."""

import dataclasses
from collections.abc import Iterator, Mapping

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

# Constants beside tensors, which are not measured.
CONSTANTS = (type(None), bool, int, float, complex, str, bytes)


def children(value: object) -> list[tuple[str, object]] | None:
    """Return the parts of a container with their paths, as `[key]`, `.field` or `[0]`; None for any other value."""
    if isinstance(value, Tensor | PackedSequence):
        return None
    if isinstance(value, Mapping):
        return [(f"[{key}]", part) for key, part in value.items()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f".{field.name}", getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, tuple | list):
        return [(f"[{position}]", part) for position, part in enumerate(value)]
    return None


def iterate_values(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield each value that is neither container nor constant, with its path: "", "[0]", "[hidden][1]", ".logits"."""
    parts = children(value)
    if parts is not None:
        for step, part in parts:
            yield from iterate_values(part, path + step)
    elif not isinstance(value, CONSTANTS):
        yield path, value
