"""Golden files: every case compared with its file, and every reason for a failing comparison."""

import copy
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from in4310repro import golden
from in4310repro.golden import Claim, Comparison, compare
from in4310repro.golden.claims import NOT_COMPARED, compare_values
from in4310repro.golden.folder import Environment, Environments
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context
from in4310repro.system.files import read_json
from in4310repro.system.fingerprint import fingerprint
from in4310repro.system.numerics import Numerics
from in4310repro.training import experiment
from tests.builders import Watched
from tests.conftest import active
from tests.golden_cases import CASES, FOLDER, SLOW, TRAINED


class EpochDoneError(Exception):
    """Exception that ends a training early."""


def stop_after_an_epoch(line: str) -> None:
    if " epoch 1: " in line:
        raise EpochDoneError


def test_the_first_epoch_of_the_demo_has_the_bits_of_its_golden_file(numerics: Numerics, tmp_path: Path) -> None:
    if not numerics.portable:
        pytest.skip(f"portable arithmetic is unavailable here: {numerics.note}")
    with pytest.raises(EpochDoneError):
        experiment.train(
            PRESETS["demo"], tmp_path / "demo", context=Context(numerics, Watched(say=stop_after_an_epoch))
        )
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
    environments, versions = golden.folder.read_environments(FOLDER), fingerprint(numerics)["versions"]
    if case in TRAINED and not numerics.portable and not environments.has(numerics, versions):
        pytest.skip(f"{case}: of networks that were trained in portable arithmetic; not compared")
    comparison = compare(case, golden.read(FOLDER, case), CASES[case](), numerics, versions, environments)
    golden_tiers(comparison)
    assert comparison.differences == []


@pytest.mark.parametrize("case", CASES)
def test_a_golden_file_is_of_the_portable_kernels_of_now(case: str, numerics: Numerics) -> None:
    content, environments = golden.read(FOLDER, case), golden.folder.read_environments(FOLDER)
    written = environments.written_in(content)
    assert written
    assert written.numerics == "portable"
    if not numerics.portable:
        pytest.skip(f"portable arithmetic is unavailable here: {numerics.note}")
    assert golden.folder.stale_faults(case, content, numerics, environments) == []


def claims() -> dict[str, Claim]:
    measured = {"tolerance": 1e-3, "reason": "made up for this test"}
    return {
        "count": Claim(value=7),
        "names": Claim(value=["a", "b"]),
        "hash": Claim(value="c0ffee", tier="bitwise"),
        "zero": Claim(value=0.0),
        "losses": Claim(value=[0.5, 0.25], tier="bitwise", otherwise="numerical", **measured),  # type: ignore[arg-type]
    }


VERSIONS = dict.fromkeys(golden.folder.LIBRARIES, "1.0")
OTHER = VERSIONS | {"torch": "2.0"}


@pytest.fixture
def file(numerics: Numerics) -> dict[str, Any]:
    content: dict[str, Any] = dict.fromkeys(golden.folder.PROVENANCE, "made up")
    content |= {"case": "x", "versions": VERSIONS, "numeric_class": numerics.numeric_class, "device_name": "cpu"}
    return json.loads(json.dumps(content | {"values": {name: claim.to_json() for name, claim in claims().items()}}))  # type: ignore[no-any-return]


def list_environment(mode: str, numerics: Numerics) -> Environments:
    """Return Environments with one entry: this mode and arithmetic (numeric class), with the file x.json."""
    place: dict[str, Any] = {"numeric_class": numerics.numeric_class, "versions": VERSIONS, "device_name": "cpu"}
    return Environments(provenance={}, environments=(Environment(numerics=mode, files={"x.json": "made up"}, **place),))


def compare_file(
    file: dict[str, Any], got: dict[str, Claim], numerics: Numerics, versions: dict[str, str] = VERSIONS
) -> Comparison:
    """Compare results with a golden file, as if both had been computed in native arithmetic."""
    return compare("x", file, got, replace(numerics, mode="native"), versions, list_environment("native", active()))


def test_an_unmoved_case_has_no_differences_and_says_its_tiers(file: dict[str, Any], numerics: Numerics) -> None:
    comparison = compare_file(file, claims(), numerics)
    assert comparison.differences == []
    assert dict(comparison.tiers) == {"exact": 4, "bitwise": 3}


def test_another_class_or_library_weakens_the_tier_by_name(file: dict[str, Any], numerics: Numerics) -> None:
    elsewhere = replace(numerics, numeric_class="elsewhere")
    for comparison in (compare_file(file, claims(), elsewhere), compare_file(file, claims(), numerics, OTHER)):
        assert comparison.differences == []
        assert dict(comparison.tiers) == {"exact": 4, "numerical": 2, NOT_COMPARED: 1}


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
        assert dict(comparison.tiers) == {"exact": 4, "bitwise": 3}


def compare_unlisted(
    case: str, file: dict[str, Any], got: dict[str, Claim], numerics: Numerics, versions: dict[str, str]
) -> list[str]:
    """Return the differences from a golden file, given the arithmetic (numeric class) and versions recorded in it."""
    if file["case"] != case:
        return [f"{case}: the file is of another case"]
    same = file["numeric_class"] == numerics.numeric_class
    same = same and (numerics.portable or file["versions"] == versions)
    return compare_values(case, file["values"], got, same).differences


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


@pytest.mark.parametrize(
    "values",
    [
        {"losses": [0.5, 0.25 + 1e-16 * 2**3]},
        {"losses": [0.5, float("nan")]},
        {"hash": "c0ffef"},
        {"names": ["b", "a"]},
        {"zero": -0.0},
    ],
)
def test_the_last_bit_counts_in_the_same_class(values: Any, file: dict[str, Any], numerics: Numerics) -> None:
    assert len(compare_file(file, move(**values), numerics).differences) == 1


def drop(content: dict[str, Any], *path: str) -> dict[str, Any]:
    changed = copy.deepcopy(content)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    return changed


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


def read_claims(content: dict[str, Any]) -> dict[str, Claim]:
    traits = ("value", "tier", "otherwise", "tolerance", "reason")
    return {key: Claim(**{trait: entry[trait] for trait in traits}) for key, entry in content["values"].items()}


def nudge(value: Any, by: float) -> Any:
    """Return a value changed by `by`, or by the smallest change if it is a string or an integer."""
    if isinstance(value, list):
        return [*value[:-1], nudge(value[-1], by)]
    return value + "x" if isinstance(value, str) else value + 1 if isinstance(value, int) else value + by


def list_mutations(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Yield triples: name, faulty golden file, and True if other arithmetic (numeric class) also finds the fault."""
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
    for name in golden.folder.PROVENANCE:
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
    truth, environments = read_claims(content), golden.folder.read_environments(FOLDER)
    assert compare(case, content, truth, here, content["versions"], environments).differences == []
    caught = total = 0
    for key, mutated, shows_elsewhere in list_mutations(content):
        for where in [here, replace(here, numeric_class="elsewhere")][: 1 + shows_elsewhere]:
            differences = compare(case, mutated, truth, where, content["versions"], environments).differences
            total += 1
            caught += bool(differences) and any(line.startswith(f"{case}: {key}") for line in differences)
    assert total >= 5 * len(content["values"])
    assert caught == total
