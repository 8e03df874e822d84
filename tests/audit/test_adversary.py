"""Honest results in unusual forms are never accused, and dishonest ones are all found."""

from __future__ import annotations

import pytest

from in4310repro.audit.examine import audit
from tests.audit.by_hand import REPORT

# Of another network, 90 6 4 / 10 104 6 / 3 5 72: accuracy .8867.
OTHER = """              precision    recall  f1-score   support

         sea       0.87      0.90      0.89       100
        town       0.90      0.87      0.89       120
        wood       0.88      0.90      0.89        80

    accuracy                           0.89       300
   macro avg       0.89      0.89      0.89       300
weighted avg       0.89      0.89      0.89       300
"""
MATRIX = "Confusion matrix:\n[[83 12  5]\n [28 84  8]\n [ 5  8 67]]\n"
# Several labels an image: an accuracy is that of whole sets of labels, or of each decision.
LABELS = """              precision    recall  f1-score   support

        rain       0.90      0.60      0.72       100
        snow       0.80      0.50      0.62       120
        wind       0.95      0.40      0.56        90

   micro avg       0.87      0.50      0.64       310
   macro avg       0.88      0.50      0.63       310
weighted avg       0.88      0.50      0.63       310
 samples avg       0.55      0.48      0.50       310
"""
ENTITIES = """           precision    recall  f1-score   support

      LOC     0.9330    0.9101    0.9214      1668
      PER     0.9471    0.9406    0.9438      1617

micro avg     0.9400    0.9251    0.9325      3285
macro avg     0.9401    0.9254    0.9326      3285
"""
HONEST = {
    "tokens beside entities": ENTITIES + "\nToken accuracy: 0.9812\n",
    "a bare accuracy beside entities": ENTITIES + "\naccuracy: 98.12%\n",
    "the share of sets of labels that are right": LABELS + "\nExact match: 0.31\nAccuracy: 0.31\n",
    "each decision of several labels": LABELS + "\nAccuracy: 0.86\nHamming loss: 0.14\n",
    "top-5 beside a report": "Top-5 accuracy: 0.97\n\n" + REPORT,
    "a cross-validated mean before a test report": "Cross-validation accuracy: 0.83 +/- 0.02\n\nTest set:\n" + REPORT,
    "scores of five folds": "CV scores: [0.81 0.84 0.79 0.83 0.82]\nMean CV accuracy: 0.818\n\n" + REPORT,
    "train and test lines": "Train accuracy: 0.99\nTest accuracy: 0.78\n\n" + REPORT,
    "a training report and a test report": "Training\n\n" + REPORT + "\nTest\n\n" + OTHER,
    "two models, each with its line": "## Forest\nAccuracy: 0.78\n"
    + REPORT
    + "\n## Boosting\nAccuracy: 0.89\n"
    + OTHER,
    "another model's accuracy": REPORT + "\nLogistic regression accuracy: 0.74\n",
    "the quadratic kappa of grades": REPORT.replace("sea", "  0").replace("town", "   1").replace("wood", "   2")
    + "\nKappa: 0.73\n",
    "an area under the curve": REPORT + "\nROC AUC: 0.93\nAverage precision: 0.90\n",
    "one score of the class of interest": MATRIX + "\nRecall: 0.83\nSpecificity: 0.835\n",
    "best of a search": "Best parameters: {'C': 10}\nBest score: 0.85\nBest cross-validation accuracy: 0.85\n\n"
    + REPORT,
    "a threshold and the score at it": "Best F1: 0.83 @ threshold 0.41\n\n" + REPORT,
    "mean and deviation of seeds": REPORT + "\nAccuracy over 5 seeds: 0.776 ± 0.011\nMacro F1: 0.781 ± 0.012\n",
    "a balanced accuracy adjusted for chance": REPORT + "\nBalanced accuracy (adjusted): 0.685\n",
    "a validation log before a report": "Epoch 9: loss 0.5 val_acc 0.85\nEpoch 10: loss 0.4 val_acc 0.86\n\n" + REPORT,
    "an accuracy of another data set": "Accuracy on Places: 0.64\nAccuracy on Scenes: 0.78\n\n" + REPORT,
    "an error rate": REPORT + "\nError rate: 0.22\n",
    "an error that is a loss": MATRIX + "\nTest error: 0.64\n",
    "baselines": "Majority class accuracy: 0.40\nRandom baseline accuracy: 0.33\n\n" + REPORT,
}
DISHONEST = {
    "an accuracy line": REPORT + "\nAccuracy: 0.87\n",
    "an accuracy line in percent": "Our accuracy is 87 %.\n\n" + REPORT,
    "a kappa": REPORT + "\nCohen's kappa: 0.76\n",
    "a correlation": REPORT + "\nMCC: 0.76\n",
    "a micro average": REPORT + "\nMicro F1: 0.84\n",
    "a macro average": REPORT + "\nMacro F1: 0.84\n",
    "a specificity": REPORT + "\nSpecificity (macro): 0.95\n",
    "a bare F1": "F1-score: 0.88\n\n" + REPORT,
    "a row above its own accuracy": REPORT.replace("0.72      0.83      0.77", "0.92      0.93      0.92"),
    "an average of the report": REPORT.replace(
        "macro avg       0.79      0.79      0.79", "macro avg       0.79      0.84      0.79"
    ),
    "an accuracy beside a matrix": MATRIX + "\nAccuracy: 0.83\n",
    "a kappa beside a matrix": MATRIX + "\nKappa: 0.75\n",
    "a macro recall beside a matrix": MATRIX + "\nMacro recall: 0.83\n",
    "a correlation beside a matrix": MATRIX + "\nMatthews correlation coefficient: 0.745\n",
    "a cell of the matrix": MATRIX.replace("84", "94") + "\n" + REPORT,
    "precision that needs more images than there are": REPORT.replace(
        "0.72      0.83      0.77", "0.25      0.83      0.38"
    ),
    "a sum of counts": "Accuracy of sea: 83.0 % (83/100)\nAccuracy of town: 70.0 % (84/120)\n"
    "Accuracy of wood: 83.75 % (67/80)\nTotal accuracy: 88.00 % (264/300)\n",
    "an error rate beside a report": REPORT + "\nMisclassification rate: 0.15\n",
    "an error rate beside a matrix": MATRIX + "\nError rate: 0.12\n",
    "a class against the rest": "| class | precision | recall | F1 | specificity | support |\n"
    "|---|---|---|---|---|---|\n"
    "| sea | 0.72 | 0.83 | 0.77 | 0.95 | 100 |\n| town | 0.81 | 0.70 | 0.75 | 0.89 | 120 |\n"
    "| wood | 0.84 | 0.84 | 0.84 | 0.94 | 80 |\n| accuracy | | | 0.78 | | 300 |\n",
}


@pytest.mark.parametrize("text", HONEST.values(), ids=HONEST)
def test_an_honest_result_in_an_unusual_shape_is_not_accused(text: str) -> None:
    assert audit(text, power=False).contradictions == ()


# Within one report or table, or between a report and the matrix that gives most of its scores.
CERTAIN = (
    "a row above its own accuracy",
    "an average of the report",
    "a cell of the matrix",
    "precision that needs more images than there are",
    "a class against the rest",
)


@pytest.mark.parametrize("name", DISHONEST)
def test_a_dishonest_result_is_found(name: str) -> None:
    assert audit(DISHONEST[name], power=False).exit_code == (1 if name in CERTAIN else 3)
