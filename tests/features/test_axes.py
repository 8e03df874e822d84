"""The channel axis of each module's output: as known by hand after layers and modules, and refused after functions."""

import re
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models
from torchvision.ops import Permute

from in4310repro.arithmetic.networks import BasicBlock
from in4310repro.features import FeatureStatistics
from in4310repro.features.axes import own_axis
from tests.features.conftest import measure

Samples = Literal["images", "positions"]
IMAGES = torch.randn(6, 3, 14, 14, generator=torch.Generator().manual_seed(1))
SIGNALS = torch.randn(6, 3, 14, generator=torch.Generator().manual_seed(2))
VIDEOS = torch.randn(6, 3, 4, 7, 7, generator=torch.Generator().manual_seed(3))
TOKENS = torch.randn(6, 5, 12, generator=torch.Generator().manual_seed(4))


class Made(nn.Module):
    """A module with submodules, whose forward pass is a given function."""

    def __init__(self, function: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, *arguments: Any) -> Any:
        return self.function(self, *arguments)


def conv(outputs: int = 7, kernel: int = 1, stride: int = 2) -> nn.Conv2d:
    """Return a convolution that gives 7 x 7 positions for IMAGES and, by default, 7 channels."""
    return nn.Conv2d(3, outputs, kernel, stride)


def attention(m: Any, x: Tensor) -> Tensor:
    """Compute multi-head attention by functions instead of modules."""
    q, k, v = m.qkv(x).reshape(6, 5, 3, 4, 5).permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(-2, -1)).softmax(dim=-1)
    mixed: Tensor = m.act((weights @ v).transpose(1, 2).reshape(6, 5, 20))
    return mixed


def shuffled(m: Any, x: Tensor) -> Tensor:
    one, other = m.conv(x).chunk(2, dim=1)
    joined = torch.cat([one, functional.relu(other)], dim=1).view(6, 2, 7, 7, 7)
    mixed: Tensor = m.act(torch.transpose(joined, 1, 2).contiguous().view(6, -1, 7, 7))
    return mixed


