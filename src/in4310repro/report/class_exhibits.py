"""Figures 1 to 6, of metrics and losses: those of each class with intervals, and those of all epochs or fits."""

from collections.abc import Iterator
from typing import Any

from in4310repro.metrics import Tolerance, class_metrics, wilson
from in4310repro.metrics.table import DEFAULT_SELECTION, MEANS, METRICS, PER_CLASS, SCALARS
from in4310repro.report import exhibit, markup
from in4310repro.report.exhibit import Cell, Exhibit, FigureTable, Sentence, Source, figure_source
from in4310repro.report.markup import Numbers, Panel, Points, draw_lines
from in4310repro.report.uncertainty import describe, intervals
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.names import RECORD
from in4310repro.runs.selection import best_epochs, describe_ties, unit
from in4310repro.system.text import MOST_NAMED, join_names

TEST = 4
# A clause on the original's numbers beside our validation.
UNNAMED = "; they are of 3,000 images by its class sizes, and it does not call them validation"
DRAWN = {"chance": "chance", "interval": "intervals", "printed": "original", "dot": "ours"}  # shape in a row -> numbers
# By their keys in history.json; a run has the last one by a deviation.
LOSSES = {"train_loss": "training", "val_loss": "validation", "test_loss": "test"}
# Captions of the losses by epochs and by fits, and what a deviation adds.
CAPTIONS = {
    "epoch": "Mean cross-entropy per image. The training loss is taken while the weights move and on augmented images, "
    "the validation loss after each epoch.",
    "fit": "Mean cross-entropy per image. There are no epochs: the last layer is fitted once for each strength of its "
    "penalty, from the strongest to the weakest, and both losses are of the finished fit.",
}
OF_TEST = " The test loss after each epoch is a deviation from the assignment; nothing was selected by it."


def validation_exhibits(run: FinishedRun) -> Iterator[Exhibit]:
    """Build figures 1 to 3: the validation metrics of each of the first three settings at its best epoch."""
    optimizers = exhibit.original()["optimizers"]
    for number, setting in enumerate(run.config.settings[:3], start=1):
        rows = run.histories[setting.name]
        best, *ties = best_epochs(rows, run.config.select)
        which = f"the first of {1 + len(ties)} equally good ones" if ties else "the best"
        # Matched by optimizer, since the name of a setting is free and the original compares optimizers.
        optimizer = setting.optimizer.lower()
        caption = (
            f"Weights of {unit(rows)} {best['epoch']} of {len(rows)}, {which} by {SCALARS[run.config.select].label} on "
            "validation. Bars are 95 % Wilson intervals; average precisions have none here, since a run keeps no "
            "scores of validation."
        )
        yield _exhibit(
            run,
            figure_source(number, _numbers(run, "validation", best, optimizer)),
            f"Validation of {setting.name}",
            f"Setting {setting.name}: class accuracy and average precision on validation",
            (caption,),
            tier="validation",
            counterpart=optimizers.index(optimizer) + 1 if optimizer in optimizers else None,
            beside=UNNAMED,
        )


def test_exhibit(run: FinishedRun) -> Exhibit:
    """Build figure 4: the metrics of the selected network on the test images."""
    # Older versions did not record some of the metrics.
    newer = {
        name: each for name, each in run.scores.metrics().items() if METRICS[name].tolerance is not Tolerance.ORDER
    }
    numbers = _numbers(run, "test", newer | {**run.metrics}, "test")
    for name, interval in intervals(run.scores).items():
        # A protocol that ranks logits has no interval here, since a run does not keep logits.
        if not run.config.protocol.ranks_logits or METRICS[name].tolerance is not Tolerance.ORDER:
            numbers["intervals"][name] = interval
    return _exhibit(
        run,
        figure_source(TEST, numbers),
        "Accuracy of each class",
        f"The selected setting, {run.metrics['setting']}, on the test set",
        (*_test_caption(run), f" Bars are 95 % intervals: {describe()}"),
        counterpart=TEST,
        beside=f"; it chose {exhibit.original()['chosen']}",
    )


def _test_caption(run: FinishedRun) -> Sentence:
    images, unseen = sum(run.class_sizes("test")), run.metrics.get("unseen")
    if not unseen:
        return (f"{images:,} images that took no part in this run's training or selection, measured once by it.",)
    source = Source(RECORD, unseen, ("metrics", "unseen"))
    known = [cell for name, each in SCALARS.items() if name in unseen for cell in (f", {each.label} ", source.at(name))]
    text = "{} images on which the network was trained and selected as well. On the {images} images that it never read"
    return (*source.say(text, f"{images:,}"), *known, ".")


