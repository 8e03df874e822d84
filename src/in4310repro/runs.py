"""The run folder: the only reader and writer of result files.

Files are written whole or not at all: to a temporary file beside the target, synced, then renamed. The manifest
holds the sha256 of each file, so one changed byte is found without knowing what the file means.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import uuid
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray

MANIFEST = "manifest.json"


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Creates or replaces a file in one step, through a temporary file that other processes do not share."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_file(path: Path, data: bytes) -> Path:
    """Creates or replaces a file with these bytes in one step; returns its path."""
    write_whole(path, lambda file: file.write(data))
    return path


def file_sha256(path: Path) -> str:
    """Lower-case hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensors_sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """sha256 over names, dtypes, shapes and bytes, in order of the names; layout and device do not enter."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def notes_of(data: bytes) -> dict[str, str]:
    """The metadata of a safetensors file, whose header is JSON after 8 bytes of length."""
    length = int.from_bytes(data[:8], "little")
    notes: dict[str, str] = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    return notes


def refuse_other_config(recorded: Mapping[str, Any], wanted: Mapping[str, Any], what: str) -> None:
    """Raises a ValueError that lists every value in which two configurations differ."""
    # Through JSON, where tuples are lists.
    now = json.loads(json.dumps(wanted))
    apart = [
        f"{name} {now.get(name)!r} (recorded: {recorded.get(name)!r})"
        for name in sorted({*recorded, *now})
        if recorded.get(name) != now.get(name)
    ]
    if apart:
        raise ValueError(f"{what} belongs to another configuration: {'; '.join(apart)}")


def json_bytes(value: Any) -> bytes:
    """Readable JSON whose floats read back as they were; nan and infinity are refused."""
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def read_json_file(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        ValueError: the file is not there or holds no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{path} is not there") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from None


def read_tensor_file(path: Path) -> dict[str, torch.Tensor]:
    """The tensors in a safetensors file.

    Raises:
        ValueError: the file is not there or is damaged.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not there")
    try:
        tensors: dict[str, torch.Tensor] = safetensors.torch.load(path.read_bytes())
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from None
    return tensors


@dataclass(frozen=True)
class Run:
    """A folder of results and the manifest that seals them."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Run:
        """An empty run folder; a run that is already there moves aside, to the first free `FOLDER.N`.

        Raises:
            ValueError: the folder holds files that are no run, or another process trains in it.
        """
        lock(folder)
        if folder.exists() and any(folder.iterdir()):
            if not any((folder / name).is_file() for name in (MANIFEST, "config.json")):
                raise ValueError(f"{folder} holds files that are no run; --out takes a new folder or that of a run")
            numbers = (n for n in range(1, 10_000) if not folder.with_name(f"{folder.name}.{n}").exists())
            folder.rename(folder.with_name(f"{folder.name}.{next(numbers)}"))
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder)

    @classmethod
    def reopen(cls, folder: Path) -> Run:
        """A run folder to go on in; what a killed writer left half-written is removed.

        Raises:
            ValueError: another process trains in it, or it is no run.
        """
        lock(folder)
        for left in folder.rglob(".*.part"):
            left.unlink()
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Run:
        """A run folder that training wrote.

        Raises:
            ValueError: the folder is not there, or holds no configuration.
        """
        if not (folder / "config.json").is_file():
            raise ValueError(f"{folder} is no run folder: it has no config.json; `in4310repro train` writes one")
        return cls(folder)

    def write_bytes(self, name: str, data: bytes) -> None:
        """Writes a file and its manifest entry."""
        write_file(self.folder / name, data)
        manifest = self.manifest() | {name: hashlib.sha256(data).hexdigest()}
        write_file(self.folder / MANIFEST, json_bytes(dict(sorted(manifest.items()))))

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file."""
        self.write_bytes(name, json_bytes(value))

    def write_tensors(self, name: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """Writes a safetensors file."""
        stored = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        self.write_bytes(name, safetensors.torch.save(stored))

    def write_arrays(self, name: str, **arrays: NDArray[Any]) -> None:
        """Writes an npz file; equal arrays make equal bytes."""
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        self.write_bytes(name, buffer.getvalue())

    def read_json(self, name: str) -> Any:
        """The value in a JSON file of the run."""
        return read_json_file(self.folder / name)

    def read_tensors(self, name: str) -> dict[str, torch.Tensor]:
        """The tensors in a safetensors file of the run."""
        return read_tensor_file(self.folder / name)

    def read_arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """The arrays in an npz file of the run.

        Raises:
            ValueError: the file is not there or is damaged.
        """
        try:
            with np.load(self.folder / name, allow_pickle=False) as file:
                return dict(file)
        except FileNotFoundError:
            raise ValueError(f"{self.folder / name} is not there") from None
        except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError) as error:
            raise ValueError(f"{self.folder / name} is damaged: {error}") from None

    def changed_files(self) -> list[str]:
        """Names of files that are missing or have other bytes than were written; the manifest's own without one."""
        if not (self.folder / MANIFEST).is_file():
            return [MANIFEST]
        return [
            name
            for name, sha256 in self.manifest().items()
            if not (self.folder / name).is_file() or file_sha256(self.folder / name) != sha256
        ]

    def manifest(self) -> dict[str, str]:
        """The sha256 of each file that the run wrote, by name."""
        path = self.folder / MANIFEST
        manifest = read_json_file(path) if path.exists() else {}
        if not isinstance(manifest, dict):
            raise ValueError(f"{path} is damaged: it holds {type(manifest).__name__} and not an object")
        return manifest


_LOCKS: dict[Path, IO[str]] = {}


def lock(place: Path) -> None:
    """Holds a folder or a file for this process until it ends; the system lets go even of a killed one.

    Raises:
        ValueError: another process holds it.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    path = place.with_name(f".{place.name}.lock").absolute()
    if path in _LOCKS:
        return
    file = path.open("w")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise ValueError(f"another process works on {place}; wait for it, or give another --out") from None
    _LOCKS[path] = file
