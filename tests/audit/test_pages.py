"""The audit's output word for word: text, sentences of the page, passages, JSON and oddities."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from in4310repro.audit import html, output
from in4310repro.audit.document import Average, Document, Measure, Table, Unread
from in4310repro.audit.html import Line, Piece, make_passages, mark_lines
from in4310repro.audit.oddities import (
    BINOMIAL,
    INDEPENDENCE,
    LARGEST,
    chance_of_same_count,
    find_equal_counts,
    find_high_level,
    find_low_precision,
    find_oddities,
    format_scientific,
    upper_tail,
)
from in4310repro.audit.output import audit_json
from in4310repro.audit.verdicts import Counted, Detection, Finding, ImageSet, Options, Rank
from in4310repro.audit.view import HEADINGS, ShownFinding, View, shorten
from tests.audit.by_hand import column, document, matrix, number, sheet_of, table, value
from tests.audit.test_html import made_up

ACCURACY, AP = Measure.ACCURACY, Measure.AVERAGE_PRECISION

TEXT = """\
report.md: 1 impossible, 0 impossible as read, 1 impossible unless, 1 odd; 1 table, 2 class values, 0 values compared
1 finding that nothing known here explains and 1 finding under conditions.

1. Impossible (mean): Figure 1: the mean of the parts is 0.50.
   line 4: accuracy of Mean: 0.75
   line 2: accuracy of sea: 0.50
   Excluded: weighted by images: 0.50.

2. Impossible unless (count): Figure 1: no count of 20 gives this.
   unless truncated.
   line 3: accuracy of street: 0.50

3. Odd (level): Figure 1: high.
   line 3: accuracy of street: 0.50
   Probability 0.01.
   Assumed: independence.

Images of each class, as printed, in Figure 1: 10 20.
correct images of  sea  street  all  of
Figure 1             5      10   15  30

Means: 0 of 1 agree with their printed parts.

Power, by errors planted in this report one at a time (seed 0):
error               tried  impossible  impossible as read  impossible unless
two digits swapped     50        60 %                 8 %               10 %
two decimals tell little.

Not understood: 1 line with unused numbers.
   line 5: Accuracy of x - 0.2x

