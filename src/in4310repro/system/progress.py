"""Progress display of long tasks (a bar on a terminal, else plain lines), and interrupts between steps."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any

from in4310repro.system import signals
from in4310repro.system.text import duration_text, visible

# rich is imported where something is shown: `--help` shows no progress.
if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars

Advance = Callable[[int, str], None]
SECONDS_BETWEEN_LINES = 5.0


@dataclass
class Clock:
    """Estimator of the time that a task with several parts takes."""

    now: Callable[[], float]
    start: tuple[float, float] | None = None

    def seconds_for(self, share: float) -> float | None:
        """Return the seconds that one whole task takes at the speed until now; `share` of it is done.

        The result is None if nothing has been done since this method was first called.
        """
        now = self.now()
        # What a resumed training did before took none of this time.
        self.start = self.start or (now, share)
        began, first = self.start
        return (now - began) / (share - first) if share > first else None


@dataclass(frozen=True)
class Part:
    """One part of a task, such as training the second of three settings."""

    clock: Clock
    title: str = ""
    begin: float = 0.0  # share of the whole that comes before
    length: float = 1.0  # share of the whole
    unit: str = ""  # name of a part that is one task; empty if it may have several


@dataclass(frozen=True)
class Progress:
    """Progress display on a console; shows nothing if the console is None."""

    console: Console | None = None
    stretch: Part | None = None
    now: Callable[[], float] = time.monotonic  # seconds, from any start

    def whole(self) -> Progress:
        """Return a display for a task with several parts, which shows the time left for all parts together."""
        return self if self.console is None else replace(self, stretch=Part(Clock(self.now)))

    def part(self, index: int, count: int, title: str = "", unit: str = "") -> Progress:
        """Return a display for one of several equal parts of a task; the index starts at 0.

        A part that is one task has a `unit`, such as epoch, and shows the time left of itself and of all parts. Any
        other part can be divided again. If `whole` was not called before, the display itself is returned.
        """
        if (outer := self.stretch) is None:
            return self
        begin, length = outer.begin + outer.length * index / count, outer.length / count
        title = ", ".join(filter(None, (outer.title, title)))
        return replace(self, stretch=Part(outer.clock, title, begin, length, unit))

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Advance]:
        """Yield a function that shows the progress of a task.

        Call it with the number of items finished since its last call, and a text to show.
        """
        left = self._time_left(total)
        if self.stretch and self.stretch.title:
            title = f"{self.stretch.title}, {title}"
        title = visible(title)
        if self.console is None:
            yield lambda _done, _detail: None
        elif self.console.is_terminal:
            with _bars(self.console) as bars:
                bar = bars.add_task(title, total=total, left="", detail="")
                yield lambda done, detail: bars.update(bar, advance=done, left=left(done), detail=visible(detail))
        else:
            show = _plain_lines(self.console, title, total, self.now)
            yield lambda done, detail: show(done, left(done), visible(detail))

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

        # Of a bare Text, a status would take the letters alone.
        def as_line(text: str) -> Padding:
            return Padding(Text(text, no_wrap=True, overflow="ellipsis"), 0)

        with self.console.status(as_line(title)) as status:
            yield lambda step: status.update(as_line(f"{title}: {visible(step)}"))

    def _time_left(self, total: int) -> Callable[[int], str]:
        """Return a function that takes the number of items finished since its last call, and returns the time left.

        One clock measures a part and the whole, so that a part never takes longer than the whole.
        """
        part = self.stretch if self.stretch and self.stretch.unit else Part(Clock(self.now, (self.now(), 0.0)))
        finished = 0

        def left(done: int) -> str:
            nonlocal finished
            finished += done
            share = part.begin + part.length * finished / max(total, 1)
            seconds = part.clock.seconds_for(share)
            if seconds is None:
                return ""
            of_part, of_all = (duration_text(max(seconds * (end - share), 0)) for end in (part.begin + part.length, 1))
            return f"{part.unit} {of_part}, all {of_all} left" if part.unit else f"{of_part} left"

        return left

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
    if progress.console is None or library in sys.modules:
        yield
    elif progress.console.is_terminal:
        with progress.console.status(f"loading {library}"):
            yield
    else:
        progress.message(f"loading {library}")
        yield


def _bars(console: Console) -> Bars:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    title, left, detail = (
        TextColumn(field, markup=False)
        for field in ("{task.description}", "{task.fields[left]}", "{task.fields[detail]}")
    )
    columns = (title, BarColumn(), MofNCompleteColumn(), left, detail)
    # A bar that is done says nothing that the lines after it do not.
    return Progress(*columns, console=console, transient=True)


def _plain_lines(
    console: Console, title: str, total: int, clock: Callable[[], float]
) -> Callable[[int, str, str], None]:
    """Return a function that prints progress as plain lines: one every few seconds, and one at the end."""
    shown, finished = clock(), 0

    def advance(done: int, left: str, detail: str) -> None:
        nonlocal shown, finished
        finished += done
        now = clock()
        if finished < total and now - shown < SECONDS_BETWEEN_LINES:
            return
        shown = now
        print_plain(console, ", ".join(filter(None, (f"{title}: {finished}/{total}", left, detail))))

    return advance


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Hold back signals such as Ctrl-C in the `with` block; yield a function that returns whether one has come.

    The caller can thus stop after the current step. A second signal raises KeyboardInterrupt at once (see
    `signals`).
    """
    asked: list[float] = []

    def note(number: int, _frame: Any) -> None:
        if asked and signals.is_repeat(asked[0]):
            return
        if asked:
            raise KeyboardInterrupt
        asked.append(time.monotonic())
        signals.handled.append(number)

    with signals.handling(note):
        yield lambda: bool(asked)
