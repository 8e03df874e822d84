"""Golden files are written only on request: by name, with a reason, from a clean tree, and with a list entry."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from in4310repro import golden
from in4310repro.golden import Claim, compare
from in4310repro.golden.claims import Case
from in4310repro.golden.folder import ENVIRONMENTS
from in4310repro.system.fingerprint import fingerprint
from in4310repro.system.numerics import Numerics
from tests import golden_renewal
from tests.test_golden_files import change_each_word


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a git checkout with one commit and an empty golden folder."""
    (tmp_path / "golden").mkdir()
    (tmp_path / "code.py").write_text("x = 1\n")
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (("init", "-q"), ("add", "."), (*identity, "commit", "-q", "-m", "first")):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    return tmp_path


def x() -> dict[str, Claim]:
    bounds: dict[str, Any] = {"otherwise": "numerical", "tolerance": 1e-3, "reason": "made up for this test"}
    return {
        "count": Claim(value=7),
        "hash": Claim(value="c0ffee", tier="bitwise"),
        "losses": Claim(value=[0.5, 0.25], tier="bitwise", **bounds),
    }


def update_case(checkout: Path, numerics: Numerics) -> Path:
    return golden.update(checkout / "golden", "x", {"x": x}, "it moved", numerics, {})


def commit(checkout: Path) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (("add", "."), (*identity, "commit", "-q", "-m", "golden")):
        subprocess.run(["git", "-C", str(checkout), *words], check=True)


def compare_file(folder: Path, file: Path, numerics: Numerics, versions: Mapping[str, str]) -> golden.Comparison:
    return compare("x", json.loads(file.read_text()), x(), numerics, versions, golden.folder.read_environments(folder))


def test_an_update_writes_a_file_that_compares_equal_and_says_where_it_came_from(
    checkout: Path, numerics: Numerics
) -> None:
    file = update_case(checkout, numerics)
    folder = checkout / "golden"
    assert compare_file(folder, file, numerics, fingerprint(numerics)["versions"]).differences == []
    content = golden.read(folder, "x")
    assert content["reason"] == "it moved"
    assert len(content["commit"]) == 40
    assert golden.find_faults(folder, {"x": x}, {}) == []
    environments = golden.folder.read_environments(folder)
    assert environments.provenance == {name: content[name] for name in ("reason", "created", "commit", "command")}
    (environment,) = environments.environments
    assert (environment.numeric_class, environment.numerics) == (numerics.numeric_class, numerics.mode)
    # A second case may follow: golden files themselves do not make the tree dirty.
    update_case(checkout, numerics)


def test_the_golden_files_of_a_card_carry_its_name_and_are_not_those_of_another(
    checkout: Path, numerics: Numerics
) -> None:
    card = replace(numerics, mode="native", device="cuda", device_name="Maker Card 1", numeric_class="of card 1")
    update_case(checkout, numerics)
    file = update_case(checkout, card)
    folder = checkout / "golden"
    assert file == folder / "cards" / "Maker-Card-1" / "x.json"
    content = golden.read(golden.folder.device_folder(folder, card.device_name), "x")
    assert content["device_name"] == "Maker Card 1"
    assert "--device cuda" in content["command"]
    versions = fingerprint(card)["versions"]
    assert compare_file(folder, file, card, versions).tiers["bitwise"] == 3
    assert golden.find_orphans(folder, {"x": x}) == []
    assert golden.find_faults(folder, {"x": x}, {"x": x}) == []
    # Another card or driver, and this one with another torch: not compared, which the caller says.
    for other, libraries in ((replace(card, numeric_class="of card 2"), versions), (card, versions | {"torch": "2.0"})):
        comparison = compare_file(folder, file, other, libraries)
        assert comparison.differences == []
        assert comparison.tiers["not compared"] == 1
        assert comparison.tiers["bitwise"] == 0
    # The card itself, with the file of another machine.
    (difference,) = compare_file(folder, folder / "x.json", card, versions).differences
    assert "1 bitwise values are not compared, in an environment that environments.json lists" in difference


def test_the_words_of_a_cards_golden_file_are_guarded(checkout: Path, numerics: Numerics) -> None:
    card = replace(numerics, mode="native", device="cuda:0", device_name="Maker Card 1", numeric_class="of card 1")
    file, folder = update_case(checkout, card), checkout / "golden"
    name, environments = file.relative_to(folder).as_posix(), golden.folder.read_environments(checkout / "golden")
    assert golden.folder.find_file_faults(folder, name, {"x": x}, environments) == []
    for word, other in change_each_word(json.loads(file.read_text())):
        file.write_text(json.dumps(other))
        assert golden.folder.find_file_faults(folder, name, {"x": x}, environments), word


