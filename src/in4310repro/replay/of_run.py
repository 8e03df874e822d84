"""replay(): known and drawn epochs of a run's selected setting, trained again from what the run kept."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from in4310repro.context import Context
from in4310repro.data.images import load_images
from in4310repro.epochs import TrainingInputs, refuse_too_large_a_step
from in4310repro.numerics import Numerics
from in4310repro.pixels import pixel_differences
from in4310repro.progress import interrupts
from in4310repro.replay import epoch as one_epoch
from in4310repro.replay.epoch import Claim, Kept
from in4310repro.replay.plan import Plan, make_plan
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.settings import OptimizerSetting
from in4310repro.tensors import tensors_sha256

LARGEST_SEED = 2**32  # of a seed that is drawn here, so that a person can copy it


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What came of a replay."""

    plan: Plan
    training_sha256: str  # of the last entry of the chain
    portable: bool
    first_epoch_from: str | None = None  # with the deviation warm-start, the setting whose last weights it takes
    replayed: list[int] = field(default_factory=list)  # epochs that were trained again
    missing: dict[int, str] = field(default_factory=dict)  # why an epoch was not
    differences: list[str] = field(default_factory=list)  # as sentences


class _MissingError(Exception):
    """What an epoch starts from is not at hand."""


def plan_replay(run: FinishedRun, draws: int, seed: int | None, numerics: Numerics) -> Plan:
    """The epochs of the selected setting that a replay trains again.

    Args:
        run: as it says itself.
        draws: how many are drawn beside the first, the last and the selected one, if so many are left.
        seed: of the draw; None draws one.
        numerics: the arithmetic of this process.

    Raises:
        ValueError: this arithmetic is not the run's; a training step is too large for this machine.
    """
    if run.config.training.fits_head(run.config.training.setting(run.metrics["setting"])):
        raise ValueError(
            f"the head of {run.folder} was fitted and has no epochs; verify without --replay fits it again"
        )
    seed = secrets.randbelow(LARGEST_SEED) if seed is None else seed
    plan = make_plan(run.metrics["setting"], run.config.epochs, run.metrics["epoch"], draws, seed)
    _refuse_other_arithmetic(run, numerics)
    refuse_too_large_a_step(run.config, numerics)
    return plan


def missing_epochs(run: FinishedRun, plan: Plan) -> str:
    """Which epochs of the plan have no state before them, as the names of the files tell; empty where all have."""
    missing = [epoch for epoch in plan.epochs if epoch > 1 and not _kept_file(run, plan.setting, epoch).exists()]
    return _no_state(run, plan.setting, f"epoch {', '.join(map(str, missing))}") if missing else ""


def replay(run: FinishedRun, plan: Plan, context: Context, data: str | None = None) -> Replay:
    """Trains the first, the last and the selected epoch of the selected setting again, and others that are drawn.

    Each starts from the kept state of the epoch before it, which must equal its entry in the chain; the first from the
    initial weights, drawn or read again. Every tensor, the optimizer state, the training loss and the validation row
    are compared to the bit. The images are decoded again.

    Args:
        run: that was verified.
        plan: of `plan_replay`.
        context: arithmetic, progress and processes of the computation.
        data: the folder of the images; None: where the configuration says, or the embedded scenes.

    Raises:
        ValueError: an image is missing or has other bytes than when the run was made.
        KeyboardInterrupt: after a step.
    """
    setting = run.config.training.setting(plan.setting)
    inputs_of, other_pixels = _load_inputs(run, setting, context, data)
    result = Replay(
        plan=plan,
        training_sha256=run.training_sha256,
        portable=context.numerics.portable,
        first_epoch_from=run.config.training.setting_before(setting),
        differences=other_pixels,
    )
    with interrupts() as interrupted:
        for epoch in plan.epochs:
            context.progress.message(f"training epoch {epoch} of {setting.name} again")
            try:
                result.differences.extend(_epoch_differences(run, setting, epoch, inputs_of, interrupted))
                result.replayed.append(epoch)
            except _MissingError as error:
                result.missing[epoch] = str(error)
            if interrupted():
                raise KeyboardInterrupt
    return result


