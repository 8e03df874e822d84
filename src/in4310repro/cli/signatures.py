"""Decorators that add shared options to the functions of commands."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from in4310repro.cli.console import choose_output
from in4310repro.cli.helping import OUTPUT
from in4310repro.cli.options import Overrides

Command = Callable[..., None]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print errors alone; the exit code tells.", rich_help_panel=OUTPUT)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.", rich_help_panel=OUTPUT)]


def with_overrides(command: Command) -> Command:
    """Add the shared training options to a command.

    The command receives the given ones as a dictionary `overrides`.
    """

    def call(*, overrides: Mapping[str, Any], **values: Any) -> None:
        command(**values, overrides={name: value for name, value in overrides.items() if value is not None})

    own = parameters_of(command)[:-1]
    annotations = inspect.get_annotations(Overrides, eval_str=True)
    shared = [_keyword(name, annotation, None) for name, annotation in annotations.items()]
    return _with_options(command, [*own, *shared], {each.name for each in shared}, "overrides", call)


def with_output(command: Command) -> Command:
    """Add `--quiet` and `--json` to a command, and apply them before it runs."""

    def call(*, output: Mapping[str, Any], **values: Any) -> None:
        choose_output(**output)
        command(**values)

    output = [_keyword("quiet", Quiet, False), _keyword("json", AsJson, False)]
    return _with_options(command, [*parameters_of(command), *output], {"quiet", "json"}, "output", call)


def parameters_of(command: Command) -> list[inspect.Parameter]:
    """Return the parameters of a command's function, as keyword-only parameters."""
    listed = inspect.signature(command, eval_str=True).parameters.values()
    return [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in listed]


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _with_options(
    command: Command,
    parameters: list[inspect.Parameter],
    gathered: set[str],
    name: str,
    call: Command,
) -> Command:
    """Return a function with these parameters; it calls `call` with the `gathered` ones in a dictionary `name`."""
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}

    def wrapper(**values: Any) -> None:
        # A command can call another one with some of its options.
        values = defaults | values
        some = {option: values.pop(option) for option in gathered}
        call(**values, **({name: some} if name else {}))

    wrapper.__doc__, wrapper.__name__ = command.__doc__, command.__name__
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return wrapper
