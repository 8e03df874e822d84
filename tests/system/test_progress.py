"""Progress: a bar that disappears on a terminal, lines elsewhere, and the time left for work in several parts."""

import io
import os
import re
import sys
import time

import pytest
from rich.console import Console

from in4310repro.system.progress import SILENT, Progress, show_import, write_line


class Time:
    """A clock that a test sets."""

    now = 100.0

    def read(self) -> float:
        return self.now


def lines_of(shown: io.StringIO) -> list[str]:
    return shown.getvalue().splitlines()


def test_a_part_says_which_it_is_and_how_long_the_whole_takes_yet() -> None:
    clock = Time()
    shown = io.StringIO()
    whole = Progress(Console(file=shown, width=200), now=clock.read).whole()
    for number in range(2):
        part = whole.part(number, 2, f"setting {number + 1} of 2")
        for epoch in range(2):
            with part.part(epoch, 2, unit="epoch").task(f"epoch {epoch + 1}", 8) as advance:
                advance(0, "")
                for _ in range(2):
                    clock.now += 6
                    advance(4, "loss 1")
    # 8 halves of an epoch, 6 s each.
    assert lines_of(shown) == [
        "setting 1 of 2, epoch 1: 4/8, epoch 6 s, all 42 s left, loss 1",
        "setting 1 of 2, epoch 1: 8/8, epoch 0 s, all 36 s left, loss 1",
        "setting 1 of 2, epoch 2: 4/8, epoch 6 s, all 30 s left, loss 1",
        "setting 1 of 2, epoch 2: 8/8, epoch 0 s, all 24 s left, loss 1",
        "setting 2 of 2, epoch 1: 4/8, epoch 6 s, all 18 s left, loss 1",
        "setting 2 of 2, epoch 1: 8/8, epoch 0 s, all 12 s left, loss 1",
        "setting 2 of 2, epoch 2: 4/8, epoch 6 s, all 6 s left, loss 1",
        "setting 2 of 2, epoch 2: 8/8, epoch 0 s, all 0 s left, loss 1",
    ]


@pytest.mark.parametrize("terminal", [False, True])
def test_a_part_that_slows_down_never_takes_longer_than_the_whole(terminal: bool) -> None:
    clock, shown = Time(), io.StringIO()
    console = Console(file=shown, width=200, force_terminal=terminal, color_system=None)
    setting = Progress(console, now=clock.read).whole().part(0, 1)
    with setting.task("features", 1) as advance:
        clock.now += 10
        advance(1, "")
    for epoch, seconds in ((0, 1), (1, 30)):
        with setting.part(epoch, 2, unit="epoch").task("images", 4) as advance:
            advance(0, "")
            for _ in range(4):
                clock.now += seconds
                advance(1, "")
    text = shown.getvalue()
    if not terminal:
        assert "features: 1/1, 0 s left" in text
        # 7 of 8 quarters took 94 s.
        assert "epoch 13 s, all 13 s left" in text
    left = [tuple(map(int, each)) for each in re.findall(r"epoch (\d+) s, all (\d+) s left", text)]
    assert left
    assert all(of_part <= of_all for of_part, of_all in left)


def test_what_an_earlier_process_did_takes_no_time_of_this_one() -> None:
    clock = Time()
    shown = io.StringIO()
    part = Progress(Console(file=shown, width=200), now=clock.read).whole().part(1, 2, unit="part")
    with part.task("the second of two", 10) as advance:
        # Resumed in the middle: three quarters are done.
        advance(5, "")
        clock.now += 8
        advance(4, "")
    # 20 % of the whole in 8 s, and 5 % are left.
    assert lines_of(shown) == ["the second of two: 9/10, part 2 s, all 2 s left"]


def test_a_task_that_is_part_of_nothing_says_nothing_of_a_whole() -> None:
    clock = Time()
    shown = io.StringIO()
    with Progress(Console(file=shown, width=200), now=clock.read).part(0, 2, "first").task("images", 2) as advance:
        clock.now += 10
        advance(2, "")
    assert lines_of(shown) == ["images: 2/2, 0 s left"]
    assert SILENT.whole() == SILENT


def test_steps_of_an_unknown_number_are_a_line_every_few_seconds() -> None:
    clock, shown = Time(), io.StringIO()
    with Progress(Console(file=shown, width=200), now=clock.read).steps("running [a]") as show:
        for step, seconds in enumerate((4.5, 0.5, 4.5, 0.5)):
            clock.now += seconds
            show(f"run {step}")
    assert lines_of(shown) == ["running [a], 2: run 1", "running [a], 4: run 3"]


def test_steps_on_a_terminal_leave_nothing_on_the_screen() -> None:
    shown = io.StringIO()
    with Progress(Console(file=shown, width=60, force_terminal=True)).steps("running [a]") as show:
        show("run [b]" + 60 * "c")
        time.sleep(0.2)  # the status is drawn 12 times a second
    assert shown.getvalue().count("\n") == 1
    assert "run [b]ccc" in shown.getvalue()
    assert "run [b]" not in shown.getvalue().rpartition("\x1b[2K")[2]
    with SILENT.steps("running") as show:
        show("run")


def test_a_bar_that_is_done_leaves_nothing_on_the_screen() -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=120, color_system=None, legacy_windows=False)
    with Progress(console).whole().part(0, 1, "setting 1 of 1").task("images", 2) as advance:
        advance(1, "")
        advance(1, "loss 1")
    text = shown.getvalue()
    assert "setting 1 of 1, images" in text
    # The cursor is back at the start of the line, which is erased.
    assert text.rstrip("\x1b[?25h\r").endswith("\x1b[2K")


def test_a_library_that_is_loaded_is_said_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    progress = Progress(Console(file=shown, width=100))
    monkeypatch.delitem(sys.modules, "slow_library", raising=False)
    with show_import(progress, "slow_library"):
        monkeypatch.setitem(sys.modules, "slow_library", sys)
    with show_import(progress, "slow_library"), show_import(SILENT, "another"):
        pass
    assert lines_of(shown) == ["loading slow_library"]


def test_lines_that_nobody_reads_are_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(os.dup(writer), "w", encoding="utf-8") as stream:
        Progress(Console(file=stream)).message("one")
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        assert [write_line(stream, line) for line in ("one", "two")] == [False, True]


def test_a_line_that_cannot_be_written_is_an_error() -> None:
    stream = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")
    with stream, pytest.raises(OSError, match="Bad file descriptor"):
        write_line(stream, "one")
