"""Habits of printing average precision, logs, and a program's own file formats."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from tests.audit import layouts
from tests.audit.habits_of_accuracy import Habit, sizes_of
from tests.audit.reports import Report, mark, report_of
from tests.audit.simulation import OBJECTS, SCENES, Outcome, ordinary, simulate, voc_average_precision


def average_precision(name: str, compute: Callable[[Outcome], Sequence[float]], write: Callable[[float], str]) -> Habit:
    """Return a function that makes a report: one line per class with its average precision, then one with mAP."""

    def habit(generator: np.random.Generator) -> Report:
        outcome = ordinary(generator, 200)
        scores = compute(outcome)
        values = {n: write(score) for n, score in zip(outcome.names, scores, strict=True)}
        text = layouts.lines(
            generator, values, write(float(np.mean(scores))), "ap", layouts.AP_LINES, layouts.MAP_LINES
        )
        return report_of(name, text)

    return habit


def interpolated(points: int) -> Callable[[Outcome], Sequence[float]]:
    """Return a function that computes each class's average precision, interpolated at `points` recall levels."""
    return lambda outcome: [
        voc_average_precision(outcome.labels == c, outcome.scores[:, c], points) for c in range(len(outcome.names))
    ]


def float32_scores(outcome: Outcome) -> list[float]:
    return [float(torch.tensor(score, dtype=torch.float32).item()) for score in outcome.average_precisions()]


def scores_and_accuracies(generator: np.random.Generator) -> Report:
    """Print a table of accuracy and average precision, each with its mean."""
    outcome = ordinary(generator, 200)
    shares = [k / n for k, n in zip(outcome.correct, outcome.sizes, strict=True)]
    scores = outcome.average_precisions()
    columns = {
        "Accuracy": {
            **{n: f"{v:.4f}" for n, v in zip(outcome.names, shares, strict=True)},
            "mean": f"{np.mean(shares):.4f}",
        },
        "AP": {**{n: f"{v:.4f}" for n, v in zip(outcome.names, scores, strict=True)}, "mean": f"{np.mean(scores):.4f}"},
    }
    return report_of(
        "accuracy and AP in a table", layouts.markdown(layouts.grid(columns)), suffix=".md", sizes=sizes_of(outcome)
    )


def objects_table(generator: np.random.Generator) -> Report:
    """Print a detector's table of objects, recall and AP, in which one class has no objects."""
    gts = [int(n) for n in generator.integers(30, 900, size=len(OBJECTS))]
    gts[int(generator.integers(len(OBJECTS)))] = 0
    recalls = [int(n * generator.uniform(0.4, 1)) / n if n else 0.0 for n in gts]
    scores = [float(r * generator.uniform(0.7, 1)) for r in recalls]
    mean = float(np.mean([score for score, n in zip(scores, gts, strict=True) if n]))
    rule = "+-------------+------+-------+--------+-------+"
    rows = [
        f"| {name:11s} | {n:<4d} | {n * 9:<5d} | {r:.3f}  | {mark(f'{s:.3f}', 'class' if n else 'zero', 'ap', name)} |"
        for name, n, r, s in zip(OBJECTS, gts, recalls, scores, strict=True)
    ]
    foot = f"| mAP         |      |       |        | {mark(f'{mean:.3f}', 'mean', 'ap', 'mAP')} |"
    lines = [rule, "| class       | gts  | dets  | recall | ap    |", rule, *rows, rule, foot, rule]
    return report_of("a detector's table", "\n".join(lines) + "\n")


def pairs_table(generator: np.random.Generator) -> Report:
    """Print a mean, then a table with three pairs of class and AP per row, in percent without a sign."""
    scores = generator.uniform(10, 95, size=len(OBJECTS))
    mean = mark(f"{scores.mean():.3f}", "mean", "ap", "AP")
    head = f"|   AP   |  AP50  |\n|:------:|:------:|\n| {mean} | {scores.max():.3f} |\n"
    rows = []
    for start in range(0, len(OBJECTS), 3):
        part = list(zip(OBJECTS[start : start + 3], scores[start : start + 3], strict=True))
        cells = [f"{n:11s} | {mark(f'{s:.3f}', 'class', 'ap', n)}" for n, s in part] + [" " * 11 + " |       "] * (
            3 - len(part)
        )
        rows.append("| " + " | ".join(cells) + " |")
    heading = (
        "| category    | AP     | category    | AP     | category    | AP     |\n|:---|:---|:---|:---|:---|:---|\n"
    )
    return report_of(
        "three pairs a row", f"bbox:\n{head}\nPer-category bbox AP:\n{heading}" + "\n".join(rows) + "\n", suffix=".md"
    )


