"""Documents with random class names, counts and decimals are read back exactly as they were printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from in4310repro.audit.document import Document, Measure
from in4310repro.audit.examine import audit
from in4310repro.audit.readers import read
from in4310repro.audit.readers.words import heading
from in4310repro.audit.verdicts import Rank
from tests.audit import layouts
from tests.audit.printings import PRINTINGS, Printing
from tests.audit.reports import report_of

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed; pip install -e '.[dev]'")
st = hypothesis.strategies
EXAMPLES = hypothesis.settings(derandomize=True, database=None, deadline=None, max_examples=25)

Form = Callable[[Sequence[Sequence[str]]], str]
FORMS: dict[str, Form] = {
    "Markdown": layouts.markdown,
    "LaTeX": layouts.latex,
    "separators": lambda cells: layouts.csv(cells, ";"),
    "columns of text": layouts.columns_of_text,
}
SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiouøé"]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A random confusion matrix by true and predicted class, and the number format of its accuracies."""

    counts: Mapping[str, Mapping[str, int]]
    printing: Printing

    @property
    def sizes(self) -> dict[str, int]:
        return {name: sum(row.values()) for name, row in self.counts.items()}

    @property
    def accuracies(self) -> dict[str, str]:
        return {name: self.printing(row[name], sum(row.values())) for name, row in self.counts.items()}

    @property
    def mean(self) -> str:
        return self.printing.mean([row[name] for name, row in self.counts.items()], list(self.sizes.values()))


def draw_name(draw: Callable[..., Any]) -> str:
    """Draw a class name of one to three words that is not the name of a score or an average."""
    word = st.lists(st.sampled_from(SYLLABLES), min_size=2, max_size=4).map("".join)
    words = draw(st.lists(word, min_size=1, max_size=3))
    name = str(draw(st.sampled_from(" _-"))).join(words) + draw(st.sampled_from(["", "", "1", " 2", "_30"]))
    name = str(name.capitalize() if draw(st.booleans()) else name)
    hypothesis.assume(heading(name).rest == name)
    return name


def draw_results(draw: Callable[..., Any]) -> Drawn:
    # Two lines such as `dune accuracy: 0.5` may speak of two networks; three are classes.
    names = draw(st.lists(NAMES, min_size=3, max_size=6, unique_by=str.casefold))
    cells = st.integers(0, 3) | st.integers(0, 400)
    counts = {name: {other: draw(cells) for other in names} for name in names}
    hypothesis.assume(all(any(row.values()) for row in counts.values()))
    return Drawn(counts=counts, printing=PRINTINGS[draw(st.sampled_from(sorted(PRINTINGS)))])


NAMES = st.composite(draw_name)()
RESULTS = st.composite(draw_results)()


def as_text(numbers: Mapping[str, int]) -> dict[str, str]:
    return {name: str(number) for name, number in numbers.items()}


def values_of(document: Document) -> tuple[dict[str, str], list[str], dict[str, int]]:
    """Return class accuracies, overall accuracies and class sizes of a document's only table."""
    (table,) = document.tables
    assert {value.measure for value in table.values} == {Measure.ACCURACY}
    classes = {value.class_name: value.printed.text for value in table.values if value.class_name is not None}
    summaries = [value.printed.text for value in table.values if value.class_name is None]
    return classes, summaries, dict(table.sizes)


def assert_not_accused(text: str) -> None:
    assert [each for each in audit(text, power=False).findings if each.rank is Rank.IMPOSSIBLE] == [], text


@pytest.mark.parametrize("form", FORMS)
def test_a_table_of_accuracies_is_read_back_and_not_accused(form: str) -> None:
    def check(given: Drawn) -> None:
        columns = {"Accuracy": {**given.accuracies, "macro avg": given.mean}, "Images": as_text(given.sizes)}
        text = report_of(form, FORMS[form](layouts.grid(columns))).text
        assert values_of(read(text)) == (given.accuracies, [given.mean], given.sizes), text
        assert_not_accused(text)

    EXAMPLES(hypothesis.given(RESULTS)(check))()


@pytest.mark.parametrize("form", FORMS)
def test_a_matrix_is_read_back_with_its_names_and_not_accused(form: str) -> None:
    def check(given: Drawn) -> None:
        columns = {name: as_text({true: row[name] for true, row in given.counts.items()}) for name in given.counts}
        text = "Confusion matrix\n\n" + report_of(form, FORMS[form](layouts.grid(columns, corner="True"))).text
        (table,) = read(text).tables
        assert table.matrix is not None, text
        rows = [[int(cell.text) for cell in row] for row in table.matrix.rows]
        assert dict(zip(table.matrix.classes, rows, strict=True)) == {
            name: list(row.values()) for name, row in given.counts.items()
        }, text
        assert_not_accused(text)

    EXAMPLES(hypothesis.given(RESULTS)(check))()


def test_lines_of_accuracies_are_read_back_and_not_accused() -> None:
    def check(given: Drawn, seed: int) -> None:
        text = report_of("lines", layouts.lines(np.random.default_rng(seed), given.accuracies, given.mean)).text
        assert values_of(read(text)) == (given.accuracies, [given.mean], {}), text
        assert_not_accused(text)

    EXAMPLES(hypothesis.given(RESULTS, st.integers(0, 999))(check))()
