"""Near-duplicates: hashes of eight orientations, groups as by comparing all pairs, and crops with their size."""

import io
import itertools
from collections.abc import Callable

import imagehash
import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from in4310repro.data import near_duplicates as module, scenes
from in4310repro.data.near_duplicates import (
    ENOUGH,
    INVERSE,
    ORIENTATION_NAMES,
    ORIENTATIONS,
    SIDE,
    details,
    near_duplicate_groups,
    part_of,
    perceptual_hashes,
    turn_image,
    turned_pairs,
)


def differing_bits_by_text(first: int, second: int) -> int:
    return sum(a != b for a, b in zip(f"{first:064b}", f"{second:064b}", strict=True))


def groups_by_all_pairs(hashes: list[int], bits: int) -> list[list[int]]:
    """Return groups of indices of hashes that are linked by pairs differing in at most `bits` bits."""
    label = list(range(len(hashes)))
    for i in range(len(hashes)):
        for j in range(i):
            if differing_bits_by_text(hashes[i], hashes[j]) <= bits:
                label = [label[j] if value == label[i] else value for value in label]
    groups: dict[int, list[int]] = {}
    for position, value in enumerate(label):
        groups.setdefault(value, []).append(position)
    return sorted(group for group in groups.values() if len(group) > 1)


def random_hashes(count: int, seed: int) -> list[int]:
    return [int(value) for value in np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)]


def flipped(value: int, count: int, generator: np.random.Generator) -> int:
    """Return the hash with `count` random bits flipped."""
    for bit in generator.choice(64, count, replace=False):
        value ^= 1 << int(bit)
    return value


@pytest.mark.parametrize("seed", range(7))
def test_groups_link_images_whose_hashes_differ_in_few_bits(seed: int) -> None:
    generator, hashes = np.random.default_rng(seed), random_hashes(20, seed)
    for count in range(module.NEAR_DUPLICATE_BITS + 3):
        hashes.append(flipped(hashes[count], count, generator))
    # A chain, whose ends are far from each other.
    hashes.append(flipped(hashes[19], 5, generator))
    hashes.append(flipped(hashes[-1], 5, generator))
    oracle = groups_by_all_pairs(hashes, module.NEAR_DUPLICATE_BITS)
    assert near_duplicate_groups(hashes) == oracle
    assert len(oracle) == module.NEAR_DUPLICATE_BITS + 2
    # Another threshold gives other groups.
    assert groups_by_all_pairs(hashes, module.NEAR_DUPLICATE_BITS + 1) != oracle


def comparisons(hashes: list[int], monkeypatch: pytest.MonkeyPatch) -> int:
    """Return the number of pairs of hashes that a search for groups compares."""
    compare, compared = module._differing_bits, list[int]()

    def count(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.uint64]:
        compared.append(len(one))
        return compare(one, other)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_differing_bits", count)
        near_duplicate_groups(hashes)
    return sum(compared)


def alike(count: int) -> list[int]:
    """Return hashes that differ from each other in at most 6 bits."""
    generator = np.random.default_rng(0)
    return [flipped(0, 3, generator) for _ in range(count)]


