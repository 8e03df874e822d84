"""Sentences on trainings that read other batches: order of images, decoding, augmentation, generators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from in4310repro.trace.pairs import Difference, Pair, layout, relative_difference
from in4310repro.trace.records import Event, Step

# Entries of a head that decide how files become pixels.
PIXELS = ("pillow", "jpeg", "torchvision", "opencv-python", "albumentations", "kornia")
NEAR = 0.01  # relative difference of the norms of an image that two libraries decode or resize
ORDER = "the order of images"


def describe_inputs(
    pairs: Sequence[Pair], found: Difference, environment: Mapping[str, tuple[Any, Any]]
) -> Iterator[str]:
    """Yield sentences on why two training runs had different inputs, such as images or labels, in a step.

    Args:
        pairs: the common steps of the two traces.
        found: the first difference, which is one of the inputs.
        environment: the entries of the environment that differ, such as library versions.
    """
    pair = pairs[found.equal_steps]
    images = _images(pair.first), _images(pair.second)
    if not found.name.startswith("images") and images[0]:
        yield f"The images are equal: {found.name} differ, by what they are read from or by their own order."
        return
    if len(images[0]) != len(images[1]):
        yield f"The batches have {len(images[0])} and {len(images[1])} images: the batch size, or where a batch ends."
        return
    compared = list(zip(*images, strict=True)) or [(a, b) for a, b in pair.events if a is found.first]
    if any(layout(a) != layout(b) for a, b in compared):
        yield "The images have another size or dtype: how they are prepared."
        return
    changed = [(a, b) for a, b in compared if a.hash != b.hash]
    if images[0]:
        yield f"{len(changed)} of {len(compared)} images of the batch differ."
    yield from _describe_cause(pairs, found.equal_steps, changed, environment)


def different_generators(pairs: Sequence[Pair]) -> dict[str, int]:
    """Return the random generators whose states differ in the last step, by name.

    The value for each generator is a step number: from this step on, the states differ in every step.
    """
    first: dict[str, int] = {}
    for pair in pairs:
        different = [
            a.tensor.name for a, b in pair.events if a.tensor.name.startswith("generator.") and a.hash != b.hash
        ]
        first = {name: first.get(name, pair.number) for name in different}
    return {name.removeprefix("generator."): step for name, step in first.items()}


def describe_generators(pairs: Sequence[Pair]) -> str:
    """Return a clause on the states of the recorded random generators.

    It names the generators whose states differ in the last step, or says that all states are equal.
    """
    different = different_generators(pairs)
    shown = ", ".join(f"{name} from step {step} on" for name, step in different.items())
    return f"the generators' states differ ({shown})" if shown else "the states of the recorded generators are equal"


def _describe_cause(
    pairs: Sequence[Pair],
    place: int,
    changed: Sequence[tuple[Event, Event]],
    environment: Mapping[str, tuple[Any, Any]],
) -> Iterator[str]:
    pair, until = pairs[place], pairs[: place + 1]
    indices, paths, moved = _same_indices(pair), _same_paths(pair), _describe_order(pairs[place:])
    if moved:
        yield moved
    if indices is False:
        cause = f"{ORDER}, by the sampler or its seed"
        yield f"Other places of the data set were drawn: {cause}; {describe_generators(until)}."
    elif indices and (paths is False or (paths is None and moved)):
        yield f"The same places of the data set hold other images: {ORDER}, by the listing of files."
    elif paths is False or (paths is None and indices is None and moved):
        yield f"This is {ORDER}: the sampler, its seed, or the listing of files; {describe_generators(until)}."
    elif indices is None and paths is None:
        yield (
            f"One of: {ORDER}, decoding, augmentation, or a generator; `indices=` or `paths=` of `step` would tell "
            f"which. Here {describe_generators(until)}."
        )
    else:
        yield _describe_pixels(until, changed, environment)


def _describe_pixels(
    until: Sequence[Pair], changed: Sequence[tuple[Event, Event]], environment: Mapping[str, tuple[Any, Any]]
) -> str:
    """Return a sentence on why pixels differ although both training runs read the same images."""
    libraries = "; ".join(
        f"{name} {a} and {b}" for name in PIXELS if name in environment for a, b in [environment[name]]
    )
    distance = max((relative_difference(a, b) for a, b in changed), default=0.0)
    if distance == 0:
        return (
            "The same images, with the same values at other places: augmentation, such as a flip, by its generator; "
            f"{describe_generators(until)}."
        )
    if libraries and distance <= NEAR:
        return f"The same images with nearly the same pixels: decoding or resizing, by {libraries}."
    if libraries:
        cause = f"augmentation, or decoding by {libraries}"
        return f"The same images with other pixels: {cause}; {describe_generators(until)}."
    return (
        "The same images with other pixels, by the same libraries: augmentation, by the generator that it draws from "
        f"(those of workers are not recorded; {describe_generators(until)}), or files with other content."
    )


def _describe_order(pairs: Sequence[Pair]) -> str:
    """Return a sentence if two training runs read mostly the same images, but in different orders.

    Otherwise return an empty text.

    Args:
        pairs: the first differing step, and the steps after it.
    """
    batch, total = (_changed_images(each) for each in (pairs[:1], pairs))
    common, number = (total[0] & total[1]).total(), total[0].total()
    if batch[0] and batch[0] == batch[1]:
        return "The batch has the same images in another order."
    if number and total[0] == total[1]:
        return "Over all steps the same images are read, in another order."
    if 2 * common > number:
        return (
            f"Of the {number} images that differ in this and later steps {common} are read by both, in another order."
        )
    return ""


def _images(step: Step) -> list[Event]:
    return [each for each in step.events if each.tensor.name.startswith("images[")]


def _changed_images(pairs: Sequence[Pair]) -> tuple[Counter[str], Counter[str]]:
    """Count the image hashes at the places where two training runs differ; return one Counter for each run.

    An image is also counted if the other run has no image at its place.
    """
    images = [zip_longest(_images(pair.first), _images(pair.second)) for pair in pairs]
    changed = [(a, b) for step in images for a, b in step if not (a and b and a.hash == b.hash)]
    return Counter(a.hash for a, _ in changed if a), Counter(b.hash for _, b in changed if b)


def _same_indices(pair: Pair) -> bool | None:
    """Return whether both steps read the same data set indices; None if a trace recorded no indices."""
    return next((a.hash == b.hash for a, b in pair.events if a.tensor.name == "indices"), None)


def _same_paths(pair: Pair) -> bool | None:
    if pair.first.paths is None or pair.second.paths is None:
        return None
    return pair.first.paths == pair.second.paths
