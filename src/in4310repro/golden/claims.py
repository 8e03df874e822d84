"""The values of cases and golden files, each with a tier that says how exactly it must be reproduced.

A "numeric class" is a hash that identifies the arithmetic of a process. In native arithmetic it depends on the results
of a probe computation, the number of threads and the device; in portable arithmetic, on the version and the results of
our kernels. Processes of one class are expected to compute equal bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

TIERS = ("exact", "bitwise", "numerical", "statistical")
INPUTS = ("value", "tier", "otherwise", "tolerance", "reason")
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
    """A value and its tier of comparison, which says how exactly it must be reproduced.

    `exact`: the value is equal everywhere. `bitwise`: it is equal to the bit in the same numeric class and, in native
    arithmetic, with the same libraries. Elsewhere a bitwise value is compared at the tier `otherwise`, within
    `tolerance` (absolute) for the given `reason`; without that tier it is not compared. `numerical`: it is equal within
    the tolerance everywhere.

    A value is a JSON scalar, a list of scalars of one type, or a NumPy array.
    """

    value: Any
    tier: str = "exact"
    otherwise: str | None = None
    tolerance: float | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        if self.tier not in ("exact", "bitwise", "numerical"):
            raise ValueError(f"tier {self.tier!r} of a claim; valid values are exact, bitwise and numerical")
        if self.otherwise not in (None, "numerical", "statistical"):
            raise ValueError(
                f"otherwise {self.otherwise!r} of a claim; valid values are numerical, statistical and None"
            )
        weaker = self.otherwise is not None or self.tier == "numerical"
        if weaker != (self.tolerance is not None) or (weaker and not self.reason):
            raise ValueError(
                "expected a tolerance and a reason with tier numerical, or with otherwise numerical or statistical, "
                "and no tolerance with another"
            )
        if weaker and _dtype_name(np.asarray(self.value)) == "str":
            raise ValueError("a text has no tolerance; valid tiers are exact and bitwise")
        if isinstance(self.value, np.ndarray) and not (self.value.size and _dtype_name(self.value) in (*DTYPES, "str")):
            raise ValueError(
                f"an array of {self.value.dtype} with shape {self.value.shape}; expected at least one value of bool, "
                "integers, float16, float32, float64 or text"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the value, with its tier (how exactly it must be reproduced), as a JSON object for golden files."""
        array = np.asarray(self.value)
        return {
            "value": array.tolist() if isinstance(self.value, np.ndarray) else self.value,
            "dtype": _dtype_name(array),
            "shape": list(array.shape),
            "tier": self.tier,
            "otherwise": self.otherwise,
            "tolerance": self.tolerance,
            "reason": self.reason,
        }


def _dtype_name(array: np.ndarray) -> str:
    """Return the name of the array's dtype, which is "str" for strings of any length."""
    return "str" if array.dtype.kind == "U" else str(array.dtype)


def _is_array_of(value: Any, dtype: Any) -> bool:
    """Return whether a JSON value stays the same when converted to an array of this dtype and back."""
    try:
        with np.errstate(over="ignore"):
            return dtype in DTYPES and repr(np.asarray(value, dtype).tolist()) == repr(value)
    except (OverflowError, TypeError, ValueError):
        return False


Case = Callable[[], Mapping[str, Claim]]


def find_claim_faults(name: str, entry: Any) -> list[str]:
    """Return a message for each error in a value's entry (claim) of a golden file.

    Args:
        name: names of the case and the value, for the messages.
        entry: the JSON value in the file, which should be an object.
    """
    if not isinstance(entry, Mapping):
        return [f"{name} is a {type(entry).__name__}; expected an object with {', '.join(TRAITS)}"]
    wrong = [f"{name} lacks {trait}" for trait in TRAITS if trait not in entry]
    wrong += [f"{name} has {trait!r}; valid keys are {', '.join(TRAITS)}" for trait in entry if trait not in TRAITS]
    if wrong:
        return wrong
    try:
        whole = Claim(**{trait: entry[trait] for trait in INPUTS}).to_json()
    except ValueError as error:
        return [f"{name}: {error}"]
    if _is_array_of(entry["value"], entry["dtype"]):
        whole["dtype"] = entry["dtype"]
    return [
        f"{name} has {trait} {entry[trait]!r}; expected {whole[trait]!r}, that of its value"
        for trait in ("dtype", "shape")
        if entry[trait] != whole[trait]
    ]
