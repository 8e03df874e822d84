"""Mistakes 9 to 13, of preprocessing: from an image file to the network's input."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from in4310repro.data import scenes
from in4310repro.data.folders import catalogue
from in4310repro.data.images import ImageSet, evaluation_batches, load_images, training_batches
from in4310repro.data.reading import decode
from tests.mistakes import drawn
from tests.mistakes.drawn import Array, Yielded, from_to
from tests.mistakes.handed_over import SIZE
from tests.mistakes.mistake import Mistake


def pixels_of(read: Callable[[Path], Array]) -> Array:
    """Return the first scene of each class as `read` decodes it."""
    return np.stack([read(drawn.catalogue().root / name / "0000.bmp") for name in scenes.CLASSES])


def buffer_reshaped(file: Path) -> Array:
    return np.frombuffer(file.read_bytes()[-3 * SIZE * SIZE :], np.uint8).reshape(SIZE, SIZE, 3)


def check_pixels(pixels: Array) -> None:
    """A decoded file has the pixels that were drawn."""
    np.testing.assert_array_equal(pixels, np.stack([scenes.draw(name, 0, SIZE, 0) for name in scenes.CLASSES]))


def grey_levels(ours: Array, twin: Array) -> str:
    return f"{np.abs(ours.astype(int) - twin.astype(int)).mean():.1f} of 255 grey levels a value"


def raw() -> Array:
    return drawn.image_sets()["test"].pixels / 255


def check_normalisation(images: Array) -> None:
    """A loader yields (pixel / 255 - mean) / deviation with the constants of torchvision's weights."""
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = ((raw() - mean) / deviation).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(images, expected, rtol=0, atol=1e-5)


def as_the_weights_expect(ours: Array, twin: Array) -> str:
    labels = drawn.our_parts()["test"].labels
    predicted = [drawn.logits(images).argmax(axis=1) for images in (ours, twin)]
    return from_to("mean class accuracy", *(drawn.mean_accuracy(labels, each) for each in predicted))


Evaluations = list[Array]


def evaluated_ten_times() -> Evaluations:
    return [drawn.yielded(evaluation_batches(drawn.image_sets()["test"], 16)).images for _ in range(10)]


def flipped_at_random() -> Evaluations:
    generator, images = np.random.default_rng(0), drawn.our_parts()["test"].images
    flips = generator.random((10, len(images), 1, 1, 1)) < 0.5
    return [np.where(flip, images[:, :, :, ::-1], images) for flip in flips]


def check_repeats(evaluations: Evaluations) -> None:
    """Two evaluations see the same pixels: those of the decoded files."""
    for images in evaluations:
        np.testing.assert_array_equal(images, drawn.our_parts()["test"].images)


def spread(_ours: Evaluations, twin: Evaluations) -> str:
    labels = drawn.our_parts()["test"].labels
    measured = [drawn.mean_accuracy(labels, drawn.logits(images).argmax(axis=1)) for images in twin]
    return f"mean class accuracy of 10 evaluations from {min(measured):.3f} to {max(measured):.3f}"


Seen = tuple[Yielded, Yielded]


def seen_with(test: ImageSet) -> Seen:
    """Return the images that a network gets from the training loader, and from the evaluation loader for `test`."""
    training = training_batches(drawn.image_sets()["training"], 16, "flip-shift", 0, 0)
    return drawn.yielded(training), drawn.yielded(evaluation_batches(test, 16))


def twice_as_large() -> ImageSet:
    parts = drawn.split()
    return load_images("test", parts.root, parts.parts["test"], 2 * SIZE)


def check_equal_sizes(seen: Seen) -> None:
    """Training and evaluation see images of one size."""
    assert seen[0].images.shape[1:] == seen[1].images.shape[1:]


def pooled(images: Array) -> Array:
    """Return 24 features per image: the mean response of each random filter over the image's positions."""
    filters = torch.from_numpy(np.random.default_rng(0).standard_normal((24, 3, 5, 5)))
    maps = torch.nn.functional.conv2d(torch.from_numpy(np.ascontiguousarray(images)), filters)
    return maps.relu().mean(dim=(2, 3)).numpy()


