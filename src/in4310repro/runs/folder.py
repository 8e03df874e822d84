"""Writing and reading of a run folder, with a manifest that has the sha256 of every written file.

A changed byte is thus found without knowing the file's format. Sizes in the headers of npz files are checked before
memory is allocated.
"""

import contextlib
import difflib
import errno
import io
import itertools
import math
import os
import warnings
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from in4310repro.data.preprocessing import Preprocessing, to_metadata
from in4310repro.runs.config import Config, check_format, from_json
from in4310repro.runs.names import CONFIG, FEATURES, FINGERPRINT, MANIFEST, METRICS, SPLIT, STATUS
from in4310repro.runs.record_types import Manifest, Status
from in4310repro.system import schema, signals, text
from in4310repro.system.files import (
    LARGEST_TEXT,
    bytes_sha256,
    file_sha256,
    is_locked_here,
    json_bytes,
    lock,
    path_below,
    read_bytes,
    read_json,
    refuse_link_out,
    refuse_locked,
    regular_file,
    release,
    write_file,
)

# torch is imported where tensors are used, so that a folder that is not a run is refused before torch is loaded.
if TYPE_CHECKING:
    import torch

DEFAULT = Preprocessing()
NAMED_RUNS = 5
Record = TypeVar("Record")
Arrays = dict[str, NDArray[Any]]
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class RunFolder:
    """A run folder with a manifest of its files' sha256; links that lead out of the folder are refused."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Create an empty run folder. An existing run in its place is first renamed to an unused name `FOLDER.N`.

        Raises:
            ValueError: the folder contains files that are not a run, or another process trains in it.
        """
        lock(folder)
        if place := moves_to(folder):
            folder.rename(place)
        folder.mkdir(exist_ok=True)
        return cls(folder)

    @classmethod
    def reopen(cls, folder: Path) -> Self:
        """Open and lock a run folder to resume training; remove incomplete files of a killed process.

        Raises:
            ValueError: another process trains in the folder, the folder is not a run, or a link in it leads outside.
        """
        lock(folder)
        for place, folders, files in os.walk(folder):
            for name in (*folders, *files):
                refuse_link_out(Path(place) / name, folder)
        for unfinished in folder.rglob(".*.part"):
            unfinished.unlink()
        # The status of the command before.
        (folder / STATUS).unlink(missing_ok=True)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open an existing run folder.

        Raises:
            ValueError: the folder does not exist, or holds no configuration.
        """
        if not (folder / CONFIG).is_file():
            raise ValueError(f"{folder} is not a run folder: it has no {CONFIG}; {other_runs(folder)}")
        return cls(folder)

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a file to the folder, and record its sha256 in the manifest.

        Raises:
            ValueError: a link leads out of the folder, or the manifest is damaged.
        """
        manifest = self.manifest() | {name: bytes_sha256(data)}
        for place, content in ((name, data), (MANIFEST, manifest_bytes(manifest))):
            write_file(path_below(self.folder, place), content)

    def remove(self, *names: str) -> None:
        """Remove files in the given order, after removing their manifest entries; ignore missing files."""
        manifest = {name: sha256 for name, sha256 in self.manifest().items() if name not in names}
        write_file(path_below(self.folder, MANIFEST), manifest_bytes(manifest))
        for name in names:
            path_below(self.folder, name).unlink(missing_ok=True)

    def write_json(self, name: str, value: Any) -> None:
        """Write a value as a JSON file, with its manifest entry."""
        self.write_bytes(name, json_bytes(value))

    def write_weights(
        self, name: str, tensors: Mapping[str, "torch.Tensor"], preprocessing: Preprocessing = DEFAULT
    ) -> None:
        """Write weights and their preprocessing as a safetensors file, with its manifest entry."""
        from in4310repro.system.tensors import tensor_bytes

        self.write_bytes(name, tensor_bytes(tensors, to_metadata(preprocessing)))

    def file(self, name: str) -> Path:
        """Return the path of a file of the run, after checking that it is a regular file in the folder.

        Raises:
            ValueError: the file does not exist, is not a regular file, or a link leads out of the folder.
        """
        return regular_file(self.folder, name)

    def read_json(self, name: str) -> Any:
        """Return the value in a JSON file of the run.

        Raises:
            ValueError: the file is missing, is not a regular file, is not JSON, or a link leads out of the folder.
        """
        return read_json(self.file(name))

    def read_config(self) -> Config:
        """Return the recorded configuration.

        Raises:
            ValueError: the file is missing or damaged, or of a format that this version does not read.
        """
        recorded, file = self.read_json(CONFIG), f"{self.folder / CONFIG}"
        check_format(recorded, file)
        return from_json(recorded, file)

    def read_record(self, name: str, kind: type[Record]) -> Record:
        """Return the value in a JSON file, after checking that it has the type `kind`.

        Raises:
            ValueError: the file is missing or is not JSON, or a key or value is wrong; the message names it.
        """
        record: Record = schema.check(self.read_json(name), kind, f"{self.folder / name}")
        return record

    def read_tensors(self, name: str) -> dict[str, "torch.Tensor"]:
        """Return the tensors in a safetensors file of the run.

        Raises:
            ValueError: the file is missing, is not a regular file, is damaged, or a link leads out of the folder.
        """
        from in4310repro.system.tensors import read_tensors

        return read_tensors(self.file(name))

    def changed_files(self, among: Collection[str] | None = None) -> list[str]:
        """Return the names of files that are missing or differ from the manifest.

        If the manifest itself is missing, the list has only the name of the manifest.

        Args:
            among: names of the files to check; None: all of them.

        Raises:
            ValueError: the manifest is damaged.
        """
        if not (self.folder / MANIFEST).exists():
            return [MANIFEST]
        return [
            name
            for name, sha256 in self.manifest().items()
            if (among is None or name in among) and self._sha256(name) != sha256
        ]

    def _sha256(self, name: str) -> str | None:
        """Return the sha256 of a file; None if the file cannot be read."""
        try:
            return file_sha256(self.file(name))
        except (ValueError, OSError):
            return None

    def manifest(self) -> Manifest:
        """Return the sha256 of each file of the run, by name; empty if there is no manifest.

        Raises:
            ValueError: the manifest is damaged.
        """
        return self.read_record(MANIFEST, Manifest) if (self.folder / MANIFEST).exists() else {}

    def manifest_sha256(self) -> str:
        """Return a hash of the whole run: the sha256 of its manifest, without the entry of the feature maps.

        Feature maps may be measured again after the training.

        Raises:
            ValueError: the manifest is damaged.
        """
        manifest = self.manifest()
        manifest.pop(FEATURES, None)
        return bytes_sha256(manifest_bytes(manifest))


