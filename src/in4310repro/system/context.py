"""Context of a computation: its arithmetic mode, progress display, and the processes that take part."""

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ParamSpec, TypeVar

from in4310repro.system.numerics import Numerics, activate
from in4310repro.system.processes import ALONE, Processes
from in4310repro.system.progress import SILENT, Progress

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Context:
    """The arithmetic mode of this process, its progress display, and the processes that compute together.

    A function that takes a context must be called by all of its processes. The progress display changes no
    result; in portable arithmetic, neither does the number of processes.
    """

    numerics: Numerics = field(default_factory=activate)  # portable where it is available
    progress: Progress = SILENT
    processes: Processes = ALONE

    def silent(self) -> "Context":
        """Return a copy of the context that shows no progress."""
        return replace(self, progress=SILENT)

    def alone(self) -> "Context":
        """Return a copy of the context for a computation by this process alone."""
        return replace(self, processes=ALONE)


def accept_former_place(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function take its keyword `context` among the other arguments too, where it was before; it warns."""

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> R:
        for context in (each for each in arguments if isinstance(each, Context)):
            warnings.warn(
                f"{function.__name__}(..., context=...): the context is a keyword now, and optional; among the other "
                "arguments it will be refused in the next edition",
                DeprecationWarning,
                stacklevel=2,
            )
            arguments, named = tuple(each for each in arguments if each is not context), {**named, "context": context}
        return function(*arguments, **named)

    return call
