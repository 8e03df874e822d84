"""Decide by their support if rows such as `acc` or `all` are classes or summaries of all classes."""

from __future__ import annotations

from collections.abc import Sequence

from in4310repro.audit.document import Average
from in4310repro.audit.readers.words import heading

# No class is called macro avg.
SURE = (Average.MACRO, Average.WEIGHTED, Average.MICRO)


def judge_summaries(labels: Sequence[str], sizes: Sequence[int | None]) -> dict[int, bool]:
    """Decide by the support for each row that is named like a summary if it is a summary or a class.

    `acc` with 118 of 519 cars is a class; `all` with 519 of them is their mean. Scikit-learn's own averages are never
    classes. A mean may have the mean support of the classes.

    Args:
        labels: labels of all rows of one section.
        sizes: support of each row, None if none is printed.

    Returns:
        By row index, whether the row is a summary. Rows that the support does not decide are left out.
    """
    words = [heading(label) for label in labels]
    sure = [_is_average(label) for label in labels]
    open_words = [
        bool(not ok and (of.average or of.measure) and not of.rest) for ok, of in zip(sure, words, strict=True)
    ]
    classes = [size for size, ok, maybe in zip(sizes, sure, open_words, strict=True) if size and not ok and not maybe]
    totals = [size for size, ok in zip(sizes, sure, strict=True) if size and ok]
    of_all = max(totals, default=sum(classes))
    told = {}
    for index, (size, maybe) in enumerate(zip(sizes, open_words, strict=True)):
        mean = size is not None and len(classes) > 1 and size * len(classes) == sum(classes)
        if maybe and size is not None and of_all:
            told[index] = size >= of_all or (mean and words[index].average is not None)
    return told


def _is_average(label: str) -> bool:
    """Return whether a label can only be an average, such as `macro avg`; `mAP` may be a class name."""
    of = heading(label)
    return of.samples or (of.average in SURE and of.measure is None)
