"""Values of chosen tensors, kept in a file beside a trace, and the elements in which two of them differ."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

SHOWN = 3  # differing elements that are listed
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class Element:
    """One differing element of two tensors: its index, its two values and their distance in ulps."""

    index: tuple[int, ...]
    first: float | int
    second: float | int
    ulps: int | None  # representable numbers between them; None: integers, or one is not finite


@dataclass(frozen=True)
class AxisRange:
    """Number and range of the indices along one axis at which elements differ."""

    size: int
    differing: int
    lowest: int
    highest: int


@dataclass(frozen=True)
class ElementDifference:
    """Summary of the elements in which two tensors differ; complex tensors get an extra axis of size two."""

    differing: int
    elements: int
    largest_ulps: int | None  # None for integers, and if no pair of differing elements is finite
    median_ulps: int | None  # the lower of two
    farthest: Element  # with the most ulps, for integers with the largest difference
    examples: tuple[Element, ...]  # the first ones in the order of the axes
    axes: tuple[AxisRange, ...]

    def describe(self) -> str:
        """Return sentences on the number, distance and positions of the differing elements."""
        shown = "; ".join(map(_show, self.examples))
        ulps = (
            ""
            if self.largest_ulps is None
            else f", by {self.median_ulps:,} ulps (median) to {self.largest_ulps:,} ulps"
        )
        where = ", ".join(
            f"axis {i}: {each.differing} of {each.size} ({each.lowest} to {each.highest})"
            for i, each in enumerate(self.axes)
        )
        return (
            f"{self.differing:,} of {self.elements:,} elements differ{ulps}. The first ones: {shown}. "
            f"The farthest: {_show(self.farthest)}. Indices with a difference: {where or 'the only element'}."
        )


def _show(element: Element) -> str:
    ulps = "" if element.ulps is None else f" ({element.ulps:,} ulps)"
    first, second = (f"{each:.9g}" if isinstance(each, float) else each for each in (element.first, element.second))
    return f"{list(element.index)} {first} and {second}{ulps}"


def values_file(trace: Path, step: int) -> Path:
    """Return the path of the file beside a trace that holds the kept tensor values of a step."""
    return trace.with_name(f"{trace.name}.step{step}.safetensors")


class KeptValues:
    """Collector of chosen tensors of a training; it writes one file for each step with such tensors.

    Raises:
        ValueError: a choice is not `{"step": NUMBER, "tensors": [NAME, ...]}`.
    """

    def __init__(self, trace: Path, wanted: Sequence[Mapping[str, Any]]) -> None:
        self._trace = trace
        self._wanted: dict[int, set[str]] = {}
        for each in wanted:
            step, names = each.get("step"), each.get("tensors")
            if type(step) is not int or isinstance(names, str) or not names or set(each) != {"step", "tensors"}:
                raise ValueError(f'keep is {each}; {{"step": NUMBER, "tensors": [NAME, ...]}} was expected')
            self._wanted.setdefault(step, set()).update(names)
        self._found: dict[str, Tensor] = {}

    def of_step(self, step: int) -> Callable[[str, Tensor], None] | None:
        """Return a function that stores copies of the tensors whose names were chosen for a step.

        Return None if no names were chosen for the step.
        """
        return functools.partial(self._keep, self._wanted[step]) if step in self._wanted else None

    def _keep(self, wanted: set[str], name: str, values: Tensor) -> None:
        if name in wanted:
            copied = values.detach().resolve_conj().resolve_neg().cpu().contiguous().clone()
            self._found[name] = torch.view_as_real(copied) if copied.is_complex() else copied

    def write(self, step: int) -> None:
        """Write the chosen tensors of a step to a file, if any were chosen for this step.

        Raises:
            ValueError: a tensor with a chosen name does not exist in the step.
        """
        if step not in self._wanted:
            return
        if missing := sorted(self._wanted[step] - set(self._found)):
            raise ValueError(f"step {step} has no tensor {', '.join(missing)}; `in4310repro diff` prints the names")
        from safetensors.torch import save_file

        save_file(self._found, values_file(self._trace, step))
        self._found.clear()


def read_values(trace: Path, step: int) -> dict[str, Tensor]:
    """Return the kept tensors of a step by name, read from the file beside the trace.

    Raises:
        ValueError: no tensors were kept for the step, or the file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    file = values_file(trace, step)
    if not file.is_file():
        raise ValueError(f'no values in {file}; record them with keep={{"step": {step}, "tensors": [NAME, ...]}}')
    try:
        return load(file.read_bytes())
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"{file} holds no values of a trace: {error}") from error


