"""Types for the checks of `verify`: a check, its findings, and the statements of a run that it recomputes."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

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
Find = Callable[[Evidence], Iterable[Finding]]


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
    def expected(cls, run: FinishedRun) -> Self:
        """Return the circumstances to expect for a verification in which bits must be equal.

        Files of initial weights count as unavailable. Of the additional image sets of the feature maps, only
        those that Python libraries provide count as available.
        """
        sets = [images["name"] for images in run.features["sets"][1:]] if run.features else []
        absent, start = tuple(name for name in sets if name not in (PHOTOGRAPHS, DIGITS)), run.config.weights == "none"
        return cls(run=run, start=start, absent=absent, bodies_compared=start or draws_head(run))


def draws_head(run: FinishedRun) -> bool:
    """Return whether a run's initial head was drawn from the seed for certain, even if the weights are unavailable."""
    weights = run.config.weights
    return weights == "none" or (weights == "imagenet" and len(run.classes) < IMAGENET_CLASSES)


@dataclass(frozen=True)
class Check:
    """A check of `verify`: its function, and the statements that it can and cannot confirm.

    Attributes:
        compares: the files whose content it compares, and what with, as two cells of a table in Markdown.
        find: yields a message for each difference, and notes and claims.
        computed: statements that are confirmed if nothing differs, in words that fit every run.
        claims: those in the same files that it does not recompute, and what would confirm them.
        needed: whether a difference found here ends the verification.
    """

    compares: str
    find: Find
    computed: Sequence[str] = ()
    claims: Mapping[str, str] = field(default_factory=dict)
    needed: bool = False


def of_each_setting(find: Callable[[SettingEvidence], Iterable[Finding]], selected: bool = False) -> Find:
    """Return a check that applies `find` to each training setting of a run, the selected one first; or to it alone.

    If `find` raises an error, the check yields one message and marks the setting as failed; later checks skip it.
    """

    def find_all(evidence: Evidence) -> Iterator[Finding]:
        for setting in evidence.settings[: 1 if selected else None]:
            try:
                yield from () if setting.failed else find(setting)
            except (ValueError, OSError) as error:
                setting.failed = True
                yield f"setting {setting.name} cannot be computed again: {error}"

    return find_all
