"""Search for near-duplicate images, also turned ones, by perceptual hashes, and for cropped copies."""

import itertools
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import scipy.fft
import scipy.fftpack
from jaxtyping import Complex64, Float32, Float64, Int64, Shaped, UInt16, UInt64
from numpy.typing import NDArray
from PIL import Image

from in4310repro.data.splits import members

HASHED_SIDE, KEPT = 32, 8  # of the grey image that is transformed, and of the lowest frequencies that are kept
Turn = Image.Transpose
# Transformations of an image into each of its orientations, the first unchanged, with descriptions for a person.
DESCRIPTIONS = {
    None: "as it is",
    Turn.FLIP_LEFT_RIGHT: "mirrored",
    Turn.FLIP_TOP_BOTTOM: "mirrored upside down",
    Turn.ROTATE_180: "turned by 180 degrees",
    Turn.TRANSPOSE: "mirrored along a diagonal",
    Turn.ROTATE_270: "turned right",
    Turn.ROTATE_90: "turned left",
    Turn.TRANSVERSE: "mirrored along the other diagonal",
}
ORIENTATIONS, ORIENTATION_NAMES = tuple(DESCRIPTIONS), tuple(DESCRIPTIONS.values())
# Inverse transformation of each orientation.
INVERSE = (0, 1, 2, 3, 4, 6, 5, 7)


def turn_image(image: Image.Image, orientation: int) -> Image.Image:
    """Return the image turned or mirrored by the transformation with index `orientation` in `ORIENTATIONS`."""
    method = ORIENTATIONS[orientation]
    return image if method is None else image.transpose(method)


def perceptual_hashes(image: Image.Image) -> Sequence[int]:
    """Return an image's 64-bit perceptual hash in each of `ORIENTATIONS`, as `imagehash.phash` computes it.

    Each bit belongs to one of the lowest frequencies in the cosine transform of the grey image. It is 1 if the
    coefficient of this frequency is above the median of these coefficients. One transform is enough for all
    orientations: mirroring the image changes the sign of the odd frequencies, and mirroring it along a diagonal
    transposes the transform.
    """
    grey = np.asarray(image.convert("L").resize((HASHED_SIDE, HASHED_SIDE), Image.Resampling.LANCZOS))
    lowest = scipy.fftpack.dct(scipy.fftpack.dct(grey, axis=0), axis=1)[:KEPT, :KEPT]
    # A cosine of odd frequency changes sign when reversed.
    signs = (1.0, np.where(np.arange(KEPT) % 2, -1.0, 1.0))
    turned = (
        each * np.reshape(down, (-1, 1)) * right for each in (lowest, lowest.T) for down in signs for right in signs
    )
    # A bit is 1 if the coefficient of its frequency is above the median; the first row has the most significant bits.
    # An array, since a folder has many images: a tuple of eight integers has three times the bytes.
    return array("Q", (int.from_bytes(np.packbits(each > np.median(each))) for each in turned))


# Bits of 64 in which the perceptual hashes of near-duplicates may differ. Of the course's 17,034 images, pairs that
# differ in up to 6 bits show the same picture (recompressed, tinted, the next frame of a film); the first pairs of
# different pictures differ in 8.
NEAR_DUPLICATE_BITS = 6
# Of the eight bytes of two hashes that differ in so few bits, at least two are equal (the pigeonhole principle).
BYTE_PAIRS = tuple(itertools.combinations(range(8), 8 - NEAR_DUPLICATE_BITS))
KEYS = 1 << 16  # values of two bytes
AT_ONCE = 1 << 16  # pairs that are compared at a time, so that they stay in a processor's cache
Hashes = UInt64[np.ndarray, " hash"]
Places = Int64[np.ndarray, " place"]
Pairs = Int64[np.ndarray, " pair"]


def near_duplicate_groups(hashes: Sequence[int]) -> list[list[int]]:
    """Return groups of indices of near-duplicate images; a chain of similar images is one group.

    Two hashes are close if they differ in at most `NEAR_DUPLICATE_BITS` bits. The groups are the connected
    components of the graph of all close pairs.

    Two hashes are compared only if two of their eight bytes are equal, which about 1 in 2,300 pairs of unrelated
    images have, and only if they have different groups by then. So many near-duplicates take little more time: at
    first each hash is compared with a single one that has two equal bytes, which links most of them. In the worst
    case, in which all hashes have two equal bytes but are not close, all pairs are compared.

    Args:
        hashes: the 64-bit hash of each image.

    Returns:
        The groups of two images or more, in the order of their first images. The indices in a group are
        in increasing order.

    Examples:
        >>> near_duplicate_groups([0b0, 2**40 - 1, 0b111111, 2**40 - 1, 0b111111111111])
        [[0, 2, 4], [1, 3]]
    """
    distinct = list(dict.fromkeys(hashes))
    values, group = np.array(distinct, np.uint64), np.arange(len(distinct))
    for partners, pair in itertools.product((1, len(values)), BYTE_PAIRS):
        keys = _two_bytes(values, pair)
        # Hashes of a group are adjacent, so that each is compared with those behind its group.
        order = np.lexsort((group, keys))
        keys, groups = keys[order], group[order]
        first, last = _ends(keys.astype(np.int64) * len(values) + groups), _ends(keys)
        for place, behind in _blocks(first, np.minimum(last, first + partners)):
            one, other = order[place], order[behind]
            close = _differing_bits(values[one], values[other]) <= NEAR_DUPLICATE_BITS
            if close.any():
                group = _join(group, one[close], other[close])
    group_of = dict(zip(distinct, group.tolist(), strict=True))
    return members([group_of[value] for value in hashes])


