"""The folder of golden files: where each is, its origin in environments.json, checks against edits, and comparison.

A "numeric class" is a hash that identifies the arithmetic of a process; see `claims`.
"""

import datetime
import re
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from in4310repro.golden.claims import (
    NOT_COMPARED,
    Case,
    Cases,
    Claims,
    Comparison,
    Content,
    Words,
    compare_values,
    find_claim_faults,
    odd_keys,
)
from in4310repro.system.files import bytes_sha256, file_sha256, json_bytes, read_json
from in4310repro.system.numerics import Numerics

# Placeholder reasons in hints; `update` refuses them.
EXAMPLE, EXAMPLE_OF_CLASSES = "why it moved", "why the class changed"


class Command(NamedTuple):
    """A command line that writes golden files."""

    program: str  # the command up to the name of a case
    reason: str  # the option for the reason
    separator: str = " "

    def __call__(self, case: str, reason: str = EXAMPLE) -> str:
        """Return the command line that writes the golden file of `case` and records `reason` in the file."""
        return f'{self.program}{self.separator}{case} {self.reason} "{reason}"'


NOX = Command(program="nox -s golden", separator=" -- ", reason="--reason")
PYTEST = Command(program="pytest --golden-update", reason="--golden-reason")
ENVIRONMENTS = "environments.json"
LIBRARIES = ("torch", "torchvision", "numpy", "pillow", "scikit-learn")
# Keys at the head of the file: the origin of the list.
HEAD = ("reason", "created", "commit", "command")
PLACE = ("versions", "numeric_class", "device_name")  # where values were computed
PROVENANCE = ("case", "function", *HEAD, *PLACE, "values")  # all keys of a golden file


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Numeric class, libraries and device of a process, and the golden files that it wrote."""

    numeric_class: str
    numerics: str  # portable or native
    device_name: str
    versions: Words
    files: Words  # name below the golden folder -> sha256

    def computes(self, numerics: Numerics, versions: Words) -> bool:
        """Return whether it has a numeric class and, in native arithmetic, equal versions of what affects results."""
        same = numerics.portable or all(self.versions.get(name) == versions.get(name) for name in LIBRARIES)
        return same and self.numeric_class == numerics.numeric_class


@dataclass(frozen=True, kw_only=True)
class Environments:
    """List of the environments in which golden files were written, and the origin of this list."""

    provenance: Words  # HEAD
    environments: tuple[Environment, ...]
    command: Command = NOX  # which writes golden files, for the hints

    def written_in(self, golden: Content) -> Environment | None:
        """Return the environment in which a golden file was written; None if this environment is not listed."""
        place = [golden[name] for name in PLACE]
        return next((each for each in self.environments if [getattr(each, name) for name in PLACE] == place), None)

    def listing(self, name: str) -> Environment | None:
        """Return the environment whose list of golden files contains `name`; None if there is none."""
        return next((each for each in self.environments if name in each.files), None)

    def has(self, numerics: Numerics, versions: Words) -> bool:
        """Return whether an environment of the list computes the bits of this arithmetic (`computes`)."""
        return any(each.computes(numerics, versions) for each in self.environments)

    def without(self, name: str) -> tuple[Environment, ...]:
        """Return the environments after removing the golden file `name` from their lists of files.

        Environments whose lists are then empty are left out.
        """
        lists = [(each, {n: sha256 for n, sha256 in each.files.items() if n != name}) for each in self.environments]
        return tuple(replace(each, files=files) for each, files in lists if files)

    def to_bytes(self) -> bytes:
        """Return the content of environments.json, including a sha256 of all its other entries."""
        content = dict(self.provenance) | {"environments": [asdict(each) for each in self.environments]}
        return json_bytes(content | {"sha256": _hash(content)})


def read_environments(folder: Path, command: Command = NOX) -> Environments:
    """Read environments.json from a folder of golden files.

    Raises:
        ValueError: the list is missing, is damaged, or was edited by hand.
    """
    file = folder / ENVIRONMENTS
    content = read(folder, file.stem)
    if lost := [name for name in (*HEAD, "environments", "sha256") if name not in content]:
        raise ValueError(f"{file} lacks {', '.join(lost)}; write it by {command.program}")
    if content.pop("sha256") != _hash(content):
        raise ValueError(f"{file} was edited by hand: its sha256 differs; only {command.program} may write it")
    try:
        listed = TypeAdapter(tuple[Environment, ...]).validate_python(content["environments"])
    except ValidationError as error:
        place = "/".join(map(str, error.errors()[0]["loc"]))
        raise ValueError(f"{file} is not a list of environments: {place}: {error.errors()[0]['msg']}") from None
    return Environments(provenance={name: content[name] for name in HEAD}, environments=listed, command=command)


def _hash(content: Content) -> str:
    return bytes_sha256(json_bytes(content))


def read(folder: Path, case: str) -> dict[str, Any]:
    """Return the content of a case's golden file.

    Raises:
        ValueError: the file is missing or damaged.
    """
    content = read_json(file := folder / f"{case}.json")
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds a {type(content).__name__}; expected an object")
    return content


def list_files(folder: Path) -> list[str]:
    """Return the paths of all golden files below the folder, including those of GPUs."""
    found = (file for file in folder.rglob("*") if file.is_file() and file != folder / ENVIRONMENTS)
    return sorted(file.relative_to(folder).as_posix() for file in found)


def find_orphans(folder: Path, cases: Cases) -> list[str]:
    """Return the names of the golden files, for CPU and GPUs, that belong to none of the `cases`."""
    paths = map(Path, list_files(folder))
    return sorted(path.name for path in paths if path.stem not in cases or path.suffix != ".json")


def device_folder(folder: Path, device_name: str) -> Path:
    """Return the folder of a device's golden files: the folder itself for the CPU, a subfolder for a GPU."""
    return folder if device_name == "cpu" else folder / "cards" / re.sub(r"\W+", "-", device_name)


