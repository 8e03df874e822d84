"""Class sizes and expected accuracies of a published image set, the Intel scene photographs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A published data set: its classes, class sizes and expected accuracies."""

    name: str
    classes: tuple[str, ...]
    sizes: Mapping[str, tuple[int, ...]]  # by part, in the order of the classes
    ceilings: Mapping[str, Fraction]  # accuracies, by what they are, above which a result is odd


# Accuracies on the scenes. The first is an assumption, above what the winner of the public competition reports on its
# 7,301 other images: 0.9466 by one network and 0.9589 by a vote of some 20 submissions (A. Sayed, 2019, "1st Place
# Solution for Intel Scene Classification Challenge"). The second is 2813 of 3000: reports/photographs.
SCENES = DataSet(
    name="scenes",
    classes=("buildings", "forest", "glacier", "mountain", "sea", "street"),
    sizes={"test": (463, 483, 521, 535, 490, 508), "validation": (309, 322, 347, 357, 327, 338)},
    ceilings={
        "assumed, above the 0.9589 that A. Sayed, 2019, reports for a vote of some 20 submissions on 7,301 other "
        "images of the competition": Fraction("0.9635"),
        "EfficientNet-Lite0 from ImageNet weights, measured by this package": Fraction("0.9377"),
    },
)


def known_sizes(classes: int) -> list[tuple[int, ...]]:
    """Return the class sizes of each split of the scene photographs; empty if `classes` is not their number."""
    return [sizes for sizes in SCENES.sizes.values() if len(sizes) == classes]


def is_scenes(names: tuple[str, ...], sizes: tuple[int, ...]) -> bool:
    """Return whether the class names or class sizes are those of the scene photographs."""
    return tuple(sorted(name.casefold() for name in names)) == SCENES.classes or sizes in SCENES.sizes.values()
