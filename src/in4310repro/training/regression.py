"""Multinomial logistic regression of many classes on all threads; its bits do not depend on their number."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float64, Int64
from scipy import optimize, special
from threadpoolctl import threadpool_limits

CLASSES = 64  # whose scores one thread computes at a time
ROWS = 1024  # images whose softmax one thread computes at a time
ITERATIONS = 5000  # of L-BFGS, at most
TOLERANCE = 1e-6  # the largest derivative of the mean loss with which it ends
# Passes over all images that a fit takes: the mean over all strengths for 900 photographs of six classes, where they
# were 75 to 1,946. For 300 images of CIFAR-10 the mean was 234.
TYPICAL_PASSES = 700

Values = Float64[np.ndarray, "image feature"]
Labels = Int64[np.ndarray, " image"]
Flat = Float64[np.ndarray, " parameter"]


def fit(values: Values, labels: Labels, classes: int, strength: float) -> Float64[np.ndarray, "class feature+1"]:
    """Return each class's weights and, last, its bias at the minimum of `objective`, which SciPy's L-BFGS finds."""
    start = np.zeros(classes * (values.shape[1] + 1))
    # The other limits of scikit-learn's LogisticRegression.
    limits = {"maxiter": ITERATIONS, "gtol": TOLERANCE, "maxls": 50, "ftol": 64 * np.finfo(float).eps}
    with objective(values, labels, classes, strength) as measure:
        found = optimize.minimize(measure, start, method="L-BFGS-B", jac=True, options=limits)
    return found.x.reshape(classes, -1)  # type: ignore[no-any-return]


@contextmanager
def objective(
    values: Values, labels: Labels, classes: int, strength: float
) -> Iterator[Callable[[Flat], tuple[float, Flat]]]:
    """Give a function from parameters to the objective and its gradient, computed by torch's number of threads.

    The objective is the mean cross-entropy plus the sum of squared weights divided by twice the number of images and
    the strength. Each sum is computed by one thread, by BLAS or NumPy.

    Args:
        values: the features of each image.
        labels: the class of each image, from 0.
        classes: their number.
        strength: as scikit-learn's C.
    """
    images = len(values)
    scores, losses, penalty = np.empty((images, classes)), np.empty(images), 1 / (strength * images)
    columns = [slice(at, at + CLASSES) for at in range(0, classes, CLASSES)]
    rows = [slice(at, at + ROWS) for at in range(0, images, ROWS)]

    def measure(flat: Flat) -> tuple[float, Flat]:
        parameters, gradient = flat.reshape(classes, -1), np.empty((classes, values.shape[1] + 1))
        weights = parameters[:, :-1]

        def score(block: slice) -> None:
            scores[:, block] = values @ weights[block].T + parameters[block, -1]

        def normalise(part: slice) -> None:
            logarithms = special.log_softmax(scores[part], axis=1)
            own = np.arange(len(logarithms)), labels[part]
            losses[part] = -logarithms[own]
            scores[part] = np.exp(logarithms)
            scores[part][own] -= 1

        def derive(block: slice) -> None:
            gradient[block, :-1] = scores[:, block].T @ values / images + penalty * weights[block]
            gradient[block, -1] = scores[:, block].mean(axis=0)

        for step, parts in ((score, columns), (normalise, rows), (derive, columns)):
            list(pool.map(step, parts))
        return float(losses.mean() + penalty / 2 * np.square(weights).sum()), gradient.ravel()

    with ThreadPoolExecutor(torch.get_num_threads()) as pool, threadpool_limits(1):
        yield measure


def seconds_of_fit(images: int, features: int, classes: int) -> float:
    """Return the estimated seconds of one fit, from the shortest of three passes over some random values."""
    some, passes = min(images, ROWS), list[float]()
    values = np.random.default_rng(0).standard_normal((some, features))
    with objective(values, np.arange(some) % classes, classes, 1.0) as measure:
        for _ in range(3):
            begin = time.perf_counter()
            measure(np.zeros(classes * (features + 1)))
            passes.append(time.perf_counter() - begin)
    return min(passes) * images / some * TYPICAL_PASSES
