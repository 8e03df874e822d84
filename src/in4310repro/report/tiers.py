"""The tier and tolerance of each number of a report, the command that checks it, and a link to its full value.

A "tier" says how exactly a number is reproduced: always, to the bit on equal hardware and libraries (the same
"numeric class"), or within a tolerance.
"""

import json
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from markupsafe import Markup, escape

from in4310repro.report.exhibit import Cell, Exhibit, Number, Sentence
from in4310repro.report.feature_exhibits import activation_exhibit, measured
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.selection import unit
from in4310repro.system.text import visible
from in4310repro.verification import heads
from in4310repro.verification.features import NEXT_BIN, SHARE_TOLERANCE, SPECTRUM_TOLERANCE
from in4310repro.verification.records import LOGIT_TOLERANCE, LOSS_TOLERANCE

VERIFY, REPLAY = "verify", "verify --replay, for the epochs that it trains again"
AT_HAND = "verify, where images and first weights are available"
# Texts that a browser would otherwise break after a hyphen or before a unit.
UNBROKEN = re.compile(r"(?<![\w-])--?[a-zA-Z][\w-]*|\d[\d.,]* %|\d[\d.]*e-\d+")


class Tier(NamedTuple):
    """Row of the table on reproducibility: a group of numbers, their figures, and how exactly a rerun gives them."""

    numbers: str
    places: str
    name: str
    tolerance: str
    compared_by: str


def tiers(run: FinishedRun) -> dict[str, Tier]:
    """Return the required exactness (tier) of each group of numbers in a report, by group name such as "test".

    Portable arithmetic (a fixed order of float operations) gives the same results everywhere. Native arithmetic
    gives equal bits within a numeric class (the same hardware, libraries and threads); elsewhere the results are
    equal within a tolerance.
    """
    portable = run.fingerprint["numerics"] == "portable"

    def bits(elsewhere: str) -> str:
        return "0" if portable else f"0 in numeric class {run.fingerprint['numeric_class']}; elsewhere {elsewhere}"

    every = {
        "exact": Tier("counts of images", "figure01 to figure04 /images, figure12 /confusion_matrix, figure14 /bins",
                      "exact", "0" if portable else "0 where no prediction changes", VERIFY),
        "test": Tier("test metrics, and what follows from the test scores: intervals, ranking, curves, calibration",
                     "figure04, figure07, figure12, figure13, figure14", "bitwise",
                     bits(f"logits {LOGIT_TOLERANCE:g} of their size"), VERIFY),
        "validation": Tier("validation metrics and loss of each setting's best epoch, intervals of these",
                           "figure01 to figure03; figure05 and figure06 at that epoch, figure06 /accuracy", "bitwise",
                           bits(f"losses {LOSS_TOLERANCE:g} of their size"), VERIFY),
        **_unselected_tiers(run),
        "shares": Tier("shares of values that are not positive", "figure08 /ours", "bitwise",
                       bits(f"{SHARE_TOLERANCE:g}"), AT_HAND),
        "activations": Tier("quantiles of values, and channels that are never positive", "figure15", "bitwise",
                            bits(f"quantiles {NEXT_BIN:g} of their size, channels not compared"), AT_HAND),
        "numerical": Tier("eigenvalues, whose last bits are LAPACK's", "figure09 to figure11 /eigenvalues", "numerical",
                          f"{SPECTRUM_TOLERANCE[measured(run)['precision']]:g} of the largest", AT_HAND),
        "printed": Tier("the original's", "figure01 to figure04 and figure08 /original", "as printed", "not compared",
                        "its report, by reading"),
    }  # fmt: skip
    return every if activation_exhibit(run) else {name: tier for name, tier in every.items() if name != "activations"}


