"""The page's WebAssembly has the bits of the package."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, resnet18

from in4310repro import arithmetic
from in4310repro.arithmetic import pooling, portable
from in4310repro.arithmetic.products import convolution
from in4310repro.data.images import normalize
from in4310repro.data.preprocessing import Preprocessing
from in4310repro.models.efficientnet import EfficientNetLite
from in4310repro.report import check_page
from tests.arithmetic import test_normalisation, test_winograd
from tests.arithmetic.formulas import batch_norm, equal_bits
from tests.arithmetic.shapes import Case, random_case
from tests.oracle.kernel import FILE, FORMS, Kernel, compiled, computed_by, of_rows, rows_of
from tests.oracle.program import SOURCES
from tests.oracle.test_operations import CASES, drawn, with_special

CONTENTS = ("normal", "denormal", "maps", "weight")
ONE_IMAGE = list(dict.fromkeys(dataclasses.replace(case, images=1) for case in CASES))


def recorded() -> dict[str, str]:
    """Return what `oracle/build.sh` wrote beside the file: sha256, sources and rustc."""
    lines = FILE.with_suffix(".txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines)


def test_the_file_is_the_recorded_one_and_as_new_as_its_sources() -> None:
    sources = b"".join(file.read_bytes() for file in [SOURCES / "build.sh", *sorted(SOURCES.glob("*.rs"))])
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == recorded()["sha256"]
    assert hashlib.sha256(sources).hexdigest() == recorded()["sources"], "run oracle/build.sh"


def test_the_sources_compile_to_the_bytes_of_the_file(tmp_path: Path) -> None:
    built = compiled(tmp_path, SOURCES)
    assert built.read_bytes() == FILE.read_bytes()
    assert built.with_suffix(".txt").read_bytes() == FILE.with_suffix(".txt").read_bytes()


@pytest.mark.parametrize("seed", range(3))
def test_normal_numbers_are_those_of_numpy(kernel: Kernel, seed: int) -> None:
    # About a hundredth of them lies in the tail or at the edge of a layer.
    number, generator = 10**6, np.random.default_rng(seed)
    state = generator.bit_generator.state["state"]
    words = [half for each in ("state", "inc") for half in (state[each] % 2**64, state[each] >> 64)]
    words_read = torch.from_numpy(np.array(words, np.uint64).view(np.int64))
    numpys = torch.from_numpy((0.02 * generator.standard_normal(number)).astype(np.float32))

    def draws(ends: list[float]) -> Tensor:
        return kernel("draw", torch.tensor(ends, dtype=torch.float64), words_read, number, 0.02, shape=(number,))

    ends = check_page.ziggurat()
    assert equal_bits(numpys, draws(ends))
    assert not equal_bits(numpys, draws([*ends[:9], ends[9] * (1 + 1e-6), *ends[10:]]))


def convolved(case: Case, inputs: dict[str, Tensor], bias: Tensor | None) -> Tensor:
    with torch.no_grad():
        return convolution(inputs["maps"], inputs["weight"], bias, case.stride, case.ends, case.groups)


def convolved_by(kernel: Kernel, case: Case, inputs: dict[str, Tensor], bias: Tensor | None) -> Tensor:
    return kernel.convolve(inputs["maps"], inputs["weight"], bias, case.stride, case.ends, case.groups)


def assert_convolutions_agree(kernel: Kernel, case: Case, content: str) -> None:
    inputs = drawn(case, content)
    for bias in (inputs["bias"], None):
        ours = convolved(case, inputs, bias)
        assert equal_bits(ours, convolved_by(kernel, case, inputs, bias))


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("case", ONE_IMAGE, ids=str)
def test_convolutions_have_equal_bits(kernel: Kernel, case: Case, content: str) -> None:
    assert_convolutions_agree(kernel, case, content)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_random_convolutions_of_one_image_have_equal_bits(kernel: Kernel, seed: int) -> None:
    generator = np.random.default_rng(seed)
    case = test_winograd.random_sizes(generator) if seed % 2 else random_case(generator)
    assert_convolutions_agree(kernel, dataclasses.replace(case, images=1), CONTENTS[seed // 2 % len(CONTENTS)])


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", test_normalisation.SHAPES, ids=str)
def test_batch_norm_of_an_image_has_equal_bits(
    kernel: Kernel, shape: tuple[int, int, int, int], form: str, special: bool
) -> None:
    case = test_normalisation.Case((1, *shape[1:]))
    if special:
        case.maps, case.other = with_special(case.maps), with_special(case.other, seed=1)
    other = case.other if form == "sum relu" else None
    for affine in (False, True):
        norm = nn.BatchNorm2d(shape[1], eps=1e-3, affine=affine)
        if affine:
            norm.load_state_dict({"weight": case.weight, "bias": case.bias}, strict=False)
        norm.running_mean, norm.running_var = case.bias.flip(0), case.weight.flip(0)
        statistics = norm.running_mean, norm.running_var, norm.weight, norm.bias
        activation = form.removeprefix("sum ")
        with torch.no_grad():
            ours = batch_norm(
                case.maps, *statistics, training=False, epsilon=norm.eps, activation=activation, other=other
            )
        assert equal_bits(ours, kernel.normalise(norm, case.maps, form, other))


def test_sums_have_equal_bits(kernel: Kernel) -> None:
    values, other = with_special(torch.randn(500) * 5), with_special(torch.randn(500), seed=1)
    assert equal_bits(values + other, kernel("add", values, 500, other, shape=(500,)))


@pytest.mark.parametrize("size", [(7, 6), (1, 1), (16, 13)], ids=str)
def test_pools_of_an_image_have_equal_bits(kernel: Kernel, size: tuple[int, int]) -> None:
    maps = with_special(torch.randn(1, 5, *size)).contiguous(memory_format=torch.channels_last)
    for taps, stride, padding in ((3, 2, 1), (2, 1, 1), (1, 3, 0), (5, 2, 2)):
        ours = pooling.max_pool(maps, (taps, taps), (stride, stride), (padding, padding), False)
        sizes = *size, 5, taps, stride, padding
        assert equal_bits(ours, of_rows(kernel("max_pool", rows_of(maps), *sizes, shape=(*ours.shape[2:], 5))))
    for result in ((1, 1), (2, 3)):
        ours = pooling.adaptive_average_pool(maps, result)
        theirs = kernel("average_pool", rows_of(maps), *size, 5, *result, shape=(*result, 5))
        assert equal_bits(ours, of_rows(theirs))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("features", "outputs"), [(7, 3), (512, 6), (1, 1)])
def test_linear_layers_of_an_image_have_equal_bits(kernel: Kernel, features: int, outputs: int, bias: bool) -> None:
    module, row = nn.Linear(features, outputs, bias=bias), torch.randn(1, features)
    ours = portable(nn.Sequential(copy.deepcopy(module)))(row).detach()
    theirs = kernel("linear", features, outputs, row, module.weight, module.bias, shape=(1, outputs))
    assert equal_bits(ours, theirs)


@pytest.mark.parametrize(("classes", "size"), [(6, 5.0), (2, 100.0), (17, 1.0), (1, 3.0), (6, 1e-3)])
def test_softmax_and_losses_of_images_have_equal_bits(kernel: Kernel, classes: int, size: float) -> None:
    generator = torch.Generator().manual_seed(0)
    scores, labels = torch.randn(40, classes, generator=generator) * size, torch.arange(40) % classes
    softmax = [kernel("softmax", classes, row, shape=(classes,)) for row in scores]
    assert equal_bits(arithmetic.softmax(scores), torch.stack(softmax))
    losses = []
    for row, label in zip(scores, labels.tolist(), strict=True):
        with kernel.written(row) as (pointer,):
            losses.append(kernel.call("loss", classes, pointer, label))
    assert equal_bits(arithmetic.losses(scores, labels), torch.tensor(losses, dtype=torch.float64))


def test_pixels_become_maps_as_the_package_reads_them(kernel: Kernel) -> None:
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    mean, deviation = torch.tensor(Preprocessing.mean), torch.tensor(Preprocessing.std)
    prepared = kernel("prepare", torch.from_numpy(pixels), 16, 16, mean, deviation, shape=(16, 16, 3))
    assert equal_bits(rows_of(normalize(pixels[None])), prepared)


def test_what_is_computed_repeatedly_takes_no_more_memory(kernel: Kernel) -> None:
    inputs, sizes = drawn(Case(1, 64, (8, 8), 64), "normal"), set()
    with kernel.written(inputs["weight"]) as (pointer,):
        layer = kernel.call("layer", 8, 8, 64, pointer, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1)
    for _ in range(20):
        kernel("apply", layer, rows_of(inputs["maps"]), inputs["bias"], shape=(8, 8, 64))
        sizes.add(kernel.memory.data_len(kernel.store))
    assert len(sizes) == 1
    assert kernel.call("allocate", 2**32 - 2**20) == 0


@pytest.mark.parametrize(
    "sizes",
    [
        (4, 4, 2, 0, 0, 3, 3, 1, 1, 1, 1, 1, 1, 1),  # no output
        (4, 4, 2, 0, 2, 3, 3, 0, 1, 1, 1, 1, 1, 1),  # stride
        (4, 4, 2, 0, 2, 3, 3, 1, 1, -1, 1, 1, 1, 1),  # padding
        (4, 4, 2, 0, 2, 7, 3, 1, 1, 1, 1, 1, 1, 1),  # kernel
        (4, 4, 3, 0, 2, 3, 3, 1, 1, 1, 1, 1, 1, 2),  # channels
        (4, 4, 2, 0, 3, 3, 3, 1, 1, 1, 1, 1, 1, 2),  # outputs
        (2**14, 2**14, 2, 0, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1),  # memory
    ],
)
def test_a_layer_of_sizes_that_cannot_be_is_refused(kernel: Kernel, sizes: tuple[int, ...]) -> None:
    assert kernel.call("layer", *sizes) == 0


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("add", (0, 0, 0), 1),
        ("max_pool", (0, 4, 4, 1, 7, 1, 1), 2),
        ("prepare", (0, 2**14, 2**14, 0, 0), 3),
        ("normalise", (0, 1, 1, 0, 0, 0, 0, 0.0, 5, 0), 4),
    ],
)
def test_what_a_function_refuses_has_a_code(kernel: Kernel, name: str, arguments: tuple[float, ...], code: int) -> None:
    with pytest.raises(ValueError, match=f"{name} gives the code {code}"):
        kernel(name, *arguments, shape=(1,))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: resnet18(num_classes=6),
    # Its pooling is a function that `portable` sees in the network alone.
    "mobilenet_v2": lambda: nn.Sequential(mobilenet_v2(num_classes=6).features, nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    "lite0": lambda: EfficientNetLite(6),
}


def initialised(name: str) -> nn.Module:
    """Return a network whose running statistics are those of drawn images."""
    torch.manual_seed(0)
    model = NETWORKS[name]().train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(8, 3, 64, 64) + 0.3)
    return model.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_scores_of_a_network_have_equal_bits(kernel: Kernel, name: str) -> None:
    model = initialised(name)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        theirs = computed_by(kernel, model)(image)
        assert equal_bits(portable(model)(image), theirs)
        assert not equal_bits(initialised(name)(image), theirs)  # torch's kernels have other bits
