"""Golden files: every case against its file, and every reason for which a comparison must fail."""

import copy
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from in4310repro import golden
from in4310repro.golden import NOT_COMPARED, Claim, Comparison, Environment, Environments, compare
from in4310repro.golden.comparison import compare_values
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context
from in4310repro.system.files import read_json
from in4310repro.system.fingerprint import fingerprint
from in4310repro.system.numerics import Numerics
from in4310repro.system.progress import Progress
from in4310repro.training import experiment
from tests.conftest import active
from tests.golden_cases import CASES, FOLDER, SLOW, TRAINED


class EpochDoneError(Exception):
    """Raised to end a training that has run long enough."""


class OneEpoch(Progress):
    def message(self, line: str) -> None:
        if " epoch 1: " in line:
            raise EpochDoneError


def test_the_first_epoch_of_the_demo_has_the_bits_of_its_golden_file(numerics: Numerics, tmp_path: Path) -> None:
    if not numerics.portable:
        pytest.skip(f"portable arithmetic is unavailable here: {numerics.note}")
    with pytest.raises(EpochDoneError):
        experiment.train(PRESETS["demo"], Context(numerics, OneEpoch()), tmp_path / "demo")
    (row,) = read_json(tmp_path / "demo" / "adamw" / "history.json")
    values = golden.read(FOLDER, "demo_bits")["values"]
    first = {name: values[f"adamw/{name}"]["value"][0] for name in ("weights", "train_loss", "val_loss")}
    assert first == {"weights": row["weights_sha256"], "train_loss": row["train_loss"], "val_loss": row["val_loss"]}


def marked(case: str) -> Any:
    return pytest.param(case, marks=(pytest.mark.slow, pytest.mark.long(140)) if case in SLOW else ())


@pytest.mark.parametrize("case", [marked(case) for case in CASES])
def test_a_case_equals_its_golden_file(
    case: str, numerics: Numerics, golden_tiers: Callable[[Comparison], None]
) -> None:
    environments, versions = golden.read_environments(FOLDER), fingerprint(numerics)["versions"]
    if case in TRAINED and not numerics.portable and not environments.has(numerics, versions):
        pytest.skip(f"{case}: of networks that were trained in portable arithmetic; not compared")
    comparison = compare(case, golden.read(FOLDER, case), CASES[case](), numerics, versions, environments)
    golden_tiers(comparison)
    assert comparison.differences == []


@pytest.mark.parametrize("case", CASES)
def test_a_golden_file_is_of_the_portable_kernels_of_now(case: str, numerics: Numerics) -> None:
    content, environments = golden.read(FOLDER, case), golden.read_environments(FOLDER)
    written = environments.written_in(content)
    assert written
    assert written.numerics == "portable"
    if not numerics.portable:
        pytest.skip(f"portable arithmetic is unavailable here: {numerics.note}")
    assert golden.stale_faults(case, content, numerics, environments) == []


def claims() -> dict[str, Claim]:
    measured = {"tolerance": 1e-3, "reason": "made up for this test"}
    return {
        "count": Claim(value=7),
        "names": Claim(value=["a", "b"]),
        "hash": Claim(value="c0ffee", tier="bitwise"),
        "losses": Claim(value=[0.5, 0.25], tier="bitwise", otherwise="numerical", **measured),  # type: ignore[arg-type]
    }


VERSIONS = dict.fromkeys(golden.LIBRARIES, "1.0")
OTHER = VERSIONS | {"torch": "2.0"}


@pytest.fixture
def file(numerics: Numerics) -> dict[str, Any]:
    content: dict[str, Any] = dict.fromkeys(golden.PROVENANCE, "made up")
    content |= {"case": "x", "versions": VERSIONS, "numeric_class": numerics.numeric_class, "device_name": "cpu"}
    return json.loads(json.dumps(content | {"values": {name: claim.to_json() for name, claim in claims().items()}}))  # type: ignore[no-any-return]


def list_environment(mode: str, numerics: Numerics) -> Environments:
    """Return a list of environments that contains the environment of the file in these tests."""
    place: dict[str, Any] = {"numeric_class": numerics.numeric_class, "versions": VERSIONS, "device_name": "cpu"}
    return Environments(provenance={}, environments=(Environment(numerics=mode, files={"x.json": "made up"}, **place),))


