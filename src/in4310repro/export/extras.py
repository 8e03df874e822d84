"""What an export may hold besides a run's own records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Extras:
    """What `export` was given besides the run; what is absent is left out of the files, which say so.

    Attributes:
        verification: the document that `verify RUN --json` printed, as `verified.read` returns it.
        report: the folder of the run's report.
        images: the folder of the run's images, where they are not where the run names them.
        pixels: whether formats that can hold decoded images hold them.
        date: the day of publication as YYYY-MM-DD, since a run records no date.
    """

    verification: Mapping[str, Any] | None = None
    report: Path | None = None
    images: Path | None = None
    pixels: bool = False
    date: str | None = None