def keras_log(generator: np.random.Generator) -> Report:
    outcome = ordinary(generator)
    epochs = [
        f"Epoch {e}/3\n76/76 [==============================] - 9s 118ms/step - loss: {1.2 / e:.4f} - accuracy: "
        f"{1 - 0.3 / e:.4f} - val_loss: {1.3 / e:.4f} - val_accuracy: {1 - 0.32 / e:.4f}"
        for e in (1, 2, 3)
    ]
    values = {n: f"{k / s:.4f}" for n, k, s in zip(outcome.names, outcome.correct, outcome.sizes, strict=True)}
    overall = f"Test accuracy: {mark(f'{sum(outcome.correct) / outcome.images:.4f}', 'mean', 'accuracy', 'overall')}\n"
    return report_of(
        "a Keras log",
        "\n".join(epochs) + "\n" + overall + layouts.lines(generator, values, None),
        suffix=".log",
        sizes=sizes_of(outcome),
    )


def torch_log(generator: np.random.Generator) -> Report:
    """Print the log of PyTorch's MNIST example, with counts and progress lines, then class accuracies."""
    outcome = ordinary(generator)
    total = outcome.images
    rows = []
    for epoch in (1, 2, 3):
        k = sum(outcome.correct) if epoch == 3 else int(total * (1 - 0.6 / epoch))
        rows += [
            f"Train Epoch: {epoch} [{e * 64}/{total} ({100.0 * e * 64 / total:.0f}%)]\tLoss: {2.3 / (e + epoch):.6f}"
            for e in range(3)
        ]
        rows += ["", f"Test set: Average loss: {0.9 / epoch:.4f}, Accuracy: {k}/{total} ({100.0 * k / total:.0f}%)", ""]
    values = {n: f"{100 * k / s:.1f}%" for n, k, s in zip(outcome.names, outcome.correct, outcome.sizes, strict=True)}
    return report_of(
        "a PyTorch log",
        "\n".join(rows) + layouts.lines(generator, values, None),
        suffix=".log",
        sizes=sizes_of(outcome),
    )


def top_five(generator: np.random.Generator) -> Report:
    outcome = simulate(generator, tuple(f"c{i}" for i in range(20)), [50] * 20)
    ranks = np.argsort(-outcome.scores, axis=1)
    cells = [["Model", "Top-1 (%)", "Top-5 (%)"]]
    for network, shift in (("ResNet-18", 0), ("ResNet-50", 1)):
        hits = [(ranks[:, : depth + shift] == outcome.labels[:, None]).any(axis=1) for depth in (1, 5)]
        cells.append([network, *(mark(f"{100 * hit.mean():.2f}", "network", "top", network) for hit in hits)])
    return report_of("top-1 and top-5", layouts.markdown(cells), suffix=".md")


def python_dictionary(generator: np.random.Generator) -> Report:
    """Print a Python dictionary such as {'plane': 0.83, ...}."""
    outcome = ordinary(generator)
    parts = [
        f"'{n}': {mark(repr(k / s), 'class', 'accuracy', n)}"
        for n, k, s in zip(outcome.names, outcome.correct, outcome.sizes, strict=True)
    ]
    text = "Class accuracies: {" + ", ".join(parts) + "}\n"
    return report_of("a printed dictionary", text, sizes=sizes_of(outcome))


def toml(generator: np.random.Generator) -> Report:
    """Print the project's own TOML format, with numbers as strings."""
    outcome = simulate(generator, SCENES, [int(n) for n in generator.integers(200, 500, size=6)])
    shares = [k / n for k, n in zip(outcome.correct, outcome.sizes, strict=True)]
    values = ", ".join(f'"{mark(repr(v), "class", "accuracy", n)}"' for n, v in zip(SCENES, shares, strict=True))
    mean = mark(repr(sum(shares) / len(shares)), "mean", "accuracy", "mean")
    text = f'[[table]]\nname = "Figure 1"\naccuracy = [{values}]\nmean_accuracy = "{mean}"\n'
    return report_of("TOML", text, suffix=".toml", sizes=sizes_of(outcome))


HABITS: dict[str, Habit] = {
    "AP by scikit-learn, full": average_precision("AP by scikit-learn, full", Outcome.average_precisions, repr),
    "AP by scikit-learn, 4 decimals": average_precision(
        "AP by scikit-learn, 4 decimals", Outcome.average_precisions, lambda v: f"{v:.4f}"
    ),
    "AP over 11 points": average_precision("AP over 11 points", interpolated(11), lambda v: f"{v:.4f}"),
    "AP over 101 points": average_precision("AP over 101 points", interpolated(101), lambda v: f"{v:.3f}"),
    "AP in percent": average_precision("AP in percent", interpolated(11), lambda v: f"{100 * v:.1f} %"),
    "AP in float32": average_precision("AP in float32", float32_scores, repr),
    "accuracy and AP in a table": scores_and_accuracies,
    "a detector's table": objects_table,
    "three pairs a row": pairs_table,
    "a Keras log": keras_log,
    "a PyTorch log": torch_log,
    "top-1 and top-5": top_five,
    "a printed dictionary": python_dictionary,
    "TOML": toml,
}