LAST = Permute([0, 2, 3, 1])
# A model, its input, the module, and the axis of its channels in the order in which hooks see it.
CASES: dict[str, tuple[nn.Module, Tensor, str, int]] = {
    "an activation after a convolution": (nn.Sequential(conv(), nn.GELU()), IMAGES, "1", 1),
    "torchvision's Permute": (nn.Sequential(conv(), LAST), IMAGES, "1", 3),
    "an activation behind Permute": (nn.Sequential(conv(), LAST, nn.GELU()), IMAGES, "2", 3),
    "a linear layer over the last of four axes": (nn.Sequential(conv(), LAST, nn.Linear(7, 7)), IMAGES, "2", 3),
    "its activation": (nn.Sequential(conv(), LAST, nn.Linear(7, 7), nn.ReLU()), IMAGES, "3", 3),
    "there and back": (nn.Sequential(conv(), LAST, nn.LayerNorm(7), Permute([0, 3, 1, 2]), nn.Tanh()), IMAGES, "4", 1),
    "its dropout": (nn.Sequential(conv(), LAST, nn.LogSigmoid(), nn.Dropout(), nn.Identity()), IMAGES, "4", 3),
    "norms over several axes": (nn.Sequential(conv(), nn.LayerNorm([7, 7, 7]), nn.LayerNorm([7, 7])), IMAGES, "2", 1),
    "and behind Permute": (nn.Sequential(conv(), LAST, nn.LayerNorm([7, 7, 7])), IMAGES, "2", 3),
    "a group norm": (nn.Sequential(conv(), nn.GroupNorm(7, 7), nn.SiLU()), IMAGES, "2", 1),
    "pooling and Upsample": (nn.Sequential(conv(), nn.AvgPool2d(1), nn.Upsample(14), nn.ReLU()), IMAGES, "3", 1),
    "PixelShuffle": (nn.Sequential(conv(28), nn.PixelShuffle(2), nn.ReLU()), IMAGES, "2", 1),
    "Flatten of positions": (nn.Sequential(conv(49), nn.Flatten(2), nn.ReLU()), IMAGES, "2", 1),
    "Flatten of all": (nn.Sequential(conv(), nn.Flatten(), nn.ReLU()), IMAGES, "2", 1),
    "patches as tokens": (Made(lambda m, x: m.a(m.c(x).flatten(2).mT), c=conv(49), a=nn.GELU()), IMAGES, "a", 2),
    "a signal": (nn.Sequential(nn.Conv1d(3, 14, 1), nn.ReLU()), SIGNALS, "1", 1),
    "a video": (nn.Sequential(nn.Conv3d(3, 7, 1), nn.ReLU()), VIDEOS, "1", 1),
    "a video with channels last": (
        Made(lambda m, x: m.a(m.l(x.movedim(1, -1))), l=nn.Linear(3, 7), a=nn.ReLU()),
        VIDEOS,
        "a",
        4,
    ),
    "tokens that the model is given": (nn.Sequential(nn.ReLU()), TOKENS, "0", 2),
    "tokens": (nn.Sequential(nn.Linear(12, 5), nn.ReLU()), TOKENS, "1", 2),
    "a function, and dropout": (
        Made(lambda m, x: m.d(functional.gelu(m.c(x).permute(0, 2, 3, 1)) * 2 + 1), c=conv(), d=nn.Dropout()),
        IMAGES,
        "d",
        3,
    ),
    "a whole block": (
        Made(lambda m, x: m.b(x), b=Made(lambda m, x: functional.relu(m.c(x).movedim(1, 3)), c=conv())),
        IMAGES,
        "b",
        3,
    ),
    "a sum with a branch": (
        Made(lambda m, x: m.a(m.c(x) + m.d(x) * m.d(x).mean((2, 3), keepdim=True)), c=conv(5), d=conv(5), a=nn.ReLU()),
        IMAGES,
        "a",
        1,
    ),
    "a sum in place": (
        Made(lambda m, x: m.a(m.c(x).add_(m.d(x))), c=conv(5), d=conv(5), a=nn.ReLU(inplace=True)),
        IMAGES,
        "a",
        1,
    ),
    "a layer with a forward() of its own": (
        nn.Sequential(
            type("Last", (nn.Conv2d,), {"forward": lambda m, x: nn.Conv2d.forward(m, x).permute(0, 2, 3, 1)})(
                3, 5, 1, 2
            )
        ),
        IMAGES,
        "0",
        3,
    ),
    "a norm with a forward() of its own": (
        nn.Sequential(
            conv(5),
            type("Norm", (nn.LayerNorm,), {"forward": lambda m, x: nn.LayerNorm.forward(m, x.mT.mT.movedim(1, 3))})(5),
        ),
        IMAGES,
        "1",
        3,
    ),
    "a sum of as many channels as positions": (
        Made(lambda m, x: m.a(m.c(x) + m.d(x) * m.d(x).mean((2, 3), keepdim=True)), c=conv(), d=conv(), a=nn.ReLU()),
        IMAGES,
        "a",
        1,
    ),
    "a sum with what the model is given": (
        Made(lambda m, x: m.a(m.l(x) + x), l=nn.Linear(3, 3), a=nn.ReLU()),
        IMAGES.movedim(1, 3),
        "a",
        3,
    ),
    "a mean over one of two axes": (
        Made(lambda m, x: m.a(m.c(x).movedim(1, 3).mean(1, keepdim=True)), c=conv(), a=nn.ReLU()),
        IMAGES,
        "a",
        3,
    ),
    "squeeze": (Made(lambda m, x: m.a(m.c(x).mT.unsqueeze(2).squeeze(-3)), c=conv(), a=nn.ReLU()), IMAGES, "a", 1),
    "heads of attention": (Made(attention, qkv=nn.Linear(12, 60), act=nn.ReLU()), TOKENS, "act", 2),
    "a channel shuffle": (Made(shuffled, conv=conv(14), act=nn.ReLU()), IMAGES, "act", 1),
    "an index": (Made(lambda m, x: m.a(m.c(x)[:, None, :, 1:, ::2][:, 0]), c=conv(), a=nn.ReLU()), IMAGES, "a", 1),
    "an index behind an ellipsis": (
        Made(lambda m, x: m.a(m.c(x).movedim(1, 2)[..., torch.tensor([4, 0, 2]), ::2]), c=conv(), a=nn.ReLU()),
        IMAGES,
        "a",
        2,
    ),
    "einsum": (
        Made(lambda m, x: m.a(torch.einsum("nchw,dc->nhwd", m.c(x), torch.eye(7))), c=conv(), a=nn.ReLU()),
        IMAGES,
        "a",
        3,
    ),
    "a matrix product": (
        Made(lambda m, x: m.a(m.c(x).permute(0, 2, 3, 1) @ torch.eye(7)), c=conv(), a=nn.ReLU()),
        IMAGES,
        "a",
        3,
    ),
    "a product with a matrix for each row": (
        Made(lambda m, x: m.a(m.c(x).permute(0, 2, 3, 1) @ torch.eye(7).expand(7, 7, 7)), c=conv(), a=nn.ReLU()),
        IMAGES,
        "a",
        3,
    ),
    "a product from the left": (
        Made(lambda m, x: m.a((torch.eye(5) @ m.l(x[:, 0]).T).T[..., None]), l=nn.Linear(12, 5), a=nn.ReLU()),
        TOKENS,
        "a",
        1,
    ),
    "a layer that moves its own result": (
        nn.Sequential(
            type("Last", (nn.Conv2d,), {"forward": lambda m, x: nn.Conv2d.forward(m, x).permute(0, 2, 3, 1)})(
                3, 7, 1, 2
            )
        ),
        IMAGES,
        "0",
        3,
    ),
    "an attribute out_features": (
        nn.Sequential(Made(lambda m, x: m.c(x), c=conv()), nn.ReLU()).apply(lambda m: setattr(m, "out_features", 7)),
        IMAGES,
        "0",
        1,
    ),
    "an encoder layer": (nn.Sequential(nn.TransformerEncoderLayer(12, 2, 5, batch_first=True)), TOKENS, "0.dropout", 2),
    "attention": (
        Made(
            lambda m, x: m.d(m.m(x, x, x, need_weights=False)[0][:, None]),
            m=nn.MultiheadAttention(12, 2, batch_first=True),
            d=nn.Dropout(),
        ),
        TOKENS,
        "d",
        3,
    ),
    "a recurrent layer": (
        Made(lambda m, x: m.a(m.r(x)[0]), r=nn.GRU(12, 5, batch_first=True), a=nn.ReLU()),
        TOKENS,
        "a",
        2,
    ),
}
# After functions that move axes, or where the sizes do not tell the channels: refused, and right where told.
REFUSED = (
    "Flatten of positions",
    "patches as tokens",
    "a function, and dropout",
    "a whole block",
    "a sum of as many channels as positions",
    "a mean over one of two axes",
    "squeeze",
    "heads of attention",
    "an index",
    "an index behind an ellipsis",
    "einsum",
    "a matrix product",
    "a product with a matrix for each row",
    "a product from the left",
    "a layer that moves its own result",
    "an encoder layer",
    "attention",
)


