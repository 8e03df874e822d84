"""The file of a trace: a header, then a line of JSON for each step, which is written as soon as the step ends.

A line `{"tensors": [...]}` numbers tensors by phase, name, shape, dtype and strides. A line `{"step": ...}` has an
entry for each tensor of the step, in the order of execution: its number, its hash, its largest magnitude, its norm and,
unless 0, its count of values that are not finite. A process that is killed leaves all whole steps.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

FORMAT = 1
LONGEST_LINE = 2**26  # bytes
DATA, FORWARD, LOSS, BACKWARD, UPDATE = "data", "forward", "loss", "backward", "update"
PHASES = (DATA, FORWARD, LOSS, BACKWARD, UPDATE)
_HASH = re.compile("[0-9a-f]{16}")


# Tuples rather than dataclasses: a step makes hundreds, and they are keys.
class Tensor(NamedTuple):
    """Description of a traced tensor: phase of the step, name, shape, dtype and strides."""

    phase: str
    name: str  # such as `layer1.0.conv1.output` or `fc.weight.grad`
    shape: tuple[int, ...]
    dtype: str
    strides: tuple[int, ...]


class Event(NamedTuple):
    """One tensor recorded in a step: its description, hash and summary of values."""

    tensor: Tensor
    hash: str  # 16 hexadecimal digits
    largest: float  # magnitude of the finite values
    norm: float  # of the finite values
    not_finite: int = 0  # number of values

    def to_json(self) -> dict[str, Any]:
        """Return the event as JSON values."""
        return {**self._asdict(), "tensor": self.tensor._asdict()}


@dataclass(frozen=True)
class Step:
    """One recorded training step: its tensors in the order of execution, module modes, options and losses."""

    number: int
    modes: str  # `t` or `e` for each module of the header: training or evaluation mode
    groups: str  # options of the optimizer's parameter groups, as JSON
    paths: tuple[str, ...] | None  # names of the images' files
    events: tuple[Event, ...]
    losses: Mapping[str, float] = field(default_factory=dict)  # what was recorded and is a single number


@dataclass(frozen=True)
class TraceFile:
    """Content of a trace file: the header and the steps."""

    place: str
    header: dict[str, Any]
    steps: tuple[Step, ...]
    cut: bool = field(default=False)  # the last line is incomplete, as a killed process leaves it

    @property
    def modules(self) -> list[list[str]]:
        """Name and class of each module, in the order of the model."""
        return list(self.header["modules"])


def read_trace(path: Path | str) -> TraceFile:
    """Read and check a trace file.

    Raises:
        ValueError: the file is not a trace, has an unknown format, or a line is damaged; the message names the line.
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
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where} is not JSON: {error}; each line of a trace is an object") from error
        if not isinstance(content, dict):
            raise ValueError(f"{where} is {type(content).__name__}; each line of a trace is an object")
        if header is None:
            header = _check_header(content, where)
        elif "tensors" in content:
            tensors += [_tensor(each, where) for each in _list(content, "tensors", where)]
        else:
            steps.append(_step(content, tensors, len(header["modules"]), where))
            if len(steps) > 1 and steps[-1].number <= steps[-2].number:
                raise ValueError(f"{where} is step {steps[-1].number} after {steps[-2].number}; numbers must rise")
    if header is None:
        raise ValueError(f"{path} is not a trace: it has no header line")
    return TraceFile(str(path), header, tuple(steps), cut)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                raise ValueError(
                    f"{path}, line {number} has more than {LONGEST_LINE:,} bytes; it is not a line of a trace"
                )
            yield number, line


def _check_header(content: dict[str, Any], where: str) -> dict[str, Any]:
    if content.get("trace") != FORMAT:
        raise ValueError(f"{where}: the format is {content.get('trace')!r}; a trace of format {FORMAT} was expected")
    modules = _list(content, "modules", where)
    if not all(isinstance(each, list) and len(each) == 2 and all(_is_name(x) for x in each) for each in modules):
        raise ValueError(f"{where}: modules must be pairs of name and class")
    if not all(_is_name(each) for each in _list({"optimizers": []} | content, "optimizers", where)):
        raise ValueError(f"{where}: optimizers must be names of classes")
    entries = content.get("environment")
    if not isinstance(entries, dict) or not all(_is_entry(each) for each in entries.values()):
        raise ValueError(f"{where}: environment must be an object of texts, finite numbers and truth values")
    return content


def _is_entry(value: object) -> bool:
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _list(content: dict[str, Any], key: str, where: str) -> list[Any]:
    if not isinstance(content.get(key), list):
        raise ValueError(f"{where}: {key} must be a list")
    return list(content[key])


