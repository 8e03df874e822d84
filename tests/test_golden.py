"""Golden files: every case against its file, and every way in which a comparison must fail."""

import copy
import itertools
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from in4310repro import experiment, golden
from in4310repro.files import read_json
from in4310repro.fingerprint import fingerprint
from in4310repro.golden import NOT_COMPARED, Claim, compare
from in4310repro.numerics import Numerics
from in4310repro.presets import PRESETS
from in4310repro.progress import Progress
from tests.golden_cases import CASES, COURSE_CASES, FOLDER, SLOW


class EpochDoneError(Exception):
    """Ends a training that has gone far enough."""


class OneEpoch(Progress):
    def message(self, line: str) -> None:
        if " epoch 1: " in line:
            raise EpochDoneError


def test_the_first_epoch_of_the_demo_has_the_bits_of_its_golden_file(numerics: Numerics, tmp_path: Path) -> None:
    if not numerics.portable:
        pytest.skip(f"portable arithmetic is not to be had here: {numerics.note}")
    with pytest.raises(EpochDoneError):
        experiment.train(PRESETS["demo"], numerics, tmp_path / "demo", OneEpoch())
    (row,) = read_json(tmp_path / "demo" / "adamw" / "history.json")
    values = golden.read(FOLDER, "demo_bits")["values"]
    first = {name: values[f"adamw/{name}"]["value"][0] for name in ("weights", "train_loss", "val_loss")}
    assert first == {"weights": row["weights_sha256"], "train_loss": row["train_loss"], "val_loss": row["val_loss"]}


def marked(case: str) -> Any:
    return pytest.param(case, marks=(pytest.mark.slow, pytest.mark.long(140)) if case in SLOW else ())


@pytest.mark.parametrize("case", [marked(case) for case in CASES])
def test_a_case_equals_its_golden_file(
    case: str, numerics: Numerics, golden_tiers: Callable[[golden.Comparison], None]
) -> None:
    comparison = compare(case, golden.read(FOLDER, case), CASES[case](), numerics, fingerprint(numerics)["versions"])
    golden_tiers(comparison)
    assert comparison.differences == []
    if set(comparison.tiers) == {NOT_COMPARED}:
        pytest.skip(f"{case}: another numeric class or other libraries than its golden file's; not compared")


@pytest.mark.parametrize("case", CASES)
def test_a_golden_file_was_made_in_the_portable_class_so_that_others_can_compare_its_bits(
    case: str, numerics: Numerics
) -> None:
    if not numerics.portable:
        pytest.skip(f"portable arithmetic is not to be had here: {numerics.note}")
    assert golden.read(FOLDER, case)["numeric_class"] == numerics.numeric_class


def test_no_golden_file_is_without_a_case() -> None:
    assert golden.orphans(FOLDER, CASES | COURSE_CASES) == []


def claims() -> dict[str, Claim]:
    measured = {"tolerance": 1e-3, "reason": "made up for this test"}
    return {
        "count": Claim(value=7),
        "names": Claim(value=["a", "b"]),
        "hash": Claim(value="c0ffee", tier="bitwise"),
        "losses": Claim(value=[0.5, 0.25], tier="bitwise", otherwise="numerical", **measured),  # type: ignore[arg-type]
    }


VERSIONS = dict.fromkeys(golden.LIBRARIES, "1.0")


@pytest.fixture
def file(numerics: Numerics) -> dict[str, Any]:
    content: dict[str, Any] = dict.fromkeys(golden.PROVENANCE, "made up")
    content |= {"case": "x", "versions": VERSIONS, "numeric_class": numerics.numeric_class}
    return json.loads(json.dumps(content | {"values": {name: claim.to_json() for name, claim in claims().items()}}))  # type: ignore[no-any-return]


def test_an_unmoved_case_has_no_differences_and_says_its_tiers(file: dict[str, Any], numerics: Numerics) -> None:
    comparison = compare("x", file, claims(), numerics, VERSIONS)
    assert comparison.differences == []
    assert dict(comparison.tiers) == {"exact": 3, "bitwise": 3}


