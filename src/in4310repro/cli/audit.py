"""The command `audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from in4310repro.cli.console import print_findings
from in4310repro.cli.options import JsonOut


def audit(
    file: Annotated[Path, typer.Argument(help="A report as Markdown or text, or its values as strings in TOML.")],
    images: Annotated[int, typer.Option(help="Images of a set, if the report does not say.", min=1)] = 3000,
    out: JsonOut = None,
) -> None:
    """Take printed numbers apart: the counts behind them, whether they agree, what is odd; exit code 1 if not."""
    from in4310repro.audit import examine, page

    audited = examine.audit(file, images=images)
    print_findings(page.render(audited), audited.to_json(), out, wrong=bool(audited.inconsistencies))