def compare_file(
    file: dict[str, Any], got: dict[str, Claim], numerics: Numerics, versions: dict[str, str] = VERSIONS
) -> Comparison:
    """Compare a native process with the file, which was written by a native process with the same numeric class."""
    return compare("x", file, got, replace(numerics, mode="native"), versions, list_environment("native", active()))


def test_an_unmoved_case_has_no_differences_and_says_its_tiers(file: dict[str, Any], numerics: Numerics) -> None:
    comparison = compare_file(file, claims(), numerics)
    assert comparison.differences == []
    assert dict(comparison.tiers) == {"exact": 3, "bitwise": 3}


def test_another_class_or_library_weakens_the_tier_by_name(file: dict[str, Any], numerics: Numerics) -> None:
    elsewhere = replace(numerics, numeric_class="elsewhere")
    for comparison in (compare_file(file, claims(), elsewhere), compare_file(file, claims(), numerics, OTHER)):
        assert comparison.differences == []
        assert dict(comparison.tiers) == {"exact": 3, "numerical": 2, NOT_COMPARED: 1}


def test_a_listed_environment_in_which_a_value_is_not_compared_is_a_difference(
    file: dict[str, Any], numerics: Numerics
) -> None:
    native = replace(numerics, mode="native", numeric_class="of another file")
    (one,) = list_environment("native", numerics).environments
    both = Environments(provenance={}, environments=(one, replace(one, numeric_class="of another file", files={})))
    (difference,) = compare("x", file, claims(), native, VERSIONS, both).differences
    assert difference == (
        "x: 1 bitwise values are not compared, in an environment that environments.json lists "
        "(numeric class of another file)"
    )
    assert compare("x", file, claims(), native, OTHER, both).differences == []


def test_portable_bits_are_compared_with_any_library(file: dict[str, Any], numerics: Numerics) -> None:
    portable, environments = replace(numerics, mode="portable"), list_environment("portable", numerics)
    comparison = compare("x", file, claims(), portable, OTHER, environments)
    assert comparison.differences == []
    assert dict(comparison.tiers) == {"exact": 3, "bitwise": 3}


def test_a_portable_file_of_other_kernels_is_stale_and_its_values_are_compared_to_the_bit(
    file: dict[str, Any], numerics: Numerics
) -> None:
    newer, environments = (
        replace(numerics, mode="portable", numeric_class="newer"),
        list_environment("portable", numerics),
    )
    for got, differences in ((claims(), 1), (move(hash="c0ffef"), 2)):
        comparison = compare("x", file, got, newer, OTHER, environments)
        assert len(comparison.differences) == differences
        assert "nox -s golden -- environments --reason" in comparison.differences[0]
        assert "nox -s golden -- x --reason" in comparison.differences[0]
        assert dict(comparison.tiers) == {"exact": 3, "bitwise": 3}


def test_in_portable_arithmetic_a_value_that_is_not_compared_is_a_difference(
    file: dict[str, Any], numerics: Numerics
) -> None:
    portable, environments = (
        replace(numerics, mode="portable", numeric_class="of no file"),
        list_environment("native", numerics),
    )
    (difference,) = compare("x", file, claims(), portable, VERSIONS, environments).differences
    assert difference == "x: 1 bitwise values are not compared, in portable arithmetic (numeric class of no file)"


def test_a_portable_class_that_the_list_calls_native_is_a_difference(file: dict[str, Any], numerics: Numerics) -> None:
    portable = replace(numerics, mode="portable")
    (difference, *_) = compare(
        "x", file, claims(), portable, VERSIONS, list_environment("native", numerics)
    ).differences
    assert "as native; it is portable" in difference


def compare_unlisted(
    case: str, file: dict[str, Any], got: dict[str, Claim], numerics: Numerics, versions: dict[str, str]
) -> list[str]:
    """Compare at the tier that the file itself names, as the package did before there was a list of environments."""
    if file["case"] != case:
        return [f"{case}: the file is of another case"]
    same = file["numeric_class"] == numerics.numeric_class
    same = same and (numerics.portable or file["versions"] == versions)
    result = Comparison()
    compare_values(case, file["values"], got, same, result)
    return result.differences


