"""Habits of more formats: reStructuredText, AsciiDoc, spaCy, seqeval's model cards, notebooks and epoch logs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
from sklearn.metrics import cohen_kappa_score

from tests.audit import layouts
from tests.audit.habits_of_accuracy import Habit, macro, overall, sizes_of, values_of
from tests.audit.habits_of_neighbours import ENTITIES, accuracy_of
from tests.audit.habits_of_reports import as_dictionary, written
from tests.audit.printings import Printing, fixed, percentage
from tests.audit.reports import Report, mark, mark_report, report_of, visible_length
from tests.audit.simulation import Outcome, balanced, ordinary

Cells = Sequence[Sequence[str]]


def list_table(cells: Cells) -> str:
    """Write a list-table of reStructuredText, one cell per line."""
    rows = ["   * - " + "\n     - ".join(row) for row in cells]
    return ".. list-table:: Results of the test set\n   :header-rows: 1\n\n" + "\n".join(rows) + "\n"


def csv_table(cells: Cells) -> str:
    """Write a csv-table of reStructuredText, with the first row of `cells` in its option `:header:`."""
    header = ", ".join(f'"{cell}"' for cell in cells[0])
    rows = ["   " + ", ".join(row) for row in cells[1:]]
    return f".. csv-table:: Results\n   :header: {header}\n\n" + "\n".join(rows) + "\n"


def padded(cells: Cells) -> tuple[list[int], list[list[str]]]:
    """Return the visible width of each column, and the rows with every cell padded to its column's width."""
    widths = [max(2, *map(visible_length, column)) for column in zip(*cells, strict=True)]
    rows = [[cell + " " * (w - visible_length(cell)) for cell, w in zip(row, widths, strict=True)] for row in cells]
    return widths, rows


def simple_table(cells: Cells) -> str:
    widths, rows = padded(cells)
    rule = "  ".join("=" * width for width in widths)
    return "\n".join([rule, "  ".join(rows[0]), rule, *["  ".join(row) for row in rows[1:]], rule]) + "\n"


def tabulated(cells: Cells) -> str:
    """Write a table in the format "simple" of the library tabulate, which is also Pandoc's simple table."""
    widths, rows = padded(cells)
    rule = "  ".join("-" * width for width in widths)
    return "\n".join(["  ".join(rows[0]), rule, *["  ".join(row) for row in rows[1:]]]) + "\n"


def grid_table(cells: Cells) -> str:
    widths, rows = padded(cells)
    rules = ["+" + "+".join(sign * (width + 2) for width in widths) + "+" for sign in "-="]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    body = [part for line in lines[1:] for part in (line, rules[0])]
    return "\n".join([rules[0], lines[0], rules[1], *body]) + "\n"


def asciidoc(cells: Cells) -> str:
    """Write an AsciiDoc table, one row per line."""
    rows = ["|" + " |".join(row) for row in cells]
    return "\n".join(['[options="header"]', "|===", rows[0], "", *rows[1:], "|==="]) + "\n"


def asciidoc_by_cell(cells: Cells) -> str:
    """Write an AsciiDoc table, one cell per line."""
    columns = f"2,{len(cells[0]) - 2}*<.^1,1"
    rows = ["\n".join(f"|{cell}" for cell in row) for row in cells]
    return "\n\n".join([f'[cols="{columns}"]\n|===\n{rows[0]}', *rows[1:]]) + "\n|===\n"


def scores_in(name: str, write: Callable[[Cells], str], suffix: str) -> Habit:
    """Return a function that makes a report: precision, recall, F1 and support in a table formatted by `write`."""

    def habit(generator: np.random.Generator) -> Report:
        outcome = ordinary(generator)
        digits = int(generator.integers(2, 5))
        cells = [["Class", "Precision", "Recall", "F1-score", "Support"]]
        for row, scores in as_dictionary(outcome).items():
            if isinstance(scores, dict):
                role = "class" if row in outcome.names else "mean"
                values = [(c, f"{scores[c]:.{digits}f}") for c in ("precision", "recall", "f1-score")]
                size = mark(str(int(scores["support"])), "size", "support", row)
                cells.append([row, *[mark(v, role, c, row) for c, v in values], size])
        return report_of(name, write(cells), suffix=suffix, sizes=sizes_of(outcome), sizes_printed=True)

    return habit


def accuracies_in(name: str, write: Callable[[Cells], str], suffix: str) -> Habit:
    """Return a function that makes a report: class accuracies and their averages in a table formatted by `write`."""

    def habit(generator: np.random.Generator) -> Report:
        outcome = ordinary(generator)
        printing = Printing(compute=percentage, write=fixed(int(generator.integers(1, 4))))
        means = {"Mean": macro(outcome, printing), "Overall": overall(outcome, printing)}
        table = write(layouts.grid({"Accuracy (%)": values_of(outcome, printing) | means}))
        return report_of(name, table, suffix=suffix, sizes=sizes_of(outcome))

    return habit


