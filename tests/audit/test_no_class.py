"""Rows and lines that are not classes give no finding, and the classes beside them are still checked."""

from __future__ import annotations

import numpy as np
import pytest

from in4310repro.audit.document import Measure
from in4310repro.audit.examine import audit
from in4310repro.audit.readers import read
from in4310repro.audit.verdicts import Rank
from tests.audit.readers.described import classes, summaries

COUNTS = {"sea": (377, 434), "wood": (337, 352), "ice": (304, 407), "hill": (124, 209), "road": (322, 408)}
SHARES = {name: k / n for name, (k, n) in COUNTS.items()}
MEAN = float(np.mean(list(SHARES.values())))
OVERALL = sum(k for k, _ in COUNTS.values()) / sum(n for _, n in COUNTS.values())


def table(*rows: tuple[str, float], mean: float = MEAN, shares: dict[str, float] = SHARES) -> str:
    """Return a Markdown table of the classes, their macro average and additional rows."""
    every = [*shares.items(), ("Macro average", mean), *rows]
    return "| Class | Accuracy |\n|---|---|\n" + "\n".join(f"| {name} | {value:.4f} |" for name, value in every)


def lines(*rows: tuple[str, float], mean: float = MEAN) -> str:
    every = [*SHARES.items(), ("Macro average", mean), *rows]
    return "Accuracy per class:\n" + "\n".join(f"{name}: {value:.4f}" for name, value in every)


NO_CLASSES = (
    ("Harmonic mean", 0.79), ("Median", 0.79), ("Best", 0.957), ("Worst", 0.593), ("Range", 0.364), ("Chance", 0.2),
    ("Random baseline", 0.2), ("Human", 0.97), ("Mean of natural scenes", 0.8), ("Natural (avg)", 0.8), ("Hmean", 0.79),
    ("Mean w/o sea", 0.77), ("SOTA", 0.95), ("Gesamt", OVERALL), ("Full test set", OVERALL), ("平均", MEAN),
)  # fmt: skip


@pytest.mark.parametrize(("name", "value"), NO_CLASSES, ids=[name for name, _ in NO_CLASSES])
def test_a_row_below_the_mean_that_is_no_class_accuses_nobody(name: str, value: float) -> None:
    for text in (table((name, value)), lines((name, value))):
        result = audit(text, power=False)
        assert result.findings == ()
        assert list(classes(read(text).tables[0])) == list(COUNTS)
        # The twin: the mean is still checked.
    assert audit(table((name, value), mean=MEAN + 0.05), power=False).contradictions != ()


@pytest.mark.parametrize("total", ["Gesamt", "Totalt", "总体", "全体", "합계", "Ogółem", "ALL", "Overall", "Whole set"])
@pytest.mark.parametrize("mean", ["Mittelwert", "Gjennomsnitt", "平均值", "평균", "Średnia", "AVG", "Moyenne", "Ø"])
def test_totals_and_means_in_other_languages_are_no_classes(total: str, mean: str) -> None:
    rows = [*SHARES.items(), (total, OVERALL), (mean, MEAN)]
    text = "| Class | Accuracy |\n|---|---|\n" + "\n".join(f"| {name} | {value:.4f} |" for name, value in rows)
    read_classes = list(classes(read(text).tables[0]))
    assert audit(text, power=False).findings == ()
    assert mean not in read_classes
    if total != "Whole set":
        assert read_classes == list(COUNTS)


@pytest.mark.parametrize(
    "name", ["mAP (base)", "mAP w/o sea", "mAP small", "mAP val", "mAP (ensemble)", "weighted mAP", "mAP75"]
)
def test_a_mean_ap_of_something_else_is_not_held_against_the_classes(name: str) -> None:
    rows = "\n".join(f"AP for {c} = {value:.4f}" for c, value in SHARES.items())
    good = audit(f"{rows}\n{name} = {0.8 * MEAN:.4f}\nmAP = {MEAN:.4f}", power=False)
    assert good.contradictions == ()
    assert classes(good.document.tables[0], Measure.AVERAGE_PRECISION).keys() == COUNTS.keys()
    wrong = audit(f"{rows}\n{name} = {0.8 * MEAN:.4f}\nmAP = {MEAN + 0.05:.4f}", power=False)
    assert any(finding.kind == "mean" for finding in wrong.findings)


