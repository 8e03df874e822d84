"""Forgeries of splits and images; all values that depend on them are recomputed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from in4310repro.data.folders import Entry
from tests.forgeries.changes import METRICS, sealed, swap
from tests.forgeries.forger import Forger
from tests.forgeries.row import Forge, forgeries_of

SPLIT, PHOTOS = "split.csv", "photos"
Parts = dict[str, list[Entry]]


def parts_of(forger: Forger) -> Parts:
    return {part: list(entries) for part, entries in forger.split().parts.items()}


def moved(change: Callable[[Parts], object]) -> Forge:
    """Return a forgery that applies `change` to the split and recomputes all that depends on the weights."""

    def forge(forger: Forger) -> None:
        parts = parts_of(forger)
        change(parts)
        forger.write_split(dict(parts))
        forger.make_fit()

    return forge


def fewer_training(parts: Parts) -> None:
    parts["training"] = parts["training"][1:]


def trained_on_test(parts: Parts) -> None:
    parts["training"] += parts["test"][:3]


def swap_parts(parts: Parts) -> None:
    parts["training"], parts["test"] = parts["test"], parts["training"]


def exchange(parts: Parts) -> None:
    """Exchange a test image and a training image of its class."""
    image = parts["test"][0]
    other = next(entry for entry in parts["training"] if entry.label == image.label)
    parts["test"][0] = other
    parts["training"][parts["training"].index(other)] = image


def exchange_validation(parts: Parts) -> None:
    parts["validation"], parts["training"] = parts["training"][::2], parts["validation"] + parts["training"][1::2]


def drop_errors(forger: Forger) -> None:
    """Drop wrongly predicted test images, except the first image of each class."""
    arrays, parts = forger.arrays(), parts_of(forger)
    good = arrays["softmax"].argmax(axis=1) == arrays["labels"]
    for label in set(arrays["labels"]):
        good[np.flatnonzero(arrays["labels"] == label)[0]] = True
    parts["test"] = [entry for entry, kept in zip(parts["test"], good, strict=True) if kept]
    forger.write_split(dict(parts))
    forger.write_arrays({name: values[good] for name, values in arrays.items()})
    forger.remeasure()


def relabelled(part: str) -> Forge:
    """Return a forgery that labels the images of a part of the split as the network predicts.

    It also changes the class folders in the images' paths.
    """

    def forge(forger: Forger) -> None:
        split, scores = forger.split(), forger.predicted("adamw", part)
        predictions, parts = scores.softmax.argmax(axis=1), parts_of(forger)
        parts[part] = [
            replace(entry, label=int(label), path=f"{split.classes[label]}/{number:04d}.bmp")
            for number, (entry, label) in enumerate(zip(parts[part], predictions, strict=True), start=900)
        ]
        paths = np.array([entry.path for entry in parts[part]])
        forger.write_split(dict(parts))
        if part == "test":
            order = np.argsort(paths)
            arrays = {"paths": paths, "labels": predictions, "softmax": scores.softmax}
            forger.write_arrays({name: values[order] for name, values in arrays.items()})
            forger.put(METRICS, "class_accuracy", [1.0] * 6)
            forger.put(METRICS, "mean_class_accuracy", 1.0)

    return sealed(forge)


def under_another_name(parts: Parts) -> None:
    """Use test images as training images too, under other names."""
    parts["training"] += [replace(entry, path=entry.path.replace(".bmp", "b.bmp")) for entry in parts["test"]]


def copies(forger: Forger) -> None:
    parts = parts_of(forger)
    under_another_name(parts)
    forger.write_split(dict(parts))


def fewer_scenes(forger: Forger) -> None:
    """Leave out the last scene of every class, and lower `scenes` in the configuration."""
    parts = parts_of(forger)
    kept = {part: [entry for entry in entries if "0007" not in entry.path] for part, entries in parts.items()}
    forger.write_split(dict(kept))
    forger.put("config.json", "scenes", 7)
    forger.make_fit()


def text(change: Callable[[str], str]) -> Forge:
    return sealed(lambda forger: forger.write(SPLIT, change(forger.read(SPLIT).decode()).encode()))


def renamed(old: str, new: str) -> Forge:
    """Rename a class everywhere, without changing the order of the classes."""

    def forge(forger: Forger) -> None:
        forger.write(SPLIT, forger.read(SPLIT).replace(old.encode(), new.encode()))
        text = json.dumps(forger.json(METRICS)).replace(f'"{old}"', json.dumps(new))
        forger.write_json(METRICS, json.loads(text))
        arrays = forger.arrays()
        forger.write_arrays(arrays | {"paths": np.char.replace(arrays["paths"], old, new)})

    return sealed(forge)


row = forgeries_of("split")
ROWS = [
    row("a training row removed", moved(fewer_training), "split"),
    row("test rows also in training", moved(trained_on_test), "split"),
    row("test images also in training, under other names", sealed(copies), "split"),
    row("training and test swapped, everything computed anew", moved(swap_parts), "split"),
    row("a test image exchanged for a training image, everything computed anew", moved(exchange), "split"),
    row("validation taken from training, everything computed anew", moved(exchange_validation), "split"),
    row("errors dropped from split and scores, the metrics fit", sealed(drop_errors), "split"),
    row("labels of the test images set to the predictions", relabelled("test"), "split"),
    row("labels of the validation images set to the predictions", relabelled("validation"), "split"),
    row("the last scene of every class left out, `scenes` says it too", fewer_scenes, "split"),
    row("a hash of other bytes", text(lambda t: t.replace(t.splitlines()[1].split(",")[2], "0" * 64)), "split"),
    row("a class with a capital, everywhere", renamed("buildings", "Buildings"), "split"),
    row("a class with a letter that looks alike, everywhere", renamed("street", "str\u0435et"), "split"),
    row("rows in another order", text(lambda t: "\n".join([*t.splitlines()[:1], *t.splitlines()[:0:-1], ""])), SPLIT),
    row("line ends of another system", text(lambda t: t.replace("\n", "\r\n")), SPLIT),
    row("quotation marks", swap(SPLIT, "sea/0000.bmp", '"sea/0000.bmp"'), SPLIT),
    row("an empty line at the end", text(lambda t: t + "\n"), SPLIT),
]
