"""Single layers and blocks: results agree with torch's for every option; some modules are fused into one pass."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.utils import prune
from torchvision.models import mobilenetv2, resnet

from in4310repro.arithmetic import functions, layers, networks, portable
from in4310repro.arithmetic.same import Conv2dSame
from tests.arithmetic.formulas import batch_norm, record_calls


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def drawn(module: nn.Module) -> nn.Module:
    """Return the module with weights and statistics drawn at random."""
    generator = torch.Generator().manual_seed(1)
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) - 0.3 * (value.ndim > 1))
    return module


LAYERS: list[tuple[nn.Module, tuple[int, ...]]] = [
    (nn.Conv2d(4, 6, (3, 5), (2, 1), (1, 2), groups=2), (2, 4, 7, 6)),
    (nn.Conv2d(4, 6, (5, 7), padding="same", bias=False), (2, 4, 7, 6)),
    (nn.Conv2d(4, 6, (3, 2), padding="valid"), (2, 4, 7, 6)),
    (nn.Conv2d(4, 6, 3, 2, 1), (2, 4, 7, 6)),
    (Conv2dSame(4, 6, (4, 3), (3, 2), groups=2), (2, 4, 7, 6)),
    (nn.Sequential(Conv2dSame(3, 4, 3, 2, bias=False), nn.BatchNorm2d(4), nn.ReLU6(True)), (2, 3, 6, 5)),
    (nn.Linear(5, 3), (4, 5)),
    (nn.Linear(5, 3, bias=False), (4, 5)),
    (nn.BatchNorm2d(4, eps=0.5, momentum=0.25), (3, 4, 2, 5)),
    (nn.BatchNorm2d(4, affine=False), (3, 4, 2, 5)),
    (nn.BatchNorm2d(4, momentum=None, track_running_stats=False), (3, 4, 2, 5)),
    (nn.AdaptiveAvgPool2d(2), (2, 3, 5, 7)),
    (nn.AdaptiveAvgPool2d((2, 3)), (2, 3, 5, 7)),
    (nn.AdaptiveAvgPool2d((None, 3)), (2, 3, 5, 7)),
    (nn.AdaptiveAvgPool2d((2, None)), (2, 3, 5, 7)),
    (nn.MaxPool2d(3, 2, 1), (2, 3, 8, 7)),
    (nn.MaxPool2d((2, 3), (1, 2), (1, 0), ceil_mode=True), (2, 3, 6, 6)),
    (nn.MaxPool2d(2), (2, 3, 6, 7)),
    (nn.Dropout(0.0), (3, 4)),
    (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4), nn.ReLU6(True)), (2, 3, 6, 5)),
    (nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1), nn.ReLU(True)), (2, 3, 6, 5)),
    (nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3)), (2, 3, 6, 5)),
    (torchvision.ops.misc.Conv2dNormActivation(3, 4, 3, stride=2), (2, 3, 6, 5)),
    (resnet.BasicBlock(4, 4), (2, 4, 5, 6)),
    (resnet.BasicBlock(4, 6, 2, nn.Sequential(nn.Conv2d(4, 6, 1, 2), nn.BatchNorm2d(6))), (2, 4, 6, 6)),
    (resnet.Bottleneck(8, 2), (2, 8, 5, 6)),
    (resnet.Bottleneck(8, 3, 2, nn.Sequential(nn.Conv2d(8, 12, 1, 2), nn.BatchNorm2d(12))), (2, 8, 6, 6)),
    (mobilenetv2.InvertedResidual(4, 4, 1, 2), (2, 4, 5, 6)),
    (mobilenetv2.InvertedResidual(4, 6, 2, 2), (2, 4, 5, 6)),
    (torchvision.models.mobilenet_v2(num_classes=3, width_mult=0.25, dropout=0.0), (2, 3, 33, 40)),
    (resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 1], num_classes=3, width_per_group=4), (2, 3, 32, 40)),
]


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize(("module", "shape"), LAYERS, ids=lambda value: type(value).__name__)
def test_a_layer_gives_torchs_results_gradients_and_state(
    module: nn.Module, shape: tuple[int, ...], training: bool
) -> None:
    exact = drawn(copy.deepcopy(module)).double().train(training)
    ours = portable(drawn(copy.deepcopy(module))).train(training)
    given, found = draw(*shape), []
    for model, dtype in ((exact, torch.float64), (ours, torch.float32)):
        # Not a leaf, since some layers write into what they get.
        leaf = given.to(dtype).requires_grad_()
        result = model(leaf * 1)
        result.backward(draw(*result.shape, seed=2).to(dtype))
        tensors = [result, leaf.grad, *(value.grad for value in model.parameters()), *model.state_dict().values()]
        found.append([value.detach().double() for value in tensors])
    for place, (value, truth) in enumerate(zip(found[1], found[0], strict=True)):
        assert value.shape == truth.shape
        assert float((value - truth).abs().max()) <= 2e-5 * max(float(truth.abs().max()), 1.0), place


def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> nn.Parameter:
    return nn.Parameter(draw(*shape, seed=3).to(dtype))


# Attribute -> values that it is given after portable().
CHANGES: dict[str, list[Any]] = {
    "stride": [1, 2, [2, 1], (1,), None],
    "padding": [0, 1, (0, 1), [1, 0], "same", "valid", "full"],
    "dilation": [1, 2, (1, 2)],
    "padding_mode": ["reflect", "circular", "replicate"],
    "groups": [1, 2, 4],
    "kernel_size": [2, (2, 3), [3, 1], (2, 2)],
    "weight": [numbers(4, 4, 5, 1), numbers(4, 2, 3, 3), numbers(4, 4, 2, 2), numbers(6, 36), numbers(4), None],
    "bias": [numbers(4), numbers(3), numbers(4, dtype=torch.float64), None],
    "eps": [0.5],
    "momentum": [0.75, 1, None],
    "track_running_stats": [False],
    "running_mean": [torch.ones(4), torch.ones(3), None],
    "running_var": [torch.full((4,), 2.0), None],
    "num_batches_tracked": [torch.tensor(3), None],
    "output_size": [1, (2, 3), [3, 2], (None, 2)],
    "ceil_mode": [True],
    "return_indices": [True],
    "inplace": [True, False],
    "min_val": [-1.0, 0],
    "max_val": [0.5, 6],
    # Other shares draw other values than torch.
    "p": [1.0, 0.0],
    "training": [True, False],
    # Only read by torch where a layer is made.
    **{name: [7] for name in ("in_channels", "out_channels", "in_features", "out_features", "num_features")},
    **{name: [(1, 1)] for name in ("output_padding",)},
    **{name: [True, False] for name in ("transposed", "affine")},
}
HOSTS = {
    "Conv2d": nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU6()),
    "Conv2d, same": nn.Sequential(nn.Conv2d(4, 4, 3, padding="same"), nn.ReLU()),
    "Conv2dSame": nn.Sequential(Conv2dSame(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU()),
    "pooling": nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.BatchNorm2d(4), nn.ReLU6(True), nn.AdaptiveAvgPool2d(3)),
    "linear": nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Dropout(0.0), nn.Linear(36, 6), nn.ReLU()),
    "block": resnet.BasicBlock(4, 4),
}


def attributes(module: nn.Module) -> set[str]:
    """Return the names of everything that can be assigned to a layer."""
    own = {name for name in vars(module) if not name.startswith("_")} | {*getattr(module, "__constants__", ())}
    return own | {*dict(module.named_parameters(recurse=False)), *dict(module.named_buffers(recurse=False))}


def outcomes(model: nn.Module, maps: Tensor) -> list[Tensor] | Exception:
    """Return the result with gradients, that without, and the state, or the error."""
    try:
        found = [model(maps.clone())]
        with torch.no_grad():
            found.append(model(maps.clone()))
        return [each.detach().double() for each in (*found, *model.state_dict().values())]
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        return error


def assert_as_torch_or_refused(host: nn.Module, training: bool, change: Callable[[nn.Module], object]) -> bool:
    """Change a network after portable() and one of torch's in float64; return whether they computed something."""
    maps = draw(3, 4, 7, 6)
    ours, exact = portable(drawn(copy.deepcopy(host))).train(training), drawn(copy.deepcopy(host)).train(training)
    change(ours)
    change(exact)
    found, truth = outcomes(ours, maps), outcomes(exact.double(), maps.double())
    if isinstance(found, Exception):
        assert isinstance(truth, Exception) or isinstance(found, ValueError), found
        return False
    assert not isinstance(truth, Exception), truth
    for one, other in zip(found, truth, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    return True


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_an_attribute_that_is_changed_after_portable_counts_or_is_refused(name: str, training: bool) -> None:
    for place, layer in HOSTS[name].named_modules():
        if next(layer.children(), None) is not None or isinstance(layer, nn.Flatten):
            continue
        computed = set()
        for attribute in attributes(layer):
            for value in CHANGES[attribute]:

                def change(
                    model: nn.Module, place: str = place, attribute: str = attribute, value: Any = value
                ) -> None:
                    setattr(model.get_submodule(place), attribute, copy.deepcopy(value))

                try:
                    if assert_as_torch_or_refused(HOSTS[name], training, change):
                        computed.add(attribute)
                except AssertionError as error:
                    raise AssertionError(f"{place}.{attribute} = {value}: {error}") from error
        assert computed


def replaced(name: str) -> Callable[[nn.Module], object]:
    """Return a function that replaces a method of a module object by one that doubles its result."""

    def replace(module: nn.Module) -> None:
        method = getattr(module, name)
        setattr(module, name, lambda *given: 2 * method(*given))

    return replace


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


MODIFIERS: dict[str, Callable[[Any], object]] = {
    "forward": replaced("forward"),
    "_conv_forward": replaced("_conv_forward"),
    "hook": lambda module: module.register_forward_hook(lambda _module, _given, result: 2 * result),
    "hook before": lambda module: module.register_forward_pre_hook(lambda _module, given: (2 * given[0],)),
    "parametrization": lambda module: nn.utils.parametrize.register_parametrization(module, "weight", Doubled()),
    "weight norm": nn.utils.parametrizations.weight_norm,
    "pruning": lambda module: prune.custom_from_mask(module, "weight", module.weight > 0),  # type: ignore[no-untyped-call]
    "kept weights": lambda module: module.requires_grad_(False),
}


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("modifier", MODIFIERS)
@pytest.mark.parametrize("name", HOSTS)
def test_what_is_put_on_a_layer_after_portable_counts_or_is_refused(name: str, modifier: str, training: bool) -> None:
    for place, layer in HOSTS[name].named_modules():
        if (modifier == "_conv_forward" and not isinstance(layer, nn.Conv2d)) or (
            (modifier in ("parametrization", "weight norm", "pruning") and getattr(layer, "weight", None) is None)
            or (modifier == "weight norm" and isinstance(layer, nn.BatchNorm2d))
        ):
            continue
        computed = assert_as_torch_or_refused(
            HOSTS[name],
            training,
            lambda model: MODIFIERS[modifier](model.get_submodule(place)),  # noqa: B023 - called at once
        )
        assert computed == (modifier != "_conv_forward"), place


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_a_forward_of_torchvision_that_is_replaced_after_portable_is_called(name: str) -> None:
    model = portable(getattr(torchvision.models, name)(num_classes=2)).eval()
    maps = draw(1, 3, 32, 32)
    expected = 2 * model(maps)
    replaced("_forward_impl")(model)
    assert torch.equal(model(maps), expected)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("kind", [nn.ReLU, nn.ReLU6])
def test_a_lone_relu_is_torchs_without_negative_zeros(kind: type[nn.ReLU | nn.ReLU6], inplace: bool) -> None:
    values = torch.tensor([-0.0, 0.0, -1.0, 0.5, 6.0, 7.0, 1e-40, -1e-40, torch.inf, torch.nan] * 8)
    results, gradients = [], []
    for module in (kind(inplace), portable(kind(inplace))):
        leaf = values.clone().requires_grad_()
        given = leaf * 1.0
        result = module(given)
        assert (result.data_ptr() == given.data_ptr()) == inplace
        result.backward(torch.arange(80.0))
        results.append(result.detach())
        gradients.append(leaf.grad)
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0, equal_nan=True)
    assert not torch.signbit(results[1].nan_to_num(nan=1)).any()
    if kind is nn.ReLU6:
        # At NaN, torch's depends on the place in a vector.
        gradients = [gradient[~values.isnan()] for gradient in gradients if gradient is not None]
    assert torch.equal(gradients[1], gradients[0])  # type: ignore[arg-type]


