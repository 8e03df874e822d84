"""Made-up reports computed from integer counts, and the tables of the original report as text."""

import random
from collections.abc import Callable, Sequence
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal

from in4310repro.report.exhibit import original

SUPPORTS = (463, 483, 521, 535, 490, 508)

Printing = Callable[[float], str]


def rounded(decimals: int, how: str = ROUND_HALF_EVEN) -> Callable[[float], str]:
    return lambda share: str(Decimal(share).quantize(Decimal(1).scaleb(-decimals), how))


PRINTINGS: dict[str, Printing] = {
    "repr": repr,
    "12 decimals": lambda share: f"{share:.12f}",
    "12 decimals, half up": rounded(12, ROUND_HALF_UP),
    "12 decimals, truncated": rounded(12, ROUND_DOWN),
    "percent": lambda share: f"{100 * share:.10f} %",
}


def lines_of(name: str, accuracies: Sequence[str], mean: str, precisions: Sequence[str], mean_precision: str) -> str:
    return "\n".join(
        [
            *(f"Accuracy for class {c}: {value}  " for c, value in enumerate(accuracies, start=1)),
            f"Mean accuracy over all classes: {mean}  ",
            "",
            *(f"The average precision score for class {c}: {value}  " for c, value in enumerate(precisions, start=1)),
            f"The average precision score for all classes: {mean_precision}",
            "",
            name,
            "",
        ]
    )


def table(
    name: str, correct: Sequence[int], sizes: Sequence[int], precisions: Sequence[float], printing: Printing = repr
) -> str:
    shares = [k / n for k, n in zip(correct, sizes, strict=True)]
    return lines_of(
        name,
        [printing(share) for share in shares],
        printing(sum(shares) / len(shares)),
        [printing(precision) for precision in precisions],
        printing(sum(precisions) / len(precisions)),
    )


def report(seed: int, printing: Printing = repr) -> tuple[str, list[int], list[list[int]]]:
    """Return a made-up report of four consistent tables, with the class sizes and the counts of correct images."""
    generator = random.Random(seed)
    sizes = [generator.randint(300, 700) for _ in range(6)]
    counts = [[generator.randint(int(0.7 * n), n - 1) for n in sizes] for _ in range(4)]
    precisions = [[generator.uniform(0.8, 1.0) for _ in sizes] for _ in counts]
    tables = [
        table(f"Figure {number}", row, sizes, scores, printing)
        for number, (row, scores) in enumerate(zip(counts, precisions, strict=True), start=1)
    ]
    return "# A report\n\n" + "\n".join(tables), sizes, counts


def with_wrong_digit(text: str, seed: int) -> str:
    """Replace one of the first five decimals of one value by another digit."""
    generator = random.Random(seed)
    lines = text.splitlines()
    place = generator.choice([number for number, line in enumerate(lines) if ": " in line])
    label, value = lines[place].split(": ")
    position = value.index(".") + generator.randint(1, 5)
    digit = generator.choice([digit for digit in "0123456789" if digit != value[position]])
    lines[place] = f"{label}: {value[:position]}{digit}{value[position + 1 :]}"
    return "\n".join(lines)


def original_text() -> str:
    """Return the four tables of the original report, with every digit of its doubles."""
    return "\n".join(
        lines_of(
            f"Figure {number}",
            [repr(value) for value in numbers["class_accuracy"]],
            repr(numbers["mean_class_accuracy"]),
            [repr(value) for value in numbers["average_precision"]],
            repr(numbers["mean_average_precision"]),
        )
        for number, numbers in enumerate(original()["settings"].values(), start=1)
    )
