"""Commands, options and arguments of click: how one is declared, those that several share, and help without markup.

The help of a command is the docstring of its function; its section `Examples:` is printed unchanged. Options are shown
in groups.
"""

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from in4310repro.cli import console
from in4310repro.data.folders import refuse_no_folder
from in4310repro.runs.settings import CHOICES, OPTIONS, check_choice, join_choices
from in4310repro.system import launch
from in4310repro.system.numerics import check_device
from in4310repro.system.text import did_you_mean

# Commands and options of older versions, with what does their work now.
RETIRED = {
    "ablation": "it is a study now: nox -s ablation, in a clone of the repository",
    "published": "it is a study now: nox -s evidence -- published RUN RUN..., in a clone of the repository",
    "demo --svg": "--json prints what --break found, and redirected output is its text",
    "train --next-command": "--json prints the run, which is the argument of in4310repro report",
}
WIDTH = 110  # columns, where the terminal has as many
EXAMPLES = "Examples:"
RANGES: dict[type, Any] = {int: click.IntRange, float: click.FloatRange}


class _Parameter(click.Parameter):
    """What an option and an argument share: a place in the help, a check and values for the shell's completion.

    Args:
        names: as click takes them.
        text: that in the help of the command.
        kind: the type of a value.
        panel: the title of a group in the help.
        within: the smallest and the largest valid number; None where there is no such bound.
        values: values for completion; files where there are none.
        check: a function that raises ValueError for a wrong value, called before the command begins.
        more: as click takes it.
    """

    def __init__(
        self,
        names: Sequence[str],
        text: str,
        kind: Any = str,
        panel: str = "Options",
        within: tuple[float | None, float | None] | None = None,
        values: Iterable[str] = (),
        check: Callable[[Any], object] | None = None,
        **more: Any,
    ) -> None:
        many = more.get("multiple") or more.get("nargs") == -1
        self.label = f"<list[{kind.__name__}]>" if many else f"<{kind.__name__.lower()}{' range' * bool(within)}>"
        super().__init__(names, type=RANGES[kind](*within) if within else kind, **{"metavar": self.label} | more)
        self.help, self.panel, self.values, self.check = text, panel, sorted(values), check

    def shell_complete(self, _context: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the values that begin with what is typed, or have the shell complete files."""
        if self.values:
            return [CompletionItem(each) for each in self.values if each.startswith(incomplete)]
        return [CompletionItem(incomplete, type="file")]


class Option(_Parameter, click.Option):
    """Option in a group of the help; `choice` names in `CHOICES` the values that it takes, and bool makes a flag."""

    def __init__(self, names: Sequence[str], help_text: str, kind: Any = str, choice: str = "", **more: Any) -> None:
        if choice:
            more = {"values": CHOICES[choice], "check": functools.partial(check_choice, choice)} | more
        super().__init__(names, help_text, kind, **{"is_flag": kind is bool or None} | more)


class Argument(_Parameter, click.Argument):
    """Argument with a text in the help."""

    def __init__(
        self, names: Sequence[str], help_text: str, kind: Any, required: bool = True, nargs: int = 1, **more: Any
    ) -> None:
        self.dots = "..." * (nargs < 0)
        metavar = (f"{{{names[0]}}}" if required else f"[{names[0]}]") + self.dots
        more |= {"required": required, "nargs": nargs, "metavar": metavar}
        super().__init__(names, help_text, kind, "Arguments", **more)

    def get_error_hint(self, _context: Any = None) -> str:
        """Return the name for an error's text."""
        return f"'{self.name}'"

    def get_help_record(self, _context: Any) -> tuple[str, str]:
        """Return name and text for the help."""
        return f"{self.name}{self.dots} {self.label}", f"{self.help}{'  [required]' * self.required}"


def _show_help(context: click.Context, option: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        context.meta[HELP_ALL.name] = option is HELP_ALL
        console.write_result(context.get_help())
        context.exit()


def _choose_output(_context: object, option: click.Parameter, given: bool) -> None:
    # Added to the words before the command's name.
    if given:
        console.OUTPUT.set(console.OUTPUT.get() | {f"{option.name}"})


Facts = dict[str, Any]  # arguments of an option, by name
OF_OUTPUT: Facts = {"panel": "Output", "expose_value": False}
FLAG: Facts = {**OF_OUTPUT, "kind": bool}
_FIRST: Facts = {**FLAG, "is_eager": True}
QUIET = Option(["--quiet", "-q"], "Print only errors; the exit code is the result.", callback=_choose_output, **_FIRST)
JSON = Option(["--json"], "Print the result as one JSON document.", callback=_choose_output, **_FIRST)
HELP = Option(["-h", "--help"], "Show this message and exit.", callback=_show_help, **_FIRST)
HELP_ALL = Option(
    ["--help-all"],
    "Show all options. Settings without one are in the file that --print-config prints.",
    callback=_show_help,
    **_FIRST,
)


class Command(click.Command):
    """Command that checks its words before it begins, and whose help shows options in groups, then examples.

    A command with many options names those that most users need as `first`; `--help-all` shows the others too.
    """

    panel = "Commands"  # in the help of its group

    def __init__(self, *given: Any, first: Collection[str] = (), **more: Any) -> None:
        super().__init__(*given, **more | {"add_help_option": False})
        self.params += [QUIET, JSON, HELP, *[HELP_ALL] * bool(first)]
        self.first = first

    def invoke(self, ctx: click.Context) -> Any:
        """Check the values and call the function.

        Options, which come last, are checked first: what is wrong with them is wrong for any run. Only rank 0 of
        several processes checks: others need not have the files of a run, and print nothing.
        """
        checked: list[Any] = [] if launch.is_silent() else self.params[::-1]
        for each in checked:
            value = ctx.params.get(each.name)
            for one in value if isinstance(value, tuple) else (value,):
                if each.check and one is not None:
                    each.check(one)
        return super().invoke(ctx)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write usage and description, then options in groups and examples; of a group, examples and then commands."""
        self.format_usage(ctx, formatter)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(_description(self))
        commands: list[Any] = [*getattr(self, "commands", {}).values()]
        members: list[Any] = [
            (each, (each.name, f"{_description(each).partition('. ')[0].rstrip('.')}.")) for each in commands
        ]
        shown_all = not self.first or ctx.meta.get(HELP_ALL.name)
        members += [
            (each, each.get_help_record(ctx))
            for each in self.params
            if shown_all or each.name in self.first or each in (QUIET, JSON, HELP, HELP_ALL)
        ]
        # In order of first appearance.
        sections: dict[str, list[tuple[str, str]]] = {}
        for member, (name, text) in members:
            sections.setdefault(member.panel, []).append((name.rstrip(), text))
        shown = [(title, functools.partial(formatter.write_dl, rows)) for title, rows in sections.items()]
        lines = "".join(f"  {line}\n" for line in examples(self))
        shown.insert(0 if commands else len(shown), ("Examples", functools.partial(formatter.write, lines)))
        for title, write in shown:
            with formatter.section(title):
                write()


class Group(Command, click.Group):
    """Group of commands whose help, which is printed without a command, shows examples, then commands in groups."""

    def __init__(self, name: str, help_text: str, params: Collection[Option] = (), **settings: Any) -> None:
        more: Facts = {"invoke_without_command": True, "subcommand_metavar": "COMMAND [ARGS]..."}
        super().__init__(name, help=help_text, context_settings=settings, **more)
        self.params = [*params, HELP]

    def invoke(self, ctx: click.Context) -> None:
        """Call the command, or print the help."""
        click.Group.invoke(self, ctx)
        if ctx.invoked_subcommand is None:
            console.print_text(ctx.get_help())

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Return the command named by the first argument. If it is unknown, fail and suggest a similar name."""
        if args[0] not in self.commands and not args[0].startswith("-") and not ctx.resilient_parsing:
            valid = f"there are {', '.join(self.commands)}{did_you_mean(args[0], self.commands)}"
            ctx.fail(f"no command {args[0]!r}; {RETIRED.get(args[0], valid)}")
        return super().resolve_command(ctx, args)

    def list_commands(self, _context: click.Context) -> list[str]:
        """Return the names of the commands in their order."""
        return list(self.commands)


def examples(command: click.Command) -> list[str]:
    """Return the lines in the section `Examples:` of a command's docstring."""
    return [line.strip() for line in (command.help or "").partition(EXAMPLES)[2].splitlines() if line.strip()]


def _description(command: click.Command) -> str:
    return " ".join((command.help or "").partition(EXAMPLES)[0].split())


SEED: Facts = {"kind": int, "default": 0, "within": (0, 2**63 - 1)}
# Types of values that need not be given.
Text = str | None
Place = Path | None
Decorator = Callable[[Callable[..., None]], Callable[..., None]]
RUN = "The run"  # a group of options in `--help`, beside those of the settings
A_RUN = "A run folder, such as runs/demo."
MOVED = "Where the run's images are now, if they moved."

# The type on the command line of each option that is declared as a field of `Config`.
KINDS = {
    name: next((kind for kind in (int, float) if each.kind in (kind, kind | None)), str)
    for name, each in OPTIONS.items()
    if each.help
}

command = functools.partial(click.command, cls=Command)


def option(names: str, help_text: str, kind: Any = str, panel: str = "Options", **more: Any) -> Decorator:
    """Return a decorator that adds an option to a command.

    Args:
        names: the option's names with spaces between them; the last may be that of the function's parameter.
        help_text: the option's help.
        kind: the type of its value; bool for a flag.
        panel: the title of its group in the help.
        more: as `Option` takes it.
    """
    return click.option(*names.split(), cls=Option, help_text=help_text, kind=kind, panel=panel, **more)


def argument(name: str, help_text: str, kind: Any = Path, **more: Any) -> Decorator:
    """Return a decorator that adds an argument to a command."""
    return click.argument(name, cls=Argument, help_text=help_text, kind=kind, **more)


def flag(name: str) -> str:
    """Return the name that the option of a parameter has on the command line."""
    return f"--{name.replace('_', '-')}"


def choices(name: str) -> str:
    """Return the valid values of an option as a phrase for its help."""
    return join_choices(CHOICES[name])


def check_run(folder: Path) -> None:
    """Raise ValueError if the folder is not a finished run; nothing is checked by other processes than rank 0."""
    if not launch.is_silent():
        # NumPy and pydantic, which no help needs.
        from in4310repro.runs.folder import finished_files

        finished_files(folder)


def check_file(file: Path) -> None:
    """Raise ValueError if there is no such file."""
    if not file.exists():
        raise ValueError(f"{file} is not there")


def check_output(file: Path) -> None:
    """Raise ValueError if a folder is where a file would be written."""
    if file.is_dir():
        raise ValueError(f"{file} is a folder; a regular file is needed")


def ending(name: str, *endings: str) -> Callable[[Path], None]:
    """Return a check that the file of the option `name` is not a folder, and that its name has one of these endings."""

    def check(file: Path) -> None:
        if file.suffix not in endings:
            raise ValueError(f"{name} {file}; the name must end with {' or '.join(endings)}")
        check_output(file)

    return check


def of_config(*names: str, **other: Any) -> Decorator:
    """Return a decorator that adds options which are declared as fields of `Config`.

    Args:
        names: the fields.
        other: what is other than in the options of a training, as `option` takes it.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        for name in reversed(names):
            declared, kind = OPTIONS[name], KINDS[name]
            facts: Facts = {"help_text": declared.help, "kind": kind, "panel": declared.group}
            facts |= {"choice": name} if declared.choices else {"values": declared.examples}
            if name == "device":
                facts["check"] = check_device
            function = option(flag(name), **facts | other)(function)
        return function

    return decorate


def given(values: Mapping[str, Any]) -> Facts:
    """Return the values of the options that were given, by name."""
    return {name: value for name, value in values.items() if value is not None}


# Options of all commands that train; seed and protocol are last in their group of the help.
OVERRIDES = of_config(*sorted(KINDS, key=("seed", "protocol").__contains__))
CONFIG_FILE = option("--config", "TOML file of settings that replace the preset's.", Path, RUN)
RUN_FOLDER = argument("run", A_RUN, check=check_run)
DATA = option("--data", MOVED, check=refuse_no_folder)
AS_RUN = option("--numerics", f"Arithmetic: {choices('numerics')}; default: the run's.", choice="numerics")
OWN_NETWORK = option("--model", "MODULE:FUNCTION, if the run's network is your code.")
