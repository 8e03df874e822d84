"""Which readings are certain, and that only these accuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from in4310repro.audit.examine import audit
from in4310repro.audit.readers import read
from in4310repro.audit.verdicts import Rank

PRINTED = Path(__file__).parent / "printed"
REPORT = (PRINTED.parent / "printed" / "scenes_classification_report.txt").read_text(encoding="utf-8")
ROWS = "| {} | {} | {} | {} |\n|---|---|---|---|\n| sea | 0.60 | 0.60 | 0.75 |\n| town | 0.50 | 0.50 | 0.50 |\n"
SCORES = ("Precision", "Recall", "F1")
SPACY = (
    "NER (per type)\n\n             P       R       F\nORG      80.00   80.00   90.00\nGPE      70.00   70.00   70.00\n"
)
SEQEVAL = """\
              precision    recall  f1-score   support

         LOC       0.80      0.80      0.90        50
         PER       0.70      0.70      0.70        40

   micro avg       0.76      0.76      0.76        90
   macro avg       0.75      0.75      0.80        90
weighted avg       0.76      0.76      0.81        90
"""
DICTIONARY = (
    "{'sea': {'precision': 0.6, 'recall': 0.6, 'f1-score': 0.75, 'support': 10}, 'town': {'precision': 0.5,"
    " 'recall': 0.5, 'f1-score': 0.5, 'support': 12}, 'accuracy': 0.545}"
)
CARET = """\
Confusion Matrix and Statistics

          Reference
Prediction sea town
      sea   50    5
      town  10   35

               Accuracy : 0.95
                  Kappa : 0.6970

            Sensitivity : 0.8333
            Specificity : 0.8750
      Balanced Accuracy : 0.8542

       'Positive' Class : sea
"""
WEKA = """\
Correctly Classified Instances          85               95      %
Incorrectly Classified Instances        15               15      %
Kappa statistic                          0.697
Total Number of Instances              100

=== Confusion Matrix ===

  a  b   <-- classified as
 50 10 |  a = sea
  5 35 |  b = town
