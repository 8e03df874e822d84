"""The table of model sources: each test runs for every source."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from in4310repro.data.preprocessing import Preprocessing, to_metadata
from in4310repro.models import building, modules
from in4310repro.models.modules import check_scores, default_modules, outputs
from in4310repro.models.sources import SOURCES, Functions, Lite, Network, Timm, Torchvision, open_network
from in4310repro.system import machine
from in4310repro.system.tensors import tensor_bytes

SIDE = 64  # pixels
HOW = Preprocessing(mean=(0.5, 0.25, 0.125), interpolation="bicubic", size=SIDE)


def body() -> list[nn.Module]:
    return [nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]


def plain(num_classes: int) -> nn.Module:
    return nn.Sequential(*body(), nn.Linear(8, num_classes))


def smooth(num_classes: int) -> nn.Module:
    return nn.Sequential(*body(), nn.GELU(), nn.Linear(8, num_classes))


@dataclass(frozen=True)
class Sample:
    """Names of networks of one source, and their expected properties."""

    name: str
    misspelt: str  # and what is meant by it
    meant: str
    obstacle: str = ""  # to portable arithmetic, in some word
    imagenet: bool = True


SAMPLES: dict[type[Network], Sample] = {
    Torchvision: Sample("squeezenet1_1", "squeezenet1_7", "squeezenet1_1"),
    Lite: Sample("efficientnet_lite0", "efficientnet_lite", "efficientnet_lite0"),
    Timm: Sample("timm:plain", "timm:plaim", "timm:plain", obstacle="GELU"),
    Functions: Sample(f"{__name__}:plain", f"{__name__}:plian", f"{__name__}:plain", imagenet=False),
}


def made_up_timm(interpolation: str = "bicubic") -> ModuleType:
    """Return a stand-in for the module timm with one network."""
    module, how = ModuleType("timm"), SimpleNamespace(
        mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5], interpolation=interpolation, crop_pct=0.9, input_size=(3, 96, 96)
    )  # fmt: skip
    names = ["plain"]

    def create(_name: str, *, pretrained: bool = False, num_classes: int = 1000) -> nn.Module:
        model = smooth(num_classes)
        if pretrained:
            nn.init.ones_(model.get_parameter("0.weight"))
        return model

    functions = {
        "__version__": "0",
        "is_model": names.__contains__,
        "list_models": lambda: names,
        "create_model": create,
        "get_pretrained_cfg": lambda _name: how,
    }
    for name, value in functions.items():
        setattr(module, name, value)
    return module


@pytest.fixture(params=SOURCES, ids=lambda source: source.__name__)
def sample(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Sample:
    """Return the sample of each source in the table; a source without a sample fails the test."""
    monkeypatch.setitem(sys.modules, "timm", made_up_timm())
    return SAMPLES[request.param]


@pytest.fixture
def network(sample: Sample) -> Network:
    opened = open_network(sample.name)
    opened.trust()
    return opened


def test_a_name_opens_the_network_of_its_source(sample: Sample, network: Network) -> None:
    assert SAMPLES[type(network)] is sample
    assert network.name == sample.name
    # Code of others is made by its own constructor, and a user's code alone is named again.
    assert (network.foreign, bool(network.option)) == (":" in sample.name, ":" in sample.name[5:])


def test_a_network_has_a_score_for_each_class(network: Network) -> None:
    for classes in (3, 6):
        model = network.build(classes, seed=0)
        check_scores(model, network.name, classes, SIDE)
        with pytest.raises(ValueError, match=re.escape(network.name)):
            check_scores(model, network.name, classes + 1, SIDE)


def test_weights_of_other_classes_get_a_new_head_and_keep_the_rest(network: Network, tmp_path: Path) -> None:
    given, drawn = (network.build(classes, seed=classes).state_dict() for classes in (6, 3))
    file = tmp_path / "six.safetensors"
    file.write_bytes(tensor_bytes(given))
    found = network.build(3, 3, network.read_weights(f"{file}")).state_dict()
    assert building.head(network) < found.keys()
    for name, value in found.items():
        assert torch.equal(value, (drawn if name in building.head(network) else given)[name]), name


def test_a_saved_state_is_restored_and_another_networks_refused(network: Network) -> None:
    state = network.build(3, seed=1).state_dict()
    again = network.restore(3, state, "the file").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in state.items())
    with pytest.raises(ValueError, match=r"the file .*missing"):
        network.restore(3, dict(list(state.items())[1:]), "the file")


def test_default_modules_are_modules_of_the_network(network: Network) -> None:
    model = network.build(3, seed=0)
    chosen, seen = default_modules(model, network.name, SIDE), outputs(model, network.name, SIDE)
    assert 1 <= len(set(chosen)) == len(chosen) <= 5
    assert set(chosen) <= {each.name for each in seen} <= set(dict(model.named_modules()))
    assert default_modules(model, network.name, SIDE, seen) == chosen


def test_what_stands_in_the_way_of_portable_arithmetic_is_said(sample: Sample, network: Network) -> None:
    reason = modules.obstacle(network, SIDE)
    assert sample.obstacle in reason
    assert bool(reason) == bool(sample.obstacle)


def test_a_file_says_how_images_are_prepared_or_nothing_does(network: Network, tmp_path: Path) -> None:
    state = network.build(3, seed=0).state_dict()
    for metadata, expected in ((to_metadata(HOW), HOW), (None, None)):
        file = tmp_path / "w.safetensors"
        file.write_bytes(tensor_bytes(state, metadata))
        assert network.read_weights(f"{file}").preprocessing == expected
    assert network.read_weights("none").preprocessing == Preprocessing()


def test_imagenet_weights_say_how_images_are_prepared_or_are_refused(sample: Sample, network: Network) -> None:
    if not sample.imagenet:
        for asked in (lambda: network.imagenet, lambda: network.read_weights("imagenet")):
            with pytest.raises(ValueError, match=rf"{network.name}.*--weights none.*--weights FILE"):
                asked()
        return
    published = network.imagenet
    assert published.preprocessing.crop_ratio == 1.0 >= published.evaluation.crop_ratio
    assert published.preprocessing.mean == published.evaluation.mean
    assert 0 <= published.top_1 < 1


@pytest.mark.parametrize(("theirs", "ours"), [("bilinear", "bilinear"), ("random", "bicubic")])
def test_weights_of_timm_are_its_pretrained_ones_with_their_interpolation(
    theirs: str, ours: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "timm", made_up_timm(theirs))
    weights = open_network("timm:plain").read_weights("imagenet")
    assert weights.tensors
    assert bool((weights.tensors["0.weight"] == 1).all())
    assert weights.preprocessing
    assert weights.preprocessing.interpolation == ours


def test_weights_of_two_networks_are_downloaded_into_one_folder_and_checked_by_the_hash_in_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(url: str, file: str, hash_prefix: str, **_: object) -> None:
        assert url.endswith(f"-{hash_prefix}.pth")
        torch.save({Path(file).stem: torch.ones(1)}, file)

    monkeypatch.setenv("TORCH_HOME", f"{tmp_path}")
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for name in ("squeezenet1_0", "squeezenet1_1"):
        (found,) = open_network(name).read_weights("imagenet").tensors or {}
        assert found.startswith(f"{name}-")


def test_weights_are_at_hand_or_not(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, machine.EFFICIENTNET, None)
    (tmp_path / "w.pth").touch()
    asked = ("none", f"{tmp_path / 'w.pth'}", f"{tmp_path / 'x.pth'}", "imagenet")
    assert [network.has_weights(each) for each in asked] == [True, True, False, False]


def test_a_name_that_is_misspelt_is_refused_with_the_one_that_is_meant(sample: Sample) -> None:
    wrong = open_network(sample.misspelt)
    wrong.trust()
    with pytest.raises(ValueError, match=rf"{sample.misspelt.rpartition(':')[2]}.*did you mean {sample.meant}\?"):
        wrong.build(3, seed=0)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a:b:c", "timm:", "x:", ":x", "a" * 101])
def test_a_name_of_no_source_is_refused_with_an_example_of_each(name: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(name[:100]))) as caught:
        open_network(name)
    assert all(source.example in str(caught.value) for source in SOURCES)
