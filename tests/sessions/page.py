"""The tables in docs/sessions.md, from the docstrings of noxfile.py and from the list of evidence."""

from __future__ import annotations

import inspect
from pathlib import Path

import nox
import noxfile

from tests.audit.validation_page import replaced
from tests.sessions.evidence import EVIDENCE, PRINTED

PAGE = Path(noxfile.__file__).parent / "docs/sessions.md"


def renew(page: str) -> str:
    """Return the page with its tables replaced by current ones."""
    return replaced(replaced(page, sessions_table(), "sessions"), evidence_table(), "evidence")


def sessions_table() -> str:
    rows = [
        f"| `{name}` | {' '.join(inspect.cleandoc(session.func.__doc__ or '').split())} |"
        for name, session in nox.registry.get().items()
    ]
    return "\n".join(["| session | what it does |", "| --- | --- |", *rows])


def evidence_table() -> str:
    rows = [
        f"| `{name}` | {each.what} | {each.writes if each.writes == PRINTED else f'`{each.writes}`'} | {each.cost} |"
        for name, each in EVIDENCE.items()
    ]
    return "\n".join(["| name | what it measures or shows | writes | takes |", "| --- | --- | --- | --- |", *rows])


if __name__ == "__main__":
    PAGE.write_text(renew(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