def turned_pairs(hashes: Sequence[Sequence[int]]) -> list[tuple[int, int, int]]:
    """Return the pairs of images that are similar after one image of the pair is turned or mirrored.

    Hashes are compared only if two of their eight bytes are equal (see `near_duplicate_groups`).

    Args:
        hashes: for each image, its hash in each of `ORIENTATIONS`. No two images may have close hashes in their
            first orientation (see `near_duplicate_groups`).

    Returns:
        A sorted list with one tuple (first, second, orientation) for each pair: the positions of both images in
        increasing order, and the orientation in which the first image is closest to the second one.
    """
    values = np.fromiter(itertools.chain.from_iterable(hashes), np.uint64)
    upright, *turned = np.ascontiguousarray(values.reshape(-1, len(ORIENTATIONS)).T)
    best: dict[tuple[int, int], tuple[int, int]] = {}
    for pair in BYTE_PAIRS:
        keys = _two_bytes(upright, pair)
        order, counts = np.argsort(keys, kind="stable"), np.bincount(keys, minlength=KEYS)
        ordered, ends = upright[order], counts.cumsum()
        for orientation, values in enumerate(turned, start=1):
            keys = _two_bytes(values, pair)
            for which, place in _blocks((ends - counts)[keys], ends[keys]):
                bits = _differing_bits(values[which], ordered[place])
                close = np.flatnonzero(bits <= NEAR_DUPLICATE_BITS)
                found = which[close], order[place[close]], bits[close]
                for first, second, differing in zip(*(each.tolist() for each in found), strict=True):
                    images = min(first, second), max(first, second)
                    turn = differing, orientation if first < second else INVERSE[orientation]
                    if first != second:
                        best[images] = min(best.get(images, turn), turn)
    return [(*images, orientation) for images, (_, orientation) in sorted(best.items())]


def _two_bytes(values: Hashes, pair: Sequence[int]) -> UInt16[np.ndarray, " hash"]:
    """Return two of each hash's eight bytes as one number below `KEYS`."""
    of_bytes = values.view(np.uint8).reshape(-1, 8)
    numbers: UInt16[np.ndarray, " hash"] = np.ascontiguousarray(of_bytes[:, pair]).view(np.uint16).ravel()
    return numbers


def _ends(ordered: Shaped[np.ndarray, " place"]) -> Places:
    """Return for each number the place behind the last one that equals it; equal numbers are adjacent."""
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1, len(ordered))
    return np.repeat(ends, np.diff(ends, prepend=0)).astype(np.int64)


def _blocks(first: Places, last: Places) -> Iterator[tuple[Pairs, Pairs]]:
    """Yield all pairs of an index and a place from `first` to before `last` of this index, in arrays of few pairs."""
    which = np.flatnonzero(first < last)
    counts = (last - first)[which]
    behind = counts.cumsum()
    before, pairs = behind - counts, int(counts.sum())
    moved = first[which] - before
    for start in range(0, pairs, AT_ONCE):
        end = min(start + AT_ONCE, pairs)
        # The first and the last index of a block may have more pairs in other blocks.
        rows = np.arange(np.searchsorted(behind, start, side="right"), np.searchsorted(before, end))
        counted = np.minimum(behind[rows], end) - np.maximum(before[rows], start)
        yield np.repeat(which[rows], counted), np.repeat(moved[rows], counted) + np.arange(start, end)


def _differing_bits(one: Hashes, other: Hashes) -> Hashes:
    """Return the number of bits in which each pair of hashes differs: sums in fields of 2, 4 and 8 bits, then of all.

    From H. S. Warren, Hacker's Delight, 5-1. NumPy counts bits from version 2 on.
    """
    bits: Hashes = one ^ other
    bits -= bits >> 1 & 0x5555555555555555
    bits = (bits & 0x3333333333333333) + (bits >> 2 & 0x3333333333333333)
    bits = bits + (bits >> 4) & 0x0F0F0F0F0F0F0F0F
    bits *= 0x0101010101010101
    return bits >> 56


