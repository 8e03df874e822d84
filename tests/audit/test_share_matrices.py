"""Row-, column- or fully normalised confusion matrices, compared with the counts that made them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from in4310repro.audit import share_matrices
from in4310repro.audit.claims import CONDITIONS, FORMATS, Claim
from in4310repro.audit.document import Average, Measure
from in4310repro.audit.examine import audit
from in4310repro.audit.intervals import Rounding
from in4310repro.audit.share_matrices import (
    IN_DOUBT,
    TRUE_ROWS,
    Shares,
    adds_up,
    check_share_matrix,
    find_differing,
    read_shares,
    share_on_diagonal,
    weigh_evidence,
)
from in4310repro.audit.verdicts import Rank
from tests.audit.by_hand import cell, column, matrix, sheet_of, value

Matrix = NDArray[np.float64]
COUNTS = np.array([[61, 3, 0, 5, 1], [2, 48, 9, 0, 4], [0, 7, 83, 2, 0], [6, 0, 1, 40, 11], [3, 2, 2, 8, 71]], float)
DIVIDED = {
    "rows": COUNTS / COUNTS.sum(1, keepdims=True),
    "columns": COUNTS / COUNTS.sum(0, keepdims=True),
    "all": COUNTS / COUNTS.sum(),
}


def printed(matrix: Matrix, form: str) -> str:
    """Return the matrix as text, each cell formatted by `form`."""
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


# By hand.

THREE = ("0.9012 0.0512 0.0476", "0.1023 0.8456 0.0521", "0.0201 0.0298 0.9501")
CUT = CONDITIONS[Rounding.TRUNCATED]


def made(*rows: str) -> Any:
    return matrix(*rows, classes="abcdefgh"[: len(rows)], shares=True)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (THREE, (False, ())),
        (("0.50 0.25", "0.10 0.15"), (True, ())),
        # Columns that add up to one.
        (("0.9 0.2", "0.1 0.8"), (False, ())),
        # One of three lines may be wrong, one of two not, and of five two.
        ((THREE[0].replace("0.9012", "0.8012"), *THREE[1:]), (False, (0,))),
        (("0.91 0.31", "0.21 0.81"), None),
        (("0.9 0.1 0 0 0", "0.1 0.9 0 0 0", "0 0 1 0 0", "0 0 0 0.5 0.1", "0 0 0.7 0 0.8"), (False, (3, 4))),
        (("0.9 0.1 0 0", "0.1 0.9 0 0", "0 0 0.5 0.1", "0 0.7 0.1 0.8"), None),
        # The line of a class without images.
        (("0.9 0.1 0", "0.1 0.9 0", "0 0 0"), (False, ())),
        (("90 10", "20 80"), (False, ())),
        # All truncated, and all rounded twice.
        (("0.32 0.32", "0.16 0.17"), (True, ())),
        (("0.34 0.34", "0.17 0.17"), (True, ())),
        # Percentages of at most two, and a float sum of shares just above one.
        (("1.5625 1.5625 1.5625 1.5625 1.5625 1.5625 1.5625 1.5625",) * 8, (True, ())),
        (("1.00000095367431640625 0 0", "0 1 0", "0 0 1"), (False, (0,))),
    ],
)
def test_lines_that_add_up_to_one_tell_how_a_matrix_was_divided(rows: tuple[str, ...], expected: Any) -> None:
    shares = read_shares(made(*rows))
    assert (shares and (shares.whole, shares.wrong)) == expected
    assert read_shares(matrix(*rows, classes="abcdefgh"[: len(rows)])) is None
    assert read_shares(made(*rows[:-1])) is None


def test_columns_are_the_lines_where_they_fit_better() -> None:
    shares = read_shares(made("0.9 0.3", "0.1 0.7"))
    assert shares
    assert [[float(each.share) for each in line] for line in shares.lines] == [[0.9, 0.1], [0.3, 0.7]]
    assert shares.names == ("a", "b")


def test_cells_have_the_unit_of_their_last_place_and_bare_ones_the_coarsest_of_the_others() -> None:
    shares = read_shares(made("1 0", "0.125 0.875"))
    assert shares
    assert [[each.unit for each in line] for line in shares.lines] == [[Fraction(1, 1000)] * 2] * 2
    bare = read_shares(made("1 0", "0 1"))
    assert bare
    assert {each.unit for line in bare.lines for each in line} == {Fraction(1, 100)}
    # A sign shows that an integer has its own unit; one without is taken for a fraction.
    signed = read_shares(made("95% 4.5%", "0 100%"))
    assert signed
    hundredth, thousandth = Fraction(1, 100), Fraction(1, 1000)
    assert [[each.unit for each in line] for line in signed.lines] == [[hundredth, thousandth], [hundredth, hundredth]]
    percent = read_shares(made("90.5 9.5", "20 80"))
    assert percent
    first = percent.lines[0][0]
    assert (first.share, first.unit, first.value.printed.percent) == (Fraction("0.905"), Fraction(1, 1000), True)
    assert (percent.lines[1][0].share, percent.lines[1][0].unit) == (Fraction("0.2"), Fraction(1, 100))
    assert (first.error, first.value.measure, first.value.class_name) == (Fraction(4, 2**24), Measure.OTHER, "a")
    assert percent.lines[0][1].value.label == "share at a, b in the confusion matrix"


def test_shares_add_up_to_one_within_their_rounding_or_are_all_zero() -> None:
    for texts, fits in (
        ("0.51 0.48", True),
        ("0.51 0.47", False),
        ("0.51 0.51", False),
        ("0.51 0.50", True),
        ("0 0", True),
    ):
        cells = [replace(cell(text), unit=Fraction(1, 100)) for text in texts.split()]
        assert adds_up(cells, Rounding.ROUNDED) is fits


def found(
    *rows: str, recalls: dict[str, str] | None = None, others: tuple[Any, ...] = (), **fields: Any
) -> list[Claim]:
    values = column(fields.pop("measure", Measure.RECALL), **(recalls or {}))
    return list(check_share_matrix(sheet_of(*values, *others, matrix=made(*rows), **fields)))


def test_a_line_that_does_not_add_up_is_claimed_with_its_cells() -> None:
    rows = ("0.9512 0.0512 0.0476", *THREE[1:])
    (claim,) = found(*rows)
    assert [each.value.printed.text for each in claim.cells] == rows[0].split()
    assert replace(claim, cells=()) == Claim(
        kind="shares",
        message="the shares of a in the confusion matrix add up to 1.04985 to 1.05015, "
        "those of the other classes to one",
        cells=(),
        readings=("a confusion matrix of shares, each line divided by its sum",),
        excluded=("the sums across, and the sum of all cells", FORMATS),
    )
    (less,) = found("0.8513 0.0512 0.0476", *THREE[1:])
    assert less.conditions == ("some predictions are of a class that is not in the matrix",)
    (cut,) = found("0.3333 0.3333 0.3332", "0.5000 0.5000 0.0000", "0.0000 0.0000 1.0000")
    assert cut.conditions == (CUT, *less.conditions)
    assert found(*THREE) == []


def test_a_value_that_is_not_on_the_diagonal_is_claimed_and_in_doubt_where_few_digits_agree() -> None:
    rows = (*(f"{row} 0.0000" for row in THREE), "0.1111 0.0000 0.0000 0.8889")
    right = {"a": "0.9012", "b": "0.8456", "c": "0.9501", "d": "0.8889"}
    assert found(*rows, recalls=right) == []
    (claim,) = found(*rows, recalls=right | {"b": "0.8123"})
    assert [each.value.printed.text for each in claim.cells] == ["0.8123", "0.8456"]
    assert replace(claim, cells=()) == Claim(
        kind="confusion matrix",
        message="recall of b is printed as 0.8123; the confusion matrix has 0.8456 on its diagonal",
        cells=(),
        readings=("the diagonal is this measure, for that of most other classes is",),
        excluded=("the diagonal divided across", FORMATS),
        needs_counts=True,
    )
    short = tuple(" ".join(f"{float(each):.3f}" for each in row.split()) for row in THREE)
    (doubtful,) = found(*short, recalls={"a": "0.901", "b": "0.812", "c": "0.950"})
    assert doubtful.conditions == IN_DOUBT
    # Other classes, or a diagonal that agrees with one of four.
    assert found(*rows, recalls={"a": "0.9012", "b": "0.8123", "c": "0.9501", "e": "0.8889"}) == []
    assert found(*rows, recalls={"a": "0.9012", "b": "0.8123", "c": "0.9123", "d": "0.8123"}) == []
    (precision,) = found(*rows, recalls=right | {"b": "0.8123"}, measure=Measure.PRECISION)
    assert precision.message.startswith("precision of b is printed as 0.8123")


def test_shares_that_no_number_of_images_gives_are_claimed_where_the_diagonal_is_a_recall() -> None:
    # 9 of 10, and 0.0512 is none of 10; 3 of 4 and 1 of 4 are.
    rows = ("0.9000 0.0512 0.0488", "0.2500 0.7500 0.0000", "0.0000 0.0000 1.0000")
    recalls, sizes = {"a": "0.9000", "b": "0.7500", "c": "1.0000"}, {"a": 10, "b": 4, "c": 7}
    first, second = found(*rows, recalls=recalls, sizes=sizes)
    assert [each.value.printed.text for each in (*first.cells, *second.cells)] == ["0.0512", "0.0488"]
    assert replace(first, cells=()) == Claim(
        kind="count",
        message="share at a, b in the confusion matrix is printed as 0.0512, and no number of 10 images gives that",
        cells=(),
        conditions=IN_DOUBT,
        inputs=("10 images of a, printed",),
        readings=(TRUE_ROWS,),
        excluded=(FORMATS,),
        needs_counts=True,
    )
    assert found(*rows, recalls=recalls, sizes={"b": 4, "c": 7}) == []
    assert found(*rows, recalls=recalls, sizes=sizes, measure=Measure.PRECISION) == []
    (cut,) = found("0.6666 0.3333", "0.0000 1.0000", recalls={"a": "0.6666", "b": "1.0000"}, sizes={"a": 3, "b": 5})
    assert cut.message.startswith("share at a, a")
    assert cut.conditions == (CUT, *IN_DOUBT)


def test_the_diagonal_of_shares_of_all_images_is_divided_and_adds_up_to_the_accuracy() -> None:
    rows = ("0.30 0.05 0.05", "0.02 0.20 0.08", "0.03 0.07 0.20")
    overall = value("0.80", None, Measure.ACCURACY, Average.OVERALL, label="Overall")
    others = (value("0.10", None, Measure.ACCURACY, Average.MACRO), value("0.10", None, Measure.F1, Average.OVERALL))
    (claim,) = found(*rows, others=(*others, overall))
    assert [each.value.printed.text for each in claim.cells] == ["0.80", "0.30", "0.20", "0.20"]
    assert replace(claim, cells=()) == Claim(
        kind="confusion matrix",
        message="Overall is printed as 0.80; the diagonal of the confusion matrix adds up to 0.684999 to 0.715001",
        cells=(),
        conditions=("the confusion matrix is of other images",),
        readings=("a confusion matrix of shares of all images",),
        excluded=(FORMATS,),
        needs_counts=True,
    )
    assert found(*rows, others=(replace(overall, printed=value("0.71").printed),)) == []
    assert found(*THREE, others=(overall,)) == []


def alike(classes: int, wrong: int) -> tuple[Shares, dict[str, Any]]:
    """Return a matrix of 0.9012 in every cell, and class recalls: 0.8012 in the first `wrong` classes, else 0.9012."""
    names = tuple("abcdefghi"[:classes])
    line = [replace(cell("0.9012"), unit=Fraction(1, 10**4))] * classes
    recalls = {name: cell("0.8012" if place < wrong else "0.9012") for place, name in enumerate(names)}
    return Shares(names=names, lines=(line,) * classes, whole=False), recalls


@pytest.mark.parametrize(
    ("classes", "wrong", "told"),
    [(1, 0, False), (2, 0, True), (2, 1, False), (3, 1, True), (5, 2, False), (6, 2, True), (9, 3, False)],
)
def test_up_to_two_values_are_unlike_the_diagonal_where_twice_as_many_others_are_alike(
    classes: int, wrong: int, told: bool
) -> None:
    assert find_differing(*alike(classes, wrong)) == (list(range(wrong)) if told else None)


def test_evidence_is_how_much_wider_than_the_digits_shares_are_apart() -> None:
    shares, recalls = alike(3, 1)
    recalls["c"] = replace(cell("0.9912"), unit=Fraction(1, 10**4))
    # Half a unit and four roundoffs on either side of both; 0.05 or what is missing to one, and nothing of coarse ones.
    width = 2 * (1e-4 + 8 * 2.0**-24)
    assert weigh_evidence(shares, recalls, [0]) == pytest.approx(math.log10(0.05 / width) + math.log10(0.0088 / width))
    coarse = {name: replace(each, unit=Fraction(1, 10)) for name, each in recalls.items()}
    assert weigh_evidence(shares, coarse, [0]) == 0


@pytest.mark.parametrize("bound", ["TOLD", "HINTED"])
def test_evidence_of_just_as_much_as_is_asked_for_is_enough(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share_matrices, "weigh_evidence", lambda *_: getattr(share_matrices, bound))
    recalls = {"a": "0.9012", "b": "0.8123", "c": "0.9501"}
    (claim,) = found(*THREE, recalls=recalls)
    assert claim.conditions == (() if bound == "TOLD" else IN_DOUBT)
    # Of all images only what is told is claimed.
    whole = ("0.30 0.05 0.05", "0.02 0.20 0.08", "0.03 0.07 0.20")
    assert len(found(*whole, recalls={"a": "0.75", "b": "0.50", "c": "0.67"})) == (bound == "TOLD")


ALL = np.array([[31, 5, 5, 1], [2, 23, 8, 0], [3, 7, 29, 2], [0, 4, 1, 37]])


@pytest.mark.parametrize("turned", [False, True])
def test_shares_of_all_images_are_divided_by_the_sums_of_the_true_classes_in_either_orientation(turned: bool) -> None:
    cells = (ALL.T if turned else ALL) / ALL.sum()
    rows = tuple(" ".join(f"{share:.7f}" for share in row) for row in cells)
    recalls = {name: f"{ALL[i, i] / ALL[i].sum():.7f}" for i, name in enumerate("abcd")}
    assert found(*rows, recalls=recalls) == []
    (claim,) = found(*rows, recalls=recalls | {"b": "0.7123456"})
    shown = rows[1].split()[1]
    assert claim.message == (
        f"recall of b is printed as 0.7123456; the confusion matrix has {shown} on its diagonal of shares of all images"
    )
    assert claim.conditions == ()
    # Few digits hint at it, which is too little where shares have to be divided.
    coarse = tuple(" ".join(f"{share:.3f}" for share in row) for row in cells)
    few = {name: f"{float(text):.3f}" for name, text in recalls.items()}
    assert found(*coarse, recalls=few | {"b": "0.712"}) == []


def test_a_share_of_a_line_lies_between_those_of_all_cells_rounded_down_and_up() -> None:
    shares = read_shares(made("0.30 0.20", "0.00 0.50"))
    assert shares
    assert shares.whole
    error = Fraction(4, 2**24)
    low, high, least, most = (Fraction(x) for x in ("0.295", "0.305", "0.195", "0.205"))
    found_there = share_on_diagonal(shares, 0, Rounding.ROUNDED)
    assert found_there.low == (low - error) / (low - error + most + error)
    assert found_there.high == (high + error) / (high + error + least - error)
    # Nothing below zero, and nothing divided by zero.
    empty = read_shares(made("0.000 0.000", "0.000 1.000"))
    assert empty
    alone = share_on_diagonal(replace(empty, whole=True), 0, Rounding.ROUNDED)
    assert (alone.low, alone.high) == (Fraction(0), Fraction(1))
    truncated = share_on_diagonal(replace(empty, whole=True), 0, Rounding.TRUNCATED)
    assert truncated.low == 0
    exact = tuple(tuple(replace(each, unit=Fraction(0), error=Fraction(0)) for each in line) for line in empty.lines)
    nothing = share_on_diagonal(replace(empty, lines=exact, whole=True), 0, Rounding.ROUNDED)
    assert (nothing.low, nothing.high) == (Fraction(0), Fraction(0))
    plain = share_on_diagonal(replace(shares, whole=False), 0, Rounding.ROUNDED)
    assert (plain.low, plain.high) == (low - error, high + error)