def at_another_size(ours: Seen, twin: Seen) -> str:
    training = ours[0]
    weights = drawn.regression(training, 300, 0.002, pooled(training.images))[-1]
    predicted = [(drawn.inputs(pooled(seen[1].images)) @ weights).argmax(axis=1) for seen in (ours, twin)]
    return from_to("mean class accuracy", *(drawn.mean_accuracy(ours[1].labels, each) for each in predicted))


@functools.cache
def of_two_shapes() -> tuple[ImageSet, dict[str, Array]]:
    """Return 24 scenes (4 not square) as our loader reads them, and as Pillow opens them."""
    with tempfile.TemporaryDirectory() as name:
        for index, label in enumerate(scenes.CLASSES):
            (Path(name) / label).mkdir()
            for number in range(4):
                width = SIZE - 4 * (number == 0 and index < 4)
                Image.fromarray(scenes.draw(label, number, SIZE, 0)[:, :width]).save(
                    Path(name) / label / f"{number}.png"
                )
        images = catalogue(Path(name))
        opened = {entry.path: np.asarray(Image.open(images.root / entry.path)) for entry in images.entries}
        return load_images("all", images.root, images.entries, SIZE, cache=False), opened


def loaded_shapes() -> Yielded:
    return drawn.yielded(evaluation_batches(of_two_shapes()[0], 8))


def only_square_ones() -> Yielded:
    square = {path: pixels for path, pixels in of_two_shapes()[1].items() if pixels.shape[0] == pixels.shape[1]}
    return Yielded(tuple(square), np.stack(list(square.values())), np.zeros(len(square)))


def batches_that_can_be_stacked() -> Yielded:
    """Return the output of a loader that drops every batch with images of different shapes."""
    opened = of_two_shapes()[1]
    kept: dict[str, Array] = {}
    for start in range(0, len(opened), 8):
        batch = dict(list(opened.items())[start : start + 8])
        if len({pixels.shape for pixels in batch.values()}) == 1:
            kept |= batch
    return Yielded(tuple(kept), np.array(list(kept.values())), np.zeros(len(kept)))


def check_all_shapes(seen: Yielded) -> None:
    """Every image of a folder is yielded once, square or not."""
    assert sorted(seen.paths) == sorted(of_two_shapes()[1])


def lost(ours: Yielded, twin: Yielded) -> str:
    return f"{len(ours.paths) - len(twin.paths)} of {len(ours.paths)} images lost"


MISTAKES = [
    Mistake(
        number=9,
        name="pixel buffer reshaped instead of decoded",
        check=check_pixels,
        ours=lambda: pixels_of(lambda file: decode(file, SIZE)),
        twin=lambda: pixels_of(buffer_reshaped),
        size=grey_levels,
    ),
    Mistake(
        number=10,
        name="no normalisation",
        check=check_normalisation,
        ours=lambda: drawn.our_parts()["test"].images,
        twin=lambda: raw().transpose(0, 3, 1, 2),
        size=as_the_weights_expect,
    ),
    Mistake(
        number=10,
        name="normalisation of another network: 0.5 and 0.5",
        check=check_normalisation,
        ours=lambda: drawn.our_parts()["test"].images,
        twin=lambda: (raw().transpose(0, 3, 1, 2) - 0.5) / 0.5,
        size=as_the_weights_expect,
    ),
    Mistake(
        number=11,
        name="random flip in evaluation",
        check=check_repeats,
        ours=evaluated_ten_times,
        twin=flipped_at_random,
        size=spread,
    ),
    Mistake(
        number=12,
        name="other size in evaluation than in training",
        check=check_equal_sizes,
        ours=lambda: seen_with(drawn.image_sets()["test"]),
        twin=lambda: seen_with(twice_as_large()),
        size=at_another_size,
    ),
    Mistake(
        number=13,
        name="images that are not square are dropped",
        check=check_all_shapes,
        ours=loaded_shapes,
        twin=only_square_ones,
        size=lost,
    ),
    Mistake(
        number=13,
        name="batches that cannot be stacked are left out",
        check=check_all_shapes,
        ours=loaded_shapes,
        twin=batches_that_can_be_stacked,
        size=lost,
    ),
]
