"""Shortest texts of reports that were once misread without a word: each is read right, or what is unused is named."""

from __future__ import annotations

import pytest

from in4310repro.audit.document import Average, Document, Measure
from in4310repro.audit.examine import audit
from in4310repro.audit.readers import read
from tests.audit.readers.described import classes

P, R, F1, ACCURACY = Measure.PRECISION, Measure.RECALL, Measure.F1, Measure.ACCURACY
YOLO = "Class     Images  Instances      Box(P          R      mAP50  mAP50-95){}\n"
ROWS = """\
all          128        929      0.641      0.537       0.61       0.45{}
person       128        254      0.741      0.637       0.71       0.55{}
bicycle      128        675      0.541      0.437       0.51       0.35{}
"""
MASK = (
    "     Mask(P          R      mAP50  mAP50-95)",
    "  0.661  0.5  0.6  0.4",
    "  0.761  0.6  0.7  0.5",
    "  0.561  0.4  0.5  0.3",
)
CARET = """\
Confusion Matrix and Statistics

          Reference
Prediction  no yes
       no   50   5
       yes  10  35

             Prevalence : {}
         Detection Rate : {}
   Detection Prevalence : 0.5500

       'Positive' Class : no
"""
OUTCOMES = (
    "{{'TP': np.int64({}), 'TN': np.int64(90), 'FP': np.int64(5), 'FN': np.int64(5), 'precision': np.float64(0.9524)}}"
)
REPORT = """\
              precision    recall  f1-score   support

         cat       0.91      0.90      0.90       230
         dog       0.90      0.91      0.90       {}

    accuracy                           0.90       464
   macro avg       0.90      0.90      0.90       464
weighted avg       0.90      0.90      0.90       464
"""
# zero_division=1 of scikit-learn.
UNDEFINED = (("cat", "0.9500", "0.9500", 20), ("dog", "0.0000", "1.0000", 10))


def unused(document: Document) -> str:
    return "\n".join(each.why for each in document.unread)


def code(text: str) -> int:
    return audit(text, power=False).exit_code


def of_classes(document: Document) -> list[str]:
    return [str(value.class_name) for table in document.tables for value in table.of_classes]


def test_scores_behind_an_arrow_are_all_of_the_class_before_it() -> None:
    (table,) = read(
        "Mortgage --> Precision:0.377,Recall:0.626,F1:0.471\nLoan --> Precision:0.5,Recall:0.6,F1:0.5"
    ).tables
    assert [classes(table, each)["Mortgage"] for each in (P, R, F1)] == ["0.377", "0.626", "0.471"]
    assert code("Mortgage --> Precision:0.377,Recall:0.626,F1:0.771\nLoan --> Precision:0.5,Recall:0.6,F1:0.545") == 3


def test_classifiers_are_no_classes() -> None:
    assert of_classes(read("f1 score dummy: 0.04\nf1 score tree: 0.55\nf1 score forest: 0.61\n")) == []
    assert of_classes(read("f1 score sea: 0.04\nf1 score tree: 0.55\nf1 score forest: 0.61\n")) == [
        "sea",
        "tree",
        "forest",
    ]


def test_rows_beside_a_column_of_models_are_models() -> None:
    rows = "".join(f"| CNN | 0.9{n} | 0.8{n} | net {n} |\n" for n in range(8))
    document = read(f"| Type | Sensitivity | Accuracy | Model |\n|---|---|---|---|\n{rows}")
    assert (of_classes(document), len(document.tables)) == ([], 8)


def test_pathologies_are_classes_of_one_table() -> None:
    rows = "| Edema | 0.91 | 0.80 | 0.60 |\n| Effusion | 0.93 | 0.85 | 0.65 |\n"
    (table,) = read(f"| Pathology | AUROC | Sensitivity | PPV |\n|---|---|---|---|\n{rows}").tables
    assert table.classes == ("Edema", "Effusion")


def test_boxes_and_masks_are_two_tables_whose_row_all_is_the_plain_mean() -> None:
    text = YOLO.format(MASK[0]) + ROWS.format(*MASK[1:])
    tables = {table.name: table for table in read(text).tables}
    assert {name: len(table.classes) for name, table in tables.items()} == dict.fromkeys(
        ("Box", "Box mAP50-95", "Mask", "Mask mAP50-95"), 2
    )
    assert classes(tables["Mask"], P) == {"person": "0.761", "bicycle": "0.561"}
    assert code(text) == 0
    assert code(text.replace("0.641", "0.741")) == 3
    single = YOLO.format("") + ROWS.format("", "", "")
    averages = {value.average for table in read(single).tables for value in table.values if value.class_name is None}
    assert (averages, code(single), code(single.replace("0.537", "0.637"))) == ({Average.MACRO}, 0, 3)


def test_a_count_beside_a_recall_is_not_of_all_images() -> None:
    document = read("recall : 0.835 (1475/1767)\nprecision : 0.912 (1475/1617)\naccuracy : 0.934\n")
    assert {table.total for table in document.tables} == {None}
    assert code("recall : 0.855 (1475/1767)\n") == 3


def test_the_results_of_a_trainer_behind_times_and_modules_are_one_result() -> None:
    text = "".join(
        f"01/02/2026 17:13:54 - INFO - __main__ -   eval_{name} = {value}\n"
        for name, value in (("f1", "{}"), ("precision", 0.9375), ("recall", 0.9451))
    )
    assert [code(text.format(f1)) for f1 in (0.9413, 0.9765)] == [0, 1]


def test_counts_of_numpy_in_a_dictionary_are_a_matrix() -> None:
    (table,) = read(OUTCOMES.format(100)).tables
    assert table.matrix is not None
    assert [[int(cell.value) for cell in row] for row in table.matrix.rows] == [[90, 5], [5, 100]]
    assert [code(OUTCOMES.format(right)) for right in (100, 60)] == [0, 3]


