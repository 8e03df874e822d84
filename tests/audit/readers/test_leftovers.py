"""No number is dropped silently: an unread line is listed unless its numbers clearly are not results."""

from __future__ import annotations

import pytest

from in4310repro.audit.document import Average, Item, Measure, TableKind
from in4310repro.audit.readers import read
from in4310repro.audit.readers.contexts import classify_context

CONTEXT = {
    "2026-05-12 12:55:08": "date or time",
    "Updated on March 3, 2024": "date or time",
    "Python 3.11 and torch==2.1.0": "version",
    "weights: runs/best-0.93.pth": "link or file",
    "see https://example.org/2024/0.93": "link or file",
    "Training took 3.2 hours": "duration or size",
    "images of 224 x 224": "duration or size",
    "trained for 20 epochs, batch size 32, lr = 1e-3": "count",
    "learning rate: 0.001": "setting",
    "Samples evaluated: 8,530": "count",
    "Total Number of Instances             1600": "count",
    "2. How it was trained": "numbering",
    "a ResNet-50": "name",
    "model = build(classes=6)": "code",
    "95% CI : (0.9894, 0.9941)": "measure that no check uses",
    "![](curve_0.93.png)": "markup",
}
RESULTS = (
    "sea 0.93",
    "It was right in 93 of 100 cases",
    "It found 964 cats, 60.25 % of them",
    "- teapot -> king_penguin: 70",
    "It reached 0.93 in 2023",
    "AP@0.5: 0.7",
    "k-NN (k=5): 0.93",
    "Python 3.11 " * 170,  # too long to be searched
)


@pytest.mark.parametrize(("line", "kind"), CONTEXT.items())
def test_dates_versions_settings_and_durations_are_understood_as_context(line: str, kind: str) -> None:
    assert classify_context(line) == kind


@pytest.mark.parametrize("line", RESULTS)
def test_a_number_that_may_be_a_result_is_no_context(line: str) -> None:
    assert classify_context(line) == ""


@pytest.mark.parametrize("line", RESULTS[1:4])
def test_a_line_with_a_number_that_no_rule_used_is_named(line: str) -> None:
    document = read(f"Accuracy of dune: 83%\nAccuracy of bay: 91%\nMean class accuracy: 87%\n\n\n{line}\n")
    assert [(each.line, each.text, each.measuring) for each in document.unread] == [(6, line, False)]


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("Accuracy: 0.91 0.23", "0.23"),
        ("Accuracy: 0.91 (0.88)", "0.88"),
        ("Accuracy: 0.91 (0.02)", ""),  # a deviation
        ("Accuracy: 0.91, something else 0.33", "0.33"),
        ("Accuracy: 91.0 % against 88.2 % before", "88.2 %"),
        ("The accuracy is 0.91 and that of the other is 0.87.", "0.87"),
        ("Precision: 0.9 recall: 0.8 f1: 0.85 17", "17"),
        ("Accuracy: 0.91, AUC 0.95, loss 0.31", ""),  # measures that no check uses
        ("F1: 0.91 @ 0.287", ""),
        ("Accuracy: 0.91 (k=5, seed 7, 2024-01-02, 35 s)", ""),
        ("Accuracy: 0.91 with version 1.2.3", ""),
        ("Accuracy: 182/200 (91.00%)", ""),
        ("Epoch 1: loss 0.5\nAccuracy: 0.91 0.23", "0.23"),
    ],
)
def test_a_number_beside_a_used_one_is_used_or_a_setting_or_named(line: str, left: str) -> None:
    document = read(f"{line}\n")
    assert next(value.printed.text.rstrip(" %") for table in document.tables for value in table.values) in line
    assert [each.why for each in document.unread] == ([f"no rule used {left}"] if left else [])


def test_a_column_that_was_not_used_is_named_once() -> None:
    text = (
        "| # | Class | Recall | Strange | Loss | Params (M) | Images |\n|---|---|---|---|---|---|---|\n"
        "| 0 | dune | 0.83 | 0.71 | 0.3 | 25.6 | 100 |\n| 1 | bay | 0.91 | 0.42 | 0.2 | 25.6 | 200 |\n"
        "| | macro avg | 0.87 | 0.57 | 0.25 | | 300 |\n"
    )
    (left,) = read(text).unread
    assert (left.line, left.why, left.measuring) == (3, "no rule used 0.71, 0.42, 0.57 below 'Strange'", False)


def test_a_table_without_a_measure_and_with_a_number_above_100_is_of_no_results() -> None:
    document = read("| Harbour | Ships |\n|---|---|\n| dune | 1200 |\n| bay | 90 |\n\nAccuracy of sea: 0.7")
    assert [(each.line, each.kind) for each in document.context] == [(n, "table without a measure") for n in (3, 4)]
    assert document.unread == ()


