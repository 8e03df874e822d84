"""Hooks leave no trace in the network, even after errors."""

import copy
import gc
import pickle
import re
import weakref
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from in4310repro.features import FeatureStatistics
from tests.features.conftest import Tangled, count_hooks
from tests.features.copies import covariance_by_numpy, error_of


def traces(network: nn.Module) -> list[object]:
    """Return the modes, attribute names and hook counts of all modules of a network."""
    return [
        (name, module.training, sorted(vars(module)), count_hooks(module)) for name, module in network.named_modules()
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


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_statistics_that_overlap_measure_in_evaluation_mode_and_leave_all_modes_as_they_were(
    order: tuple[int, ...],
) -> None:
    shared, model = nn.BatchNorm2d(1), nn.Sequential(nn.BatchNorm2d(1), nn.Dropout())
    model.append(shared)
    model[1].eval()
    before, weights = traces(model), copy.deepcopy(model.state_dict())
    parts: list[nn.Module] = [model, shared, nn.Sequential(shared)]
    opened = [FeatureStatistics(part, [""], samples=None) for part in parts]
    for statistics in opened:
        statistics.__enter__()
    for ended, place in enumerate(order):
        assert not torch.is_grad_enabled()
        for still in order[ended:]:
            assert not any(module.training for module in parts[still].modules())
            parts[still](torch.ones(2, 1, 1, 1))
        opened[place].__exit__(None, None, None)
    assert traces(model) == before
    assert torch.is_grad_enabled()
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())


def test_a_mode_that_the_caller_sets_inside_stays_and_one_that_an_error_leaves_half_set_does_not() -> None:
    model = nn.Sequential(nn.Identity(), nn.Sequential(nn.Identity())).eval()
    first, second = (FeatureStatistics(model, ["0"], samples=None) for _ in range(2))
    with first:
        model[1].train()
        second.__enter__()
        assert not any(module.training for module in model.modules())
    second.__exit__(None, None, None)
    assert [module.training for module in model.modules()] == [False, False, True, True]

    def fail() -> None:
        model[1].train(mode=False)
        raise MemoryError

    model.eval = fail  # type: ignore[method-assign,assignment]
    with pytest.raises(MemoryError):
        first.fresh().__enter__()
    assert [module.training for module in model.modules()] == [False, False, True, True]


def test_a_bad_name_is_refused_with_the_good_ones_and_places_no_hook(tangled: Tangled) -> None:
    before = traces(tangled)
    with pytest.raises(ValueError, match=re.escape("no module named ['conv9']; the model has ['', 'block'")):
        FeatureStatistics(tangled, ["conv1", "conv9"], samples=None)
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
        FeatureStatistics(tangled, modules, samples=None)


def test_a_module_that_never_ran_is_an_error(tangled: Tangled, images: Tensor) -> None:
    tangled.unused = nn.Conv2d(3, 3, 1)
    with FeatureStatistics(tangled, ["conv1", "unused"], samples=None) as statistics:
        tangled(images)
    with pytest.raises(ValueError, match=re.escape("modules ['unused'] never ran")):
        statistics.result()


def measure_after_compiling(model: nn.Module, images: Tensor, *, skip_hook_guards: bool) -> FeatureStatistics:
    """Return the statistics of a model that was compiled before the hooks were added."""
    torch.compiler.reset()
    config: Any = torch._dynamo.config
    with config.patch(skip_nnmodule_hook_guards=skip_hook_guards), torch.no_grad():
        compiled: Any = torch.compile(model, backend="eager")
        compiled(images)
        with FeatureStatistics(compiled, ["0"], samples=None) as statistics:
            compiled(images)
    return statistics


def test_a_model_compiled_before_whose_hooks_are_not_called_is_an_error(images: Tensor) -> None:
    # The default of torch: tried with 2.9.0, 2.13.0 and 2.15.0.
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    statistics = measure_after_compiling(model, images, skip_hook_guards=True)
    with pytest.raises(ValueError, match=r"modules \['0'\] never ran .*; code that torch.compile made before"):
        statistics.result()


