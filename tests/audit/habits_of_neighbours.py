"""Habits of printing a report or a matrix next to overall scores, another model or another test set."""

from __future__ import annotations

import json
import warnings

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import (
    balanced_accuracy_score,
    classification_report,
    cohen_kappa_score,
    f1_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
)

from tests.audit import layouts
from tests.audit.habits_of_accuracy import Habit, sizes_of
from tests.audit.habits_of_reports import as_dictionary, written
from tests.audit.reports import Report, mark, mark_report, report_of
from tests.audit.simulation import SCENES, Outcome, balanced, ordinary, simulate

ENTITIES = ("LOC", "MISC", "ORG", "PER")


def accuracy_of(outcome: Outcome) -> float:
    return float(np.mean(outcome.labels == outcome.predictions))


def matrix_of(outcome: Outcome) -> str:
    """Return the confusion matrix as NumPy prints it, with each count annotated by `mark`."""
    width = len(str(outcome.matrix.max()))
    rows = [
        " ".join(mark(str(count), "cell", "matrix", f"{i} {j}", width) for j, count in enumerate(row))
        for i, row in enumerate(outcome.matrix)
    ]
    return "[" + "\n ".join(f"[{row}]" for row in rows) + "]"


def shown(generator: np.random.Generator, value: float) -> str:
    """Return a fraction as text in one of several common formats."""
    forms = (f"{value:.4f}", f"{value:.2f}", f"{100 * value:.2f}%", f"{100 * value:.1f} %", f"{value}")
    return forms[int(generator.integers(len(forms)))]


def line_beside_report(generator: np.random.Generator) -> Report:
    """Print the accuracy before or after scikit-learn's report, with a different number of decimals."""
    outcome = ordinary(generator)
    text = mark_report(written(outcome, digits=int(generator.integers(2, 5))), outcome.names)
    label = ("Accuracy", "Test accuracy", "Overall accuracy", "Accuracy score")[int(generator.integers(4))]
    line = f"{label}: {mark(shown(generator, accuracy_of(outcome)), 'beside', 'accuracy', 'accuracy')}\n"
    text = f"{line}\n{text}\n" if generator.integers(2) else f"{text}\n{line}"
    return report_of("a line beside a report", text, sizes=sizes_of(outcome), sizes_printed=True)


def scores_beside_matrix(generator: np.random.Generator) -> Report:
    """Print a confusion matrix as NumPy does, with overall scores before or after it."""
    outcome = ordinary(generator)
    truth, guess = outcome.labels, outcome.predictions
    lines = {
        "Accuracy": accuracy_of(outcome),
        "Balanced accuracy": balanced_accuracy_score(truth, guess),
        "Cohen's kappa": cohen_kappa_score(truth, guess, weights=(None, "linear", "quadratic")[generator.integers(3)]),
        "MCC": matthews_corrcoef(truth, guess),
        "Macro F1": f1_score(truth, guess, average="macro"),
        "Weighted precision": precision_score(truth, guess, average="weighted"),
        "Recall": recall_score(truth, guess, average=("macro", "weighted", "micro")[generator.integers(3)]),
    }
    kept = [name for name in lines if generator.integers(3)] or ["Accuracy"]
    marked = [f"{name}: {mark(f'{lines[name]:.4f}', 'beside', name, name)}" for name in kept]
    blocks = [f"Confusion matrix:\n{matrix_of(outcome)}", "\n".join(marked)]
    text = "\n\n".join(blocks if generator.integers(2) else blocks[::-1]) + "\n"
    return report_of("scores beside a matrix", text, sizes=sizes_of(outcome), sizes_printed=True)


def two_classes_beside_matrix(generator: np.random.Generator) -> Report:
    """Print accuracy, the second class's precision, recall and F1, and the confusion matrix of two classes."""
    outcome = simulate(generator, ("no", "yes"), [int(n) for n in generator.integers(40, 400, size=2)])
    truth, guess = outcome.labels, outcome.predictions
    scores = {"Accuracy": accuracy_of(outcome), "Precision": precision_score(truth, guess)}
    scores |= {"Recall": recall_score(truth, guess), "F1 score": f1_score(truth, guess)}
    lines = "".join(f"{name}: {mark(f'{value:.3f}', 'beside', name, name)}\n" for name, value in scores.items())
    return report_of("two classes beside their matrix", f"{lines}\nConfusion Matrix\n{matrix_of(outcome)}\n")


