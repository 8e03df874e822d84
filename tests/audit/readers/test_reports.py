"""Reports of programs: classification_report, Weka, JSON, TOML, lists, and confusion matrices beside them."""

import json
from pathlib import Path

import pytest

from in4310repro.audit.document import Measure
from in4310repro.audit.readers import read
from tests.audit.readers.described import classes, only, summaries

REPORT = """              precision    recall  f1-score   support

     ice cap     0.7500    0.6000    0.6667         5
        dune     0.6667    0.8000    0.7273         5

    accuracy                         0.7000        10
   macro avg     0.7083    0.7000    0.6970        10
weighted avg     0.7083    0.7000    0.6970        10
"""
MATRIX = "[[3 2]\n [1 4]]"


def test_a_classification_report_has_classes_averages_and_sizes() -> None:
    table = only(REPORT)
    assert classes(table, Measure.PRECISION) == {"ice cap": "0.7500", "dune": "0.6667"}
    assert summaries(table, Measure.RECALL) == {"macro": "0.7000", "weighted": "0.7000"}
    assert summaries(table) == {"overall": "0.7000"}
    assert (table.sizes, table.total) == ({"ice cap": 5, "dune": 5}, 10)


def test_averages_over_samples_are_no_averages_of_classes() -> None:
    lines = [line for line in REPORT.splitlines() if "accuracy" not in line]
    lines += [
        "   micro avg     0.7000    0.7000    0.7000        10",
        " samples avg     0.6500    0.7000    0.6600        10",
    ]
    table = only("\n".join(lines))
    assert set(summaries(table, Measure.PRECISION)) == {"macro", "weighted", "micro"}
    assert set(summaries(table, Measure.OTHER)) == {"None"}


def test_a_report_pasted_as_a_comment_is_read() -> None:
    assert only("\n".join(f"# {line}" for line in REPORT.splitlines())).sizes == {"ice cap": 5, "dune": 5}


def test_a_report_without_a_name_in_a_row_is_not_read_as_if_the_row_were_not_there() -> None:
    with pytest.raises(ValueError, match="empty class name"):
        read(REPORT.replace("        dune", "            "))


@pytest.mark.parametrize(
    "text",
    [MATRIX, "[[3, 2], [1, 4]]", "tensor([[3, 2],\n        [1, 4]])", "3 2\n1 4"],
    ids=["numpy", "list", "tensor", "bare"],
)
def test_a_confusion_matrix_gets_the_names_of_the_report_beside_it(text: str) -> None:
    matrix = only(f"{REPORT}\nConfusion matrix:\n{text}\n").matrix
    assert matrix
    assert matrix.classes == ("ice cap", "dune")
    assert [[cell.digits for cell in row] for row in matrix.rows] == [[3, 2], [1, 4]]


def test_a_matrix_with_predicted_classes_in_its_rows_is_turned() -> None:
    report = REPORT.replace("         5\n", "         4\n", 1).replace("         5\n", "         6\n", 1)
    matrix = only(f"{report}\nConfusion matrix:\n{MATRIX}\n").matrix
    assert matrix
    assert [[cell.digits for cell in row] for row in matrix.rows] == [[3, 1], [2, 4]]


def test_a_matrix_of_other_images_is_a_table_of_its_own() -> None:
    tables = read(f"{REPORT}\nConfusion matrix of the training images:\n[[30 20]\n [10 40]]\n").tables
    assert [table.matrix is None for table in tables] == [True, False]


NAMED = {
    "Markdown": "| True \\ Predicted | dune | bay |\n|---|---|---|\n| dune | 30 | 2 |\n| bay | 1 | 40 |",
    "turned": "| Predicted \\ True | dune | bay |\n|---|---|---|\n| dune | 30 | 1 |\n| bay | 2 | 40 |",
    "comma": "true,pred dune,pred bay\ntrue dune,30,2\ntrue bay,1,40",
    "pandas": "Predicted  dune  bay  All\nActual\ndune         30    2   32\nbay           1   40   41\n"
    "All          31   42   73",
    "Weka": "  a  b   <-- classified as\n 30  2 | a = dune\n  1 40 | b = bay",
}


@pytest.mark.parametrize("text", NAMED.values(), ids=NAMED)
def test_a_matrix_with_names_is_read(text: str) -> None:
    matrix = only(text).matrix
    assert matrix
    assert matrix.classes == ("dune", "bay")
    assert [[cell.digits for cell in row] for row in matrix.rows] == [[30, 2], [1, 40]]


def test_a_matrix_of_shares_says_so() -> None:
    matrix = only("Normalised confusion matrix\n[[0.94 0.06]\n [0.02 0.98]]").matrix
    assert matrix
    assert matrix.shares


