"""environments.json: in which arithmetic, with which libraries and on which device each golden file was written."""

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
# What stands in the head of the file: from where the list comes.
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
    """Every environment in which a golden file was written, and from where the list comes."""

    provenance: Mapping[str, str]  # HEAD
    environments: tuple[Environment, ...]

    def written_in(self, golden: Mapping[str, Any]) -> Environment | None:
        """The environment that a golden file says it was written in; None where it is not in the list."""
        return next((each for each in self.environments if _is_of(each, golden)), None)

    def listing(self, name: str) -> Environment | None:
        """The environment that lists a file."""
        return next((each for each in self.environments if name in each.files), None)

    def has(self, numerics: Numerics, versions: Mapping[str, str]) -> bool:
        """Whether a process runs in a listed environment: portable bits depend on no library, native ones on five."""
        return any(
            each.numeric_class == numerics.numeric_class
            and (numerics.portable or same_libraries(each.versions, versions))
            for each in self.environments
        )

    def without(self, name: str) -> tuple[Environment, ...]:
        """The environments, without a file; one that then has none is dropped."""
        lists = [(each, {n: sha256 for n, sha256 in each.files.items() if n != name}) for each in self.environments]
        return tuple(Environment(**(asdict(each) | {"files": files})) for each, files in lists if files)

    def to_bytes(self) -> bytes:
        """The file, with a sha256 of all that stands in it."""
        content = dict(self.provenance) | {"environments": [asdict(each) for each in self.environments]}
        return json_bytes(content | {"sha256": _sha256(content)})


def same_libraries(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether the libraries that change bits have equal versions."""
    return all(one.get(library) == other.get(library) for library in LIBRARIES)


def _is_of(environment: Environment, golden: Mapping[str, Any]) -> bool:
    return all(getattr(environment, name) == golden[name] for name in ("numeric_class", "versions", "device_name"))


def read_environments(folder: Path, command: Command = NOX) -> Environments:
    """The list of a folder of golden files, which a command writes.

    Raises:
        ValueError: there is none, it is damaged, or it was edited by hand.
    """
    file = folder / ENVIRONMENTS
    content = read_json(file)
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds a {type(content).__name__}; an object is valid")
    lost = [name for name in (*HEAD, "environments", "sha256") if name not in content]
    if lost:
        raise ValueError(f"{file} lacks {', '.join(lost)}; {command.program} writes it")
    if content.pop("sha256") != _sha256(content):
        what = "was edited by hand, its sha256 is of another content"
        raise ValueError(f"{file} {what}; {command.program} alone writes it")
    try:
        listed = TypeAdapter(tuple[Environment, ...]).validate_python(content["environments"])
    except ValidationError as error:
        place = "/".join(map(str, error.errors()[0]["loc"]))
        raise ValueError(f"{file} is no list of environments: {place}: {error.errors()[0]['msg']}") from None
    return Environments(provenance={name: content[name] for name in HEAD}, environments=listed)


def _sha256(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json_bytes(content)).hexdigest()
