"""Differences between two JSON values, one per differing entry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Difference:
    """One entry with different values; None stands for a missing entry."""

    path: str  # keys joined by dots
    first: Any
    second: Any


def differences(first: Any, second: Any, path: str = "") -> Iterator[Difference]:
    """Return every entry in which two JSON values differ, in the order of the first value; lists are one entry."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in dict.fromkeys([*first, *second]):
            yield from differences(first.get(key), second.get(key), f"{path}.{key}" if path else key)
    elif first != second:
        yield Difference(path, first, second)


def refuse_other_configuration(recorded: Mapping[str, Any], requested: Mapping[str, Any], place: str) -> None:
    """Raise ValueError that lists all differing values if two configurations differ."""
    listed = [f"{each.path} {each.second!r} (recorded: {each.first!r})" for each in differences(recorded, requested)]
    if listed:
        raise ValueError(f"{place} belongs to another configuration: {'; '.join(sorted(listed))}")
