"""Feature statistics over several processes: who measures which images, and how the parts come together.

mine = batches(len(images), batch_size, rank, world_size)
with FeatureStatistics(model, modules, first_image=first_image(...)) as statistics:
    for indices in mine:
        model(load(indices))
gather(statistics)  # now the same on every rank, to the bit, for any number of ranks
"""

import torch
from safetensors.torch import load, save
from torch import Tensor
from torch import distributed as dist

from in4310repro.features.blocks import BLOCK
from in4310repro.features.statistics import FeatureStatistics


def blocks_of(images: int, rank: int, world_size: int) -> range:
    """The consecutive blocks that one rank measures; their numbers differ by at most one between ranks.

    Raises:
        ValueError: a rank that is not in 0..world_size-1.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank is {rank}; it can be 0 to {world_size - 1}")
    blocks = -(-images // BLOCK)
    return range(rank * blocks // world_size, (rank + 1) * blocks // world_size)


def first_image(images: int, rank: int, world_size: int) -> int:
    """Index of the first image that a rank measures, for FeatureStatistics."""
    return blocks_of(images, rank, world_size).start * BLOCK


def batches(images: int, batch_size: int, rank: int = 0, world_size: int = 1) -> list[range]:
    """Indices of the images of each batch of one rank; together the ranks have every image once.

    A batch ends at the border of a block, so that the batches do not depend on the number of ranks.

    Raises:
        ValueError: fewer than one image, a batch size below 1, or a rank that does not exist.
    """
    if images < 1 or batch_size < 1:
        raise ValueError(f"{images} images in batches of {batch_size}; both must be at least 1")
    found = []
    for block in blocks_of(images, rank, world_size):
        stop = min((block + 1) * BLOCK, images)
        found += [range(i, min(i + batch_size, stop)) for i in range(block * BLOCK, stop, batch_size)]
    return found


def gather(statistics: FeatureStatistics, group: dist.ProcessGroup | None = None) -> None:
    """Merge the statistics of all ranks of the group into those of each.

    Raises:
        ValueError: settings differ between ranks, or two ranks measured the same image.
    """
    own = dist.get_rank(group)
    for rank, state in enumerate(exchanged(save(statistics.state_dict()), group)):
        if rank != own:
            other = statistics.fresh()
            other.load_state_dict(load(state))
            statistics.merge(other)


def exchanged(text: bytes, group: dist.ProcessGroup | None) -> list[bytes]:
    """The bytes of every rank, in the order of the ranks; tensors, so that nothing is unpickled."""
    device = torch.device("cuda") if dist.get_backend(group) == "nccl" else torch.device("cpu")
    length = torch.tensor([len(text)], device=device)
    lengths = [torch.zeros_like(length) for _ in range(dist.get_world_size(group))]
    dist.all_gather(lengths, length, group=group)
    longest = max(int(each) for each in lengths)
    padded = torch.zeros(longest, dtype=torch.uint8, device=device)
    padded[: len(text)] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    texts: list[Tensor] = [torch.zeros_like(padded) for _ in lengths]
    dist.all_gather(texts, padded, group=group)
    return [bytes(each[: int(n)].cpu().numpy().tobytes()) for each, n in zip(texts, lengths, strict=True)]
