"""Figures 8 to 11 and 15, of the feature maps: sparsity, spectra on three image sets, and the range of values."""

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from in4310repro.data.references import DIGITS, PHOTOGRAPHS
from in4310repro.report import exhibit, markup
from in4310repro.report.exhibit import ABSENT, Cell, Exhibit, FigureTable, Sentence, Source, figure_source
from in4310repro.report.markup import Numbers, Panel
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.record_types import SHOWN, FeatureMaps
from in4310repro.system.text import join_names

INDEX = "eigenvalue index"
KIND = "modules"
# The sets that the embedded ones replace, and what these are.
STAND_INS = {
    PHOTOGRAPHS: ("ImageNet", "crops of the two photographs that scikit-learn ships"),
    DIGITS: ("CIFAR-10", "scikit-learn's handwritten digits, enlarged"),
}
# Relative to the first eigenvalue. Rounding errors of zero eigenvalues would stretch a logarithmic axis by ten decades.
SMALLEST_DRAWN = 1e-10
SUPERSCRIPTS = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")


def measured(run: FinishedRun) -> FeatureMaps:
    """Return the statistics of a run's feature maps.

    Raises:
        ValueError: they are not measured.
    """
    if run.features is None:
        raise ValueError(
            f"{run.folder} has no measured feature maps; `in4310repro report` measures them, and writes them into a "
            "run that is not read-only"
        )
    return run.features


def sparsity_exhibit(run: FinishedRun) -> Exhibit:
    """Build figure 8: each module's percentage of values <= 0 on test images, as measured and as published."""
    features = measured(run)
    test = features["sets"][0]
    ours = {name: 100 * module["non_positive"] for name, module in test["modules"].items()}
    comparable, percent = exhibit.has_original_classes(run.classes), exhibit.original()["non_positive_percent"]
    printed = {name: value for name, value in percent.items() if comparable and name in ours}
    source = figure_source(8, {"images": test["images"], "ours": ours, "original": printed})
    theirs = (source.at("original", name, form=".1f") if name in printed else ABSENT for name in ours)
    return Exhibit(
        source,
        "Sparsity",
        "Sparsity, the percentage of values that are not positive",
        (f"Share of values <= 0 over all channels and positions, averaged over {test['images']} test images; "
         f"{features['network']}, in eval mode.",),
        [("Not positive: ", *exhibit.describe_extremes([*ours], source, "ours", form=".1f", unit=" %", kind=KIND))],
        FigureTable.of(
            ("module", ours),
            ("ours, %" if printed else "%", source.each("ours", form=".1f")),
            *([("original, %", theirs)] if printed else []),
        ),
        draw_sparsity(source.values if run.config.data else {"ours": ours}),
        tier="shares",
        counterpart=8,
        remark="The original prints the shares of other modules.",
    )  # fmt: skip


def draw_sparsity(numbers: Numbers) -> list[Panel]:
    """Draw the percentage of values <= 0 of each module as a bar, and the published one as a hollow diamond."""
    theirs = numbers.get("original", {})
    rows = [
        (name, {"bar": value, "value": f"{value:.1f}", "printed": theirs.get(name)})
        for name, value in numbers["ours"].items()
    ]
    axis = (0.0, 100.0), [(value, f"{value}") for value in range(0, 101, 25)]
    return [markup.draw_rows("Sparsity", "Values <= 0, %", rows, axis)]


