"""Differences between two JSON values, entry by entry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Difference:
    """One entry in which two JSON values differ; None stands for a missing entry."""

    path: str  # keys joined by dots
    first: Any
    second: Any


def differences(first: Any, second: Any, path: str = "") -> Iterator[Difference]:
    """Return every entry in which two JSON values differ, in the order of the first; lists are compared as wholes."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in dict.fromkeys([*first, *second]):
            yield from differences(first.get(key), second.get(key), f"{path}.{key}" if path else key)
    elif first != second:
        yield Difference(path, first, second)


def refuse_other_configuration(recorded: Mapping[str, Any], requested: Mapping[str, Any], place: str) -> None:
    """Raise a ValueError that lists every value in which two configurations differ."""
    listed = [f"{each.path} {each.second!r} (recorded: {each.first!r})" for each in differences(recorded, requested)]
    if listed:
        raise ValueError(f"{place} belongs to another configuration: {'; '.join(sorted(listed))}")