def test_the_result_of_relu6_may_be_written_in_place_and_torch_func_differentiates_it() -> None:
    activation, values = portable(nn.ReLU6()), torch.tensor([-1.0, 1.0, 6.0, 7.0])
    leaf = values.clone().requires_grad_()
    result = activation(leaf)
    result += 1
    result.sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.tolist() == [0, 1, 0, 0]
    assert torch.func.grad(lambda given: activation(given).sum())(values).tolist() == [0, 1, 0, 0]
    with torch.no_grad():
        given = values.clone()
        assert portable(nn.ReLU6(inplace=True))(given) is given


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU6()], ids=["ReLU", "ReLU6"])
def test_the_gradient_passes_at_nan_at_every_place_of_a_vector_fused_or_not(activation: nn.Module) -> None:
    gradients = []
    for separator in ((), (nn.Identity(),)):
        model = portable(nn.Sequential(nn.BatchNorm2d(3), *separator, copy.deepcopy(activation)).eval())
        for place in range(48):
            maps = torch.full((1, 3, 4, 4), 0.5).contiguous(memory_format=torch.channels_last)
            maps.permute(0, 2, 3, 1).reshape(-1)[place] = torch.nan
            model(maps.requires_grad_()).sum().backward()
            assert maps.grad is not None
            gradients.append(maps.grad.flatten().tolist())
    assert all(gradient == gradients[0] for gradient in gradients)
    assert min(gradients[0]) > 0.9


