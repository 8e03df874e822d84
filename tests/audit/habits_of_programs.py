"""Habits of programs and languages: number formats, printed objects, log prefixes and tables of methods."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import torch

from tests.audit import layouts
from tests.audit.habits_of_accuracy import Habit, macro, overall, printed_lines, sizes_of, values_of
from tests.audit.printings import PRINTINGS, Printing, fixed, mean_in_float32, percentage, share
from tests.audit.reports import Report, mark, report_of
from tests.audit.simulation import OBJECTS, SCENES, ordinary, simulate


def written(name: str, compute: Callable[[int, int], float], write: Callable[[float], str]) -> Habit:
    """Return a function that makes a report of class accuracies, each given by write(compute(correct, images))."""
    return printed_lines(name, Printing(compute=compute, write=write))


def without_zero(value: float) -> str:
    """Return .933 for 0.933, as R and SPSS print it."""
    text = f"{value:.3f}"
    return text.removeprefix("0") if text.startswith("0") else text


def mean_printed_otherwise(name: str, classes: str, mean: str) -> Habit:
    """Return a function that makes a report: class accuracies in the format `classes`, the mean in format `mean`."""

    def habit(generator: np.random.Generator) -> Report:
        outcome = ordinary(generator)
        values = values_of(outcome, PRINTINGS[classes])
        text = layouts.lines(generator, values, macro(outcome, PRINTINGS[mean]))
        return report_of(name, text, sizes=sizes_of(outcome))

    return habit


def log_prefix(generator: np.random.Generator) -> Report:
    """Print the time and the log level before each line."""
    outcome = ordinary(generator)
    printing = PRINTINGS["percent to 2 decimals"]
    text = layouts.lines(generator, values_of(outcome, printing), macro(outcome, printing))
    lines = [f"2024-03-0{1 + i % 9} 12:0{i % 10}:31,20{i % 10} - INFO - {x}" for i, x in enumerate(text.splitlines())]
    return report_of("lines of a logger", "\n".join(lines) + "\n", suffix=".log", sizes=sizes_of(outcome))


def fold_lines(generator: np.random.Generator) -> Report:
    """Return a report with the accuracies of five folds, which are not classes, then mean and standard deviation."""
    accuracies = [int(generator.integers(70, 99)) / 120 + 0.1 for _ in range(5)]
    rows = [f"Fold {number}: {value:.4f}" for number, value in enumerate(accuracies, start=1)]
    tail = mark(f"{np.mean(accuracies):.4f}", "mean", "fold", "mean")
    text = "\n".join([*rows, f"Mean accuracy: {tail} +/- {np.std(accuracies):.4f}"]) + "\n"
    return report_of("accuracies of folds", text)


def by_method(name: str, write: Callable[[list[list[str]]], str], suffix: str) -> Habit:
    """Return a function that makes a table of average precisions: a row per method, a column per class, then mAP."""

    def habit(generator: np.random.Generator) -> Report:
        heading = ["Method", *OBJECTS, "mAP"]
        rows = [heading]
        for method in ("Fast R-CNN", "SSD300", "Ours"):
            scores = generator.uniform(0.3, 0.95, size=len(OBJECTS))
            cells = [
                mark(f"{100 * s:.1f}", "class", "ap", f"{method} {n}") for n, s in zip(OBJECTS, scores, strict=True)
            ]
            rows.append([method, *cells, mark(f"{100 * scores.mean():.1f}", "mean", "ap", method)])
        return report_of(name, "Average precision on the test images (%).\n\n" + write(rows), suffix=suffix)

    return habit


def bold_cells(generator: np.random.Generator) -> Report:
    """Print a table with the best value in bold and an arrow in the heading."""
    outcome = ordinary(generator)
    printing = Printing(compute=percentage, write=fixed(1))
    values = values_of(outcome, printing)
    best = max(values, key=lambda name: float(values[name]))
    cells = [["Class", "Accuracy (%) ↑", "Images"]]
    for name, value in values.items():
        cell = mark(value, "class", "accuracy", name)
        size = mark(str(sizes_of(outcome)[name]), "size", "images", name)
        cells.append([name, f"**{cell}**" if name == best else cell, size])
    cells.append(["**Mean**", f"**{mark(macro(outcome, printing), 'mean', 'accuracy', 'mean')}**", ""])
    return report_of("bold cells", layouts.markdown(cells), suffix=".md", sizes=sizes_of(outcome), sizes_printed=True)


def numpy_array(generator: np.random.Generator) -> Report:
    """Print a NumPy array of accuracies, without class names."""
    outcome = ordinary(generator)
    shares = np.array([k / n for k, n in zip(outcome.correct, outcome.sizes, strict=True)])
    mean = mark(f"{shares.mean()}", "mean", "accuracy", "mean")
    text = f"Per-class accuracy: {np.array2string(shares)}\nMean class accuracy: {mean}\n"
    return report_of("a printed array", text, sizes=sizes_of(outcome))


def torch_tensor(generator: np.random.Generator) -> Report:
    """Print a torch tensor of accuracies, which has four decimals."""
    outcome = ordinary(generator)
    shares = torch.tensor([k / n for k, n in zip(outcome.correct, outcome.sizes, strict=True)])
    mean = mark(f"{mean_in_float32(shares.tolist())}", "mean", "accuracy", "mean")
    return report_of("a printed tensor", f"class accuracy: {shares}\nmean class accuracy: {mean}\n")


def plain_json(generator: np.random.Generator) -> Report:
    """Print a program's own JSON with class accuracies and their mean."""
    outcome = ordinary(generator)
    shares = {n: k / s for n, k, s in zip(outcome.names, outcome.correct, outcome.sizes, strict=True)}
    content = {
        "epoch": 20,
        "class_accuracy": shares,
        "mean_class_accuracy": sum(shares.values()) / len(shares),
        "accuracy": sum(outcome.correct) / outcome.images,
    }
    text = json.dumps(content, indent=1, ensure_ascii=False)
    for name, value in shares.items():
        text = text.replace(f'"{name}": {value!r}', f'"{name}": {mark(repr(value), "class", "accuracy", name)}', 1)
    return report_of("a program's JSON", text, suffix=".json", sizes=sizes_of(outcome))


