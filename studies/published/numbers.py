"""Summaries of runs beside the published numbers, and those numbers as a file to audit.

The "supposed protocol" is a hypothesis on how the printed values were measured; the "corrected protocol" tests on
unseen images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NotRequired, TypedDict

from in4310repro.metrics import ClassMetrics, class_metrics
from in4310repro.report.exhibit import original
from in4310repro.runs.config import to_json
from in4310repro.runs.deviations import CORRECTED, PUBLISHED, padded_images, parse
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.selection import best_epoch
from in4310repro.system.schema import differences


class SettingSummary(ClassMetrics):
    """Metrics of a training setting (one optimizer) at its best epoch on validation."""

    epoch: int
    curve: list[float]  # mean class accuracy after each epoch


class UnseenSummary(ClassMetrics):
    """Metrics of the selected network on images that its run never read, and the number of these images."""

    images: int


class RunSummary(TypedDict):
    """Metrics of a run: each training setting at its best epoch, and the selected network on the test set."""

    seed: int
    settings: dict[str, SettingSummary]
    selected: str
    supports: dict[str, int]  # class -> images of the test set
    test: ClassMetrics
    unseen: NotRequired[UnseenSummary]  # only of the supposed protocol


def summarize(run: FinishedRun) -> RunSummary:
    """Return the run's metrics that appear on the page about the published numbers."""
    settings = {
        name: SettingSummary(
            epoch=best_epoch(rows, run.config.select)["epoch"],
            **class_metrics(best_epoch(rows, run.config.select)),
            curve=[row["mean_class_accuracy"] for row in rows],
        )
        for name, rows in run.histories.items()
    }
    summary = RunSummary(
        seed=run.config.seed,
        settings=settings,
        selected=run.metrics["setting"],
        supports=run.metrics["supports"]["test"],
        test=class_metrics(run.metrics),
    )
    if unseen := run.metrics.get("unseen"):
        summary["unseen"] = UnseenSummary(images=unseen["images"], **class_metrics(unseen))
    return summary


def refuse_incomparable(corrected: FinishedRun, published: Sequence[FinishedRun]) -> None:
    """Raise ValueError if the runs cannot be compared with each other and with the published report.

    Args:
        corrected: a run with the corrected protocol, which tests on unseen images.
        published: runs with the protocol that presumably gave the printed values.

    Raises:
        ValueError: `published` is empty, two runs in it have the same seed, a run has an unexpected protocol,
            classes or optimizers, or the runs differ in more than protocol and seed.
    """
    if not published:
        raise ValueError("no run of the supposed protocol; `in4310repro train --protocol published` makes one")
    for run in (corrected, *published):
        protocol = parse(CORRECTED if run is corrected else PUBLISHED)
        if run.config.protocol != protocol:
            raise ValueError(f"{run.folder} has protocol {run.config.protocol}; expected {protocol}")
        expected = replace(corrected.config, protocol=protocol, seed=run.config.seed, format=run.config.format)
        if mismatches := list(differences(to_json(run.config), to_json(expected))):
            first = mismatches[0]
            raise ValueError(
                f"{run.folder} differs from {corrected.folder} in more than protocol and seed: {first.path} is "
                f"{first.first}, expected {first.second}"
            )
        if run.classes != original()["classes"]:
            raise ValueError(f"{run.folder} has classes {run.classes}; expected {original()['classes']}")
    optimizers = [setting.optimizer.lower() for setting in corrected.config.settings]
    if optimizers != original()["optimizers"]:
        raise ValueError(
            f"{corrected.folder} has settings of {', '.join(optimizers)}; expected "
            f"{', '.join(original()['optimizers'])}, in this order"
        )
    seeds = [run.config.seed for run in published]
    if len(set(seeds)) != len(seeds):
        raise ValueError(f"the published runs have the seeds {seeds}; expected a different seed for each")


def non_positive_percent(run: FinishedRun) -> dict[str, dict[str, float]]:
    """Return the percentage of feature map values <= 0 for each module, as published and as measured.

    The result contains three dicts by module name. "as printed" has the published percentages, "printed x
    208/200" has them corrected for the padding of 200 images to 208, and "ours" has those measured in the run.

    Raises:
        ValueError: the feature maps of a printed module are not measured.
    """
    if run.features is None:
        raise ValueError(f"{run.folder} has no measured feature maps; `in4310repro report` measures them")
    printed = original()["non_positive_percent"]
    factor = padded_images(200) / 200
    modules = run.features["sets"][0]["modules"]
    if missing := [name for name in printed if name not in modules]:
        raise ValueError(
            f"{run.folder} has no measured feature maps of {', '.join(missing)}; expected all modules of the report"
        )
    return {
        "as printed": printed,
        "printed x 208/200": {name: value * factor for name, value in printed.items()},
        "ours": {name: 100 * modules[name]["non_positive"] for name in printed},
    }


def format_as_toml(printed: Mapping[str, Any]) -> str:
    """Return the published values as the TOML text of a report that `audit` can read.

    The numbers are written as strings, so that they keep their printed decimals.
    """
    lines = [
        "# What the published report prints, for `in4310repro audit`. Numbers as printed; the names of tables and",
        "# of classes are ours: the report names three of the classes, and does not call figures 1 to 3 validation.",
    ]
    for figure, (name, values) in enumerate(printed["settings"].items(), 1):
        title = "test" if name == "test" else f"figure {figure} ({name})"
        lines += ["", "[[table]]", f'name = "{title}"']
        columns = (
            ("accuracy", values["class_accuracy"], values["mean_class_accuracy"]),
            ("average_precision", values["average_precision"], values["mean_average_precision"]),
        )
        for key, numbers, mean in columns:
            cells = [f'{label} = "{value}"' for label, value in zip(printed["classes"], numbers, strict=True)]
            lines += [f"{key} = {{ {', '.join(cells)} }}", f'mean_{key} = "{mean}"']
    return "\n".join(lines) + "\n"
