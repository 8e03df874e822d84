"""Figures 8 to 11 and 15, of the feature maps: sparsity, spectra on three image sets, and the range of values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from in4310repro.data.comparison import DIGITS, PHOTOGRAPHS
from in4310repro.report.exhibit import (
    ABSENT,
    ROUNDING,
    Cell,
    Exhibit,
    FigureTable,
    Sentence,
    Source,
    Ties,
    describe_extremes,
    figure_source,
    fill,
)
from in4310repro.runs.records import SHOWN, FeatureMaps, ImageSetFeatures
from in4310repro.system.text import join_names

ACTIVATIONS = 15
INDEX = "eigenvalue index"
KIND = "modules"
ABSENT_SETS = {PHOTOGRAPHS: "ImageNet", DIGITS: "CIFAR-10"}  # the sets that the embedded ones replace
# Relative to the first eigenvalue. Rounding errors of zero eigenvalues would stretch a logarithmic axis by ten decades.
SMALLEST_DRAWN = 1e-10


def sparsity_exhibit(features: FeatureMaps, printed: Mapping[str, float]) -> Exhibit:
    """Build figure 8: each module's percentage of values <= 0 on test images, as measured and as published."""
    test = features["sets"][0]
    ours = {name: 100 * module["non_positive"] for name, module in test["modules"].items()}
    printed = {name: value for name, value in printed.items() if name in ours}
    numbers = {"images": test["images"], "ours": ours, "original": printed}
    source = figure_source(8, numbers)

    def row(name: str) -> tuple[Cell, ...]:
        theirs = source.at("original", name, form=".1f") if name in printed else ABSENT
        return (name, source.at("ours", name, form=".1f"), *([theirs] if printed else []))

    return Exhibit(
        number=8,
        short="Sparsity",
        title="Sparsity, the percentage of values that are not positive",
        caption=(f"Share of values <= 0 over all channels and positions, averaged over {test['images']} test images; "
                 f"{features['network']}, in eval mode.",),
        numbers=numbers,
        findings=(("Not positive: ", *describe_extremes([*ours], source, "ours", form=".1f", unit=" %", kind=KIND)),),
        table=FigureTable(
            heading=("module", "ours, %", "original, %") if printed else ("module", "%"), rows=tuple(map(row, ours))
        ),
    )  # fmt: skip


def spectrum_exhibits(features: FeatureMaps) -> list[Exhibit]:
    """Build a figure for each image set, with the largest eigenvalues of each module."""
    exponents = exponents_of(
        [module["eigenvalues"] for images in features["sets"] for module in images["modules"].values()]
    )
    return [_spectrum_exhibit(number, images, features, exponents) for number, images in enumerate(features["sets"], 9)]


def exponents_of(spectra: Sequence[Sequence[float]]) -> list[int]:
    """Return the exponents of the two powers of ten between which all drawn eigenvalues lie."""
    drawn = [math.log10(values[place]) for values in spectra for place in find_drawn_indices(values)] or [0.0]
    low = math.floor(min(drawn))
    return [low, max(math.ceil(max(drawn)), low + 1)]


def _spectrum_exhibit(
    number: int, images: ImageSetFeatures, features: FeatureMaps, exponents: Sequence[int]
) -> Exhibit:
    modules = {name: module["eigenvalues"] for name, module in images["modules"].items()}
    name = "the run's own test images" if number == 9 else images["name"]
    numbers = {"name": name, "images": images["images"], "exponents": list(exponents), "eigenvalues": modules}
    source = figure_source(number, numbers)
    rows = tuple(
        (str(place + 1), *(source.at("eigenvalues", name, place, form=".4e") if place < len(values) else ABSENT
                           for name, values in modules.items()))
        for place in range(max(map(len, modules.values())))
    )  # fmt: skip
    return Exhibit(
        number=number,
        short=f"Spectrum of {name}",
        title=f"Largest eigenvalues of the feature covariance: {name}",
        caption=(
            f"Covariance (divided by n) of the spatial means of each channel over {images['images']} images"
            f"{_describe_pooled(images)}; {features['network']}, in {features['spectra_mode']} mode. "
            "The spectra of the three sets have one scale.",
            *(_describe_omitted(modules)),
            _describe_stand_in(images["name"]),
        ),
        numbers=numbers,
        findings=(_describe_spectra(modules, number, numbers),),
        table=FigureTable(heading=(INDEX, *modules), rows=rows),
    )


