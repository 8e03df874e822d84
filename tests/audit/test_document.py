"""Printed numbers built directly, and the class sizes of the scenes compared with the split."""

from fractions import Fraction

from in4310repro.audit.document import ConfusionMatrix, Printed
from in4310repro.audit.search import SCENES, is_scenes, known_sizes
from tests.data.test_splits import SUPPORTS


def test_a_number_as_it_is_shown_is_the_one_before_its_percent_sign() -> None:
    percent = Printed(text="95.3%", line=1, digits=953, decimals=3, percent=True)
    plain = Printed(text="0.953", line=1, digits=953, decimals=3, percent=False)
    assert percent.value == plain.value == Fraction(953, 1000)
    assert (percent.shown, plain.shown) == (Fraction(953, 10), Fraction(953, 1000))
    assert percent.unit == Fraction(1, 1000)


def test_a_matrix_is_of_counts_unless_it_is_said_to_be_of_shares() -> None:
    assert ConfusionMatrix(classes=("a", "b"), rows=()).shares is False


def test_the_known_sizes_of_the_scenes_are_those_of_the_courses_split() -> None:
    assert SCENES.sizes == {part: tuple(SUPPORTS[part]) for part in ("test", "validation")}
    assert known_sizes(6) == list(SCENES.sizes.values())
    assert known_sizes(5) == []


def test_scenes_are_known_by_their_names_in_any_order_or_by_the_images_of_each() -> None:
    names = ("Street", "sea", "mountain", "glacier", "forest", "buildings")
    other = ("a", "b", "c", "d", "e", "f")
    assert is_scenes(names, (1, 2, 3, 4, 5, 6))
    assert is_scenes(other, tuple(SUPPORTS["test"]))
    assert not is_scenes(other, (1, 2, 3, 4, 5, 6))
    assert not is_scenes(names[1:], (1, 2, 3, 4, 5))