def finished_files(folder: Path) -> RunFolder:
    """Return the files of a finished run, without checking their content.

    Raises:
        ValueError: the folder is not a run, or the run is not finished.
    """
    files = RunFolder.open(folder)
    if not (folder / METRICS).exists():
        raise ValueError(f"{folder} holds no finished run: it has no {METRICS}{describe_status(files)}")
    return files


@contextlib.contextmanager
def written(folder: Path) -> Iterator[bool]:
    """Lock an existing run for a `with` block that writes into it; yield False if it cannot be locked for writing.

    Reading needs no lock file where nobody can write: a run on a read-only disk is read as by `unchanged`.

    Raises:
        ValueError: another process works on the run, or the folder is not a run.
    """
    RunFolder.open(folder)
    if is_locked_here(folder):
        yield True
        return
    try:
        lock(folder, "")
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        with unchanged(folder):
            yield False
        return
    try:
        yield True
    finally:
        release(folder)


@contextlib.contextmanager
def unchanged(*folders: Path) -> Iterator[None]:
    """Refuse runs that another process works on, or has changed by the end of the `with` block.

    What is computed from files of two states of a run looks like damage. Readers do not lock each other out.

    Raises:
        ValueError: another process works on a run, or has changed it.
    """
    before, failure = {folder: _state(folder) for folder in folders if not is_locked_here(folder)}, None
    try:
        yield
    except (ValueError, OSError) as error:
        failure = error
    for folder, state in before.items():
        if _state(folder) != state:
            raise ValueError(f"{folder} was changed by another process while it was read; give the command again")
    if failure:
        raise failure


def _state(folder: Path) -> bytes | None:
    """Return the manifest of a folder, which changes with every file of a run; None if it has none.

    Raises:
        ValueError: another process works on the run.
    """
    refuse_locked(folder)
    with contextlib.suppress(ValueError, OSError):
        return read_bytes(folder / MANIFEST, LARGEST_TEXT)
    return None


def refuse_without_run(folder: Path) -> None:
    """Raise ValueError if the folder has no run to resume."""
    if (folder / CONFIG).is_file():
        return
    if any((folder / name).is_file() for name in (MANIFEST, FINGERPRINT, SPLIT)):
        raise ValueError(
            f"the training in {folder} was stopped before {CONFIG} was written, so there is nothing to resume; start "
            "it without --resume"
        )
    raise ValueError(
        f"there is no run to resume in {folder}: it has no {CONFIG}; {other_runs(folder)}; start one without --resume"
    )