def test_a_number_without_a_heading_is_named_in_its_own_line() -> None:
    document = read("Accuracy of dune: 1.00, 0.77\nAccuracy of bay: 0.5 | x | 0.66\n\n\n0.50 1.00")
    assert [(each.line, each.why) for each in document.unread] == [(1, "no rule used 0.77"), (2, "no rule used 0.66")]
    assert [(each.line, each.kind) for each in document.context] == [(5, "value that is printed again")]


@pytest.mark.parametrize("line", ["0.8667", "0.87 0.91 0.88", "[0.87 0.91 0.88]"])
def test_a_bare_number_after_a_matrix_is_named_and_not_taken_for_a_score(line: str) -> None:
    document = read(f"Confusion matrix:\n[[36  3  1]\n [ 2 34  4]\n [ 0  6 34]]\n{line}\n")
    assert [value for table in document.tables for value in table.values] == []
    assert [each.line for each in document.unread] == [5]


@pytest.mark.parametrize(
    "line", ["max f1 @ threshold = 0.287: 0.812", "F1 0.812 @ 0.287", "F1: 0.812 @ threshold 0.287", "F1 @ k=5: 0.812"]
)
def test_a_number_after_at_is_a_setting(line: str) -> None:
    (table,) = read(f"{line}\n").tables
    assert [value.printed.text for value in table.values] == ["0.812"]


def test_the_best_of_epochs_is_no_final_value() -> None:
    document = read("Best F1 @ epochs 11: 0.86\nBest F1: 0.87 @ epochs 12\nTest F1: 0.81\n")
    assert [value.printed.text for table in document.tables for value in table.values] == ["0.81"]
    assert [(each.line, each.kind) for each in document.context] == [(1, "running value"), (2, "running value")]


@pytest.mark.parametrize(
    "text",
    [
        "| Class | Accuracy | Images |\n|---|---|---|\n| dune | 83% | 100 |\n| bay | - | 200 |\n| Mean | 83% | 300 |\n",
        "| true \\ predicted | type 17 | type 31 |\n|---|---|---|\n| type 17 | 36 | 4 |\n| type 31 | 2 | 38 |\n",
        "| Class | Key | Recall |\n|---|---|---|\n| dune | 1 | 0.83 |\n| bay | 2 | 0.91 |\n",
    ],
    ids=["used", "names of a matrix", "numbering"],
)
def test_what_was_used_and_names_and_numbers_of_rows_are_no_leftovers(text: str) -> None:
    assert read(text).unread == ()


def test_tables_carry_their_kind_place_and_heading() -> None:
    text = (
        "# Results\n\n| Model | Accuracy | F1 |\n|---|---|---|\n| ResNet | 0.83 | 0.81 |\n| VGG | 0.85 | 0.84 |\n\n"
        "## Classes\n\n| Class | Recall |\n|---|---|\n| dune | 0.83 |\n| bay | 0.91 |\n| ice | 0.7 |\n"
        + "\n" * 14
        + "## Matrix\n\n[[5 1]\n [2 9]]\n\n\n\n\n## End\n\nAccuracy: 0.89\n"
    )
    tables = read(text).tables
    assert [(table.kind, table.section, table.first, table.last) for table in tables] == [
        (TableKind.MODELS, "Results", 3, 6),
        (TableKind.MODELS, "Results", 3, 6),
        (TableKind.CLASSES, "Classes", 10, 14),
        (TableKind.MATRIX, "Matrix", 31, 32),
        (TableKind.SUMMARY, "End", 39, 39),
    ]


ENTITIES = """\
           precision    recall  f1-score   support

      LOC     0.9330    0.9101    0.9214      1668
      PER     0.9471    0.9406    0.9438      1617

micro avg     0.8920    0.8908    0.8914      3285

Accuracy: 97.62%
"""


def test_scores_of_entities_and_the_accuracy_of_tokens_beside_them_are_told_apart() -> None:
    values = [value for table in read(ENTITIES).tables for value in table.values]
    items = {value.measure: value.item for value in values}
    assert items[Measure.RECALL] is items[Measure.F1] is Item.ENTITY
    assert items[Measure.ACCURACY] is Item.TOKEN
    assert any(value.average is Average.MICRO for value in values)


@pytest.mark.parametrize(("length", "item"), [(500, Item.ENTITY), (501, Item.IMAGE)])
def test_words_in_the_first_500_characters_of_a_line_say_that_entities_are_counted(length: int, item: Item) -> None:
    text = ENTITIES.replace("LOC", "dog").replace("PER", "cat").replace("micro", "macro")
    values = [value for table in read(f"{'seqeval'.rjust(length, '.')}\n{text}").tables for value in table.values]
    assert {value.item for value in values if value.measure is Measure.F1} == {item}


@pytest.mark.parametrize(("first", "other"), [("B-LOC", "O"), ("dog", "cat"), ("E-bike", "cat")])
def test_scores_of_tags_and_of_other_classes_are_of_one_kind(first: str, other: str) -> None:
    text = ENTITIES.replace("LOC", first).replace("PER", other).replace("micro", "macro")
    items = {value.item for table in read(text).tables for value in table.values}
    assert items == {Item.TOKEN if other == "O" else Item.IMAGE}
