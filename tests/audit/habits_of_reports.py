"""Habits of printing more than accuracies: scikit-learn's reports and confusion matrices."""

from __future__ import annotations

import json
import warnings

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import (
    balanced_accuracy_score,
    classification_report,
    cohen_kappa_score,
    precision_recall_fscore_support,
)

from tests.audit import layouts
from tests.audit.habits_of_accuracy import Habit, sizes_of
from tests.audit.reports import Report, mark, mark_report, report_of
from tests.audit.simulation import Outcome, ordinary, simulate


def written(outcome: Outcome, **options: object) -> str:
    """Return scikit-learn's classification report as text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        return str(
            classification_report(outcome.labels, outcome.predictions, target_names=list(outcome.names), **options)
        )


def as_dictionary(outcome: Outcome) -> dict[str, dict[str, float] | float]:
    """Return scikit-learn's classification report as a dictionary."""
    return classification_report(  # type: ignore[no-any-return]
        outcome.labels, outcome.predictions, target_names=list(outcome.names), output_dict=True
    )


def text_report(digits: int) -> Habit:
    """Return a function that makes a report by scikit-learn's classification_report(digits=digits)."""

    def habit(generator: np.random.Generator) -> Report:
        outcome = ordinary(generator)
        text = mark_report(written(outcome, digits=digits), outcome.names)
        accuracy = np.mean(outcome.labels == outcome.predictions)
        extra = f"Accuracy: {accuracy}\n" if generator.integers(2) else ""
        name = f"classification_report, {digits} digits"
        return report_of(name, extra + text + "\n", sizes=sizes_of(outcome), sizes_printed=True)

    return habit


def report_and_matrix(generator: np.random.Generator) -> Report:
    """Print a classification report, then the confusion matrix as NumPy does."""
    outcome = ordinary(generator)
    text = mark_report(written(outcome), outcome.names)
    full = f"Classification report:\n{text}\n\nConfusion matrix:\n{outcome.matrix}\n"
    return report_of("classification_report and matrix", full, sizes=sizes_of(outcome), sizes_printed=True)


def never_predicted(generator: np.random.Generator) -> Report:
    """Print a report with zero_division=0 in which one class is never predicted."""
    outcome = ordinary(generator)
    predictions = np.where(outcome.predictions == 0, 1, outcome.predictions)
    changed = Outcome(names=outcome.names, labels=outcome.labels, predictions=predictions, scores=outcome.scores)
    text = mark_report(written(changed, zero_division=0), outcome.names)
    return report_of("a class that is never predicted", text + "\n", sizes=sizes_of(outcome), sizes_printed=True)


