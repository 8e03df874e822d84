"""Errors that people make when they type or assemble a report, planted one at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tests.audit.reports import NUMBER, Cell, Report, decimals_of, is_percent, number, share_decimals

Plant = Callable[[Report, np.random.Generator], Report | None]


def with_value(report: Report, cell: Cell, text: str) -> Report:
    """Return the report with one value replaced and the positions of later cells updated."""
    shift = len(text) - len(cell.text)
    cells = tuple(
        replace(other, text=text)
        if other is cell
        else replace(other, start=other.start + shift * (other.start > cell.start))
        for other in report.cells
    )
    before, after = report.text[: cell.start], report.text[cell.start + len(cell.text) :]
    return replace(report, text=before + text + after, cells=cells)


def one(generator: np.random.Generator, cells: Sequence[Cell]) -> Cell | None:
    """Draw one of the cells at random; return None if there are none."""
    return cells[int(generator.integers(len(cells)))] if cells else None


def of_classes(report: Report) -> list[Cell]:
    """Return the cells of class values that have a decimal digit."""
    return [cell for cell in report.of_role("class") if share_decimals(cell.text)]


def possible(text: str, like: str) -> bool:
    """Return True if a value is at most 1, or at most 100 if `like` is a percentage."""
    return number(text) <= (100 if is_percent(like) else 1)


def replaced(position: int) -> Plant:
    """Return a function that changes one decimal digit of a class value: the digit `position`, or the last for -1."""

    def plant(report: Report, generator: np.random.Generator) -> Report | None:
        cell = one(generator, [c for c in of_classes(report) if share_decimals(c.text) >= abs(position)])
        if cell is None:
            return None
        places = [place for place, letter in enumerate(cell.text) if letter.isdigit()]
        from_right = 0 if position < 0 else share_decimals(cell.text) - position
        if from_right >= len(places):
            return None
        place = places[-1 - from_right]
        digits = [digit for digit in "0123456789" if digit != cell.text[place]]
        texts = [cell.text[:place] + digit + cell.text[place + 1 :] for digit in digits]
        return with_value(report, cell, str(generator.choice([t for t in texts if possible(t, cell.text)] or texts)))

    return plant


def swapped(report: Report, generator: np.random.Generator) -> Report | None:
    """Swap two different neighbouring digits of a class value."""
    cell = one(generator, of_classes(report))
    if cell is None:
        return None
    places = [
        m.start() for m in re.finditer(r"\d(?=\d)", cell.text) if cell.text[m.start()] != cell.text[m.start() + 1]
    ]
    texts = [cell.text[:p] + cell.text[p + 1] + cell.text[p] + cell.text[p + 2 :] for p in places]
    texts = [text for text in texts if possible(text, cell.text)]
    return with_value(report, cell, str(generator.choice(texts))) if texts else None


def wrong_row(report: Report, generator: np.random.Generator) -> Report | None:
    """Replace the value of one class by a different value from the same column."""
    cell = one(generator, report.of_role("class"))
    others = [c.text for c in report.of_role("class") if cell and c.column == cell.column and c.text != cell.text]
    return with_value(report, cell, str(generator.choice(others))) if cell and others else None


def means_with_parts(report: Report) -> list[tuple[Cell, list[Cell]]]:
    """Return pairs (printed mean, its class values) for each plain mean of three or more class values."""
    found = []
    for mean in report.of_role("mean"):
        parts = [cell for cell in report.of_role("class") if cell.column == mean.column]
        close = 3 * 10.0 ** -min(decimals_of(mean.text), 6)
        if len(parts) >= 3 and abs(np.mean([number(part.text) for part in parts]) - number(mean.text)) <= close:
            found.append((mean, parts))
    return found


def like(value: float, text: str) -> str:
    """Format `value` with the decimals, the decimal sign and the surrounding text of `text`."""
    match = NUMBER.search(text)
    assert match
    written = f"{value:.{decimals_of(text)}f}"
    return text[: match.start()] + (written.replace(".", ",") if "," in match[0] else written) + text[match.end() :]


def class_dropped(report: Report, generator: np.random.Generator) -> Report | None:
    """Replace a mean by the mean of all classes but one."""
    means = means_with_parts(report)
    if not means:
        return None
    mean, parts = means[int(generator.integers(len(means)))]
    values = [number(part.text) for part in parts]
    values.pop(int(generator.integers(len(values))))
    text = like(float(np.mean(values)), mean.text)
    return with_value(report, mean, text) if text != mean.text else None


def other_mean(report: Report, generator: np.random.Generator) -> Report | None:
    """Change a mean by one to five percentage points, as if it were another network's."""
    means = means_with_parts(report)
    if not means:
        return None
    mean, parts = means[int(generator.integers(len(means)))]
    values = [number(part.text) for part in parts]
    span = 100 if max(values) > 1 else 1
    text = like(number(mean.text) + span * float(generator.choice([-1, 1]) * generator.uniform(0.01, 0.05)), mean.text)
    return with_value(report, mean, text) if text != mean.text and possible(text, mean.text) else None


