"""Projection of features to a plane in which near images stay near; used for a picture only."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

DIRECTIONS = 50  # principal ones, of which neighbours are taken
PERPLEXITY = 30.0  # about how many neighbours of an image are kept near it
FEWEST = 5  # images


def plane(features: Float32[np.ndarray, "image feature"], seed: int) -> NDArray[np.float64]:
    """Return two coordinates per image: t-SNE (van der Maaten and Hinton, JMLR 9, 2008) of principal components.

    This is scikit-learn's t-SNE, initialised with the first two components. Distances between groups, and the sizes of
    groups, have no meaning; the last digits depend on the machine.

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
    perplexity = min(PERPLEXITY, (images - 1) / 3)
    places = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(components).astype(np.float64)
    span = np.ptp(places, axis=0)
    placed: NDArray[np.float64] = (places - places.min(axis=0)) / np.where(span > 0, span, 1)
    return placed