def spectrum_exhibits(run: FinishedRun) -> Iterator[Exhibit]:
    """Build a figure for each image set, with the largest eigenvalues of each module."""
    features = measured(run)
    spectra = [module["eigenvalues"] for images in features["sets"] for module in images["modules"].values()]
    # All drawn eigenvalues lie between two powers of ten, which have these exponents.
    drawn = [math.log10(values[place]) for values in spectra for place in find_drawn_indices(values)] or [0.0]
    low = math.floor(min(drawn))
    exponents = [low, max(math.ceil(max(drawn)), low + 1)]
    for number, images in enumerate(features["sets"], start=9):
        modules = {name: module["eigenvalues"] for name, module in images["modules"].items()}
        name = "the run's own test images" if number == 9 else images["name"]
        numbers = {"name": name, "images": images["images"], "exponents": exponents, "eigenvalues": modules}
        source = figure_source(number, numbers)
        before = images.get("pooled_images", images["images"]) - images["images"]
        stand_in, remark = "", f"Images of {name}, as in the original's figure {number}; it prints no numbers."
        if number == 9:
            remark = "The original draws its spectra and prints no numbers."
        elif name in STAND_INS:
            absent, what = STAND_INS[name]
            stand_in = f" These are {what}, since no {absent} folder was given."
            remark = f"The original's figure {number} shows {absent}; the two cannot be compared."
        caption = (
            f"Covariance (divided by n) of the spatial means of each channel over {images['images']} images"
            f"{f' and the {before} images of the sets before' if before else ''}; {features['network']}, in "
            f"{features['spectra_mode']} mode. The spectra of the three sets have one scale."
        )
        yield Exhibit(
            source,
            f"Spectrum of {name}",
            f"Largest eigenvalues of the feature covariance: {name}",
            (caption, _describe_omitted(modules), stand_in),
            [_describe_spectra(source)],
            FigureTable.of(
                (INDEX, map(str, range(1, 1 + max(map(len, modules.values()))))),
                *((each, source.each("eigenvalues", each, form=".4e")) for each in modules),
            ),
            draw_spectra(numbers),
            tier="numerical",
            counterpart=number,
            remark=remark,
        )


def _describe_spectra(source: Source) -> Sentence:
    modules, names = source.values["eigenvalues"], list(source.values["eigenvalues"])
    printed = [source.at("eigenvalues", name, 0, form="brief") for name in names]
    largest, rounded = exhibit.find_ties(printed, max)
    named = f"{join_names([names[place] for place in largest], KIND)} {'have' if largest[1:] else 'has'}"
    finding = (f"On these images {named} the largest eigenvalue, ", printed[largest[0]], rounded)
    # Below the smallest that is drawn, rounding alone tells them apart.
    falls = {
        name: max(values[-1] / values[0], SMALLEST_DRAWN) for name, values in modules.items() if values[-1] < values[0]
    }
    steepest = [
        name for name, ratio in falls.items() if math.isclose(ratio, min(falls.values()), rel_tol=exhibit.ROUNDING)
    ]
    if len(steepest) == 1:
        first, last = printed[names.index(steepest[0])], source.each("eigenvalues", steepest[0], form=".2g")[-1]
        return (*finding, *source.say("; {} falls most, from {} to {}", steepest[0], first, last))
    if not steepest:
        return finding
    alike = falls[steepest[0]] == SMALLEST_DRAWN
    most = f"; {join_names(steepest, KIND)} fall most, "
    return (*finding, f"{most}below {SMALLEST_DRAWN:g} of their first" if alike else f"{most}by equal factors")


def find_drawn_indices(values: Sequence[float]) -> list[int]:
    """Return the indices, from 0, of the eigenvalues that are large enough to draw."""
    return [place for place, value in enumerate(values) if value > max(0.0, SMALLEST_DRAWN * values[0])]


def _describe_omitted(modules: Mapping[str, Sequence[float]]) -> str:
    """Return a sentence on the eigenvalues that are in the table but too small to draw; empty if there are none."""
    listed = []
    for name, values in modules.items():
        left_out = sorted({*range(len(values))} - {*find_drawn_indices(values)})
        if left_out:
            span = f"indices {left_out[0] + 1} to {left_out[-1] + 1}" if left_out[1:] else f"index {left_out[0] + 1}"
            listed.append(f"{span} of {name}")
    below = f"below {SMALLEST_DRAWN:g} of the first, where rounding takes part."
    return f" Not drawn, though in the table: {', '.join(listed)}, {below}" if listed else ""


