"""Context of a computation: this process's arithmetic, progress, and the processes that compute together."""

from __future__ import annotations

from dataclasses import dataclass, replace

from in4310repro.system.numerics import Numerics
from in4310repro.system.processes import ALONE, Processes
from in4310repro.system.progress import SILENT, Progress


@dataclass(frozen=True)
class Context:
    """The arithmetic of this process, its progress display, and the processes that compute together.

    All processes call a function that takes a context together. No result depends on progress, and none on the number
    of processes in portable arithmetic.
    """

    numerics: Numerics
    progress: Progress = SILENT
    processes: Processes = ALONE

    def silent(self) -> Context:
        """Return a copy of the context that shows no progress."""
        return replace(self, progress=SILENT)

    def alone(self) -> Context:
        """Return the context of a computation that this process does without the other processes."""
        return replace(self, processes=ALONE)
