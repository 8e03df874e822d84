"""Each reason why a table may not list all classes."""

from __future__ import annotations

import pytest

from in4310repro.audit.document import Average, Document, Measure, Table, Unread
from in4310repro.audit.doubts import Gap, find_gaps, find_missing_lines
from in4310repro.audit.examine import accuse
from in4310repro.audit.sheets import sheet
from in4310repro.audit.verdicts import Options, Rank
from tests.audit.by_hand import column, document, matrix, table, value

ACCURACY, RECALL = Measure.ACCURACY, Measure.RECALL
PLAIN = column(ACCURACY, a="0.50", b="0.25")
FOUR = {"a": 2, "b": 2}


def gaps(made: Table, sizes: dict[str, int] | None = None, of: Document | None = None) -> list[str]:
    return [*find_gaps(made, sizes or {}), *[gap.condition for gap in find_missing_lines(made, of or document(made))]]


@pytest.mark.parametrize(
    ("made", "sizes", "expected"),
    [
        (table(*PLAIN), {}, []),
        (table(), {}, []),
        (table(*PLAIN, partial=True), {}, ["classes are left out of the table"]),
        (table(*PLAIN, doubts=("one", "two")), {}, ["one", "two"]),
        (table(*PLAIN, total=4), FOUR, []),
        (table(*PLAIN, total=3), FOUR, ["a class is not printed: 3 images are printed in all, and the classes have 4"]),
        (table(*PLAIN, total=5), FOUR, ["a class is not printed: 5 images are printed in all, and the classes have 4"]),
        (table(*PLAIN, total=5), {}, []),
        (table(*PLAIN, *column(RECALL, a="0.50", b="0.25")), {}, []),
        (table(*PLAIN, value("0.3", "b"), value("0.4", "a")), {}, ["a class is printed twice: a, b"]),
        (table(*(value("0.3", name) for name in "gfedcbagfedcba")), {}, ["a class is printed twice: a, b, c, d, e"]),
        (table(value("0.3"), value("0.4")), {}, []),
        (table(value("2.0", "a"), value("2.1", "b"), value("350%", "c"), value("7")), {}, ["2.1 of b is not a share"]),
    ],
)
def test_each_reason_why_classes_may_be_missing_is_a_sentence(
    made: Table, sizes: dict[str, int], expected: list[str]
) -> None:
    assert gaps(made, sizes) == expected


@pytest.mark.parametrize(("line", "is_near"), [(7, False), (8, True), (20, True), (21, True), (33, True), (34, False)])
def test_a_line_that_was_not_understood_may_belong_to_a_table_twelve_lines_away(line: int, is_near: bool) -> None:
    made = table(value("0.5", "a", line=20), value("0.6", "b", line=21))
    unread = Unread(line=line, text=f"  {'x' * 79}yz  ", why="no number")
    expected = [f"line {line}, which was not understood, changes it: '{'x' * 79}y'"]
    assert gaps(made, of=document(made, unread=(unread,))) == (expected if is_near else [])
    # A table of a matrix alone has no lines and begins with the text.
    alone = table()
    assert gaps(alone, of=document(alone, unread=(unread,))) == (expected if line <= 12 else [])


@pytest.mark.parametrize(("line", "is_near"), [(7, False), (8, True), (32, True), (33, False)])
def test_classes_of_another_table_up_to_twelve_lines_away_may_belong_to_a_mean(line: int, is_near: bool) -> None:
    classes = [value(text, name, line=20) for name, text in (("a", "0.50"), ("b", "0.25"))]
    made = table(*classes, value("0.60", None, ACCURACY, Average.MACRO, line=20))
    others = table(value("0.80", "c", line=line), value("0.90", "d", line=line), name="u")
    ((found,), _) = accuse([sheet(made, document(made, others), Options())])
    assert found.conditions == ("the classes of u belong to it, too",) * is_near


TEXT = "accuracy 0.7"


@pytest.mark.parametrize(("line", "is_near"), [(1, False), (3, False), (4, True), (6, True), (8, True), (9, False)])
def test_a_line_between_classes_or_next_to_them_that_gave_no_value_may_be_one(line: int, is_near: bool) -> None:
    made = table(value("0.5", "a", line=5), value("0.6", "b", line=7), value("0.5", line=25))
    lines = [""] * 30
    lines[line - 1] = f" {TEXT}{'.' * 67}yz "
    expected = [f"line {line}, of which no value was read, changes it: '{TEXT}{'.' * 67}y'"]
    assert gaps(made, of=Document(source="", lines=tuple(lines), tables=(made,))) == (expected if is_near else [])


