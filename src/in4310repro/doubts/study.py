"""Which images a person is to judge: doubted and undoubted ones, mixed, by a seed."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from in4310repro.data.comparison import sample_positions
from in4310repro.randomness import generator_for

EACH = 100  # images of each kind


def drawn(paths: Sequence[str], doubted: Collection[str], seed: int, each: int = EACH) -> list[str]:
    """Images to be judged without label: as many that are doubted as that are not, in an order that tells nothing.

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
