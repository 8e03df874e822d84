"""Confidence interval of a proportion, such as an accuracy."""

from __future__ import annotations

import math

Interval = list[float]  # lower and upper end, 95 %

NORMAL_QUANTILE = 1.959963984540054  # of 0.975; a literal, so that its bits do not depend on a library


def wilson(correct: int, images: int) -> Interval:
    """Return Wilson's 95 % score interval of a proportion (Wilson 1927).

    (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n) for p = correct / images and n = images.

    Examples:
        >>> [round(end, 4) for end in wilson(25, 30)]
        [0.6644, 0.9266]
    """
    share, square = correct / images, NORMAL_QUANTILE**2 / images
    half = NORMAL_QUANTILE * math.sqrt((share * (1 - share) + square / 4) / images)
    # Rounding leaves 1e-17 of the ends that are 0 and 1.
    lower = 0.0 if correct == 0 else (share + square / 2 - half) / (1 + square)
    upper = 1.0 if correct == images else (share + square / 2 + half) / (1 + square)
    return [lower, upper]