@pytest.mark.parametrize("mode", ["portable", "native"])
def test_a_moved_value_is_not_silenced_by_another_word_in_the_file(
    mode: str, file: dict[str, Any], numerics: Numerics
) -> None:
    here, environments = replace(numerics, mode=mode), list_environment(mode, numerics)
    words: list[dict[str, Any]] = [{"numeric_class": "c1a55"}, {"versions": OTHER}, {"device_name": "Maker Card 1"}]
    for word in words:
        edited = file | word
        (difference,) = compare("x", edited, move(hash="c0ffef"), here, VERSIONS, environments).differences
        assert "match no environment in environments.json" in difference
    # Such a word in the file was all that it took.
    assert compare_unlisted("x", file, move(hash="c0ffef"), here, VERSIONS) != []
    assert compare_unlisted("x", file | words[0], move(hash="c0ffef"), here, VERSIONS) == []


def move(**values: Any) -> dict[str, Claim]:
    return claims() | {name: replace(claims()[name], value=value) for name, value in values.items()}


def test_a_moved_value_is_named_with_what_was_expected_and_got(file: dict[str, Any], numerics: Numerics) -> None:
    comparison = compare_file(file, move(count=8), numerics)
    assert comparison.differences == ["x: count expected 7 (exact), got 8"]


def test_a_moved_list_shows_how_many_entries_differ_by_how_much_and_the_first_of_them(
    file: dict[str, Any], numerics: Numerics
) -> None:
    many = [float(number) for number in range(100)]
    expected = claims() | {"losses": replace(claims()["losses"], value=many)}
    got = claims() | {"losses": replace(claims()["losses"], value=[*many[:90], *(value + 0.5 for value in many[90:])])}
    file["values"]["losses"] = expected["losses"].to_json()
    (difference,) = compare_file(file, got, numerics).differences
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
    assert len(compare_file(file, move(**values), numerics).differences) == 1


@pytest.mark.parametrize(("by", "differences"), [(9e-4, 0), (1.1e-3, 1), (float("nan"), 1)])
def test_the_tolerance_counts_elsewhere(by: float, differences: int, file: dict[str, Any], numerics: Numerics) -> None:
    comparison = compare_file(file, move(losses=[0.5, 0.25 + by]), replace(numerics, numeric_class="elsewhere"))
    assert len(comparison.differences) == differences


def drop(content: dict[str, Any], *path: str) -> dict[str, Any]:
    changed = copy.deepcopy(content)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    return changed


def test_a_missing_key_of_either_side_is_a_difference(file: dict[str, Any], numerics: Numerics) -> None:
    for path in (("values", "count"), ("values", "losses", "tolerance"), ("versions",), ("numeric_class",)):
        assert compare_file(drop(file, *path), claims(), numerics).differences
    fewer = {name: claim for name, claim in claims().items() if name != "count"}
    assert compare_file(file, fewer, numerics).differences == [
        "x: count is in the golden file but is no longer computed"
    ]


@pytest.mark.parametrize(
    ("trait", "value"),
    [
        ("dtype", "float32"),
        ("shape", [3]),
        ("tier", "exact"),
        ("tier", "firm"),
        ("otherwise", None),
        ("tolerance", 1.0),
        ("reason", ""),
        ("reason", "another one"),
    ],
)
def test_a_changed_trait_is_a_difference(trait: str, value: Any, file: dict[str, Any], numerics: Numerics) -> None:
    file["values"]["losses"][trait] = value
    (difference,) = compare_file(file, claims(), numerics).differences
    assert difference.startswith("x: losses")


@pytest.mark.parametrize("trait", ["value", "dtype", "shape", "tier", "otherwise", "tolerance", "reason"])
def test_a_claim_without_a_key_names_the_key(trait: str, file: dict[str, Any], numerics: Numerics) -> None:
    comparison = compare_file(drop(file, "values", "losses", trait), claims(), numerics)
    assert comparison.differences == [f"x: losses lacks {trait}"]


def test_a_claim_with_another_key_and_one_that_is_a_list_are_named(file: dict[str, Any], numerics: Numerics) -> None:
    file["values"]["losses"]["unit"] = "nat"
    file["values"]["count"] = [7]
    differences = compare_file(file, claims(), numerics).differences
    assert [line.partition(";")[0] for line in differences] == ["x: count is a list", "x: losses has 'unit'"]


def test_a_file_of_another_case_is_a_difference(file: dict[str, Any], numerics: Numerics) -> None:
    assert compare("y", file, claims(), numerics, VERSIONS, list_environment(numerics.mode, numerics)).differences == [
        "y: the file is of case 'x'"
    ]


