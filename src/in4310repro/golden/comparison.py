"""Comparison of a case's computed values with its golden file, each value at its tier (required exactness)."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from in4310repro.golden.claims import TRAITS, Claim, find_claim_faults
from in4310repro.golden.folder import (
    ENVIRONMENTS,
    EXAMPLE,
    EXAMPLE_OF_CLASSES,
    NOX,
    Command,
    Environments,
    find_key_faults,
    same_libraries,
)
from in4310repro.system.numerics import Numerics

NOT_COMPARED = "not compared"
SHOWN = 3  # number of differing entries that a failure shows


@dataclass
class Comparison:
    """Result of a comparison: differences as messages, and the number of values compared at each tier."""

    differences: list[str] = field(default_factory=list)
    tiers: Counter[str] = field(default_factory=Counter)


def compare(
    case: str,
    golden: Mapping[str, Any],
    got: Mapping[str, Claim],
    numerics: Numerics,
    versions: Mapping[str, str],
    environments: Environments,
    command: Command = NOX,
) -> Comparison:
    """Compare the computed values of a case with its golden file; a missing or an extra value is a difference.

    The tier of a value says how exactly it must be reproduced. For use where equal bits cannot be expected, a
    bitwise value may have a weaker tier too, such as equality within a tolerance.

    In portable arithmetic, bitwise values that were also written in portable arithmetic must have equal bits,
    with any library versions. If the numeric class of such a file is not the current one, the kernels have
    changed since. The file is then stale, which is a difference by itself.

    In native arithmetic, bitwise values must have equal bits if numeric class and library versions are the same.

    In all other cases, bitwise values are compared at their weaker tier. A value without a weaker tier is not
    compared, which counts as a difference in portable arithmetic and in environments that are listed in
    `environments`.

    Args:
        case: name of the case; the file must contain the same name.
        golden: content of the file.
        got: the values that were just computed, by name.
        numerics: the arithmetic of this process.
        versions: the library versions of this process.
        environments: the environments in which golden files were written.
        command: the command that writes golden files, for the hints.

    Returns:
        One sentence for each difference, and the number of values compared at each tier.

    Examples:
        >>> from in4310repro.golden import LIBRARIES, PROVENANCE, Environment
        >>> here = Numerics(mode="portable", numeric_class="a", probe={}, threads=2, device="cpu")
        >>> versions = dict.fromkeys(LIBRARIES, "1.0")
        >>> place = {"numeric_class": "a", "versions": versions, "device_name": "cpu"}
        >>> listed = Environment(numerics="portable", files={"count.json": "c0ffee"}, **place)
        >>> environments = Environments(provenance={}, environments=(listed,))
        >>> content = dict.fromkeys(PROVENANCE, "") | {"case": "count"} | place
        >>> content["values"] = {"images": Claim(value=7).to_json()}
        >>> compare("count", content, {"images": Claim(value=7)}, here, versions, environments)
        Comparison(differences=[], tiers=Counter({'exact': 1}))
        >>> compare("count", content, {"images": Claim(value=8)}, here, versions, environments).differences
        ['count: images expected 7 (exact), got 8']
    """
    wrong = find_key_faults(case, golden)
    written = None if wrong else environments.written_in(golden)
    if wrong or written is None:
        return Comparison(differences=wrong or [describe_unlisted(case, golden, command)])
    libraries = same_libraries(written.versions, versions)
    same = written.numeric_class == numerics.numeric_class and libraries
    if numerics.portable:
        same = written.numerics == "portable"
    result = Comparison(differences=stale_faults(case, golden, numerics, environments, command))
    compare_values(case, golden["values"], got, same, result)
    lost = result.tiers[NOT_COMPARED]
    if lost and (numerics.portable or environments.has(numerics, versions)):
        where = "in portable arithmetic" if numerics.portable else f"in an environment that {ENVIRONMENTS} lists"
        result.differences.append(
            f"{case}: {lost} bitwise values are not compared, {where} (numeric class {numerics.numeric_class})"
        )
    return result


def describe_unlisted(case: str, golden: Mapping[str, Any], command: Command = NOX) -> str:
    """Return a message about a golden file whose environment is not in environments.json."""
    return (
        f"{case}: the file's numeric_class {golden['numeric_class']!r}, device_name {golden['device_name']!r} and "
        f"versions match no environment in {ENVIRONMENTS}; {command(case, EXAMPLE)} writes it"
    )


def stale_faults(
    case: str, golden: Mapping[str, Any], numerics: Numerics, environments: Environments, command: Command = NOX
) -> list[str]:
    """Return a list with a message if a golden file's numeric class is outdated or wrongly listed as native.

    Otherwise the list is empty. In native arithmetic nothing is checked.
    """
    written = environments.written_in(golden)
    if not numerics.portable or written is None:
        return []
    if written.numerics == "portable" and written.numeric_class != numerics.numeric_class:
        all_at_once = command("environments", EXAMPLE_OF_CLASSES)
        renewal = f"{all_at_once} writes all files again whose values did not move, and " if command is NOX else ""
        return [
            f"{case}: the file has the portable class {written.numeric_class} and the kernels now have class "
            f"{numerics.numeric_class}; {renewal}{command(case, EXAMPLE)} writes it where they did"
        ]
    if written.numerics != "portable" and written.numeric_class == numerics.numeric_class:
        return [f"{case}: {ENVIRONMENTS} lists the class {written.numeric_class} as {written.numerics}; it is portable"]
    return []


def compare_values(
    case: str, expected: Mapping[str, Any], got: Mapping[str, Claim], same: bool, result: Comparison
) -> None:
    """Compare values by name; add the differences and the number of values at each tier to `result`.

    Args:
        case: name of the case.
        expected: the claims of the golden file.
        got: the claims that were just computed.
        same: whether bitwise values are compared to the bit instead of at their weaker tier.
        result: receives the differences and counts.
    """
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


def _compare_value(
    name: str, expected: Mapping[str, Any], got: Mapping[str, Any], same: bool, result: Comparison
) -> None:
    for trait in TRAITS[1:]:
        if expected[trait] != got[trait]:
            result.differences.append(f"{name} expected {trait} {expected[trait]!r}, got {got[trait]!r}")
            return
    tier = expected["tier"] if same or expected["tier"] != "bitwise" else expected["otherwise"] or NOT_COMPARED
    result.tiers[tier] += int(np.prod(expected["shape"], dtype=int))
    if tier == NOT_COMPARED:
        return
    equal, allowed = all(_is_same(*pair) for pair in _pairs(expected["value"], got["value"])), ""
    if tier not in ("exact", "bitwise"):
        deviation = np.abs(np.asarray(expected["value"], float) - np.asarray(got["value"], float))
        # `<=` is false for a nan on either side, so that a nan is a difference.
        equal = bool((deviation <= expected["tolerance"]).all())
        allowed = f" within {expected['tolerance']:g}"
    if not equal:
        result.differences.append(
            f"{name} {_describe_mismatch(expected['value'], got['value'], f'{allowed} ({tier})')}"
        )


def _pairs(expected: Any, got: Any) -> Iterator[tuple[Any, Any]]:
    """Return pairs of the entries of two lists of equal shape, or of two values."""
    return zip(np.asarray(expected, object).ravel(), np.asarray(got, object).ravel(), strict=True)


def _is_same(one: Any, other: Any) -> bool:
    """Return whether two entries are equal, with the sign of a zero. A nan equals nothing, not even itself."""
    return bool(one == other) and (one != 0 or math.copysign(1, one) == math.copysign(1, other))


def _describe_mismatch(expected: Any, got: Any, comparison: str) -> str:
    """Describe the difference between two values.

    For lists, the text gives the number of unequal entries, the largest difference between numbers and
    the first three unequal entries.
    """
    if not isinstance(expected, list) or not isinstance(got, list):
        return f"expected {expected!r}{comparison}, got {got!r}"
    pairs = list(_pairs(expected, got))
    different = [(place, one, other) for place, (one, other) in enumerate(pairs) if not _is_same(one, other)]
    numeric = all(np.asarray(value).dtype.kind in "biuf" for value in (expected, got))
    numbers = [abs(one - other) for _, one, other in different if numeric]
    largest = f", by up to {max(numbers):.3g}" if numbers else ""
    rows = "; ".join(f"[{place}] expected {one!r}, got {other!r}" for place, one, other in different[:SHOWN])
    return f"differs in {len(different)} of {len(pairs)} entries{largest}{comparison}: {rows}"
