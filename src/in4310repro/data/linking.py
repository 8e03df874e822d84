"""Groups of images that belong together because they are linked, directly or through other images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence


def link(images: int, groups: Iterable[Sequence[int]]) -> list[int]:
    """Return each image's group number: the smallest position among all images linked to it, itself included.

    Args:
        images: number of images.
        groups: positions of images that belong together; groups that share an image become one.

    Examples:
        >>> link(6, [(1, 4), (4, 2), (3, 5)])
        [0, 1, 1, 3, 1, 3]
    """
    parent = list(range(images))

    def root(position: int) -> int:
        while parent[position] != position:
            # Path halving: shortens the path for later searches.
            parent[position] = position = parent[parent[position]]
        return position

    for group in groups:
        for position in group:
            one, other = sorted((root(group[0]), root(position)))
            parent[other] = one
    return [root(position) for position in range(images)]


def members(numbers: Sequence[int]) -> list[list[int]]:
    """Return the groups of two images or more, as lists of positions, given the group numbers from `link`."""
    groups: dict[int, list[int]] = defaultdict(list)
    for position, number in enumerate(numbers):
        groups[number].append(position)
    return [group for group in groups.values() if len(group) > 1]
