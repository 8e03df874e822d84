"""The folder of golden files: where each lies, and whether each is as it was written."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from in4310repro.files import file_sha256, read_json
from in4310repro.golden.claims import Case, claim_faults
from in4310repro.golden.commands import EXAMPLE, NOX, Command
from in4310repro.golden.environments import ENVIRONMENTS, Environments, read_environments

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
    """The golden file of a case.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    golden = read_json(folder / f"{case}.json")
    if not isinstance(golden, dict):
        raise ValueError(f"{folder / case}.json holds {type(golden).__name__}; an object is valid")
    return golden


def files(folder: Path) -> list[str]:
    """Names of all golden files below the folder, those of cards included."""
    found = (file for file in folder.rglob("*") if file.is_file() and file != folder / ENVIRONMENTS)
    return sorted(file.relative_to(folder).as_posix() for file in found)


def orphans(folder: Path, cases: Mapping[str, Case]) -> list[str]:
    """Golden files that no case computes, those of cards included."""
    paths = map(Path, files(folder))
    return sorted(path.name for path in paths if path.stem not in cases or path.suffix != ".json")


def of_device(folder: Path, device_name: str) -> Path:
    """Where the golden files of a device are: those of a card are in a folder with its name."""
    return folder if device_name == "cpu" else folder / "cards" / re.sub(r"\W+", "-", device_name)


def faults(folder: Path, cases: Mapping[str, Case], card_cases: Mapping[str, Case]) -> list[str]:
    """What is wrong with any file of the folder by itself, in sentences, without computing a case.

    Args:
        folder: of the golden files.
        cases: that are computed on a processor.
        card_cases: that are computed on a card.
    """
    try:
        environments = read_environments(folder)
    except ValueError as error:
        return [str(error)]
    there = files(folder)
    listed = [name for each in environments.environments for name in each.files]
    found = [f"{ENVIRONMENTS} lists {name}, which is not there" for name in sorted(set(listed) - set(there))]
    found += [f"{ENVIRONMENTS} lists {name} twice" for name in sorted(set(listed)) if listed.count(name) > 1]
    for name in there:
        known = card_cases if name.startswith("cards/") else cases
        found += file_faults(folder, name, known, environments)
    return found


def file_faults(
    folder: Path, name: str, cases: Mapping[str, Case], environments: Environments, command: Command = NOX
) -> list[str]:
    """What is wrong with one golden file by itself, in sentences, without computing its case.

    Args:
        folder: of the golden files.
        name: of the file, below the folder.
        cases: that may have written it.
        environments: the list beside it.
        command: that writes golden files.
    """
    case = Path(name).stem
    if case not in cases or name != f"{Path(name).parent / case}.json":
        return [f"{name} is the golden file of no case; remove it"]
    again = f"{command(case, EXAMPLE)} alone writes it"
    listing = environments.listing(name)
    if listing is None:
        return [f"{name} is in no environment of {ENVIRONMENTS}; {again}"]
    found = []
    if listing.files[name] != file_sha256(folder / name):
        found.append(f"{name} has other bytes than were written; {again}")
    try:
        golden = read((folder / name).parent, case)
    except ValueError as error:
        return [*found, str(error)]
    found += key_faults(case, golden) or _provenance_faults(name, golden, cases[case], command)
    if not set(PROVENANCE) - set(golden) and listing != environments.written_in(golden):
        found.append(f"{name} was written in another environment than the one that {ENVIRONMENTS} lists it in; {again}")
    return found


def key_faults(case: str, golden: Mapping[str, Any]) -> list[str]:
    """Keys of the file that are missing or unknown, another case's name, and values that are no claims."""
    found = [f"{case}: the file lacks its {key}" for key in PROVENANCE if key not in golden]
    found += [f"{case}: the file has {key!r}, which no golden file has" for key in golden if key not in PROVENANCE]
    if found:
        return found
    if golden["case"] != case:
        return [f"{case}: the file is of case {golden['case']!r}"]
    if not isinstance(golden["values"], dict) or not golden["values"]:
        return [f"{case}: values is no object with a claim for each name"]
    return []


def _provenance_faults(name: str, golden: Mapping[str, Any], case: Case, command: Command) -> list[str]:
    """What the origin in a file says otherwise than a file that was written can say, and claims that contradict."""
    device, reason = golden["device_name"], str(golden["reason"])
    by_name = rf"{golden['case']}{'' if device == 'cpu' else r' --device cuda(:[0-9]+)?'}"
    written, quoted = str(golden["command"]), re.escape(reason)
    commands = command(f"({by_name}|environments)", quoted)
    found = {
        "function": str(golden["function"]).rpartition(".")[2] == case.__name__,
        "reason": len(reason.split()) >= 2,
        "created": _is_moment(golden["created"]),
        "commit": re.fullmatch("[0-9a-f]{40}", str(golden["commit"])),
        "command": re.fullmatch(commands, written),
        "device_name": of_device(Path(), str(device)).as_posix() == Path(name).parent.as_posix(),
    }
    wrong = [f"{name}: {key} {golden[key]!r} is not what was written" for key, right in found.items() if not right]
    for key, entry in golden["values"].items():
        wrong += claim_faults(f"{name}: {key}", entry)
    return wrong


def _is_moment(text: Any) -> bool:
    """Whether a text is a moment with its time zone."""
    try:
        return datetime.datetime.fromisoformat(text).tzinfo is not None
    except (TypeError, ValueError):
        return False
