"""Mistakes 49 to 58, of spectra: the largest eigenvalues of one module's spatial means on 26 drawn scenes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from in4310repro.features import FeatureStatistics
from in4310repro.features.spectra import spectrum
from tests.features.conftest import Tangled, draw_tangled
from tests.features.copies import covariance_by_numpy, maps_by_copies
from tests.mistakes.hooks import Network, images, loader
from tests.mistakes.mistake import Mistake

Spectrum = NDArray[Any]


@functools.cache
def spectrum_by_numpy() -> Spectrum:
    maps = torch.cat(maps_by_copies(draw_tangled(), "block.conv1", list(loader(images()))))
    return np.linalg.eigvalsh(covariance_by_numpy(maps, "images"))[::-1][:8]


def means(network: Network, given: Tensor, mode: bool = False, name: str = "block.conv1") -> NDArray[Any]:
    copies: list[Tensor] = []
    handle = network.get_submodule(name).register_forward_hook(lambda *call: copies.append(call[2].clone()))
    network.train(mode)
    with torch.no_grad():
        for batch in loader(given):
            network(batch)
    handle.remove()
    return torch.cat(copies).double().mean(dim=(2, 3)).numpy()


def largest(matrix: NDArray[Any]) -> Spectrum:
    return np.linalg.eigvalsh(matrix)[::-1][:8]


def check_spectrum(eigenvalues: Spectrum) -> None:
    """The eigenvalues equal NumPy's for the covariance of copied channel means, in decreasing order."""
    np.testing.assert_allclose(eigenvalues, spectrum_by_numpy(), rtol=1e-5)


def our_spectrum() -> Spectrum:
    network = draw_tangled()
    with FeatureStatistics(network, ["block.conv1"], "images") as statistics:
        for batch in loader(images()):
            network(batch)
    return statistics.result()["block.conv1"].eigenvalues(8).numpy()


def not_emptied_between_sets(network: Network, given: Tensor) -> Spectrum:
    return largest(np.cov(np.concatenate([means(network, given + 1), means(network, given)]).T, bias=True))


def over_the_width(network: Network, given: Tensor) -> Spectrum:
    maps = torch.cat(maps_by_copies(network, "block.conv1", list(loader(given)))).double().numpy()
    return largest(np.cov(maps.mean(axis=(1, 2)).T, bias=True))


def dot_instead_of_outer(network: Network, given: Tensor) -> Spectrum:
    rows = means(network, given)
    centred = rows - rows.mean(axis=0)
    return np.sort((centred * centred).mean(axis=0))[::-1][:8]


def ascending(network: Network, given: Tensor) -> Spectrum:
    return np.linalg.eigvalsh(np.cov(means(network, given).T, bias=True))[:8]


def one_less(network: Network, given: Tensor) -> Spectrum:
    return largest(np.cov(means(network, given).T, bias=False))


def cancellation_in_float32(network: Network, given: Tensor) -> Spectrum:
    rows = (means(network, given) + 1e3).astype(np.float32)
    mean = rows.mean(axis=0)
    return largest(rows.T @ rows / len(rows) - np.outer(mean, mean))


def positions_as_samples(network: Network, given: Tensor) -> Spectrum:
    maps = torch.cat(maps_by_copies(network, "block.conv1", list(loader(given))))
    return largest(covariance_by_numpy(maps, "positions"))


def batch_norm_of_the_batch(network: Network, given: Tensor) -> Spectrum:
    return largest(np.cov(means(network, given, mode=True).T, bias=True))


def height_width_channel(network: Network, given: Tensor) -> Spectrum:
    wrong = given.permute(0, 2, 3, 1).reshape(given.shape)
    return largest(np.cov(means(network, wrong).T, bias=True))


def worst_eigenvalue(ours: Spectrum, twin: Spectrum) -> str:
    # Rounded, since of equal differences the processor's rounding would choose one.
    place = int(np.argmax(np.round(np.abs(twin - ours) / ours, 9)))
    return f"eigenvalue {place + 1}: {ours[place]:.3g}, read as {twin[place]:.3g}"


def below_zero(ours: Spectrum, twin: Spectrum) -> str:
    """State our eigenvalue, and that the faulty one is negative by an amount that depends on rounding."""
    assert twin.min() < 0
    return f"eigenvalue 8: {ours[7]:.3g}, read as less than 0"


SPECTRUM_TWINS: list[tuple[int, str, Callable[[Network, Tensor], Spectrum]]] = [
    (49, "accumulator not emptied between sets", not_emptied_between_sets),
    (50, "covariance over the wrong axis", over_the_width),
    (51, "dot instead of outer product", dot_instead_of_outer),
    (53, "ascending order drawn as largest", ascending),
    (54, "n - 1 instead of n", one_less),
    (54, "cancellation in float32", cancellation_in_float32),
    (55, "positions as samples where the mean was asked for", positions_as_samples),
    (57, "batch norm in train mode", batch_norm_of_the_batch),
    (58, "height-width-channel order taken for channel-height-width", height_width_channel),
]


def diagonal() -> Tensor:
    return torch.diag(torch.tensor([1.0, 4.0, 2.0], dtype=torch.float64))


def check_order(eigenvalues: list[float]) -> None:
    """Eigenvalues come in decreasing order."""
    assert eigenvalues == [4, 2, 1]


def our_error() -> Any:
    """Add hooks to one network, run another one, and return the result or the ValueError."""
    hooked, other = draw_tangled(), Tangled()
    with FeatureStatistics(hooked, ["conv1"], "images") as statistics:
        other(images())
    try:
        return statistics.result()
    except ValueError as error:
        return error


def pass_of_another_network() -> Any:
    hooked, other = draw_tangled(), Tangled()
    copies: list[Tensor] = []
    hooked.conv1.register_forward_hook(lambda *call: copies.append(call[2].clone()))
    other(images())
    return copies


def check_error(outcome: Any) -> None:
    """A hook that never ran raises an error that names its module."""
    assert isinstance(outcome, ValueError)
    assert "['conv1'] never ran" in str(outcome)


MISTAKES = [
    *(
        Mistake(
            number=number,
            name=name,
            check=check_spectrum,
            ours=our_spectrum,
            twin=functools.partial(lambda twin: twin(draw_tangled(), images()), twin),
            size=below_zero if twin is cancellation_in_float32 else worst_eigenvalue,
        )
        for number, name, twin in SPECTRUM_TWINS
    ),
    Mistake(
        number=52,
        name="eig instead of eigvalsh",
        check=check_order,
        ours=lambda: spectrum(diagonal()).eigenvalues.tolist(),
        twin=lambda: np.linalg.eig(diagonal().numpy())[0].tolist(),
    ),
    Mistake(
        number=56,
        name="hooks on one model, forward pass of another",
        check=check_error,
        ours=our_error,
        twin=pass_of_another_network,
    ),
]