def draw_spectra(numbers: Numbers) -> list[Panel]:
    """Draw the largest eigenvalues of each module on a logarithmic scale."""
    points = {
        name: [(place + 1, math.log10(values[place])) for place in find_drawn_indices(values)]
        for name, values in numbers["eigenvalues"].items()
    }
    low, high = numbers["exponents"]
    step = max(1, math.ceil((high - low) / 6))
    high = low + step * math.ceil((high - low) / step)
    ticks = [(power, f"10{str(power).translate(SUPERSCRIPTS)}") for power in range(low, high + 1, step)]
    return [markup.draw_lines("Spectrum", points, ((low, high), ticks), (INDEX, "eigenvalue"))]


def activation_exhibit(run: FinishedRun) -> Exhibit | None:
    """Build figure 15: activation quantiles and never-positive channels by image set; None if not measured."""
    features = measured(run)
    if any("activations" not in each for images in features["sets"] for each in images["modules"].values()):
        return None
    sets = [
        {
            "name": kept["name"],
            "images": kept["images"],
            "modules": {
                name: {
                    "quantiles": each["activations"]["quantiles"],
                    "never_positive": len(each["activations"]["never_positive"]),
                    "channels": each["channels"],
                }
                for name, each in kept["modules"].items()
            },
        }
        for kept in features["sets"]
    ]
    source = figure_source(15, {"sets": sets})
    rows = list[list[Cell]]()
    for place, images in enumerate(features["sets"]):
        for name in images["modules"]:
            module = source.below("sets", place, "modules", name)
            quantiles = (module.at("quantiles", share, form="brief") for share in SHOWN)
            rows.append([images["name"], name, *quantiles, module.at("never_positive"), module.at("channels")])
    return Exhibit(
        source,
        "Range of values",
        "Values of the feature maps, and channels that are never positive",
        ("Quantiles of the finite values at all channels, positions and images, each to 1/64 of it: a line "
         "from 1 to 99 %, a point at the median, one scale for all sets; and channels without a value above 0 "
         f"in any image. {features['network']}, in eval mode.",),
        [_describe_silent(source.below("sets", place)) for place in range(len(sets))],
        FigureTable(("images", "module", *SHOWN.values(), "never positive", "channels"), rows),
        draw_activations(source.values),
        tier="activations",
    )  # fmt: skip


def _describe_silent(images: Source) -> Sentence:
    """Return a sentence on the modules of an image set with the largest share of channels that are never positive."""
    modules = images.values["modules"]
    shares = {name: Fraction(each["never_positive"], each["channels"]) for name, each in modules.items()}
    if not any(shares.values()):
        return (f"{images.values['name']}: every channel is positive somewhere",)
    most = [name for name, share in shares.items() if share == max(shares.values())]
    text = "{}: {} {} the largest share of channels that are never positive, {never_positive} of {channels}"
    words = images.values["name"], join_names(most, KIND), "have" if most[1:] else "has"
    return images.below("modules", most[0]).say(text, *words)


def draw_activations(numbers: Numbers) -> list[Panel]:
    """Draw the 1 % to 99 % range and the median of each module's values; all image sets have the same scale."""
    drawn, shown = [], list[float]()
    for images in numbers["sets"]:
        rows = []
        for name, each in images["modules"].items():
            low, middle, high = (each["quantiles"][share] for share in SHOWN)
            value = f"{each['never_positive']} of {each['channels']}"
            rows.append((name, {"interval": (low, high), "dot": middle, "value": value}))
            shown += [low, high]
        drawn.append((images["name"], markup.shorten(images["name"], 26), rows))
    axis = markup.axis_around_zero(min(shown), max(shown))
    return [markup.draw_rows(*each, axis, note="never positive") for each in drawn]
