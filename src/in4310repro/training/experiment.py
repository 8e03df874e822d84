"""Training of a run: train all optimizer settings, select the best on validation, and score the test set.

The run folder is new, or that of an interrupted run that is resumed, or of a finished one that gets more epochs.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch

from in4310repro.data.class_folders import chosen_in
from in4310repro.data.images import training_ranges
from in4310repro.data.splits import from_csv
from in4310repro.evaluation.prediction import predict
from in4310repro.metrics.scores import Scores
from in4310repro.runs import chain, config as configuration, names, record_types, selection, settings
from in4310repro.runs.config import Config
from in4310repro.runs.deviations import UNSEEN
from in4310repro.runs.finished import FinishedRun, score_bytes
from in4310repro.runs.folder import RunFolder, refuse_without_run
from in4310repro.runs.settings import OptimizerSetting
from in4310repro.system import machine, schema
from in4310repro.system.context import Context, accept_former_place
from in4310repro.system.files import bytes_sha256, path_below, read_bytes, release
from in4310repro.system.fingerprint import Fingerprint
from in4310repro.system.numerics import class_of
from in4310repro.system.progress import Progress
from in4310repro.system.tensors import read_tensors, tensor_bytes, tensors_sha256
from in4310repro.training import checkpoints, head, step_log, training
from in4310repro.training.preparation import TrainingPlan, plan_training
from in4310repro.training.training import Task, fit, read_history

Begun = tuple[configuration.Values, str | None]  # options of a run that goes on, and which folders were its classes


@accept_former_place
def train(
    config: Config,
    folder: str | Path,
    *,
    context: Context | None = None,
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
        folder: the run folder; a run that is already there is moved to another folder.
        context: arithmetic, progress and processes; None: this process alone, without progress. This process must be
            the first one; the other processes call `follow`.
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
    folder, context = Path(folder), context or Context()
    if resume:
        begun = as_recorded(config, folder, context.progress)
    else:
        configuration.refuse_unused_values(config)
        begun = {}, None
    context = share_arithmetic(context)
    formats = step_log.log_formats(folder, log_steps, resume)
    step_log.refuse_several_processes(trace, context.processes)
    plan = _plan(config, context, begun)
    step_log.refuse_steps_beyond(trace, len(plan.sets["training"]), plan.config)
    if keep_epochs := keep_epochs or (resume and any(folder.glob(f"*/{names.KEPT_EPOCHS}/*.safetensors"))):
        announce_kept_epochs(plan, folder, context.progress)
    files = (resume_run if resume else start_run)(folder, plan)
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
    plan = _plan(config, context)
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


def _plan(config: Config, context: Context, begun: Begun | None = None) -> TrainingPlan:
    """Return the plan of a training; `begun` is what `as_recorded` gives of the run that is continued.

    Only the first process reads the run folder, and sends it to the others.

    Raises:
        ValueError: images, weights or arithmetic differ between processes, or a batch is too small for them.
    """
    options, class_folders = context.processes.broadcast_json(begun)
    plan = plan_training(replace(config, **options), context, class_folders)
    numerics, processes = context.numerics, context.processes
    fewest = min(map(len, training_ranges(len(plan.sets["training"]), plan.config.batch_size)))
    if not numerics.portable and fewest < processes.size:
        raise ValueError(
            f"a batch of {fewest} images is less than the {processes.size} processes, each of which needs one in "
            "native arithmetic; use fewer processes or another batch_size"
        )
    mine = {
        "configuration": configuration.to_json(plan.config),
        "split of images": bytes_sha256(plan.split_csv),
        "set of decoded pixels": plan.fingerprint.get("pixels_sha256"),
        "set of initial weights": plan.fingerprint.get("initial_weights_sha256"),
        "numeric class": numerics.numeric_class,
    }
    first, *others = processes.gather_json(mine)
    for rank, found in enumerate(others, start=1):
        for name, value in first.items():
            if found[name] != value:
                raise ValueError(
                    f"process {rank} has another {name} than process 0; all need the same command, images and libraries"
                )
    return plan


def _fit_setting(
    plan: TrainingPlan, setting: OptimizerSetting, context: Context, recorded: configuration.Values
) -> record_types.History:
    """Train with one optimizer setting, unless that is already done; return the history.

    The protocol decides whether training starts from the initial weights or from those of the previous setting.
    `recorded` are the values of the `Task` about files.
    """
    config, files = plan.config, recorded["files"]
    # An epoch's row is written after its weights, so the best weights of a complete history exist too.
    history = read_history(files, setting.name, *[names.LAST_WEIGHTS] * config.protocol.starts_warm)
    if len(history) != _rows(setting, config):
        before = config.setting_before(setting)
        last = files.read_tensors(f"{before}/{names.LAST_WEIGHTS}") if before else None
        inputs, split_sha256 = plan.inputs(setting, context, last), bytes_sha256(plan.split_csv)
        start = chain.start_sha256(
            config, setting, split_sha256, tensors_sha256(inputs.model.state_dict()), context.numerics.numeric_class
        )
        task = Task(**vars(inputs), **recorded, start_sha256=start)
        context.processes.broadcast_json(setting.name)
        history = head.fit(task) if config.fits_head(setting) else fit(task)
        if config.protocol.starts_warm:
            # Also where the file is there: a kill may have come between it and its manifest entry.
            last_weights = f"{setting.name}/{names.LAST_WEIGHTS}"
            files.write_weights(last_weights, task.model.state_dict(), config.preprocessing)
    # Checkpoints of a finished setting are no longer needed, and each takes 3 times the space of its weights.
    shutil.rmtree(files.folder / setting.name / names.CHECKPOINTS, ignore_errors=True)
    return history


def _score_test_set(files: RunFolder, plan: TrainingPlan, histories: selection.Histories, context: Context) -> None:
    """Score the test set with the selected network, and write scores and metrics to the run folder."""
    setting, _ = selection.select(histories, plan.config.select)
    name = f"{setting}/{names.BEST_WEIGHTS}"
    weights = files.read_tensors(name)
    model = context.numerics.place(plan.network_with(weights, f"{files.folder / name}", of_file=True))
    if context.processes.size > 1:
        context.processes.broadcast(tensor_bytes(weights))
    scores, *unseen = _predict_parts(model, plan, context)
    files.write_bytes(names.SCORES, score_bytes(scores))
    weights_sha256 = tensors_sha256(model.state_dict())
    metrics = selection.run_metrics(plan.config, plan.split, histories, weights_sha256, scores, *unseen)
    files.write_json(names.METRICS, metrics)


def _predict_parts(model: torch.nn.Module, plan: TrainingPlan, context: Context) -> list[Scores]:
    """Return the scores of the test images and, if there are any, of the images that the run has not used.

    There are such images if the protocol trains, validates and tests on the test part of the split.
    """
    config, sets = plan.config, [plan.sets["test"]]
    if config.protocol.shares_split:
        sets.append(config.load_part(plan.split, UNSEEN, context.progress))
    return [predict(model, images, config, context) for images in sets]


def as_recorded(config: Config, folder: Path, progress: Progress) -> Begun:
    """Return the options of a run that its continuation takes over, and which folders were its classes.

    Format and EXIF orientation are those of the run, and its class folders if none are named. The classes are known
    by its split: older versions read other folders.

    Raises:
        ValueError: there is no run, or its configuration is damaged or has an unsupported format.
    """
    refuse_without_run(folder)
    files = RunFolder(folder)
    recorded = files.read_config()
    if recorded.orientation != config.orientation:
        progress.message(f"{folder} was begun with EXIF orientation {recorded.orientation}, and continues with it")
    options = {name: getattr(recorded, name) for name in ("orientation", "format")}
    options["class_folders"] = config.class_folders or recorded.class_folders
    return options, chosen_in(from_csv(files.file(names.SPLIT), folder).catalogue().labels())


def announce_kept_epochs(plan: TrainingPlan, folder: Path, progress: Progress) -> None:
    """Show the disk space needed for saving the state after each epoch, not counting states saved already.

    Raises:
        ValueError: the disk has too little space.
    """
    config = plan.config
    sizes = {
        each.name: checkpoints.kept_epoch_bytes(plan.network, each)
        for each in config.settings
        if not config.fits_head(each)
    }
    of_epochs = ((names.kept_epoch(name, n + 1), size) for name, size in sizes.items() for n in range(config.epochs))
    need = sum(size for file, size in of_epochs if not (folder / file).exists())
    each = ", ".join(f"{machine.size_text(size)} an epoch with {name}" for name, size in sizes.items())
    takes = f"kept epochs take {each}, in all"
    progress.message(f"{takes} {machine.size_text(need)} below {folder}")
    machine.refuse_beyond_disk(takes, need, folder)


def start_run(folder: Path, plan: TrainingPlan) -> RunFolder:
    """Create a run folder and write the files whose content is known before training."""
    files = RunFolder.create(folder)
    files.write_json(names.FINGERPRINT, plan.fingerprint)
    files.write_bytes(names.SPLIT, plan.split_csv)
    if plan.config.is_canonical:
        hashes = {path: sha256 for images in plan.sets.values() for path, sha256 in images.pixel_hashes().items()}
        files.write_json(names.PIXELS, dict(sorted(hashes.items())))
    if plan.config.group == settings.LOOK_ALIKES:
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
    recorded = files.read_config()
    # Older runs lack newer settings, whose defaults they were trained with: read and written again, they are named.
    schema.refuse_other_configuration(
        {**configuration.to_json(recorded), "epochs": config.epochs}, configuration.to_json(config), f"{folder}"
    )
    is_finished, extends = (folder / names.METRICS).is_file(), recorded.epochs != config.epochs
    if extends and not is_finished:
        raise ValueError(f"{folder} is not finished: --resume --epochs {recorded.epochs} must finish it first")
    if recorded.epochs > config.epochs:
        raise ValueError(f"{folder} has {recorded.epochs} epochs already; to continue it, give more with --epochs")
    if read_bytes(files.file(names.SPLIT)) != plan.split_csv:
        raise ValueError(
            f"{folder} was begun with other images than {plan.split.root} holds now; restore those that its "
            f"{names.SPLIT} lists, or give another --out"
        )
    begun = files.read_record(names.FINGERPRINT, Fingerprint)
    # Runs from before the pixels were hashed have no hash to compare.
    pixels = {"pixels_sha256"} & begun.keys()
    for name in ("numeric_class", "versions", "initial_weights_sha256", "code_sha256", *pixels):
        if (before := begun.get(name)) != (now := plan.fingerprint.get(name)):
            raise ValueError(
                f"{folder} was begun with {name} {before} and now it is {now}, so its bits would differ in the end; "
                "resume it where they are equal, or start again without --resume"
            )
    if extends:
        begin_extension(files, config)
    # A kill may have come between this file and its manifest entry.
    files.write_json(names.CONFIG, configuration.to_json(config))
    if is_finished and any(0 < len(read_history(files, each.name)) < _rows(each, config) for each in config.settings):
        # Results from before the run was extended to more epochs.
        files.remove(*RESULTS)
    return files


def _rows(setting: OptimizerSetting, config: Config) -> int:
    """Return the number of rows of a complete history: one for each epoch, or for each fit of the last layer."""
    return len(settings.STRENGTHS) if config.fits_head(setting) else config.epochs


# Files computed from all epochs; metrics.json last, since with it a run counts as finished.
RESULTS = (names.FEATURES, names.SCORES, names.METRICS)


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
    run, config_json = FinishedRun.open(files.folder), configuration.to_json(config)
    if config.schedule != "constant" or config.warm_up:
        raise ValueError(
            f"{run.folder} was trained with schedule {config.schedule!r} and warm_up {config.warm_up}: the learning "
            "rate of every step depended on the epochs; more can follow only a schedule 'constant' without warm_up"
        )
    if config.protocol.starts_warm:
        raise ValueError(
            f"{run.folder} has warm-start: each setting started where the one before ended, so no epochs can follow"
        )
    if changed := files.changed_files():
        raise ValueError(f"{files.folder / changed[0]} has other bytes than were written; restore it to continue")
    kept = {name: path_below(run.folder, names.kept_epoch(name, run.config.epochs)) for name in run.histories}
    for setting, file in kept.items():
        if not file.exists():
            raise ValueError(f"{file} is missing, from which {setting} continues; train --keep-epochs keeps it")
        checkpoints.read_kept_epoch(file, run.tensors[setting][-1])
    need = sum(file.stat().st_size for file in kept.values())
    machine.refuse_beyond_disk("checkpoints to continue from take", need, files.folder)
    starts = chain.starts(config, run.fingerprint, run.split, run.tensors)
    for setting, file in kept.items():
        entries = chain.relink(run.tensors[setting], starts[setting], config)
        position = checkpoints.Position(epoch=run.config.epochs, history=run.histories[setting], tensors=entries)
        folder = path_below(files.folder, f"{setting}/{names.CHECKPOINTS}")
        # Those of an extension that was begun and given up are as old, and of another number of epochs.
        for old in folder.glob("*.safetensors"):
            old.unlink()
        checkpoints.save(folder, read_tensors(file), position, config_json)
