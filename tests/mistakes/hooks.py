"""Mistakes 36 to 48, of hooks: fractions of values <= 0 in a network that misleads hooks.

A faulty version computes what the mistake computes, from the same network and images as ours. The check
compares both with copies of the maps.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from in4310repro.features import FeatureStatistics
from in4310repro.features.blocks import batches
from tests.features.conftest import Tangled, draw_tangled
from tests.features.copies import maps_by_copies
from tests.mistakes import drawn
from tests.mistakes.mistake import Mistake

NAMES = ["conv1", "relu", "bn2", "block.conv1", "late"]
Shares = dict[str, float]
Network = Tangled


@functools.cache
def images() -> Tensor:
    """Return 26 normalised test scenes of all classes."""
    places = np.linspace(0, len(drawn.our_parts()["test"].labels) - 1, 26).astype(int)
    return torch.from_numpy(drawn.our_parts()["test"].images[places]).float()


def loader(given: Tensor, size: int = 8) -> Iterator[Tensor]:
    """Yield the images in batches of `size`."""
    yield from torch.split(given, size)


@functools.cache
def shares_by_copies() -> Shares:
    """Return each module's fraction of values <= 0 over all images and calls."""
    shares = {}
    for name in NAMES:
        maps = torch.cat(maps_by_copies(draw_tangled(), name, list(loader(images())))).numpy()
        shares[name] = float((maps <= 0).sum() / maps.size)
    return shares


def check_shares(shares: Shares) -> None:
    """The fractions of values <= 0 equal those of copies of all maps, over every call and image."""
    assert shares == pytest.approx(shares_by_copies(), abs=1e-12)


def our_shares() -> Shares:
    network = draw_tangled()
    with FeatureStatistics(network, NAMES, samples=None) as statistics:
        for batch in batches(len(images()), 8):
            network(images()[batch.start : batch.stop])
    return {name: result.non_positive for name, result in statistics.result().items()}


def hooked(
    network: Network, source: Iterator[Tensor], of: Callable[[Tensor], Tensor], names: list[str] = NAMES
) -> dict[str, list[float]]:
    """Return a dict from module name to `of(output)` at each call, collected by forward hooks."""
    numbers: dict[str, list[float]] = {name: [] for name in names}
    handles = [
        network.get_submodule(name).register_forward_hook(
            lambda *call, name=name: numbers[name].append(float(of(call[2])))
        )
        for name in names
    ]
    network.eval()
    with torch.no_grad():
        for batch in source:
            network(batch)
    network.train()
    for handle in handles:
        handle.remove()
    return numbers


def share(maps: Tensor) -> Tensor:
    return (maps <= 0).double().mean()


