"""The whole audit: the original report, made-up reports with and without a wrong digit, and the wording."""

from __future__ import annotations

import json
import random
from decimal import ROUND_HALF_UP
from fractions import Fraction
from typing import Any

import pytest

from in4310repro.audit.examine import audit
from in4310repro.audit.output import audit_json, render
from in4310repro.audit.readers import read
from in4310repro.audit.sheets import make_sheets
from in4310repro.audit.verdicts import Audit, Options, Rank
from tests.audit.made_up import PRINTINGS, SUPPORTS, original_text, report, rounded, table, with_wrong_digit

MEASURES = ("accuracy", "macro_f1", "weighted_f1")
COUNTS = [
    [461, 475, 395, 474, 490, 330],
    [454, 481, 512, 495, 490, 505],
    [460, 479, 514, 527, 486, 506],
    [458, 479, 509, 526, 486, 506],
]


@pytest.fixture(scope="module")
def original() -> Audit:
    return audit(original_text())


def counts(result: Audit) -> list[list[int | None]]:
    return [[count[0] if count and len(count) == 1 else None for count in t.correct.values()] for t in result.counted]


def test_the_originals_counts_are_those_of_the_derivation(original: Audit) -> None:
    assert tuple(original.sizes[0].taken.values()) == SUPPORTS
    assert counts(original) == COUNTS
    assert [table.totals for table in original.counted] == [range(t, t + 1) for t in (2625, 2937, 2972, 2964)]


def test_the_originals_sea_could_have_245_images_by_its_decimals_alone(original: Audit) -> None:
    assert original.sizes[0].smallest["5"] == 245
    assert audit(original_text(), images=2755, power=False).sizes[0].taken["5"] == 245


def test_the_original_has_no_inconsistency_and_two_oddities(original: Audit) -> None:
    assert original.contradictions == ()
    assert original.exit_code == 0
    assert [oddity.kind for oddity in original.oddities] == ["equal counts", "level"]
    assert original.remarks == ()
    assert [mean.last_bit for mean in original.means] == [True] * 8


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("printing", ["repr", "12 decimals"])
def test_made_up_reports_are_told_from_their_copies_with_one_wrong_digit(seed: int, printing: str) -> None:
    text, sizes, made = report(seed, PRINTINGS[printing])
    honest = audit(text, images=sum(sizes), power=False)
    assert honest.contradictions == ()
    assert counts(honest) == made
    assert audit(with_wrong_digit(text, seed), images=sum(sizes), power=False).contradictions != ()


@pytest.mark.parametrize("printing", PRINTINGS)
def test_every_way_of_printing_gives_the_counts_back(printing: str) -> None:
    text, sizes, made = report(100, PRINTINGS[printing])
    result = audit(text, images=sum(sizes), power=False)
    assert result.contradictions == ()
    assert counts(result) == made


def test_reports_with_few_decimals_are_never_called_inconsistent() -> None:
    for seed in range(6):
        for how in (rounded(1 + seed), rounded(1 + seed, ROUND_HALF_UP), lambda share: repr(round(share, 4))):
            text, sizes, _ = report(seed, how)
            assert audit(text, images=sum(sizes), bound=800, power=False).contradictions == ()


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
    assert audit(changed(original_text(), value, place, seed=place), power=False).contradictions != ()


def test_a_changed_average_precision_is_caught_through_its_mean_alone() -> None:
    result = audit(original_text().replace("0.9577104520041604", "0.9577104520042604"), power=False)
    assert [finding.kind for finding in result.contradictions] == ["mean"]


def test_a_last_digit_that_no_class_size_explains_is_impossible_unless_the_class_is_large() -> None:
    result = audit(original_text().replace("0.9956803455723542", "0.9956803455723549"), power=False)
    assert [finding.kind for finding in result.of_rank(Rank.UNLESS)] == ["no fraction"]
    assert any("images or more" in text for text in result.of_rank(Rank.UNLESS)[0].conditions)
    # Its twin, with the size given, is impossible.
    given = dict(zip("123456", SUPPORTS, strict=True))
    twin = audit(original_text().replace("0.9956803455723542", "0.9956803455723549"), sizes=given, power=False)
    assert [finding.kind for finding in twin.contradictions] == ["count"]


