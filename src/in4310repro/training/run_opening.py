"""Run folder of a training: create a new one, or resume one that belongs to the same training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from in4310repro.data.splits import Split, to_csv
from in4310repro.runs import config as configuration
from in4310repro.runs import names
from in4310repro.runs.config import LOOK_ALIKES, Config, check_choice
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.records import HistoryRow
from in4310repro.runs.settings import OptimizerSetting, TrainingSettings
from in4310repro.system.files import read_bytes
from in4310repro.system.fingerprint import Fingerprint
from in4310repro.system.machine import refuse_beyond_disk, size_text
from in4310repro.system.progress import Progress
from in4310repro.system.schema import refuse_other_configuration
from in4310repro.training import extension
from in4310repro.training.checkpoints import kept_epoch_bytes
from in4310repro.training.preparation import TrainingPlan
from in4310repro.training.step_log import formats_of, refuse_missing_library


def with_recorded_orientation(config: Config, folder: Path, progress: Progress) -> Config:
    """Return the configuration with the EXIF orientation option of the run in the folder.

    Raises:
        ValueError: the run's configuration is damaged or has an unsupported format.
    """
    _, recorded = _recorded_config(RunFolder.open(folder))
    if recorded.orientation != config.orientation:
        progress.message(f"{folder} was begun with EXIF orientation {recorded.orientation}, and goes on so")
    return replace(config, orientation=recorded.orientation)


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
    """Return whether a run has saved weights and optimizer state after single epochs."""
    return any(folder.glob(f"*/{names.KEPT_EPOCHS}/*.safetensors"))


def announce_kept_epochs(plan: TrainingPlan, folder: Path, progress: Progress) -> None:
    """Show the disk space that the saved states after each epoch will take, without those that exist already.

    Raises:
        ValueError: the disk has too little space.
    """
    config, state = plan.config, plan.network.state_dict()
    trainable = [name for name, _ in plan.network.named_parameters()]
    trained = [setting for setting in config.settings if not config.training.fits_head(setting)]
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
    files.write_bytes(names.SPLIT, to_csv(plan.split))
    if plan.config.group == LOOK_ALIKES:
        files.write_json(names.GROUPS, plan.groups)
    # Last: a folder with a configuration can be resumed.
    files.write_json(names.CONFIG, configuration.to_json(plan.config))
    return files


def resume_run(folder: Path, plan: TrainingPlan) -> RunFolder:
    """Open an existing run folder, and prepare the run for more epochs if the plan has more.

    Raises:
        ValueError: the run was begun with other options, other images or another arithmetic, or it cannot be
            extended to the number of epochs (see `extension`).
    """
    files, config = RunFolder.reopen(folder), plan.config
    number, recorded = _recorded_config(files)
    # Older runs lack newer settings, whose defaults they were trained with: read and written again, they are named.
    refuse_other_configuration(
        {**configuration.to_json(recorded), "epochs": config.epochs}, configuration.to_json(config), f"{folder}"
    )
    extends = recorded.epochs != config.epochs
    if extends:
        extension.check_epochs(folder, recorded.epochs, config.epochs)
    _refuse_other_images(files, plan.split)
    _refuse_other_start(files, plan.fingerprint)
    if extends:
        extension.begin(files, config)
    # A kill may have come between this file and its manifest entry.
    files.write_json(names.CONFIG, configuration.to_json(config, number))
    extension.remove_old_results(files, config.training)
    return files


def finished_history(files: RunFolder, setting: OptimizerSetting, training: TrainingSettings) -> list[HistoryRow]:
    """Return a setting's history, one row per epoch; an empty list if the setting is not fully trained.

    An epoch's row is written after its weights, so the best weights of a complete history exist too.
    """
    name = names.of_setting(setting.name, names.HISTORY)
    if not (files.folder / name).is_file():
        return []
    needed = {name}
    if training.protocol.starts_warm:
        needed.add(names.of_setting(setting.name, names.LAST_WEIGHTS))
    changed = any(each.startswith(names.of_setting(setting.name, "")) for each in files.changed_files())
    if changed or not files.manifest().keys() >= needed:
        return []
    history: list[HistoryRow] = files.read_record(name, list[HistoryRow])
    return history if len(history) == training.rows_of(setting) else []


def _recorded_config(files: RunFolder) -> tuple[int, Config]:
    """Return the format number and the configuration that a run has recorded."""
    values, file = files.read_json(names.CONFIG), f"{files.folder / names.CONFIG}"
    configuration.check_format(values, file)
    config = configuration.from_json(values, file)
    return values["format"], config


def _refuse_other_images(files: RunFolder, split: Split) -> None:
    if read_bytes(files.file(names.SPLIT)) != to_csv(split):
        raise ValueError(
            f"{files.folder} was begun with other images than {split.root} holds now; its {names.SPLIT} lists them"
        )


def _refuse_other_start(files: RunFolder, current: Fingerprint) -> None:
    recorded: Fingerprint = files.read_record(names.FINGERPRINT, Fingerprint)
    # Runs from before the pixels were hashed have no hash to compare.
    pixels = {"pixels_sha256"} & recorded.keys()
    for name in ("numeric_class", "versions", "initial_weights_sha256", *pixels):
        if recorded.get(name) != current.get(name):
            raise ValueError(
                f"{files.folder} was begun with {name} {recorded.get(name)} and now it is {current.get(name)}, so that "
                "it would not end with the same bits. Resume where they are equal, or start again without --resume"
            )