def rows_by_numpy(values: Tensor, axis: int, samples: str) -> NDArray[Any]:
    numbers: NDArray[Any] = np.moveaxis(values.double().numpy(), axis, -1)
    numbers = numbers.reshape(len(numbers), -1, numbers.shape[-1])
    return numbers.mean(axis=1) if samples == "images" else numbers.reshape(-1, numbers.shape[-1])


def copy_of(model: nn.Module, name: str, images: Tensor) -> Tensor:
    copies: list[Tensor] = []
    handle = model.get_submodule(name).register_forward_hook(lambda *call: copies.append(call[2].clone()))
    with torch.no_grad():
        model.eval()(images)
    handle.remove()
    return copies[0]


def assert_mean(statistics: FeatureStatistics, name: str, *outputs: tuple[Tensor, int]) -> None:
    """Assert that a module's mean is that of `outputs`, pairs (tensor, channel axis) with equally many images."""
    means = [
        output.detach().double().mean(dim=[dim for dim in range(output.ndim) if dim != axis])
        for output, axis in outputs
    ]
    torch.testing.assert_close(statistics.result()[name].mean, torch.stack(means).mean(dim=0), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("samples", ["images", "positions"])
@pytest.mark.parametrize("case", CASES)
def test_statistics_are_of_the_channels_that_are_known_by_hand(case: str, samples: Samples) -> None:
    model, images, name, axis = CASES[case]
    values = copy_of(model, name, images)
    expected = rows_by_numpy(values, axis, samples)
    told = {name: axis} if case in REFUSED else {}
    if told:
        with pytest.raises(ValueError, match=rf"module '{name}': its output .* channel_axis={{'{name}': AXIS}} does"):
            measure(model, name, images, samples)
    result = measure(model, name, images, samples, "exact", top_images=1, channel_axis=told)
    assert result.top_images is not None
    assert len(result.mean) == len(result.top_images.never_positive) == values.shape[axis]
    np.testing.assert_allclose(result.mean.numpy(), expected.mean(axis=0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(result.covariance.numpy(), np.cov(expected.T, bias=True), rtol=1e-6, atol=1e-7)
    peaks = np.moveaxis(values.double().numpy(), axis, 1).reshape(len(values), values.shape[axis], -1).max(axis=2)
    assert result.top_images.images[:, 0].tolist() == peaks.argmax(axis=0).tolist()


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case][3] > 1])
def test_the_second_axis_would_be_wrong(case: str) -> None:
    model, images, name, axis = CASES[case]
    values = copy_of(model, name, images)
    twins = [rows_by_numpy(values, each, "images").mean(axis=0) for each in (1, axis)]
    assert twins[0].shape != twins[1].shape or np.abs(twins[0] - twins[1]).max() > 1e-3


