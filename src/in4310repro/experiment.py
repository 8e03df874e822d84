"""train(): three trainings from equal starts -> selection -> test scores."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from in4310repro import config as configuration
from in4310repro import extension, head, replicas, training
from in4310repro.capacity import refuse_beyond_disk, size_text
from in4310repro.checkpoints import kept_bytes
from in4310repro.config import LOOK_ALIKES, Config, OptimizerSetting, check_choice
from in4310repro.data.batches import training_ranges
from in4310repro.data.images import load_images
from in4310repro.data.splits import Split, to_csv
from in4310repro.differences import refuse_other_configuration
from in4310repro.epochs import TrainingInputs
from in4310repro.files import read_bytes
from in4310repro.fingerprint import Fingerprint
from in4310repro.numerics import Numerics
from in4310repro.prediction import predict
from in4310repro.preparation import Prepared, prepare
from in4310repro.processes import ALONE, Processes
from in4310repro.progress import SILENT, Progress
from in4310repro.runs import chain, names
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder, refuse_without_run
from in4310repro.runs.measured import run_metrics
from in4310repro.runs.records import HistoryRow
from in4310repro.runs.selection import select
from in4310repro.scores import Scores
from in4310repro.step_log import formats_of, refuse_missing_library
from in4310repro.tensors import tensor_bytes, tensors_sha256
from in4310repro.training import Task, fit


def train(
    config: Config,
    numerics: Numerics,
    folder: Path,
    progress: Progress = SILENT,
    *,
    resume: bool = False,
    keep_epochs: bool = False,
    log_steps: str | None = None,
    processes: Processes = ALONE,
) -> FinishedRun:
    """Trains every setting from equal initial weights, selects on validation, and scores the test set once.

    All inputs are checked, and all images decoded, before anything is computed.

    Args:
        config: everything that changes the run.
        numerics: the arithmetic of this process.
        folder: the run folder; a run that is already there moves aside.
        progress: where to show how far it is.
        resume: continue the run that is there instead; without one this is an error, as on the command line.
        keep_epochs: keep the weights and the optimizer state after each epoch, for `replay`; no result depends on it.
        log_steps: a format to log every step in, see `step_log`; no result depends on it.
        processes: those that train together, of which this is the first and the others call `follow`; no result
            depends on their number.

    Raises:
        ValueError: whatever is wrong with the data, the weights or the settings; on resuming, no run or whatever
            differs; too little disk for the epochs that are kept.
    """
    if resume:
        refuse_without_run(folder)
        config = _as_begun(config, folder, progress)
    numerics = replicas.numerics_of(numerics, processes)
    _refuse_native_shares(numerics, processes)
    formats = _log_formats(folder, log_steps, resume=resume)
    processes.told_json(config.orientation)
    prepared = _prepared(config, numerics, progress, processes)
    config, split, sets = prepared.config, prepared.split, prepared.sets
    initial, current = prepared.network.state_dict(), prepared.fingerprint
    keep_epochs = keep_epochs or (resume and any(folder.glob(f"*/{names.KEPT_EPOCHS}/*.safetensors")))
    if keep_epochs:
        _announce_kept_epochs(config, prepared.network, folder, progress)
    files = _resumed(folder, config, split, current) if resume else _started(folder, prepared)
    histories: dict[str, list[HistoryRow]] = {}
    whole, count = progress.whole(), len(config.settings)
    for number, setting in enumerate(config.settings):
        before = config.setting_before(setting)
        start = files.read_tensors(names.of_setting(before, names.LAST_WEIGHTS)) if before else initial
        task = Task(
            model=prepared.network_with(start, "the initial weights"),
            training=sets["training"],
            validation=sets["validation"],
            config=config,
            setting=setting,
            files=files,
            numerics=numerics,
            progress=whole.part(number, count, f"setting {number + 1} of {count}"),
            split_sha256=chain.split_sha256(split),
            keep_epochs=keep_epochs,
            log_steps=formats,
            processes=processes,
        )
        histories[setting.name] = _trained_history(files, setting, config)
        if not histories[setting.name]:
            processes.told_json(setting.name)
            histories[setting.name] = head.fit(task) if config.fits_head(setting) else fit(task)
        _close_setting(task)
    processes.told_json(None)
    _score_test_set(files, prepared, histories, numerics, progress, processes)
    return FinishedRun.open(folder)


def follow(config: Config, numerics: Numerics, processes: Processes) -> None:
    """The part of a process beside the one that calls `train` with the same arguments; reads and writes no run folder.

    Raises:
        ValueError: as `train`.
    """
    numerics = replicas.numerics_of(numerics, processes)
    _refuse_native_shares(numerics, processes)
    # The run folder, which only the first process reads, may be an older one.
    config = replace(config, orientation=processes.told_json())
    prepared = _prepared(config, numerics, SILENT, processes)
    config, sets = prepared.config, prepared.sets
    settings = {setting.name: setting for setting in config.settings}
    # Until all settings are trained.
    while name := processes.told_json():
        inputs = TrainingInputs(
            model=prepared.network_with(prepared.network.state_dict(), "the initial weights"),
            training=sets["training"],
            validation=sets["validation"],
            config=config,
            setting=settings[name],
            numerics=numerics,
            processes=processes,
        )
        (head if config.fits_head(inputs.setting) else training).follow(inputs)
    weights = safetensors.torch.load(processes.told())
    model = numerics.place(prepared.network_with(weights, "the selected weights"))
    _predict_parts(model, prepared, numerics, SILENT, processes)


def _refuse_native_shares(numerics: Numerics, processes: Processes) -> None:
    """Raise ValueError before the first message between processes that cannot train together."""
    if processes.size > 1 and not numerics.portable and numerics.device == "cpu":
        raise ValueError(
            f"{processes.size} processes on the CPU need portable arithmetic, and this one has {numerics.mode}; one "
            "process, with all cores, trains in either"
        )


def _prepared(config: Config, numerics: Numerics, progress: Progress, processes: Processes) -> Prepared:
    """What the training starts from, which all processes have alike.

    Raises:
        ValueError: it cannot start, or a process has other images, weights or arithmetic than the first.
    """
    prepared = prepare(config, numerics, progress, processes)
    fewest = min(map(len, training_ranges(len(prepared.sets["training"]), prepared.config.batch_size)))
    if not numerics.portable and fewest < processes.size:
        raise ValueError(
            f"a batch of {fewest} images is less than the {processes.size} processes, each of which needs one in "
            "native arithmetic; use fewer processes or another batch_size"
        )
    mine = {
        "configuration": configuration.to_json(prepared.config),
        "split of images": chain.split_sha256(prepared.split),
        "set of decoded pixels": prepared.fingerprint.get("pixels_sha256"),
        "set of initial weights": prepared.fingerprint.get("initial_weights_sha256"),
        "numeric class": numerics.numeric_class,
    }
    first, *others = map(json.loads, processes.gather(json.dumps(mine).encode()))
    for rank, found in enumerate(others, start=1):
        for name, value in first.items():
            if found[name] != value:
                raise ValueError(
                    f"process {rank} has another {name} than process 0; all need the same command, images and libraries"
                )
    return prepared


def _log_formats(folder: Path, requested: str | None, *, resume: bool) -> frozenset[str]:
    """Formats of the logs: what is asked for and, when a run is resumed, those that it has."""
    formats = {check_choice("log_steps", requested)} if requested else set()
    formats |= formats_of(folder) if resume else set()
    refuse_missing_library(formats)
    return frozenset(formats)


def _announce_kept_epochs(config: Config, model: torch.nn.Module, folder: Path, progress: Progress) -> None:
    """Says how much disk the epochs take that are kept, less those that are there, or raises ValueError without it."""
    state, trainable = model.state_dict(), [name for name, _ in model.named_parameters()]
    trained = [setting for setting in config.settings if not config.fits_head(setting)]
    sizes = {setting.name: kept_bytes(state, trainable, setting) for setting in trained}
    need = sum(
        size
        for name, size in sizes.items()
        for epoch in range(1, config.epochs + 1)
        if not (folder / names.kept_epoch(name, epoch)).exists()
    )
    each = ", ".join(f"{size_text(size)} an epoch with {name}" for name, size in sizes.items())
    progress.message(f"kept epochs take {each}, in all {size_text(need)} below {folder}")
    refuse_beyond_disk(f"kept epochs take {each}, in all", need, folder)


def _started(folder: Path, prepared: Prepared) -> RunFolder:
    """A new run folder with what is known before training."""
    files = RunFolder.create(folder)
    files.write_json(names.FINGERPRINT, prepared.fingerprint)
    files.write_bytes(names.SPLIT, to_csv(prepared.split))
    if prepared.config.group == LOOK_ALIKES:
        files.write_json(names.GROUPS, prepared.groups)
    # Last: a folder with a configuration can be resumed.
    files.write_json(names.CONFIG, configuration.to_json(prepared.config))
    return files


def _as_begun(config: Config, folder: Path, progress: Progress) -> Config:
    """Return the configuration with the orientation of the run in a folder, which goes on with the same pixels.

    Raises:
        ValueError: the configuration of the run is damaged or of another format.
    """
    recorded, file = RunFolder.open(folder).read_json(names.CONFIG), f"{folder / names.CONFIG}"
    configuration.check_format(recorded, file)
    begun = configuration.from_json(recorded, file)
    if begun.orientation != config.orientation:
        progress.message(f"{folder} was begun with EXIF orientation {begun.orientation}, and goes on so")
    return replace(config, orientation=begun.orientation)


def _resumed(folder: Path, config: Config, split: Split, current: Fingerprint) -> RunFolder:
    """The run to continue.

    Raises:
        ValueError: it was begun with other settings, other images or in other arithmetic; with fewer epochs, and it
            cannot go on (see `extension`).
    """
    files = RunFolder.reopen(folder)
    recorded = files.read_json(names.CONFIG)
    configuration.check_format(recorded, f"{folder / names.CONFIG}")
    before = configuration.from_json(recorded, f"{folder / names.CONFIG}")
    # Read and written again: what a run of before does not name has the value that it had then, which is the default.
    refuse_other_configuration(
        {**configuration.to_json(before), "epochs": config.epochs}, configuration.to_json(config), f"{folder}"
    )
    if before.epochs != config.epochs:
        extension.check_epochs(folder, before.epochs, config.epochs)
    if read_bytes(files.file(names.SPLIT)) != to_csv(split):
        raise ValueError(
            f"{folder} was begun with other images than {split.root} holds now; its {names.SPLIT} lists them"
        )
    begun_with: Fingerprint = files.read_record(names.FINGERPRINT, Fingerprint)
    # A run of before the pixels were hashed says nothing of them.
    pixels = {"pixels_sha256"} & begun_with.keys()
    for name in ("numeric_class", "versions", "initial_weights_sha256", *pixels):
        if begun_with.get(name) != current.get(name):
            raise ValueError(
                f"{folder} was begun with {name} {begun_with.get(name)} and now it is {current.get(name)}, so that it "
                "would not end with the same bits. Resume where they are equal, or start again without --resume"
            )
    if before.epochs != config.epochs:
        extension.begin(files, config)
    # A kill may have come between this file and its manifest entry.
    files.write_json(names.CONFIG, configuration.to_json(config, recorded["format"]))
    extension.remove_old_results(files, config)
    return files


def _trained_history(files: RunFolder, setting: OptimizerSetting, config: Config) -> list[HistoryRow]:
    """The history of a setting that was trained to its end, else an empty list.

    An epoch's row is written after its weights, so a complete history has its best weights beside it.
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


