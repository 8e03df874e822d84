"""Selection on validation: the best epoch of a setting, and the best setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from in4310repro.metric_table.table import SCALARS
from in4310repro.runs.records import HistoryRow


def best_epoch(rows: Sequence[HistoryRow], by: str) -> HistoryRow:
    """Return the epoch that is best on validation by a metric of `SCALARS`; the first of equals."""
    return max(rows, key=lambda row: _goodness(row, by))


def _goodness(row: HistoryRow, by: str) -> float:
    value: float = row[by]  # type: ignore[literal-required]
    return value if SCALARS[by].higher_is_better else -value


def unit(rows: Sequence[HistoryRow]) -> str:
    """Return the word for a row of a history: an epoch, or a fit of the head, which has no epochs."""
    return "fit" if "strength" in rows[0] else "epoch"


def select(histories: Mapping[str, Sequence[HistoryRow]], by: str) -> tuple[str, HistoryRow]:
    """Return the setting that is best on validation in any epoch by a metric of `SCALARS`, and that epoch's row.

    The first of equals. The test set cannot enter: the rows hold nothing of it.
    """
    best = {name: best_epoch(rows, by) for name, rows in histories.items()}
    selected = max(best, key=lambda name: _goodness(best[name], by))
    return selected, best[selected]