def matrix_turned(generator: np.random.Generator) -> Report:
    """Return a report: a confusion matrix whose rows are the predicted classes, as its heading states, then recalls."""
    outcome = ordinary(generator)
    turned = zip(outcome.names, outcome.matrix.T, strict=True)
    cells = [["Predicted \\ True", *outcome.names], *([n, *map(str, row)] for n, row in turned)]
    values = {n: f"{100 * k / s:.1f} %" for n, k, s in zip(outcome.names, outcome.correct, outcome.sizes, strict=True)}
    text = "Confusion matrix (rows: predicted, columns: true)\n\n" + layouts.markdown(cells) + "\n"
    return report_of(
        "matrix with predicted rows",
        text + layouts.lines(generator, values, None),
        suffix=".md",
        sizes=sizes_of(outcome),
    )


def one_against_rest(generator: np.random.Generator) -> Report:
    """Print each class's one-vs-rest accuracy, (TP + TN) / all, beside its precision and recall."""
    outcome = ordinary(generator)
    matrix, total = outcome.matrix, outcome.images
    columns: dict[str, dict[str, str]] = {"Accuracy": {}, "Precision": {}, "Recall": {}, "Support": {}}
    for number, name in enumerate(outcome.names):
        hits, size, predicted = matrix[number, number], matrix[number].sum(), matrix[:, number].sum()
        columns["Accuracy"][name] = f"{(total - size - predicted + 2 * hits) / total:.4f}"
        columns["Precision"][name] = f"{hits / max(predicted, 1):.4f}"
        columns["Recall"][name] = f"{hits / size:.4f}"
        columns["Support"][name] = str(size)
    text = layouts.markdown(layouts.grid(columns))
    return report_of("accuracy against the rest", text, suffix=".md", sizes=sizes_of(outcome), sizes_printed=True)