def other_runs(folder: Path) -> str:
    """Return a clause that lists up to five existing runs, starting with those whose names resemble `folder` most."""
    named = {file.parent.as_posix() for place in (folder.parent, Path("runs")) for file in place.glob(f"*/{CONFIG}")}
    runs = sorted(named, key=lambda run: (-difflib.SequenceMatcher(None, run, folder.as_posix()).ratio(), run))
    return f"the runs that are there: {text.first_of(runs, NAMED_RUNS)}" if runs else "`in4310repro train` writes one"


def moves_to(folder: Path) -> Path | None:
    """Return the path to which an existing run would be renamed: the first unused name `FOLDER.N`.

    The result is None if the folder is empty or missing.

    Raises:
        ValueError: the folder contains files that are not a run.
    """
    held = [path.name for path in folder.iterdir()] if folder.exists() else []
    if not held:
        return None
    # A process that was killed while it created a run has left its first file, or a part of it.
    begun = all(name == FINGERPRINT or fnmatch(name, ".*.part") for name in held)
    if not begun and not any((folder / name).is_file() for name in (MANIFEST, CONFIG)):
        raise ValueError(f"{folder} holds other files than a run's; --out takes a new folder or that of a run")
    places = (folder.with_name(f"{folder.name}.{number}") for number in itertools.count(1))
    return next(itertools.filterfalse(Path.exists, places))


def manifest_bytes(manifest: Manifest) -> bytes:
    """Return the bytes of a manifest as JSON, sorted by file name, so that equal runs have equal manifests."""
    return json_bytes(dict(sorted(manifest.items())))


def write_status(folder: Path, code: int, message: str, rank: int) -> None:
    """Record in `status.json` how a command ended: exit code, message and rank of the process.

    The file is needed because torchrun itself always exits with 1. Nothing is written if another process has
    locked the run, if the folder has no run, or if the run is finished and was not changed by this command.
    """
    continues = (folder / CONFIG).is_file() and not (folder / METRICS).is_file()
    if continues or signals.kept():
        status: Status = {"code": code, "message": text.visible(message)[: schema.LONGEST], "rank": rank}
        with contextlib.suppress(ValueError, OSError):
            lock(folder)
            write_file(path_below(folder, STATUS), json_bytes(status))


def describe_status(files: RunFolder) -> str:
    """Return the content of `status.json` as the last clause of a sentence; empty if there is no such file.

    Raises:
        ValueError: the file is damaged.
    """
    if not (files.folder / STATUS).exists():
        return ""
    status = files.read_record(STATUS, Status)
    return f"; its training ended with exit code {status['code']}: {status['message'] or 'no message'}"


def array_bytes(arrays: Arrays) -> bytes:
    """Return the bytes of an npz file with these arrays; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def read_arrays(file: Path) -> Arrays:
    """Return the arrays in an npz file that `array_bytes` made, which has no compression and no Python objects.

    Raises:
        ValueError: the file does not exist, is damaged, or has sizes that differ from those in its headers.
    """
    try:
        with zipfile.ZipFile(file) as archive, warnings.catch_warnings():
            # NumPy warns of headers that Python 2 wrote.
            warnings.simplefilter("error")
            entries = archive.infolist()
            if len({entry.filename for entry in entries}) < len(entries):
                raise ValueError("it holds two arrays of one name")
            return {entry.filename.removesuffix(".npy"): _read_entry(archive, entry) for entry in entries}
    except FileNotFoundError:
        raise ValueError(f"{file} is not there") from None
    except Exception as error:
        # zipfile and NumPy raise a dozen kinds of exception for damaged files.
        raise ValueError(f"{file} is damaged: {str(error)[:200] or type(error).__name__}") from None


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{entry.filename} is compressed")
    with archive.open(entry) as stream:
        # Reads to the end, where the checksum is compared; an uncompressed entry cannot be longer than the file.
        data = io.BytesIO(stream.read())
    if np.lib.format.read_magic(data) != (1, 0):
        raise ValueError(f"{entry.filename} is of another version of the npy format than 1.0")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(data)
    values = data.read()
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(values):
        raise ValueError(f"{entry.filename} claims {dtype} of shape {shape} and has {len(values)} bytes")
    # A copy, since an array on top of bytes is read-only.
    return np.frombuffer(values, dtype).reshape(shape, order="F" if fortran_order else "C").copy()
