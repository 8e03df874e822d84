"""Reasons why a change makes no difference to any test: the committed list equivalent.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

LIST = Path(__file__).with_name("equivalent.toml")


@dataclass(frozen=True)
class Reason:
    """A change by its module, function and line without and with it, and the reason why it makes no difference."""

    module: str
    function: str
    before: str
    after: str
    reason: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Identity of the change, like `Change.key`."""
        return self.function, self.before, self.after


def read(file: Path = LIST) -> list[Reason]:
    """Read all reasons of a list.

    Raises:
        ValueError: an entry has other keys, or no reason in words.
    """
    entries = tomllib.loads(file.read_text(encoding="utf-8")).get("equivalent", []) if file.exists() else []
    names = {field.name for field in fields(Reason)}
    for entry in entries:
        if set(entry) != names or len(str(entry["reason"]).split()) < 3:
            raise ValueError(
                f"{file.name}: {entry} is no reason; {', '.join(sorted(names))} are valid, reason in words"
            )
    return [Reason(**entry) for entry in entries]
