"""Lines of code are counted without docstrings, comments and blank lines, and no room outgrows its ceiling."""

from pathlib import Path

from tests.ceilings import count_rooms, find_excess

TEXT = '''"""A docstring

of three lines."""

import sys  # a comment beside code

# a comment of its own


class A:
    """One line."""

    text = """of
two lines"""


def f() -> object:
    return (
        sys
    )
'''


def test_docstrings_comments_and_blank_lines_are_free(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room/a.py").write_text(TEXT)
    (tmp_path / "b.py").write_text("x = 1\n")
    # import, class, the two lines of a text that is no docstring, def, and three lines of return.
    assert count_rooms(tmp_path) == {".": 1, "room": 8}


def test_a_room_above_its_ceiling_or_without_one_is_named() -> None:
    assert find_excess({"a": 5, "b": 6, "c": 1}, {"a": 5, "b": 5}) == [
        "b has 6 lines of code; ceilings.json allows 5",
        "c has 1 lines of code; ceilings.json allows 0",
    ]
