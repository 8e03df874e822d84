"""A value and how firmly it is claimed, as a case computes it and as a golden file holds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

TIERS = ("exact", "bitwise", "numerical", "statistical")
GIVEN = ("value", "tier", "otherwise", "tolerance", "reason")
TRAITS = ("value", "dtype", "shape", "tier", "otherwise", "tolerance", "reason")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A value and how firmly it is claimed.

    `exact` holds everywhere. `bitwise` holds in the same numeric class, and in native arithmetic with the same
    libraries; elsewhere the value is compared at the tier `otherwise`, within `tolerance` (absolute) and for the
    reason given, or not at all. `numerical` holds within the tolerance everywhere.
    """

    value: Any
    tier: str = "exact"
    otherwise: str | None = None
    tolerance: float | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        if self.tier not in ("exact", "bitwise", "numerical"):
            raise ValueError(f"tier {self.tier!r} of a claim; exact, bitwise and numerical are valid")
        if self.otherwise not in (None, "numerical", "statistical"):
            raise ValueError(f"otherwise {self.otherwise!r} of a claim; numerical, statistical and None are valid")
        weaker = self.otherwise is not None or self.tier == "numerical"
        if weaker != (self.tolerance is not None) or (weaker and not self.reason):
            raise ValueError("a weaker tier comes with a tolerance and a reason, and only a weaker tier does")

    def to_json(self) -> dict[str, Any]:
        """The claim as a golden file holds it."""
        array = np.asarray(self.value)
        kind = "str" if array.dtype.kind == "U" else str(array.dtype)
        return {
            "value": self.value,
            "dtype": kind,
            "shape": list(array.shape),
            "tier": self.tier,
            "otherwise": self.otherwise,
            "tolerance": self.tolerance,
            "reason": self.reason,
        }


Case = Callable[[], Mapping[str, Claim]]


def claim_faults(name: str, entry: Any) -> list[str]:
    """What is wrong with a claim of a golden file by itself, in sentences that name it and the key.

    Args:
        name: of the case and the value.
        entry: what the file holds.
    """
    if not isinstance(entry, Mapping):
        return [f"{name} is a {type(entry).__name__}; an object with {', '.join(TRAITS)} is valid"]
    wrong = [f"{name} lacks its {trait}" for trait in TRAITS if trait not in entry]
    wrong += [f"{name} has {trait!r}; valid are {', '.join(TRAITS)}" for trait in entry if trait not in TRAITS]
    if wrong:
        return wrong
    try:
        whole = Claim(**{trait: entry[trait] for trait in GIVEN}).to_json()
    except ValueError as error:
        return [f"{name}: {error}"]
    return [
        f"{name} has {trait} {entry[trait]!r}; that of its value is {whole[trait]!r}"
        for trait in ("dtype", "shape")
        if entry[trait] != whole[trait]
    ]
