"""Extension of a finished run by more epochs: turn it into an interrupted run that can be resumed.

The run remains finished until its configuration is replaced, in one step. From then on, the same command
continues the run, even after the process was killed.
"""

from __future__ import annotations

from pathlib import Path

from in4310repro.runs import chain, names
from in4310repro.runs import config as configuration
from in4310repro.runs.config import Config
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.records import HistoryRow
from in4310repro.runs.settings import TrainingSettings
from in4310repro.system.files import path_below
from in4310repro.system.machine import refuse_beyond_disk
from in4310repro.system.tensors import read_tensors, tensors_sha256
from in4310repro.training import checkpoints
from in4310repro.training.positions import Position

# What is computed from all epochs; metrics.json last, since with it a run counts as finished.
RESULTS = (names.FEATURES, names.SCORES, names.METRICS)


def is_finished(folder: Path) -> bool:
    """Return whether the folder has a run with complete results."""
    return (folder / names.METRICS).is_file()


def check_epochs(folder: Path, before: int, wanted: int) -> None:
    """Raise ValueError if a run cannot be extended to the wanted number of epochs.

    Raises:
        ValueError: the run is not finished, or already has more epochs.
    """
    if not is_finished(folder):
        raise ValueError(f"{folder} is not finished: --resume --epochs {before} ends it first")
    if wanted < before:
        raise ValueError(f"{folder} has {before} epochs already; to go on, --epochs takes more than that")


def begin(files: RunFolder, config: Config) -> None:
    """Write a checkpoint at each setting's last epoch, from which training continues with more epochs.

    Files of the finished run are not changed. The extended run has the same bits as a run that was trained with
    more epochs from the start, since no step depends on the number of epochs. Only the first hash of the chain
    depends on it, and the chain is linked anew.

    Args:
        files: the folder of a finished run.
        config: the run's configuration with more epochs.

    Raises:
        ValueError: the run is damaged; its last epoch was not kept, or its tensors differ from the recorded
            hashes; the learning rate depends on the number of epochs; a setting starts from the end of another;
            or the disk is too full.
    """
    run = FinishedRun.open(files.folder)
    _refuse_what_depends_on_epochs(run)
    if changed := files.changed_files():
        raise ValueError(f"{files.folder / changed[0]} has other bytes than were written; no run goes on from it")
    kept = {setting.name: _kept_file(run, setting.name) for setting in config.settings}
    need = sum(file.stat().st_size for file in kept.values())
    refuse_beyond_disk("checkpoints to go on from take", need, files.folder)
    starts = chain.starts(config, run.fingerprint, run.split, run.tensors)
    for setting, file in kept.items():
        tensors = read_tensors(file)
        entries = chain.relink(run.tensors[setting], starts[setting])
        position = Position(epoch=run.config.epochs, history=run.histories[setting], tensors=entries)
        folder = path_below(files.folder, names.of_setting(setting, names.CHECKPOINTS))
        # Those of an extension that was begun and given up are as old, and of another number of epochs.
        for old in folder.glob("*.safetensors"):
            old.unlink()
        checkpoints.save_tensors(folder, tensors, position, configuration.to_json(config))


def remove_old_results(files: RunFolder, training: TrainingSettings) -> None:
    """Remove the results of the shorter run if an extension has begun and is not complete."""
    if is_finished(files.folder) and any(
        _has_fewer_epochs(files, each.name, training.epochs) for each in training.settings
    ):
        files.remove(*RESULTS)


def _has_fewer_epochs(files: RunFolder, setting: str, epochs: int) -> bool:
    """Return whether a setting's history is shorter than `epochs`; False if it is missing or damaged."""
    try:
        return len(files.read_record(names.of_setting(setting, names.HISTORY), list[HistoryRow])) < epochs
    except (ValueError, OSError):
        return False


def _refuse_what_depends_on_epochs(run: FinishedRun) -> None:
    config = run.config
    if config.schedule != "constant" or config.warm_up:
        raise ValueError(
            f"{run.folder} was trained with schedule {config.schedule!r} and warm_up {config.warm_up}: the learning "
            "rate of every step depended on the number of epochs, so no more can follow; a constant one (schedule = "
            "'constant' and warm_up = 0 in a file of --config) goes on"
        )
    if config.protocol.starts_warm:
        raise ValueError(
            f"{run.folder} has the deviation warm-start: each setting started where the one before ended, "
            "so no more epochs can follow"
        )


def _kept_file(run: FinishedRun, setting: str) -> Path:
    """Return the file of a setting's state after its last epoch, after checking its hashes.

    Raises:
        ValueError: the file is missing or damaged, or its hashes differ from the recorded ones.
    """
    file = path_below(run.folder, names.kept_epoch(setting, run.config.epochs))
    if not file.exists():
        raise ValueError(f"{file} is not there, from which {setting} would go on; train --keep-epochs keeps it")
    last = run.tensors[setting][-1]
    found = tuple(map(tensors_sha256, checkpoints.read_kept_epoch(file)))
    if found != (last["weights_sha256"], last["optimizer_sha256"]):
        raise ValueError(f"{file} holds another state than {names.TENSORS} commits to after epoch {last['epoch']}")
    return file
