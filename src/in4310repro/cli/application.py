"""The application with all commands, and `run`, which turns each error into one line and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn

import typer

from in4310repro.cli import checks, demo, export, features, machine, options, reports, runs, traces, training
from in4310repro.cli.console import (
    INTERNAL,
    INTERRUPTED,
    OUTPUT,
    WRONG_INPUT,
    begin_output,
    choose_output,
    lost,
    print_document,
    print_error,
    print_line,
    print_text,
    refuse_unreadable_encodings,
)
from in4310repro.cli.help_pages import SHELL, WIDTH, Command, Group
from in4310repro.cli.options import AsJson, Quiet, with_output
from in4310repro.system import launch, signals
from in4310repro.system.files import describe
from in4310repro.system.text import did_you_mean

# Typer brings its own copy of click, or the click package, by version; this is the base class of either.
USAGE_ERROR: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
PROGRAM = "in4310repro"
CLOSED = -1  # not an exit code: a library wrote into a pipe that was closed
LONGEST_LINE = 500  # characters of an error's own text
# Texts of torch's RuntimeError if memory is missing, on the CPU and on a GPU.
OUT_OF_MEMORY = ("can't allocate memory", "OutOfMemoryError", "out of memory")

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": WIDTH}
HELP = """Trains networks by the assignment of a published report on image classification, and checks its own numbers.

    Examples:
        in4310repro train          # first: three networks on drawn scenes, about a minute
        in4310repro report         # then: reports/demo/index.html, which a browser opens
        in4310repro demo --break   # falsify a copy of the run in three ways and see what finds each
        in4310repro train --data photos/mine && in4310repro report runs/mine
        in4310repro doctor         # if something does not work
    """

app = typer.Typer(
    cls=Group,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings=SETTINGS,
    help=HELP,
)
GROUPS: dict[str, tuple[Callable[..., None], ...]] = {
    "Train and report": (training.train, reports.report),
    "Check and use a run": (runs.verify, runs.compare, runs.evaluate, runs.predict, demo.demo, export.export),
    "Without a run": (features.features, features.modules, checks.audit, traces.diff, traces.explain),
    "This machine": (machine.doctor,),
    "For maintainers": (machine.fingerprint, machine.cache),
}
for group, commands in GROUPS.items():
    for command in commands:
        app.command(cls=Command, rich_help_panel=group)(with_output(command))
app.add_typer(checks.app, name="data", rich_help_panel="Without a run")


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    quiet: Quiet = False,
    json: AsJson = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    install_completion: Annotated[
        bool,
        typer.Option(
            "--install-completion", help="Complete commands, options and values in this shell, or in the named one."
        ),
    ] = False,
    show_completion: Annotated[
        bool,
        typer.Option("--show-completion", help="Print what --install-completion would add; --show-completion bash."),
    ] = False,
) -> None:
    """Handle options given before, or without, a command."""
    before = OUTPUT.get()
    context.call_on_close(lambda: OUTPUT.set(before))
    choose_output(quiet=quiet, json=json)
    if version:
        from importlib import metadata

        number = metadata.version("in4310repro")
        print_line(f"in4310repro {number}")
        print_document({"version": number})
        raise typer.Exit
    if install_completion or show_completion:
        _complete(context, install=install_completion)
    if context.invoked_subcommand is None:
        print_text(context.get_help())


def _complete(context: typer.Context, *, install: bool) -> None:
    # Typer's own completion options are not used, since their type needs pydantic, which `--help` should not import.
    from typer import completion as untyped

    completion: Any = untyped
    _know_shells()
    shell = context.meta.get(SHELL) or completion._get_shell_name() or ""
    known = [each.value for each in completion.Shells]
    if shell not in known:
        raise ValueError(
            f"{f'no completion for {shell!r}' if shell else 'this shell is not known'}; --show-completion and "
            f"--install-completion take {', '.join(known)}{did_you_mean(shell, known)}"
        )
    call: Any = completion.install_callback if install else completion.show_callback
    with contextlib.suppress(SystemExit):
        call(context, None, shell)
    raise typer.Exit


def _know_shells() -> None:
    from typer.completion import get_completion_inspect_parameters

    # Called for its side effects, as `Typer(add_completion=True)` does.
    get_completion_inspect_parameters()


def run(interrupted: Callable[[], bool], words: Sequence[str] | None = None) -> NoReturn:
    """Run a command and raise SystemExit with its exit code.

    The code is 2 for wrong input, 70 for an internal error and 130 for an interrupt, each with one line on
    standard error.

    Args:
        interrupted: a function that returns whether a stopping signal has come, even if a library has caught the
            KeyboardInterrupt.
        words: the arguments of the command; None for the arguments with which the process was started.
    """
    signals.kept, launch.record = signals.keep_nothing, launch.record_nothing
    begin_output()
    if os.environ.get(f"_{PROGRAM.upper()}_COMPLETE"):
        # The shell asks for what may come next; typer answers and exits.
        _know_shells()
        app(prog_name=PROGRAM)
    message, ended_by = "", None
    try:
        refuse_unreadable_encodings()
        # Without standalone mode a command's exit code comes back as the value.
        code = app(words, prog_name=PROGRAM, standalone_mode=False) or 0
        # Buffered lines that cannot be written are an error now, and not when the interpreter ends.
        sys.stdout.flush()
        if lost:
            code, message = code or lost[0][0], lost[0][1]
    except BaseException as error:
        ended_by = error
        # An error may be only what another process's end does to this one.
        ended = interrupted() or (launch.by_torchrun() and _processes().is_consequence(error))
        code, message = (INTERRUPTED, "") if ended else _describe_error(error)
        _discard_output()
    if code == INTERRUPTED:
        message = signals.describe_interrupt()
    if code == CLOSED:
        code = INTERRUPTED
    if launch.by_torchrun():
        code, message = _processes().conclude(code, message, ended_by)
    if message:
        # There is no one left to tell where standard error is closed or full.
        with contextlib.suppress(OSError, ValueError):
            print_error(message)
    if code and launch.by_torchrun():
        # It stops the others as soon as one has ended, whatever they are about to say.
        os._exit(code)
    sys.exit(code)


def _processes() -> Any:
    """Ignore stopping signals in this process, then import and return the module `processes`."""
    signals.ignore()
    from in4310repro.system import processes

    return processes


def _describe_error(error: BaseException) -> tuple[int, str]:
    """Return the exit code and the line to print for the error that ended a command."""
    if isinstance(error, USAGE_ERROR):
        return WRONG_INPUT, _usage_message(error)
    if isinstance(error, typer.Abort) and isinstance(error.__cause__, EOFError):
        # Typer takes it for the end of standard input, which no command reads.
        return _describe_internal_error(error.__cause__)
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return INTERRUPTED, ""
    if any(isinstance(each, BrokenPipeError) for each in (error, error.__context__)):
        # It is not from our own output, where `progress.write_line` handles a closed pipe.
        return CLOSED, ""
    if isinstance(error, OSError):
        return WRONG_INPUT, " ".join(describe(error).split())
    if isinstance(error, ValueError):
        return WRONG_INPUT, " ".join(str(error).split())
    return _describe_internal_error(error)


def _former_options_of_report() -> set[str]:
    """Return the options that `report` had in older versions, for a helpful error message."""
    names = options.parameters_of(training.train)
    return {"--reports", *(f"--{each.name.replace('_', '-')}" for each in names)}


def _describe_internal_error(error: BaseException) -> tuple[int, str]:
    """Write the traceback of an internal error to a file; return the exit code and the line to print."""
    import tempfile
    import traceback

    text = " ".join("".join(traceback.format_exception_only(error)).split())[:LONGEST_LINE]
    if isinstance(error, MemoryError) or any(phrase in text for phrase in OUT_OF_MEMORY):
        # No error of ours, and nothing that a traceback would explain.
        return WRONG_INPUT, f"memory ran out ({text}); smaller images or batches take less"
    what = f"error in the program: {text}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="in4310repro-", suffix=".log", encoding="utf-8", errors="backslashreplace", delete=False
        ) as file:
            file.write("".join(traceback.format_exception(error)))
    except (OSError, MemoryError, RecursionError) as unwritten:
        return INTERNAL, f"{what}; its traceback could not be written ({' '.join(str(unwritten).split())})"
    return INTERNAL, f"{what}; its traceback is in {file.name}"


def _discard_output() -> None:
    """Flush standard output.

    If that fails, redirect standard output to the null device, since Python would otherwise fail again at exit.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage_message(error: Any) -> str:
    message = str(error.format_message())
    option, command = getattr(error, "option_name", ""), getattr(error.ctx, "info_name", "") if error.ctx else ""
    if command == "report" and option in _former_options_of_report():
        return (
            f"no option {option}; report takes the run that train wrote: in4310repro report RUN [--out FOLDER], such "
            f"as in4310repro report {reports.DEFAULT_RUN.as_posix()}"
        )
    return message
