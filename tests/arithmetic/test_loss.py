"""Cross-entropy and softmax by the package's own exp and log: errors, and equal bits on all processors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from in4310repro.arithmetic import cross_entropy, losses, softmax
from tests.arithmetic.formulas import assert_same_bits_everywhere, root_mean_square, tree

SHAPES = [(1, 2), (7, 6), (32, 6), (33, 17), (64, 1000), (9, 1)]


def scores_and_labels(images: int, classes: int, size: float = 5.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(images)
    scores = torch.randn(images, classes, generator=generator) * size
    return scores, torch.randint(0, classes, (images,), generator=generator)


def loss_and_gradient(scores: Tensor, labels: Tensor, function=cross_entropy) -> list[Tensor]:  # type: ignore[no-untyped-def]
    leaf = scores.clone().requires_grad_()
    loss = function(leaf, labels)
    loss.backward()
    assert leaf.grad is not None
    return [loss.detach(), leaf.grad]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_errors_of_loss_gradient_and_softmax_are_at_or_below_torchs(shape: tuple[int, int]) -> None:
    scores, labels = scores_and_labels(*shape)
    by_torch = torch.nn.functional.cross_entropy
    exact = [*loss_and_gradient(scores.double(), labels, by_torch), scores.double().softmax(1)]
    theirs = [*loss_and_gradient(scores, labels, by_torch), scores.softmax(1)]
    for ours, their, truth in zip([*loss_and_gradient(scores, labels), softmax(scores)], theirs, exact, strict=True):
        bound = max(root_mean_square(their - truth), 6e-8 * root_mean_square(truth))
        assert root_mean_square(ours - truth) <= bound


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_loss_has_equal_bits_on_every_instruction_set_and_number_of_threads(shape: tuple[int, int]) -> None:
    scores, labels = scores_and_labels(*shape)
    assert_same_bits_everywhere(lambda: [*loss_and_gradient(scores, labels), softmax(scores)])


def test_losses_of_images_are_added_by_leaves_of_eight_in_a_tree() -> None:
    scores, labels = scores_and_labels(41, 6)
    each = losses(scores, labels)
    leaves = [sum(each[first : first + 8].tolist(), 0.0) for first in range(0, 41, 8)]
    total = tree([torch.tensor(leaf, dtype=torch.float64).numpy() for leaf in leaves])
    assert float(cross_entropy(scores, labels)) == float(torch.tensor(float(total) / 41).float())


def test_the_gradient_is_the_slope_of_the_loss() -> None:
    scores, labels = scores_and_labels(5, 4, size=1.0)
    _, gradient = loss_and_gradient(scores, labels)
    step = 2.0**-7
    for image in range(5):
        for k in range(4):
            higher, lower = scores.clone(), scores.clone()
            higher[image, k] += step
            lower[image, k] -= step
            slope = (cross_entropy(higher, labels) - cross_entropy(lower, labels)) / (2 * step)
            # The loss is rounded to float32 and its third derivative is below 1.
            torch.testing.assert_close(slope, gradient[image, k], rtol=0, atol=3e-5)


def test_softmax_of_an_image_does_not_depend_on_its_neighbours() -> None:
    scores, _ = scores_and_labels(64, 6)
    together = softmax(scores)
    for images in (1, 7, 16):
        parts = [softmax(scores[first : first + images]) for first in range(0, 64, images)]
        assert torch.equal(torch.cat(parts), together)


@pytest.mark.parametrize(
    "row",
    [[math.inf, 0.0], [math.nan, 1.0], [-math.inf, 1.0], [-math.inf, -math.inf], [3e38, -3e38], [0.0, -104.0]],
    ids=str,
)
def test_scores_that_are_not_finite_or_far_apart_give_what_torch_gives(row: list[float]) -> None:
    scores, label = torch.tensor([row]), torch.tensor([0])
    torch.testing.assert_close(softmax(scores), scores.softmax(1), rtol=1e-6, atol=0, equal_nan=True)
    by_torch = loss_and_gradient(scores, label, torch.nn.functional.cross_entropy)
    for ours, theirs in zip(loss_and_gradient(scores, label), by_torch, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7, equal_nan=True)


def test_exp_and_log_are_right_over_their_range() -> None:
    # Softmax of (0, x) is 1 / (1 + exp(x)), its loss log(1 + exp(x)): no float32 is off by more than a rounding.
    x = torch.linspace(-103, 0, 4001)
    scores = torch.stack([torch.zeros_like(x), x], dim=1)
    exact = torch.exp(x.double()) / (1 + torch.exp(x.double()))
    torch.testing.assert_close(softmax(scores)[:, 1].double(), exact, rtol=6e-8, atol=1e-45)
    each = losses(scores, torch.zeros(4001, dtype=torch.int64))
    torch.testing.assert_close(each, torch.log1p(torch.exp(x.double())), rtol=0, atol=3e-16)
