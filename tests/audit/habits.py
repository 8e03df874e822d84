"""All habits (ways in which people print results) by name, and random consistent reports in each of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tests.audit import (
    habits_of_accuracy,
    habits_of_guesses,
    habits_of_markup,
    habits_of_neighbours,
    habits_of_programs,
    habits_of_reports,
    habits_of_scores,
    habits_of_tables,
)
from tests.audit.habits_of_accuracy import Habit
from tests.audit.reports import Report

HABITS: dict[str, Habit] = {
    **habits_of_accuracy.HABITS,
    **habits_of_tables.HABITS,
    **habits_of_reports.HABITS,
    **habits_of_scores.HABITS,
    **habits_of_programs.HABITS,
    **habits_of_neighbours.HABITS,
    **habits_of_markup.HABITS,
    **habits_of_guesses.HABITS,
}


def report(habit: str, seed: int) -> Report:
    """Return a consistent report printed in the style named `habit`; equal seeds give equal text."""
    return HABITS[habit](np.random.default_rng([seed, *habit.encode()]))


def reports(count: int, first_seed: int = 0) -> Iterator[Report]:
    """Yield `count` consistent reports, using all printing styles (keys of HABITS) in turn."""
    names = list(HABITS)
    for number in range(count):
        yield report(names[number % len(names)], first_seed + number // len(names))
