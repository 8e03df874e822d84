"""The golden folder: its files are unchanged, and each value in them is checked."""

import copy
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from in4310repro import golden
from in4310repro.golden.claims import TRAITS, Case
from in4310repro.golden.folder import ENVIRONMENTS
from in4310repro.system.files import file_sha256
from in4310repro.system.numerics import Numerics
from tests.golden_cases import CARD_CASES, CASES, COURSE_CASES, FOLDER
from tests.test_golden import compare_unlisted, read_claims

KNOWN = CASES | COURSE_CASES
FILES = golden.folder.list_files(FOLDER)


def find_cases(name: str) -> Mapping[str, Case]:
    return CARD_CASES if name.startswith("cards/") else KNOWN


def test_every_golden_file_is_as_it_was_written_in_a_listed_environment() -> None:
    assert golden.find_faults(FOLDER, KNOWN, CARD_CASES) == []


@pytest.fixture
def copied_folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "golden"))


def change(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: change(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [*value[:-1], change(value[-1])] if value else [0]
    if isinstance(value, str):
        # The last digit or letter, so that a hash stays one.
        return f"{value[:-1]}{'1' if value[-1:] != '1' else '2'}"
    return value * (1 + 2**-50) if isinstance(value, float) else 1 if value is None else value + 1


def change_each_word(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield copies of a golden file with one changed field of its provenance, versions or values."""
    for name in golden.folder.PROVENANCE:
        if name not in ("versions", "values"):
            yield name, content | {name: change(content[name])}
    for library, version in content["versions"].items():
        yield f"versions/{library}", content | {"versions": content["versions"] | {library: change(version)}}
    values = content["values"]
    for key, entry in values.items():
        for trait in TRAITS:
            yield f"values/{key}/{trait}", content | {"values": values | {key: entry | {trait: change(entry[trait])}}}


@pytest.mark.parametrize("name", FILES)
def test_every_word_of_a_golden_file_that_is_changed_is_a_fault(name: str, copied_folder: Path) -> None:
    environments = golden.folder.read_environments(copied_folder)
    content = json.loads((copied_folder / name).read_text())
    assert golden.folder.find_file_faults(copied_folder, name, find_cases(name), environments) == []
    words = 0
    for word, other in change_each_word(content):
        (copied_folder / name).write_text(json.dumps(other))
        found = golden.folder.find_file_faults(copied_folder, name, find_cases(name), environments)
        assert any(name in line for line in found), word
        words += 1
    assert words >= len(golden.folder.PROVENANCE) + len(TRAITS) * len(content["values"])


@pytest.mark.parametrize("name", FILES)
def test_a_comparison_by_the_words_of_the_file_misses_most_of_them(name: str, numerics: Numerics) -> None:
    content = json.loads((FOLDER / name).read_text())
    truth, here = read_claims(content), replace(numerics, mode="native", numeric_class=content["numeric_class"])
    missed = {
        word
        for word, other in change_each_word(content)
        if not compare_unlisted(content["case"], other, truth, here, content["versions"])
    }
    # Which values are near enough is for their tolerance to say.
    origin = {word for word in missed if not word.startswith("values/")}
    assert origin == {word for word, _ in change_each_word(content | {"values": {}})} - {"case"}
    # And a word of the origin beside a value that moved takes the value's difference away.
    bits = [key for key, entry in content["values"].items() if entry["tier"] == "bitwise" and not entry["otherwise"]]
    for key in bits:
        entry = content["values"][key] | {"value": change(content["values"][key]["value"])}
        wrong = content | {"values": content["values"] | {key: entry}}
        assert compare_unlisted(content["case"], wrong, truth, here, content["versions"]) != []
        assert (
            compare_unlisted(content["case"], wrong | {"numeric_class": "c1a55"}, truth, here, content["versions"])
            == []
        )


# Where the list gets the hash of the changed file, only the form of these is known.
FORM_ALONE = {"created", "commit"}


@pytest.mark.parametrize("name", FILES)
def test_an_origin_that_contradicts_itself_is_a_fault_even_where_the_hash_was_written_again(
    name: str, copied_folder: Path
) -> None:
    content = json.loads((copied_folder / name).read_text())
    missed = set()
    for word, other in change_each_word(content):
        (copied_folder / name).write_text(json.dumps(other))
        if not golden.folder.find_file_faults(copied_folder, name, find_cases(name), update_hash(copied_folder, name)):
            missed.add(word)
    origin = {word for word in missed if not word.startswith("values/")}
    assert origin == FORM_ALONE
    assert {word.rpartition("/")[2] for word in missed - origin} <= {"value", "tolerance", "reason"}


def update_hash(folder: Path, name: str) -> golden.folder.Environments:
    """Return the list of environments with the file's current sha256."""
    environments = golden.folder.read_environments(FOLDER)
    lines = [
        replace(each, files={**each.files, name: file_sha256(folder / name)}) if name in each.files else each
        for each in environments.environments
    ]
    return replace(environments, environments=tuple(lines))


def list_leaves(content: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each text and number in a JSON value."""
    if isinstance(content, dict | list):
        for key in content if isinstance(content, dict) else range(len(content)):
            yield from list_leaves(content[key], *path, key)
    else:
        yield path


def test_every_word_of_the_list_that_is_changed_is_a_fault(copied_folder: Path) -> None:
    content = json.loads((copied_folder / ENVIRONMENTS).read_text())
    places = list(list_leaves(content))
    assert len(places) > 20
    for path in places:
        other = copy.deepcopy(content)
        inner = other
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = change(inner[path[-1]])
        (copied_folder / ENVIRONMENTS).write_text(json.dumps(other))
        (fault,) = golden.find_faults(copied_folder, KNOWN, CARD_CASES)
        assert "was edited by hand" in fault


def test_a_list_that_is_lost_damaged_or_of_another_form_is_a_fault(copied_folder: Path) -> None:
    file = copied_folder / ENVIRONMENTS
    for text, fault in (("[1]", "holds a list"), ("{", "environments.json"), ("{}", "lacks reason, created")):
        file.write_text(text)
        (found,) = golden.find_faults(copied_folder, KNOWN, CARD_CASES)
        assert fault in found
    file.unlink()
    assert "is not there" in golden.find_faults(copied_folder, KNOWN, CARD_CASES)[0]


def test_a_file_that_is_added_lost_or_copied_is_a_fault(copied_folder: Path) -> None:
    (copied_folder / "tiny_bits.json").rename(copied_folder / "more.json")
    (copied_folder / "cards" / "Maker-Card-1").mkdir(parents=True)
    shutil.copy(copied_folder / "demo_bits.json", copied_folder / "cards" / "Maker-Card-1" / "tiny_bits.json")
    assert [line.partition(";")[0] for line in golden.find_faults(copied_folder, KNOWN, CARD_CASES)] == [
        "environments.json lists tiny_bits.json, which does not exist",
        "cards/Maker-Card-1/tiny_bits.json is in no environment of environments.json",
        "more.json belongs to no case",
    ]


def test_a_missing_file_and_an_orphan_are_caught(tmp_path: Path) -> None:
    (tmp_path / "orphan.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("")
    assert golden.find_orphans(tmp_path, CASES) == ["notes.txt", "orphan.json"]
    for case in CASES:
        with pytest.raises(ValueError, match=f"{case}.json is not there"):
            golden.read(tmp_path, case)
