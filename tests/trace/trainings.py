"""Small trainings: one honest, and others with a planted cause of different bits."""

from __future__ import annotations

import multiprocessing
import os
import random
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, get_worker_info

Training = tuple[nn.Module, Callable[[Tensor, Tensor], Tensor], torch.optim.Optimizer, Any]
FOLDER = Path(__file__).parent
SIZE, IMAGES, CLASSES = 12, 8, 4
Item = tuple[Tensor, Tensor]


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, CLASSES)
    )


def batch(seed: int) -> Item:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(IMAGES, 3, SIZE, SIZE, generator=generator)
    return images, torch.randint(0, CLASSES, (IMAGES,), generator=generator)


def batches(seed: int = 0, number: int = 3) -> list[Item]:
    return [batch(1000 * seed + each) for each in range(number)]


def training(model: nn.Module | None = None, read: Any = None, rate: float = 1e-2) -> Training:
    if model is None:
        torch.manual_seed(0)
        model = network()
    return (
        model,
        nn.functional.cross_entropy,
        torch.optim.AdamW(model.parameters(), lr=rate),
        batches() if read is None else read,
    )


def with_last(module: nn.Module) -> Training:
    torch.manual_seed(0)
    return training(nn.Sequential(*network(), module))


def honest() -> Training:
    return training()


class Noisy(Dataset[Item]):
    """Data set that adds newly drawn noise to an image each time the image is read."""

    def __init__(self, draw: Callable[[], float]) -> None:
        self.draw = draw
        self.images, self.labels = (torch.cat(each) for each in zip(*batches(), strict=True))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Item:
        return self.images[index] + self.draw(), self.labels[index]


def draw_from_the_system() -> float:
    return float(np.random.default_rng().random())


def unseeded_worker() -> Training:
    return training(read=DataLoader(Noisy(draw_from_the_system), batch_size=IMAGES, num_workers=1))


def random_crop() -> Training:
    return training(read=DataLoader(Noisy(random.random), batch_size=IMAGES))


def numpy_in_workers() -> Training:
    loader = DataLoader(Noisy(np.random.random), batch_size=IMAGES, num_workers=2)
    return training(read=loader)


def shuffle() -> Training:
    return training(read=[batch(int(each)) for each in np.random.permutation(50)[:3]])


def listed_files() -> Training:
    return training(
        read=[batch(zlib.crc32(name.encode())) for name in os.listdir(FOLDER)]  # noqa: PTH208
    )


def listed_classes() -> Training:
    classes = {file.stem: number for number, file in enumerate(FOLDER.glob("*.py"))}
    labels = torch.tensor([classes[name] % CLASSES for name in sorted(classes)] * IMAGES)[:IMAGES]
    return training(read=[(images, labels) for images, _ in batches()])


class UnseededDropout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator()
        self.generator.seed()

    def forward(self, maps: Tensor) -> Tensor:
        return maps * (torch.rand(maps.shape, generator=self.generator) < 0.5)


def dropout() -> Training:
    return with_last(UnseededDropout())


def wait() -> None:
    time.sleep(os.getrandom(1)[0] / 1e4)


COLUMNS = 16


def part(maps: Tensor, place: int) -> Tensor:
    """Return one image's contribution to a sum: 64 values, scaled so that the order of addition changes the result."""
    wait()
    return torch.outer(maps[place].detach(), torch.linspace(0.1, 3, COLUMNS)).flatten() * 1.7**place


def magnified(total: Tensor) -> Tensor:
    """Return values that amplify differences in the rounding of `total`."""
    return (total * 1e4).sin().view(CLASSES, COLUMNS).sum(1)


class IndexAdd(nn.Module):
    """Layer that sums with index_add_; threads add their terms in the order in which they finish."""

    def forward(self, maps: Tensor) -> Tensor:
        total, lock = torch.zeros(CLASSES * COLUMNS), threading.Lock()

        def add(place: int) -> None:
            values = part(maps, place)
            with lock:
                total.index_add_(0, torch.arange(len(total)), values)

        threads = [threading.Thread(target=add, args=(place,)) for place in range(len(maps))]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        return maps + magnified(total)


def index_add() -> Training:
    return with_last(IndexAdd())


