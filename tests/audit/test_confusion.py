"""Confusion matrices beside scores: what batches, folds or other images excuse, and what they do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_score

from in4310repro.audit.averages import BATCH
from in4310repro.audit.confusion import OTHER
from in4310repro.audit.examine import audit
from in4310repro.audit.verdicts import Finding, Rank

# 255 of 300 images are right.
MATRIX = "Confusion matrix:\n[[90  6  4]\n [ 9 93  8]\n [ 6 12 72]]\n"
SMALL = "Confusion matrix:\n[[8 4]\n [2 7]]\n"


def contradictions(text: str, **options: Any) -> list[Finding]:
    """Return the contradictions of the matrix, each of them impossible where it has no condition."""
    found = [each for each in audit(text, power=False, **options).findings if each.kind == "confusion matrix"]
    assert all((each.rank is Rank.UNLESS) == bool(each.conditions) for each in found)
    return found


@pytest.mark.parametrize(
    ("accuracy", "text", "excused"),
    [
        # 211 of 256 images in four batches, and all 44 of the fifth: (211 / 64 + 1) / 5 = 0.8594.
        ("0.86", "The accuracy is a mean over batches of 64.", True),
        ("0.86", "", False),
        # Two batches, with one right image in the second, give the highest mean: (254 / 299 + 1) / 2 = 0.9247.
        ("0.95", "The accuracy is a mean over batches of 64.", False),
        # With 3 of 12 right behind two batches of 144 it is 0.667, but 1/4 is three deviations of 0.144 below 0.80.
        ("0.67", "The accuracy is a mean over batches of 64.", False),
    ],
)
def test_a_mean_over_batches_excuses_an_accuracy_that_batches_give_where_the_text_speaks_of_them(
    accuracy: str, text: str, excused: bool
) -> None:
    (found,) = contradictions(f"{MATRIX}Accuracy: {accuracy}\n\n{text}")
    assert found.conditions == (f"the value is a mean over batches of up to {BATCH} images",) * excused


def batch_mean_by_scikit_learn(score: Callable[..., float], **options: str) -> float:
    """Return a score's mean over batches of 64 of the matrix's images in random order."""
    counts = np.array([[90, 6, 4], [9, 93, 8], [6, 12, 72]])
    pairs = np.array([pair for pair in np.ndindex(3, 3) for _ in range(counts[pair])])
    order = np.random.default_rng(0).permutation(pairs)
    return float(np.mean([score(*order[at : at + 64].T, **options) for at in range(0, len(order), 64)]))


@pytest.mark.parametrize(
    ("label", "score", "options"),
    [
        ("Balanced accuracy", balanced_accuracy_score, {}),
        ("Macro precision", precision_score, {"average": "macro"}),
        ("Macro F1", f1_score, {"average": "macro"}),
    ],
)
def test_other_scores_of_batches_are_not_accused_either(
    label: str, score: Callable[..., float], options: dict[str, str]
) -> None:
    mean = batch_mean_by_scikit_learn(score, **options)
    (found,) = contradictions(f"{MATRIX}{label}: {mean:.4f}\n\nEach score is a mean over batches of 64.")
    assert found.conditions
    assert not contradictions(f"{MATRIX}{label}: {mean:.4f}")[0].conditions


@pytest.mark.parametrize("undefined", [0, 1, np.nan])
def test_the_precision_of_a_class_that_is_never_predicted_is_zero_one_or_left_out(undefined: float) -> None:
    truth, guess = [0] * 4 + [1] * 5 + [2] * 2, [0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 1]
    mean = precision_score(truth, guess, average="macro", zero_division=undefined)
    text = "Confusion matrix:\n[[3 1 0]\n [1 4 0]\n [1 1 0]]\nMacro precision: "
    assert not contradictions(f"{text}{mean:.4f}\n")
    assert contradictions(f"{text}{mean + 0.01:.4f}\n")


@pytest.mark.parametrize(("folds", "conditions"), [(None, ()), (5, ("the values are means over 5 folds or runs",))])
def test_a_class_of_other_images_than_its_sum_in_the_matrix_may_be_a_mean_over_folds(
    folds: int | None, conditions: tuple[str, ...]
) -> None:
    table = "|class|recall|support|\n|---|---|---|\n|sea|0.90|100|\n|town|0.85|110|\n|wood|0.80|91|\n\n"
    (found,) = contradictions(table + MATRIX, folds=folds)
    assert found.message == "wood has 91 images, as printed; its sum in the confusion matrix is 90"
    assert found.conditions == conditions


@pytest.mark.parametrize(
    ("recalls", "matrix", "conditions"), [("0.90 0.85 0.70", MATRIX, ()), ("0.67 0.70", SMALL, (OTHER,))]
)
def test_a_matrix_is_of_the_images_of_a_table_where_two_recalls_and_half_of_them_agree(
    recalls: str, matrix: str, conditions: tuple[str, ...]
) -> None:
    rows = "".join(f"|{name}|{recall}|\n" for name, recall in enumerate(recalls.split()))
    (found,) = contradictions(f"|class|recall|\n|---|---|\n{rows}\n{matrix}")
    assert found.conditions == conditions


@pytest.mark.parametrize(
    ("other", "conditions"), [("", ()), ("Accuracy of elk: 0.5\nAccuracy of hare: 0.7\n\n# Others\n\n", (OTHER,))]
)
def test_a_matrix_with_all_sizes_of_a_table_is_of_its_images_where_no_other_table_is(
    other: str, conditions: tuple[str, ...]
) -> None:
    table = "|class|recall|support|\n|---|---|---|\n|sea|0.10|100|\n|town|0.20|110|\n|wood|0.80|90|\n\n"
    assert [found.conditions for found in contradictions(other + table + MATRIX)] == [conditions] * 2


@pytest.mark.parametrize(("number", "more"), [(5, ""), (6, "1 more")])
def test_of_many_contradictions_five_are_named_and_the_others_counted(number: int, more: str) -> None:
    labels = ("Accuracy", "Kappa", "MCC", "Macro recall", "Macro precision", "Macro F1")[:number]
    (found,) = contradictions(MATRIX + "".join(f"{label}: 0.10\n" for label in labels))
    assert (found.message.count(" is printed as "), len(found.values)) == (5, number)
    assert found.message.partition("; and ")[2] == more
