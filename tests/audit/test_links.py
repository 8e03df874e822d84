"""Results printed next to each other are linked if they come from the same predictions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from in4310repro.audit.examine import audit
from in4310repro.audit.verdicts import Audit, Rank

MATRIX = "Confusion matrix:\n36 3 1\n2 34 4\n0 6 34\n"
REPORT = """              precision    recall  f1-score   support

         sea       0.98      0.98      0.98        42
        town       0.99      0.99      0.99        72

    accuracy                           0.98       114
   macro avg       0.98      0.98      0.98       114
weighted avg       0.98      0.98      0.98       114
"""
LOOSE = "              precision    recall  f1-score   support\n\n{rows}\n    accuracy{accuracy:>31}{images:>10}\n"
BELOW = "Precision: {}\nRecall: {}\nF1: {}\n"
BESIDE = "Precision: {}, Recall: {}, F1: {}\n"
SCORES = ("97.0", "93.6", "98.3")


def ranks(text: str) -> list[Rank]:
    return [finding.rank for finding in audit(text, power=False).findings]


def impossible(text: str) -> Audit:
    result = audit(text, power=False)
    assert result.contradictions, result.findings
    return result


@pytest.mark.parametrize("order", ["{matrix}\n{line}", "{line}\n\n{matrix}"], ids=["after", "before"])
@pytest.mark.parametrize(
    ("matrix", "line", "right"),
    [
        (MATRIX, "Accuracy: 50 %", False),
        (MATRIX, "Accuracy: 86.67 %", True),
        (MATRIX, "Test accuracy: 0.98", False),
        ("[[41  1]\n [ 1 71]]\n", "Accuracy: 0.8935", False),
        ("[[41  1]\n [ 1 71]]\n", "Accuracy: 0.9825", True),
        (MATRIX, "Kappa: 0.81", False),
        (MATRIX, "Kappa: 0.80", True),
        # Weighted by the squares of distances.
        (MATRIX, "Cohen's kappa: 0.8790", True),
        (MATRIX, "MCC: 0.8006", True),
        (MATRIX, "MCC: 0.83", False),
        (MATRIX, "Balanced accuracy: 0.867", True),
        (MATRIX, "Balanced accuracy: 0.881", False),
        (MATRIX, "Macro F1: 0.868", True),
        (MATRIX, "Macro F1: 0.887", False),
        (MATRIX, "F1-Score: 0.868", True),
        (MATRIX, "F1-Score: 0.923", True),  # of the first class
        (MATRIX, "F1-Score: 0.91", False),
        # Where the average is named, only that one counts: .867 is the micro average, .947 that of the first class.
        (MATRIX, "Micro-averaged precision: 0.867", True),
        (MATRIX, "Micro-averaged precision: 0.947", False),
        (MATRIX, "Macro-averaged precision: 0.947", False),
        (MATRIX, "Recall (average='macro'): 0.867", True),
        (MATRIX, "Recall (average='macro'): 0.900", False),
        (MATRIX, 'Precision score (average = "micro"): 0.867', True),
        (MATRIX, 'Precision score (average = "micro"): 0.870', False),
        (MATRIX, "Weighted kappa: 0.91", True),
        (MATRIX, "Weighted precision: 0.8700", True),
        (MATRIX, "Weighted precision: 0.8890", False),
        ("[[41  1]\n [ 1 71]]\n", "Precision: 0.976", True),
        ("[[41  1]\n [ 1 71]]\n", "Precision: 0.986", True),
        ("[[41  1]\n [ 1 71]]\n", "Precision: 0.931", False),
        ("[[41  1]\n [ 1 71]]\n", "Specificity: 0.931", False),
        ("[[41  1]\n [ 1 71]]\n", "Specificity: 0.986", True),
    ],
)
def test_a_value_over_all_classes_is_that_of_the_matrix_beside_it(
    order: str, matrix: str, line: str, right: bool
) -> None:
    found = ranks(order.format(matrix=matrix, line=line))
    assert (found == []) is right
    assert right or found == [Rank.AS_READ]


def test_a_value_held_against_a_matrix_that_was_read_apart_is_said_to_stand_beside_it() -> None:
    (found,) = audit(f"{MATRIX}\n# Results\nAccuracy: 50 %", power=False).findings
    assert (found.kind, found.inputs[1:]) == ("confusion matrix", ("Accuracy in line 7 is beside lines 2 to 4",))


@pytest.mark.parametrize(
    "order", ["{report}\n{line}", "{line}\n\n{report}", "{line}\n\nClassification report:\n{report}"]
)
@pytest.mark.parametrize(
    ("line", "rank"),
    [
        ("Accuracy: 0.8935", Rank.AS_READ),
        ("Accuracy: 98.25 %", None),
        ("Test accuracy: 0.8935", Rank.AS_READ),
        # Of other predictions by their words.
        ("Training accuracy: 0.8935", None),
        ("Validation accuracy: 0.8935", None),
        ("Best accuracy: 0.8935", None),
        ("Cross-validation accuracy: 0.8935", None),
        ("Baseline accuracy: 0.8935", None),
        ("SVM accuracy: 0.8935", None),
        ("Mean accuracy: 0.8935", None),
        ("Accuracy: 0.8935 +/- 0.02", None),
        ("Top-3 accuracy: 0.8935", None),
    ],
)
def test_an_accuracy_line_is_that_of_the_report_beside_it(order: str, line: str, rank: Rank | None) -> None:
    found = [f.rank for f in audit(order.format(report=REPORT, line=line), power=False).findings]
    assert (min(found, key=list(Rank).index) if found else None) in ([rank] if rank else [None, Rank.UNLESS])


def test_what_was_held_against_what_is_said_with_lines() -> None:
    result = impossible("Accuracy: 0.8935\n\n" + REPORT)
    assert any("line 1 is beside lines 3 to 10" in text for text in result.contradictions[0].inputs)


def test_six_words_announce_a_report() -> None:
    impossible("Accuracy: 0.8935\n\nClassification report, precision and recall per class:\n" + REPORT)


@pytest.mark.parametrize(
    "text",
    [
        # Another experiment between, or a heading of one.
        "## Logistic regression\n\nAccuracy: 0.8935\n\n## Support vectors\n\n" + REPORT,
        "Accuracy: 0.8935\n\nNow the same with another kernel and more features of each picture\n\n" + REPORT,
        "Accuracy: 0.8935\n" + "\n" * 14 + REPORT,
        # One line between two reports may be of either.
        REPORT + "\nAccuracy: 0.8935\n\n" + REPORT,
    ],
)
def test_what_may_be_of_another_model_accuses_nobody(text: str) -> None:
    assert Rank.AS_READ not in ranks(text)


def test_each_of_several_reports_has_the_line_before_it_or_after_it() -> None:
    other = REPORT.replace("0.98       114", "0.98       114").replace("sea", "ice")
    good = "Accuracy: 0.9825\n\n" + REPORT + "\nAccuracy: 0.9825\n\n" + other
    assert ranks(good) == []
    assert Rank.AS_READ in ranks(good.replace("Accuracy: 0.9825\n\n" + other, "Accuracy: 0.9125\n\n" + other))
    # Two lines of one report would excuse each other.
    assert ranks(REPORT + "\nAccuracy: 0.8935\n\n" + other + "\nAccuracy: 0.9125\n") == [Rank.AS_READ] * 2


def test_two_accuracies_of_one_report_excuse_each_other() -> None:
    found = audit("Accuracy: 0.9825\nAccuracy: 0.8935\n\n" + REPORT, power=False).findings
    assert [finding.rank for finding in found] == [Rank.UNLESS]
    assert ranks("Accuracy: 0.8935\n\n" + REPORT + "\nAccuracy: 0.8835\n") == [Rank.UNLESS] * 2


def test_a_matrix_of_other_classes_is_not_that_of_the_scores_beside_it() -> None:
    scores = "| class | precision | recall |\n|---|---|---|\n| sea | 0.80 | 0.67 |\n| town | 0.64 | 0.98 |\n"
    matrix = "| | sea | town |\n|---|---|---|\n| sea | 8 | 4 |\n| town | 2 | 7 |\n"
    assert ranks(f"{scores}\n{matrix}") == [Rank.IMPOSSIBLE]
    assert ranks(f"{scores}\n{matrix.replace('sea', 'cat').replace('town', 'dog')}") == []


def with_matrix(rows: str) -> str:
    return (
        "              precision    recall  f1-score   support\n\n"
        "         sea       0.80      0.67      0.73        12\n"
        "        town       0.64      0.78      0.70         9\n"
        "        wood       1.00      1.00      1.00        30\n\n"
        "    accuracy                           0.88        51\n\n"
        f"[[{rows}]]\n"
    )


@pytest.mark.parametrize(
    "rows",
    [
        "8 4 0]\n [2 7 0]\n [0 0 30",
        "8 2 0]\n [4 7 0]\n [0 0 30",  # predictions in rows
    ],
)
def test_a_matrix_and_its_report_agree(rows: str) -> None:
    assert ranks(with_matrix(rows)) == []


@pytest.mark.parametrize(
    "rows", ["9 4 0]\n [2 7 0]\n [0 0 30", "8 4 0]\n [2 7 1]\n [0 0 30", "8 4 0]\n [2 7 0]\n [0 0 39"]
)
def test_a_wrong_cell_that_changes_the_sum_of_its_row_is_found(rows: str) -> None:
    result = impossible(with_matrix(rows))
    assert any("its sum in the confusion matrix is" in finding.message for finding in result.contradictions)


def test_a_matrix_of_other_images_is_a_condition() -> None:
    found = audit(with_matrix("80 4 1]\n [2 70 3]\n [0 9 31"), power=False).findings
    assert {finding.rank for finding in found} == {Rank.UNLESS}
    assert all("other images" in " ".join(finding.conditions) for finding in found)


def test_scores_over_all_in_json_are_those_of_the_classes_beside_them() -> None:
    rows = {
        "sea": {"precision": 0.8, "recall": 0.6667, "f1-score": 0.7273, "support": 12},
        "town": {"precision": 0.6364, "recall": 0.7778, "f1-score": 0.7, "support": 9},
    }
    for indent in (None, 1):
        good = {"accuracy": 0.7143, "report": rows}
        assert ranks(json.dumps(good, indent=indent)) == []
        assert ranks(json.dumps({**good, "accuracy": 0.9143}, indent=indent)) == [Rank.IMPOSSIBLE]
        matrix = {"accuracy": 0.7143, "confusion_matrix": [[8, 4], [2, 7]]}
        assert ranks(json.dumps(matrix, indent=indent)) == []
        assert ranks(json.dumps({**matrix, "accuracy": 0.9143}, indent=indent)) == [Rank.AS_READ]
    branches = {"one": {"accuracy": 0.9143, "kappa": 0.5}, "two": {"report": rows}}
    assert Rank.AS_READ not in ranks(json.dumps(branches, indent=1))
    within = {"one": {"accuracy": 0.9143, "report": rows}}
    assert ranks(json.dumps(within, indent=1)) == [Rank.IMPOSSIBLE]
    models = {"one": {"accuracy": 0.7143, "report": rows}, "two": {"accuracy": 0.81, "best_accuracy": 0.9}}
    assert Rank.AS_READ not in ranks(json.dumps(models, indent=1))


@pytest.mark.parametrize(("accuracy", "found"), [(0.7143, []), (0.9143, [Rank.AS_READ])])
def test_a_printed_dictionary_of_scores_is_that_of_the_report_printed_before_it(
    accuracy: float, found: list[Rank]
) -> None:
    # 8 of 12 and 7 of 9 are right.
    report = {"sea": {"recall": 0.6667, "support": 12}, "town": {"recall": 0.7778, "support": 9}, "accuracy": 0.7143}
    assert ranks(f"report = {report}\nscores = {{'accuracy': {accuracy}}}\n") == found


def test_the_accuracy_of_a_report_is_no_mean_over_batches() -> None:
    rows = "".join(
        f"{name:>12}{p:>11}{r:>10}{f:>10}{50:>10}\n"
        for name, p, r, f in (("a", 0.98, 0.92, 0.95), ("b", 0.88, 0.84, 0.86), ("c", 0.87, 0.96, 0.91))
    )
    assert ranks(LOOSE.format(rows=rows, accuracy=0.91, images=150)) == []
    assert ranks(LOOSE.format(rows=rows, accuracy=0.93, images=150))[0] is Rank.IMPOSSIBLE


RECALLS = """              precision    recall  f1-score   support

         sea       0.98      0.92      0.95        50
        town       0.88      0.84      0.86        50
        wood       0.87      0.96      0.91        50

   macro avg       0.91      0.91      0.91       150