def _tensor(content: object, where: str) -> Tensor:
    match content:
        case [str(phase), str(name), list(shape), str(dtype), list(strides)] if (
            phase in PHASES
            and _is_name(name)
            and _is_name(dtype)
            and _are_counts(shape)
            and _are_counts(strides)
            and len(shape) == len(strides)
        ):
            return Tensor(phase, name, tuple(shape), dtype, tuple(strides))
    raise ValueError(f"{where}: a tensor is {str(content)[:100]}; phase, name, shape, dtype and strides were expected")


def _are_counts(values: list[Any]) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in values)


def _step(content: dict[str, Any], tensors: list[Tensor], modules: int, where: str) -> Step:
    number, modes, groups, paths = (content.get(key) for key in ("step", "modes", "groups", "paths"))
    if type(number) is not int or number < 0:
        raise ValueError(f"{where}: step is {str(number)[:100]}; a count was expected")
    if not isinstance(modes, str) or len(modes) != modules or set(modes) - {"t", "e"}:
        raise ValueError(f"{where}: modes is {str(modes)[:100]}; t or e was expected for each of {modules} modules")
    if not isinstance(groups, list) or not all(isinstance(each, dict) for each in groups):
        raise ValueError(f"{where}: groups is {str(groups)[:100]}; a list of objects was expected")
    if paths is not None and not (isinstance(paths, list) and all(_is_name(each) for each in paths)):
        raise ValueError(f"{where}: paths is {str(paths)[:100]}; a list of names was expected")
    events = tuple([_event(each, tensors, where) for each in _list(content, "events", where)])
    options = json.dumps(groups, sort_keys=True)
    losses = _losses(content.get("losses", {}), where)
    return Step(number, modes, options, None if paths is None else tuple(paths), events, losses)


def _losses(content: object, where: str) -> dict[str, float]:
    """Convert losses from hexadecimal text to floats. The text can express NaN, which JSON cannot."""
    if isinstance(content, dict) and all(_is_name(name) and isinstance(value, str) for name, value in content.items()):
        try:
            return {name: float.fromhex(value) for name, value in content.items()}
        except (ValueError, OverflowError):
            pass
    raise ValueError(f"{where}: losses is {str(content)[:100]}; hexadecimal numbers by name were expected")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def printable(name: str) -> str:
    """Return a printable name unchanged, and any other name with its special characters escaped."""
    return name if name.isprintable() else name.encode("unicode_escape", "surrogatepass").decode("ascii")


def _event(content: object, tensors: list[Tensor], where: str) -> Event:
    match [*content, 0] if isinstance(content, list) and len(content) == 4 else content:
        case [int(tensor), str(digest), int() | float() as largest, int() | float() as norm, int(not_finite)] if (
            0 <= tensor < len(tensors)
            and _HASH.fullmatch(digest)
            and 0 <= largest <= sys.float_info.max
            and 0 <= norm <= sys.float_info.max
            and not_finite >= 0
        ):
            return Event(tensors[tensor], digest, float(largest), float(norm), not_finite)
    raise ValueError(f"{where}: an entry is {str(content)[:100]}; number, hash, largest, norm and count were expected")


class Writer:
    """Writer of a trace file; lines go to the system one by one, so that a killed process loses no whole step.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self._file = path.open("wb", buffering=0)
        self._numbers: dict[Tensor, int] = {}
        try:
            self._write({"trace": FORMAT, **header})
        except OSError:
            self.close()
            raise

    def _write(self, content: dict[str, Any]) -> None:
        self._write_text(_json(content))

    def _write_text(self, text: str) -> None:
        rest = memoryview(text.encode() + b"\n")
        while rest:
            rest = rest[self._file.write(rest) :]

    def write(self, step: Step) -> None:
        """Write the descriptions of tensors that are new to the file, then the step.

        Raises:
            OSError: the file cannot be written.
        """
        new = [each for each in dict.fromkeys(event.tensor for event in step.events) if each not in self._numbers]
        if new:
            self._numbers.update(zip(new, range(len(self._numbers), len(self._numbers) + len(new)), strict=True))
            self._write({"tensors": [[t.phase, t.name, t.shape, t.dtype, t.strides] for t in new]})
        content: dict[str, Any] = {"step": step.number, "modes": step.modes, "groups": json.loads(step.groups)}
        if step.paths is not None:
            content["paths"] = [printable(each) for each in step.paths]
        if step.losses:
            content["losses"] = {printable(name): value.hex() for name, value in step.losses.items()}
        # Nine significant digits identify each float32 value.
        events = ",".join(
            [
                f'[{self._numbers[each.tensor]},"{each.hash}",{each.largest:.9g},{each.norm:.9g}'
                + (f",{each.not_finite}]" if each.not_finite else "]")
                for each in step.events
            ]
        )
        self._write_text(f'{_json(content)[:-1]},"events":[{events}]}}')

    @property
    def closed(self) -> bool:
        """True if the file is closed and nothing more can be written."""
        return self._file.closed

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