def _join(group: Places, one: Pairs, other: Pairs) -> Places:
    """Return new group numbers of all hashes, where the groups of each given pair of hashes are one."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(one), bool), (group[one], group[other])), shape=(len(group), len(group)))
    joined: Places = connected_components(links, directed=False)[1].astype(np.int64)[group]
    return joined


SIDE = 48  # of the picture that a part is looked for in, pixels
SIDES = range(28, SIDE + 1)  # of the part in it
WINDOW = 7  # side of the square that a pixel is compared with, pixels
BORDER = WINDOW // 2
NOISE = 3.0  # levels of grey that make no detail
LEAST = 0.5  # length of details below which a picture shows nothing
# Correlation from which a picture counts as a part. Chosen on the course's images, of which nearly all pairs above it
# show the same scene; crops of 60 to 97 % of the side as JPEG of quality 70 had 0.82 and more, and of 2,450 random
# pairs none had more than 0.63.
ENOUGH = 0.75


class Details(NamedTuple):
    """Details of a picture: each pixel minus the mean around it, so that differences in lighting have no effect."""

    spectrum: Complex64[np.ndarray, "row frequency"]  # of the whole picture
    contrast: Float32[np.ndarray, "side top left"]  # at least LEAST, of each square in it; infinite beyond its border
    parts: Complex64[np.ndarray, "side row frequency"]  # spectra of the picture as a part of each size, conjugate


def details(image: Image.Image) -> Details:
    """Return the locally normalised grey values of a picture as `Details`, prepared for fast comparison."""
    # Reduced once, since a picture may have many pixels; every size is derived from this.
    grey = image.convert("L").resize((2 * SIDE, 2 * SIDE), Image.Resampling.BILINEAR)
    found, parts = _details(grey), np.zeros((len(SIDES), SIDE, SIDE), np.float32)
    contrast = np.full((len(SIDES), SIDE, SIDE), np.inf, np.float32)
    sums, squares = (_integral(found[-1].astype(np.float64) ** power) for power in (1, 2))
    for place, side in enumerate(SIDES):
        part = found[place, :side, :side] - found[place, :side, :side].mean()
        if (length := float(np.linalg.norm(part))) >= LEAST:
            parts[place, :side, :side] = part / length
        # Norms of the details in each square of this side, from which its mean is subtracted.
        lengths = np.maximum(_sums(squares, side) - _sums(sums, side) ** 2 / side**2, LEAST**2)
        contrast[place, : len(lengths), : len(lengths)] = np.sqrt(lengths)
    return Details(scipy.fft.rfft2(found[-1]), contrast, np.conj(scipy.fft.rfft2(parts)))


def part_of(whole: Details, part: Details) -> tuple[float, float]:
    """Find the square part of the picture `whole` that is most similar to the picture `part`.

    Returns:
        The correlation of the details, at most 1, and the side of the square divided by the side of `whole`.
    """
    correlations = scipy.fft.irfft2(whole.spectrum * part.parts, s=(SIDE, SIDE)) / whole.contrast
    best = int(correlations.argmax())
    return float(correlations.flat[best]), SIDES[best // SIDE**2] / SIDE


def _details(grey: Image.Image) -> Float32[np.ndarray, "side row column"]:
    """Return (pixel - local mean) / local standard deviation of a picture that is resized to each of `SIDES`.

    A smaller size fills only the first rows and columns of its array; the remaining values have no meaning.
    """
    around = np.zeros((len(SIDES), SIDE + 2 * BORDER, SIDE + 2 * BORDER))
    for place, side in enumerate(SIDES):
        pixels = np.asarray(grey.resize((side, side), Image.Resampling.BILINEAR), np.float64)
        # The border repeats the outermost pixels.
        edges = np.arange(-BORDER, side + BORDER).clip(0, side - 1)
        around[place, : len(edges), : len(edges)] = pixels[np.ix_(edges, edges)]
    means = _sums(_integral(around), WINDOW) / WINDOW**2
    variances = np.maximum(_sums(_integral(around**2), WINDOW) / WINDOW**2 - means**2, 0)
    middle = around[:, BORDER:-BORDER, BORDER:-BORDER]
    return ((middle - means) / np.sqrt(variances + NOISE**2)).astype(np.float32)


def _integral(values: Float64[np.ndarray, "*picture row column"]) -> Float64[np.ndarray, "*picture corner_y corner_x"]:
    """Return the integral image: at each pixel corner, the sum of all pixels above and left of it."""
    return np.pad(values, [(0, 0)] * (values.ndim - 2) + [(1, 0)] * 2).cumsum(axis=-2).cumsum(axis=-1)


def _sums(
    integral: Float64[np.ndarray, "*picture corner_y corner_x"], side: int
) -> Float64[np.ndarray, "*picture top left"]:
    """Return the sum over each square with this side, indexed by the square's upper left corner."""
    lower, upper = integral[..., side:, :], integral[..., :-side, :]
    sums: NDArray[np.float64] = lower[..., side:] - lower[..., :-side] - upper[..., side:] + upper[..., :-side]
    return sums