def test_a_heading_over_several_columns_of_html_belongs_to_each() -> None:
    head = (
        "<tr><th rowspan=2>Threshold</th><th colspan=2>Sensitivity (%)</th></tr><tr><th>Mild</th><th>Severe</th></tr>"
    )
    rows = "<tr><td>0.1</td><td>91.2</td><td>93.4</td></tr>\n<tr><td>0.5</td><td>81.2</td><td>83.4</td></tr>"
    document = read(f"<table>{head}\n{rows}\n</table>")
    values = [(value.measure, value.printed.text) for table in document.tables for value in table.values]
    assert values == [(R, text) for text in ("91.2", "93.4", "81.2", "83.4")]


def test_images_that_a_sentence_gives_by_class_are_sizes() -> None:
    text = "The test set has 437 images of buildings, 474 of forest.\n\n"
    text += "Accuracy of buildings: {} %\nAccuracy of forest: 97.26 %\n"
    assert [code(text.format(value)) for value in ("91.53", "91.60")] == [0, 3]


def test_supports_above_their_total_are_impossible() -> None:
    assert [code(REPORT.format(size)) for size in (234, 237)] == [0, 1]


def test_prevalence_and_detection_rate_are_held_against_their_matrix() -> None:
    assert code(CARET.format("0.6000", "0.5000")) == 0
    assert [code(CARET.format(*wrong)) for wrong in (("0.7000", "0.5000"), ("0.6000", "0.6000"))] == [1, 1]
    beside = "Confusion matrix\n[[90 10]\n [5 95]]\n\nFalse positive rate: {}\n"
    assert [code(beside.format(rate)) for rate in ("0.10", "0.20")] == [0, 3]


def test_outcomes_in_columns_are_held_against_the_scores_beside_them() -> None:
    text = (
        "| Class | TP | FP | FN | Precision | Recall |\n|---|---|---|---|---|---|\n| cat | 90 | 10 | 5 | {} | 0.947 |\n"
    )
    assert [code(text.format(value)) for value in ("0.90", "0.70")] == [0, 3]


@pytest.mark.parametrize(("error", "expected"), [("0.07", 0), ("0.17", 3), ("7 %", 0), ("17 %", 3)])
def test_accuracy_and_error_add_up_to_one(error: str, expected: int) -> None:
    assert code(f"Accuracy: 0.93\nError rate: {error}\n") == expected


def test_the_mean_of_folds_is_of_the_folds_beside_it() -> None:
    matrix = "Confusion matrix:\n[[50  2]\n [ 3 45]]\n"
    assert code(f"{matrix}Cross-validation scores: [0.99 1.0 0.99 0.995 1.0]\nMean Accuracy: 0.9957\n") == 0
    assert code(f"{matrix}Accuracy: 0.9957\n") == 3


@pytest.mark.parametrize("name", ["M1 - M0", "M1 \u2212 M0", "Delta", "Gain"])
def test_differences_are_no_scores_and_are_named(name: str) -> None:
    rows = "| cat | 0.91 | 0.93 | 0.02 |\n| dog | 0.88 | 0.87 | -0.01 |\n| Mean accuracy | 0.895 | 0.90 | 0.005 |\n"
    document = read(f"| Class | M0 | M1 | {name} |\n|---|---|---|---|\n{rows}")
    assert [table.name for table in document.tables] == ["M0", "M1"]
    assert "0.02" in unused(document)


def test_a_list_is_a_matrix_only_if_the_text_says_so() -> None:
    lists = "[[3, 1], [2, 4]]\nAccuracy: 0.55\n"
    assert [code(f"{name} = {lists}") for name in ("weights", "confusion_matrix")] == [0, 3]


@pytest.mark.parametrize("text", ["averaged over five seeds", "over 5 random seeds", "mean over five runs"])
def test_seeds_are_folds(text: str) -> None:
    assert read(f"Results {text}.\n\nAccuracy of sea: 0.813\nAccuracy of town: 0.7\n").folds == 5


@pytest.mark.parametrize(
    "text",
    [
        "createDataPartition(y = d$y, p = 0.65, list = FALSE)",
        "(dropout): Dropout(0 = 0% Params, p=0.25, inplace=False)",
        "## err.rate  2500 -none- numeric",
        "Layout map: 4 chapters",
        "thermal_map: 2090",
        "{'leaf': [20, 30], 'p': [1, 2]}",
    ],
)
def test_settings_and_maps_are_no_scores(text: str) -> None:
    document = read(f"{text}\n\nAccuracy of sea: 0.9\nAccuracy of town: 0.8\n")
    assert [value.printed.text for table in document.tables for value in table.values] == ["0.9", "0.8"]


@pytest.mark.parametrize("blank", ["│            │\n", "│ two alerts │\n│            │\n"])
def test_a_drawn_box_is_no_table(blank: str) -> None:
    assert len(read(f"{blank}└────┬───────┘\n     │\nAccuracy: 0.93\n").tables) == 1


def test_only_a_line_that_begins_with_the_key_is_a_trainers() -> None:
    assert read("**Main score on test:** `test_f1_macro = 0.189`\n").certain == ()
    assert len(read("eval_f1 = 0.189\n").certain) == 1


def test_an_undefined_f1_that_is_printed_as_one_is_no_contradiction() -> None:
    rows = "".join(f"{name:>12s}     {score}    {score}    {f1}{size:>10d}\n" for name, score, f1, size in UNDEFINED)
    assert code(f"              precision    recall  f1-score   support\n\n{rows}") == 0
