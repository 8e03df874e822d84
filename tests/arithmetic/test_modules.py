"""portable(model) keeps names, states and hooks of torchvision's networks; training steps give equal bits."""

from __future__ import annotations

import copy
import functools
import hashlib
import io
import statistics
from collections.abc import Callable
from typing import cast

import pytest
import torch
import torchvision
from torch import Tensor, nn

from in4310repro.arithmetic import SGD, cross_entropy, portable
from in4310repro.arithmetic.same import Conv2dSame
from tests.arithmetic.formulas import assert_same_bits_everywhere, record_calls, root_mean_square

SHALLOW = ["resnet18", "mobilenet_v2", *(pytest.param(n, marks=pytest.mark.slow) for n in ("resnet50", "vgg11_bn"))]
DEEP = [pytest.param(n, marks=pytest.mark.slow) for n in ("resnet34", "resnet101", "resnet152", "vgg16", "vgg16_bn")]


def network(name: str) -> nn.Module:
    """Return a He-initialised torchvision network with 6 classes; a VGG gets a small head."""
    return copy.deepcopy(draw_network(name))


@functools.lru_cache(maxsize=2)
def draw_network(name: str) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        model: nn.Module = getattr(torchvision.models, name)(weights=None, num_classes=6)
        if name.startswith("vgg"):
            model.classifier = nn.Sequential(nn.Linear(25088, 16), nn.ReLU(True), nn.Linear(16, 6))
        if name == "mobilenet_v2":
            model.classifier[0].p = 0.0  # type: ignore[index, union-attr]
    model.to_empty(device="cpu")
    for place, value in model.state_dict().items():
        spread = (2 / value[0].numel()) ** 0.5 if value.ndim > 1 else 0
        start = 1 if place.endswith(("running_var", "weight")) and value.ndim == 1 else 0
        drawn = torch.randn(value.shape, generator=generator) * spread + start
        value.copy_(drawn.to(value.dtype))
    return model


def batch(images: int = 8, side: int = 32, seed: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(images, 3, side, side, generator=generator)
    return values, torch.randint(0, 6, (images,), generator=generator)


def train(model: nn.Module, images: Tensor, labels: Tensor, steps: int = 2) -> list[Tensor]:
    """Return the losses, parameters and buffers after `steps` steps of SGD."""
    model.train()
    optimizer, losses = SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = cross_entropy(model(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.detach())
    return [*losses, *[value.detach().clone() for value in model.state_dict().values()]]


def sha256(tensors: list[Tensor]) -> str:
    digest = hashlib.sha256()
    for value in tensors:
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def errors(model: nn.Module, exact: nn.Module, seed: int) -> list[float]:
    """Return the relative root mean square error of the scores and of each gradient, against an exact model."""
    images, labels = batch(4, seed=seed)
    truth, scores = exact(images.double()), model(images)
    torch.nn.functional.cross_entropy(truth, labels).backward()  # type: ignore[no-untyped-call]
    torch.nn.functional.cross_entropy(scores, labels).backward()  # type: ignore[no-untyped-call]
    pairs = [(scores.detach(), truth.detach())]
    pairs += [(ours.grad, theirs.grad) for ours, theirs in zip(model.parameters(), exact.parameters(), strict=True)]
    return [root_mean_square(ours - theirs) / max(root_mean_square(theirs), 1e-9) for ours, theirs in pairs]


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", SHALLOW)
def test_scores_and_gradients_of_a_network_are_as_near_to_double_as_torchs(name: str, training: bool) -> None:
    # A ReLU on the other side of zero throws either one off by chance, most of all in training with few images.
    seeds = (3, 4, 5) if training else (3,)

    def of(make: Callable[[nn.Module], nn.Module], seed: int) -> list[float]:
        return errors(make(network(name)).train(training), network(name).double().train(training), seed)

    ours, theirs = ([of(make, seed) for seed in seeds] for make in (portable, lambda model: model))
    assert ours[0][0] <= 1.2 * theirs[0][0] + 1e-7
    assert sum(map(statistics.median, ours)) <= 5 * sum(map(statistics.median, theirs))


@pytest.mark.parametrize("name", [*SHALLOW, *DEEP])
def test_scores_of_every_network_agree_with_double(name: str) -> None:
    images, _ = batch(2)
    with torch.no_grad():
        exact = network(name).double().eval()(images.double())
        scores = portable(network(name)).eval()(images)
    # Up to 152 layers of rounding.
    assert root_mean_square(scores - exact) <= 2e-5 * root_mean_square(exact)


def test_two_training_steps_have_equal_bits_on_every_instruction_set_and_number_of_threads() -> None:
    assert_same_bits_everywhere(lambda: train(portable(network("resnet18")), *batch(17)))


@pytest.mark.parametrize(
    "name", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet50", "vgg11_bn")), "mobilenet_v2"]
)
def test_a_training_step_of_other_networks_has_equal_bits_everywhere(name: str) -> None:
    assert_same_bits_everywhere(lambda: train(portable(network(name)), *batch(3), steps=1))


def test_the_layout_of_the_images_does_not_move_a_bit() -> None:
    images, labels = batch()
    layouts = [images, images.contiguous(memory_format=torch.channels_last)]
    hashes = {sha256(train(portable(network("resnet18")), layout, labels, steps=1)) for layout in layouts}
    assert len(hashes) == 1


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "mobilenet_v2"])
def test_scores_do_not_depend_on_the_images_beside(name: str) -> None:
    model = portable(network(name)).eval()
    images, _ = batch(24)
    with torch.no_grad():
        together = model(images)
        for size in (1, 7, 16):
            parts = [model(images[first : first + size]) for first in range(0, 24, size)]
            assert torch.equal(torch.cat(parts), together), size


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg11_bn", "mobilenet_v2"])
def test_hooks_see_the_output_of_every_module_and_move_no_bit(name: str) -> None:
    model, watched = portable(network(name)), portable(network(name))
    seen: dict[str, Tensor] = {}

    def keep(place: str) -> Callable[[nn.Module, object, Tensor], None]:
        # Cloned: ReLU and the sum overwrite it in place.
        return lambda _module, _inputs, output: seen.__setitem__(place, output.detach().clone())

    for place, module in watched.named_modules():
        module.register_forward_hook(keep(place))
    assert sha256(train(model, *batch(), steps=1)) == sha256(train(watched, *batch(), steps=1))
    # A ReLU is called more than once; its last output counts.
    assert set(seen) == {place for place, _ in watched.named_modules()}
    assert any((value < 0).any() for place, value in seen.items() if "bn1" in place or place.endswith("1"))