@pytest.mark.parametrize("hashes", [alike, lambda count: [7] * count, lambda count: random_hashes(count, 0)])
def test_comparisons_grow_with_the_images_and_not_with_their_pairs(
    hashes: Callable[[int], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert comparisons(hashes(500), monkeypatch) <= 8 * 500
    assert comparisons(hashes(5000), monkeypatch) <= 8 * 5000


def distances_by_products(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return the number of differing bits of all pairs: n bits as 1 or -1 have the product n - 2 x the differing."""
    first, second = (np.unpackbits(each.view(np.uint8).reshape(-1, 8), axis=1) * 2.0 - 1 for each in (one, other))
    return (64 - first @ second.T) / 2


def differences(seed: int) -> list[int]:
    """Return differences of up to 9 bits, and of one bit in each of 6 bytes, for all choices of these."""
    generator = np.random.default_rng(seed)
    found = [flipped(0, bits, generator) for bits in range(10) for _ in range(2)]
    choices = itertools.combinations(range(8), module.NEAR_DUPLICATE_BITS)
    return found + [sum(1 << 8 * byte + int(generator.integers(8)) for byte in chosen) for chosen in choices]


@pytest.mark.parametrize("seed", range(4))
def test_turned_pairs_are_those_of_all_pairs(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = [random_hashes(8, 100 * seed + number) for number in range(30)]
    for first, orientation, bits in ((3, 1, 0), (4, 5, 6), (5, 6, 7), (9, 7, 2)):
        rows[first + 10][0] = flipped(rows[first][orientation], bits, generator)
    rows[20][6] = flipped(rows[2][0], 1, generator)
    rows[0][1] = rows[0][0]  # a symmetric picture, which is no pair with itself
    close = {
        (first, second): (distance, orientation)
        for first in range(30)
        for second in range(first + 1, 30)
        for distance, orientation in [
            min(
                [(differing_bits_by_text(rows[first][o], rows[second][0]), o) for o in range(1, 8)]
                + [(differing_bits_by_text(rows[second][o], rows[first][0]), INVERSE[o]) for o in range(1, 8)]
            )
        ]
        if distance <= module.NEAR_DUPLICATE_BITS
    }
    assert close.keys() == {(3, 13), (4, 14), (9, 19), (2, 20)}
    assert turned_pairs(rows) == [(*pair, orientation) for pair, (_, orientation) in sorted(close.items())]
    assert (2, 20, 5) in turned_pairs(rows)


def groups_by_products(hashes: list[int]) -> list[list[int]]:
    values = np.array(hashes, np.uint64)
    linked = csr_array(distances_by_products(values, values) <= module.NEAR_DUPLICATE_BITS)
    _, labels = connected_components(linked)
    groups = [np.flatnonzero(labels == number).tolist() for number in np.flatnonzero(np.bincount(labels) > 1)]
    return sorted(groups)


def turned_by_products(rows: NDArray[np.uint64]) -> list[tuple[int, int, int]]:
    close: dict[tuple[int, int], list[tuple[float, int]]] = {}
    for orientation in range(1, 8):
        distances = distances_by_products(rows[:, orientation].copy(), rows[:, 0].copy())
        for turned, other in np.argwhere(distances <= module.NEAR_DUPLICATE_BITS).tolist():
            turn = orientation if turned < other else INVERSE[orientation]
            if turned != other:
                pair = min(turned, other), max(turned, other)
                close.setdefault(pair, []).append((float(distances[turned, other]), turn))
    return [(*pair, min(turns)[1]) for pair, turns in sorted(close.items())]


@pytest.mark.parametrize("bits", [5, 8])
def test_groups_of_many_hashes_that_differ_in_few_bits_are_those_of_all_pairs(bits: int) -> None:
    generator = np.random.default_rng(bits)
    hashes = [flipped(0, bits, generator) for _ in range(1500)]
    groups = groups_by_products(hashes)
    assert near_duplicate_groups(hashes) == groups
    assert (len(groups) > 1) == (bits == 8)


def test_all_pairs_among_5000_hashes_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    # Many blocks, of which some begin or end between the pairs of one hash.
    monkeypatch.setattr(module, "AT_ONCE", 1000)
    rows = np.random.default_rng(1).integers(0, 2**64, (5000, 8), dtype=np.uint64)
    turned = rows.copy()
    planted = differences(1)
    for place, difference in enumerate(planted):
        rows[2500 + 30 * place, 0] = rows[30 * place, 0] ^ np.uint64(difference)
        turned[2500 + 30 * place, 0] = turned[30 * place, place % 7 + 1] ^ np.uint64(difference)
    groups, pairs = groups_by_products(rows[:, 0].tolist()), turned_by_products(turned)
    assert near_duplicate_groups(rows[:, 0].tolist()) == groups
    assert turned_pairs(turned.tolist()) == pairs
    near = sum(each.bit_count() <= module.NEAR_DUPLICATE_BITS for each in planted)
    assert len(groups) == len(pairs) == near < len(planted)
    # Without one of the pairs of bytes a search misses a pair.
    for left_out in module.BYTE_PAIRS[::9]:
        others = tuple(pair for pair in itertools.combinations(range(8), 2) if pair != left_out)
        monkeypatch.setattr(module, "BYTE_PAIRS", others)
        assert len(near_duplicate_groups(rows[:, 0].tolist())) == len(turned_pairs(turned.tolist())) == near - 1


@pytest.mark.parametrize("name", scenes.CLASSES)
def test_hashes_are_those_of_the_turned_images(name: str) -> None:
    image = Image.fromarray(scenes.draw(name, 0, 96, 0)).resize((96, 80))
    found = perceptual_hashes(image)
    distances = [
        (value ^ int(str(imagehash.phash(turn_image(image, orientation))), 16)).bit_count()
        for orientation, value in enumerate(found)
    ]
    # Resized first across and then down, or the other way round: pixels differ by one.
    assert max(distances) <= 2
    assert distances[0] == 0
    assert len(set(found)) == len(ORIENTATION_NAMES) == len(ORIENTATIONS) == 8


def test_the_hash_of_any_image_is_that_of_imagehash() -> None:
    generator = np.random.default_rng(0)
    images = [Image.fromarray(generator.integers(0, 256, (40, 36, 3), dtype=np.uint8)) for _ in range(20)]
    assert [perceptual_hashes(image)[0] for image in images] == [int(str(imagehash.phash(each)), 16) for each in images]


def test_the_inverse_turns_back() -> None:
    image = Image.fromarray(scenes.draw("sea", 0, 32, 0))
    for orientation in range(8):
        back = turn_image(turn_image(image, orientation), INVERSE[orientation])
        assert np.array_equal(np.asarray(back), np.asarray(image))


def test_a_grey_surface_has_hashes() -> None:
    assert len(perceptual_hashes(Image.new("RGB", (50, 40), "grey"))) == 8


def scene(name: str, number: int = 0) -> Image.Image:
    return Image.fromarray(scenes.draw(name, number, 128, 0))


def compressed(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


@pytest.mark.parametrize("name", scenes.CLASSES)
@pytest.mark.parametrize("side", [84, 110, 128])
def test_a_compressed_crop_is_a_part_of_its_size(name: str, side: int) -> None:
    whole = scene(name)
    left, top = 128 - side, (128 - side) // 2
    part = whole.crop((left, top, left + side, top + side)).resize((128, 128), Image.Resampling.BICUBIC)
    part = compressed(part.point(lambda value: value * 0.7), 60)
    correlation, found = part_of(details(whole), details(part))
    assert ENOUGH < correlation <= 1.0001
    assert abs(found - side / 128) < 0.03
    if side == 84:
        assert part_of(details(part), details(whole))[0] < correlation


def test_other_pictures_are_no_parts() -> None:
    pictures = [details(scene(name, number)) for name in scenes.CLASSES for number in range(2)]
    best = max(part_of(one, other)[0] for one in pictures for other in pictures if one is not other)
    assert best < ENOUGH - 0.05


def test_a_picture_of_nothing_is_no_part_of_anything() -> None:
    nothing = details(Image.new("RGB", (64, 64), "grey"))
    assert part_of(details(scene("sea")), nothing)[0] == 0
    assert part_of(nothing, details(scene("sea")))[0] < ENOUGH
    assert part_of(nothing, nothing)[0] == 0


def test_details_are_in_deviations_however_bright_the_picture_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 100, (96, 96), dtype=np.uint8)
    dark, bright = (
        scipy.fft.irfft2(details(Image.fromarray(pixels + light)).spectrum, s=(SIDE, SIDE))
        for light in (np.uint8(0), np.uint8(150))
    )
    np.testing.assert_allclose(dark, bright, atol=1e-5)
    reduced = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float64)
    mean, square = (scipy.ndimage.uniform_filter(each, 7, mode="nearest") for each in (reduced, reduced**2))
    # Three levels of grey, added to the deviation, make no detail.
    np.testing.assert_allclose(dark, (reduced - mean) / np.sqrt(square - mean**2 + 3**2), atol=1e-4)
