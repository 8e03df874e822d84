"""environments.json: the arithmetic, libraries and device with which each golden file was written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from in4310repro.files import json_bytes, read_json
from in4310repro.golden.commands import NOX, Command
from in4310repro.numerics import Numerics

ENVIRONMENTS = "environments.json"
LIBRARIES = ("torch", "torchvision", "numpy", "pillow", "scikit-learn")
# Keys at the head of the file: the origin of the list.
HEAD = ("reason", "created", "commit", "command")


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A numeric class with its libraries and device, and the golden files that were written there."""

    numeric_class: str
    numerics: str  # portable or native
    device_name: str
    versions: Mapping[str, str]
    files: Mapping[str, str]  # name below the golden folder -> sha256


@dataclass(frozen=True, kw_only=True)
class Environments:
    """All environments in which golden files were written, and the origin of the list."""

    provenance: Mapping[str, str]  # HEAD
    environments: tuple[Environment, ...]

    def written_in(self, golden: Mapping[str, Any]) -> Environment | None:
        """Return the environment that a golden file names as its own; None where it is not listed."""
        return next((each for each in self.environments if _matches(each, golden)), None)

    def listing(self, name: str) -> Environment | None:
        """Return the environment that lists a file; None where no environment does."""
        return next((each for each in self.environments if name in each.files), None)

    def has(self, numerics: Numerics, versions: Mapping[str, str]) -> bool:
        """Return whether the environment of a process is listed; libraries count in native arithmetic only."""
        return any(
            each.numeric_class == numerics.numeric_class
            and (numerics.portable or same_libraries(each.versions, versions))
            for each in self.environments
        )

    def without(self, name: str) -> tuple[Environment, ...]:
        """Return the environments without a file; an environment that loses its last file is dropped."""
        lists = [(each, {n: sha256 for n, sha256 in each.files.items() if n != name}) for each in self.environments]
        return tuple(Environment(**(asdict(each) | {"files": files})) for each, files in lists if files)

    def to_bytes(self) -> bytes:
        """Return the file's content, with a sha256 of everything else in it."""
        content = dict(self.provenance) | {"environments": [asdict(each) for each in self.environments]}
        return json_bytes(content | {"sha256": _hash(content)})


def same_libraries(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Return whether the libraries that affect bits have equal versions."""
    return all(one.get(library) == other.get(library) for library in LIBRARIES)


def _matches(environment: Environment, golden: Mapping[str, Any]) -> bool:
    return all(getattr(environment, name) == golden[name] for name in ("numeric_class", "versions", "device_name"))


def read_environments(folder: Path, command: Command = NOX) -> Environments:
    """Read the list of environments of a folder of golden files.

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
