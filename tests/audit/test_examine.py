"""The audit as a whole: the original, made-up reports with and without a wrong digit, and what is said in words."""

import json
import random
from decimal import ROUND_HALF_UP
from fractions import Fraction

import pytest

from in4310repro.audit.examine import Audit, audit
from in4310repro.audit.page import render
from tests.audit.made_up import PRINTINGS, SUPPORTS, original_text, report, rounded, table, with_wrong_digit

COUNTS = [
    [461, 475, 395, 474, 490, 330],
    [454, 481, 512, 495, 490, 505],
    [460, 479, 514, 527, 486, 506],
    [458, 479, 509, 526, 486, 506],
]


@pytest.fixture(scope="module")
def original() -> Audit:
    return audit(original_text())


def counts(found: Audit) -> list[list[int | None]]:
    return [[count[0] if count and len(count) == 1 else None for count in t.correct.values()] for t in found.counted]


def test_the_originals_counts_are_those_of_the_derivation(original: Audit) -> None:
    assert tuple(original.sizes[0].taken.values()) == SUPPORTS
    assert counts(original) == COUNTS
    assert [table.totals for table in original.counted] == [range(t, t + 1) for t in (2625, 2937, 2972, 2964)]


def test_the_originals_sea_could_have_245_images_by_its_decimals_alone(original: Audit) -> None:
    assert original.sizes[0].smallest["5"] == 245
    assert audit(original_text(), images=2755).sizes[0].taken["5"] == 245


def test_the_original_has_no_inconsistency_and_two_oddities(original: Audit) -> None:
    assert original.inconsistencies == ()
    assert [oddity.kind for oddity in original.oddities] == ["equal counts", "level"]
    assert original.remarks == ()
    assert [mean.last_bit for mean in original.means] == [True] * 8


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("printing", ["repr", "12 decimals"])
def test_made_up_reports_are_told_from_their_copies_with_one_wrong_digit(seed: int, printing: str) -> None:
    text, sizes, made = report(seed, PRINTINGS[printing])
    honest = audit(text, images=sum(sizes))
    assert honest.inconsistencies == ()
    assert counts(honest) == made
    assert audit(with_wrong_digit(text, seed), images=sum(sizes)).inconsistencies != ()


@pytest.mark.parametrize("printing", PRINTINGS)
def test_every_way_of_printing_gives_the_counts_back(printing: str) -> None:
    text, sizes, made = report(100, PRINTINGS[printing])
    found = audit(text, images=sum(sizes))
    assert found.inconsistencies == ()
    assert counts(found) == made


def test_reports_with_few_decimals_are_never_called_inconsistent() -> None:
    for seed in range(6):
        for how in (rounded(1 + seed), rounded(1 + seed, ROUND_HALF_UP), lambda share: repr(round(share, 4))):
            text, sizes, _ = report(seed, how)
            assert audit(text, images=sum(sizes), bound=800).inconsistencies == ()


def changed(text: str, old: str, place: int, seed: int) -> str:
    position = old.index(".") + place
    digits = [digit for digit in "0123456789" if digit != old[position]]
    new = old[:position] + random.Random(seed).choice(digits) + old[position + 1 :]
    # The last occurrence: figures 3 and 4 share three accuracies.
    return new.join(text.rsplit(old, 1))


@pytest.mark.parametrize("place", [1, 8, 14])
@pytest.mark.parametrize(
    "value", ["0.9956803455723542", "0.9881606596311165", "0.9577104520041604", "0.9932063639276215"]
)
def test_a_digit_changed_in_the_original_is_caught(value: str, place: int) -> None:
    assert audit(changed(original_text(), value, place, seed=place)).inconsistencies != ()


def test_a_changed_average_precision_is_caught_through_its_mean_alone() -> None:
    found = audit(original_text().replace("0.9577104520041604", "0.9577104520042604"))
    assert [finding.kind for finding in found.inconsistencies] == ["mean"]


def test_a_changed_accuracy_is_caught_as_a_fraction_too_where_its_mean_would_pass() -> None:
    found = audit(original_text().replace("0.9956803455723542", "0.9956803455723549"))
    assert [finding.kind for finding in found.inconsistencies] == ["no fraction"]


