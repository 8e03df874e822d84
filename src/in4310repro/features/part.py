"""What one process has measured so far, in a file beside the result, from which the same command goes on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch

from in4310repro.features.statistics import FeatureStatistics
from in4310repro.runs import lock, notes_of, refuse_other_config, tensors_sha256, write_file


def beside(out: Path, ending: str) -> Path:
    """FILE.json, FILE.csv, ... for FILE.json or FILE."""
    return out.with_name(out.name.removesuffix(".json") + ending)


def parts(out: Path) -> list[Path]:
    """Those of all processes, and of no result whose name only begins like this one's."""
    name = re.compile(re.escape(beside(out, "").name) + r"\.\d+of\d+\.part")
    return sorted(file for file in out.parent.glob("*.part") if name.fullmatch(file.name))


class Part:
    """The images that one process has measured, of a measurement that `identity` describes.

    Args:
        out: the file of the result.
        rank: of the process.
        world_size: number of processes.
        identity: what has to be equal for it to go on.
        statistics: what is kept.
    """

    def __init__(
        self, out: Path, rank: int, world_size: int, identity: Mapping[str, Any], statistics: FeatureStatistics
    ) -> None:
        self.file = beside(out, f".{rank}of{world_size}.part")
        self.images = 0
        self._taken = hashlib.sha256()
        self._identity = identity
        self._statistics = statistics
        self._processes = {beside(out, f".{each}of{world_size}.part") for each in range(world_size)}
        self._out = out
        self._first = rank == 0

    def begin(self, files: list[Path], *, resume: bool) -> bool:
        """Put into the statistics what an earlier call measured of these files; whether there was something.

        Raises:
            ValueError: the result cannot be written there, another process measures for it, or a part is there unasked,
                is damaged, or is of something else.
        """
        self._claim()
        others = [str(file) for file in parts(self._out) if file not in self._processes]
        if others:
            raise ValueError(f"{others[0]} is of another number of processes; go on with as many, or remove it")
        if not self.file.exists():
            return False
        if not resume:
            raise ValueError(
                f"{self.file} is what an interrupted call measured; --resume goes on with it, or remove it"
            )
        self._restore(files)
        return True

    def _claim(self) -> None:
        targets = [beside(self._out, ending) for ending in (".json", ".csv", ".png")]
        if folders := [str(file) for file in (self._out, *targets) if file.is_dir()]:
            raise ValueError(f"{folders[0]} is a folder; --out takes FILE.json")
        trial = self.file.with_suffix(".trial")
        try:
            # As the result will be written, whose temporary name is longer.
            write_file(trial, b"").unlink()
            if self._first:
                lock(targets[0])
        except OSError as error:
            raise ValueError(
                f"{trial.parent} does not take {trial.name} ({error.strerror}); --out takes FILE.json"
            ) from None

    def _restore(self, files: list[Path]) -> None:
        data = self.file.read_bytes()
        try:
            state, notes = safetensors.torch.load(data), notes_of(data)
            whole = notes["sha256"] == self._digest(notes, tensors_sha256(state))
        except (safetensors.SafetensorError, KeyError):
            whole = False
        if not whole:
            raise ValueError(f"{self.file} is damaged, or no part of a measurement; remove it and measure again")
        refuse_other_config(json.loads(notes["identity"]), self._identity, f"{self.file}")
        self.take(files[: int(notes["images"])])
        if self._taken.hexdigest() != notes["taken"]:
            raise ValueError(
                f"the {notes['images']} images of {self.file} are not the first of the sample any more, by name, size "
                "and time of change; bring them back, or remove it and measure again"
            )
        self._statistics.load_state_dict(state)

    def take(self, files: list[Path]) -> None:
        """These files are measured."""
        for file in files:
            status = file.stat()
            self._taken.update(f"{file.name} {status.st_size} {status.st_mtime_ns}\n".encode())
        self.images += len(files)

    def save(self) -> None:
        """Put the file there, or a newer one in its place; nothing while nothing is measured."""
        if self.images:
            state = self._statistics.state_dict()
            notes = {"images": str(self.images), "taken": self._taken.hexdigest()}
            notes["identity"] = json.dumps(self._identity)
            notes["sha256"] = self._digest(notes, tensors_sha256(state))
            write_file(self.file, safetensors.torch.save(state, notes))

    @staticmethod
    def _digest(notes: Mapping[str, str], tensors: str) -> str:
        return hashlib.sha256(
            "\n".join((notes["images"], notes["taken"], notes["identity"], tensors)).encode()
        ).hexdigest()
