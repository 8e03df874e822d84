"""State before an epoch: the initial weights, or the state saved after the epoch before."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.settings import OptimizerSetting
from in4310repro.system.tensors import tensors_sha256
from in4310repro.verification.replay.epoch import Kept, read_kept
from in4310repro.verification.replay.plan import Plan


class MissingStateError(Exception):
    """Error raised if the state before an epoch is unavailable."""


class Start(NamedTuple):
    """State before an epoch: the network, and the state saved after the epoch before."""

    model: torch.nn.Module
    kept: Kept | None  # None before the first epoch, where no optimizer has a state


def read_start(run: FinishedRun, setting: OptimizerSetting, epoch: int) -> Start:
    """Return the state before an epoch of a setting.

    Raises:
        ValueError: the state is damaged, or does not have the recorded hashes.
        MissingStateError: the state was not saved, or its weights are in a file that is unavailable.
    """
    if epoch == 1:
        return Start(_initial_network(run, setting), None)
    file = _kept_file(run, setting.name, epoch)
    if not file.exists():
        raise MissingStateError(_describe_missing(run, setting.name, "it"))
    kept = read_kept(run.folder, setting.name, run.tensors[setting.name][epoch - 2])
    return Start(run.restore(kept.weights, f"{file}"), kept)


def describe_missing_epochs(run: FinishedRun, plan: Plan) -> str:
    """Return a clause that lists the planned epochs without a saved starting state; empty if there are none."""
    missing = [epoch for epoch in plan.epochs if epoch > 1 and not _kept_file(run, plan.setting, epoch).exists()]
    return _describe_missing(run, plan.setting, f"epoch {', '.join(map(str, missing))}") if missing else ""


def _initial_network(run: FinishedRun, setting: OptimizerSetting) -> torch.nn.Module:
    """Return the network before the first step of a setting's training, after checking its hash.

    The weights are random, or read from the file of weights or of the setting before.
    """
    expected, source = run.fingerprint.get("initial_weights_sha256"), "the initial weights"
    try:
        if before := run.config.training.setting_before(setting):
            name = names.of_setting(before, names.LAST_WEIGHTS)
            expected, source = run.tensors[before][-1]["weights_sha256"], f"{run.folder / name}"
            model = run.restore(run.files.read_tensors(name), source)
        else:
            model = run.initial_network()
    except ValueError as error:
        raise MissingStateError(str(error)) from None
    if (found := tensors_sha256(model.state_dict())) != expected:
        raise ValueError(f"{source} have sha256 {found}; expected {expected}, from which the training started")
    return model


def _kept_file(run: FinishedRun, setting: str, epoch: int) -> Path:
    """Return the path of the state saved before an epoch; the epoch is at least 2."""
    return run.folder / names.kept_epoch(setting, epoch - 1)


def _describe_missing(run: FinishedRun, setting: str, epochs: str) -> str:
    folder = _kept_file(run, setting, 2).parent
    return f"{folder} has no state before {epochs}; train --keep-epochs keeps them"
