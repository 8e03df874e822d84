"""The records in the JSON files of a run, with their fields."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from in4310repro.fingerprint import Fingerprint
from in4310repro.metrics import ClassMetrics

Supports = dict[str, dict[str, int]]  # part -> class -> images
TensorHashes = dict[str, str]  # tensor -> the first 12 hex digits of its sha256


class HistoryRow(ClassMetrics):
    """One epoch of a setting, measured on validation after its last step."""

    epoch: int  # from 1
    train_loss: float  # mean cross-entropy per image, while the weights move
    val_loss: float  # mean cross-entropy per image
    images_per_second: float
    weights_sha256: str


class UnseenMetrics(ClassMetrics):
    """The selected network on the images that a shared split never reads."""

    images: int
    loss: float


class RunMetrics(ClassMetrics):
    """The selected network on the test set."""

    setting: str
    epoch: int
    validation_mean_class_accuracy: float
    weights_sha256: str
    classes: list[str]
    supports: Supports
    loss: float
    unseen: NotRequired[UnseenMetrics]  # with the deviation shared-split


class ModuleFeatures(TypedDict):
    """One module's feature maps on one image set."""

    non_positive: float  # share of values <= 0, in [0, 1]
    non_finite: int
    channels: int
    eigenvalues: list[float]  # of the covariance of spatial means, the largest first


class ImageSetFeatures(TypedDict):
    """The feature maps of one image set."""

    name: str
    images: int
    modules: dict[str, ModuleFeatures]
    pooled_images: NotRequired[int]  # with the deviation accumulator-not-reset: this set and those before it


class FeatureMaps(TypedDict):
    """What the feature maps of a run's network say about the image sets."""

    network: str
    spectra_mode: Literal["eval", "train"]
    precision: str
    fingerprint: Fingerprint
    sets: list[ImageSetFeatures]
