"""A random sample of doubted and undoubted images to be judged by people, and estimates from the judgements."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from in4310repro.data.comparison import sample_positions
from in4310repro.metrics import Interval, wilson
from in4310repro.system.numerics import generator_for

EACH = 100  # images of each kind


def draw_sample(paths: Sequence[str], doubted: Collection[str], seed: int, each: int = EACH) -> list[str]:
    """Draw equally many doubted and undoubted images to be judged, mixed in random order.

    Args:
        paths: paths of the images to choose from, such as the test images.
        doubted: paths of the images with doubtful labels; may include further images.
        seed: seed of the draws, which depend only on it and on the paths.
        each: number of doubted images, and of undoubted ones; all if there are fewer.

    Examples:
        >>> sorted(draw_sample(["a", "b", "c", "d"], {"b", "c", "x"}, seed=0, each=2))
        ['a', 'b', 'c', 'd']
    """
    kinds = ([path for path in paths if (path in doubted) is doubtful] for doubtful in (True, False))
    chosen = [kind[position] for kind in kinds for position in sample_positions(kind, each, seed)]
    return sorted(chosen, key=lambda path: (generator_for(seed, "mixed", path).random(), path))


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Judgements of a sample of the doubted images, or of the undoubted ones, and the number of all of them."""

    images: int
    judged: int
    wrong: list[str]  # paths whose label is none of the classes that were said
    open: list[str]  # paths whose label is one of several

    @property
    def interval(self) -> Interval:
        """95 % interval (Wilson) of the share of wrong labels; a single value if all images were judged."""
        if self.judged == self.images:
            return [len(self.wrong) / self.images] * 2
        return wilson(len(self.wrong), self.judged)


@dataclass(frozen=True, kw_only=True)
class Study:
    """An estimate of the number of wrong labels among all images, from a judged sample."""

    doubted: Kind
    undoubted: Kind

    @property
    def share(self) -> float:
        """Estimated share of wrong labels: the share among judged images, weighted over doubted and undoubted ones."""
        return self._weighted([len(kind.wrong) / kind.judged for kind in (self.doubted, self.undoubted)])

    @property
    def interval(self) -> Interval:
        """Interval of at least 95 % for the share; conservative, since the ends of two intervals are added."""
        ends = zip(self.doubted.interval, self.undoubted.interval, strict=True)
        return [self._weighted(pair) for pair in ends]

    def _weighted(self, shares: Sequence[float]) -> float:
        images = [self.doubted.images, self.undoubted.images]
        return sum(n * share for n, share in zip(images, shares, strict=True)) / sum(images)


def study(labels: Mapping[str, str], doubted: Collection[str], said: Mapping[str, Collection[str]]) -> Study:
    """Return the estimates from judgements of the images that `draw_sample` drew.

    Args:
        labels: the class of each image that the estimates are about, by path.
        doubted: paths of the images with doubtful labels; may include further images.
        said: all classes that the judge found fitting for an image, by path.

    Raises:
        ValueError: a judged image is not in `labels`, or no doubted or no undoubted image was judged.

    Examples:
        >>> labels = {"a": "sea", "b": "sea", "c": "forest", "d": "forest"}
        >>> found = study(labels, {"a"}, {"a": ["forest"], "b": ["sea", "forest"]})
        >>> found.doubted.wrong, found.undoubted.open, found.share
        (['a'], ['b'], 0.25)
    """
    if unknown := sorted(said.keys() - labels.keys()):
        raise ValueError(f"{unknown[0]} was judged, which is none of the {len(labels)} images")
    kinds = []
    for doubtful in (True, False):
        paths = [path for path in labels if (path in doubted) is doubtful]
        judged = [path for path in paths if path in said]
        if not judged:
            raise ValueError(f"none of the {len(paths)} images was judged that are {'' if doubtful else 'not '}doubted")
        kinds.append(
            Kind(
                images=len(paths),
                judged=len(judged),
                wrong=[path for path in judged if labels[path] not in said[path]],
                open=[path for path in judged if labels[path] in said[path] and len(said[path]) > 1],
            )
        )
    return Study(doubted=kinds[0], undoubted=kinds[1])
