"""All figures of a run: the eleven of the published report, with the run's numbers, and further ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from in4310repro.metrics import wilson
from in4310repro.metrics.scores import RankedImage, top_and_bottom
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
    Ties,
    compare_with_interval,
    figure_source,
    fill,
)
from in4310repro.report.feature_exhibits import ABSENT_SETS, activation_exhibit, sparsity_exhibit, spectrum_exhibits
from in4310repro.report.published_numbers import has_original_classes, original
from in4310repro.report.score_exhibits import calibration_exhibit, confusion_exhibit, curves_exhibit
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.records import HistoryRow
from in4310repro.runs.selection import best_epoch, best_epochs, describe_ties, unit
from in4310repro.system.text import MOST_NAMED, join_names

LAST_OF_ORIGINAL = 11
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


# Of the originals beside our validation.
UNNAMED = "; they are of 3,000 images by its class sizes, and it does not call them validation"


def exhibits(run: FinishedRun) -> list[Exhibit]:
    """Build all figures of a finished run, in order.

    Raises:
        ValueError: the run has no measured feature maps.
    """
    if run.features is None:
        raise ValueError(
            f"{run.folder} has no measured feature maps; `in4310repro report` measures them, and writes them into a "
            "run that is not read-only"
        )
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
        all_exhibits = [_beside_original(run, each) for each in all_exhibits]
    label = run.config.protocol.label
    return [replace(each, numbers={"label": label, **each.numbers}) if label else each for each in all_exhibits]


def _beside_original(run: FinishedRun, exhibit: Exhibit) -> Exhibit:
    """Return the figure with the number of the published report's figure, and a remark on that in its caption."""
    counterpart = exhibit.number if TEST <= exhibit.number <= LAST_OF_ORIGINAL else None
    if exhibit.number < TEST:
        # The original's have the order of its optimizers.
        optimizer, optimizers = run.config.settings[exhibit.number - 1].optimizer.lower(), original()["optimizers"]
        counterpart = optimizers.index(optimizer) + 1 if optimizer in optimizers else None
    drawn = not run.config.data
    caption = (*exhibit.caption, _remark(exhibit, drawn=drawn))
    return replace(exhibit, caption=caption, counterpart=counterpart, draws_original=not drawn)


def _remark(exhibit: Exhibit, *, drawn: bool) -> str:
    """Return a sentence about the published report's figure, for the caption of `exhibit`.

    `drawn` is True if the run's images are drawn scenes instead of photographs.
    """
    name = exhibit.numbers.get("name")
    if name in ABSENT_SETS:
        return f" The original's figure {exhibit.number} shows {ABSENT_SETS[name]}; the two cannot be compared."
    if exhibit.number in (10, 11):
        return f" Images of {name}, as in the original's figure {exhibit.number}; it prints no numbers."
    if exhibit.numbers.get("original"):
        chosen = {TEST: f"; it chose {original()['chosen']}", 8: ""}.get(exhibit.number, UNNAMED)
        if drawn:
            prints = "The table has the numbers that the original prints, of photographs and not comparable with drawn"
            return f" {prints} scenes{chosen}."
        return f" Diamonds are what the original prints{chosen}."
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
    losses_of_validation = [row["val_loss"] for row in rows]
    printed = [source.at("val_loss", place) for place in places]
    lowest = Ties.of(losses_of_validation, printed, min(losses_of_validation))
    which = join_names([f"{rows[place]['epoch']}" for place in lowest.places], f"{each}s")
    when: Sentence = (f"{f'{each}s ' * (len(lowest.places) <= MOST_NAMED)}{which}",)
    if len(lowest.places) == 1:
        when = (f"{each} ", source.at("epoch", lowest.places[0], form="d"))
    training = (source.at("train_loss", place, form=".2f") for place in (0, len(rows) - 1))
    finding = (
        *("The validation loss is lowest, ", printed[lowest.places[0]], f"{lowest.rounded}, after ", *when),
        *fill(f" of {len(rows)}; the training loss goes from {{}} to {{}}", *training),
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
        best, *ties = (row["epoch"] for row in best_epochs(rows, run.config.select))
        value = source.at("mean_class_accuracy", name, best - 1)
        first = "first after" if ties else "after"
        finding += [f"{'; ' if finding else ''}{name} reaches ", value, f" {first} {unit(rows)} {best}"]
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
        caption=(
            f"All settings; {selected} was selected by {_describe_selection(run, each)}"
            f"{describe_ties(histories, run.config.select)}.",
        ),
        numbers=numbers,
        findings=(tuple(finding), *_compare_with_selected(source, numbers)),
        table=FigureTable(heading=(each, *curves), rows=cells),
    )


def _describe_selection(run: FinishedRun, each: str) -> str:
    """Return a phrase on the rule by which a training setting was selected, for the caption of a figure.

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
        caption=(
            "Softmax score of the named class, and the true class of each image. Scores that are printed alike stand "
            "in the order of their further digits, equal ones by path.",
            *(_describe_left_out(scores.softmax[:, classes.index(name)], name, numbers[name]) for name in ranked),
        ),
        numbers=held,
        findings=((f"Of the images with the highest scores of a class, those of that class are {', '.join(right)}",),),
        table=FigureTable(heading=("score of", "end", "place", "score", "true class", "image"), rows=rows),
    )


def _describe_left_out(scores: NDArray[np.float32], name: str, sides: Mapping[str, Sequence[RankedImage]]) -> str:
    """Return a sentence for each end of a ranking that says how many images with its last score are not shown."""
    sentences = ""
    for side, images in sides.items():
        last = images[-1]["score"]
        left_out = int((scores == last).sum()) - sum(image["score"] == last for image in images)
        if left_out:
            end = "highest" if side == "top" else "lowest"
            more = "1 more image has" if left_out == 1 else f"{left_out} more images have"
            sentences += f" {more} the last of the {end} scores of {name}."
    return sentences
