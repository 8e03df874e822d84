"""Ablation study: train with each deviation from the assignment alone, then with all, and compare the results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from typing_extensions import TypedDict

from in4310repro.evaluation.evaluation import examine
from in4310repro.evaluation.feature_maps import of_run
from in4310repro.metrics import ClassMetrics
from in4310repro.runs import config as configuration
from in4310repro.runs.config import Config, with_preprocessing
from in4310repro.runs.deviations import CORRECTED, CORRECTED_PROTOCOL, HYPOTHESIS, PUBLISHED, Deviation, Protocol, parse
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.names import CONFIG
from in4310repro.runs.presets import command_line_options, publishable
from in4310repro.runs.record_types import FeatureMaps, Manifest
from in4310repro.runs.selection import best_epoch
from in4310repro.system import text
from in4310repro.system.context import Context
from in4310repro.system.files import json_bytes, read_json, write_file
from in4310repro.system.fingerprint import Fingerprint, fingerprint
from in4310repro.system.schema import Text, check
from in4310repro.training import experiment

Numbers = dict[Text, float | None]
UNSEEN = "accuracy on unseen images"  # None without shared-split
# How the names of some numbers begin.
SHARE, EIGENVALUE = "non-positive share", "largest eigenvalue"
# Their names in tables: with a shared split, the test images are training images.
SHOWN = {"test accuracy": "accuracy on its test images", "test mAP": "mAP on its test images"}
RUNS = Path("runs/ablation")
# Deviations that change how scores or feature maps of a trained network are measured, and not the training.
AFTER_TRAINING = {
    Deviation.AP_FROM_LOGITS,
    Deviation.PADDED_DENOMINATOR,
    Deviation.BATCH_NORM_IN_TRAIN_MODE,
    Deviation.ACCUMULATOR_NOT_RESET,
}
EACH_THEN_ALL: tuple[str, ...] = (*HYPOTHESIS, PUBLISHED)


class AblationReport(TypedDict):
    """Content of `ablation.json`: the configuration, and the main results with each set of deviations (protocol)."""

    command: Text
    config: configuration.Values  # with names in place of paths
    fingerprint: Fingerprint
    runs: dict[Text, Manifest]  # protocol -> file -> sha256
    numbers: dict[Text, Numbers]  # protocol -> name -> value


def ablation(
    config: Config, context: Context, runs: Path, out: Path, *, protocols: Sequence[str] = EACH_THEN_ALL
) -> list[Path]:
    """Train or resume the runs of an ablation in the folder `runs`; write ablation.json and ablation.md.

    A protocol is a set of deviations from the assignment: the corrected protocol has none, `published` has all.
    Protocols that change nothing in the training use the run of the corrected protocol.

    Args:
        config: the configuration of the corrected run; the other runs differ from it only by their deviations.
        context: arithmetic, progress and processes of the computation.
        runs: the parent of the run folders, which are named after their protocols.
        out: the folder of the two written files.
        protocols: names of deviations, or `published` for all of them.

    Raises:
        ValueError: a deviation is unknown, or data or options are invalid.
    """
    for name in protocols:
        if name not in EACH_THEN_ALL:
            parse(name)
            raise ValueError(f"no deviation {name!r}; it must be one of {', '.join(EACH_THEN_ALL)}")
    measured: dict[str, Numbers] = {}
    finished: dict[Protocol, FinishedRun] = {}
    for protocol in dict.fromkeys((CORRECTED, *protocols)):
        active = parse(protocol)
        context.progress.message(f"protocol {protocol}: {active.label or 'as the assignment defines it'}")
        # A deviation that changes nothing before the test scores is measured on the corrected training.
        trained_with = active if active - AFTER_TRAINING else CORRECTED_PROTOCOL
        if trained_with not in finished:
            training, folder = replace(config, protocol=trained_with), runs / str(trained_with)
            begun = (folder / CONFIG).is_file()
            finished[trained_with] = experiment.train(training, folder, resume=begun, context=context)
        run = finished[trained_with]
        config = with_preprocessing(config, run.config.preprocessing)
        metrics: ClassMetrics = run.metrics
        if active.ranks_logits and trained_with.is_corrected:
            metrics = examine(run, context=context)[2].metrics(by_logits=active.ranks_logits)
        features = of_run.measure_run(run, replace(config, protocol=active), context)
        measured[protocol] = headline_numbers(run, metrics, features)
    report = AblationReport(
        command=describe_command(config, runs, protocols),
        config=configuration.to_json(publishable(replace(config, split=run.config.split))),
        fingerprint=fingerprint(context.numerics),
        runs={str(trained_with): run.files.manifest() for trained_with, run in finished.items()},
        numbers=measured,
    )
    files = {"ablation.json": json_bytes(report), "ablation.md": markdown(report).encode()}
    return [write_file(out / name, data) for name, data in files.items()]


def describe_command(config: Config, runs: Path, protocols: Sequence[str]) -> str:
    """Return the shell command that repeats an ablation.

    The command has the option `--runs` only if `runs` is a relative path and not the default.
    """
    options = [command_line_options(config)]
    if tuple(protocols) != EACH_THEN_ALL:
        options.append(f"--deviations {text.shell_word(','.join(protocols))}")
    if runs != RUNS and not runs.is_absolute():
        options.append(f"--runs {text.shell_word(text.publishable_place(runs.as_posix()))}")
    return f"nox -s ablation -- {' '.join(options)}"


def headline_numbers(run: FinishedRun, metrics: ClassMetrics, features: FeatureMaps) -> Numbers:
    """Return a run's main results by name, such as test accuracy, mAP and the largest eigenvalues."""
    numbers: Numbers = {
        f"{setting}, best validation accuracy": best_epoch(rows, run.config.select)["mean_class_accuracy"]
        for setting, rows in run.histories.items()
    }
    unseen = run.metrics.get("unseen")
    numbers["test accuracy"] = metrics["mean_class_accuracy"]
    numbers["test mAP"] = metrics["mean_average_precision"]
    numbers[UNSEEN] = unseen["mean_class_accuracy"] if unseen else None
    for name, module in features["sets"][0]["modules"].items():
        numbers[f"{SHARE}, {name}"] = module["non_positive"]
    for images in features["sets"]:
        for name, module in images["modules"].items():
            numbers[f"{EIGENVALUE}, {name}, {images['name']}"] = module["eigenvalues"][0]
    return numbers


