"""All classes together: predicted images add up to the number of images, correct ones to the accuracy."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from in4310repro.audit.document import Average, Measure, Value
from in4310repro.audit.doubts import SEVERAL
from in4310repro.audit.examine import accuse, audit
from in4310repro.audit.intervals import Rounding
from in4310repro.audit.joint_counts import UNPRINTED, check_joint_counts
from in4310repro.audit.joint_scores import bound_accuracy, check_joint_shares
from in4310repro.audit.scores import check_scores
from in4310repro.audit.sheets import Sheet
from in4310repro.audit.verdicts import Rank
from in4310repro.audit.weights import are_feasible
from tests.audit.by_hand import cell, column, sheet_of, value
from tests.audit.simulation import simulate

PRECISION, RECALL, F1, ACCURACY = Measure.PRECISION, Measure.RECALL, Measure.F1, Measure.ACCURACY

# As a program of today would type it: 116 + 131 + 211 or 212 right images at most.
SENTIMENT = """class,precision,recall,f1,support
negative,0.80,0.83,0.81,140
neutral,0.72,0.69,0.70,190
positive,0.85,0.78,0.81,271
accuracy,0.77,0.77,0.77,0.77
"""


def test_scores_that_need_other_numbers_of_predictions_than_there_are_images_are_found() -> None:
    found = audit(SENTIMENT, power=False).contradictions
    assert any("574 to 578 predictions in all; there are 601 images" in finding.message for finding in found)
    told = audit(SENTIMENT, power=False).findings
    assert any("458 to 459 of 601 images right" in finding.message for finding in told)


def rows(
    precision: Sequence[str], recall: Sequence[str], *more: Value, sizes: Sequence[int], partial: bool = False
) -> Sheet:
    names = "abcdef"[: len(recall)]
    columns = ((PRECISION, precision), (RECALL, recall))
    values = [v for m, texts in columns for v in column(m, **dict(zip(names, texts, strict=False)))]
    return sheet_of(*values, *more, sizes=dict(zip(names, sizes, strict=False)), partial=partial)


@pytest.mark.parametrize(
    ("precision", "needed"),
    [
        # 40 of 50 right: 100 others are enough for 40 / 140 = 0.286, and 0.25 needs 117 of them.
        ("0.29", None),
        ("0.25", 117),
        ("0.80", None),
    ],
)
def test_wrong_predictions_of_a_class_are_at_most_the_images_of_the_others(precision: str, needed: int | None) -> None:
    made = rows([precision, "0.70", "0.70"], ["0.80", "0.70", "0.70"], sizes=[50, 60, 40])
    claims = [claim for claim in check_scores(made) if claim.kind == "false positives"]
    assert len(claims) == (needed is not None)
    for claim in claims:
        assert f"at least {needed} wrong predictions of it; the other classes have 100 images" in claim.message
        # Nothing says that an image has one label.
        assert claim.conditions == (SEVERAL,)


def printed(matrix: np.ndarray) -> list[Value]:
    """Return precision, recall and F1 of each class with two decimals, and the accuracy with three."""
    values = []
    for place, name in enumerate("abcdef"[: len(matrix)]):
        right, size, predicted = matrix[place, place], matrix[place].sum(), matrix[:, place].sum()
        scores = {PRECISION: right / max(predicted, 1), RECALL: right / size, F1: 2 * right / (size + predicted)}
        values += [value(f"{share:.2f}", name, measure, line=place + 1) for measure, share in scores.items()]
    return [*values, value(f"{np.trace(matrix) / matrix.sum():.3f}", None, ACCURACY, Average.OVERALL, line=9)]


def test_no_table_of_a_matrix_is_accused() -> None:
    generator = np.random.default_rng(11)
    for classes in (2, 3, 4, 5) * 12:
        sizes = [int(n) for n in generator.integers(2, 60, size=classes)]
        matrix = simulate(generator, "abcdef"[:classes], sizes).matrix
        known = sheet_of(*printed(matrix), sizes=dict(zip("abcdef", matrix.sum(axis=1).tolist(), strict=False)))
        assert list(check_joint_counts(known)) == []
        assert [claim for claim in check_scores(known) if claim.kind == "false positives"] == []
        assert list(check_joint_shares(sheet_of(*printed(matrix)))) == []


def matrices(sizes: Sequence[int]) -> list[np.ndarray]:
    """Return every confusion matrix with the given class sizes."""
    lines = [
        [split for split in itertools.product(range(size + 1), repeat=len(sizes)) if sum(split) == size]
        for size in sizes
    ]
    return [np.array(choice) for choice in itertools.product(*lines)]


def test_what_is_claimed_of_small_classes_no_matrix_gives() -> None:
    generator, sizes = np.random.default_rng(5), (4, 3, 2)
    every = matrices(sizes)
    tables = {tuple(v.printed.text for v in printed(matrix)) for matrix in every}
    claimed = 0
    for _ in range(60):
        one, other = (printed(every[int(generator.integers(len(every)))]) for _ in range(2))
        # Rows of one network and the accuracy and a row of another.
        mixed = [*one[:6], *other[6:]]
        made = sheet_of(*mixed, sizes=dict(zip("abc", sizes, strict=True)))
        claims = [*check_joint_counts(made), *(c for c in check_scores(made) if c.kind == "false positives")]
        possible = tuple(v.printed.text for v in mixed) in tables
        assert not (possible and claims)
        claimed += bool(claims)
    assert claimed >= 15


def test_images_predicted_as_a_class_that_is_not_printed_are_a_condition_outside_of_reports() -> None:
    # 40 of 50 and 30 of 50 right, 50 and 38 predicted: 12 fewer than there are images.
    values = [*column(PRECISION, a="0.800", b="0.789"), *column(RECALL, a="0.800", b="0.600")]
    accuracy = value("0.700", None, ACCURACY, Average.OVERALL, line=5)
    (claim,) = check_joint_counts(sheet_of(*values, accuracy, sizes={"a": 50, "b": 50}))
    assert (claim.kind, claim.conditions) == ("predictions", (UNPRINTED,))


@pytest.mark.parametrize(("precision", "kinds"), [("0.800", ["predictions"]), ("0.807", [])])
def test_an_accuracy_that_the_right_images_have_is_not_claimed_for_predictions_that_are_impossible_by_themselves(
    precision: str, kinds: list[str]
) -> None:
    # 40 of 50 and 30 of 50 right, and 38 predicted as b. Of a, 40 right give no precision of 0.807.
    accuracy = value("0.700", None, ACCURACY, Average.OVERALL, line=5, label="accuracy (precision)")
    claims = check_joint_counts(rows((precision, "0.789"), ("0.800", "0.600"), accuracy, sizes=(50, 50)))
    assert [claim.kind for claim in claims] == kinds


def test_f1_narrows_the_numbers_of_right_images_that_an_accuracy_may_have() -> None:
    # 80 right of a. Of b 119 to 121 by recall, and 119 right with 138 or 139 predicted have an F1 of 0.70.
    values = [*column(PRECISION, a="0.50", b="0.86"), *column(RECALL, a="0.80", b="0.60"), *column(F1, b="0.71")]
    claims = {}
    for text in ("0.663", "0.667"):
        made = sheet_of(*values, value(text, None, ACCURACY, Average.OVERALL, line=5), sizes={"a": 100, "b": 200})
        claims[text] = [claim.message for claim in check_joint_counts(made)]
    message = "allow 200 to 201 of 300 images right, 0.6667 to 0.6700; accuracy is printed as 0.663"
    assert claims == {"0.663": [f"precision, recall and F1 of all classes {message}"], "0.667": []}


@pytest.mark.parametrize(
    ("sizes", "precision", "recall"),
    [((11, 12, 12), ("0.9", "0.6", "0.6"), ("0.6", "0.7", "0.8")), ((15, 8), ("0.9", "0.4"), ("0.5", "0.8"))],
)
def test_an_accuracy_is_claimed_where_no_counts_give_it_and_the_claim_says_why(
    sizes: Sequence[int], precision: Sequence[str], recall: Sequence[str]
) -> None:
    images = sum(sizes)
    # Right images, predictions and errors (missed images and wrong predictions) of each class.
    counts = [
        [
            (right, predicted, size + predicted - 2 * right)
            for right in range(1, size + 1)
            for predicted in range(right, images + 1)
            if abs(right / size - float(r)) < 0.0501 and abs(right / predicted - float(p)) < 0.0501
        ]
        for size, p, r in zip(sizes, precision, recall, strict=True)
    ]
    for right in range(sum(min(each)[0] for each in counts), sum(max(each)[0] for each in counts) + 1):
        needed = [min(errors for *_, errors in each) for each in counts]
        short = [f"{name} need at least {n} " for name, n in zip("abc", needed, strict=False) if n > images - right]
        within = [[(r, p) for r, p, errors in each if errors <= images - right] for each in counts]
        sums = {tuple(map(sum, zip(*choice, strict=True))) for choice in itertools.product(*within)}
        line = value(f"{right / images:.3f}", None, ACCURACY, Average.OVERALL, line=4, label="accuracy (precision)")
        claims = list(check_joint_counts(rows(precision, recall, line, sizes=sizes)))
        reason = short[0] if short else f"cannot add up to {images}"
        assert [reason in claim.message for claim in claims] == [True] * ((right, images) not in sums)


def test_an_accuracy_of_a_loop_may_be_a_mean_over_batches_of_as_many_right_images_as_the_scores_allow() -> None:
    # 10 right of a, and 28 to 30 of b. Of 40 right, 14 of 32 and 26 of 28 have a mean of 0.683, as do 41 of 60.
    conditions = {}
    for label in ("accuracy", "Test accuracy"):
        accuracy = value("0.683", None, ACCURACY, Average.OVERALL, line=5, label=label)
        made = rows(("0.38", "0.88"), ("1.00", "0.6"), accuracy, sizes=(10, 50), partial=True)
        ((found,), _) = accuse([made])
        conditions[label] = found.conditions
    always = (UNPRINTED, "classes are left out of the table")
    batches = "the value is a mean over batches of up to 1024 images"
    assert conditions == {"accuracy": always, "Test accuracy": (batches, *always)}


def test_an_accuracy_is_a_mean_of_precisions_too_whatever_the_sizes() -> None:
    values = [*column(PRECISION, a="0.700", b="0.800"), *column(RECALL, a="0.600", b="0.950")]
    for text, found in (("0.750", False), ("0.850", True)):
        made = sheet_of(*values, value(text, None, ACCURACY, Average.OVERALL, line=5))
        claims = list(check_joint_shares(made))
        assert bool(claims) is found
    assert "whatever their sizes; 0.850 is printed" in claims[0].message


@pytest.mark.parametrize(("accuracy", "found"), [("0.780", True), ("0.820", False)])
def test_a_class_without_a_precision_has_at_least_its_right_images_as_predictions(accuracy: str, found: bool) -> None:
    # A share w of b has 1.2 w as predictions, so that 0.9 (1 - w) <= 1 - 1.2 w: w is at most 1/3, and 0.8 are right.
    values = [*column(PRECISION, b="0.500"), *column(RECALL, a="0.900", b="0.600")]
    made = sheet_of(*values, value(accuracy, None, ACCURACY, Average.OVERALL, line=5))
    assert bool(list(check_joint_shares(made))) is found


def test_the_bounds_of_accuracies_hold_for_any_sizes_and_are_reached() -> None:
    scores = {"a": {PRECISION: "0.70", RECALL: "0.60"}, "b": {PRECISION: "0.80", RECALL: "0.95"}}
    made = {n: {m: cell(text, n, m) for m, text in row.items()} for n, row in scores.items()}
    bounds = bound_accuracy(made, Rounding.ROUNDED)
    assert bounds is not None
    # w R / P is a share of predictions: w 0.6 / 0.7 + (1 - w) 0.95 / 0.8 = 1.
    share = (0.95 / 0.8 - 1) / (0.95 / 0.8 - 0.6 / 0.7)
    middle = share * 0.6 + (1 - share) * 0.95
    assert bounds[0] < middle < bounds[1]
    assert bounds[1] - bounds[0] < 0.05
    # Scores of 0.795 to 0.805, and as much for errors of the solver to either side.
    bounds = bound_accuracy({n: {m: cell("0.80", n, m) for m in (PRECISION, RECALL)} for n in "ab"}, Rounding.ROUNDED)
    assert bounds is not None
    assert bounds[0] < 0.795 < 0.805 < bounds[1]
    assert sum(bounds) == pytest.approx(1.6, abs=1e-7)


def test_a_programme_that_is_not_finished_decides_nothing() -> None:
    values = [*column(PRECISION, a="0.700", b="0.800"), *column(RECALL, a="0.600", b="0.950")]
    made = sheet_of(*values, value("0.850", None, ACCURACY, Average.OVERALL, line=5))
    assert len(list(check_joint_shares(made))) == 1
    assert list(check_joint_shares(made, seconds=0.0)) == []
    # No weights of numbers from 0.4 to 1 have a mean below 0.3.
    rows = [(row.tolist(), 0.3) for row in np.random.default_rng(0).uniform(0.4, 1.0, (200, 100))]
    assert (are_feasible(rows), are_feasible(rows, seconds=0.0), are_feasible([])) == (False, True, True)


def test_a_hundred_classes_take_seconds() -> None:
    outcome = simulate(np.random.default_rng(2), [f"c{n:03}" for n in range(100)], [60] * 100)
    matrix = outcome.matrix
    lines = ["class,precision,recall,f1-score,support"]
    for place, name in enumerate(outcome.names):
        right, predicted = matrix[place, place], max(1, matrix[:, place].sum())
        lines.append(f"{name},{right / predicted:.2f},{right / 60:.2f},{2 * right / (60 + predicted):.2f},60")
    result = audit("\n".join([*lines, f"accuracy,,,{np.trace(matrix) / 6000:.2f},6000"]), power=False)
    assert result.contradictions == ()
    assert not [f for f in result.findings if f.rank is not Rank.ODD]
