"""Traces of a setting's training steps, for `diff`, `compare` and `verify --replay`; no result depends on them."""

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import torch

from in4310repro.data.images import Batch, training_ranges
from in4310repro.runs import names
from in4310repro.runs.config import Config
from in4310repro.system.files import name_file_in_errors, path_below
from in4310repro.system.processes import Processes
from in4310repro.trace import Trace, recording


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
            f"--trace {steps.start}:{steps.stop} begins after the last step of the training; valid are 0 to {whole - 1}"
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
    return path_below(run, names.trace(setting, done))


class StepTrace(AbstractContextManager["StepTrace"]):
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

    def __init__(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, path: Path, steps: Collection[int]
    ) -> None:
        self._trace = Trace(model, optimizer, path)
        self._path, self._steps, self._last = path, steps, max(steps)
        self._hooks = ExitStack()
        self._is_open = False

    def __exit__(self, *_: object) -> None:
        self._hooks.close()

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
            with name_file_in_errors(self._path):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._hooks.enter_context(self._trace)
            self._is_open = True
        with self._trace.step(images=batch.images, labels=batch.labels, paths=batch.paths, number=number) as recorded:
            yield recorded
        if number == self._last:
            self._hooks.close()