def test_a_module_with_two_places_has_the_axis_of_each() -> None:
    parts = {"c": conv(), "l": nn.Linear(7, 7), "a": nn.ReLU()}
    model = Made(lambda m, x: m.a(m.l(m.a(m.c(x)).permute(0, 2, 3, 1))), **parts).eval()
    with FeatureStatistics(model, ["a"], "images", calls="keep") as statistics:
        model(IMAGES)
    with torch.no_grad():
        first = model.get_submodule("c")(IMAGES).relu()
        second = model.get_submodule("l")(first.permute(0, 2, 3, 1)).relu()
    assert_mean(statistics, "a#0", (first, 1))
    assert_mean(statistics, "a#1", (second, 3))


def test_parts_of_an_output_have_axes_of_their_own() -> None:
    model = Made(lambda m, x: m.b(x), b=Made(lambda m, x: (m.c(x), {"last": m.c(x).movedim(1, 3)}), c=conv(5))).eval()
    with FeatureStatistics(model, ["b"], "images", channel_axis={"b[1][last]": 3}) as statistics:
        first, second = model(IMAGES)
    assert_mean(statistics, "b[0]", (first, 1))
    assert_mean(statistics, "b[1][last]", (second["last"], 3))


# What hides the channels of a convolution from the module that follows.
HIDDEN: dict[str, Callable[..., Any]] = {
    "a transform that no rule knows": lambda m, x: m.a(torch.fft.fft2(m.c(x)).abs()),
    "numbers from elsewhere": lambda m, x: m.a(torch.from_numpy(m.c(x).numpy().swapaxes(1, 3))),
    "two opinions": lambda m, x: m.a(m.c(x) + m.c(x).permute(0, 2, 3, 1)),
    "a stack of two opinions": lambda m, x: m.a(
        torch.stack([m.c(x), m.c(x).mean(1, keepdim=True).expand(6, 7, 7, 7) * 2], dim=1)[:, 1]
    ),
    "a new axis": lambda m, x: m.a(m.b(torch.fft.fft2(m.c(x)).abs())[:, None, 0].expand(6, 7, 7, 7)),
    "channels on two axes": lambda m, x: m.a(m.e(x).reshape(6, 7, 7, 7, 7)[..., 0]),
}


@pytest.mark.parametrize("case", HIDDEN)
def test_an_axis_that_nothing_tells_is_refused_and_can_be_told(case: str) -> None:
    model = Made(HIDDEN[case], c=conv(), e=conv(49), a=nn.ReLU(), b=nn.Tanh()).eval()
    message = (
        r"module 'a': its output has shape \(6, 7, 7, 7\), and no layer .* channel_axis={'a': AXIS} does, .* 1 to 3"
    )
    with FeatureStatistics(model, ["a"], "images") as statistics, pytest.raises(ValueError, match=message):
        model(IMAGES)
    with FeatureStatistics(model, ["a"], "images", channel_axis={"a": 3}) as statistics:
        output = model(IMAGES)
    assert_mean(statistics, "a", (output, 3))
    # Counts need no channels.
    with FeatureStatistics(model, ["a"], histogram=True, samples=None) as counts:
        model(IMAGES)
    assert counts.result()["a"].values == output.numel()


def test_what_follows_a_module_whose_axis_was_told_has_it_too() -> None:
    model = Made(lambda m, x: m.b(m.a(torch.fft.fft2(m.c(x)).abs())), c=conv(), a=nn.ReLU(), b=nn.Tanh()).eval()
    with FeatureStatistics(model, ["a", "b"], "images", channel_axis={"a": 3}) as statistics:
        output = model(IMAGES)
    assert_mean(statistics, "b", (output, 3))


