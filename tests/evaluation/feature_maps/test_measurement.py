"""One way to measure the features of a network, for runs and for folders."""

from collections.abc import Generator

import pytest
import torch

from in4310repro.evaluation.feature_maps.measurement import Measurement, measure
from in4310repro.features import FeatureStatistics

BATCHES = torch.randn(3, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
MEASUREMENT = Measurement(modules=["0"], precision="exact")


def network() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.Flatten(), torch.nn.Linear(180, 2))


def given(batches: torch.Tensor) -> Generator[torch.Tensor, None, None]:
    yield from batches


def test_measured_statistics_are_those_of_a_loop_by_hand() -> None:
    model = network()
    with FeatureStatistics(model, ["0"], "images", "exact") as by_hand, torch.no_grad():
        for images in BATCHES:
            model(images)
    measured, expected = measure(model, given(BATCHES), MEASUREMENT).result()["0"], by_hand.result()["0"]
    assert (measured.images, int(measured.non_finite)) == (12, 0)
    assert torch.equal(measured.covariance, expected.covariance)
    assert measured.top_images is not None
    assert measured.histogram is not None


def test_statistics_of_the_batches_before_go_on() -> None:
    before = measure(network(), given(BATCHES[:1]), MEASUREMENT)
    model = network()
    statistics = MEASUREMENT.statistics(model)
    statistics.load_state_dict(before.state_dict())
    result = measure(model, given(BATCHES[1:]), MEASUREMENT, statistics).result()["0"]
    assert torch.equal(result.covariance, measure(network(), given(BATCHES), MEASUREMENT).result()["0"].covariance)


def test_batches_are_closed_where_the_network_fails() -> None:
    closed = []

    def batches() -> Generator[torch.Tensor, None, None]:
        try:
            yield torch.zeros(4, 3, 99, 99)
        finally:
            # Handlers of signals and bars of progress end here.
            closed.append(True)

    with pytest.raises(RuntimeError, match="shapes"):
        measure(network(), batches(), MEASUREMENT)
    assert closed == [True]


def test_what_is_not_cut_into_images_has_no_top_images() -> None:
    measured = measure(network(), given(BATCHES), Measurement(modules=["0"], samples=None))
    assert measured.result()["0"].top_images is None