def test_a_model_compiled_before_that_is_compiled_again_for_the_hooks_is_measured(images: Tensor) -> None:
    # A setting of torch that no version up to 2.15.0 has by default; 2.9.0, 2.13.0 and 2.15.0 do so where it is set.
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    result = measure_after_compiling(model, images, skip_hook_guards=False).result()["0"]
    assert result.images == len(images)
    assert result.non_positive_values == int((model[0](images) <= 0).sum())


def test_statistics_are_entered_once(tangled: Tangled, images: Tensor) -> None:
    statistics = FeatureStatistics(tangled, ["conv1"], samples=None)
    with statistics:
        tangled(images)
    with pytest.raises(ValueError, match="were entered before"):
        statistics.__enter__()


def test_no_map_outlives_its_layer(tangled: Tangled, images: Tensor) -> None:
    references: list[weakref.ref[Tensor]] = []
    handle = tangled.get_submodule("block.conv1").register_forward_hook(
        lambda *call: references.append(weakref.ref(call[2]))
    )
    with FeatureStatistics(tangled, "leaves", "positions"):
        tangled(images)
        gc.collect()
        assert [reference() for reference in references] == [None]
    handle.remove()


class Failing(nn.Module):
    """A module that raises MemoryError if `fails` is set."""

    fails = False

    def forward(self, images: Tensor) -> Tensor:
        if self.fails:
            raise MemoryError
        return images


def test_a_pass_that_some_modules_measured_and_others_not_has_no_result(images: Tensor) -> None:
    model = nn.Sequential(nn.ReLU(), Failing(), nn.Tanh())
    with FeatureStatistics(model, ["0", "2"], "images") as statistics:
        model(images)
        saved = statistics.state_dict()
        Failing.fails = True
        with pytest.raises(MemoryError):
            model(images)
        Failing.fails = False
        model(images)
    for reading in (statistics.result, statistics.state_dict):
        with pytest.raises(ValueError, match="some modules measured its images and others did not"):
            reading()
    again = statistics.fresh()
    again.load_state_dict(saved)
    with pytest.raises(ValueError, match="some modules measured its images and others did not"):
        again.merge(statistics)
    assert again.result()["2"].images == len(images)


def test_a_pass_that_failed_before_anything_was_measured_does_no_harm(images: Tensor) -> None:
    model = nn.Sequential(Failing(), nn.Tanh())
    with FeatureStatistics(model, ["1"], "images") as statistics:
        Failing.fails = True
        with pytest.raises(MemoryError):
            model(images)
        Failing.fails = False
        model(images)
    assert statistics.result()["1"].images == len(images)


@pytest.mark.parametrize("calls", ["pool", "keep"])
def test_a_module_called_outside_of_its_models_forward_counts_every_batch(
    images: Tensor, calls: Literal["pool", "keep"]
) -> None:
    model = nn.Sequential(nn.Tanh(), nn.Flatten())
    with FeatureStatistics(model, ["0"], "images", calls=calls) as statistics:
        for part in torch.split(images, 3):
            model[0](part)
    (result,) = statistics.result().values()
    assert (result.images, result.rows) == (len(images), len(images))
    assert error_of(result.covariance, covariance_by_numpy(images.tanh(), "images")) <= 1e-6


def test_a_second_thread_is_refused(images: Tensor) -> None:
    model = nn.Sequential(nn.Tanh())
    with FeatureStatistics(model, ["0"], samples=None) as statistics, ThreadPoolExecutor() as pool:
        model(images)
        with pytest.raises(ValueError, match="module '0' runs in a second thread"):
            pool.submit(model, images).result()
    assert statistics.result()["0"].images == len(images)


def test_a_call_after_a_pass_is_the_first_call_again(images: Tensor) -> None:
    model = nn.Sequential(nn.Tanh(), nn.Flatten())
    with FeatureStatistics(model, ["0"], calls="keep", samples=None) as statistics:
        model(images[:9])
        model[0](images[9:])
    ((name, result),) = statistics.result().items()
    assert (name, result.images) == ("0#0", len(images))


def test_a_shared_module_can_be_named_by_its_second_name(images: Tensor) -> None:
    shared = nn.Tanh()
    model = nn.Sequential(shared, nn.Flatten(), shared)
    with (
        FeatureStatistics(model, ["2"], samples=None) as second,
        FeatureStatistics(model, ["0"], samples=None) as first,
    ):
        model(images)
    assert second.result()["2"].values == first.result()["0"].values == 2 * images.numel()
