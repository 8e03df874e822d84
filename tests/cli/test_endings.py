"""Commands that end by an error: one line of output, and an exit code for each type of error."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from unittest.mock import Mock

import pytest

from in4310repro.system.signals import stopping_signals
from tests.builders import write_class_folders
from tests.conftest import Call, Replace, refused

BEGUN = """
from in4310repro.system import signals
from in4310repro.__main__ import main
take_over = signals.take_over_process
signals.take_over_process = lambda: (take_over(), print("begun", flush=True))
main()
"""
EndBy = Callable[[BaseException, Path], tuple[int, str]]
COMMAND = (sys.executable, "-m", "in4310repro")


def raising(error: BaseException) -> Callable[..., None]:
    def raise_it(*_arguments: object, **_options: object) -> None:
        raise error

    return raise_it


@pytest.fixture
def end_by(call: Call, replace_train: Replace, monkeypatch: pytest.MonkeyPatch) -> EndBy:
    """Return a function that runs a training which raises `error`, and returns exit code and standard error.

    Tracebacks are written to the folder `logs`.
    """

    def end(error: BaseException, logs: Path) -> tuple[int, str]:
        replace_train(raising(error))
        monkeypatch.setattr(tempfile, "tempdir", str(logs))
        code, _, printed = call("train", "--preset", "tiny")
        return code, printed

    return end


@pytest.mark.parametrize(
    "error",
    [
        KeyError("sea"),
        RuntimeError("two\nlines"),
        RecursionError(),
        EOFError(),
        AssertionError(),
        SystemExit("a library ends"),
        GeneratorExit(),
        ZeroDivisionError("division by zero"),
        ArithmeticError("x" * 600),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_ours_ends_with_70_and_names_the_file_with_its_traceback(
    error: BaseException, end_by: EndBy, tmp_path: Path
) -> None:
    code, printed = end_by(error, tmp_path)
    assert code == 70
    (line,) = printed.strip().splitlines()
    match = re.fullmatch(
        rf"in4310repro: error in the program: ({type(error).__name__}.*); its traceback is in (.*)", line
    )
    assert match
    assert len(match[1]) <= 500
    assert "raise_it" in Path(match[2]).read_text()


def test_an_error_of_ours_is_one_line_where_no_traceback_can_be_written(end_by: EndBy, tmp_path: Path) -> None:
    code, printed = end_by(KeyError("sea"), tmp_path / "nowhere")
    assert code == 70
    (line,) = printed.splitlines()
    assert "KeyError: 'sea'; its traceback could not be written" in line


@pytest.mark.parametrize(
    "error",
    [MemoryError("Unable to allocate 9 TiB"), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")],
    ids=["numpy", "torch"],
)
def test_memory_that_runs_out_says_what_helps(error: Exception, end_by: EndBy, tmp_path: Path) -> None:
    code, printed = end_by(error, tmp_path)
    assert code == 2
    assert "memory ran out" in printed
    assert list(tmp_path.iterdir()) == []
    assert "smaller images or batches take less" in printed


def test_a_full_disk_anywhere_is_a_sentence_without_its_number(call: Call, replace_train: Replace) -> None:
    for error, words in (
        (OSError(28, "No space left on device"), "no space is left on the disk"),
        (OSError(24, "Too many open files", "a.png"), "a.png: too many files are open; a higher `ulimit -n` allows"),
        (PermissionError(13, "Permission denied", "b"), "b: permission is denied"),
    ):
        replace_train(raising(error))
        code, _, printed = call("train", "--preset", "tiny")
        assert code == 2
        assert words in printed
        assert "Errno" not in printed


def test_lines_of_a_library_that_the_disk_has_no_room_for_are_an_error_too(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("in4310repro.cli.application.invoke", lambda _words: 0)
    full = Mock(encoding="utf-8", flush=raising(OSError(28, "No space left on device")), fileno=raising(OSError()))
    with redirect_stdout(full):
        assert call("train", "--preset", "tiny")[::2] == (2, "in4310repro: no space is left on the disk\n")


def test_a_stream_that_is_no_file_is_refused_in_an_encoding_without_ascii_too(call: Call) -> None:
    with redirect_stdout(Mock(spec=["encoding", "flush"], encoding="utf-16")):
        refused(call, ("cache",), "the encoding of the output is utf-16")


def test_wrong_input_of_a_process_of_torchrun_ends_as_without_it(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setattr(os, "_exit", sys.exit)
    refused(call, ("compare", "nowhere", "nowhere"), "nowhere is not a run folder")


def test_an_interrupt_that_a_library_turns_into_its_own_error_ends_with_130(call: Call, replace_train: Replace) -> None:
    def train(*_arguments: object, **_options: object) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise ImportError("the installation is broken") from None

    replace_train(train)
    before = [signal.getsignal(number) for number in stopping_signals()]
    code, _, printed = call("train", "--preset", "tiny")
    assert code == 130
    assert printed == "in4310repro: interrupted\n"
    assert [signal.getsignal(number) for number in stopping_signals()] == before


def test_an_interrupt_says_what_is_kept_once_there_is_something(
    call: Call, tmp_path: Path, replace_train: Replace
) -> None:
    """An earlier run in the folder is not reported as kept by a command that has not written anything."""
    (tmp_path / "runs/tiny").mkdir(parents=True)
    (tmp_path / "runs/tiny/config.json").write_text("before")

    def interrupted_once_it_has_written(*_arguments: object, **_options: object) -> None:
        (tmp_path / "runs/tiny/config.json").unlink()
        (tmp_path / "runs/tiny/config.json").write_text("begun")
        raise KeyboardInterrupt

    replace_train(raising(KeyboardInterrupt()))
    assert call("train", "--preset", "tiny")[2].endswith("in4310repro: interrupted\n")
    replace_train(interrupted_once_it_has_written)
    kept = f"{Path('runs/tiny')} is kept, and the same command with --resume continues"
    assert call("train", "--preset", "tiny")[2].endswith(f"in4310repro: interrupted; {kept}\n")
    assert call("train", "--preset", "huge")[0] == 2


@pytest.mark.parametrize("number", stopping_signals(), ids=lambda number: number.name)
def test_every_stopping_signal_ends_with_130(number: signal.Signals, call: Call, replace_train: Replace) -> None:
    replace_train(lambda *_arguments, **_options: signal.raise_signal(number))
    code, _, printed = call("train", "--preset", "tiny")
    assert code == 130
    assert len(printed.splitlines()) == 1


def test_a_closed_pipe_is_no_difference_and_nothing_to_speak_of(call: Call, replace_train: Replace) -> None:
    replace_train(raising(BrokenPipeError(32, "Broken pipe")))
    code, _, printed = call("train", "--preset", "tiny")
    assert (code, printed) == (130, "")


@pytest.mark.process
def test_a_result_that_nobody_reads_ends_as_by_sigpipe_and_a_difference_with_1(own_records: Path) -> None:
    (own_records / "config.json").write_text("[]")
    for words, code in ((("verify", str(own_records)), 1), (("train", "--help"), 141), ((), 141)):
        reader, writer = os.pipe()
        os.close(reader)
        process = subprocess.Popen((*COMMAND, *words), stdout=writer, stderr=subprocess.PIPE, text=True)
        os.close(writer)
        assert ended(process) == (code, ["loading torch"] * (code == 1))


def ended(process: "subprocess.Popen[str]") -> tuple[int, list[str]]:
    _, error = process.communicate(timeout=600)
    return process.returncode, error.splitlines()


@pytest.mark.process
@pytest.mark.skipif(os.name != "posix", reason="signals to another process")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.slow
def test_a_signal_at_any_moment_of_the_start_or_end_is_one_line_and_130(number: signal.Signals) -> None:
    outcomes = []
    # A command that imports much, computes little and ends; Python's own start, before ours, is not to be caught.
    words = (sys.executable, "-c", BEGUN, "fingerprint", "--device", "cpu")
    for delay in (0.0, 0.05, 0.2, 0.5, 1.0, 1.5):
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        time.sleep(delay)
        process.send_signal(number)
        outcomes.append(ended(process))
    for code, lines in outcomes:
        assert code in (0, 130)
        # Torch may be loading by then, which is said.
        assert [line for line in lines if line != "loading torch"] == ["in4310repro: interrupted"] * (code == 130)
    assert outcomes[0][0] == 130


NEVER_RETURNS = """
import ctypes
from in4310repro.system import signals
signals.PATIENCE = 0.2
signals.take_over_process()
mutex, library = ctypes.create_string_buffer(128), ctypes.CDLL(None)
library.pthread_mutex_lock(mutex)
print("begun", flush=True)
library.pthread_mutex_lock(mutex)
"""


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="a call that never returns, of Linux's C library")
def test_a_signal_amid_a_call_that_never_returns_ends_the_process_too() -> None:
    process = subprocess.Popen(
        (sys.executable, "-c", NEVER_RETURNS), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (130, ["in4310repro: interrupted"])


@pytest.mark.process
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize(
    ("place", "reason"),
    [(">&-", "it is closed"), (">/dev/full", "no space is left on the disk")],
    ids=["closed", "full"],
)
def test_a_result_that_cannot_be_printed_is_no_success_and_what_is_written_is_there(
    place: str, reason: str, tmp_path: Path
) -> None:
    write_class_folders(tmp_path / "mine", {"a": 2, "b": 2})

    def run(*words: str) -> tuple[int, list[str]]:
        shell = ("sh", "-c", f'"$@" {place}', "sh")
        return ended(subprocess.Popen((*shell, *COMMAND, *words), stderr=subprocess.PIPE, text=True, cwd=tmp_path))

    line = f"in4310repro: standard output: {reason}; what was to be printed there is lost"
    for words in (("--help",), ("--version",), ("cache", "--json"), ("data", "check", "mine", "--out", "found.json")):
        code, (*_, last) = run(*words)
        assert (code, last) == (2, line), words
    assert json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["unreadable"] == {}
    assert run("--show-completion", "bash") == (2, [f"in4310repro: {reason}"])
    assert run("cache", "--quiet") == (0, [])


REFUSED = """
compare nowhere nowhere
evaluate {run} --data nowhere
evaluate {run} --out mine
evaluate {run} --device gpu
predict {run} nowhere.png
predict {run} mine --out scores.xlsx
verify nowhere
verify {run} --report nowhere
verify {run} --replay -1
verify {run} --draw 1
report {run} --numerics x
report {run} --imagenet nowhere
export {run} --as card --out new
export {run} --as in-toto --out new --verification nowhere
export {run} --as ro-crate --out new
features --data nowhere --out maps.json
features --data mine --out maps.json --samples x
modules
diff nowhere nowhere
explain nothing
demo --break nowhere
data check mine --weights nowhere
fingerprint --device gpu
train --data nowhere
train --weights nowhere
train --split 1/2/3
train --resume --out nowhere
train --log-steps x
train --preset course
"""


@pytest.mark.process
def test_what_is_wrong_with_the_words_of_a_command_is_said_without_torch_and_that_torch_is_loading_before_it_is(
    own_records: Path, tmp_path: Path
) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "torch.py").write_text("raise SystemExit('torch is loaded')", encoding="utf-8")
    write_class_folders(tmp_path / "mine", {"a": 2, "b": 2})
    script = """
import contextlib, io, sys
from in4310repro import cli
for line in sys.stdin:
    error = io.StringIO()
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        cli.main(line.split())
    print(line.strip(), "|", *error.getvalue().splitlines())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "without"), *sys.path])}
    lines = REFUSED.strip().format(run=own_records)
    ended_by = subprocess.run(
        (sys.executable, "-c", script), input=f"{lines}\ndemo --break {own_records}",
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    *wrong, loading = ended_by.stdout.splitlines()
    assert "| loading torch" in loading
    for line, said in zip(lines.splitlines(), wrong, strict=True):
        words, _, error = said.partition(" | ")
        assert (words, "in4310repro: " in error) == (line, True), said
        assert "loading" not in error
        assert "torch is loaded" not in error
