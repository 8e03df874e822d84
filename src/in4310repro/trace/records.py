"""The file of a trace: a header, then a line of JSON for each step, which is written as soon as the step ends.

A line `{"tensors": [...]}` introduces tensors by number: their phase, name, shape, dtype and strides; a line
`{"step": ...}` has for each tensor of the step, in the order of execution, this number, its hash, and its largest
magnitude, norm and count of values that are not finite. A process that is killed leaves all whole steps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FORMAT = 1
LONGEST_LINE = 2**26  # bytes
DATA, FORWARD, LOSS, BACKWARD, UPDATE = "data", "forward", "loss", "backward", "update"
PHASES = (DATA, FORWARD, LOSS, BACKWARD, UPDATE)


@dataclass(frozen=True)
class Tensor:
    """A traced tensor: where it appears, and its layout."""

    phase: str
    name: str  # such as `layer1.0.conv1.output` or `fc.weight.grad`
    shape: tuple[int, ...]
    dtype: str
    strides: tuple[int, ...]


@dataclass(frozen=True)
class Event:
    """A tensor at a moment of a step."""

    tensor: Tensor
    hash: str  # 16 hexadecimal digits
    largest: float  # magnitude of the finite values
    norm: float  # of the finite values
    not_finite: int


@dataclass(frozen=True)
class Step:
    """All tensors of a training step, in the order of execution."""

    number: int
    modes: str  # `t` or `e` for each module of the header: training or evaluation mode
    groups: str  # options of the optimizer's parameter groups, as JSON
    paths: tuple[str, ...] | None  # names of the images' files
    events: tuple[Event, ...]

    def losses(self) -> list[float]:
        """Return the recorded losses that are single numbers, by their norm and sign."""
        return [each.norm for each in self.events if each.tensor.phase == LOSS]


@dataclass(frozen=True)
class TraceFile:
    """The content of a trace."""

    place: str
    header: dict[str, Any]
    steps: tuple[Step, ...]
    cut: bool = field(default=False)  # the last line is incomplete, as a killed process leaves it

    @property
    def modules(self) -> list[list[str]]:
        """Name and class of each module, in the order of the model."""
        return list(self.header["modules"])


def read_trace(path: Path | str) -> TraceFile:
    """Read a trace.

    Raises:
        ValueError: the file is no trace, has an unknown format, or a line is damaged; the message names the line.
        OSError: the file cannot be read.
    """
    header: dict[str, Any] | None = None
    tensors: list[Tensor] = []
    steps: list[Step] = []
    cut = False
    for number, line in _lines(Path(path)):
        where = f"{path}, line {number}"
        if not line.endswith(b"\n"):
            cut = True
            break
        try:
            content = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{where} is no JSON: {error}; each line of a trace is an object") from error
        if not isinstance(content, dict):
            raise ValueError(f"{where} is {type(content).__name__}; each line of a trace is an object")
        if header is None:
            header = _check_header(content, where)
        elif "tensors" in content:
            tensors += [_tensor(each, where) for each in _list(content, "tensors", where)]
        else:
            steps.append(_step(content, tensors, where))
            if len(steps) > 1 and steps[-1].number <= steps[-2].number:
                raise ValueError(f"{where} is step {steps[-1].number} after {steps[-2].number}; numbers must rise")
    if header is None:
        raise ValueError(f"{path} is no trace: it has no header line")
    return TraceFile(str(path), header, tuple(steps), cut)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                raise ValueError(f"{path}, line {number} has more than {LONGEST_LINE:,} bytes; it is no line of a trace")
            yield number, line


def _check_header(content: dict[str, Any], where: str) -> dict[str, Any]:
    if content.get("trace") != FORMAT:
        raise ValueError(f"{where}: the format is {content.get('trace')!r}; a trace of format {FORMAT} was expected")
    modules = _list(content, "modules", where)
    if not all(isinstance(each, list) and len(each) == 2 and all(isinstance(x, str) for x in each) for each in modules):
        raise ValueError(f"{where}: modules must be pairs of name and class")
    if not isinstance(content.get("environment"), dict):
        raise ValueError(f"{where}: environment must be an object")
    return content


def _list(content: dict[str, Any], key: str, where: str) -> list[Any]:
    if not isinstance(content.get(key), list):
        raise ValueError(f"{where}: {key} must be a list")
    return list(content[key])


def _tensor(content: object, where: str) -> Tensor:
    match content:
        case [str(phase), str(name), list(shape), str(dtype), list(strides)] if (
            phase in PHASES and _are_counts(shape) and _are_counts(strides) and len(shape) == len(strides)
        ):
            return Tensor(phase, name, tuple(shape), dtype, tuple(strides))
    raise ValueError(f"{where}: a tensor is {str(content)[:100]}; phase, name, shape, dtype and strides were expected")


def _are_counts(values: list[Any]) -> bool:
    return all(type(value) is int and value >= 0 for value in values)


def _step(content: dict[str, Any], tensors: list[Tensor], where: str) -> Step:
    number, modes, groups, paths = (content.get(key) for key in ("step", "modes", "groups", "paths"))
    if type(number) is not int or number < 0 or not isinstance(modes, str) or not isinstance(groups, str):
        raise ValueError(f"{where}: step must be a count, modes and groups text")
    if paths is not None and not (isinstance(paths, list) and all(isinstance(each, str) for each in paths)):
        raise ValueError(f"{where}: paths must be a list of names")
    events = tuple(_event(each, tensors, where) for each in _list(content, "events", where))
    return Step(number, modes, groups, None if paths is None else tuple(paths), events)


def _event(content: object, tensors: list[Tensor], where: str) -> Event:
    match content:
        case [int(tensor), str(digest), int() | float() as largest, int() | float() as norm, *rest] if (
            0 <= tensor < len(tensors)
            and len(digest) == 16
            and all(letter in "0123456789abcdef" for letter in digest)
            and 0 <= largest < math.inf
            and 0 <= norm <= math.inf
            and (not rest or (len(rest) == 1 and _are_counts(rest)))
        ):
            return Event(tensors[tensor], digest, float(largest), float(norm), rest[0] if rest else 0)
    raise ValueError(f"{where}: an entry is {str(content)[:100]}; number, hash, largest, norm and count were expected")


class Writer:
    """Writes a trace line by line."""

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self._file = path.open("wb")
        self._numbers: dict[Tensor, int] = {}
        self._new: list[Tensor] = []
        self._write({"trace": FORMAT, **header})

    def _write(self, content: dict[str, Any]) -> None:
        self._file.write(json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")

    def _number(self, tensor: Tensor) -> int:
        if tensor not in self._numbers:
            self._numbers[tensor] = len(self._numbers)
            self._new.append(tensor)
        return self._numbers[tensor]

    def write(self, step: Step) -> None:
        """Write a step, and give it to the system, so that a killed process loses no earlier one."""
        events = [
            [self._number(each.tensor), each.hash, _short(each.largest), _short(each.norm)]
            + ([each.not_finite] if each.not_finite else [])
            for each in step.events
        ]
        if self._new:
            self._write({"tensors": [[t.phase, t.name, t.shape, t.dtype, t.strides] for t in self._new]})
            self._new.clear()
        paths = {} if step.paths is None else {"paths": step.paths}
        self._write({"step": step.number, "modes": step.modes, "groups": step.groups, **paths, "events": events})
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _short(value: float) -> float:
    """Return a value with nine digits, enough for each float32."""
    return float(f"{value:.9g}")
