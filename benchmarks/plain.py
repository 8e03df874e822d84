"""Stock PyTorch as a plain script has it: a process with the defaults of OpenMP and of the C library's allocator.

`PlainScript` starts it; it reads workloads from its standard input and answers with seconds.
"""

from __future__ import annotations

# First of all, since the package sets variables that OpenMP reads when torch is loaded.
import torch  # isort: skip

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from types import TracebackType
from typing import IO

from benchmarks.workloads import Workload
from in4310repro.system.numerics import Numerics

# What `in4310repro.system.numerics` sets for its own processes.
SET = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
STOCK = Numerics("native", "", {}, 0, "cpu")  # as torch is without `activate`


class PlainScript:
    """A second process that runs workloads one at a time, on request."""

    def __enter__(self) -> PlainScript:
        variables = {name: value for name, value in os.environ.items() if name not in SET}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.plain"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=variables,
        )
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._process.communicate()

    def prepare(self, workload: Workload, threads: int, memory_format: str) -> Callable[[], float]:
        """Return a function without arguments that does the work once there, and returns its seconds."""
        asked = {"workload": asdict(workload), "threads": threads, "memory_format": memory_format}
        self._ask(json.dumps(asked))
        return lambda: float(self._ask("once"))

    def _ask(self, words: str) -> str:
        requests, answers = self._pipes()
        requests.write(f"{words}\n")
        requests.flush()
        if not (answer := answers.readline()):
            raise RuntimeError("the process of plain PyTorch ended; its traceback is above")
        return answer

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin
        assert self._process.stdout
        return self._process.stdin, self._process.stdout


def serve() -> None:
    """Prepare each workload of the standard input, and time it once for each line `once`."""

    def work() -> object:
        raise ValueError("no workload was given")

    for line in sys.stdin:
        if line == "once\n":
            start = time.perf_counter()
            work()
            answer = time.perf_counter() - start
        else:
            asked, answer = json.loads(line), 0.0
            torch.set_num_threads(asked["threads"])
            work = Workload(**asked["workload"]).prepare(STOCK, memory_format=asked["memory_format"])
        sys.stdout.write(f"{answer!r}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
