"""How far a mean over batches can be from the mean over images: the last batch is smaller and weighs as much."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from in4310repro.audit.intervals import Interval

BATCH = 1024  # images, the most that are considered
# More than the error of the doubles that are used here.
ERROR = Fraction(1, 10**12)


def batch_means(accuracy: Interval, images: int) -> Interval:
    """What the mean over the accuracies of batches can be, for batches of any size up to 1,024 images.

    With b images a batch, B batches and r images in the last: ((B - 1) p + q) / B where p is the accuracy of the full
    batches and q that of the last. Of all images it is ((B - 1) b p + r q) / n. It is lowest where no image of the last
    batch is right, and highest where all are, as far as the accuracy of all images allows that.
    """
    sizes = np.arange(1, min(BATCH, images) + 1)
    full = -(-images // sizes) - 1
    rest = images - full * sizes
    fewest, most = float(accuracy.low) * images, float(accuracy.high) * images
    least = np.maximum(0.0, fewest - full * sizes)
    greatest = np.minimum(most, rest)
    low = ((fewest - least) / sizes + least / rest) / (full + 1)
    high = ((most - greatest) / sizes + greatest / rest) / (full + 1)
    return Interval(
        low=min(Fraction(float(low.min())) - ERROR, accuracy.low),
        high=max(Fraction(float(high.max())) + ERROR, accuracy.high),
    )
