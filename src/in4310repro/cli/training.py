"""The command `train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from in4310repro import presets
from in4310repro.cli.console import activate_for, print_line, print_text, progress
from in4310repro.cli.options import ConfigFile, Out, Preset, choices, default_folder, with_overrides
from in4310repro.config import Config
from in4310repro.numerics import Numerics

KeepEpochs = "Keep weights and optimizer state after each epoch, for verify --replay; says first what disk it takes."
DryRun = "Check everything, pass a batch through every stage, say what the whole would take, and write no run."
LogSteps = f"Log every step below the run's folder logs: {choices('log_steps')}"
Resume = "Continue a run that was interrupted; with more --epochs, a finished one whose epochs were kept."


def _rehearse(config: Config, numerics: Numerics, folder: Path, *, resume: bool, keep_epochs: bool) -> None:
    """Prints what a training would read, write and take."""
    from in4310repro import dry_run

    if resume:
        raise ValueError("--dry-run says what a whole training takes, and --resume continues one; give one of them")
    for line in dry_run.lines(dry_run.rehearse(config, numerics, folder, progress(), keep_epochs=keep_epochs)):
        print_line(line)


@with_overrides
def train(
    preset: Preset = "demo",
    config: ConfigFile = None,
    out: Out = None,
    resume: Annotated[bool, typer.Option("--resume", help=Resume)] = False,
    keep_epochs: Annotated[bool, typer.Option("--keep-epochs", help=KeepEpochs)] = False,
    log_steps: Annotated[str | None, typer.Option(help=LogSteps)] = None,
    optimizer: Annotated[str | None, typer.Option(help="Train one setting alone: AdamW, RMSprop or SGD.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of that setting.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=DryRun)] = False,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print all settings as a file for --config, and train nothing.")
    ] = False,
    overrides: Any = None,
) -> None:
    """Train three settings, select on validation, score the test set once."""
    configuration = presets.configure(preset, config, overrides)
    configuration = presets.with_one_setting(configuration, optimizer, learning_rate)
    if print_config:
        print_text(presets.to_toml(configuration))
        return
    numerics = activate_for(configuration)
    # torch is loaded by what is imported here, after the arithmetic is set, and never for --help.
    from in4310repro import experiment

    folder = out or default_folder(preset, configuration.data)
    if dry_run:
        _rehearse(configuration, numerics, folder, resume=resume, keep_epochs=keep_epochs)
        return
    run = experiment.train(
        configuration, numerics, folder, progress(), resume=resume, keep_epochs=keep_epochs, log_steps=log_steps
    )
    metrics = run.metrics
    print_line(
        f"wrote {run.folder}: {metrics['setting']}, epoch {metrics['epoch']}, mean class accuracy on test "
        f"{metrics['mean_class_accuracy']:.4f}, mAP {metrics['mean_average_precision']:.4f}"
    )
    print_line(f"the hash that commits to the training of {metrics['setting']}: {run.training_sha256}")
