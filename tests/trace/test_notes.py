"""Notes name the line of user code that called a replaced function, and none that a library called."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace

import pytest

from in4310repro.trace.notes import Notes


def test_a_line_of_user_code_is_noted_once_and_with_the_process_and_a_call_by_a_library_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "notes"
    notes = Notes(file)

    def read_clock() -> str:
        return notes.add("the clock is read")

    library: dict[str, object] = {"read_clock": read_clock}
    exec(compile("noted = read_clock()", "/usr/lib/site-packages/clocks.py", "exec"), library)  # noqa: S102
    assert (library["noted"], file.exists()) == ("", False)
    for parent in (None, None, SimpleNamespace()):
        monkeypatch.setattr("multiprocessing.parent_process", lambda parent=parent: parent)
        line, noted = inspect.currentframe().f_lineno, read_clock()  # type: ignore[union-attr]
        assert noted
    said = f"the clock is read at {Path(__file__).name}:{line}"
    assert file.read_text(encoding="utf-8") == f"{said}\n{said} in a worker process\n"
