"""The list of environments and the folder of golden files: every fault is reported with the file's name."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from in4310repro.golden import Claim, folder as golden_folder
from in4310repro.golden.folder import (
    ENVIRONMENTS,
    HEAD,
    LIBRARIES,
    PROVENANCE,
    Environment,
    Environments,
    device_folder,
    find_faults,
    find_file_faults,
    find_key_faults,
    find_orphans,
    list_files,
    read,
    read_environments,
)
from in4310repro.system.files import file_sha256, json_bytes
from in4310repro.system.numerics import Numerics

HERE = dict.fromkeys(LIBRARIES, "1.0")


def environment(
    numeric_class: str = "a", device_name: str = "cpu", numerics: str = "native", **list_files: str
) -> Environment:
    return Environment(
        numeric_class=numeric_class,
        numerics=numerics,
        device_name=device_name,
        versions=HERE,
        files={f"{name}.json": sha256 for name, sha256 in list_files.items()},
    )


def numerics(mode: str, numeric_class: str) -> Numerics:
    return Numerics(mode=mode, numeric_class=numeric_class, probe={}, threads=1, device="cpu")


HEADS = {"reason": "it moved", "created": "now", "commit": "c0ffee", "command": "nox"}
FIRST, SECOND = environment(x="1", y="2"), environment("b", z="3")
LISTED = Environments(provenance=HEADS, environments=(FIRST, SECOND))


def test_an_environment_is_found_by_class_versions_and_device_or_by_its_file() -> None:
    place = {"numeric_class": "b", "versions": HERE, "device_name": "cpu"}
    assert LISTED.written_in(place) is SECOND
    for word in ({"numeric_class": "c"}, {"versions": HERE | {"torch": "2.0"}}, {"device_name": "Maker Card 1"}):
        assert LISTED.written_in(place | word) is None
    assert [LISTED.listing(f"{name}.json") for name in "xyzw"] == [FIRST, FIRST, SECOND, None]


def test_a_process_runs_in_a_listed_environment_by_class_and_in_native_arithmetic_by_libraries_too() -> None:
    other = HERE | {"pillow": "2.0"}
    assert LISTED.has(numerics("native", "b"), HERE) is True
    assert LISTED.has(numerics("native", "b"), other) is False
    assert LISTED.has(numerics("portable", "b"), other) is True
    assert LISTED.has(numerics("portable", "c"), HERE) is False
    assert LISTED.has(numerics("native", "c"), HERE) is False


@pytest.mark.parametrize("library", LIBRARIES)
def test_five_libraries_change_bits_and_no_others(library: str) -> None:
    def computes(versions: dict[str, str]) -> bool:
        return environment().computes(Numerics("native", "a", {}, 1, "cpu"), versions)

    assert computes(HERE | {"python": "4"}) is True
    assert computes(HERE | {library: "2.0"}) is False
    assert computes({name: version for name, version in HERE.items() if name != library}) is False


def test_without_a_file_its_environment_goes_where_it_has_no_other() -> None:
    assert LISTED.without("x.json") == (environment(y="2"), SECOND)
    assert LISTED.without("z.json") == (FIRST,)
    assert LISTED.without("w.json") == (FIRST, SECOND)


def test_a_list_reads_back_as_it_was_written_with_a_hash_of_it_all(tmp_path: Path) -> None:
    (tmp_path / ENVIRONMENTS).write_bytes(LISTED.to_bytes())
    assert read_environments(tmp_path) == LISTED
    content = json.loads(LISTED.to_bytes())
    sha256 = content.pop("sha256")
    assert content == HEADS | {"environments": [asdict(FIRST), asdict(SECOND)]}
    assert sha256 == hashlib.sha256(json_bytes(content)).hexdigest()


def seal(content: dict[str, Any]) -> bytes:
    return json_bytes(content | {"sha256": hashlib.sha256(json_bytes(content)).hexdigest()})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"[1]", " holds a list; expected an object"),
        (b"{}", f" lacks {', '.join(HEAD)}, environments, sha256; write it by nox -s golden"),
        (json_bytes(HEADS | {"environments": []}), " lacks sha256; write it by nox -s golden"),
        (
            json_bytes(HEADS | {"environments": [], "sha256": "0"}),
            " was edited by hand: its sha256 differs; only nox -s golden may write it",
        ),
        (
            seal(HEADS | {"environments": [asdict(FIRST), asdict(FIRST) | {"numerics": 7}]}),
            " is not a list of environments: 1/numerics: Input should be a valid string",
        ),
    ],
    ids=["list", "empty", "no hash", "edited", "another form"],
)
def test_a_list_that_is_none_is_refused(content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / ENVIRONMENTS).write_bytes(content)
    with pytest.raises(ValueError, match=f"^{re.escape(f'{tmp_path / ENVIRONMENTS}{sentence}')}$"):
        read_environments(tmp_path)
    assert find_faults(tmp_path, {}, {}) == [f"{tmp_path / ENVIRONMENTS}{sentence}"]


def x() -> dict[str, Claim]:
    return {"count": Claim(value=7)}


def y() -> dict[str, Claim]:
    return {"count": Claim(value=8)}


CARD = {"device_name": "Maker Card 1"}
ORIGIN: dict[str, Any] = {
    "case": "x",
    "function": "somewhere.x",
    "reason": "it moved",
    "created": "2026-11-26T01:17:05+00:00",
    "commit": "0123456789" * 4,
    "command": 'nox -s golden -- x --reason "it moved"',
    "versions": HERE,
    "numeric_class": "a",
    "device_name": "cpu",
    "values": {"count": Claim(value=7).to_json()},
}


def write(folder: Path, name: str, content: Any, listing: Environment) -> Environments:
    """Write a golden file; return a list of two environments, one of which contains its hash."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(json_bytes(content))
    line = Environment(**(asdict(listing) | {"files": {name: file_sha256(folder / name)}}))
    return Environments(provenance=HEADS, environments=(environment("other", other="0"), line))