def weakest(generator: np.random.Generator) -> Report:
    """Print the mean accuracy of forty classes, and the accuracies of the five weakest."""
    names = tuple(f"class {number:02d}" for number in range(40))
    outcome = simulate(generator, names, [int(n) for n in generator.integers(30, 80, size=40)])
    printing = PRINTINGS["percent to 1 decimals"]
    values = values_of(outcome, printing)
    worst = sorted(values, key=lambda name: float(values[name].rstrip(" %")))[:5]
    rows = [["Weakest classes", "Accuracy"], *([n, mark(values[n], "class", "accuracy", n)] for n in worst)]
    head = f"Mean class accuracy: {mark(macro(outcome, printing), 'mean', 'accuracy', 'mean')}\n\n"
    return report_of("the weakest classes alone", head + layouts.markdown(rows), suffix=".md")


def two_sets_in_columns(generator: np.random.Generator) -> Report:
    """Print validation and test accuracies in two columns, with mean and overall accuracy below."""
    printing = Printing(compute=percentage, write=fixed(1))
    columns = {}
    for heading in ("Val accuracy (%)", "Test accuracy (%)"):
        outcome = simulate(generator, SCENES, [int(n) for n in generator.integers(100, 500, size=6)])
        means = {"Mean": macro(outcome, printing), "Overall": overall(outcome, printing)}
        columns[heading] = values_of(outcome, printing) | means
    return report_of("validation and test in columns", layouts.markdown(layouts.grid(columns)), suffix=".md")


def frame(generator: np.random.Generator) -> Report:
    """Print a pandas frame: an index, right-aligned columns, six decimals."""
    outcome = ordinary(generator)
    values = values_of(outcome, PRINTINGS["share to 6 decimals"])
    width = max(map(len, values))
    rows = [" " * width + "  support  accuracy"]
    for name, value in values.items():
        size = mark(str(sizes_of(outcome)[name]), "size", "support", name, 9)
        rows.append(name.ljust(width) + size + mark(value, "class", "accuracy", name, 10))
    return report_of("a printed frame", "\n".join(rows) + "\n", sizes=sizes_of(outcome), sizes_printed=True)


HABITS: dict[str, Habit] = {
    "three significant digits": written("three significant digits", percentage, lambda v: f"{v:.3g} %"),
    "%g": written("%g", share, lambda v: f"{v:g}"),
    "exponents, 4 decimals": written("exponents, 4 decimals", share, lambda v: f"{v:.4e}"),
    "np.savetxt": written("np.savetxt", share, lambda v: f"{v:.18e}"),
    "no zero before the point": written("no zero before the point", share, without_zero),
    "hard space before the sign": written("hard space before the sign", percentage, lambda v: f"{v:.1f}\u00a0%"),
    "shares and a mean in percent": mean_printed_otherwise(
        "shares and a mean in percent", "share to 4 decimals", "percent to 2 decimals"
    ),
    "a mean with fewer decimals": mean_printed_otherwise(
        "a mean with fewer decimals", "percent to 2 decimals", "percent to 0 decimals"
    ),
    "a mean in full over whole percentages": mean_printed_otherwise(
        "a mean in full over whole percentages", "percent cut by %d", "repr of 100 k/n with a sign"
    ),
    "lines of a logger": log_prefix,
    "accuracies of folds": fold_lines,
    "by method in Markdown": by_method("by method in Markdown", layouts.markdown, ".md"),
    "by method in LaTeX": by_method("by method in LaTeX", layouts.latex, ".tex"),
    "bold cells": bold_cells,
    "a printed array": numpy_array,
    "a printed tensor": torch_tensor,
    "a program's JSON": plain_json,
    "matrix with predicted rows": matrix_turned,
    "accuracy against the rest": one_against_rest,
    "the weakest classes alone": weakest,
    "validation and test in columns": two_sets_in_columns,
    "a printed frame": frame,
}