def test_statistics_that_are_no_longer_followed_stay_and_are_used_in_evaluation() -> None:
    plain = nn.BatchNorm2d(3)
    plain.running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))  # type: ignore[union-attr]
    plain.track_running_stats = False
    ours, maps = portable(copy.deepcopy(plain)), draw(4, 3, 2, 2)
    for training in (True, False):
        torch.testing.assert_close(ours.train(training)(maps), plain.train(training)(maps), rtol=1e-5, atol=1e-5)
    assert ours.state_dict()["running_mean"].tolist() == [1, 2, 3]
    assert ours.state_dict()["running_var"].tolist() == [1, 1, 1]
    assert ours.state_dict()["num_batches_tracked"].item() == 0


def test_a_batch_is_counted_in_training_alone() -> None:
    norm = portable(nn.BatchNorm2d(3))
    for training, batches in ((True, 1), (True, 2), (False, 2)):
        norm.train(training)(draw(4, 3, 2, 2))
        assert norm.num_batches_tracked.item() == batches  # type: ignore[operator]


def test_statistics_without_a_counter_move_by_the_momentum() -> None:
    norm = portable(nn.BatchNorm2d(1, momentum=0.25))
    norm.num_batches_tracked = None  # type: ignore[assignment]
    norm.train()(torch.tensor([1.0, 3.0]).reshape(2, 1, 1, 1))
    assert norm.running_mean.tolist() == [0.5]  # type: ignore[operator]