def report_and_marked_matrix(generator: np.random.Generator) -> Report:
    """Return a report: a classification report, then the confusion matrix; `mark` annotates the values of both."""
    outcome = ordinary(generator)
    text = mark_report(written(outcome, digits=4), outcome.names)
    text = f"{text}\n\nConfusion matrix:\n{matrix_of(outcome)}\n"
    return report_of("a report and its matrix", text, sizes=sizes_of(outcome), sizes_printed=True)


def other_predictions(generator: np.random.Generator) -> Report:
    """Return a report of a test set below one or more of training, baseline and best validation accuracies."""
    outcome = ordinary(generator)
    others = ("Training accuracy: 0.9987", "Best validation accuracy: 0.9012", "Baseline accuracy: 0.4310")
    lines = "\n".join(str(each) for each in generator.permutation(others)[: int(generator.integers(1, 4))])
    text = f"{lines}\n\n{mark_report(written(outcome), outcome.names)}\n"
    return report_of("other predictions beside a report", text, sizes=sizes_of(outcome), sizes_printed=True)


def models_in_turn(generator: np.random.Generator) -> Report:
    """Print several models in turn, each with a heading, an accuracy, and a report or a matrix."""
    before, parts = generator.integers(2), []
    sizes = [int(n) for n in generator.integers(40, 300, size=len(SCENES))]
    for model in ("Logistic regression", "Support vectors", "Random forest"):
        outcome = simulate(generator, SCENES, sizes)
        line = f"Accuracy: {mark(f'{accuracy_of(outcome):.4f}', 'beside', 'accuracy', model)}"
        block = f"{written(outcome)}\n{matrix_of(outcome)}" if generator.integers(2) else matrix_of(outcome)
        parts.append(f"## {model}\n\n" + (f"{line}\n\n{block}" if before else f"{block}\n\n{line}") + "\n")
    return report_of(
        "models in turn", "\n".join(parts), sizes=dict(zip(SCENES, sizes, strict=True)), sizes_printed=True
    )


def batches_beside_report(generator: np.random.Generator) -> Report:
    """Print test accuracy as a mean over batches, then a report of the same predictions."""
    outcome = ordinary(generator)
    right, size = outcome.labels == outcome.predictions, int(generator.choice([16, 32, 50, 64, 100, 128]))
    mean = np.mean([right[start : start + size].mean() for start in range(0, len(right), size)])
    text = f"Test accuracy: {mean:.4f}\n\n{mark_report(written(outcome), outcome.names)}\n"
    return report_of("a mean over batches beside a report", text, sizes=sizes_of(outcome), sizes_printed=True)


def entities(generator: np.random.Generator) -> Report:
    """Print conlleval's token accuracy above the scores of the entities."""
    found = generator.integers(300, 900, size=4)
    correct = (found * generator.uniform(0.6, 0.9, size=4)).astype(int)
    gold = (correct / generator.uniform(0.6, 0.9, size=4)).astype(int)

    def scores(right: int, predicted: int, true: int) -> str:
        precision, recall = 100 * right / predicted, 100 * right / true
        f1 = 2 * precision * recall / (precision + recall)
        return f"precision: {precision:6.2f}%; recall: {recall:6.2f}%; FB1: {f1:6.2f}"

    total = scores(int(correct.sum()), int(found.sum()), int(gold.sum()))
    rows = [
        f"{n:>17}: {scores(*map(int, t))}  {t[1]}"
        for n, t in zip(ENTITIES, zip(correct, found, gold, strict=True), strict=True)
    ]
    head = (
        f"processed 46435 tokens with {gold.sum()} phrases; found: {found.sum()} phrases; correct: {correct.sum()}.\n"
    )
    return report_of(
        "accuracy of tokens above entities", f"{head}accuracy:  97.62%; {total}\n" + "\n".join(rows) + "\n"
    )


