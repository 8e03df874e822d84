"""Progress display of long tasks (a bar on a terminal, else plain lines), and interrupts between steps."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING

from in4310repro.system.text import duration_text, visible

# rich is imported where something is shown: `--help` shows no progress.
if TYPE_CHECKING:
    from rich.console import Console

Advance = Callable[[int, str], None]
SECONDS_BETWEEN_LINES = 5.0


@dataclass(frozen=True)
class Progress:
    """Progress display on a console, of a part of a task; shows nothing if the console is None."""

    console: Console | None = None
    now: Callable[[], float] = time.monotonic  # seconds, from any start
    title: str = ""  # of the part
    begin: float = 0.0  # share of the whole that comes before the part
    length: float = 0.0  # the part's share of the whole; 0 where it is part of nothing
    unit: str = ""  # name of a part that is one task; empty if it may have several
    # When the whole began and the share that was done, once it is known.
    start: list[tuple[float, float]] = field(default_factory=list)

    def whole(self) -> Progress:
        """Return a display for a task with several parts, which shows the time left for all parts together."""
        return self if self.console is None else replace(self, length=1.0, start=[])

    def part(self, index: int, count: int, title: str = "", unit: str = "") -> Progress:
        """Return a display for one of several equal parts of a task; the index starts at 0.

        A part that is one task has a `unit`, such as epoch, and shows the time left of itself and of all parts. Any
        other part can be divided again. If `whole` was not called before, the display itself is returned.
        """
        if not self.length:
            return self
        title, length = ", ".join(filter(None, (self.title, title))), self.length / count
        return replace(self, title=title, begin=self.begin + length * index, length=length, unit=unit)

    def time_left(self, now: float, share: float) -> str:
        """Return the time left at the speed until now, where this share of the part is done; empty if it is unknown."""
        share, end = self.begin + self.length * share, self.begin + self.length
        # The steps that a resumed training did before took none of this time.
        began, first = self.start[0] if self.start else (now, share)
        self.start[:] = [(began, first)]
        if share <= first:
            return ""
        seconds = (now - began) / (share - first)
        of_part, of_all = (duration_text(max(seconds * (each - share), 0)) for each in (end, 1))
        return f"{self.unit} {of_part}, all {of_all} left" if self.unit else f"{of_part} left"

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Advance]:
        """Yield a function that shows the progress of a task.

        Call it with the number of items finished since its last call, and a text to show.
        """
        if (console := self.console) is None:
            yield lambda _done, _detail: None
            return
        title = visible(", ".join(filter(None, (self.title, title))))
        shown, finished = self.now(), 0
        # One clock measures a part and the whole, so that a part never takes longer than the whole.
        part, bars = self if self.unit else Progress(length=1.0, start=[(shown, 0.0)]), None
        if console.is_terminal:
            from rich import progress

            fields = ("{task.description}", "{task.fields[left]}", "{task.fields[detail]}")
            name, *said = (progress.TextColumn(field, markup=False) for field in fields)
            # A bar that is done says nothing that the lines after it do not.
            columns = (name, progress.BarColumn(), progress.MofNCompleteColumn(), *said)
            bars = progress.Progress(*columns, console=console, transient=True)
            bar = bars.add_task(title, total=total, left="", detail="")

        def advance(done: int, detail: str) -> None:
            nonlocal shown, finished
            finished += done
            now = self.now()
            left, detail = part.time_left(now, finished / max(total, 1)), visible(detail)
            if bars:
                bars.update(bar, advance=done, left=left, detail=detail)
            elif finished >= total or now - shown >= SECONDS_BETWEEN_LINES:
                shown = now
                print_plain(console, ", ".join(filter(None, (f"{title}: {finished}/{total}", left, detail))))

        with bars or nullcontext():
            yield advance

    @contextmanager
    def steps(self, title: str) -> Iterator[Callable[[str], None]]:
        """Yield a function that shows the current step of a task whose number of steps is unknown.

        Call it with a text that describes the step. A terminal shows only the current step; elsewhere a line is
        printed every few seconds.
        """
        title, shown, count = visible(title), self.now(), 0

        def show(step: str) -> None:
            nonlocal shown, count
            count += 1
            if self.console is not None and self.now() - shown >= SECONDS_BETWEEN_LINES:
                shown = self.now()
                print_plain(self.console, f"{title}, {count}: {visible(step)}")

        if self.console is None or not self.console.is_terminal:
            yield show
            return
        from rich.padding import Padding
        from rich.text import Text

        # A status shows only the letters of a bare Text, not how it is to be wrapped.
        def as_line(text: str) -> Padding:
            return Padding(Text(text, no_wrap=True, overflow="ellipsis"), 0)

        with self.console.status(as_line(title)) as status:
            yield lambda step: status.update(as_line(f"{title}: {visible(step)}"))

    def message(self, line: str) -> None:
        """Print one line, without interpreting markup in it."""
        if self.console is not None:
            print_plain(self.console, visible(line))


SILENT = Progress()


def print_plain(console: Console, text: str) -> None:
    """Print text without interpreting markup such as `[red]`; escape characters that cannot be encoded."""
    if not console.is_terminal:
        write_line(console.file, text)
        return
    from rich.text import Text

    console.print(Text(_encodable(text, console.encoding)), soft_wrap=True)


def write_line(stream: IO[str], text: str) -> bool:
    """Write text and a line break to the stream; return False if it is a pipe that its reader has closed.

    After an error, the stream leads nowhere, so that the rest is not tried, and Python's last flush does not fail.

    Raises:
        OSError: the stream cannot be written.
    """
    try:
        stream.write(_encodable(text, getattr(stream, "encoding", None) or "utf-8") + "\n")
        stream.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        # Windows says that the argument is invalid.
        if not isinstance(error, BrokenPipeError) and (os.name != "nt" or error.errno != errno.EINVAL):
            raise
        return False
    return True


def _encodable(text: str, encoding: str) -> str:
    return text.encode(encoding, "backslashreplace").decode(encoding)


@contextmanager
def show_import(progress: Progress, library: str) -> Iterator[None]:
    """Show that a slow library is being imported; show nothing if it is already imported."""
    progress = SILENT if library in sys.modules else progress
    if progress.console and not progress.console.is_terminal:
        progress.message(f"loading {library}")
    with progress.steps(f"loading {library}"):
        yield
