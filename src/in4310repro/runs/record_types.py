"""Types of the records in a run's JSON files."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from in4310repro.metrics import ClassMetrics
from in4310repro.system.fingerprint import Fingerprint
from in4310repro.system.schema import Count, NonNegative, PositiveCount, RelativePath, Sha256, Share, ShortHash, Text

Manifest = dict[RelativePath, Sha256]
Pixels = dict[RelativePath, Sha256]  # `pixels.json`: image -> sha256 of its decoded pixels [row][column][RGB]
Groups = list[Annotated[list[RelativePath], Field(min_length=2)]]  # `groups.json`: paths of images in one part each
Supports = dict[Text, dict[Text, Count]]  # part -> class -> images
TensorHashes = dict[Text, ShortHash]  # tensor -> the first 12 hex digits of its sha256


class Status(TypedDict):
    """Content of `status.json`: how the last command under torchrun in this folder ended."""

    code: Annotated[int, Field(ge=0, le=255)]  # the exit code, which torchrun replaces
    message: Text  # the error message; empty if there was none
    rank: Count  # the process that failed or was lost


class EpochHashes(TypedDict):
    """One entry of `tensors.json`: hashes of an epoch's results and of the previous entry (see `runs.chain`)."""

    epoch: PositiveCount
    previous: Sha256  # of the entry before, of the first one that of what the training starts from
    weights_sha256: Sha256  # of weights and buffers
    optimizer_sha256: Sha256
    tensors: TensorHashes


Chain = list[EpochHashes]  # `tensors.json`
# The key of a history row that is not compared: speed is not a result.
SPEED = "images_per_second"


class HistoryRow(ClassMetrics):
    """Losses and metrics after one epoch, or after one fit of the last layer with a penalty strength."""

    epoch: PositiveCount
    train_loss: NonNegative  # mean cross-entropy per image, while the weights move
    val_loss: NonNegative  # mean cross-entropy per image
    test_loss: NotRequired[NonNegative]  # with the deviation test-loss-each-epoch
    images_per_second: NonNegative
    weights_sha256: Sha256
    strength: NotRequired[Annotated[float, Field(gt=0)]]  # of the fit of a head: scikit-learn's C


History = list[HistoryRow]  # `history.json`


class UnseenMetrics(ClassMetrics):
    """Metrics of the selected network on the images that a run with the deviation `shared-split` never uses."""

    images: PositiveCount
    loss: NonNegative


class RunMetrics(ClassMetrics):
    """Content of metrics.json: the selected network's metrics on the test set."""

    setting: Text
    epoch: PositiveCount
    validation_mean_class_accuracy: Share
    weights_sha256: Sha256
    classes: list[Text]
    supports: Supports
    loss: NonNegative
    unseen: NotRequired[UnseenMetrics]  # with the deviation shared-split


# Shares of values at which a record has quantiles; those that are shown, and their headings.
QUANTILES = ("0.001", "0.01", "0.1", "0.25", "0.5", "0.75", "0.9", "0.99", "0.999")
SHOWN = {"0.01": "1 %", "0.5": "median", "0.99": "99 %"}


class ChannelImages(TypedDict):
    """The images to which one channel of a feature map responds most."""

    channel: Count  # from 0
    images: list[Text]  # paths, the largest response first
    responses: list[float]


class ValueFeatures(TypedDict):
    """Quantiles and a histogram of the values of one module's feature maps on one image set."""

    quantiles: dict[Text, float]  # at each of QUANTILES, of all finite values; to 1/64 of the value
    powers_of_two: dict[Text, Count]  # in the order of the values: `-2^3` counts those in (-16, -8]; `0` the zeros


class ActivationFeatures(ValueFeatures):
    """Distribution of one module's values on one image set, never-positive channels, and top images of channels."""

    never_positive: list[Count]  # channels, from 0
    top_images: list[ChannelImages]  # of the channels with the largest responses


class ModuleFeatures(TypedDict):
    """Statistics of one module's feature maps on one image set."""

    non_positive: Share  # of values <= 0
    non_finite: Count
    channels: PositiveCount
    eigenvalues: Annotated[
        list[NonNegative], Field(min_length=1)
    ]  # of the covariance of spatial means, the largest first
    activations: NotRequired[ActivationFeatures]  # not in records of earlier versions


class ImageSetFeatures(TypedDict):
    """Statistics of each module's feature maps on one image set."""

    name: Text
    images: PositiveCount
    modules: dict[Text, ModuleFeatures]
    pooled_images: NotRequired[PositiveCount]  # with the deviation accumulator-not-reset: this set and those before it


class FeatureMaps(TypedDict):
    """Content of features.json: statistics of a network's feature maps on three image sets."""

    network: Text
    spectra_mode: Literal["eval", "train"]
    precision: Literal["fast", "exact"]
    fingerprint: Fingerprint
    sets: Annotated[list[ImageSetFeatures], Field(min_length=3, max_length=3)]
