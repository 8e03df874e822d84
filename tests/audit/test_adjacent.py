"""Precision, recall and F1 over all classes in one text: which belong together, and what excuses an odd F1."""

from __future__ import annotations

import pytest

from in4310repro.audit.examine import audit
from in4310repro.audit.verdicts import Rank

BELOW = "Precision: {}\nRecall: {}\nF1: {}\n"
BESIDE = "Precision: {}, Recall: {}, F1: {}\n"
SCORES = ("97.0", "93.6", "98.3")


def ranks(text: str) -> list[Rank]:
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
        "- Loss: 0.31\n- Precision: {}\n- Recall: {}\n- F1: {}\n",
        "Precision: {} ± 0.4\nRecall: {} ± 0.2\nF1: {} ± 0.3\n",
        "Accuracy: 95.0\n" + BELOW,
        "| model | precision | recall | F1 |\n|---|---|---|---|\n| ours | {} | {} | {} |\n",
        "| metric | value |\n|---|---|\n| precision | {} |\n| recall | {} |\n| F1 | {} |\n",
        '{{"precision": {}, "recall": {}, "f1": {}}}',
    ],
)
def test_an_f1_above_the_mean_of_precision_and_recall_is_impossible(text: str) -> None:
    assert ranks(text.format(*SCORES)) == [Rank.IMPOSSIBLE]
    assert ranks(text.format("97.0", "93.6", "95.2")) == []


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
    found = ranks(text.format(*SCORES))
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
    assert ranks(text.format(*SCORES)) == []


def test_several_results_below_each_other_are_told_apart() -> None:
    text = BELOW.format("90.0", "91.0", "90.4") + BELOW.format(*SCORES)
    findings = [finding for finding in audit(text, power=False).findings if finding.rank is Rank.IMPOSSIBLE]
    assert [finding.tables for finding in findings] == [("lines 4 to 6",)]
