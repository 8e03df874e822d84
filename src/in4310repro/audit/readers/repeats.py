"""Recognise sentences that only repeat values of a table: `the cat class is the weakest (F1=0.805)`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction

from in4310repro.audit.document import Printed
from in4310repro.audit.readers.contexts import remove_context
from in4310repro.audit.readers.logs import LINE

VALUE = re.compile(r"(?<![\w.,])(\d{1,3}(?:[.,]\d{1,20})?) ?(%?)(?![\w]|[.,]\d)")
FEWEST = 2  # decimals of a share that is known again
DIGIT = re.compile(r"\d")


class Repeats:
    """Set of all values that were read, to recognise lines that only repeat some of them."""

    def __init__(self, printed: Iterable[Printed]) -> None:
        self.values = {each.value for each in printed}
        self.rounded: dict[int, set[Fraction]] = {}

    def repeats(self, line: str) -> bool:
        """Return whether all results in a line are known values, possibly rounded to fewer decimals."""
        if len(line) > LINE or not self.values:
            return False
        values = VALUE.findall(remove_context(line))
        left = VALUE.sub(" ", remove_context(line))
        return bool(values) and not DIGIT.search(left) and all(self._known(text, bool(sign)) for text, sign in values)

    def _known(self, text: str, percent: bool) -> bool:
        plain = text.replace(",", ".")
        decimals = len(plain.partition(".")[2])
        value = Fraction(plain)
        if percent or value > 1:
            return value > 1 and value / 100 in (self._to(decimals + 2) if decimals else self.values)
        return decimals >= FEWEST and value in self._to(decimals)

    def _to(self, decimals: int) -> set[Fraction]:
        """Return the values rounded to a number of decimals, together with the exact values."""
        if decimals not in self.rounded:
            self.rounded[decimals] = {round(value, decimals) for value in self.values} | self.values
        return self.rounded[decimals]
