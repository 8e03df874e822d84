"""Ordinary ways to compute, average or print give no finding, but a wrong version of each gives one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal

import numpy as np
import pytest
import torch

from in4310repro.audit.examine import audit
from in4310repro.audit.verdicts import Rank

NAMES = ("sea", "street", "forest", "glacier", "mountain", "buildings")


def lines(values: Sequence[str], summary: str = "", name: str = "Accuracy for class") -> str:
    """Return a report with one value per line."""
    rows = [f"{name} {label}: {value}" for label, value in zip(NAMES, values, strict=False)]
    return "\n".join([*rows, summary])


def worst(text: str, sizes: Sequence[int] = (), **options: int) -> Rank | None:
    """Return the highest severity (rank) of the audit's findings, or None; `sizes` are in the order of the classes."""
    result = audit(text, sizes=dict(zip(NAMES, sizes, strict=False)), power=False, **options)  # type: ignore[arg-type]
    return min((finding.rank for finding in result.findings), key=list(Rank).index, default=None)


def accuses(text: str, sizes: Sequence[int] = ()) -> bool:
    return worst(text, sizes) in (Rank.IMPOSSIBLE, Rank.AS_READ)


# Printed by torch or Python from the count and size beside it; the twin has one digit replaced.
KNOWN = [
    ("91.14470672607422 %", 422, 463, "91.24470672607422 %"),
    ("94.62810516357422 %", 229, 242, "94.72810516357422 %"),
    ("0.9330453872680664", 432, 463, "0.9340453872680664"),
    ("96.17021276595746 %", 226, 235, "96.27021276595746 %"),
    ("0.700350175087543824758995469892", 1400, 1999, "0.700450175087543824758995469892"),
]


@pytest.mark.parametrize(("printed", "correct", "size", "twin"), KNOWN, ids=[case[0] for case in KNOWN])
def test_a_known_false_accusation_is_none_and_its_twin_is_found(
    printed: str, correct: int, size: int, twin: str
) -> None:
    assert float(printed.rstrip(" %")) / (100 if "%" in printed else 1) == pytest.approx(correct / size, abs=1e-7)
    other = "50 %" if "%" in printed else "0.5"
    assert not accuses(lines([printed, other]), [size, 200])
    assert worst(lines([printed, other])) is not Rank.AS_READ
    assert accuses(lines([twin, other]), [size, 200])


def of_torch(correct: int, size: int) -> float:
    return (torch.tensor(correct) / torch.tensor(size)).item()


