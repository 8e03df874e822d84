"""Explanations: effects of changes on a training, mistakes that they show, and settings that decide its rounding."""

from dataclasses import dataclass
from typing import Any

from in4310repro.trace.changes import BATCH, Change
from in4310repro.trace.comparison import Comparison
from in4310repro.trace.gaps import shorten
from in4310repro.trace.records import FORWARD

NOTES = 3  # lines of the user's code in a sentence


@dataclass(frozen=True)
class Effect:
    """The effect of a change on a training."""

    change: Change
    comparison: Comparison | None = None  # None: it could not be tried
    reason: str = ""  # why it could not
    notes: tuple[str, ...] = ()  # lines of the training's code that read what was changed
    module: str = ""  # class and mode of the module of the first difference

    @property
    def moved(self) -> bool:
        """True if the change to the training altered any bit of the traced tensors.

        If the change is to halve the batch, only differences in the forward pass count.
        """
        found = self.comparison.difference if self.comparison else None
        return found is not None and (self.change.name != BATCH or found.phase == FORWARD)

    def describe(self) -> str:
        """Return a phrase on what the change altered.

        The phrase names the first differing tensor. If there is none, it says that nothing differs, or why the change
        was not tried.
        """
        if not self.comparison:
            return f"not tried: {self.reason}"
        if not self.moved or not self.comparison.difference:
            return "moves nothing"
        found = self.comparison.difference
        return f"moves first {found.name}{self.module}, step {found.step}, {found.phase}"

    def to_json(self) -> dict[str, Any]:
        """Return the effect as JSON values."""
        found = self.comparison.to_json() if self.comparison else None
        change = self.change
        names = {"change": change.name, "meaning": change.meaning, "numerical": change.numerical, "moved": self.moved}
        return {**names, "text": self.describe(), "notes": list(self.notes), "comparison": found}


@dataclass(frozen=True)
class Finding:
    """A mistake in a training: its bits depend on something that should not matter, such as the clock."""

    name: str  # of the change or of the fix
    cause: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        places = f" ({shorten(self.notes, NOTES)})" if self.notes else ""
        return f"{self.name}: {self.cause}{places}"


@dataclass(frozen=True)
class Explanation:
    """Result of `explain`: mistakes found in a training, and changes that alter how it rounds."""

    command: str
    repeats: bool
    plain: Comparison  # of two plain runs
    held: tuple[str, ...]  # of a training that does not repeat: what was held fixed in the runs of the effects
    findings: tuple[Finding, ...]
    effects: tuple[Effect, ...]
    together: tuple[str, ...]  # sentences: settings with which threads and vector instructions move no bit

    @property
    def causes(self) -> list[str]:
        """Descriptions of the mistakes found, one text for each."""
        return [str(each) for each in self.findings]

    def lines(self) -> list[str]:
        """Return the explanation as lines of text."""
        lines = [f"{self.command}: {self._repeats()}"]
        if self.held:
            lines.append(f"held fixed in all runs below, with which it repeats: {', '.join(self.held)}")
        width = max((len(each.change.name) for each in self.effects), default=0)
        lines += [f"{each.change.name:{width}}  {each.describe()}" for each in self.effects]
        lines += [f"cause: {each}" for each in self.causes] or ["cause: none found"]
        rounding = [each.change.name for each in self.effects if each.moved and each.change.numerical]
        if rounding:
            lines.append(
                f"rounding, which moves most trainings: {', '.join(rounding)}; equal bits need the same of each"
            )
        return [*lines, *self.together]

    def _repeats(self) -> str:
        if self.repeats:
            return "plain runs are equal to the bit"
        found = self.plain.difference
        return (
            f"two plain runs differ first in {found.name}, step {found.step}, {found.phase}"
            if found
            else "some runs differ"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the explanation as JSON values."""
        return {
            "command": self.command,
            "repeats": self.repeats,
            "plain": self.plain.to_json(),
            "held": list(self.held),
            "causes": self.causes,
            "effects": [each.to_json() for each in self.effects],
            "together": list(self.together),
        }