@pytest.mark.parametrize(
    "text", ["accuracy x", "0.7", "words 0.7", "x" * 495 + " accuracy 0.7", "acc " * 124 + "    0.7"]
)
def test_a_line_without_a_word_or_a_number_of_a_measure_in_its_beginning_is_none(text: str) -> None:
    made = table(value("0.5", "a", line=1), value("0.6", "b", line=3))
    assert gaps(made, of=Document(source="", lines=("", text, ""), tables=(made,))) == []


def test_words_and_numbers_are_looked_for_in_the_first_500_letters() -> None:
    made = table(value("0.5", "a", line=1), value("0.6", "b", line=3))
    # The last letter of the number is the 500th, then the 501st.
    for spaces, found in ((493, 1), (494, 0)):
        of = Document(source="", lines=("", "acc " + "-" * spaces + "0.7", ""), tables=(made,))
        assert len(gaps(made, of=of)) == found
    for spaces, found in ((491, 1), (492, 0)):
        of = Document(source="", lines=("", "0.7 " + "-" * spaces + "class"), tables=(made,))
        assert len(gaps(made, of=of)) == found


def test_lines_of_other_tables_matrices_and_refusals_are_counted_once() -> None:
    made = table(value("0.5", "a", line=1), value("0.6", "b", line=6))
    other = table(value("0.7", "a", line=2), name="u")
    counts = table(name="v", matrix=matrix("1 2", line=3))
    unread = Unread(line=4, text=TEXT, why="no number")
    of = Document(source="", lines=(TEXT,) * 6, tables=(made, other, counts), unread=(unread,))
    assert gaps(made, of=of) == [
        f"line 4, which was not understood, changes it: '{TEXT}'",
        f"line 5, of which no value was read, changes it: '{TEXT}'",
    ]
    # Tables of summaries alone have no lines between classes.
    summaries = table(value("0.5", line=1), value("0.5", line=3))
    assert gaps(summaries, of=Document(source="", lines=(TEXT,) * 3, tables=(summaries,))) == []


@pytest.mark.parametrize(
    ("text", "is_gap"),
    [
        # What the table prints already, in a sentence or a row.
        ("The class b is the weakest (accuracy 0.25)", False),
        ("accuracy 0.50 and 25 %, 0.250", True),
        ("accuracy of b: .25", False),
        # One more number in a sentence is no row; two may be a list of classes.
        ("We see that the accuracy is better than the 0.21 of earlier work here", False),
        ("The accuracy of the class cows is 0.31 and that of sheep is 0.42 as before", True),
        ("cows accuracy 0.31", True),
        ("| the accuracy of the class of all the brown cows is | 0.31 |", True),
    ],
)
def test_sentences_and_repeated_numbers_are_no_rows(text: str, is_gap: bool) -> None:
    made = table(value("0.50", "a", line=1), value("0.25", "b", line=3))
    assert len(gaps(made, of=Document(source="", lines=("", text, ""), tables=(made,)))) == is_gap
    unread = Unread(line=2, text=text, why="no number")
    assert len(gaps(made, of=document(made, unread=(unread,)))) == is_gap


def test_a_line_about_another_measure_is_no_condition_of_a_mean() -> None:
    values = [*column(RECALL, a="0.50", b="0.25"), value("0.60", None, RECALL, Average.MACRO, line=3)]
    made = table(*values)
    other = [(f"{measure} of cows 0.31", Rank.IMPOSSIBLE) for measure in ("F1", "precision", "average precision")]
    for line, rank in (*other, ("recall of cows 0.31", Rank.UNLESS), ("cows 0.31", Rank.UNLESS)):
        unread = Unread(line=5, text=line, why="no number")
        of = document(made, unread=(unread,))
        ((found,), _) = accuse([sheet(made, of, Options())])
        assert found.rank is rank


def test_a_gap_without_a_measure_is_of_any_and_accuracy_is_like_recall() -> None:
    assert Gap(condition="").is_of({Measure.F1})
    assert Gap(condition="", measures=frozenset({RECALL})).is_of({ACCURACY})
    assert not Gap(condition="", measures=frozenset({RECALL})).is_of({Measure.PRECISION})