def test_two_decimals_give_no_counts_and_the_audit_says_so() -> None:
    tables = [
        table(f"Figure {number}", row, SUPPORTS, [0.95] * 6, rounded(2)) for number, row in enumerate(COUNTS, start=1)
    ]
    result = audit("\n".join(tables))
    assert (counts(result), result.contradictions, result.oddities) == ([[None] * 6] * 4, (), ())
    assert result.power is not None
    assert "without class sizes" in result.power.remark
    assert any("is unknown" in remark for remark in result.remarks)


def test_tables_of_validation_and_test_images_are_two_image_sets_and_no_inconsistency() -> None:
    text = table("Figure 1", [300, 310, 320, 330, 311, 317], [309, 322, 347, 357, 327, 338], [0.9] * 6)
    result = audit(text + table("Figure 2", COUNTS[3], SUPPORTS, [0.9] * 6), power=False)
    assert result.findings == () or result.contradictions == ()
    assert {group.tables for group in result.sizes} == {("Figure 1",), ("Figure 2",)}


def test_what_was_not_checked_is_remarked() -> None:
    text = "Accuracy for class 1: 0.99\nAccuracy for class 2: 0.98\nFigure 1"
    assert "Figure 1: no mean accuracy is printed, so no mean was checked" in audit(text, power=False).remarks


def test_class_accuracies_are_compared_where_their_counts_or_the_images_of_their_classes_are_known() -> None:
    for counts, sizes, compared in (("", None, 0), (" (9/10)", None, 2), ("", {"sea": 10, "town": 10}, 2)):
        text = f"Accuracy of sea: 0.9{counts}\nAccuracy of town: 0.9{counts}\n"
        assert len(audit(text, sizes=sizes, power=False).compared) == compared


def test_measures_without_a_mean_are_remarked_at_once() -> None:
    text = "| Class | Precision | Recall |\n|---|---|---|\n| sea | 0.9 | 0.8 |\n| ice | 0.7 | 0.6 |\n"
    told = [remark for remark in audit(text, power=False).remarks if "so no mean was checked" in remark]
    assert len(told) == 1
    assert "no mean recall or precision is printed" in told[0]


def test_average_precision_alone_can_be_audited_for_its_mean() -> None:
    text = "AP for class 1: 0.91\nAP for class 2: 0.93\nmAP: 0.95"
    assert [finding.kind for finding in audit(text, power=False).contradictions] == ["mean"]
    assert audit(text.replace("0.95", "0.92"), power=False).findings == ()


def test_a_class_that_is_always_right_has_no_known_size() -> None:
    result = audit(table("Figure 1", [461, 483], [463, 483], [0.9, 0.9]), power=False)
    assert counts(result) == [[461, None]]
    assert result.counted[0].totals is None
    assert any("the size of 1 of 2 classes is unknown" in remark for remark in result.remarks)


def test_an_average_precision_below_the_floor_is_impossible_and_below_the_class_share_odd() -> None:
    sizes = dict(zip("123456", SUPPORTS, strict=True))

    def of(value: float) -> Audit:
        made = table("Figure 1", [450, 450, 450, 451, 451, 451], SUPPORTS, [value, 0.9, 0.9, 0.9, 0.9, 0.9])
        return audit(made, sizes=sizes, power=False)

    assert [finding.kind for finding in of(0.05).contradictions] == ["floor"]
    assert of(0.12).contradictions == ()
    assert "below class share" in [oddity.kind for oddity in of(0.12).oddities]
    assert of(0.16).findings == ()