def test_statistics_without_a_momentum_are_means_over_the_batches() -> None:
    norm = portable(nn.BatchNorm2d(1, momentum=None)).train()
    for values, mean in (((0.0, 2.0), 1), ((4.0, 6.0), 3), ((8.0, 10.0), 5)):
        norm(torch.tensor(values).reshape(2, 1, 1, 1))
        torch.testing.assert_close(norm.running_mean, torch.tensor([float(mean)]), rtol=1e-6, atol=0)


def test_sizes_are_of_rows_and_columns() -> None:
    assert (layers.pair(3), layers.pair((1, 2))) == ((3, 3), (1, 2))


def passes(model: nn.Module, maps: Tensor, other: Tensor | None = None) -> list[int]:
    """Return a code for each batch norm that runs: 0 alone, 1 with ReLU, 2 with ReLU6, 3 with a sum and ReLU."""
    with torch.no_grad(), record_calls() as calls:
        model(maps) if other is None else networks.in_sequence((*model.children(),), maps, other)
    return [call[4] for call in calls if call[0] in ("normalise", "normalise_by")]


@pytest.mark.parametrize(
    ("relu", "other", "form"),
    [
        (nn.ReLU(), False, 1),
        (nn.ReLU6(), False, 2),
        (nn.ReLU(), True, 3),
        (nn.ReLU6(), True, 0),
        (nn.Identity(), False, 0),
    ],
    ids=["ReLU", "ReLU6", "sum and ReLU", "sum and ReLU6", "no ReLU"],
)
def test_batch_norm_and_what_follows_are_one_pass(relu: nn.Module, other: bool, form: int) -> None:
    model = portable(nn.Sequential(nn.BatchNorm2d(3), copy.deepcopy(relu)))
    maps, second = draw(2, 3, 4, 4), draw(2, 3, 4, 4, seed=1) if other else None
    assert passes(model, maps, second) == [form]
    norm = batch_norm(maps, None, None, None, None, training=True)
    needed = relu(norm if second is None else norm + second)
    assert torch.equal(networks.in_sequence((*model.children(),), maps, second), needed)


