"""Types for the checks of `verify`: a check, its findings, and the statements of a run that it recomputes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from in4310repro.data.comparison import DIGITS, PHOTOGRAPHS
from in4310repro.runs.finished import FinishedRun
from in4310repro.verification.evidence import Evidence, SettingEvidence

IMAGENET_CLASSES = 1000  # the fewest of published ImageNet weights; their head fits no run with fewer
REPLAY = "shown by verify --replay, for the epochs that it trains again, of the selected setting or those of --setting"
NOT_SHOWN = "shown by nothing in a run"
ELSEWHERE = "shown by verify where the files are available"
IN_CLASS = "shown by verify in arithmetic of the run's numeric class"
SHOWN_BY = (REPLAY, NOT_SHOWN, ELSEWHERE, IN_CLASS)  # in the order of the lines


@dataclass(frozen=True)
class Note:
    """A remark, not a difference, in the result of a verification."""

    sentence: str


@dataclass(frozen=True)
class Claim:
    """A statement of a run that the verification did not recompute, and what would confirm it."""

    what: str
    shown_by: str


Finding = str | Note | Claim  # a sentence is a difference


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """The facts that decide which statements of a run are recomputed."""

    run: FinishedRun
    start: bool  # the weights that training began from are drawn or available
    bitwise: bool = True  # equal bits are required
    fits_repeat: bool = False  # every fit of a head, made again, has the bits of the run's
    found: tuple[Claim, ...] = ()  # by the checks themselves, such as average precisions that close scores leave open
    replayed: Mapping[str, Collection[int]] = field(default_factory=dict)  # setting -> epochs trained again, equal
    feature_tier: str = ""  # how far feature maps may differ, as words after them
    absent: tuple[str, ...] = ()  # image sets of the feature maps that are unavailable
    bodies_compared: bool = True  # what precedes a fitted head was compared with the weights before training

    @classmethod
    def expected(cls, run: FinishedRun) -> Circumstances:
        """Return the circumstances to expect for a verification in which bits must be equal.

        Files of initial weights count as unavailable. Of the additional image sets of the feature maps, only
        those that Python libraries provide count as available.
        """
        sets = run.features["sets"][1:] if run.features is not None else []
        absent = tuple(images["name"] for images in sets if images["name"] not in (PHOTOGRAPHS, DIGITS))
        start = run.config.weights == "none"
        return cls(run=run, start=start, absent=absent, bodies_compared=start or draws_head(run))

    @property
    def weights(self) -> str:
        """Origin of the initial weights as a phrase, such as "the seed"."""
        named = {"none": "the seed", "imagenet": "the ImageNet weights"}
        return named.get(self.run.config.weights, "the weights of a file")

    @property
    def fitted(self) -> list[bool]:
        """One bool per training setting: True if its last layer was fitted, False if it was trained by epochs."""
        return [self.run.config.fits_head(setting) for setting in self.run.config.settings]


def draws_head(run: FinishedRun) -> bool:
    """Return whether a run's initial head was drawn from the seed for certain, even if the weights are unavailable."""
    weights = run.config.weights
    return weights == "none" or (weights == "imagenet" and len(run.classes) < IMAGENET_CLASSES)


@dataclass(frozen=True)
class Statement:
    """A statement made by a run's files, with a general wording and an optional wording for a particular run.

    Attributes:
        what: the statement in words that fit every run.
        of_run: returns the words for a particular run, none if the statement does not apply; or whether it applies,
            if the words are `what`.
        shown_by: what would confirm it, if the check does not.
    """

    what: str
    of_run: Callable[[Circumstances], bool | Iterable[str]] = lambda _: True
    shown_by: str = ""

    def words(self, circumstances: Circumstances) -> list[str]:
        """Return the wording of the statement for a run; an empty list if the statement does not apply to the run."""
        found = self.of_run(circumstances)
        return [self.what] * found if isinstance(found, bool) else [*found]


@dataclass(frozen=True)
class Check:
    """A check of `verify`: its name and function, and the statements that it can and cannot confirm.

    Attributes:
        name: name of the check.
        files: the files whose content it compares, in Markdown.
        compared_with: what the content is compared with, in Markdown.
        find: yields a message for each difference, and notes and claims.
        statements: those that are confirmed if nothing differs, and those in the same files that it does not recompute.
        needed: whether a difference found here ends the verification.
    """

    name: str
    files: str
    compared_with: str
    find: Callable[[Evidence], Iterable[Finding]]
    statements: Sequence[Statement] = ()
    needed: bool = False


def of_each_setting(find: Callable[[SettingEvidence], Iterable[Finding]]) -> Callable[[Evidence], Iterator[Finding]]:
    """Return a check that applies `find` to each training setting of a run, the selected one first."""
    return lambda evidence: chain.from_iterable(_guarded(find, setting) for setting in evidence.settings)


def of_selected(find: Callable[[SettingEvidence], Iterable[Finding]]) -> Callable[[Evidence], Iterator[Finding]]:
    """Return a check that applies `find` to the selected training setting of a run."""
    return lambda evidence: _guarded(find, evidence.selected)


def _guarded(find: Callable[[SettingEvidence], Iterable[Finding]], setting: SettingEvidence) -> Iterator[Finding]:
    """Yield the findings of `find`, unless an earlier check of the setting has failed.

    If `find` raises an error, yield one message and mark the setting as failed, so that later checks skip it.
    """
    if setting.failed:
        return
    try:
        yield from find(setting)
    except (ValueError, OSError) as error:
        setting.failed = True
        yield f"setting {setting.name} cannot be computed again: {error}"
