"""The application with all commands, and `run`, which turns each error into one line and an exit code."""

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from glob import glob
from pathlib import Path
from typing import Any, NoReturn

import click
from click.shell_completion import get_completion_class

from in4310repro.cli import console, demo, features, machine, no_run, options, reports, runs, traces, training
from in4310repro.cli.console import INTERNAL, INTERRUPTED, WRONG_INPUT, lost
from in4310repro.system import launch, signals
from in4310repro.system.files import describe, write_file
from in4310repro.system.text import did_you_mean

PROGRAM = "in4310repro"
LONGEST_LINE = 500  # characters of an error's own text
# Texts of torch's RuntimeError if memory is missing, on the CPU and on a GPU.
OUT_OF_MEMORY = ("can't allocate memory", "OutOfMemoryError", "out of memory")
HELP = """Trains networks by the assignment of a published report on image classification, and checks its own numbers.

    Examples:
        in4310repro train          # first: three networks on drawn scenes
        in4310repro report         # then: reports/demo/index.html, which a browser opens
        in4310repro demo --break   # falsify a copy of the run in three ways and see what finds each
        in4310repro train --data photos/mine && in4310repro report runs/mine
        in4310repro doctor         # if something does not work
    """


VARIABLE = "_IN4310REPRO_COMPLETE"  # in which a shell asks
# Below the home folder: the file of a shell's completion, and where a line is needed for it, that file and the line.
PLACES = {
    "bash": (".bash_completions/in4310repro.sh", ".bashrc", "source '{}'"),
    "zsh": (".zfunc/_in4310repro", ".zshrc", "fpath+=~/.zfunc; autoload -Uz compinit; compinit"),
    "fish": (".config/fish/completions/in4310repro.fish", "", ""),
}
DETECTED = "this shell"


def _complete(context: click.Context, option: click.Parameter, shell: str | None) -> None:
    """Print the completion of a shell, or install it where the shell finds it, and exit."""
    if shell is None or context.resilient_parsing:
        return
    import shellingham  # type: ignore[import-untyped]

    if shell == DETECTED:
        shell = ""
        with contextlib.suppress(shellingham.ShellDetectionFailure):
            shell = f"{shellingham.detect_shell()[0]}"
    installs = option.name == "install_completion"
    # Version 8.5 of click is the first that knows PowerShell, whose settings its user keeps.
    of_shell = get_completion_class(shell) if shell in PLACES or (shell == "powershell" and not installs) else None
    if of_shell is None:
        raise ValueError(
            f"{f'no completion for {shell!r}' if shell else 'this shell is not known'}; --show-completion and "
            f"--install-completion take {', '.join(PLACES)}{did_you_mean(shell, PLACES)}"
        )
    script = of_shell(context.command, {}, context.info_name or "", VARIABLE).source()
    if not installs:
        click.echo(script)
        context.exit()
    place, settings, line = PLACES[shell]
    file, startup = Path.home() / place, Path.home() / settings
    write_file(file, script.encode())
    if settings:
        before = startup.read_text(encoding="utf-8") if startup.exists() else ""
        if (line := line.format(file)) not in before:
            startup.write_text(f"{before}\n{line}\n", encoding="utf-8")
    console.print_line(
        f"{shell} completion installed in {file}", "Completion will take effect once you restart the terminal"
    )
    context.exit()


COMPLETION = [
    options.Option(names, text, is_flag=False, flag_value=DETECTED, callback=_complete, metavar="", **options.OF_OUTPUT)
    for names, text in (
        (["--install-completion"], "Complete commands, options and values in this shell, or in the named one."),
        (["--show-completion"], "Print what --install-completion would add; --show-completion bash."),
    )
]


def _print_version(context: click.Context, _option: object, asked: bool) -> None:
    if asked:
        from importlib import metadata

        number = metadata.version("in4310repro")
        console.print_line(f"in4310repro {number}")
        console.conclude({"version": number})
        context.exit()


