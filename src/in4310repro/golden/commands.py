"""What a person types to write a golden file: nox in this project, pytest in one that uses the plugin."""

from __future__ import annotations

from dataclasses import dataclass

# What hints show as a reason; a reason of its own takes its place.
EXAMPLE, EXAMPLE_OF_CLASSES = "why it moved", "why the class changed"


@dataclass(frozen=True, kw_only=True)
class Command:
    """The command that writes golden files."""

    program: str  # what stands before the name of a case
    reason: str  # the option that takes the reason
    separator: str = " "

    def __call__(self, case: str, reason: str) -> str:
        """The whole command for a case, with its reason."""
        return f'{self.program}{self.separator}{case} {self.reason} "{reason}"'


NOX = Command(program="nox -s golden", separator=" -- ", reason="--reason")
PYTEST = Command(program="pytest --golden-update", reason="--golden-reason")
