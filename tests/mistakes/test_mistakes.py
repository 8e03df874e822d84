"""Mistakes seen in public solutions: for each, a check that our code passes and a faulty version fails."""

import pytest

from tests.docs import caught
from tests.features.conftest import either_way, remove_kernel  # noqa: F401 - fixtures
from tests.mistakes import hooks, spectra, table
from tests.mistakes.mistake import Mistake

OF_FEATURES = [*hooks.MISTAKES, *spectra.MISTAKES]
OTHERS = [mistake for mistake in table.MISTAKES if mistake not in OF_FEATURES]


def identifier(mistake: Mistake) -> str:
    return f"{mistake.number}-{mistake.name}".replace(" ", "-")


def examine(mistake: Mistake) -> None:
    mistake.check(mistake.ours())
    wrong = mistake.twin()
    with pytest.raises(AssertionError):
        mistake.check(wrong)


@pytest.mark.parametrize("mistake", OTHERS, ids=identifier)
def test_the_check_passes_ours_and_fails_the_mistake(mistake: Mistake) -> None:
    examine(mistake)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("mistake", OF_FEATURES, ids=identifier)
def test_the_check_passes_our_statistics_and_fails_the_mistake(mistake: Mistake) -> None:
    examine(mistake)


def test_every_mistake_of_the_list_has_a_twin() -> None:
    numbers = {mistake.number for mistake in table.MISTAKES}
    assert numbers == set(range(1, 1 + max(numbers)))
    assert len({identifier(mistake) for mistake in table.MISTAKES}) == len(table.MISTAKES)
    assert all(mistake.finder for mistake in table.MISTAKES)


def test_the_file_holds_the_sizes_that_are_computed_now() -> None:
    written = caught.file_of("mistakes").read_text(encoding="utf-8")
    assert table.differences(written, caught.text_of(table.COLUMNS, table.rows())) == []


@pytest.mark.parametrize(
    ("written", "computed", "count"),
    [
        ("| 1 | x | 0.417, read as 1.000 |", "| 1 | x | 0.418, read as 1.000 |", 0),
        ("| 1 | x | 0.417, read as 1.000 |", "| 1 | x | 0.419, read as 1.000 |", 1),
        ("| 1 | x | 2.87e-04 |", "| 1 | x | 2.86e-04 |", 0),
        ("| 1 | x | 2.87e-04 |", "| 1 | x | 2.85e-04 |", 1),
        ("| 1 | x | 4 of 24 images lost |", "| 1 | x | 5 of 24 images lost |", 1),
        ("| 1 | x | - |", "| 1 | y | - |", 1),
        ("one line", "one line\nand another", 1),
    ],
)
def test_a_table_with_another_number_or_word_is_found(written: str, computed: str, count: int) -> None:
    assert len(table.differences(written, computed)) == count
