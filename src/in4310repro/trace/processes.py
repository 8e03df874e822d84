"""Processes that run a training's steps for `causes`, and what went wrong where one did not."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from in4310repro.trace.notes import is_own
from in4310repro.trace.records import TraceFile, read_trace

GRACE = 60.0  # seconds that a process has for importing torch, beside the limit of a run
LONGEST_END = 10.0  # seconds that a process has for ending
TAIL = 4096  # bytes of what a process wrote before it crashed
STACK = re.compile(r'File "(.+)", line (\d+) in (.+)')  # as faulthandler writes it
BEFORE_TORCH = ("scipy.linalg", "sklearn", "cv2", "numba")  # libraries with a BLAS or an OpenMP of their own
PLAIN_WORDS = ("-m", "in4310repro.trace.worker")
LIBRARIES_FIRST = (
    "-c",
    f"""
import importlib
for name in {BEFORE_TORCH}:
    try:
        importlib.import_module(name)
    except ImportError:
        pass
from in4310repro.trace import worker
worker.serve()
""",
)


class NotApplicableError(ValueError):
    """Error raised if a change is impossible for a training, such as half a batch of one image."""


@dataclass(frozen=True)
class Training:
    """A training to run: the words of its command, as `program.run` takes them, and the number of steps."""

    command: tuple[str, ...]
    steps: int = 2
    limit: float = 300.0  # seconds of a run
    path: tuple[str, ...] = ("",)  # folders of its modules
    cwd: str = "."  # working directory
    libraries: tuple[str, ...] = ()  # modules that a process may import once for several runs


@dataclass(frozen=True)
class Run:
    """Trace of one run, and the lines of user code that called a replaced function."""

    trace: TraceFile
    notes: tuple[str, ...]


class Server:
    """Process that runs jobs one after another; it starts with the first job and restarts when necessary.

    Args:
        scratch: a folder for files of this server alone.
        variables: environment variables to set before the process starts.
        words: command-line arguments of Python.
    """

    def __init__(
        self, scratch: Path, variables: Mapping[str, str] | None = None, words: Sequence[str] = PLAIN_WORDS
    ) -> None:
        self._scratch, self._words = scratch, words
        self._environment = {**os.environ, "PYTHONHASHSEED": "0", **(variables or {})}
        self._process: subprocess.Popen[str] | None = None
        self._runs = 0
        self._libraries: dict[tuple[str, ...], list[str]] = {}  # of each command

    def run(
        self,
        training: Training,
        options: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        threads: int = 0,
    ) -> Run:
        """Run some steps of a training with the given options; return their trace and notes.

        Args:
            training: the command, and the number of steps.
            options: names of options of `surroundings`, `execution` and `worker`.
            variables: environment variables to set before the first computation.
            threads: number of torch's threads; 0 leaves the number to torch.

        Raises:
            NotApplicableError: an option does not apply to the training.
            ValueError: the training failed; the message names the lines of the user's code where it stopped.
        """
        self._scratch.mkdir(exist_ok=True)
        file = self._scratch / f"{self._runs}.trace"
        self._runs += 1
        asked = {"file": str(file), "options": list(options), "variables": dict(variables or {}), "threads": threads}
        libraries = [*training.libraries, *self._libraries.get(training.command, ())]
        code, late = self._ask({**asdict(training), **asked, "libraries": libraries}, training.limit)
        self._libraries[training.command] = self._result(training, file, code, late)
        notes = file.with_name(f"{file.name}.notes")
        lines = notes.read_text(encoding="utf-8").splitlines() if notes.exists() else []
        return Run(read_trace(file), tuple(dict.fromkeys(lines)))

    def close(self) -> None:
        """End the process."""
        if self._process:
            with self._process:
                # It stops the run that it has begun.
                self._process.terminate()
                try:
                    self._process.wait(LONGEST_END)
                except subprocess.TimeoutExpired:
                    self._process.kill()
            self._process = None

    def _ask(self, job: Mapping[str, Any], limit: float) -> tuple[int, bool]:
        """Send a job to the process; return its exit code and whether it was stopped at the time limit."""
        process = self._start()
        assert process.stdin and process.stdout  # noqa: S101, PT018 - for the type checker
        guard = threading.Timer(limit + GRACE, process.kill)
        guard.start()
        try:
            process.stdin.write(f"{json.dumps(job)}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        except BaseException:
            self.close()
            raise
        finally:
            late = guard.finished.is_set()
            guard.cancel()
        if answer:
            code, stopped, ends = json.loads(answer)
            if ends:
                process.wait()
            return int(code), bool(stopped)
        code = process.wait()
        self.close()
        return code, late

    def _start(self) -> subprocess.Popen[str]:
        if self._process and self._process.poll() is not None:
            self.close()
        if not self._process:
            with (self._scratch / "start.errors").open("wb") as errors:
                self._process = subprocess.Popen(
                    [sys.executable, *self._words],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=self._environment,
                    text=True,
                )
        return self._process

    def _result(self, training: Training, trace: Path, code: int, late: bool) -> list[str]:
        """Return the names of the libraries that a run has imported.

        Raises:
            NotApplicableError: the run found that an option does not apply.
            ValueError: the run failed, was stopped at the time limit or crashed.
        """
        name, limit = " ".join(training.command), training.limit
        file = trace.with_name(f"{trace.name}.result")
        result = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
        if late and not result:
            raise ValueError(f"{name} did not end within {limit:g} s, and was stopped{self._last_lines(trace)}")
        if result is None:
            end = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise ValueError(f"{name} ended its process with {end}{self._last_lines(trace)}")
        if reason := result.get("not applicable"):
            raise NotApplicableError(reason)
        if error := result.get("error"):
            frames = "; ".join(result["frames"])
            places = f" ({frames})" if frames else ""
            raise ValueError(" ".join(f"{name} failed: {error}{places}".split()))
        return list(result["libraries"])

    def _last_lines(self, trace: Path) -> str:
        """Return the line of code at which a process stopped, as the end of an error message.

        If that line is unknown, return the last line of the process's error output; empty if there is none.
        """
        for file in (trace.with_name(f"{trace.name}.errors"), self._scratch / "start.errors"):
            if file.exists() and (text := file.read_bytes()[-TAIL:].decode(errors="replace").strip()):
                stack = [found.groups() for found in STACK.finditer(text)]
                own = [each for each in stack if is_own(each[0])]
                for name, line, function in (own or stack)[:1]:
                    return f": {Path(name).name}:{line} in {function}"
                return f": {text.splitlines()[-1].strip()}"
        return ""


class Processes:
    """Processes (`Server`) by name, shared by several trainings; leaving the `with` block ends all of them."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="explain-")
        self._servers: dict[str, Server] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._servers.values():
            each.close()
        self._folder.cleanup()

    def open(self, name: str, variables: Mapping[str, str] | None = None, words: Sequence[str] = PLAIN_WORDS) -> Server:
        """Return the server called `name`, and create it if it does not exist yet.

        Args:
            name: name of the server.
            variables: environment variables for the process of a new server.
            words: command-line arguments with which a new server starts Python.
        """
        if name not in self._servers:
            self._servers[name] = Server(Path(self._folder.name) / name, variables, words)
        return self._servers[name]