@pytest.mark.parametrize("observed", [None, 0, 1, 2], ids=["no hook", "convolution", "batch norm", "ReLU"])
def test_a_convolution_and_what_follows_are_one_function_with_gradients(observed: int | None) -> None:
    model = portable(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()))
    if observed is not None:
        model[observed].register_forward_hook(lambda *_words: None)  # type: ignore[index]
    found = model(draw(2, 3, 6, 6))
    assert ("_Convolution" in found.grad_fn.name()) == (observed is None)


def test_a_batch_norm_of_evaluation_gives_a_convolution_its_centre_scale_and_shift() -> None:
    norm = cast("layers.BatchNorm2d", portable(nn.BatchNorm2d(3, eps=0.5)).eval())

    def coefficients() -> Tensor:
        weight, bias, _, settings = functions.check_norm((1, 3, 1, 1), norm.arguments())
        return functions.coefficients(weight, bias, settings)

    for name, start in (("running_mean", -1), ("running_var", 1), ("weight", 2), ("bias", 5)):
        norm.state_dict()[name].copy_(torch.arange(3.0) + start)
    expected = [[-1, 0, 1], [2 / 1.5**0.5, 3 / 2.5**0.5, 4 / 3.5**0.5], [5, 6, 7]]
    torch.testing.assert_close(coefficients(), torch.tensor(expected))
    for name in ("weight", "bias"):
        norm.register_parameter(name, None)
    expected = [[-1, 0, 1], [1 / 1.5**0.5, 1 / 2.5**0.5, 1 / 3.5**0.5], [0, 0, 0]]
    torch.testing.assert_close(coefficients(), torch.tensor(expected))


def own_forward(module: nn.Module) -> None:
    module.forward = type(module).forward.__get__(module)