@pytest.mark.parametrize(
    "label",
    ["Overall accuracy with TTA", "Accuracy on CIFAR-100", "Chance accuracy", "Accuracy (top-3)", "Subset accuracy",
     "Accuracy of random guessing", "Mean accuracy over 10 runs", "Target accuracy"],
)  # fmt: skip
def test_a_line_of_another_form_is_no_class(label: str) -> None:
    rows = "\n".join(f"Accuracy of {name}: {value:.4f}" for name, value in SHARES.items())
    result = audit(f"{rows}\n{label}: 0.7012\nMean class accuracy: {MEAN:.4f}", power=False)
    assert result.contradictions == ()
    assert list(classes(result.document.tables[0])) == list(COUNTS)


def test_a_class_that_was_set_aside_is_a_condition_where_it_explains_the_mean() -> None:
    shares = SHARES | {"best": 0.9}
    mean = float(np.mean(list(shares.values())))
    rows = [*SHARES.items(), ("best", 0.9), ("Macro average", mean)]
    text = "| Class | Accuracy |\n|---|---|\n" + "\n".join(f"| {name} | {value:.4f} |" for name, value in rows)
    (finding,) = audit(text, power=False).findings
    assert (finding.rank, finding.conditions) == (Rank.UNLESS, ("best: a class, too",))


def test_a_summary_in_an_unknown_language_is_a_condition_and_a_wrong_mean_is_not() -> None:
    text = table().replace("| Macro", f"| Zzz | {OVERALL:.4f} |\n| Macro")
    (finding,) = audit(text, power=False).findings
    assert finding.conditions == ("Zzz is not a class, or left out of the mean",)
    assert audit(table(mean=MEAN + 0.02), power=False).exit_code == 1


def test_a_mean_without_the_background_is_a_condition() -> None:
    rows = [("background", 0.99), *SHARES.items(), ("Macro average", MEAN)]
    text = "| Class | Accuracy |\n|---|---|\n" + "\n".join(f"| {name} | {value:.4f} |" for name, value in rows)
    (finding,) = audit(text, power=False).findings
    assert finding.rank is Rank.UNLESS


def test_subtotals_of_groups_and_tables_in_two_halves_accuse_nobody() -> None:
    names = list(SHARES)
    first, second = names[:2], names[2:]
    means = [float(np.mean([SHARES[name] for name in group])) for group in (first, second)]
    groups = {"Water": means[0]} | {n: SHARES[n] for n in first} | {"Land": means[1]} | {n: SHARES[n] for n in second}
    assert audit(table(shares=groups), power=False).contradictions == ()
    halves = [table(shares={name: SHARES[name] for name in group}) for group in (first, second)]
    without = halves[0].rpartition("\n")[0]
    assert audit(f"Class accuracy\n\n{without}\n\n{halves[1]}", power=False).contradictions == ()
    # One half by itself, with that mean, is impossible.
    assert audit(halves[1], power=False).contradictions != ()


def test_accuracies_against_the_rest_go_with_an_overall_accuracy_below_them() -> None:
    generator = np.random.default_rng(3)
    truth = generator.integers(0, 5, 900)
    guess = np.where(generator.random(900) < 0.7, truth, generator.integers(0, 5, 900))
    rest = {name: float(np.mean((truth == c) == (guess == c))) for c, name in enumerate(SHARES)}
    rows = "\n".join(f"Accuracy of {name}: {value:.4f}" for name, value in rest.items())
    accuracy = float(np.mean(truth == guess))
    assert audit(f"{rows}\nOverall accuracy: {accuracy:.4f}", power=False).findings == ()
    assert audit(f"{rows}\nOverall accuracy: {accuracy - 0.05:.4f}", power=False).findings != ()


