"""Every row of the table of bad input: exit code, sentence, and what must stay unchanged."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bad_input import table
from tests.bad_input.row import Row, faults
from tests.bad_input.sandbox import Limits, Sandbox, make_one_setting, time_limit
from tests.docs import caught

LEAST = 150
MOST_PROCESSES = 25


def identifier(row: Row) -> str:
    return f"{row.group}: {row.name}".replace(" ", "-")


@pytest.fixture(scope="module")
def one_setting(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_one_setting(finished_run, tmp_path_factory.mktemp("one") / "tiny")


@pytest.fixture
def box(tmp_path: Path, finished_run: Path, one_setting: Path) -> Sandbox:
    return Sandbox(tmp_path / "box", finished_run, one_setting)


def marked(row: Row) -> object:
    return pytest.param(row, id=identifier(row), marks=[pytest.mark.process, pytest.mark.slow] if row.process else [])


@pytest.mark.parametrize("row", [marked(row) for row in table.ROWS])
def test_bad_input_is_refused_in_a_sentence_and_nothing_else_is_touched(row: Row, box: Sandbox) -> None:
    assert faults(row, box) == []


def test_the_table_has_its_rows_and_few_need_a_process() -> None:
    assert len(table.ROWS) >= LEAST
    assert sum(row.process for row in table.ROWS) <= MOST_PROCESSES
    assert [name for name, number in Counter(map(identifier, table.ROWS)).items() if number > 1] == []


def test_the_file_holds_every_row() -> None:
    text = caught.file_of("bad-input").read_text(encoding="utf-8")
    assert caught.text_of(table.COLUMNS, map(table.cells, table.ROWS)) == text


ROW = Row(group="", name="", command="train --preset big", code=2, words=("'big'",))


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        (replace(ROW, code=1), "exit code 2 and not 1"),
        (replace(ROW, words=("small",)), "does not say 'small'"),
        (replace(ROW, code=0, words=()), "exit code 2 and not 0"),
    ],
)
def test_a_row_that_is_wrong_fails(wrong: Row, fault: str, box: Sandbox) -> None:
    assert fault in faults(wrong, box)


def compute_for_ever() -> None:
    while True:
        pass


@pytest.mark.parametrize(
    ("act", "fault"),
    [
        (lambda box: (box.root / "victim/index.html").write_text("ours now"), "changed victim/index.html"),
        (lambda _box: int("x"), "printed 'Traceback (most recent call last):'"),
    ],
    ids=["writes elsewhere", "traceback"],
)
def test_a_command_that_does_what_none_may_fails_its_row(
    act: Callable[[Sandbox], object], fault: str, box: Sandbox
) -> None:
    box.main = lambda: act(box)
    assert fault in faults(ROW, box)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers")
@pytest.mark.parametrize(
    ("hang", "limits"),
    [(lambda: signal.pause(), Limits(idle=0.1, tick=0.05)), (compute_for_ever, Limits(work=0.1, tick=0.05))],
    ids=["waits", "computes"],
)
def test_a_command_that_hangs_fails_its_row(hang: Callable[[], object], limits: Limits, box: Sandbox) -> None:
    box.limits, box.main = limits, hang
    assert "exit code None and not 2" in faults(ROW, box)


def test_a_command_that_a_busy_machine_makes_slow_is_no_fault() -> None:
    clock, limits = [0.0], Limits(work=5.0, tick=0.01)
    with time_limit(limits, lambda: clock[0]) as passed:
        # An hour of the clock for each hundredth of a second that it computes.
        for _ in range(20):
            clock[0] += 0.9 * limits.idle
            until = time.process_time() + 0.03
            while time.process_time() < until:
                pass
    assert passed == []
