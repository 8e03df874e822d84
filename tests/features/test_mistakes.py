"""The mistakes 36-58 seen in public solutions, each as a faulty twin: one check passes ours and fails the twin.

A twin computes what the mistake computes, from the same network and images. The check compares with an oracle on copies
of the maps, and is applied to our statistics and to the twin in the same test.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from in4310repro.features import FeatureStatistics
from in4310repro.features.distributed import batches
from in4310repro.features.spectra import spectrum
from tests.features.conftest import Tangled
from tests.features.copies import covariance_by_numpy, maps_by_copies

pytestmark = pytest.mark.usefixtures("either_way")
NAMES = ["conv1", "relu", "bn2", "block.conv1", "late"]
Shares = dict[str, float]
Network = Tangled


def loader(images: Tensor, size: int = 8) -> Iterator[Tensor]:
    """26 images in batches of 8, 8, 8 and 2."""
    yield from torch.split(images, size)


def shares_by_copies(network: Network, images: Tensor) -> Shares:
    """Share of values <= 0 of each module, over all images and calls."""
    shares = {}
    for name in NAMES:
        maps = torch.cat(maps_by_copies(network, name, list(loader(images)))).numpy()
        shares[name] = float((maps <= 0).sum() / maps.size)
    return shares


def check_shares(shares: Shares, network: Network, images: Tensor) -> None:
    assert shares == pytest.approx(shares_by_copies(network, images), abs=1e-12)


def our_shares(network: Network, images: Tensor) -> Shares:
    with FeatureStatistics(network, NAMES) as statistics:
        for batch in batches(len(images), 8):
            network(images[batch.start : batch.stop])
    return {name: result.non_positive for name, result in statistics.result().items()}


def test_ours_are_the_shares_of_the_copies(tangled: Network, images: Tensor) -> None:
    check_shares(our_shares(tangled, images), tangled, images)


def hooked(
    network: Network, source: Iterator[Tensor], of: Callable[[Tensor], Tensor], names: list[str] = NAMES
) -> dict[str, list[float]]:
    """One number per call of each module: what the twins build on."""
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
    """Mean over images of the shares of batches; calls of one batch are adjacent."""
    return {
        name: float(np.average(values, weights=np.repeat(sizes, len(values) // len(sizes))))
        for name, values in shares.items()
    }


def always_the_first_batch(network: Network, images: Tensor) -> Shares:
    return weighted(hooked(network, (next(iter(loader(images))) for _ in range(4)), share), [8, 8, 8, 2])


def images_up_to_a_whole_batch(network: Network, images: Tensor) -> Shares:
    padded = torch.cat([images, images[:6]])
    return weighted(hooked(network, loader(padded), share), [8, 8, 8, 8])


def unweighted_mean_over_batches(network: Network, images: Tensor) -> Shares:
    return {n: float(np.mean(v)) for n, v in hooked(network, loader(images), share).items()}


def divided_by_the_number_of_images_twice(network: Network, images: Tensor) -> Shares:
    return {n: s / 26 for n, s in weighted(hooked(network, loader(images), share), [8, 8, 8, 2]).items()}


def counted_by(other: Callable[[Tensor], Tensor]) -> Callable[[Network, Tensor], Shares]:
    def twin(network: Network, images: Tensor) -> Shares:
        return weighted(hooked(network, loader(images), lambda m: other(m).double().mean()), [8, 8, 8, 2])

    return twin


def five_modules_in_one(network: Network, images: Tensor) -> Shares:
    shares = weighted(hooked(network, loader(images), share), [8, 8, 8, 2])
    return dict.fromkeys(NAMES, float(np.mean(list(shares.values()))))


def the_last_call_only(network: Network, images: Tensor) -> Shares:
    shares = hooked(network, loader(images), share)
    return weighted(shares | {"relu": shares["relu"][1::2]}, [8, 8, 8, 2])


def maps_kept_without_a_copy(network: Network, images: Tensor) -> Shares:
    references: dict[str, list[Tensor]] = {name: [] for name in NAMES}
    handles = [
        network.get_submodule(n).register_forward_hook(lambda *call, n=n: references[n].append(call[2])) for n in NAMES
    ]
    network.eval()
    with torch.no_grad():
        for batch in loader(images):
            network(batch)
    for handle in handles:
        handle.remove()
    return {name: float(share(torch.cat(maps))) for name, maps in references.items()}


def names_by_attribute_order(network: Network, images: Tensor) -> Shares:
    order: list[float] = []
    names = [name for name, _ in network.named_modules() if name in NAMES]
    handles = [
        network.get_submodule(n).register_forward_hook(lambda *c: order.append(float(share(c[2])))) for n in names
    ]
    network.eval()
    with torch.no_grad():
        network(images)
    for handle in handles:
        handle.remove()
    return dict(zip(names, order, strict=False))


def train_mode(network: Network, images: Tensor) -> Shares:
    shares: dict[str, list[float]] = {name: [] for name in NAMES}
    handles = [
        network.get_submodule(n).register_forward_hook(lambda *c, n=n: shares[n].append(float(share(c[2]))))
        for n in NAMES
    ]
    network.train()
    with torch.no_grad():
        for batch in loader(images):
            network(batch)
    for handle in handles:
        handle.remove()
    return weighted(shares, [8, 8, 8, 2])


def names_by_substring(network: Network, images: Tensor) -> Shares:
    every = [name for name, _ in network.named_modules() if any(part in name for part in NAMES) and name]
    shares = weighted(hooked(network, loader(images), share, every), [8, 8, 8, 2])
    return {part: float(np.mean([s for name, s in shares.items() if part in name])) for part in NAMES}


SHARE_TWINS = {
    "36-first-batch-again": always_the_first_batch,
    "37-up-to-a-whole-batch": images_up_to_a_whole_batch,
    "38-unweighted-ragged-batch": unweighted_mean_over_batches,
    "39-divided-twice": divided_by_the_number_of_images_twice,
    "40-greater": counted_by(lambda maps: maps > 0),
    "40-greater-or-equal": counted_by(lambda maps: maps >= 0),
    "40-less": counted_by(lambda maps: maps < 0),
    "40-equal": counted_by(lambda maps: maps == 0),
    "41-five-in-one": five_modules_in_one,
    "42-one-call-of-two": the_last_call_only,
    "43-no-copy": maps_kept_without_a_copy,
    "44-order-assumed": names_by_attribute_order,
    "46-train-mode": train_mode,
    "48-substring": names_by_substring,
}


@pytest.mark.parametrize("twin", SHARE_TWINS.values(), ids=SHARE_TWINS)
def test_the_check_of_shares_passes_ours_and_fails_the_mistake(
    twin: Callable[[Network, Tensor], Shares], tangled: Network, images: Tensor
) -> None:
    check_shares(our_shares(tangled, images), tangled, images)
    with pytest.raises(AssertionError):
        check_shares(twin(tangled, images), tangled, images)


def test_45_hooks_left_behind_count_values_twice_and_ours_do_not(tangled: Network, images: Tensor) -> None:
    counted: list[int] = []
    for _ in range(2):
        tangled.conv1.register_forward_hook(lambda *call: counted.append(call[2].numel()))
    with FeatureStatistics(tangled, ["conv1"]) as first:
        tangled(images)
    with FeatureStatistics(tangled, ["conv1"]) as second:
        tangled(images)
    values = 26 * 12 * 12 * 12
    assert sum(counted[:2]) == 2 * values
    assert first.result()["conv1"].values == second.result()["conv1"].values == values


def test_47_gradients_are_recorded_by_a_bare_hook_and_not_by_ours(tangled: Network, images: Tensor) -> None:
    recorded: list[bool] = []
    tangled.conv1.register_forward_hook(lambda *call: recorded.append(call[2].requires_grad))
    tangled(images)
    with FeatureStatistics(tangled, ["conv1"]):
        tangled(images)
    assert recorded == [True, False]


Spectrum = NDArray[Any]


def spectrum_by_numpy(network: Network, images: Tensor) -> Spectrum:
    maps = torch.cat(maps_by_copies(network, "block.conv1", list(loader(images))))
    return np.linalg.eigvalsh(covariance_by_numpy(maps, "images"))[::-1][:8]


def means(network: Network, images: Tensor, mode: bool = False, name: str = "block.conv1") -> NDArray[Any]:
    copies: list[Tensor] = []
    handle = network.get_submodule(name).register_forward_hook(lambda *call: copies.append(call[2].clone()))
    network.train(mode)
    with torch.no_grad():
        for batch in loader(images):
            network(batch)
    handle.remove()
    return torch.cat(copies).double().mean(dim=(2, 3)).numpy()


def largest(matrix: NDArray[Any]) -> Spectrum:
    return np.linalg.eigvalsh(matrix)[::-1][:8]


def check_spectrum(eigenvalues: Spectrum, network: Network, images: Tensor) -> None:
    np.testing.assert_allclose(eigenvalues, spectrum_by_numpy(network, images), rtol=1e-5)


def our_spectrum(network: Network, images: Tensor) -> Spectrum:
    with FeatureStatistics(network, ["block.conv1"], "images") as statistics:
        for batch in loader(images):
            network(batch)
    return statistics.result()["block.conv1"].eigenvalues(8).numpy()


def test_our_eigenvalues_are_those_of_the_copies(tangled: Network, images: Tensor) -> None:
    check_spectrum(our_spectrum(tangled, images), tangled, images)


def not_emptied_between_sets(network: Network, images: Tensor) -> Spectrum:
    return largest(np.cov(np.concatenate([means(network, images + 1), means(network, images)]).T, bias=True))


def over_the_width(network: Network, images: Tensor) -> Spectrum:
    maps = torch.cat(maps_by_copies(network, "block.conv1", list(loader(images)))).double().numpy()
    return largest(np.cov(maps.mean(axis=(1, 2)).T, bias=True))


def dot_instead_of_outer(network: Network, images: Tensor) -> Spectrum:
    rows = means(network, images)
    centred = rows - rows.mean(axis=0)
    return np.sort((centred * centred).mean(axis=0))[::-1][:8]


def ascending(network: Network, images: Tensor) -> Spectrum:
    return np.linalg.eigvalsh(np.cov(means(network, images).T, bias=True))[:8]


def one_less(network: Network, images: Tensor) -> Spectrum:
    return largest(np.cov(means(network, images).T, bias=False))


def cancellation_in_float32(network: Network, images: Tensor) -> Spectrum:
    rows = (means(network, images) + 1e3).astype(np.float32)
    mean = rows.mean(axis=0)
    return largest(rows.T @ rows / len(rows) - np.outer(mean, mean))


def positions_as_samples(network: Network, images: Tensor) -> Spectrum:
    maps = torch.cat(maps_by_copies(network, "block.conv1", list(loader(images))))
    return largest(covariance_by_numpy(maps, "positions"))


def batch_norm_of_the_batch(network: Network, images: Tensor) -> Spectrum:
    return largest(np.cov(means(network, images, mode=True).T, bias=True))


def height_width_channel(network: Network, images: Tensor) -> Spectrum:
    wrong = images.permute(0, 2, 3, 1).reshape(images.shape)
    return largest(np.cov(means(network, wrong).T, bias=True))


SPECTRUM_TWINS = {
    "49-not-emptied": not_emptied_between_sets,
    "50-over-the-width": over_the_width,
    "51-dot-product": dot_instead_of_outer,
    "53-ascending": ascending,
    "54-one-less": one_less,
    "54-cancellation": cancellation_in_float32,
    "55-positions": positions_as_samples,
    "57-train-mode": batch_norm_of_the_batch,
    "58-height-width-channel": height_width_channel,
}


@pytest.mark.parametrize("twin", SPECTRUM_TWINS.values(), ids=SPECTRUM_TWINS)
def test_the_check_of_spectra_passes_ours_and_fails_the_mistake(
    twin: Callable[[Network, Tensor], Spectrum], tangled: Network, images: Tensor
) -> None:
    check_spectrum(our_spectrum(tangled, images), tangled, images)
    with pytest.raises(AssertionError):
        check_spectrum(twin(tangled, images), tangled, images)


def test_52_eig_leaves_the_eigenvalues_in_the_order_of_the_matrix_and_ours_does_not() -> None:
    matrix = torch.diag(torch.tensor([1.0, 4.0, 2.0], dtype=torch.float64))
    assert np.linalg.eig(matrix.numpy())[0].tolist() == [1, 4, 2]
    assert spectrum(matrix).eigenvalues.tolist() == [4, 2, 1]


def test_56_hooks_on_one_model_and_the_forward_pass_of_another_are_an_error(tangled: Network, images: Tensor) -> None:
    other: nn.Module = Tangled()
    with FeatureStatistics(tangled, ["conv1"], "images") as statistics:
        other(images)
    with pytest.raises(ValueError, match=r"\['conv1'\] never ran"):
        statistics.result()