def without_images(generator: np.random.Generator) -> Report:
    """Print a report with a label that has no images; it counts as 0 in the macro average."""
    outcome = ordinary(generator)
    names = [*outcome.names, "absent"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        raw = classification_report(
            outcome.labels, outcome.predictions, labels=range(len(names)), target_names=names, zero_division=0
        )
    text = mark_report(str(raw), names)
    return report_of("a label without images in the report", text + "\n", sizes=sizes_of(outcome), sizes_printed=True)


def some_labels(generator: np.random.Generator) -> Report:
    """Print a report of some of the classes, in which micro avg replaces accuracy."""
    outcome = ordinary(generator)
    names = list(outcome.names[:-1])
    raw = classification_report(outcome.labels, outcome.predictions, labels=range(len(names)), target_names=names)
    return report_of(
        "a report of some labels, micro avg",
        mark_report(str(raw), names) + "\n",
        sizes=sizes_of(outcome),
        sizes_printed=True,
    )


def kappa_and_balanced(generator: np.random.Generator) -> Report:
    outcome = ordinary(generator)
    text = mark_report(written(outcome, digits=4), outcome.names)
    balanced = balanced_accuracy_score(outcome.labels, outcome.predictions)
    kappa = cohen_kappa_score(outcome.labels, outcome.predictions)
    tail = f"Balanced accuracy: {balanced:.4f}\nCohen's kappa: {kappa:.4f}\n"
    name = "balanced accuracy and kappa"
    return report_of(name, text + "\n\n" + tail, sizes=sizes_of(outcome), sizes_printed=True)


def scores_on_a_line(generator: np.random.Generator) -> Report:
    """Print precision, recall and F1 of each class on one line; a class never predicted has no precision."""
    names = ("a", "b", "c", "d", "e", "f", "g")[: int(generator.integers(3, 8))]
    outcome = simulate(generator, names, [int(n) for n in generator.integers(2, 40, size=len(names))])
    predictions = np.where(outcome.predictions == 0, 1, outcome.predictions)
    scores = precision_recall_fscore_support(
        outcome.labels, predictions, labels=range(len(names)), zero_division=np.nan
    )[:3]
    columns = ("precision", "recall", "F1")
    lines = []
    for number, name in enumerate(names):
        parts = []
        for column, score in zip(columns, scores, strict=True):
            role = "nan" if np.isnan(score[number]) else "class"
            parts.append(f"{column} {mark(f'{score[number]:.3f}', role, column.lower(), name)}")
        lines.append(f"{name}: " + ", ".join(parts))
    for column, score in zip(columns[1:], scores[1:], strict=True):
        lines.append(f"Macro {column}: " + mark(f"{score.mean():.3f}", "mean", column.lower(), "macro"))
    sizes = dict(zip(names, outcome.sizes, strict=True))
    return report_of("three scores on a line", "\n".join(lines) + "\n", sizes=sizes)


def percent_scores(generator: np.random.Generator) -> Report:
    """Print scores in percent under their headings; most are zero, because one class is always predicted."""
    names = tuple(f"class{number}" for number in range(int(generator.integers(3, 9))))
    outcome = simulate(generator, names, [int(n) for n in generator.integers(1, 12, size=len(names))])
    always = np.full_like(outcome.labels, int(generator.integers(len(names))))
    scores = precision_recall_fscore_support(outcome.labels, always, labels=range(len(names)), zero_division=0.0)
    columns = {
        heading: {
            **{name: f"{100 * value:.1f}" for name, value in zip(names, score, strict=True)},
            "macro avg": f"{100 * score.mean():.1f}",
        }
        for heading, score in zip(("Precision (%)", "Recall (%)", "F1 (%)"), scores[:3], strict=True)
    }
    text = layouts.markdown(layouts.grid(columns))
    return report_of("scores in percent, mostly zero", text, suffix=".md", sizes=sizes_of(outcome))


def json_report(generator: np.random.Generator) -> Report:
    """Print classification_report(output_dict=True) as JSON."""
    outcome = ordinary(generator)
    content: dict[str, object] = {}
    for row, values in as_dictionary(outcome).items():
        if isinstance(values, dict):
            role = "mean" if "avg" in row else "class"
            content[row] = {
                k: mark(repr(float(v)), "size" if k == "support" else role, k, row) for k, v in values.items()
            }
        else:
            content[row] = mark(repr(float(values)), "mean", "accuracy", row)
    text = json.dumps(content, indent=4, ensure_ascii=False)
    for code in ("\x01", "\x02", "\x03"):
        text = text.replace(json.dumps(code)[1:-1], code)
    text = text.replace('"\x01', "\x01").replace('\x03"', "\x03")
    return report_of("classification_report as JSON", text, suffix=".json", sizes=sizes_of(outcome), sizes_printed=True)


def rounded_table(generator: np.random.Generator) -> Report:
    """Print the report as a Markdown table with three decimals."""
    outcome = ordinary(generator)
    rows = as_dictionary(outcome)
    columns: dict[str, dict[str, str]] = {}
    for heading, key in (("Precision", "precision"), ("Recall", "recall"), ("F1-score", "f1-score")):
        columns[heading] = {row: f"{values[key]:.3f}" for row, values in rows.items() if isinstance(values, dict)}
    columns["Support"] = {row: f"{values['support']:.0f}" for row, values in rows.items() if isinstance(values, dict)}
    text = layouts.markdown(layouts.grid(columns))
    return report_of("report as a Markdown table", text, suffix=".md", sizes=sizes_of(outcome), sizes_printed=True)


def frame_csv(generator: np.random.Generator) -> Report:
    """Print the report as pandas writes CSV: the accuracy fills its whole row, including the support."""
    outcome = ordinary(generator)
    rows = [["", "precision", "recall", "f1-score", "support"]]
    for row, values in as_dictionary(outcome).items():
        numbers = list(values.values()) if isinstance(values, dict) else [values] * 4
        role = "mean" if "avg" in row or row == "accuracy" else "class"
        rows.append(
            [
                row,
                *(mark(repr(float(v)), role, c, row) for v, c in zip(numbers[:3], rows[0][1:4], strict=True)),
                repr(float(numbers[3])),
            ]
        )
    return report_of(
        "report as CSV by pandas", layouts.csv(rows), suffix=".csv", sizes=sizes_of(outcome), sizes_printed=True
    )


def matrix_shares(generator: np.random.Generator) -> Report:
    """Print class accuracies, then a row-normalised confusion matrix with two decimals."""
    outcome = ordinary(generator)
    shares = outcome.matrix / outcome.matrix.sum(axis=1, keepdims=True)
    cells = [
        ["", *outcome.names],
        *([n, *(f"{v:.2f}" for v in row)] for n, row in zip(outcome.names, shares, strict=True)),
    ]
    text = "Confusion matrix, rows are true classes, normalized\n\n" + layouts.markdown(cells)
    values = {name: f"{v:.2f}" for name, v in zip(outcome.names, np.diag(shares), strict=True)}
    lines = layouts.lines(generator, values, f"{np.diag(shares).mean():.2f}")
    return report_of("matrix of row shares", lines + "\n" + text, suffix=".md", sizes=sizes_of(outcome))


def matrix_counts(generator: np.random.Generator) -> Report:
    """Print a confusion matrix of counts as a table, then class accuracies."""
    outcome = ordinary(generator)
    cells = [
        ["True \\ Predicted", *outcome.names],
        *([n, *map(str, row)] for n, row in zip(outcome.names, outcome.matrix, strict=True)),
    ]
    values = {n: f"{100 * k / s:.1f} %" for n, k, s in zip(outcome.names, outcome.correct, outcome.sizes, strict=True)}
    overall = layouts.line(
        "Overall accuracy: {value}", f"{100 * sum(outcome.correct) / outcome.images:.2f} %", "mean", "accuracy"
    )
    text = (
        "Confusion matrix\n\n"
        + layouts.markdown(cells)
        + "\n"
        + layouts.lines(generator, values, None)
        + overall
        + "\n"
    )
    return report_of("matrix of counts and accuracies", text, suffix=".md", sizes=sizes_of(outcome), sizes_printed=True)


HABITS: dict[str, Habit] = {
    "three scores on a line": scores_on_a_line,
    "scores in percent, mostly zero": percent_scores,
    **{f"classification_report, {digits} digits": text_report(digits) for digits in (2, 3, 4)},
    "classification_report and matrix": report_and_matrix,
    "a class that is never predicted": never_predicted,
    "a label without images in the report": without_images,
    "a report of some labels, micro avg": some_labels,
    "balanced accuracy and kappa": kappa_and_balanced,
    "classification_report as JSON": json_report,
    "report as a Markdown table": rounded_table,
    "report as CSV by pandas": frame_csv,
    "matrix of row shares": matrix_shares,
    "matrix of counts and accuracies": matrix_counts,
}
