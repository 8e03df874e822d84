"""Links from the numbers in a page's text to a list with the full value, file and key of each."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup, escape

from in4310repro.report.exhibit import Cell, Number, Sentence
from in4310repro.report.tiers import Tier
from in4310repro.system.text import visible

# Texts that a browser would otherwise break after a hyphen or before a unit.
UNBROKEN = re.compile(r"(?<![\w-])--?[a-zA-Z][\w-]*|\d[\d.,]* %|\d[\d.]*e-\d+")


@dataclass(frozen=True)
class Place:
    """List entry of a number on the page: anchor, JSON pointer, full value, and how exactly it is reproduced."""

    anchor: str
    pointer: str
    value: str  # as JSON
    tier: Tier


class Places:
    """List entries of a page's numbers in order of first appearance; a repeated number has one entry.

    Args:
        tier_for: returns the tier of a number.
    """

    def __init__(self, tier_for: Callable[[Number], Tier]) -> None:
        self._tier_for = tier_for
        self._by_file: dict[str, dict[str, Place]] = {}

    def link(self, cell: Cell) -> Markup:
        """Return HTML of a cell: a number as a link to its list entry, a text unchanged."""
        if not isinstance(cell, Number):
            return keep_together(cell)
        place = self._place(cell)
        title = f"{cell.file} {cell.pointer}: {place.tier.name}, tolerance {place.tier.tolerance}"
        return Markup('<a class="n" href="#{}" title="{}">{}</a>').format(place.anchor, visible(title), cell.text)

    def say(self, sentence: Sentence) -> Markup:
        """Return HTML of a sentence, with its numbers as links to their list entries."""
        return Markup("").join(map(self.link, sentence))

    def by_file(self) -> dict[str, list[Place]]:
        """Return the list entries of all numbers linked so far, by JSON file."""
        return {file: list(places.values()) for file, places in sorted(self._by_file.items())}

    def _place(self, number: Number) -> Place:
        places = self._by_file.setdefault(number.file, {})
        if number.pointer not in places:
            anchor = f"n{sum(map(len, self._by_file.values()))}"
            value = json.dumps(number.value)
            places[number.pointer] = Place(anchor, number.pointer, value, self._tier_for(number))
        return places[number.pointer]


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
