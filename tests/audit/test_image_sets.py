"""Tables without sizes: their grouping by image set, found by a search over all partitions."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from in4310repro.audit.examine import audit
from in4310repro.audit.verdicts import Audit


def report(sizes: Sequence[int], decimals: int, *, classes: int = 1, seed: int = 0, percent: bool = False) -> str:
    """Return a report: two tables of class accuracies per size in `sizes`, in turn, or four if there is one size."""
    generator = random.Random(seed)
    blocks = []
    for number in range(2 * max(2, len(sizes))):
        size = sizes[number % len(sizes)]
        shares = [generator.randint(size // 2, size - 1) / size for _ in range(classes)]
        texts = [f"{100 * s:.{decimals - 2}f} %" if percent else f"{s:.{decimals}f}" for s in shares]
        rows = [f"Accuracy for class {name}: {text}" for name, text in enumerate(texts)]
        blocks.append("\n".join([*rows, f"Figure {number + 1}\n"]))
    return "\n".join(blocks)


def groups(result: Audit) -> set[str]:
    return {"".join(name.removeprefix("Figure ") for name in group.tables) for group in result.sizes}


def partitions_by_hand(result: Audit) -> list[set[str]]:
    """Return the most probable grouping of the tables, then the alternatives, each as a set such as {'13', '24'}."""
    named = {rivals for group in result.sizes for rivals in group.rivals}
    texts = [{part.replace("Figure ", "").replace(", ", "") for part in rival.split(" | ")} for rival in named]
    return [groups(result), *texts]


@pytest.mark.parametrize("percent", [False, True])
@pytest.mark.parametrize(("sizes", "figures"), [((300, 552), {"13", "24"}), ((300, 552, 700), {"14", "25", "36"})])
def test_sets_of_six_classes_are_told_apart_at_five_decimals(
    sizes: tuple[int, ...], figures: set[str], percent: bool
) -> None:
    for seed in range(4):
        assert groups(audit(report(sizes, 5, classes=6, seed=seed, percent=percent), power=False)) == figures


def test_tables_of_one_set_stay_one_set() -> None:
    for seed in range(5):
        assert groups(audit(report((300,), 4, classes=6, seed=seed), power=False)) == {"1234"}


@pytest.mark.parametrize("decimals", [3, 4, 5])
@pytest.mark.parametrize("classes", [1, 2])
def test_tables_that_alternate_are_never_accused_and_what_is_open_is_said(decimals: int, classes: int) -> None:
    for seed in range(5):
        result = audit(report((300, 552), decimals, classes=classes, seed=seed), power=False)
        assert result.findings == ()
        known = [name for group in result.sizes for name in group.identified]
        # No size is taken as known from a grouping that has a rival.
        assert not known or not any(group.rivals for group in result.sizes if group.identified)


def test_one_class_of_300_and_552_images_in_turn_at_four_decimals() -> None:
    # 248/300, 491/552, 161/300, 409/552, none of which can be shortened to a size that the other pair has.
    text = "\n".join(
        f"Accuracy for class 0: {value}\nFigure {number}\n"
        for number, value in enumerate(("0.8267", "0.8895", "0.5367", "0.7409"), start=1)
    )
    open_result = audit(text, power=False)
    assert open_result.findings == ()
    assert {"13", "24"} in partitions_by_hand(open_result)
    assert any("--sizes or --images, once for each image set" in remark for remark in open_result.remarks)
    # Totals and sizes decide it, in either order.
    for totals in ((300, 552), (552, 300)):
        told = audit(text, images=totals, power=False)
        assert {g.tables: g.taken["0"] for g in told.sizes} == {
            ("Figure 1", "Figure 3"): 300,
            ("Figure 2", "Figure 4"): 552,
        }
        assert [len(count) for table in told.counted for count in table.correct.values() if count] == [1] * 4
    given = audit(text, sizes=({"0": 300}, {"0": 552}), power=False)
    assert given.findings == ()
    assert {g.tables: g.taken["0"] for g in given.sizes} == {
        ("Figure 1", "Figure 3"): 300,
        ("Figure 2", "Figure 4"): 552,
    }


def test_a_value_that_is_of_none_of_the_given_sets_is_impossible() -> None:
    # 0.8351 is no k/300 and no k/552: the nearest are 250.5/300 and 461/552 = 0.83514 ... 0.8352 is none.
    text = "Accuracy for class 0: 0.8267\nFigure 1\n\nAccuracy for class 0: 0.8341\nFigure 2\n"
    result = audit(text, sizes=({"0": 300}, {"0": 552}), power=False)
    assert [finding.kind for finding in result.contradictions] == ["count"]
    # With one set alone, a table of the other would be accused: the twin.
    alone = audit(report((300, 552), 4), sizes={"0": 300}, power=False)
    assert alone.contradictions != ()


def test_more_tables_than_are_partitioned_are_put_together_and_moved() -> None:
    text = "\n".join(
        report((300, 552), 6, classes=3, seed=seed).replace("Figure ", f"Figure {seed}") for seed in range(3)
    )
    result = audit(text, power=False)
    assert len(result.sizes) == 2
    assert result.findings == ()


def test_the_images_of_a_set_tell_sizes_that_decimals_do_not() -> None:
    text = report((300,), 4, classes=6, seed=3)
    assert not all(group.complete for group in audit(text, power=False).sizes)
    (group,) = audit(text, images=1800, power=False).sizes
    assert (group.complete, set(group.taken.values())) == (True, {300})


def test_sizes_that_are_given_for_one_set_accuse_no_table_of_another() -> None:
    text = report((300, 552), 5, classes=6, seed=1)
    result = audit(text, sizes=dict.fromkeys(map(str, range(6)), 300), power=False)
    assert result.contradictions == ()
    assert {condition for finding in result.findings for condition in finding.conditions} >= {
        "the table is of another image set than the sizes that are given"
    }
    # The twin: one wrong value in a table of the set that is given.
    first = text.splitlines()[0]
    wrong = text.replace(first, "Accuracy for class 0: 0.50123", 1)
    both = (dict.fromkeys(map(str, range(6)), 300), dict.fromkeys(map(str, range(6)), 552))
    assert [f.kind for f in audit(wrong, sizes=both, power=False).contradictions] == ["count"]
