"""The command that writes a golden file: nox in this project, pytest in projects that use the plugin."""

from __future__ import annotations

from dataclasses import dataclass

# Placeholder reasons in hints; `update` refuses them.
EXAMPLE, EXAMPLE_OF_CLASSES = "why it moved", "why the class changed"


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command line that writes golden files."""

    program: str  # the command up to the name of a case
    reason: str  # the option for the reason
    separator: str = " "

    def __call__(self, case: str, reason: str) -> str:
        """Return the full command line that writes a case's file for a reason."""
        return f'{self.program}{self.separator}{case} {self.reason} "{reason}"'


NOX = Command(program="nox -s golden", separator=" -- ", reason="--reason")
PYTEST = Command(program="pytest --golden-update", reason="--golden-reason")
