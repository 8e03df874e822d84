"""Selection of the best epoch of a setting, and of the best setting, by a metric on validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from in4310repro.metrics.table import SCALARS
from in4310repro.runs.records import HistoryRow


def best_epoch(rows: Sequence[HistoryRow], by: str) -> HistoryRow:
    """Return the row of the best epoch by a validation metric named in `SCALARS`; ties go to the earlier epoch."""
    return max(rows, key=lambda row: _goodness(row, by))


def _goodness(row: HistoryRow, by: str) -> float:
    value: float = row[by]  # type: ignore[literal-required]
    return value if SCALARS[by].higher_is_better else -value


def unit(rows: Sequence[HistoryRow]) -> str:
    """Return the name of a history row: "epoch", or "fit" if the last layer was fitted instead of trained."""
    return "fit" if "strength" in rows[0] else "epoch"


def select(histories: Mapping[str, Sequence[HistoryRow]], by: str) -> tuple[str, HistoryRow]:
    """Return the setting with the best epoch by a validation metric named in `SCALARS`, and that epoch's row.

    Ties go to the earlier setting and epoch. The rows hold no results on the test set, which therefore cannot
    affect the selection.
    """
    best = {name: best_epoch(rows, by) for name, rows in histories.items()}
    selected = max(best, key=lambda name: _goodness(best[name], by))
    return selected, best[selected]
