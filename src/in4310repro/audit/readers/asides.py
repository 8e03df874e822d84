"""Find values in lines of label and value that belong to no class, such as means of some classes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from in4310repro.audit.readers.labels import LineValue
from in4310repro.audit.readers.no_classes import NO_CLASS, SOME, SPREADS
from in4310repro.audit.readers.roles import BELOW
from in4310repro.audit.readers.words import heading

ALIKE = 3  # lines of one form that make another form stand out


def find_asides(values: Sequence[LineValue]) -> Iterator[LineValue]:
    """Yield the values that belong to no class, judged by their label or their position below a mean."""
    of_classes = [value for value in values if value.subject.class_name is not None]
    for measure in dict.fromkeys(value.subject.measure for value in of_classes):
        column = [value for value in of_classes if value.subject.measure is measure]
        forms = Counter(map(label_form, column))
        common = max(forms, key=forms.__getitem__)
        below = _find_below_mean(column, values)
        for value in column:
            other_form = forms[common] >= ALIKE and label_form(value) != common and forms[label_form(value)] == 1
            if other_form or value in below or _is_of_no_class(value):
                yield value


def label_form(value: LineValue) -> str:
    """Return the label with a placeholder for its class name: `accuracy of {}`."""
    name, label = value.subject.class_name or "", value.label.lower()
    # As a word: a class may be called c, a letter of precision.
    return " ".join(re.sub(rf"(?<!\w){re.escape(name.lower())}(?!\w)", "{}", label).split())


def _is_of_no_class(value: LineValue) -> bool:
    of, name = heading(value.label), (value.subject.class_name or "").lower()
    some = of.average and of.rest and SOME.fullmatch(of.text.lower())
    return bool(some) or SPREADS.fullmatch(name) is not None or NO_CLASS.fullmatch(name) is not None


def _find_below_mean(column: Sequence[LineValue], values: Sequence[LineValue]) -> list[LineValue]:
    """Return the class values below the first mean after two or more classes; none if over three."""
    means = [v.line for v in values if v.subject.class_name is None and v.subject.measure is column[0].subject.measure]
    after = [line for line in means if sum(value.line < line for value in column) >= 2]
    below = [value for value in column if after and value.line > min(after)]
    return below if len(below) <= BELOW else []
