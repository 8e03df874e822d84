"""Features of a folder's images by a network, and a map of the features to two dimensions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from in4310repro.data.folders import Entry
from in4310repro.data.preprocessing import APPLIED, to_json
from in4310repro.evaluation.embedding import Features, embed
from in4310repro.models import building, modules
from in4310repro.models.sources import trust_network
from in4310repro.runs.config import Config, with_preprocessing
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import unchanged
from in4310repro.runs.presets import configure
from in4310repro.system.context import Context
from in4310repro.system.text import publishable_place


class Source(NamedTuple):
    """A network and the preprocessing of the images for it."""

    network: torch.nn.Module  # on the CPU
    config: Config  # gives preprocessing, image size and batch size
    fingerprint: Mapping[str, Any] | None  # of the run that it is of
    name: str  # of the folder or file, fit to be published
    labels_known: frozenset[str] = frozenset()  # sha256 of the images by whose labels a run trained more than the head

    def described(self) -> dict[str, object]:
        """Return the weights, the model and the preprocessing as a dict to be recorded with the findings."""
        how = to_json(self.config.preprocessing) | {"image_size": self.config.image_size}
        return {"weights": self.name, "model": self.config.model, "preprocessing": how}


def open_source(weights: str, options: Mapping[str, Any]) -> Source:
    """Load a network and its preprocessing, from the folder of a run or from weights.

    Args:
        weights: `imagenet`, a file of weights, or the folder of a finished run, whose selected network is
            loaded. The last layer in a file of weights may have any number of classes.
        options: settings that weights do not contain, such as `model`, which is given with them. A run contains all
            settings, but a `model` that is the user's own code must be named again.

    Raises:
        ValueError: the run is damaged or not finished; an option contradicts the run; the file does not fit the model
            or lacks the preprocessing; or the network does not end in a linear layer.
    """
    folder = Path(weights)
    if weights and folder.is_dir():
        with unchanged(folder):
            run = FinishedRun.open(folder)
            if decided := sorted(set(options) - {"model"}):
                option = decided[0].replace("_", "-")
                raise ValueError(f"--{option} is set by the run {folder}; give it only with a file of weights")
            config = run.config
            trust_network(options.get("model"), config.model)
            model = run.selected_network()
            building.last_layer(model, config.network)
            fitted = config.fits_head(config.setting(run.metrics["setting"]))
            trained = () if fitted else run.entries("training")
            known = frozenset(entry.sha256 for entry in trained)
            return Source(model, config, run.fingerprint, publishable_place(f"{folder}"), known)
    config = configure("course", None, {**options, "weights": weights})
    network = config.network
    network.trust()
    network.check()
    read = network.read_weights(weights)
    # The head is not computed with: two classes are as good as any.
    model = network.build(2, seed=0, weights=read)
    config = with_preprocessing(config, read.preprocessing)
    modules.check_scores(model, network.name, 2, config.image_size)
    building.last_layer(model, network)
    return Source(model, config, None, publishable_place(weights))


def features_of(source: Source, root: Path, entries: Sequence[Entry], context: Context) -> Features:
    """Return the input of the network's last layer for each image.

    Features that were computed before, for the same image and weights, are read from the cache.

    The EXIF orientation is applied, as in `data.check`, even if the run that trained the network ignored it.

    Raises:
        ValueError: an image cannot be read, or has features that are not finite.
    """
    config = replace(source.config, orientation=APPLIED)
    images = config.load("images", root, entries, context.progress)
    return embed(context.numerics.place(source.network), config, images, context).take(range(len(images)))


DIRECTIONS = 50  # principal ones, of which neighbours are taken
PERPLEXITY = 30.0  # about how many neighbours of an image are kept near it
FEWEST = 5  # images


def plane(features: Features, seed: int) -> np.ndarray:
    """Return two t-SNE coordinates per image, computed from principal components of the features.

    This is scikit-learn's t-SNE (van der Maaten and Hinton, JMLR 9, 2008), initialised with the first two
    components. Distances between groups and sizes of groups have no meaning. The last digits depend on the
    machine.

    Args:
        features: features of each image.
        seed: seed of the random numbers.

    Returns:
        Coordinates [image, 2] from 0 to 1; an empty array for fewer than five images.
    """
    # Imported here because it takes a second and other checks do not need it.
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    images, width = features.shape
    if images < FEWEST:
        return np.empty((0, 2))
    # Identical images have no principal components.
    if (features == features[0]).all():
        return np.full((images, 2), 0.5)
    components = PCA(min(DIRECTIONS, images, width), random_state=seed).fit_transform(features)
    # A plane needs a second direction, also for features of one number.
    components = np.pad(components, ((0, 0), (0, max(0, 2 - components.shape[1]))))
    mapped = TSNE(2, perplexity=min(PERPLEXITY, (images - 1) / 3), init="pca", random_state=seed)
    places = mapped.fit_transform(components).astype(np.float64)
    span = np.ptp(places, axis=0)
    return np.asarray((places - places.min(axis=0)) / np.where(span > 0, span, 1))