app = options.Group(
    PROGRAM,
    HELP,
    [
        options.QUIET,
        options.JSON,
        options.Option(["--version"], "Print the version.", callback=_print_version, **options.FLAG),
        *COMPLETION,
    ],
    max_content_width=options.WIDTH,
    show_default=True,
)
GROUPS: dict[str, tuple[Any, ...]] = {
    "Train and report": (training.train, reports.report),
    "Check and use a run": (runs.verify, runs.compare, runs.evaluate, runs.predict, demo.demo, reports.export),
    "Without a run": (features.features, features.modules, no_run.audit, no_run.data),
    "Where two trainings differ": (traces.record, traces.diff, traces.explain),
    "This machine": (machine.doctor,),
    "For maintainers": (machine.fingerprint, machine.cache),
}
for title, commands in GROUPS.items():
    for command in commands:
        command.panel = title
        app.add_command(command)


def invoke(words: Sequence[str] | None) -> int:
    """Run a command and return its exit code; see `run`."""
    if words is None:
        words = sys.argv[1:]
        if os.name == "nt":
            # The same as shells do on other systems.
            words = [found for word in words for found in glob(word, recursive=True) or [word]]  # noqa: PTH207
    try:
        with app.make_context(PROGRAM, [*words]) as context:
            app.invoke(context)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    return 0


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
    if os.environ.get(VARIABLE):
        # The shell asks for what may come next; click answers and exits.
        app(prog_name=PROGRAM)
    code, message, ended_by = 0, "", None
    try:
        console.begin_output()
        code = invoke(words)
        # Buffered lines that cannot be written are an error now, and not when the interpreter ends.
        sys.stdout.flush()
        if lost:
            code, message = code or lost[0][0], lost[0][1]
    except BaseException as error:
        ended_by = error
        # An error may be only what another process's end does to this one.
        ended = interrupted() or (launch.by_torchrun() and _processes().is_consequence(error))
        code, message = _describe_error(KeyboardInterrupt() if ended else error)
        try:
            sys.stdout.flush()
        except (AttributeError, OSError, ValueError):
            # Python would fail again at exit.
            with contextlib.suppress(AttributeError, OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if launch.by_torchrun():
        message = _processes().conclude(code, message, ended_by)
    if message:
        # There is no one left to tell where standard error is closed or full.
        with contextlib.suppress(OSError, ValueError):
            console.print_error(message)
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
    """Return the exit code and the line to print for the error that ended a command.

    The traceback of an internal error is written to a file.
    """
    match error:
        case click.ClickException():
            return WRONG_INPUT, _usage_message(error)
        case KeyboardInterrupt():
            return INTERRUPTED, signals.describe_interrupt()
        case BrokenPipeError():
            # It is not from our own output, where `progress.write_line` handles a closed pipe.
            return INTERRUPTED, ""
        case OSError() | ValueError():
            return WRONG_INPUT, " ".join(describe(error).split())
    import tempfile
    import traceback

    text = " ".join("".join(traceback.format_exception_only(error)).split())[:LONGEST_LINE]
    if isinstance(error, MemoryError) or any(phrase in text for phrase in OUT_OF_MEMORY):
        # Not an error of the program, and a traceback would not explain it.
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


def _usage_message(error: click.ClickException) -> str:
    if not isinstance(error, click.NoSuchOption):
        return error.format_message()
    option, command = error.option_name, error.ctx and error.ctx.info_name
    if f"{command} {option}" in options.RETIRED:
        return f"no option {option}; {options.RETIRED[f'{command} {option}']}"
    # Options that `report` had in older versions.
    former = {"--reports", *(name for each in training.train.params for name in each.opts)}
    if command == "report" and option in former:
        return (
            f"no option {option}; report takes the run that train wrote: in4310repro report RUN [--out FOLDER], such "
            f"as in4310repro report {reports.DEFAULT_RUN.as_posix()}"
        )
    # In these words whatever the version of click.
    near = f" (Possible options: {', '.join(sorted(error.possibilities))})" if error.possibilities else ""
    return f"No such option: {option}{near}"
