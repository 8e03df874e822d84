"""Networks opened by name: their heads, input sizes, modules and arithmetic, and the commands' messages."""

from __future__ import annotations

import importlib
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from in4310repro import models
from in4310repro.models import building, modules
from in4310repro.models.sources import FIVE_MODULES, RESNETS, TRUSTED, Network, known_names, open_network
from in4310repro.report.page import make_record
from in4310repro.runs.config import Config
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.presets import PRESETS
from in4310repro.runs.settings import OptimizerSetting
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics, activate
from in4310repro.training import experiment
from tests.conftest import Call, refused

OWN = '''
import torch
from torch import nn

def plain(num_classes):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, num_classes),
    )

def dropping(num_classes):
    return nn.Sequential(*plain(num_classes)[:5], nn.Dropout(0.5), nn.Linear(8, num_classes))

def dropping_channels(num_classes):
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Dropout2d(0.5), nn.AdaptiveAvgPool2d(1), *plain(num_classes)[4:])

def dropping_in_place(num_classes):
    return nn.Sequential(*plain(num_classes)[:5], nn.Dropout(0.5, inplace=True), nn.Linear(8, num_classes))

def dropping_of_other_axes(num_classes):
    return nn.Sequential(*plain(num_classes)[:5], nn.Dropout2d(), nn.Linear(8, num_classes))

class Mean(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3), nn.Linear(8, num_classes)

    def forward(self, images):
        return self.last(self.first(images).mean(dim=(2, 3)))

class Broadcast(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.pool, self.first, self.last = nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 8, 3), plain(num_classes)[3:]

    def forward(self, images):
        maps = self.first(images)
        return self.last(maps + self.pool(maps))

class Sometimes(nn.Module):
    """Adds what torch computes of the maps where `when` says so."""

    def __init__(self, num_classes, when, compute=lambda self, maps: maps.mean(dim=0)):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3), plain(num_classes)[3:]
        self.when, self.compute = when, compute

    def forward(self, images):
        maps = self.first(images)
        return self.last(self.compute(self, maps) * maps if self.when(self, images) else maps)

class Tripled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, maps):
        return maps.view_as(maps)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * gradient.mean()

class Backward(Sometimes):
    def __init__(self, num_classes):
        super().__init__(num_classes, None)

    def forward(self, images):
        return self.last(Tripled.apply(self.first(images)))

def in_training(num_classes):
    return Sometimes(num_classes, lambda self, images: self.training)

def of_some_values(num_classes):
    return Sometimes(num_classes, lambda self, images: bool(images[0, 0, 0, 0] != 0))

def of_two_images(num_classes):
    return Sometimes(num_classes, lambda self, images: len(images) > 1)

def of_some_sizes(num_classes):
    return Sometimes(num_classes, lambda self, images: images.shape[2] == 32)

def with_gradients(num_classes):
    return Sometimes(num_classes, lambda self, images: torch.is_grad_enabled())

def of_weights(num_classes):
    return Sometimes(
        num_classes, lambda self, images: self.training, lambda self, maps: self.first.weight.std() + 0 * maps[:1]
    )

def dropping_functionally(num_classes):
    return Sometimes(
        num_classes, lambda self, images: self.training, lambda self, maps: nn.functional.dropout(maps, 0.5)
    )

def expanding(num_classes):
    return Sometimes(num_classes, lambda self, images: self.training, lambda self, maps: maps[:1].expand_as(maps))

def failing_in_training(num_classes):
    return Sometimes(num_classes, lambda self, images: self.training and self.nothing)

class Joined(nn.Module):
    """Computes nothing but what has the same bits everywhere."""

    def __init__(self, num_classes):
        super().__init__()
        self.first, self.norm, self.relu = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU6()
        self.last = plain(num_classes)[3:]

    def forward(self, images):
        maps = self.relu(self.norm(self.first(images)))
        left, right = maps.chunk(2, dim=1)
        maps = torch.cat([right, left], dim=1) + maps + torch.empty_like(maps).fill_(1)
        maps = nn.functional.pad(torch.relu(maps), (1, 1, 1, 1))[:, :, 1:-1].transpose(2, 3)
        first, *others = maps.unbind(0)
        maps = torch.stack([first, *others]) + maps[0].unsqueeze(0) if len(maps) == 1 else maps
        return self.last(nn.functional.relu6(maps))

class Drawn(nn.Module):
    """Holds values that no rule of ours draws."""

    def __init__(self, num_classes):
        super().__init__()
        self.scale, self.last = nn.Parameter(torch.rand(8)), nn.Linear(3, num_classes)

    def forward(self, images):
        return self.last(images.mean(dim=(2, 3))) * self.scale[0]

def double(num_classes):
    return plain(num_classes).double()

BUILT, SEEN = [], []

def counted(num_classes):
    BUILT.append(num_classes)
    model = plain(num_classes)
    model.register_forward_pre_hook(lambda _, given: SEEN.append(given[0]))
    return model

def fixed(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 40 * 40, num_classes))

def maps(num_classes):
    return nn.Conv2d(3, num_classes, 3)

def failing(num_classes):
    raise RuntimeError("no such depth")

def text(num_classes):
    return "a network"

def random_width(num_classes):
    return nn.Sequential(nn.Conv2d(3, int(torch.randint(1, 999, ())), 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a user's module in the working folder, which is not trusted yet."""
    name = f"own_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(OWN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    TRUSTED.clear()
    return name


def trusted(name: str) -> Network:
    network = open_network(name)
    network.trust()
    return network


SMALL = ("squeezenet1_1", "mnasnet0_5", "shufflenet_v2_x0_5", "mobilenet_v3_small", "regnet_y_400mf")


@pytest.mark.parametrize("name", [SMALL[0], *(pytest.param(name, marks=pytest.mark.slow) for name in SMALL[1:])])
def test_a_network_of_torchvision_has_a_score_for_each_class_and_weights_of_the_seed(name: str) -> None:
    first, again = (models.build(name, 6, seed=0) for _ in range(2))
    modules.check_scores(first, name, 6, 64)
    other = models.build(name, 6, seed=1).state_dict()
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in first.state_dict().items())
    assert not all(torch.equal(value, other[key]) for key, value in first.state_dict().items())


@pytest.mark.slow
def test_every_network_of_torchvision_can_be_built_and_says_its_smallest_image() -> None:
    for name in known_names():
        network = open_network(name)
        facts = network.imagenet
        if facts.parameters < 3e7:
            model = network.build(3, seed=0)
            side = max(facts.smallest, 64)
            modules.check_scores(model, name, 3, side)
            chosen = modules.default_modules(model, name, side)
            assert 1 <= len(set(chosen)) == len(chosen) <= 5, name
            assert set(chosen) <= set(dict(model.named_modules())), name


def test_the_head_is_what_depends_on_the_number_of_classes(tmp_path: Path) -> None:
    assert building.head(open_network("squeezenet1_1")) == {"classifier.1.weight", "classifier.1.bias"}
    assert building.head(open_network("resnet18")) == {"fc.weight", "fc.bias"}
    theirs = {k: v.contiguous() for k, v in models.build("squeezenet1_1", 10, seed=3).state_dict().items()}
    safetensors.torch.save_file(theirs, tmp_path / "ten.safetensors")
    loaded = models.build("squeezenet1_1", 6, 0, str(tmp_path / "ten.safetensors")).state_dict()
    drawn = models.build("squeezenet1_1", 6, 0).state_dict()
    for key, value in loaded.items():
        assert torch.equal(value, drawn[key] if key.startswith("classifier.1.") else theirs[key]), key


def test_the_head_is_looked_for_once(own: str) -> None:
    network = trusted(f"{own}:counted")
    assert building.head(network) == {"5.weight", "5.bias"}
    assert building.head(open_network(network.name)) == building.head(network)
    assert importlib.import_module(own).BUILT == [2, 3]


def test_auxiliary_heads_are_neither_built_nor_missed_in_a_file(tmp_path: Path) -> None:
    model = models.build("googlenet", 6, seed=0)
    assert not [key for key in model.state_dict() if key.startswith("aux")]
    # Its weights were trained on images of another normalisation.
    assert vars(model)["transform_input"]
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    safetensors.torch.save_file(state | {"aux1.fc2.weight": torch.ones(6, 4)}, tmp_path / "file.safetensors")
    again = models.build("googlenet", 6, seed=1, weights=str(tmp_path / "file.safetensors"))
    assert all(torch.equal(value, state[key]) for key, value in again.state_dict().items())


def test_what_a_rule_does_not_draw_is_drawn_by_the_constructor_from_the_seed(own: str) -> None:
    network, before = trusted(f"{own}:Drawn"), torch.random.get_rng_state()
    first, again, other = (network.build(3, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first["scale"], again["scale"])
    assert not torch.equal(first["scale"], other["scale"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "resnet19",
            r"'resnet19'; .*torchvision.*MODULE:FUNCTION, timm:NAME.*efficientnet_lite0; did you mean resnet1\d\?",
        ),
        ("raft_large", "model is 'raft_large'"),  # torchvision's, and not of classification
        ("own:plain", "own:plain is code.*--model own:plain"),
    ],
)
def test_a_name_without_a_network_is_refused_before_its_weights_are_looked_for(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        models.build(name, 6, seed=0, weights="missing.pth")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("failing", "failed when it was called with num_classes=6: RuntimeError: no such depth"),
        ("missing", "has no 'missing'; MODULE:FUNCTION names a function that returns a network"),
        ("text", "returned str; it must return a torch.nn.Module"),
        ("double", r"0\.weight is torch\.float64; it must be torch\.float32"),
    ],
)
def test_a_function_that_makes_no_network_is_refused(own: str, function: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        trusted(f"{own}:{function}").build(6, seed=0)


def test_a_module_that_is_not_there_says_where_it_is_looked_for() -> None:
    with pytest.raises(ValueError, match=r"cannot be imported: No module named 'nowhere_at_all'.* this folder and"):
        trusted("nowhere_at_all:network").build(6, seed=0)


@pytest.mark.parametrize(
    ("function", "side", "words"),
    [
        ("fixed", 32, "cannot take images of 32 px a side: .*; try another --image-size"),
        ("maps", 32, r"returns a tensor of shape \(1, 6, 30, 30\) for one image; it must return scores"),
    ],
)
def test_a_network_without_scores_for_such_an_image_is_refused(own: str, function: str, side: int, words: str) -> None:
    network = trusted(f"{own}:{function}")
    with pytest.raises(ValueError, match=words):
        modules.check_scores(network.build(6, seed=0), network.name, 6, side)


def test_a_network_of_a_fixed_size_says_it() -> None:
    with torch.device("meta"):
        model = torch.nn.Module()
    model.image_size = 224  # type: ignore[assignment]
    model.forward = lambda images: images.view(3)
    with pytest.raises(ValueError, match="vit cannot take images of 64 px a side: it takes 224 px"):
        modules.check_scores(model, "vit", 6, 64)


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (torch.zeros(1, 5), "vit returns 5 scores for one image; 6 are needed, one for each class"),
        (torch.zeros(2, 6), r"vit returns \(2, 6\) scores for one image; 6 are needed, one for each class"),
        (torch.full((1, 6), torch.nan), r"vit returns scores that are infinite or nan .*; they must be finite"),
        ({"out": torch.zeros(1, 6)}, "vit returns dict for one image; it must return scores"),
    ],
)
def test_a_network_with_other_scores_than_one_finite_one_per_class_is_refused(scores: object, words: str) -> None:
    model = torch.nn.Module()
    model.forward = lambda _: scores
    with pytest.raises(ValueError, match=words):
        modules.check_scores(model, "vit", 6, 64)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = tokens + self.inner(tokens)
        return result


class Transformer(nn.Module):
    """One convolution, then transformer blocks."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 8, 8)
        self.blocks = nn.Sequential(*(Block() for _ in range(blocks)))
        self.last = nn.Linear(8, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.blocks(self.first(images).flatten(2).transpose(1, 2))
        scores: torch.Tensor = self.last(tokens.mean(dim=1))
        return scores


def test_modules_that_are_measured_by_default() -> None:
    resnet, squeezenet = (open_network(name) for name in ("resnet34", "squeezenet1_1"))
    assert modules.default_modules(resnet.build(6, 0), resnet.name, 64) == FIVE_MODULES
    # 26 convolutions, of which those with the numbers 0, 6.25, 12.5, 18.75 and 25, rounded to even.
    assert modules.default_modules(squeezenet.build(6, 0), squeezenet.name, 64) == (
        "features.0",
        "features.4.expand3x3",
        "features.7.expand3x3",
        "features.11.squeeze",
        "classifier.1",
    )
    blocks = modules.default_modules(Transformer(9), "transformer", 32)
    assert blocks == ("blocks.0", "blocks.2", "blocks.4", "blocks.6", "blocks.8")
    assert modules.default_modules(Transformer(3), "transformer", 32) == ("first",)
    without = nn.Sequential(nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16 * 16, 2))
    assert modules.default_modules(without, "without a convolution", 32) == ("0", "1")


def test_outputs_are_listed_in_the_order_in_which_modules_end() -> None:
    found = modules.outputs(Transformer(1), "transformer", 32)
    assert [(each.name, each.kind, each.shape) for each in found] == [
        ("first", "Conv2d", (8, 4, 4)),
        ("blocks.0.inner", "Linear", (16, 8)),
        ("blocks.0", "Block", (16, 8)),
        ("blocks", "Sequential", (16, 8)),
        ("last", "Linear", (2,)),
    ]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("plain", ""),
        ("dropping", ""),
        ("dropping_channels", ""),
        ("dropping_in_place", ""),
        ("dropping_of_other_axes", "its training step fails with ValueError: dropout of values *must have 4 axes"),
        ("Mean", "its forward() calls mean, whose bits are torch's"),
        ("Broadcast", "its forward() calls add of two shapes, whose bits are torch's"),
        ("Joined", ""),
        ("in_training", "its training step calls *mean, mul*, whose bits are torch's"),
        ("of_some_values", "its forward() calls *mean, mul*, whose bits are torch's"),
        ("of_two_images", "its forward() calls mean, mul, whose bits are torch's"),
        ("of_some_sizes", "its forward() calls mean, mul, whose bits are torch's"),
        ("with_gradients", "its training step calls *mean, mul*, whose bits are torch's"),
        ("Backward", "its training step calls *mean, mul*, whose bits are torch's"),
        ("of_weights", "its training step calls *std*, whose bits are torch's"),
        ("dropping_functionally", "its training step calls *bernoulli_*, whose bits are torch's"),
        ("expanding", "its training step calls *expand*sum*, whose bits are torch's"),
        ("failing_in_training", "its training step fails with AttributeError: 'Sometimes' object has no attribute*"),
    ],
)
def test_a_network_has_portable_arithmetic_where_all_that_it_computes_has(own: str, function: str, reason: str) -> None:
    before = torch.random.get_rng_state()
    found = modules.obstacle(trusted(f"{own}:{function}"), 32)
    assert fnmatchcase(found, reason), found
    assert torch.equal(torch.random.get_rng_state(), before)


def test_networks_of_torchvision_with_and_without_portable_arithmetic() -> None:
    assert {name for name in known_names() if open_network(name).is_resnet} == set(RESNETS)
    # None of the five is examined: no memory holds such images.
    assert modules.obstacle(open_network("resnet152"), 10**7) == ""
    assert modules.obstacle(open_network("resnext50_32x4d"), 32) == ""
    assert "Hardswish" in modules.obstacle(open_network("mobilenet_v3_small"), 32)
    assert (
        modules.obstacle(open_network("shufflenet_v2_x0_5"), 32) == "its forward() calls mean, whose bits are torch's"
    )


def small_run(model: str, numerics: str) -> Config:
    settings = (OptimizerSetting(name="sgd", optimizer="SGD", learning_rate=1e-2),)
    return replace(PRESETS["tiny"], model=model, epochs=1, numerics=numerics, settings=settings)


def test_a_network_of_ones_own_is_trained_and_its_code_is_run_only_where_it_is_named(
    own: str, call: Call, tmp_path: Path, numerics: Numerics
) -> None:
    name = f"{own}:plain"
    run = experiment.train(small_run(name, "auto"), tmp_path / "run", context=Context(numerics))
    assert run.config.modules == ("0",)
    image = run.split_below(None).root / run.scores.paths[0]
    TRUSTED.clear()
    commands = (("evaluate", str(run.folder)), ("predict", str(run.folder), str(image)), ("verify", str(run.folder)))
    for words in commands:
        refused(call, words, f"{name} is code, which is run only where you name it yourself")
        refused(
            call,
            (*words, "--model", "resnet18"),
            f"--model resnet18 is not the network of the run; give --model {name}",
        )
    refused(call, ("report", str(run.folder)), f"{name} is code")
    for words in commands:
        assert call(*words, "--model", name)[0] == 0
    # Which modules are measured the training has chosen, and would again; others stand in a file.
    assert make_record(run)["command"] == (
        f"in4310repro train --preset tiny --model {name} --epochs 1 --config FILE (with settings) && "
        f"in4310repro report runs/tiny --model {name}"
    )
    other = replace(run, config=replace(run.config, modules=("1",)))
    assert "--config FILE (with settings, modules) && " in make_record(other)["command"]


@pytest.mark.parametrize("arithmetic", ["native", "auto"])
def test_what_a_network_drops_depends_on_seed_and_step_alone(own: str, arithmetic: str, tmp_path: Path) -> None:
    context, hashes = Context(activate(arithmetic, "cpu")), []
    for number in range(2):
        torch.manual_seed(number)
        run = experiment.train(small_run(f"{own}:dropping", arithmetic), tmp_path / f"{number}", context=context)
        hashes.append(run.metrics["weights_sha256"])
    assert hashes[0] == hashes[1]


def test_portable_arithmetic_that_is_asked_for_and_not_to_be_had_says_why(
    own: str, numerics: Numerics, tmp_path: Path
) -> None:
    if not numerics.portable:
        pytest.skip("no kernel was built here")
    with pytest.raises(ValueError, match=r"no portable arithmetic: its forward\(\) calls mean.*--numerics native"):
        experiment.train(small_run(f"{own}:Mean", "portable"), tmp_path / "run", context=Context(numerics))
    assert not (tmp_path / "run").exists()


def test_training_chooses_native_arithmetic_where_the_network_has_no_other(
    own: str, call: Call, tmp_path: Path
) -> None:
    words = ("train", "--preset", "tiny", "--epochs", "1", "--model", f"{own}:Mean", "--out", str(tmp_path / "run"))
    code, _, printed = call(*words)
    assert code == 0
    assert f"native arithmetic, since {own}:Mean has no portable one: its forward() calls mean" in printed
    assert FinishedRun.open(tmp_path / "run").fingerprint["numerics"] == "native"


def test_the_modules_of_a_network_are_listed(call: Call, own: str) -> None:
    code, printed, _ = call("modules", f"{own}:plain", "--image-size", "32")
    assert code == 0
    assert printed.splitlines()[1:] == [
        "* 0  Conv2d                   8 x 16 x 16",
        "  1  BatchNorm2d              8 x 16 x 16",
        "  2  ReLU                     8 x 16 x 16",
        "  3  AdaptiveAvgPool2d        8 x 1 x 1",
        "  4  Flatten                  8",
        "  5  Linear                   1000",
    ]
    width = int(torch.randint(1, 999, (), generator=torch.Generator().manual_seed(0)))  # of the seed of a training
    printed = call("modules", f"{own}:random_width", "--image-size", "32")[1]
    assert printed.splitlines()[1] == f"* 0  Conv2d                   {width} x 32 x 32"
    # As torchvision's documentation has it: 11,689,512.
    printed = call("modules", "resnet18")[1]
    assert printed.startswith("resnet18: 11.7 M parameters; outputs for one image of 224 px\n")
    refused(call, ("modules",), "give a network, such as in4310repro modules resnet18, or --list")
    refused(call, ("modules", "--list", "nothing*"), "no network of torchvision fits 'nothing*'")


def test_torchvisions_networks_are_listed_by_pattern(call: Call) -> None:
    code, printed, _ = call("modules", "--list", "squeezenet1_1")
    assert code == 0
    expected = "squeezenet1_1 1.2 M 17 IMAGENET1K_V1 portable"
    assert " ".join(printed.splitlines()[1].split()) == expected


def test_the_list_of_networks_cuts_nothing_and_its_columns_stand_below_one_another(call: Call) -> None:
    pattern = "[ms]*net[01]_[15]"
    names = known_names(pattern)
    assert len({len(name) for name in names}) > 1
    first, *rows = call("modules", "--list", pattern)[1].splitlines()
    assert [row.split()[0] for row in rows] == names
    for name, row in zip(names, rows, strict=True):
        network = open_network(name)
        assert row[first.index("weights") :].split()[0] == network.imagenet.label
        obstacle = modules.obstacle(network, 224)
        assert row[first.index("arithmetic") :] == (f"native: {obstacle}" if obstacle else "portable")


def test_without_timm_its_networks_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(ValueError, match=r"timm:resnet10t needs timm: .*pip install timm$"):
        models.build("timm:resnet10t", 6, seed=0)


def test_a_network_is_asked_once_for_its_arithmetic_and_shows_its_modules_with_one_image(own: str, call: Call) -> None:
    assert call("modules", f"{own}:counted", "--image-size", "32")[0] == 0
    seen = importlib.import_module(own).SEEN
    assert len(seen) == 1
    words = ("train", "--preset", "tiny", "--model", f"{own}:counted", "--optimizer", "SGD", "--epochs", "1")
    assert call(*words)[0] == 0
    # Grey images: for its arithmetic, for its scores and for its modules; all others are of the training.
    assert sum(not images.any() for images in seen) == 1 + 3
