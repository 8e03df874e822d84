"""Contents of golden files and of their list after `update` and `renew`."""

from __future__ import annotations

import datetime
import itertools
import json
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from in4310repro.golden import Claim, compare, find_faults, read, update, writing
from in4310repro.golden.claims import Case
from in4310repro.golden.folder import ENVIRONMENTS, read_environments
from in4310repro.system.files import file_sha256, json_bytes
from in4310repro.system.fingerprint import fingerprint
from in4310repro.system.numerics import Numerics
from tests.golden_renewal import renew

COMMIT = "0123456789" * 4
HERE = Numerics(mode="portable", numeric_class="a", probe={}, threads=1, device="cpu")
NEWER = replace(HERE, numeric_class="b")
CARD = replace(HERE, mode="native", numeric_class="c", device="cuda:1", device_name="Maker Card 1")


def x() -> dict[str, Claim]:
    return {"count": Claim(value=7), "hash": Claim(value="c0ffee", tier="bitwise")}


def y() -> dict[str, Claim]:
    return {"count": Claim(value=8)}


def never() -> dict[str, Claim]:
    raise AssertionError


CASES: dict[str, Case] = {"x": x, "y": y}
VERSIONS = fingerprint(HERE)["versions"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of a golden folder, not created yet, in a working tree without changes."""
    monkeypatch.setattr(
        writing, "clean_commit", lambda _folder, golden_too=False: COMMIT if not golden_too else "f" * 40
    )
    return tmp_path / "golden"


def content(file: Path) -> Any:
    return json.loads(file.read_text())


def environments(folder: Path) -> list[tuple[str, str, str, list[str]]]:
    """Return class, mode, device and files of each listed environment, after a check of the hashes."""
    listed = read_environments(folder).environments
    for each in listed:
        assert each.files == {name: file_sha256(folder / name) for name in each.files}
        assert each.versions == VERSIONS
    return [(each.numeric_class, each.numerics, each.device_name, list(each.files)) for each in listed]


def update_case(folder: Path, case: str = "x", numerics: Numerics = HERE, reason: str = "it moved") -> Path:
    return update(folder, case, CASES, reason, numerics, {})


def renew_all(folder: Path, numerics: Numerics = NEWER, cases: dict[str, Case] = CASES) -> list[str]:
    return renew(folder, cases, "the class changed", numerics, {})


def is_recent(text: str) -> bool:
    moment = datetime.datetime.fromisoformat(text)
    return abs(datetime.datetime.now(datetime.UTC) - moment) < datetime.timedelta(minutes=1) and not moment.microsecond


def test_an_update_writes_the_case_its_origin_its_place_and_its_values(folder: Path) -> None:
    file = update_case(folder)
    found = content(file)
    assert is_recent(found.pop("created"))
    assert (file, found) == (
        folder / "x.json",
        {
            "case": "x",
            "function": f"{__name__}.x",
            "reason": "it moved",
            "commit": COMMIT,
            "command": 'nox -s golden -- x --reason "it moved"',
            "versions": VERSIONS,
            "numeric_class": "a",
            "device_name": "cpu",
            "values": {name: claim.to_json() for name, claim in x().items()},
        },
    )
    assert environments(folder) == [("a", "portable", "cpu", ["x.json"])]
    provenance = read_environments(folder).provenance
    assert provenance == {name: content(file)[name] for name in ("reason", "created", "commit", "command")}


def test_an_update_on_a_card_names_the_device_and_one_of_other_values_their_libraries(folder: Path) -> None:
    file = update_case(folder, numerics=CARD)
    assert file == folder / "cards" / "Maker-Card-1" / "x.json"
    found = content(file)
    assert [found[name] for name in ("command", "device_name", "numeric_class")] == [
        'nox -s golden -- x --device cuda:1 --reason "it moved"',
        "Maker Card 1",
        "c",
    ]
    assert environments(folder) == [("c", "native", "Maker Card 1", ["cards/Maker-Card-1/x.json"])]
    other = update(folder, "y", CASES, "it moved", HERE, {}, {"torch": "0.1"})
    assert content(other)["versions"] == {"torch": "0.1"}


def test_files_are_listed_with_the_others_of_their_environment_and_with_no_other(folder: Path) -> None:
    update_case(folder, "y")
    update_case(folder, "x")
    assert environments(folder) == [("a", "portable", "cpu", ["x.json", "y.json"])]
    update_case(folder, "x", CARD)
    update_case(folder, "x", NEWER)
    # By device, then by the first file.
    assert environments(folder) == [
        ("c", "native", "Maker Card 1", ["cards/Maker-Card-1/x.json"]),
        ("b", "portable", "cpu", ["x.json"]),
        ("a", "portable", "cpu", ["y.json"]),
    ]
    update_case(folder, "y", NEWER)
    assert environments(folder)[1:] == [("b", "portable", "cpu", ["x.json", "y.json"])]


def case_of(claim: Claim) -> Case:
    def case() -> dict[str, Claim]:
        return {"it": claim}

    return case


HELD: list[Any] = [
    *(7, -0.0, 5e-324, True, None, "", "a\0\ud800\U0001f600", 2**63, 2**64, -(2**2000)),
    *([], [[], []], [1, 2.5], [2**63, -1], [2**70, 1.5], [None, None], [True, False], [[1, 2], [3, 4]]),
    *((1, 2), [(1, 2), (3, 4)], {"a": [1, "b"][1], "c": {"d": (1, 2)}}, [{"a": 1}, {"a": "b"}]),
    *(np.float32(0.1), np.float64(0.1), np.float16(0.1), np.int64(-3), np.uint64(2**64 - 1), np.bool_(1), np.str_("a")),
    *([np.float32(0.1)], [np.int8(1), np.int8(2)], [np.arange(2), np.arange(2)], [np.float32(0.1), 0.1]),
    *(np.array(3.0), np.array([["a", "bc"]]), np.array([[0.1, -0.0]], "float16"), np.array([[True]])),
]


@pytest.mark.parametrize("value", HELD, ids=lambda value: f"{value!r}"[:20].encode("ascii", "replace").decode())
def test_a_value_that_is_written_is_read_and_compares_equal(folder: Path, value: Any) -> None:
    case = case_of(Claim(value=value))
    update(folder, "x", {"x": case}, "first values", HERE, {})
    result = compare("x", read(folder, "x"), case(), HERE, VERSIONS, read_environments(folder))
    assert result.differences == []
    assert find_faults(folder, {"x": case}, {}) == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, "a", 2.5], "x: it[1] is a text, and x: it[0] is a number; all must be of one kind"),
        ([True, 1], "x: it[1] is a number, and x: it[0] is a truth value; all must be of one kind"),
        ([None, 1.5], "x: it[1] is a number, and x: it[0] is None; all must be of one kind"),
        ([[1], [2, 3]], "x: it[1] is a list of 2, each a number, and x: it[0] is a list of 1, each a number"),
        ([1, [2]], "x: it[1] is a list of 1, each a number, and x: it[0] is a number"),
        ([0.5, float("nan")], "x: it[1] is nan; only finite numbers are allowed"),
        (np.array([[1, np.inf]]), "x: it[0][1] is inf; only finite numbers are allowed"),
        ({"a": [{"b": -np.float32("inf")}]}, "x: it['a'][0]['b'] is -inf; only finite numbers are allowed"),
        ({"a": {1: 2}}, "x: it['a'] has the key 1; a key must be a text"),
        ([10**5000], "x: it[0] is an integer of 16610 bits; at most 14000 are allowed"),
        *(
            (value, f"is of type {type(value).__name__}; it must be a number, text, list of one kind or NumPy array")
            for value in (b"a", 1j, {1}, range(2), object(), Path(), Decimal(1), HERE, np.complex64(1), np.bytes_(b"a"))
        ),
        ([datetime.date(2020, 1, 1)], "x: it[0] is of type date; it must be"),
        ([np.datetime64("2020-01-01", "ns")], "x: it[0] is of type datetime64; it must be"),
        *(
            (torch.ones(1, dtype=getattr(torch, dtype)), "x: it is of type Tensor; it must be")
            for dtype in ("float32", "bfloat16", "float16", "complex64", "bool")
        ),
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_a_value_that_would_not_be_read_as_written_is_refused_and_leaves_nothing(
    folder: Path, value: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        update(folder, "x", {"x": case_of(Claim(value=value))}, "first values", HERE, {})
    assert not folder.exists()


def test_a_list_in_itself_is_refused(folder: Path) -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValueError, match=r"^x: it is nested too deep$"):
        update(folder, "x", {"x": case_of(Claim(value=value))}, "first values", HERE, {})


def test_a_claim_that_would_not_compare_equal_is_refused(folder: Path) -> None:
    for tolerance, value in ((-1.0, 0.5), (float("nan"), 0.5), (1.0, 2**2000)):
        claim = Claim(value=value, tier="bitwise", otherwise="numerical", tolerance=tolerance, reason="made up")
        with pytest.raises(ValueError, match=r"^x: it .* a golden file"):
            update(folder, "x", {"x": case_of(claim)}, "first values", HERE, {})
    assert not folder.exists()


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_files_and_folders_as_before(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def fail(*_: object) -> None:
        raise error("disk full")

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}

    for name, numerics in itertools.product(("write_file", "add_file"), (HERE, CARD)):
        with monkeypatch.context() as patched:
            patched.setattr(writing, name, fail)
            with pytest.raises(error, match="disk full"):
                update_case(folder, numerics=numerics)
        assert not folder.exists()
    update_case(folder)
    before = files()
    monkeypatch.setattr(writing, "add_file", fail)
    with pytest.raises(error):
        update_case(folder, reason="it moved again")
    assert files() == before


@pytest.mark.parametrize("value", ["1", "true", "True", "yes"])
def test_nothing_is_written_in_ci(value: str, folder: Path) -> None:
    sentence = "golden files are never written in CI; run this on your machine and commit the change"
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        update(folder, "x", {"x": never}, "it moved", HERE, {"CI": value})
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        renew(folder, {"x": never}, "it moved", HERE, {"CI": value})


@pytest.mark.parametrize("value", ["", "0", "false", "False"])
def test_a_variable_that_says_no_is_no_ci(value: str, folder: Path) -> None:
    assert update(folder, "x", CASES, "it moved", HERE, {"CI": value}).is_file()


def test_what_is_not_to_be_written_is_refused_before_it_is_computed(folder: Path) -> None:
    cases: dict[str, Case] = {"y": never, "x": never}
    with pytest.raises(ValueError, match=r"^unknown case 'z'; give one of x, y"):
        update(folder, "z", cases, "it moved", HERE, {})
    for reason in ("because", "", "  "):
        words = rf"^reason {reason!r}; expected --reason with at least two words"
        with pytest.raises(ValueError, match=words):
            update(folder, "x", cases, reason, HERE, {})
        with pytest.raises(ValueError, match=words):
            renew(folder, cases, reason, HERE, {})
    for reason in ("why it moved", "Why it moved.", "why the class changed"):
        with pytest.raises(ValueError, match=r"^--reason is still the example text; write what changed and why$"):
            update(folder, "x", cases, reason, HERE, {})
    folder.mkdir()
    (folder / ENVIRONMENTS).write_text("[]")
    with pytest.raises(ValueError, match="holds a list; expected an object"):
        update(folder, "x", cases, "it moved", HERE, {})
    native = replace(HERE, mode="native", note="there is no compiler")
    words = r"portable arithmetic.*: there is no compiler$"
    with pytest.raises(ValueError, match=words):
        renew(folder, cases, "it moved", native, {})


def test_a_renewal_writes_class_and_origin_of_now_and_keeps_values(folder: Path) -> None:
    update_case(folder)
    before = content(folder / "x.json")
    assert renew_all(folder) == ["x.json", ENVIRONMENTS]
    after = content(folder / "x.json")
    assert is_recent(after["created"])
    assert after == before | {
        "reason": "the class changed",
        "created": after["created"],
        "commit": "f" * 40,
        "command": 'nox -s golden -- environments --reason "the class changed"',
        "numeric_class": "b",
    }
    assert environments(folder) == [("b", "portable", "cpu", ["x.json"])]
    head = {name: after[name] for name in ("reason", "commit", "command")}
    found = dict(read_environments(folder).provenance)
    assert is_recent(found.pop("created"))
    assert found == head


def test_a_renewal_in_the_class_of_now_computes_nothing_and_writes_the_list(folder: Path) -> None:
    file = update_case(folder)
    before = file.read_bytes()
    assert renew_all(folder, HERE, {"x": never}) == [ENVIRONMENTS]
    assert file.read_bytes() == before
    assert environments(folder) == [("a", "portable", "cpu", ["x.json"])]


def test_a_renewal_computes_a_file_again_that_is_of_another_class_or_has_other_bytes(folder: Path) -> None:
    file = update_case(folder)
    moved: dict[str, Case] = {"x": lambda: x() | {"hash": Claim(value="c0ffef", tier="bitwise")}}
    sentence = r"^x: hash expected 'c0ffee' \(bitwise\), got 'c0ffef'; .* nox -s golden -- x --reason"
    with pytest.raises(ValueError, match=sentence):
        renew_all(folder, NEWER, moved)
    file.write_bytes(file.read_bytes() + b"\n")
    with pytest.raises(ValueError, match=sentence):
        renew_all(folder, HERE, moved)
    assert renew_all(folder, HERE) == ["x.json", ENVIRONMENTS]
    assert content(file)["reason"] == "the class changed"


def remove_from_list(folder: Path, *names: str) -> None:
    listed = read_environments(folder)
    for name in names:
        listed = replace(listed, environments=listed.without(name))
    (folder / ENVIRONMENTS).write_bytes(listed.to_bytes())


def test_a_renewal_lists_a_file_of_the_class_of_now_that_was_not_listed_as_it_is(folder: Path) -> None:
    file = update_case(folder)
    before = file.read_bytes()
    remove_from_list(folder, "x.json")
    # Its values are computed first.
    with pytest.raises(ValueError, match=r"^x: count expected 7 \(exact\), got 9"):
        renew_all(folder, HERE, {"x": lambda: x() | {"count": Claim(value=9)}})
    assert renew_all(folder, HERE) == [ENVIRONMENTS]
    assert file.read_bytes() == before
    assert environments(folder) == [("a", "portable", "cpu", ["x.json"])]


def test_what_another_machine_computes_stays_as_the_list_has_it(folder: Path) -> None:
    update_case(folder)
    file = update_case(folder, "x", CARD)
    update_case(folder, "y")
    name = "cards/Maker-Card-1/x.json"
    cases: dict[str, Case] = {"x": x}
    # Case y is none of this process, as a file of photographs.
    assert renew_all(folder, NEWER, cases) == ["x.json", ENVIRONMENTS]
    assert environments(folder) == [
        ("c", "native", "Maker Card 1", [name]),
        ("b", "portable", "cpu", ["x.json"]),
        ("a", "portable", "cpu", ["y.json"]),
    ]
    sentence = f"{name} differs from the sha256 in {ENVIRONMENTS}; only the machine that computes it can write it"
    remove_from_list(folder, name)
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        renew_all(folder, NEWER, cases)
    (folder / ENVIRONMENTS).unlink()
    # The first list: what is not computed here is native, unless it says otherwise.
    assert renew_all(folder, NEWER, cases) == [ENVIRONMENTS]
    assert environments(folder) == [
        ("c", "native", "Maker Card 1", [name]),
        ("b", "portable", "cpu", ["x.json"]),
        ("a", "native", "cpu", ["y.json"]),
    ]
    file.write_bytes(json_bytes(content(file) | {"reason": "it stayed"}))
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        renew_all(folder, NEWER, cases)


def test_the_first_list_has_files_of_other_kernels_computed_again(folder: Path) -> None:
    update_case(folder)
    (folder / ENVIRONMENTS).unlink()
    assert renew_all(folder) == ["x.json", ENVIRONMENTS]
    assert environments(folder) == [("b", "portable", "cpu", ["x.json"])]
    assert find_faults(folder, CASES, {}) == []
