"""How the last command that torchrun started in a run folder ended: torchrun itself makes every exit code a 1."""

from __future__ import annotations

import contextlib
from pathlib import Path

from in4310repro import signals
from in4310repro.files import json_bytes, write_file
from in4310repro.locks import lock
from in4310repro.paths import inside
from in4310repro.runs import names
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.records import Status
from in4310repro.schema import LONGEST
from in4310repro.text import visible


def write(folder: Path, code: int, message: str, rank: int) -> None:
    """Writes the exit code, what was said and the rank whose it is, into a run that this command began or continues.

    A finished run that was not touched, and one that another process works on, stay as they are.
    """
    continues = (folder / names.CONFIG).is_file() and not (folder / names.METRICS).is_file()
    if continues or signals.kept():
        status: Status = {"code": code, "message": visible(message)[:LONGEST], "rank": rank}
        with contextlib.suppress(ValueError, OSError):
            lock(folder)
            write_file(inside(folder, names.STATUS), json_bytes(status))


def told(files: RunFolder) -> str:
    """What the status of a run says, for the end of a sentence; empty without one.

    Raises:
        ValueError: it is damaged.
    """
    if not (files.folder / names.STATUS).exists():
        return ""
    status: Status = files.read_record(names.STATUS, Status)
    return f"; its training ended with exit code {status['code']}: {status['message'] or 'nothing was said'}"