def test_a_hook_on_one_batch_norm_sees_torchs_values() -> None:
    seen: list[Tensor] = []
    for model in (network("resnet18"), portable(network("resnet18"))):
        handle = model.get_submodule("layer2.0.bn1").register_forward_hook(
            lambda _module, _inputs, output: seen.append(output.detach().clone())
        )
        model.train()(batch()[0])
        handle.remove()
    torch.testing.assert_close(seen[1], seen[0], rtol=1e-3, atol=1e-4)


CONVOLUTIONS = {
    "few steps, a vector cut": nn.Conv2d(3, 37, 3, stride=2, padding=1),
    "several segments": nn.Conv2d(150, 20, 1, bias=False),
    "groups": nn.Conv2d(6, 40, 3, padding=1, groups=2),
    "depth-wise": nn.Conv2d(19, 19, 5, padding=2, groups=19),
    "depth-wise, stride 2": nn.Conv2d(64, 64, 3, stride=2, padding=1, groups=64),
    "padded more below and on the right": Conv2dSame(19, 19, 4, stride=2, groups=19),
}


@pytest.mark.parametrize("activation", [[], [nn.ReLU()], [nn.ReLU6()], [nn.ReLU6(), nn.ReLU()]], ids=len)
@pytest.mark.parametrize("convolution", CONVOLUTIONS.values(), ids=list(CONVOLUTIONS))
def test_a_batch_norm_of_evaluation_that_is_computed_with_the_convolution_moves_no_bit(
    convolution: nn.Conv2d, activation: list[nn.Module]
) -> None:
    norm = nn.BatchNorm2d(convolution.out_channels, eps=1e-3)
    with torch.no_grad():
        for values in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
            cast("Tensor", values).copy_(torch.linspace(0.5, 3, convolution.out_channels))
    model = portable(nn.Sequential(*copy.deepcopy([convolution, norm, *activation]))).eval()
    images = torch.randn(3, convolution.in_channels, 7, 9, generator=torch.Generator().manual_seed(1))
    with record_calls() as calls:
        apart = model(images).detach()
    assert [name for name, *_ in calls][:2] == ["convolution", "normalise_by"]

    def joined() -> list[Tensor]:
        with torch.no_grad():
            return [model(images)]

    with record_calls() as calls:
        assert sha256(joined()) == sha256([apart])
    assert [name for name, *_ in calls] == ["normalisation_coefficients", "convolution"]
    assert_same_bits_everywhere(joined)


def test_a_batch_norm_is_computed_apart_where_it_is_looked_at_or_in_training() -> None:
    images, _ = batch(2)
    model = portable(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.BatchNorm2d(8, track_running_stats=False)))
    with torch.no_grad():
        for training, place in ((False, "0"), (False, "1"), (True, None)):
            handle = None if place is None else model.get_submodule(place).register_forward_hook(lambda *_: None)
            with record_calls() as calls:
                model.train(training)(images)
            assert "normalisation_coefficients" not in [name for name, *_ in calls]
            if handle is not None:
                handle.remove()
        with record_calls() as calls:
            model.eval()(images)
    names = ["normalisation_coefficients", "convolution", "normalise"]
    assert [name for name, *_ in calls][:3] == names