def counted(generator: np.random.Generator) -> dict[str, tuple[int, int, int]]:
    """Draw (correctly predicted, predicted, true) numbers of entities for each type of entity."""
    found = generator.integers(80, 900, size=len(ENTITIES))
    right = (found * generator.uniform(0.6, 0.95, size=len(ENTITIES))).astype(int)
    true = (right / generator.uniform(0.6, 0.95, size=len(ENTITIES))).astype(int)
    return {n: (int(r), int(f), int(t)) for n, r, f, t in zip(ENTITIES, right, found, true, strict=True)}


def triple(right: int, predicted: int, true: int) -> tuple[float, float, float]:
    """Return precision, recall and F1."""
    return right / predicted, right / true, 2 * right / (predicted + true)


def over_all(kinds: dict[str, tuple[int, int, int]]) -> tuple[float, float, float]:
    """Return precision, recall and F1 over all entities, from the three counts of each kind of entity."""
    right, predicted, true = (sum(column) for column in zip(*kinds.values(), strict=True))
    return triple(right, predicted, true)


def spacy_evaluation(generator: np.random.Generator) -> Report:
    """Return a report like the output of `spacy evaluate`: scores over all entities, then for each kind of entity."""
    kinds = counted(generator)
    total = [f"NER {letter}    {100 * value:.2f}" for letter, value in zip("PRF", over_all(kinds), strict=True)]
    head = ["TOK      99.87", *total, "SENT F   90.57", "SPEED    11483"]
    rows = [f"{n:8}" + "".join(f"{100 * value:8.2f}" for value in triple(*kind)) for n, kind in kinds.items()]
    table = "\n".join([" " * 8 + "".join(f"{letter:>8}" for letter in "PRF"), *rows])
    bar = "=" * 30
    text = "\n".join([f"{bar} Results {bar}", "", *head, "", "", f"{bar} NER (per type) {bar}", "", table])
    return report_of("spaCy's evaluation", text + "\n")


def spacy_metrics(generator: np.random.Generator) -> Report:
    """Print spaCy's metrics as JSON."""
    kinds = counted(generator)
    content: dict[str, object] = {"token_acc": 0.9987}
    content |= {f"ents_{letter}": value for letter, value in zip("prf", over_all(kinds), strict=True)}
    content["ents_per_type"] = {n: dict(zip("prf", triple(*kind), strict=True)) for n, kind in kinds.items()}
    content |= {"tag_acc": 0.9712, "speed": 11483.2}
    return report_of("spaCy's metrics as JSON", json.dumps(content, indent=2) + "\n", suffix=".json")


def seqeval_card(generator: np.random.Generator) -> Report:
    """Return a model card with scores for each kind of entity, scores over all entities, and token accuracy."""
    kinds = dict(zip(("Per", "Total", "Value", "Street"), counted(generator).values(), strict=True))
    lines = ["It achieves the following results on the evaluation set:", "- Loss: 0.0412"]
    words = ("Precision", "Recall", "F1")
    for name, kind in kinds.items():
        title = name.title()
        lines += [f"- {title} {word}: {value:.4f}" for word, value in zip(words, triple(*kind), strict=True)]
        lines.append(f"- {title} Number: {kind[2]}")
    lines += [f"- Overall {word}: {value:.4f}" for word, value in zip(words, over_all(kinds), strict=True)]
    lines += [f"- Overall Accuracy: {generator.uniform(0.97, 0.999):.4f}", "", "- train_batch_size: 8", ""]
    lines += ["| Training Loss | Epoch | Step | Validation Loss | Overall F1 | Overall Accuracy |", "|:---:" * 6 + "|"]
    lines += [f"| 0.{9 - n}1 | {n}.0 | {n * 50} | 0.{9 - n} | 0.{4 + n} | 0.9{3 + n} |" for n in range(1, 5)]
    return report_of("a card with entities and tokens", "\n".join(lines) + "\n", suffix=".md")


def with_equals(generator: np.random.Generator) -> Report:
    """Print scores as name=value after each entity's name, and token accuracy at the end of the first line."""
    kinds = counted(generator)
    lines = [("OVERALL", over_all(kinds), f" acc={generator.uniform(0.97, 0.999):.6f}")]
    lines += [(name, triple(*kind), "") for name, kind in kinds.items()]
    text = [f"* {name:8} f1={f1:.6f} p={p:.6f} r={r:.6f}{rest}" for name, (p, r, f1), rest in lines]
    return report_of("scores with equals signs", "\n".join(text) + "\n", suffix=".md")


