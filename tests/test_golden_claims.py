"""Claims and their comparison value by value: errors, tiers and differences."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from in4310repro.golden import Claim, Comparison, compare
from in4310repro.golden.claims import NOT_COMPARED, compare_values, find_claim_faults
from in4310repro.golden.folder import LIBRARIES, PROVENANCE, Environment, Environments, stale_faults
from in4310repro.system.numerics import Numerics

WEAKER: dict[str, Any] = {"tolerance": 0.5, "reason": "made up"}
TRAITS = "value, dtype, shape, tier, otherwise, tolerance, reason"


@pytest.mark.parametrize(
    ("traits", "sentence"),
    [
        ({"tier": "statistical"}, "tier is 'statistical'; it must be exact, bitwise or numerical"),
        (
            {"tier": "bitwise", "otherwise": "exact"},
            "otherwise is 'exact'; it must be numerical, statistical or None",
        ),
        *(
            (
                traits,
                "expected a tolerance and a reason with tier numerical, or with otherwise numerical or statistical, "
                "and no tolerance with another",
            )
            for traits in (
                {"tier": "numerical"},
                {"tier": "numerical", "reason": "made up"},
                {"tier": "numerical", "tolerance": 0.5},
                {"tier": "exact", **WEAKER},
                {"tier": "bitwise", **WEAKER},
                {"tier": "bitwise", "otherwise": "statistical", "reason": "made up"},
                {"tier": "bitwise", "otherwise": "statistical", "tolerance": 0.5},
            )
        ),
    ],
)
def test_a_claim_that_contradicts_itself_is_refused(traits: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        Claim(value=1, **traits)
    entry = Claim(value=1).to_json() | traits
    assert find_claim_faults("x: it", entry) == [f"x: it: {sentence}"]


@pytest.mark.parametrize(
    ("claim", "dtype", "shape"),
    [
        (Claim(value=7), "int64", []),
        (Claim(value=[0.5, 1.5]), "float64", [2]),
        (Claim(value=[[1, 2, 3], [4, 5, 6]]), "int64", [2, 3]),
        (Claim(value="sea"), "str", []),
        (Claim(value=["sea", "bay"], tier="bitwise"), "str", [2]),
        (Claim(value=True), "bool", []),
        (Claim(value=0.5, tier="numerical", **WEAKER), "float64", []),
        (Claim(value=0.5, tier="bitwise", otherwise="statistical", **WEAKER), "float64", []),
        (Claim(value=0.5, tier="bitwise", otherwise="numerical", **WEAKER), "float64", []),
    ],
    ids=lambda value: str(value.value) if isinstance(value, Claim) else "",
)
def test_a_golden_file_holds_a_claim_with_dtype_and_shape(claim: Claim, dtype: str, shape: list[int]) -> None:
    assert claim.to_json() == vars(claim) | {"dtype": dtype, "shape": shape}
    assert find_claim_faults("x: it", claim.to_json()) == []
    wrong = claim.to_json() | {"dtype": "complex64", "shape": [9]}
    assert find_claim_faults("x: it", wrong) == [
        f"x: it has dtype 'complex64'; expected {dtype!r}, that of its value",
        f"x: it has shape [9]; expected {shape!r}, that of its value",
    ]


def test_an_entry_that_is_no_claim_is_named_with_its_keys() -> None:
    assert find_claim_faults("x: it", [7]) == [f"x: it is a list; expected an object with {TRAITS}"]
    entry = Claim(value=7).to_json()
    del entry["dtype"], entry["reason"]
    assert find_claim_faults("x: it", entry | {"unit": "nat"}) == [
        "x: it lacks dtype",
        "x: it lacks reason",
        f"x: it has 'unit'; valid keys are {TRAITS}",
    ]
    for trait in TRAITS.split(", "):
        lacking = {name: value for name, value in Claim(value=7).to_json().items() if name != trait}
        assert find_claim_faults("x: it", lacking) == [f"x: it lacks {trait}"]


def compare_value_sets(expected: Mapping[str, Any], got: Mapping[str, Claim], same: bool) -> Comparison:
    return compare_values("x", {name: claim.to_json() for name, claim in expected.items()}, got, same)


BITS = Claim(value=[1.0, 2.0, 3.0], tier="bitwise")
NEAR = Claim(value=[1.0, 2.0, 3.0], tier="bitwise", otherwise="numerical", **WEAKER)
ABOUT = Claim(value=[1.0, 2.0, 3.0], tier="bitwise", otherwise="statistical", **WEAKER)
ALWAYS_NEAR = Claim(value=[1.0, 2.0, 3.0], tier="numerical", **WEAKER)
# The second value is off by as much as is allowed, or a bit more.
AT_THE_TOLERANCE, BEYOND = [1.0, 2.5, 3.0], [1.0, 2.5 + 2**-40, 3.0]


@pytest.mark.parametrize(
    ("claim", "value", "same", "tier", "difference"),
    [
        (BITS, BITS.value, True, "bitwise", None),
        (BITS, BEYOND, True, "bitwise", "1 of 3 entries, by up to 0.5 (bitwise): [1] expected 2.0, got 2.5"),
        (BITS, BEYOND, False, NOT_COMPARED, None),
        (NEAR, AT_THE_TOLERANCE, True, "bitwise", "1 of 3 entries, by up to 0.5 (bitwise): [1] expected 2.0, got 2.5"),
        (NEAR, AT_THE_TOLERANCE, False, "numerical", None),
        (
            NEAR,
            BEYOND,
            False,
            "numerical",
            "1 of 3 entries, by up to 0.5 within 0.5 (numerical): [1] expected 2.0, got 2.5",
        ),
        (ABOUT, AT_THE_TOLERANCE, False, "statistical", None),
        (
            ABOUT,
            BEYOND,
            False,
            "statistical",
            "1 of 3 entries, by up to 0.5 within 0.5 (statistical): [1] expected 2.0",
        ),
        (ALWAYS_NEAR, AT_THE_TOLERANCE, True, "numerical", None),
        (
            ALWAYS_NEAR,
            BEYOND,
            True,
            "numerical",
            "1 of 3 entries, by up to 0.5 within 0.5 (numerical): [1] expected 2.0",
        ),
        (ALWAYS_NEAR, [1.0, 1.5, 3.0], False, "numerical", None),
        (
            ALWAYS_NEAR,
            [1.0, 2.0, float("nan")],
            False,
            "numerical",
            "1 of 3 entries, by up to nan within 0.5 (numerical): ",
        ),
        (
            Claim(value=[1, 2, 3]),
            [1, 2, 4],
            False,
            "exact",
            "1 of 3 entries, by up to 1 (exact): [2] expected 3, got 4",
        ),
    ],
)
def test_a_value_is_compared_at_its_tier(
    claim: Claim, value: Any, same: bool, tier: str, difference: str | None
) -> None:
    result = compare_value_sets({"it": claim}, {"it": replace(claim, value=value)}, same)
    assert dict(result.tiers) == {tier: 3}
    if difference is None:
        assert result.differences == []
    else:
        (found,) = result.differences
        assert found.startswith(f"x: it differs in {difference}")


def test_a_difference_shows_a_value_or_the_first_three_entries() -> None:
    one, names = Claim(value=7), Claim(value=["a", "b", "c", "d", "e"])
    rows = Claim(value=[[1, 2], [3, 4]])
    expected = {"one": one, "names": names, "rows": rows, "list": Claim(value=[1])}
    got = {
        "one": replace(one, value=8),
        "names": replace(names, value=["b", "b", "x", "y", "z"]),
        "rows": replace(rows, value=[[1, 2], [9, 2]]),
        "list": Claim(value=[1]),
    }
    assert compare_value_sets(expected, got, True).differences == [
        "x: names differs in 4 of 5 entries (exact): [0] expected 'a', got 'b'; [2] expected 'c', got 'x'; "
        "[3] expected 'd', got 'y'",
        "x: one expected 7 (exact), got 8",
        "x: rows differs in 2 of 4 entries, by up to 6 (exact): [2] expected 3, got 9; [3] expected 4, got 2",
    ]
    # Scalars of NumPy are numbers, and large integers have no difference as a float.
    array = {"one": replace(one, value=np.int64(8))}
    assert compare_value_sets({"one": one}, array, True).differences == ["x: one expected 7 (exact), got 8"]
    large = [Claim(value=[value, 1]) for value in (2**2000, 2**2000 + 1)]
    (difference,) = compare_value_sets({"one": large[0]}, {"one": large[1]}, True).differences
    assert difference.startswith("x: one differs in 1 of 2 entries (exact): [0] expected 1148")


def test_every_key_of_either_side_is_accounted_for_in_order() -> None:
    expected = {"c": Claim(value=1).to_json(), "a": Claim(value=1).to_json(), "b": [1]}
    result = compare_values("x", expected, {name: Claim(value=1) for name in "bcd"}, True)
    assert result.differences == [
        "x: a is in the golden file but is no longer computed",
        f"x: b is a list; expected an object with {TRAITS}",
        "x: d is computed but is not in the golden file",
    ]
    assert dict(result.tiers) == {"exact": 1}


@pytest.mark.parametrize(
    ("claim", "trait", "expected", "got"),
    [
        (Claim(value=[1.0, 2.0, 3]), "shape", "[3]", "[2]"),
        (replace(NEAR, tolerance=0.25), "tolerance", "0.25", "0.5"),
        (replace(NEAR, reason="another"), "reason", "'another'", "'made up'"),
        (ABOUT, "otherwise", "'statistical'", "'numerical'"),
        (ALWAYS_NEAR, "tier", "'numerical'", "'bitwise'"),
    ],
)
def test_the_first_trait_that_differs_is_the_difference(claim: Claim, trait: str, expected: str, got: str) -> None:
    other = Claim(value=[1.0, 2.0]) if trait == "shape" else replace(NEAR, value=[9.0, 9.0, 9.0])
    result = compare_value_sets({"it": claim}, {"it": other}, True)
    assert result == Comparison(differences=[f"x: it expected {trait} {expected}, got {got}"])


HERE = dict.fromkeys(LIBRARIES, "1.0")
ELSEWHERE = HERE | {"numpy": "2.0"}
HASH = {"hash": Claim(value="c0ffee", tier="bitwise")}


def numerics(mode: str, numeric_class: str) -> Numerics:
    return Numerics(mode=mode, numeric_class=numeric_class, probe={}, threads=1, device="cpu")


def golden_file(numeric_class: str = "a") -> dict[str, Any]:
    content: dict[str, Any] = dict.fromkeys(PROVENANCE, "made up")
    content |= {"case": "x", "versions": HERE, "numeric_class": numeric_class, "device_name": "cpu"}
    return content | {"values": {name: claim.to_json() for name, claim in HASH.items()}}


def make_environments(*classes: tuple[str, str]) -> Environments:
    """Return Environments with one entry per pair (numeric class, mode); each entry lists the file x.json."""
    return Environments(
        provenance={},
        environments=tuple(
            Environment(
                numeric_class=name, numerics=mode, device_name="cpu", versions=HERE, files={"x.json": "made up"}
            )
            for name, mode in classes
        ),
    )


@pytest.mark.parametrize(
    ("written", "mode", "numeric_class", "versions", "tier"),
    [
        ("native", "native", "a", HERE, "bitwise"),
        ("native", "native", "a", ELSEWHERE, NOT_COMPARED),
        ("native", "native", "b", HERE, NOT_COMPARED),
        ("portable", "native", "a", HERE, "bitwise"),
        ("portable", "native", "b", HERE, NOT_COMPARED),
        ("portable", "portable", "a", ELSEWHERE, "bitwise"),
        ("portable", "portable", "b", ELSEWHERE, "bitwise"),
        ("native", "portable", "b", HERE, NOT_COMPARED),
    ],
)
def test_bits_are_compared_in_the_same_class_with_the_same_libraries_and_in_portable_arithmetic_anywhere(
    written: str, mode: str, numeric_class: str, versions: dict[str, str], tier: str
) -> None:
    here = numerics(mode, numeric_class)
    result = compare("x", golden_file(), HASH, here, versions, make_environments(("a", written)))
    assert dict(result.tiers) == {tier: 1}
    if mode == "native":
        assert result.differences == []


LOST = "x: 1 bitwise values are not compared, "


@pytest.mark.parametrize(
    ("classes", "mode", "versions", "difference"),
    [
        ((("a", "native"),), "native", HERE, None),
        ((("a", "native"), ("b", "native")), "native", HERE, "in an environment that environments.json lists"),
        ((("a", "native"), ("b", "native")), "native", ELSEWHERE, None),
        ((("a", "native"),), "portable", ELSEWHERE, "in portable arithmetic"),
    ],
)
def test_bits_that_are_not_compared_are_a_difference_where_they_could_be(
    classes: tuple[tuple[str, str], ...], mode: str, versions: dict[str, str], difference: str | None
) -> None:
    result = compare("x", golden_file(), HASH, numerics(mode, "b"), versions, make_environments(*classes))
    assert result.differences == ([f"{LOST}{difference} (numeric class b)"] if difference else [])


WRITES = 'nox -s golden -- x --reason "why it moved" writes it'


def test_a_file_of_other_kernels_or_of_a_class_that_is_said_to_be_native_is_stale() -> None:
    def found(written: str, mode: str, numeric_class: str) -> list[str]:
        return stale_faults("x", golden_file(), numerics(mode, numeric_class), make_environments(("a", written)))

    assert found("portable", "portable", "b") == [
        "x: the file has the portable class a and the kernels now have class b; nox -s golden -- environments "
        '--reason "why the class changed" writes all files again whose values did not move, and '
        f"{WRITES} where they did"
    ]
    assert found("native", "portable", "a") == ["x: environments.json lists the class a as native; it is portable"]
    same = [("portable", "portable", "a"), ("native", "portable", "b"), ("portable", "native", "b")]
    assert [found(*words) for words in (*same, ("native", "native", "a"))] == [[], [], [], []]
    assert stale_faults("x", golden_file("c"), numerics("portable", "b"), make_environments(("a", "portable"))) == []


def test_a_file_of_an_environment_that_is_not_listed_or_of_another_form_is_not_compared() -> None:
    here, environments = numerics("native", "a"), make_environments(("a", "native"))
    other = golden_file("c")
    sentence = (
        "x: the file's numeric_class 'c', device_name 'cpu' and versions match no environment in "
        f"environments.json; {WRITES}"
    )
    assert compare("x", other, HASH, here, HERE, environments) == Comparison(differences=[sentence])
    for key in ("numeric_class", "versions"):
        wrong = {name: value for name, value in golden_file().items() if name != key}
        expected = Comparison(differences=[f"x: the file lacks {key}"])
        assert compare("x", wrong, HASH, here, HERE, environments) == expected
