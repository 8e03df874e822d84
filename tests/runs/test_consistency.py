"""Contradictions between a run's records are rejected with the file, the key and the expected value."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from in4310repro.data.splits import Split
from in4310repro.runs.deviations import parse
from in4310repro.runs.finished import refuse_contradictions
from tests.builders import inside_json, relink
from tests.runs import made_up
from tests.runs.made_up import CONFIG, INITIAL, Records, digest

Change = Callable[[Records], Records]
FOLDER = Path("run")
SHARED = parse("shared-split")


def refuse(made: Any) -> None:
    refuse_contradictions(made, FOLDER)


def put(record: str, place: str, value: Any) -> Change:
    def change(made: Records) -> Records:
        inner, key = inside_json(getattr(made, record), place)
        inner[key] = value
        return made

    return change


def configured(**values: Any) -> Change:
    return lambda made: replace(made, config=replace(made.config, **values))


def entries(*paths: str, part: str, classes: tuple[str, ...] = made_up.CLASSES) -> Change:
    """Return a change that replaces the images in one part of the split (training, validation or test) by `paths`."""

    def change(made: Records) -> Records:
        parts = {**made.split.parts, part: tuple(map(made_up.entry, paths))}
        return replace(made, split=Split(made.split.root, classes, parts))

    return change


def scored(**values: Any) -> Change:
    return lambda made: replace(made, scores=replace(made.scores, **values))


def softmax(*rows: tuple[float, float]) -> Change:
    return scored(softmax=np.array(rows, np.float32))


def relabelled(made: Records) -> Records:
    """Replace the label of the second test image by that of the other one of two classes."""
    first, second, third = made.split.parts["test"]
    parts = {**made.split.parts, "test": (first, replace(second, label=0), third)}
    return replace(made, split=replace(made.split, parts=parts))


def of_one_class(made: Records) -> Records:
    parts = {part: tuple(e for e in images if e.label == 0) for part, images in made.split.parts.items()}
    return replace(made, split=Split(made.split.root, ("bay",), parts))


def linked(change: Change) -> Change:
    """Return a change that applies `change` and then updates the hash chain of the training "two"."""

    def changed(made: Records) -> Records:
        changed = change(made)
        relink(changed.tensors["two"])
        return changed

    return changed


UNSEEN = {"images": 4, "loss": 1.0, "class_accuracy": [1.0, 0.5], "average_precision": [1.0, 1.0]}
UNSEEN_BELONGS = "metrics.json: unseen is of a protocol with shared-split, and of no other"
START = "the start by config.json, split.csv and fingerprint.json"
FEATURE_MODULES: Any = {"conv1": {}, "layer1": {}}
TOP: Any = {"channel": 2, "images": ["bay/3.png"], "responses": [1.0]}
SHARES = ("0.001", "0.01", "0.1", "0.25", "0.5", "0.75", "0.9", "0.99", "0.999")
ACTIVATIONS: Any = {
    "quantiles": dict.fromkeys(SHARES, 1.0),
    "powers_of_two": {"2^0": 9},
    "never_positive": [0, 2],
    "top_images": [TOP],
}
SUPPORTS = made_up.records().metrics["supports"]
OTHER_SUPPORTS = {**SUPPORTS, "test": {"bay": 2, "sea": 1}}

CONTRADICTIONS: list[tuple[Change, str]] = [
    (
        entries("bay/3.png", "sea/2.png", "bay/3.png", part="test"),
        "split.csv: path bay/3.png is in 2 rows; it must be in one",
    ),
    (
        entries("bay/0.png", "sea/2.png", "sea/3.png", part="test"),
        "split.csv: path bay/0.png is in 2 rows; it must be in one",
    ),
    (relabelled, "split.csv: class bay of sea/2.png is not the folder of the image"),
    (of_one_class, "split.csv: class is bay everywhere; at least 2 classes are needed"),
    (configured(scenes=3), "split.csv: it has 8 images; scenes 3 of config.json are of each class"),
    (
        entries("bay/3.png", "sea/2.png", part="test"),
        "split.csv: it has 7 images; scenes 4 of config.json are of each class",
    ),
    (
        configured(split="3/2/4"),
        "split.csv: config.json does not fit: split '3/2/4' adds up to 9 images; it must be three counts that add up "
        "to the 8 images, or shares such as 0.7/0.12/0.18",
    ),
    (configured(split="4/1/3"), "split.csv: part has (3, 2, 3) images; split '4/1/3' of config.json needs (4, 1, 3)"),
    (put("histories", "two", []), "two/history.json: it has 0 rows; epochs is 2 in config.json"),
    (configured(epochs=1), "one/history.json: it has 2 rows; epochs is 1 in config.json"),
    (put("histories", "two/0/epoch", 2), "two/history.json: epoch of row 1 is 2; 1 is needed"),
    (put("histories", "two/1/epoch", 1), "two/history.json: epoch of row 2 is 1; 2 is needed"),
    (
        put("histories", "one/1/class_accuracy", [0.5]),
        "one/history.json: epoch 2: class_accuracy has 1 values; split.csv has 2 classes",
    ),
    (
        put("histories", "two/0/average_precision", [0.5] * 3),
        "two/history.json: epoch 1: average_precision has 3 values; split.csv has 2 classes",
    ),
    (
        put("metrics", "classes", ["a", "sea"]),
        "metrics.json: classes is ['a', 'sea']; by split.csv it is ['bay', 'sea']",
    ),
    (
        put("metrics", "supports", OTHER_SUPPORTS),
        f"metrics.json: supports is {OTHER_SUPPORTS}; by split.csv it is {SUPPORTS}",
    ),
    (put("metrics", "setting", "one"), "metrics.json: setting is one; by history.json it is two"),
    (put("metrics", "epoch", 1), "metrics.json: epoch is 1; by history.json it is 2"),
    (
        put("metrics", "validation_mean_class_accuracy", 0.5),
        "metrics.json: validation_mean_class_accuracy is 0.5; by history.json it is 0.75",
    ),
    (
        put("metrics", "weights_sha256", "0"),
        f"metrics.json: weights_sha256 is 0; by history.json it is {digest('two 2')}",
    ),
    (
        put("metrics", "class_accuracy", [1.0]),
        "metrics.json: class_accuracy has 1 values; split.csv has 2 classes",
    ),
    (put("metrics", "unseen", UNSEEN), UNSEEN_BELONGS),
    (configured(protocol=SHARED), UNSEEN_BELONGS),
    (
        lambda made: put("metrics", "unseen", UNSEEN | {"average_precision": []})(configured(protocol=SHARED)(made)),
        "metrics.json: unseen: average_precision has 0 values; split.csv has 2 classes",
    ),
    (
        scored(paths=("bay/3.png", "sea/3.png", "sea/2.png")),
        "scores.npz: paths are not those of the test part of split.csv, in its order",
    ),
    (scored(labels=np.array([0, 1, 0])), "scores.npz: labels are not those of the classes in split.csv"),
    (scored(softmax=np.ones((3, 1), np.float32)), "scores.npz: softmax is of shape (3, 1); (3, 2) is needed"),
    (
        softmax((1, 0), (0.5, 0.25), (0.25, 0.25)),
        "scores.npz: softmax of sea/2.png adds up to 0.75; shares that add up to 1 are needed",
    ),
    (
        softmax((1, 0), (0.5, 0.5), (1.5, -0.5)),
        "scores.npz: softmax of sea/3.png adds up to 1; shares that add up to 1 are needed",
    ),
    (
        softmax((1, 0.00015), (0.5, 0.5), (0.5, 0.5)),
        "scores.npz: softmax of bay/3.png adds up to 1.00015; shares that add up to 1 are needed",
    ),
    (
        softmax((float("nan"), 0), (0.5, 0.5), (0.5, 0.5)),
        "scores.npz: softmax of bay/3.png adds up to nan; shares that add up to 1 are needed",
    ),
    (
        put("features", "sets/1/modules", FEATURE_MODULES),
        "features.json: sets.1.modules are ['conv1', 'layer1']; config.json has ['conv1', 'fc']",
    ),
    (
        put("features", "sets/0/modules/conv1/activations", ACTIVATIONS | {"quantiles": {"0.5": 1.0}}),
        "features.json: sets.0.modules.conv1.activations.quantiles are at ['0.5']; ['0.001', '0.01', '0.1', '0.25', "
        "'0.5', '0.75', '0.9', '0.99', '0.999'] are needed",
    ),
    (
        put("features", "sets/0/modules/conv1/activations", ACTIVATIONS | {"never_positive": [0, 3]}),
        "features.json: sets.0.modules.conv1.activations name channel 3; there are 3, from 0",
    ),
    (
        put("features", "sets/0/modules/conv1/activations", ACTIVATIONS | {"top_images": [TOP | {"channel": 7}]}),
        "features.json: sets.0.modules.conv1.activations name channel 7; there are 3, from 0",
    ),
    (
        put("tensors", "one", []),
        "one/tensors.json: it has 0 rows; epochs is 2 in config.json",
    ),
    (linked(put("tensors", "two/1/epoch", 3)), "two/tensors.json: epoch of row 2 is 3; 2 is needed"),
    (
        linked(put("tensors", "two/0/tensors", {})),
        "two/tensors.json: row 1 has 0 tensors; each row has those of the network",
    ),
    (
        linked(put("tensors", "two/1/tensors", {"a": "0" * 12})),
        "two/tensors.json: row 2 has 1 tensors; each row has those of the network",
    ),
    (
        put("tensors", "two/0/previous", "0"),
        f"two/tensors.json: epoch 1: the chain is broken: previous is 0, and {START} has "
        f"{made_up.start_sha256(CONFIG, CONFIG.settings[1], INITIAL)}",
    ),
    (
        put("tensors", "one/1/previous", "0"),
        "one/tensors.json: epoch 2: the chain is broken: previous is 0, and the entry of epoch 1 has "
        f"{made_up.canonical_sha256(made_up.records().tensors['one'][0])}",
    ),
    (
        linked(put("tensors", "two/1/weights_sha256", "0")),
        f"two/tensors.json: epoch 2: weights_sha256 is 0; history.json has {digest('two 2')}",
    ),
]


@pytest.mark.parametrize(("change", "sentence"), CONTRADICTIONS, ids=[sentence[:60] for _, sentence in CONTRADICTIONS])
def test_the_first_contradiction_is_refused_with_file_key_and_what_is_needed(change: Change, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(f'run/{sentence}')}$"):
        refuse(change(made_up.records()))


@pytest.mark.parametrize(
    "change",
    [
        lambda made: made,
        lambda made: replace(made, features=None),
        # Images of one's own are as many as there are.
        lambda _: made_up.records(replace(CONFIG, data="photos", scenes=3, orientation="ignored")),
        lambda _: made_up.records(replace(CONFIG, format=5)),
        configured(split="0.4/0.25/0.35"),
        softmax((1, 0.00009), (0.5, 0.5), (0.5, 0.49991)),
        put("features", "sets/0/modules/conv1/activations", ACTIVATIONS),
    ],
    ids=["whole", "without features", "photographs", "format 5", "shares", "rounded", "activations"],
)
def test_records_that_agree_are_not_refused(change: Change) -> None:
    refuse(change(made_up.records()))


def test_unseen_images_belong_to_a_shared_split() -> None:
    made = made_up.records(replace(CONFIG, protocol=SHARED))
    starts = {each.name: made_up.start_sha256(CONFIG, each, INITIAL, "test") for each in CONFIG.settings}
    made.metrics["unseen"] = UNSEEN
    refuse(replace(made, tensors={name: made_up.chained(name, start) for name, start in starts.items()}))


def test_a_part_without_images_is_refused_although_the_shares_round_to_it() -> None:
    def emptied(made: Records) -> Records:
        images = [entry for part in made.split.parts.values() for entry in part]
        parts = {"training": tuple(images), "validation": (), "test": ()}
        return replace(made, split=replace(made.split, parts=parts), config=replace(CONFIG, split="0.98/0.01/0.01"))

    sentence = "run/split.csv: part has (8, 0, 0) images; split '0.98/0.01/0.01' of config.json needs (8, 0, 0)"
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        refuse(emptied(made_up.records()))


def test_shares_may_miss_1_by_the_tolerance() -> None:
    refuse(softmax((1, 0.99e-4), (0.5, 0.5), (0.5, 0.5 - 0.99e-4))(made_up.records()))
    with pytest.raises(ValueError, match=r"bay/3\.png adds up to 1\.0001;"):
        refuse(softmax((1, 1.01e-4), (0.5, 0.5), (0.5, 0.5))(made_up.records()))
