"""Multinomial logistic regression with scikit-learn's loss and SciPy's L-BFGS, in threads that leave its bits."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

# A block has at least so many multiplications, and a multiple of so many images or features: OpenBLAS computes small
# products with kernels of other bits, and so it does on AVX-512 where a block does not end with a tile of 24 images.
LEAST_PRODUCTS, ROWS, COLUMNS = 1 << 24, 16 * 24, 256
LINE_SEARCH = 50  # evaluations in a step, at most; as the tolerance of the loss, that of scikit-learn
LOSS_TOLERANCE = 64 * np.finfo(np.float64).eps


class Objective:
    """Mean loss of the scores `features @ weights.T + biases`, plus the penalty, with its derivatives.

    It is the one of `sklearn.linear_model.LogisticRegression`: the penalty is half the sum of squared weights, divided
    by the strength and by the number of images. A thread computes the scores of a block of images, or the derivatives
    by the weights of a block of features. No sum is divided, and the blocks are the same for any number of threads, so
    the bits are, too. With OpenBLAS on x86-64 they are those of scikit-learn on one thread.
    """

    def __init__(
        self, features: Float64[np.ndarray, "image feature"], labels: Int64[np.ndarray, " image"], strength: float
    ) -> None:
        from sklearn._loss import HalfMultinomialLoss

        (images, width), self.classes = features.shape, int(labels.max()) + 1
        self.features, self.labels, self.penalty = features, labels.astype(np.float64), 1 / (strength * images)
        self._loss = HalfMultinomialLoss(n_classes=self.classes)
        products = images * width * self.classes
        self.evaluations = 0  # so far
        self.rows, self.columns = blocks(images, ROWS, products), blocks(width, COLUMNS, products)

    def minimize(self, tolerance: float, steps: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return weights and biases at which no derivative exceeds the tolerance, or those after so many steps."""
        import scipy.optimize

        start = np.zeros(self.classes * (self.features.shape[1] + 1))
        options = {"maxiter": steps, "maxls": LINE_SEARCH, "gtol": tolerance, "ftol": LOSS_TOLERANCE}
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            found = scipy.optimize.minimize(self.evaluate, start, (pool,), "L-BFGS-B", jac=True, options=options)
        coefficients = found.x.reshape((self.classes, -1), order="F")
        return coefficients[:, :-1], coefficients[:, -1]

    def evaluate(
        self, values: Float64[np.ndarray, " coefficient"], pool: ThreadPoolExecutor
    ) -> tuple[float, Float64[np.ndarray, " coefficient"]]:
        """Return the objective and its derivatives; `values` has the classes' weights by feature, then the biases."""
        self.evaluations += 1
        coefficients = values.reshape((self.classes, -1), order="F")
        weights, biases, images = coefficients[:, :-1], coefficients[:, -1], len(self.labels)
        losses, slopes = np.empty(images), np.empty((images, self.classes))
        derivatives = np.empty_like(coefficients)

        def score(rows: slice) -> None:
            scores = self.features[rows] @ weights.T + biases
            self._loss.loss_gradient(self.labels[rows], scores, None, losses[rows], slopes[rows])
            slopes[rows] /= images

        def derive(columns: slice) -> None:
            derivatives[:, columns] = slopes.T @ self.features[:, columns] + self.penalty * weights[:, columns]

        [*pool.map(score, self.rows)]
        [*pool.map(derive, self.columns)]
        derivatives[:, -1] = slopes.sum(axis=0)
        squares = float(np.dot(flat := weights.ravel(order="K"), flat))
        return float(losses.sum() / images) + 0.5 * self.penalty * squares, derivatives.ravel(order="F")


def blocks(length: int, multiple: int, products: int) -> list[slice]:
    """Divide images or features into blocks, of which the last has the rest.

    Args:
        length: number of images or features.
        multiple: of so many a block is.
        products: multiplications for all of them.
    """
    size = multiple * -(-length * LEAST_PRODUCTS // (products * multiple))
    edges = [*range(0, max(length - size, 0) + 1, size)]
    return [slice(*pair) for pair in zip(edges, [*edges[1:], length], strict=True)]
