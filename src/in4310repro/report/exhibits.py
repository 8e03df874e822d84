"""What each figure holds: the eleven of the original, with the numbers of a run, and four more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from in4310repro import deviations
from in4310repro.data.comparison import DIGITS, PHOTOGRAPHS
from in4310repro.report.activation_exhibit import activation_exhibit
from in4310repro.report.class_exhibits import TEST, test_exhibit, validation_exhibit
from in4310repro.report.exhibit import ABSENT, Cell, Exhibit, FigureTable, Sentence, extremes, source_of
from in4310repro.report.original import has_its_classes, original
from in4310repro.report.score_exhibits import calibration_exhibit, confusion_exhibit, curves_exhibit
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.records import FeatureMaps, HistoryRow, ImageSetFeatures
from in4310repro.runs.selection import best_epoch, unit
from in4310repro.scores import top_and_bottom

RANKED = ("glacier", "mountain", "sea")
ABSENT_SETS = {PHOTOGRAPHS: "ImageNet", DIGITS: "CIFAR-10"}  # what the embedded sets stand in for
# Of the first eigenvalue: what rounding leaves of a zero would stretch a logarithmic axis by ten decades.
SMALLEST_DRAWN = 1e-10
_OF_EPOCHS = (
    "Mean cross-entropy per image. The training loss is taken while the weights move and on augmented images, the "
    "validation loss after each epoch."
)
_OF_FITS = (
    "Mean cross-entropy per image. There are no epochs: the last layer is fitted once for each strength of its "
    "penalty, from the strongest to the weakest, and both losses are of the finished fit."
)


def exhibits(run: FinishedRun) -> list[Exhibit]:
    """All figures of a finished run, in order.

    Raises:
        ValueError: the run's feature maps are not measured.
    """
    if run.features is None:
        raise ValueError(f"{run.folder} has no measured feature maps; `in4310repro report` measures them")
    selected, settings = run.metrics["setting"], enumerate(run.config.settings[:3], start=1)
    all_exhibits = [
        *(validation_exhibit(run, number, setting) for number, setting in settings),
        test_exhibit(run),
        _loss_exhibit(run.histories[selected], selected),
        _accuracy_exhibit(run.histories, selected),
        _ranking_exhibit(run),
        _sparsity_exhibit(run.features, original()["non_positive_percent"] if has_its_classes(run.classes) else {}),
        *(_spectrum_exhibit(number, images, run.features) for number, images in enumerate(run.features["sets"], 9)),
        confusion_exhibit(run),
        curves_exhibit(run),
        calibration_exhibit(run),
        *filter(None, [activation_exhibit(run.features)]),
    ]
    if has_its_classes(run.classes):
        drawn = not run.config.data
        all_exhibits = [replace(each, caption=(*each.caption, _remark(each, drawn=drawn))) for each in all_exhibits]
    label = deviations.label(run.config.protocol)
    return [replace(each, numbers={"label": label, **each.numbers}) if label else each for each in all_exhibits]


def _remark(exhibit: Exhibit, *, drawn: bool) -> str:
    """What the original shows in the same place, as a sentence after a caption."""
    name = exhibit.numbers.get("name")
    if name in ABSENT_SETS:
        return f" The original's figure {exhibit.number} shows {ABSENT_SETS[name]}; the two cannot be compared."
    if exhibit.number in (10, 11):
        return f" Images of {name}, as in the original's figure {exhibit.number}; it prints no numbers."
    if "original" in exhibit.numbers:
        chosen = f"; it chose {original()['chosen']}" if exhibit.number == TEST else ""
        comparable = ", of photographs and not comparable with drawn scenes" if drawn else ""
        return f" Diamonds are what the original prints{comparable}{chosen}."
    return {
        5: " The original draws its curves and prints no numbers.",
        6: " The original draws the curve of its chosen setting and prints no numbers.",
        7: " The original shows pictures without numbers.",
        9: " The original draws its spectra and prints no numbers.",
    }.get(exhibit.number, " The original has no such figure.")


def _strengths(rows: Sequence[HistoryRow]) -> dict[str, Any]:
    """The strengths of the fits of a head, where the rows are such."""
    return {"strength": [row["strength"] for row in rows]} if unit(rows) == "fit" else {}


def _loss_exhibit(rows: Sequence[HistoryRow], setting: str) -> Exhibit:
    numbers = _strengths(rows) | {
        "epoch": [row["epoch"] for row in rows],
        "train_loss": [row["train_loss"] for row in rows],
        "val_loss": [row["val_loss"] for row in rows],
    }
    each = unit(rows)
    source, places = source_of(5, numbers), range(len(rows))
    best = min(places, key=lambda place: rows[place]["val_loss"])
    finding: Sentence = (
        "The validation loss is lowest, ",
        source.at("val_loss", best, form=".2f"),
        f", after {each} ",
        source.at("epoch", best, form="d"),
        f" of {len(rows)}; the training loss goes from ",
        source.at("train_loss", 0, form=".2f"),
        " to ",
        source.at("train_loss", len(rows) - 1, form=".2f"),
    )
    return Exhibit(
        number=5,
        title=f"Loss of the selected setting, {setting}",
        caption=(_OF_EPOCHS if each == "epoch" else _OF_FITS,),
        numbers=numbers,
        findings=(finding,),
        table=FigureTable(
            heading=(each, "training", "validation"),
            rows=tuple(
                (str(rows[place]["epoch"]), source.at("train_loss", place), source.at("val_loss", place))
                for place in places
            ),
        ),
    )  # fmt: skip


def _accuracy_exhibit(histories: Mapping[str, Sequence[HistoryRow]], selected: str) -> Exhibit:
    curves = {name: [row["mean_class_accuracy"] for row in rows] for name, rows in histories.items()}
    epochs = [row["epoch"] for row in histories[selected]]
    numbers = _strengths(histories[selected]) | {
        "epoch": epochs,
        "mean_class_accuracy": curves,
        "selected": selected,
    }
    each = unit(histories[selected])
    source, finding = source_of(6, numbers), list[Cell]()
    for name, rows in histories.items():
        best = best_epoch(rows)["epoch"]
        finding.append(f"{'; ' if finding else ''}{name} reaches ")
        finding.append(source.at("mean_class_accuracy", name, best - 1, form="share"))
        finding.append(f" after {unit(rows)} {best}")
    cells: tuple[tuple[Cell, ...], ...] = tuple(
        (str(epoch), *(source.at("mean_class_accuracy", name, place) for name in curves))
        for place, epoch in enumerate(epochs)
    )
    return Exhibit(
        number=6,
        title=f"Mean class accuracy on validation after each {each}",
        caption=(f"All settings; {selected} was selected by the highest value of any {each}.",),
        numbers=numbers,
        findings=(tuple(finding),),
        table=FigureTable(heading=(each, *curves), rows=cells),
    )


def _ranking_exhibit(run: FinishedRun) -> Exhibit:
    scores, classes = run.scores, run.classes
    ranked = [name for name in RANKED if name in classes] or classes[:3]
    numbers = {name: top_and_bottom(scores, classes.index(name)) for name in ranked}
    held = {"classes": classes, "ranked": numbers}
    source = source_of(7, held)
    rows = tuple(
        (name, side, str(place + 1), source.at("ranked", name, side, place, "score", form=".6f"),
         classes[image["label"]], image["path"])
        for name, sides in numbers.items()
        for side, images in sides.items()
        for place, image in enumerate(images)
    )  # fmt: skip
    right = [
        f"{sum(classes[image['label']] == name for image in sides['top'])} of {len(sides['top'])} for {name}"
        for name, sides in numbers.items()
    ]
    return Exhibit(
        number=7,
        title=f"Test images with the highest and lowest scores of {', '.join(ranked)}",
        caption=("Softmax score of the class named at the left, and the true class of each image.",),
        numbers=held,
        findings=((f"Of the images with the highest scores of a class, those of that class are {', '.join(right)}",),),
        table=FigureTable(heading=("score of", "end", "place", "score", "true class", "image"), rows=rows),
    )


def _sparsity_exhibit(features: FeatureMaps, printed: Mapping[str, float]) -> Exhibit:
    test = features["sets"][0]
    ours = {name: 100 * module["non_positive"] for name, module in test["modules"].items()}
    numbers = {"images": test["images"], "ours": ours, "original": printed}
    source = source_of(8, numbers)

    def row(name: str) -> tuple[Cell, ...]:
        theirs = source.at("original", name, form=".1f") if name in printed else ABSENT
        return (name, source.at("ours", name, form=".1f"), *([theirs] if printed else []))

    return Exhibit(
        number=8,
        title="Sparsity, the percentage of values that are not positive",
        caption=(f"Share of values <= 0 over all channels and positions, averaged over {test['images']} test images; "
                 f"{features['network']}, in eval mode.",),
        numbers=numbers,
        findings=(extremes(list(ours), source, "ours", form=".1f", unit=" %"),),
        table=FigureTable(
            heading=("module", "ours, %", "original, %") if printed else ("module", "%"), rows=tuple(map(row, ours))
        ),
    )  # fmt: skip


def _spectrum_exhibit(number: int, images: ImageSetFeatures, features: FeatureMaps) -> Exhibit:
    modules = {name: module["eigenvalues"] for name, module in images["modules"].items()}
    name = "the run's own test images" if number == 9 else images["name"]
    numbers = {"name": name, "images": images["images"], "eigenvalues": modules}
    source = source_of(number, numbers)
    rows = tuple(
        (str(place + 1), *(source.at("eigenvalues", name, place, form=".4e") if place < len(values) else ABSENT
                           for name, values in modules.items()))
        for place in range(max(map(len, modules.values())))
    )  # fmt: skip
    return Exhibit(
        number=number,
        title=f"Largest eigenvalues of the feature covariance: {name}",
        caption=(
            f"Covariance (divided by n) of the spatial means of each channel over {images['images']} images"
            f"{_pooled(images)}; {features['network']}, in {features['spectra_mode']} mode.",
            *(_places_left_out(modules)),
            _stand_in(images["name"]),
        ),
        numbers=numbers,
        findings=(_steepest(modules, number, numbers),),
        table=FigureTable(heading=("place", *modules), rows=rows),
    )


def _steepest(modules: Mapping[str, Sequence[float]], number: int, numbers: Mapping[str, object]) -> Sentence:
    source = source_of(number, numbers)
    largest = max(modules, key=lambda name: modules[name][0])
    steepest = min(modules, key=lambda name: modules[name][-1] / modules[name][0] if modules[name][0] else 1)
    return (
        f"{largest} has the largest eigenvalue, ",
        source.at("eigenvalues", largest, 0, form=".3g"),
        f"; {steepest} falls most, from ",
        source.at("eigenvalues", steepest, 0, form=".3g"),
        " to ",
        source.at("eigenvalues", steepest, len(modules[steepest]) - 1, form=".2g"),
    )


def drawn_places(values: Sequence[float]) -> list[int]:
    """The places, from 0, whose eigenvalues are large enough to be drawn."""
    return [place for place, value in enumerate(values) if value > SMALLEST_DRAWN * values[0]]


def _places_left_out(modules: Mapping[str, Sequence[float]]) -> Sentence:
    """Which places a curve lacks, as a sentence."""
    left_out = {
        name: [str(place + 1) for place in range(len(values)) if place not in drawn_places(values)]
        for name, values in modules.items()
    }
    listed = [
        f"{'place' if len(places) == 1 else 'places'} {_span(places)} of {name}"
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


def _pooled(images: ImageSetFeatures) -> str:
    more = images.get("pooled_images", images["images"]) - images["images"]
    return f" and the {more} images of the sets before" if more else ""


def _stand_in(name: str) -> str:
    """What must be said where an embedded set takes the place of one that was not given."""
    if name not in ABSENT_SETS:
        return ""
    what = "crops of the two photographs that scikit-learn ships"
    if name == DIGITS:
        what = "scikit-learn's handwritten digits, enlarged"
    return f" These are {what}, since no {ABSENT_SETS[name]} folder was given."
