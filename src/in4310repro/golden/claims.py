"""A value and how firmly it is claimed, as a case computes it and as a golden file holds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

TIERS = ("exact", "bitwise", "numerical", "statistical")
GIVEN = ("value", "tier", "otherwise", "tolerance", "reason")
DTYPES = (
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    "float16",
    "float32",
    "float64",
)
TRAITS = ("value", "dtype", "shape", "tier", "otherwise", "tolerance", "reason")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A value and how firmly it is claimed.

    `exact` holds everywhere. `bitwise` holds in the same numeric class, and in native arithmetic with the same
    libraries; elsewhere the value is compared at the tier `otherwise`, within `tolerance` (absolute) and for the
    reason given, or not at all. `numerical` holds within the tolerance everywhere.

    A value is what JSON holds, a list of one kind of it, or a NumPy array.
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
        if weaker and _kind(np.asarray(self.value)) == "str":
            raise ValueError("a text has no tolerance; exact and bitwise are valid")
        if isinstance(self.value, np.ndarray) and not (self.value.size and _kind(self.value) in (*DTYPES, "str")):
            raise ValueError(
                f"an array of {self.value.dtype} with shape {self.value.shape}; at least one value of bool, integers, "
                "float16, float32, float64 or text is valid"
            )

    def to_json(self) -> dict[str, Any]:
        """The claim as a golden file holds it."""
        array = np.asarray(self.value)
        return {
            "value": array.tolist() if isinstance(self.value, np.ndarray) else self.value,
            "dtype": _kind(array),
            "shape": list(array.shape),
            "tier": self.tier,
            "otherwise": self.otherwise,
            "tolerance": self.tolerance,
            "reason": self.reason,
        }


def _kind(array: np.ndarray) -> str:
    """The name of its dtype; texts of any length are one."""
    return "str" if array.dtype.kind == "U" else str(array.dtype)


def _is_array_of(value: Any, dtype: Any) -> bool:
    """Whether an array of this dtype is written as this value."""
    try:
        with np.errstate(over="ignore"):
            return dtype in DTYPES and repr(np.asarray(value, dtype).tolist()) == repr(value)
    except (OverflowError, TypeError, ValueError):
        return False


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
    if _is_array_of(entry["value"], entry["dtype"]):
        whole["dtype"] = entry["dtype"]
    return [
        f"{name} has {trait} {entry[trait]!r}; that of its value is {whole[trait]!r}"
        for trait in ("dtype", "shape")
        if entry[trait] != whole[trait]
    ]
