"""Forms that programs print: colours, boxes, values before names, sections of TOML, one score per row."""

from __future__ import annotations

from pathlib import Path

import pytest

from in4310repro.audit.document import Measure
from in4310repro.audit.readers import read
from tests.audit.readers.described import classes, everything, summaries

FORMS = {
    "colours": "\x1b[32mAccuracy of dune\x1b[0m: \x1b[1m83.00%\x1b[0m\nAccuracy of bay: 91.00%\n"
    "Accuracy of ice: 70.00%\n"
    "\x1b[36mMacro accuracy: 81.33%\x1b[0m",
    "boxes": "┏━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━┓\n┃  Test metric   ┃ DataLoader 0 ┃\n┡━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━┩\n"
    "│    acc_dune    │    83.00%    │\n│    acc_bay     │    91.00%    │\n│    acc_ice     │    70.00%    │\n"
    "│   macro_acc    │    81.33%    │\n└────────────────┴──────────────┘",
    "one measure a row": "class,metric,value\ndune,accuracy,83.00%\nbay,accuracy,91.00%\nice,accuracy,70.00%\n"
    "macro avg,accuracy,81.33%",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_the_same_values_are_read_from_every_form(text: str) -> None:
    (table,) = read(text).tables
    assert classes(table) == {"dune": "83.00%", "bay": "91.00%", "ice": "70.00%"}
    assert summaries(table) == {"macro": "81.33%"}


def test_a_detectors_values_stand_before_their_names() -> None:
    text = "93.12% = dune AP  \n70.00% = palm tree AP  ||\tscore_threshold=0.5 : F1=0.80 ; Recall=0.75\nmAP = 81.56%"
    (table,) = read(text).tables
    assert classes(table, Measure.AVERAGE_PRECISION) == {"dune": "93.12%", "palm tree": "70.00%"}
    assert summaries(table, Measure.AVERAGE_PRECISION) == {"macro": "81.56%"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Correctly Classified Instances 90 90 %", "1 <overall> accuracy 90 % (Correctly Classified Instances)"),
        ("98.40 Overall accuracy (%)", "1 <overall> accuracy 98.40 % (Overall accuracy)"),
        ("SEA Number: 10\nSEA Recall: 0.5", "2 SEA recall 0.5 (SEA Recall)"),
        ("type: f1\na: b\nc: d\ne: f\nvalue: 0.9", "5 <> F1 0.9 (value of f1)"),
    ],
)
def test_a_line_of_a_program_is_read_up_to_the_first_and_the_last_line(text: str, told: str) -> None:
    assert everything(read(text))[-1].strip() == told


def test_the_classes_of_an_evaluation_by_conlleval_end_before_the_next_one() -> None:
    scores = "precision: 75.00%; recall: 66.67%; FB1: 70.59"
    evaluation = f"accuracy: 88.89%; (non-O)\naccuracy: 90.00%; {scores}\nLOC: {scores} 8\n\n"
    assert [len(table.values) for table in read(evaluation * 2).tables] == [7, 7]


def test_tables_right_above_and_below_an_object_are_read() -> None:
    above, below = "Class  F1\n-----  ---\nsea    0.5", "Class: oak Class: elm\nF1 0.5 0.4\nRecall 0.3 0.2"
    text = f'{above}\n{{"f1": {{"bay": 0.6, "fog": 0.7}}}}\n{below}'
    assert read(text).formats == ("table below dashes", "JSON", "statistics by class")


def test_sections_of_toml_by_measure_keep_their_decimals_and_lines(tmp_path: Path) -> None:
    path = tmp_path / "result.toml"
    path.write_text("[test]\nmean_accuracy = 0.8700\n[test.accuracy]\ndune = 0.8300\nbay = 0.9100\n", encoding="utf-8")
    (table,) = read(path).tables
    assert classes(table) == {"dune": "0.8300", "bay": "0.9100"}
    assert [value.printed.line for value in table.values if value.class_name] == [4, 5]


def test_the_overlap_in_brackets_is_no_value() -> None:
    document = read("AP of dune: 0.50\nAP of bay: 0.40\nmAP@[.5:.95] = 0.45")
    assert summaries(document.tables[0], Measure.AVERAGE_PRECISION) == {"macro": "0.45"}
