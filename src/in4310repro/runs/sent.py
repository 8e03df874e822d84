"""Access to a finished run in all processes: the first one reads the files and sends them to the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import safetensors.numpy

from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.processes import Processes


@contextmanager
def open_run(folder: Path, processes: Processes) -> Iterator[FinishedRun]:
    """Open a run in every process: the first reads its folder, the others a temporary copy.

    Files written to a temporary copy are discarded.

    Raises:
        ValueError: the folder is no finished run, or a file is missing or damaged; raised in the first process.
    """
    if processes.leads:
        run = FinishedRun.open(folder)
        if processes.size > 1:
            files = {name: np.frombuffer((folder / name).read_bytes(), np.uint8) for name in _list_needed(run)}
            processes.broadcast(safetensors.numpy.save(files))
        yield run
        return
    with TemporaryDirectory() as place:
        for name, content in safetensors.numpy.load(processes.broadcast()).items():
            file = Path(place, name)
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content.tobytes())
        yield FinishedRun.open(Path(place))


def _list_needed(run: FinishedRun) -> Iterator[str]:
    """Yield the names of the files that are sent; weights are sent only for the selected setting."""
    yield from (name for name in (*names.OF_RUN, names.MANIFEST) if (run.folder / name).is_file())
    for setting in run.histories:
        yield from (names.of_setting(setting, name) for name in (names.HISTORY, names.TENSORS))
    yield names.of_setting(run.metrics["setting"], names.BEST_WEIGHTS)
