"""Habits of printing class accuracies: sizes, means, tables, files."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tests.audit import layouts
from tests.audit.printings import PRINTINGS, Printing, fixed, float32_item, share, sum_over_count
from tests.audit.reports import Report, mark, report_of
from tests.audit.simulation import SCENES, Outcome, balanced, ordinary, simulate, with_empty_class

Habit = Callable[[np.random.Generator], Report]


def sizes_of(outcome: Outcome) -> dict[str, int]:
    """Return the number of images of each class that has any."""
    return {name: size for name, size in zip(outcome.names, outcome.sizes, strict=True) if size}


def values_of(outcome: Outcome, printing: Printing) -> dict[str, str]:
    """Return the accuracy of each class as text."""
    return {name: printing(k, n) for name, k, n in zip(outcome.names, outcome.correct, outcome.sizes, strict=True) if n}


def macro(outcome: Outcome, printing: Printing) -> str:
    """Return the plain mean over the classes that have images, as text."""
    present = [(k, n) for k, n in zip(outcome.correct, outcome.sizes, strict=True) if n]
    return printing.mean([k for k, _ in present], [n for _, n in present])


def any_printing(generator: np.random.Generator) -> Printing:
    return list(PRINTINGS.values())[int(generator.integers(len(PRINTINGS)))]


def printed_lines(name: str, printing: Printing, make: Callable[[np.random.Generator], Outcome] = ordinary) -> Habit:
    """Return a function that makes a report: one line per class accuracy, then one line with their mean."""

    def habit(generator: np.random.Generator) -> Report:
        outcome = make(generator)
        text = layouts.lines(generator, values_of(outcome, printing), macro(outcome, printing))
        return report_of(name, text, sizes=sizes_of(outcome))

    return habit


def overall(outcome: Outcome, printing: Printing) -> str:
    return printing(sum(outcome.correct), outcome.images)


def weighted_under(name: str, mean_lines: Sequence[str]) -> Habit:
    """Return a function that makes a report: class accuracies, and overall accuracy with a label of `mean_lines`."""

    def habit(generator: np.random.Generator) -> Report:
        outcome, printing = ordinary(generator), any_printing(generator)
        text = layouts.lines(generator, values_of(outcome, printing), overall(outcome, printing), mean_lines=mean_lines)
        return report_of(name, text, sizes=sizes_of(outcome))

    return habit


def over_batches(generator: np.random.Generator) -> Report:
    """Print the test accuracy as a mean over batches of 64; the last batch is shorter."""
    outcome = ordinary(generator)
    hits = outcome.labels == outcome.predictions
    mean = np.mean([hits[start : start + 64].mean() for start in range(0, len(hits), 64)])
    values = values_of(outcome, PRINTINGS["share to 4 decimals"])
    text = layouts.lines(generator, values, f"{mean:.4f}", mean_lines=("Test accuracy: {value}", "Accuracy: {value}"))
    return report_of("test accuracy as a mean over batches", text, sizes=sizes_of(outcome))


def over_folds(generator: np.random.Generator) -> Report:
    """Print class accuracies as means over five folds."""
    folds = [simulate(generator, SCENES, [int(n) for n in generator.integers(50, 90, size=6)]) for _ in range(5)]
    shares = np.array([[k / n for k, n in zip(fold.correct, fold.sizes, strict=True)] for fold in folds])
    means = shares.mean(axis=0)
    values = {name: f"{value:.4f}" for name, value in zip(SCENES, means, strict=True)}
    text = "Means over 5 folds of a cross-validation.\n\n" + layouts.lines(generator, values, f"{means.mean():.4f}")
    return report_of("means over five folds", text)


def over_seeds(generator: np.random.Generator) -> Report:
    """Return a report with the mean and standard deviation of each class accuracy over three seeds."""
    runs = [simulate(generator, SCENES, [400] * 6) for _ in range(3)]
    shares = np.array([[100 * k / 400 for k in run.correct] for run in runs])
    values = {n: f"{m:.1f} ± {s:.1f}" for n, m, s in zip(SCENES, shares.mean(axis=0), shares.std(axis=0), strict=True)}
    mean = f"{shares.mean():.1f} ± {shares.mean(axis=1).std():.1f}"
    text = layouts.markdown(
        [
            ["Class", "Accuracy (%)"],
            *([k, mark(v, "spread", "accuracy", k)] for k, v in values.items()),
            ["Mean", mark(mean, "spread", "accuracy", "mean")],
        ]
    )
    return report_of("mean and deviation over seeds", "Three seeds.\n\n" + text)


def mean_of_rounded(generator: np.random.Generator) -> Report:
    """Print the mean of the rounded class accuracies instead of the exact ones."""
    outcome = ordinary(generator)
    values = values_of(outcome, PRINTINGS["percent to 1 decimals"])
    mean = sum(float(value.rstrip(" %")) for value in values.values()) / len(values)
    return report_of(
        "mean of the rounded values", layouts.lines(generator, values, f"{mean:.1f} %"), sizes=sizes_of(outcome)
    )


def empty_class(generator: np.random.Generator) -> Report:
    """Print nan as the accuracy of a class without images, and omit the class from the mean."""
    outcome = with_empty_class(generator)
    printing = Printing(compute=share, write=fixed(4))
    present = values_of(outcome, printing)
    values = {name: present.get(name, "nan") for name in outcome.names}
    rows = [
        layouts.line("Accuracy of {name}: {value}", v, "class" if v != "nan" else "nan", "accuracy", n)
        for n, v in values.items()
    ]
    text = "\n".join(
        [*rows, layouts.line("Mean class accuracy: {value}", macro(outcome, printing), "mean", "accuracy")]
    )
    return report_of("a class without images, nan", text + "\n", sizes=sizes_of(outcome))


def empty_class_zero(generator: np.random.Generator) -> Report:
    """Print 0 as the accuracy of a class without images, and omit the class from the mean."""
    outcome = with_empty_class(generator)
    printing = Printing(compute=share, write=fixed(3))
    present = values_of(outcome, printing)
    columns = {
        "Images": {n: str(size) for n, size in zip(outcome.names, outcome.sizes, strict=True)},
        "Accuracy": {**{n: present.get(n, "0.000") for n in outcome.names}, "Mean": macro(outcome, printing)},
    }
    text = layouts.markdown(layouts.grid(columns))
    return report_of("a class without images, zero", text, sizes=sizes_of(outcome), sizes_printed=True)


def with_counts(generator: np.random.Generator) -> Report:
    """Print each accuracy with its counts, such as 95.3% (286/300)."""
    outcome = ordinary(generator)
    rows = []
    for name, k, n in zip(outcome.names, outcome.correct, outcome.sizes, strict=True):
        share_text = mark(f"{100 * k / n:.1f}%", "class", "accuracy", name)
        rows.append(
            f"Accuracy of {name}: {share_text} "
            f"({mark(str(k), 'count', 'accuracy', name)}/{mark(str(n), 'size', 'accuracy', name)})"
        )
    k, n = sum(outcome.correct), outcome.images
    rows.append(f"Overall accuracy: {mark(f'{100 * k / n:.1f}%', 'mean', 'accuracy', 'overall')} ({k}/{n})")
    return report_of("percent with counts", "\n".join(rows) + "\n", sizes=sizes_of(outcome), sizes_printed=True)


def cut_with_counts(generator: np.random.Generator) -> Report:
    """Print percentages truncated to integers, as the PyTorch tutorial does, followed by the counts."""
    outcome = balanced(generator, int(generator.integers(90, 1100)))
    rows = [
        f"Accuracy of {name:>5s} : {mark(str(int(100 * k / n)), 'class', 'accuracy', name, 2)} % ({k}/{n})"
        for name, k, n in zip(outcome.names, outcome.correct, outcome.sizes, strict=True)
    ]
    k, n = sum(outcome.correct), outcome.images
    head = f"Accuracy of the network on the {n} test images: {mark(str(100 * k // n), 'mean', 'accuracy', 'overall')} %"
    return report_of(
        "the tutorial with counts", "\n".join([head, *rows]) + "\n", sizes=sizes_of(outcome), sizes_printed=True
    )


def float32_sum(generator: np.random.Generator) -> Report:
    """Compute class accuracies in float32 and their mean in double precision."""
    outcome = ordinary(generator)
    printing = Printing(compute=float32_item, write=fixed(17), average=sum_over_count)
    text = layouts.lines(generator, values_of(outcome, printing), macro(outcome, printing))
    return report_of("float32 to 17 decimals", text, sizes=sizes_of(outcome))


def marked_utf16(generator: np.random.Generator) -> Report:
    """Write UTF-16 with a byte order mark and Windows line ends."""
    outcome = ordinary(generator)
    printing = PRINTINGS["percent to 2 decimals"]
    text = layouts.lines(generator, values_of(outcome, printing), macro(outcome, printing)).replace("\n", "\r\n")
    return report_of("UTF-16 from Windows", text, sizes=sizes_of(outcome), encoding="utf-16")


HABITS: dict[str, Habit] = {
    **{name: printed_lines(name, printing) for name, printing in PRINTINGS.items()},
    "classes of more than 2,000 images": printed_lines(
        "classes of more than 2,000 images", PRINTINGS["repr of a double"], lambda g: ordinary(g, 9000, 2001)
    ),
    "large classes in float32": printed_lines(
        "large classes in float32", PRINTINGS["torch .item()"], lambda g: ordinary(g, 9000, 2001)
    ),
    "classes of a few images": printed_lines(
        "classes of a few images", PRINTINGS["share to 3 decimals"], lambda g: ordinary(g, 30, 3)
    ),
    "ten classes of 1,000": printed_lines("ten classes of 1,000", PRINTINGS["percent cut by %d"], balanced),
    "all images under overall": weighted_under("all images under overall", layouts.OVERALL_LINES),
    "all images under mean": weighted_under("all images under mean", layouts.ANY_MEAN_LINES),
    "weighted accuracy by name": weighted_under("weighted accuracy by name", ("Weighted accuracy: {value}",)),
    "test accuracy as a mean over batches": over_batches,
    "means over five folds": over_folds,
    "mean and deviation over seeds": over_seeds,
    "mean of the rounded values": mean_of_rounded,
    "a class without images, nan": empty_class,
    "a class without images, zero": empty_class_zero,
    "percent with counts": with_counts,
    "the tutorial with counts": cut_with_counts,
    "float32 to 17 decimals": float32_sum,
    "UTF-16 from Windows": marked_utf16,
}