def test_portable_bits_are_compared_with_any_library(file: dict[str, Any], numerics: Numerics) -> None:
    portable = replace(numerics, mode="portable")
    comparison = compare("x", file, claims(), portable, VERSIONS | {"torch": "2.0"})
    assert dict(comparison.tiers) == {"exact": 3, "bitwise": 3}


def test_another_class_or_library_weakens_the_tier_by_name(file: dict[str, Any], numerics: Numerics) -> None:
    elsewhere = replace(numerics, numeric_class="elsewhere")
    for comparison in (
        compare("x", file, claims(), elsewhere, VERSIONS),
        compare("x", file, claims(), replace(numerics, mode="native"), VERSIONS | {"torch": "2.0"}),
    ):
        assert comparison.differences == []
        assert dict(comparison.tiers) == {"exact": 3, "numerical": 2, NOT_COMPARED: 1}


def moved(**values: Any) -> dict[str, Claim]:
    return claims() | {name: replace(claims()[name], value=value) for name, value in values.items()}


def test_a_moved_value_is_named_with_what_was_expected_and_got(file: dict[str, Any], numerics: Numerics) -> None:
    comparison = compare("x", file, moved(count=8), numerics, VERSIONS)
    assert comparison.differences == ["x: count expected 7 (exact), got 8"]


def test_a_moved_list_shows_how_many_entries_differ_by_how_much_and_the_first_of_them(
    file: dict[str, Any], numerics: Numerics
) -> None:
    many = [float(number) for number in range(100)]
    expected = claims() | {"losses": replace(claims()["losses"], value=many)}
    got = claims() | {"losses": replace(claims()["losses"], value=[*many[:90], *(value + 0.5 for value in many[90:])])}
    file["values"]["losses"] = expected["losses"].to_json()
    (difference,) = compare("x", file, got, numerics, VERSIONS).differences
    assert difference == (
        "x: losses differs in 10 of 100 entries, by up to 0.5 (bitwise): [90] expected 90.0, got 90.5; "
        "[91] expected 91.0, got 91.5; [92] expected 92.0, got 92.5"
    )


@pytest.mark.parametrize(
    "values",
    [
        {"losses": [0.5, 0.25 + 1e-16 * 2**3]},
        {"losses": [0.5, float("nan")]},
        {"hash": "c0ffef"},
        {"names": ["b", "a"]},
    ],
)
def test_the_last_bit_counts_in_the_same_class(values: Any, file: dict[str, Any], numerics: Numerics) -> None:
    assert len(compare("x", file, moved(**values), numerics, VERSIONS).differences) == 1


@pytest.mark.parametrize(("by", "differences"), [(9e-4, 0), (1.1e-3, 1), (float("nan"), 1)])
def test_the_tolerance_counts_elsewhere(by: float, differences: int, file: dict[str, Any], numerics: Numerics) -> None:
    comparison = compare(
        "x", file, moved(losses=[0.5, 0.25 + by]), replace(numerics, numeric_class="elsewhere"), VERSIONS
    )
    assert len(comparison.differences) == differences


def without(content: dict[str, Any], *path: str) -> dict[str, Any]:
    changed = copy.deepcopy(content)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    return changed


def test_a_missing_key_of_either_side_is_a_difference(file: dict[str, Any], numerics: Numerics) -> None:
    for path in (("values", "count"), ("values", "losses", "tolerance"), ("versions",), ("numeric_class",)):
        assert compare("x", without(file, *path), claims(), numerics, VERSIONS).differences
    fewer = {name: claim for name, claim in claims().items() if name != "count"}
    assert compare("x", file, fewer, numerics, VERSIONS).differences == [
        "x: count is in the golden file and no longer computed"
    ]


@pytest.mark.parametrize(
    ("trait", "value"),
    [("dtype", "float32"), ("shape", [3]), ("tier", "exact"), ("otherwise", None), ("tolerance", 1.0), ("reason", "")],
)
def test_a_changed_trait_is_a_difference(trait: str, value: Any, file: dict[str, Any], numerics: Numerics) -> None:
    file["values"]["losses"][trait] = value
    comparison = compare("x", file, claims(), numerics, VERSIONS)
    assert f"losses expected {trait}" in comparison.differences[0]


