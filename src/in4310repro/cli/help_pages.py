"""Help texts without markup: options in groups, then examples. Importing rich for help would be slow.

The help of a command is the docstring of its function; its section `Examples:` is printed unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from typer.core import TyperCommand, TyperGroup

from in4310repro.cli.console import write_result
from in4310repro.system.text import did_you_mean

# Commands of older versions, which are no part of the package any more.
STUDIES = {"ablation": "nox -s ablation", "published": "nox -s evidence -- published RUN RUN..."}
WIDTH = 110  # columns, where the terminal has as many
EXAMPLES = "Examples:"
OPTIONS = "Options"
OUTPUT = "Output"
COMPLETION = ("--install-completion", "--show-completion")
SHELL = "in4310repro.shell"  # of completion, among what a context keeps


class _Plain:
    """Base class of `Command` and `Group`, with the parts of the help that both have."""

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option `--help`, which prints the help without using the library rich."""
        option: Any = super().get_help_option(ctx)  # type: ignore[misc]
        # None would be converted to a bool, for which typer imports pydantic before any help is printed.
        option.default = False
        option.callback = _show_help
        return option

    def format_help_text(self, _context: Any, formatter: Any) -> None:
        """Write the description of the command or group."""
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(_description(self))


class Command(_Plain, TyperCommand):
    """Command whose help shows its options in groups, then examples."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one section for each group of options, then the examples."""
        _write_parameters(self.get_params(ctx), ctx, formatter)
        _write_examples(self, formatter)


class Group(_Plain, TyperGroup):
    """Group of commands whose help shows examples, then the commands in groups."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options before the command; return the remaining arguments.

        The name of a shell after a completion option such as `--show-completion` is removed first.
        """
        if ctx.parent is None:
            args = _drop_shell(ctx, args)
        rest: list[str] = super().parse_args(ctx, args)
        return rest

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command named by the first argument. If it is unknown, fail and suggest a similar name."""
        known = self.list_commands(ctx)
        if args[0] in STUDIES and args[0] not in known:
            ctx.fail(f"no command {args[0]!r}; it is a study now: {STUDIES[args[0]]}, in a clone of the repository")
        if not args[0].startswith("-") and args[0] not in known and not ctx.resilient_parsing:
            ctx.fail(f"no command {args[0]!r}; {', '.join(known)} are valid{did_you_mean(args[0], known)}")
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the examples, one section for each group of commands, then one for each group of options."""
        _write_examples(self, formatter)
        commands = [command for name in self.list_commands(ctx) if (command := self.get_command(ctx, name))]
        for title, members in _group_by_panel([each for each in commands if not each.hidden], "Commands"):
            _write_section(title, [(each.name, _description(each)) for each in members], formatter)
        _write_parameters(self.get_params(ctx), ctx, formatter)


def _drop_shell(context: Any, words: list[str]) -> list[str]:
    """Return the arguments without a shell's name after a completion option; store the name in the context."""
    for place, word in enumerate(words):
        option, sign, shell = word.partition("=")
        if not word.startswith("-"):
            # The name of a command.
            break
        if option not in COMPLETION:
            continue
        rest = words[place + 1 :]
        if not sign and rest and not rest[0].startswith("-"):
            shell, rest, sign = rest[0], rest[1:], "="
        if sign:
            context.meta[SHELL] = shell
        return [*words[:place], option, *rest]
    return words


def examples(command: Any) -> list[str]:
    """Return the lines in the section `Examples:` of a command's docstring."""
    return [line.strip() for line in (command.help or "").partition(EXAMPLES)[2].splitlines() if line.strip()]


def _show_help(context: Any, _option: Any, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        write_result(context.get_help())
        context.exit()


def _description(command: Any) -> str:
    return " ".join((command.help or "").partition(EXAMPLES)[0].split())


def _write_parameters(parameters: Iterable[Any], context: Any, formatter: Any) -> None:
    """Write help sections for the arguments and for each group of options; the group `Output` comes last."""
    shown = [each for each in parameters if not getattr(each, "hidden", False)]
    arguments = [each for each in shown if each.param_type_name == "argument"]
    _write_section("Arguments", [each.get_help_record(context) for each in arguments], formatter)
    for each in shown:
        # Help and the like come without a group.
        if set(each.opts) & {"--help", "--version", *COMPLETION}:
            each.rich_help_panel = OUTPUT
    options = [each for each in shown if each.param_type_name == "option"]
    for title, members in sorted(_group_by_panel(options, OPTIONS), key=lambda panel: panel[0] == OUTPUT):
        _write_section(title, [each.get_help_record(context) for each in members], formatter)


def _group_by_panel(members: Iterable[Any], default: str) -> list[tuple[str, list[Any]]]:
    """Return parameters or commands grouped by their help section, in order of first appearance."""
    titles = {id(each): getattr(each, "rich_help_panel", None) or default for each in members}
    order = list(dict.fromkeys(titles.values()))
    ranked = sorted(members, key=lambda each: order.index(titles[id(each)]))
    return [(title, list(group)) for title, group in groupby(ranked, key=lambda each: titles[id(each)])]


def _write_section(title: str, rows: list[Any], formatter: Any) -> None:
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows)


def _write_examples(command: Any, formatter: Any) -> None:
    if lines := examples(command):
        with formatter.section("Examples"):
            for line in lines:
                formatter.write(f"  {line}\n")
