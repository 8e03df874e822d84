"""Search for image counts of all classes that give all scores and the accuracy at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor

import numpy as np

from in4310repro.audit.averages import BATCH, WEIGHTED, Summary, belongs_to_report, list_readings, nearest_batch_mean
from in4310repro.audit.claims import FORMATS, Claim, describe_sizes, find_conditions
from in4310repro.audit.document import SCORES, Average, Measure
from in4310repro.audit.intervals import Cell, Interval, Rounding
from in4310repro.audit.scores import READ, find_predictions
from in4310repro.audit.sheets import Sheet, half_error, interval_of

# Most additions of a search; a problem that needs more stays undecided.
STEPS = 30_000_000
UNPRINTED = "images are predicted as a class that is not printed"
READ_JOINTLY = f"{READ}, one prediction an image"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Possible counts of one class, as tuples (correct images, fewest predictions, most predictions)."""

    size: int
    choices: tuple[tuple[int, int, int], ...]

    def within(self, errors: int) -> Choices:
        """Return only those possible counts of the class that mean at most `errors` errors.

        The errors are the images of the class that were missed and the images wrongly predicted as the class.
        """
        kept = ((k, low, min(high, errors - self.size + 2 * k)) for k, low, high in self.choices)
        return replace(self, choices=tuple(each for each in kept if each[1] <= each[2]))


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A table with all class sizes and at least two of precision, recall and F1 for each class."""

    sheet: Sheet
    rows: Mapping[str, Mapping[Measure, Cell]]

    @property
    def images(self) -> int:
        """Number of images, summed over all classes."""
        return sum(self.sheet.sizes.values())

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Precision, recall and F1 of all classes as one sequence."""
        return tuple(cell for row in self.rows.values() for cell in row.values())

    def classes(self, way: Rounding) -> list[Choices] | None:
        """Return the possible image counts of each class, if its scores were rounded as `way` says.

        Return None if a class has no possible counts, or too many to try.
        """
        found = []
        for name, row in self.rows.items():
            size = self.sheet.sizes[name]
            told = find_predictions(row, size, way, others=self.images - size)
            if told is None or not told.predicted:
                return None
            choices = tuple((k, ps[0], ps[-1]) for k, ps in told.predicted.items())
            found.append(Choices(size=size, choices=choices))
        return found


def check_joint_counts(sheet: Sheet) -> Iterator[Claim]:
    """Yield a claim for each contradiction between all class scores, the number of images and the accuracies."""
    problem = make_problem(sheet)
    if problem is None:
        return
    other = _claim_predictions(problem)
    if other:
        yield other
    for cell in sheet.summaries:
        if cell.value.measure is Measure.ACCURACY and cell.value.average is Average.OVERALL and not cell.value.spread:
            claim = _claim_accuracy(problem, cell, adding_up=other is None)
            if claim:
                yield claim


def make_problem(sheet: Sheet) -> Problem | None:
    """Return the class sizes and class scores as a Problem, the input of the joint check.

    Return None if the check cannot be made. Each class must have a known size and two or more of precision,
    recall and F1.
    """
    rows: dict[str, dict[Measure, Cell]] = {}
    for measure in SCORES:
        for name, cell in sheet.classes.get(measure, {}).items():
            rows.setdefault(name, {})[measure] = cell
    known = set(rows) == set(sheet.sizes) and len(rows) >= 2 and all(len(row) >= 2 for row in rows.values())
    if not known or not sheet.table.whole_images or sheet.averaged or not all(sheet.sizes.values()):
        return None
    problem = Problem(sheet=sheet, rows=rows)
    return None if half_error(problem.cells) else problem


def _claim_predictions(problem: Problem) -> Claim | None:
    """Return a claim if the class scores need more or fewer predictions than there are images; else None."""
    images = problem.images

    def sums(way: Rounding) -> tuple[int, int] | None:
        classes = problem.classes(way)
        if classes is None:
            return None
        return (
            sum(min(low for _, low, _ in each.choices) for each in classes),
            sum(max(high for _, _, high in each.choices) for each in classes),
        )

    def fits(way: Rounding, _: Rounding) -> bool:
        found = sums(way)
        return found is None or found[0] <= images <= found[1]

    conditions, found = find_conditions(fits, problem.cells), sums(Rounding.ROUNDED)
    if conditions is None or found is None:
        return None
    return Claim(
        kind="predictions",
        message=f"the scores of the {len(problem.rows)} classes need {found[0]} to {found[1]} predictions in all; "
        f"there are {images} images",
        cells=problem.cells,
        conditions=(*conditions, *problem.sheet.several, *other_classes_condition(problem.sheet, found[1] < images)),
        inputs=describe_sizes(problem.sheet, problem.rows),
        readings=(READ_JOINTLY,),
        excluded=("every number of right and of predicted images of each class", FORMATS),
        needs_all=True,
        needs_counts=True,
    )


def other_classes_condition(sheet: Sheet, fewer: bool) -> Iterator[str]:
    """Yield the condition that some images are predicted as classes that the table does not list.

    The condition is yielded only if `fewer` is True, which means that the listed classes have, or may have,
    fewer predictions than there are images. Nothing is yielded for a full classification report, since it
    lists every class.
    """
    if fewer and not any(belongs_to_report(cell, sheet) for cell in sheet.summaries):
        yield UNPRINTED


