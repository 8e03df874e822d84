"""Random generators that depend only on a seed and names, not on the order of draws."""

from __future__ import annotations

import hashlib
from typing import Any


def generator_for(seed: int, *names: int | str) -> Any:
    """Return a random generator that depends only on the seed and the names.

    A random number can thus belong to an image or a parameter, independently of the order in which numbers are
    drawn. NumPy's generators use integer arithmetic, so they give equal bits on all processors; torch's do not.

    Args:
        seed: an integer that is not negative.
        names: integers that are not negative, or strings, of which the first 64 bits of the sha256 are used.

    Returns:
        A `numpy.random.Generator` with PCG64; annotated as Any, since NumPy is not imported here.

    Examples:
        >>> generator_for(0, "split", "a.png").random() == generator_for(0, "split", "a.png").random()
        True
        >>> generator_for(0, "split", "a.png").random() == generator_for(0, "split", "b.png").random()
        False
    """
    # Imported here, since --help needs no NumPy.
    import numpy as np

    integers = [int(hashlib.sha256(n.encode()).hexdigest()[:16], 16) if isinstance(n, str) else n for n in names]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *integers])))
