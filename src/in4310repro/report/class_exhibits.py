"""Figures 1 to 4: accuracy and average precision of each class with intervals, and the published values."""

from collections.abc import Sequence
from typing import Any

from in4310repro.metrics import MEANS, METRICS, PER_CLASS, SCALARS, ClassMetrics, Tolerance, class_metrics, wilson
from in4310repro.report import markup
from in4310repro.report.comparisons import describe_extremes
from in4310repro.report.exhibit import Cell, Exhibit, FigureTable, Sentence, Source, figure_source
from in4310repro.report.markup import Numbers, Panel
from in4310repro.report.published_numbers import has_original_classes, original
from in4310repro.report.uncertainty import describe, intervals
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.names import RECORD
from in4310repro.runs.selection import best_epochs, unit
from in4310repro.runs.settings import OptimizerSetting

TEST = 4
# Of the originals beside our validation.
UNNAMED = "; they are of 3,000 images by its class sizes, and it does not call them validation"
DRAWN = {"chance": "chance", "interval": "intervals", "printed": "original", "dot": "ours"}  # shape in a row -> numbers


def validation_exhibits(run: FinishedRun) -> list[Exhibit]:
    """Build figures 1 to 3, of the first three settings."""
    return [validation_exhibit(run, number, each) for number, each in enumerate(run.config.settings[:3], start=1)]


