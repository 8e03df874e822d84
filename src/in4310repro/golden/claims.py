"""The values of cases and golden files, and their comparison, each at a tier: how exactly it must be reproduced.

A "numeric class" is a hash that identifies the arithmetic of a process. In native arithmetic it depends on the results
of a probe computation, the number of threads and the device; in portable arithmetic, on the version and the results of
our kernels. Processes of one class are expected to compute equal bits.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

TIERS = ("exact", "bitwise", "numerical", "statistical")
INPUTS = ("value", "tier", "otherwise", "tolerance", "reason")
# NumPy has no float8.
DTYPES = ("str", "bool", *(f"{kind}{bits}" for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64)))
TRAITS = ("value", "dtype", "shape", "tier", "otherwise", "tolerance", "reason")
NOT_COMPARED = "not compared"
SHOWN = 3  # number of differing entries that a failure shows


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
            raise ValueError(f"tier is {self.tier!r}; it must be exact, bitwise or numerical")
        if self.otherwise not in (None, "numerical", "statistical"):
            raise ValueError(f"otherwise is {self.otherwise!r}; it must be numerical, statistical or None")
        weaker = self.otherwise is not None or self.tier == "numerical"
        if weaker != (self.tolerance is not None) or (weaker and not self.reason):
            raise ValueError(
                "expected a tolerance and a reason with tier numerical, or with otherwise numerical or statistical, "
                "and no tolerance with another"
            )
        if weaker and _dtype_name(_as_array(self.value)) == "str":
            raise ValueError("a text has no tolerance; its tier must be exact or bitwise")
        if isinstance(self.value, np.ndarray) and not (self.value.size and _dtype_name(self.value) in DTYPES):
            raise ValueError(
                f"an array of {self.value.dtype} with shape {self.value.shape}; expected at least one value of bool, "
                "integers, float16, float32, float64 or text"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the value, with its tier (how exactly it must be reproduced), as a JSON object for golden files."""
        array = _as_array(self.value)
        # Lists in place of tuples and arrays, and numbers in place of NumPy's scalars.
        value = json.loads(json.dumps(self.value, default=lambda each: np.asarray(each).tolist()))
        described = {"value": value, "dtype": _dtype_name(array), "shape": list(array.shape)}
        return described | {name: getattr(self, name) for name in INPUTS[1:]}


def _as_array(value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"a value of type {type(value).__name__} that is not an array: {error}") from None


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
    if isinstance(value, np.ndarray | np.generic) and _dtype_name(np.asarray(value)) in DTYPES:
        value = value.tolist()
    if isinstance(value, dict):
        for key, each in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{name} has the key {key!r}; a key must be a text")
            check_value(f"{name}[{key!r}]", each)
        return "a mapping"
    if isinstance(value, list | tuple):
        kinds = [check_value(f"{name}[{place}]", each) for place, each in enumerate(value)]
        for place, kind in enumerate(kinds):
            if kind != kinds[0]:
                raise ValueError(f"{name}[{place}] is {kind}, and {name}[0] is {kinds[0]}; all must be of one kind")
        return f"a list of {len(kinds)}" + (f", each {kinds[0]}" if kinds else "")
    if (found := next((kind for kind, types in KINDS.items() if isinstance(value, types)), None)) is None:
        raise ValueError(
            f"{name} is of type {type(value).__name__}; it must be a number, text, list of one kind or NumPy array"
        )
    if found == "a number" and not abs(value) < 2**MOST_BITS:
        integer = f"an integer of {value.bit_length()} bits; at most {MOST_BITS} are" if isinstance(value, int) else ""
        raise ValueError(f"{name} is {integer or f'{value}; only finite numbers are'} allowed")
    return found


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


Content = Mapping[str, Any]  # of a file, or an entry of it
Words = Mapping[str, str]
Claims = Mapping[str, Claim]
Case = Callable[[], Claims]
Cases = Mapping[str, Case]


def odd_keys(name: str, entry: Content, valid: tuple[str, ...]) -> list[str]:
    """Return a message for each missing or unknown key of an entry, by the name of the entry."""
    lost = [f"{name} lacks {key}" for key in valid if key not in entry]
    return lost + [f"{name} has {key!r}; valid keys are {', '.join(valid)}" for key in entry if key not in valid]


def find_claim_faults(name: str, entry: Any) -> list[str]:
    """Return a message for each error in a value's entry (claim) of a golden file.

    Args:
        name: names of the case and the value, for the messages.
        entry: the JSON value in the file, which should be an object.
    """
    if not isinstance(entry, Mapping):
        return [f"{name} is a {type(entry).__name__}; expected an object with {', '.join(TRAITS)}"]
    if faults := odd_keys(name, entry, TRAITS):
        return faults
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


@dataclass
class Comparison:
    """Result of a comparison: differences as messages, and the number of values compared at each tier."""

    differences: list[str] = field(default_factory=list)
    tiers: Counter[str] = field(default_factory=Counter)


def compare_values(case: str, expected: Content, got: Claims, same: bool) -> Comparison:
    """Compare values by name; return the differences and the number of values at each tier.

    Args:
        case: name of the case.
        expected: the claims of the golden file.
        got: the claims that were just computed.
        same: whether bitwise values are compared to the bit instead of at their weaker tier.
    """
    result = Comparison()
    for key in sorted({*expected, *got}):
        name = f"{case}: {key}"
        if key not in got:
            result.differences.append(f"{name} is in the golden file but is no longer computed")
        elif key not in expected:
            result.differences.append(f"{name} is computed but is not in the golden file")
        elif wrong := find_claim_faults(name, expected[key]):
            result.differences += wrong
        else:
            _compare_value(name, expected[key], got[key].to_json(), same, result)
    return result


def _compare_value(name: str, expected: Content, got: Content, same: bool, result: Comparison) -> None:
    for trait in TRAITS[1:]:
        if expected[trait] != got[trait]:
            result.differences.append(f"{name} expected {trait} {expected[trait]!r}, got {got[trait]!r}")
            return
    tier = expected["tier"] if same or expected["tier"] != "bitwise" else expected["otherwise"] or NOT_COMPARED
    result.tiers[tier] += (size := int(np.prod(expected["shape"], dtype=int)))
    if tier == NOT_COMPARED:
        return
    entries = (np.asarray(each["value"], object).ravel() for each in (expected, got))
    unequal = [(place, *pair) for place, pair in enumerate(zip(*entries, strict=True)) if not _is_same(*pair)]
    equal, how = not unequal, f" ({tier})"
    if tier not in ("exact", "bitwise"):
        deviation = np.abs(np.asarray(expected["value"], float) - np.asarray(got["value"], float))
        # `<=` is false for a nan on either side, so that a nan is a difference.
        equal, how = bool((deviation <= expected["tolerance"]).all()), f" within {expected['tolerance']:g}{how}"
    if equal:
        return
    text = f"expected {expected['value']!r}{how}, got {got['value']!r}"
    if expected["shape"]:
        numbers = [abs(one - other) for _, one, other in unequal if expected["dtype"] in DTYPES[1:]]
        largest = f", by up to {max(numbers):.3g}" if numbers else ""
        rows = "; ".join(f"[{place}] expected {one!r}, got {other!r}" for place, one, other in unequal[:SHOWN])
        text = f"differs in {len(unequal)} of {size} entries{largest}{how}: {rows}"
    result.differences.append(f"{name} {text}")


def _is_same(one: Any, other: Any) -> bool:
    """Return whether two entries are equal, with the sign of a zero. A nan equals nothing, not even itself."""
    return bool(one == other) and (one != 0 or math.copysign(1, one) == math.copysign(1, other))