def find_faults(folder: Path, cases: Cases, card_cases: Cases) -> list[str]:
    """List the faults of all golden files in a folder, as messages, without running a case.

    Args:
        folder: the folder of golden files.
        cases: the cases that are computed on the CPU.
        card_cases: the cases that are computed on a GPU.
    """
    try:
        environments = read_environments(folder)
    except ValueError as error:
        return [str(error)]
    there, listed = list_files(folder), Counter(name for each in environments.environments for name in each.files)
    found = [f"{ENVIRONMENTS} lists {name}, which does not exist" for name in sorted({*listed} - {*there})]
    found += [f"{ENVIRONMENTS} lists {name} twice" for name in sorted(listed) if listed[name] > 1]
    for name in there:
        found += find_file_faults(folder, name, card_cases if name.startswith("cards/") else cases, environments)
    return found


def find_file_faults(folder: Path, name: str, cases: Cases, environments: Environments) -> list[str]:
    """List the faults of one golden file, as messages, without running its case.

    Args:
        folder: the folder of golden files.
        name: path of the file below the folder.
        cases: the cases that may have written the file, by name.
        environments: the environments that the folder's environments.json lists.
    """
    case = Path(name).stem
    if case not in cases or not name.endswith(".json"):
        return [f"{name} belongs to no case; remove it"]
    again = f"only {environments.command(case)} may write it"
    listing = environments.listing(name)
    if listing is None:
        return [f"{name} is in no environment of {ENVIRONMENTS}; {again}"]
    changed = listing.files[name] != file_sha256(folder / name)
    found = [f"{name} was changed after it was written; {again}"] * changed
    try:
        golden = read((folder / name).parent, case)
    except ValueError as error:
        return [*found, str(error)]
    found += find_key_faults(case, golden) or _find_provenance_faults(name, golden, cases[case], environments.command)
    if not set(PROVENANCE) - set(golden) and listing != environments.written_in(golden):
        found.append(f"{name} names another environment than {ENVIRONMENTS} lists it in; {again}")
    return found


def find_key_faults(case: str, golden: Content) -> list[str]:
    """Return a message for each missing or unknown key of a golden file.

    If all keys are right, return a message on a wrong case name or on missing values.
    """
    if faults := odd_keys(f"{case}: the file", golden, PROVENANCE):
        return faults
    if golden["case"] != case:
        return [f"{case}: the file is of case {golden['case']!r}"]
    whole = isinstance(golden["values"], dict) and golden["values"]
    return [] if whole else [f"{case}: expected values to be an object with a claim for each name"]


