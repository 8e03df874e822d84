"""The file of a trace: a header, then a line of JSON for each step, which is written as soon as the step ends.

A line `{"tensors": [...]}` numbers tensors by phase, name, shape, dtype and strides; `{"modules": [...]}` adds modules
that came later. A line `{"step": ...}` has an entry for each tensor of the step, in the order of execution: its number,
its hash, its largest magnitude, its norm, its count of values that are not finite and its sketch. Facts, such as the
options of modules, stand in the first step and where they change. A process that is killed leaves all whole steps.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NotRequired

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, FiniteFloat, TypeAdapter, ValidationError
from typing_extensions import TypedDict

FORMAT = 2
LONGEST_LINE = 2**26  # bytes
DATA, FORWARD, LOSS, BACKWARD, GRADIENT, UPDATE = "data", "forward", "loss", "backward", "gradient", "update"
Phase = Literal["data", "forward", "loss", "backward", "gradient", "update"]


def _check_printable(name: str) -> str:
    if not name.isprintable():
        raise ValueError("printable characters are needed")
    return name


Name = Annotated[str, AfterValidator(_check_printable)]
Count = Annotated[int, Field(ge=0, strict=True)]
Size = Annotated[FiniteFloat, Field(ge=0)]
Hexadecimal = Annotated[float, BeforeValidator(float.fromhex)]  # which can express NaN, as JSON cannot


# Tuples rather than dataclasses: a step makes hundreds, and they are keys.
class Tensor(NamedTuple):
    """Description of a traced tensor: phase of the step, name, shape, dtype and strides."""

    phase: Phase
    name: Name  # such as `layer1.0.conv1.output` or `fc.weight.grad`
    shape: tuple[Count, ...]
    dtype: Name
    strides: tuple[Count, ...]


class Event(NamedTuple):
    """One tensor recorded in a step: its description, hash and summary of values."""

    tensor: Tensor
    hash: str  # 16 hexadecimal digits
    largest: float  # magnitude of the finite values
    norm: float  # of the finite values
    not_finite: int = 0  # number of values
    sketch: str = ""  # eight float32 values in base64; empty in traces of format 1

    def projections(self) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """Return the eight sums of values with random signs; None if there are none."""
        content = base64.b64decode(self.sketch)
        return np.frombuffer(content, "<f4").astype(np.float64) if len(content) == 32 else None

    def to_json(self) -> dict[str, Any]:
        """Return the event as JSON values."""
        return {**self._asdict(), "tensor": self.tensor._asdict()}


Modules = list[Annotated[list[Name], Field(min_length=2, max_length=2)]]  # name and class
Facts = dict[str, Any]


class _Header(TypedDict):
    trace: Literal[1, 2]
    modules: Modules
    optimizers: NotRequired[list[Name]]
    environment: dict[Name, bool | int | FiniteFloat | str | None]
    arguments: NotRequired[list[Name]]
    sources: NotRequired[dict[Name, str]]


class _Tensors(TypedDict):
    tensors: list[Tensor]


class _Modules(TypedDict):
    modules: Modules


class _Entry(NamedTuple):
    tensor: Count
    hash: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
    largest: Size
    norm: Size
    not_finite: Count = 0
    sketch: Annotated[str, Field(pattern="^([A-Za-z0-9+/]{43}=)?$")] = ""


class _Step(TypedDict):
    step: Count
    modes: Annotated[str, Field(pattern="^[te]*$")]
    groups: list[dict[str, Any]]
    paths: NotRequired[tuple[Name, ...] | None]
    losses: NotRequired[dict[Name, Hexadecimal]]
    facts: NotRequired[Facts]
    events: list[_Entry]


_HEADER = TypeAdapter(_Header)
_LINES: dict[str, TypeAdapter[Any]] = {
    "step": TypeAdapter(_Step),
    "tensors": TypeAdapter(_Tensors),
    "modules": TypeAdapter(_Modules),
}


@dataclass(frozen=True)
class Step:
    """One recorded training step: its tensors in the order of execution, module modes, options and losses."""

    number: int
    modes: str  # `t` or `e` for each module of the header: training or evaluation mode
    groups: str  # options of the optimizer's parameter groups, as JSON
    paths: tuple[str, ...] | None  # names of the images' files
    events: tuple[Event, ...]
    losses: Mapping[str, float] = field(default_factory=dict)  # what was recorded and is a single number
    facts: Facts = field(default_factory=dict)  # such as options of modules and of the DataLoader


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
    reader = _Reader()
    cut = False
    for number, line in _lines(Path(path)):
        if cut := not line.endswith(b"\n"):
            break
        try:
            reader.read(line)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = ".".join(map(str, fault["loc"]))
            text = (
                f"{where}: {fault['msg']}, not {str(fault['input'])[:100]}"
                if where
                else fault["msg"].replace("Input", "it")
            )
            raise ValueError(f"{path}, line {number}: {text}") from None
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
    if reader.header is None:
        raise ValueError(f"{path} is not a trace: it has no header line")
    return TraceFile(str(path), reader.header, tuple(reader.steps), cut)


class _Reader:
    """Reader of the lines of a trace, one after another."""

    def __init__(self) -> None:
        self.header: dict[str, Any] | None = None
        self.steps: list[Step] = []
        self._tensors: list[Tensor] = []
        self._facts: Facts = {}

    def read(self, line: bytes) -> None:
        if self.header is None:
            self.header = {"optimizers": [], **_HEADER.validate_json(line)}
            return
        kind = next((each for each in _LINES if line.startswith(f'{{"{each}"'.encode())), "step")
        content = _LINES[kind].validate_json(line)
        if kind == "tensors":
            if any(len(each.shape) != len(each.strides) for each in content["tensors"]):
                raise ValueError("a tensor has another number of strides than of axes in its shape")
            self._tensors += content["tensors"]
        elif kind == "modules":
            self.header["modules"] += content["modules"]
        else:
            self.steps.append(self._step(content, len(self.header["modules"])))

    def _step(self, content: dict[str, Any], modules: int) -> Step:
        number, modes, before = content["step"], content["modes"], self.steps[-1].number if self.steps else -1
        if number <= before:
            raise ValueError(f"step {number} after {before}; numbers must rise")
        if len(modes) != modules:
            raise ValueError(f"modes is {modes[:100]}; t or e was expected for each of {modules} modules")
        if unknown := [i for i, *_ in content["events"] if i >= len(self._tensors)]:
            raise ValueError(f"events has the tensor {unknown[0]}, which no line before it describes")
        events = tuple([Event(self._tensors[i], *rest) for i, *rest in content["events"]])
        self._facts = self._facts | content.get("facts", {})
        groups, paths = json.dumps(content["groups"], sort_keys=True), content.get("paths")
        return Step(number, modes, groups, paths, events, content.get("losses", {}), self._facts)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), 1):
            if len(line) > LONGEST_LINE:
                raise ValueError(
                    f"{path}, line {number} has more than {LONGEST_LINE:,} bytes; it is not a line of a trace"
                )
            yield number, line


def printable(name: str) -> str:
    """Return a printable name unchanged, and any other name with its special characters escaped."""
    return name if name.isprintable() else name.encode("unicode_escape", "surrogatepass").decode("ascii")


class Writer:
    """Writer of a trace file; lines go to the system one by one, so that a killed process loses no whole step.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self._file = path.open("wb", buffering=0)
        self._numbers: dict[Tensor, int] = {}
        self._facts: Facts = {}
        try:
            self._write(_json({"trace": FORMAT, **header}))
        except OSError:
            self.close()
            raise

    def _write(self, text: str) -> None:
        rest = memoryview(text.encode(errors="backslashreplace") + b"\n")
        while rest:
            rest = rest[self._file.write(rest) :]

    def add_modules(self, modules: list[list[str]]) -> None:
        """Write name and class of modules that are new to the file."""
        self._write(_json({"modules": modules}))

    def write(self, step: Step) -> None:
        """Write the descriptions of tensors that are new to the file, then the step.

        Raises:
            OSError: the file cannot be written.
        """
        new = [each for each in dict.fromkeys(event.tensor for event in step.events) if each not in self._numbers]
        if new:
            self._numbers.update(zip(new, range(len(self._numbers), len(self._numbers) + len(new)), strict=True))
            self._write(_json({"tensors": [[t.phase, t.name, t.shape, t.dtype, t.strides] for t in new]}))
        content: dict[str, Any] = {"step": step.number, "modes": step.modes, "groups": json.loads(step.groups)}
        if step.paths is not None:
            content["paths"] = [printable(each) for each in step.paths]
        if step.losses:
            content["losses"] = {printable(name): value.hex() for name, value in step.losses.items()}
        if facts := {name: value for name, value in step.facts.items() if self._facts.get(name) != value}:
            content["facts"] = facts
            self._facts = self._facts | facts
        # Nine significant digits identify each float32 value.
        events = ",".join(
            [
                f'[{self._numbers[each.tensor]},"{each.hash}",{each.largest:.9g},{each.norm:.9g},'
                f'{each.not_finite},"{each.sketch}"]'
                for each in step.events
            ]
        )
        self._write(f'{_json(content)[:-1]},"events":[{events}]}}')

    @property
    def closed(self) -> bool:
        """True if the file is closed and nothing more can be written."""
        return self._file.closed

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
