"""Checks of a run folder: its files, their agreement with the manifest, and files that no check compares."""

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

from in4310repro.data.splits import SHA256
from in4310repro.runs import config as configuration, finished, names
from in4310repro.runs.folder import RunFolder, describe_status, manifest_bytes
from in4310repro.runs.settings import LOOK_ALIKES
from in4310repro.system import fingerprint
from in4310repro.system.files import read_bytes
from in4310repro.system.text import first_of


def changed_files(files: RunFolder, among: Collection[str] | None = None) -> list[str]:
    """Return a message for each file in the manifest that is missing, changed or a link.

    A damaged manifest gives a message, too. An intact one has exactly the bytes that a run writes: sorted by
    name, each name once, and one line break at the end.

    Args:
        files: the files of the run.
        among: names of the files to check; None checks all of them.
    """
    manifest = files.folder / names.MANIFEST
    try:
        sentences = [_changed(files, name) for name in files.changed_files(among)]
        same = not manifest.exists() or read_bytes(manifest) == manifest_bytes(files.manifest())
    except (ValueError, OSError) as error:
        return [f"{error}"]
    return sentences + [f"{manifest} has other bytes than a run writes for these lines"] * (not same)


def _changed(files: RunFolder, name: str) -> str:
    try:
        if (files.folder / name).exists():
            files.file(name)
    except ValueError as error:
        return f"{error}"
    return f"{files.folder / name} is missing or has other bytes than were written"


def other_manifest(files: RunFolder, sha256: str | None) -> list[str]:
    """Return a list with a message if the hash of the run's manifest is not `sha256`, otherwise an empty list.

    The hash ignores the manifest's entry for the feature maps, since they may be measured again.

    Args:
        files: the files of the run.
        sha256: the expected hash, as `verify` and a report show it; if it is None, the list is empty.

    Raises:
        ValueError: `sha256` is not 64 lower-case hex digits.
    """
    if sha256 is None:
        return []
    if not SHA256.fullmatch(sha256):
        raise ValueError(f"--manifest-sha256 is {sha256[:100]!r}; it must be 64 hex digits in lower case")
    try:
        now = files.manifest_sha256()
    except (ValueError, OSError) as error:
        return [f"{error}"]
    return [] if now == sha256 else [f"{files.folder / names.MANIFEST} has the sha256 {now} instead of {sha256}"]


def altered_files(files: RunFolder) -> list[str]:
    """Return a message for each difference between a run's files and its manifest, in either direction."""
    found = changed_files(files)
    # If the manifest is damaged, `changed_files` reports it.
    with suppress(ValueError, OSError):
        listed = files.manifest()
        unlisted = [name for name in files_of_run(files.folder) if name not in listed]
        found += [f"{files.folder} has no manifest entry for {name}" for name in unlisted]
    return found


def needed_files(run: finished.FinishedRun) -> list[str]:
    """Return the names of the files that a run of its configuration has; feature maps may be missing."""
    depends = {
        names.PIXELS: run.config.is_canonical,
        names.GROUPS: run.config.group == LOOK_ALIKES,
        names.FEATURES: run.features is not None,
        names.LAST_WEIGHTS: run.config.protocol.starts_warm,
    }
    of_settings = [f"{each.name}/{name}" for each in run.config.settings for name in names.OF_SETTING]
    return [name for name in (*names.OF_RUN, *of_settings) if depends.get(name.rpartition("/")[2], True)]


def wrong_in_manifest(run: finished.FinishedRun) -> list[str]:
    """Return a message for each run file missing from the manifest, and for each entry that is not a run file."""
    needed, listed = {*needed_files(run)}, run.files.manifest().keys()
    missing, others = sorted(needed - listed), sorted(listed - needed - {names.FEATURES})
    return [
        *(f"{run.folder} has no manifest entry for {name}" for name in missing),
        *(f"{run.folder / names.MANIFEST} lists {name}, which is not a file of this run" for name in others),
    ]


def files_of_run(folder: Path) -> list[str]:
    """Return the relative paths of all files in a folder that are named like the files of a run."""
    found = (path for path, _ in _entries(folder) if names.is_of_run(path))
    return sorted(found, key=lambda name: ("/" in name, name))


# Without these nothing can be computed again.
ESSENTIAL = (names.MANIFEST, names.CONFIG, names.FINGERPRINT)


