"""Hooks leave no trace, whatever happens."""

import copy
import gc
import pickle
import re
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from in4310repro.features import FeatureStatistics
from tests.features.conftest import Tangled


def traces(network: nn.Module) -> list[object]:
    """Everything that hooks, modes or attributes would change."""
    return [
        (name, module.training, sorted(vars(module)), len(module._forward_hooks), len(module._forward_pre_hooks))
        for name, module in network.named_modules()
    ]


def test_outputs_are_the_same_bits_with_and_without_hooks(tangled: Tangled, images: Tensor) -> None:
    tangled.eval()
    with torch.no_grad():
        expected = tangled(images)
    for samples in (None, "images", "positions", "flat"):
        with FeatureStatistics(tangled, "leaves", samples):
            assert torch.equal(tangled(images), expected)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_the_model_as_it_was(tangled: Tangled, images: Tensor, error: type[BaseException]) -> None:
    tangled.bn1.eval()
    before, weights = traces(tangled), copy.deepcopy(tangled.state_dict())

    def interrupted() -> None:
        with FeatureStatistics(tangled, "leaves", "positions"):
            tangled(images)
            raise error

    with pytest.raises(error):
        interrupted()
    assert traces(tangled) == before
    assert all(torch.equal(value, weights[key]) for key, value in tangled.state_dict().items())


def test_mode_gradients_generators_and_pickling_are_as_before(tangled: Tangled, images: Tensor) -> None:
    before, generator = traces(tangled), torch.get_rng_state()
    with FeatureStatistics(tangled, "leaves", "positions") as statistics:
        assert not tangled.training
        assert not tangled(images).requires_grad
    statistics.result()
    assert traces(tangled) == before
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), generator)
    pickle.dumps(tangled)


def test_a_bad_name_is_refused_with_the_good_ones_and_places_no_hook(tangled: Tangled) -> None:
    before = traces(tangled)
    with pytest.raises(ValueError, match=re.escape("no module named ['conv9']; the model has ['', 'block'")):
        FeatureStatistics(tangled, ["conv1", "conv9"])
    assert traces(tangled) == before


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([], "give at least one name, each once"),
        (["conv1", "conv1"], "give at least one name, each once"),
        (re.compile("conv"), "no module name matches 'conv'"),
    ],
)
def test_empty_repeated_or_unmatched_choices_are_refused(tangled: Tangled, modules: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureStatistics(tangled, modules)


def test_a_module_that_never_ran_is_an_error(tangled: Tangled, images: Tensor) -> None:
    tangled.unused = nn.Conv2d(3, 3, 1)
    with FeatureStatistics(tangled, ["conv1", "unused"]) as statistics:
        tangled(images)
    with pytest.raises(ValueError, match=re.escape("modules ['unused'] never ran")):
        statistics.result()


def test_a_compiled_model_whose_hooks_do_not_fire_is_an_error(images: Tensor) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    compiled: Any = torch.compile(model, backend="eager")
    with torch.no_grad():
        compiled(images)
        with FeatureStatistics(compiled, ["0"]) as statistics:
            compiled(images)
    try:
        result = statistics.result()["0"]
    except ValueError as error:
        assert "torch.compile" in str(error)  # noqa: PT017
    else:
        # A version of torch that does call them must be right.
        assert result.non_positive_values == int((model[0](images) <= 0).sum())


def test_statistics_are_entered_once(tangled: Tangled, images: Tensor) -> None:
    statistics = FeatureStatistics(tangled, ["conv1"])
    with statistics:
        tangled(images)
    with pytest.raises(ValueError, match="were entered before"):
        statistics.__enter__()


def test_no_map_outlives_its_layer(tangled: Tangled, images: Tensor) -> None:
    kept: list[weakref.ref[Tensor]] = []
    handle = tangled.get_submodule("block.conv1").register_forward_hook(lambda *call: kept.append(weakref.ref(call[2])))
    with FeatureStatistics(tangled, "leaves", "positions"):
        tangled(images)
        gc.collect()
        assert [reference() for reference in kept] == [None]
    handle.remove()
