"""The folder of golden files: the location of each file, and checks that no file was edited by hand."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from in4310repro.golden.claims import Case, find_claim_faults
from in4310repro.golden.commands import EXAMPLE, NOX, Command
from in4310repro.golden.environments import ENVIRONMENTS, Environments, read_environments
from in4310repro.system.files import file_sha256, read_json

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


def read(folder: Path, case: str) -> dict[str, Any]:
    """Return the content of a case's golden file.

    Raises:
        ValueError: the file is missing or damaged.
    """
    golden = read_json(folder / f"{case}.json")
    if not isinstance(golden, dict):
        raise ValueError(f"{folder / case}.json holds {type(golden).__name__}; expected an object")
    return golden


def list_files(folder: Path) -> list[str]:
    """Return the paths of all golden files below the folder, including those of GPUs."""
    found = (file for file in folder.rglob("*") if file.is_file() and file != folder / ENVIRONMENTS)
    return sorted(file.relative_to(folder).as_posix() for file in found)


def find_orphans(folder: Path, cases: Mapping[str, Case]) -> list[str]:
    """Return the names of the golden files that no case computes, including those of GPUs."""
    paths = map(Path, list_files(folder))
    return sorted(path.name for path in paths if path.stem not in cases or path.suffix != ".json")


def device_folder(folder: Path, device_name: str) -> Path:
    """Return the folder of a device's golden files: the folder itself for the CPU, a subfolder for a GPU."""
    return folder if device_name == "cpu" else folder / "cards" / re.sub(r"\W+", "-", device_name)


def find_faults(folder: Path, cases: Mapping[str, Case], card_cases: Mapping[str, Case]) -> list[str]:
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
    there = list_files(folder)
    listed = [name for each in environments.environments for name in each.files]
    found = [f"{ENVIRONMENTS} lists {name}, which does not exist" for name in sorted(set(listed) - set(there))]
    found += [f"{ENVIRONMENTS} lists {name} twice" for name in sorted(set(listed)) if listed.count(name) > 1]
    for name in there:
        known = card_cases if name.startswith("cards/") else cases
        found += find_file_faults(folder, name, known, environments)
    return found


def find_file_faults(
    folder: Path, name: str, cases: Mapping[str, Case], environments: Environments, command: Command = NOX
) -> list[str]:
    """List the faults of one golden file, as messages, without running its case.

    Args:
        folder: the folder of golden files.
        name: path of the file below the folder.
        cases: the cases that may have written it.
        environments: the list of the same folder.
        command: the command that writes golden files.
    """
    case = Path(name).stem
    if case not in cases or name != f"{Path(name).parent / case}.json":
        return [f"{name} belongs to no case; remove it"]
    again = f"only {command(case, EXAMPLE)} may write it"
    listing = environments.listing(name)
    if listing is None:
        return [f"{name} is in no environment of {ENVIRONMENTS}; {again}"]
    found = []
    if listing.files[name] != file_sha256(folder / name):
        found.append(f"{name} was changed after it was written; {again}")
    try:
        golden = read((folder / name).parent, case)
    except ValueError as error:
        return [*found, str(error)]
    found += find_key_faults(case, golden) or _find_provenance_faults(name, golden, cases[case], command)
    if not set(PROVENANCE) - set(golden) and listing != environments.written_in(golden):
        found.append(f"{name} names another environment than {ENVIRONMENTS} lists it in; {again}")
    return found


def find_key_faults(case: str, golden: Mapping[str, Any]) -> list[str]:
    """List the missing and unknown keys of a golden file, a wrong case name, and a lack of values, as messages."""
    found = [f"{case}: the file lacks {key}" for key in PROVENANCE if key not in golden]
    found += [f"{case}: the file has the unknown key {key!r}" for key in golden if key not in PROVENANCE]
    if found:
        return found
    if golden["case"] != case:
        return [f"{case}: the file is of case {golden['case']!r}"]
    if not isinstance(golden["values"], dict) or not golden["values"]:
        return [f"{case}: expected values to be an object with a claim for each name"]
    return []


def _find_provenance_faults(name: str, golden: Mapping[str, Any], case: Case, command: Command) -> list[str]:
    """List the entries on a file's origin that no command could have written, and the faults of its claims."""
    device, reason = golden["device_name"], str(golden["reason"])
    by_name = rf"{golden['case']}{'' if device == 'cpu' else r' --device cuda(:[0-9]+)?'}"
    written, quoted = str(golden["command"]), re.escape(reason)
    commands = command(f"({by_name}|environments)", quoted)
    expected = {
        "function": str(golden["function"]).rpartition(".")[2] == case.__name__,
        "reason": len(reason.split()) >= 2,
        "created": is_moment(golden["created"]),
        "commit": re.fullmatch("[0-9a-f]{40}", str(golden["commit"])),
        "command": re.fullmatch(commands, written),
        "device_name": device_folder(Path(), str(device)).as_posix() == Path(name).parent.as_posix(),
    }
    wrong = [
        f"{name}: {key} {golden[key]!r} cannot have been written by {command.program}"
        for key, matches in expected.items()
        if not matches
    ]
    for key, entry in golden["values"].items():
        wrong += find_claim_faults(f"{name}: {key}", entry)
    return wrong


def is_moment(text: Any) -> bool:
    """Return whether a text is an ISO date and time with a time zone."""
    try:
        return datetime.datetime.fromisoformat(text).tzinfo is not None
    except (TypeError, ValueError):
        return False
