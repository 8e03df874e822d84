"""One mistake: faulty code and ours, a check that only ours passes, and the size of the error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A mistake seen in public solutions, and its effect on drawn scenes."""

    number: int  # in the list of mistakes seen in public solutions
    name: str
    check: Callable[[Any], None]  # raises AssertionError; the first line of its docstring says what must hold
    ours: Callable[[], Any]
    twin: Callable[[], Any]
    # Of what ours gives and what the twin gives; None where no number moves.
    size: Callable[[Any, Any], str] | None = None

    @property
    def finder(self) -> str:
        """First line of the check's docstring: a sentence that states what must hold."""
        return (self.check.__doc__ or "").strip().splitlines()[0].removesuffix(".")


def size_of(mistake: Mistake) -> str:
    """Return the faulty version's error on drawn scenes; a dash if no number changes."""
    return mistake.size(mistake.ours(), mistake.twin()) if mistake.size else "-"
