"""Files, links and empty folders in a run folder that no check compares with anything."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TypedDict

from in4310repro.runs import names

SHOWN = 10  # names of unknown files in a sentence
LINK, EMPTY, UNREADABLE, SPECIAL, UNKNOWN = (
    "link",
    "empty folder",
    "folder that cannot be read",
    "special file",
    "unknown file",
)
CHECKPOINT, KEPT_EPOCH, LOG, STATUS = "checkpoint", "kept epoch", "log", "status of the training"
OF_TRAINING = (CHECKPOINT, KEPT_EPOCH, LOG, STATUS)


class Unchecked(TypedDict):
    """A file, link or folder that no check compared with anything."""

    path: str  # below the folder, with forward slashes; of a folder with one at the end
    kind: str


def unchecked_in_run(folder: Path, checked: Collection[str], settings: Mapping[str, int]) -> list[Unchecked]:
    """List everything in a run folder except the checked files, sorted by path.

    Args:
        folder: the run folder.
        checked: paths of the checked files, below the folder.
        settings: number of epochs of each setting of the run; files of a setting or epoch not listed here are of
            unknown kind.
    """
    listed = unchecked_in(folder, checked)
    return [Unchecked(path=each["path"], kind=_kind_in_run(each, settings)) for each in listed]


def unchecked_in(folder: Path, checked: Collection[str]) -> list[Unchecked]:
    """List everything in a folder except the checked files, hidden files included; links are not followed."""
    entries = [(path, kind) for path, kind in _entries(folder) if path not in checked or kind == LINK]
    return [Unchecked(path=_text(path), kind=kind) for path, kind in sorted(entries)]


def describe(listed: Collection[Unchecked]) -> str:
    """Return a sentence on what was not checked; an empty text if everything was."""
    of_training: Counter[str] = Counter()
    for each in listed:
        if each["kind"] in OF_TRAINING:
            of_training[_place(each)] += 1
    known = [
        f"{place} ({count} file{'s' * (count > 1)})" if "/" in place else place for place, count in of_training.items()
    ]
    unknown = [_named(each) for each in listed if each["kind"] not in OF_TRAINING]
    more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
    parts = [f"{', '.join(known)} (a training leaves them)"] if known else []
    parts += [f"unknown: {', '.join(unknown[:SHOWN])}{more}"] if unknown else []
    return f"not checked: {'; '.join(parts)}" if parts else ""


def _place(each: Unchecked) -> str:
    """Return the folder under which an unchecked file is counted, or the path of the status file."""
    if each["kind"] == STATUS:
        return each["path"]
    return f"{names.LOGS}/" if each["kind"] == LOG else each["path"].rpartition("/")[0] + "/"


def _named(each: Unchecked) -> str:
    return each["path"] if each["kind"] in (UNKNOWN, *OF_TRAINING) else f"{each['path']} ({each['kind']})"


def _kind_in_run(each: Unchecked, settings: Mapping[str, int]) -> str:
    path, kind = each["path"], each["kind"]
    if kind != UNKNOWN:
        return kind
    if path == names.STATUS:
        return STATUS
    if names.is_log(path) and path.split("/")[1] in settings:
        return LOG
    epochs = settings.get(path.split("/")[0])
    if epochs is None:
        return UNKNOWN
    if names.is_kept_epoch(path, epochs):
        return KEPT_EPOCH
    return CHECKPOINT if names.is_checkpoint(path, epochs) else UNKNOWN


def _entries(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the path and kind of each file, link, empty folder and unreadable folder below a folder."""
    # Not by recursion: folders may lie in each other deeper than Python's stack.
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(folder / below) as scanned:
                entries = [(entry.name, entry.stat(follow_symlinks=False).st_mode) for entry in scanned]
        except OSError:
            yield below, UNREADABLE
            continue
        if below and not entries:
            yield below, EMPTY
        for name, mode in entries:
            if stat.S_ISDIR(mode):
                waiting.append(f"{below}{name}/")
            else:
                kind = LINK if stat.S_ISLNK(mode) else UNKNOWN if stat.S_ISREG(mode) else SPECIAL
                yield f"{below}{name}", kind


def _text(path: str) -> str:
    """Return a path as text that can be encoded; bytes that are not UTF-8 become escapes."""
    return os.fsencode(path).decode(errors="backslashreplace")