def several_labels(generator: np.random.Generator) -> Report:
    """Print a report of images with several labels or none, with the subset accuracy above it."""
    names, images = SCENES[: int(generator.integers(3, 7))], int(generator.integers(80, 400))
    truth = generator.random((images, len(names))) < generator.uniform(0.1, 0.6, size=len(names))
    guess = truth ^ (generator.random(truth.shape) < generator.uniform(0.02, 0.4, size=len(names)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        text = classification_report(truth, guess, target_names=list(names), zero_division=0)
    exact = f"Accuracy: {np.mean((truth == guess).all(axis=1)):.4f}\n\n" if generator.integers(2) else ""
    return report_of("a report of several labels", f"{exact}{text}\n")


def table_of_folds(generator: np.random.Generator) -> Report:
    """Print each class's precision, recall and F1 as means over five folds."""
    outcomes = [simulate(generator, SCENES, [int(n) for n in generator.integers(8, 40, size=6)]) for _ in range(5)]
    rows = [["class", "precision", "recall", "f1-score"]]
    reports = [as_dictionary(outcome) for outcome in outcomes]
    for name in SCENES:
        means = [np.mean([report[name][score] for report in reports]) for score in rows[0][1:]]  # type: ignore[index]
        cells = [mark(f"{100 * m:.1f}", "class", c, name) for m, c in zip(means, rows[0][1:], strict=True)]
        rows.append([name, *cells])
    return report_of("a table of means over folds", "Means over 5 folds.\n\n" + layouts.markdown(rows), suffix=".md")


def said_once(generator: np.random.Generator) -> Report:
    """Print the common size of all classes in one sentence, then a table of class accuracies."""
    size = int(generator.integers(20, 200))
    outcome = balanced(generator, size)
    classes = len(outcome.names)
    sentence = (
        f"Tested on {size * classes} images, {size} of each class.",
        f"The test set has {size} images per class.",
        f"Each class has {size} test images.",
        f"{size * classes} images, {size} per class.",
    )[int(generator.integers(4))]
    values = {n: f"{100 * k / size:.2f} %" for n, k in zip(outcome.names, outcome.correct, strict=True)}
    text = f"{sentence}\n\n" + layouts.markdown(layouts.grid({"Accuracy": values}))
    return report_of("sizes in a sentence", text, suffix=".md", sizes=sizes_of(outcome), sizes_printed=True)


def json_with_scores(generator: np.random.Generator) -> Report:
    """Print JSON with accuracy, kappa, scikit-learn's report and the confusion matrix."""
    outcome = ordinary(generator)
    content = {"accuracy": accuracy_of(outcome), "kappa": cohen_kappa_score(outcome.labels, outcome.predictions)}
    content |= {"report": as_dictionary(outcome), "confusion_matrix": outcome.matrix.tolist()}
    text = json.dumps(content, indent=2, ensure_ascii=False)
    return report_of("JSON with scores beside a report", text, suffix=".json", sizes=sizes_of(outcome))


def statistics_by_class(generator: np.random.Generator) -> Report:
    """Print a matrix, then each class's sensitivity, specificity, predictive values and balanced accuracy."""
    outcome = ordinary(generator)
    matrix, total = outcome.matrix, outcome.images
    columns: dict[str, dict[str, str]] = {}
    for place, name in enumerate(outcome.names):
        hits, size, predicted = int(matrix[place, place]), int(matrix[place].sum()), int(matrix[:, place].sum())
        rest = total - size - predicted + hits
        specificity = rest / (total - size)
        scores = {"Sensitivity": hits / size, "Specificity": specificity, "Pos Pred Value": hits / max(1, predicted)}
        scores |= {"Neg Pred Value": rest / (total - predicted), "Balanced Accuracy": (hits / size + specificity) / 2}
        for score, value in scores.items():
            columns.setdefault(score, {})[name] = f"{value:.4f}"
    cells = [["True \\ Predicted", *outcome.names]]
    cells += [[n, *map(str, row)] for n, row in zip(outcome.names, matrix, strict=True)]
    text = f"Confusion matrix\n\n{layouts.markdown(cells)}\n{layouts.markdown(layouts.grid(columns))}"
    return report_of("statistics by class", text, suffix=".md", sizes=sizes_of(outcome), sizes_printed=True)


HABITS: dict[str, Habit] = {
    "a line beside a report": line_beside_report,
    "scores beside a matrix": scores_beside_matrix,
    "two classes beside their matrix": two_classes_beside_matrix,
    "a report and its matrix": report_and_marked_matrix,
    "other predictions beside a report": other_predictions,
    "models in turn": models_in_turn,
    "a mean over batches beside a report": batches_beside_report,
    "accuracy of tokens above entities": entities,
    "a report of several labels": several_labels,
    "a table of means over folds": table_of_folds,
    "sizes in a sentence": said_once,
    "JSON with scores beside a report": json_with_scores,
    "statistics by class": statistics_by_class,
}