def recorded_files(folder: Path) -> RunFolder:
    """Return the folder of a finished run, recognized by its files or by its manifest.

    A folder with any file of a run counts as a run. The run counts as finished if metrics.json exists or is listed in
    the manifest, or if the manifest cannot be read.

    Raises:
        ValueError: the folder is not a run, or the run is not finished.
    """
    files, present = RunFolder(folder), files_of_run(folder)
    try:
        listed = list(files.manifest())
    except (ValueError, OSError):
        # A damaged manifest is a difference, where a run is there; alone it may be another program's.
        return files if present else RunFolder.open(folder)
    if names.METRICS in (*listed, *present):
        return files
    if not any(map(names.is_of_run, (*listed, *present))):
        return RunFolder.open(folder)
    raise ValueError(f"{folder} holds no finished run: it has no {names.METRICS}{describe_status(files)}")


def changed_essentials(files: RunFolder) -> list[str]:
    """Return messages on damage to the files that all checks need: manifest, configuration and fingerprint.

    Raises:
        ValueError: the configuration is intact, but this version cannot read its format.
    """
    # All files are hashed only after damage: a run's weights take long to hash, and `verify` hashes them anyway.
    if changed_files(files, ESSENTIAL) or not files.manifest().keys() >= {names.CONFIG, names.FINGERPRINT}:
        absent = [file for file in map(files.folder.joinpath, ESSENTIAL) if not file.exists()]
        return altered_files(files) or [f"{file} is not there" for file in absent]
    try:
        files.read_record(names.FINGERPRINT, fingerprint.Fingerprint)
        recorded = files.read_json(names.CONFIG)
    except (ValueError, OSError) as error:
        return [*changed_files(files), f"{error}"]
    configuration.check_format(recorded, f"{files.folder / names.CONFIG}")
    return []


SHOWN = 10  # names of files in a sentence
LINK, EMPTY, UNREADABLE = "link", "empty folder", "folder that cannot be read"
SPECIAL, UNKNOWN = "special file", "unknown file"
CHECKPOINT, KEPT_EPOCH, LOG, STATUS = "checkpoint", "kept epoch", "log", "status of the training"


class Unchecked(TypedDict):
    """A file, link or folder that no check compared with anything."""

    path: str  # below the folder, with forward slashes; of a folder with one at the end
    kind: str


def unchecked_in(folder: Path, checked: Collection[str], settings: Mapping[str, int] | None = None) -> list[Unchecked]:
    """List everything in a folder except the checked files, sorted by path.

    Hidden files are included; links are not followed. A path has escapes in place of bytes that are not UTF-8.

    Args:
        folder: the folder of a run or a report.
        checked: paths of the checked files, relative to the folder.
        settings: number of epochs of each setting, in the folder of a run. Files of other settings or later epochs
            are unexpected, so that their kind is listed as unknown.
    """
    listed = []
    for path, kind in sorted(_entries(folder)):
        if settings and kind == UNKNOWN:
            epochs = settings.get(path.partition("/")[0], -1)
            kinds = {
                STATUS: path == names.STATUS,
                LOG: names.setting_of_log(path) in settings,
                KEPT_EPOCH: names.is_kept_epoch(path, epochs),
                CHECKPOINT: names.is_checkpoint(path, epochs),
            }
            kind = next((each for each, fits in kinds.items() if fits), UNKNOWN)
        if path not in checked or kind == LINK:
            listed.append(Unchecked(path=os.fsencode(path).decode(errors="backslashreplace"), kind=kind))
    return listed


def describe(listed: Collection[Unchecked]) -> str:
    """Return a sentence on what was not checked; an empty text if everything was."""
    of_training, unknown = Counter[str](), []
    for path, kind in ((each["path"], each["kind"]) for each in listed):
        above = f"{path.rpartition('/')[0]}/"
        if place := {CHECKPOINT: above, KEPT_EPOCH: above, LOG: f"{names.LOGS}/", STATUS: path}.get(kind):
            of_training[place] += 1
        else:
            unknown.append(path if kind == UNKNOWN else f"{path} ({kind})")
    known = [f"{place} ({n} file{'s' * (n > 1)})" if "/" in place else place for place, n in of_training.items()]
    parts = [f"{', '.join(known)} (a training leaves them)"] * bool(known)
    parts += [f"unknown: {first_of(unknown, SHOWN)}"] * bool(unknown)
    return f"not checked: {'; '.join(parts)}" if parts else ""


def _entries(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the path and kind of each file, link, empty folder and unreadable folder anywhere inside a folder."""
    # Not by recursion: folders may be nested deeper than Python's stack.
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
                yield f"{below}{name}", LINK if stat.S_ISLNK(mode) else UNKNOWN if stat.S_ISREG(mode) else SPECIAL
