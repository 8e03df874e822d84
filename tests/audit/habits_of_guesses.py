"""Habits whose numbers are easily taken for something else: subgroups, epsilons, differences, lists, folds, units."""

from __future__ import annotations

import numpy as np

from tests.audit import layouts
from tests.audit.habits_of_accuracy import Habit, sizes_of
from tests.audit.habits_of_neighbours import accuracy_of, matrix_of
from tests.audit.reports import Report, mark, report_of
from tests.audit.simulation import SCENES, Outcome, ordinary, simulate

GROUPS = {
    "Sex": ("Female", "Male"),
    "Age": ("<40", "40-60", ">60"),
    "Hospital": ("A", "B", "C", "D"),
    "Skin type": ("I-II", "III-IV", "V-VI"),
}
EPSILON = 1e-7


def scores_of(outcome: Outcome) -> list[tuple[int, int, int]]:
    """Return for each class its right images, its images, and the images predicted as it."""
    return list(zip(outcome.correct, outcome.sizes, map(int, outcome.matrix.sum(axis=0)), strict=True))


def subgroups(generator: np.random.Generator) -> Report:
    """Print accuracy and macro recall of parts of the images, and of all, below the name of what parts them."""
    heading = list(GROUPS)[int(generator.integers(len(GROUPS)))]
    parts = [ordinary(generator, 200, 60) for _ in GROUPS[heading]]
    rows = [[heading, "N", "Accuracy", "Recall"]]
    for name, part in zip(GROUPS[heading], parts, strict=True):
        recall = np.mean([k / n for k, n in zip(part.correct, part.sizes, strict=True)])
        rows.append([name, str(part.images), f"{accuracy_of(part):.3f}", f"{recall:.3f}"])
    right, images = sum(sum(part.correct) for part in parts), sum(part.images for part in parts)
    rows.append(["All", str(images), f"{right / images:.3f}", f"{generator.uniform(0.6, 0.9):.3f}"])
    return report_of("subgroups", layouts.markdown(rows), suffix=".md")


def with_epsilon(generator: np.random.Generator) -> Report:
    """Print precision, recall and F1 with 1e-7 in each denominator, as Keras users write them."""
    outcome, decimals = ordinary(generator), int(generator.integers(7, 13))
    rows = [["class", "precision", "recall", "f1", "support"]]
    for name, (right, size, predicted) in zip(outcome.names, scores_of(outcome), strict=True):
        precision, recall = right / (predicted + EPSILON), right / (size + EPSILON)
        f1 = 2 * precision * recall / (precision + recall + EPSILON)
        values = {"precision": precision, "recall": recall, "f1": f1}
        cells = [mark(f"{value:.{decimals}f}", "class", column, name) for column, value in values.items()]
        rows.append([name, *cells, mark(str(size), "size", "support", name)])
    return report_of("an epsilon", layouts.markdown(rows), suffix=".md", sizes=sizes_of(outcome), sizes_printed=True)


def differences(generator: np.random.Generator) -> Report:
    """Print the class accuracies of two networks with their mean, and the differences of the networks."""
    names = [int(n) for n in generator.integers(40, 300, size=6)]
    one, other = simulate(generator, SCENES, names), simulate(generator, SCENES, names)
    label = ("M1 - B0", "Delta", "Gain", "B0 vs M1")[int(generator.integers(4))]
    rows = [["Class", "B0", "M1", label]]
    shares = np.array([[k / n for k, n in zip(each.correct, each.sizes, strict=True)] for each in (one, other)])
    for name, (before, after) in zip(SCENES, shares.T, strict=True):
        rows.append([name, f"{before:.3f}", f"{after:.3f}", f"{after - before:.3f}"])
    before, after = shares.mean(axis=1)
    rows.append(["Mean accuracy", f"{before:.3f}", f"{after:.3f}", f"{after - before:.3f}"])
    return report_of("differences", layouts.markdown(rows), suffix=".md")


def nested_lists(generator: np.random.Generator) -> Report:
    """Print an accuracy below code whose nested lists are no confusion matrix."""
    size = int(generator.integers(2, 4))
    lists = generator.integers(1, 90, size=(size, size)).tolist()
    name = ("weights", "kernel", "param_grid", "A")[int(generator.integers(4))]
    text = f"{name} = {lists}\nAccuracy: {generator.uniform(0.6, 0.99):.4f}\n"
    return report_of("nested lists in code", text)


def folds_beside_test(generator: np.random.Generator) -> Report:
    """Print a confusion matrix of the test images, then the scores of folds and their mean."""
    outcome = ordinary(generator)
    folds = generator.uniform(0.7, 1.0, size=5)
    scores = " ".join(f"{fold:.3f}" for fold in folds)
    text = f"Confusion matrix:\n{matrix_of(outcome)}\n\nCross-validation scores: [{scores}]\n"
    label = ("Mean Accuracy", "Average accuracy", "Mean CV accuracy")[int(generator.integers(3))]
    return report_of("a mean of folds beside a test", f"{text}{label}: {folds.mean():.4f}\n")


def percent_below_shares(generator: np.random.Generator) -> Report:
    """Print class accuracies in one unit, and their mean in the other."""
    outcome = ordinary(generator)
    shares = {n: k / size for n, k, size in zip(outcome.names, outcome.correct, outcome.sizes, strict=True)}
    mean = float(np.mean(list(shares.values())))
    of_shares = bool(generator.integers(2))
    values = {name: f"{share:.4f}" if of_shares else f"{100 * share:.2f}" for name, share in shares.items()}
    text = layouts.lines(generator, values, f"{100 * mean:.2f}" if of_shares else f"{mean:.4f}")
    return report_of("a mean in the other unit", text, sizes=sizes_of(outcome))


HABITS: dict[str, Habit] = {
    "subgroups": subgroups,
    "an epsilon": with_epsilon,
    "differences": differences,
    "nested lists in code": nested_lists,
    "a mean of folds beside a test": folds_beside_test,
    "a mean in the other unit": percent_below_shares,
}
