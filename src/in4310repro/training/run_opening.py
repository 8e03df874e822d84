"""Run folder of a training: create one, resume an interrupted run, or extend a finished one by more epochs."""

from dataclasses import replace
from pathlib import Path

from in4310repro.data.class_folders import chosen_in
from in4310repro.data.splits import from_csv
from in4310repro.runs import chain, finished, names, records, settings
from in4310repro.runs import config as configuration
from in4310repro.runs.config import Config
from in4310repro.runs.folder import RunFolder
from in4310repro.system import fingerprint, machine, schema, tensors
from in4310repro.system.files import path_below, read_bytes
from in4310repro.system.progress import Progress
from in4310repro.training import checkpoints, preparation, step_log
from in4310repro.training.checkpoints import Position, kept_epoch_bytes


def as_recorded(config: Config, folder: Path, progress: Progress) -> tuple[Config, str | None]:
    """Return the configuration as a run goes on with it, and which folders were its classes.

    Format and EXIF orientation are those of the run, and its class folders if none are named. The classes are known
    by its split: older versions read other folders.

    Raises:
        ValueError: the run's configuration is damaged or has an unsupported format.
    """
    files = RunFolder.open(folder)
    recorded = files.read_config()
    if recorded.orientation != config.orientation:
        progress.message(f"{folder} was begun with EXIF orientation {recorded.orientation}, and goes on so")
    class_folders = config.class_folders or recorded.class_folders
    config = replace(config, orientation=recorded.orientation, format=recorded.format, class_folders=class_folders)
    return config, chosen_in(from_csv(files.file(names.SPLIT), folder).catalogue().labels())


def log_formats(folder: Path, requested: str | None, *, resume: bool) -> frozenset[str]:
    """Return the formats of step logs: the requested one and, in a resumed run, those of existing logs.

    Raises:
        ValueError: the format is unknown, or a library is missing.
    """
    formats = {settings.check_choice("log_steps", requested)} if requested else set()
    formats |= step_log.formats_of(folder) if resume else set()
    if step_log.TENSORBOARD in formats:
        step_log.writer()
    return frozenset(formats)


def keeps_epochs(folder: Path) -> bool:
    """Return whether a run folder has a saved state (weights and optimizer state) of any epoch."""
    return any(folder.glob(f"*/{names.KEPT_EPOCHS}/*.safetensors"))


def announce_kept_epochs(plan: preparation.TrainingPlan, folder: Path, progress: Progress) -> None:
    """Show the disk space needed for saving the state after each epoch, not counting states saved already.

    Raises:
        ValueError: the disk has too little space.
    """
    config = plan.config
    sizes = {each.name: kept_epoch_bytes(plan.network, each) for each in config.settings if not config.fits_head(each)}
    states = ((names.kept_epoch(name, n), name) for name in sizes for n in range(1, config.epochs + 1))
    need = sum(sizes[name] for file, name in states if not (folder / file).exists())
    each = ", ".join(f"{machine.size_text(size)} an epoch with {name}" for name, size in sizes.items())
    takes = f"kept epochs take {each}, in all"
    progress.message(f"{takes} {machine.size_text(need)} below {folder}")
    machine.refuse_beyond_disk(takes, need, folder)


def start_run(folder: Path, plan: preparation.TrainingPlan) -> RunFolder:
    """Create a run folder and write the files whose content is known before training."""
    files = RunFolder.create(folder)
    files.write_json(names.FINGERPRINT, plan.fingerprint)
    files.write_bytes(names.SPLIT, plan.split_csv)
    if plan.config.is_canonical:
        files.write_json(names.PIXELS, plan.pixels)
    if plan.config.group == settings.LOOK_ALIKES:
        files.write_json(names.GROUPS, plan.groups)
    # Last: a folder with a configuration can be resumed.
    files.write_json(names.CONFIG, configuration.to_json(plan.config))
    return files


