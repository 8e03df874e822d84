"""Figures 9 to 11: the largest eigenvalues of feature covariances on three image sets, on the same scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from in4310repro.data.comparison import DIGITS, PHOTOGRAPHS
from in4310repro.report.exhibit import ABSENT, Exhibit, FigureTable, Sentence, figure_source
from in4310repro.runs.records import FeatureMaps, ImageSetFeatures

INDEX = "eigenvalue index"
ABSENT_SETS = {PHOTOGRAPHS: "ImageNet", DIGITS: "CIFAR-10"}  # the sets that the embedded ones replace
# Relative to the first eigenvalue. Rounding errors of zero eigenvalues would stretch a logarithmic axis by ten decades.
SMALLEST_DRAWN = 1e-10


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
            "Figures 9 to 11 have one scale.",
            *(_describe_omitted(modules)),
            _describe_stand_in(images["name"]),
        ),
        numbers=numbers,
        findings=(_describe_spectra(modules, number, numbers),),
        table=FigureTable(heading=(INDEX, *modules), rows=rows),
    )


def _describe_spectra(modules: Mapping[str, Sequence[float]], number: int, numbers: Mapping[str, object]) -> Sentence:
    source = figure_source(number, numbers)
    largest = max(modules, key=lambda name: modules[name][0])
    steepest = min(modules, key=lambda name: modules[name][-1] / modules[name][0] if modules[name][0] else 1)
    return (
        f"On these images {largest} has the largest eigenvalue, ",
        source.at("eigenvalues", largest, 0, form=".3g"),
        f"; {steepest} falls most, from ",
        source.at("eigenvalues", steepest, 0, form=".3g"),
        " to ",
        source.at("eigenvalues", steepest, len(modules[steepest]) - 1, form=".2g"),
    )


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
    """Return a sentence on the images used if an image set was not given; an empty text if it was given."""
    if name not in ABSENT_SETS:
        return ""
    what = "crops of the two photographs that scikit-learn ships"
    if name == DIGITS:
        what = "scikit-learn's handwritten digits, enlarged"
    return f" These are {what}, since no {ABSENT_SETS[name]} folder was given."