def test_an_axis_told_by_the_name_of_a_class_is_that_of_all_its_modules() -> None:
    model = Made(lambda m, x: m.b(m.a(m.c(x).movedim(1, 3)).mT), c=conv(5), a=nn.ReLU(), b=nn.ReLU()).eval()
    with FeatureStatistics(model, ["a", "b"], "images", channel_axis={"ReLU": 3, "b": 2}) as statistics:
        output = model(IMAGES)
    assert len(statistics.result()["a"].mean) == 5
    assert_mean(statistics, "b", (output, 2))
    with pytest.raises(ValueError, match=r"channel_axis names \['Tanh'\]; the modules are \['a'\], or name their"):
        FeatureStatistics(model, ["a"], "images", channel_axis={"Tanh": 3})


@pytest.mark.parametrize("name", ["0", "2", "3"])
def test_an_axis_with_other_channels_than_the_layer_has_is_refused(name: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 5, 1), Permute([0, 2, 3, 1]), nn.Linear(5, 9), nn.ReLU()).eval()
    right = 1 if name == "0" else 3
    channels = 5 if name == "0" else 9
    message = (
        rf"module '{name}': .*, and {channels} channels on axis {right}; .* axis 2, which has 14: it must be {right}"
    )
    with FeatureStatistics(model, [name], "images", channel_axis={name: 2}), pytest.raises(ValueError, match=message):
        model(IMAGES)
    assert len(measure(model, name, IMAGES, "images", channel_axis={name: right}).mean) == channels


@pytest.mark.parametrize(
    ("layer", "images", "axis"),
    [
        (nn.Linear(14, 4), IMAGES, 3),
        (nn.LayerNorm(14), IMAGES, 3),
        (nn.Conv1d(3, 4, 1), SIGNALS, 1),
        (Made(lambda m, x: m.l(x.mean(2) * 2), l=nn.Linear(5, 4)), TOKENS, 1),
    ],
)
def test_a_convention_that_a_later_layer_contradicts_is_an_error(layer: nn.Module, images: Tensor, axis: int) -> None:
    model = nn.Sequential(nn.ReLU(), nn.Identity(), layer).eval()
    with (
        FeatureStatistics(model, ["0"], "images"),
        pytest.raises(
            ValueError, match=rf"module '0' was measured .* from axis {axis} of .*channel_axis={{'0': AXIS}}"
        ),
    ):
        model(images)
    assert len(measure(model, "0", images, "images", channel_axis={"0": axis}).mean) == images.shape[axis]


def test_parts_that_are_called_by_themselves_are_watched_too() -> None:
    model = nn.Sequential(nn.Sequential(conv(), LAST, nn.GELU()), nn.Flatten()).eval()
    with FeatureStatistics(model, ["0.2"], "images") as statistics:
        output = model[0](IMAGES)
    assert_mean(statistics, "0.2", (output, 3))


def test_images_by_keyword_are_images() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.ReLU()

        def forward(self, *, images: Tensor) -> Tensor:
            result: Tensor = self.a(images)
            return result

    model = Named()
    with FeatureStatistics(model, ["a"], "images") as statistics:
        model(images=IMAGES)
    assert len(statistics.result()["a"].mean) == 3


@pytest.mark.parametrize(
    ("layer", "ndim", "axis"), [(BasicBlock(3, 3), 4, 1), (nn.Transformer(4, 2, 1, 1, 4, batch_first=True), 3, 2)]
)
def test_layers_whose_functions_are_not_seen_have_an_axis_by_definition(layer: nn.Module, ndim: int, axis: int) -> None:
    assert own_axis(layer, "", ndim) == axis


def test_a_compiled_model_says_that_only_layers_are_known() -> None:
    torch.compiler.reset()
    model = nn.Sequential(conv(), LAST, nn.GELU()).eval()
    compiled: Any = torch.compile(model, backend="eager")
    assert len(measure(compiled, "0", IMAGES, "images").mean) == 7
    torch.compiler.reset()
    with FeatureStatistics(compiled, ["2"], "images"), pytest.raises(ValueError, match="model that was compiled"):
        compiled(IMAGES)
    torch.compiler.reset()


