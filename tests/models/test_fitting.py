"""Networks: torchvision's architecture at all depths, weights checked by key and shape."""

import functools
import io
import math
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torchvision

from in4310repro import models
from in4310repro.models.building import construct
from in4310repro.models.sources import RESNETS, open_network


def torchvision_model(name: str, classes: int) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model: torch.nn.Module = getattr(torchvision.models, name)(num_classes=classes)
    return model.eval()


DEEP = ("resnet101", "resnet152")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in DEEP else ()) for n in RESNETS])
def test_torchvisions_weights_in_our_network_give_torchvisions_logits(name: str, tmp_path: Path) -> None:
    theirs = torchvision_model(name, 6)
    safetensors.torch.save_file(theirs.state_dict(), tmp_path / "weights.safetensors")
    ours = models.build(name, 6, seed=0, weights=str(tmp_path / "weights.safetensors")).eval()
    images = torch.linspace(-1, 1, 2 * 3 * 32 * 32).reshape(2, 3, 32, 32)
    with torch.no_grad():
        # One layout for both: another one adds in another order.
        assert torch.equal(ours(images), theirs.to(memory_format=torch.channels_last)(images))  # type: ignore[call-overload]


def test_initial_weights_depend_on_the_seed_alone() -> None:
    first, again, other = (models.build("resnet18", 6, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_building_a_network_leaves_torchs_generator_as_it_was() -> None:
    before = torch.random.get_rng_state()
    models.build("resnet18", 6, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_network_whose_values_are_all_drawn_or_constant_is_constructed_without_memory() -> None:
    model = construct(open_network("resnet18"), 6)
    assert all(value.is_meta for value in model.state_dict().values())


def test_initial_weights_have_the_spread_that_torchvision_gives_them() -> None:
    ours, theirs = models.build("resnet18", 6, seed=0).state_dict(), torchvision_model("resnet18", 6).state_dict()
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert (ours[name].shape, ours[name].dtype) == (value.shape, value.dtype)
        if value.dim() == 4:
            # 5 %: the smallest convolution has 9408 weights, whose spread is known to 0.7 %.
            assert ours[name].std().item() == pytest.approx(value.std().item(), rel=0.05)
        elif name not in ("fc.weight", "fc.bias"):
            assert torch.equal(ours[name], value)
    assert ours["fc.weight"].abs().max().item() <= 512**-0.5
    # A uniform draw within +-b has the standard deviation b / sqrt(3).
    assert ours["fc.weight"].std().item() == pytest.approx((3 * 512) ** -0.5, rel=0.05)


def test_weights_for_another_number_of_classes_get_a_new_head(tmp_path: Path) -> None:
    theirs = torchvision_model("resnet18", 1000)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    loaded = models.build("resnet18", 6, seed=0, weights=str(tmp_path / "weights.pth")).state_dict()
    assert torch.equal(loaded["conv1.weight"], theirs.state_dict()["conv1.weight"])
    assert torch.equal(loaded["fc.weight"], models.build("resnet18", 6, seed=0).state_dict()["fc.weight"])


def test_every_key_that_does_not_fit_is_named(tmp_path: Path) -> None:
    state = torchvision_model("resnet18", 6).state_dict()
    state["conv1.weight"] = torch.zeros(64, 3, 3, 3)
    state["extra.weight"] = state.pop("bn1.weight")
    safetensors.torch.save_file(state, tmp_path / "wrong.safetensors")
    with pytest.raises(
        ValueError, match=r"bn1\.weight is missing; extra\.weight is extra; conv1\.weight has"
    ) as caught:
        models.build("resnet18", 6, seed=0, weights=str(tmp_path / "wrong.safetensors"))
    assert "conv1.weight has shape (64, 3, 3, 3) for (64, 3, 7, 7)" in str(caught.value)


def test_weights_of_another_depth_are_refused(tmp_path: Path) -> None:
    safetensors.torch.save_file(torchvision_model("resnet34", 6).state_dict(), tmp_path / "r34.safetensors")
    with pytest.raises(ValueError, match=r"layer1\.2\..* is extra.* more"):
        models.build("resnet18", 6, seed=0, weights=str(tmp_path / "r34.safetensors"))


def test_a_missing_download_says_how_to_get_the_file_and_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    # No program takes connections at this port.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    place = tmp_path / "hub/checkpoints/resnet18-f37072fd.pth"
    with pytest.raises(ValueError, match=r"https://download\.pytorch\.org/.*resnet18-f37072fd\.pth") as caught:
        models.build("resnet18", 6, seed=0, weights="imagenet")
    assert f"put it at {place}" in str(caught.value)
    assert "--weights none" in str(caught.value)


def test_imagenet_weights_are_read_from_torchvisions_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    theirs = torchvision_model("resnet18", 1000).state_dict()
    torch.save(theirs, tmp_path / "hub/checkpoints/resnet18-f37072fd.pth")
    loaded = models.build("resnet18", 6, seed=0, weights="imagenet").state_dict()
    assert torch.equal(loaded["layer4.1.conv2.weight"], theirs["layer4.1.conv2.weight"])


def small(num_classes: int) -> torch.nn.Module:
    """Return a network whose first and last layers are named conv1 and fc, as in ResNets."""
    layers = {"conv1": torch.nn.Conv2d(3, 64, 7), "bn1": torch.nn.BatchNorm2d(64), "pool": torch.nn.Flatten()}
    return torch.nn.Sequential(OrderedDict(layers, fc=torch.nn.Linear(64, num_classes)))


SMALL = f"{__name__}:small"


@pytest.fixture(autouse=True)
def _trusted() -> None:
    open_network(SMALL).trust()


def state_with(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, torch.Tensor]:
    state = models.build(SMALL, 6, seed=0).state_dict()
    return state | {name: change(state[name].clone())}


def fill_first(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda weight: torch.cat([torch.full_like(weight[:1], value), weight[1:]])


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("bn1.weight", fill_first(math.nan), "1 of 64 values of bn1.weight are nan or infinite"),
        ("bn1.weight", fill_first(-math.inf), "1 of 64 values of bn1.weight are nan or infinite"),
        ("bn1.bias", lambda weight: weight.double() + 1e300, "64 of 64 values of bn1.bias are too large for float32"),
        ("bn1.running_var", fill_first(-1.0), "bn1.running_var has values below 0, which a variance cannot be"),
        ("conv1.weight", torch.zeros_like, "all values of conv1.weight are 0, as in a file that was not written"),
        ("conv1.weight", lambda weight: weight.to_sparse(), "conv1.weight is a sparse, quantized or nested tensor"),
        ("conv1.weight", lambda weight: weight.to(torch.complex64), "conv1.weight holds complex64; floating-point"),
        ("conv1.weight", lambda weight: weight.to("meta"), "conv1.weight has a shape and no values"),
        ("conv1.weight", lambda weight: weight.to(torch.int8), "conv1.weight holds int8; floating-point numbers are"),
        ("conv1.weight", lambda weight: weight > 0, "conv1.weight holds bool; floating-point numbers are needed"),
        (
            "bn1.num_batches_tracked",
            lambda count: count.float(),
            "num_batches_tracked holds float32; whole numbers are",
        ),
    ],
)
def test_weights_that_no_network_computes_with_say_so(
    name: str, change: Callable[[torch.Tensor], torch.Tensor], words: str, tmp_path: Path
) -> None:
    with warnings.catch_warnings(action="ignore"):
        torch.save(state_with(name, change), tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=rf"weights\.pth: .*{words}"):
        models.build(SMALL, 6, seed=0, weights=str(tmp_path / "weights.pth"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_weights_of_another_width_are_converted_to_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    state = {
        name: value.to(dtype) if value.is_floating_point() else value for name, value in small(6).state_dict().items()
    }
    torch.save(state, tmp_path / "weights.pth")
    loaded = models.build(SMALL, 6, seed=0, weights=str(tmp_path / "weights.pth")).state_dict()
    assert torch.equal(loaded["conv1.weight"], state["conv1.weight"].float())


def saved(content: object, *members: str) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    with zipfile.ZipFile(stream, "a") as archive:
        for name in members:
            archive.writestr(name, b"")
    return stream.getvalue()


def changed_in_the_middle(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(64) + data[middle + 64 :]


WEIGHTS = saved({"conv1.weight": torch.arange(1.0, 4000.0)})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (WEIGHTS[: len(WEIGHTS) // 2], "holds no weights that can be read: it is cut off or damaged"),
        (changed_in_the_middle(WEIGHTS), "is damaged: .* has other bytes than were written"),
        (b"no weights\n", "holds no weights that can be read: it is not a file that torch.save writes"),
        (b"", "holds no weights that can be read: it is not a file that torch.save writes"),
        (saved({}), "holds no tensors"),
        (saved({}, "archive/constants.pkl"), "holds no weights that can be read: it is a TorchScript archive; a state"),
        (saved([torch.ones(3)]), "is not a state dict, a dictionary of tensors by name: it holds list"),
        (saved({"state_dict": {}, "epoch": 3}), "is not a state dict, .*: it holds keys state_dict, epoch"),
        (saved({1: torch.ones(3)}), "is not a state dict, .*: it holds keys 1"),
        (
            saved(functools.partial(print)),
            "holds no weights that can be read: it holds Python objects, which could run code",
        ),
    ],
    ids=["cut", "changed", "text", "nothing", "no-tensors", "script", "list", "nested", "numbers", "objects"],
)
def test_what_is_no_state_dict_is_refused_without_torchs_advice(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(ValueError, match=rf"weights\.pth {words}") as caught:
        models.build(SMALL, 6, seed=0, weights=str(tmp_path / "weights.pth"))
    assert "weights_only" not in str(caught.value)


def test_a_header_that_claims_more_than_the_file_has_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes((2**40).to_bytes(8, "little") + b"{}")
    with pytest.raises(ValueError, match=r"weights\.safetensors is not a complete safetensors file"):
        models.build(SMALL, 6, seed=0, weights=str(tmp_path / "weights.safetensors"))


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("code from a weights file ran",)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"conv1.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(ValueError, match=r"trap\.pth holds no weights that can be read"):
        models.build(SMALL, 6, seed=0, weights=str(tmp_path / "trap.pth"))
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_a_corrupt_file_is_refused_by_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"no weights at all")
    with pytest.raises(ValueError, match=name):
        models.build(SMALL, 6, seed=0, weights=str(tmp_path / name))


def test_an_unknown_network_or_file_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(ValueError, match=r"model is 'vgg17'; .*; did you mean vgg1"):
        models.build("vgg17", 6, seed=0)
    with pytest.raises(ValueError, match=r"weights is 'nowhere\.pth'; it must be none, imagenet or a"):
        models.build(SMALL, 6, seed=0, weights="nowhere.pth")