def other_count(report: Report, generator: np.random.Generator) -> Report | None:
    """Replace a number of correct images by one that disagrees with the printed percentage."""
    cell = one(generator, report.of_role("count"))
    if cell is None:
        return None
    sizes = {c.row: int(number(c.text)) for c in report.of_role("size")}
    size, count = sizes[cell.row], int(cell.text)
    step = max(1, size // 50)
    changed = count - step if count >= step else count + step
    return with_value(report, cell, str(changed))


def other_cell(report: Report, generator: np.random.Generator) -> Report | None:
    """Replace one digit of a confusion matrix's cell, for example 141 by 147."""
    cell = one(generator, report.of_role("cell"))
    if cell is None:
        return None
    place = int(generator.integers(len(cell.text)))
    digit = str(generator.choice([digit for digit in "0123456789" if digit != cell.text[place]]))
    text = cell.text[:place] + digit + cell.text[place + 1 :]
    return with_value(report, cell, text) if int(text) != int(cell.text) and len(str(int(text))) == len(text) else None


def other_line(report: Report, generator: np.random.Generator) -> Report | None:
    """Change an overall value, which is printed next to a report or matrix, by one to ten percentage points."""
    cell = one(generator, report.of_role("beside"))
    if cell is None:
        return None
    span = 100 if is_percent(cell.text) else 1
    step = span * float(generator.choice([-1, 1]) * generator.uniform(0.01, 0.1))
    text = like(number(cell.text) + step, cell.text)
    return with_value(report, cell, text) if text != cell.text and possible(text, cell.text) else None


def scores_of_rows(report: Report) -> dict[str, dict[str, Cell]]:
    """Return a dict from class to its cells of precision, recall, F1 and support, for classes with all four."""
    rows: dict[str, dict[str, Cell]] = {}
    for cell in [*report.of_role("class"), *report.of_role("size")]:
        rows.setdefault(cell.row, {})[cell.column.lower().removesuffix("-score")] = cell
    names = ("precision", "recall", "f1", "support")
    complete = {row: cells for row, cells in rows.items() if set(names) <= set(cells)}
    return {row: cells for row, cells in complete.items() if cells["support"].text.strip("0").isdigit()}


def with_row(report: Report, row: str, right: float, predicted: float) -> Report:
    """Return the report with one class's scores recomputed from its numbers of correct and predicted images."""
    size = int(scores_of_rows(report)[row]["support"].text)
    values = {"precision": right / predicted, "recall": right / size, "f1": 2 * right / (size + predicted)}
    for column, value in values.items():
        cell = scores_of_rows(report)[row][column]
        report = with_value(report, cell, like(value, cell.text))
    return report


def too_many_predictions(report: Report, generator: np.random.Generator) -> Report | None:
    """Lower a class's precision and F1 as if its false positives outnumbered the images of all other classes."""
    rows = scores_of_rows(report)
    row = str(generator.choice(list(rows))) if rows else None
    if row is None:
        return None
    sizes = {name: int(cells["support"].text) for name, cells in rows.items()}
    right = round(number(rows[row]["recall"].text) * sizes[row])
    others = sum(sizes.values()) - sizes[row]
    wrong = with_row(report, row, right, right + others * generator.uniform(1.1, 1.5)) if right and others else None
    return wrong if wrong and number(scores_of_rows(wrong)[row]["precision"].text) > 0 else None


def two_models(report: Report, generator: np.random.Generator) -> Report | None:
    """Replace some classes' scores by those of another network, without updating the averages."""
    rows = scores_of_rows(report)
    if len(rows) < 3:
        return None
    wrong = report
    for row in generator.permutation(list(rows))[: int(generator.integers(1, len(rows)))].tolist():
        size = int(rows[row]["support"].text)
        right = int(np.clip(round(size * generator.uniform(0.5, 1.0)), 1, size))
        wrong = with_row(wrong, row, right, right + int(generator.integers(0, max(1, size // 3))))
    return wrong if wrong.text != report.text else None


KINDS: dict[str, Plant] = {
    "first decimal replaced": replaced(1),
    "second decimal replaced": replaced(2),
    "third decimal replaced": replaced(3),
    "last decimal replaced": replaced(-1),
    "two digits swapped": swapped,
    "value copied to the wrong row": wrong_row,
    "wrong class dropped from a mean": class_dropped,
    "mean of other numbers": other_mean,
    "count and percentage disagree": other_count,
    "a cell of the confusion matrix": other_cell,
    "a line beside a report or matrix": other_line,
    "precision beyond the other images": too_many_predictions,
    "rows of another network": two_models,
}