def _numbers(run: FinishedRun, part: str, metrics: Numbers, printed: str) -> Any:
    """Return the content of the JSON file of a figure from 1 to 4.

    Intervals are Wilson's, of all metrics that are proportions of images; for a metric of each class a list.
    `printed` is the name of an optimizer in lower case, or `test`: what the published report prints for it is
    beside, if it prints anything and has the classes of the run.
    """
    images = run.class_sizes(part)
    ours: Any = class_metrics(metrics)
    theirs = exhibit.original()["settings"].get(printed) if exhibit.has_original_classes(run.classes) else None
    return {
        "classes": run.classes,
        "images": images,
        "ours": ours,
        "intervals": {
            name: [*map(_wilson, value, images)] if name in PER_CLASS else _wilson(value, sum(images))
            for name, value in ours.items()
            if METRICS[name].is_share
        },
        "chance": {"class_accuracy": 1 / len(images), "average_precision": [count / sum(images) for count in images]},
        **({"original": class_metrics(theirs)} if theirs else {}),
    }


def _wilson(share: float, images: int) -> list[float]:
    return wilson(round(share * images), images)


def _exhibit(run: FinishedRun, source: Source, short: str, title: str, caption: Sentence, **more: Any) -> Exhibit:
    axis = " An axis begins at its lowest value or below; a dashed line is chance, where the axis reaches it."
    numbers, names = source.values, source.values["classes"]
    findings = [
        (f"{each.title}: ", *exhibit.describe_extremes(names, source, "ours", key, intervals=("intervals", key)))
        for key, each in PER_CLASS.items()
    ]
    for key, each in SCALARS.items():
        # The others are in the table.
        if each.reads not in PER_CLASS and not each.is_share and key in numbers["ours"]:
            interval = (" (95 % ", source.at("intervals", key), ")") if key in numbers["intervals"] else ()
            findings.append((f"{each.title}: ", source.at("ours", key), *interval))
    # What the original prints of photographs is not drawn beside drawn scenes.
    panels = draw_class_metrics(numbers if run.config.data else numbers | {"original": {}})
    return Exhibit(source, short, title, (*caption, axis), findings, _table(source), panels, **more)


def _table(source: Source) -> FigureTable:
    ours, known, both = source.values["ours"], source.values["intervals"], "original" in source.values
    columns: list[Any] = [
        ("class", [*source.values["classes"], "mean"]),
        ("images, ours" if both else "images", [*source.each("images"), ""]),
    ]
    for who in ("ours", "original")[: 1 + both]:
        for key, mean in MEANS.items():
            name = PER_CLASS[key].heading
            columns.append((f"{name}, {who}" if both else name, [*source.each(who, key), source.at(who, mean)]))
            if who == "ours" and key in known:
                of_mean = source.at("intervals", mean) if mean in known else ""
                columns.append((f"95 % of {name}", [*source.each("intervals", key), of_mean]))
    table = FigureTable.of(*columns)
    totals: list[Any] = [
        (metric.heading, "", source.at("ours", key), source.at("intervals", key), *[""] * (len(columns) - 4))
        for key, metric in SCALARS.items()
        if metric.is_share and key in ours
    ]
    return FigureTable(table.heading, [*table.rows, *totals], 1 + len(totals))


def draw_class_metrics(numbers: Numbers) -> list[Panel]:
    """Draw the value, interval and chance level of each class, and the published value as a hollow diamond."""
    classes, drawn = numbers["classes"], []
    shares = [(each.heading, key) for key, each in SCALARS.items() if each.is_share and key in numbers["ours"]]
    for key, mean in MEANS.items():
        totals, rows, lowest = [("mean", mean), *(shares if key == "class_accuracy" else ())], [], list[float]()
        for place, (name, of) in enumerate([*((each, key) for each in classes), *totals]):
            row = {shape: numbers.get(part, {}).get(of) for shape, part in DRAWN.items()}
            if of == key:
                row = {shape: each[place] if isinstance(each, list) else each for shape, each in row.items()}
            ends = (row["dot"], *(row["interval"] or ()), row["printed"])
            lowest.append(min(each for each in ends if each is not None))
            rows.append((name, row | {"value": f"{row['dot']:.3f}"}))
        title = PER_CLASS[key].title
        drawn.append(markup.draw_rows(title, title, rows, markup.axis_to_one(min(lowest)), apart=len(totals)))
    return drawn


def loss_exhibit(run: FinishedRun) -> Exhibit:
    """Build figure 5: the losses of the selected setting."""
    setting, best = run.metrics["setting"], run.metrics["epoch"] - 1
    history: Any = run.histories[setting]
    numbers = {key: [row[key] for row in history] for key in ("strength", "epoch", *LOSSES) if key in history[0]}
    source, each = figure_source(5, numbers), unit(history)
    epochs, training = source.each("epoch"), source.each("train_loss", form=".2f")
    places, rounded = exhibit.find_ties(source.each("val_loss"), min)
    when: tuple[Cell, Cell] = (f"{each} ", epochs[places[0]])
    if len(places) > 1:
        named = join_names([str(epochs[place]) for place in places], f"{each}s")
        when = (f"{each}s " * (len(places) <= MOST_NAMED), named)
    finding = source.say(
        f"The validation loss is lowest, {{}}{rounded}, after {{}}{{}} of {len(history)}; the training loss goes from "
        "{} to {}",
        *(source.at("val_loss", places[0]), *when, training[0], training[-1]),
    )
    return Exhibit(
        source,
        "Loss",
        f"Loss of the selected setting, {setting}",
        (CAPTIONS[each] + OF_TEST * ("test_loss" in numbers),),
        [finding],
        FigureTable.of(
            (each, map(str, epochs)), *((name, source.each(key)) for key, name in LOSSES.items() if key in numbers)
        ),
        draw_losses(numbers),
        tier=lambda keys: (
            "exact" if keys[0] == "epoch" else "losses" if keys[0] == "train_loss" or keys[1] != best else "validation"
        ),
        counterpart=5,
        remark="The original draws its curves and prints no numbers.",
    )


