"""Requests of a pytest session to write golden files: the names asked for, and the names that its tests use."""

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from in4310repro.golden.folder import ENVIRONMENTS, EXAMPLE, PYTEST
from in4310repro.golden.writing import clean_commit, refuse_unguarded


def check_name(case: str) -> None:
    """Raise ValueError unless the name of a case can be the name of a file."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}", case) or f"{case}.json" == ENVIRONMENTS:
        raise ValueError(f"case {case[:100]!r} names a file; expected up to 60 letters, digits, - and _")


def parse_names(options: Sequence[str]) -> list[str]:
    """Return the names in the values of a repeated option, each of which can hold several, separated by commas."""
    return list(dict.fromkeys(name.strip() for option in options for name in option.split(",")))


def check_request(names: Sequence[str], reason: str, folder: Path, environment: Mapping[str, str]) -> None:
    """Check what can be known of a request before a test runs.

    Raises:
        ValueError: only one of names and reason is given, a name is invalid, the reason has too few words, the process
            runs in CI, or the tree has changes.
    """
    if bool(names) != bool(reason):
        raise ValueError(f"an update takes a name and a reason: {PYTEST(','.join(names) or 'NAME', EXAMPLE)}")
    for name in names:
        check_name(name)
    if names:
        refuse_unguarded(reason, environment, PYTEST)
        clean_commit(folder)


def literal_cases(tests: Iterable[pytest.Item]) -> list[str] | None:
    """Return the cases of the tests that have the fixture `golden`, by their source text.

    Return None if the text alone does not tell them: if a name is not written as text in a call of `golden`, or the
    fixture is handed on.
    """
    asking = [test for test in tests if "golden" in getattr(test, "fixturenames", ())]
    if not all("golden" in test._fixtureinfo.argnames for test in asking):  # type: ignore[attr-defined]
        return None
    cases: set[str] = set()
    for path in {test.path for test in asking}:
        nodes = [*ast.walk(ast.parse(path.read_bytes()))]
        uses = [node for node in nodes if isinstance(node, ast.Name) and node.id == "golden"]
        calls = [node for node in nodes if isinstance(node, ast.Call) and node.func in uses]
        names = [call.args[0].value for call in calls if call.args and isinstance(call.args[0], ast.Constant)]
        if len(names) < len(uses):
            return None
        cases.update(map(str, names))
    return sorted(cases)
