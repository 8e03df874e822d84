"""Check of the manifest: it lists exactly the files of the run with their hashes, in the bytes that a run writes."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from in4310repro.runs import names
from in4310repro.runs.config import LOOK_ALIKES
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder, manifest_bytes
from in4310repro.system.files import read_bytes

SHA256 = re.compile(r"[0-9a-f]{64}")


def changed_files(files: RunFolder, among: Collection[str] | None = None) -> list[str]:
    """Return a message for each listed file that is missing, changed or a link, and for a damaged manifest.

    A manifest is damaged unless its bytes are those that a run writes: sorted by name, each name once, and one
    line break at the end.

    Args:
        files: the files of the run.
        among: names of the files to check; None checks all of them.
    """
    try:
        sentences = [_changed(files, name) for name in files.changed_files(among)]
        file = files.folder / names.MANIFEST
        if file.exists() and read_bytes(file) != manifest_bytes(files.manifest()):
            sentences.append(f"{file} has other bytes than a run writes for these lines")
    except (ValueError, OSError) as error:
        return [str(error)]
    return sentences


def _changed(files: RunFolder, name: str) -> str:
    if (files.folder / name).exists():
        try:
            files.file(name)
        except ValueError as error:
            return str(error)
    return f"{files.folder / name} is missing or has other bytes than were written"


def other_manifest(files: RunFolder, sha256: str | None) -> list[str]:
    """Return a message if the hash of the run is not the expected one; otherwise an empty list.

    The hash is that of the manifest without the entry of the feature maps, which may be measured again.

    Args:
        files: the files of the run.
        sha256: the expected hash, as `verify` and a report show it; None to compare nothing.

    Raises:
        ValueError: `sha256` is not 64 lower-case hex digits.
    """
    if sha256 is None:
        return []
    if not SHA256.fullmatch(sha256):
        raise ValueError(f"--manifest-sha256 is {sha256[:100]!r}; 64 hex digits in lower case are valid")
    try:
        now = files.manifest_sha256()
    except (ValueError, OSError) as error:
        return [str(error)]
    return [] if now == sha256 else [f"{files.folder / names.MANIFEST} has the sha256 {now}, and not {sha256}"]


def files_without_line(files: RunFolder) -> list[str]:
    """Return a message for each file in the folder, named like a run's file, that the manifest does not list."""
    try:
        listed = files.manifest()
    except (ValueError, OSError):
        # Which `changed_files` says.
        return []
    return [_omitted(files.folder, name) for name in files_of_run(files.folder) if name not in listed]


def _omitted(folder: Path, name: str) -> str:
    return f"{folder} has no manifest entry for {name}"


def wrong_in_manifest(run: FinishedRun) -> list[str]:
    """Return a message for each file of the run that the manifest omits, and for each entry of any other file."""
    of_settings = {names.HISTORY, names.TENSORS, names.BEST_WEIGHTS}
    if run.config.protocol.starts_warm:
        of_settings.add(names.LAST_WEIGHTS)
    needed = {names.of_setting(setting.name, name) for setting in run.config.settings for name in of_settings}
    needed |= {names.CONFIG, names.FINGERPRINT, names.SPLIT, names.SCORES, names.METRICS}
    if run.config.group == LOOK_ALIKES:
        needed.add(names.GROUPS)
    if run.features is not None:
        needed.add(names.FEATURES)
    listed = run.files.manifest().keys()
    return [
        *(_omitted(run.folder, name) for name in sorted(needed - listed)),
        *(
            f"{run.folder / names.MANIFEST} lists {name}, which is no file of this run"
            for name in sorted(listed - needed - {names.FEATURES})
        ),
    ]


def files_of_run(folder: Path) -> list[str]:
    """Return the names of the files in a folder that a run, with any settings, could have written."""
    return [name for name in _files(folder) if names.is_of_run(name)]


def _files(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders.sort()
        yield from ((Path(place) / name).relative_to(folder).as_posix() for name in sorted(files))