def find(folder: Path, word: dict[str, Any], name: str = "x.json", **place: str) -> list[str]:
    """Return the faults of a golden file with the fields of `word` replaced and its correct hash in the list."""
    listing = environment(**place)
    return find_file_faults(folder, name, {"x": x}, write(folder, name, ORIGIN | word, listing))


def test_a_file_as_it_was_written_has_no_fault(tmp_path: Path) -> None:
    assert find(tmp_path, {}) == []
    renewed = {"command": 'nox -s golden -- environments --reason "it moved"'}
    assert find(tmp_path, renewed) == []
    for device in ("cuda", "cuda:0", "cuda:12"):
        command = {"command": f'nox -s golden -- x --device {device} --reason "it moved"'}
        assert find(tmp_path, CARD | command, "cards/Maker-Card-1/x.json", device_name="Maker Card 1") == []


@pytest.mark.parametrize(
    "word",
    [
        {"function": "somewhere.y"},
        {"created": "yesterday"},
        {"created": "2026-11-26T01:17:05"},
        {"created": 7},
        {"commit": "0123456789abcdef"},
        {"commit": "A123456789" * 4},
        {"command": 'nox -s golden -- y --reason "it moved"'},
        {"command": 'nox -s golden -- x --reason "it moves"'},
        {"command": 'nox -s golden -- x --device cuda --reason "it moved"'},
    ],
    ids=str,
)
def test_a_word_that_was_not_written_is_a_fault(word: dict[str, Any], tmp_path: Path) -> None:
    ((key, value),) = word.items()
    assert find(tmp_path, word) == [f"x.json: {key} {value!r} cannot have been written by nox -s golden"]


def test_a_reason_has_two_words_and_a_cards_file_lies_in_its_folder_with_its_command(tmp_path: Path) -> None:
    assert find(tmp_path, {"reason": "because", "command": 'nox -s golden -- x --reason "because"'}) == [
        "x.json: reason 'because' cannot have been written by nox -s golden"
    ]
    command = 'nox -s golden -- x --device cuda --reason "it moved"'
    assert find(tmp_path, CARD | {"command": command}, device_name="Maker Card 1") == [
        "x.json: device_name 'Maker Card 1' cannot have been written by nox -s golden"
    ]
    assert find(tmp_path, CARD, "cards/Maker-Card-1/x.json", device_name="Maker Card 1") == [
        f"cards/Maker-Card-1/x.json: command {ORIGIN['command']!r} cannot have been written by nox -s golden"
    ]


AGAIN = 'only nox -s golden -- x --reason "why it moved" may write it'


def test_a_file_is_listed_once_with_its_bytes_in_the_environment_that_it_names(tmp_path: Path) -> None:
    environments = write(tmp_path, "x.json", ORIGIN, environment())
    for name in ("y.json", "x.txt", "sub/y.json"):
        assert find_file_faults(tmp_path, name, {"x": x}, environments) == [f"{name} belongs to no case; remove it"]
    assert find_file_faults(tmp_path, "sub/x.json", {"x": x}, environments) == [
        f"sub/x.json is in no environment of environments.json; {AGAIN}"
    ]
    other = f"x.json names another environment than environments.json lists it in; {AGAIN}"
    assert find(tmp_path, {"numeric_class": "b"}) == [other]
    environments = write(tmp_path, "x.json", ORIGIN, environment())
    (tmp_path / "x.json").write_bytes(json_bytes(ORIGIN) + b"\n")
    bytes_changed = f"x.json was changed after it was written; {AGAIN}"
    assert find_file_faults(tmp_path, "x.json", {"x": x}, environments) == [bytes_changed]
    (tmp_path / "x.json").write_bytes(b"[1]")
    assert find_file_faults(tmp_path, "x.json", {"x": x}, environments) == [
        bytes_changed,
        f"{tmp_path / 'x'}.json holds a list; expected an object",
    ]


