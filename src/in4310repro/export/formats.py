"""Export of a finished run in one of the formats of `table.FORMATS`, after checks that all formats share."""

import filecmp
import importlib
from pathlib import Path
from types import ModuleType

from in4310repro.export.table import FORMATS, Contents, Extras, refuse_file, refuse_no_date, refuse_unknown
from in4310repro.report.page import report_differences
from in4310repro.runs.finished import FinishedRun
from in4310repro.system import archive, signals
from in4310repro.system.files import path_below, read_bytes, write_file
from in4310repro.verification.folder_checks import altered_files

IN_THE_WAY = "is there with other content; --out takes a new or empty folder"


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
        raise ValueError(f"{changed[0]}; only an unchanged run is exported")
    if extras.report is not None and (different := report_differences(run.folder, extras.report)):
        raise ValueError(f"{extras.report} is not a report of {run.folder} as it is now: {different[0]}")
    refuse_file(to)
    if extras.date is not None:
        refuse_no_date(extras.date)
    contents = _module(name).contents(run, extras)
    zip_name = FORMATS[name].zip_name
    return write_archive(to / zip_name, contents) if zip_name else write_files(to, contents)


def describe(name: str, files: list[Path]) -> str:
    """Return a sentence on the files that `export` wrote; empty where a format has nothing to say."""
    return str(getattr(_module(name), "describe", lambda _: "")(files))


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"in4310repro.export.{FORMATS[name].module}")


def write_files(to: Path, contents: Contents) -> list[Path]:
    """Write files below a folder, which is created; write none if one of them is in the way of another file.

    Raises:
        ValueError: a file is there with other bytes, or its path leads out of the folder.
        OSError: a file cannot be read or written.
    """
    places = {path_below(to, name): content for name, content in contents.items()}

    def read(content: bytes | Path) -> bytes:
        return content if isinstance(content, bytes) else read_bytes(content)

    for place, content in places.items():
        if place.exists() and not (place.is_file() and read_bytes(place) == read(content)):
            raise ValueError(f"{place} {IN_THE_WAY}")
    return [write_file(place, read(content)) for place, content in places.items()]


def write_archive(file: Path, contents: Contents) -> list[Path]:
    """Write files into one zip file, of equal bytes for equal files.

    Raises:
        ValueError: a file is there with other bytes, or a name is not valid everywhere.
        OSError: a file cannot be read or written.
    """
    if not file.exists():
        archive.write(file, contents)
        return [file]
    with signals.temporary_folder() as place:
        archive.write(place / file.name, contents)
        if not filecmp.cmp(place / file.name, file, shallow=False):
            raise ValueError(f"{file} {IN_THE_WAY}")
    return [file]
