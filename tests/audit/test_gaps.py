"""Each reason why a table may not list all classes."""

from __future__ import annotations

import pytest

from in4310repro.audit.document import Average, Measure, Table
from in4310repro.audit.doubts import Gap, find_gaps
from in4310repro.audit.examine import accuse
from in4310repro.audit.sheets import sheet
from in4310repro.audit.verdicts import Options
from tests.audit.by_hand import column, document, table, value

ACCURACY, RECALL = Measure.ACCURACY, Measure.RECALL
PLAIN = column(ACCURACY, a="0.50", b="0.25")
FOUR = {"a": 2, "b": 2}


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
    assert list(find_gaps(made, sizes)) == expected


@pytest.mark.parametrize(("line", "is_near"), [(7, False), (8, True), (32, True), (33, False)])
def test_classes_of_another_table_up_to_twelve_lines_away_may_belong_to_a_mean(line: int, is_near: bool) -> None:
    classes = [value(text, name, line=20) for name, text in (("a", "0.50"), ("b", "0.25"))]
    made = table(*classes, value("0.60", None, ACCURACY, Average.MACRO, line=20))
    others = table(value("0.80", "c", line=line), value("0.90", "d", line=line), name="u")
    ((found,), _) = accuse([sheet(made, document(made, others), Options())])
    assert found.conditions == ("the classes of u belong to it, too",) * is_near


def test_a_gap_without_a_measure_is_of_any_and_accuracy_is_like_recall() -> None:
    assert Gap(condition="").is_of({Measure.F1})
    assert Gap(condition="", measures=frozenset({RECALL})).is_of({ACCURACY})
    assert not Gap(condition="", measures=frozenset({RECALL})).is_of({Measure.PRECISION})
