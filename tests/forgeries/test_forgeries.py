"""Every forgery in the table: what detects it, the message about it, and a naive check that misses it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from in4310repro.system.numerics import Numerics
from tests import golden_cases
from tests.bad_input.sandbox import call
from tests.docs import caught
from tests.forgeries.doors import nothing
from tests.forgeries.harness import Verdict, faults, judge, trusts
from tests.forgeries.row import Forgery
from tests.forgeries.rows import ROWS
from tests.forgeries.starts import LONG, RUN, STARTS, starts
from tests.forgeries.table import COMMANDS, cells

LEAST = 100
# Of each kind one, for the suite's ordinary part.
ORDINARY = ("mean class accuracy of 0.99", "a newline added at the end")
# As others, but for the seed or the images.
LIKE_OTHERS = ("seed 1", "own images", "wrong labels", "ground", "near copies")
Start = Callable[[str], Path]


@pytest.fixture(scope="session")
def start(numerics: Numerics, tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Return a function that makes the honest run of a given name once for all test workers."""
    shared = golden_cases.SHARED or tmp_path_factory.getbasetemp()
    return starts(shared / "honest", numerics)


def marked(place: int, row: Forgery) -> object:
    identifier = f"{row.group}: {row.name}".replace(" ", "-")
    mark = pytest.mark.slow if place % 12 == 0 else pytest.mark.soak
    return pytest.param(row, id=identifier, marks=[] if row.name in ORDINARY else [mark])


# The session makes and verifies all of them, in five minutes.
@pytest.mark.parametrize(
    "row", [marked(place, row) for place, row in enumerate(ROWS) if place % 3 == 0 or row.name in ORDINARY]
)
def test_a_forgery_is_caught_as_the_table_says(row: Forgery, start: Start, numerics: Numerics, tmp_path: Path) -> None:
    verdict = judge(row, tmp_path / "work", start, numerics)
    assert faults(row, verdict) == []
    if numerics.portable:
        assert cells(row, verdict) == tuple(caught.read("forgeries")[ROWS.index(row)].values())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.soak if name in LIKE_OTHERS else pytest.mark.slow)
        for name in ("tiny", *STARTS)
    ],
)
def test_an_honest_run_is_accepted(name: str, start: Start) -> None:
    done = call(["verify", RUN], start(name), limits=LONG)
    assert (done.code, done.err) == (0, done.err)
    assert trusts(start(name) / RUN)


def test_the_file_has_every_forgery_and_how_it_is_caught() -> None:
    table = [tuple(row.values())[:4] for row in caught.read("forgeries")]
    assert table == [(str(number), row.group, row.name, COMMANDS[row.by]) for number, row in enumerate(ROWS, start=1)]


def test_there_are_as_many_forgeries_as_were_asked_for_and_no_two_of_a_name() -> None:
    assert len(ROWS) >= LEAST
    assert [name for name, number in Counter((row.group, row.name) for row in ROWS).items() if number > 1] == []


def test_what_nothing_catches_says_what_would() -> None:
    assert [row.name for row in ROWS if (row.by == "nothing") != bool(row.shown_by)] == []


CAUGHT_ROW = Forgery(group="", name="", forge=nothing, words=("metrics.json",))
VERDICT = Verdict("verify", ("metrics.json has another loss",), (), trusted=True)


@pytest.mark.parametrize(
    ("row", "verdict", "fault"),
    [
        (CAUGHT_ROW, replace(VERDICT, by="nothing"), "caught by nothing and not by verify"),
        (replace(CAUGHT_ROW, words=("split.csv",)), VERDICT, "no sentence with ('split.csv',)"),
        (CAUGHT_ROW, replace(VERDICT, trusted=False), "the manifest fits the files: False"),
        (CAUGHT_ROW, replace(VERDICT, stray=("Traceback",)), "printed 'Traceback'"),
    ],
)
def test_a_row_that_is_wrong_fails(row: Forgery, verdict: Verdict, fault: str) -> None:
    assert faults(CAUGHT_ROW, VERDICT) == []
    assert any(each.startswith(fault) for each in faults(row, verdict))
