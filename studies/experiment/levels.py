"""The chart of the experiment: accuracy of each setting and on test, as printed and in each cell, in log-odds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scipy.special import logit

from in4310repro.report import markup
from in4310repro.runs.deviations import PUBLISHED
from studies.experiment.statements import printed_as_run
from studies.published.numbers import RunSummary

TICKS = (0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9995)
HIGHEST = 1 - 1 / 6000  # an accuracy of 1 on 3,000 images is drawn half an error below
COLUMNS = ("AdamW", "RMSprop", "SGD", "test")


def levels_of(run: RunSummary) -> list[float]:
    """Return the mean class accuracy of each setting at its best epoch, and that of the selected one on test."""
    return [*(each["mean_class_accuracy"] for each in run["settings"].values()), run["test"]["mean_class_accuracy"]]


def panel(title: str, runs: Mapping[str, Mapping[str, Any]], rival: float) -> markup.Panel:
    """Draw one network's cells.

    Args:
        title: what the network is.
        runs: cell -> seed -> what is kept of the run.
        rival: the accuracy of the rival reading, drawn as a line.
    """
    series = {"printed": [levels_of(printed_as_run())]}
    series |= {
        name: [levels_of(run["summary"]) for run in seeds.values()]
        for name, seeds in runs.items()
        if seeds and name != PUBLISHED
    }
    names, height = markup.legend(list(series), 34)
    top, bottom = height + 66.0, height + 326.0
    y = markup.Scale((logit(TICKS[0]), logit(HIGHEST)), [(logit(tick), f"{tick:g}") for tick in TICKS], (bottom, top))
    x = markup.Scale((-0.5, 3.5), list(enumerate(COLUMNS)), (48, markup.WIDTH - 8))
    place = y(logit(rival))
    parts = [
        markup.label(0, 14, title, "bold"),
        names,
        markup.axes(46, x, y, ("best epoch of each setting, and test", "mean class accuracy")),
        markup.line(46, place, markup.WIDTH - 8, place, "axis"),
        markup.label(markup.WIDTH - 8, place - 4, "rival", "quiet", "end"),
    ]
    for style, rows in enumerate(series.values()):
        shift = (style - (len(series) - 1) / 2) * 8
        for values in rows:
            points = [(x(column) + shift, y(logit(min(value, HIGHEST)))) for column, value in enumerate(values)]
            parts += [markup.mark(*point, style) for point in points]
    return markup.Panel(title, bottom + 38, markup.join(parts))


def draw(networks: Mapping[str, Mapping[str, Any]], rival: float, label: str) -> str:
    """Return the chart as an SVG file, with a panel for each network of which a cell was run, below a red label."""
    panels = [
        panel(each["name"], each["cells"], rival)
        for each in networks.values()
        if any(seeds for name, seeds in each["cells"].items() if name != PUBLISHED)
    ]
    return markup.file(panels, "Accuracies as printed and of each cell", label)
