"""Groups of images with similar perceptual hashes, in time and memory that grow with the images and not their pairs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

# Bits of 64 in which the perceptual hashes of near-duplicates may differ. Of the course's 17,034 images, pairs that
# differ in up to 6 bits show the same picture (recompressed, tinted, the next frame of a film); the first pairs of
# different pictures differ in 8.
NEAR_DUPLICATE_BITS = 6
# With 4 bands, hashes that differ in up to 7 bits differ in at most one bit of some band (the pigeonhole principle).
BANDS, BAND_BITS = 4, 16
FLIPS = (0, *(1 << bit for bit in range(BAND_BITS)))

Table = dict[int, set[int]]  # 16 bits of a hash -> the hashes that have them


def near_duplicate_groups(hashes: Sequence[int]) -> list[list[int]]:
    """Positions of images that are linked by near-duplicates: chains of hashes of which neighbours are close.

    Two hashes are close if they differ in at most `NEAR_DUPLICATE_BITS` bits. Each group is complete, like the
    connected components of the graph of all pairs, but a hash is compared only with those that no group holds yet and
    that share a band with it but for one bit: 1 in 1,000 of distinct images. Many images alike cost no more, since each
    leaves the tables when its group is found. The worst case, hashes that agree in one band and in nothing else, still
    compares all pairs.

    Args:
        hashes: the 64-bit hash of each image.

    Returns:
        The groups of two images or more, in the order of their first images; positions are in increasing order.

    Examples:
        >>> near_duplicate_groups([0b0, 2**40 - 1, 0b111111, 2**40 - 1, 0b111111111111])
        [[0, 2, 4], [1, 3]]
    """
    positions: dict[int, list[int]] = defaultdict(list)
    for position, value in enumerate(hashes):
        positions[value].append(position)
    tables = _tables(positions)
    groups = []
    for first in positions:
        if first in tables[0][_bands(first)[0]]:
            _remove(first, tables)
            chain = [first]
            for value in chain:  # which grows meanwhile
                chain += _take_close(value, tables)
            groups.append(sorted(position for value in chain for position in positions[value]))
    return [group for group in groups if len(group) > 1]


def _take_close(value: int, tables: Sequence[Table]) -> list[int]:
    """The hashes in the tables that are close to this one, which leave the tables."""
    taken = []
    for table, band in zip(tables, _bands(value), strict=True):
        for flip in FLIPS:
            bucket = table.get(band ^ flip)
            if bucket:
                close = [other for other in bucket if (other ^ value).bit_count() <= NEAR_DUPLICATE_BITS]
                for other in close:
                    _remove(other, tables)
                taken += close
    return taken


def _remove(value: int, tables: Sequence[Table]) -> None:
    for table, band in zip(tables, _bands(value), strict=True):
        table[band].remove(value)


def _tables(hashes: Iterable[int]) -> list[Table]:
    tables: list[Table] = [defaultdict(set) for _ in range(BANDS)]
    for value in hashes:
        for table, band in zip(tables, _bands(value), strict=True):
            table[band].add(value)
    return tables


def _bands(value: int) -> list[int]:
    return [value >> BAND_BITS * band & (1 << BAND_BITS) - 1 for band in range(BANDS)]
