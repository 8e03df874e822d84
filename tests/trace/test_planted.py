"""Planted causes are named by `diff` and by `explain`, and honest trainings are accused of nothing."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from in4310repro.trace.causes import explain
from in4310repro.trace.comparison import compare
from in4310repro.trace.processes import Processes, Training
from tests.docs import caught
from tests.trace import trainings
from tests.trace.honest import HONEST
from tests.trace.planted import HEADS, PLANTED, ROOT, RUN, Planted, examine, nearly_equal_pixels, with_head

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a new process for each run takes minutes")


def each_of(table: Iterable[Any]) -> list[Any]:
    """Return the rows of a table as parameters: every sixth is a slow test, the others are left to `nox -s soak`."""
    return [
        pytest.param(row, marks=pytest.mark.soak if number % 6 else pytest.mark.slow)
        for number, row in enumerate(table)
    ]


@pytest.mark.parametrize("planted", each_of(PLANTED), ids=lambda each: each.what)
def test_a_planted_cause_is_named(planted: Planted, processes: Processes) -> None:
    verdict = examine(planted, processes)
    assert verdict.by_diff, verdict.comparison.paragraph()
    assert verdict.said, verdict.explanation.lines()


@pytest.mark.parametrize("make", each_of(HONEST), ids=lambda each: each.__name__)
def test_an_honest_training_is_accused_of_nothing(make: object, processes: Processes) -> None:
    found = explain(
        (*RUN, f"tests.trace.honest:{getattr(make, '__name__', '')}"), path=[str(ROOT)], processes=processes
    )
    assert found.repeats
    assert found.causes == []


def test_the_tables_have_twenty_causes_and_twenty_honest_trainings_each_once() -> None:
    assert len({each.what for each in PLANTED}) >= 20
    assert len({each.__name__ for each in HONEST}) == 20


def test_another_decoder_is_named_by_the_heads_of_two_traces(processes: Processes) -> None:
    command = (*RUN, "tests.trace.honest:shuffled_loader")
    trace = processes.open("first").run(Training(command, path=(str(ROOT),), steps=1)).trace
    one, other = (with_head(each, head) for each, head in zip((trace, nearly_equal_pixels(trace)), HEADS, strict=True))
    text = compare(one, other).paragraph()
    assert "libjpeg-turbo 3.1.2 and libjpeg-turbo 2.1.5" in text
    # Without other libraries, nothing is said of one.
    assert (
        "libjpeg"
        not in compare(with_head(trace, HEADS[0]), with_head(nearly_equal_pixels(trace), HEADS[0])).paragraph()
    )


READS = ("default_rng(", "listdir(", "glob(", "seed()", "start()", "as_completed(", "time", "urandom(", "getpid(")
MAKES = ("environ", "DataLoader(", "imap_unordered(")


def test_the_tables_have_every_training_and_name_lines_that_read_what_is_planted() -> None:
    planted, honest = caught.read("causes"), caught.read("honest")
    source = Path(trainings.__file__).read_text(encoding="utf-8").splitlines()
    assert [row["planted"] for row in planted[:-1]] == [each.what for each in PLANTED]
    assert [tuple(row.values())[:3] for row in honest] == [(each.__name__, "equal", "no cause") for each in HONEST]
    said = [row["explain"] for row in planted]
    assert "not named" not in said
    lines = {source[int(number) - 1].strip() for number in re.findall(r"trainings\.py:(\d+)", " ".join(said))}
    assert len(lines) > 10
    assert [line for line in lines if not any(each in line for each in (*READS, *MAKES))] == []