def test_a_file_of_another_case_is_a_difference(file: dict[str, Any], numerics: Numerics) -> None:
    assert compare("y", file, claims(), numerics, VERSIONS).differences


def test_a_claim_of_a_weaker_tier_needs_a_tolerance_and_a_reason() -> None:
    for wrong in ({"otherwise": "numerical"}, {"tolerance": 1.0}, {"otherwise": "numerical", "tolerance": 1.0}):
        with pytest.raises(ValueError, match="a weaker tier comes with"):
            Claim(value=1, tier="bitwise", **wrong)
    with pytest.raises(ValueError, match="exact, bitwise and numerical are valid"):
        Claim(value=1, tier="statistical")
    with pytest.raises(ValueError, match="a weaker tier comes with"):
        Claim(value=1.0, tier="numerical")


def test_a_numerical_claim_holds_within_its_tolerance_in_every_class(file: dict[str, Any], numerics: Numerics) -> None:
    claim = Claim(value=[2.0, 1.0], tier="numerical", tolerance=1e-12, reason="made up for this test")
    file["values"] = {"eigenvalues": claim.to_json()}
    for by, differences in ((9e-13, 0), (1.1e-12, 1), (float("nan"), 1)):
        got = {"eigenvalues": replace(claim, value=[2.0, 1.0 + by])}
        for here in (numerics, replace(numerics, numeric_class="elsewhere")):
            comparison = compare("x", file, got, here, VERSIONS)
            assert len(comparison.differences) == differences
            assert comparison.tiers["numerical"] == 2


def claims_of(content: dict[str, Any]) -> dict[str, Claim]:
    """Claims that a golden file says are true."""
    traits = ("value", "tier", "otherwise", "tolerance", "reason")
    return {key: Claim(**{trait: entry[trait] for trait in traits}) for key, entry in content["values"].items()}


def nudged_value(value: Any, by: float) -> Any:
    """The value, moved by a little more than it may."""
    if isinstance(value, list):
        return [*value[:-1], nudged_value(value[-1], by)]
    return value + "x" if isinstance(value, str) else value + 1 if isinstance(value, int) else value + by