def _find_provenance_faults(name: str, golden: Content, case: Case, command: Command) -> list[str]:
    """Return a message for each faulty entry of a golden file that has all its keys.

    An entry on the origin of the file, such as its date, is faulty if the writing command would never write
    it. The entry of a value is faulty if `find_claim_faults` finds errors in it: wrong keys, a tier that
    does not fit the tolerance or reason, or a type or shape that is not that of the value.
    """
    device, reason = golden["device_name"], str(golden["reason"])
    by_name = rf"{golden['case']}{'' if device == 'cpu' else r' --device cuda(:[0-9]+)?'}"
    commands = command(f"({by_name}|environments)", re.escape(reason))
    expected = {
        "function": str(golden["function"]).rpartition(".")[2] == case.__name__,
        "reason": len(reason.split()) >= 2,
        "created": is_moment(golden["created"]),
        "commit": re.fullmatch("[0-9a-f]{40}", str(golden["commit"])),
        "command": re.fullmatch(commands, str(golden["command"])),
        "device_name": device_folder(Path(), str(device)) == Path(name).parent,
    }
    impossible = f"cannot have been written by {command.program}"
    faults = [f"{name}: {key} {golden[key]!r} {impossible}" for key, matches in expected.items() if not matches]
    for key, entry in golden["values"].items():
        faults += find_claim_faults(f"{name}: {key}", entry)
    return faults


def is_moment(text: Any) -> bool:
    """Return whether a text is an ISO date and time with a time zone."""
    try:
        return datetime.datetime.fromisoformat(text).tzinfo is not None
    except (TypeError, ValueError):
        return False


def compare(
    case: str, golden: Content, got: Claims, numerics: Numerics, versions: Words, environments: Environments
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

    Returns:
        One sentence for each difference, and the number of values compared at each tier.

    Examples:
        >>> from in4310repro.golden import Claim
        >>> from in4310repro.golden.folder import LIBRARIES, PROVENANCE, Environment
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
    if faults := find_key_faults(case, golden):
        return Comparison(faults)
    if (written := environments.written_in(golden)) is None:
        place = f"numeric_class {golden['numeric_class']!r}, device_name {golden['device_name']!r} and versions match"
        again = f"{environments.command(case)} writes it"
        return Comparison([f"{case}: the file's {place} no environment in {ENVIRONMENTS}; {again}"])
    same = written.numerics == "portable" if numerics.portable else written.computes(numerics, versions)
    result = compare_values(case, golden["values"], got, same)
    result.differences[:0] = stale_faults(case, golden, numerics, environments)
    lost = result.tiers[NOT_COMPARED]
    if lost and (numerics.portable or environments.has(numerics, versions)):
        where = "in portable arithmetic" if numerics.portable else f"in an environment that {ENVIRONMENTS} lists"
        result.differences.append(
            f"{case}: {lost} bitwise values are not compared, {where} (numeric class {numerics.numeric_class})"
        )
    return result


def stale_faults(case: str, golden: Content, numerics: Numerics, environments: Environments) -> list[str]:
    """Return a list with a message if a golden file's numeric class is outdated or wrongly listed as native.

    Otherwise the list is empty. In native arithmetic nothing is checked.
    """
    written = environments.written_in(golden)
    if not numerics.portable or written is None:
        return []
    portable = written.numerics == "portable"
    if portable == (written.numeric_class == numerics.numeric_class):
        return []
    if not portable:
        return [f"{case}: {ENVIRONMENTS} lists the class {written.numeric_class} as {written.numerics}; it is portable"]
    command, renewal = environments.command, ""
    if command is NOX:
        all_at_once = command("environments", EXAMPLE_OF_CLASSES)
        renewal = f"{all_at_once} writes all files again whose values did not move, and "
    return [
        f"{case}: the file has the portable class {written.numeric_class} and the kernels now have class "
        f"{numerics.numeric_class}; {renewal}{command(case)} writes it where they did"
    ]