def accuracy_exhibit(run: FinishedRun) -> Exhibit:
    """Build figure 6: the mean class accuracy of every setting on validation."""
    histories, selected, by = run.histories, run.metrics["setting"], run.config.select
    # A fitted head and trained settings can stand side by side, with different numbers of rows.
    longest, units = max(histories.values(), key=len), sorted({*map(unit, histories.values())})
    each, best = " or ".join(units), {name: best_epochs(rows, by) for name, rows in histories.items()}
    sizes = run.class_sizes("validation")
    correct = {
        name: sum(round(share * size) for share, size in zip(rows[0]["class_accuracy"], sizes, strict=True))
        for name, rows in best.items()
    }
    accuracy = {name: count / sum(sizes) for name, count in correct.items()}
    interval = wilson(correct[selected], sum(sizes))
    numbers: Any = {"strength": [row["strength"] for row in longest]} if units == ["fit"] else {}
    numbers |= ({"row": each} if units[1:] else {}) | {
        "epoch": [row["epoch"] for row in longest],
        "mean_class_accuracy": {name: [row["mean_class_accuracy"] for row in rows] for name, rows in histories.items()},
        "selected": selected,
        "accuracy": accuracy,
        "interval": interval,
    }
    source = figure_source(6, numbers)
    reached = [
        (
            f"{name} reaches ",
            source.at("mean_class_accuracy", name, row["epoch"] - 1),
            f" {'first ' * bool(ties)}after {unit(histories[name])} {row['epoch']}",
        )
        for name, (row, *ties) in best.items()
    ]
    shares = {name: source.at("accuracy", name, form=".2f") for name in best}
    text = "Of all images of validation {} is right for {} (95 % {interval:.2f})"
    compared = [source.say(text, selected, shares.pop(selected))]
    for name, share in shares.items():
        compared.append((name, ", ", share, f", {exhibit.compare_with_interval(accuracy[name], interval)}"))
    highest = f"the highest value of any {each}"
    if by != DEFAULT_SELECTION:
        highest = f"the best {SCALARS[by].label} of any {each}, not by these values"

    return Exhibit(
        source,
        f"Accuracy by {each}",
        f"Mean class accuracy on validation after each {each}",
        (f"All settings; {selected} was selected by {highest}{describe_ties(histories, by)}.",),
        # Without other settings there is nothing to compare.
        [exhibit.join_sentences(reached, "; "), exhibit.join_sentences(compared, "; ")][: len(best)],
        FigureTable.of(
            (each, map(str, numbers["epoch"])), *((name, source.each("mean_class_accuracy", name)) for name in best)
        ),
        draw_accuracies(numbers),
        tier=lambda keys: (
            unit(histories[keys[1]])
            if keys[0] == "mean_class_accuracy" and keys[2] != best[keys[1]][0]["epoch"] - 1
            else "validation"
        ),
        counterpart=6,
        remark="The original draws the curve of its chosen setting and prints no numbers.",
    )


def list_accuracies(numbers: Numbers) -> dict[str, Points]:
    """Return the (x, y) points of each line of figure 6, by the line's name."""
    return {name: [*enumerate(values, start=1)] for name, values in numbers["mean_class_accuracy"].items()}


def draw_losses(numbers: Numbers) -> list[Panel]:
    """Draw a line for each loss."""
    lines = {name: [*enumerate(numbers[key], start=1)] for key, name in LOSSES.items() if key in numbers}
    axis = markup.axis_around_zero(0, max(value for points in lines.values() for _, value in points))
    return [draw_lines("Loss", lines, axis, (_axis_title(numbers), "cross-entropy per image"))]


def draw_accuracies(numbers: Numbers) -> list[Panel]:
    """Draw a line for each setting; that of the selected one is bold."""
    lines, titles = list_accuracies(numbers), (_axis_title(numbers), "mean class accuracy")
    return [draw_lines("Mean class accuracy", lines, markup.SHARES, titles, selected=numbers["selected"])]


def _axis_title(numbers: Numbers) -> str:
    return "fit, from a strong penalty to a weak one" if "strength" in numbers else str(numbers.get("row", "epoch"))
