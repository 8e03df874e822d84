"""Data loaders: the input of the network in evaluation and in training."""

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as transforms

from in4310repro.data.images import (
    ImageSet,
    augment,
    evaluation_batches,
    normalize,
    training_batches,
    training_ranges,
)
from in4310repro.system.numerics import generator_for
from tests.builders import image_set


def test_normalisation_agrees_with_torchvision() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    channels = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2) / 255
    oracle = transforms.normalize(channels, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(normalize(pixels), oracle.contiguous(), rtol=0, atol=1e-6)
    assert normalize(pixels).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [1, 7, 16, 200])
def test_an_evaluation_loader_yields_each_image_once_in_order_and_without_augmentation(size: int) -> None:
    images = image_set(33)
    batches = list(evaluation_batches(images, size))
    assert tuple(path for batch in batches for path in batch.paths) == images.paths
    assert torch.equal(torch.cat([batch.images for batch in batches]), normalize(images.pixels))
    assert torch.cat([batch.labels for batch in batches]).tolist() == images.labels.tolist()


def test_an_evaluation_loader_flips_the_named_images_alone() -> None:
    images = image_set(4)
    (batch,) = evaluation_batches(images, 4, flips=[False, True, False, True])
    expected = normalize(images.pixels)
    expected[1::2] = expected[1::2].flip(3)
    assert torch.equal(batch.images, expected)
    assert not torch.equal(batch.images, normalize(images.pixels))


@pytest.mark.parametrize("count", [32, 33, 40, 5])
def test_a_training_loader_yields_each_image_once_and_no_batch_of_one(count: int) -> None:
    images = image_set(count)
    batches = list(training_batches(images, 8, "flip-shift", seed=0, epoch=0))
    assert sorted(path for batch in batches for path in batch.paths) == sorted(images.paths)
    assert min(len(batch.paths) for batch in batches) > 1
    labels = dict(zip(images.paths, images.labels.tolist(), strict=True))
    for batch in batches:
        assert [labels[path] for path in batch.paths] == batch.labels.tolist()


@pytest.mark.parametrize(("images", "sizes"), [(16, [8, 8]), (17, [8, 9]), (18, [8, 8, 2]), (5, [5]), (1, [1])])
def test_a_single_last_image_joins_the_batch_before_it(images: int, sizes: list[int]) -> None:
    assert [len(positions) for positions in training_ranges(images, 8)] == sizes
    assert [position for positions in training_ranges(images, 8) for position in positions] == list(range(images))


def training_images(images: ImageSet, seed: int, epoch: int, size: int = 8) -> dict[str, torch.Tensor]:
    """Return a dict from path to the training loader's image, in the loader's order."""
    loader = training_batches(images, size, "flip-shift", seed, epoch)
    return {path: image for batch in loader for path, image in zip(batch.paths, batch.images, strict=True)}


def test_augmentation_depends_on_seed_epoch_and_image_alone() -> None:
    images = image_set(24)
    fewer = ImageSet("fewer", images.paths[4:], images.keys[4:], images.labels[4:], images.pixels[4:])
    once = training_images(images, 0, 0)
    for again in (training_images(images, 0, 0, size=5), training_images(fewer, 0, 0)):
        assert all(torch.equal(once[path], image) for path, image in again.items())
    for other in (training_images(images, 0, 1), training_images(images, 1, 0)):
        assert any(not torch.equal(once[path], image) for path, image in other.items())


def test_the_order_changes_with_the_epoch_and_not_with_the_batch_size() -> None:
    images = image_set(24)
    order = list(training_images(images, 0, 0))
    assert order == list(training_images(images, 0, 0, size=5))
    assert order != list(training_images(images, 0, 1))


def test_half_of_the_images_are_flipped_and_shifts_are_at_most_a_sixteenth() -> None:
    column = np.zeros((16, 16, 3), np.uint8)
    column[:, 4] = 255
    columns = []
    for number in range(400):
        row = augment(column, generator_for(0, "test", number).random(3), "flip-shift")[8, :, 0]
        columns.append(int(np.flatnonzero(row)[0]))
    assert set(columns) == {3, 4, 5, 10, 11, 12}
    assert 160 < sum(column > 8 for column in columns) < 240


def test_a_shift_moves_the_window_over_a_picture_with_reflected_borders() -> None:
    pixels = image_set(1).pixels[0]
    for number in range(20):
        flip, down, right = generator_for(0, "test", number).random(3)
        reflected = np.pad(pixels[:, ::-1] if flip < 0.5 else pixels, ((2, 2), (2, 2), (0, 0)), "reflect")
        shifted = reflected[int(down * 5) :, int(right * 5) :][:32, :32]
        assert np.array_equal(augment(pixels, np.array([flip, down, right]), "flip-shift"), shifted)


def test_no_augmentation_changes_nothing() -> None:
    pixels = image_set(1).pixels[0]
    assert np.array_equal(augment(pixels, generator_for(0, "x").random(3), "none"), pixels)
