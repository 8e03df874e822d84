"""The table of sessions in docs/commands.md, from the first paragraphs of the docstrings of noxfile.py."""

from __future__ import annotations

import inspect
from pathlib import Path

import nox
import noxfile

from tests.docs.marks import replaced

PAGE = Path(noxfile.__file__).parent / "docs/commands.md"


def renew(page: str) -> str:
    """Return the page with its table of sessions replaced by the current one."""
    return replaced(page, "sessions", sessions_table())


def sessions_table() -> str:
    rows = [
        f"| `{name}` | {_first_paragraph(session.func.__doc__ or '')} |" for name, session in nox.registry.get().items()
    ]
    return "\n".join(["| session | what it does |", "| --- | --- |", *rows])


def _first_paragraph(docstring: str) -> str:
    return " ".join(inspect.cleandoc(docstring).partition("\n\n")[0].split())


if __name__ == "__main__":
    PAGE.write_text(renew(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
