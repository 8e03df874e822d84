"""Logs of all training steps for human readers, as CSV or for TensorBoard; no result depends on them.

The log is synced to the disk before each checkpoint. A resumed training drops the lines after its
checkpoint, so that every step is logged exactly once.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from in4310repro.runs import names
from in4310repro.runs.settings import CHOICES
from in4310repro.system.files import name_file_in_errors, path_below, read_bytes, write_file
from in4310repro.system.machine import install_command
from in4310repro.training.epochs import Step

CSV, TENSORBOARD = CHOICES["log_steps"]


def formats_of(folder: Path) -> set[str]:
    """Return the formats of a run's existing step logs."""
    logs = [
        file for file in folder.glob(f"{names.LOGS}/*/*") if names.setting_of_log(file.relative_to(folder).as_posix())
    ]
    return {CSV if file.name == names.STEPS else TENSORBOARD for file in logs}


def refuse_missing_library(formats: Collection[str]) -> None:
    """Raise ValueError if a format needs a library that is not installed."""
    if TENSORBOARD in formats:
        _writer()


class StepLog:
    """The open log files of one optimizer's training, with an entry for each step."""

    def __init__(self, run: Path, setting: str, formats: Collection[str], done: int) -> None:
        """Open the logs, and remove steps after step `done`, which will be repeated.

        Args:
            run: the run folder.
            setting: the setting's name.
            formats: any of `CHOICES["log_steps"]`; without one, nothing is logged.
            done: number of steps that the training has taken.
        """
        self._path = path_below(run, names.of_logs(setting, names.STEPS))
        self._stream: IO[str] | None = None
        if CSV in formats:
            heading = f"{','.join(Step._fields)}\n".encode()
            write_file(self._path, b"".join([heading, *_lines_until(self._path, done)]))
            self._stream = self._path.open("a", encoding="ascii", newline="\n")
        self._board: Any = None
        if TENSORBOARD in formats:
            # TensorBoard itself drops the steps from this one on that it has read from older files.
            self._board = _writer()(str(self._path.parent), purge_step=done + 1 if done else None)

    def add(self, step: Step) -> None:
        """Append an optimizer step to each log. Floats in CSV have all digits, so that they read back unchanged."""
        if self._stream:
            with name_file_in_errors(self._path):
                self._stream.write(",".join(map(repr, step)) + "\n")
        if self._board:
            for name in ("loss", "learning_rate", "seconds"):
                self._board.add_scalar(name, getattr(step, name), step.step)

    def sync(self) -> None:
        """Flush all logged steps to the disk."""
        if self._stream:
            with name_file_in_errors(self._path):
                self._stream.flush()
                os.fsync(self._stream.fileno())
        if self._board:
            self._board.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream:
            with name_file_in_errors(self._path):
                self._stream.close()
        if self._board:
            self._board.close()


def _lines_until(file: Path, done: int) -> list[bytes]:
    """Return a log's complete lines for the steps 1 to `done`, without the header.

    The list is empty if there is no log.
    """
    lines = read_bytes(file).splitlines(keepends=True) if file.exists() else []
    return [line for line in lines if line.endswith(b"\n") and 0 < _step_of(line) <= done]


def _step_of(line: bytes) -> int:
    """Return the step number in a line of a log; 0 for the header."""
    fields = line.split(b",")
    return int(fields[1]) if len(fields) == len(Step._fields) and fields[1].isdigit() else 0


def _writer() -> Any:
    """Return TensorBoard's class SummaryWriter. Raise ValueError if TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError(f"--log-steps tensorboard needs tensorboard: {install_command('tensorboard')}") from None
    return SummaryWriter
