"""Search for images with similar perceptual hashes, also after turning them, in about linear time and memory."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from in4310repro.data.orientations import INVERSE

# Bits of 64 in which the perceptual hashes of near-duplicates may differ. Of the course's 17,034 images, pairs that
# differ in up to 6 bits show the same picture (recompressed, tinted, the next frame of a film); the first pairs of
# different pictures differ in 8.
NEAR_DUPLICATE_BITS = 6
# With 4 bands, hashes that differ in up to 7 bits differ in at most one bit of some band (the pigeonhole principle).
BANDS, BAND_BITS = 4, 16
FLIPS = (0, *(1 << bit for bit in range(BAND_BITS)))


def near_duplicate_groups(hashes: Sequence[int]) -> list[list[int]]:
    """Return groups of near-duplicate images, as positions; a chain of similar images is one group.

    Two hashes are close if they differ in at most `NEAR_DUPLICATE_BITS` bits. The groups are the connected
    components of the graph of all close pairs. A hash is compared only with hashes that have no group yet, and
    that differ from it in at most one bit of some band of 16 bits: 1 in 1,000 of distinct images. Many
    near-duplicates cost no more, since each hash leaves the tables when its group is found. In the worst case,
    hashes that agree in one band only, all pairs are compared.

    Args:
        hashes: the 64-bit hash of each image.

    Returns:
        The groups of two images or more, in the order of their first images; positions are in increasing order.

    Examples:
        >>> near_duplicate_groups([0b0, 2**40 - 1, 0b111111, 2**40 - 1, 0b111111111111])
        [[0, 2, 4], [1, 3]]
    """
    numbers: dict[int, int] = {}
    for value in hashes:
        numbers.setdefault(value, len(numbers))
    tables = _Tables(list(numbers))
    group_of = array("l", [-1]) * len(numbers)  # the number of its first hash
    for first in range(len(numbers)):
        if group_of[first] < 0:
            tables.remove(first)
            chain = [first]
            for number in chain:  # which grows meanwhile
                group_of[number] = first
                chain += tables.take_close(number)
    sizes = Counter(group_of[numbers[value]] for value in hashes)
    groups: dict[int, list[int]] = defaultdict(list)
    for position, value in enumerate(hashes):
        if sizes[group_of[numbers[value]]] > 1:
            groups[group_of[numbers[value]]].append(position)
    return list(groups.values())


def turned_pairs(hashes: Sequence[Sequence[int]]) -> list[tuple[int, int, int]]:
    """Return pairs of images in which one resembles the other after turning or mirroring it.

    Args:
        hashes: for each image, its hash in each of `orientations.ORIENTATIONS`. No two images may have close
            hashes in their first orientation (see `near_duplicate_groups`).

    Returns:
        Each pair once, in order: the positions of both images in increasing order, and the orientation in which
        the first image is closest to the second one.
    """
    tables = _Tables([each[0] for each in hashes])
    best: dict[tuple[int, int], tuple[int, int]] = {}
    for first, each in enumerate(hashes):
        for orientation, value in enumerate(each[1:], start=1):
            for second in tables.close(value):
                pair = (min(first, second), max(first, second))
                found = (
                    (value ^ hashes[second][0]).bit_count(),
                    orientation if first < second else INVERSE[orientation],
                )
                if first != second:
                    best[pair] = min(best.get(pair, found), found)
    return [(*pair, orientation) for pair, (_, orientation) in sorted(best.items())]


class _Tables:
    """Index of hashes by the bits of each band, as linked lists in arrays; takes 64 bytes per hash."""

    def __init__(self, hashes: Sequence[int]) -> None:
        self._hashes = hashes
        self._first = [array("l", [-1]) * (1 << BAND_BITS) for _ in range(BANDS)]  # by bits
        self._next = [array("l", [-1]) * len(hashes) for _ in range(BANDS)]  # by number of the hash
        self._before = [array("l", [-1]) * len(hashes) for _ in range(BANDS)]
        for number, value in enumerate(hashes):
            for band, bits in enumerate(_bands(value)):
                following = self._first[band][bits]
                self._next[band][number] = following
                if following >= 0:
                    self._before[band][following] = number
                self._first[band][bits] = number

    def take_close(self, number: int) -> list[int]:
        """Remove all hashes similar to this one from the tables; return their numbers."""
        taken = []
        for other in self.close(self._hashes[number]):
            self.remove(other)
            taken.append(other)
        return taken

    def close(self, value: int) -> Iterator[int]:
        """Yield the numbers of hashes in the tables that are similar to a hash, possibly some of them repeatedly."""
        for band, bits in enumerate(_bands(value)):
            for flip in FLIPS:
                other = self._first[band][bits ^ flip]
                while other >= 0:
                    following = self._next[band][other]
                    if (self._hashes[other] ^ value).bit_count() <= NEAR_DUPLICATE_BITS:
                        yield other
                    other = following

    def remove(self, number: int) -> None:
        """Remove a hash from the tables in constant time."""
        for band, bits in enumerate(_bands(self._hashes[number])):
            before, following = self._before[band][number], self._next[band][number]
            if before >= 0:
                self._next[band][before] = following
            else:
                self._first[band][bits] = following
            if following >= 0:
                self._before[band][following] = before


def _bands(value: int) -> list[int]:
    return [value >> BAND_BITS * band & (1 << BAND_BITS) - 1 for band in range(BANDS)]