def test_a_batch_norm_of_another_number_of_channels_is_refused() -> None:
    model = portable(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(7))).eval()
    sentence = r"running mean: torch\.float32 of shape \(7,\) on cpu; it must be torch\.float32 of shape \(8,\)"
    with torch.no_grad(), pytest.raises(ValueError, match=sentence):
        model(batch(1)[0])


@pytest.mark.parametrize("name", SHALLOW)
def test_names_states_and_copies_stay(name: str) -> None:
    model, plain = network(name), network(name)
    assert portable(model) is model
    assert [name for name, _ in model.named_modules()] == [name for name, _ in plain.named_modules()]
    assert list(model.state_dict()) == list(plain.state_dict())
    assert all(isinstance(ours, type(theirs)) for ours, theirs in zip(model.modules(), plain.modules(), strict=True))
    plain.load_state_dict(model.state_dict())
    assert portable(portable(model)) is model


def test_a_prepared_model_can_be_copied_and_saved() -> None:
    model = portable(network("resnet18"))
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    models = (copy.deepcopy(model), torch.load(file, weights_only=False), model)
    assert len({sha256(train(each, *batch(), steps=1)) for each in models}) == 1


def test_a_forward_of_an_objects_own_is_called_and_refused_before() -> None:
    model, calls = portable(network("resnet18")).eval(), []
    norm = model.get_submodule("layer1.0.bn1")
    plain = norm.forward

    def own(maps: Tensor) -> Tensor:
        calls.append(maps)
        normalised: Tensor = plain(maps)
        return normalised

    norm.forward = own
    model(batch(1)[0])
    assert len(calls) == 1
    with pytest.raises(ValueError, match=r"layer1\.0\.bn1 \(BatchNorm2d with a forward\(\) of its own\)"):
        portable(model)


def test_a_training_step_has_equal_bits_where_torch_flushes_denormals() -> None:
    images, labels = batch(2)
    # Softmax of the first class is 1e-40, below the smallest normal number.
    states = []
    for flushed in (False, True):
        model = portable(network("mobilenet_v2"))
        with torch.no_grad():
            model.classifier[1].bias[0] = -92.0  # type: ignore[index, union-attr]
        torch.set_flush_denormal(flushed)
        try:
            states.append(
                [value.view(torch.int32) for value in train(model, images, labels) if value.is_floating_point()]
            )
        finally:
            torch.set_flush_denormal(False)
    assert sha256(states[0]) == sha256(states[1])


@pytest.mark.parametrize("momentum", [0.1, 0.3, None])
@pytest.mark.parametrize("track", [True, False])
def test_running_statistics_move_as_torchs(momentum: float | None, track: bool) -> None:
    plain = nn.BatchNorm2d(6, momentum=momentum, track_running_stats=track)
    model = portable(copy.deepcopy(plain))
    for seed in range(3):
        images = torch.randn(5, 6, 4, 3, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(model.train()(images), plain.train()(images), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model.eval()(images), plain.eval()(images), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model.state_dict(), plain.state_dict(), rtol=1e-6, atol=1e-7)


def test_frozen_batch_norm_gives_torchs_gradients() -> None:
    images = torch.randn(5, 6, 4, 3, generator=torch.Generator().manual_seed(0))
    plain = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU()).eval()
    model = portable(copy.deepcopy(plain))
    for module in (plain, model):
        module(images).square().sum().backward()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("dynamic", [None, True])
def test_a_compiled_network_has_the_bits_of_the_kernels(dynamic: bool | None) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm, self.relu = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU6()
            self.head = nn.Sequential(nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6))

        def forward(self, images: Tensor) -> Tensor:
            scores: Tensor = self.head(2 * self.relu(self.norm(self.first(images))))
            return scores

    def step(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(model(images), labels)

    torch.compiler.reset()
    plain = portable(Own())
    model = copy.deepcopy(plain)
    compiled = torch.compile(step, backend="eager", dynamic=dynamic)
    try:
        for images, side in ((2, 20), (3, 20), (3, 24)):
            found, expected = compiled(model, *batch(images, side)), step(plain, *batch(images, side))
            assert torch.equal(found, expected)
            for loss in (found, expected):
                loss.backward()  # type: ignore[no-untyped-call]
    finally:
        torch.compiler.reset()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        assert ours.grad is not None
        assert torch.equal(ours.grad, theirs.grad)  # type: ignore[arg-type]
