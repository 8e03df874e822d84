"""The draw of epochs to replay, and the chance that it contains a false one."""

import itertools
import re
from collections import Counter
from pathlib import Path

import pytest

from in4310repro.verification.replay.lines import percent
from in4310repro.verification.replay.plan import chance_to_find, chances, describe_cap, make_plan


def test_the_first_the_last_and_the_selected_epoch_are_always_trained_again() -> None:
    plan = make_plan("adamw", 20, selected=7, draws=3, seed=5)
    assert plan.known == (1, 7, 20)
    assert plan.others == 17
    assert len(set(plan.drawn)) == 3
    assert not set(plan.drawn) & set(plan.known)
    assert plan.epochs == sorted({*plan.known, *plan.drawn})


@pytest.mark.parametrize(("epochs", "selected", "known"), [(1, 1, (1,)), (2, 2, (1, 2)), (5, 1, (1, 5))])
def test_an_epoch_that_is_known_for_two_reasons_counts_once(epochs: int, selected: int, known: tuple[int, ...]) -> None:
    plan = make_plan("adamw", epochs, selected, 0, 0)
    assert plan.known == known
    assert plan.others == epochs - len(known)


def test_a_seed_draws_the_same_epochs_again_and_others_draw_each_set_about_equally_often() -> None:
    assert make_plan("a", 9, 4, 2, seed=3) == make_plan("a", 9, 4, 2, seed=3)
    draws = Counter(make_plan("a", 9, 4, 2, seed).drawn for seed in range(600))
    assert set(draws) == set(itertools.combinations((2, 3, 5, 6, 7, 8), 2))
    # 40 of each of 15 sets; the standard deviation is 6.
    assert 15 < min(draws.values()) <= max(draws.values()) < 65


def test_of_more_epochs_than_are_left_all_are_drawn_and_it_is_said() -> None:
    plan = make_plan("sgd", 6, 3, 4, 0)
    assert plan.drawn == (2, 4, 5)
    assert describe_cap(plan, 3) == ""
    said = describe_cap(plan, 4)
    assert said.startswith(
        "--replay 4: setting sgd has 3 epochs beside the first, the last and the selected one (1, 3, 6)"
    )
    assert said.endswith("all 3 are drawn")


@pytest.mark.parametrize(("epochs", "selected"), [(1, 1), (2, 1), (2, 2), (3, 2)])
def test_where_no_epoch_is_left_none_is_drawn_and_it_is_said(epochs: int, selected: int) -> None:
    plan = make_plan("sgd", epochs, selected, 1, 0)
    assert plan.drawn == ()
    said = describe_cap(plan, 1)
    assert "has no epochs beside" in said
    assert said.endswith("none is left to be drawn")
    assert "0 to 0" not in said
    assert describe_cap(plan, 0) == ""


def test_one_epoch_that_is_left_is_one() -> None:
    assert "has 1 epoch beside" in describe_cap(make_plan("sgd", 4, 2, 9, 0), 9)


@pytest.mark.parametrize(("draws", "seed", "words"), [(-1, 0, "--replay -1"), (1, -1, "--draw -1")])
def test_a_negative_number_is_refused(draws: int, seed: int, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words}.*at least 0"):
        make_plan("sgd", 6, 3, draws, seed)


@pytest.mark.parametrize(("false", "draws", "percent"), [(1, 3, 18), (5, 5, 87), (10, 4, 99)])
def test_the_chance_for_twenty_epochs_is_that_of_the_literature_table(false: int, draws: int, percent: int) -> None:
    assert round(100 * chance_to_find(false, 17, draws)) == percent


def chance_by_enumeration(false: int, others: int, draws: int) -> float:
    """Return the share of all draws that contain a false epoch, by enumeration; the first epochs are the false ones."""
    sets = list(itertools.combinations(range(others), draws))
    return sum(min(drawn, default=others) < false for drawn in sets) / len(sets)


def chance_by_drawing_with_replacement(false: int, others: int, draws: int) -> float:
    """Return the chance by a wrong formula: as if an epoch could be drawn twice."""
    return 1 - (1 - false / others) ** draws


def test_the_chance_is_the_share_of_all_draws_that_hold_a_false_epoch() -> None:
    cases = [(m, n, k) for n in range(1, 8) for m in range(1, n + 1) for k in range(n + 1)]
    for case in cases:
        assert chance_to_find(*case) == pytest.approx(chance_by_enumeration(*case), abs=1e-12)
    assert any(abs(chance_by_drawing_with_replacement(*case) - chance_by_enumeration(*case)) > 0.1 for case in cases)


def test_the_table_has_no_more_false_epochs_than_there_are_others() -> None:
    assert [false for false, _ in chances(make_plan("a", 20, 7, 3, 0))] == [1, 5, 8, 17]
    assert [false for false, _ in chances(make_plan("a", 5, 2, 1, 0))] == [1, 2]
    assert chances(make_plan("a", 3, 2, 0, 0)) == []


def test_the_table_of_the_docs_has_these_chances() -> None:
    page = (Path(__file__).parents[3] / "docs/replay.md").read_text(encoding="utf-8")
    draws = [int(k) for k in re.findall(r"K = (\d+) \|", page)]
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| m = ")]
    assert len(draws) == 5
    assert len(rows) == 4
    for name, *cells in rows:
        false = int(name.removeprefix("m = "))
        assert cells == [percent(chance_to_find(false, 17, k)) for k in draws]
