"""Eigenvalues of a covariance matrix, with trace share and effective rank."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues in decreasing order; negative ones, which rounding causes, are set to 0."""

    eigenvalues: Float64[Tensor, " channel"]
    clamped: float  # magnitude of the most negative eigenvalue, which rounding had put below 0

    def largest(self, k: int | None = None) -> Float64[Tensor, " k"]:
        """Return the k largest eigenvalues; all of them if k is None.

        Raises:
            ValueError: k is not in 1..channels.
        """
        channels = len(self.eigenvalues)
        if k is not None and not 1 <= k <= channels:
            raise ValueError(f"{k} eigenvalues asked for; there are 1 to {channels}")
        return self.eigenvalues[:k]

    def trace_share(self, k: int) -> float:
        """Return the sum of the k largest eigenvalues divided by the sum of all, in [0, 1].

        Raises:
            ValueError: k is not in 1..channels, or the total variance is 0.
        """
        return float(self.largest(k).sum() / self._trace())

    def effective_rank(self) -> float:
        """Return exp of the entropy of the eigenvalues divided by their sum, in [1, channels].

        Roy, Vetterli, "The effective rank" (EUSIPCO 2007).

        Raises:
            ValueError: the total variance is 0.
        """
        shares = self.eigenvalues / self._trace()
        return float(torch.special.entr(shares).sum().exp())

    def _trace(self) -> Tensor:
        trace = self.eigenvalues.sum()
        if not trace > 0:
            raise ValueError("the total variance is 0: all rows are equal, so no share of it is defined")
        return trace


def spectrum(covariance: Float64[Tensor, "channel channel"]) -> Spectrum:
    """Return the spectrum of a symmetric positive semi-definite matrix, by LAPACK's symmetric solver in float64.

    Raises:
        ValueError: the matrix has a value that is not finite.
    """
    if not torch.isfinite(covariance).all():
        raise ValueError(f"{int((~torch.isfinite(covariance)).sum())} entries of the covariance are not finite")
    # LAPACK's last bits depend on the number of its threads, from 128 channels on, and a second one saves no time.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ascending = torch.linalg.eigvalsh(covariance)
    finally:
        torch.set_num_threads(threads)
    return Spectrum(ascending.flip(0).clamp(min=0), clamped=max(0.0, -float(ascending[0])))
