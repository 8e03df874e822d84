"""Findings about a folder of images from a network's features, as a record and as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from in4310repro.data.check import Group, join_paths, lines_on_conflicts, lines_on_leaks, list_examples
from in4310repro.metrics import wilson

OF_SPLIT = ("copy_leaks", "look_alike_leaks", "doubts_by_part")  # findings that need a split


@dataclass(frozen=True, kw_only=True)
class CropPair:
    """Two images, by path: `part` shows a part of `whole`, or all of it."""

    whole: str
    part: str
    side: float  # of the part, as a share of the whole's
    correlation: float  # of the details of both, at most 1


@dataclass(frozen=True, kw_only=True)
class LookAlike:
    """Two images of different classes, each the nearest neighbour of the other."""

    paths: Group
    labels: list[str]
    similarity: float  # cosine of their features beyond the mean


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """An image whose label differs from the class that a classifier trained without the image assigns."""

    path: str
    label: str
    seems: str
    probability: float  # of the class that it seems to be of
    of_label: float


@dataclass(frozen=True, kw_only=True)
class Count:
    """Number of doubtful images in a group of images."""

    doubts: int
    images: int
    interval: list[float] | None  # of the share, 95 %; None without images


@dataclass(frozen=True, kw_only=True)
class Doubts:
    """All findings, to be examined by a person, since none is certain; paths are relative to the folder."""

    features: dict[str, object]  # of which network they are
    seed: int  # of the folds
    crops: list[CropPair]
    copies: list[Group]  # images that copies of any kind link
    copy_conflicts: list[Group]  # of them with several labels
    copy_leaks: list[dict[str, Group]]  # of them in several parts of the split, by part
    look_alikes: list[LookAlike]  # the most similar first
    look_alike_leaks: list[dict[str, Group]]  # those in several parts of the split, by part
    doubts: list[Doubt]  # the most doubtful first
    doubts_by_class: dict[str, Count]
    doubts_by_part: dict[str, dict[str, Count]]  # part -> class -> count; without a split empty
    confusion_matrix: list[list[int]]  # rows: label; columns: most probable class
    confusions: list[Doubt]  # every image whose most probable class is another one, the most probable first

    def to_json(self) -> dict[str, object]:
        """Return all fields as JSON values by name; fields that need a split are null if none was given."""
        return asdict(self) | ({} if self.doubts_by_part else dict.fromkeys(OF_SPLIT))


def count_doubts(doubts: int, images: int) -> Count:
    """Return the number of doubtful images in a group, with the 95 % interval of their share of the group."""
    return Count(doubts=doubts, images=images, interval=wilson(doubts, images) if images else None)


def total(counts: Mapping[str, Count]) -> Count:
    """Return the count of doubtful images, summed over all classes."""
    return count_doubts(sum(each.doubts for each in counts.values()), sum(each.images for each in counts.values()))


def render(found: Doubts) -> str:
    """Return the findings as text, with the first examples of each kind of finding."""
    crops = [f"{each.part} ~ {each.side:.0%} of the side of {each.whole}" for each in found.crops]
    alike = [f"{join_paths(each.paths)} ({each.similarity:.2f})" for each in found.look_alikes]
    doubts = [f"{each.path} ({each.seems} {each.probability:.2f}, {each.of_label:.2f})" for each in found.doubts]
    lines = list_examples("pairs of which one is a part of the other", crops)
    lines += list_examples("groups of copies of any kind", [join_paths(paths) for paths in found.copies])
    lines += lines_on_conflicts(found.copy_conflicts)
    lines += lines_on_leaks(found.copy_leaks) if found.doubts_by_part else []
    lines += list_examples("pairs of look-alikes in different classes", alike)
    lines += lines_on_leaks(found.look_alike_leaks) if found.doubts_by_part else []
    lines += list_examples("doubtful labels", doubts)
    of_parts = {f"the {part} part": total(counts) for part, counts in found.doubts_by_part.items()}
    counts = found.doubts_by_class | of_parts | {"all": total(found.doubts_by_class)}
    return "\n".join(lines + [f"  {name}: {_share(count)}" for name, count in counts.items()])


def _share(count: Count) -> str:
    """Format a number of doubtful images, and the interval of their share in percent."""
    interval = "" if count.interval is None else " ({:.1%} to {:.1%})".format(*count.interval)
    return f"{count.doubts} of {count.images}{interval}"
