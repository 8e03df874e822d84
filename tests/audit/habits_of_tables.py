"""Habits of putting class accuracies into tables and files."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tests.audit import layouts
from tests.audit.habits_of_accuracy import Habit, any_printing, macro, overall, sizes_of, values_of
from tests.audit.printings import PRINTINGS, Printing, fixed, percentage
from tests.audit.reports import Report, mark, report_of
from tests.audit.simulation import SCENES, ordinary, simulate


def table(name: str, write: Callable[[Sequence[Sequence[str]]], str], turn: bool = False, suffix: str = ".md") -> Habit:
    """Return a function that makes a report: a table of class accuracies and averages, transposed if `turn`."""

    def habit(generator: np.random.Generator) -> Report:
        outcome = ordinary(generator)
        decimals = int(generator.integers(1, 5))
        printing = Printing(compute=percentage, write=fixed(decimals))
        columns = {
            "Samples": {n: str(size) for n, size in sizes_of(outcome).items()},
            "Accuracy (%)": {
                **values_of(outcome, printing),
                "Mean": macro(outcome, printing),
                "Overall": overall(outcome, printing),
            },
        }
        if turn or suffix == ".csv":
            columns.pop("Samples")
        cells = layouts.grid(columns)
        text = write(layouts.turned(cells) if turn else cells)
        return report_of(
            name, text, sizes=sizes_of(outcome), sizes_printed=not turn and suffix != ".csv", suffix=suffix
        )

    return habit


def several_networks(generator: np.random.Generator) -> Report:
    """Print a table with a column for each network, and the means below."""
    sizes = [int(n) for n in generator.integers(100, 600, size=6)]
    printing = Printing(compute=percentage, write=fixed(2))
    columns = {}
    for network in ("ResNet-18", "VGG-16", "MobileNet"):
        outcome = simulate(generator, SCENES, sizes)
        columns[network] = {**values_of(outcome, printing), "Mean class accuracy": macro(outcome, printing)}
    text = "Accuracy of each class in percent.\n\n" + layouts.markdown(layouts.grid(columns))
    return report_of("several networks in a table", text, sizes=dict(zip(SCENES, sizes, strict=True)), suffix=".md")


def several_sets(generator: np.random.Generator) -> Report:
    """Print unrounded class accuracies of a validation set, then of a test set with different class sizes."""
    texts = []
    for part in ("Validation", "Test"):
        outcome = simulate(generator, SCENES, [int(n) for n in generator.integers(200, 600, size=6)])
        printing = PRINTINGS["repr of a double"]
        texts.append(
            f"{part} set:\n" + layouts.lines(generator, values_of(outcome, printing), macro(outcome, printing))
        )
    return report_of("validation and test", "\n".join(texts))


def wide_csv(generator: np.random.Generator) -> Report:
    """Return a CSV report with a row per split and network and a column per class, rounded by round(x, 4)."""
    rows = [["model", "split", "loss", "mean_acc", *(f"Acc_{name}" for name in SCENES)]]
    for split in ("val", "test"):
        sizes = [int(n) for n in generator.integers(300, 560, size=6)]
        for model in ("model1", "model2"):
            outcome, printing = simulate(generator, SCENES, sizes), PRINTINGS["round(x, 4)"]
            values = values_of(outcome, printing)
            cells = [mark(values[name], "class", "accuracy", f"{model} {split} {name}") for name in SCENES]
            loss = f"{generator.uniform(0.2, 0.6):.4f}"
            rows.append(
                [model, split, loss, mark(macro(outcome, printing), "mean", "accuracy", f"{model} {split}"), *cells]
            )
    return report_of("CSV by network, wide", layouts.csv(rows), suffix=".csv")


def long_csv(generator: np.random.Generator) -> Report:
    """Print CSV with the heading class,n,correct,accuracy and a row for each class."""
    outcome = ordinary(generator)
    rows = [["class", "n", "correct", "accuracy"]]
    for name, k, n in zip(outcome.names, outcome.correct, outcome.sizes, strict=True):
        rows.append(
            [
                name,
                mark(str(n), "size", "n", name),
                mark(str(k), "count", "correct", name),
                mark(repr(k / n), "class", "accuracy", name),
            ]
        )
    return report_of(
        "CSV by class, long", layouts.csv(rows), suffix=".csv", sizes=sizes_of(outcome), sizes_printed=True
    )


def semicolons(generator: np.random.Generator) -> Report:
    """Write a spreadsheet's semicolon-separated file with decimal commas."""
    outcome = ordinary(generator)
    printing = PRINTINGS["decimal comma, share"]
    columns = {
        "Images": {n: str(s) for n, s in sizes_of(outcome).items()},
        "Accuracy": {**values_of(outcome, printing), "Mean": macro(outcome, printing)},
    }
    text = layouts.csv(layouts.grid(columns), ";")
    return report_of("CSV with decimal commas", text, suffix=".csv", sizes=sizes_of(outcome), sizes_printed=True)


