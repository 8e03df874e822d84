"""Every operation has the bits of a second implementation, which was written from docs/arithmetic.md alone."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from in4310repro import arithmetic
from in4310repro.arithmetic import layers, pooling, shares
from in4310repro.metrics import average_precision, class_accuracy
from tests.arithmetic import test_convolution, test_dropout, test_linear, test_loss, test_normalisation, test_winograd
from tests.arithmetic.formulas import equal_bits
from tests.arithmetic.shapes import NAMES, Case, by_ours, computed_of, random_case
from tests.oracle.program import SOURCES, Oracle, Value, build

LAYERS = [
    Case(9, 3, (32, 32), 64, (7, 7), (2, 2), (3, 3)),
    Case(9, 64, (8, 8), 128, stride=(2, 2)),
    Case(9, 64, (8, 8), 128, (1, 1), (2, 2), (0, 0)),
    Case(9, 256, (4, 4), 256),
    Case(9, 512, (2, 2), 512),
    Case(1, 96, (9, 11), 24, (1, 1), (1, 1), (0, 0)),
    Case(9, 24, (7, 7), 144, (1, 1), (1, 1), (0, 0)),
    Case(9, 70, (9, 6), 70, (3, 3), (2, 2), groups=70),
    Case(9, 70, (9, 6), 70, groups=35),
    Case(7, 5, (3, 3), 4),  # short sums of weights, in double
    Case(1, 64, (8, 8), 64),  # fewer products, although they are so few
]
CASES = list(dict.fromkeys([*LAYERS, *test_convolution.FORMULA, *test_winograd.FORMULA]))
SPECIAL = (0.0, -0.0, 1e-45, -1e-39, 3e38, math.inf, -math.inf, math.nan)
CONTENTS = ("normal", "denormal", "maps", "weight", "gradient")


def assert_same(names: tuple[str, ...], ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> None:
    different = [name for name, *pair in zip(names, ours, theirs, strict=True) if not equal_bits(*pair)]
    assert not different


def with_special(values: Tensor, seed: int = 0) -> Tensor:
    """Return a copy with one of each special value, in random places."""
    values = values.clone()
    places = np.random.default_rng(seed).permutation(values.numel())[: len(SPECIAL)]
    for place, value in zip(places, SPECIAL, strict=False):
        values[np.unravel_index(int(place), values.shape)] = value
    return values


def drawn(case: Case, content: str) -> dict[str, Tensor]:
    maps, gradient = case.draw()
    weight, bias = case.draw_weight()
    inputs = {"maps": maps, "gradient": gradient, "weight": weight, "bias": bias}
    if content == "denormal":
        # Products are some 1e-38: many are denormal, and zeros have both signs.
        return {name: (each * 1e-19).where(each.abs() > 0.3, each.sign() * 0) for name, each in inputs.items()}
    return {name: with_special(each) if name == content else each for name, each in inputs.items()}


def convolved(case: Case, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
    return computed_of(case, by_ours, [inputs[name] for name in ("maps", "weight", "bias")], inputs["gradient"])


def convolved_by(oracle: Oracle, case: Case, inputs: dict[str, Tensor]) -> list[Tensor]:
    keys: dict[str, Value] = {"stride": case.stride, "padding": sum(case.ends, ()), "groups": case.groups}
    maps, gradient, weight, bias = inputs.values()
    height, width = case.size
    return [
        *oracle("convolution", maps, weight, bias, **keys),
        *oracle("convolution_backward", gradient, weight, height=height, width=width, **keys),
        *oracle("weight_gradient", maps, gradient, kernel=case.kernel, whole=case.images, **keys),
        *oracle("bias_gradient", gradient),
    ]


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_convolutions_and_their_gradients_have_equal_bits(oracle: Oracle, case: Case, content: str) -> None:
    inputs = drawn(case, content)
    assert_same(NAMES, convolved(case, inputs), convolved_by(oracle, case, inputs))


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("form", test_normalisation.FORMS)
@pytest.mark.parametrize("shape", test_normalisation.SHAPES, ids=str)
def test_batch_norm_alone_and_fused_has_equal_bits(
    oracle: Oracle, shape: tuple[int, int, int, int], form: str, training: bool, special: bool
) -> None:
    case = test_normalisation.Case(shape)
    if special:
        case.maps, case.gradient = with_special(case.maps), with_special(case.gradient, seed=1)
    ours = case.by_ours(form, training)
    other = case.other if form == "sum relu" else None
    channels = torch.zeros(shape[1]), torch.ones(shape[1])
    inputs = case.maps, case.weight, case.bias, *channels, other
    keys: dict[str, Value] = {
        "mode": "training" if training else "given",
        "activation": form.removeprefix("sum "),
        "epsilon": test_normalisation.EPSILON,
        "momentum": 0.1,
    }
    result, *_statistics, mean, variance = oracle("batch_norm", *inputs, **keys)
    theirs = [result, mean, variance, *oracle("batch_norm_backward", case.gradient, *inputs, **keys)]
    names = "result", "running mean", "running variance", "gradient", "of weight", "of bias", "of the second map"
    assert_same(names[: len(ours)], ours, theirs)


@pytest.mark.parametrize("limit", [0, 6])
def test_relu_has_equal_bits(oracle: Oracle, limit: int) -> None:
    values = with_special(torch.randn(2, 5, 7, 9) * 5)
    gradient = with_special(torch.randn(2, 5, 7, 9), seed=1)
    leaf = values.clone().requires_grad_()
    result = (layers.ReLU6() if limit else layers.ReLU())(leaf)
    (of_values,) = torch.autograd.grad(result, leaf, gradient)
    theirs = [*oracle("relu", values, limit=limit), *oracle("relu_backward", gradient, values, limit=limit)]
    assert_same(("result", "gradient"), [result, of_values], theirs)


@pytest.mark.parametrize(("images", "classes", "size"), [(1, 6, 5.0), (9, 2, 100.0), (41, 17, 1.0), (8, 6, 1e-3)])
def test_the_loss_its_gradient_and_softmax_have_equal_bits(
    oracle: Oracle, images: int, classes: int, size: float
) -> None:
    scores, labels = test_loss.scores_and_labels(images, classes, size)
    incoming = torch.tensor([-0.7])
    leaf = scores.clone().requires_grad_()
    loss = arithmetic.cross_entropy(leaf, labels)
    (gradient,) = torch.autograd.grad(loss, leaf, incoming[0])
    theirs = [
        *oracle("cross_entropy", scores, labels),
        *oracle("cross_entropy_backward", incoming, scores, labels),
        *oracle("softmax", scores),
    ]
    assert_same(("loss", "gradient", "softmax"), [loss[None], gradient, arithmetic.softmax(scores)], theirs)


@pytest.mark.parametrize("shape", [(3, 5, 7, 6), (1, 64, 1, 1), (9, 16, 4, 4)], ids=str)
def test_pooling_has_equal_bits(oracle: Oracle, shape: tuple[int, int, int, int]) -> None:
    maps = with_special(torch.randn(shape, generator=torch.Generator().manual_seed(1)))
    maps = maps.contiguous(memory_format=torch.channels_last)
    height, width = shape[2:]
    for size in ((1, 1), (2, 3)):
        leaf = maps.clone().requires_grad_()
        result = pooling.adaptive_average_pool(leaf, size)
        gradient = torch.randn(result.shape, generator=torch.Generator().manual_seed(2))
        theirs = [
            *oracle("average_pool", maps, output=size),
            *oracle("average_pool_backward", gradient, output=size, height=height, width=width),
        ]
        assert_same(("result", "gradient"), [result, *torch.autograd.grad(result, leaf, gradient)], theirs)
    leaf = maps.clone().requires_grad_()
    result = pooling.max_pool(leaf, (3, 3), (2, 2), (1, 1), False)
    gradient = torch.randn(result.shape, generator=torch.Generator().manual_seed(3))
    keys: dict[str, Value] = {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 1, 1, 1)}
    theirs = [*oracle("max_pool", maps, **keys), *oracle("max_pool_backward", gradient, maps, **keys)]
    assert_same(("result", "gradient"), [result, *torch.autograd.grad(result, leaf, gradient)], theirs)


DROPPED = [
    (nn.Dropout, (3, 5)),
    (nn.Dropout, (9, 1281)),
    (nn.Dropout, (2, 3, 4, 5)),
    (nn.Dropout, (2, 3, 4)),
    (nn.Dropout1d, (3, 50, 4)),
    (nn.Dropout2d, (3, 50, 4, 2)),
    (nn.Dropout3d, (2, 50, 2, 3, 2)),
]
IDENTITIES = torch.tensor([2**63 - 7, -5, 0, 1, 2, 3, 2**32, 2**40 + 1, 8])


def dropped_by(oracle: Oracle, values: Tensor, kind: type[nn.Module], share: float, key: int) -> Tensor:
    keys: dict[str, Value] = {"share": share, "channels": int(kind is not nn.Dropout), "key": key}
    return oracle("dropout", values, IDENTITIES[: len(values)], **keys)[0]


@pytest.mark.parametrize("share", [1e-9, 0.2, 0.5, 1.0])
@pytest.mark.parametrize(("kind", "shape"), DROPPED, ids=str)
def test_dropout_has_equal_bits(oracle: Oracle, kind: type[nn.Module], shape: tuple[int, ...], share: float) -> None:
    values, gradient = (with_special(torch.randn(shape), seed=seed) for seed in (0, 1))
    leaf = values.clone().requires_grad_()
    with shares.Whole(IDENTITIES[: len(values)]):
        torch.manual_seed(5)
        result = arithmetic.portable(kind(share))(leaf)
    key = test_dropout.key_by_numpy(5)
    theirs = [dropped_by(oracle, each, kind, share, key) for each in (values, gradient)]
    assert_same(("result", "gradient"), [result, *torch.autograd.grad(result, leaf, gradient)], theirs)
    if 0 < share < 1 and values.numel() > 30:
        assert equal_bits(theirs[0], dropped_by(oracle, values, kind, share, key + 1)) is (share == 1e-9)


@pytest.mark.parametrize("known", test_dropout.KNOWN_ANSWERS, ids=["zeros", "ones", "pi"])
def test_the_second_implementation_draws_the_words_of_random123(oracle: Oracle, known: tuple[str, str, str]) -> None:
    counter, key, words = map(test_dropout.numbers, known)
    pairs = [low | high << 32 for low, high in (counter[:2], counter[2:], key)]
    assert oracle("philox", numbers=pairs)[0].tolist() == words


@pytest.mark.parametrize(("images", "features", "outputs"), [(1, 7, 3), (9, 512, 6), (33, 30, 70)])
def test_linear_layers_have_equal_bits(oracle: Oracle, images: int, features: int, outputs: int) -> None:
    drawn = test_linear.draw((images, features, outputs))
    rows, weight, bias, gradient = drawn
    theirs = [*oracle("linear", rows, weight, bias), *oracle("linear_backward", gradient, rows, weight)]
    assert_same(NAMES, test_linear.computed(drawn), theirs)


OPTIMIZERS: dict[str, tuple[Callable[[list[nn.Parameter]], torch.optim.Optimizer], dict[str, Value]]] = {
    "adamw": (
        lambda parameters: arithmetic.AdamW(parameters, lr=0.003, weight_decay=0.01),
        {"lr": 0.003, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "decay": 0.01},
    ),
    "rmsprop": (
        lambda parameters: arithmetic.RMSprop(parameters, lr=0.001, weight_decay=0.02),
        {"lr": 0.001, "alpha": 0.99, "epsilon": 1e-8, "decay": 0.02},
    ),
    "sgd": (
        lambda parameters: arithmetic.SGD(parameters, lr=0.02, momentum=0.9, weight_decay=0.0),
        {"lr": 0.02, "momentum": 0.9, "decay": 0.0},
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_three_steps_of_an_optimizer_have_equal_bits(oracle: Oracle, name: str) -> None:
    make, settings = OPTIMIZERS[name]
    generator = torch.Generator().manual_seed(4)
    start = torch.randn(37, 11, generator=generator)
    ours, theirs = nn.Parameter(start.clone()), [start]
    optimizer = make([ours])
    for step in range(1, 4):
        gradient = with_special(torch.randn(37, 11, generator=generator), seed=step)
        ours.grad = gradient.clone()
        optimizer.step()
        theirs = oracle.take_step(name, step, theirs, gradient, settings)
        assert equal_bits(ours, theirs[0]), step


@pytest.mark.parametrize("shape", [(5, 3), (32, 7), (100, 20)], ids=str)
def test_products_of_a_covariance_have_equal_bits(oracle: Oracle, shape: tuple[int, int]) -> None:
    centred = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    assert_same(("product",), [arithmetic.product(centred)], oracle("product", centred))


def test_accuracy_and_average_precision_are_those_of_the_second_implementation(oracle: Oracle) -> None:
    generator = torch.Generator().manual_seed(6)
    scores = torch.randn(60, 6, generator=generator).round(decimals=1)  # with ties
    labels = torch.arange(60) % 6
    (accuracy,), (precision,) = (
        oracle("class_accuracy", scores, labels, classes=6),
        oracle("average_precision", scores, labels),
    )
    assert torch.equal(class_accuracy(labels, scores), accuracy)
    torch.testing.assert_close(average_precision(labels, scores), precision, rtol=1e-13, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_random_convolutions_have_equal_bits(oracle: Oracle, seed: int) -> None:
    generator = np.random.default_rng(seed)
    case = test_winograd.random_sizes(generator) if seed % 2 else random_case(generator)
    inputs = drawn(case, CONTENTS[seed % len(CONTENTS)])
    assert_same(NAMES, convolved(case, inputs), convolved_by(oracle, case, inputs))


SMALL, WIDE = Case(17, 40, (5, 6), 17), Case(2, 513, (4, 7), 16)
TWINS = {
    "parts of another length": (SMALL, "sums.rs", "p * p <= 2 * n", "p * p <= n"),
    "no fused products": (SMALL, "sums.rs", "*sum = fma(factor, term, *sum);", "*sum = fma(factor * term, 1.0, *sum);"),
    "a tree by halves": (SMALL, "sums.rs", "leaves.len().next_power_of_two() / 2", "leaves.len() / 2"),
    "leaves of four images": (SMALL, "sums.rs", "LEAF: usize = 8", "LEAF: usize = 4"),
    "the last bit of a constant": (WIDE, "winograd.rs", "0x1e98802", "0x1e98804"),
    "another scheme": (WIDE, "winograd.rs", "(n >= 512, [four, four])", "(false, [four, four])"),
}


@pytest.mark.slow
@pytest.mark.parametrize("twin", TWINS)
def test_a_program_with_one_rule_changed_has_other_bits(oracle: Oracle, twin: str, tmp_path: Path) -> None:
    case, file, right, wrong = TWINS[twin]
    sources = shutil.copytree(SOURCES, tmp_path / "sources")
    text = (sources / file).read_text(encoding="utf-8")
    assert text.count(right) == 1
    (sources / file).write_text(text.replace(right, wrong), encoding="utf-8")
    changed = build(tmp_path, sources)
    inputs = drawn(case, "normal")
    ours = convolved(case, inputs)
    assert all(map(equal_bits, ours, convolved_by(oracle, case, inputs)))
    assert not all(map(equal_bits, ours, convolved_by(changed, case, inputs)))
