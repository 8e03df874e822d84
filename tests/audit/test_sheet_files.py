"""Sheets: what was read, as a file that a person corrects and confirms."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import pytest

from in4310repro.audit import command
from in4310repro.audit.document import Document, Measure
from in4310repro.audit.examine import audit
from in4310repro.audit.readers import read
from in4310repro.audit.readers.sheet_files import read_toml
from in4310repro.audit.verdicts import Options
from tests.audit.habits import report
from tests.audit.reports import Report

FOLDER = Path(__file__).parent
CHARTS = FOLDER / "printed" / "chart_types_weighted.txt"
PAGE = (FOLDER.parents[1] / "docs" / "audit-sheets.md").read_text(encoding="utf-8")
SOURCES = [*sorted((FOLDER / "printed").glob("*.txt")), *sorted((FOLDER / "wild").glob("*.md"))]


def sheet_of(path: Path, folder: Path) -> Path:
    outcome = command.audit_file(path, Options(), power=False)
    assert outcome.audit
    return command.write_read(outcome.audit, folder / "sheet.toml")


def confirm(sheet: Path) -> Path:
    text = sheet.read_text(encoding="utf-8")
    sheet.write_text(text.replace("confirmed = false", "confirmed = true"), encoding="utf-8")
    return sheet


def numbers(document: Document) -> set[Fraction]:
    """Return the numbers that are checked of a document: its values and the cells of its matrices."""
    values = {v.printed.value for table in document.tables for v in table.values if v.measure is not Measure.OTHER}
    return values | {c.value for table in document.tables if table.matrix for row in table.matrix.rows for c in row}


@pytest.mark.parametrize("path", SOURCES, ids=[path.name for path in SOURCES])
def test_a_sheet_says_what_was_read(path: Path, tmp_path: Path) -> None:
    sheet = sheet_of(path, tmp_path)
    joined = audit(path, power=False)
    told = read(sheet)
    assert numbers(told) == numbers(joined.document)
    assert told.certain == ()
    assert len(read(confirm(sheet)).certain) == len(told.tables)


def test_an_unconfirmed_sheet_launders_no_guess_and_a_confirmed_one_accuses(tmp_path: Path) -> None:
    sheet = sheet_of(CHARTS, tmp_path)
    assert [audit(path, power=False).exit_code for path in (CHARTS, sheet)] == [3, 3]
    assert audit(confirm(sheet), power=False).exit_code == 1


def test_a_corrected_sheet_accuses_nobody(tmp_path: Path) -> None:
    sheet = confirm(sheet_of(CHARTS, tmp_path))
    text = sheet.read_text(encoding="utf-8")
    sheet.write_text(text.replace("94.14%", "93.88%"), encoding="utf-8")
    assert audit(sheet, power=False).exit_code == 0


def test_a_sheet_is_no_place_for_another_report(tmp_path: Path) -> None:
    sheet = sheet_of(CHARTS, tmp_path)
    with pytest.raises(ValueError, match=r"^--sheet .* exists, and may hold corrections; expected a new file$"):
        command.check_outputs(None, sheet, [CHARTS])
    with pytest.raises(ValueError, match=r"^--sheet a\.txt ends in \.txt; expected \.toml$"):
        command.check_outputs(None, Path("a.txt"), [CHARTS])


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL))
def test_the_sheets_of_the_page_are_read(block: str, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.toml"
    sheet.write_text(block, encoding="utf-8")
    (table,) = read(sheet).tables
    assert len(table.classes) == 2
    assert set(table.sizes) == set(table.classes)


def test_the_finding_of_the_page_is_printed() -> None:
    printed = command.lines([command.audit_file(CHARTS, Options(), power=False)])[0]
    block = PAGE.partition("```\n")[2].partition("```")[0]
    for sentence in re.split(r"(?<=[.:;]) |\n", block):
        words = " ".join(sentence.split())
        assert words in " ".join(printed.split()) or words.startswith("$ "), words


MATRIX = (
    '[[table]]\nrows = [{ class = "a", recall = "0.75", images = 4 }, { class = "b", recall = "0.5", images = 2 }]\n'
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[table]]\nrows = [{ class = "a", f3 = "0.9" }]', "table 1: unknown key f3 in rows; valid keys are class, "),
        ('[[table]]\nrows = [{ recall = "0.9" }]', "rows has an empty class name"),
        ('[[table]]\nrows = "a"', "rows is 'a'; expected rows such as { class = "),
        ('[[table]]\naverages = [{ average = "mean", recall = "0.9" }]', "the average 'mean'; expected macro, "),
        ('[[table]]\nrows = [{ class = "a", recall = 0.9 }]', 'recall 0.9 is not a string; expected "0.9882"'),
        ('[[table]]\nof = "pixels"', "of is 'pixels'; expected images, boxes, "),
        (MATRIX + "matrix = [[3, 1]]", r"matrix is \[\[3, 1\]\]; expected rows of numbers"),
        ('confirmed = "yes"\n' + MATRIX, "confirmed is 'yes'; expected true or false"),
    ],
)
def test_a_sheet_with_a_slip_is_refused_with_what_would_be_valid(text: str, message: str, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.toml"
    sheet.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read(sheet)


def test_percentages_folds_matrices_and_other_rows_are_said_in_a_sheet(tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.toml"
    more = '[[table]]\npercent = true\nrows = [{ class = "x", f1 = "0.9" }]\nothers = [{ row = "std", f1 = "0.1" }]\n'
    sheet.write_text("folds = 5\n" + MATRIX + "matrix = [[3, 1], [1, 1]]\n" + more, encoding="utf-8")
    document = read(sheet)
    one, two = document.tables
    assert (document.folds, dict(one.sizes), two.values[0].printed.percent) == (5, {"a": 4, "b": 2}, True)
    assert one.matrix is not None
    assert one.matrix.classes == ("a", "b")
    assert [value.class_name for value in two.asides] == ["std"]


def test_a_planted_error_is_found_in_a_typed_sheet_as_in_its_table(tmp_path: Path) -> None:
    made: Report = report("report as a Markdown table", 3)
    path = tmp_path / "report.md"
    path.write_text(made.text, encoding="utf-8")
    assert audit(confirm(sheet_of(path, tmp_path)), power=False).exit_code == 0
    cell = made.of_role("class")[0]
    wrong = "0.123" if cell.text.startswith("0.9") else "0.987"
    (tmp_path / "sheet.toml").unlink()
    path.write_text(made.text[: cell.start] + wrong + made.text[cell.start + len(cell.text) :], encoding="utf-8")
    assert audit(confirm(sheet_of(path, tmp_path)), power=False).exit_code == 1


@pytest.mark.parametrize(
    "matrix", ["[[88, 12], [14, 186]]", "[\n  [88, 12],\n  [14, 186],\n]", '[["88", "12"], ["14", "186"]]']
)
def test_a_matrix_is_named_by_the_lines_of_its_rows(matrix: str) -> None:
    rows = '{ class = "sea", recall = "0.5" }, { class = "town", recall = "0.5" }'
    text = f'[[table]]\nname = "t"\nrows = [{rows}]\nmatrix = {matrix}\n'
    (piece,) = read_toml(text)
    assert piece.table.matrix
    lines = [row[0].line for row in piece.table.matrix.rows]
    assert lines == [1 + next(i for i, line in enumerate(text.splitlines()) if each in line) for each in ("88", "186")]