def thousands(generator: np.random.Generator) -> Report:
    """Print class sizes with a comma before the thousands, such as 2,421."""
    outcome = simulate(generator, SCENES, [int(n) for n in generator.integers(900, 9000, size=6)])
    printing = Printing(compute=percentage, write=fixed(1, "%"))
    columns = {
        "Accuracy": {**values_of(outcome, printing), "Overall": overall(outcome, printing)},
        "Samples": {**{n: f"{size:,}" for n, size in sizes_of(outcome).items()}, "Overall": f"{outcome.images:,}"},
    }
    text = layouts.markdown(layouts.grid(columns))
    return report_of("thousands separators", text, suffix=".md", sizes=sizes_of(outcome), sizes_printed=True)


def latex_deviations(generator: np.random.Generator) -> Report:
    """Return a LaTeX table of two networks' class accuracies: mean and standard deviation over five seeds."""
    rows = [["Class", "Baseline", "Ours"]]
    shares = {
        network: np.array([[100 * k / 300 for k in simulate(generator, SCENES, [300] * 6).correct] for _ in range(5)])
        for network in rows[0][1:]
    }
    for number, name in enumerate([*SCENES, "Mean"]):
        cells = [values.mean(axis=1) if name == "Mean" else values[:, number] for values in shares.values()]
        texts = [f"${cell.mean():.1f} \\pm {cell.std():.1f}$" for cell in cells]
        rows.append([name, *(mark(text, "spread", "accuracy", name) for text in texts)])
    caption = "Class accuracy (\\%) on the test images, mean and deviation over 5 seeds.\n"
    return report_of("LaTeX with deviations", caption + layouts.latex(rows), suffix=".tex")


def html_table(generator: np.random.Generator) -> Report:
    """Print class accuracies and their mean as an HTML table."""
    outcome = ordinary(generator)
    printing = PRINTINGS["percent to 1 decimals"]
    values = {**values_of(outcome, printing), "Mean class accuracy": macro(outcome, printing)}
    rows = [
        f"<tr><td>{name}</td><td>{mark(value, layouts.role_of('accuracy', name), 'accuracy', name)}</td></tr>"
        for name, value in values.items()
    ]
    text = "\n".join(["<table>", "<tr><th>Class</th><th>Accuracy</th></tr>", *rows, "</table>"]) + "\n"
    return report_of("HTML table", text, suffix=".html", sizes=sizes_of(outcome))


def epochs_csv(generator: np.random.Generator) -> Report:
    """Print CSV with a row for each epoch: losses, class accuracies and their mean."""
    sizes = [int(n) for n in generator.integers(200, 500, size=6)]
    rows = [["epoch", "train_loss", "val_loss", *(f"acc_{name}" for name in SCENES), "mean_acc"]]
    for epoch in range(3):
        outcome, printing = simulate(generator, SCENES, sizes), PRINTINGS["share to 6 decimals"]
        values = values_of(outcome, printing)
        cells = [mark(values[name], "class", "accuracy", f"{epoch} {name}") for name in SCENES]
        losses = [f"{1 / (epoch + 1):.4f}", f"{1.1 / (epoch + 1):.4f}"]
        rows.append([str(epoch), *losses, *cells, mark(macro(outcome, printing), "mean", "accuracy", str(epoch))])
    return report_of("CSV by epoch", layouts.csv(rows), suffix=".csv")


def any_table(generator: np.random.Generator) -> Report:
    """Print accuracies in a random table format and number format, with or without class sizes and means."""
    outcome, printing = ordinary(generator), any_printing(generator)
    columns: dict[str, dict[str, str]] = {}
    with_sizes = bool(generator.integers(2))
    if with_sizes:
        columns["Images"] = {name: str(size) for name, size in sizes_of(outcome).items()}
    columns["Accuracy"] = values_of(outcome, printing)
    if generator.integers(2):
        columns["Accuracy"]["Mean class accuracy"] = macro(outcome, printing)
    if generator.integers(2):
        columns["Accuracy"]["Overall accuracy"] = overall(outcome, printing)
    suffix, write = TABLES[int(generator.integers(len(TABLES)))]
    if any("," in value for value in columns["Accuracy"].values()) and suffix == ".csv":
        suffix, write = ".md", layouts.markdown
    text = write(layouts.grid(columns))
    name = "any printing in any table"
    return report_of(name, text, suffix=suffix, sizes=sizes_of(outcome), sizes_printed=with_sizes)


TABLES: tuple[tuple[str, Callable[[Sequence[Sequence[str]]], str]], ...] = (
    (".md", layouts.markdown),
    (".tex", layouts.latex),
    (".txt", layouts.columns_of_text),
    (".csv", layouts.csv),
)
HABITS: dict[str, Habit] = {
    "any printing in any table": any_table,
    "LaTeX with deviations": latex_deviations,
    "HTML table": html_table,
    "CSV by epoch": epochs_csv,
    "Markdown by row": table("Markdown by row", layouts.markdown),
    "Markdown by column": table("Markdown by column", layouts.markdown, turn=True),
    "LaTeX by row": table("LaTeX by row", layouts.latex, suffix=".tex"),
    "LaTeX by column": table("LaTeX by column", layouts.latex, turn=True, suffix=".tex"),
    "columns of text": table("columns of text", layouts.columns_of_text, suffix=".txt"),
    "CSV by class with means": table("CSV by class with means", layouts.csv, suffix=".csv"),
    "several networks in a table": several_networks,
    "validation and test": several_sets,
    "CSV by network, wide": wide_csv,
    "CSV by class, long": long_csv,
    "CSV with decimal commas": semicolons,
    "thousands separators": thousands,
}
