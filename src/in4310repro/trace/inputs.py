"""Causes of other batches: order of images, size, preparation, decoding, augmentation, labels."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from in4310repro.trace.evidence import (
    PIXELS,
    Cause,
    Context,
    Findings,
    changed_words,
    describe_generators,
    fact,
    pair_of,
    seeds,
)
from in4310repro.trace.pairs import Pair, factor, layout, relative_difference
from in4310repro.trace.records import Event, Step

NEAR = 0.01  # relative difference of an image that two libraries decode or resize
FAR = 0.1  # relative difference of two batches
FEW = 0.25  # share of the images of a batch
SAMPLING = ("sampler", "batch sampler", "generator seed", "workers")


def input_causes(context: Context) -> Findings:
    """Return why two trainings read other batches."""
    pair, name = context.pair, context.found.name
    loader = _loader(pair)
    if name.partition("@")[0] == "labels" or name.startswith(("labels[", "images.labels")):
        return _label_causes(context)
    images = _images(pair.first), _images(pair.second)
    sizes = [_rows(each) for each in (context.found.first, context.found.second)]
    if len(images[0]) != len(images[1]) or (not images[0] and sizes[0] != sizes[1]):
        if "batch size" in loader:
            return fact("batch-size", f"the batch sizes are {pair_of(loader['batch size'])}")
        known = "; ".join(f"{key} {pair_of(loader[key])}" for key in ("images", "drop last") if key in loader)
        return Findings((Cause("batch-size", f"the batch size, or where a batch ends{f': {known}' * bool(known)}"),))
    if context.found.first and context.found.second and layout(context.found.first) != layout(context.found.second):
        return Findings((Cause("preparation", f"other size or dtype of images{_by_transform(loader)}"),), certain=True)
    return Findings(tuple(_causes_of_values(context, loader)))


def _rows(event: Event | None) -> int | None:
    return event.tensor.shape[0] if event and event.tensor.shape else None


def _loader(pair: Pair) -> dict[str, tuple[str, str]]:
    """Return the arguments of the DataLoaders and their data sets that differ."""
    a, b = pair.facts("loader", {})
    return {key: (a[key], b[key]) for key in a if key in b and a[key] != b[key]}


def _by_transform(loader: dict[str, tuple[str, str]]) -> str:
    shown = [changed_words(*loader[key]) for key in loader if "transform" in key and not key.startswith("target")]
    return f": {shown[0]}" if shown else ""


def _label_causes(context: Context) -> Findings:
    loader = _loader(context.pair)
    if "target_transform" in loader:
        return Findings((Cause("labels", f"other labels: {changed_words(*loader['target_transform'])}"),))
    same = "of the same images" if _same_indices(context.pair) else "by what they are read from or by their own order"
    return Findings((Cause("labels", f"other labels {same}"),), certain=True)


def _causes_of_values(context: Context, loader: dict[str, tuple[str, str]]) -> Iterator[Cause]:
    pair, place = context.pair, context.found.equal_steps
    compared = list(zip(_images(pair.first), _images(pair.second), strict=True)) or [
        (a, b) for a, b in pair.events if a is context.found.first
    ]
    changed = [(a, b) for a, b in compared if a.hash != b.hash]
    indices, paths, moved = _same_indices(pair), _same_paths(pair), _is_moved(context.pairs[place:])
    drawn = _drawn_by(context)
    by_sampler = "; ".join(f"{key} {pair_of(loader[key])}" for key in SAMPLING if key in loader)
    order = f"the order of images{f': {by_sampler}' if by_sampler else drawn and f': {drawn}'}"
    if indices is False:
        yield Cause("order", f"{order}" if by_sampler or drawn else "the order of images: other indices were drawn")
        return
    if indices and (paths is False or (paths is None and moved)):
        yield Cause("listing", "the order in which files are listed: the same indices are other images")
        return
    if moved or paths is False:
        yield Cause("order", order if moved else "the order of images, or other files: their names differ")
        return
    if "data set" in loader or "images" in loader:
        shown = loader.get("data set") or loader["images"]
        yield Cause("files", f"another data set: {pair_of(shown)}")
    unknown = [Cause("order", order)] if indices is None and paths is None else []
    # Another order changes most images of a batch, and different images are far from each other.
    share = len(changed) / max(1, len(compared))
    is_likely = context.size > FAR and share > 0.5
    if is_likely:
        yield from unknown
    yield from _causes_of_pixels(context, changed, loader, drawn, share=share)
    if not is_likely:
        yield from unknown


def _causes_of_pixels(
    context: Context,
    changed: Sequence[tuple[Event, Event]],
    loader: dict[str, tuple[str, str]],
    drawn: str,
    *,
    share: float,
) -> Iterator[Cause]:
    """Yield why the same images have other pixels."""
    entries = context.environment
    libraries = "; ".join(f"{name} {pair_of(entries[name])}" for name in PIXELS if name in entries)
    size = max((relative_difference(a, b) for a, b in changed), default=0.0)
    factors = [factor(a, b) for a, b in changed]
    norms = [abs(a.norm - b.norm) <= 1e-6 * max(a.norm, b.norm) for a, b in changed]
    flipped = ", such as a flip" if changed and all(norms) and size > FAR else ""
    decoding = Cause("decoding", f"decoding or resizing by {libraries}")
    files = Cause("files", "files with other content")
    if transform := _by_transform(loader):
        yield Cause("preparation", f"how images are prepared{transform}")
        return
    if factors and None not in factors and max(factors) - min(factors) < 1e-4:  # type: ignore[operator, type-var]
        yield Cause("preparation", f"how images are prepared: all values are {factors[0]:.6g} times")
        return
    if libraries and size <= NEAR:
        yield decoding
    if share < FEW and not (drawn or flipped) and "workers" not in loader:
        yield files
    how = f" ({drawn})" if drawn else ", by a generator that is not recorded"
    if "workers" in loader:
        how = f" by {pair_of(loader['workers'])} workers, each with its own random numbers"
    yield Cause("augmentation", f"augmentation{flipped}{how}")
    if libraries and size > NEAR:
        yield decoding
    if share >= FEW or drawn or flipped or "workers" in loader:
        yield files


def _drawn_by(context: Context) -> str:
    """Return a clause on the seeds or generators that differ; empty if none does."""
    return seeds(context.pair) or describe_generators(context.until)


def _is_moved(pairs: Sequence[Pair]) -> bool:
    """Return whether two trainings read mostly the same images, in another order.

    Args:
        pairs: the first differing step, and the steps after it.
    """
    batch, total = (_changed_images(each) for each in (pairs[:1], pairs))
    common, number = (total[0] & total[1]).total(), total[0].total()
    return bool(batch[0] and batch[0] == batch[1]) or 2 * common > number


def _images(step: Step) -> list[Event]:
    return [each for each in step.events if each.tensor.name.startswith("images[") and "@" not in each.tensor.name]


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


def differing_images(pair: Pair) -> list[dict[str, object]]:
    """Return place and, where it is known, file of each image of the batch that differs."""
    rows = zip_longest(_images(pair.first), _images(pair.second))
    files = pair.first.paths or ()
    numbers = pair.facts("indices", [])[0]
    return [
        {
            "place": place,
            "index": numbers[place] if place < len(numbers) else None,
            "file": files[place] if place < len(files) else None,
        }
        for place, (a, b) in enumerate(rows)
        if not (a and b and a.hash == b.hash)
    ]
