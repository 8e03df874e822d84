"""The application of all commands, and main(), which turns errors into one line and an exit code."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import typer

from in4310repro.cli import audit, bench, data, features, reports, runs, training
from in4310repro.cli.console import INTERRUPTED, WRONG_INPUT, print_error

# Typer brings its own copy of click, or the click package, by version; this is the base class of either.
USAGE_ERROR: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
FORMER_OPTIONS = {"--departures": "--deviations"}
RESUMABLE = ("train", "features")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Reproduces a published image-classification report and tests every number in it.",
)
for command in (
    training.train,
    reports.report,
    runs.verify,
    runs.compare,
    runs.evaluate,
    features.features,
    audit.audit,
    bench.bench,
    reports.ablation,
    reports.published,
    runs.fingerprint,
):
    app.command()(command)
app.add_typer(data.app, name="data")


def main() -> None:
    """Runs a command; wrong input becomes one line and exit code 2, an interrupt exit code 130."""
    try:
        # Without standalone mode a command's exit code comes back as the value.
        code = app(standalone_mode=False)
    except USAGE_ERROR as error:
        _fail(_usage_message(error.format_message()), WRONG_INPUT)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except (ValueError, OSError) as error:
        _fail(" ".join(str(error).split()), WRONG_INPUT)
    if code == INTERRUPTED:
        resumable = sys.argv[1:2] and sys.argv[1] in RESUMABLE
        hint = "the same command with --resume continues" if resumable else "what was finished is kept"
        _fail(f"interrupted; {hint}", INTERRUPTED)
    sys.exit(code)


def _usage_message(message: str) -> str:
    for former, current in FORMER_OPTIONS.items():
        if former in message:
            return f"no option {former}; it is called {current} now"
    return message


def _fail(message: str, code: int) -> NoReturn:
    print_error(message)
    sys.exit(code)
