"""Golden files: what a result was, at which tier it is compared, and guarded updates.

A golden says "unchanged"; that it was right in the first place is for the oracles to say.
"""

from __future__ import annotations

import datetime
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from in4310repro.files import json_bytes, read_json, write_file
from in4310repro.fingerprint import fingerprint
from in4310repro.numerics import Numerics

TIERS = ("exact", "bitwise", "numerical", "statistical")
NOT_COMPARED = "not compared"
SHOWN = 3  # entries of a list that a failure shows
LIBRARIES = ("torch", "torchvision", "numpy", "pillow", "scikit-learn")
PROVENANCE = (
    "case",
    "function",
    "reason",
    "created",
    "commit",
    "command",
    "versions",
    "numeric_class",
    "device_name",
    "values",
)


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


@dataclass
class Comparison:
    """What differs, in sentences, and how many values were compared at which tier."""

    differences: list[str] = field(default_factory=list)
    tiers: Counter[str] = field(default_factory=Counter)


def compare(
    case: str, golden: Mapping[str, Any], got: Mapping[str, Claim], numerics: Numerics, versions: Mapping[str, str]
) -> Comparison:
    """Compares the values of a case with its golden file; every key of either side is accounted for.

    Args:
        case: its name, which the file repeats.
        golden: the content of the file.
        got: the values that were just computed, by name.
        numerics: the arithmetic of this process; in another numeric class than the file's, bitwise values are compared
            at their weaker tier or not at all.
        versions: of the libraries of this process, likewise.

    Returns:
        A sentence for each difference, and how many values were compared at which tier.

    Examples:
        >>> from in4310repro.numerics import Numerics
        >>> here = Numerics(mode="portable", numeric_class="a", probe={}, threads=2, device="cpu")
        >>> versions = dict.fromkeys(LIBRARIES, "1.0")
        >>> content = dict.fromkeys(PROVENANCE, "") | {"case": "count", "numeric_class": "a", "versions": versions}
        >>> content["values"] = {"images": Claim(value=7).to_json()}
        >>> compare("count", content, {"images": Claim(value=7)}, here, versions)
        Comparison(differences=[], tiers=Counter({'exact': 1}))
        >>> compare("count", content, {"images": Claim(value=8)}, here, versions).differences
        ['count: images expected 7 (exact), got 8']
    """
    result = Comparison()
    lost = [key for key in PROVENANCE if key not in golden]
    if lost or golden["case"] != case:
        result.differences.append(f"{case}: the file lacks {lost} or belongs to case {golden.get('case')!r}")
        return result
    # Portable bits depend on no library.
    same = golden["numeric_class"] == numerics.numeric_class and (
        numerics.portable or all(golden["versions"].get(library) == versions[library] for library in LIBRARIES)
    )
    for key in sorted({*golden["values"], *got}):
        if key not in got:
            result.differences.append(f"{case}: {key} is in the golden file and no longer computed")
        elif key not in golden["values"]:
            result.differences.append(f"{case}: {key} is computed and not in the golden file")
        else:
            _compare_value(f"{case}: {key}", golden["values"][key], got[key].to_json(), same, result)
    return result


def _compare_value(
    name: str, expected: Mapping[str, Any], got: Mapping[str, Any], same: bool, result: Comparison
) -> None:
    for trait in ("dtype", "shape", "tier", "otherwise", "tolerance", "reason"):
        if trait not in expected or expected[trait] != got[trait]:
            result.differences.append(f"{name} expected {trait} {expected.get(trait)!r}, got {got[trait]!r}")
            return
    tier = expected["tier"] if same or expected["tier"] != "bitwise" else expected["otherwise"] or NOT_COMPARED
    result.tiers[tier] += int(np.prod(expected["shape"], dtype=int))
    if tier == NOT_COMPARED:
        return
    if tier in ("exact", "bitwise"):
        equal = expected["value"] == got["value"]
        allowed = ""
    else:
        deviation = np.abs(np.asarray(expected["value"], float) - np.asarray(got["value"], float))
        # Written so that a nan on either side is a difference.
        equal = bool((deviation <= expected["tolerance"]).all())
        allowed = f" within {expected['tolerance']:g}"
    if not equal:
        result.differences.append(f"{name} {_mismatch(expected['value'], got['value'], f'{allowed} ({tier})')}")


