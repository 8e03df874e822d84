"""Commands under torchrun: any number of processes writes the files of one process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from in4310repro.data.embedded import write_scenes
from in4310repro.runs import names
from tests.sessions.shares import find_free_port

TRAIN = ("train", "--preset", "tiny", "--epochs", "1", "--numerics", "portable")
WRITTEN = (
    names.SCORES,
    names.METRICS,
    names.FEATURES,
    "adamw/tensors.json",
    "rmsprop/tensors.json",
    "sgd/tensors.json",
)


def run(folder: Path, *words: str, processes: int = 1, nodes: int = 1) -> None:
    """Run a command with `processes` processes on each of `nodes` machines, all simulated on this one."""
    launcher: tuple[str, ...] = ()
    if processes * nodes > 1:
        rendezvous = ("--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{find_free_port()}")
        launcher = (
            "-m",
            "torch.distributed.run",
            "--nnodes",
            f"{nodes}",
            "--nproc-per-node",
            f"{processes}",
            *rendezvous,
        )
    command = [sys.executable, *launcher, "-m", "in4310repro", *words]
    started = [
        subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(os.environ))
        for _ in range(nodes)
    ]
    outputs = [each.communicate()[0].decode(errors="replace") for each in started]
    assert [each.returncode for each in started] == [0] * nodes, "\n".join(outputs)


def run_whole_chain(folder: Path, processes: int, *, training: int, reading: int) -> dict[str, bytes]:
    """Run train on `training` machines and the other commands on `reading`; return the files by path."""
    write_scenes(folder / "photos", images_per_class=3, size=32, seed=1)
    run(folder, *TRAIN, "--out", "run", processes=processes, nodes=training)
    for words in (
        ("report", "run"),
        ("evaluate", "run", "--out", "evaluated.csv"),
        ("predict", "run", "photos", "--out", "predicted.csv"),
    ):
        run(folder, *words, processes=processes, nodes=reading)
    files = [*(folder / "run" / name for name in WRITTEN), folder / "evaluated.csv", folder / "predicted.csv"]
    return {f"{file.relative_to(folder)}": file.read_bytes() for file in files}


# Each process and each launcher imports torch.
@pytest.mark.long(60)
@pytest.mark.parametrize(
    "reading", [pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.soak)], ids=["one", "both"]
)
def test_two_machines_of_two_processes_write_the_bytes_of_one_process(reading: int, tmp_path: Path) -> None:
    one = run_whole_chain(tmp_path / "one", 1, training=1, reading=1)
    four = run_whole_chain(tmp_path / "four", 2, training=2, reading=reading)
    assert [name for name in one if four[name] != one[name]] == []