class ScatterAdd(nn.Module):
    """Layer that sums with scatter_add_, in the order in which the threads finish."""

    def forward(self, maps: Tensor) -> Tensor:
        total = torch.zeros(CLASSES * COLUMNS)
        with futures.ThreadPoolExecutor(4) as threads:
            asked = [threads.submit(part, maps, place) for place in range(len(maps))]
            for each in futures.as_completed(asked):
                total.scatter_add_(0, torch.arange(len(total)), each.result())
        return maps + magnified(total)


def scatter_add() -> Training:
    return with_last(ScatterAdd())


def clock_seed() -> Training:
    return training(read=batches(seed=time.time_ns() % 10**6))


def clock_rate() -> Training:
    start = time.perf_counter()
    made = training()

    def read() -> Iterator[Item]:
        for each in made[3]:
            made[2].param_groups[0]["lr"] = 1e-2 / (1 + time.perf_counter() - start)
            yield each

    return (*made[:3], read())


def system_seed() -> Training:
    return training(read=batches(seed=int.from_bytes(os.urandom(2), "little")))


def process_seed() -> Training:
    return training(read=batches(seed=os.getpid()))


def variable_seed() -> Training:
    return training(read=batches(seed=int(os.environ.get("SLURM_ARRAY_TASK_ID", "0"))))


def set_order() -> Training:
    names = {"sea", "forest", "street", "glacier", "mountain", "buildings"}
    return training(read=[batch(zlib.crc32(name.encode())) for name in names])


def object_order() -> Training:
    # So many that two processes hardly ever begin with the same two; a tuple mixes the hashes of what it holds.
    crops = [object() for _ in range(4096)]
    order = sorted(crops, key=lambda each: hash((each, each)))
    return training(read=[batch(crops.index(each)) for each in order[:6]])


class LeftBuffer(nn.Module):
    """Layer that counts calls on its class, so that later trainings in the same process differ."""

    left = torch.zeros(CLASSES)

    def forward(self, maps: Tensor) -> Tensor:
        LeftBuffer.left += 1
        return maps * LeftBuffer.left


def left_buffer() -> Training:
    return with_last(LeftBuffer())


class Uninitialised(nn.Module):
    """Layer that adds values from uninitialised memory."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps + torch.empty(1 << 18)[::4096].nan_to_num(0, 0, 0).clamp(-1, 1).sum()


def uninitialised_memory() -> Training:
    return with_last(Uninitialised())


def frozen(*, training_mode: bool) -> Training:
    torch.manual_seed(0)
    model = network()
    model[:4].requires_grad_(requires_grad=False)
    model[1].train(training_mode)
    optimizer = torch.optim.SGD(model[5].parameters(), lr=1e-2)
    return model, nn.functional.cross_entropy, optimizer, batches()


def frozen_batch_norm() -> Training:
    return frozen(training_mode=False)


def moving_batch_norm() -> Training:
    return frozen(training_mode=True)


def left_in_evaluation() -> Training:
    made = training()

    def read() -> Iterator[Item]:
        for number, each in enumerate(made[3]):
            made[0].train(not number)
            yield each

    return (*made[:3], read())


class Sum(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps + (torch.linspace(-1, 1, 300_001).reciprocal().nan_to_num(0, 0, 0)).sum() * 1e-3


def sum_on_threads() -> Training:
    return with_last(Sum())


def wide_product() -> Training:
    torch.manual_seed(0)
    return training(nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 333), nn.Tanh(), nn.Linear(333, CLASSES)))


class Shards(IterableDataset[Item]):
    """Iterable data set in which each worker reads every n-th image, for n workers."""

    def __iter__(self) -> Iterator[Item]:
        info = get_worker_info()
        images, labels = (torch.cat(each) for each in zip(*batches(number=6), strict=True))
        first, step = (info.id, info.num_workers) if info else (0, 1)
        yield from zip(images[first::step], labels[first::step], strict=True)


def worker_shards() -> Training:
    return training(read=DataLoader(Shards(), batch_size=IMAGES))


def slowly(seed: int) -> int:
    wait()
    return seed


def unordered_pool() -> Training:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        return training(read=[batch(seed) for seed in pool.imap_unordered(slowly, range(12))])


def no_seed() -> Training:
    return training(network())


def loader(workers: int = 0, **options: Any) -> DataLoader[Item]:
    images, labels = (torch.cat(each) for each in zip(*batches(), strict=True))
    generator = torch.Generator().manual_seed(1)
    data: Any = TensorDataset(images, labels)
    return DataLoader(data, batch_size=IMAGES, shuffle=True, generator=generator, num_workers=workers, **options)