def resume_run(folder: Path, plan: preparation.TrainingPlan) -> RunFolder:
    """Open an existing run folder. If the plan has more epochs than the run, prepare the run for the further epochs.

    Raises:
        ValueError: the run was begun with other options, other images or another arithmetic, or it cannot be
            extended to the number of epochs (see `begin_extension`).
    """
    files, config = RunFolder.reopen(folder), plan.config
    recorded = files.read_config()
    # Older runs lack newer settings, whose defaults they were trained with: read and written again, they are named.
    schema.refuse_other_configuration(
        {**configuration.to_json(recorded), "epochs": config.epochs}, configuration.to_json(config), f"{folder}"
    )
    if extends := recorded.epochs != config.epochs:
        check_epochs(folder, recorded.epochs, config.epochs)
    if read_bytes(files.file(names.SPLIT)) != plan.split_csv:
        raise ValueError(
            f"{folder} was begun with other images than {plan.split.root} holds now; restore those that its "
            f"{names.SPLIT} lists, or give another --out"
        )
    begun = files.read_record(names.FINGERPRINT, fingerprint.Fingerprint)
    # Runs from before the pixels were hashed have no hash to compare.
    pixels = {"pixels_sha256"} & begun.keys()
    for name in ("numeric_class", "versions", "initial_weights_sha256", "code_sha256", *pixels):
        if (before := begun.get(name)) != (now := plan.fingerprint.get(name)):
            raise ValueError(
                f"{folder} was begun with {name} {before} and now it is {now}, so that it would not end with the same "
                "bits. Resume where they are equal, or start again without --resume"
            )
    if extends:
        begin_extension(files, config)
    # A kill may have come between this file and its manifest entry.
    files.write_json(names.CONFIG, configuration.to_json(config, recorded.format))
    if is_finished(folder) and any(_has_fewer_epochs(files, each.name, config.epochs) for each in config.settings):
        # Of before its extension to more epochs.
        files.remove(*RESULTS)
    return files


def finished_history(files: RunFolder, setting: settings.OptimizerSetting, config: Config) -> list[records.HistoryRow]:
    """Return the history of a setting; an empty list if the training of the setting is not complete.

    The history has a row for each epoch, or for each fit of the last layer. An epoch's row is written after its
    weights, so the best weights of a complete history exist too.
    """
    name, needed = names.of_setting(setting.name, names.HISTORY), {names.HISTORY}
    needed |= {names.LAST_WEIGHTS} if config.protocol.starts_warm else set()
    listed = files.manifest().keys() >= {names.of_setting(setting.name, each) for each in needed}
    changed = any(each.startswith(f"{setting.name}/") for each in files.changed_files())
    if changed or not listed or not (files.folder / name).is_file():
        return []
    history = files.read_record(name, list[records.HistoryRow])
    # One for each fit of a head.
    rows = len(settings.STRENGTHS) if config.fits_head(setting) else config.epochs
    return history if len(history) == rows else []


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
    run, config_json = finished.FinishedRun.open(files.folder), configuration.to_json(config)
    _refuse_what_depends_on_epochs(run)
    if changed := files.changed_files():
        raise ValueError(
            f"{files.folder / changed[0]} has other bytes than were written; restore it, so that the training can go on"
        )
    kept = {setting.name: _kept_file(run, setting.name) for setting in config.settings}
    need = sum(file.stat().st_size for file in kept.values())
    machine.refuse_beyond_disk("checkpoints to go on from take", need, files.folder)
    starts = chain.starts(config, run.fingerprint, run.split, run.tensors)
    for setting, file in kept.items():
        entries = chain.relink(run.tensors[setting], starts[setting], config)
        position = Position(epoch=run.config.epochs, history=run.histories[setting], tensors=entries)
        folder = path_below(files.folder, names.of_setting(setting, names.CHECKPOINTS))
        # Those of an extension that was begun and given up are as old, and of another number of epochs.
        for old in folder.glob("*.safetensors"):
            old.unlink()
        checkpoints.save(folder, tensors.read_tensors(file), position, config_json)


def _has_fewer_epochs(files: RunFolder, setting: str, epochs: int) -> bool:
    """Return whether a setting's history is shorter than `epochs`; False if it is missing or damaged."""
    try:
        return len(files.read_record(names.of_setting(setting, names.HISTORY), list[records.HistoryRow])) < epochs
    except (ValueError, OSError):
        return False


def _refuse_what_depends_on_epochs(run: finished.FinishedRun) -> None:
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


def _kept_file(run: finished.FinishedRun, setting: str) -> Path:
    """Return the file of the state saved after a setting's last epoch; check the hashes of the state first.

    Raises:
        ValueError: the file is missing or damaged, or its hashes differ from the recorded ones.
    """
    file = path_below(run.folder, names.kept_epoch(setting, run.config.epochs))
    if not file.exists():
        raise ValueError(f"{file} is not there, from which {setting} would go on; train --keep-epochs keeps it")
    last = run.tensors[setting][-1]
    found = tuple(map(tensors.tensors_sha256, checkpoints.read_kept_epoch(file)))
    if found != (last["weights_sha256"], last["optimizer_sha256"]):
        raise ValueError(f"{file} holds another state than {names.TENSORS} commits to after epoch {last['epoch']}")
    return file