EXPRESSIONS: Mapping[str, Callable[[int, int], float]] = {
    "k / n": lambda k, n: k / n,
    "1 - e / n": lambda k, n: 1 - (n - k) / n,
    "k (1 / n)": lambda k, n: k * (1 / n),
    "percent over 100": lambda k, n: 100 * k / n / 100,
    "float32": lambda k, n: float(np.float32(k) / np.float32(n)),
    "float32 1 - e / n": lambda k, n: float(np.float32(1) - np.float32(n - k) / np.float32(n)),
    "torch": of_torch,
    "float16": lambda k, n: float(np.float16(k / n)),
}
FORMATS: Mapping[str, Callable[[float], str]] = {
    "repr": repr,
    "%.17g": lambda share: f"{share:.17g}",
    ":.15f": lambda share: f"{share:.15f}",
    ":.17f": lambda share: f"{share:.17f}",
    ":.6f": lambda share: f"{share:.6f}",
    ":.4f": lambda share: f"{share:.4f}",
    "round(, 4)": lambda share: repr(round(share, 4)),
    ":.2%": lambda share: f"{share:.2%}",
    "percent without a sign": lambda share: f"{100 * share:.3f}",
    "half up": lambda share: str(Decimal(share).quantize(Decimal("0.001"), ROUND_HALF_UP)),
    "truncated": lambda share: str(Decimal(share).quantize(Decimal("0.001"), ROUND_DOWN)),
    "int of percent": lambda share: f"{int(100 * share)} %",
}


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("form", FORMATS)
def test_no_expression_in_no_format_is_accused_with_its_sizes(expression: str, form: str) -> None:
    generator = np.random.default_rng(3)
    for _ in range(2):
        sizes = [int(size) for size in generator.integers(3, 3000, len(NAMES))]
        shares = [EXPRESSIONS[expression](int(generator.integers(size // 2, size + 1)), size) for size in sizes]
        mean = f"Mean accuracy over all classes: {FORMATS[form](float(np.mean(shares)))}"
        text = lines([FORMATS[form](share) for share in shares], mean)
        assert not accuses(text, sizes), text
        assert not accuses(text), text


@pytest.mark.parametrize("form", FORMATS)
def test_the_twin_of_a_format_with_another_value_is_found(form: str) -> None:
    shares = [461 / 463, 475 / 483, 395 / 521, 474 / 535, 408 / 490, 330 / 508]
    mean = f"Mean accuracy over all classes: {FORMATS[form](float(np.mean(shares)) + 0.03)}"
    assert accuses(lines([FORMATS[form](share) for share in shares], mean))


def test_a_class_of_more_than_2000_images_is_no_accusation() -> None:
    text = lines([repr(44211 / 50021), repr(39001 / 50023)])
    assert worst(text) in (None, Rank.UNLESS)
    # The twin: the same digits are impossible in a class of 463 images.
    assert accuses(text, [463, 463])


def test_a_weighted_average_under_a_plain_mean_is_no_accusation() -> None:
    sizes, correct = [100, 900, 300], [50, 870, 240]
    overall = sum(correct) / sum(sizes)
    shares = [f"{k / n:.4f}" for k, n in zip(correct, sizes, strict=True)]
    assert abs(overall - np.mean([k / n for k, n in zip(correct, sizes, strict=True)])) > 0.1
    assert not accuses(lines(shares, f"Average accuracy: {overall:.4f}"))
    # No weights give a mean above all of its parts.
    assert accuses("\n".join([table([shares, shares]), "| Mean | 0.9990 | 0.9990 |"]))


def table(columns: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with a row for each class and a column for each network."""
    names = [f"network {number}" for number in range(len(columns))]
    rows = ["| Class | " + " | ".join(f"{name} accuracy" for name in names) + " |", "|---" * (len(columns) + 1) + "|"]
    for label, *cells in zip(NAMES, *columns, strict=False):
        rows.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def test_one_set_of_weights_explains_all_columns_of_a_weighted_mean_and_not_those_of_its_twin() -> None:
    weights = np.array([0.1, 0.6, 0.3])
    columns = np.array([[0.5, 0.9, 0.7], [0.9, 0.6, 0.8]])
    means = columns @ weights
    text = table([[f"{value:.3f}" for value in column] for column in columns])
    assert not accuses(f"{text}\n| Mean | {means[0]:.3f} | {means[1]:.3f} |")
    # Each of the two lies between its parts; together they need weights that do not sum to one.
    assert columns[0].min() < 0.88 < columns[0].max()
    assert columns[1].min() < 0.88 < columns[1].max()
    assert accuses(f"{text}\n| Mean | 0.880 | 0.880 |")


def test_a_class_without_images_may_be_left_out_of_a_mean_or_count_as_zero() -> None:
    head = "| Class | Recall | Support |\n|---|---|---|\n"
    head += "| sea | 0.8000 | 10 |\n| ship | 0.0000 | 0 |\n| town | 0.6000 | 10 |"
    assert not accuses(f"{head}\n| macro avg | 0.7000 | 20 |")
    assert not accuses(f"{head}\n| macro avg | 0.4667 | 20 |")
    assert accuses(f"{head}\n| macro avg | 0.6000 | 20 |")


def test_a_mean_over_uneven_batches_is_no_accusation_and_one_out_of_reach_is() -> None:
    sizes, correct = [400, 400, 228], [360, 320, 171]
    images = sum(sizes)
    hits = np.random.default_rng(0).permutation(np.arange(images) < sum(correct))
    batches = [hits[start : start + 256].mean() for start in range(0, images, 256)]
    shares = [f"{k / n:.4f}" for k, n in zip(correct, sizes, strict=True)]
    text = lines(shares, f"Test accuracy: {np.mean(batches):.4f}")
    assert f"{np.mean(batches):.4f}" != f"{sum(correct) / images:.4f}"
    assert worst(text, sizes) in (None, Rank.UNLESS)
    large = [100 * size for size in sizes]
    assert not accuses(lines(shares, f"Test accuracy: {sum(correct) / images:.4f}"), large)
    assert accuses(lines(shares, f"Test accuracy: {sum(correct) / images + 0.04:.4f}"), large)


def test_means_over_folds_are_no_shares_of_whole_images_where_the_text_mentions_folds() -> None:
    folds = [[0.90, 0.80, 0.85], [0.70, 0.75, 0.80]]
    values = [repr(float(np.mean(fold))) for fold in folds]
    text = lines(values, f"Mean accuracy over all classes: {np.mean(folds)!r}")
    assert accuses(text, [7, 7])
    assert not accuses(f"Means over 3-fold cross-validation.\n{text}", [7, 7])
    result = audit(text, sizes={"sea": 7, "street": 7}, folds=3, power=False)
    assert not result.contradictions
    assert any("folds" in text for finding in result.of_rank(Rank.UNLESS) for text in finding.conditions)


def test_f1_is_that_of_some_precision_and_recall_that_are_printed_so() -> None:
    head = "| Class | Precision | Recall | F1 |\n|---|---|---|---|\n"
    pairs = itertools.product(range(1, 40, 7), range(1, 40, 5), range(41, 60, 9))
    for true, missed, size in pairs:
        precision, recall = true / (true + missed), true / size
        f1 = 2 * precision * recall / (precision + recall)
        row = f"| sea | {precision:.2f} | {recall:.2f} | {f1:.2f} |\n| town | 0.50 | 0.50 | 0.50 |\n"
        assert not accuses(head + row)
    # Means over batches of an unknown number of images can be lower, and never above (P + R) / 2.
    assert worst(head + "| sea | 0.60 | 0.60 | 0.75 |\n| town | 0.50 | 0.50 | 0.50 |\n") is Rank.IMPOSSIBLE
    twin = "| sea | 0.60 | 0.60 | 0.45 |\n| town | 0.50 | 0.50 | 0.50 |\n"
    assert worst(head + twin) is Rank.UNLESS
    assert accuses(head + twin, [20, 20])


def test_f1_of_the_mean_precision_and_recall_is_another_macro_f1_and_no_accusation() -> None:
    rows = [(0.9, 0.3), (0.3, 0.9), (0.5, 0.5)]
    f1 = [2 * p * r / (p + r) for p, r in rows]
    cells = [f"| {n} | {p:.3f} | {r:.3f} | {f:.3f} |" for n, (p, r), f in zip(NAMES, rows, f1, strict=False)]
    precision, recall = (float(np.mean([row[i] for row in rows])) for i in (0, 1))
    head = ["| Class | Precision | Recall | F1 |", "|---|---|---|---|", *cells]
    of_means = 2 * precision * recall / (precision + recall)
    assert abs(of_means - np.mean(f1)) > 0.05
    for summary, accused in ((float(np.mean(f1)), False), (of_means, False), (float(np.mean(f1)) + 0.03, True)):
        assert accuses("\n".join([*head, f"| macro avg | {precision:.3f} | {recall:.3f} | {summary:.3f} |"])) is accused


def test_a_line_that_was_not_understood_excuses_a_mean_and_no_value_by_itself() -> None:
    text = "AP for sea = 0.5000\nAP for town = 0.6000\nAP for forest = 0.7000\nmAP = 0.8000"
    assert accuses(text)
    excused = text.replace("AP for forest = 0.7000", "AP for forest = 07000")
    result = audit(excused, power=False)
    assert not result.contradictions
    assert any("not understood" in condition for f in result.findings for condition in f.conditions)
    beside = "Accuracy of sea: 50.0% (286/300)\nAccuracy of town: 70.0% (210/300)\nAccuracy of street: 7O %"
    assert accuses(beside)


def test_one_accuracy_by_itself_is_never_impossible() -> None:
    assert worst("Accuracy of the network: 0.8512345678901234") in (None, Rank.UNLESS)
    assert worst("Accuracy for class sea: 0.8512345678901234") in (None, Rank.UNLESS)


def test_truncated_values_are_told_from_impossible_ones() -> None:
    # 45/58 = .7759 and 48/53 = .9057 cut off.
    text = lines(["77 %", "90 %"])
    assert worst(text, [58, 53]) is Rank.UNLESS
    result = audit(text, sizes={"sea": 58, "street": 53}, power=False)
    assert {c for finding in result.findings for c in finding.conditions} == {
        "the numbers are truncated, cut off instead of rounded"
    }
    assert accuses(lines(["74 %", "90 %"]), [58, 53]) is (not any(int(100 * k / 58) == 74 for k in range(59)))


def test_every_accusation_prints_its_values_lines_reading_and_what_was_excluded() -> None:
    text = lines(["0.9000", "0.8000"], "Mean accuracy over all classes: 0.9500")
    (finding,) = audit(text, power=False).contradictions
    assert [value.printed.text for value in finding.values] == ["0.9500", "0.9000", "0.8000"]
    assert finding.lines == (1, 2, 3)
    assert finding.readings
    assert finding.excluded
    assert not finding.conditions