def test_a_claim_of_a_weaker_tier_needs_a_tolerance_and_a_reason() -> None:
    for wrong in ({"otherwise": "numerical"}, {"tolerance": 1.0}, {"otherwise": "numerical", "tolerance": 1.0}):
        with pytest.raises(ValueError, match="expected a tolerance and a reason with a weaker tier"):
            Claim(value=1, tier="bitwise", **wrong)
    with pytest.raises(ValueError, match="valid values are exact, bitwise and numerical"):
        Claim(value=1, tier="statistical")
    with pytest.raises(ValueError, match="expected a tolerance and a reason with a weaker tier"):
        Claim(value=1.0, tier="numerical")


def test_a_numerical_claim_holds_within_its_tolerance_in_every_class(file: dict[str, Any], numerics: Numerics) -> None:
    claim = Claim(value=[2.0, 1.0], tier="numerical", tolerance=1e-12, reason="made up for this test")
    file["values"] = {"eigenvalues": claim.to_json()}
    for by, differences in ((9e-13, 0), (1.1e-12, 1), (float("nan"), 1)):
        got = {"eigenvalues": replace(claim, value=[2.0, 1.0 + by])}
        for here in (numerics, replace(numerics, numeric_class="elsewhere")):
            comparison = compare_file(file, got, here)
            assert len(comparison.differences) == differences
            assert comparison.tiers["numerical"] == 2


def read_claims(content: dict[str, Any]) -> dict[str, Claim]:
    traits = ("value", "tier", "otherwise", "tolerance", "reason")
    return {key: Claim(**{trait: entry[trait] for trait in traits}) for key, entry in content["values"].items()}


def nudge(value: Any, by: float) -> Any:
    """Return the value, moved by slightly more than its tolerance."""
    if isinstance(value, list):
        return [*value[:-1], nudge(value[-1], by)]
    return value + "x" if isinstance(value, str) else value + 1 if isinstance(value, int) else value + by


def list_mutations(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Yield faults of a golden file: the key, the file, and True if the fault shows in another numeric class too."""
    for key, entry in content["values"].items():
        least = abs(entry["value"]) * 1e-15 if isinstance(entry["value"], float) else 1e-12
        moved_file = copy.deepcopy(content)
        moved_file["values"][key]["value"] = nudge(entry["value"], least)
        if entry["tier"] != "numerical":
            yield key, moved_file, entry["tier"] == "exact"
        far = copy.deepcopy(content)
        far["values"][key]["value"] = nudge(entry["value"], 1.01 * (entry["tolerance"] or 1))
        yield key, far, entry["tier"] != "bitwise" or entry["otherwise"] is not None
        retyped = copy.deepcopy(content)
        retyped["values"][key]["dtype"] = "float16"
        yield key, retyped, True
        yield key, drop(content, "values", key), True
        more = copy.deepcopy(content)
        more["values"][f"{key} again"] = entry
        yield f"{key} again", more, True
    for name in golden.PROVENANCE:
        yield f"the file lacks {name}", drop(content, name), True
    for one, other in itertools.pairwise(content["values"]):
        swapped = copy.deepcopy(content)
        swapped["values"][one], swapped["values"][other] = content["values"][other], content["values"][one]
        compared_alike = content["values"][one]["tier"] != "bitwise" and content["values"][other]["tier"] == "bitwise"
        if content["values"][one]["value"] != content["values"][other]["value"]:
            yield one, swapped, compared_alike


@pytest.mark.parametrize("case", CASES)
def test_every_mutation_of_a_golden_file_is_caught_and_named(case: str, numerics: Numerics) -> None:
    content = golden.read(FOLDER, case)
    here = replace(numerics, mode="native", numeric_class=content["numeric_class"])
    truth, environments = read_claims(content), golden.read_environments(FOLDER)
    assert compare(case, content, truth, here, content["versions"], environments).differences == []
    caught = total = 0
    for key, mutated, shows_elsewhere in list_mutations(content):
        for where in [here, replace(here, numeric_class="elsewhere")][: 1 + shows_elsewhere]:
            differences = compare(case, mutated, truth, where, content["versions"], environments).differences
            total += 1
            caught += bool(differences) and any(line.startswith(f"{case}: {key}") for line in differences)
    assert total >= 5 * len(content["values"])
    assert caught == total
