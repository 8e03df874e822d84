"""Feature statistics by several processes: which images each rank measures, and how results are merged."""

from safetensors.torch import load, save
from torch import distributed as dist

from in4310repro.arithmetic.shares import all_gather_bytes
from in4310repro.arithmetic.tree import part
from in4310repro.features.blocks import BLOCK
from in4310repro.features.statistics import FeatureStatistics


def block_range(images: int, rank: int, world_size: int) -> range:
    """Return the range of blocks of 64 images that a process rank measures.

    The numbers of blocks of two ranks differ by at most one.

    Raises:
        ValueError: the rank is not in 0..world_size-1.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank is {rank}; it can be 0 to {world_size - 1}")
    return part(-(-images // BLOCK), rank, world_size)


def first_image(images: int, rank: int, world_size: int) -> int:
    """Return the index of a process rank's first image, for the argument `first_image` of FeatureStatistics.

    Raises:
        ValueError: the rank is not in 0..world_size-1.
    """
    return block_range(images, rank, world_size).start * BLOCK


def batches(images: int, batch_size: int, rank: int = 0, world_size: int = 1) -> list[range]:
    """Return the batches of a process rank as ranges of image indices; all ranks together cover each image once.

    A batch ends at the border of a block, so that the batches do not depend on the number of ranks.

    Raises:
        ValueError: there are no images, the batch size is below 1, or the rank does not exist.

    Examples:
        >>> batches(150, 40)
        [range(0, 40), range(40, 64), range(64, 104), range(104, 128), range(128, 150)]
        >>> batches(150, 40, rank=1, world_size=2)
        [range(64, 104), range(104, 128), range(128, 150)]
    """
    if images < 1 or batch_size < 1:
        raise ValueError(f"{images} images in batches of {batch_size}; both must be at least 1")
    ranges = []
    for block in block_range(images, rank, world_size):
        stop = min((block + 1) * BLOCK, images)
        ranges += [range(i, min(i + batch_size, stop)) for i in range(block * BLOCK, stop, batch_size)]
    return ranges


def gather(statistics: FeatureStatistics, group: dist.ProcessGroup | None = None) -> None:
    """Merge the statistics of all ranks in place. Afterwards every rank has the statistics of all images.

    This is a collective operation. Every rank of the group must call it, after the `with` block that measures.

    Raises:
        ValueError: settings differ between ranks, or two ranks measured the same image.

    Examples:
        Here two ranks take turns in one process, and `merge` replaces `gather(statistics)`. After `gather`, every
        rank has the statistics of all images, with the same bits for any number of ranks.

        >>> import torch
        >>> from torch import nn
        >>> from in4310repro.features import FeatureStatistics, batches, first_image
        >>> images = torch.linspace(-1, 1, 100 * 3 * 4 * 4).reshape(100, 3, 4, 4)
        >>> model = nn.Sequential(nn.ReLU())
        >>> shards = []
        >>> for rank in range(2):
        ...     start = first_image(len(images), rank, world_size=2)
        ...     with FeatureStatistics(model, ["0"], first_image=start) as statistics:
        ...         for batch in batches(len(images), 32, rank, world_size=2):
        ...             outputs = model(images[batch.start : batch.stop])
        ...     shards.append(statistics)
        >>> shards[0].merge(shards[1])
        >>> shards[0].result()["0"].images, shards[0].result()["0"].non_positive
        (100, 0.5)
    """
    this_rank, others = dist.get_rank(group), []
    for rank, state in enumerate(all_gather_bytes(save(statistics.state_dict()), group)):
        if rank != this_rank:
            other = statistics.fresh()
            other.load_state_dict(load(state))
            others.append(other)
    # All at once, so that an error leaves none of them in.
    statistics.merge(*others)
