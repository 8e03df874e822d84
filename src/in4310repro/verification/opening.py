"""Checks before a verification: the folder holds a finished run, and the files that `verify` needs are intact."""

from __future__ import annotations

from pathlib import Path

from in4310repro.runs import config as configuration
from in4310repro.runs import names, status
from in4310repro.runs.folder import RunFolder
from in4310repro.system.fingerprint import Fingerprint
from in4310repro.verification.manifest import changed_files, files_of_run, files_without_line

# Without these nothing can be computed again.
ESSENTIAL = (names.MANIFEST, names.CONFIG, names.FINGERPRINT)


def recorded_files(folder: Path) -> RunFolder:
    """Return the folder of a finished run, recognized by its files or by its manifest.

    A folder with any file of a run counts as a run. The run counts as finished if metrics.json exists or is listed in
    the manifest, or if the manifest cannot be read.

    Raises:
        ValueError: the folder is no run, or the run is not finished.
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
    raise ValueError(f"{folder} holds no finished run: it has no {names.METRICS}{status.describe(files)}")


def changed_essentials(files: RunFolder) -> list[str]:
    """Return a message for each fault of the manifest, configuration and fingerprint, which all checks need.

    Raises:
        ValueError: the configuration is intact, but this version cannot read its format.
    """
    # Of all files only where they are wanted: a run's weights take long to hash, and `verify` does it once more.
    essential = [files.folder / name for name in ESSENTIAL]
    if changed_files(files, ESSENTIAL) or not files.manifest().keys() >= {names.CONFIG, names.FINGERPRINT}:
        missing = [f"{file} is not there" for file in essential if not file.exists()]
        return list(dict.fromkeys([*changed_files(files), *files_without_line(files)])) or missing
    try:
        files.read_record(names.FINGERPRINT, Fingerprint)
        recorded = files.read_json(names.CONFIG)
    except (ValueError, OSError) as error:
        return [*changed_files(files), str(error)]
    configuration.check_format(recorded, f"{files.folder / names.CONFIG}")
    return []
