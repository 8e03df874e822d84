"""How far a long task is: a bar on a terminal, plain lines elsewhere, silence for a caller; and when it is to stop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from in4310repro import signals
from in4310repro.text import visible

Advance = Callable[[int, str], None]
SECONDS_BETWEEN_LINES = 5.0


@dataclass(frozen=True)
class Progress:
    """Where progress is shown; a console of None shows nothing."""

    console: Console | None = None

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Advance]:
        """Yields a function that takes the items done since its last call and a detail such as `loss 0.41`."""
        title = visible(title)
        if self.console is None:
            yield lambda _done, _detail: None
        elif self.console.is_terminal:
            with _bars(self.console) as bars:
                bar = bars.add_task(title, total=total, detail="")
                yield lambda done, detail: bars.update(bar, advance=done, detail=visible(detail))
        else:
            yield _plain_lines(self.console, title, total)

    def message(self, line: str) -> None:
        """One line, as it is."""
        if self.console is not None:
            print_plain(self.console, visible(line))


SILENT = Progress()


def print_plain(console: Console, text: str) -> None:
    """Text as it is: `[red]` is no colour and `:sea:` no picture in it; what the encoding lacks becomes an escape."""
    printable = text.encode(console.encoding, "backslashreplace").decode(console.encoding)
    console.print(Text(printable), soft_wrap=True)


def _bars(console: Console) -> Bars:
    title, detail = (TextColumn(field, markup=False) for field in ("{task.description}", "{task.fields[detail]}"))
    return Bars(title, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), detail, console=console)


def _plain_lines(console: Console, title: str, total: int) -> Advance:
    """A line at most every few seconds, and one when all is done."""
    start = shown = time.monotonic()
    finished = 0

    def advance(done: int, detail: str) -> None:
        nonlocal shown, finished
        finished += done
        now = time.monotonic()
        if finished < total and now - shown < SECONDS_BETWEEN_LINES:
            return
        shown = now
        left = (now - start) / max(finished, 1) * (total - finished)
        line = f"{title}: {finished}/{total}, {left:.0f} s left"
        print_plain(console, f"{line}, {visible(detail)}" if detail else line)

    return advance


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Lets a step finish before a signal such as Ctrl-C (see `signals`) counts; a second one counts at once."""
    asked: list[int] = []

    def note(number: int, _frame: Any) -> None:
        asked.append(number)
        signals.handled.append(number)
        signal.signal(number, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, note) for number in signals.stopping_signals()}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
