"""The map of the rooms is the package as it is, and as the import contract has it."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "in4310repro"


def rooms_on_the_map() -> list[str]:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)


def rooms_in_the_contract() -> list[str]:
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = content["tool"]["importlinter"]["contracts"]
    return [room.strip(" ()") for layer in contract["layers"] for room in layer.split("|")]


def rooms_in_the_package() -> set[str]:
    modules = {file.stem for file in PACKAGE.glob("*.py")} - {"__init__"}
    return modules | {folder.parent.name for folder in PACKAGE.glob("*/__init__.py")}


def test_the_map_lists_every_room_of_the_package_once() -> None:
    assert sorted(rooms_on_the_map()) == sorted(rooms_in_the_package())


def test_the_map_has_the_order_of_the_import_contract() -> None:
    assert rooms_on_the_map() == rooms_in_the_contract()


def test_the_first_line_of_each_module_says_its_job() -> None:
    for file in PACKAGE.rglob("*.py"):
        assert re.match(r'"""[^"\n]{15,}', file.read_text(encoding="utf-8")), file


def test_the_names_of_run_files_stand_in_one_module() -> None:
    holders = {
        file.relative_to(PACKAGE).as_posix()
        for file in PACKAGE.rglob("*.py")
        if re.search(r'"(config|fingerprint|metrics|manifest|history|tensors)\.json"', file.read_text())
    }
    assert holders == {"runs/names.py"}
