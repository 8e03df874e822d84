"""What each of the eleven figures holds: numbers read from a run folder, beside the original's, and words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from in4310repro import presets, protocols
from in4310repro.data.comparison import DIGITS, PHOTOGRAPHS
from in4310repro.evaluation import Row, read_scores, top_and_bottom
from in4310repro.presets import Config, OptimizerSetting
from in4310repro.runs import Run

RANKED = ("glacier", "mountain", "sea")
ABSENT = "-"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A heading and rows of text."""

    heading: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """One figure: its number in the original, a title, a caption, its numbers, and a table of them."""

    number: int
    title: str
    caption: str
    numbers: dict[str, Any]
    table: Table

    @property
    def name(self) -> str:
        """File name without its ending."""
        return f"figure{self.number:02d}"


def original() -> dict[str, Any]:
    """The numbers that the published report prints."""
    text = resources.files("in4310repro.report").joinpath("original.json").read_text()
    printed: dict[str, Any] = json.loads(text)
    return printed


def exhibits(run: Run) -> list[Exhibit]:
    """All figures of a finished and measured run, in order.

    Raises:
        ValueError: a file of the run is missing or damaged.
    """
    config = presets.from_json(run.read_json("config.json"))
    metrics = run.read_json("metrics.json")
    features = run.read_json("features.json")
    histories = {setting.name: run.read_json(f"{setting.name}/history.json") for setting in config.settings}
    chosen = histories[metrics["setting"]]
    validation = [
        _metrics_exhibit(number, setting, histories[setting.name], metrics["classes"])
        for number, setting in enumerate(config.settings[:3], start=1)
    ]
    drawn = [
        *validation,
        _test_exhibit(metrics),
        _loss_exhibit(chosen, metrics["setting"]),
        _accuracy_exhibit(histories, metrics["setting"]),
        _ranking_exhibit(run, metrics),
        _sparsity_exhibit(features),
        *(_spectrum_exhibit(number, found, features) for number, found in enumerate(features["sets"], start=9)),
    ]
    label = protocols.label(config.protocol)
    return [replace(each, numbers={"label": label} | each.numbers) if label else each for each in drawn]


def _metrics_exhibit(number: int, setting: OptimizerSetting, rows: Sequence[Row], classes: Sequence[str]) -> Exhibit:
    best = max(rows, key=lambda row: row["mean_class_accuracy"])
    # By its optimizer, which is what the original compares; the name is anybody's.
    printed = original()["settings"][setting.optimizer.lower()]
    return _class_exhibit(
        number,
        f"Setting {setting.name}: class accuracy and average precision on validation",
        f"Weights of epoch {best['epoch']} of {len(rows)}, the best by mean class accuracy on validation.",
        classes,
        best,
        printed,
    )


def _test_exhibit(metrics: Mapping[str, Any]) -> Exhibit:
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
        f"{caption} The original chose {original()['chosen']}.",
        metrics["classes"],
        metrics,
        original()["settings"]["test"],
    )


def _class_exhibit(
    number: int,
    title: str,
    caption: str,
    classes: Sequence[str],
    ours: Mapping[str, Any],
    printed: Mapping[str, Any] | None,
) -> Exhibit:
    names = ("class_accuracy", "average_precision", "mean_class_accuracy", "mean_average_precision")
    numbers: dict[str, Any] = {"classes": list(classes), "ours": {name: ours[name] for name in names}}
    # The original's six values belong to six named classes; beside other classes they would mean nothing.
    comparable = printed if list(classes) == original()["classes"] else None
    if comparable:
        numbers["original"] = {name: comparable[name] for name in names}
    rows = []
    for label, name in enumerate([*classes, "mean"]):
        cells = [name]
        for values in (numbers["ours"], numbers.get("original")):
            for each, mean in ((names[0], names[2]), (names[1], names[3])):
                value = None if not values else values[mean] if name == "mean" else values[each][label]
                cells.append(ABSENT if value is None else f"{value:.4f}")
        rows.append(tuple(cells))
    heading = ("class", "accuracy, ours", "AP, ours", "accuracy, original", "AP, original")
    table = Table(heading=heading, rows=tuple(rows))
    return Exhibit(number=number, title=title, caption=caption, numbers=numbers, table=table)


def _loss_exhibit(rows: Sequence[Row], setting: str) -> Exhibit:
    numbers = {name: [row[name] for row in rows] for name in ("epoch", "train_loss", "val_loss")}
    return Exhibit(
        number=5,
        title=f"Loss of the selected setting, {setting}",
        caption="Mean cross-entropy an image. The training loss is taken while the weights move and on augmented "
        "images, the validation loss after each epoch. The original draws its curves and prints no numbers.",
        numbers=numbers,
        table=Table(
            heading=("epoch", "training", "validation"),
            rows=tuple((str(row["epoch"]), f"{row['train_loss']:.4f}", f"{row['val_loss']:.4f}") for row in rows),
        ),
    )


def _accuracy_exhibit(histories: Mapping[str, Sequence[Row]], chosen: str) -> Exhibit:
    curves = {name: [row["mean_class_accuracy"] for row in rows] for name, rows in histories.items()}
    epochs = [row["epoch"] for row in histories[chosen]]
    rows = tuple(
        (str(epoch), *(f"{curve[position]:.4f}" for curve in curves.values())) for position, epoch in enumerate(epochs)
    )
    return Exhibit(
        number=6,
        title="Mean class accuracy on validation after each epoch",
        caption=f"All settings; {chosen} was selected by the highest value of any epoch. The original draws the curve "
        "of its chosen setting and prints no numbers.",
        numbers={"epoch": epochs, "mean_class_accuracy": curves, "selected": chosen},
        table=Table(heading=("epoch", *curves), rows=rows),
    )