def watchers() -> dict[str, int]:
    """Return the number of torch's global hooks by type."""
    tables = vars(torch.nn.modules.module).items()
    return {name: len(table) for name, table in tables if name.startswith("_global_") and isinstance(table, dict)}


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_nothing_watches_afterwards_whatever_happened(error: type[BaseException] | None) -> None:
    def fail(m: Any, x: Tensor) -> Tensor:
        result: Tensor = m.a(m.c(x))
        if error is not None:
            raise error
        return result

    model, before = Made(fail, c=conv(), a=nn.GELU()).eval(), watchers()
    # Two at once, of which the first to enter is not the last to leave.
    first, second = (FeatureStatistics(model, ["a"], "images") for _ in range(2))
    with first, second:
        if error is None:
            model(IMAGES)
        else:
            with pytest.raises(error):
                model(IMAGES)
    assert watchers() == before
    if error is None:
        assert torch.equal(first.result()["a"].mean, second.result()["a"].mean)


def test_a_watched_encoder_layer_is_computed_by_its_fused_kernel() -> None:
    layer = nn.TransformerEncoderLayer(12, 2, 5, batch_first=True)
    vars(layer.self_attn)["forward"] = None  # the fused kernel does not call it
    with torch.no_grad():
        assert len(measure(nn.Sequential(layer, nn.ReLU()).eval(), "1", TOKENS, "images").mean) == 12