def weighted(shares: dict[str, list[float]], sizes: list[int]) -> Shares:
    """Average the fractions of the batches, weighted by their numbers of images."""
    return {
        name: float(np.average(values, weights=np.repeat(sizes, len(values) // len(sizes))))
        for name, values in shares.items()
    }


def always_the_first_batch(network: Network, given: Tensor) -> Shares:
    return weighted(hooked(network, (next(iter(loader(given))) for _ in range(4)), share), [8, 8, 8, 2])


def images_up_to_a_whole_batch(network: Network, given: Tensor) -> Shares:
    padded = torch.cat([given, given[:6]])
    return weighted(hooked(network, loader(padded), share), [8, 8, 8, 8])


def unweighted_mean_over_batches(network: Network, given: Tensor) -> Shares:
    return {n: float(np.mean(v)) for n, v in hooked(network, loader(given), share).items()}


def divided_by_the_number_of_images_twice(network: Network, given: Tensor) -> Shares:
    return {n: s / 26 for n, s in weighted(hooked(network, loader(given), share), [8, 8, 8, 2]).items()}


def counted_by(other: Callable[[Tensor], Tensor]) -> Callable[[Network, Tensor], Shares]:
    def twin(network: Network, given: Tensor) -> Shares:
        return weighted(hooked(network, loader(given), lambda m: other(m).double().mean()), [8, 8, 8, 2])

    return twin


def five_modules_in_one(network: Network, given: Tensor) -> Shares:
    shares = weighted(hooked(network, loader(given), share), [8, 8, 8, 2])
    return dict.fromkeys(NAMES, float(np.mean(list(shares.values()))))


def the_last_call_only(network: Network, given: Tensor) -> Shares:
    shares = hooked(network, loader(given), share)
    return weighted(shares | {"relu": shares["relu"][1::2]}, [8, 8, 8, 2])


def maps_kept_without_a_copy(network: Network, given: Tensor) -> Shares:
    references: dict[str, list[Tensor]] = {name: [] for name in NAMES}
    handles = [
        network.get_submodule(n).register_forward_hook(lambda *call, n=n: references[n].append(call[2])) for n in NAMES
    ]
    network.eval()
    with torch.no_grad():
        for batch in loader(given):
            network(batch)
    for handle in handles:
        handle.remove()
    return {name: float(share(torch.cat(maps))) for name, maps in references.items()}


def names_by_attribute_order(network: Network, given: Tensor) -> Shares:
    order: list[float] = []
    names = [name for name, _ in network.named_modules() if name in NAMES]
    handles = [
        network.get_submodule(n).register_forward_hook(lambda *c: order.append(float(share(c[2])))) for n in names
    ]
    network.eval()
    with torch.no_grad():
        network(given)
    for handle in handles:
        handle.remove()
    return dict(zip(names, order, strict=False))


def train_mode(network: Network, given: Tensor) -> Shares:
    shares: dict[str, list[float]] = {name: [] for name in NAMES}
    handles = [
        network.get_submodule(n).register_forward_hook(lambda *c, n=n: shares[n].append(float(share(c[2]))))
        for n in NAMES
    ]
    network.train()
    with torch.no_grad():
        for batch in loader(given):
            network(batch)
    for handle in handles:
        handle.remove()
    return weighted(shares, [8, 8, 8, 2])


def names_by_substring(network: Network, given: Tensor) -> Shares:
    every = [name for name, _ in network.named_modules() if any(part in name for part in NAMES) and name]
    shares = weighted(hooked(network, loader(given), share, every), [8, 8, 8, 2])
    return {part: float(np.mean([s for name, s in shares.items() if part in name])) for part in NAMES}


def worst_share(ours: Shares, twin: Shares) -> str:
    name = max(ours, key=lambda name: abs(ours[name] - twin[name]))
    return drawn.from_to(f"share of {name} in percent", 100 * ours[name], 100 * twin[name], digits=1)


SHARE_TWINS: list[tuple[int, str, Callable[[Network, Tensor], Shares]]] = [
    (36, "next(iter(loader)) in a loop: the first batch again", always_the_first_batch),
    (37, "images up to a whole batch, as 208 for 200", images_up_to_a_whole_batch),
    (38, "unweighted mean of a ragged last batch", unweighted_mean_over_batches),
    (39, "divided by the number of images twice", divided_by_the_number_of_images_twice),
    (40, "> 0 instead of <= 0", counted_by(lambda maps: maps > 0)),
    (40, ">= 0 instead of <= 0", counted_by(lambda maps: maps >= 0)),
    (40, "< 0 instead of <= 0", counted_by(lambda maps: maps < 0)),
    (40, "== 0 instead of <= 0", counted_by(lambda maps: maps == 0)),
    (41, "five modules pooled into one number", five_modules_in_one),
    (42, "one call of a module that is called twice a pass", the_last_call_only),
    (43, "output kept without a copy and changed in place later", maps_kept_without_a_copy),
    (44, "call order assumed", names_by_attribute_order),
    (46, "train mode", train_mode),
    (48, "names matched by substring", names_by_substring),
]


def values_of_two_passes() -> tuple[int, int]:
    """Return the numbers of values that FeatureStatistics counts in two separate passes."""
    network, counted = draw_tangled(), []
    for _ in range(2):
        with FeatureStatistics(network, ["conv1"], samples=None) as statistics:
            network(images())
        counted.append(statistics.result()["conv1"].values)
    return counted[0], counted[1]


def hooks_left_behind() -> tuple[int, int]:
    network, numbers, counted = draw_tangled(), list[int](), []
    for _ in range(2):
        # No handle is removed.
        network.conv1.register_forward_hook(lambda *call: numbers.append(call[2].numel()))
        network(images())
        counted.append(sum(numbers))
        numbers.clear()
    return counted[0], counted[1]


def check_values(counted: tuple[int, int]) -> None:
    """Each pass counts each value once: images x channels x height x width."""
    assert counted == (26 * 12 * 14 * 14,) * 2


def times(ours: tuple[int, int], twin: tuple[int, int]) -> str:
    return f"values counted {max(twin) / max(ours):.0f} times"


def bare_hook() -> list[bool]:
    network, recorded = draw_tangled(), []
    network.conv1.register_forward_hook(lambda *call: recorded.append(call[2].requires_grad))
    network(images())
    return recorded


def beside_ours() -> list[bool]:
    network, recorded = draw_tangled(), []
    network.conv1.register_forward_hook(lambda *call: recorded.append(call[2].requires_grad))
    with FeatureStatistics(network, ["conv1"], samples=None):
        network(images())
    return recorded


def check_no_gradients(recorded: list[bool]) -> None:
    """No gradient is recorded while maps are measured."""
    assert recorded == [False]


MISTAKES = [
    *(
        Mistake(
            number=number,
            name=name,
            check=check_shares,
            ours=our_shares,
            twin=functools.partial(lambda twin: twin(draw_tangled(), images()), twin),
            size=worst_share,
        )
        for number, name, twin in SHARE_TWINS
    ),
    Mistake(
        number=45,
        name="hooks left behind and registered again",
        check=check_values,
        ours=values_of_two_passes,
        twin=hooks_left_behind,
        size=times,
    ),
    Mistake(number=47, name="gradients and all maps kept", check=check_no_gradients, ours=beside_ours, twin=bare_hook),
]
