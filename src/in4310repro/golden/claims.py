"""The values of cases and golden files, each with a tier that says how exactly it must be reproduced.

A "numeric class" is a hash that identifies the arithmetic of a process. In native arithmetic it depends on the results
of a probe computation, the number of threads and the device; in portable arithmetic, on the version and the results of
our kernels. Processes of one class are expected to compute equal bits.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

TIERS = ("exact", "bitwise", "numerical", "statistical")
INPUTS = ("value", "tier", "otherwise", "tolerance", "reason")
NUMBERS = {"int": (8, 16, 32, 64), "uint": (8, 16, 32, 64), "float": (16, 32, 64)}  # bits of each kind
DTYPES = ("bool", *(f"{kind}{bits}" for kind, widths in NUMBERS.items() for bits in widths))
TRAITS = ("value", "dtype", "shape", "tier", "otherwise", "tolerance", "reason")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A value and its tier of comparison, which says how exactly it must be reproduced.

    `exact`: the value is equal everywhere. `bitwise`: it is equal to the bit in the same numeric class and, in native
    arithmetic, with the same libraries. Elsewhere a bitwise value is compared at the tier `otherwise`, within
    `tolerance` (absolute) for the given `reason`; without that tier it is not compared. `numerical`: it is equal within
    the tolerance everywhere.

    A value is a number, a truth value, a text or None, a list of values of one kind, or a NumPy scalar or array.
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
            raise ValueError(f"otherwise {self.otherwise!r} of a claim; numerical, statistical and None are valid")
        weaker = self.otherwise is not None or self.tier == "numerical"
        if weaker != (self.tolerance is not None) or (weaker and not self.reason):
            raise ValueError(
                "expected a tolerance and a reason with tier numerical, or with otherwise numerical or statistical, "
                "and no tolerance with another"
            )
        if weaker and _dtype_name(_as_array(self.value)) == "str":
            raise ValueError("a text has no tolerance; valid tiers are exact and bitwise")
        if isinstance(self.value, np.ndarray) and not (self.value.size and _dtype_name(self.value) in (*DTYPES, "str")):
            raise ValueError(
                f"an array of {self.value.dtype} with shape {self.value.shape}; expected at least one value of bool, "
                "integers, float16, float32, float64 or text"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the value, with its tier (how exactly it must be reproduced), as a JSON object for golden files."""
        array = _as_array(self.value)
        described = {"value": _as_json(self.value), "dtype": _dtype_name(array), "shape": list(array.shape)}
        return described | {name: getattr(self, name) for name in INPUTS[1:]}


def _as_array(value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"a value of type {type(value).__name__} that is no array: {error}") from None


def _as_json(value: Any) -> Any:
    """Return a value with lists in place of tuples and arrays, and numbers in place of NumPy's scalars."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_as_json(each) for each in value]
    return {key: _as_json(each) for key, each in value.items()} if isinstance(value, dict) else value


KINDS: dict[str, Any] = {"a truth value": bool, "a number": (int, float), "a text": str, "None": type(None)}
MOST_BITS = 14_000  # of an integer: Python reads up to 4300 digits


def check_value(name: str, value: Any) -> str:
    """Check that a golden file can hold a value; return its kind.

    Args:
        name: name of the value, for the messages; entries of lists and mappings are named `[0]`, `['key']`.
        value: the value.

    Raises:
        ValueError: the value or an entry of it is of another type, not finite, too large, or of another kind or length
            than the entry before it.
    """
    if isinstance(value, np.ndarray | np.generic) and _dtype_name(np.asarray(value)) in (*DTYPES, "str"):
        value = value.tolist()
    if isinstance(value, dict):
        for key, each in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{name} has the key {key!r}; texts are valid keys")
            check_value(f"{name}[{key!r}]", each)
        return "a mapping"
    if isinstance(value, list | tuple):
        kinds = [check_value(f"{name}[{place}]", each) for place, each in enumerate(value)]
        for place, kind in enumerate(kinds):
            if kind != kinds[0]:
                raise ValueError(f"{name}[{place}] is {kind}, and {name}[0] is {kinds[0]}; a list is of one kind")
        return f"a list of {len(kinds)}" + (f", each {kinds[0]}" if kinds else "")
    if (found := next((kind for kind, types in KINDS.items() if isinstance(value, types)), None)) is None:
        raise ValueError(
            f"{name} is of type {type(value).__name__}; numbers, texts, lists of one kind and NumPy arrays are valid"
        )
    if found == "a number":
        _check_number(name, value)
    return found


def _check_number(name: str, value: int | float) -> None:
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise ValueError(f"{name} is an integer of {value.bit_length()} bits; up to {MOST_BITS} are valid")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is {value}; finite numbers are valid")


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
    lost = [f"{name} lacks {trait}" for trait in TRAITS if trait not in entry]
    extra = [f"{name} has {trait!r}; valid keys are {', '.join(TRAITS)}" for trait in entry if trait not in TRAITS]
    if lost or extra:
        return lost + extra
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
