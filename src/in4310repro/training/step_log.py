"""Logs of all training steps for human readers, as CSV or for TensorBoard; no result depends on them.

The log is synced to the disk before each checkpoint. A resumed training drops the lines after its
checkpoint, so that every step is logged exactly once.
"""

import os
import re
from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

from in4310repro.runs import names, settings
from in4310repro.system import files, machine
from in4310repro.training.epochs import Step

CSV, TENSORBOARD = settings.CHOICES["log_steps"]


def formats_of(folder: Path) -> set[str]:
    """Return the formats of a run's existing step logs."""
    logs = [f for f in folder.glob(f"{names.LOGS}/*/*") if names.setting_of_log(f.relative_to(folder).as_posix())]
    return {CSV if file.name == names.STEPS else TENSORBOARD for file in logs}


class StepLog(AbstractContextManager["StepLog"]):
    """The open log files of one optimizer's training, with an entry for each step."""

    def __init__(self, run: Path, setting: str, formats: Collection[str], done: int) -> None:
        """Open the logs, and remove steps after step `done`, which will be repeated.

        Args:
            run: the run folder.
            setting: the setting's name.
            formats: any of `CHOICES["log_steps"]`; without one, nothing is logged.
            done: number of steps that the training has taken.
        """
        self._path = files.path_below(run, names.of_logs(setting, names.STEPS))
        self._stream: IO[str] | None = None
        if CSV in formats:
            heading = f"{','.join(Step._fields)}\n".encode()
            files.write_file(self._path, b"".join([heading, *_lines_until(self._path, done)]))
            self._stream = self._path.open("a", encoding="ascii", newline="\n")
        self._board: Any = None
        if TENSORBOARD in formats:
            # TensorBoard itself drops the steps from this one on that it has read from older files.
            self._board = writer()(str(self._path.parent), purge_step=done + 1 if done else None)

    def add(self, step: Step) -> None:
        """Append an optimizer step to each log. Floats in CSV have all digits, so that they read back unchanged."""
        if self._stream:
            with files.name_file_in_errors(self._path):
                self._stream.write(",".join(map(repr, step)) + "\n")
        if self._board:
            for name in ("loss", "learning_rate", "seconds"):
                self._board.add_scalar(name, getattr(step, name), step.step)

    def sync(self) -> None:
        """Flush all logged steps to the disk."""
        if self._stream:
            with files.name_file_in_errors(self._path):
                self._stream.flush()
                os.fsync(self._stream.fileno())
        if self._board:
            self._board.flush()

    def __exit__(self, *_: object) -> None:
        if self._stream:
            with files.name_file_in_errors(self._path):
                self._stream.close()
        if self._board:
            self._board.close()


def _lines_until(file: Path, done: int) -> list[bytes]:
    """Return a log's complete lines for the steps 1 to `done`, without the header.

    The list is empty if there is no log.
    """
    lines = files.read_bytes(file).splitlines(keepends=True) if file.exists() else []
    found = [(line, re.fullmatch(rb"[^,]*,([0-9]+)(,[^,]*){%d}\n" % (len(Step._fields) - 2), line)) for line in lines]
    return [line for line, step in found if step and 0 < int(step[1]) <= done]


def writer() -> Any:
    """Return TensorBoard's class SummaryWriter. Raise ValueError if TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError(
            f"--log-steps tensorboard needs tensorboard: {machine.install_command('tensorboard')}"
        ) from None
    return SummaryWriter