def _claim_accuracy(problem: Problem, cell: Cell, *, adding_up: bool) -> Claim | None:
    sheet, images = problem.sheet, problem.images
    summary = Summary(cell=cell, measure=Measure.RECALL, parts=sheet.classes.get(Measure.RECALL, {}))
    readings = list(list_readings(summary, sheet)) if summary.parts else []
    by_recalls = [reading for reading in readings if reading.name == WEIGHTED]
    others = [reading for reading in readings if reading.name != WEIGHTED and not reading.condition]

    def fits(way: Rounding, _: Rounding) -> bool:
        printed = interval_of(cell, way)
        # Other checks use recalls alone or another average.
        if not all(each.means[way].meets(printed) for each in by_recalls) or any(
            each.means[way].meets(printed) for each in others
        ):
            return True
        return _is_possible(problem, way, printed, adding_up=adding_up)

    conditions = find_conditions(fits, problem.cells, cell)
    if conditions is None:
        return None
    ends = [Fraction(end, images) for end in _sum_right(problem.classes(Rounding.ROUNDED) or [])]
    printed, share = interval_of(cell, Rounding.ROUNDED), Interval(low=ends[0], high=ends[1])
    if (
        sheet.is_in_batches(cell)
        and not belongs_to_report(cell, sheet)
        and nearest_batch_mean(share, images, printed).meets(printed)
    ):
        conditions += (f"the value is a mean over batches of up to {BATCH} images",)
    return Claim(
        kind="accuracy of scores",
        message=_message(problem, cell, adding_up),
        cells=(cell, *problem.cells),
        conditions=(*conditions, *sheet.several, *other_classes_condition(sheet, True)),
        inputs=describe_sizes(sheet, problem.rows),
        readings=(READ_JOINTLY,),
        excluded=("every number of right and of predicted images of each class", FORMATS),
        needs_all=True,
        needs_counts=True,
    )


def _message(problem: Problem, cell: Cell, adding_up: bool) -> str:
    classes, images, printed = problem.classes(Rounding.ROUNDED) or [], problem.images, cell.value.printed.text
    low, high = map(int, _sum_right(classes))
    shown = f"{low} to {high}" if low < high else str(low)
    text = (
        f"precision, recall and F1 of all classes allow {shown} of {images} images right, "
        f"{low / images:.4f} to {high / images:.4f}; accuracy is printed as {printed}"
    )
    interval = interval_of(cell, Rounding.ROUNDED)
    if not adding_up or not Interval(low=Fraction(low, images), high=Fraction(high, images)).meets(interval):
        return text
    errors = images - max(low, ceil(interval.low * images))
    for name, each in zip(problem.rows, classes, strict=True):
        if not each.within(errors).choices:
            needed = min(fewest + each.size - 2 * k for k, fewest, _ in each.choices)
            return (
                f"the scores of {name} need at least {needed} missed images and wrong predictions of it; accuracy "
                f"{printed} of {images} images leaves {errors} errors in all"
            )
    return f"{text}, and with that the predictions of all classes cannot add up to {images}"


def _sum_right(classes: Sequence[Choices]) -> tuple[int, int]:
    """Return the smallest and the largest possible number of correctly classified images of all classes together."""
    ends = [[k for k, _, _ in each.choices] for each in classes]
    return sum(map(min, ends)), sum(map(max, ends))


def _is_possible(problem: Problem, way: Rounding, accuracy: Interval, *, adding_up: bool) -> bool:
    """Return whether the class scores allow an accuracy in the interval `accuracy`.

    If `adding_up` is True, the numbers of predictions must also add up to the number of images. If there are
    too many possible counts to try all of them, an impossible accuracy may be taken as possible. The result
    is also True if no count of images gives an accuracy in the interval, as a different check reports this.
    """
    classes, images = problem.classes(way), problem.images
    if classes is None:
        return True
    least, most = max(0, ceil(accuracy.low * images)), min(images, floor(accuracy.high * images))
    if least > most:
        # No count of these images is printed so, which another check reports.
        return True
    fewest, greatest = _sum_right(classes)
    if greatest < least or fewest > most:
        return False
    if not adding_up:
        return True
    classes = [each.within(images - max(least, fewest)) for each in classes]
    if not all(each.choices for each in classes):
        return False
    fewest, greatest = _sum_right(classes)
    width = greatest - fewest + 1
    if sum(len(each.choices) for each in classes) * width > STEPS:
        return greatest >= least and fewest <= most
    low, high = _reach_predictions(classes, width)
    totals = np.arange(width) + fewest
    return bool(np.any((totals >= least) & (totals <= most) & (low <= images) & (high >= images)))


def _reach_predictions(classes: Sequence[Choices], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two arrays: the fewest and the most predictions that all classes together can have.

    Index 0 of each array is for the smallest possible number of correctly classified images, index 1 for one
    image more, and so on. `width` is the length of the arrays.
    """
    never = 2**60
    low, high = np.full(width, never, dtype=np.int64), np.full(width, -never, dtype=np.int64)
    low[0] = high[0] = 0
    for each in classes:
        first = min(k for k, _, _ in each.choices)
        lower, higher = np.full_like(low, never), np.full_like(high, -never)
        for k, fewest, most in each.choices:
            shift = k - first
            np.minimum(lower[shift:], low[: width - shift] + fewest, out=lower[shift:])
            np.maximum(higher[shift:], high[: width - shift] + most, out=higher[shift:])
        low, high = lower, higher
    return low, high
