"""Checks of JSON values against record types, and the differences between two JSON values."""

import functools
import json
import re
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from in4310repro.system.files import relative_path

# Floating-point numbers hold whole numbers up to this one exactly.
LARGEST = 2**53
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("every character should be printable")
    return text


Share = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0, le=LARGEST)]
PositiveCount = Annotated[int, Field(ge=1, le=LARGEST)]
LONGEST = 1000  # characters of a text
# A format names to other readers what a function checks here.
Text = Annotated[str, Field(max_length=LONGEST, json_schema_extra={"format": "text"}), AfterValidator(_printable)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ShortHash = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
RelativePath = Annotated[str, Field(json_schema_extra={"format": "path"}), AfterValidator(relative_path)]


def check(value: Any, kind: Any, source: str) -> Any:
    """Check types, ranges and keys of a JSON value against the type `kind`; return the value unchanged.

    Args:
        value: a value that `json.loads` has returned.
        kind: a TypedDict, or a list or dictionary of TypedDicts or annotated types.
        source: the file that holds the value, for the message.

    Raises:
        ValueError: the value does not fit `kind`. The message names the source, the first wrong key, its value
            and what was expected.

    Examples:
        >>> check({"sea": 0.5}, dict[str, Share], "accuracy.json")
        {'sea': 0.5}
        >>> check({"sea": 1.5}, dict[str, Share], "accuracy.json")
        Traceback (most recent call last):
        ValueError: accuracy.json: sea is 1.5; it should be less than or equal to 1
    """
    try:
        _adapter(kind).validate_python([value])
        return value
    except ValidationError as error:
        fault: Any = error.errors()[0]
    # The list, which only carries the adapter's configuration, is the first place in the path.
    key = ".".join(f"{part}" for part in fault["loc"][1:] if part != "[key]")
    key = key if key.isprintable() and len(key) <= 200 else _SHORT.repr(key)
    if fault["type"] == "missing":
        raise ValueError(f"{source} lacks {key}")
    if fault["type"] == "extra_forbidden":
        raise ValueError(f"{source} has {key}, which does not belong there")
    needed = re.sub(r"^\w+ should", "it should", fault["msg"].removeprefix("Value error, "))
    raise ValueError(f"{source}: {key or 'its value'} is {_SHORT.repr(fault['input'])}; {needed}")


@functools.cache
def _adapter(kind: Any) -> Any:
    # Wrapped in a list, since a TypedDict takes its configuration from the type around it.
    return TypeAdapter(list[kind], config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))


# The lowest and the highest number that agrees; None lets any value agree.
Limits = tuple[float, float] | None


@dataclass(frozen=True)
class Difference:
    """One entry with different values; None stands for a missing entry."""

    path: str  # keys joined by dots
    first: Any
    second: Any


def differences(
    first: Any, second: Any, path: str = "", rules: Mapping[str, Limits] | None = None
) -> Iterator[Difference]:
    """Yield each entry in which two JSON values differ; a list is compared as a single entry.

    With `rules`, even if there are none, values are compared as text, since 1 is not 1.0 and 0.0 has no sign, and
    of a list only the first entry that differs is yielded. A rule gives the limits of the first value at its path.
    """
    if rules is not None and path in rules:
        limits = rules[path]
        agrees = limits is None or (first is not None and limits[0] <= first <= limits[1])
    elif isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in dict.fromkeys([*first, *second]):
            yield from differences(first.get(key), second.get(key), f"{path}.{key}" if path else key, rules)
        return
    elif rules is not None and type(first) is type(second) is list and len(first) == len(second):
        entries = (differences(*pair, f"{path}.{n}", rules) for n, pair in enumerate(zip(first, second, strict=True)))
        yield from islice(chain.from_iterable(entries), 1)
        return
    else:
        agrees = first == second if rules is None else json.dumps(first) == json.dumps(second)
    if not agrees:
        yield Difference(path, first, second)


def refuse_other_configuration(recorded: Mapping[str, Any], requested: Mapping[str, Any], place: str) -> None:
    """Raise ValueError if two configurations differ; the message lists all differing values."""
    listed = [f"{each.path} {each.second!r} (recorded: {each.first!r})" for each in differences(recorded, requested)]
    if listed:
        raise ValueError(f"{place} belongs to another configuration: {'; '.join(sorted(listed))}")