def test_a_mean_accuracy_below_recalls_may_be_that_of_each_class_against_the_rest() -> None:
    rows = "\n".join(f"| {name} | {value:.3f} |" for name, value in SHARES.items())
    text = f"| Class | Recall |\n|---|---|\n{rows}\n\nAverage accuracy: {1 - 2 * (1 - OVERALL) / 5:.3f}"
    assert audit(text, power=False).contradictions == ()


def test_two_bare_means_of_one_column_have_weights_of_their_own() -> None:
    rows = [*SHARES.items(), ("ALL", OVERALL), ("AVG", MEAN)]
    text = "| Class | Accuracy |\n|---|---|\n" + "\n".join(f"| {name} | {value:.4f} |" for name, value in rows)
    assert audit(text, power=False).findings == ()


def test_label_lines_below_a_report_are_no_rows_of_it() -> None:
    report = (
        "              precision    recall  f1-score   support\n\n"
        "         sea       0.80      0.67      0.73        12\n"
        "        town       0.64      0.78      0.70         9\n\n"
        "    accuracy                           0.71        21\n"
        "   macro avg       0.72      0.72      0.71        21\n\n"
    )
    (made,) = read(f"{report}F1 (weighted): 0.72\nF1 (micro): 0.71\nF1 (macro): 0.71\n").tables
    assert list(classes(made, Measure.F1)) == ["sea", "town"]
    assert summaries(made, Measure.PRECISION) == {"macro": "0.72"}


@pytest.mark.parametrize(
    "text",
    [
        "| Test | Target | Actual |\n|---|---|---|\n| Unit tests | 0.90 | 0.93 |\n| Coverage | 0.80 | 0.85 |",
        "| Requirement | Expected | Actual | Result |\n|---|---|---|---|\n| Accuracy | 0.90 | 0.93 | pass |\n"
        "| Inference | 50 | 43 | pass |",
        "| Test case | Threshold | Measured accuracy |\n|---|---|---|\n| TC1 | 0.95 | 0.97 |\n| TC2 | 0.90 | 0.91 |",
    ],
)
def test_a_table_of_targets_and_actual_values_has_no_classes(text: str) -> None:
    document = read(f"{text}\n\nAccuracy: 0.91\n")
    assert [classes(made) for made in document.tables if classes(made)] == []
    of_classes = text.replace("Test case", "Class").replace("| Test |", "| Class |").replace("Requirement", "Class")
    assert of_classes != text
    assert any(classes(made) for made in read(of_classes.replace("Actual", "Accuracy")).tables)


@pytest.mark.parametrize(("sizes", "rank"), [({}, Rank.UNLESS), ({"ant": 50, "bee": 40, "cat": 60}, Rank.AS_READ)])
def test_a_class_with_images_of_its_own_cannot_be_left_out_of_a_macro_mean(sizes: dict[str, int], rank: Rank) -> None:
    # (0.82 + 0.95) / 2 without cat, whose 54 of 60 lie between them.
    text = "Recall of ant: 0.8200\nRecall of bee: 0.9500\nRecall of cat: 0.9000\nMacro recall: 0.8850\n"
    (finding,) = audit(text, sizes=sizes, power=False).findings
    assert finding.rank is rank


def test_a_class_named_by_a_letter_of_the_measure_is_one() -> None:
    lines = [
        f"{name}: precision 0.{place}25, recall 0.{place}5, F1 0.{place}333" for place, name in enumerate("abcde", 1)
    ]
    tables = read("\n".join(lines)).tables
    for measure in (Measure.PRECISION, Measure.RECALL, Measure.F1):
        assert {name for table in tables for name in classes(table, measure)} == set("abcde")
