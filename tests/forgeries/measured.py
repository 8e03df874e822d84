"""Forgeries of scores and feature maps."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from in4310repro.system.numerics import class_of
from tests.forgeries.changes import METRICS, edit, put, sealed, trailing
from tests.forgeries.forger import SELECTED, Forger
from tests.forgeries.row import Forge, forgeries_of

FEATURES = "features.json"


def nudge(by: float, *, numeric_class: str = "") -> Forge:
    """Add `by` to the first image's largest score, subtract it from another, and recompute the metrics."""

    def forge(forger: Forger) -> None:
        arrays = forger.arrays()
        largest = int(arrays["softmax"][0].argmax())
        arrays["softmax"][0, largest] += by
        arrays["softmax"][0, (largest + 1) % 6] -= by
        forger.write_arrays(arrays)
        forger.remeasure()
        if numeric_class:
            forger.put("fingerprint.json", "numeric_class", numeric_class)

    return sealed(forge)


def claim_native(fingerprint: dict[str, Any]) -> None:
    """Claim native arithmetic in the fingerprint, with the matching numeric class."""
    fingerprint["numerics"] = "native"
    # features.json names no threads where portable arithmetic measured.
    words = fingerprint["probe"], fingerprint.setdefault("threads", 2), fingerprint["device_name"]
    fingerprint["numeric_class"] = class_of(*words)


def native(forger: Forger) -> None:
    nudge(5e-7)(forger)
    say_native(forger)


def scaled(factor: float, change: Callable[[Any, Any], object]) -> Forge:
    """Return a forgery that scales the last layer until scores saturate, then changes the scores.

    It recomputes the run's other files and claims native arithmetic.

    Args:
        factor: factor of the last layer's weight and bias.
        change: changes the scores in place, given a mask of each image's true class.
    """

    def forge(forger: Forger) -> None:
        state = forger.weights(SELECTED)
        state["fc.weight"], state["fc.bias"] = state["fc.weight"] * factor, state["fc.bias"] * factor
        forger.write_weights(SELECTED, state)
        forger.make_fit(SELECTED)
        arrays = forger.arrays()
        change(arrays["softmax"], np.eye(6, dtype=bool)[arrays["labels"]])
        forger.write_arrays(arrays)
        forger.remeasure()
        say_native(forger)
        forger.finish()

    return forge


def lift(scores: Any, own: Any) -> None:
    """Raise small scores of the true class to 9e-7, and set the other small scores to 0."""
    small = scores < 1e-7
    scores[small & own], scores[small & ~own] = 9e-7, 0


def part_ties(scores: Any, own: Any) -> None:
    """Break ties at 0: give the true class the score 1e-38, a subnormal float32."""
    scores[(scores == 0) & own] = 1e-38


def say_native(forger: Forger) -> None:
    fingerprint = forger.json("fingerprint.json")
    claim_native(fingerprint)
    forger.write_json("fingerprint.json", fingerprint)


def right(forger: Forger) -> None:
    """Make the score of the true class the largest for every image."""
    arrays = forger.arrays()
    for scores, label in zip(arrays["softmax"], arrays["labels"], strict=True):
        best = int(scores.argmax())
        scores[label], scores[best] = scores[best], scores[label]
    forger.write_arrays(arrays)
    forger.remeasure()


def labels_as_predicted(forger: Forger) -> None:
    arrays = forger.arrays()
    arrays["labels"] = arrays["softmax"].argmax(axis=1)
    forger.write_arrays(arrays)
    forger.put(METRICS, "class_accuracy", [1.0] * 6)
    forger.put(METRICS, "mean_class_accuracy", 1.0)


def other_order(forger: Forger) -> None:
    forger.write_arrays({name: values[::-1] for name, values in forger.arrays().items()})


def array(change: Callable[[dict[str, Any]], object]) -> Forge:
    def forge(forger: Forger) -> None:
        arrays = forger.arrays()
        change(arrays)
        forger.write_arrays(arrays)

    return sealed(forge)


def not_a_number(arrays: dict[str, Any]) -> None:
    arrays["softmax"][0] = np.nan