def _unselected_tiers(run: FinishedRun) -> dict[str, Tier]:
    """Return the required exactness (tier) of some results of training, by name.

    These are losses, and validation metrics of the epochs and of the fits of the last layer that were not
    selected.
    """
    units, fitted = (
        {unit(rows) for rows in run.histories.values()},
        unit(run.histories[run.metrics["setting"]]) == "fit",
    )
    test = run.config.protocol.scores_test_each_epoch
    what = f"training losses; validation metrics and losses of other epochs{'; test losses of them' * test}"
    where = f"figure05 /train_loss; figure05 /val_loss{', /test_loss' * test} and figure06 at other epochs"
    if fitted:
        what, where = "validation metrics of other epochs", "figure06 at other epochs"
    losses = Tier("losses of every fit of the head", "figure05", "numerical",
                  f"{heads.LOSS_TOLERANCE:g} of their size", VERIFY)  # fmt: skip
    by_unit = {
        "fit": Tier("validation metrics of other fits", "figure06 at other fits", "numerical",
                    f"what scores within {heads.SOFTMAX_TOLERANCE:g} leave open", VERIFY),
        "epoch": Tier(what, where, "claimed", "not compared", REPLAY),
    }  # fmt: skip
    return ({"losses": losses} if fitted else {}) | {name: tier for name, tier in by_unit.items() if name in units}


def make_tier_lookup(run: FinishedRun, all_exhibits: Iterable[Exhibit]) -> Callable[[Number], Tier]:
    """Return a function that returns the required exactness (tier) of any number in the run's report."""
    known, of_files = tiers(run), {each.source.file: each.tier for each in all_exhibits}
    known.setdefault("losses", known.get("epoch", known["validation"]))

    def tier(number: Number) -> Tier:
        of_file, first = of_files.get(number.file, "test"), number.keys[0]
        if callable(of_file):
            return known[of_file(number.keys)]
        if number.keys[-1] in ("images", "correct", "of") or first in ("images", "confusion_matrix"):
            return known["exact"]
        return known["printed" if first == "original" else of_file]

    return tier


class Place(NamedTuple):
    """Entry of a page's list of numbers: anchor, JSON pointer, full value and required exactness (tier)."""

    anchor: str
    pointer: str
    value: str  # as JSON
    tier: Tier


class Places:
    """Entries of a page's list of numbers, in order of first appearance; a repeated number has one entry.

    Args:
        tier_for: returns the tier of a number.
    """

    def __init__(self, tier_for: Callable[[Number], Tier]) -> None:
        self._tier_for = tier_for
        self._entries: dict[tuple[str, str], Place] = {}

    def link(self, cell: Cell) -> Markup:
        """Return a cell, which is a number or a text, as HTML.

        A number becomes a link to its entry in the page's list of numbers. A text is escaped.
        """
        if not isinstance(cell, Number):
            return keep_together(cell)
        new = Place(f"n{len(self._entries)}", cell.pointer, json.dumps(cell.value), self._tier_for(cell))
        place = self._entries.setdefault((cell.file, cell.pointer), new)
        title = f"{cell.file} {cell.pointer}: {place.tier.name}, tolerance {place.tier.tolerance}"
        return Markup('<a class="n" href="#{}" title="{}">{}</a>').format(place.anchor, visible(title), cell.text)

    def say(self, sentence: Sentence) -> Markup:
        """Return a sentence as HTML, in which numbers are links to their entries in the page's list of numbers."""
        return Markup("").join(map(self.link, sentence))

    def by_file(self) -> dict[str, list[Place]]:
        """Return a dict from JSON file to the list entries of its numbers, for all numbers linked so far."""
        files = sorted({file for file, _ in self._entries})
        return {name: [place for (file, _), place in self._entries.items() if file == name] for name in files}


def keep_together(text: str) -> Markup:
    """Return text as HTML without line breaks inside options, numbers with units, and numbers with exponents.

    Examples:
        >>> str(keep_together("verify --replay: 95 %"))
        'verify <span class="w">--replay</span>: <span class="w">95 %</span>'
    """
    shown, parts, end = visible(text), list[Markup](), 0
    for match in UNBROKEN.finditer(shown):
        parts += [escape(shown[end : match.start()]), Markup('<span class="w">{}</span>').format(match.group())]
        end = match.end()
    return Markup("").join([*parts, escape(shown[end:])])
