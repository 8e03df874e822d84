"""Selection on validation: the best epoch of a setting, and the best setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from in4310repro.runs.records import HistoryRow


def best_epoch(rows: Sequence[HistoryRow]) -> HistoryRow:
    """The epoch with the highest mean class accuracy on validation; the first of equals."""
    return max(rows, key=lambda row: row["mean_class_accuracy"])


def unit(rows: Sequence[HistoryRow]) -> str:
    """What a row of a history is: an epoch, or a fit of the head, which has no epochs."""
    return "fit" if "strength" in rows[0] else "epoch"


def select(histories: Mapping[str, Sequence[HistoryRow]]) -> tuple[str, HistoryRow]:
    """The setting with the highest mean class accuracy on validation in any epoch, and that epoch's row.

    The first of equals. The test set cannot enter: the rows hold nothing of it.
    """
    best = {name: best_epoch(rows) for name, rows in histories.items()}
    selected = max(best, key=lambda name: best[name]["mean_class_accuracy"])
    return selected, best[selected]
