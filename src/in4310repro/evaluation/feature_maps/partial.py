"""Files with the statistics that a process has so far, from which a later call can continue."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch

from in4310repro.features import FeatureStatistics
from in4310repro.system.files import lock, read_bytes, reason, write_file
from in4310repro.system.schema import refuse_other_configuration
from in4310repro.system.tensors import metadata_of, tensors_sha256


def with_ending(out: Path, ending: str) -> Path:
    """Return a result's path with its ending replaced: FILE.csv for FILE or FILE.json and the ending ".csv"."""
    return out.with_name(out.name.removesuffix(".json") + ending)


def partial_results(out: Path) -> list[Path]:
    """Return the files with partial results, of any process, that belong to this result."""
    name = re.compile(re.escape(with_ending(out, "").name) + r"\.\d+of\d+\.part")
    return sorted(file for file in out.parent.glob("*.part") if name.fullmatch(file.name))


def remove_partial_results(out: Path) -> None:
    """Remove the files with partial results that belong to this result."""
    for file in partial_results(out):
        file.unlink(missing_ok=True)


class PartialResult:
    """File with the statistics that one process has so far for an unfinished result.

    Args:
        out: the file of the result.
        rank: rank of the process.
        world_size: number of processes.
        identity: JSON values that must be equal for the measurement to be continued.
        statistics: the statistics to save, and to restore in `begin`.
    """

    def __init__(
        self, out: Path, rank: int, world_size: int, identity: Mapping[str, object], statistics: FeatureStatistics
    ) -> None:
        self.file = with_ending(out, f".{rank}of{world_size}.part")
        self.images = 0  # measured so far
        self._files_digest = hashlib.sha256()
        self._identity = identity
        self._statistics = statistics
        self._all_ranks = {with_ending(out, f".{each}of{world_size}.part") for each in range(world_size)}
        self._out = out
        self._is_first_rank = rank == 0

    def begin(self, files: list[Path], *, resume: bool) -> bool:
        """Lock the result, and load the partial statistics of these files if an earlier call saved any.

        Args:
            files: the files that this rank measures, in order.
            resume: whether to continue from a partial result.

        Returns:
            Whether there was a partial result.

        Raises:
            ValueError: the result cannot be written to `out`, or another process is writing it. Or there is a partial
                result, but `resume` is false, or the partial result is corrupt or of a different measurement.
        """
        self._claim()
        others = [str(file) for file in partial_results(self._out) if file not in self._all_ranks]
        if others:
            raise ValueError(f"{others[0]} is of another number of processes; continue with as many, or remove it")
        if not self.file.exists():
            return False
        if not resume:
            raise ValueError(
                f"{self.file} is the partial result of an interrupted call; --resume continues from it, or remove it"
            )
        self._restore(files)
        return True

    def _claim(self) -> None:
        """Check that the result file can be written, and lock it against other commands."""
        targets = [with_ending(self._out, ending) for ending in (".json", ".csv", ".png")]
        if folders := [str(file) for file in (self._out, *targets) if file.is_dir()]:
            raise ValueError(f"{folders[0]} is a folder; --out takes FILE.json")
        trial = self.file.with_suffix(".trial")
        try:
            # By `write_file`, whose temporary names are longer than the result's.
            write_file(trial, b"").unlink()
            if self._is_first_rank:
                lock(targets[0])
        except OSError as error:
            raise ValueError(
                f"{trial.parent} does not take {trial.name} ({reason(error)}); --out takes FILE.json"
            ) from None

    def _restore(self, files: list[Path]) -> None:
        """Load the statistics from the file, after checking that they belong to this measurement."""
        data = read_bytes(self.file)
        try:
            state, metadata = safetensors.torch.load(data), metadata_of(data)
            intact = metadata["sha256"] == self._digest(metadata, tensors_sha256(state))
            identity, images = json.loads(metadata["identity"]), int(metadata["images"])
        except (safetensors.SafetensorError, KeyError, ValueError, RecursionError):
            intact = False
        if not intact:
            raise ValueError(f"{self.file} is corrupt, or no partial result; remove it and measure again")
        refuse_other_configuration(identity, self._identity, f"{self.file}")
        self.add(files[:images])
        if self._files_digest.hexdigest() != metadata["files_sha256"]:
            raise ValueError(
                f"the {metadata['images']} images of {self.file} are no longer the first of the sample, by name, size "
                "and modification time; restore them, or remove it and measure again"
            )
        try:
            self._statistics.load_state_dict(state)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError) as error:
            raise ValueError(f"{self.file} holds no statistics of these modules ({error}); remove it") from None

    def add(self, files: list[Path]) -> None:
        """Record that the next files in order have been measured."""
        for file in files:
            status = file.stat()
            self._files_digest.update(f"{file.name} {status.st_size} {status.st_mtime_ns}\n".encode())
        self.images += len(files)

    def save(self) -> None:
        """Write or replace the file; do nothing if no image has been measured."""
        if self.images:
            state = self._statistics.state_dict()
            metadata = {"images": str(self.images), "files_sha256": self._files_digest.hexdigest()}
            metadata["identity"] = json.dumps(self._identity)
            metadata["sha256"] = self._digest(metadata, tensors_sha256(state))
            write_file(self.file, safetensors.torch.save(state, metadata))

    @staticmethod
    def _digest(metadata: Mapping[str, str], tensors: str) -> str:
        """Return the sha256 of the metadata and of the hash of the tensors."""
        return hashlib.sha256(
            "\n".join((metadata["images"], metadata["files_sha256"], metadata["identity"], tensors)).encode()
        ).hexdigest()