@pytest.mark.parametrize("name", ["convnext_tiny", "vit_b_32"])
def test_a_watched_model_computes_the_same_bits_by_the_same_kernels(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = models.get_model(name, weights=None, **({"image_size": 32} if name == "vit_b_32" else {})).eval()
        images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = model(images)
    activations = re.compile(r".*\.(mlp\.1|block\.4)")
    with FeatureStatistics(model, activations, "images") as statistics:
        assert torch.equal(model(images), expected)
    widths = {name: len(result.mean) for name, result in statistics.result().items()}
    layers = {name: name[:-1] + str(int(name[-1]) - 1) for name in widths}
    assert len(widths) >= 12
    assert {name: model.get_submodule(layers[name]).out_features for name in widths} == widths


class Deciding(nn.Module):
    """Module that moves the channel axis depending on its input values; its 3 x 3 x 3 maps do not reveal the axis."""

    def __init__(self, *, once: bool) -> None:
        super().__init__()
        self.conv, self.act, self.other, self.once = nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Tanh(), once
        self.move = LAST

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.conv(images)
        if float(images.sum()) >= 0:
            maps = self.act(self.move(maps))
        elif not self.once:
            maps = self.other(maps)
        return maps


@pytest.mark.parametrize("once", [True, False])
def test_modules_that_do_not_run_in_every_pass_are_found_when_they_do(once: bool) -> None:
    model, images = Deciding(once=once).eval(), torch.randn(4, 3, 3, 3).abs()
    names = ["conv", "act"] + ([] if once else ["other"])
    with FeatureStatistics(model, names, "images") as statistics:
        model(-images)
        outputs = [model(images) for _ in range(3)]
        model(-images)
    assert_mean(statistics, "act", (torch.cat(outputs), 3))


def test_a_module_with_two_places_has_its_axes_in_every_pass() -> None:
    model = Made(lambda m, x: m.a(m.p(m.a(m.c(x)))), c=conv(), p=LAST, a=nn.ReLU()).eval()
    with FeatureStatistics(model, ["a"], "images") as statistics:
        outputs = [model(images) for images in torch.split(IMAGES, 2)]
    assert_mean(statistics, "a", *((output, 3) for output in outputs))


def test_other_shapes_are_looked_at_again() -> None:
    parts = {"c": conv(), "p": LAST, "a": nn.ReLU()}
    model = Made(lambda m, x: m.a(m.c(x) if x.shape[2] == 14 else m.p(m.c(x))), **parts).eval()
    with FeatureStatistics(model, ["a"], "images") as statistics:
        outputs = [model(images) for images in (IMAGES, IMAGES, IMAGES[:, :, :13], IMAGES[:, :, :13])]
    assert_mean(statistics, "a", *zip(outputs, (1, 1, 3, 3), strict=True))


def by_attribute(m: Any, x: Tensor, last: bool) -> Any:
    m.last = last
    return m(x)


MOVED: dict[str, tuple[Callable[..., Any], Callable[[Any, Tensor, bool], Any]]] = {
    "a keyword": (
        lambda m, x, last: m.act(m.conv(x).movedim(1, 3) if last else m.conv(x)),
        lambda m, x, last: m(x, last),
    ),
    "an attribute": (lambda m, x: m.act(m.conv(x).movedim(1, 3) if m.last else m.conv(x)), by_attribute),
    "a module": (lambda m, x: m.act(m.move(m.conv(x)) if m.last else m.conv(x)), by_attribute),
}


@pytest.mark.parametrize("way", MOVED)
def test_each_pass_has_its_own_axes_where_shapes_are_equal(way: str) -> None:
    """The maps have shape 7 x 7 x 7 in all three forward passes; only in the second one are the channels last."""
    function, call = MOVED[way]
    model = Made(function, conv=conv(), move=LAST, act=nn.GELU()).eval()
    with FeatureStatistics(model, ["act"], "images") as statistics:
        outputs = [call(model, IMAGES, False)]
        if way != "a module":
            with pytest.raises(ValueError, match=r"channel_axis=\{'act': AXIS\}"):
                call(model, IMAGES, True)
            return
        outputs += [call(model, IMAGES, last) for last in (True, False)]
    assert_mean(statistics, "act", *zip(outputs, (1, 3, 1), strict=True))


def replaced(m: Any, x: Tensor, change: Callable[[Tensor], Any]) -> Tensor:
    maps = m.c(x)
    change(maps)
    found: Tensor = m.a(maps)
    return found


def set_memory(values: Any) -> None:
    values.set_(values.permute(0, 2, 3, 1).contiguous())


def set_data(values: Tensor, new: Tensor) -> None:
    values.data = new


# Changes in place of the maps of a convolution, 7 channels on axis 1 of four axes of which three have size 7.
IN_PLACE: dict[str, tuple[Callable[[Tensor], Any], int]] = {
    "transpose_": (lambda y: y.transpose_(1, 3), 3),
    "swapaxes_": (lambda y: y.swapaxes_(1, 3), 3),
    "swapdims_": (lambda y: y.swapdims_(1, 2), 2),
    "unsqueeze_": (lambda y: y.unsqueeze_(1), 2),
    "squeeze_": (lambda y: y.unsqueeze_(1).movedim(2, 4).squeeze_(1), 1),
    "squeeze_ of one axis": (lambda y: y.resize_(6, 1, 7, 49).squeeze_(1), 1),
    "as_strided_": (lambda y: y.as_strided_((6, 7, 7, 7), (343, 7, 1, 49)), 3),
    "resize_": (lambda y: y.resize_(6, 49, 7), 1),
    "set_": (set_memory, 3),
    "data": (lambda y: set_data(y, y.data.permute(0, 2, 3, 1)), 3),
    "data in the same order in memory": (lambda y: set_data(y, y.data.permute(0, 2, 3, 1).contiguous()), 3),
    "data from elsewhere": (lambda y: set_data(y, torch.ones(6, 7, 7, 7)), 1),
    "detach_": (lambda y: y.detach_(), 1),
    "copy_": (lambda y: y.copy_(y.transpose(1, 3).clone()), 3),
    "an index": (lambda y: y.__setitem__(slice(None), y.permute(0, 2, 3, 1).clone()), 3),
}


@pytest.mark.parametrize("case", IN_PLACE)
def test_maps_that_change_their_axes_in_place_are_followed_or_refused(case: str) -> None:
    change, axis = IN_PLACE[case]
    model = Made(lambda m, x: replaced(m, x, change), c=conv(), a=nn.Tanh()).eval()
    with torch.no_grad(), FeatureStatistics(model, ["a"], "images") as statistics:
        try:
            output = model(IMAGES)
        except ValueError as error:
            assert "channel_axis={'a': AXIS}" in str(error)  # noqa: PT017
            return
    assert_mean(statistics, "a", (output, axis))


@pytest.mark.parametrize("kind", [torch.int8, torch.float64, torch.int32])
def test_a_view_of_other_numbers_does_not_disturb_the_model(kind: torch.dtype) -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        maps = m.c(x)
        maps.repeat(1, 1, 1, 2).contiguous().view(kind)
        found: Tensor = m.a(maps)
        return found

    model = Made(forward, c=conv(), a=nn.Tanh()).eval()
    with torch.no_grad(), FeatureStatistics(model, ["a"], "images") as statistics:
        output = model(IMAGES)
    assert_mean(statistics, "a", (output, 1))


# Layers by a raw parameter w, of 5 outputs and 3 inputs, with the channels of images on the last axis or on axis 1.
LAST_IMAGES = IMAGES.movedim(1, 3)
BY_PARAMETER: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], int]] = {
    "matmul": (lambda x, w: x @ w.mT, 3),
    "torch.matmul": (lambda x, w: torch.matmul(x, w.T), 3),
    "the parameter first": (lambda x, w: w @ x.mT, 2),
    "out": (lambda x, w: torch.matmul(x, w.mT, out=torch.empty(6, 14, 14, 5)), 3),
    "einsum": (lambda x, w: torch.einsum("oc,bhwc->bohw", w, x), 1),
    "einsum with images first": (lambda x, w: torch.einsum("bhwc,oc->bhwo", x, w), 3),
    "bmm": (lambda x, w: torch.bmm(x[:, :, 0], w.mT.expand(6, 3, 5)), 2),
    "two parameters": (lambda x, w: torch.einsum("bhwc,oc,pc->bhwop", x, w, w).sum(3), 3),
}