def two_decimals() -> str:
    tables = [
        table(f"Figure {number}", row, SUPPORTS, [0.95] * 6, rounded(2)) for number, row in enumerate(COUNTS, start=1)
    ]
    return "\n".join(tables)


def test_two_decimals_give_no_power_and_no_counts_and_the_audit_says_so() -> None:
    found = audit(two_decimals())
    assert found.power is not None
    assert found.power.refused == 0
    assert (counts(found), found.inconsistencies, found.oddities) == ([[None] * 6] * 4, (), ())
    assert "Power of counts: none at 2 decimals. 100.0% of all such numbers are some k/n with n <= 2000" in render(
        found
    )


def test_tables_of_validation_and_test_images_are_not_an_inconsistency() -> None:
    text = table("Figure 1", [300, 310, 320, 330, 311, 317], [309, 322, 347, 357, 327, 338], [0.9] * 6)
    found = audit(text + table("Figure 2", COUNTS[3], SUPPORTS, [0.9] * 6))
    assert found.inconsistencies == ()
    assert [group.tables for group in found.sizes] == [("Figure 1",), ("Figure 2",)]
    assert "class sizes differ between Figure 1 and Figure 2" in found.remarks[0]


def test_what_was_not_checked_is_remarked() -> None:
    text = "Accuracy for class 1: 0.9956803455723542\nThe average precision score for all classes: 0.95\nFigure 1"
    assert [remark[:35] for remark in audit(text, images=463).remarks] == [
        "Figure 1: no mean accuracy is printed"[:35],
        "Figure 1: mean average precision was not checked"[:35],
    ]


def test_average_precision_alone_can_be_audited_for_its_mean() -> None:
    text = "AP for class 1: 0.91\nAP for class 2: 0.93\nmAP: 0.95"
    found = audit(text)
    assert [finding.kind for finding in found.inconsistencies] == ["mean"]
    assert "no class accuracy is printed" in found.remarks[0]
    assert "Power of counts" not in render(found)


def test_a_class_that_is_always_right_has_no_known_size() -> None:
    found = audit(table("Figure 1", [461, 483], [463, 483], [0.9, 0.9]))
    assert counts(found) == [[461, None]]
    assert found.counted[0].totals is None
    assert "size of class 2 not known" in found.remarks[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bound": 0}, "bound 0; 1 to 20000 is valid"),
        ({"images": -1}, "images -1; 1 to 200000 is valid"),
        ({"ceilings": {"mine": Fraction(97)}}, r"ceiling 97.0 \(mine\); more than 0 and less than 1 is valid"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        audit(original_text(), **arguments)  # type: ignore[arg-type]


def test_the_json_holds_the_audit_and_reads_back(original: Audit) -> None:
    content = json.loads(json.dumps(original.to_json(), allow_nan=False))
    assert [list(table["correct"].values()) for table in content["counts"]] == COUNTS
    assert content["counts"][3]["errors"] == 36
    assert content["conventions"] == ["float64"]
    assert content["fractions"][4]["sizes"] == 2000
    assert content["fractions"][0]["smallest"][0] == {"of": 463, "correct": 461}
    assert [oddity["probability"] for oddity in content["oddities"]] == ["0.037", "at most 6.7e-7 each"]
    assert content["inconsistencies"] == []


def test_the_page_says_counts_oddities_and_what_they_assume(original: Audit) -> None:
    page = render(original)
    for row in COUNTS:
        assert "  ".join(map(str, row)) in page
    assert "Proven: no arithmetical inconsistency." in page
    assert "Odd, which proves nothing: 2." in page
    assert "P(>= 2964 of 3000) is 1.1e-16 at 0.9635, 2.7e-53 at 0.929." in page
    assert page.count("Assumed: ") == 2
    assert max(map(len, page.splitlines())) <= 120


def test_the_page_names_a_proven_inconsistency_with_its_line(original: Audit) -> None:
    page = render(audit(original_text().replace("0.8788103659722589", "0.8788103659722689")))
    assert "Proven: 1 arithmetical inconsistency." in page
    assert "Inconsistent (mean): Figure 1, line 7: mean accuracy is printed as 0.8788103659722689" in page
    assert "Inconsistent" not in render(original)