def renew_all(checkout: Path, numerics: Numerics, case: Case = x) -> list[str]:
    return golden_renewal.renew(checkout / "golden", {"x": case}, "the probe covers more", numerics, {})


@pytest.fixture
def newer(numerics: Numerics) -> Numerics:
    """Return portable arithmetic under a new class name, which computes the same values."""
    return replace(numerics, mode="portable", numeric_class="newer")


@pytest.fixture
def older_file(checkout: Path, numerics: Numerics) -> Path:
    """Return a golden file of portable arithmetic that is committed together with the list."""
    file = update_case(checkout, replace(numerics, mode="portable"))
    commit(checkout)
    return file


def test_a_renewal_gives_files_the_class_of_now_and_moves_no_value(
    checkout: Path, newer: Numerics, older_file: Path
) -> None:
    before, versions = json.loads(older_file.read_text()), fingerprint(newer)["versions"]
    assert "now have class newer" in compare_file(checkout / "golden", older_file, newer, versions).differences[0]
    assert renew_all(checkout, newer) == ["x.json", ENVIRONMENTS]
    after = json.loads(older_file.read_text())
    assert after["values"] == before["values"]
    assert after["numeric_class"] == "newer"
    assert after["command"] == 'nox -s golden -- environments --reason "the probe covers more"'
    assert compare_file(checkout / "golden", older_file, newer, versions).differences == []
    assert golden.find_faults(checkout / "golden", {"x": x}, {}) == []


def test_a_renewal_where_a_value_moved_is_refused_and_writes_nothing(
    checkout: Path, newer: Numerics, older_file: Path
) -> None:
    def moved() -> dict[str, Claim]:
        return x() | {"hash": Claim(value="c0ffef", tier="bitwise")}

    before = [older_file.read_bytes(), (checkout / "golden" / ENVIRONMENTS).read_bytes()]
    with pytest.raises(ValueError, match=r"x: hash expected 'c0ffee'.*nox -s golden -- x --reason"):
        renew_all(checkout, newer, moved)
    assert [older_file.read_bytes(), (checkout / "golden" / ENVIRONMENTS).read_bytes()] == before


def test_a_renewal_gives_a_file_whose_words_were_edited_an_origin_that_is_true(
    checkout: Path, newer: Numerics, older_file: Path, numerics: Numerics
) -> None:
    older_file.write_text(older_file.read_text().replace("it moved", "it stayed"))
    commit(checkout)
    assert golden.find_faults(checkout / "golden", {"x": x}, {}) != []
    assert renew_all(checkout, replace(newer, numeric_class=numerics.numeric_class)) == ["x.json", ENVIRONMENTS]
    assert json.loads(older_file.read_text())["reason"] == "the probe covers more"
    assert golden.find_faults(checkout / "golden", {"x": x}, {}) == []


@pytest.mark.usefixtures("older_file")
def test_the_first_list_takes_over_what_is_committed(checkout: Path, newer: Numerics) -> None:
    (checkout / "golden" / ENVIRONMENTS).unlink()
    with pytest.raises(ValueError, match=r"the tree has changes, .*environments\.json"):
        renew_all(checkout, newer)
    commit(checkout)
    assert renew_all(checkout, newer) == ["x.json", ENVIRONMENTS]
    assert golden.find_faults(checkout / "golden", {"x": x}, {}) == []


def test_a_renewal_on_a_dirty_tree_is_refused(checkout: Path, newer: Numerics, older_file: Path) -> None:
    older_file.write_text("{}")
    with pytest.raises(ValueError, match=r"the tree has changes, .*x\.json"):
        renew_all(checkout, newer)


def test_an_update_on_a_dirty_tree_is_refused(checkout: Path, numerics: Numerics) -> None:
    (checkout / "code.py").write_text("x = 2\n")
    with pytest.raises(ValueError, match=r"the tree has changes, .* code\.py"):
        update_case(checkout, numerics)


def test_an_update_outside_a_checkout_is_refused(tmp_path: Path, numerics: Numerics) -> None:
    with pytest.raises(ValueError, match="is not in a git checkout"):
        golden.update(tmp_path, "x", {"x": x}, "it moved", numerics, {})
