"""The command `audit`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from in4310repro.cli.console import WRONG_INPUT, conclude, print_error, print_line, print_text


def audit(
    files: Annotated[list[Path], typer.Argument(help="Reports: text, Markdown, LaTeX, HTML, CSV, JSON, TOML or PDF.")],
    images: Annotated[
        list[int] | None, typer.Option(help="Images of a set, if the report does not say; once for each set.", min=1)
    ] = None,
    sizes: Annotated[
        list[str] | None,
        typer.Option(help="Images of each class: sea=510,forest=474, or a JSON or CSV file; once for each set."),
    ] = None,
    folds: Annotated[int | None, typer.Option(help="Folds or runs that values are means over.", min=1)] = None,
    bound: Annotated[int | None, typer.Option(help="Largest class size that is searched.", min=1)] = None,
    ceiling: Annotated[list[str] | None, typer.Option(help="Accuracy above which a result is odd: 0.995.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Print what is recognised and stop.")] = False,
    out: Annotated[Path | None, typer.Option(help="Page (.html) or findings (.json) of one file.")] = None,
) -> None:
    """Look for printed numbers that contradict each other; exit code 1 if something is impossible, 2 if unread.

    Examples:
        in4310repro audit report.md
        in4310repro audit paper.pdf --images 3000 --out audit.html
        in4310repro audit results.csv --sizes sea=510,forest=474 --json
    """
    from in4310repro.audit import command
    from in4310repro.audit.verdicts import Options

    command.check_out(out, files)
    if show:
        _show_recognised(files)
        return
    given = [command.parse_sizes(each) for each in sizes or []]
    ceilings = command.parse_ceilings(ceiling or [])
    options = Options.of_sets(images or [], given, bound=bound, folds=folds, ceilings=ceilings)
    outcomes = [command.audit_file(file, options) for file in files]
    written = [command.write(each.audit, out) for each in outcomes if each.audit and out]
    for text in command.lines(outcomes):
        print_text(text)
    for path in written:
        print_line(f"wrote {path}")
    for each in outcomes:
        if each.error:
            print_error(each.error)
    documents = [each.audit.to_json() if each.audit else {"error": each.error} for each in outcomes]
    results = [{"file": str(file), "result": document} for file, document in zip(files, documents, strict=True)]
    conclude({"files": results}, command.exit_code(outcomes))


def _show_recognised(files: Sequence[Path]) -> None:
    """Print what is recognised in each file; exit with code 2 if a file cannot be read."""
    from in4310repro.audit import command

    listings = [command.list_recognised(file) for file in files]
    for each in listings:
        if isinstance(each, str):
            print_text(each)
        else:
            print_error(each.error)
    shown = [{"file": str(file), "recognised": text} for file, text in zip(files, listings, strict=True)]
    unread = [each for each in listings if not isinstance(each, str)]
    conclude({"files": [each for each in shown if isinstance(each["recognised"], str)]}, WRONG_INPUT if unread else 0)