def test_neither_a_negative_number_nor_a_percentage_without_a_sign_is_impossible() -> None:
    negative = audit("AP for class 1: -0.91\nAP for class 2: 0.93", power=False)
    assert negative.findings == ()
    assert [(each.line, each.text) for each in negative.document.unread] == [(1, "-0.91")]
    assert audit("AP for class 1: 91.5\nAP for class 2: 0.93", power=False).contradictions == ()
    assert audit("AP for class 1: 1.0000000000000002\nAP for class 2: 1.0", power=False).findings == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bound": 0}, "bound 0; .*1 to 200000"),
        ({"images": -1}, "images -1; .*1 to 1000000000"),
        ({"folds": 0}, "folds 0; .*1 to 1000"),
        ({"sizes": {"sea": -3}}, "size -3 of class sea"),
        ({"ceilings": {"mine": Fraction(97)}}, r"ceiling 97.0 \(mine\); .*more than 0 and less than 1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        audit(original_text(), **arguments)


def test_the_json_holds_the_audit_and_reads_back(original: Audit) -> None:
    content = json.loads(json.dumps(audit_json(original), allow_nan=False))
    assert [[count[0] for count in table["correct"].values()] for table in content["counts"]] == COUNTS
    assert content["counts"][3]["errors"] == [36, 36]
    assert [f["probability"] for f in content["findings"]] == ["0.037", "at most 6.7e-7 each"]
    assert content["exit_code"] == 0


def test_the_page_says_counts_oddities_and_what_they_assume(original: Audit) -> None:
    page = render(original)
    for row in COUNTS:
        assert "  ".join(map(str, row)) in page
    assert "0 impossible, 0 impossible as read, 0 impossible unless, 2 odd" in page
    assert "P(>= 2964 of 3000) is 1.1e-16 at 0.9635, 2.5e-43 at 0.9377." in page
    assert page.count("Assumed: ") == 2
    assert max(map(len, page.splitlines())) <= 120


def test_the_page_names_what_is_impossible_with_its_line(original: Audit) -> None:
    page = render(audit(original_text().replace("0.8788103659722589", "0.8788103659722689"), power=False))
    assert "1 impossible as read, " in page
    assert "1. Impossible as read (mean): Figure 1: " in page
    assert "line 7: " in page
    assert "Impossible (" not in render(original)


def test_mnist_at_99_5_percent_is_odd_to_nobody_and_a_ceiling_can_be_given() -> None:
    rows = "\n".join(
        f"Accuracy for class {digit}: {k / n!r}" for digit, (k, n) in enumerate([(975, 980), (1131, 1135)])
    )
    sizes = {"0": 980, "1": 1135}
    assert audit(rows, sizes=sizes, power=False).oddities == ()
    (oddity,) = audit(rows, sizes=sizes, ceilings={"mine": Fraction("0.9")}, power=False).oddities
    assert oddity.kind == "level"
    assert "0.9 (mine)" in oddity.message


def test_the_scenes_are_known_by_their_names() -> None:
    names = ("buildings", "forest", "glacier", "mountain", "sea", "street")
    rows = [f"Accuracy for class {c}: {(n - 1) / n:.4f}" for c, n in zip(names, SUPPORTS, strict=True)]
    result = audit("\n".join(rows), sizes=dict(zip(names, SUPPORTS, strict=True)), power=False)
    assert [oddity.kind for oddity in result.oddities] == ["level"]


@pytest.mark.parametrize("number", ["9.9e99", "1e-300", "2700", "-1"])
def test_a_number_that_is_no_share_is_an_accusation_of_no_mean(number: str) -> None:
    text = f"Accuracy for class 1: {number}\nAccuracy for class 2: 0.9330453872680664\nMean accuracy: 0.5"
    assert [finding for finding in audit(text, power=False).contradictions if finding.kind == "mean"] == []


def test_many_numbers_that_may_be_shares_or_percentages_have_two_readings() -> None:
    # In every combination they would have more than a million.
    names = {"MODE": "cnn", "learning_rate": 0.002, "dropout": 0.25, "beta": 0.9, "num_steps": 8}
    runs = [{**names, **{each: 0.41 + (n + k) / 4100 for k, each in enumerate(MEASURES)}} for n in range(9)]
    others = {name: {"accuracy": 0.4463, "macro_f1": 0.4263} for name in ("lr", "net")}
    document = read(json.dumps({"best": runs[0], "all_configs": runs, "baselines": others}, indent=1))
    sheets = make_sheets(document, Options())
    ways = [(sum(cell.ambiguous for cell in each.summaries), len(each.ways)) for each in sheets]
    assert max(ambiguous for ambiguous, _ in ways) > 20
    assert max(number for _, number in ways) <= 4