def test_a_report_as_a_dictionary_is_read_with_the_lines_of_its_values() -> None:
    report = {
        "dune": {"precision": 0.75, "recall": 0.6, "f1-score": 0.5, "support": 5},
        "bay": {"precision": 1.0, "recall": 0.8, "f1-score": 0.5, "support": 5.0},
        "accuracy": 0.7,
        "macro avg": {"precision": 0.875, "recall": 0.7, "f1-score": 0.5, "support": 10},
    }
    table = only(json.dumps(report, indent=1))
    assert classes(table, Measure.RECALL) == {"dune": "0.6", "bay": "0.8"}
    assert (summaries(table), table.sizes, table.total) == ({"overall": "0.7"}, {"dune": 5, "bay": 5}, 10)
    assert [value.printed.line for value in table.values if value.class_name == "bay"] == [9, 10, 11]


JSONS = {
    "by class": '{"test": {"class_accuracy": {"dune": 0.83, "bay": 0.910}, "macro_accuracy": 0.87, "support": '
    '{"dune": 9, "bay": 8}}}',
    "line by line": '{"seed": 1}\n{"class_accuracy": {"dune": 0.83, "bay": 0.910}, "macro_accuracy": 0.87}',
    "before a text": '{"class_accuracy": {"dune": 0.83, "bay": 0.910}, "macro_accuracy": 0.87}\nend',
    "below its measure": 'Accuracy\n{"dune": 0.83,\n"bay": 0.910,\n"macro avg": 0.87}',
    "parallel lists": '{"classes": ["dune", "bay"], "accuracy": [0.83, 0.910], "macro accuracy": 0.87}',
    "records": '[{"class": "dune", "accuracy": 0.83}, {"class": "bay", "accuracy": 0.910}, {"class": "macro '
    'avg", "accuracy": 0.87}]',
}


@pytest.mark.parametrize("text", JSONS.values(), ids=JSONS)
def test_json_of_other_shapes_is_read_and_keeps_its_digits(text: str) -> None:
    table = only(text)
    assert classes(table) == {"dune": "0.83", "bay": "0.910"}
    assert summaries(table) == {"macro": "0.87"}


def test_the_name_of_a_json_file_may_say_what_it_measures(tmp_path: Path) -> None:
    file = tmp_path / "class_accuracy.json"
    file.write_text('{"dune": 0.83, "bay": 0.91}', encoding="utf-8")
    assert classes(only(file)) == {"dune": "0.83", "bay": "0.91"}


@pytest.mark.parametrize(
    "text",
    [
        "Per-class accuracy: [0.83 0.91]",
        "class accuracy = tensor([0.83, 0.91])",
        "Class accuracy: {'0': 0.83, '1': 0.91}",
    ],
)
def test_values_listed_on_one_line_are_read(text: str) -> None:
    assert classes(only(text)) == {"0": "0.83", "1": "0.91"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Class recall: {'sea': 0.83}", "sea"),
        ('class recall = {"blue bay": 0.83}', "blue bay"),
        ("Class recall:\n{'sea': np.float64(0.83)}", "sea"),
        ("Class recall: {3: 0.83}", "3"),
    ],
)
def test_a_dictionary_of_one_class_is_read_as_one_of_more(text: str, name: str) -> None:
    assert classes(only(text), Measure.RECALL) == {name: "0.83"}


def test_a_dictionary_of_one_measure_is_no_class() -> None:
    document = read("Accuracy: {'accuracy': 0.83}\n\nAccuracy of ice: 0.75")
    assert [classes(table) for table in document.tables if classes(table)] == [{"ice": "0.75"}]


def test_a_toml_file_says_what_a_text_says(tmp_path: Path) -> None:
    file = tmp_path / "report.toml"
    file.write_text(
        '[[table]]\nname = "Figure 1"\naccuracy = ["0.75", "0.25"]\nmean_accuracy = "0.5"\n'
        'average_precision = { 1 = "0.8", 2 = "0.6" }\nsizes = { 1 = 8, 2 = 4 }\ntotal = 12\n',
        encoding="utf-8",
    )
    table = only(file)
    assert (table.name, table.sizes, table.total) == ("Figure 1", {"1": 8, "2": 4}, 12)
    assert (classes(table), summaries(table)) == ({"1": "0.75", "2": "0.25"}, {"macro": "0.5"})
    assert classes(table, Measure.AVERAGE_PRECISION) == {"1": "0.8", "2": "0.6"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[table]]\naccuracy = [0.98]", '0.98 .*string.* "0.9882"'),
        ("[[table]]\naccuracy = [[1, 2]]", "string"),
        ('[[table]]\naccuracy = "0.98"', "accuracy is '0.98'; .*a list of strings"),
        ('[[table]]\naccuracy = ["0.98"]\nf2 = ["0.9"]', "table 1: unknown key f2; .* name, "),
        ('[figure]\naccuracy = ["0.98"]', r"unknown TOML keys \['figure'\]"),
        ("table = [1, 2]", "unknown TOML keys table; .* sections"),
        ('table = ["a"]', "sections with keys and strings"),
        ('[[table]]\naccuracy = { "" = "0.9" }', "accuracy has an empty class name"),
        ("accuracy = ", "not valid TOML"),
        ('[[table]]\nsizes = { a = "many" }\naccuracy = { a = "0.5" }', "size of class a is 'many'; .*a whole number"),
    ],
)
def test_a_toml_file_with_other_content_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "report.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as refusal:
        read(file)
    assert str(refusal.value).startswith(str(file))
