"""What each of the eleven figures holds: the numbers of a run beside the original's, and a caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from in4310repro import deviations
from in4310repro.config import OptimizerSetting
from in4310repro.data.comparison import DIGITS, PHOTOGRAPHS
from in4310repro.metrics import ClassMetrics, class_metrics
from in4310repro.report.original import has_its_classes, original
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.records import FeatureMaps, HistoryRow, ImageSetFeatures, RunMetrics
from in4310repro.runs.selection import best_epoch
from in4310repro.scores import top_and_bottom

RANKED = ("glacier", "mountain", "sea")
ABSENT = "-"
ABSENT_SETS = {PHOTOGRAPHS: "ImageNet", DIGITS: "CIFAR-10"}  # what the embedded sets stand in for


@dataclass(frozen=True, kw_only=True)
class FigureTable:
    """A heading and rows of text."""

    heading: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """One figure: its number in the original, a title, a caption, its numbers, and a table of them."""

    number: int
    title: str
    caption: str
    numbers: Mapping[str, Any]  # what its JSON file holds, and its picture shows
    table: FigureTable

    @property
    def name(self) -> str:
        """File name without its ending."""
        return f"figure{self.number:02d}"


def exhibits(run: FinishedRun) -> list[Exhibit]:
    """All figures of a finished run, in order.

    Raises:
        ValueError: the run's feature maps are not measured.
    """
    if run.features is None:
        raise ValueError(f"{run.folder} has no measured feature maps; `in4310repro report` measures them")
    metrics, selected = run.metrics, run.metrics["setting"]
    validation = [
        _validation_exhibit(number, setting, run.histories[setting.name], run.classes)
        for number, setting in enumerate(run.config.settings[:3], start=1)
    ]
    all_exhibits = [
        *validation,
        _test_exhibit(metrics),
        _loss_exhibit(run.histories[selected], selected),
        _accuracy_exhibit(run.histories, selected),
        _ranking_exhibit(run),
        _sparsity_exhibit(run.features, original()["non_positive_percent"] if has_its_classes(run.classes) else {}),
        *(_spectrum_exhibit(number, images, run.features) for number, images in enumerate(run.features["sets"], 9)),
    ]
    if has_its_classes(run.classes):
        all_exhibits = [replace(each, caption=f"{each.caption}{_remark(each)}") for each in all_exhibits]
    label = deviations.label(run.config.protocol)
    return [replace(each, numbers={"label": label, **each.numbers}) if label else each for each in all_exhibits]


def _remark(exhibit: Exhibit) -> str:
    """What the original shows in the same place, as a sentence after a caption."""
    name = exhibit.numbers.get("name")
    if name in ABSENT_SETS:
        return f" The original's figure {exhibit.number} shows {ABSENT_SETS[name]}; the two cannot be compared."
    if exhibit.number in (10, 11):
        return f" Images of {name}, as in the original's figure {exhibit.number}; it prints no numbers."
    return {
        4: f" The original chose {original()['chosen']}.",
        5: " The original draws its curves and prints no numbers.",
        6: " The original draws the curve of its chosen setting and prints no numbers.",
        7: " The original shows pictures without numbers.",
        9: " The original draws its spectra and prints no numbers.",
    }.get(exhibit.number, "")


def _validation_exhibit(
    number: int, setting: OptimizerSetting, rows: Sequence[HistoryRow], classes: Sequence[str]
) -> Exhibit:
    best = best_epoch(rows)
    # By its optimizer, which is what the original compares; the setting's name is free.
    printed = original()["settings"][setting.optimizer.lower()]
    return _class_exhibit(
        number,
        f"Setting {setting.name}: class accuracy and average precision on validation",
        f"Weights of epoch {best['epoch']} of {len(rows)}, the best by mean class accuracy on validation.",
        classes,
        best,
        printed,
    )


def _test_exhibit(metrics: RunMetrics) -> Exhibit:
    images = sum(metrics["supports"]["test"].values())
    caption = f"{images} images that took no part in training or selection, measured once."
    if unseen := metrics.get("unseen"):
        caption = (
            f"{images} images on which the network was trained and selected as well. On the {unseen['images']} images "
            f"that it never read: mean class accuracy {unseen['mean_class_accuracy']:.4f}, mAP "
            f"{unseen['mean_average_precision']:.4f}."
        )
    return _class_exhibit(
        4,
        f"The selected setting, {metrics['setting']}, on the test set",
        caption,
        metrics["classes"],
        metrics,
        original()["settings"]["test"],
    )


def _class_exhibit(
    number: int,
    title: str,
    caption: str,
    classes: Sequence[str],
    ours: ClassMetrics,
    printed: ClassMetrics,
) -> Exhibit:
    numbers = {"classes": list(classes), "ours": class_metrics(ours)}
    columns, heading = [[*classes, "mean"], *_columns(ours)], ["class", "accuracy", "AP"]
    # The original's six values belong to six named classes; beside other classes they would mean nothing.
    if has_its_classes(classes):
        numbers["original"] = class_metrics(printed)
        columns += _columns(printed)
        heading = ["class", "accuracy, ours", "AP, ours", "accuracy, original", "AP, original"]
    table = FigureTable(heading=tuple(heading), rows=tuple(zip(*columns, strict=True)))
    return Exhibit(number=number, title=title, caption=caption, numbers=numbers, table=table)


def _columns(values: ClassMetrics) -> tuple[list[str], list[str]]:
    """Accuracies, and average precisions, of each class and their mean, as text."""
    accuracy = [*values["class_accuracy"], values["mean_class_accuracy"]]
    precision = [*values["average_precision"], values["mean_average_precision"]]
    return [f"{value:.4f}" for value in accuracy], [f"{value:.4f}" for value in precision]


def _loss_exhibit(rows: Sequence[HistoryRow], setting: str) -> Exhibit:
    numbers = {name: [row[name] for row in rows] for name in ("epoch", "train_loss", "val_loss")}
    return Exhibit(
        number=5,
        title=f"Loss of the selected setting, {setting}",
        caption="Mean cross-entropy per image. The training loss is taken while the weights move and on augmented "
        "images, the validation loss after each epoch.",
        numbers=numbers,
        table=FigureTable(
            heading=("epoch", "training", "validation"),
            rows=tuple((str(row["epoch"]), f"{row['train_loss']:.4f}", f"{row['val_loss']:.4f}") for row in rows),
        ),
    )


def _accuracy_exhibit(histories: Mapping[str, Sequence[HistoryRow]], selected: str) -> Exhibit:
    curves = {name: [row["mean_class_accuracy"] for row in rows] for name, rows in histories.items()}
    epochs = [row["epoch"] for row in histories[selected]]
    rows = tuple(
        (str(epoch), *(f"{curve[position]:.4f}" for curve in curves.values())) for position, epoch in enumerate(epochs)
    )
    return Exhibit(
        number=6,
        title="Mean class accuracy on validation after each epoch",
        caption=f"All settings; {selected} was selected by the highest value of any epoch.",
        numbers={"epoch": epochs, "mean_class_accuracy": curves, "selected": selected},
        table=FigureTable(heading=("epoch", *curves), rows=rows),
    )


def _ranking_exhibit(run: FinishedRun) -> Exhibit:
    scores, classes = run.scores, run.classes
    ranked = [name for name in RANKED if name in classes] or classes[:3]
    numbers = {name: top_and_bottom(scores, classes.index(name)) for name in ranked}
    rows = tuple(
        (name, side, str(place), f"{image['score']:.6f}", classes[image["label"]], image["path"])
        for name, sides in numbers.items()
        for side, images in sides.items()
        for place, image in enumerate(images, start=1)
    )
    return Exhibit(
        number=7,
        title=f"Test images with the highest and lowest scores of {', '.join(ranked)}",
        caption="Softmax score of the class named at the left, and the true class of each image.",
        numbers={"classes": classes, "ranked": numbers},
        table=FigureTable(heading=("score of", "end", "place", "score", "true class", "image"), rows=rows),
    )


def _sparsity_exhibit(features: FeatureMaps, printed: Mapping[str, float]) -> Exhibit:
    test = features["sets"][0]
    ours = {name: 100 * module["non_positive"] for name, module in test["modules"].items()}
    rows = tuple(
        (name, f"{value:.1f}", *([f"{printed[name]:.1f}" if name in printed else ABSENT] if printed else []))
        for name, value in ours.items()
    )
    return Exhibit(
        number=8,
        title="Sparsity, the percentage of values that are not positive",
        caption=f"Share of values <= 0 over all channels and positions, averaged over {test['images']} test images; "
        f"{features['network']}, in eval mode.",
        numbers={"images": test["images"], "ours": ours, "original": printed},
        table=FigureTable(heading=("module", "ours, %", "original, %") if printed else ("module", "%"), rows=rows),
    )


def _spectrum_exhibit(number: int, images: ImageSetFeatures, features: FeatureMaps) -> Exhibit:
    modules = {name: module["eigenvalues"] for name, module in images["modules"].items()}
    length = max(map(len, modules.values()))
    rows = tuple(
        (str(place + 1), *(f"{values[place]:.4e}" if place < len(values) else ABSENT for values in modules.values()))
        for place in range(length)
    )
    name = "the run's own test images" if number == 9 else images["name"]
    return Exhibit(
        number=number,
        title=f"Largest eigenvalues of the feature covariance: {name}",
        caption=f"Covariance (divided by n) of the spatial means of each channel over {images['images']} images"
        f"{_pooled(images)}; {features['network']}, in {features['spectra_mode']} mode. "
        f"{_stand_in(images['name'])}",
        numbers={"name": name, "images": images["images"], "eigenvalues": modules},
        table=FigureTable(heading=("place", *modules), rows=rows),
    )


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
