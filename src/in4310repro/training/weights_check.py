"""Check of ImageNet weights before training, by their top-1 accuracy on images with known ImageNet classes.

Wrongly read weights, or images prepared in another way than the weights need, cause no error in training;
they only make the results worse.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np

from in4310repro.data.comparison import imagenet
from in4310repro.data.preprocessing import Preprocessing
from in4310repro.evaluation.prediction import predict
from in4310repro.metrics import wilson
from in4310repro.models.weights import Weights
from in4310repro.runs.config import Config
from in4310repro.system.context import Context

WORDNET_ID = re.compile(r"(?:^|/)(n\d{8})(?=[_/.])")  # begins a folder or a file name
IMAGES = 300  # that are looked at, at most
LOWEST = 0.5  # expected of weights whose accuracy nobody says


@functools.cache
def wordnet_ids() -> list[str]:
    """Return the WordNet ids of ImageNet's 1,000 classes, in the order of a network's scores."""
    ids: list[str] = json.loads((resources.files("in4310repro.data") / "wordnet_ids.json").read_text("ascii"))
    return ids


@dataclass(frozen=True)
class Check:
    """Numbers of images and of correctly classified ones in a check of weights, and the expected accuracy."""

    correct: int
    images: int
    expected: float  # top-1 accuracy that is said of them on the validation images of ImageNet

    def line(self, weights: str) -> str:
        """Return the result as a line of text, with a warning if the accuracy is clearly below the expected one."""
        low, high = wilson(self.correct, self.images)
        share = f"{self.correct} of {self.images}, {self.correct / self.images:.2f} ({low:.2f} to {high:.2f})"
        line = f"{weights} name the class of {share} images of --imagenet"
        if high >= self.expected:
            return line
        return (
            f"warning: {line}, and {self.expected:.2f} is expected: the weights are of another network, or images are "
            "prepared otherwise than for them (--mean, --std, --interpolation)"
        )


def check(config: Config, weights: Weights, context: Context) -> Check | None:
    """Classify a folder of ImageNet images with a training's initial weights; return how many are correct.

    Args:
        config: the configuration, with the preprocessing that its weights state.
        weights: the weights that the configuration names.
        context: arithmetic, progress and processes of the computation.

    Returns:
        The result. None if there are no weights, no folder of images, no file names with WordNet ids, or if the
        weights do not score 1,000 classes.
    """
    if weights.tensors is None or not config.imagenet:
        return None
    places = {name: place for place, name in enumerate(wordnet_ids())}
    loaded, head = weights.tensors, config.network.head()
    if any(key not in loaded or len(loaded[key]) != len(places) for key in head):
        return None
    how = _choose_preprocessing(config)
    images = imagenet(Path(config.imagenet), IMAGES, how.size, config.seed, how)
    found = [WORDNET_ID.search(path) for path in images.paths]
    known = [n for n, each in enumerate(found) if each and each.group(1) in places]
    if not known:
        return None
    labels = np.array([places[found[n].group(1)] for n in known], np.int64)  # type: ignore[union-attr]
    named = replace(images.at(known), labels=labels)
    model = context.numerics.place(config.network.build(len(places), config.seed, weights))
    scores = predict(model, named, config.evaluation, context.silent())
    correct = int((scores.softmax.argmax(axis=1) == labels).sum())
    return Check(correct, len(known), _expected(config))


def _choose_preprocessing(config: Config) -> Preprocessing:
    """Return the preprocessing for evaluating ImageNet weights; for other weights, that of the training."""
    if config.weights != "imagenet":
        return config.preprocessing
    return replace(
        config.network.imagenet_evaluation(),
        mean=config.preprocessing.mean,
        std=config.preprocessing.std,
        interpolation=config.preprocessing.interpolation,
    )


def _expected(config: Config) -> float:
    return config.network.imagenet_top_1() if config.weights == "imagenet" else LOWEST


def print_result(config: Config, weights: Weights, context: Context) -> None:
    """Run `check` and show its result; do nothing if progress is not shown."""
    if context.progress.console is None:
        return
    if found := check(config, weights, context):
        name = f"ImageNet weights of {config.network.name}" if config.weights == "imagenet" else config.weights
        context.progress.message(found.line(name))
