"""The page of what the tests catch shows rows and counts of the tables that there are."""

import pytest

from tests.docs import caught


def test_the_page_shows_what_the_tables_hold_now() -> None:
    page = caught.PAGE.read_text(encoding="utf-8")
    assert caught.renew(page) == page
    assert caught.renew(page.replace("247 forgeries", "248 forgeries")) == page


@pytest.mark.parametrize("name", caught.TELLING)
def test_the_page_shows_ten_rows_of_a_table(name: str) -> None:
    column, names = caught.TELLING[name]
    assert len({*names}) == len(names) == 10
    assert {*names} <= {row[column] for row in caught.read(name)}


def test_subpackages_are_in_the_order_of_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = {"a": 10, "b": 9, "c": 1}
    fields = {"possible": "10", "drawn": "10", "killed": "10", "equivalent": "0"}
    rows = [fields | {"module": f"{room}/x.py", "killed_at_first": f"{first}"} for room, first in shares.items()]
    monkeypatch.setattr(caught, "read", lambda _name: rows)
    assert [line[3] for line in caught.mutants().splitlines()[-3:]] == ["c", "b", "a"]


def test_a_cell_keeps_its_column_and_one_line() -> None:
    text = caught.text_of(("a", "b"), [("x, y", "line\nbreak")])
    assert text == 'a,b\n"x, y",line\\nbreak\n'
    shown = caught.markdown([{"a": "x|y", "b": "word " * 40}]).splitlines()[2]
    assert shown == f"| x\\|y | {'word ' * 13}... |"


def test_a_telling_row_has_the_name_of_its_command_and_a_cause_without_its_line() -> None:
    assert "| `train` |" in caught.telling("bad-input")
    assert "| files are read in the order of the file system |" in caught.telling("causes")
    assert "runs/tiny" not in caught.telling("forgeries")
