"""Blocks of integers beside a score: those that are confusion matrices, and those that must give no finding."""

from __future__ import annotations

import numpy as np
import pytest

from in4310repro.audit.examine import audit
from in4310repro.audit.readers import read
from in4310repro.audit.verdicts import Rank

BLOCK = "36 3 1\n2 34 4\n0 6 34\n"  # 104 of 120: 86.67 %
DISHONEST = {
    "below": BLOCK + "Accuracy: 50 %\n",
    "above": "Accuracy: 0.9167\n\n" + BLOCK,
    "in the last line": BLOCK + "Accuracy: 50 %",
    "test accuracy": "Results on the test set\n" + BLOCK + "\nTest accuracy: 91.7 %\n",
    "kappa": BLOCK + "Kappa: 0.85\n",
    "brackets": "Accuracy: 0.95\n[36, 3, 1]\n[2, 34, 4]\n[0, 6, 34]\n",
    "tabs": "Overall accuracy: 81.2 %\n\n" + BLOCK.replace(" ", "\t"),
    "fence": "Accuracy: 0.95\n\n```\n" + BLOCK + "```\n",
    "two classes": "91 9\n6 94\nAccuracy: 0.95\n",
    "balanced accuracy": BLOCK + "Balanced accuracy: 0.95\n",
    "mean recall": BLOCK + "Macro recall: 0.95\n",
    "two of three classes most often right": "Accuracy: 0.95\n40 3 1\n2 38 4\n3 17 13\n",
    "four classes": "Accuracy: 0.76\n48 1 0 1\n2 46 1 1\n0 3 45 2\n1 0 5 44\n",
}
HONEST = {
    "right": BLOCK + "Accuracy: 86.67 %\n",
    "right, predictions in rows": "Accuracy: 0.867\n36 2 0\n3 34 6\n1 4 34\n",
    "clusters in another order": "0 50 0\n2 0 48\n36 0 14\nAccuracy: 0.8933\n",
    "clusters exchanged": "40 1 2\n0 20 15\n1 14 3\nAccuracy: 0.95\n",
    "one class most often right": "30 1 2\n25 20 0\n22 1 18\nAccuracy: 0.95\n",
    "image": "Accuracy: 0.93\n\n0 12 13\n5 16 1\n9 15 14\n",
    "digits": "Accuracy: 0.97\n0 0 5 13\n0 3 15 2\n0 4 12 0\n0 5 8 0\n",
    "years": "Accuracy: 0.91\n2019 2020 2021\n2020 2021 2022\n2021 2022 2023\n",
    "latin square": "Accuracy: 0.95\n3 1 2\n2 3 1\n1 2 3\n",
    "sudoku": "Accuracy: 0.99\n"
    + "".join(
        " ".join(str((3 * (row % 3) + row // 3 + place) % 9 + 1) for place in range(9)) + "\n" for row in range(9)
    ),
    "coordinates": "Accuracy: 0.9\n120 40\n45 130\n160 80\n",
    "points": "Accuracy: 0.9\n640 480\n480 640\n",
    "settings": "Accuracy: 0.91\n64 16\n8 128\n",
    "settings of three": "Accuracy: 0.91\n100 20 5\n10 50 5\n5 10 80\n",
    "epochs": "Accuracy: 0.9\n1 40 30\n2 52 20\n3 58 61\n",
    "numbered": "0 91\n1 94\nAccuracy: 0.925\n",
    "columns by name": "epoch right wrong\n36 3 1\n2 34 4\n0 6 34\nAccuracy: 0.5\n",
    "named otherwise": "Votes of three raters:\n" + BLOCK + "Accuracy: 0.5\n",
    "named below": "Accuracy: 0.5\n" + BLOCK + "are the pairs that the raters saw\n",
    "distances": "Accuracy: 0.9\n0 12 31\n12 0 17\n31 17 0\n",
    "counted together": "Accuracy: 0.95\n36 3 1\n3 34 4\n1 4 34\n",
    "mask": "Accuracy: 0.9\n" + (" 1" * 4 + "\n") * 4,
    "training": BLOCK + "Train accuracy: 0.99\n",
    "best": BLOCK + "Best accuracy: 0.99\n",
    "cross validation": BLOCK + "Cross-validated accuracy: 0.84\n",
    "out of bag": BLOCK + "OOB accuracy: 0.867\n\nTest accuracy: 0.7\n",
    "mean over folds": BLOCK + "Mean accuracy: 0.84\n",
    "mean over runs": BLOCK + "Accuracy: 0.84 ± 0.02\n",
    "of a named network": BLOCK + "ResNet accuracy: 0.84\n",
    "more rows": BLOCK + "1 2 3\nAccuracy: 0.5\n",
    "decimals": "36.5 3 1\n2 34 4\n0 6 34\nAccuracy: 0.5\n",
    "negative": "36 -3 1\n2 34 4\n0 6 34\nAccuracy: 0.5\n",
    "far away": BLOCK + "\n\nThe second part.\n\n\nAccuracy: 0.5\n",
    "few": "3 0\n1 2\nAccuracy: 0.9\n",
}


@pytest.mark.parametrize("name", DISHONEST)
def test_a_score_that_is_not_of_the_numbers_beside_it_is_impossible(name: str) -> None:
    findings = audit(DISHONEST[name], power=False).findings
    assert [(each.kind, each.rank) for each in findings] == [("confusion matrix", Rank.IMPOSSIBLE)]


@pytest.mark.parametrize("name", HONEST)
def test_numbers_that_are_no_matrix_accuse_nobody(name: str) -> None:
    assert audit(HONEST[name], power=False).exit_code == 0


@pytest.mark.parametrize(
    "name", ["clusters in another order", "counted together", "clusters exchanged", "one class most often right"]
)
def test_a_matrix_that_may_be_something_else_is_a_condition(name: str) -> None:
    findings = audit(HONEST[name], power=False).findings
    assert [each.rank for each in findings] == [Rank.UNLESS]
    assert any("not a confusion matrix" in condition for condition in findings[0].conditions)


def test_a_matrix_is_read_only_where_it_can_be_one() -> None:
    read_as_matrix = {name for name, text in HONEST.items() if any(table.matrix for table in read(text).tables)}
    assert {"right", "clusters in another order", "counted together"} <= read_as_matrix
    no_matrices = {"years", "latin square", "sudoku", "epochs", "numbered", "columns by name", "mask", "training"}
    assert read_as_matrix.isdisjoint(no_matrices | {"mean over runs"})


def test_a_matrix_has_the_line_numbers_of_its_rows() -> None:
    (table,) = (each for each in read(HONEST["right, predictions in rows"]).tables if each.matrix)
    assert table.matrix is not None
    assert (table.first, table.last, [row[0].line for row in table.matrix.rows]) == (2, 4, [2, 3, 4])


def test_matrices_of_simulated_predictions_accuse_nobody_and_wrong_accuracies_are_found() -> None:
    generator = np.random.default_rng(31)
    found = 0
    for _ in range(60):
        classes = int(generator.integers(2, 8))
        confused = generator.dirichlet(np.full(classes, 0.5), classes) * 0.2 + 0.8 * np.eye(classes)
        counts = np.array([generator.multinomial(int(generator.integers(30, 200)), row) for row in confused])
        share = counts.trace() / counts.sum()
        block = "\n".join(" ".join(map(str, row)) for row in counts.tolist())
        assert audit(f"{block}\nAccuracy: {share:.4f}\n", power=False).exit_code == 0
        found += audit(f"{block}\nAccuracy: {share - 0.1:.4f}\n", power=False).exit_code
    assert found >= 55
