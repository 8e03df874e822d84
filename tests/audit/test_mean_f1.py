"""Mean F1 beside mean precision and recall over classes, folds or batches, with any weights."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from in4310repro.audit.document import Average, Measure
from in4310repro.audit.examine import audit
from in4310repro.audit.intervals import Interval
from in4310repro.audit.scores import check_mean_f1, mean_f1_interval
from in4310repro.audit.verdicts import Rank
from tests.audit.by_hand import sheet_of, value

FOLDS = """Means over 3 folds.

| class | precision | recall | F1 |
|---|---|---|---|
| sea | 97.0 | 93.6 | {f1} |
| town | 95.0 | 92.1 | 93.5 |
| wood | 91.0 | 94.6 | 92.8 |
"""


@pytest.mark.parametrize(
    ("f1", "rank"),
    [
        ("98.3", Rank.IMPOSSIBLE),
        ("96.0", Rank.IMPOSSIBLE),
        ("89.2", Rank.IMPOSSIBLE),
        # Between P + R - 1 and (P + R) / 2: the F1 of folds that differ.
        ("92.0", Rank.UNLESS),
        ("95.3", None),
    ],
)
def test_means_over_folds_excuse_no_f1_that_no_mean_of_f1s_is(f1: str, rank: Rank | None) -> None:
    result = audit(FOLDS.format(f1=f1), power=False)
    assert [finding.rank for finding in result.findings] == ([rank] if rank else [])


def test_means_of_f1s_stay_within_their_bounds_for_any_weights() -> None:
    generator = np.random.default_rng(3)
    for _ in range(500):
        precision, recall = generator.uniform(size=(2, 4)) ** generator.choice([0.1, 1, 5])
        weights = generator.dirichlet(np.ones(4) * generator.choice([0.1, 1]))
        p, r = float(precision @ weights), float(recall @ weights)
        f1 = float((2 * precision * recall / (precision + recall)) @ weights)
        bounds = mean_f1_interval(
            Interval(low=Fraction(p), high=Fraction(p)), Interval(low=Fraction(r), high=Fraction(r))
        )
        assert float(bounds.low) - 1e-12 <= f1 <= float(bounds.high) + 1e-12


@pytest.mark.parametrize("text", ["{word}{gap}{scores}", "{scores}{gap}{word}"], ids=["above", "below"])
@pytest.mark.parametrize(("word", "near"), [("Keras", 3), ("These are medians.", 10)])
def test_words_about_scores_excuse_them_within_a_few_lines(text: str, word: str, near: int) -> None:
    for lines, rank in ((near, Rank.UNLESS), (near + 1, Rank.AS_READ)):
        scores = "Precision: 0.850, Recall: 0.900, F1: 0.980"
        (found,) = audit(text.format(word=word, gap="\n" * lines, scores=scores), power=False).findings
        assert found.rank is rank


def test_medians_of_named_averages_are_not_accused() -> None:
    runs = np.array([(1, 0.5, 2 / 3), (0.5, 1, 2 / 3), (0.9, 0.9, 0.9)])
    lines = [
        f"Macro {name}: {value:.3f}"
        for name, value in zip(("precision", "recall", "F1"), np.median(runs, axis=0), strict=True)
    ]
    (found,) = audit("\n".join(["These are medians over seeds.", *lines]), power=False).findings
    assert found.rank is Rank.UNLESS


@pytest.mark.parametrize(
    "text",
    [
        "Macro precision: 0.850\nMacro recall: 0.900\nMacro F1: 0.980",
        "Macro averages of precision, recall and F1\nPrecision: 0.850, Recall: 0.900, F1: 0.980",
    ],
)
def test_averages_that_one_line_or_each_line_names_alike_are_of_one_kind(text: str) -> None:
    (found,) = audit(text, power=False).findings
    assert (found.rank, found.conditions) == (Rank.AS_READ, ())


@pytest.mark.parametrize(
    ("f1", "average", "other", "conditions"),
    [
        ("0.870", Average.MACRO, Average.MACRO, None),
        ("0.900", Average.MACRO, Average.MACRO, ()),
        ("0.740", Average.WEIGHTED, Average.WEIGHTED, ()),
        ("0.900", None, None, ()),
        ("0.900", Average.OVERALL, Average.OVERALL, ()),
        # Averages of other kinds say nothing of each other.
        ("0.900", Average.MACRO, Average.WEIGHTED, None),
    ],
)
def test_averages_of_one_kind_are_held_against_each_other(
    f1: str, average: Average | None, other: Average | None, conditions: tuple[str, ...] | None
) -> None:
    values = [
        value("0.850", None, Measure.PRECISION, average),
        value("0.900", None, Measure.RECALL, average),
        value(f1, None, Measure.F1, other),
    ]
    claims = list(check_mean_f1(sheet_of(*values)))
    assert [claim.conditions for claim in claims] == ([] if conditions is None else [conditions])
