"""Record of how the last command under torchrun ended; torchrun itself always exits with code 1 on failure."""

from __future__ import annotations

import contextlib
from pathlib import Path

from in4310repro.runs import names
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.records import Status
from in4310repro.system import signals
from in4310repro.system.files import json_bytes, lock, path_below, write_file
from in4310repro.system.schema import LONGEST
from in4310repro.system.text import visible


def write(folder: Path, code: int, message: str, rank: int) -> None:
    """Write the exit code, message and rank of a command's end to status.json.

    Nothing is written if the run is finished and was not changed by this command, or if another process has
    locked it.
    """
    continues = (folder / names.CONFIG).is_file() and not (folder / names.METRICS).is_file()
    if continues or signals.kept():
        status: Status = {"code": code, "message": visible(message)[:LONGEST], "rank": rank}
        with contextlib.suppress(ValueError, OSError):
            lock(folder)
            write_file(path_below(folder, names.STATUS), json_bytes(status))


def describe(files: RunFolder) -> str:
    """Return the content of status.json as the last clause of a sentence; an empty text without the file.

    Raises:
        ValueError: the file is damaged.
    """
    if not (files.folder / names.STATUS).exists():
        return ""
    status: Status = files.read_record(names.STATUS, Status)
    return f"; its training ended with exit code {status['code']}: {status['message'] or 'nothing was said'}"
