"""All figures of a run: the eleven of the published report, with the run's numbers, and further ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from in4310repro.metrics import wilson
from in4310repro.metrics.scores import top_and_bottom
from in4310repro.metrics.table import DEFAULT_SELECTION, SCALARS
from in4310repro.report.charts import LOSSES
from in4310repro.report.class_exhibits import TEST, test_exhibit, validation_exhibit
from in4310repro.report.exhibit import (
    ABSENT,
    Cell,
    Exhibit,
    FigureTable,
    Sentence,
    Source,
    compare_with_interval,
    figure_source,
    fill,
)
from in4310repro.report.feature_exhibits import ABSENT_SETS, activation_exhibit, sparsity_exhibit, spectrum_exhibits
from in4310repro.report.published_numbers import has_original_classes, original
from in4310repro.report.score_exhibits import calibration_exhibit, confusion_exhibit, curves_exhibit
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.records import HistoryRow
from in4310repro.runs.selection import best_epoch, unit

RANKED = ("glacier", "mountain", "sea")
_OF_EPOCHS = (
    "Mean cross-entropy per image. The training loss is taken while the weights move and on augmented images, the "
    "validation loss after each epoch."
)
_OF_TEST = " The test loss after each epoch is a deviation from the assignment; nothing was selected by it."
_OF_FITS = (
    "Mean cross-entropy per image. There are no epochs: the last layer is fitted once for each strength of its "
    "penalty, from the strongest to the weakest, and both losses are of the finished fit."
)


# Beside validation of ours, in figures 1 to 3.
UNNAMED = "; they are of 3,000 images by its class sizes, and it does not call them validation"


def exhibits(run: FinishedRun) -> list[Exhibit]:
    """Build all figures of a finished run, in order.

    Raises:
        ValueError: the run has no measured feature maps.
    """
    if run.features is None:
        raise ValueError(f"{run.folder} has no measured feature maps; `in4310repro report` measures them")
    selected, settings = run.metrics["setting"], enumerate(run.config.settings[:3], start=1)
    test = test_exhibit(run)
    all_exhibits = [
        *(validation_exhibit(run, number, setting) for number, setting in settings),
        test,
        _loss_exhibit(run.histories[selected], selected),
        _accuracy_exhibit(run, selected),
        _ranking_exhibit(run),
        sparsity_exhibit(run.features, original()["non_positive_percent"] if has_original_classes(run.classes) else {}),
        *spectrum_exhibits(run.features),
        confusion_exhibit(run),
        curves_exhibit(run, test.numbers["intervals"].get("average_precision")),
        calibration_exhibit(run),
        *filter(None, [activation_exhibit(run.features)]),
    ]
    if has_original_classes(run.classes):
        drawn = not run.config.data
        all_exhibits = [replace(each, caption=(*each.caption, _remark(each, drawn=drawn))) for each in all_exhibits]
    label = run.config.protocol.label
    return [replace(each, numbers={"label": label, **each.numbers}) if label else each for each in all_exhibits]


def _remark(exhibit: Exhibit, *, drawn: bool) -> str:
    """Return a sentence about the published report's figure with the same number, for the caption of `exhibit`.

    `drawn` is True if the run's images are drawn scenes instead of photographs.
    """
    name = exhibit.numbers.get("name")
    if name in ABSENT_SETS:
        return f" The original's figure {exhibit.number} shows {ABSENT_SETS[name]}; the two cannot be compared."
    if exhibit.number in (10, 11):
        return f" Images of {name}, as in the original's figure {exhibit.number}; it prints no numbers."
    if exhibit.numbers.get("original"):
        chosen = {TEST: f"; it chose {original()['chosen']}", 8: ""}.get(exhibit.number, UNNAMED)
        comparable = ", of photographs and not comparable with drawn scenes" if drawn else ""
        return f" Diamonds are what the original prints{comparable}{chosen}."
    return {
        5: " The original draws its curves and prints no numbers.",
        6: " The original draws the curve of its chosen setting and prints no numbers.",
        7: " The original shows pictures without numbers.",
        8: " The original prints the shares of other modules.",
        9: " The original draws its spectra and prints no numbers.",
    }.get(exhibit.number, " The original has no such figure.")


def _strengths(rows: Sequence[HistoryRow]) -> dict[str, Any]:
    """Return the penalty strength of each fit of the last layer, as a dict with the key "strength".

    The dict is empty if the network was trained by epochs.
    """
    return {"strength": [row["strength"] for row in rows]} if unit(rows) == "fit" else {}


def _loss_exhibit(rows: Sequence[HistoryRow], setting: str) -> Exhibit:
    losses = {key: name for key, name in LOSSES.items() if key in rows[0]}
    numbers = _strengths(rows) | {"epoch": [row["epoch"] for row in rows]}
    numbers |= {key: [row[key] for row in rows] for key in losses}  # type: ignore[literal-required]
    each = unit(rows)
    source, places = figure_source(5, numbers), range(len(rows))
    best = min(places, key=lambda place: rows[place]["val_loss"])
    lowest, first, last = (
        source.at(name, place, form=".2f")
        for name, place in (("val_loss", best), ("train_loss", 0), ("train_loss", len(rows) - 1))
    )
    finding = fill(
        "The validation loss is lowest, {}, after {} {} of {}; the training loss goes from {} to {}",
        *(lowest, each, source.at("epoch", best, form="d"), str(len(rows)), first, last),
    )
    return Exhibit(
        number=5,
        short="Loss",
        title=f"Loss of the selected setting, {setting}",
        caption=((_OF_EPOCHS if each == "epoch" else _OF_FITS) + (_OF_TEST if "test_loss" in losses else ""),),
        numbers=numbers,
        findings=(finding,),
        table=FigureTable(
            heading=(each, *losses.values()),
            rows=tuple(
                (str(rows[place]["epoch"]), *(source.at(key, place) for key in losses)) for place in places
            ),
        ),
    )  # fmt: skip


def _accuracy_exhibit(run: FinishedRun, selected: str) -> Exhibit:
    histories = run.histories
    curves = {name: [row["mean_class_accuracy"] for row in rows] for name, rows in histories.items()}
    # A fitted head and trained settings can stand side by side, with different numbers of rows.
    longest = max(histories.values(), key=len)
    units = sorted({unit(rows) for rows in histories.values()})
    each = " or ".join(units)
    of_validation = run.metrics["supports"][run.config.protocol.part_read_as("validation")]
    supports = [of_validation[name] for name in run.classes]
    correct = {name: _count_correct(best_epoch(rows, run.config.select), supports) for name, rows in histories.items()}
    numbers = (_strengths(longest) if len(units) == 1 else {"row": each}) | {
        "epoch": [row["epoch"] for row in longest],
        "mean_class_accuracy": curves,
        "selected": selected,
        "accuracy": {name: count / sum(supports) for name, count in correct.items()},
        "interval": wilson(correct[selected], sum(supports)),
    }
    source, finding = figure_source(6, numbers), list[Cell]()
    for name, rows in histories.items():
        best = best_epoch(rows, run.config.select)["epoch"]
        value = source.at("mean_class_accuracy", name, best - 1, form="share")
        finding += [f"{'; ' if finding else ''}{name} reaches ", value, f" after {unit(rows)} {best}"]
    cells: tuple[tuple[Cell, ...], ...] = tuple(
        (
            str(row["epoch"]),
            *(
                source.at("mean_class_accuracy", name, place) if place < len(curve) else ABSENT
                for name, curve in curves.items()
            ),
        )
        for place, row in enumerate(longest)
    )
    return Exhibit(
        number=6,
        short=f"Accuracy by {each}",
        title=f"Mean class accuracy on validation after each {each}",
        caption=(f"All settings; {selected} was selected by {_describe_selection(run, each)}.",),
        numbers=numbers,
        findings=(tuple(finding), *_compare_with_selected(source, numbers)),
        table=FigureTable(heading=(each, *curves), rows=cells),
    )


def _describe_selection(run: FinishedRun, each: str) -> str:
    """Return a phrase on the rule by which a training setting was selected, for the caption of figure 6.

    `each` is the unit of a row in the training history, such as `epoch`.
    """
    by = run.config.select
    of_curves = f"the highest value of any {each}"
    return of_curves if by == DEFAULT_SELECTION else f"the best {SCALARS[by].label} of any {each}, not by these values"


def _count_correct(row: HistoryRow, supports: Sequence[int]) -> int:
    return sum(round(share * images) for share, images in zip(row["class_accuracy"], supports, strict=True))


def _compare_with_selected(source: Source, numbers: Mapping[str, Any]) -> tuple[Sentence, ...]:
    """Return a sentence comparing the other training settings with the selected one; () if there are none."""
    selected, others = numbers["selected"], [name for name in numbers["accuracy"] if name != numbers["selected"]]
    if not others:
        return ()
    finding: list[Cell] = [f"Of all images of validation {selected} is right for ",
                           source.at("accuracy", selected, form="share"), " (95 % ",
                            source.at("interval", form=".2f"), ")"]  # fmt: skip
    for name in others:
        place = compare_with_interval(numbers["accuracy"][name], numbers["interval"])
        finding += [f"; {name}, ", source.at("accuracy", name, form="share"), f", {place}"]
    return (tuple(finding),)


def _ranking_exhibit(run: FinishedRun) -> Exhibit:
    scores, classes = run.scores, run.classes
    ranked = [name for name in RANKED if name in classes] or classes[:3]
    numbers = {name: top_and_bottom(scores, classes.index(name)) for name in ranked}
    held = {"classes": classes, "ranked": numbers}
    source = figure_source(7, held)
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
        short="Highest and lowest scores",
        title=f"Test images with the highest and lowest scores of {', '.join(ranked)}",
        caption=("Softmax score of the class named at the left, and the true class of each image.",),
        numbers=held,
        findings=((f"Of the images with the highest scores of a class, those of that class are {', '.join(right)}",),),
        table=FigureTable(heading=("score of", "end", "place", "score", "true class", "image"), rows=rows),
    )