def _mismatch(expected: Any, got: Any, comparison: str) -> str:
    """One value as it is; of a list the number of entries that differ, the largest difference and the first of them."""
    if not isinstance(expected, list) or not isinstance(got, list):
        return f"expected {expected!r}{comparison}, got {got!r}"
    pairs = list(zip(np.asarray(expected, object).ravel(), np.asarray(got, object).ravel(), strict=True))
    # A nan, which equals nothing, counts as an entry that differs.
    different = [(place, one, other) for place, (one, other) in enumerate(pairs) if one != other]
    numbers = [abs(one - other) for _, one, other in different if not isinstance(one, str)]
    largest = f", by up to {max(numbers):.3g}" if numbers else ""
    rows = "; ".join(f"[{place}] expected {one!r}, got {other!r}" for place, one, other in different[:SHOWN])
    return f"differs in {len(different)} of {len(pairs)} entries{largest}{comparison}: {rows}"


def read(folder: Path, case: str) -> dict[str, Any]:
    """The golden file of a case.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    golden = read_json(folder / f"{case}.json")
    if not isinstance(golden, dict):
        raise ValueError(f"{folder / case}.json holds {type(golden).__name__}; an object is valid")
    return golden


def orphans(folder: Path, cases: Mapping[str, Case]) -> list[str]:
    """Golden files that no case computes, those of cards included."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return sorted(file.name for file in files if file.stem not in cases or file.suffix != ".json")


def of_device(folder: Path, device_name: str) -> Path:
    """Where the golden files of a device are: those of a card are in a folder with its name."""
    return folder if device_name == "cpu" else folder / "cards" / re.sub(r"\W+", "-", device_name)


def update(
    folder: Path,
    case: str,
    cases: Mapping[str, Case],
    reason: str,
    numerics: Numerics,
    environment: Mapping[str, str],
) -> Path:
    """Computes one case and writes its golden file, that of a card into the card's folder.

    Raises:
        ValueError: no reason, an unknown case, in CI, or on a tree with changes outside the golden folder.
    """
    if len(reason.split()) < 2:
        raise ValueError(f"reason {reason!r}; a golden moves for a reason: --reason with at least two words")
    if environment.get("CI", "").lower() not in ("", "0", "false"):
        raise ValueError("golden files are never written in CI; run this on your machine and commit the change")
    if case not in cases:
        raise ValueError(f"no case {case!r}; valid are {', '.join(sorted(cases))}, one at a time")
    folder.mkdir(exist_ok=True)
    commit = clean_commit(folder)
    device = "" if numerics.device == "cpu" else f" --device {numerics.device}"
    content = {
        "case": case,
        "function": f"{cases[case].__module__}.{cases[case].__name__}",
        "reason": reason,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "command": f'nox -s golden -- {case}{device} --reason "{reason}"',
        "versions": fingerprint(numerics)["versions"],
        "numeric_class": numerics.numeric_class,
        "device_name": numerics.device_name,
        "values": {key: claim.to_json() for key, claim in cases[case]().items()},
    }
    file = of_device(folder, numerics.device_name) / f"{case}.json"
    return write_file(file, json_bytes(content))


def clean_commit(folder: Path) -> str:
    """The commit that the tree stands at.

    Raises:
        ValueError: the tree has changes outside the golden folder, or is no checkout.
    """

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(f"{folder} is in no git checkout with a commit: {done.stderr.strip()}")
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD")
    changed = git("status", "--porcelain", "--", ":/", ":(exclude).")
    if changed:
        raise ValueError(f"the tree has changes, so no commit made this golden: {changed.splitlines()[0].strip()}")
    return commit
