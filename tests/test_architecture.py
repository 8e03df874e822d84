"""The map of subpackages in the docs agrees with the package and with the import contract."""

import pkgutil
import re

import pytest

from tests.docs.rooms import PACKAGE, PAGE, renew, rooms_of_contract, rooms_of_package


def test_the_contract_lists_every_room_of_the_package_once() -> None:
    assert sorted(rooms_of_contract()) == sorted(rooms_of_package())


def test_the_map_is_made_of_the_contract_and_of_what_the_rooms_say_of_themselves() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert renew(page) == page


def test_a_room_that_is_missing_from_the_map_is_noticed() -> None:
    page = PAGE.read_text(encoding="utf-8")
    shorter = re.sub(r"^\| `data` .*\n", "", page, flags=re.MULTILINE)
    assert shorter != page == renew(shorter)


WALKS = PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
NAMES = [
    name
    for walk in WALKS
    for name in re.findall(r"`([a-z]\w*(?:\.\w+)+)`", walk)
    if not name.endswith((".json", ".npz"))
]


def test_there_are_two_walks() -> None:
    assert [walk.splitlines()[0] for walk in WALKS] == [
        "A photograph to a score",
        "A feature map to an eigenvalue",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_a_walk_is_in_the_package(name: str) -> None:
    assert pkgutil.resolve_name(f"in4310repro.{name}")


def test_nothing_lies_beside_the_rooms() -> None:
    assert {file.name for file in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}


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