def test_keys_that_are_lost_or_unknown_and_values_that_are_no_claims_are_faults(tmp_path: Path) -> None:
    lacking = {name: value for name, value in ORIGIN.items() if name not in ("reason", "numeric_class")} | {"unit": 1}
    listing = environment()
    assert find_file_faults(tmp_path, "x.json", {"x": x}, write(tmp_path, "x.json", lacking, listing)) == [
        "x: the file lacks reason",
        "x: the file lacks numeric_class",
        f"x: the file has 'unit'; valid keys are {', '.join(PROVENANCE)}",
    ]
    assert find_key_faults("x", ORIGIN) == []
    assert find_key_faults("x", ORIGIN | {"unit": 1}) == [
        f"x: the file has 'unit'; valid keys are {', '.join(PROVENANCE)}"
    ]
    assert find(tmp_path, {"case": "y"}) == ["x: the file is of case 'y'"]
    for values in (dict[str, Any](), [1]):
        assert find(tmp_path, {"values": values}) == ["x: expected values to be an object with a claim for each name"]
    wrong = {"count": Claim(value=7).to_json() | {"dtype": "float64"}, "hash": 7}
    assert find(tmp_path, {"values": wrong}) == [
        "x.json: count has dtype 'float64'; expected 'int64', that of its value",
        "x.json: hash is a int; expected an object with value, dtype, shape, tier, otherwise, tolerance, reason",
    ]
    assert set(PROVENANCE) == set(ORIGIN)


def test_a_folder_is_checked_against_its_list_with_the_cases_of_each_place(tmp_path: Path) -> None:
    card_command = {"command": 'nox -s golden -- y --device cuda --reason "it moved"'}
    of_card = ORIGIN | CARD | card_command | {"case": "y", "function": "somewhere.y"}
    lines = [
        *write(tmp_path, "x.json", ORIGIN, environment()).environments[1:],
        *write(tmp_path, "cards/Maker-Card-1/y.json", of_card, environment(device_name="Maker Card 1")).environments[
            1:
        ],
    ]
    (tmp_path / ENVIRONMENTS).write_bytes(Environments(provenance=HEADS, environments=tuple(lines)).to_bytes())
    assert find_faults(tmp_path, {"x": x}, {"y": y}) == []
    assert list_files(tmp_path) == ["cards/Maker-Card-1/y.json", "x.json"]
    assert find_faults(tmp_path, {"y": y}, {"x": x}) == [
        "cards/Maker-Card-1/y.json belongs to no case; remove it",
        "x.json belongs to no case; remove it",
    ]
    twice = (*lines, environment("b", x="0", b="0", a="0"), environment("c", c="0"))
    (tmp_path / ENVIRONMENTS).write_bytes(Environments(provenance=HEADS, environments=twice).to_bytes())
    assert find_faults(tmp_path, {"x": x}, {"y": y}) == [
        "environments.json lists a.json, which does not exist",
        "environments.json lists b.json, which does not exist",
        "environments.json lists c.json, which does not exist",
        "environments.json lists x.json twice",
    ]


def test_a_golden_file_is_read_by_the_name_of_its_case(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(json_bytes(ORIGIN))
    assert read(tmp_path, "x") == ORIGIN
    (tmp_path / "y.json").write_bytes(b"[1]")
    with pytest.raises(ValueError, match=f"^{re.escape(str(tmp_path))}.y.json holds a list; expected an object$"):
        read(tmp_path, "y")


def test_files_that_no_case_computes_are_orphans(tmp_path: Path) -> None:
    for name in ("x.json", "x.txt", "b/z.json", "b/x.json", "environments.json", "b/environments.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_files(tmp_path) == ["b/environments.json", "b/x.json", "b/z.json", "x.json", "x.txt"]
    assert find_orphans(tmp_path, {"x": x}) == ["environments.json", "x.txt", "z.json"]


def test_a_cards_files_are_in_a_folder_with_its_name() -> None:
    assert device_folder(Path("golden"), "cpu") == Path("golden")
    assert device_folder(Path("golden"), "Maker Card (1)") == Path("golden/cards/Maker-Card-1-")
    assert golden_folder.device_folder(Path(), "cpu").as_posix() == "."


@pytest.mark.parametrize(
    ("text", "moment"),
    [("2026-11-26T01:17:05+00:00", True), ("2026-11-26T01:17:05", False), ("now", False), (7, False)],
)
def test_a_moment_has_its_time_zone(text: Any, moment: bool) -> None:
    assert golden_folder.is_moment(text) is moment
