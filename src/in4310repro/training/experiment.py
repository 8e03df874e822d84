"""Training of a run: train all optimizer settings, select the best on validation, and score the test set."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from in4310repro.data.images import training_ranges
from in4310repro.evaluation.prediction import predict
from in4310repro.metrics.scores import Scores
from in4310repro.runs import chain, names, records, selection
from in4310repro.runs import config as configuration
from in4310repro.runs.config import Config
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder, refuse_without_run
from in4310repro.runs.settings import OptimizerSetting
from in4310repro.system.context import Context
from in4310repro.system.files import release
from in4310repro.system.numerics import class_of
from in4310repro.system.tensors import tensor_bytes, tensors_sha256
from in4310repro.training import head, run_opening, step_log, training
from in4310repro.training.preparation import TrainingPlan, plan_training
from in4310repro.training.training import Task, fit


def train(
    config: Config,
    context: Context,
    folder: Path,
    *,
    resume: bool = False,
    keep_epochs: bool = False,
    log_steps: str | None = None,
    trace: range = range(0),
) -> FinishedRun:
    """Train every optimizer setting, select the best network on validation, and score the test set once.

    All settings start from equal initial weights. All inputs are checked, and all images decoded, before
    training.

    Args:
        config: every option that changes the run's results.
        context: arithmetic, progress and processes. This process must be the first one; the other processes call
            `follow`.
        folder: the run folder; a run that is already there is moved to another folder.
        resume: continue the run in the folder instead of starting a new one; an error if there is none.
        keep_epochs: keep the weights and the optimizer state after each epoch, for `replay`; no result depends
            on it.
        log_steps: the format of a log of every step, see `step_log`; no result depends on it.
        trace: the steps of each setting to trace, counted from 0, see `step_log`; no result depends on it.

    Raises:
        ValueError: the data, the weights or the settings are invalid; the disk has too little space for kept
            epochs; there is no run to resume, or it was begun with other inputs; or steps are to be traced, but
            the training ends before them or uses several processes.
    """
    class_folders = None
    if resume:
        refuse_without_run(folder)
        config, class_folders = run_opening.as_recorded(config, folder, context.progress)
    else:
        configuration.refuse_unused_values(config)
    context = share_arithmetic(context)
    formats = run_opening.log_formats(folder, log_steps, resume=resume)
    step_log.refuse_several_processes(trace, context.processes)
    context.processes.broadcast_json([config.orientation, config.format, config.class_folders, class_folders])

    plan = _plan(config, context, class_folders)
    step_log.refuse_steps_beyond(trace, len(plan.sets["training"]), plan.config)
    if keep_epochs := keep_epochs or (resume and run_opening.keeps_epochs(folder)):
        run_opening.announce_kept_epochs(plan, folder, context.progress)
    files = (run_opening.resume_run if resume else run_opening.start_run)(folder, plan)
    recorded = {"files": files, "keep_epochs": keep_epochs, "log_steps": formats, "trace": trace}
    settings, whole, histories = plan.config.settings, context.progress.whole(), {}
    for number, setting in enumerate(settings):
        # Its progress display shows the time left of all settings.
        progress = whole.part(number, len(settings), f"setting {number + 1} of {len(settings)}")
        histories[setting.name] = _fit_setting(plan, setting, replace(context, progress=progress), recorded)
    context.processes.broadcast_json(None)
    _score_test_set(files, plan, histories, context)
    finished = FinishedRun.open(folder)
    release(folder)
    return finished


def follow(config: Config, context: Context) -> None:
    """Take part in a training run of several processes, without writing files.

    The first process calls `train`, and every other process calls `follow` with the same configuration.

    Raises:
        ValueError: the data, the weights or the options are invalid, or the processes differ in them.
    """
    context = share_arithmetic(context.silent())
    # The run folder, which only the first process reads, may be an older one.
    orientation, number, recorded, class_folders = context.processes.broadcast_json()
    config = replace(config, orientation=orientation, format=number, class_folders=recorded)
    plan = _plan(config, context, class_folders)
    # Until all settings are trained.
    while name := context.processes.broadcast_json():
        inputs = plan.inputs(plan.config.setting(name), context)
        (head if plan.config.fits_head(inputs.setting) else training).follow(inputs)
    weights = safetensors.torch.load(context.processes.broadcast())
    model = context.numerics.place(plan.network_with(weights, "the selected weights"))
    _predict_parts(model, plan, context)


def share_arithmetic(context: Context) -> Context:
    """Return the context with `numerics` changed to describe all processes of the training run together.

    The numeric class in this description identifies arithmetic that gives equal bits. In native mode it depends on
    the number of processes; in portable mode it does not.

    Raises:
        ValueError: several processes on the CPU would use native arithmetic.
    """
    numerics, size = context.numerics, context.processes.size
    if numerics.portable or size == 1:
        return context
    if numerics.device == "cpu":
        raise ValueError(
            f"{size} processes on the CPU need portable arithmetic, and this one has {numerics.mode}; one "
            "process, with all cores, trains in either"
        )
    name = f"{size} x {numerics.device_name}"
    of_all = class_of(numerics.probe, numerics.threads, name)
    return replace(context, numerics=replace(numerics, device_name=name, numeric_class=of_all))


def _plan(config: Config, context: Context, class_folders: str | None) -> TrainingPlan:
    """Return the plan of a training.

    Raises:
        ValueError: images, weights or arithmetic differ between processes, or a batch is too small for them.
    """
    plan = plan_training(config, context, class_folders)
    numerics, processes = context.numerics, context.processes
    fewest = min(map(len, training_ranges(len(plan.sets["training"]), plan.config.batch_size)))
    if not numerics.portable and fewest < processes.size:
        raise ValueError(
            f"a batch of {fewest} images is less than the {processes.size} processes, each of which needs one in "
            "native arithmetic; use fewer processes or another batch_size"
        )
    mine = {
        "configuration": configuration.to_json(plan.config),
        "split of images": chain.split_sha256(plan.split_csv),
        "set of decoded pixels": plan.fingerprint.get("pixels_sha256"),
        "set of initial weights": plan.fingerprint.get("initial_weights_sha256"),
        "numeric class": numerics.numeric_class,
    }
    first, *others = map(json.loads, processes.gather(json.dumps(mine).encode()))
    for rank, found in enumerate(others, start=1):
        for name, value in first.items():
            if found[name] != value:
                raise ValueError(
                    f"process {rank} has another {name} than process 0; all need the same command, images and libraries"
                )
    return plan


def _fit_setting(
    plan: TrainingPlan, setting: OptimizerSetting, context: Context, recorded: dict[str, Any]
) -> list[records.HistoryRow]:
    """Train with one optimizer setting, unless that is already done; return the history.

    The protocol decides whether training starts from the initial weights or from those of the previous setting.
    `recorded` are the values of the `Task` about files.
    """
    config, files = plan.config, recorded["files"]
    history = run_opening.finished_history(files, setting, config)
    if not history:
        before = config.setting_before(setting)
        last = files.read_tensors(names.of_setting(before, names.LAST_WEIGHTS)) if before else None
        inputs, split_sha256 = plan.inputs(setting, context, last), chain.split_sha256(plan.split_csv)
        start = chain.start_sha256(
            config, setting, split_sha256, tensors_sha256(inputs.model.state_dict()), context.numerics.numeric_class
        )
        task = Task(**vars(inputs), **recorded, start_sha256=start)
        context.processes.broadcast_json(setting.name)
        history = head.fit(task) if config.fits_head(setting) else fit(task)
        if config.protocol.starts_warm:
            # Also where the file is there: a kill may have come between it and its manifest entry.
            last_weights = names.of_setting(setting.name, names.LAST_WEIGHTS)
            files.write_weights(last_weights, task.model.state_dict(), config.preprocessing)
    # The files of the finished setting make its checkpoints needless, and a checkpoint takes 3 times their space.
    shutil.rmtree(files.folder / setting.name / names.CHECKPOINTS, ignore_errors=True)
    return history


def _score_test_set(
    files: RunFolder, plan: TrainingPlan, histories: Mapping[str, list[records.HistoryRow]], context: Context
) -> None:
    """Score the test set with the selected network, and write scores and metrics to the run folder."""
    setting, _ = selection.select(histories, plan.config.select)
    name = names.of_setting(setting, names.BEST_WEIGHTS)
    weights = files.read_tensors(name)
    model = context.numerics.place(plan.network_with(weights, f"{files.folder / name}", of_file=True))
    if context.processes.size > 1:
        context.processes.broadcast(tensor_bytes(weights))
    scores, unseen = _predict_parts(model, plan, context)
    files.write_arrays(
        names.SCORES, paths=np.array(scores.paths, dtype=np.str_), labels=scores.labels, softmax=scores.softmax
    )
    weights_sha256 = tensors_sha256(model.state_dict())
    metrics = selection.run_metrics(plan.config, plan.split, histories, weights_sha256, scores, unseen)
    files.write_json(names.METRICS, metrics)


def _predict_parts(model: torch.nn.Module, plan: TrainingPlan, context: Context) -> tuple[Scores, Scores | None]:
    """Return the scores of the test images, and those of the images that the run has not used.

    There are such images if the protocol trains, validates and tests on the test part of the split. With any
    other protocol, the second item is None.
    """
    config, split = plan.config, plan.split
    scores = predict(model, plan.sets["test"], config, context)
    if not config.protocol.shares_split:
        return scores, None
    entries = (*split.parts["training"], *split.parts["validation"])
    images = config.load("unseen", split.root, entries, context.progress)
    return scores, predict(model, images, config, context)
