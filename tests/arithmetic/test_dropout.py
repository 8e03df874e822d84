"""Dropout has torch's semantics, and masks that depend on seed, step, layer, image and element alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from in4310repro.arithmetic import library, portable, shares
from in4310repro.arithmetic.dropout import dropout
from tests.arithmetic.formulas import assert_same_bits_everywhere, equal_bits

Words = NDArray[np.uint64]
LOW, FULL = np.uint64(2**32 - 1), 2**32 - 1
# Lines "philox4x32 10" of kat_vectors in the Random123 distribution: counter, key and words.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
KEY, IDENTITIES = 0x0123456789ABCDEF, torch.tensor([5, -1, 2**62 + 3, 0])


def philox(counter: Sequence[Words], key: int, rounds: int = 10) -> list[Words]:
    """Return four words for each counter of four, as the paper's Figure 3 and Table 2 define them."""
    words, keys = [*counter], [key & FULL, key >> 32]
    for _ in range(rounds):
        first, third = words[0] * np.uint64(0xD2511F53), words[2] * np.uint64(0xCD9E8D57)
        words = [
            (third >> np.uint64(32)) ^ words[1] ^ np.uint64(keys[0]),
            third & LOW,
            (first >> np.uint64(32)) ^ words[3] ^ np.uint64(keys[1]),
            first & LOW,
        ]
        keys = [(keys[0] + 0x9E3779B9) & FULL, (keys[1] + 0xBB67AE85) & FULL]
    return words


