"""A check of `verify`: what it compares, what it finds, and which statements of a run it computes again or leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from in4310repro.data.comparison import DIGITS, PHOTOGRAPHS
from in4310repro.runs.finished import FinishedRun
from in4310repro.settings import FROM
from in4310repro.verification.evidence import Evidence, SettingEvidence

REPLAY = "shown by verify --replay, for the epochs of the selected setting that it trains again"
NOT_SHOWN = "shown by nothing in a run"
ELSEWHERE = "shown by verify where the files are available"
IN_CLASS = "shown by verify in arithmetic of the run's numeric class"
SHOWN_BY = (REPLAY, NOT_SHOWN, ELSEWHERE, IN_CLASS)  # in the order of the lines


@dataclass(frozen=True)
class Note:
    """Something that is no difference and that a reader of the run should know."""

    sentence: str


@dataclass(frozen=True)
class Claim:
    """Something that a run says and that a verification does not compute again, and what would show it."""

    what: str
    shown_by: str


Finding = str | Note | Claim  # a sentence is a difference


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What decides which statements of a run are computed again."""

    run: FinishedRun
    start: bool  # the weights that training began from are drawn or available
    bitwise: bool = True  # equal bits are required
    fits_repeat: bool = False  # every fit of a head, made again, has the bits of the run's
    open_precisions: bool = False  # close scores leave average precisions open
    feature_tier: str = ""  # how far feature maps may differ, as words after them
    absent: tuple[str, ...] = ()  # image sets of the feature maps that are unavailable

    @classmethod
    def expected(cls, run: FinishedRun) -> Circumstances:
        """Return those of a run before its verification: what no library ships is unavailable."""
        sets = run.features["sets"][1:] if run.features is not None else []
        absent = tuple(images["name"] for images in sets if images["name"] not in (PHOTOGRAPHS, DIGITS))
        return cls(run=run, start=run.config.weights == "none", absent=absent)

    @property
    def weights(self) -> str:
        """The weights that training began from, in words."""
        named = {"none": "the seed", "imagenet": "the ImageNet weights"}
        return named.get(self.run.config.weights, "the weights of a file")

    @property
    def fitted(self) -> list[bool]:
        """Whether each setting is a head that was fitted."""
        return [self.run.config.training.fits_head(setting) for setting in self.run.config.settings]

    @property
    def from_a_layer(self) -> bool:
        """Whether a setting trains from a layer on."""
        config = self.run.config
        return any(config.training.trained_part(setting).startswith(FROM) for setting in config.settings)


@dataclass(frozen=True)
class Statement:
    """Something that a run says.

    Attributes:
        what: in words that hold for every run.
        of_run: gives the words for a run, none where they do not apply; None: `what`.
    """

    what: str
    of_run: Callable[[Circumstances], Iterable[str]] | None = None

    def words(self, circumstances: Circumstances) -> list[str]:
        """Return the words for a run."""
        return [self.what] if self.of_run is None else list(self.of_run(circumstances))


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check.

    Attributes:
        name: of the check.
        files: whose content it compares, in Markdown.
        compared_with: with what, in Markdown.
        find: yields a sentence for each difference, and notes and claims.
        computes: what a run says that is computed again where nothing differs.
        leaves: what it says of the same files that is not, by what would show it.
        needed: where it finds a difference, the checks after it are not made.
    """

    name: str
    files: str
    compared_with: str
    find: Callable[[Evidence], Iterable[Finding]]
    computes: tuple[Statement, ...] = ()
    leaves: tuple[tuple[str, Statement], ...] = ()
    needed: bool = False


def of_each_setting(
    find: Callable[[SettingEvidence], Iterable[Finding]],
) -> Callable[[Evidence], Iterator[Finding]]:
    """Return a check of the evidence that makes a check of each setting, the selected one first."""

    def find_all(evidence: Evidence) -> Iterator[Finding]:
        for setting in evidence.settings:
            yield from _guarded(find, setting)

    return find_all


def of_selected(find: Callable[[SettingEvidence], Iterable[Finding]]) -> Callable[[Evidence], Iterator[Finding]]:
    """Return a check of the evidence that makes a check of the selected setting."""
    return lambda evidence: _guarded(find, evidence.selected)


def _guarded(find: Callable[[SettingEvidence], Iterable[Finding]], setting: SettingEvidence) -> Iterator[Finding]:
    """Yield what a check of a setting finds; a setting that cannot be computed again is a difference, once."""
    if setting.failed:
        return
    try:
        yield from find(setting)
    except (ValueError, OSError) as error:
        setting.failed = True
        yield f"setting {setting.name} cannot be computed again: {error}"