Remark: no average precision is printed."""


def test_the_text_of_an_audit_has_every_part_in_its_order() -> None:
    assert output.render(made_up()) == TEXT


def test_an_audit_without_findings_says_what_that_means() -> None:
    audit = replace(made_up(), findings=(), sizes=(), counted=(), means=(), power=None, remarks=())
    assert output.render(audit).splitlines()[:2] == [
        "report.md: 0 impossible, 0 impossible as read, 0 impossible unless, 0 odd; 1 table, 2 class values, "
        "0 values compared",
        "Nothing could be checked: no printed number is bound by another.",
    ]
    held = replace(audit, compared=audit.document.tables[0].values[:2])
    assert "Nothing impossible in 2 values" in output.render(held).splitlines()[1]
    empty = replace(audit, document=document())
    assert output.render(empty).splitlines()[1] == "Nothing was understood, so nothing was checked."


def first(**fields: Any) -> list[str]:
    """Return the lines that `format_finding` writes for a finding with these fields."""
    finding = Finding(**{"kind": "k", "rank": Rank.IMPOSSIBLE, "tables": ("t", "u"), "message": "m", **fields})
    return list(output.format_finding(ShownFinding(number=7, finding=finding)))


def test_a_finding_shows_fourteen_values_and_inputs_and_how_many_more_there_are() -> None:
    values = tuple(value("0.5", f"c{line}", line=line) for line in range(1, 17))
    head = ["7. Impossible (k): t, u: m."]
    shown = [f"   line {line}: accuracy of c{line}: 0.5" for line in range(1, 15)]
    assert first(values=values[:14]) == head + shown
    assert first(values=values) == [*head, *shown, "   and 2 more values on lines 1 to 16"]
    inputs = tuple(map(str, range(16)))
    assert first(inputs=inputs) == head + [f"   Also used: {text}." for text in inputs[:14]]
    assert first(readings=("r",), excluded=("e",), evidence=("v",)) == [
        *head,
        "   Read: r.",
        "   Excluded: e.",
        "   v.",
    ]
    odd = {"rank": Rank.ODD, "inputs": ("i",), "readings": ("r",), "excluded": ("e",)}
    assert first(**odd) == ["7. Odd (k): t, u: m."]
    assert first(values=(value("0.5", label="Mean"), value("0.5"), value("0.5", ""))) == [
        *head,
        "   line 1: accuracy of Mean: 0.5",
        "   line 1: accuracy of all: 0.5",
        "   line 1: accuracy of : 0.5",
    ]


def group(classes: int, origin: str, known: int | None = None) -> ImageSet:
    sizes = {f"c{place}": place + 1 for place in range(classes)}
    known = classes if known is None else known
    chance = {name: float(place >= known) for place, name in enumerate(sizes)}
    return ImageSet(tables=("t", "u"), smallest=sizes, taken=sizes, chance=chance, origin=origin)


def test_sizes_are_listed_with_their_origin_where_one_is_known_and_they_fit_on_a_line() -> None:
    audit = made_up()
    groups = (
        group(2, "given"),
        group(3, "search", 2),
        group(2, "search", 0),
        group(12, "printed"),
        group(13, "printed"),
    )
    lines = list(output.format_counts(View(replace(audit, sizes=groups, counted=()))))
    assert lines == [
        "Images of each class, as given, in t, u: 1 2.",
        "Images of each class, from the decimals, in t, u: 1 2 ?.",
        "Images of each class, as printed, in t, u: 1 2 3 4 5 6 7 8 9 10 11 12.",
    ]


def test_counts_of_the_same_classes_share_a_table_and_unknown_ones_are_question_marks() -> None:
    def counts(name: str, classes: int, *correct: range | None) -> Counted:
        labels = [f"c{place}" for place in range(classes)]
        made = {label: correct[place] if place < len(correct) else range(1, 2) for place, label in enumerate(labels)}
        return Counted(name=name, sizes=dict.fromkeys(labels, 9), correct=made)

    tables = (
        counts("a", 2, range(3, 4), range(5, 8)),
        counts("wide", 13),
        counts("b", 2, None, range(5, 6)),
        counts("none", 2, None, None),
        counts("edge", 12),
    )
    lines = list(output.format_counts(View(replace(made_up(), sizes=(), counted=tables))))
    assert lines == [
        "correct images of  c0   c1   all  of",
        "a                   3  5-7  8-10  18",
        "b                   ?    5     ?   ?",
        "Correct images in wide: 13 of 117.",
        "correct images of  c0  c1  c2  c3  c4  c5  c6  c7  c8  c9  c10  c11  all   of",
        "edge                1   1   1   1   1   1   1   1   1   1    1    1   12  108",
    ]


def test_power_of_errors_that_were_never_tried_is_a_dash_and_means_are_counted() -> None:
    audit = made_up()
    assert audit.power
    untried = Detection(kind="x", tried=0, impossible=0, unless=0)
    lines = list(
        output.format_power(
            View(replace(audit, power=replace(audit.power, detections=(untried, *audit.power.detections), remark="")))
        )
    )
    assert "x                       0           -                   -                  -" in lines
    (mean,) = audit.means
    means = (mean, replace(mean, agrees=True), replace(mean, agrees=True, last_bit=True))
    assert next(iter(output.format_means(replace(audit, means=means)))).startswith(
        "Means: 2 of 3 agree with their printed parts, 1 of"
    )


def test_lines_are_cut_at_120_letters_and_unread_ones_at_80() -> None:
    long = f"{'word ' * 30}end"
    lines = output.render(replace(made_up(), remarks=(long,))).splitlines()
    assert all(len(line) <= 120 for line in lines)
    assert lines[-1].startswith("    word")
    indented = output.wrap(f"   {long}").splitlines()
    assert (indented[0][:4], indented[1][:8]) == ("   w", "       w")
    unread = Unread(line=3, text=f"  {'x' * 79}yz", why="w")
    audit = replace(made_up(), document=replace(made_up().document, unread=(unread,)))
    assert f"   line 3: {'x' * 79}y" in output.render(audit).splitlines()


def test_five_lines_that_were_not_understood_are_shown_measurements_first_and_the_others_counted() -> None:
    plain = tuple(Unread(line=line, text=f"t{line}", why="w", measuring=line == 7) for line in range(1, 8))
    audit = replace(made_up(), document=replace(made_up().document, unread=plain))
    shown = output.render(audit).partition("Not understood: ")[2].splitlines()
    assert shown[:7] == [
        "7 lines with unused numbers.",
        "   line 7: t7",
        *[f"   line {line}: t{line}" for line in range(1, 5)],
        "   and 2 more; --out lists all of them",
    ]
    everywhere = html.render(audit)
    assert all(f"t{line}" in everywhere for line in range(1, 8))
    assert [each["line"] for each in audit_json(audit)["unread"]] == list(range(1, 8))


def test_power_that_notices_nothing_is_one_sentence() -> None:
    audit = made_up()
    assert audit.power
    none = replace(
        audit.power, detections=tuple(replace(d, impossible=0, unless=0, as_read=0) for d in audit.power.detections)
    )
    text = output.render(replace(audit, power=none))
    assert "Power: no error that was planted" in text
    assert "0 %" not in text


# The page.


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        ([], "Nothing could be checked: no printed number is bound by another."),
        ([Rank.ODD], "Nothing could be checked: no printed number is bound by another."),
        ([Rank.UNLESS], "1 finding under conditions."),
        ([Rank.UNLESS, Rank.UNLESS, Rank.ODD], "2 findings under conditions."),
        ([Rank.IMPOSSIBLE, Rank.UNLESS], "1 finding that nothing known here explains and 1 finding under conditions."),
        ([Rank.AS_READ], "1 finding if the text was read as it is meant."),
        ([Rank.IMPOSSIBLE, Rank.IMPOSSIBLE], "2 findings that nothing known here explains."),
    ],
)
def test_the_page_says_its_result_in_one_sentence(ranks: list[Rank], expected: str) -> None:
    findings = tuple(Finding(kind="k", rank=rank, tables=("t",), message="m") for rank in ranks)
    assert f"{replace(made_up(), findings=findings).outcome}." == expected
    assert expected in html.render(replace(made_up(), findings=findings))
    empty = replace(made_up(), findings=(), document=document())
    assert empty.outcome == "Nothing was understood, so nothing was checked"


def test_values_counts_and_shares_are_described_in_words() -> None:
    assert html.describe_value(value("0.5", "sea")) == "accuracy of sea"
    assert html.describe_value(value("0.5", "")) == "accuracy of "
    assert html.describe_value(value("0.5", None, AP, Average.MACRO, label="mAP")) == "mAP (average precision)"
    assert html.describe_value(value("0.5", None, AP, Average.MACRO)) == "macro (average precision)"
    assert html.describe_value(value("0.5")) == "summary (accuracy)"
    counted = Counted(name="t", sizes={"a": 4, "b": 5}, correct={"a": range(2, 3), "b": range(3, 6)})
    row = html.CountRow(name="t", cells=(("a", "2 of 4"), ("b", "3 to 5 of 5")), total="5 to 7 of 9")
    assert html.format_counts(counted) == row
    unknown = html.format_counts(replace(counted, correct={"a": None, "b": range(0)}))
    assert (unknown.cells, unknown.total) == ((("a", "? of 4"), ("b", "? of 5")), "? of 9")
    detection = Detection(kind="k", tried=8, impossible=3, unless=1)
    assert [html.format_share(detection, each) for each in (3, 1)] == ["38 %", "12 %"]
    assert html.format_share(replace(detection, tried=0), 0) == "none tried"
    assert html.format_signed(Fraction(-1, 3)) == "-0.33"


def test_the_page_counts_class_values_matrices_and_ranks() -> None:
    audit = made_up()
    (made,) = audit.document.tables
    of = replace(audit.document, tables=(*[replace(made, matrix=matrix("1 0", "0 1"))] * 2, made))
    changed = replace(audit, document=of)
    context, view = html.make_context(changed), View(changed)
    assert (view.numbers["class value"], view.numbers["confusion matrix"], view.source) == (6, 2, "report.md")
    assert context["ranks"] == [
        (rank, HEADINGS[rank], html.MEANINGS[rank], int(rank is not Rank.AS_READ)) for rank in Rank
    ]


# Marked lines and passages.


def marked(text: str, *values: Any) -> list[tuple[str, str | None]]:
    made = Document(source="x", lines=(text,), tables=(table(*values),))
    (line,) = mark_lines(replace(made_up(), document=made, findings=()))
    return [(piece.text, piece.verdict) for piece in line.pieces]


def test_numbers_are_marked_where_they_are_first_free_and_text_stands_between() -> None:
    good = "consistent"
    assert marked("", value("0.9", "a")) == [("", None)]
    assert marked("0.5", value("0.5", "a")) == [("0.5", good)]
    assert marked("0.5 x", value("0.5", "a")) == [("0.5", good), (" x", None)]
    assert marked("x 0.5", value("0.5", "a")) == [("x ", None), ("0.5", good)]
    both = marked("0.5 0.5 0.5", value("0.5", "a"), value("0.5", "b"))
    assert both == [("0.5", good), (" ", None), ("0.5", good), (" 0.5", None)]
    # A number in one that is taken is looked for behind it.
    assert marked("0.55 0.5", value("0.55", "a"), value("0.5", "b")) == [("0.55", good), (" ", None), ("0.5", good)]
    behind = marked("accuracy 0.55 0.5", value("0.55", "a"), value("0.5", "b"))
    assert behind == [("accuracy ", None), ("0.55", good), (" ", None), ("0.5", good)]
    # The spread is a value, too, and what is not there is none.
    spread = replace(value("0.7", "a"), spread=number("0.1"))
    assert marked("0.1 0.7", spread, value("0.3", "b")) == [("0.1", good), (" ", None), ("0.7", good)]
    assert marked("a\x07b\tc\u202e") == [("a\ufffdb\tc\ufffd", None)]


def test_values_of_rows_that_are_no_classes_are_marked_as_read() -> None:
    of = Document(source="x", lines=("0.9 0.5",), tables=(table(value("0.9", "a"), asides=(value("0.5", "base"),)),))
    (line,) = mark_lines(replace(made_up(), document=of, findings=()))
    assert [(piece.text, piece.verdict) for piece in line.pieces if piece.verdict] == [
        ("0.9", "consistent"),
        ("0.5", "consistent"),
    ]


def test_cells_of_matrices_are_marked_and_one_number_of_two_values_once() -> None:
    made = matrix("1 0", "2 3", line=1)
    of = Document(source="x", lines=("1 0 2 3",), tables=(table(matrix=made), table(name="u", matrix=made)))
    (line,) = mark_lines(replace(made_up(), document=of))
    assert [piece.text for piece in line.pieces if piece.verdict] == ["1", "0", "2", "3"]


def test_each_value_names_its_findings_once_in_order() -> None:
    first_value = value("0.5", "a")
    findings = [
        Finding(kind="k", rank=rank, tables=("t",), message="m", values=(first_value, first_value))
        for rank in (Rank.ODD, Rank.UNLESS)
    ]
    of = Document(source="x", lines=("0.5",), tables=(table(first_value),))
    (line,) = mark_lines(replace(made_up(), document=of, findings=tuple(findings)))
    assert line.pieces == (Piece(text="0.5", verdict="impossible unless", findings=(1, 2)),)


def shown(lines: int, *at: int) -> list[tuple[int, bool]]:
    made = Document(source="x", lines=("0.5",) * lines, tables=(table(*(value("0.5", "a", line=n) for n in at)),))
    return [(len(passage.lines), passage.folded) for passage in make_passages(replace(made_up(), document=made))]


def test_runs_of_twelve_plain_lines_two_lines_from_values_are_folded() -> None:
    assert shown(0) == []
    assert shown(11) == [(11, False)]
    assert shown(12) == [(12, True)]
    assert shown(15, 1) == [(3, False), (12, True)]
    assert shown(14, 1) == [(3, False), (11, False)]
    assert shown(15, 15) == [(12, True), (3, False)]
    assert shown(40, 1, 20) == [(3, False), (14, True), (5, False), (18, True)]
    assert shown(6, 1, 6) == [(6, False)]


def test_a_line_is_plain_where_nothing_was_read_or_refused() -> None:
    nothing, read = Piece(text="x"), Piece(text="0.5", verdict="consistent")
    assert Line(number=1, pieces=(nothing,)).plain
    assert not Line(number=1, pieces=(nothing, read)).plain
    assert not Line(number=1, pieces=(nothing,), unread="why").plain
    unread = Unread(line=2, text="b", why="no number")
    of = Document(source="x", lines=("a", "b"), tables=(), unread=(unread,))
    assert [(line.number, line.unread) for line in mark_lines(replace(made_up(), document=of))] == [
        (1, ""),
        (2, "no number"),
    ]


# JSON.


def test_the_json_has_every_field_of_an_audit() -> None:
    audit = made_up()
    spread = replace(value("0.5", "b", count=(3, 6), line=3), spread=number("0.1"))
    made = Table(
        name="T", values=(value("0.25", None, AP, Average.MACRO, label="mAP"), spread), total=5, image_set="test",
        partial=True, matrix=matrix("1 0", "2 3"), sizes={"b": 6},
    )  # fmt: skip
    of = Document(
        source="/some/where/x.md", lines=(), tables=(made, table()), folds=4, formats=("lines", "json"),
        unread=(Unread(line=2, text="b", why="w"),),
    )  # fmt: skip
    options = Options(
        images=3, sizes={"a": 1}, more_images=(4,), more_sizes=({"a": 2},), bound=5, folds=6,
        ceilings={"c": Fraction(1, 4)},
    )  # fmt: skip
    result = json.loads(json.dumps(audit_json(replace(audit, document=of, options=options, findings=()))))
    values = [
        {"measure": "average precision", "class": None, "average": "macro", "label": "mAP", "printed": "0.25",
         "line": 1, "value": 0.25, "count": None, "spread": None, "item": "image"},
        {"measure": "accuracy", "class": "b", "average": None, "label": "", "printed": "0.5", "line": 3,
         "value": 0.5, "count": [3, 6], "spread": "0.1", "item": "image"},
    ]  # fmt: skip
    assert result == {
        "schema": 1,
        "source": "x.md",
        "exit_code": 0,
        "outcome": "Nothing could be checked: no printed number is bound by another",
        "values_compared": 0,
        "formats": ["lines", "json"],
        "options": {"images": 3, "sizes": {"a": 1}, "more_images": [4], "more_sizes": [{"a": 2}], "bound": 5,
                    "folds": 6, "ceilings": {"c": 0.25}},
        "tables": [
            {"name": "T", "kind": "classes", "section": "", "lines": [0, 0],
             "image_set": "test", "total": 5, "sizes": {"b": 6}, "predictions": {}, "partial": True,
             "certain": False, "matrix": [["1", "0"], ["2", "3"]], "values": values},
            {"name": "t", "kind": "classes", "section": "", "lines": [0, 0],
             "image_set": None, "total": None, "sizes": {}, "predictions": {}, "partial": False, "certain": False,
             "matrix": None,
             "values": []},
        ],
        "unread": [{"line": 2, "text": "b", "why": "w", "measuring": True}],
        "context": [],
        "folds": 4,
        "findings": [],
        "sizes": [
            {"tables": ["Figure 1"], "origin": "printed", "taken": {"sea": 10, "street": 20},
             "smallest": {"sea": 2, "street": 2}, "chance": {"sea": 0.0, "street": 0.0},
             "identified": ["sea", "street"], "rivals": []},
        ],
        "counts": [
            {"table": "Figure 1", "sizes": {"sea": 10, "street": 20}, "correct": {"sea": [5, 5], "street": [10, 10]},
             "images": 30, "correct_images": [15, 15], "errors": [15, 15], "accuracy": [0.5, 0.5]},
        ],
        "means": [
            {"table": "Figure 1", "measure": "accuracy", "printed": "0.75", "line": 4, "parts": 2, "difference": 0.25,
             "allowed": 0.01, "agrees": False, "reading": "plain mean", "last_bit": False},
        ],
        "power": {"seed": 0, "remark": "two decimals tell little",
                  "detections": [{"kind": "two digits swapped", "tried": 50, "impossible": 30, "unless": 5,
                                  "as_read": 4}]},
        "remarks": ["no average precision is printed"],
    }  # fmt: skip


def test_counts_in_the_json_are_first_and_last_or_null() -> None:
    counted = Counted(name="t", sizes={"a": 4, "b": 6}, correct={"a": range(1, 3), "b": range(2, 5)})
    unknown = replace(counted, correct={"a": None, "b": range(2, 5)})
    empty = Counted(name="t", sizes={"a": 0}, correct={"a": range(1)})
    several, none, zero = audit_json(replace(made_up(), counted=(counted, unknown, empty)))["counts"]
    keys = ("images", "correct_images", "errors", "accuracy", "correct")
    assert [several[key] for key in keys] == [10, [3, 6], [4, 7], [0.3, 0.6], {"a": [1, 2], "b": [2, 4]}]
    assert [none[key] for key in keys] == [None, None, None, None, {"a": None, "b": [2, 4]}]
    assert [zero[key] for key in keys] == [0, [0, 0], [0, 0], None, {"a": [0, 0]}]
    (finding,) = audit_json(replace(made_up(), findings=made_up().findings[:1]))["findings"]
    assert {key: each for key, each in finding.items() if key != "values"} == {
        "kind": "mean", "rank": "impossible", "tables": ["Figure 1"], "message": "the mean of the parts is 0.50",
        "conditions": [], "lines": [2, 4], "inputs": [], "reading": "", "readings": [],
        "excluded": ["weighted by images: 0.50"],
        "probability": None, "assumptions": None, "evidence": [],
    }  # fmt: skip
    assert [each["printed"] for each in finding["values"]] == ["0.75", "0.50"]


# Oddities.


def counts_of(name: str, size: int, **correct: int | range) -> Counted:
    ranges = {label: k if isinstance(k, range) else range(k, k + 1) for label, k in correct.items()}
    return Counted(name=name, sizes=dict.fromkeys(correct, size), correct=ranges)


def test_pairs_of_tables_with_the_same_sizes_and_settled_counts_are_looked_at() -> None:
    one = counts_of("one", 500, a=250, b=260, c=300)
    two = counts_of("two", 500, a=250, b=260, c=310)
    p = [chance_of_same_count(500, 1 - k / 1000) for k in (500, 520, 610)]
    # Two or three of three events.
    chance = p[0] * p[1] * (1 - p[2]) + p[0] * (1 - p[1]) * p[2] + (1 - p[0]) * p[1] * p[2] + p[0] * p[1] * p[2]
    apart, open_ = counts_of("apart", 500, a=1, b=2, c=3), counts_of("open", 500, a=250, b=260, c=range(300, 302))
    other = counts_of("other", 501, a=250, b=260, c=300)
    (found,) = find_equal_counts([open_, other, one, apart, two])
    assert found == Finding(
        kind="equal counts",
        rank=Rank.ODD,
        tables=("one", "two"),
        message="2 of 3 classes have the same number of correct images",
        probability=f"{chance:.2g}",
        assumptions=INDEPENDENCE,
    )
    large = [counts_of(name, size, a=9, b=9, c=9) for size in (LARGEST, LARGEST + 1) for name in ("x", "y")]
    assert LARGEST == 20_000
    assert (
        list(find_equal_counts([replace(each, correct=dict.fromkeys("abc", range(9, 10))) for each in large[2:]])) == []
    )


def test_a_level_is_odd_where_it_is_above_every_ceiling_and_the_fewest_counts_are_unlikely() -> None:
    ceilings = {"one": Fraction(1, 2), "two": Fraction(3, 5)}
    table_ = counts_of("t", 50, a=range(40, 43), b=range(42, 44))
    tails = [upper_tail(82, 100, level) for level in ceilings.values()]
    chances = [format_scientific(tail) for tail in tails]
    (found,) = find_high_level([table_, counts_of("low", 50, a=30, b=30)], ceilings)
    assert found == Finding(
        kind="level",
        rank=Rank.ODD,
        tables=("t",),
        message="accuracy above 0.5 (one) and 0.6 (two)",
        probability=f"at most {chances[1]} each",
        assumptions=BINOMIAL,
        evidence=(f"t: P(>= 82 of 100) is {chances[0]} at 0.5, {chances[1]} at 0.6",),
    )
    # 60 of 100 is not above 0.6; 64 of 100 is not unlikely enough, 69 is.
    tails_of = {k: float(upper_tail(k, 100, Fraction(3, 5))) for k in (61, 68, 69)}
    for k, tail in tails_of.items():
        assert len(list(find_high_level([counts_of("t", 100, a=k)], ceilings))) == (tail < 0.05)
    assert list(find_high_level([counts_of("t", LARGEST + 1, a=LARGEST)], ceilings)) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0.05", False),
        ("0.06", True),
        ("0.08", True),
        ("0.09", False),
        ("0.48", True),
        ("0.49", False),
        ("0.60", False),
    ],
)
def test_an_average_precision_below_the_class_share_is_odd_where_it_is_possible(text: str, found: bool) -> None:
    # The worst ranking of 5 images among 50 has 0.0617, of 30 among 60 0.3113; truncated numbers are up to 0.01 higher.
    positives, negatives = (5, 45) if text < "0.2" else (30, 30)
    sheet = sheet_of(*column(AP, a=text), sizes={"a": positives, "b": negatives})
    share = positives / (positives + negatives)
    expected = Finding(
        kind="below class share",
        rank=Rank.ODD,
        tables=("t",),
        message=f"average precision of class a is {text}, its share of images {share:.4f}",
        values=tuple(column(AP, a=text)),
        probability="not computed",
        assumptions="the scores are meant to rank the class first",
    )
    assert list(find_low_precision(sheet)) == ([expected] if found else [])


def test_counts_give_the_sizes_of_tables_that_have_none_and_ceilings_are_for_the_scenes_alone() -> None:
    made = sheet_of(*column(AP, a="0.07"))
    known = counts_of("t", 50, a=45, b=45)
    sized = replace(known, sizes={"a": 5, "b": 45}, correct={"a": range(1, 2), "b": range(1, 2)})
    assert [each.kind for each in find_oddities([made], [sized], Options())] == ["below class share"]
    assert list(find_oddities([made], [replace(sized, correct={"a": None, "b": range(1, 2)})], Options())) == []
    assert list(find_oddities([made], [replace(sized, name="u")], Options())) == []
    assert list(find_oddities([], [known], Options())) == []
    assert [each.kind for each in find_oddities([], [known], Options(ceilings={"x": Fraction(1, 2)}))] == ["level"]


def test_a_rate_of_no_or_only_errors_is_the_same_count_for_sure() -> None:
    assert (chance_of_same_count(5, 0.0), chance_of_same_count(5, 1.0)) == (1.0, 1.0)
    assert chance_of_same_count(1, 0.25) == pytest.approx(0.75**2 + 0.25**2)
    assert chance_of_same_count(2, 0.5) == pytest.approx(6 / 16)


# Verdicts.


def test_options_of_several_sets_are_those_of_the_first_and_of_the_others() -> None:
    sizes = ({"a": 1}, {"a": 2}, {"a": 3})
    made = Options.of_sets([4, 5, 6], sizes, bound=7)
    assert made == Options(images=4, more_images=(5, 6), sizes={"a": 1}, more_sizes=({"a": 2}, {"a": 3}), bound=7)
    assert (made.totals, Options.of_sets([], []), Options().totals) == ((4, 5, 6), Options(), ())


def test_the_exit_code_tells_what_is_impossible_from_what_was_not_understood() -> None:
    audit = replace(made_up(), findings=())
    codes = [
        replace(audit, document=document(*tables)).exit_code
        for tables in ((), (table(),), (table(), table(value("0.5", "a"))), (table(matrix=matrix("1 0", "0 1")),))
    ]
    assert codes == [2, 2, 0, 0]
    assert made_up().exit_code == 1


def test_what_is_impossible_and_what_is_odd_are_told_apart() -> None:
    audit = made_up()
    assert (audit.contradictions, audit.oddities) == (audit.findings[:1], audit.findings[2:])


def test_sizes_are_known_up_to_a_chance_of_one_in_a_hundred() -> None:
    sizes = {"a": 1, "b": 2}
    made = ImageSet(tables=("t",), smallest=sizes, taken=sizes, chance={"a": 0.01, "b": 0.0101}, origin="search")
    assert (made.identified, made.complete) == (("a",), False)
    assert replace(made, chance={"a": 0.01, "b": 0.0}).complete


def test_long_labels_are_cut_and_exclusions_are_said_once() -> None:
    long = "a class with a name " * 10
    finding = Finding(
        kind="k", rank=Rank.IMPOSSIBLE, tables=("t",), message="m", values=(value("0.5", long),), excluded=("e", "e")
    )
    audit = replace(made_up(), findings=(finding, finding), counted=(), sizes=(), means=(), power=None, remarks=())
    text = output.render(audit)
    assert text.count("Excluded: e.") == 1
    assert long not in text
    assert "a class with a name a class" in text
    assert html.describe_value(value("0.5", long)).endswith("...")


def test_a_reading_begins_with_as_once() -> None:
    assert "   Read as shares of one." in first(readings=("as shares of one",))
    assert "   Read: mean." in first(readings=("mean",))


@pytest.mark.parametrize(("length", "shown"), [(60, "x" * 60), (61, "x" * 57 + "...")])
def test_a_label_is_shown_in_sixty_characters(length: int, shown: str) -> None:
    assert shorten("x" * length) == shown
