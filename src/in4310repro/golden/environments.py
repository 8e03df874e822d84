"""environments.json: the arithmetic, libraries and device with which each golden file was written.

A "numeric class" is a hash that identifies the arithmetic of a process. In native arithmetic it depends on the results
of a probe computation, the number of threads and the device; in portable arithmetic, on the version and the results of
our kernels. Processes of one class are expected to compute equal bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from in4310repro.golden.commands import NOX, Command
from in4310repro.system.files import json_bytes, read_json
from in4310repro.system.numerics import Numerics

ENVIRONMENTS = "environments.json"
LIBRARIES = ("torch", "torchvision", "numpy", "pillow", "scikit-learn")
# Keys at the head of the file: the origin of the list.
HEAD = ("reason", "created", "commit", "command")


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Numeric class, libraries and device of a process, and the golden files that it wrote."""

    numeric_class: str
    numerics: str  # portable or native
    device_name: str
    versions: Mapping[str, str]
    files: Mapping[str, str]  # name below the golden folder -> sha256


@dataclass(frozen=True, kw_only=True)
class Environments:
    """The environments in which all golden files were written, and the origin of this list."""

    provenance: Mapping[str, str]  # HEAD
    environments: tuple[Environment, ...]

    def written_in(self, golden: Mapping[str, Any]) -> Environment | None:
        """Return the environment that a golden file names; None if it is not listed."""
        return next((each for each in self.environments if _matches(each, golden)), None)

    def listing(self, name: str) -> Environment | None:
        """Return the environment that lists a golden file by name; None if no environment lists it."""
        return next((each for each in self.environments if name in each.files), None)

    def has(self, numerics: Numerics, versions: Mapping[str, str]) -> bool:
        """Return whether a process's numeric class and, in native arithmetic, its library versions are listed."""
        return any(
            each.numeric_class == numerics.numeric_class
            and (numerics.portable or same_libraries(each.versions, versions))
            for each in self.environments
        )

    def without(self, name: str) -> tuple[Environment, ...]:
        """Return all environments after removing a file from their lists; omit any environment without files."""
        lists = [(each, {n: sha256 for n, sha256 in each.files.items() if n != name}) for each in self.environments]
        return tuple(Environment(**(asdict(each) | {"files": files})) for each, files in lists if files)

    def to_bytes(self) -> bytes:
        """Return the content of environments.json, including a sha256 of the rest."""
        content = dict(self.provenance) | {"environments": [asdict(each) for each in self.environments]}
        return json_bytes(content | {"sha256": _hash(content)})


def same_libraries(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Return whether the versions of all libraries that affect results are equal."""
    return all(one.get(library) == other.get(library) for library in LIBRARIES)


def _matches(environment: Environment, golden: Mapping[str, Any]) -> bool:
    return all(getattr(environment, name) == golden[name] for name in ("numeric_class", "versions", "device_name"))


def read_environments(folder: Path, command: Command = NOX) -> Environments:
    """Read environments.json from a folder of golden files.

    Raises:
        ValueError: the list is missing, is damaged, or was edited by hand.
    """
    file = folder / ENVIRONMENTS
    content = read_json(file)
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds a {type(content).__name__}; expected an object")
    lost = [name for name in (*HEAD, "environments", "sha256") if name not in content]
    if lost:
        raise ValueError(f"{file} lacks {', '.join(lost)}; write it by {command.program}")
    if content.pop("sha256") != _hash(content):
        raise ValueError(f"{file} was edited by hand: its sha256 differs; only {command.program} may write it")
    try:
        listed = TypeAdapter(tuple[Environment, ...]).validate_python(content["environments"])
    except ValidationError as error:
        place = "/".join(map(str, error.errors()[0]["loc"]))
        raise ValueError(f"{file} is not a list of environments: {place}: {error.errors()[0]['msg']}") from None
    return Environments(provenance={name: content[name] for name in HEAD}, environments=listed)


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json_bytes(content)).hexdigest()
