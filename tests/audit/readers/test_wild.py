"""Documents in many formats, each with a file that lists everything the reader must find in it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from in4310repro.audit.examine import audit
from in4310repro.audit.readers import read
from in4310repro.audit.readers.unused import WHY
from in4310repro.audit.verdicts import Rank
from tests.audit.readers.described import everything

FOLDER = Path(__file__).parents[1] / "wild"
# Short documents that each show one or two rules of the readers.
SHORT = Path(__file__).parents[1] / "documents"
READING = ".read"
SOURCES = sorted(path for folder in (FOLDER, SHORT) for path in folder.iterdir() if path.suffix != READING)


def reading(path: Path) -> str:
    """Return one text: a document's values, the lines not understood, and the lines that are only context."""
    document = read(path)
    left = [
        f"left {each.line} {each.text}" + (f": {each.why}" if each.why != WHY else "")
        for each in document.unread
        if not each.measuring
    ]
    context = [f"context {each.line} {each.kind}" for each in document.context]
    return "\n".join([*everything(document), *left, *context]) + "\n"


@pytest.mark.parametrize("path", SOURCES, ids=[path.name for path in SOURCES])
def test_a_document_is_read_as_it_is_and_nothing_is_dropped(path: Path) -> None:
    assert reading(path) == path.with_name(path.name + READING).read_text(encoding="utf-8")


def test_every_reading_is_of_a_document() -> None:
    for folder, least in ((FOLDER, 50), (SHORT, 150)):
        readings = {path.name.removesuffix(READING) for path in folder.iterdir() if path.suffix == READING}
        sources = {path.name for path in SOURCES if path.parent == folder}
        assert readings == sources
        assert len(sources) > least


@pytest.mark.parametrize("path", SOURCES, ids=[path.name for path in SOURCES])
def test_every_line_with_a_number_was_used_or_is_context_or_is_named(path: Path) -> None:
    document = read(path)
    told = {each.line for each in document.unread} | {each.line for each in document.context}
    for table in document.tables:
        told |= {printed.line for printed in table.printed}
        # Headings and rows of sizes lie within the table.
        told |= set(range(table.first, table.last + 1))
    numbers = {number for number, line in enumerate(document.lines, start=1) if any(map(str.isdigit, line))}
    assert numbers - told == set()


def test_the_finding_about_a_notebook_names_its_cell() -> None:
    text = (
        (FOLDER / "notebook.json")
        .read_text(encoding="utf-8")
        .replace("0.90      0.90      0.89", "0.70      0.90      0.89")
    )
    findings = audit(text, power=False).contradictions
    assert findings
    assert all("cell 2 (In [3])" in finding.tables[0] for finding in findings)


def test_a_mean_with_few_digits_beside_doubles_is_a_rounded_one() -> None:
    values = ("0.6742489426027927", "0.7913672875238116", "0.612096015101108")
    text = "Average Precision Per-class:\n" + "".join(f"class {place}: {value}\n" for place, value in enumerate(values))
    mean = sum(map(float, values)) / 3
    assert audit(f"{text}\nAverage Precision Across All Classes:{mean:.4f}\n", power=False).contradictions == ()
    wrong = f"{text}\nAverage Precision Across All Classes:{mean + 0.0002:.4f}\n"
    assert len(audit(wrong, power=False).contradictions) == 1


def test_a_column_of_other_numbers_is_no_accuracy_and_a_row_of_dots_no_class() -> None:
    table = (
        "| id | image_top_1 | count | accuracy |\n|---|---|---|---|\n"
        "| a | 1008.0 | 400 | 0.5 |\n| b | 692.0 | 1350 | 0.6 |\n| ... | 2722 | 661422 | 0.7 |\n"
        "| c | 3032.0 | 50 | 0.9 |\n"
    )
    values = [value for each in read(table).tables for value in each.values]
    assert {value.printed.text for value in values} == {"0.5", "0.6", "0.9"}
    assert audit(table, power=False).contradictions == ()


def test_a_long_list_of_numbers_that_is_no_list_of_values_is_passed_in_a_moment() -> None:
    started = time.perf_counter()
    with pytest.raises(ValueError, match="no printed result"):
        read("Weights of the accuracy: [" + "1,2, 3,4," * 60 + "x]\n")
    assert time.perf_counter() - started < 2


def test_token_accuracy_beside_overall_scores_of_entities_is_no_mean_of_theirs() -> None:
    assert [f.rank for f in audit(FOLDER / "seqeval_card.md", power=False).findings if f.rank is Rank.AS_READ] == []


def test_scores_of_spacy_are_held_against_each_other() -> None:
    text = (FOLDER / "spacy_metrics.json").read_text(encoding="utf-8")
    assert audit(text, power=False).contradictions == ()
    assert audit(text.replace("0.8764894249", "0.8964894249"), power=False).contradictions
