"""Commands under torchrun: any number of processes writes the files of one process."""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.shares import find_free_port
from in4310repro.data.embedded import write_scenes
from in4310repro.runs import names
from tests.conftest import Call
from tests.processes import METHOD
from tests.torchrun import launch

WRITTEN = (names.SCORES, names.METRICS, names.FEATURES, "adamw/tensors.json")


# Optimizers see sums of gradients, whichever processes have computed them: one is enough.
COMMANDS = {
    "train": "--preset tiny --epochs 1 --optimizer AdamW --numerics portable --out run",
    "report": "run --out report --no-photographs",
    "evaluate": "run --out evaluated.csv",
    "predict": "run photos --out predicted.csv",
}


def work(*words: str) -> None:
    """Run a command in a process that torchrun's agent has forked."""
    from in4310repro.__main__ import main

    sys.argv = ["in4310repro", *words]
    try:
        main()
    except SystemExit as stop:
        if stop.code:
            raise


def run_together(folder: Path, words: tuple[str, ...], nodes: int) -> None:
    """Run a command by two processes on each of some machines, all simulated on this one."""
    context: Any = multiprocessing.get_context(METHOD)
    rendezvous = ("--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{find_free_port()}", "--rdzv-id", words[0])
    size = ("--nnodes", f"{nodes}", "--nproc-per-node", "2")
    outputs = [f"{words[0]}-{node}" for node in range(nodes)]
    torchrun = (*size, *rendezvous, "-m", "in4310repro", *words)
    agents = [context.Process(target=launch, args=(folder, torchrun, work, output)) for output in outputs]
    for agent in agents:
        agent.start()
    for agent in agents:
        agent.join()
    printed = "\n".join((folder / output).read_text(errors="replace") for output in outputs)
    assert [agent.exitcode for agent in agents] == [0] * nodes, printed


def read_written(folder: Path) -> dict[str, bytes]:
    files = [*(folder / "run" / name for name in WRITTEN), folder / "evaluated.csv", folder / "predicted.csv"]
    return {f"{file.relative_to(folder)}": file.read_bytes() for file in files}


@pytest.mark.long(60)
@pytest.mark.parametrize(
    "reading", [pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.soak)], ids=["one", "both"]
)
def test_two_machines_of_two_processes_write_the_bytes_of_one_process(
    reading: int, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, four = tmp_path / "one", tmp_path / "four"
    for folder in (one, four):
        write_scenes(folder / "photos", images_per_class=3, size=32, seed=1)
    monkeypatch.chdir(one)
    for name, words in COMMANDS.items():
        assert call(name, *words.split())[0] == 0, name
        run_together(four, (name, *words.split()), nodes=2 if name == "train" else reading)
    assert [name for name, data in read_written(one).items() if read_written(four)[name] != data] == []
