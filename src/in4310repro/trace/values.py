"""Values of chosen tensors, kept beside a trace, and the elements in which two of them differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class ElementDifference:
    """The elements in which two tensors of a shape and dtype differ."""

    differing: int
    elements: int
    largest_ulps: int | None  # None for integers and NaN
    where: tuple[int, ...]  # index of the element with the largest difference
    first: float  # its values
    second: float
    first_index: tuple[int, ...]  # the first differing element in the order of the axes
    by_axis: tuple[int, ...]  # number of indices of each axis with a differing element


def values_file(trace: Path, step: int) -> Path:
    """Return the file beside a trace that holds the kept values of a step."""
    return trace.with_name(f"{trace.name}.step{step}.npz")


class KeptValues:
    """Collects the wanted tensors of the steps of a trace."""

    def __init__(self, trace: Path, wanted: Sequence[Mapping[str, Any]]) -> None:
        self._trace = trace
        self._wanted: dict[int, set[str]] = {}
        for each in wanted:
            step, names = each.get("step"), each.get("tensors")
            if type(step) is not int or isinstance(names, str) or not names or set(each) != {"step", "tensors"}:
                raise ValueError(f'keep is {each}; {{"step": NUMBER, "tensors": [NAME, ...]}} was expected')
            self._wanted.setdefault(step, set()).update(names)
        self._found: dict[str, Tensor] = {}

    def keep(self, step: int, name: str, values: Tensor) -> None:
        """Copy a tensor's values, if they are wanted."""
        if name in self._wanted.get(step, ()):
            self._found[name] = values.detach().resolve_conj().resolve_neg().cpu().contiguous().clone()

    def write(self, step: int) -> None:
        """Write the values of a step.

        Raises:
            ValueError: the step has no tensor of a wanted name.
        """
        if step not in self._wanted:
            return
        if missing := sorted(self._wanted[step] - set(self._found)):
            raise ValueError(f"step {step} has no tensor {', '.join(missing)}; `in4310repro diff` prints the names")
        layout = {name: [str(each.dtype).removeprefix("torch."), list(each.shape)] for name, each in self._found.items()}
        arrays = {f"tensor{i}": _octets(each) for i, each in enumerate(self._found.values())}
        text = np.frombuffer(json.dumps(layout).encode(), dtype=np.uint8)
        with values_file(self._trace, step).open("wb") as file:
            np.savez(file, layout=text, **arrays)
        self._found.clear()


def _octets(values: Tensor) -> np.ndarray[Any, Any]:
    return values.reshape(-1).view(torch.uint8).numpy() if values.numel() else np.zeros(0, np.uint8)


def read_values(trace: Path, step: int) -> dict[str, Tensor]:
    """Read the kept values of a step.

    Raises:
        ValueError: there are none, or the file is damaged.
    """
    file = values_file(trace, step)
    if not file.is_file():
        raise ValueError(f'{file} is not there; record it with keep={{"step": {step}, "tensors": [...]}}')
    try:
        with np.load(file, allow_pickle=False) as content:
            layout = json.loads(bytes(content["layout"]))
            found = {}
            for i, (name, (dtype, shape)) in enumerate(layout.items()):
                octets = torch.from_numpy(np.array(content[f"tensor{i}"]))
                found[str(name)] = octets.view(getattr(torch, dtype)).reshape(shape)
            return found
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, OSError, EOFError) as error:
        raise ValueError(f"{file} holds no values of a trace: {error}") from error


def ordered(values: Tensor) -> Tensor:
    """Return integers that count representable numbers, so that neighbours differ by one; 0 for both zeros.

    Examples:
        >>> ordered(torch.tensor([1.0, 1.0000001, -0.0, 0.0])).diff().tolist()
        [1, -1065353217, 0]
    """
    bits = values.contiguous().view(_INTEGERS[values.element_size()]).long()
    lowest = -(2 ** (8 * values.element_size() - 1))
    return torch.where(bits < 0, lowest - bits, bits)


def compare_values(first: Tensor, second: Tensor) -> ElementDifference | None:
    """Return the elements in which two tensors differ; None if their bits are equal.

    Raises:
        ValueError: shapes or dtypes differ.
    """
    if first.shape != second.shape or first.dtype != second.dtype:
        kinds = " and ".join(f"{each.dtype} of shape {tuple(each.shape)}" for each in (first, second))
        raise ValueError(f"{kinds} have no elements to compare; the same dtype and shape is needed")
    integers = _INTEGERS[first.element_size()] if not first.is_complex() else torch.int64
    differs = first.reshape(-1).view(integers) != second.reshape(-1).view(integers)
    if not bool(differs.any()):
        return None
    positions = differs.nonzero()[:, 0]
    ulps: int | None = None
    if first.is_floating_point():
        a, b = (each.reshape(-1)[positions] for each in (first, second))
        distance = (ordered(a) - ordered(b)).abs()
        known = a.isfinite() & b.isfinite()
        ulps = int(distance[known].max()) if bool(known.any()) else None
        farthest = int(positions[torch.where(known, distance, -1).argmax()])
    else:
        farthest = int(positions[(first.reshape(-1)[positions].double() - second.reshape(-1)[positions].double()).abs().argmax()])
    index = np.unravel_index(positions.numpy(), tuple(first.shape) or (1,))
    shape = tuple(first.shape) or (1,)
    return ElementDifference(
        differing=len(positions),
        elements=first.numel(),
        largest_ulps=ulps,
        where=tuple(int(each) for each in np.unravel_index(farthest, shape)),
        first=float(first.reshape(-1)[farthest]),
        second=float(second.reshape(-1)[farthest]),
        first_index=tuple(int(each[0]) for each in index),
        by_axis=tuple(len(np.unique(each)) for each in index),
    )