def _refuse_other_arithmetic(run: FinishedRun, numerics: Numerics) -> None:
    recorded, made_in = run.fingerprint["numeric_class"], run.fingerprint["numerics"]
    if recorded == numerics.numeric_class:
        return
    why = (
        "portable arithmetic of one version has one class"
        if made_in == "portable"
        else "native arithmetic repeats where the class is the same, so that other bits would show nothing"
    )
    raise ValueError(
        f"{run.folder} was trained in {made_in} arithmetic of numeric class {recorded}, and this process computes in "
        f"{numerics.mode} arithmetic of class {numerics.numeric_class}: no epoch is trained again; {why}"
    )


def _load_inputs(
    run: FinishedRun, setting: OptimizerSetting, context: Context, data: str | None
) -> tuple[Callable[[torch.nn.Module], TrainingInputs], list[str]]:
    """Decodes the images.

    Returns:
        What makes the inputs of a training that starts from a network, and in what the pixels are not those of the run.
    """
    split = run.split_below(data)
    training, validation = (
        load_images(
            part,
            split.root,
            split.parts[run.config.protocol.part_read_as(part)],
            run.config.image_size,
            preprocessing=run.config.preprocessing,
            cache=False,
            progress=context.progress,
        )
        for part in ("training", "validation")
    )
    other_pixels = [
        *pixel_differences(run, "training", training, bitwise=True),
        *pixel_differences(run, "validation", validation, bitwise=True),
    ]

    def inputs_of(model: torch.nn.Module) -> TrainingInputs:
        return TrainingInputs(
            model=model,
            training=training,
            validation=validation,
            config=run.config,
            setting=setting,
            context=context,
        )

    return inputs_of, other_pixels


def _epoch_differences(
    run: FinishedRun,
    setting: OptimizerSetting,
    epoch: int,
    inputs_of: Callable[[torch.nn.Module], TrainingInputs],
    interrupted: Callable[[], bool],
) -> list[str]:
    """What one epoch gives otherwise than the run says, as sentences.

    Raises:
        _MissingError: what it starts from is not there.
    """
    entries, rows = run.tensors[setting.name], run.histories[setting.name]
    claim, where = Claim(epoch=epoch, entry=entries[epoch - 1], row=rows[epoch - 1]), f"{setting.name}, epoch {epoch}"
    try:
        model, kept = _initial(run, setting) if epoch == 1 else _kept(run, setting, epoch)
        computed = one_epoch.train_again(inputs_of(model), claim, kept, interrupted)
    except ValueError as error:
        return [f"{where}: it cannot be trained again: {error}"]
    return [f"{where}, trained again: {clause}" for clause in one_epoch.claim_differences(claim, computed)]


def _initial(run: FinishedRun, setting: OptimizerSetting) -> tuple[torch.nn.Module, None]:
    """The network before the first step, which is drawn or read again.

    Raises:
        ValueError: it is another one than the chain starts from.
        _MissingError: its weights are from a file that is not at hand.
    """
    needed, source = run.fingerprint.get("initial_weights_sha256"), "the initial weights"
    try:
        if before := run.config.training.setting_before(setting):
            name = names.of_setting(before, names.LAST_WEIGHTS)
            needed, source = run.tensors[before][-1]["weights_sha256"], f"{run.folder / name}"
            model = run.restore(run.files.read_tensors(name), source)
        else:
            model = run.initial_network()
    except ValueError as error:
        raise _MissingError(str(error)) from None
    if tensors_sha256(model.state_dict()) != needed:
        raise ValueError(f"{source} are others than the training started from: sha256 {needed} is needed")
    return model, None


def _kept(run: FinishedRun, setting: OptimizerSetting, epoch: int) -> tuple[torch.nn.Module, Kept]:
    """The network before an epoch as it was kept, and the kept state.

    Raises:
        ValueError: it is damaged, or another one than the chain commits to.
        _MissingError: it was not kept.
    """
    file = _kept_file(run, setting.name, epoch)
    if not file.exists():
        raise _MissingError(_no_state(run, setting.name, "it"))
    kept = one_epoch.read_kept(run.folder, setting.name, run.tensors[setting.name][epoch - 2])
    model = run.restore(kept.weights, f"{file}")
    return model, kept


def _kept_file(run: FinishedRun, setting: str, epoch: int) -> Path:
    """The state before an epoch, from 2."""
    return run.folder / names.kept_epoch(setting, epoch - 1)


def _no_state(run: FinishedRun, setting: str, epochs: str) -> str:
    """That the state before epochs is not there."""
    folder = _kept_file(run, setting, 2).parent
    return f"{folder} has no state before {epochs}; train --keep-epochs keeps them"