OBSERVERS: dict[str, Callable[[nn.Module], Any]] = {
    "hook": lambda module: module.register_forward_hook(lambda *_words: None),
    "hook before": lambda module: module.register_forward_pre_hook(lambda *_words: None),
    "hook of gradients": lambda module: module.register_full_backward_hook(lambda *_words: None),
    "hook before gradients": lambda module: module.register_full_backward_pre_hook(lambda *_words: None),
    "forward of its own": own_forward,
}
OBSERVERS_OF_ALL: dict[str, Callable[[Any], Any]] = {
    "hook of all": torch.nn.modules.module.register_module_forward_hook,
    "hook before all": torch.nn.modules.module.register_module_forward_pre_hook,
    "hook of all gradients": torch.nn.modules.module.register_module_full_backward_hook,
    "hook before all gradients": torch.nn.modules.module.register_module_full_backward_pre_hook,
}


@pytest.mark.parametrize("place", [0, 1], ids=["batch norm", "ReLU"])
@pytest.mark.parametrize("observer", OBSERVERS)
def test_a_module_that_is_observed_is_called_by_itself(observer: str, place: int) -> None:
    model = portable(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3), nn.ReLU()))
    assert passes(model, draw(2, 3, 4, 4)) == [1, 1]
    OBSERVERS[observer](model[place])  # type: ignore[index]
    assert passes(model, draw(2, 3, 4, 4)) == [0, 1]


@pytest.mark.parametrize("observer", OBSERVERS_OF_ALL)
def test_a_hook_of_all_modules_observes_each(observer: str) -> None:
    model = portable(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()))
    handle = OBSERVERS_OF_ALL[observer](lambda *_words: None)
    try:
        assert passes(model, draw(2, 3, 4, 4)) == [0]
    finally:
        handle.remove()
    assert passes(model, draw(2, 3, 4, 4)) == [1]


def test_batch_norms_of_blocks_are_one_pass_with_the_sum_and_the_relu() -> None:
    residual = [2, 2, 0]  # expansion, depth-wise, projection
    for block, forms in (
        (resnet.BasicBlock(4, 4), [1, 3]),
        (resnet.Bottleneck(8, 2), [1, 1, 3]),
        (mobilenetv2.InvertedResidual(4, 4, 1, 2), residual),
    ):
        assert (
            passes(portable(block), draw(2, block.conv1.in_channels if hasattr(block, "conv1") else 4, 4, 4)) == forms
        )


def test_what_is_no_batch_norm_of_ours_is_called_by_itself() -> None:
    class Watched(layers.BatchNorm2d): ...

    model = nn.Sequential(Watched(3), layers.ReLU())
    assert passes(portable(nn.Sequential(layers.BatchNorm2d(3), layers.ReLU())), draw(2, 3, 4, 4)) == [1]
    with torch.no_grad(), record_calls() as calls:
        networks.in_sequence((*model,), draw(2, 3, 4, 4))
    assert [call[4] for call in calls if call[0] == "normalise"] == [0]


class Own(nn.Module):
    """A module that calls an inner module, with or without a parameter of its own."""

    def __init__(self, parameter: nn.Parameter | None = None) -> None:
        super().__init__()
        self.inner, self.parameter = nn.Linear(2, 3), parameter


class OwnConvolution(nn.Conv2d):
    """A subclass of Conv2d, which is refused because its forward() might differ from Conv2d's."""


def own(module: nn.Module) -> nn.Module:
    own_forward(module)
    return module


KERNELS = (
    "Conv2d, Linear, BatchNorm2d, AdaptiveAvgPool2d, MaxPool2d, ReLU, ReLU6, Dropout, Dropout1d, Dropout2d, Dropout3d, "
    "Flatten, Identity"
)
NORM64 = nn.BatchNorm2d(2, affine=False).double()
RELU5 = nn.ReLU6()
RELU5.max_val = 5.0


