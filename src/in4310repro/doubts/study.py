"""Selection of images to be judged, doubted and undoubted mixed by a seed, and estimates from the judgements."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from in4310repro.data.comparison import sample_positions
from in4310repro.metrics import Interval, wilson
from in4310repro.randomness import generator_for

EACH = 100  # images of each kind


def draw_sample(paths: Sequence[str], doubted: Collection[str], seed: int, each: int = EACH) -> list[str]:
    """Draw images to be judged without their label: equally many doubted and undoubted, in an uninformative order.

    Args:
        paths: of the images that are judged, such as the test images.
        doubted: paths of doubtful labels, of these images or more.
        seed: of the draws, which depend on it and the paths alone.
        each: number of either kind; all of a kind where there are fewer.

    Examples:
        >>> sorted(drawn(["a", "b", "c", "d"], {"b", "c", "x"}, seed=0, each=2))
        ['a', 'b', 'c', 'd']
    """
    kinds = ([path for path in paths if (path in doubted) is doubtful] for doubtful in (True, False))
    chosen = [kind[position] for kind in kinds for position in sample_positions(kind, each, seed)]
    return sorted(chosen, key=lambda path: (generator_for(seed, "mixed", path).random(), path))


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Images of one kind, doubted or not: their number, and the judgements made."""

    images: int
    judged: int
    wrong: list[str]  # paths whose label is none of the classes that were said
    open: list[str]  # paths whose label is one of several

    @property
    def interval(self) -> Interval:
        """Return the 95 % interval (Wilson) of the share with wrong labels; a single value if all were judged."""
        if self.judged == self.images:
            return [len(self.wrong) / self.images] * 2
        return wilson(len(self.wrong), self.judged)


@dataclass(frozen=True, kw_only=True)
class Study:
    """Wrong labels among all images, estimated from those judged."""

    doubted: Kind
    undoubted: Kind

    @property
    def share(self) -> float:
        """Return the share of wrong labels: each kind's share among judged images, weighted by its number of images."""
        return self._weighted([len(kind.wrong) / kind.judged for kind in (self.doubted, self.undoubted)])

    @property
    def interval(self) -> Interval:
        """Return an interval of at least 95 % for the share; conservative, since it adds both kinds' ends."""
        ends = zip(self.doubted.interval, self.undoubted.interval, strict=True)
        return [self._weighted(pair) for pair in ends]

    def _weighted(self, shares: Sequence[float]) -> float:
        images = [self.doubted.images, self.undoubted.images]
        return sum(n * share for n, share in zip(images, shares, strict=True)) / sum(images)


def study(labels: Mapping[str, str], doubted: Collection[str], said: Mapping[str, Collection[str]]) -> Study:
    """Return the estimates from judgements of the images that `drawn` drew.

    Args:
        labels: class by path, of all images that they stand for.
        doubted: paths of doubtful labels, of these images or more.
        said: by path, all classes that a judge allows.

    Raises:
        ValueError: an image was judged that is none of these, or none of a kind was.

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
