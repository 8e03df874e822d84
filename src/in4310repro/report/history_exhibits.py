"""Figures 5 and 6, of the histories of the settings: losses and validation accuracies by epoch or fit."""

from collections.abc import Sequence
from typing import Any

from in4310repro.metrics import wilson
from in4310repro.metrics.table import DEFAULT_SELECTION, SCALARS
from in4310repro.report.comparisons import compare_with_interval, find_ties, join_sentences
from in4310repro.report.exhibit import Cell, Exhibit, FigureTable, Keys, Sentence, figure_source
from in4310repro.report.markup import SHARES, Numbers, Panel, Points, axis_around_zero, draw_lines
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.records import HistoryRow
from in4310repro.runs.selection import best_epoch, best_epochs, describe_ties, unit
from in4310repro.system.text import MOST_NAMED, join_names

# By their keys in history.json; a run has the last one by a deviation.
LOSSES = {"train_loss": "training", "val_loss": "validation", "test_loss": "test"}
_OF_EPOCHS = (
    "Mean cross-entropy per image. The training loss is taken while the weights move and on augmented images, the "
    "validation loss after each epoch."
)
_OF_TEST = " The test loss after each epoch is a deviation from the assignment; nothing was selected by it."
_OF_FITS = (
    "Mean cross-entropy per image. There are no epochs: the last layer is fitted once for each strength of its "
    "penalty, from the strongest to the weakest, and both losses are of the finished fit."
)


def _strengths(rows: Sequence[HistoryRow]) -> dict[str, Any]:
    """Return the penalty strengths of fits of the last layer as `strength`; nothing if it was trained by epochs."""
    return {"strength": [row["strength"] for row in rows]} if unit(rows) == "fit" else {}


def loss_exhibit(run: FinishedRun) -> Exhibit:
    """Build figure 5: the losses of the selected setting."""
    setting, history = run.metrics["setting"], run.histories[run.metrics["setting"]]
    each, best = unit(history), best_epoch(history, run.config.select)["epoch"] - 1
    losses = {key: name for key, name in LOSSES.items() if key in history[0]}
    columns = {key: [row[key] for row in history] for key in ("epoch", *losses)}  # type: ignore[literal-required]
    source = figure_source(5, _strengths(history) | columns)
    epochs, training = source.each("epoch"), source.each("train_loss", form=".2f")
    places, rounded = find_ties(source.each("val_loss"), min)
    when: tuple[Cell, Cell] = (f"{each} ", epochs[places[0]])
    if len(places) > 1:
        named = join_names([str(epochs[place]) for place in places], f"{each}s")
        when = (f"{each}s " * (len(places) <= MOST_NAMED), named)
    finding = source.say(
        f"The validation loss is lowest, {{}}{rounded}, after {{}}{{}} of {len(history)}; the training loss goes from "
        "{} to {}",
        *(source.at("val_loss", places[0]), *when, training[0], training[-1]),
    )

    def tier(keys: Keys) -> str:
        of_best = keys[0] != "train_loss" and keys[1] == best
        return "exact" if keys[0] == "epoch" else "validation" if of_best else "losses"

    return Exhibit(
        source,
        "Loss",
        f"Loss of the selected setting, {setting}",
        ((_OF_EPOCHS if each == "epoch" else _OF_FITS) + (_OF_TEST if "test_loss" in losses else ""),),
        [finding],
        FigureTable.of((each, map(str, epochs)), *((name, source.each(key)) for key, name in losses.items())),
        draw=draw_losses,
        tier=tier,
        counterpart=5,
        remark="The original draws its curves and prints no numbers.",
    )