def mutations(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """What may go wrong with a golden file: the key concerned, the file, and whether it shows in another class."""
    for key, entry in content["values"].items():
        least = abs(entry["value"]) * 1e-15 if isinstance(entry["value"], float) else 1e-12
        moved_file = copy.deepcopy(content)
        moved_file["values"][key]["value"] = nudged_value(entry["value"], least)
        if entry["tier"] != "numerical":
            yield key, moved_file, entry["tier"] == "exact"
        far = copy.deepcopy(content)
        far["values"][key]["value"] = nudged_value(entry["value"], 1.01 * (entry["tolerance"] or 1))
        yield key, far, entry["tier"] != "bitwise" or entry["otherwise"] is not None
        retyped = copy.deepcopy(content)
        retyped["values"][key]["dtype"] = "float16"
        yield key, retyped, True
        yield key, without(content, "values", key), True
        more = copy.deepcopy(content)
        more["values"][f"{key} again"] = entry
        yield f"{key} again", more, True
    for name in golden.PROVENANCE:
        yield f"the file lacks ['{name}']", without(content, name), True
    for one, other in itertools.pairwise(content["values"]):
        swapped = copy.deepcopy(content)
        swapped["values"][one], swapped["values"][other] = content["values"][other], content["values"][one]
        compared_alike = content["values"][one]["tier"] != "bitwise" and content["values"][other]["tier"] == "bitwise"
        if content["values"][one]["value"] != content["values"][other]["value"]:
            yield one, swapped, compared_alike


@pytest.mark.parametrize("case", CASES)
def test_every_mutation_of_a_golden_file_is_caught_and_named(case: str, numerics: Numerics) -> None:
    content = golden.read(FOLDER, case)
    here = replace(numerics, numeric_class=content["numeric_class"])
    truth = claims_of(content)
    assert compare(case, content, truth, here, content["versions"]).differences == []
    caught = total = 0
    for key, mutated, shows_elsewhere in mutations(content):
        for where in [here, replace(here, numeric_class="elsewhere")][: 1 + shows_elsewhere]:
            differences = compare(case, mutated, truth, where, content["versions"]).differences
            total += 1
            caught += bool(differences) and any(line.startswith(f"{case}: {key}") for line in differences)
    assert total >= 5 * len(content["values"])
    assert caught == total


def test_a_missing_file_and_an_orphan_are_caught(tmp_path: Path) -> None:
    (tmp_path / "orphan.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("")
    assert golden.orphans(tmp_path, CASES) == ["notes.txt", "orphan.json"]
    for case in CASES:
        with pytest.raises(ValueError, match=f"{case}.json is not there"):
            golden.read(tmp_path, case)


def test_a_missing_or_damaged_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x\.json is not there"):
        golden.read(tmp_path, "x")
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(ValueError, match="holds list"):
        golden.read(tmp_path, "x")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git checkout with one commit and an empty golden folder."""
    (tmp_path / "golden").mkdir()
    (tmp_path / "code.py").write_text("x = 1\n")
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (("init", "-q"), ("add", "."), (*identity, "commit", "-q", "-m", "first")):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    return tmp_path


def updated(
    checkout: Path, numerics: Numerics, case: str = "x", reason: str = "it was wrong", **environment: str
) -> Path:
    return golden.update(checkout / "golden", case, {"x": claims}, reason, numerics, environment)


def test_an_update_writes_a_file_that_compares_equal_and_says_where_it_came_from(
    checkout: Path, numerics: Numerics
) -> None:
    updated(checkout, numerics)
    file = golden.read(checkout / "golden", "x")
    assert compare("x", file, claims(), numerics, fingerprint(numerics)["versions"]).differences == []
    assert file["reason"] == "it was wrong"
    assert len(file["commit"]) == 40
    # A second case may follow: golden files themselves do not make the tree dirty.
    updated(checkout, numerics)


def test_the_golden_files_of_a_card_carry_its_name_and_are_not_those_of_another(
    checkout: Path, numerics: Numerics
) -> None:
    card = replace(numerics, mode="native", device="cuda", device_name="Maker Card 1", numeric_class="of card 1")
    file = updated(checkout, card)
    assert file == checkout / "golden" / "cards" / "Maker-Card-1" / "x.json"
    content = golden.read(golden.of_device(checkout / "golden", card.device_name), "x")
    assert content["device_name"] == "Maker Card 1"
    assert "--device cuda" in content["command"]
    versions = fingerprint(card)["versions"]
    assert compare("x", content, claims(), card, versions).tiers["bitwise"] == 3
    assert compare("x", content, claims(), replace(card, numeric_class="of card 2"), versions).tiers["bitwise"] == 0
    assert golden.orphans(checkout / "golden", {"x": claims}) == []


def test_an_update_in_ci_is_refused(checkout: Path, numerics: Numerics) -> None:
    with pytest.raises(ValueError, match="never written in CI"):
        updated(checkout, numerics, CI="true")


def test_an_update_on_a_dirty_tree_is_refused(checkout: Path, numerics: Numerics) -> None:
    (checkout / "code.py").write_text("x = 2\n")
    with pytest.raises(ValueError, match=r"the tree has changes, .* code\.py"):
        updated(checkout, numerics)


def test_an_update_outside_a_checkout_is_refused(tmp_path: Path, numerics: Numerics) -> None:
    with pytest.raises(ValueError, match="is in no git checkout"):
        golden.update(tmp_path, "x", {"x": claims}, "it was wrong", numerics, {})


@pytest.mark.parametrize("reason", ["", "  ", "because"])
def test_an_update_without_a_reason_is_refused(reason: str, checkout: Path, numerics: Numerics) -> None:
    with pytest.raises(ValueError, match="a golden moves for a reason"):
        updated(checkout, numerics, reason=reason)


@pytest.mark.parametrize("case", ["y", "all", "x y", "*"])
def test_an_update_in_bulk_or_of_an_unknown_case_is_refused(case: str, checkout: Path, numerics: Numerics) -> None:
    with pytest.raises(ValueError, match="valid are x, one at a time"):
        updated(checkout, numerics, case=case)
