"""What each departure from the assignment is worth: one switch at a time, then all, beside the corrected protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from in4310repro import experiment, feature_maps, presets
from in4310repro.numerics import Numerics, fingerprint
from in4310repro.presets import Config
from in4310repro.progress import SILENT, Progress
from in4310repro.protocols import CORRECTED, MEANING, OF_FEATURES, OF_SCORES, PUBLISHED, Switch, label
from in4310repro.runs import Run, json_bytes, write_file

Numbers = dict[str, float | None]
RUNS = Path("runs/ablation")
EACH_THEN_ALL = (*Switch, PUBLISHED)


def ablation(
    config: Config,
    numerics: Numerics,
    runs: Path,
    out: Path,
    progress: Progress = SILENT,
    *,
    departures: Sequence[str] = EACH_THEN_ALL,
) -> list[Path]:
    """Runs every protocol below `runs`, or goes on with what is there; writes ablation.json and ablation.md.

    Raises:
        ValueError: an unknown departure, or whatever is wrong with the data or the settings.
    """
    for name in departures:
        if name not in EACH_THEN_ALL:
            raise ValueError(f"no departure {name!r}; valid are {', '.join(EACH_THEN_ALL)}")
    found: dict[str, Numbers] = {}
    finished: dict[str, Run] = {}
    for protocol in (CORRECTED, *departures):
        progress.say(f"protocol {protocol}: {label(protocol) or 'as the assignment defines it'}")
        departing = replace(config, protocol=str(protocol))
        # Where a switch changes nothing before the test scores, the corrected training is the training.
        trained = CORRECTED if protocol in (*OF_SCORES, *OF_FEATURES) else protocol
        if trained not in finished:
            training = replace(config, protocol=str(trained))
            finished[trained] = experiment.train(training, numerics, runs / trained, progress, resume=True)
        run = finished[trained]
        metrics = run.read_json("metrics.json")
        if protocol in OF_SCORES:
            metrics |= experiment.evaluate(run, numerics, progress=progress, protocol=protocol)
        maps = feature_maps.statistics(run, departing, numerics, progress=progress)
        found[protocol] = numbers(run, metrics, maps)
    asked = "" if tuple(departures) == EACH_THEN_ALL else f" --departures {','.join(departures)}"
    where = f" --runs {runs}" if runs != RUNS and not runs.is_absolute() else ""
    report = {
        "command": f"nox -s ablation -- {presets.options(config)}{asked}{where}",
        "config": presets.to_json(config),
        "fingerprint": fingerprint(numerics),
        "runs": {name: run.manifest() for name, run in finished.items()},
        "numbers": found,
    }
    files = {"ablation.json": json_bytes(report), "ablation.md": markdown(report).encode()}
    return [write_file(out / name, data) for name, data in files.items()]


def numbers(run: Run, metrics: dict[str, Any], features: dict[str, Any]) -> Numbers:
    """The numbers of a run that a departure may move, by name."""
    found: Numbers = {}
    for setting in presets.from_json(run.read_json("config.json")).settings:
        rows = run.read_json(f"{setting.name}/history.json")
        found[f"{setting.name}, best validation accuracy"] = max(row["mean_class_accuracy"] for row in rows)
    found["test accuracy"] = metrics["mean_class_accuracy"]
    found["test mAP"] = metrics["mean_average_precision"]
    found["accuracy on unseen images"] = metrics.get("unseen", {}).get("mean_class_accuracy")
    for name, module in features["sets"][0]["modules"].items():
        found[f"non-positive share, {name}"] = module["non_positive"]
    for images in features["sets"]:
        for name, module in images["modules"].items():
            found[f"largest eigenvalue, {name}, {images['name']}"] = module["eigenvalues"][0]
    return found


def markdown(report: dict[str, Any]) -> str:
    """A row a number: its value in the corrected protocol, and how far each departure moves it."""
    found: dict[str, Numbers] = report["numbers"]
    corrected, others = found[CORRECTED], [name for name in found if name != CORRECTED]
    config, mark = report["config"], report["fingerprint"]
    data = "photographs" if config["data"] else "drawn scenes"
    lines = [
        "# What each departure is worth",
        "",
        f"Each column turns on one departure from the assignment, the last one all; a dot is no change. Preset "
        f"{config['preset']}, {data}, {config['image_size']} px, split {config['split']}, {config['epochs']} epochs, "
        f"seed {config['seed']}; {mark['numerics']} arithmetic, numeric class {mark['numeric_class']}.",
        f"Made by `{report['command']}`.",
        "",
        *(f"* {switch}: {MEANING[switch]}" for switch in Switch),
        "",
        f"| | {CORRECTED} | {' | '.join(others)} |",
        "| --- |" + " --- |" * len(found),
    ]
    for name, value in corrected.items():
        moves = [moved(value, found[protocol][name]) for protocol in others]
        lines.append(f"| {name} | {'-' if value is None else f'{value:.4f}'} | {' | '.join(moves)} |")
    return "\n".join(lines) + "\n"


def moved(before: float | None, after: float | None) -> str:
    """The change of a number; the number itself where there is nothing to compare it with."""
    if after is None:
        return "-"
    if before is None:
        return f"{after:.4f}"
    return "." if after == before else f"{after - before:+.4f}"
