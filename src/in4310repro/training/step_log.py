"""Logs and traces of training steps; no result depends on them.

Logs of all steps are for human readers, as CSV or for TensorBoard. They are synced to the disk before each checkpoint.
A resumed training drops the lines after its checkpoint, so that every step is logged exactly once. Traces of selected
steps are for `diff`, `compare` and `verify --replay`.
"""

import os
import re
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from torch.nn import Module
from torch.optim import Optimizer

from in4310repro.data.images import Batch, training_ranges
from in4310repro.runs import names, settings
from in4310repro.runs.config import Config
from in4310repro.system import files, machine
from in4310repro.system.processes import Processes
from in4310repro.trace import Trace, recording

CSV, TENSORBOARD = settings.CHOICES["log_steps"]


class Step(NamedTuple):
    """Record of a completed optimizer step."""

    epoch: int  # from 1
    step: int  # of the whole training, from 1
    images: int
    loss: float  # mean of the batch, before the step
    learning_rate: float
    seconds: float  # with loading and augmenting the batch


def log_formats(folder: Path, requested: str | None, resume: bool) -> frozenset[str]:
    """Return the formats of step logs: the requested one and, in a resumed run, those of existing logs.

    Raises:
        ValueError: the format is unknown, or a library is missing.
    """
    formats = {settings.check_choice("log_steps", requested)} if requested else set()
    for file in folder.glob(f"{names.LOGS}/*/*"):
        if resume and names.setting_of_log(file.relative_to(folder).as_posix()):
            formats.add(CSV if file.name == names.STEPS else TENSORBOARD)
    if TENSORBOARD in formats:
        writer()
    return frozenset(formats)


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
        self._path = files.path_below(run, f"{names.LOGS}/{setting}/{names.STEPS}")
        self._stream: IO[str] | None = None
        self._board: Any = None
        if CSV in formats:
            lines = files.read_bytes(self._path).splitlines(keepends=True) if self._path.exists() else []
            complete = re.compile(rb"[^,]*,([0-9]+)(,[^,]*){%d}\n" % (len(Step._fields) - 2))
            kept = [line for line in lines if (step := complete.fullmatch(line)) and 0 < int(step[1]) <= done]
            files.write_file(self._path, b"".join([f"{','.join(Step._fields)}\n".encode(), *kept]))
            self._stream = self._path.open("a", encoding="ascii", newline="\n")
        if TENSORBOARD in formats:
            # TensorBoard itself drops the steps from this one on that it has read from older files.
            self._board = writer()(str(self._path.parent), purge_step=done + 1 if done else None)
        self._logs = [*filter(None, (self._stream, self._board))]

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
        for log in self._logs:
            with files.name_file_in_errors(self._path):
                log.flush()
                if log is not self._board:
                    os.fsync(log.fileno())

    def __exit__(self, *_: object) -> None:
        for log in self._logs:
            with files.name_file_in_errors(self._path):
                log.close()


def writer() -> Any:
    """Return TensorBoard's class SummaryWriter. Raise ValueError if TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError(
            f"--log-steps tensorboard needs tensorboard: {machine.install_command('tensorboard')}"
        ) from None
    return SummaryWriter


def refuse_several_processes(steps: Collection[int], processes: Processes) -> None:
    """Raise ValueError if steps are to be traced and the training uses several processes."""
    if steps and processes.size > 1:
        raise ValueError(
            f"--trace records a training by one process, and this one has {processes.size}; in portable arithmetic one "
            "process takes the same steps to the bit"
        )


def refuse_steps_beyond(steps: range, images: int, config: Config) -> None:
    """Raise ValueError if the first step to trace comes after the end of the training on `images` images."""
    whole = config.epochs * len(training_ranges(images, config.batch_size))
    if steps and steps.start >= whole:
        raise ValueError(
            f"--trace {steps.start}:{steps.stop} begins after the last step of the training; steps are 0 to {whole - 1}"
        )


def new_trace(run: Path, setting: str, done: int) -> Path:
    """Return the file for a trace that begins at step `done`; delete traces that begin at this step or later.

    Args:
        run: the run folder.
        setting: name of the training setting (one optimizer's training).
        done: number of steps that the training has taken.
    """
    for file in (run / names.LOGS).glob("*.trace"):
        before = names.steps_before(file.relative_to(run).as_posix(), setting)
        if before is not None and before >= done:
            file.unlink()
    return files.path_below(run, f"{names.LOGS}/{setting}{f'.{done}' if done else ''}.trace")


class StepTrace(ExitStack):
    """Recorder of selected steps of a training.

    The model has hooks from the first selected step to the last; the file is created at the first selected step.

    Args:
        model: the network that is trained.
        optimizer: the optimizer of the training.
        path: the file to write.
        steps: numbers of the selected steps, from 0.

    Raises:
        ValueError: the network is compiled or scripted, so that its modules cannot be observed.
    """

    def __init__(self, model: Module, optimizer: Optimizer, path: Path, steps: Collection[int]) -> None:
        super().__init__()
        self._trace, self._path, self._steps = Trace(model, optimizer, path), path, steps
        self._last = steps[-1] if isinstance(steps, range) else max(steps)
        self._is_open = False

    @contextmanager
    def step(self, number: int, batch: Batch) -> Iterator[recording.Recorded]:
        """Record the code of the `with` block as step `number`, if this step is selected.

        The context manager yields an object; call its method `record` with the loss.

        Args:
            number: the number of the step, from 0.
            batch: the images and labels that the step reads.
        """
        if number not in self._steps:
            yield recording.Recorded(None)
            return
        if not self._is_open:
            with files.name_file_in_errors(self._path):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self.enter_context(self._trace)
            self._is_open = True
        with self._trace.step(images=batch.images, labels=batch.labels, paths=batch.paths, number=number) as recorded:
            yield recorded
        if number == self._last:
            self.close()
