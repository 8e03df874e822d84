"""An accuracy beside classes that it does not cover: tokens beside entities, all labels beside some of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from in4310repro.audit.document import Average, Document, Measure, Table, Value
from in4310repro.audit.doubts import OF_TOKENS, SEVERAL, doubt_accuracy, doubt_labels
from in4310repro.audit.examine import accuse, audit
from in4310repro.audit.sheets import sheet
from in4310repro.audit.verdicts import Options, Rank
from tests.audit.by_hand import column, document, matrix, table, value

ACCURACY, PRECISION, RECALL, F1 = Measure.ACCURACY, Measure.PRECISION, Measure.RECALL, Measure.F1


def entities(*others: Value, names: str = "cat dog cow", **fields: object) -> Table:
    """Return a table of three classes with recalls far below the accuracy."""
    recalls = dict(zip(names.split(), ("0.60", "0.70", "0.65"), strict=True))
    return table(*column(RECALL, **recalls), value("0.97", None, ACCURACY, Average.OVERALL, line=4), *others, **fields)


def micro(measure: Measure, text: str) -> Value:
    return value(text, None, measure, Average.MICRO, line=5)


def judged(made: Table, *lines: str) -> tuple[Rank, tuple[str, ...]]:
    of = Document(source="", lines=(*lines, *[""] * 10), tables=(made,))
    ((found,), _) = accuse([sheet(made, of, Options())])
    return found.rank, found.conditions


@pytest.mark.parametrize(
    ("made", "lines"),
    [
        (entities(names="LOC MISC PER"), ()),
        (entities(names="B-LOC I-LOC B-PER"), ()),
        (entities(names="np vp pp"), ()),
        (entities(), ("processed 46435 tokens with 5648 phrases",)),
        (entities(), ("accuracy: 97.00 FB1: 0.66",)),
        (entities(), ("", "Named-entity recognition on the test set")),
        (entities(micro(PRECISION, "0.71"), micro(RECALL, "0.66")), ()),
        (entities(micro(F1, "0.66")), ()),
        # Equal by chance, as in one of two thousand reports of several labels.
        (entities(micro(PRECISION, "0.66"), micro(RECALL, "0.66")), ()),
        (entities(value("0.64", None, F1, label="samples avg f1-score", line=5)), ()),
    ],
)
def test_a_token_accuracy_beside_scores_of_entities_is_a_condition(made: Table, lines: tuple[str, ...]) -> None:
    rank, conditions = judged(made, *lines)
    assert rank is Rank.UNLESS
    assert OF_TOKENS in conditions


@pytest.mark.parametrize(
    "made",
    [
        entities(),
        # Every token has a label, so that the classes are all of them.
        entities(names="LOC O PER"),
        entities(names="LOC dog cow"),
        # The micro average of single labels is their accuracy.
        entities(micro(F1, "0.97")),
        # Of entities, precision and recall would stand beside F1.
        entities(value("0.66", None, F1, Average.OVERALL, line=5)),
    ],
)
def test_another_accuracy_beside_its_classes_is_no_condition(made: Table) -> None:
    assert judged(made)[0] is Rank.IMPOSSIBLE


@pytest.mark.parametrize(("line", "is_near"), [(4, False), (5, True), (17, True), (18, False)])
def test_words_of_entities_are_about_classes_up_to_six_lines_away(line: int, is_near: bool) -> None:
    made = table(*(replace(each, printed=replace(each.printed, line=11)) for each in entities().values))
    assert judged(made, *[""] * (line - 1), "tokens")[0] is (Rank.UNLESS if is_near else Rank.IMPOSSIBLE)


REPORT = """accuracy:  97.62%; precision:  89.20%; recall:  89.08%; FB1:  89.14

| Entity type | Precision | Recall | F1 |
|---|---|---|---|
| LOC | 93.30 | 91.01 | 92.14 |
| MISC | 78.24 | 77.35 | 77.79 |
| ORG | 84.59 | 87.24 | 85.89 |
| PER | 94.71 | 94.06 | 94.38 |
| micro avg | 89.20 | 89.08 | 89.14 |
"""


def test_a_report_of_entities_accuses_nobody_of_its_token_accuracy() -> None:
    found = audit(REPORT, power=False).contradictions
    assert [finding.message for finding in found] == []


@pytest.mark.parametrize(
    ("made", "conditions"),
    [
        (table(*column(RECALL, a="0.5", b="0.5")), (SEVERAL,)),
        (table(*column(RECALL, a="0.5", b="0.5"), value("0.5", None, ACCURACY, Average.OVERALL)), ()),
        (table(*column(RECALL, a="0.5", b="0.5"), value("0.5", None, ACCURACY, Average.MACRO)), (SEVERAL,)),
        (table(*column(RECALL, a="0.5", b="0.5"), matrix=matrix("1 1", "1 1")), ()),
        (table(*column(RECALL, a="0.5", b="0.5"), micro(PRECISION, "0.5"), micro(RECALL, "0.5")), (OF_TOKENS,)),
        (
            table(*column(RECALL, a="0.5", b="0.5"), value("0.5", None, ACCURACY, Average.OVERALL), micro(F1, "0.50")),
            (),
        ),
        (table(*column(RECALL, a="0.5", b="0.5"), micro(PRECISION, "0.6"), micro(RECALL, "0.5")), (OF_TOKENS,)),
        # Half of the classes are named as entities are, and fewer.
        (table(*column(RECALL, **dict.fromkeys(("DATE", "TIME", "a", "b"), "0.5"))), (OF_TOKENS,)),
        (table(*column(RECALL, **dict.fromkeys(("DATE", "TIME", "a", "b", "c"), "0.5"))), (SEVERAL,)),
    ],
)
def test_what_says_that_an_image_has_one_label(made: Table, conditions: tuple[str, ...]) -> None:
    assert tuple(doubt_labels(made, document(made))) == conditions
    assert tuple(doubt_accuracy(made, document(made))) == tuple(c for c in conditions if c == OF_TOKENS)