def ordered(values: Tensor) -> Tensor:
    """Map floats to integers such that neighbouring representable floats differ by one; both zeros give 0.

    Args:
        values: real floating-point numbers.

    Examples:
        >>> ordered(torch.tensor([-0.0, 0.0, 1.0, 1.0000001])).diff().tolist()
        [0, 1065353216, 1]
    """
    bits = values.contiguous().view(_INTEGERS[values.element_size()]).long()
    lowest = -(2 ** (8 * values.element_size() - 1))
    return torch.where(bits < 0, lowest - bits, bits)


def compare_values(first: Tensor, second: Tensor) -> ElementDifference | None:
    """Return a summary of the elements in which two tensors differ; None if their bits are equal.

    Raises:
        ValueError: shapes or dtypes differ.
    """
    if first.shape != second.shape or first.dtype != second.dtype:
        kinds = " and ".join(f"{each.dtype} of shape {list(each.shape)}" for each in (first, second))
        raise ValueError(f"{kinds} have no elements to compare; the same dtype and shape is needed")
    if first.is_complex():
        return compare_values(torch.view_as_real(first), torch.view_as_real(second))
    a, b = (each.detach().cpu().reshape(-1) for each in (first, second))
    integers = _INTEGERS[first.element_size()]
    places = (a.view(integers) != b.view(integers)).nonzero()[:, 0]
    if not len(places):
        return None
    a, b = a[places], b[places]
    ulps, sizes = _distances(a, b)
    indices = np.unravel_index(places.numpy(), tuple(first.shape)) if first.ndim else ()

    def element(i: int) -> Element:
        index = tuple(int(each[i]) for each in indices)
        return Element(index, a[i].item(), b[i].item(), None if ulps[i] < 0 else int(ulps[i]))

    known = ulps[ulps >= 0]
    return ElementDifference(
        differing=len(places),
        elements=first.numel(),
        largest_ulps=int(known.max()) if len(known) else None,
        median_ulps=int(known.median()) if len(known) else None,
        farthest=element(int(sizes.argmax())),
        examples=tuple(element(i) for i in range(min(SHOWN, len(places)))),
        axes=tuple(_axis(size, each) for size, each in zip(first.shape, indices, strict=True)),
    )


def _axis(size: int, indices: np.ndarray[Any, Any]) -> AxisRange:
    return AxisRange(size, len(np.unique(indices)), int(indices.min()), int(indices.max()))


def _distances(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distance of each pair of elements in ulps, and a number for sorting the pairs by distance.

    The distance is -1 if it is undefined, as for integers and for values that are not finite.
    """
    if not first.is_floating_point():
        return torch.full((len(first),), -1), (first.double() - second.double()).abs()
    finite = [each.double().isfinite() for each in (first, second)]
    places = [ordered(each) for each in (first, second)]
    distance, most = places[0] - places[1], torch.iinfo(torch.int64).max
    # Those of float64 overflow for large values of different signs.
    overflow = ((places[0] ^ places[1]) & (places[0] ^ distance)) < 0
    ulps = torch.where(finite[0] & finite[1], torch.where(overflow, most, distance.abs()), -1)
    # An element that is not finite in one of them alone is farther than any other.
    return ulps, torch.where(finite[0] != finite[1], most, ulps)
