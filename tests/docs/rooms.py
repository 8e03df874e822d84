"""The table of subpackages in docs/architecture.md, written from pyproject.toml and their docstrings.

python -m tests.docs.rooms
"""

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
PACKAGE = ROOT / "src" / "in4310repro"
HEADER = "| room | its job | where to begin |\n| --- | --- | --- |\n"


def rooms_of_contract() -> list[str]:
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = content["tool"]["importlinter"]["contracts"]
    return [room.strip(" ()") for layer in contract["layers"] for room in layer.split("|")]


def rooms_of_package() -> set[str]:
    modules = {file.stem for file in PACKAGE.glob("*.py")} - {"__init__"}
    return modules | {folder.parent.name for folder in PACKAGE.glob("*/__init__.py")}


def table() -> str:
    """Return the Markdown table of subpackages, in the order of the import contract."""
    return HEADER + "".join(_row(room) for room in rooms_of_contract())


def _row(room: str) -> str:
    file = PACKAGE / f"{room}.py"
    source = file if file.exists() else PACKAGE / room / "__init__.py"
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    paragraphs = [" ".join(each.split()) for each in (*text.split("\n\n"), "")]
    return f"| `{room}` | {paragraphs[0]} | {paragraphs[1]} |\n"


def renew(page: str) -> str:
    """Return the page with its table replaced by the current one."""
    return re.sub(r"^\| room .*\n(?:\|.*\n)+", lambda _: table(), page, count=1, flags=re.MULTILINE)


if __name__ == "__main__":
    PAGE.write_text(renew(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
