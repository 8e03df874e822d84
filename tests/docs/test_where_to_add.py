"""The table "Where do I add ..." in CONTRIBUTING: each example exists at the place that the table names."""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.commands import ROOT, find_commands, parse_page

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TABLE = TEXT.partition("## Where do I add")[2].partition("\n## ")[0]
ROWS = [[cell.strip() for cell in line.split("|")[1:-1]] for line in TABLE.splitlines() if line.startswith("| ")][2:]
PLACE = re.compile(r"`([\w.]+)`: \[[^\]]+\]\(([^)]+)\)")


def defining_text(path: str, name: str) -> str:
    """Return the source of a name's definition in a module, or the whole text of a file that is not Python.

    Raises:
        AssertionError: the file has no such name.
    """
    source = (ROOT / path).read_text(encoding="utf-8")
    if not path.endswith(".py"):
        assert re.search(rf"\b{name}\b", f"{path}\n{source}"), f"{path} has no {name}"
        return source
    nodes = [node for node in ast.walk(ast.parse(source)) if name in names_of(node)]
    assert nodes, f"{path} does not define {name}"
    return "\n".join(ast.get_source_segment(source, node) or "" for node in nodes)


def names_of(node: ast.AST) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return {target.id for target in targets if isinstance(target, ast.Name)}
    # An entry of a table by its name, as `Optimizer(name="Adagrad")`.
    if isinstance(node, ast.Call):
        return {str(word.value.value) for word in node.keywords if isinstance(word.value, ast.Constant)}
    if isinstance(node, ast.Dict):
        return {str(key.value) for key in node.keys if isinstance(key, ast.Constant)}
    return set()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_an_example_is_defined_and_registered_where_the_table_says(row: list[str]) -> None:
    _, example, registry, test = row
    ((name, path), *others) = PLACE.findall(example)
    assert all(defining_text(other, each) for each, other in others)
    assert defining_text(path, name)
    ((table, place),) = PLACE.findall(registry)
    assert re.search(rf"\b{re.escape(name)}\b", defining_text(place, table)), f"{table} in {place} has no {name}"
    assert re.search(r"\]\(tests/\S+\.py\)", test) or test == "the row is the test"


def test_the_table_has_a_row_for_all_that_is_added() -> None:
    asked = {"metric", "optimizer", "source of networks", "check of `verify`", "check of the audit"}
    asked |= {"reader of the audit", "figure", "golden case", "mistake", "command", "page"}
    asked |= {"number on a page", "bad input"}
    assert asked <= {re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", row[0]) for row in ROWS}


@pytest.mark.parametrize(
    ("path", "name"), [("src/in4310repro/metrics/table.py", "MEASURES"), ("mkdocs.yml", "navigation_of_old")]
)
def test_a_name_that_a_file_does_not_have_is_found(path: str, name: str) -> None:
    with pytest.raises(AssertionError, match=name):
        defining_text(path, name)


def test_no_page_shows_an_address_to_clone() -> None:
    assert not [command for command in find_commands(parse_page("x", TEXT)) if command.startswith("git clone")]
