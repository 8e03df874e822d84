"""All forgeries, in the order of the table."""

from __future__ import annotations

from tests.forgeries import (
    doors,
    files,
    heads,
    images,
    measured,
    numbers,
    replays,
    reports,
    settings,
    silent,
    splits,
    weights,
)
from tests.forgeries.row import Forgery

MODULES = (numbers, measured, splits, images, settings, weights, heads, files, silent, reports, replays, doors)
ROWS: list[Forgery] = [row for module in MODULES for row in module.ROWS]
