"""Twenty honest trainings: of different networks, optimizers and ways to read images, and all repeat."""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset

from tests.trace.trainings import (
    CLASSES,
    FOLDER,
    IMAGES,
    SIZE,
    Item,
    Training,
    batch,
    batches,
    loader,
    network,
    training,
)

PIXELS = 3 * SIZE * SIZE


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make()


def perceptron() -> Training:
    model = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 64), nn.GELU(), nn.Linear(64, CLASSES)))
    return model, nn.functional.cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), batches()


def dropout_with_a_seed() -> Training:
    return training(seeded(lambda: nn.Sequential(*network(), nn.Dropout(0.5))))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(3, 3, 3, padding=1), nn.GroupNorm(3, 3), nn.Linear(PIXELS, CLASSES)

    def forward(self, maps: Tensor) -> Tensor:
        scores: Tensor = self.last((maps + self.norm(self.first(maps)).relu()).flatten(1))
        return scores


def residual_network() -> Training:
    model = seeded(Residual)
    return model, nn.functional.cross_entropy, torch.optim.RMSprop(model.parameters(), lr=1e-3), batches()


def recomputed_maps() -> Training:
    class Recomputed(Residual):
        def forward(self, maps: Tensor) -> Tensor:
            scores: Tensor = checkpoint(super().forward, maps, use_reentrant=False)
            return scores

    return training(seeded(Recomputed))


class Rows(nn.Module):
    """Network that reads an image as a sequence of its rows."""

    def __init__(self, body: nn.Module, width: int) -> None:
        super().__init__()
        self.body, self.last = body, nn.Linear(width, CLASSES)

    def forward(self, maps: Tensor) -> Tensor:
        values = self.body(maps.flatten(1, 1).transpose(1, 2).flatten(2))
        values = values[0] if isinstance(values, tuple) else values
        scores: Tensor = self.last(values[:, -1])
        return scores


def transformer() -> Training:
    def make() -> nn.Module:
        return Rows(nn.TransformerEncoderLayer(3 * SIZE, 4, 64, batch_first=True), 3 * SIZE)

    return training(seeded(make))


def recurrent_network() -> Training:
    return training(seeded(lambda: Rows(nn.LSTM(3 * SIZE, 16, batch_first=True), 16)))


def frozen_statistics() -> Training:
    model = seeded(network)
    model.eval()
    return training(model)


def embeddings() -> Training:
    class Quantised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.last = nn.EmbeddingBag(16, 8), nn.Linear(8, CLASSES)

        def forward(self, maps: Tensor) -> Tensor:
            scores: Tensor = self.last(self.table((maps.flatten(1) * 4).long().clamp(-8, 7) + 8))
            return scores

    return training(seeded(Quantised))


def smoothed_labels() -> Training:
    made = training()
    return made[0], nn.CrossEntropyLoss(weight=torch.ones(CLASSES), label_smoothing=0.1), *made[2:]


def shuffled_loader() -> Training:
    return training(read=loader())


def loader_with_workers() -> Training:
    return training(read=loader(2, persistent_workers=True))


class Augmented(Dataset[Item]):
    """Data set whose noise depends only on the index of the image."""

    def __len__(self) -> int:
        return 3 * IMAGES

    def __getitem__(self, index: int) -> Item:
        images, labels = batch(index)
        noise = np.random.default_rng(index).standard_normal((3, SIZE, SIZE), dtype=np.float32)
        return images[0] + torch.from_numpy(noise), labels[0]


def augmentation_by_image() -> Training:
    return training(read=DataLoader(Augmented(), batch_size=IMAGES, num_workers=2))


def sorted_files() -> Training:
    names = sorted(
        name
        for name in os.listdir(FOLDER)  # noqa: PTH208
        if name.endswith(".py")
    )
    return training(read=[batch(zlib.crc32(name.encode())) for name in names])


def sorted_set() -> Training:
    return training(read=[batch(zlib.crc32(name.encode())) for name in sorted({"sea", "forest", "street", "glacier"})])


def timed() -> Training:
    """Return a training that reads the clock only to print the time."""
    made, start = training(), time.time()

    def read() -> Iterator[Item]:
        for each in made[3]:
            yield each
            sys.stdout.write(
                f"{time.time() - start:.1f} s, process {os.getpid()}, {os.environ.get('SLURM_JOB_ID', '0')}"
            )

    return (*made[:3], read())


def seeded_globals() -> Training:
    random.seed(0)
    np.random.seed(0)
    order = np.random.permutation(6)
    return training(read=[batch(int(each) + random.randrange(3)) for each in order])


class OwnPlaces(nn.Module):
    """Layer in which each thread writes to its own rows of the result."""

    def forward(self, maps: Tensor) -> Tensor:
        parts = torch.empty(len(maps), CLASSES)

        def write(place: int) -> None:
            parts[place] = maps[place].detach() * place

        threads = [threading.Thread(target=write, args=(place,)) for place in range(len(maps))]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        return maps + parts.sum(0)


def threads_with_own_places() -> Training:
    return training(seeded(lambda: nn.Sequential(*network(), OwnPlaces())))


def double(number: int) -> int:
    return 2 * number


def ordered_pool() -> Training:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return training(read=[batch(seed) for seed in pool.imap(double, range(4))])


def double_precision() -> Training:
    read = [(images.double(), labels) for images, labels in batches()]
    return training(seeded(network).double(), read)


def mixed_precision() -> Training:
    class Mixed(nn.Sequential):
        def forward(self, maps: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                scores: Tensor = super().forward(maps)  # type: ignore[no-untyped-call]
            return scores.float()

    return training(seeded(lambda: Mixed(*network())))


HONEST = (
    perceptron,
    dropout_with_a_seed,
    residual_network,
    recomputed_maps,
    transformer,
    recurrent_network,
    frozen_statistics,
    embeddings,
    smoothed_labels,
    shuffled_loader,
    loader_with_workers,
    augmentation_by_image,
    sorted_files,
    sorted_set,
    timed,
    seeded_globals,
    threads_with_own_places,
    ordered_pool,
    double_precision,
    mixed_precision,
)