"""
ROWS = "| class | recall | support |\n|---|---|---|\n| sea | 0.92 | 50 |\n| town | 0.84 | 50 |\n| wood | 0.96 | 50 |\n"


@pytest.mark.parametrize("order", ["{table}\n{line}\n", "{line}\n\n{table}"], ids=["after", "before"])
@pytest.mark.parametrize("table", [RECALLS, ROWS], ids=["report", "rows"])
@pytest.mark.parametrize(
    ("line", "right"),
    [
        # 136 of 150 images are right.
        ("Accuracy: 0.93", False),
        ("Accuracy: 93%", False),
        ("The accuracy is 0.93.", False),
        ("Overall accuracy: 0.9300", False),
        ("Accuracy: 0.91", True),
        ("Accuracy: 0.9067", True),
        ("Training accuracy: 0.93", True),
        ("Accuracy on CIFAR-10: 0.93", True),
        ("Accuracy of VGG: 0.93", True),
        ("Mean accuracy over 5 folds: 0.93", True),
        # A loop over a test set prints it so.
        ("Test accuracy: 0.93", True),
        # Of two full batches of 64 and one of 22 images of one class: (57 + 57) / 128 and 22 / 22.
        ("Accuracy: 0.93 (batch size 64)", True),
        ("loss: 0.21\nAccuracy: 0.93", True),
    ],
)
def test_an_accuracy_beside_recalls_and_supports_is_a_mean_over_batches_where_the_text_speaks_of_them(
    order: str, table: str, line: str, right: bool
) -> None:
    assert audit(order.format(table=table, line=line), power=False).exit_code == (0 if right else 3)


def test_an_accuracy_beside_accuracies_of_classes_may_be_a_mean_over_batches() -> None:
    assert ranks(ROWS.replace("recall", "accuracy") + "\nAccuracy: 0.93\n") == [Rank.UNLESS]


SAID = "".join(
    f"Accuracy of {name}: {share} %\n"
    for name, share in zip(("sea", "town", "wood", "ice", "road", "field"), (94, 88, "{}", 90, 86, 92), strict=True)
)


@pytest.mark.parametrize(
    "sentence",
    [
        "300 images, 50 of each class",
        "We tested on 300 images, 50 of each class.",
        "The test set has 300 images (50 per class).",
        "300 test images, 50 for each of the 6 classes",
        "6 classes with 50 images each",
        "Each class has 50 test images.",
        "There are 50 images per class, 300 in all.",
        "300 images, evenly split over 6 classes",
        "The 300 images are 50 per class",
    ],
)
@pytest.mark.parametrize("order", ["{sentence}\n\n{table}", "{table}\n{sentence}\n"], ids=["before", "after"])
def test_sizes_that_a_sentence_says_hold_in_any_phrasing(sentence: str, order: str) -> None:
    table = SAID.replace(" %", ".00 %")
    assert audit(order.format(sentence=sentence, table=table.format(93)), power=False).exit_code == 3
    assert audit(order.format(sentence=sentence, table=table.format(92)), power=False).exit_code == 0


def notebook(*outputs: str) -> str:
    cells = [
        {
            "cell_type": "code",
            "execution_count": number,
            "source": "print(report)",
            "outputs": [{"output_type": "stream", "name": "stdout", "text": text}],
        }
        for number, text in enumerate(outputs, start=1)
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def test_results_of_different_cells_of_a_notebook_are_never_joined(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(notebook("Accuracy: 0.8935\n\n" + REPORT), encoding="utf-8")
    assert Rank.AS_READ in [finding.rank for finding in audit(path, power=False).findings]
    path.write_text(notebook("Accuracy: 0.8935\n", REPORT), encoding="utf-8")
    assert audit(path, power=False).findings == ()


def ranks_of_mean_f1(text: str) -> list[Rank]:
    return [finding.rank for finding in audit(text, power=False).findings if finding.kind == "mean F1"]


@pytest.mark.parametrize(
    "text",
    [
        BELOW,
        BESIDE,
        "Recall: {1} %\nF1-score: {2} %\nPrecision: {0} %\n",
        "Means over 3 folds.\n\n" + BELOW,
        "Mean precision: {}\nMean recall: {}\nMean F1: {}\n",
        "Overall precision: {}\n\nOverall recall: {}\n\nOverall F1: {}\n",
        "Macro-averaged scores\n\n" + BELOW,
        "Macro averages of precision, recall and F1\n\n" + BELOW,
        "- Loss: 0.31\n- Precision: {}\n- Recall: {}\n- F1: {}\n",
        "Precision: {} ± 0.4\nRecall: {} ± 0.2\nF1: {} ± 0.3\n",
        "Accuracy: 95.0\n" + BELOW,
        "| model | precision | recall | F1 |\n|---|---|---|---|\n| ours | {} | {} | {} |\n",
        "| metric | value |\n|---|---|\n| precision | {} |\n| recall | {} |\n| F1 | {} |\n",
        "| metric | value |\n|---|---|\n| precision | {} |\n\nRecall: {}\nF1: {}\n",
        '{{"precision": {}, "recall": {}, "f1": {}}}',
    ],
)
def test_an_f1_above_the_mean_of_precision_and_recall_is_impossible(text: str) -> None:
    assert ranks_of_mean_f1(text.format(*SCORES)) == [Rank.AS_READ]
    assert ranks_of_mean_f1(text.format("97.0", "93.6", "95.2")) == []


@pytest.mark.parametrize(
    "text",
    [
        "Precision and recall are micro averages, F1 is a macro average.\n\n" + BELOW,
        "F1 is macro-averaged.\n\n" + BELOW,
        "precision_score(y, p, average='macro')\nf1_score(y, p, average='weighted')\n" + "\n" * 20 + BELOW,
        "313/313 - 2s - 6ms/step\n" + BELOW,
        "colMeans(result$byClass, na.rm = TRUE)\n" + BELOW,
        "Medians over 7 seeds\n\n" + BELOW,
        "F1 is at its best threshold.\n\n" + BELOW,
        "| metric | value |\n|---|---|\n| ROUGE-L | 41.3 |\n| precision | {} |\n| recall | {} |\n| F1 | {} |\n",
    ],
)
def test_a_text_that_says_why_scores_differ_makes_it_a_condition(text: str) -> None:
    found = ranks_of_mean_f1(text.format(*SCORES))
    assert found == [Rank.UNLESS]


@pytest.mark.parametrize(
    "text",
    [
        # One value is of something else, or nothing says which are of one result.
        "Precision: {}\nRecall: {}\nbest F1: {}\n",
        "Precision: {}\nRecall: {}\nTrain F1: {}\n",
        "Precision: {}\nRecall: {}\n\nThe second network:\n\nF1: {}\n",
        "Macro precision: {}\nMacro recall: {}\nWeighted F1: {}\n",
        "Precision: {}\nRecall: {}\nPrecision: 91.0\nF1: {}\n",
        "Precision: {}\nRecall: {}\nF2: {}\n",
    ],
)
def test_scores_of_different_things_are_not_compared(text: str) -> None:
    assert ranks_of_mean_f1(text.format(*SCORES)) == []


def test_several_results_below_each_other_are_told_apart() -> None:
    text = BELOW.format("90.0", "91.0", "90.4") + BELOW.format(*SCORES)
    findings = [finding for finding in audit(text, power=False).findings if finding.rank is Rank.AS_READ]
    assert [finding.tables for finding in findings] == [("lines 4 to 6",)]
