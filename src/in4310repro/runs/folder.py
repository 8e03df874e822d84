"""The run folder as its writer sees it: every file has its sha256 in the manifest.

A changed byte is then found without knowing what the file means.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from in4310repro.files import file_sha256, json_bytes, read_json, write_file
from in4310repro.locks import lock
from in4310repro.runs.names import CONFIG, MANIFEST
from in4310repro.tensors import read_tensors, tensor_bytes


@dataclass(frozen=True)
class RunFolder:
    """A folder of results and the manifest with the sha256 of each."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> RunFolder:
        """An empty run folder; a run that is already there moves aside, to the first free `FOLDER.N`.

        Raises:
            ValueError: the folder holds files that are no run, or another process trains in it.
        """
        lock(folder)
        if folder.exists() and any(folder.iterdir()):
            if not any((folder / name).is_file() for name in (MANIFEST, CONFIG)):
                raise ValueError(f"{folder} holds files that are no run; --out takes a new folder or that of a run")
            numbers = (n for n in range(1, 10_000) if not folder.with_name(f"{folder.name}.{n}").exists())
            folder.rename(folder.with_name(f"{folder.name}.{next(numbers)}"))
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder)

    @classmethod
    def reopen(cls, folder: Path) -> RunFolder:
        """A run folder to resume in; what a killed writer left unfinished is removed.

        Raises:
            ValueError: another process trains in it, or it is no run.
        """
        lock(folder)
        for unfinished in folder.rglob(".*.part"):
            unfinished.unlink()
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> RunFolder:
        """A run folder that training wrote.

        Raises:
            ValueError: the folder is not there, or holds no configuration.
        """
        if not (folder / CONFIG).is_file():
            raise ValueError(f"{folder} is no run folder: it has no {CONFIG}; `in4310repro train` writes one")
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
        self.write_bytes(name, tensor_bytes(tensors))

    def write_arrays(self, name: str, **arrays: NDArray[Any]) -> None:
        """Writes an npz file; equal arrays make equal bytes."""
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        self.write_bytes(name, buffer.getvalue())

    def read_json(self, name: str) -> Any:
        """The value in a JSON file of the run."""
        return read_json(self.folder / name)

    def read_tensors(self, name: str) -> dict[str, torch.Tensor]:
        """The tensors in a safetensors file of the run."""
        return read_tensors(self.folder / name)

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
        manifest = read_json(path) if path.exists() else {}
        if not isinstance(manifest, dict):
            raise ValueError(f"{path} is damaged: it holds {type(manifest).__name__} and not an object")
        return manifest
