"""Outputs that cannot be measured are refused with the module, the reason and the argument that helps."""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence
from torchvision import tv_tensors

from in4310repro.features import FeatureStatistics
from tests.features.conftest import measure

Samples = Literal["images", "positions", "flat"]


class Made(nn.Module):
    """A module whose output is a given function of its input."""

    def __init__(self, function: Callable[[Any], object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Any) -> object:
        return self.function(images)


class Opaque:
    """An object that may hold tensors."""


class Wrapper(Tensor):
    """A tensor subclass without storage of its own."""

    @staticmethod
    def __new__(cls) -> "Wrapper":
        made: Wrapper = torch.Tensor._make_wrapper_subclass(cls, (2, 3))
        return made

    @classmethod
    def __torch_dispatch__(cls, _function: Any, _types: Any, _args: Any = (), _kwargs: Any = None) -> Any:
        raise NotImplementedError


@dataclass
class Outputs:
    """An output with an optional tensor, as some models return it."""

    logits: Tensor
    mask: Tensor | None = None


IMAGES = torch.linspace(-1, 1, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8)
TOKENS = torch.linspace(-1, 1, 2 * 5 * 8).reshape(2, 5, 8)
PACKED = pack_padded_sequence(TOKENS, torch.tensor([5, 3]), batch_first=True)
NESTED = torch.nested.as_nested_tensor([torch.ones(2, 3), torch.ones(4, 3)], layout=torch.jagged)

# A module, its input, the part of the output that is refused, and the reason.
UNMEASURABLE: dict[str, tuple[nn.Module, Any, str, str]] = {
    "integers": (Made(lambda x: x.argmax(1)), IMAGES, "", "torch.int64; statistics are of floating-point values"),
    "truth values": (Made(lambda x: x > 0), IMAGES, "", "torch.bool"),
    "complex numbers": (Made(torch.fft.fft2), IMAGES, "", "torch.complex64"),
    "indices of a pooling": (nn.MaxPool2d(2, return_indices=True), IMAGES, "[1]", "torch.int64"),
    "a mask in a dataclass": (Made(lambda x: Outputs(x, x > 0)), IMAGES, ".mask", "torch.bool"),
    "a mask in a mapping": (Made(lambda x: {"maps": x, "mask": x > 0}), IMAGES, "[mask]", "torch.bool"),
    "a packed sequence": (nn.GRU(8, 4, batch_first=True), PACKED, "[0]", "a packed sequence"),
    "a nested tensor": (Made(lambda _: NESTED), IMAGES, "", "a nested tensor"),
    "a sparse tensor": (Made(lambda x: x.to_sparse()), IMAGES, "", "torch.sparse_coo on cpu"),
    "a tensor without values": (Made(lambda x: x.to("meta")), IMAGES, "", "torch.strided on meta"),
    "a wrapper": (Made(lambda _: Wrapper()), IMAGES, "", "of type Wrapper, which holds no plain values"),
    "an object": (Made(lambda x: (x, Opaque())), IMAGES, "[1]", "of type Opaque"),
    "nothing": (Made(lambda _: None), IMAGES, "", "of type NoneType and holds no tensor"),
    "constants": (Made(lambda _: (1, "a")), IMAGES, "", "of type tuple and holds no tensor"),
}


@pytest.mark.parametrize("case", UNMEASURABLE)
def test_an_output_without_floating_point_values_is_refused_and_can_be_left_out(case: str) -> None:
    module, images, path, reason = UNMEASURABLE[case]
    model = nn.Sequential(nn.Identity(), module)
    first = ["0"] if isinstance(images, Tensor) else []
    message = rf"module '1'{re.escape(path)}: .*{re.escape(reason)}.*leave_out=\['1{re.escape(path)}'\]"
    with FeatureStatistics(model, [*first, "1"], samples=None), pytest.raises(ValueError, match=message):
        model(images)
    with (
        FeatureStatistics(model, [*first, "1"], leave_out=[f"1{path}"], samples=None)
        if first or path
        else pytest.raises(ValueError, match="no module is left") as statistics
    ):
        model(images)
    assert isinstance(statistics, FeatureStatistics)
    assert f"1{path}" not in statistics.result()


# A module, its input, the part of the output that has no images on axis 0, and the reason.
OTHER_ROWS: dict[str, tuple[nn.Module, Tensor, str, str]] = {
    "windows": (Made(lambda x: x.reshape(8, 3, 4, 4)), IMAGES, "", r"axis 0 must be the 2 images of the batch"),
    "tokens of all images": (nn.Flatten(0, 1), TOKENS, "", r"axis 0 must be the 2 images of the batch"),
    "a table of biases": (Made(lambda _: torch.ones(1, 7, 7, 3)), IMAGES, "", r"axis 0 must be the 2 images"),
    "a hidden state of two layers": (nn.LSTM(8, 4, 2, batch_first=True), TOKENS, "[1][0]", "the layers of a hidden"),
    "a GRU's state": (nn.GRU(8, 4, 2, batch_first=True), TOKENS, "[1]", "the layers of a hidden state"),
    "steps first": (nn.RNN(8, 4), TOKENS, "[0]", r"the steps of the sequence \(batch_first is False\)"),
    "a scalar": (Made(lambda x: x.mean()), IMAGES, "", "without channels"),
    "a number of each image": (Made(lambda x: x.mean(dim=(1, 2, 3))), IMAGES, "", "without channels"),
}


@pytest.mark.parametrize("samples", ["images", "positions", "flat"])
@pytest.mark.parametrize("case", OTHER_ROWS)
def test_rows_that_are_no_images_are_refused_as_samples_and_counted_as_values(case: str, samples: Samples) -> None:
    module, images, path, reason = OTHER_ROWS[case]
    model = nn.Sequential(nn.Identity(), module)
    message = rf"module '1'{re.escape(path)}: .*{reason}.*samples=None counts its values; leave_out=\['1"
    with FeatureStatistics(model, ["1"], samples), pytest.raises(ValueError, match=message):
        model(images)
    with FeatureStatistics(model, ["1"], samples=None) as statistics:
        output = model(images)
    for step in re.findall(r"\d", path):
        output = output[int(step)]
    result = statistics.result()[f"1{path}"]
    assert (result.images, result.values) == (2, output.numel())
    assert result.non_positive_values == int((output <= 0).sum())


def test_a_tensor_inside_of_vmap_is_refused() -> None:
    model = nn.Sequential(nn.Tanh())
    with (
        FeatureStatistics(model, ["0"], samples=None),
        pytest.raises(ValueError, match=r"'0': its output is inside of .*vmap"),
    ):
        torch.vmap(model)(IMAGES)


@pytest.mark.parametrize("attribute", ["batch_first", "hidden_size"])
def test_a_second_part_is_a_hidden_state_only_of_a_module_with_both_attributes_of_a_recurrent_one(
    attribute: str,
) -> None:
    model = nn.Sequential(Made(lambda x: (x, x)))
    setattr(model[0], attribute, 8)
    with FeatureStatistics(model, ["0"], "images") as statistics:
        model(IMAGES)
    assert statistics.result()["0[1]"].rows == 2


class Attention(nn.Module):
    """Self-attention with tokens on the first axis; there are as many tokens as images."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        attended: Tensor = self.attention(tokens, tokens, tokens)[0]
        return attended


def test_attention_with_tokens_first_is_refused_also_where_there_are_as_many_as_images() -> None:
    model = Attention()
    with (
        FeatureStatistics(model, ["attention"], "images"),
        pytest.raises(ValueError, match=r"'attention'\[0\]: .* the steps of the sequence"),
    ):
        model(torch.ones(3, 3, 8))


@pytest.mark.parametrize("shape", [(2,), (2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 3, 4, 5, 6), (2, 1, 1, 3, 1, 4, 1)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_counts_are_of_floating_point_tensors_of_any_type_and_number_of_axes(
    dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    model = nn.Sequential(nn.Identity())
    result = measure(model, "0", values, samples=None)
    assert (result.images, result.values) == (2, values.numel())
    assert result.non_positive_values == int((values <= 0).sum())


@pytest.mark.parametrize("samples", ["images", "positions", "flat"])
def test_subclasses_of_tensors_have_the_bits_of_what_they_hold(samples: Samples) -> None:
    class Named(Tensor):
        """A tensor with a name."""

    maps = torch.randn(20, 12, 9, 9, generator=torch.Generator().manual_seed(1))
    kinds = [maps, maps.as_subclass(Named), tv_tensors.Image(maps), nn.Parameter(maps.clone())]
    outputs = []
    for images in kinds:
        model = nn.Sequential(nn.Identity())
        with FeatureStatistics(model, ["0"], samples) as statistics:
            model(images)
        outputs.append({name: value.numpy().tobytes() for name, value in statistics.state_dict().items()})
    assert all(output == outputs[0] for output in outputs)


def test_modules_and_parts_are_left_out_by_name_by_container_and_by_pattern() -> None:
    model = nn.Sequential(nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, return_indices=True)))
    measured = []
    for modules, leave_out in (
        ("leaves", ["0.1"]),
        ("leaves", re.compile(r"0\.1.*")),
        (["0", "0.0", "0.1"], ["0[1]", "0.1[1]"]),
        (["0", "0.0", "0.1"], re.compile(r".*\[1\]")),
    ):
        chosen: Any = modules
        with FeatureStatistics(model, chosen, leave_out=leave_out, samples=None) as statistics:
            model(IMAGES)
        measured.append(list(statistics.result()))
    assert measured == [["0.0"], ["0.0"], ["0[0]", "0.0", "0.1[0]"], ["0[0]", "0.0", "0.1[0]"]]
    for leave_out, message in ((["1"], "leave_out names '1'; the modules are"), (["0"], "no module is left")):
        with pytest.raises(ValueError, match=message):
            FeatureStatistics(model, "leaves", leave_out=leave_out, samples=None)


def test_statistics_that_leave_out_something_else_do_not_merge() -> None:
    model = nn.Sequential(nn.MaxPool2d(2, return_indices=True))
    one, other = (
        FeatureStatistics(model, ["0"], leave_out=["0[1]"], first_image=first, samples=None) for first in (0, 64)
    )
    for statistics in (one, other):
        with statistics:
            model(IMAGES)
    with pytest.raises(ValueError, match="they must be equal"):
        one.merge(FeatureStatistics(model, ["0"], samples=None))
    one.merge(other)
    assert one.result()["0[0]"].images == 4


@dataclass
class Named:
    part: object


class Alike:
    """A key of which several print alike."""

    def __repr__(self) -> str:
        return "key"


@pytest.mark.parametrize(
    ("outputs", "title"),
    [
        ([lambda x: {0: x, "0": -x}], "[0]"),
        ([lambda x: {0: x}, lambda x: {"0": -x}], "[0]"),
        ([lambda x: (x, {None: [x], "None": [-x]})], "[1][None][0]"),
        ([lambda x: {True: x, "True": -x}], "[True]"),
        ([lambda x: {"a][b": x, "a": {"b": -x}}], "[a][b]"),
        ([lambda x: {"a].part[b": x, "a": Named({"b": -x})}], "[a].part[b]"),
        ([lambda x: {Alike(): x, Alike(): -x}], "[key]"),
    ],
)
def test_parts_of_an_output_that_print_alike_are_refused_and_not_pooled(
    outputs: list[Callable[[Tensor], object]], title: str
) -> None:
    model = nn.Sequential(Made(lambda x: outputs[min(len(seen), len(outputs) - 1)](x)))
    seen: list[None] = []
    with FeatureStatistics(model, ["0"], samples=None):
        for _ in outputs[1:]:
            model(IMAGES)
            seen.append(None)
        with pytest.raises(ValueError, match=rf"^module '0'{re.escape(title)}: .* pooled.*; leave_out=.* leaves it"):
            model(IMAGES)
    with FeatureStatistics(model, ["0"], leave_out=[f"0{title}"], samples=None):
        model(IMAGES)


def test_a_part_of_an_output_and_a_module_of_one_name_are_refused_and_not_pooled() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = nn.Identity()

        def forward(self, images: Tensor) -> Named:
            return Named(-self.part(images))

    model = nn.ModuleDict({"a": Outer()})
    message = r"'a.part' names the output of module 'a.part', and .part of module 'a': they would be pooled"
    with FeatureStatistics(model, ["a", "a.part"], samples=None), pytest.raises(ValueError, match=message):
        model["a"](IMAGES)


def made_by(program: str) -> tuple[nn.Module, nn.Module]:
    """Return a model, and the same model after torch.jit, torch.export, torch.fx or quantization."""
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    jit: Any = torch.jit
    quantization: Any = torch.ao.quantization
    with warnings.catch_warnings():
        # Most of these ways to make programs are deprecated, and used.
        warnings.simplefilter("ignore")
        makers: dict[str, Callable[[], Any]] = {
            "scripted": lambda: jit.script(model),
            "traced": lambda: jit.trace(model, torch.ones(2, 8)),
            "frozen": lambda: jit.freeze(jit.script(model)),
            "exported": lambda: torch.export.export(model, (torch.ones(2, 8),)).module(),
            "with a scripted layer": lambda: nn.Sequential(jit.script(model[0]), nn.ReLU()),
            "symbolic": lambda: torch.fx.symbolic_trace(nn.Sequential(model, nn.ReLU())),
            "quantised": lambda: quantization.quantize_dynamic(model, {nn.Linear}, torch.qint8),
        }
        return model, makers[program]()


@pytest.mark.parametrize("program", ["scripted", "traced", "frozen", "exported", "with a scripted layer"])
def test_programs_that_call_no_hooks_are_refused_at_once(program: str) -> None:
    _, made = made_by(program)
    # A frozen program has no modules inside.
    for modules in ("leaves", [""] if program == "frozen" else ["0"]):
        chosen: Any = modules
        with pytest.raises(ValueError, match=r"which calls no hooks; measure the model that it was made of") as refused:
            FeatureStatistics(made, chosen, samples=None)
        # A part can be left out, the whole model cannot.
        assert ("leave_out=['0']" in str(refused.value)) == ("module '0'" in str(refused.value))


def test_a_traced_model_as_a_whole_is_measured() -> None:
    model, traced = made_by("traced")
    images = torch.randn(4, 8, generator=torch.Generator().manual_seed(2))
    result = measure(traced, "", images, "images")
    torch.testing.assert_close(result.mean, model(images).double().mean(dim=0), rtol=1e-6, atol=1e-7)


def test_the_innermost_modules_of_a_symbolic_graph_are_measured_and_the_others_say_why_not() -> None:
    _, graph = made_by("symbolic")
    with FeatureStatistics(graph, "leaves", samples=None) as leaves:
        graph(torch.ones(2, 8))
    assert list(leaves.result()) == ["0.0", "0.1", "0.2", "1"]
    with FeatureStatistics(graph, ["0"], samples=None) as inner:
        graph(torch.ones(2, 8))
    with pytest.raises(ValueError, match=r"'0'.*never ran .*; a graph of torch.fx calls its innermost modules alone"):
        inner.result()


def test_leaves_of_a_dynamically_quantised_model_are_its_layers_with_channels_last() -> None:
    _, quantised = made_by("quantised")
    maps = torch.randn(4, 5, 6, 8, generator=torch.Generator().manual_seed(2))
    with FeatureStatistics(quantised, "leaves", "images") as statistics:
        quantised(maps)
    results = statistics.result()
    assert {name: len(results[name].mean) for name in ("0", "2")} == {"0": 8, "2": 3}
    expected = quantised(maps).double().mean(dim=(0, 1, 2))
    torch.testing.assert_close(results["2"].mean, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "layer", [nn.Linear(8, 4), nn.LayerNorm(8), nn.RMSNorm(8), type("Adapted", (nn.Linear,), {})(8, 4)]
)
def test_channels_of_layers_over_the_last_axis_are_there(layer: nn.Module) -> None:
    maps = torch.randn(4, 5, 6, 8, generator=torch.Generator().manual_seed(2))
    model = nn.Sequential(layer)
    with FeatureStatistics(model, ["0"], "positions") as statistics:
        output = model(maps)
    torch.testing.assert_close(statistics.result()["0"].mean, output.double().mean(dim=(0, 1, 2)), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("axis", [0, 4, -1])
def test_an_axis_of_channels_that_is_not_there_or_is_that_of_images_is_refused(axis: int) -> None:
    model = nn.Sequential(nn.Identity())
    with (
        FeatureStatistics(model, ["0"], "images", channel_axis={"0": axis}),
        pytest.raises(ValueError, match=rf"and axis {axis} channels: channel_axis can be {{'0': 1}} to {{'0': 3}}"),
    ):
        model(IMAGES)


def test_the_last_axis_can_be_that_of_channels() -> None:
    model = nn.Sequential(nn.Identity())
    assert len(measure(model, "0", IMAGES, "images", channel_axis={"0": 3}).mean) == 8


def test_an_output_without_axes_is_one_value_of_one_image_outside_of_a_pass() -> None:
    model = nn.Sequential(Made(lambda x: x.sum()), nn.Identity())
    with FeatureStatistics(model, ["0"], samples=None) as statistics:
        model[0](IMAGES)
    assert (statistics.result()["0"].images, statistics.result()["0"].values) == (1, 1)


def test_images_of_an_output_outside_of_a_pass_are_on_its_first_axis() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Identity())
    with FeatureStatistics(model, ["0"], samples=None) as statistics:
        model[0](IMAGES)
    assert statistics.result()["0"].images == len(IMAGES)


def test_a_bare_name_that_is_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="modules is '0'; give a list of names, a compiled pattern or \"leaves\""):
        FeatureStatistics(nn.Sequential(nn.ReLU()), "0", samples=None)


def test_a_bare_name_that_is_left_out_is_refused() -> None:
    with pytest.raises(ValueError, match="leave_out is '0'; give a list of names or a compiled pattern"):
        FeatureStatistics(nn.Sequential(nn.Identity()), ["0"], leave_out="0", samples=None)


def test_values_of_one_image_without_a_batch_axis_are_counted_only_where_their_number_is_told() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1))
    with (
        FeatureStatistics(model, ["0"], samples=None),
        pytest.raises(ValueError, match="of one image without a batch axis"),
    ):
        model(IMAGES[0])
    result = measure(model, "0", IMAGES[0], count_images=lambda _: 1, samples=None)
    assert (result.images, result.values) == (1, 4 * 8 * 8)
