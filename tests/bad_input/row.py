"""A row of the table of bad input: how it is made, the command, its expected output and the files it may change."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from tests.bad_input.sandbox import Outcome, Sandbox, changes, snapshot

# Held while a command works on a folder, and written by no one else.
LOCKS = ("work/*.lock",)
# What is done to a process, which can be asked what it has printed on standard error so far.
Act = Callable[["subprocess.Popen[bytes]", Callable[[], str]], None]
PATIENCE = 100.0  # seconds for a process, on a busy machine


def nothing(_box: Sandbox) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Row:
    """Test case: how to make a bad input, the command that reads it, and the required outcome."""

    group: str
    name: str  # a sentence
    command: str  # as typed
    code: int
    words: tuple[str, ...]  # in the sentence that is printed
    make: Callable[[Sandbox], object] = nothing
    # Paths below the sandbox that the command may write, as patterns; everything else must be as it was.
    written: tuple[str, ...] = ()
    intact: str = "every file"
    afterwards: Callable[[Sandbox], None] = field(default=nothing)
    act: Act | None = None  # a process of its own, and what is done to it

    @property
    def process(self) -> bool:
        """True if the command needs a process of its own."""
        return self.act is not None


def each_of(*makers: Callable[[Sandbox], object]) -> Callable[[Sandbox], None]:
    def make(box: Sandbox) -> None:
        for each in makers:
            each(box)

    return make


def rows_of(group: str) -> Callable[..., Row]:
    """Return a function that makes a test case of `group` from a name, a command, an exit code and expected words."""

    def row(name: str, command: str, code: int, *words: str, **fields: Any) -> Row:
        return Row(group=group, name=name, command=command, code=code, words=words, **fields)

    return row


def refusals_of(group: str, command: str) -> Callable[..., Row]:
    """Return a function that makes a test case of `command` with exit code 2 from a name and expected words."""
    row = rows_of(group)
    return lambda name, *words, **fields: row(name, command, 2, *words, **fields)


def faults(row: Row, box: Sandbox) -> list[str]:
    """Run a test case and return one sentence for each difference from the required outcome."""
    row.make(box)
    before = snapshot(box.root)
    outcome = run(row, box)
    changed = changes(before, snapshot(box.root))
    found = [f"printed {line!r}" for line in outcome.stray]
    if outcome.code != row.code:
        found.append(f"exit code {outcome.code} and not {row.code}")
    if row.code not in (0, 1) and len(outcome.sentences) != 1:
        found.append(f"{len(outcome.sentences)} sentences and not one")
    said = "\n".join(outcome.sentences) if row.code not in (0, 1) else outcome.out + outcome.err
    found += [f"does not say {word!r}" for word in row.words if word not in said]
    allowed = (*row.written, *LOCKS)
    found += [f"changed {path}" for path in changed if not any(fnmatchcase(path, pattern) for pattern in allowed)]
    if not found:
        row.afterwards(box)
    return [*found, f"it printed: {(outcome.err + outcome.out).strip()[-1500:]}"] if found else []


def run(row: Row, box: Sandbox) -> Outcome:
    return in_own_process(row, box) if row.act else in_this_process(row, box)


def in_own_process(row: Row, box: Sandbox) -> Outcome:
    """Run the test case's command in a new process, and call `row.act` with that process."""
    assert row.act
    environment = os.environ | {name: value for name, value in box.environment.items() if value is not None}
    # The names of modules as they are imported tell how far a start is.
    words = [sys.executable, "-X", "importtime", "-m", "in4310repro", *shlex.split(row.command)]
    out, err = (box.root.with_name(f"{box.root.name}.{name}") for name in ("out", "err"))
    with out.open("wb") as out_file, err.open("wb") as err_file:
        process = subprocess.Popen(words, cwd=box.work, env=environment, stdout=out_file, stderr=err_file)
        try:
            row.act(process, lambda: err.read_text(errors="replace"))
            code: int | None = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            process.kill()
            process.wait()
    return Outcome(code, out.read_text(errors="replace"), err.read_text(errors="replace"))


def in_this_process(row: Row, box: Sandbox) -> Outcome:
    return box.call(shlex.split(row.command))
