"""Figure 15: the distribution of feature-map values, and the channels that are never positive."""

from __future__ import annotations

from typing import Any

from in4310repro.report.exhibit import Cell, Exhibit, FigureTable, Sentence, Source, figure_source
from in4310repro.runs.records import SHOWN, FeatureMaps

ACTIVATIONS = 15


def activation_exhibit(features: FeatureMaps) -> Exhibit | None:
    """Build figure 15, quantiles and never-positive channels by image set; None if they were not measured."""
    measured: list[dict[str, Any]] = []
    for images in features["sets"]:
        modules: dict[str, Any] = {}
        for name, module in images["modules"].items():
            if "activations" not in module:
                return None
            activations = module["activations"]
            modules[name] = {
                "quantiles": activations["quantiles"],
                "never_positive": len(activations["never_positive"]),
                "channels": module["channels"],
            }
        measured.append({"name": images["name"], "images": images["images"], "modules": modules})
    numbers = {"sets": measured}
    source = figure_source(ACTIVATIONS, numbers)
    return Exhibit(
        number=ACTIVATIONS,
        short="Range of values",
        title="Values of the feature maps, and channels that are never positive",
        caption=("Quantiles of the finite values at all channels, positions and images, each to 1/64 of it: a line "
                 "from 1 to 99 %, a point at the median, one scale for all sets; and channels without a value above 0 "
                 f"in any image. {features['network']}, in eval mode.",),
        numbers=numbers,
        findings=tuple(_finding(source, place) for place in range(len(measured))),
        table=FigureTable(
            heading=("images", "module", *SHOWN.values(), "never positive", "channels"),
            rows=tuple(_row(source, place, name) for place, each in enumerate(measured) for name in each["modules"]),
        ),
    )  # fmt: skip


def _row(source: Source, place: int, name: str) -> tuple[Cell, ...]:
    quantiles = (source.at("sets", place, "modules", name, "quantiles", share, form=".3g") for share in SHOWN)
    counts = (source.at("sets", place, "modules", name, key, form="d") for key in ("never_positive", "channels"))
    return (source.values["sets"][place]["name"], name, *quantiles, *counts)


def _finding(source: Source, place: int) -> Sentence:
    """Return a sentence on the module with the largest share of channels that are never positive."""
    images = source.values["sets"][place]
    modules = images["modules"]
    most = max(modules, key=lambda name: modules[name]["never_positive"] / modules[name]["channels"])
    if not modules[most]["never_positive"]:
        return (f"{images['name']}: every channel is positive somewhere",)
    counts = (source.at("sets", place, "modules", most, key, form="d") for key in ("never_positive", "channels"))
    never, channels = counts
    return (f"{images['name']}: {most} has most channels that are never positive, ", never, " of ", channels)