def accuracy_exhibit(run: FinishedRun) -> Exhibit:
    """Build figure 6: the mean class accuracy of every setting on validation."""
    histories, selected, by = run.histories, run.metrics["setting"], run.config.select
    # A fitted head and trained settings can stand side by side, with different numbers of rows.
    longest, units = max(histories.values(), key=len), sorted({*map(unit, histories.values())})
    each, best = " or ".join(units), {name: best_epochs(rows, by) for name, rows in histories.items()}
    supports = run.metrics["supports"][run.config.protocol.part_read_as("validation")]
    sizes = [supports[name] for name in run.classes]
    accuracies = {name: zip(rows[0]["class_accuracy"], sizes, strict=True) for name, rows in best.items()}
    correct = {name: sum(round(share * size) for share, size in each) for name, each in accuracies.items()}
    accuracy = {name: count / sum(sizes) for name, count in correct.items()}
    interval = wilson(correct[selected], sum(sizes))
    numbers = (_strengths(longest) if len(units) == 1 else {"row": each}) | {
        "epoch": [row["epoch"] for row in longest],
        "mean_class_accuracy": {name: [row["mean_class_accuracy"] for row in rows] for name, rows in histories.items()},
        "selected": selected,
        "accuracy": accuracy,
        "interval": interval,
    }
    source, reached = figure_source(6, numbers), list[Sentence]()
    for name, (row, *ties) in best.items():
        value = source.at("mean_class_accuracy", name, row["epoch"] - 1)
        when = f" {'first after' if ties else 'after'} {unit(histories[name])} {row['epoch']}"
        reached.append((f"{name} reaches ", value, when))
    shares = {name: source.at("accuracy", name, form="share") for name in best}
    said = source.say(
        "Of all images of validation {} is right for {} (95 % {interval:.2f})", selected, shares.pop(selected)
    )
    others = [
        (name, ", ", share, f", {compare_with_interval(accuracy[name], interval)}") for name, share in shares.items()
    ]
    highest = f"the highest value of any {each}"
    if by != DEFAULT_SELECTION:
        highest = f"the best {SCALARS[by].label} of any {each}, not by these values"

    def tier(keys: Keys) -> str:
        other = keys[0] == "mean_class_accuracy" and keys[2] != best[keys[1]][0]["epoch"] - 1
        return unit(histories[keys[1]]) if other else "validation"

    return Exhibit(
        source,
        f"Accuracy by {each}",
        f"Mean class accuracy on validation after each {each}",
        (f"All settings; {selected} was selected by {highest}{describe_ties(histories, by)}.",),
        [join_sentences(reached, "; "), *([join_sentences([said, *others], "; ")] if others else [])],
        FigureTable.of(
            (each, map(str, numbers["epoch"])), *((name, source.each("mean_class_accuracy", name)) for name in best)
        ),
        draw=draw_accuracies,
        tier=tier,
        counterpart=6,
        remark="The original draws the curve of its chosen setting and prints no numbers.",
    )


def list_losses(numbers: Numbers) -> dict[str, Points]:
    """Return the (x, y) points of each line of figure 5, by the line's name."""
    return {name: [*zip(numbers["epoch"], numbers[key], strict=True)] for key, name in LOSSES.items() if key in numbers}


def list_accuracies(numbers: Numbers) -> dict[str, Points]:
    """Return the (x, y) points of each line of figure 6, by the line's name."""
    # A fit may have fewer rows than the settings beside it.
    return {
        name: [*zip(numbers["epoch"], values, strict=False)] for name, values in numbers["mean_class_accuracy"].items()
    }


def draw_losses(numbers: Numbers) -> list[Panel]:
    """Draw a line for each loss."""
    points = list_losses(numbers)
    axis = axis_around_zero(0, max(value for line in points.values() for _, value in line))
    return [draw_lines("Loss", points, axis, (_axis_title(numbers), "cross-entropy per image"))]


def draw_accuracies(numbers: Numbers) -> list[Panel]:
    """Draw a line for each setting; that of the selected one is bold."""
    points, titles = list_accuracies(numbers), (_axis_title(numbers), "mean class accuracy")
    return [draw_lines("Mean class accuracy", points, SHARES, titles, selected=numbers["selected"])]


def _axis_title(numbers: Numbers) -> str:
    return "fit, from a strong penalty to a weak one" if "strength" in numbers else str(numbers.get("row", "epoch"))
