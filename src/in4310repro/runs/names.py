"""Names of the files in a run folder."""

import math
import re
from pathlib import Path

CONFIG = "config.json"
FINGERPRINT = "fingerprint.json"
SPLIT = "split.csv"
PIXELS = "pixels.json"  # from format 6 of config.json on
GROUPS = "groups.json"  # only where the split holds look-alikes on one side
SCORES = "scores.npz"
METRICS = "metrics.json"
FEATURES = "features.json"
MANIFEST = "manifest.json"
STATUS = "status.json"  # of a command that torchrun started: how it ended; no result, so not in the manifest
# Below the folder of a setting.
HISTORY = "history.json"
TENSORS = "tensors.json"
BEST_WEIGHTS = "best.safetensors"
LAST_WEIGHTS = "last.safetensors"  # only with the deviation warm-start
CHECKPOINTS = "checkpoint"  # a folder, while the setting trains
CHECKPOINT_DIGITS = 16  # of the sha256, in the name of one
# A folder, where epochs are kept. Its files are not in the manifest: tensors.json, which is, holds their hashes.
KEPT_EPOCHS = "epochs"
# A folder of the run, where steps are logged, for people: no result, so not in the manifest.
LOGS = "logs"
STEPS = "steps.csv"  # below it and the folder of a setting

RECORD = "run.json"  # of a report

OF_RUN = (CONFIG, FINGERPRINT, SPLIT, PIXELS, GROUPS, SCORES, METRICS, FEATURES)
OF_SETTING = (HISTORY, TENSORS, BEST_WEIGHTS, LAST_WEIGHTS)


def refuse_no_report(folder: Path) -> None:
    """Raise ValueError if the folder holds no report."""
    if not (folder / RECORD).exists():
        raise ValueError(f"{folder} holds no report: expected {RECORD}, which `in4310repro report` writes")


def is_of_run(name: str) -> bool:
    """Return whether a path, relative to the run folder, is one that a run may write and list in its manifest."""
    folder, _, file = name.rpartition("/")
    return "/" not in folder and file in (OF_SETTING if folder else OF_RUN)


def kept_epoch(setting: str, epoch: int) -> str:
    """Return the path of the file with weights and optimizer state after an epoch; epochs start at 1."""
    return f"{setting}/{KEPT_EPOCHS}/{epoch:06d}.safetensors"


def steps_before(name: str, setting: str) -> int | None:
    """Return the number of steps after which a trace begins, as `logs/SETTING.STEPS.trace` says; without STEPS 0.

    A training run that is resumed begins a new trace.

    The result is None if `name` is not the path of a trace of this setting.
    """
    found = re.fullmatch(rf"{LOGS}/{re.escape(setting)}(?:\.([1-9][0-9]{{0,11}}))?\.trace", name)
    return int(found[1] or 0) if found else None


def setting_of_log(name: str) -> str | None:
    """Return the training setting to which a log or trace file belongs.

    The result is None if the path, relative to the run folder, is not that of such a file.
    """
    steps = rf"(/{re.escape(STEPS)}|/events\.out\.tfevents\.[^/]+|(\.[1-9][0-9]{{0,11}})?\.trace)"
    found = re.fullmatch(rf"{LOGS}/([^/.]+){steps}", name)
    return found[1] if found else None


# A number that is padded with zeros to six or eight digits, in the one way in which Python writes it.
SIX, EIGHT = (rf"(\d{{{digits}}}|[1-9]\d{{{digits},}})" for digits in (6, 8))


def is_kept_epoch(name: str, epochs: float = math.inf) -> bool:
    """Return whether a path is that of a file with the state after an epoch, as named by `kept_epoch`.

    The path is relative to the run folder. Checkpoints are not such files. If `epochs` is given, the number of
    the epoch must not exceed it.
    """
    found = re.fullmatch(rf"[^/]+/{KEPT_EPOCHS}/{SIX}\.safetensors", name, re.ASCII)
    return found is not None and 1 <= int(found[1]) <= epochs


def is_checkpoint(name: str, epochs: int) -> bool:
    """Return whether `name` is the path of a checkpoint that was written after at most `epochs` epochs.

    The file's name has the number of finished epochs, the number of finished batches of the next epoch, and the first
    digits of the hash of the file's bytes.
    """
    digits = rf"{SIX}-{EIGHT}-[0-9a-f]{{{CHECKPOINT_DIGITS}}}"
    found = re.fullmatch(rf"[^/]+/{CHECKPOINTS}/{digits}\.safetensors", name, re.ASCII)
    return found is not None and int(found[1]) <= epochs
