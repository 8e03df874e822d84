"""Differences between two JSON values, entry by entry."""

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
    """Yield each entry in which two JSON values differ; a list is compared as a single entry."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in dict.fromkeys([*first, *second]):
            yield from differences(first.get(key), second.get(key), f"{path}.{key}" if path else key)
    elif first != second:
        yield Difference(path, first, second)


def refuse_other_configuration(recorded: Mapping[str, Any], requested: Mapping[str, Any], place: str) -> None:
    """Raise ValueError if two configurations differ; the message lists all differing values."""
    listed = [f"{each.path} {each.second!r} (recorded: {each.first!r})" for each in differences(recorded, requested)]
    if listed:
        raise ValueError(f"{place} belongs to another configuration: {'; '.join(sorted(listed))}")