"""
TABLES = {
    "a table of classes": ROWS.format("Class", *SCORES),
    "a table of labels": ROWS.format("label", *SCORES),
    "a table in LaTeX": "\\begin{tabular}{lccc}\nClass & Precision & Recall & F1 \\\\\nsea & 0.60 & 0.60 & 0.75 \\\\\n"
    "town & 0.50 & 0.50 & 0.50 \\\\\n\\end{tabular}\n",
    "separated values": "class,precision,recall,f1\nsea,0.60,0.60,0.75\ntown,0.50,0.50,0.50\n",
    "networks side by side": "| Class | Unet Precision | Unet Recall | Unet F1 | Seg Precision "
    "| Seg Recall | Seg F1 |\n"
    "|---|---|---|---|---|---|---|\n| sea | 0.6 | 0.6 | 0.9 | 0.5 | 0.5 | 0.5 |\n"
    "| bay | 0.5 | 0.5 | 0.5 | 0.4 | 0.4 | 0.4 |\n",
    "spaCy's scores by type": SPACY,
    "seqeval's report": SEQEVAL,
    "a report as a dictionary": DICTIONARY,
    "the output of caret": CARET,
    "the output of Weka": WEKA,
}
GUESSES = {
    "rows below another heading": ROWS.format("Scene", *SCORES) + "| macro avg | 0.55 | 0.55 | 0.60 |\n",
    "a column that is no measure": "| Class | Weight | Precision | Recall | F1 |\n|---|---|---|---|---|\n"
    "| sea | 3.1 | 0.60 | 0.60 | 0.75 |\n| town | 4.5 | 0.50 | 0.50 | 0.50 |\n",
    "networks in the rows": ROWS.format("Class", *SCORES).replace("sea", "ResNet-18").replace("town", "ResNet-50"),
    "lines with counts": "Accuracy of sea: 81 % (84/100)\nAccuracy of town: 70 % (84/120)\n",
    "an accuracy beside a matrix": "Confusion matrix:\n[[50  2]\n [ 3 45]]\n\nAccuracy: 0.89\n",
    "sizes in a sentence": "Test set: 50 images of each of the 2 classes.\n\n| Class | Recall |\n|---|---|\n"
    "| sea | 0.613 | \n| town | 0.500 |\n",
}


@pytest.mark.parametrize("text", TABLES.values(), ids=TABLES)
def test_a_contradiction_within_a_certain_form_is_impossible(text: str) -> None:
    result = audit(text, power=False)
    assert result.exit_code == 1
    assert all(result.document.is_certain(table) for table in result.document.tables)


@pytest.mark.parametrize("text", GUESSES.values(), ids=GUESSES)
def test_a_contradiction_between_guesses_is_impossible_as_read_and_says_first_what_was_read(text: str) -> None:
    result = audit(text, power=False)
    assert result.exit_code == 3
    assert {finding.rank for finding in result.contradictions} == {Rank.AS_READ}
    assert all(" as " in finding.reading for finding in result.contradictions)


def test_what_stands_near_a_certain_table_changes_none_of_its_findings() -> None:
    wrong = REPORT.replace("0.9", "0.8", 1)
    assert audit(wrong, power=False).exit_code == 1
    assert audit(f"Accuracy: 0.5\n\n{wrong}\nMean Accuracy: 0.7\n", power=False).exit_code == 1
    assert audit(f"Accuracy: 0.5\n\n{REPORT}\nMean Accuracy: 0.7\n", power=False).exit_code != 1


def test_a_matrix_is_certainly_of_a_report_where_most_scores_follow_from_it() -> None:
    head = "|class|precision|recall|support|\n|---|---|---|---|\n|sea|0.9091|0.8333|60|\n|town|0.7778|{}|40|\n\n"
    matrix = "Confusion matrix\n\n[[50 10]\n [ 5 35]]\n"
    assert audit(head.format("0.8750") + matrix, power=False).exit_code == 0
    assert audit(head.format("0.7750") + matrix, power=False).exit_code == 1
    other = matrix.replace("50 10", "40 20").replace(" 5 35", "15 25")
    assert audit(head.format("0.8750") + other, power=False).exit_code != 1


@pytest.mark.parametrize("heading", ["Sex", "Age group", "Hospital", "Skin type", "Subgroup", "Fitzpatrick type"])
def test_subgroups_are_no_classes(heading: str) -> None:
    rows = "| A | 120 | 0.914 | 0.88 |\n| B | 230 | 0.93 | 0.91 |\n"
    text = f"| {heading} | N | Accuracy | Recall |\n|---|---|---|---|\n{rows}"
    document = read(text)
    assert [value.class_name for table in document.tables for value in table.of_classes] == []
    assert document.certain == ()


def test_women_and_men_are_no_classes_below_any_heading() -> None:
    rows = "| Women | 0.914 | 0.88 |\n| Men | 0.93 | 0.91 |\n| All | 0.5 | 0.9 |\n"
    text = f"| Patients | Accuracy | Recall |\n|---|---|---|\n{rows}"
    assert audit(text, power=False).exit_code == 0
    assert [value.class_name for table in read(text).tables for value in table.of_classes] == []


def test_classes_that_the_report_of_scikit_learn_calls_male_and_female_are_classes() -> None:
    text = SEQEVAL.replace(" LOC", "male").replace("   PER", "female")
    assert len(read(text).certain) == 1


def test_a_number_that_may_be_a_share_or_a_percentage_is_one_of_the_two() -> None:
    rows = "Accuracy of sea: 91.0 %\nAccuracy of town: 97.0 %\nMean accuracy over all classes: {}\n"
    assert audit(rows.format("0.94"), power=False).exit_code == 0
    # As a share 0.98 is too much, as a percentage too little; all that lies between made it agree.
    assert audit(rows.format("0.98"), power=False).exit_code == 3
    (mean,) = audit(rows.format("0.94"), power=False).means
    assert mean.agrees
    assert mean.difference == 0


@pytest.mark.parametrize("decimals", [7, 8, 10, 12])
def test_a_small_number_in_the_denominators_is_a_known_rounding(decimals: int) -> None:
    def table(*f1: float) -> str:
        scores = ((precision, recall, score) for (precision, recall), score in zip(pairs, f1, strict=True))
        rows = (" | ".join(f"{score:.{decimals}f}" for score in row) for row in scores)
        named = "\n".join(f"| {name} | {row} |" for name, row in zip("ab", rows, strict=True))
        return f"| Class | Precision | Recall | F1 |\n|---|---|---|---|\n{named}\n"

    pairs = ((0.5123456789, 0.2512345678), (0.7123456789, 0.6512345678))
    one, other = (2 * p * r / (p + r + 1e-7) for p, r in pairs)
    assert [each for each in audit(table(one, other), power=False).findings if each.kind == "F1"] == []
    assert [each.kind for each in audit(table(one, other - 1e-5), power=False).findings if each.kind == "F1"] == ["F1"]