def percent_before(generator: np.random.Generator) -> Report:
    """Print overall accuracy, mean accuracy and kappa before their labels, as programs for hyperspectral images do."""
    outcome = ordinary(generator)
    right = accuracy_of(outcome)
    mean = float(np.mean([k / n for k, n in zip(outcome.correct, outcome.sizes, strict=True)]))
    kappa = cohen_kappa_score(outcome.labels, outcome.predictions)
    scores = {"Kappa accuracy": kappa, "Overall accuracy": right, "Average accuracy": mean}
    lines = [f"{mark(str(100 * v), 'beside', n, n)} {n} (%)" for n, v in scores.items() if 0.01 < v < 1]
    text = "\n".join(lines) + f"\n\n{mark_report(written(outcome), outcome.names)}\n"
    return report_of("percentages before their labels", text, sizes=sizes_of(outcome), sizes_printed=True)


def notebook(generator: np.random.Generator) -> Report:
    """Write a notebook with two models, each with its accuracy and report, and training logs between them."""
    cells = []
    outcomes = [ordinary(generator), ordinary(generator)]
    for number, outcome in enumerate(outcomes, start=1):
        together = bool(generator.integers(2))
        accuracy = f"Accuracy: {accuracy_of(outcome):.4f}\n"
        report = written(outcome, digits=int(generator.integers(2, 5)))
        log = "".join(f"Epoch {n}/3 - loss: 0.{9 - n} - accuracy: 0.{6 + n}\n" for n in range(1, 4))
        cells.append(_cell(number * 3, "model.fit(x, y)", log))
        cells += [_cell(number * 3 + 1, "print(accuracy)", accuracy + report if together else accuracy)]
        cells += [] if together else [_cell(number * 3 + 2, "print(report)", report)]
    text = json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, ensure_ascii=False)
    return report_of("two models in a notebook", text + "\n", suffix=".ipynb")


def _cell(count: int, code: str, output: str) -> dict[str, object]:
    lines = output.splitlines(keepends=True)
    outputs = [{"output_type": "stream", "name": "stdout", "text": lines}]
    return {"cell_type": "code", "execution_count": count, "metadata": {}, "source": [code], "outputs": outputs}


def branches(generator: np.random.Generator) -> Report:
    """Write JSON with two sections, validation and test, each with its scores and its report."""
    content: dict[str, object] = {"epochs": 20, "best_val_accuracy": 0.9312}
    for name in ("validation", "test"):
        outcome = ordinary(generator)
        content[name] = {
            "accuracy": accuracy_of(outcome),
            "classification_report": as_dictionary(outcome),
            "confusion_matrix": outcome.matrix.tolist(),
        }
    return report_of("JSON with branches", json.dumps(content, indent=1, ensure_ascii=False) + "\n", suffix=".json")


def large_batches(generator: np.random.Generator) -> Report:
    """Print the mean of the accuracies of batches, then the accuracies of classes of equal size."""
    outcome: Outcome = balanced(generator, int(generator.choice([50, 100, 200])))
    right, size = outcome.labels == outcome.predictions, int(generator.choice(BATCHES))
    mean = np.mean([right[start : start + size].mean() for start in range(0, len(right), size)])
    printing = Printing(compute=percentage, write=fixed(2))
    values = {f"Accuracy of {name}": f"{value} %" for name, value in values_of(outcome, printing).items()}
    rows = [f"{label}: {mark(v, 'class', 'accuracy', label)}" for label, v in values.items()]
    text = f"Test accuracy: {100 * mean:.2f} %\n" + "\n".join(rows) + "\n"
    return report_of("a mean over batches above classes", text, sizes=sizes_of(outcome))


BATCHES = (4, 8, 10, 12, 16, 20, 24, 25, 30, 32, 40, 48, 50, 60, 64, 80, 96, 100, 120, 128, 200, 250, 256, 500, 512)

TABLES = {
    "a list-table": (list_table, ".rst"),
    "a csv-table": (csv_table, ".rst"),
    "a simple table": (simple_table, ".rst"),
    "a table of tabulate": (tabulated, ".txt"),
    "a grid table": (grid_table, ".rst"),
    "a table of AsciiDoc": (asciidoc, ".adoc"),
    "a table of AsciiDoc by cell": (asciidoc_by_cell, ".adoc"),
}
HABITS: dict[str, Habit] = {
    **{f"scores in {name}": scores_in(f"scores in {name}", *form) for name, form in TABLES.items()},
    **{f"accuracies in {name}": accuracies_in(f"accuracies in {name}", *form) for name, form in TABLES.items()},
    "spaCy's evaluation": spacy_evaluation,
    "spaCy's metrics as JSON": spacy_metrics,
    "a card with entities and tokens": seqeval_card,
    "scores with equals signs": with_equals,
    "percentages before their labels": percent_before,
    "two models in a notebook": notebook,
    "JSON with branches": branches,
    "a mean over batches above classes": large_batches,
}