def test_a_parameter_that_sums_over_the_axis_of_the_convention_is_refused_and_can_be_told() -> None:
    model = Made(lambda m, x: m.a(torch.einsum("oc,bchw->bhwo", m.w, x)), a=nn.Tanh()).eval()
    model.w = nn.Parameter(torch.randn(5, 3, generator=torch.Generator().manual_seed(5)))
    refusal = pytest.raises(ValueError, match=r"channel_axis=\{'a': AXIS\}")
    with torch.no_grad(), FeatureStatistics(model, ["a"], "images"), refusal:
        model(IMAGES)
    with torch.no_grad(), FeatureStatistics(model, ["a"], "images", channel_axis={"a": 3}) as statistics:
        output = model(IMAGES)
    assert_mean(statistics, "a", (output, 3))


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("case", BY_PARAMETER)
def test_a_parameter_that_sums_over_another_axis_than_the_convention_is_refused(case: str, measured: bool) -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        found: Tensor = m.a(BY_PARAMETER[case][0](m.i(x), m.w))
        return found

    model = Made(forward, i=nn.Identity(), a=nn.Tanh()).eval()
    model.w = nn.Parameter(torch.randn(5, 3, generator=torch.Generator().manual_seed(5)))
    refused = "i" if measured else "a"
    with (
        torch.no_grad(),
        FeatureStatistics(model, [refused], "images"),
        pytest.raises(ValueError, match=rf"channel_axis=\{{'{refused}': AXIS\}}"),
    ):
        model(LAST_IMAGES)
    axis = BY_PARAMETER[case][1]
    told = {"i": 3, "a": axis} if measured else {"a": axis}
    with torch.no_grad(), FeatureStatistics(model, [*told], "images", channel_axis=told) as statistics:
        output = model(LAST_IMAGES)
    assert_mean(statistics, "a", (output, axis))


@pytest.mark.parametrize("also", [False, True])
def test_sizes_that_two_orders_of_axes_explain_are_refused(also: bool) -> None:
    """The output of `d`, with its axes moved, has the shape of that of `c`, whose channels are on another axis."""

    def forward(m: Any, x: Tensor) -> Tensor:
        maps = m.c(x)
        found: Tensor = m.a(m.d(x).movedim(1, 2) * 1 if also else maps * 1)
        return found

    parts = {"c": nn.Conv2d(3, 5, 1, 2), "d": nn.Conv2d(3, 7, (6, 1), 2), "a": nn.ReLU()}
    model, images = Made(forward, **parts).eval(), torch.randn(6, 3, 14, 16)
    if not also:
        assert len(measure(model, "a", images, "images").mean) == 5
        return
    with FeatureStatistics(model, ["a"], "images"), pytest.raises(ValueError, match=r"shape \(6, 5, 7, 8\), and no"):
        model(images)


def test_weights_of_attention_are_refused_where_they_have_the_shape_of_tokens() -> None:
    layer, keys = nn.MultiheadAttention(12, 2, batch_first=True), torch.randn(6, 12, 12)
    model = Made(lambda m, x: m.m(x, keys, keys), m=layer).eval()
    with FeatureStatistics(model, ["m"], "images"), pytest.raises(ValueError, match=r"channel_axis=\{'m\[1\]': AXIS\}"):
        model(TOKENS)
    with FeatureStatistics(model, ["m"], "images", leave_out=["m[1]"]) as statistics:
        output = model(TOKENS)[0]
    assert_mean(statistics, "m[0]", (output, 2))


def test_a_layer_confirms_the_convention_for_what_the_model_is_given() -> None:
    model = Made(lambda m, x: m.c(m.i(x).relu()), i=nn.Identity(), c=conv()).eval()
    assert len(measure(model, "i", IMAGES, "images").mean) == 3