@pytest.mark.parametrize(
    ("module", "reasons"),
    [
        (nn.GELU(), "the model (GELU)"),
        (nn.Sequential(nn.GELU(), nn.Tanh()), "0 (GELU); 1 (Tanh)"),
        (nn.BatchNorm1d(3), "the model (BatchNorm1d)"),
        (nn.Sequential(nn.AlphaDropout(), nn.FeatureAlphaDropout()), "0 (AlphaDropout); 1 (FeatureAlphaDropout)"),
        (nn.MultiheadAttention(4, 1), "the model (MultiheadAttention); out_proj (NonDynamicallyQuantizableLinear)"),
        (
            nn.Sequential(nn.Sequential(nn.Linear(3, 4).double())),
            "0.0 (Linear with torch.float64 on cpu; it must be torch.float32 on the CPU)",
        ),
        (
            nn.Sequential(nn.Linear(3, 4, device="meta")),
            "0 (Linear with torch.float32 on meta; it must be torch.float32 on the CPU)",
        ),
        (
            nn.Sequential(nn.Sequential(NORM64)),
            "0.0 (BatchNorm2d with torch.float64 on cpu; it must be torch.float32 on the CPU)",
        ),
        (own(nn.ReLU()), "the model (ReLU with a forward() of its own)"),
        (OwnConvolution(2, 3, 1), "the model (OwnConvolution)"),
        (
            nn.Conv2d(2, 3, 1, padding_mode="reflect"),
            "the model (Conv2d with padding_mode='reflect'; it must be 'zeros')",
        ),
        (nn.Conv2d(2, 3, 3, dilation=(1, 2)), "the model (Conv2d with dilation=(1, 2); it must be 1)"),
        (nn.Conv2d(2, 3, 3, dilation=(2, 1)), "the model (Conv2d with dilation=(2, 1); it must be 1)"),
        (
            nn.Conv2d(2, 3, (3, 4), padding="same"),
            "the model (Conv2d with padding='same' and an even kernel (3, 4); it must be numbers)",
        ),
        (layers.Conv2d(2, 3, 3, dilation=2), "the model (Conv2d with dilation=(2, 2); it must be 1)"),
        (
            nn.MaxPool2d(2, dilation=2),
            "the model (MaxPool2d with dilation or return_indices; they must be 1 and False)",
        ),
        (
            nn.MaxPool2d(2, dilation=(1, 2)),
            "the model (MaxPool2d with dilation or return_indices; they must be 1 and False)",
        ),
        (
            nn.MaxPool2d(2, return_indices=True),
            "the model (MaxPool2d with dilation or return_indices; they must be 1 and False)",
        ),
        (RELU5, "the model (ReLU6 with min_val=0.0 and max_val=5.0; they must be 0 and 6)"),
        (Own(nn.Parameter(torch.ones(1))), "the model (Own)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_module_without_portable_arithmetic_is_named_with_its_reason(module: nn.Module, reasons: str) -> None:
    kinds = [type(each) for each in module.modules()]
    with pytest.raises(ValueError, match="no portable") as raised:
        portable(module)
    assert str(raised.value) == (
        f"no portable arithmetic for {reasons}. Use native arithmetic, or replace them: there are kernels for {KERNELS}"
    )
    assert [type(each) for each in module.modules()] == kinds


def test_a_module_that_only_calls_others_stays_and_so_do_those_without_arithmetic() -> None:
    model = portable(nn.Sequential(Own(), nn.Flatten(), nn.Identity(), nn.Conv2d(2, 3, 4, padding=(1, 2))))
    assert [type(each) for each in model] == [Own, nn.Flatten, nn.Identity, layers.Conv2d]  # type: ignore[attr-defined]
    assert type(model[0].inner) is layers.Linear  # type: ignore[index]
    assert portable(model) is model
    weight = model[3].weight  # type: ignore[index]
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_without_kernels_nothing_is_exchanged(remove_library: Callable[[], None]) -> None:
    remove_library()
    module = nn.ReLU()
    with pytest.raises(RuntimeError, match=r"^no kernel was built for this processor"):
        portable(module)
    assert type(module) is nn.ReLU
