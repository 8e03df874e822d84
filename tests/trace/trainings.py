"""Small trainings, one honest and others with a planted cause of different bits."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

Training = tuple[nn.Module, Callable[[Tensor, Tensor], Tensor], torch.optim.Optimizer, Any]


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4)
    )


def batches(seed: int = 0, number: int = 3) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(8, 3, 12, 12, generator=generator), torch.randint(0, 4, (8,), generator=generator))
        for _ in range(number)
    ]


def training(model: nn.Module | None = None, read: Any = None) -> Training:
    torch.manual_seed(0)
    model = network() if model is None else model
    return model, nn.functional.cross_entropy, torch.optim.AdamW(model.parameters(), lr=1e-2), read or batches()


def honest() -> Training:
    return training()


def honest_workers() -> Training:
    images, labels = (torch.cat(each) for each in zip(*batches(), strict=True))
    generator = torch.Generator().manual_seed(1)
    return training(read=DataLoader(TensorDataset(images, labels), batch_size=8, shuffle=True, generator=generator))


class Noisy(Dataset[tuple[Tensor, Tensor]]):
    """Images with noise from NumPy's or Python's generator, which workers inherit unseeded."""

    def __init__(self, draw: Callable[[], float]) -> None:
        images, labels = zip(*batches(), strict=True)
        self.images, self.labels, self.draw = torch.cat(images), torch.cat(labels), draw

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.images[index] + self.draw(), self.labels[index]


def random_noise() -> float:
    return random.random()


def system_noise() -> float:
    return int.from_bytes(os.urandom(4), "little") / 2**32


def unseeded_worker() -> Training:
    """Python's generator is never seeded."""
    return training(read=DataLoader(Noisy(random_noise), batch_size=8, num_workers=0))


def worker_number() -> Training:
    """The workers' seeds are fixed, so that what they draw depends on their number alone."""
    random.seed(0)
    generator = torch.Generator().manual_seed(1)
    return training(read=DataLoader(Noisy(random_noise), batch_size=8, num_workers=0, generator=generator))


def listed_files(folder: Path | None = None) -> Training:
    """Images are read in the order in which the system lists their folder."""
    place = folder or Path("listed")
    place.mkdir(exist_ok=True)
    for i, (images, _) in enumerate(batches(number=6)):
        torch.save(images, place / f"batch{i}.pt")
    read = [(torch.load(place / name, weights_only=True), torch.arange(8) % 4) for name in os.listdir(place)]
    return training(read=read)


class UnseededDropout(nn.Module):
    """Dropout whose generator is seeded by the system."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator()
        self.generator.seed()

    def forward(self, maps: Tensor) -> Tensor:
        return maps * (torch.rand(maps.shape, generator=self.generator) < 0.5)


def dropout_without_seed() -> Training:
    model = network()
    model.append(UnseededDropout())
    return training(model)


def unseeded_weights() -> Training:
    """The weights are drawn before any seed is set."""
    model = network()
    return training(model)


class Scattered(nn.Module):
    """A sum whose order the threads decide, as an atomic sum has none."""

    def forward(self, maps: Tensor) -> Tensor:
        import threading

        total = torch.zeros(maps.shape[1])
        lock = threading.Lock()

        def add(part: Tensor) -> None:
            nonlocal total
            time.sleep(int.from_bytes(os.urandom(1), "little") / 1e5)
            with lock:
                total = total + part

        threads = [threading.Thread(target=add, args=(row.detach() * 1e3**i,)) for i, row in enumerate(maps)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        return maps + total * 1e-20


def atomic_sum() -> Training:
    torch.manual_seed(0)
    return training(nn.Sequential(*network(), Scattered()))


def clock_seed() -> Training:
    torch.manual_seed(0)
    model = network()
    made = training(model)
    return (*made[:3], batches(seed=int(time.time())))


def set_order() -> Training:
    names = {"sea", "forest", "street", "glacier", "mountain", "buildings"}
    read = batches(number=6)
    return training(
        read=[read[i] for i, _ in sorted(enumerate(names), key=lambda each: list(names).index(each[1]))]
        if False
        else [read[sorted(names).index(name)] for name in names]
    )


class LeftBuffer(nn.Module):
    """Adds what the training before it in the process has left."""

    left = 0.0

    def forward(self, maps: Tensor) -> Tensor:
        LeftBuffer.left += 1.0
        return maps * LeftBuffer.left


def left_buffer() -> Training:
    torch.manual_seed(0)
    return training(nn.Sequential(*network(), LeftBuffer()))


class Uninitialised(nn.Module):
    """Adds memory that nobody wrote."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps + torch.empty(4096, 16)[:, 0].nan_to_num(0, 0, 0).clamp(-1, 1).sum()


def uninitialised_memory() -> Training:
    torch.manual_seed(0)
    return training(nn.Sequential(*network(), Uninitialised()))


def batch_norm() -> Training:
    return training()


def steps_of(made: Training) -> Iterator[tuple[Tensor, Tensor]]:
    yield from made[3]