def words_of(elements: int, identity: int, key: int) -> Words:
    """Return the word of each element of an image."""
    blocks, image = np.arange(-(-elements // 4), dtype=np.uint64), np.uint64(identity % 2**64)
    ones = np.ones_like(blocks)
    counter = blocks & LOW, blocks >> np.uint64(32), (image & LOW) * ones, (image >> np.uint64(32)) * ones
    return np.stack(philox(counter, key), axis=1).ravel()[:elements]


def numbers(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize("known", KNOWN_ANSWERS, ids=["zeros", "ones", "pi"])
def test_the_reference_draws_the_words_of_random123_and_with_fewer_rounds_does_not(known: tuple[str, str, str]) -> None:
    counter, (low, high), words = map(numbers, known)
    given = [np.array([word], np.uint64) for word in counter]
    assert [int(word[0]) for word in philox(given, high << 32 | low)] == words
    assert [int(word[0]) for word in philox(given, high << 32 | low, rounds=9)] != words


def computed(values: Tensor, identities: Tensor, key: int, limit: int, scale: float = 2.0) -> Tensor:
    """Return the kernel's result for values [image, row, channel]."""
    result = torch.empty(values.shape)
    return library.call("dropout", *values.shape, identities, key, limit, scale, values, result)


def test_the_kernel_draws_the_words_of_random123() -> None:
    ones, limits = torch.ones(1, 1, 4), [0] * 4
    # The word is the largest limit for which the element stays: its bits, from the highest.
    for bit in reversed(range(32)):
        for element in range(4):
            limit = limits[element] | 1 << bit
            if computed(ones, torch.tensor([0]), 0, limit)[0, 0, element] != 0:
                limits[element] = limit
    assert limits == numbers(KNOWN_ANSWERS[0][2])


@pytest.mark.parametrize(("rows", "channels"), [(1, 1), (1, 5), (3, 7), (1, 2500), (2, 1024), (5, 1030)])
def test_values_are_multiplied_by_the_factor_of_their_word_in_any_thread_and_instruction_set(
    rows: int, channels: int
) -> None:
    values = torch.randn(len(IDENTITIES), rows, channels, generator=torch.Generator().manual_seed(0))
    words = np.stack([words_of(channels, identity, KEY) for identity in IDENTITIES.tolist()])[:, None]
    for limit in (0, 1, 2**31, 2**32 - 1, 2**32):
        expected = values * torch.from_numpy(np.where(words < limit, 0, 1.25).astype(np.float32))
        assert equal_bits(computed(values, IDENTITIES, KEY, limit, 1.25), expected)
    assert_same_bits_everywhere(lambda: [computed(values, IDENTITIES, KEY, 2**31)])


def key_by_numpy(seed: int, calls: int = 1) -> int:
    """Return the key of the last of some calls after torch.manual_seed(seed), from NumPy's Mersenne Twister."""
    twister = np.random.RandomState(seed & FULL)
    for _ in range(calls):
        high, low = (int(twister.randint(2**32, dtype=np.uint64)) for _ in range(2))
    return seed ^ (high << 32 | low) % 2**63


@pytest.mark.parametrize("seed", [0, 7, 2**32 + 7, 2**63 - 5])
def test_the_key_is_of_torchs_seed_and_the_next_number_of_its_generator(seed: int) -> None:
    torch.manual_seed(seed)
    for call in (1, 2, 3):
        words = words_of(300, 0, key_by_numpy(seed, call))
        expected = np.where(words < 2**30, 0, 1 / 0.75).astype(np.float32)
        assert equal_bits(dropout(torch.ones(1, 300), 0.25), torch.from_numpy(expected)[None])


def masks(shape: Sequence[int], share: float = 0.5, seed: int = 0, layer: nn.Module | None = None) -> Tensor:
    torch.manual_seed(seed)
    return portable(layer or nn.Dropout(share)).train()(torch.ones(*shape))  # type: ignore[no-any-return]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.2, 0.5, 0.9, 1.0])
def test_values_are_scaled_as_torch_scales_them(share: float) -> None:
    torch.manual_seed(0)
    theirs = torch.unique(nn.Dropout(share)(torch.ones(4, 5000)))
    torch.testing.assert_close(torch.unique(masks((4, 5000), share)), theirs, rtol=2e-7, atol=0)


def test_evaluation_and_a_share_of_0_leave_the_input() -> None:
    values = torch.ones(3, 2)
    for kind in (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d):
        assert portable(kind(0.0)).train()(values) is values
        assert portable(kind(0.5)).eval()(values) is values


def test_what_is_not_finite_stays_so_as_in_torch() -> None:
    values = torch.tensor([[math.nan, math.inf, -math.inf, -1.0]]).repeat(1, 50)
    for share in (0.5, 1.0):
        ours = portable(nn.Dropout(share))(values)
        dropped = ours[:, 3::4] == 0
        assert ours[:, ::4].isnan().all()
        assert bool(dropped.all()) is (share == 1)
        assert torch.signbit(ours[:, 3::4]).all()
        assert not ours[:, 1::4].isfinite().any()


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (nn.Dropout1d, (6, 40, 7)),
        (nn.Dropout2d, (6, 40, 3, 5)),
        (nn.Dropout3d, (6, 40, 2, 3, 4)),
    ],
)
def test_whole_channels_are_dropped_and_each_by_the_word_of_its_number(
    kind: type[nn.Module], shape: tuple[int, ...]
) -> None:
    found = masks(shape, layer=kind(0.5))
    channels = found.flatten(2)
    assert torch.equal(channels, channels[:, :, :1].expand_as(channels))
    words = np.stack([words_of(40, image, key_by_numpy(0)) for image in range(6)])
    assert torch.equal(channels[:, :, 0] == 0, torch.from_numpy(words < 2**31))
    leaf = torch.ones(shape, requires_grad=True)
    torch.manual_seed(0)
    portable(kind(0.5))(leaf).sum().backward()
    assert leaf.grad is not None
    assert torch.equal(leaf.grad, found)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_elements_of_maps_are_numbered_by_row_column_and_channel_in_any_order_of_memory(
    order: torch.memory_format,
) -> None:
    torch.manual_seed(0)
    found = portable(nn.Dropout(0.5))(torch.ones(2, 3, 4, 5).contiguous(memory_format=order))
    words = np.stack([words_of(60, image, key_by_numpy(0)) for image in range(2)]).reshape(2, 4, 5, 3)
    assert torch.equal(found.permute(0, 2, 3, 1) == 0, torch.from_numpy(words < 2**31))


def test_in_place_the_input_is_what_is_returned_and_gradients_pass_as_otherwise() -> None:
    gradients = []
    for inplace in (False, True):
        torch.manual_seed(0)
        leaf = torch.randn(4, 30).requires_grad_()
        given = leaf * 3
        result = portable(nn.Dropout(0.5, inplace=inplace))(given)
        assert (result is given) is inplace
        result.square().sum().backward()
        gradients.append(leaf.grad)
    assert torch.equal(*gradients)  # type: ignore[arg-type]


def test_the_gradient_is_multiplied_by_the_mask() -> None:
    leaf, gradient = torch.randn(5, 70, requires_grad=True), torch.randn(5, 70)
    torch.manual_seed(0)
    result = dropout(leaf, 0.3)
    result.backward(gradient)  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    assert equal_bits(leaf.grad, gradient * masks((5, 70), 0.3))
    (of_square,) = torch.autograd.grad(dropout(leaf, 0.3).square().sum(), leaf, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivatives of Dropout"):
        of_square.sum().backward()  # type: ignore[no-untyped-call]


def of_batch(images: list[int], layer: nn.Module) -> Tensor:
    """Return the layer's result for images with these identities, of the step of seed 3."""
    torch.manual_seed(3)
    with shares.Whole(torch.tensor(images)):
        return layer(torch.ones(len(images), 8, 2, 2))  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout2d])
def test_an_image_has_its_mask_at_any_place_of_any_batch(kind: type[nn.Module]) -> None:
    layer = portable(kind(0.5))
    whole = dict(zip([9, 4, 7, -2], of_batch([9, 4, 7, -2], layer), strict=True))
    for batch in ([7, 9], [4], [-2, 7, 4, 9, 11]):
        found = dict(zip(batch, of_batch(batch, layer), strict=True))
        assert all(torch.equal(found[image], whole[image]) for image in whole.keys() & found.keys())
    # Without identities, places take their part.
    torch.manual_seed(3)
    assert torch.equal(layer(torch.ones(2, 8, 2, 2)), of_batch([0, 1], layer))