def comment(forger: Forger) -> None:
    """Add a comment to the scores' zip archive, which does not change the scores."""
    with zipfile.ZipFile(forger.run / "scores.npz") as archive:
        members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    (forger.run / "scores.npz").unlink()
    with zipfile.ZipFile(forger.run / "scores.npz", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.comment = b"mean class accuracy 0.99"


CONV = "sets/0/modules/conv1"


def larger_eigenvalues(features: dict[str, Any]) -> None:
    module = features["sets"][0]["modules"]["conv1"]
    module["eigenvalues"] = [value * 1.1 for value in module["eigenvalues"]]


def same_spectra(features: dict[str, Any]) -> None:
    features["sets"][1]["modules"] = features["sets"][0]["modules"]


def invented_set(features: dict[str, Any]) -> None:
    features["sets"][1]["name"] = "ImageNet"
    for module in features["sets"][1]["modules"].values():
        module["non_positive"] = 0.1


def move(features: dict[str, Any]) -> None:
    """Change the fraction of values <= 0 by 5e-5, and the eigenvalues by a relative 5e-7."""
    module = features["sets"][0]["modules"]["conv1"]
    module["non_positive"] += 5e-5
    module["eigenvalues"] = [value * (1 + 5e-7) for value in module["eigenvalues"]]


def moved_natively(features: dict[str, Any]) -> None:
    move(features)
    claim_native(features["fingerprint"])


def moved_fast(features: dict[str, Any]) -> None:
    share = features["sets"][0]["modules"]["conv1"]["non_positive"]
    move(features)
    features["sets"][0]["modules"]["conv1"]["non_positive"] = share
    features["precision"] = "fast"


def values_of(change: Callable[[dict[str, Any]], object], *, claimed_native: bool = False) -> Forge:
    """Return a forgery that applies `change` to the activation statistics of conv1 in features.json."""

    def forge(features: dict[str, Any]) -> None:
        change(features["sets"][0]["modules"]["conv1"]["activations"])
        if claimed_native:
            claim_native(features["fingerprint"])

    return edit(FEATURES, forge)


def one_bin_further(activations: dict[str, Any]) -> None:
    activations["quantiles"]["0.99"] *= 33 / 32


def one_value_elsewhere(activations: dict[str, Any]) -> None:
    """Move one count from one power-of-two bin to another, so that the sum stays unchanged."""
    first, second = list(activations["powers_of_two"])[:2]
    activations["powers_of_two"][first] += 1
    activations["powers_of_two"][second] -= 1


def other_image(activations: dict[str, Any]) -> None:
    first = activations["top_images"][0]["images"]
    first[0], first[1] = first[1], first[0]


def larger_response(activations: dict[str, Any]) -> None:
    response = activations["top_images"][0]["responses"][0]
    activations["top_images"][0]["responses"][0] = math.nextafter(response, math.inf)


def silent(channel: int) -> Forge:
    return values_of(lambda activations: activations.update(never_positive=[channel]))


def one_more_image(activations: dict[str, Any]) -> None:
    activations["top_images"][0]["images"].append("x.png")


def larger_quantile(activations: dict[str, Any]) -> None:
    activations["quantiles"]["0.99"] *= 1.1


def without_activations(features: dict[str, Any]) -> None:
    for images in features["sets"]:
        for module in images["modules"].values():
            del module["activations"]


row = forgeries_of("scores")
ROWS = [
    row("every prediction right, the metrics fit", sealed(right), "scores"),
    row("one image's scores by 5e-7", nudge(5e-7), "scores"),
    row("one image's scores by 5e-7, under another numeric class", nudge(5e-7, numeric_class="0" * 12), "scores"),
    row(
        "one image's scores by 5e-7, under native arithmetic",
        sealed(native),
        "within tolerances",
        by="nothing",
        shown_by="no need: within the tolerance, which is printed",
    ),
    row(
        "a last layer scaled up until scores saturate, small scores in a better order, under native arithmetic",
        scaled(300.0, lift),
        "images have other scores",
    ),
    row(
        "a last layer scaled up until most scores are 0, ties parted for the better, under native arithmetic",
        scaled(1e4, part_ties),
        "scores this close leave",
        by="nothing",
        shown_by="native arithmetic on that processor; how far close scores leave average precision open is printed",
    ),
    row("labels set to the predictions, the metrics fit", sealed(labels_as_predicted), "scores.npz"),
    row("images in another order", sealed(other_order), "scores.npz"),
    row("an array of their own", array(lambda arrays: arrays.update(best=arrays["softmax"])), "scores.npz"),
    row("float64 of the same values", array(lambda a: a.update(softmax=a["softmax"].astype(float))), "scores.npz"),
    row("scores that are not numbers", array(not_a_number), "scores.npz"),
    row("a comment in the archive", sealed(comment), "scores.npz"),
    row("bytes at the end", trailing("scores.npz"), "scores.npz"),
]

row = forgeries_of("feature maps")
ROWS += [
    row("non-positive share of 0.9", put(FEATURES, f"{CONV}/non_positive", 0.9), FEATURES),
    row(
        "the last bit of a share",
        edit(
            FEATURES,
            lambda f: f["sets"][0]["modules"]["conv1"].update(
                non_positive=math.nextafter(f["sets"][0]["modules"]["conv1"]["non_positive"], 1)
            ),
        ),
        FEATURES,
    ),
    row("eigenvalues a tenth larger", edit(FEATURES, larger_eigenvalues), FEATURES),
    row("photographs with the spectra of the test images", edit(FEATURES, same_spectra), FEATURES),
    row("number of images", put(FEATURES, "sets/0/images", 3000), FEATURES),
    row("name of an image set", put(FEATURES, "sets/1/name", "A reference set"), FEATURES),
    row("name of the network", put(FEATURES, "network", "resnet18 with ImageNet weights"), FEATURES),
    row("values that are not finite", put(FEATURES, f"{CONV}/non_finite", 7), FEATURES),
    row("a quantile by one bin", values_of(one_bin_further), FEATURES, "quantiles"),
    row("a quantile left out", values_of(lambda a: a["quantiles"].pop("0.5")), FEATURES, "quantiles"),
    row("a value under another power of two", values_of(one_value_elsewhere), FEATURES, "powers_of_two"),
    row("a channel that is never positive", silent(3), FEATURES, "never_positive"),
    row("a channel beyond the last", silent(64), FEATURES, "channel 64"),
    row("another image excites a channel most", values_of(other_image), FEATURES, "top_images"),
    row("the last bit of a response", values_of(larger_response), FEATURES, "top_images"),
    row("an image of a channel that nobody has", values_of(one_more_image), FEATURES),
    row(
        "a quantile by a tenth, measured in native arithmetic by its own words",
        values_of(larger_quantile, claimed_native=True),
        FEATURES,
        "quantiles.0.99",
    ),
    row(
        "another image excites a channel most, measured in native arithmetic by its own words",
        values_of(other_image, claimed_native=True),
        "but for silent channels and top images",
        by="nothing",
        shown_by="native arithmetic on that processor; that they were not compared is printed",
    ),
    row(
        "the values of all modules left out",
        edit(FEATURES, without_activations),
        by="nothing",
        shown_by="no need: records of earlier versions have none, and then none are claimed",
    ),
    row("a share by 5e-5", edit(FEATURES, move), FEATURES),
    row(
        "a share by 5e-5, measured in native arithmetic by its own words",
        edit(FEATURES, moved_natively),
        "feature maps within",
        by="nothing",
        shown_by="no need: within the tolerance, which is printed",
    ),
    row(
        "eigenvalues by 5e-7, measured fast by their own words",
        edit(FEATURES, moved_fast),
        "feature maps within",
        by="nothing",
        shown_by="no need: within the tolerance, which is printed",
    ),
    row(
        "an invented image set of a folder that is unavailable",
        edit(FEATURES, invented_set),
        "feature maps of ImageNet, whose folder is unavailable",
        by="nothing",
        shown_by="the folder: `verify` measures its images where it is; it lists these feature maps as claimed",
    ),
]