def read_report(file: Path) -> AblationReport:
    """Read the file `ablation.json`, and check its keys and numbers.

    Raises:
        ValueError: the file does not exist, or one of its keys or numbers is missing or wrong.
    """
    report: AblationReport = check(read_json(file), AblationReport, f"{file}")
    configuration.from_json(report["config"], f"{file}: config")
    corrected = report["numbers"].get(CORRECTED, {})
    for protocol, numbers in report["numbers"].items():
        if numbers.keys() != corrected.keys() or UNSEEN not in numbers:
            raise ValueError(f"{file}: numbers.{protocol} has other names than numbers.{CORRECTED}, or lacks {UNSEEN}")
        for name, value in numbers.items():
            # A change is divided by an eigenvalue.
            if name != UNSEEN and (value is None or (value == 0 and name.startswith(EIGENVALUE))):
                raise ValueError(f"{file}: numbers.{protocol}.{name} is {value}; a number is needed")
    for prefix in ("test accuracy", "test mAP", SHARE, EIGENVALUE):
        if not any(name.startswith(prefix) for name in corrected):
            raise ValueError(f"{file}: numbers.{CORRECTED} lacks {prefix}")
    return report


def markdown(report: AblationReport) -> str:
    """Return the report as Markdown, with a table of the results and of their changes by each deviation."""
    numbers, config, made_by = report["numbers"], report["config"], report["fingerprint"]
    corrected, others = numbers[CORRECTED], [name for name in numbers if name != CORRECTED]
    data = "photographs" if config["data"] else "drawn scenes"
    lines = [
        "# Ablation of the deviations",
        "",
        text.markdown(
            f"Each column turns on one deviation from the assignment, the last one all; a dot is no change. Preset "
            f"{config['preset']}, {data}, {config['image_size']} px, split {config['split']}, {config['epochs']} "
            f"epochs, seed {config['seed']}; {made_by['numerics']} arithmetic, numeric class "
            f"{made_by['numeric_class']}."
        ),
        f"Made by {text.code(command_of(report))}.",
        "",
        limits(report),
        "",
        *(f"* {deviation}: {deviation.meaning}" for deviation in HYPOTHESIS),
        "",
        f"| | {CORRECTED} | {text.cells(others)} |",
        "| --- |" + " --- |" * len(numbers),
    ]
    for name, value in corrected.items():
        changes = [change(value, numbers[protocol][name]) for protocol in others]
        lines.append(f"| {text.cells([SHOWN.get(name, name), '-' if value is None else f'{value:.4f}', *changes])} |")
    return "\n".join(lines) + "\n"


def limits(report: AblationReport) -> str:
    """Return sentences on the limits of the results, such as differences in accuracy that arise by chance."""
    sentences = [
        "Each protocol was trained once.",
        by_chance(report),
        "With shared-split, and so with published, the test images are the training images.",
        "Test results, shares and eigenvalues are of the setting that is selected, which may differ between protocols.",
    ]
    return " ".join(filter(None, sentences))


def by_chance(report: AblationReport) -> str:
    """Return sentences on the differences that arise by chance, and on the format of the runs; empty if none apply."""
    accuracy, parts = report["numbers"][CORRECTED].get("test accuracy"), str(report["config"]["split"]).split("/")
    sentences = []
    if accuracy is not None and parts[-1].isdigit():
        images = int(parts[-1])
        difference = 1.96 * math.sqrt(2 * accuracy * (1 - accuracy) / images)
        sentences.append(
            f"Two networks of the same accuracy differ by up to {difference:.2f} on {images:,} test images by chance "
            "(95 %), and by more where trainings differ."
        )
    if report["config"].get("format", 1) not in configuration.OF_RUNS:
        sentences.append("The runs have an older format, which today's commands refuse.")
    return " ".join(sentences)


def command_of(report: AblationReport) -> str:
    """Return the command that repeats an ablation; older versions recorded a command of the package."""
    older = "in4310repro ablation "
    command = report["command"]
    return f"nox -s ablation -- {command.removeprefix(older)}" if command.startswith(older) else command


def change(before: float | None, after: float | None) -> str:
    """Return `after - before` as text with a sign, or `.` if both numbers are equal.

    If `after` is None, return `-`. If only `before` is None, return the number `after` itself.
    """
    if after is None:
        return "-"
    if before is None:
        return f"{after:.4f}"
    return "." if after == before else f"{after - before:+.4f}"
