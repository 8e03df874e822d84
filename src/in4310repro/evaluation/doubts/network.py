"""Loading of the network whose features are compared, from a finished run or a file of weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from in4310repro.data.folders import Entry
from in4310repro.data.images import load_images
from in4310repro.data.preprocessing import APPLIED, to_json
from in4310repro.evaluation.embedding import embed
from in4310repro.models import trained_part
from in4310repro.runs.config import Config, with_preprocessing
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.presets import configure
from in4310repro.system.context import Context
from in4310repro.system.text import publishable_place


@dataclass(frozen=True, kw_only=True)
class Source:
    """A network and the preprocessing of the images for it."""

    network: torch.nn.Module  # on the CPU
    config: Config  # gives preprocessing, image size and batch size
    fingerprint: Mapping[str, Any] | None  # of the run that it is of
    name: str  # of the folder or file, fit to be published

    def described(self) -> dict[str, object]:
        """Return a description of the network, for the findings."""
        how = to_json(self.config.preprocessing) | {"image_size": self.config.image_size}
        return {"weights": self.name, "model": self.config.model, "preprocessing": how}


def open_source(weights: str, options: Mapping[str, Any]) -> Source:
    """Load a network from the folder of a run or a file of weights, with its preprocessing.

    Args:
        weights: the folder of a finished run, whose selected network is taken; `imagenet`; or a file, whose head may
            have any number of classes.
        options: the settings that a file does not contain, among them `model`. A run contains them all; only a `model`
            that is the user's code must be named again.

    Raises:
        ValueError: the run is damaged or not finished; an option contradicts it; the model of a file is not named; the
            file does not fit the model or lacks its preprocessing; or the network does not end in a linear layer.
    """
    if weights and Path(weights).is_dir():
        return _of_run(Path(weights), options)
    if weights == "none" or "model" not in options:
        raise ValueError(
            f"--weights {weights!r} is no run folder, and of a file --model NAME says of which network it is"
        )
    config = configure("course", None, {**options, "weights": weights})
    network = config.network
    network.trust()
    network.check()
    read = network.read_weights(weights)
    # The head is not computed with: two classes are as good as any.
    model = network.build(2, seed=0, weights=read)
    config = with_preprocessing(config, read.preprocessing)
    network.check_scores(model, 2, config.image_size)
    trained_part.last_layer_name(model, network)
    return Source(network=model, config=config, fingerprint=None, name=publishable_place(weights))


def _of_run(folder: Path, options: Mapping[str, Any]) -> Source:
    run = FinishedRun.open(folder)
    if decided := sorted(set(options) - {"model"}):
        option = decided[0].replace("_", "-")
        raise ValueError(f"--{option} is decided by the run {folder}; it goes with a file of weights")
    if "model" in options:
        if options["model"] != run.config.model:
            raise ValueError(f"--model {options['model']}, and the run has the network {run.config.model}")
        run.config.network.trust()
    network = run.selected_network()
    trained_part.last_layer_name(network, run.config.network)
    return Source(
        network=network,
        config=run.config,
        fingerprint=run.fingerprint,
        name=publishable_place(f"{folder}"),
    )


def features_of(
    source: Source, root: Path, entries: Sequence[Entry], context: Context
) -> Float32[np.ndarray, "image feature"]:
    """Return the input of the network's last layer for each image; cached by images and weights.

    The EXIF orientation is applied, as in `data.check`, even if the run that trained the network ignored it.

    Raises:
        ValueError: an image cannot be read, or has features that are not finite.
    """
    config = source.config
    how = replace(config.preprocessing, orientation=APPLIED)
    images = load_images("images", root, entries, config.image_size, preprocessing=how, progress=context.progress)
    network = context.numerics.place(source.network)
    return embed(network, config.network, images, config.evaluation_batch_size, context).take(range(len(images)))
