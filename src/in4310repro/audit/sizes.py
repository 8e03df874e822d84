"""From sizes that fit to class sizes: those of the whole table where its total tells, and the counts they give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from in4310repro.audit.counts import Accuracies, Explanation, Group, chance_fits, only_choice
from in4310repro.audit.reading import Printed

# Sizes that random digits would be expected to allow, below which a size found is taken as the size.
CHANCE = 0.01


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Class sizes of the tables that share them."""

    tables: tuple[str, ...]
    smallest: Mapping[str, int]
    taken: Mapping[str, int]
    chance: Mapping[str, float]  # sizes of the class that random digits would be expected to allow

    @property
    def identified(self) -> tuple[str, ...]:
        """Classes whose decimals leave chance out of it; a common multiple of a size always fits as well."""
        return tuple(label for label, expected in self.chance.items() if expected <= CHANCE)

    @property
    def complete(self) -> bool:
        """Whether every class is identified."""
        return len(self.identified) == len(self.taken)


@dataclass(frozen=True, kw_only=True)
class Counted:
    """One table in whole images; by class, None where the size is not known or no count gives the number."""

    name: str
    sizes: Mapping[str, int]
    correct: Mapping[str, range | None]  # one count, or all that the decimals allow

    @property
    def images(self) -> int:
        """Images of all classes."""
        return sum(self.sizes.values())

    @property
    def totals(self) -> range | None:
        """Correct images of all classes, from the fewest to the most; None if a class is unknown."""
        counts = [count for count in self.correct.values() if count is not None]
        if len(counts) < len(self.correct):
            return None
        return range(sum(count[0] for count in counts), sum(count[-1] for count in counts) + 1)


def class_sizes(accuracies: Accuracies, explanation: Explanation, bound: int, images: int) -> tuple[Sizes, ...]:
    """For each group of tables the only sizes that fit and sum to `images`, or else the smallest that fit."""
    return tuple(_sizes(accuracies, explanation, group, bound, images) for group in explanation.groups)


def _sizes(accuracies: Accuracies, explanation: Explanation, group: Group, bound: int, images: int) -> Sizes:
    smallest = {label: fits[0] for label, fits in group.fits.items()}
    choice = only_choice(list(group.fits.values()), images)
    explained: dict[str, Sequence[Printed]] = {
        label: [accuracies[name][label] for name in group.tables if explanation.readings[name][label].sizes]
        for label in group.fits
    }
    return Sizes(
        tables=group.tables,
        smallest=smallest,
        taken=dict(zip(group.fits, choice, strict=True)) if choice else smallest,
        chance={label: chance_fits(printed, bound) for label, printed in explained.items()},
    )


def in_whole_images(accuracies: Accuracies, explanation: Explanation, sizes: Sequence[Sizes]) -> Iterator[Counted]:
    """The tables as counts."""
    group_of = {name: group for group in sizes for name in group.tables}
    for name, row in accuracies.items():
        group = group_of[name]
        correct: dict[str, range | None] = dict.fromkeys(row)
        for label in group.identified:
            reading = explanation.readings[name][label]
            correct[label] = reading.counts(row[label], group.taken[label]) or None
        yield Counted(name=name, sizes={label: group.taken[label] for label in row}, correct=correct)