def test_processes_have_the_masks_of_their_places() -> None:
    connection = shares.Connection(1, 2, None, None)  # type: ignore[arg-type]
    whole = masks((20, 30))
    with shares.Share(20, connection) as share:
        found = masks((12, 30))
    assert torch.equal(found, whole[share.images.start :])
    refused = r"^8 images; there must be 12, the share of process 1 in a batch of 20$"
    with share, pytest.raises(ValueError, match=refused):
        masks((8, 30))


def test_a_part_that_is_computed_again_for_the_backward_pass_has_the_same_masks() -> None:
    layer, grads = nn.Sequential(portable(nn.Dropout(0.5)), portable(nn.Dropout(0.2))), []
    for part in (layer, lambda values: checkpoint(layer, values, use_reentrant=False)):
        torch.manual_seed(0)
        leaf = torch.ones(4, 50, requires_grad=True)
        part(leaf).square().sum().backward()  # type: ignore[no-untyped-call]
        grads.append(leaf.grad)
    assert torch.equal(*grads)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        (lambda: dropout(torch.ones(2, 3), -0.1), "dropout with p=-0.1; it must be in [0, 1]"),
        (lambda: dropout(torch.ones(2, 3), math.nan), "dropout with p=nan; it must be in [0, 1]"),
        (
            lambda: portable(nn.Dropout2d())(torch.ones(2, 3, 4)),
            "dropout of values of shape (2, 3, 4); they must have 4 axes",
        ),
        (lambda: dropout(torch.tensor(1.0), 0.5), "dropout of values of shape (); they must have 1 or more axes"),
        (
            lambda: dropout(torch.ones(2, dtype=torch.float64), 0.5),
            "values of dropout: torch.float64 of shape (2,) on cpu; it must be torch.float32 of shape (2,) on the CPU",
        ),
        (
            lambda: of_batch([1, 2], nn.Sequential(nn.Flatten(0, 1), portable(nn.Dropout()))),
            "dropout of values with 16 in the first axis; they must be of 2 images",
        ),
    ],
)
def test_what_dropout_cannot_do_is_refused(compute: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match="dropout") as raised:
        compute()
    assert str(raised.value) == message


def test_nothing_is_drawn_of_no_images() -> None:
    assert dropout(torch.ones(0, 3), 0.5).shape == (0, 3)
    assert dropout(torch.ones(0, 3, 2, 2), 0.5, axes=4).shape == (0, 3, 2, 2)


IMAGES, ELEMENTS = 64, 4096


def kept(seed: int, share: float = 0.5, first: int = 0, calls: int = 1) -> NDArray[np.bool_]:
    """Return which elements are kept [image, element] in the last of some calls of a step."""
    torch.manual_seed(seed)
    with shares.Whole(torch.arange(first, first + IMAGES)):
        found = [dropout(torch.ones(IMAGES, ELEMENTS), share) for _ in range(calls)]
    return (found[-1] != 0).numpy()


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.97])
def test_the_share_that_is_dropped_is_that_asked_for_in_each_image_and_at_each_place_of_four(share: float) -> None:
    dropped = 1 - kept(1, share)
    for sums, number in (
        (dropped.mean(), dropped.size),
        (dropped.mean(axis=1), ELEMENTS),
        (dropped.reshape(IMAGES, -1, 4).mean(axis=(0, 1)), dropped.size // 4),
    ):
        # Six standard deviations of a binomial share; the seeds are fixed.
        assert np.all(abs(sums - share) < 6 * math.sqrt(share * (1 - share) / number))


def correlation(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return the correlation of masks that keep half, times the root of their size: standard normal if independent."""
    return float((2.0 * first - 1).ravel() @ (2.0 * second - 1).ravel() / math.sqrt(first.size))


def test_neighbours_images_layers_steps_and_seeds_are_independent() -> None:
    mask = kept(1)
    others = {
        **{f"neighbour {step}": (mask[:, :-step], mask[:, step:]) for step in (1, 2, 3, 4, 5, 8, 64)},
        **{f"image {step}": (mask[:-step], mask[step:]) for step in (1, 2, 3, 8)},
        "other images": (mask, kept(1, first=1000)),
        "layer": (mask, kept(1, calls=2)),
        "second layer": (mask, kept(1, calls=3)),
        **{f"seed {seed}": (mask, kept(seed)) for seed in (0, 2, 3, 2**32 + 1, 2**33 + 1)},
    }
    far = {name: value for name, pair in others.items() if abs(value := correlation(*pair)) > 5}
    assert not far
    # Dependence is seen: the same mask, and one whose counter leaves out the image.
    assert correlation(mask, kept(1)) > 5
    assert correlation(mask[[0] * 32], mask[[0] * 32]) > 5
