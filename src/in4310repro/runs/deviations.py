"""Deviations from the assignment, and the protocol: the set of active deviations and their effects on a run.

The corrected protocol has no deviation, and the published protocol has all of `HYPOTHESIS`. These together are a
hypothesis of how the published numbers came about; `test-loss-each-epoch` is none of them. Results obtained with a
deviation are labelled in all outputs.
"""

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import Literal, Self

from in4310repro.system.text import did_you_mean

# The published report's batch size. 200 images are 13 batches of it, which it counts as 208 images.
PUBLISHED_BATCH_SIZE = 16
CORRECTED, PUBLISHED = "corrected", "published"
UNSEEN = "unseen"  # the images that a protocol with a shared split never reads


class Deviation(StrEnum):
    """A deviation from the assignment, and its meaning."""

    SHARED_SPLIT = "shared-split", "training, validation and test read the same images"
    WARM_START = "warm-start", "each setting starts from the trained network of the setting before"
    RANDOM_FLIP_AT_TEST = "random-flip-at-test", "images are flipped at random in evaluation"
    AP_FROM_LOGITS = "ap-from-logits", "average precision ranks logits instead of softmax scores"
    PADDED_DENOMINATOR = (
        "padded-denominator",
        "non-positive shares are divided by the images of full batches, 208 for 200",
    )
    BATCH_NORM_IN_TRAIN_MODE = (
        "batch-norm-in-train-mode",
        "covariance spectra are measured with batch norm in train mode",
    )
    ACCUMULATOR_NOT_RESET = "accumulator-not-reset", "the covariance of an image set includes the image sets before it"
    TEST_LOSS_EACH_EPOCH = "test-loss-each-epoch", "the test set is scored after every epoch"

    meaning: str

    def __new__(cls, name: str, meaning: str) -> Self:
        """Create a member; its value is the deviation's name on the command line and in files."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.meaning = meaning
        return member


# What the published numbers are supposed to come from. The loss curve of another year's assignment is not among it.
HYPOTHESIS = tuple(deviation for deviation in Deviation if deviation is not Deviation.TEST_LOSS_EACH_EPOCH)


def _active(deviation: Deviation) -> property:
    return property(lambda protocol: deviation in protocol, doc=f"True if {deviation} is active.")


class Protocol(frozenset[Deviation]):
    """The active deviations from the assignment, with a name or a method for each decision that depends on them.

    Examples:
        >>> parse("shared-split").part_read_as("validation"), parse("corrected").part_read_as("validation")
        ('test', 'validation')
    """

    shares_split = _active(Deviation.SHARED_SPLIT)  # training, validation and test all use the images of the test part
    starts_warm = _active(Deviation.WARM_START)  # each setting starts from the last weights of the one before it
    flips_in_evaluation = _active(Deviation.RANDOM_FLIP_AT_TEST)  # images are flipped at random
    ranks_logits = _active(Deviation.AP_FROM_LOGITS)  # average precision ranks images by logits instead of softmax
    accumulates_sets = _active(Deviation.ACCUMULATOR_NOT_RESET)  # a set's covariance includes all sets before it
    scores_test_each_epoch = _active(Deviation.TEST_LOSS_EACH_EPOCH)  # its loss is recorded; nothing selects by it

    def __str__(self) -> str:
        """Return the text for `--protocol`: `corrected`, `published`, or names of deviations joined by commas."""
        return CORRECTED if self.is_corrected else PUBLISHED if self.is_published else ",".join(self.names)

    @property
    def names(self) -> list[str]:
        """The sorted names of the active deviations, as in `config.json`."""
        return sorted(map(str, self))

    @property
    def is_corrected(self) -> bool:
        """True if no deviation from the assignment is active."""
        return not self

    @property
    def is_published(self) -> bool:
        """True if exactly the deviations of the hypothesis are active."""
        return self == frozenset(HYPOTHESIS)

    @property
    def label(self) -> str:
        """Text that marks results of a run with deviations from the assignment; empty if none is active."""
        if self.is_published:
            return "SUPPOSED PROTOCOL: not as the assignment defines it"
        return self.meaning and f"DEVIATION: {self.meaning}"

    @property
    def meaning(self) -> str:
        """Explanation of the active deviations from the assignment, as one text; empty if there are none."""
        return "; ".join(deviation.meaning for deviation in Deviation if deviation in self)

    def part_read_as(self, part: str) -> str:
        """Return the part of the split whose images are used as `part`.

        It is `test` if training and validation use the test images too, otherwise `part` itself; `UNSEEN` is itself.
        """
        return "test" if self.shares_split and part != UNSEEN else part

    @property
    def batch_norm_mode(self) -> Literal["eval", "train"]:
        """The mode of batch norm, `eval` or `train`, while covariance spectra are measured."""
        return "train" if Deviation.BATCH_NORM_IN_TRAIN_MODE in self else "eval"

    def share_divisor(self, images: int) -> float:
        """Return the number by which fractions of non-positive values are divided.

        This number is 1, except with the deviation `padded-denominator`. With this deviation it is the padded number
        of images (see `padded_images`) divided by `images`.
        """
        return padded_images(images) / images if Deviation.PADDED_DENOMINATOR in self else 1.0

    @property
    def names_unfit_for_heads(self) -> list[str]:
        """The sorted names of active deviations that are impossible if only the last layer is fitted."""
        return sorted({Deviation.WARM_START, Deviation.RANDOM_FLIP_AT_TEST, Deviation.TEST_LOSS_EACH_EPOCH} & self)


CORRECTED_PROTOCOL = Protocol()


def parse(protocol: str | Iterable[str]) -> Protocol:
    """Return the protocol for `corrected`, `published`, or names of deviations joined by commas.

    Args:
        protocol: `corrected`, `published`, names of deviations joined by commas, or a list of such names.

    Raises:
        ValueError: a name is unknown.

    Examples:
        >>> parse("warm-start,shared-split").names
        ['shared-split', 'warm-start']
        >>> len(parse("published").names), len(parse("corrected").names)
        (7, 0)
    """
    if protocol in (CORRECTED, PUBLISHED):
        return Protocol(HYPOTHESIS) if protocol == PUBLISHED else CORRECTED_PROTOCOL
    names = [name.strip() for name in protocol.split(",")] if isinstance(protocol, str) else list(protocol)
    valid = [CORRECTED, PUBLISHED, *Deviation]
    for name in names:
        if name not in valid[2:]:
            raise ValueError(
                f"protocol is {name!r}; it must be one of {', '.join(valid)}, or deviations joined by commas"
                f"{did_you_mean(name, valid)}"
            )
    return Protocol(each for each in Deviation if each in names)


def padded_images(images: int) -> int:
    """Return the number of images rounded up to a multiple of `PUBLISHED_BATCH_SIZE`, such as 208 for 200."""
    return math.ceil(images / PUBLISHED_BATCH_SIZE) * PUBLISHED_BATCH_SIZE