def _describe_spectra(modules: Mapping[str, Sequence[float]], number: int, numbers: Mapping[str, object]) -> Sentence:
    source, names = figure_source(number, numbers), list(modules)
    first = [values[0] for values in modules.values()]
    printed = [source.at("eigenvalues", name, 0, form="brief") for name in names]
    largest = Ties.of(first, printed, max(first))
    have = "has" if len(largest.places) == 1 else "have"
    named = join_names([names[place] for place in largest.places], KIND)
    finding = (f"On these images {named} {have} the largest eigenvalue, ", printed[largest.places[0]], largest.rounded)
    # Below the smallest that is drawn, rounding alone tells them apart.
    falls = {
        name: max(values[-1] / values[0], SMALLEST_DRAWN) for name, values in modules.items() if values[-1] < values[0]
    }
    steepest = [name for name, ratio in falls.items() if math.isclose(ratio, min(falls.values()), rel_tol=ROUNDING)]
    if len(steepest) == 1:
        values = modules[steepest[0]]
        last = source.at("eigenvalues", steepest[0], len(values) - 1, form=".2g")
        first_of_it = source.at("eigenvalues", steepest[0], 0, form="brief")
        return (*finding, *fill("; {} falls most, from {} to {}", steepest[0], first_of_it, last))
    most = f"; {join_names(steepest, KIND)} fall most, by equal factors" if steepest else ""
    if steepest and falls[steepest[0]] == SMALLEST_DRAWN:
        most = most.replace("by equal factors", f"below {SMALLEST_DRAWN:g} of their first")
    return (*finding, most)


def find_drawn_indices(values: Sequence[float]) -> list[int]:
    """Return the indices, from 0, of the eigenvalues that are large enough to draw."""
    return [place for place, value in enumerate(values) if value > max(0.0, SMALLEST_DRAWN * values[0])]


def _describe_omitted(modules: Mapping[str, Sequence[float]]) -> Sentence:
    """Return a sentence on the eigenvalues that are in the table but too small to draw."""
    left_out = {
        name: [str(place + 1) for place in range(len(values)) if place not in find_drawn_indices(values)]
        for name, values in modules.items()
    }
    listed = [
        f"{'index' if len(places) == 1 else 'indices'} {_span(places)} of {name}"
        for name, places in left_out.items()
        if places
    ]
    if not listed:
        return ()
    return (
        f" Not drawn, though in the table: {', '.join(listed)}, below {SMALLEST_DRAWN:g} of the first, where rounding "
        "takes part.",
    )


def _span(places: Sequence[str]) -> str:
    return places[0] if len(places) == 1 else f"{places[0]} to {places[-1]}"


def _describe_pooled(images: ImageSetFeatures) -> str:
    more = images.get("pooled_images", images["images"]) - images["images"]
    return f" and the {more} images of the sets before" if more else ""


def _describe_stand_in(name: str) -> str:
    """Return a sentence saying that the images called `name` replace a missing image set; empty if they do not."""
    if name not in ABSENT_SETS:
        return ""
    what = "crops of the two photographs that scikit-learn ships"
    if name == DIGITS:
        what = "scikit-learn's handwritten digits, enlarged"
    return f" These are {what}, since no {ABSENT_SETS[name]} folder was given."


def activation_exhibit(features: FeatureMaps) -> Exhibit | None:
    """Build figure 15: activation quantiles and never-positive channels by image set; None if not measured."""
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
    quantiles = (source.at("sets", place, "modules", name, "quantiles", share, form="brief") for share in SHOWN)
    counts = (source.at("sets", place, "modules", name, key, form="d") for key in ("never_positive", "channels"))
    return (source.values["sets"][place]["name"], name, *quantiles, *counts)


def _finding(source: Source, place: int) -> Sentence:
    """Return a sentence on the modules with the largest fraction of channels that are never positive.

    The sentence is on the image set at index `place`. If no module has such channels, the sentence says so.
    """
    images = source.values["sets"][place]
    shares = {name: Fraction(each["never_positive"], each["channels"]) for name, each in images["modules"].items()}
    if not any(shares.values()):
        return (f"{images['name']}: every channel is positive somewhere",)
    most = [name for name, share in shares.items() if share == max(shares.values())]
    counts = [source.at("sets", place, "modules", most[0], key, form="d") for key in ("never_positive", "channels")]
    have = "has" if len(most) == 1 else "have"
    sentence = f"{{}}: {{}} {have} the largest share of channels that are never positive, {{}} of {{}}"
    return fill(sentence, images["name"], join_names(most, KIND), *counts)
