"""Run folder of a training: create one, resume an interrupted run, or extend a finished one by more epochs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from in4310repro.data.class_folders import chosen_in
from in4310repro.data.splits import from_csv
from in4310repro.runs import chain, names
from in4310repro.runs import config as configuration
from in4310repro.runs.config import Config
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.records import HistoryRow
from in4310repro.runs.settings import LOOK_ALIKES, OptimizerSetting, check_choice
from in4310repro.system.files import path_below, read_bytes
from in4310repro.system.fingerprint import Fingerprint
from in4310repro.system.machine import refuse_beyond_disk, size_text
from in4310repro.system.progress import Progress
from in4310repro.system.schema import refuse_other_configuration
from in4310repro.system.tensors import read_tensors, tensors_sha256
from in4310repro.training import checkpoints
from in4310repro.training.checkpoints import Position, kept_epoch_bytes
from in4310repro.training.preparation import TrainingPlan
from in4310repro.training.step_log import formats_of, refuse_missing_library


def with_recorded_format(config: Config, folder: Path, progress: Progress) -> Config:
    """Return the configuration with format and EXIF orientation of the run, and its class folders if none are named.

    Raises:
        ValueError: the run's configuration is damaged or has an unsupported format.
    """
    _, recorded = _recorded_config(RunFolder.open(folder))
    if recorded.orientation != config.orientation:
        progress.message(f"{folder} was begun with EXIF orientation {recorded.orientation}, and goes on so")
    class_folders = config.class_folders or recorded.class_folders
    return replace(config, orientation=recorded.orientation, format=recorded.format, class_folders=class_folders)


def recorded_class_folders(folder: Path) -> str | None:
    """Return which folders were the classes of a run, by its split: older versions read other ones."""
    files = RunFolder.open(folder)
    return chosen_in(from_csv(files.file(names.SPLIT), folder).catalogue().labels())


def log_formats(folder: Path, requested: str | None, *, resume: bool) -> frozenset[str]:
    """Return the formats of step logs: the requested one and, in a resumed run, those of existing logs.

    Raises:
        ValueError: the format is unknown, or a library is missing.
    """
    formats = {check_choice("log_steps", requested)} if requested else set()
    formats |= formats_of(folder) if resume else set()
    refuse_missing_library(formats)
    return frozenset(formats)


def keeps_epochs(folder: Path) -> bool:
    """Return whether a run folder has a saved state (weights and optimizer state) of any epoch."""
    return any(folder.glob(f"*/{names.KEPT_EPOCHS}/*.safetensors"))


def announce_kept_epochs(plan: TrainingPlan, folder: Path, progress: Progress) -> None:
    """Show the disk space needed for saving the state after each epoch, not counting states saved already.

    Raises:
        ValueError: the disk has too little space.
    """
    config, state = plan.config, plan.network.state_dict()
    trainable = [name for name, _ in plan.network.named_parameters()]
    trained = [setting for setting in config.settings if not config.fits_head(setting)]
    sizes = {setting.name: kept_epoch_bytes(state, trainable, setting) for setting in trained}
    need = sum(
        size
        for name, size in sizes.items()
        for epoch in range(1, config.epochs + 1)
        if not (folder / names.kept_epoch(name, epoch)).exists()
    )
    each = ", ".join(f"{size_text(size)} an epoch with {name}" for name, size in sizes.items())
    progress.message(f"kept epochs take {each}, in all {size_text(need)} below {folder}")
    refuse_beyond_disk(f"kept epochs take {each}, in all", need, folder)


def start_run(folder: Path, plan: TrainingPlan) -> RunFolder:
    """Create a run folder and write the files whose content is known before training."""
    files = RunFolder.create(folder)
    files.write_json(names.FINGERPRINT, plan.fingerprint)
    files.write_bytes(names.SPLIT, plan.split_csv)
    if plan.config.is_canonical:
        files.write_json(names.PIXELS, plan.pixels)
    if plan.config.group == LOOK_ALIKES:
        files.write_json(names.GROUPS, plan.groups)
    # Last: a folder with a configuration can be resumed.
    files.write_json(names.CONFIG, configuration.to_json(plan.config))
    return files


def resume_run(folder: Path, plan: TrainingPlan) -> RunFolder:
    """Open an existing run folder. If the plan has more epochs than the run, prepare the run for the further epochs.

    Raises:
        ValueError: the run was begun with other options, other images or another arithmetic, or it cannot be
            extended to the number of epochs (see `begin_extension`).
    """
    files, config = RunFolder.reopen(folder), plan.config
    number, recorded = _recorded_config(files)
    # Older runs lack newer settings, whose defaults they were trained with: read and written again, they are named.
    refuse_other_configuration(
        {**configuration.to_json(recorded), "epochs": config.epochs}, configuration.to_json(config), f"{folder}"
    )
    extends = recorded.epochs != config.epochs
    if extends:
        check_epochs(folder, recorded.epochs, config.epochs)
    if read_bytes(files.file(names.SPLIT)) != plan.split_csv:
        raise ValueError(
            f"{folder} was begun with other images than {plan.split.root} holds now; restore those that its "
            f"{names.SPLIT} lists, or give another --out"
        )
    _refuse_other_start(files, plan.fingerprint)
    if extends:
        begin_extension(files, config)
    # A kill may have come between this file and its manifest entry.
    files.write_json(names.CONFIG, configuration.to_json(config, number))
    remove_old_results(files, config)
    return files


def finished_history(files: RunFolder, setting: OptimizerSetting, config: Config) -> list[HistoryRow]:
    """Return the history of a setting; an empty list if the training of the setting is not complete.

    The history has a row for each epoch, or for each fit of the last layer. An epoch's row is written after its
    weights, so the best weights of a complete history exist too.
    """
    name = names.of_setting(setting.name, names.HISTORY)
    if not (files.folder / name).is_file():
        return []
    needed = {name}
    if config.protocol.starts_warm:
        needed.add(names.of_setting(setting.name, names.LAST_WEIGHTS))
    changed = any(each.startswith(names.of_setting(setting.name, "")) for each in files.changed_files())
    if changed or not files.manifest().keys() >= needed:
        return []
    history: list[HistoryRow] = files.read_record(name, list[HistoryRow])
    return history if len(history) == config.rows_of(setting) else []


def _recorded_config(files: RunFolder) -> tuple[int, Config]:
    """Return the format number and the configuration that a run has recorded."""
    values, file = files.read_json(names.CONFIG), f"{files.folder / names.CONFIG}"
    configuration.check_format(values, file)
    config = configuration.from_json(values, file)
    return values["format"], config


def _refuse_other_start(files: RunFolder, current: Fingerprint) -> None:
    recorded: Fingerprint = files.read_record(names.FINGERPRINT, Fingerprint)
    # Runs from before the pixels were hashed have no hash to compare.
    pixels = {"pixels_sha256"} & recorded.keys()
    for name in ("numeric_class", "versions", "initial_weights_sha256", "code_sha256", *pixels):
        if recorded.get(name) != current.get(name):
            raise ValueError(
                f"{files.folder} was begun with {name} {recorded.get(name)} and now it is {current.get(name)}, so that "
                "it would not end with the same bits. Resume where they are equal, or start again without --resume"
            )


# What is computed from all epochs; metrics.json last, since with it a run counts as finished.
RESULTS = (names.FEATURES, names.SCORES, names.METRICS)


def is_finished(folder: Path) -> bool:
    """Return whether the folder has a run with complete results."""
    return (folder / names.METRICS).is_file()


def check_epochs(folder: Path, before: int, wanted: int) -> None:
    """Raise ValueError if a run is not finished, or already has more than the wanted number of epochs."""
    if not is_finished(folder):
        raise ValueError(f"{folder} is not finished: --resume --epochs {before} ends it first")
    if wanted < before:
        raise ValueError(f"{folder} has {before} epochs already; to go on, --epochs takes more than that")


def begin_extension(files: RunFolder, config: Config) -> None:
    """Write a checkpoint at each setting's last epoch, from which training continues with more epochs.

    Files of the finished run are not changed. The extended run has the same bits as a run that was trained with
    more epochs from the start, since no training step depends on the number of epochs. Only the hash chain of
    the epochs depends on that number, through its first hash, and is therefore computed again.

    Args:
        files: the folder of a finished run.
        config: the run's configuration with more epochs.

    Raises:
        ValueError: the run is damaged; the state after its last epoch was not saved, or differs from the recorded
            hashes; the learning rate depends on the number of epochs; a setting starts from the last
            weights of the previous setting; or the disk is too full.
    """
    run = FinishedRun.open(files.folder)
    _refuse_what_depends_on_epochs(run)
    if changed := files.changed_files():
        raise ValueError(
            f"{files.folder / changed[0]} has other bytes than were written; restore it, so that the training can go on"
        )
    kept = {setting.name: _kept_file(run, setting.name) for setting in config.settings}
    need = sum(file.stat().st_size for file in kept.values())
    refuse_beyond_disk("checkpoints to go on from take", need, files.folder)
    starts = chain.starts(config, run.fingerprint, run.split, run.tensors)
    for setting, file in kept.items():
        tensors = read_tensors(file)
        entries = chain.relink(run.tensors[setting], starts[setting], config)
        position = Position(epoch=run.config.epochs, history=run.histories[setting], tensors=entries)
        folder = path_below(files.folder, names.of_setting(setting, names.CHECKPOINTS))
        # Those of an extension that was begun and given up are as old, and of another number of epochs.
        for old in folder.glob("*.safetensors"):
            old.unlink()
        checkpoints.save_tensors(folder, tensors, position, configuration.to_json(config))


def remove_old_results(files: RunFolder, config: Config) -> None:
    """Remove the results that a finished run had before its extension to more epochs.

    Keep the results if every setting already has all of its epochs.
    """
    if is_finished(files.folder) and any(
        _has_fewer_epochs(files, each.name, config.epochs) for each in config.settings
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
    """Return the file of the state saved after a setting's last epoch; check the hashes of the state first.

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
