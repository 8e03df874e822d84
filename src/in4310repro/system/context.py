"""Context of a computation: its arithmetic mode, progress display, and the processes that take part."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from in4310repro.system.numerics import Numerics, activate
from in4310repro.system.processes import ALONE, Processes
from in4310repro.system.progress import SILENT, Progress


@dataclass(frozen=True)
class Context:
    """The arithmetic mode of this process, its progress display, and the processes that compute together.

    A function that takes a context must be called by all of its processes. The progress display changes no
    result; in portable arithmetic, neither does the number of processes.
    """

    numerics: Numerics = field(default_factory=activate)  # portable where it is available
    progress: Progress = SILENT
    processes: Processes = ALONE

    def silent(self) -> Context:
        """Return a copy of the context that shows no progress."""
        return replace(self, progress=SILENT)

    def alone(self) -> Context:
        """Return a copy of the context for a computation by this process alone."""
        return replace(self, processes=ALONE)
