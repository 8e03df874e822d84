"""Five torchvision architectures: every module without submodules, compared with copies of its outputs."""

import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import swin_transformer

from benchmarks import zoo
from in4310repro.features import FeatureStatistics
from tests.features.copies import covariance_by_numpy, error_of, maps_by_copies

CASES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "resnet18": (models.resnet18, "layer2.0.downsample.0"),
    "resnet50": (models.resnet50, "layer1.1.conv1"),
    "vgg16_bn": (lambda: models.vgg16_bn(init_weights=False), "features.3"),
    "mobilenet_v3_small": (models.mobilenet_v3_small, "features.1.block.1.fc2"),
    "vit_b_16": (lambda: models.vit_b_16(image_size=32), "encoder.layers.encoder_layer_3.self_attention"),
}
# Of which one takes more than a second.
SECONDS = ("vgg16_bn", "vit_b_16")


def all_counts_by_copies(network: nn.Module, images: Tensor) -> dict[str, tuple[int, int, int]]:
    """Return for each module without submodules the numbers of calls, of values and of values <= 0."""
    counts: dict[str, tuple[int, int, int]] = {}

    def add(name: str, maps: Tensor) -> None:
        calls, values, non_positive = counts.get(name, (0, 0, 0))
        counts[name] = (calls + 1, values + maps.numel(), non_positive + int((maps.numpy() <= 0).sum()))

    leaves = {name: module for name, module in network.named_modules() if not list(module.children())}
    handles = [
        module.register_forward_hook(lambda *call, name=name: add(name, call[2])) for name, module in leaves.items()
    ]
    with torch.no_grad():
        network(images)
    for handle in handles:
        handle.remove()
    return counts


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SECONDS else []) for name in CASES]
)
def test_all_leaves_and_one_covariance_agree_with_copies(name: str) -> None:
    make, module = CASES[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = make().eval()
        images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        expected_output = network(images)
    with FeatureStatistics(network, "leaves", calls="keep", samples=None) as leaves:
        output = network(images)
    with FeatureStatistics(network, [module], "images") as one:
        network(images)
    counts: dict[str, tuple[int, int, int]] = {}
    for key, result in leaves.result().items():
        calls, values, non_positive = counts.get(key.partition("#")[0], (0, 0, 0))
        counts[key.partition("#")[0]] = (calls + 1, values + result.values, non_positive + result.non_positive_values)
    assert torch.equal(output, expected_output)
    assert counts == all_counts_by_copies(network, images)
    (result,) = one.result().values()
    with torch.no_grad():
        (maps,) = maps_of_first(network, module, images)
    expected = covariance_by_numpy(maps.movedim(-1, 1) if maps.ndim == 3 else maps, "images")
    frobenius = torch.linalg.matrix_norm(result.covariance - torch.from_numpy(expected))
    assert float(frobenius) <= 1e-6 * float(torch.linalg.matrix_norm(torch.from_numpy(expected)))


def maps_of_first(network: nn.Module, module: str, images: Tensor) -> list[Tensor]:
    """Return copies of a module's output, or of its first tensor if it returns several."""
    copies: list[Tensor] = []

    def keep(_module: nn.Module, _args: object, output: object) -> None:
        first = output[0] if isinstance(output, tuple) else output
        assert isinstance(first, Tensor)
        copies.append(first.clone())

    handle = network.get_submodule(module).register_forward_hook(keep)
    network(images)
    handle.remove()
    return copies


def test_bn2_of_every_basic_block_is_read_before_the_sum_overwrites_it() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = models.resnet18()
        images = torch.randn(4, 3, 32, 32)
    names = [f"layer{stage}.{block}.bn2" for stage in (1, 2, 3, 4) for block in (0, 1)]
    with FeatureStatistics(network, names, "images") as statistics:
        network(images)
    for name, result in statistics.result().items():
        maps = torch.cat(maps_by_copies(network, name, [images]))
        assert result.non_positive_values == int((maps <= 0).sum())
        torch.testing.assert_close(result.mean, maps.double().mean(dim=(0, 2, 3)), rtol=1e-6, atol=1e-7)


def test_a_channels_last_model_under_autocast_gives_the_statistics_of_its_bfloat16_maps() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = models.resnet18().to(memory_format=torch.channels_last)
        images = torch.randn(4, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with FeatureStatistics(network, ["layer1.0.conv1"], "positions") as statistics:
            network(images)
        (maps,) = maps_by_copies(network, "layer1.0.conv1", [images])
    assert maps.dtype == torch.bfloat16
    expected = covariance_by_numpy(maps, "positions")
    assert error_of(statistics.result()["layer1.0.conv1"].covariance, expected) <= 1e-6


def small_swin() -> nn.Module:
    """Return a small Swin transformer, with windows on the batch axis and channels on the last axis."""
    network: nn.Module = models.SwinTransformer(
        patch_size=[4, 4],
        embed_dim=24,
        depths=[2, 1],
        num_heads=[2, 4],
        window_size=[4, 4],
        block=swin_transformer.SwinTransformerBlockV2,
        downsample_layer=swin_transformer.PatchMergingV2,
    )
    return network


def small_maxvit() -> nn.Module:
    """Return a small MaxViT, with window and grid attention and convolutions."""
    options = zoo.MAXVIT | {"stem_channels": 16, "block_channels": [32, 64], "block_layers": [1, 1]}
    network: nn.Module = models.MaxVit(**options)
    return network


# Models of the zoo, or small ones of a kind, and how many of their outputs are refused: no tensors, no images, or no
# axis that a layer or the sizes tell (StochasticDepth after a sum, windows).
ZOO: dict[str, tuple[Callable[[], nn.Module] | None, int]] = {
    "detection/fasterrcnn_mobilenet_v3_large_320_fpn": (None, 8),
    "swin_v2": (small_swin, 9),
    "maxvit": (small_maxvit, 8),
    "convnext_tiny": (None, 18),
    "shufflenet_v2_x0_5": (None, 0),
    "googlenet": (None, 0),
    "segmentation/lraspp_mobilenet_v3_large": (None, 0),
    "video/mc3_18": (None, 0),
}


SLOW = (
    *("detection/fasterrcnn_mobilenet_v3_large_320_fpn", "segmentation/lraspp_mobilenet_v3_large"),
    *("convnext_tiny", "googlenet"),
)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in ZOO])
def test_leaves_of_other_models_are_measured_right_or_refused(name: str) -> None:
    small, refused = ZOO[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        comparison = zoo.compare(*((small().eval(), torch.randn(2, 3, 64, 64)) if small else zoo.make(name)))
    assert comparison.deviation <= 1e-12
    assert comparison.covariances > len(comparison.refusals) == refused
    for title, sentence in comparison.refusals.items():
        assert f"leave_out=['{title.partition(': ')[2]}']" in sentence


def test_the_zoo_without_timm_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    written: list[str] = []
    assert zoo.main(written.append) == 2
    assert written == ["timm is not installed, and 27 of the 59 models are its: pip install -e '.[bench]'\n"]
    assert len(zoo.CASES) == 59
