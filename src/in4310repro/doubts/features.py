"""features_of(): what the last linear layer of a network takes, for every image of a set."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32

from in4310repro.data.batches import evaluation_batches
from in4310repro.data.images import ImageSet
from in4310repro.numerics import Numerics
from in4310repro.progress import SILENT, Progress


def features_of(
    model: torch.nn.Module, images: ImageSet, batch_size: int, numerics: Numerics, progress: Progress = SILENT
) -> Float32[np.ndarray, "image feature"]:
    """The input of the network's last linear layer in inference mode.

    Raises:
        ValueError: the network has no linear layer.
    """
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    if not linear:
        raise ValueError("the network has no linear layer; its features are what the last one takes")
    placed = numerics.place(model).eval()
    seen: list[torch.Tensor] = []
    hook = placed.get_submodule(linear[-1]).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].cpu()))
    try:
        with torch.inference_mode(), progress.task("features", len(images)) as advance:
            for batch in evaluation_batches(images, batch_size):
                placed(batch.images.to(numerics.device))
                advance(len(batch.paths), "")
    finally:
        hook.remove()
    return torch.cat(seen).numpy()
