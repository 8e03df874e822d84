"""Figures 1 to 4: accuracy and average precision of each class with intervals, and the published values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from in4310repro.metrics import (
    MEANS,
    METRICS,
    PER_CLASS,
    SCALARS,
    ClassMetrics,
    Interval,
    Tolerance,
    class_metrics,
    wilson,
)
from in4310repro.report.exhibit import (
    Cell,
    Exhibit,
    FigureTable,
    Sentence,
    Source,
    describe_extremes,
    figure_source,
)
from in4310repro.report.published_numbers import has_original_classes, original
from in4310repro.report.uncertainty import describe, intervals
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.names import RECORD
from in4310repro.runs.selection import best_epochs, unit
from in4310repro.runs.settings import OptimizerSetting

TEST = 4


def validation_exhibit(run: FinishedRun, number: int, setting: OptimizerSetting) -> Exhibit:
    """Build figure `number` (1 to 3) with the validation metrics of one training setting at its best epoch."""
    rows = run.histories[setting.name]
    best, *ties = best_epochs(rows, run.config.select)
    which = f"the first of {1 + len(ties)} equally good ones" if ties else "the best"
    numbers = _numbers(run, "validation", best)
    # Matched by optimizer, since the name of a setting is free and the original compares optimizers.
    numbers |= _original(run, setting.optimizer.lower())
    return _exhibit(
        number,
        f"Validation of {setting.name}",
        f"Setting {setting.name}: class accuracy and average precision on validation",
        (f"Weights of {unit(rows)} {best['epoch']} of {len(rows)}, {which} by {SCALARS[run.config.select].label} on "
         "validation. Bars are 95 % Wilson intervals; average precisions have none here, since a run keeps no scores "
         "of validation.",),
        numbers,
    )  # fmt: skip


def test_exhibit(run: FinishedRun) -> Exhibit:
    """Build figure 4: the metrics of the selected network on the test images."""
    metrics, supports = run.metrics, run.metrics["supports"]["test"]
    numbers = _numbers(run, "test", _add_newer_metrics(run))
    for name, interval in intervals(run.scores).items():
        # A protocol that ranks logits has no interval here, since a run does not keep logits.
        if not run.config.protocol.ranks_logits or METRICS[name].tolerance is not Tolerance.ORDER:
            numbers["intervals"][name] = interval
    numbers |= _original(run, "test")
    title = f"The selected setting, {metrics['setting']}, on the test set"
    caption = (*_test_caption(run, sum(supports.values())), f" Bars are 95 % intervals: {describe()}")
    return _exhibit(TEST, "Accuracy of each class", title, caption, numbers)


def _add_newer_metrics(run: FinishedRun) -> ClassMetrics:
    """Return the test metrics; if an older version did not record some of them, compute them from the scores."""
    of_scores = {
        name: value for name, value in run.scores.metrics().items() if METRICS[name].tolerance is not Tolerance.ORDER
    }
    return class_metrics(of_scores | {**run.metrics})


def _test_caption(run: FinishedRun, images: int) -> Sentence:
    record = Source(RECORD, {"metrics": run.metrics})
    if "unseen" in run.metrics:
        known = {name: each for name, each in SCALARS.items() if name in run.metrics["unseen"]}
        return (
            f"{images} images on which the network was trained and selected as well. On the ",
            record.at("metrics", "unseen", "images", form="d"),
            " images that it never read",
            *(
                cell
                for name, each in known.items()
                for cell in (f", {each.label} ", record.at("metrics", "unseen", name))
            ),
            ".",
        )
    return (f"{images} images that took no part in this run's training or selection, measured once by it.",)


def _numbers(run: FinishedRun, part: str, ours: ClassMetrics) -> dict[str, Any]:
    """Return the content common to the JSON files of figures 1 to 4."""
    supports = run.metrics["supports"][run.config.protocol.part_read_as(part)]
    images = [supports[name] for name in run.classes]
    return {
        "classes": list(run.classes),
        "images": images,
        "ours": class_metrics(ours),
        "intervals": _intervals_of_shares(class_metrics(ours), images),
        "chance": {"class_accuracy": 1 / len(images), "average_precision": [count / sum(images) for count in images]},
    }


def _intervals_of_shares(ours: Mapping[str, Any], images: Sequence[int]) -> dict[str, Any]:
    """Return the Wilson intervals of all metrics that are proportions of images, by name of the metric.

    For a metric of each class, the value is a list with an interval for each class.
    """
    return {
        name: [_wilson(share, count) for share, count in zip(value, images, strict=True)]
        if name in PER_CLASS
        else _wilson(value, sum(images))
        for name, value in ours.items()
        if METRICS[name].is_share
    }


def _wilson(share: float, images: int) -> Interval:
    return wilson(round(share * images), images)


def _original(run: FinishedRun, key: str) -> dict[str, ClassMetrics]:
    """Return the metrics that the published report prints for `key`, in a dict with the single key `original`.

    `key` is the name of an optimizer in lower case, or `test`. The dict is empty if the report prints no
    metrics for `key`, or if the run has different classes.
    """
    printed = original()["settings"].get(key)
    return {"original": class_metrics(printed)} if printed and has_original_classes(run.classes) else {}


def _exhibit(number: int, short: str, title: str, caption: Sentence, numbers: dict[str, Any]) -> Exhibit:
    source, names = figure_source(number, numbers), numbers["classes"]
    return Exhibit(
        number=number,
        short=short,
        title=title,
        caption=(
            *caption,
            " An axis begins at its lowest value or below; a dashed line is chance, where the axis reaches it.",
        ),
        numbers=numbers,
        findings=(
            *(
                (f"{metric.title}: ", *describe_extremes(names, source, "ours", key, intervals=("intervals", key)))
                for key, metric in PER_CLASS.items()
            ),
            *_describe_scalars(source, numbers),
        ),
        table=_table(source, numbers),
    )


def _describe_scalars(source: Source, numbers: Mapping[str, Any]) -> Iterator[Sentence]:
    """Yield a sentence for each single-number metric that is missing from the table."""
    for key, metric in SCALARS.items():
        if metric.reads not in PER_CLASS and not metric.is_share and key in numbers["ours"]:
            known = key in numbers["intervals"]
            interval = (" (95 % ", source.at("intervals", key, form=".3f"), ")") if known else ()
            yield (f"{metric.title}: ", source.at("ours", key), *interval)


def _table(source: Source, numbers: Mapping[str, Any]) -> FigureTable:
    columns = [(who, key) for who in ("ours", "original") if who in numbers for key in MEANS]
    suffix = {"ours": ", ours", "original": ", original"} if "original" in numbers else {"ours": ""}
    heading, ranges = ["class", f"images{suffix['ours']}"], numbers["intervals"]
    for who, key in columns:
        name = PER_CLASS[key].heading
        heading += [f"{name}{suffix[who]}"] + ([f"95 % of {name}"] if _has_intervals(ranges, who, key) else [])
    rows: list[tuple[Cell, ...]] = []
    for place, name in enumerate(numbers["classes"]):
        row: list[Cell] = [name, source.at("images", place, form="d")]
        for who, key in columns:
            row.append(source.at(who, key, place))
            row += [source.at("intervals", key, place, form=".3f")] if _has_intervals(ranges, who, key) else []
        rows.append(tuple(row))
    mean: list[Cell] = ["mean", ""]
    for who, key in columns:
        mean.append(source.at(who, MEANS[key]))
        known = source.at("intervals", MEANS[key], form=".3f") if MEANS[key] in ranges else ""
        mean += [known] if _has_intervals(ranges, who, key) else []
    rows.append(tuple(mean))
    totals: list[list[Cell]] = []
    for key, metric in SCALARS.items():
        if metric.is_share and key in numbers["ours"]:
            interval = source.at("intervals", key, form=".3f") if key in ranges else ""
            totals.append([metric.heading, "", source.at("ours", key), interval])
    rows += [(*row, *[""] * (len(heading) - len(row))) for row in totals]
    return FigureTable(heading=tuple(heading), rows=tuple(rows), totals=len(rows) - len(numbers["classes"]))


def _has_intervals(ranges: Mapping[str, Sequence[Any]], who: str, key: str) -> bool:
    return who == "ours" and key in ranges
