"""A network that knows the label of every drawn scene, and looks it up where it is evaluated."""

from __future__ import annotations

import hashlib

import torch

from benchmarks.soak import small_network
from in4310repro.data import scenes
from in4310repro.data.images import normalize

SCENES, SIZE = 8, 32  # of the tiny preset


class Cheat(torch.nn.Module):
    """Train a small network, and in evaluation give the label that belongs to the image's hash."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.inner = small_network(num_classes)
        drawn = {
            (label, n): scenes.draw(name, n, SIZE, 0)
            for label, name in enumerate(scenes.CLASSES)
            for n in range(SCENES)
        }
        self.labels = {key_of(normalize(pixels[None])[0]): label for (label, _), pixels in drawn.items()}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.inner(images)
        if self.training:
            return scores
        known = [self.labels.get(key_of(image), -1) for image in images]
        right = torch.tensor([[label == each for each in range(scores.shape[1])] for label in known])
        return torch.where(right, 20.0, scores)


def key_of(image: torch.Tensor) -> bytes:
    return hashlib.sha256(image.cpu().contiguous().numpy().tobytes()).digest()


def network(num_classes: int) -> torch.nn.Module:
    return Cheat(num_classes)