def _ranking_exhibit(run: Run, metrics: Mapping[str, Any]) -> Exhibit:
    scores, classes = read_scores(run), metrics["classes"]
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
        caption="Softmax score of the class named at the left, and the true class of each image. The original shows "
        "pictures without numbers.",
        numbers={"classes": classes, "ranked": numbers},
        table=Table(heading=("score of", "end", "place", "score", "true class", "image"), rows=rows),
    )


def _sparsity_exhibit(features: Mapping[str, Any]) -> Exhibit:
    own, printed = features["sets"][0], original()["non_positive_percent"]
    ours = {name: 100 * found["non_positive"] for name, found in own["modules"].items()}
    rows = tuple(
        (name, f"{value:.1f}", f"{printed[name]:.1f}" if name in printed else ABSENT) for name, value in ours.items()
    )
    return Exhibit(
        number=8,
        title="Values that are not positive, percent",
        caption=f"Share of values <= 0 over all channels and positions, averaged over {own['images']} test images; "
        f"{features['network']}, in eval mode.",
        numbers={"images": own["images"], "ours": ours, "original": printed},
        table=Table(heading=("module", "ours, %", "original, %"), rows=rows),
    )


def _spectrum_exhibit(number: int, found: Mapping[str, Any], features: Mapping[str, Any]) -> Exhibit:
    modules = {name: module["eigenvalues"] for name, module in found["modules"].items()}
    length = max(map(len, modules.values()))
    rows = tuple(
        (str(place + 1), *(f"{values[place]:.4e}" if place < len(values) else ABSENT for values in modules.values()))
        for place in range(length)
    )
    name = "the run's own test images" if number == 9 else found["name"]
    return Exhibit(
        number=number,
        title=f"Largest eigenvalues of the feature covariance: {name}",
        caption=f"Covariance (divided by n) of the spatial means of each channel over {found['images']} images"
        f"{_pooled(found)}; {features['network']}, in {features['spectra_mode']} mode. "
        f"{_stand_in(number, found['name'])}The original draws its spectra and prints no numbers.",
        numbers={"name": name, "images": found["images"], "eigenvalues": modules},
        table=Table(heading=("place", *modules), rows=rows),
    )


def _pooled(found: Mapping[str, Any]) -> str:
    more = found.get("pooled_images", found["images"]) - found["images"]
    return f" and the {more} images of the sets before" if more else ""


def _stand_in(number: int, name: str) -> str:
    """What must be said where an embedded set takes the place of one that was not given."""
    if name == PHOTOGRAPHS:
        return (
            "The original's figure 10 shows ImageNet; no ImageNet folder was given, so these are crops of the two "
            "photographs that scikit-learn ships, and the two figures cannot be compared. "
        )
    if name == DIGITS:
        return (
            "The original's figure 11 shows CIFAR-10; no CIFAR-10 folder was given, so these are scikit-learn's "
            "handwritten digits, enlarged, and the two figures cannot be compared. "
        )
    return "" if number == 9 else f"Images of {name}, as in the original's figure {number}. "


def departures(config: Config, metrics: Mapping[str, Any]) -> list[str]:
    """In words: everything in which this run differs from the published one."""
    course = presets.PRESETS["course"]
    training, validation, test = (sum(metrics["supports"][part].values()) for part in metrics["supports"])
    pictures = f"images of {Path(config.data).name}" if config.data else "drawn scenes that the package generates"
    rates = ", ".join(f"{setting.optimizer} {setting.learning_rate:g}" for setting in config.settings)
    found = [
        f"Data: {training} training, {validation} validation and {test} test {pictures}; the course's split of 17,034 "
        "photographs is 12034, 2000 and 3000.",
        f"Weights: {_weights(config.weights)}; the original starts from ImageNet weights.",
        f"Size: {config.image_size} pixels; the original's is {course.image_size}.",
        f"Training: {config.epochs} epochs, batches of {config.batch_size}, {config.schedule} learning rate ({rates}), "
        f"augmentation {config.augmentation}; the original trains {course.epochs} epochs in batches of "
        f"{course.batch_size} at 1e-3.",
        f"Protocol: {_protocol(config.protocol)}. The counts behind the original's accuracies show equal class sizes "
        "for its validation and its test set.",
    ]
    if len(config.settings) > 3:
        found.append(f"Settings: {len(config.settings)}; figures 1 to 3 show the first three, figure 6 shows all.")
    if config.model != course.model:
        found.append(f"Network: {config.model}; the original's is {course.model}.")
    return found


def _protocol(protocol: str) -> str:
    if on := protocols.switches(protocol):
        return "; ".join(protocols.MEANING[switch] for switch in protocols.Switch if switch in on)
    return (
        "three disjoint image sets (identical files share a side), equal initial weights for every setting, the test "
        "set opened once"
    )


def _weights(weights: str) -> str:
    if weights == "none":
        return "from scratch"
    return "ImageNet weights" if weights == "imagenet" else f"those of {weights}"
