"""Confusion matrices of shares against counts that made them, however they are divided and printed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from in4310repro.audit.examine import audit
from in4310repro.audit.verdicts import Rank

Matrix = NDArray[np.float64]
COUNTS = np.array([[61, 3, 0, 5, 1], [2, 48, 9, 0, 4], [0, 7, 83, 2, 0], [6, 0, 1, 40, 11], [3, 2, 2, 8, 71]], float)
DIVIDED = {
    "rows": COUNTS / COUNTS.sum(1, keepdims=True),
    "columns": COUNTS / COUNTS.sum(0, keepdims=True),
    "all": COUNTS / COUNTS.sum(),
}


def printed(matrix: Matrix, form: str) -> str:
    """As f-strings print it, with a format for each cell."""
    scale = 100 if "%" in form else 1
    rows = ["[" + " ".join(f"{scale * cell:{form.rstrip('%')}}" for cell in row) + "]" for row in matrix]
    return "[" + "\n ".join(rows) + "]"


def report(matrix: str, recalls: Matrix | None = None, sizes: bool = False) -> str:
    recalls = np.diag(DIVIDED["rows"]) if recalls is None else recalls
    support = " Support |" if sizes else ""
    cells = [f"| c{i} | {r:.4f} |" + (f" {COUNTS[i].sum():.0f} |" if sizes else "") for i, r in enumerate(recalls)]
    rule = "|---|---|" + ("---|" if sizes else "")
    return f"| Class | Recall |{support}\n{rule}\n" + "\n".join(cells) + f"\n\nConfusion matrix, normalised\n{matrix}\n"


@pytest.mark.parametrize("sizes", [False, True])
@pytest.mark.parametrize("form", [".2f", ".3f", ".4f", ".2g", ".0f%", ".1f%", ".8f"])
@pytest.mark.parametrize("divided", DIVIDED)
@pytest.mark.parametrize("turned", [False, True])
def test_a_matrix_of_shares_of_the_same_counts_accuses_nobody(
    divided: str, form: str, turned: bool, sizes: bool
) -> None:
    matrix = DIVIDED[divided].T if turned else DIVIDED[divided]
    result = audit(report(printed(matrix, form), sizes=sizes), power=False)
    assert any(table.matrix for table in result.document.tables)
    assert result.inconsistencies == ()


def test_rows_of_a_class_without_images_and_numpys_own_form_accuse_nobody() -> None:
    counts = COUNTS.copy()
    counts[2] = 0
    matrix = counts / np.maximum(1, counts.sum(1, keepdims=True))
    for text in (np.array2string(np.round(matrix, 2)), np.array2string(matrix.astype(np.float32))):
        assert audit(report(text, np.diag(matrix)), power=False).inconsistencies == ()


@pytest.mark.parametrize("form", [".2f", ".3f", ".1f%"])
def test_a_row_that_adds_up_to_more_than_one_is_impossible_and_to_less_unless_a_class_is_left_out(form: str) -> None:
    for change, rank in ((0.07, Rank.IMPOSSIBLE), (-0.07, Rank.UNLESS)):
        matrix = DIVIDED["rows"].copy()
        matrix[1, 2] += change
        found = [f for f in audit(report(printed(matrix, form)), power=False).findings if f.kind == "shares"]
        assert [finding.rank for finding in found] == [rank]


def test_rounded_rows_that_add_up_to_0_99_or_1_01_are_no_finding() -> None:
    thirds = np.array([[1, 1, 1], [1, 5, 1], [2, 2, 11]], float)
    matrix = thirds / thirds.sum(1, keepdims=True)
    text = f"Confusion matrix\n{printed(matrix, '.2f')}\n"
    assert "0.33 0.33 0.33" in text
    assert audit(text, power=False).findings == ()


def changed(recalls: Matrix) -> Matrix:
    other = recalls.copy()
    other[1] -= 0.05
    return other


@pytest.mark.parametrize(("form", "rank"), [(".4f", Rank.IMPOSSIBLE), (".3f", Rank.IMPOSSIBLE), (".2f", Rank.UNLESS)])
def test_a_recall_that_is_not_on_the_diagonal_is_found_as_far_as_the_digits_of_the_others_tell(
    form: str, rank: Rank
) -> None:
    wrong: Callable[[str], str] = lambda text: report(text, changed(np.diag(DIVIDED["rows"])))  # noqa: E731
    found = [
        f for f in audit(wrong(printed(DIVIDED["rows"], form)), power=False).findings if f.kind == "confusion matrix"
    ]
    assert [finding.rank for finding in found] == [rank]
    assert {value.class_name for value in found[0].values} == {"c1"}


def test_where_recall_and_precision_are_alike_the_diagonal_of_the_other_accuses_nobody() -> None:
    counts = np.diag([990, 985, 992, 988, 991]).astype(float) + 2
    counts[0, 4] += 14
    by_columns = counts / counts.sum(0, keepdims=True)
    recalls = np.diag(counts) / counts.sum(1)
    for form in (".2f", ".3f"):
        assert audit(report(printed(by_columns, form), recalls), power=False).inconsistencies == ()


def test_a_share_that_no_number_of_images_gives_is_impossible() -> None:
    matrix = printed(DIVIDED["rows"], ".4f")
    # 5/70 = 0.0714 and 1/70 = 0.0143 become 0.0764 and 0.0093: the row adds up to one as before.
    wrong = matrix.replace("0.0714", "0.0764").replace("0.0143", "0.0093")
    found = audit(report(wrong, sizes=True), power=False).inconsistencies
    assert [finding.kind for finding in found] == ["count", "count"]
    assert audit(report(matrix, sizes=True), power=False).findings == ()


def test_other_numbers_in_brackets_are_no_confusion_matrix() -> None:
    text = "Accuracy of a: 0.9\nAccuracy of b: 0.8\nAccuracy of c: 0.7\n\nWeights:\n"
    matrix = "[[0.2 0.3 0.5]\n [0.1 0.8 0.1]\n [0.3 0.3 0.9]]\n"
    assert not any(table.matrix for table in audit(text + matrix, power=False).document.tables)


@pytest.mark.parametrize(("trace", "found"), [(0.0, 0), (0.03, 1)])
def test_the_diagonal_of_shares_of_all_images_adds_up_to_the_overall_accuracy(trace: float, found: int) -> None:
    accuracy = float(np.trace(DIVIDED["all"])) + trace
    text = f"Confusion matrix\n{printed(DIVIDED['all'], '.3f')}\n\nOverall accuracy: {accuracy:.3f}\n"
    result = audit(text, power=False)
    assert len(result.findings) == found
    assert result.inconsistencies == ()