def _close_setting(task: Task) -> None:
    """Writes what the next setting needs, and removes what a finished setting no longer does."""
    last = names.of_setting(task.setting.name, names.LAST_WEIGHTS)
    if task.config.protocol.starts_warm and not (task.files.folder / last).is_file():
        task.files.write_weights(last, task.model.state_dict(), task.config.preprocessing)
    # Everything that a checkpoint could give is in the files of the finished setting; it takes 3 times their space.
    shutil.rmtree(task.files.folder / task.setting.name / names.CHECKPOINTS, ignore_errors=True)


def _score_test_set(
    files: RunFolder,
    prepared: Prepared,
    histories: Mapping[str, list[HistoryRow]],
    numerics: Numerics,
    progress: Progress,
    processes: Processes,
) -> None:
    """The only look at the test set: by the selected network, after the selection."""
    setting, _ = select(histories)
    name = names.of_setting(setting, names.BEST_WEIGHTS)
    weights = files.read_tensors(name)
    model = numerics.place(prepared.network_with(weights, f"{files.folder / name}", of_file=True))
    if processes.size > 1:
        processes.told(tensor_bytes(weights))
    scores, unseen = _predict_parts(model, prepared, numerics, progress, processes)
    files.write_arrays(
        names.SCORES, paths=np.array(scores.paths, dtype=np.str_), labels=scores.labels, softmax=scores.softmax
    )
    weights_sha256 = tensors_sha256(model.state_dict())
    metrics = run_metrics(prepared.config, prepared.split, histories, weights_sha256, scores, unseen)
    files.write_json(names.METRICS, metrics)


def _predict_parts(
    model: torch.nn.Module, prepared: Prepared, numerics: Numerics, progress: Progress, processes: Processes
) -> tuple[Scores, Scores | None]:
    """Scores of the test set and, where it is a shared split, of the images that are never read."""
    config, split = prepared.config, prepared.split
    scores = predict(model, prepared.sets["test"], config, numerics, progress, processes=processes)
    if not config.protocol.shares_split:
        return scores, None
    entries = (*split.parts["training"], *split.parts["validation"])
    images = load_images(
        "unseen", split.root, entries, config.image_size, preprocessing=config.preprocessing, progress=progress
    )
    return scores, predict(model, images, config, numerics, progress, processes=processes)