def validation_exhibit(run: FinishedRun, number: int, setting: OptimizerSetting) -> Exhibit:
    """Build figure `number` (1 to 3) with the validation metrics of one training setting at its best epoch."""
    rows = run.histories[setting.name]
    best, *ties = best_epochs(rows, run.config.select)
    which = f"the first of {1 + len(ties)} equally good ones" if ties else "the best"
    # Matched by optimizer, since the name of a setting is free and the original compares optimizers.
    optimizer, optimizers = setting.optimizer.lower(), original()["optimizers"]
    caption = (
        f"Weights of {unit(rows)} {best['epoch']} of {len(rows)}, {which} by {SCALARS[run.config.select].label} on "
        "validation. Bars are 95 % Wilson intervals; average precisions have none here, since a run keeps no scores "
        "of validation."
    )
    return _exhibit(
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
    numbers = _numbers(run, "test", class_metrics(newer | {**run.metrics}), "test")
    for name, interval in intervals(run.scores).items():
        # A protocol that ranks logits has no interval here, since a run does not keep logits.
        if not run.config.protocol.ranks_logits or METRICS[name].tolerance is not Tolerance.ORDER:
            numbers["intervals"][name] = interval
    return _exhibit(
        figure_source(TEST, numbers),
        "Accuracy of each class",
        f"The selected setting, {run.metrics['setting']}, on the test set",
        (*_test_caption(run), f" Bars are 95 % intervals: {describe()}"),
        counterpart=TEST,
        beside=f"; it chose {original()['chosen']}",
    )


def _test_caption(run: FinishedRun) -> Sentence:
    images, unseen = sum(run.metrics["supports"]["test"].values()), run.metrics.get("unseen")
    if not unseen:
        return (f"{images} images that took no part in this run's training or selection, measured once by it.",)
    source = Source(RECORD, {"metrics": run.metrics}).below("metrics", "unseen")
    known = [cell for name, each in SCALARS.items() if name in unseen for cell in (f", {each.label} ", source.at(name))]
    text = "{} images on which the network was trained and selected as well. On the {images} images that it never read"
    return (*source.say(text, f"{images}"), *known, ".")


def _numbers(run: FinishedRun, part: str, metrics: ClassMetrics, printed: str) -> dict[str, Any]:
    """Return the content of the JSON file of a figure from 1 to 4.

    Intervals are Wilson's, of all metrics that are proportions of images; for a metric of each class a list.
    `printed` is the name of an optimizer in lower case, or `test`: what the published report prints for it stands
    beside, if it prints anything and has the classes of the run.
    """
    supports = run.metrics["supports"][run.config.protocol.part_read_as(part)]
    images, ours = [supports[name] for name in run.classes], class_metrics(metrics)
    shares: dict[str, Any] = {name: value for name, value in ours.items() if METRICS[name].is_share}
    theirs = original()["settings"].get(printed) if has_original_classes(run.classes) else None
    return {
        "classes": list(run.classes),
        "images": images,
        "ours": ours,
        "intervals": {
            name: [*map(_wilson, value, images)] if name in PER_CLASS else _wilson(value, sum(images))
            for name, value in shares.items()
        },
        "chance": {"class_accuracy": 1 / len(images), "average_precision": [count / sum(images) for count in images]},
        **({"original": class_metrics(theirs)} if theirs else {}),
    }


def _wilson(share: float, images: int) -> list[float]:
    return wilson(round(share * images), images)


def _exhibit(source: Source, short: str, title: str, caption: Sentence, **more: Any) -> Exhibit:
    axis = " An axis begins at its lowest value or below; a dashed line is chance, where the axis reaches it."
    numbers, names = source.values, source.values["classes"]
    findings = [
        (f"{each.title}: ", *describe_extremes(names, source, "ours", key, intervals=("intervals", key)))
        for key, each in PER_CLASS.items()
    ]
    for key, each in SCALARS.items():
        # The others are in the table.
        if each.reads not in PER_CLASS and not each.is_share and key in numbers["ours"]:
            interval = (" (95 % ", source.at("intervals", key), ")") if key in numbers["intervals"] else ()
            findings.append((f"{each.title}: ", source.at("ours", key), *interval))
    return Exhibit(source, short, title, (*caption, axis), findings, _table(source), draw=draw_class_metrics, **more)


def _table(source: Source) -> FigureTable:
    numbers = source.values
    known, both = numbers["intervals"], "original" in numbers

    def interval(key: str) -> Cell:
        return source.at("intervals", key) if key in known else ""

    # Heading, cells of the classes, and cell of the mean.
    columns: list[tuple[str, Sequence[Cell], Cell]] = [
        ("class", numbers["classes"], "mean"),
        ("images, ours" if both else "images", source.each("images"), ""),
    ]
    for who in ("ours", "original")[: 1 + both]:
        for key, mean in MEANS.items():
            name = PER_CLASS[key].heading
            columns.append((f"{name}, {who}" if both else name, source.each(who, key), source.at(who, mean)))
            if who == "ours" and key in known:
                columns.append((f"95 % of {name}", source.each("intervals", key), interval(mean)))
    headings, cells, means = zip(*columns, strict=True)
    totals = [
        (metric.heading, "", source.at("ours", key), interval(key), *[""] * (len(columns) - 4))
        for key, metric in SCALARS.items()
        if metric.is_share and key in numbers["ours"]
    ]
    return FigureTable(headings, [*zip(*cells, strict=True), means, *totals], 1 + len(totals))


def draw_class_metrics(numbers: Numbers) -> list[Panel]:
    """Draw the value, interval and chance level of each class, and the published value as a hollow diamond."""

    def shapes(key: str, place: int | None = None) -> dict[str, Any]:
        found = {shape: numbers.get(part, {}).get(key) for shape, part in DRAWN.items()}
        return {shape: v if place is None or not isinstance(v, list) else v[place] for shape, v in found.items()}

    drawn, ours = [], numbers["ours"]
    shares = {name: each.heading for name, each in SCALARS.items() if each.is_share and name in ours}
    for key, mean in MEANS.items():
        totals = {mean: "mean"} | (shares if key == "class_accuracy" else {})
        rows = [(name, shapes(key, place)) for place, name in enumerate(numbers["classes"])]
        rows += [(heading, shapes(name)) for name, heading in totals.items()]
        shown = list[float]()
        for _, row in rows:
            shown += [row["dot"], *(row["interval"] or ()), *([] if row["printed"] is None else [row["printed"]])]
            row["value"] = f"{row['dot']:.3f}".removeprefix("0")
        title = PER_CLASS[key].title
        drawn.append(markup.draw_rows(title, title, rows, markup.axis_to_one(shown), apart=len(totals)))
    return drawn
