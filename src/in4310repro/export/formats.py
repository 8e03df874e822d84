"""Export of a finished run in one of the formats of `table.FORMATS`, after checks that all formats share."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from in4310repro.export.extras import Extras
from in4310repro.export.table import FORMATS, refuse_file, refuse_no_date, refuse_unknown
from in4310repro.export.writing import write_archive, write_files
from in4310repro.report.check import report_differences
from in4310repro.runs.finished import FinishedRun
from in4310repro.verification.folder import altered_files


def export(run: FinishedRun, name: str, to: Path, extras: Extras) -> list[Path]:
    """Write a run in one format into a folder; return the files.

    Equal runs and extras give equal bytes, whenever and wherever they are exported. A file that is there is kept if
    it has the same bytes, and refused otherwise.

    Args:
        run: a finished run.
        name: one of `FORMATS`.
        to: a new or empty folder, or one with other exports.
        extras: what the files hold besides the run's records.

    Raises:
        ValueError: there is no such format; a file of the run was changed since it was written; the report is of
            another run; the date is none; a file is in the way; or the format lacks something (see its `contents`).
        OSError: a file cannot be read or written.
    """
    refuse_unknown(name)
    if changed := altered_files(run.files):
        raise ValueError(f"{changed[0]}; an export takes a run as it was written")
    if extras.report is not None and (different := report_differences(run.folder, extras.report)):
        raise ValueError(f"{extras.report} is no report of {run.folder} as it is now: {different[0]}")
    refuse_file(to)
    if extras.date is not None:
        refuse_no_date(extras.date)
    contents = _module(name).contents(run, extras)
    zip_name = FORMATS[name].zip_name
    return write_archive(to / zip_name, contents) if zip_name else write_files(to, contents)


def describe(name: str, files: list[Path]) -> str:
    """Return a sentence on the files that `export` wrote; empty where a format has nothing to say."""
    words: str = getattr(_module(name), "describe", lambda _: "")(files)
    return words


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"in4310repro.export.{FORMATS[name].module}")
