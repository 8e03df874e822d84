"""Small functions of the readers, tested at both sides of each bound and in each branch."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from in4310repro.audit.document import Average, ConfusionMatrix, Document, Measure, Printed, Table, Unread, Value
from in4310repro.audit.readers import (
    files,
    grid,
    grids,
    labels,
    latex_html,
    markup,
    matrices,
    roles,
    text_tables,
)
from in4310repro.audit.readers.contexts import blank_comment_marks, find_folds, find_running, find_title
from in4310repro.audit.readers.files import decode_text, is_binary
from in4310repro.audit.readers.json_files import read_json
from in4310repro.audit.readers.labels import read_labels
from in4310repro.audit.readers.lists import read_listed, section_grids
from in4310repro.audit.readers.numbers import count, images, parse, parse_measured, parse_ratio, to_percent
from in4310repro.audit.readers.passes import find_asides, find_repeated
from in4310repro.audit.readers.pieces import Result, collect_sizes, name_tables, scale_values
from in4310repro.audit.readers.reading import lines_of, read, show
from in4310repro.audit.readers.sheet_files import read_toml
from in4310repro.audit.readers.subjects import Subject, parse_pure, parse_subject
from in4310repro.audit.readers.table_rows import Draft, default_average
from in4310repro.audit.readers.words import heading, strip_marks
from tests.audit.readers.described import everything

M, A = Measure, Average


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("Class  Accuracy", ["Class", "Accuracy"]),
        ("# Class  Accuracy", ["Class", "Accuracy"]),
        ("precision recall", ["precision", "recall"]),
        ("Class  mAP50 mAP50-95", ["Class", "mAP50", "mAP50-95"]),
        ("Class  Images", ["Class", "Images"]),
        ("Class  Rock type  Recall", ["Class", "Rock type", "Recall"]),
        ("Network  Time  Recall  F1", ["Network", "Time", "Recall", "F1"]),
        ("Network  Time  Place  Recall  F1", None),
        ("Class", None),
        ("Network  Accuracy", None),
        ("Class | Accuracy", None),
        ("Class Accuracy:", None),
        ("Class Accuracy 3", None),
        ("Class 0.5 0.6 Accuracy", None),
        ("Class 0.5 Accuracy", None),
        ("Nothing  here", None),
        ("Class " + "F1 " * 39, ["Class"] + ["F1"] * 39),
        ("Class " + "F1 " * 40, None),
        ("Class  F1" + " " * 1991, ["Class", "F1"]),
        ("Class  F1" + " " * 1992, None),
    ],
)
def test_a_header_of_a_table_of_spaces_has_two_known_columns(line: str, names: list[str] | None) -> None:
    assert text_tables.read_header(line) == names


@pytest.mark.parametrize(
    ("cells", "is_header"),
    [
        (["a", "accuracy"], True),
        (["accuracy"], False),
        (["class", "a"], True),
        (["True", "a"], True),
        (["", "a", "b"], True),
        (["", "a"], False),
        (["a", "b"], False),
        (["class", "0.5"], False),
        (["class", "100 %"], False),
        (["class", "acc: 1"], False),
        (["class", "a" * 60], True),
        (["class", "a" * 61], False),
    ],
)
def test_a_header_of_a_table_of_separators_names_a_measure_or_classes(cells: list[str], is_header: bool) -> None:
    assert markup.is_header(cells) is is_header


def test_cells_of_html_stand_in_every_row_that_they_span_and_once_in_its_columns() -> None:
    text = """text
<TABLE>
<tr><th rowspan=2>a</th><th colspan=2>b
<th rowspan=3>c</th></tr>
<tr><td>d</td><td> e <b>f</b> g</td></tr>
<tr><td>g<td rowspan=2 colspan=2>h
<tr><td>i<td>j</table>
<table><tr><td>one row</td></tr></table>
<table><caption>of <i>all</i> it</caption><tr><td>k</td></tr><tr><td>l</td></tr></table> after"""
    grids = list(latex_html.html_grids(text.split("\n"), frozenset()))
    rows = [[(row.lines[0], row.cells) for row in each.rows] for each in grids]
    assert rows == [
        [(5, ("a", "b d", "b e f g", "c")), (6, ("g", "h", "", "c")), (7, ("i", "h", "", "j"))],
        [(9, ("k",)), (9, ("l",))],
    ]
    assert [each.title for each in grids] == ["text", "of all it"]
    assert list(latex_html.html_grids(["<table><tr><td>a<tr><td>b</table>"], frozenset({1}))) == []


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["### Test", "", "X"], "Test"),
        (["**Test**", "X"], "Test"),
        (["a few words", "X"], "a few words"),
        (["a few words", "", "X"], "a few words"),
        (["a few words", "", "", "X"], ""),
        (["a few words:", "", "", "X"], "a few words"),
        (["w" * 69, "X"], "w" * 69),
        (["w" * 70, "X"], ""),
        (["# " + "w" * 158, "X"], "w" * 158),
        (["# " + "w" * 159, "X"], ""),
        (["Accuracy: 0.9", "X"], ""),
        (["a | b", "X"], ""),
        (["a & b", "X"], ""),
        (["sea  0.83", "X"], ""),
        (["sea\t83", "X"], ""),
        (["sea,0.83,100", "X"], ""),
        (["sea 0.83 100", "X"], ""),
        (["of CIFAR 10", "X"], "of CIFAR 10"),
        (["Table 3: of all", "", "", "X"], "Table 3: of all"),
        (["# T", "", "", "", "", "", "X"], "T"),
        (["# T", "", "", "", "", "", "", "X"], ""),
        (["# T", "X", "Table 4: below"], "Table 4: below"),
        (["# T", "X", "", "Table 4: below"], "Table 4: below"),
        (["# T", "X", "", "", "Table 4: below"], "T"),
        (["X"], ""),
        (["Table 3: " + "w" * 200, "X"], ("Table 3: " + "w" * 200)[:160]),
    ],
)
def test_a_title_stands_above_or_as_a_caption_below(lines: list[str], found: str) -> None:
    place = lines.index("X")
    assert find_title(lines, place, place + 1) == found


def test_what_a_program_prints_while_it_runs_is_no_result() -> None:
    assert lines_of("a\rb\nc\r\n\x1b[31md") == ("b", "c", "d")
    assert lines_of("a\rb") == ("a", "b")
    assert lines_of("\ufeffa\nb") == ("a", "b")
    epochs = ["Epoch 1/3 loss: 0.5", "text", "Epoch 2/3 loss: 0.4", "Epoch 3/3 loss: 0.3"]
    assert find_running(epochs) == {1, 3, 4}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_a_text_is_read_in_each_encoding(encoding: str) -> None:
    text = "Accuracy of café: 83 %"
    assert decode_text(text.encode(encoding)) == text


def zeros(length: int, places: range) -> bytes:
    """Return bytes of the letter `a`, with zero bytes at the indices in `places`."""
    return bytes(0 if index in places else 97 for index in range(length))


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"\0a\0b", "utf-16-be"),
        (b"a\0b\0", "utf-16-le"),
        (b"\0a\0", "utf-8"),
        (b"a\0b", "utf-8"),
        (zeros(10, range(0, 4, 2)), "utf-16-be"),
        (zeros(10, range(1, 5, 2)), "utf-16-le"),
        (zeros(12, range(0, 4, 2)), "utf-8"),
        (zeros(12, range(1, 5, 2)), "utf-8"),
        (zeros(10, range(2)), "utf-8"),
        (zeros(1100, range(0, 334, 2)), "utf-16-be"),
        (zeros(1100, range(1, 335, 2)), "utf-16-le"),
        (zeros(1100, range(0, 332, 2)), "utf-8"),
        (zeros(1100, range(667, 1000, 2)), "utf-16-le"),
        (zeros(1100, range(1000, 1100)), "utf-8"),
    ],
)
def test_zeros_in_every_second_of_the_first_bytes_are_utf_16(content: bytes, encoding: str) -> None:
    assert decode_text(content) == content.decode(encoding)


@pytest.mark.parametrize(
    ("text", "binary"),
    [
        ("x" * 99 + "\x01", False),
        ("x" * 98 + "\x01", True),
        ("x" * 98 + "\x1f", True),
        ("x" * 98 + " ", False),
        ("\t\n\r\f\v\x1b\b", False),
        ("\x01" * 200 + "x" * 19_800 + "\x01" * 99, False),
        ("\x01" * 201 + "x" * 99_999, True),
    ],
)
def test_a_text_has_few_control_characters(text: str, binary: bool) -> None:
    assert is_binary(text) is binary


def test_a_file_has_up_to_100_megabytes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("sea", encoding="utf-8")
    assert files.LARGEST == 100_000_000
    assert files.load_text(tmp_path / "a.txt", largest=3) == "sea"
    with pytest.raises(ValueError, match=r"a\.txt has 3 bytes; at most 2 are allowed"):
        files.load_text(tmp_path / "a.txt", largest=2)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="this system has no file that is there and unreadable")
def test_a_file_that_cannot_be_read_is_named_with_the_reason() -> None:
    # The first bytes of a process's memory are of nothing.
    with pytest.raises(ValueError, match=r"^/proc/self/mem cannot be read: the disk reports an error$"):
        files.load_text(Path("/proc/self/mem"))


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (
            ["Accuracy of sea: 0.1", "Accuracy of ice: 0.2", "Accuracy of fen: 0.3", "Accuracy for class bay: 0.4"],
            ["bay"],
        ),
        (["Accuracy of sea: 0.1", "Accuracy of ice: 0.2", "Accuracy for class bay: 0.4"], []),
        (["Accuracy of sea: 0.1", "Accuracy of ice: 0.2", "Accuracy of sea-ice: 0.3", "Accuracy of sea: 0.4"], []),
        (
            [
                "Accuracy of sea: 0.1",
                "Accuracy of ice: 0.2",
                "Accuracy of fen: 0.3",
                "Accuracy for class bay: 0.4",
                "Accuracy for class bog: 0.4",
            ],
            [],
        ),
        (
            ["Accuracy of each class:", "sea: 0.1", "ice: 0.2", "Mean of animals: 0.2", "std of sea: 0.1"],
            ["Mean of animals", "std of sea"],
        ),
        (
            ["Accuracy of sea: 0.1", "Accuracy of ice: 0.2", "Mean accuracy: 0.2", "fen", "bay", "bog"],
            ["fen", "bay", "bog"],
        ),
        (["Accuracy of sea: 0.1", "Accuracy of ice: 0.2", "Mean accuracy: 0.2", "fen", "bay", "bog", "elm"], []),
        (["Accuracy of sea: 0.1", "Mean accuracy: 0.2", "fen", "bay"], []),
        (["Accuracy of sea: 0.1", "Accuracy of ice: 0.2, Mean accuracy: 0.2", "fen", "bay"], []),
        (["Accuracy of sea: 0.1", "Accuracy of ice: 0.2", "Accuracy of fen: 0.2, Mean accuracy: 0.2", "bay"], ["bay"]),
    ],
)
def test_lines_of_no_class_are_told_by_their_form_words_and_place(lines: list[str], names: list[str]) -> None:
    lines = [line if ":" in line else f"Accuracy of {line}: 0.5" for line in lines]
    values, _ = read_labels(lines, frozenset())
    assert [each.subject.class_name for each in find_asides(values)] == names


@pytest.mark.parametrize(("depth", "found"), [(30, 1), (31, 0)])
def test_objects_within_objects_are_looked_into_thirty_times(depth: int, found: int) -> None:
    text = '{"a":' * depth + '{"f1": {"sea": 0.5, "ice": 0.6}}' + "}" * depth
    assert len(read_json(text, "the text")) == found


def test_json_has_its_lines_and_names_for_all_of_its_classes() -> None:
    (piece,) = read_json('\n{"f1": {"sea": 0.5,\n"ice": 0.6}}', "the text")
    assert (piece.first, piece.last) == (2, 3)
    for text in ('{"f1": {"sea": 0.5,\n" ": 0.6}}', '{"sea": {"f1": 0.1, "ap": 1},\n"": {"f1": 0.2,\n"ap": 0.5}}'):
        with pytest.raises(ValueError, match=r"^line 2: .* empty class name"):
            read_json(text, "the text")


@pytest.mark.parametrize(
    ("line", "opens"),
    [
        ("F1 of each class", True),
        ("Each class: how good it is", False),
        ("each class:-", True),
        ("each class", False),
        ("Accuracy:", False),
        (f"Accuracy of each class {'x' * 66}:", True),
        (f"Accuracy of each class {'x' * 67}:", False),
    ],
)
def test_a_heading_over_names_speaks_of_classes_and_of_a_measure_or_ends_in_a_colon(line: str, opens: bool) -> None:
    assert labels.is_heading(line) is opens


@pytest.mark.parametrize(("length", "found"), [(110, 1), (111, 0)])
def test_a_name_below_a_heading_has_up_to_110_characters(length: int, found: int) -> None:
    values, _ = read_labels(["Accuracy of each class:", f"{'x' * length}: 0.5"], frozenset())
    assert len(values) == found


def test_a_draft_keeps_each_class_and_each_summary_once() -> None:
    draft = Draft(network="", image_set=None)
    assert (draft.best, draft.total, draft.values) == (False, None, [])
    same = value("0.5", average=A.MACRO)
    others = [value("0.5", average=A.WEIGHTED), value("0.6", average=A.MACRO), value("0.5", M.RECALL, average=A.MACRO)]
    classes = [value("0.5", name="a"), value("0.5", name="a")]
    for each in (*classes, same, same, *others):
        draft.add(each)
    assert draft.values == [*classes, same, *others]
    assert (default_average(M.ACCURACY), default_average(M.PRECISION)) == (A.OVERALL, None)


def value(text: str, measure: Measure = M.ACCURACY, name: str | None = None, **rest: Any) -> Value:
    return Value(measure=measure, printed=parse(text, 1), class_name=name, **rest)


def test_percentages_are_told_by_the_classes_and_by_a_summary_itself() -> None:
    def percent(*values: Value) -> list[bool]:
        return [each.printed.percent for each in scale_values(values)]

    a, b, c = value("83.5", name="a"), value("1", name="b"), value("0.5", name="c")
    assert percent(a, a, b) == [True, True, True]
    assert percent(a, b) == [True, False]
    assert percent(value("1.5", name="a"), value("1.5", name="b")) == [True, True]
    assert percent(a, c, value("0.9"), value("1.5"), value("2")) == [True, False, False, False, True]
    assert percent(a, a, value("0.9"), value("1.5"), value("1")) == [True, True, False, True, False]
    assert percent(value("83.5", M.OTHER, "a")) == [False]
    (spread,) = scale_values([value("83.5", name="a", spread=parse("0.5", 1))])
    assert spread.spread is not None
    assert (spread.spread.percent, str(spread.spread.value)) == (True, "1/200")


def test_tables_of_one_name_get_numbers_and_sizes_come_from_counts() -> None:
    names = ["a", "a (2)", "a", "a", "b", "a (2)"]
    given = [each.name for each in name_tables([Table(name=name, values=()) for name in names])]
    assert given == ["a", "a (2)", "a (3)", "a (4)", "b", "a (2) (2)"]
    later = [each.name for each in name_tables([Table(name=name, values=()) for name in ("a", "a", "a (2)")])]
    assert later == ["a", "a (2)", "a (2) (2)"]
    counted = [value("0.5", name="a", count=(1, 2)), value("0.5", count=(3, 4)), value("0.5", name="b", count=(5, 6))]
    assert collect_sizes(counted, {"b": 7, "c": 8}) == {"a": 2, "b": 7, "c": 8}


def test_a_class_with_two_values_is_named_once_for_each_measure() -> None:
    values = [value("0.5", name="a"), value("0.50", name="a"), value("0.5", name="a"), value("0.6", M.RECALL, "a")]
    assert list(find_repeated([value("0.9"), *values, value("0.7"), value("0.8")])) == [
        Unread(line=1, text="0.50", why="accuracy of class a is in line 1, too")
    ]


def test_the_listing_shows_classes_summaries_sizes_and_what_was_not_understood() -> None:
    def at(text: str, line: int, name: str | None = None, **rest: Any) -> Value:
        return Value(measure=M.ACCURACY, printed=parse(text, line), class_name=name, **rest)

    first = Table(
        name="one",
        values=(
            at("0.5", 3, "a", count=(1, 2), spread=parse("0.1", 3)),
            at("60 %", 5, "b"),
            at("0.6", 7, label="mean"),
        ),
        sizes={f"c{number}": number for number in range(14)},
        total=0,
        image_set="val",
    )
    many = Table(name="two", values=tuple(at("0.5", 9, f"c{number}") for number in range(13)))
    few = Table(name="three", values=(*many.values[:12], at("0.7", 9, average=A.MACRO, label="avg")))
    document = Document(
        source="a.md",
        lines=(),
        tables=(first, many, few),
        unread=(Unread(line=4, text="x" * 101, why="odd"),),
        formats=("lines", "CSV"),
        folds=5,
    )
    twelve = ", ".join(f"c{number} 0.5" for number in range(12))
    assert show(document).split("\n") == [
        "a.md: 3 tables (lines, CSV)",
        "one, image set val (as a guess)",
        "  accuracy of 2 classes, lines 3 to 5: a 0.5 ± 0.1 (1/2), b 60 %",
        "  accuracy, line 7: 0.6 (mean)",
        f"  images: {', '.join(f'c{number} {number}' for number in range(12))}",
        "  images in all: 0",
        "two (as a guess)",
        f"  accuracy of 13 classes, line 9: {', '.join(f'c{number} 0.5' for number in range(10))}, ..., c12 0.5",
        "three (as a guess)",
        f"  accuracy of 12 classes, line 9: {twelve}",
        "  macro accuracy, line 9: 0.7 (avg)",
        "folds or runs mentioned: 5",
        "not understood:",
        f"  line 4: {'x' * 100} (odd)",
    ]
    matrix = ConfusionMatrix(classes=("a", "b"), rows=((parse("0.5", 6),) * 2,) * 2, shares=True)
    alone = Table(
        name="four", values=(at("0.6", 7, label="mean"), replace(at("9", 8), printed=to_percent(parse("9", 8))))
    )
    other = replace(alone, values=(), matrix=matrix)
    assert show(Document(source="c", lines=(), tables=(alone, other))).split("\n")[1:] == [
        "four (as a guess)",
        "  accuracy, line 7: 0.6 (mean)",
        "  accuracy, line 8: 9 % ()",
        "four (as a guess)",
        "  confusion matrix of 2 classes, shares, line 6",
    ]
    empty = Document(source="b", lines=(), tables=())
    assert show(empty) == "b: 0 tables (nothing)"


@pytest.mark.parametrize(
    ("rows", "shares"),
    [
        ([["1", "2"], ["3", "4"]], False),
        ([["0.9", "0.1"], ["0.3", "0.7"]], True),
        ([["90", "10.0"], ["30.5", "69.5"]], True),
        ([["0.9", "0.3"], ["0.1", "0.7"]], True),
        ([["0.4", "0.2"], ["0.1", "0.3"]], True),
        ([["0.96", "0.0"], ["0.0", "1.04"]], True),
        ([["0.95", "0.0"], ["0.0", "1.04"]], None),
        ([["0.0", "0.0"], ["0.5", "0.5"]], True),
        ([["0.9", "0.2"], ["0.3", "0.7"]], None),
        ([["0.5", "0.5", "0"], ["0.9", "0", "0"], ["0", "0.3", "0.7"]], True),
        ([["-1", "2"], ["3", "4"]], None),
        ([["1"]], None),
        ([["1", "2"]], None),
        ([["1", "2"], ["3"]], None),
        ([["1", "x"], ["3", "4"]], None),
        ([["101.5", "0"], ["0", "1"]], None),
        ([["0", "2"], ["3", "4"]], False),
        ([["0.9595", "0.0"], ["0.0", "1.04"]], None),
        ([["95.5", "0.5"], ["0.0", "96"]], True),
        ([["95.97", "0.0"], ["0.5", "103.5"]], None),
        ([["95.97", "0.0"], ["0.5", "90"]], None),
        ([["100", "3.9"], ["0.0", "100"]], True),
        ([["100", "0.0"], ["0.5", "99.5"]], True),
        ([["50", "0.0"], ["0.0", "50.5"]], True),
        ([["0.0", "0.0"], ["0.0", "0.5"]], None),
        ([["-0.5", "1.5"], ["0.5", "0.5"]], None),
    ],
)
def test_a_matrix_is_square_and_of_counts_or_of_shares(rows: list[list[str]], shares: bool | None) -> None:
    made = matrices.make_matrix([matrices.parse_numbers(row, 1) for row in rows], [])
    if shares is None:
        assert made is None
    else:
        assert made is not None
        assert made.shares is shares
        assert made.classes == tuple(str(number) for number in range(len(rows)))
        assert [[cell.text for cell in row] for row in made.rows] == rows


@pytest.mark.parametrize(
    ("labels", "summaries", "asides"),
    [
        (["a", "b", "mean"], [2], []),
        (["mean", "a", "b"], [0], []),
        (["good", "average", "bad", "c", "d", "e", "f", "g"], [], []),
        (["a", "b", "accuracy", "c", "d", "e", "f", "g"], [2], []),
        (["a", "b", "kappa"], [2], []),
        (["dune", "bay", "OA"], [2], []),
        (["AB", "BC", "OA"], [], []),
        (["a", "b", "std"], [], [2]),
        (["a", "b", "mean", "c"], [2], [3]),
        (["a", "b", "mean", "c", "d", "e"], [2], [3, 4, 5]),
        (["a", "b", "mean", "c", "d", "e", "f"], [2], []),
        (["a", "mean", "a", "b", "c", "d", "e", "f"], [1], []),
        (["a", "b", "Mean of animals"], [], [2]),
        (["a", "b", "AP_base"], [], [2]),
        (["AP_a", "AP_b", "AP_c"], [], []),
        (["AP_a", "AP_b", "c"], [], []),
        (["good", "average", "bad", "good", "c", "d", "e", "f", "g"], [1], []),
        (["good", "average", "bad", "c", "good", "d", "e", "f", "g"], [], []),
        (["sea", "media", "ice", "bay", "fen", "elm", "oak"], [], []),
        (["sea", "ice", "media", "bay", "fen", "elm", "oak"], [], [2]),
        (["AB", "BC", "sea", "ice", "fen", "OA"], [5], []),
        (["AB", "BC", "CD", "ice", "OA"], [], []),
        (["sea", "mean", "ice"], [1], []),
        (["average", "bad", "average", "c", "d", "e", "f", "g", "h"], [0], []),
        (["sea", "ice", "mean", "sea", "ice"], [2], []),
    ],
)
def test_summaries_and_rows_that_are_no_classes_are_told_by_words_and_place(
    labels: list[str], summaries: list[int], asides: list[int]
) -> None:
    every = range(len(labels))
    assert [index for index in every if roles.is_summary(labels, index)] == summaries
    assert [index for index in every if index not in summaries and roles.is_aside(labels, index)] == asides


@pytest.mark.parametrize(
    ("label", "measure", "column", "expected"),
    [
        ("mean", M.RECALL, None, (M.RECALL, A.UNNAMED)),
        ("all", M.AVERAGE_PRECISION, A.MACRO, (M.AVERAGE_PRECISION, A.MACRO)),
        ("macro avg", M.F1, A.WEIGHTED, (M.F1, A.MACRO)),
        ("kappa", M.ACCURACY, None, (M.KAPPA, None)),
        ("balanced accuracy", M.ACCURACY, None, (M.BALANCED_ACCURACY, None)),
        ("accuracy", M.F1, None, (M.ACCURACY, A.OVERALL)),
        ("overall", M.F1, None, (M.F1, A.UNNAMED)),
        ("overall", M.RECALL, None, (M.RECALL, A.OVERALL)),
        ("overall", M.ACCURACY, None, (M.ACCURACY, A.OVERALL)),
        ("macro accuracy", M.RECALL, None, (M.RECALL, A.MACRO)),
        ("macro accuracy", M.F1, None, (M.F1, A.UNNAMED)),
        ("samples avg", M.F1, None, (M.OTHER, None)),
        ("loss", M.F1, None, (M.OTHER, None)),
    ],
)
def test_a_summary_row_is_of_the_measure_of_its_column_or_of_its_own(
    label: str, measure: Measure, column: Average | None, expected: tuple[Measure, Average | None]
) -> None:
    assert roles.average_of(label, measure, column) == expected


def rows_of(*rows: Sequence[str], header: int | None = None) -> grid.Grid:
    return grid.grid([(number, row) for number, row in enumerate(rows, start=1)], "a reader", header=header)


@pytest.mark.parametrize(
    ("rows", "given", "names", "body"),
    [
        ([["Class", "F1"], ["a", "0.5"]], None, ("Class", "F1"), [("a", "0.5")]),
        ([["x", "F1"], ["a", "0.5"]], None, ("x", "F1"), [("a", "0.5")]),
        ([["x", "F1"], ["a", "0.5"]], 1, ("x", "F1"), [("a", "0.5")]),
        ([["a", "0.5"], ["b", "0.6"]], None, (), [("a", "0.5"), ("b", "0.6")]),
        ([["Class", "CNN", "", "ViT", ""], ["", "P", "R", "P", "R"], ["a", "1", "2", "3", "4"]], None,
         ("Class", "CNN P", "CNN R", "ViT P", "ViT R"), [("a", "1", "2", "3", "4")]),
        ([["Class", "CNN", "ViT", "", ""], ["", "P", "R", "P", "R"], ["a", "1", "2", "3", "4"]], None,
         ("Class", "CNN P", "CNN R", "ViT P", "ViT R"), [("a", "1", "2", "3", "4")]),
        ([["Class", "CNN", "ViT", "", ""], ["P", "R", "P", "R", ""], ["a", "1", "2", "3", "4"]], None,
         ("Class", "CNN P", "CNN R", "ViT P", "ViT R"), [("a", "1", "2", "3", "4")]),
        ([["Class", "F1", "Class", "F1"], ["a", "1", "b", "2"], ["c", "3", "-", "-"]], None,
         ("Class", "F1"), [("a", "1"), ("b", "2"), ("c", "3")]),
        ([["Part", "F1", "Part", "F1"], ["a", "1", "b", "2"]], 1,
         ("Part", "F1", "Part", "F1"), [("a", "1", "b", "2")]),
        ([["Class", "F1", "Class", "AP"], ["a", "1", "b", "2"]], 1,
         ("Class", "F1", "Class", "AP"), [("a", "1", "b", "2")]),
        ([["Class", "", ""], ["", "Net", ""], ["", "P", "R"], ["a", "1", "2"]], 3,
         ("Class", "Net P", "Net R"), [("a", "1", "2")]),
        ([["Class", "", "F1"], ["a", "", "1"]], None, ("Class", "F1"), [("a", "1")]),
        ([["Class", "", ""], ["", "P", "R"], ["a", "1", "2"]], None, ("Class", "P", "R"), [("a", "1", "2")]),
        ([["Part", "CNN", "ViT", "Note"], ["Part", "P", "R", ""], ["a", "1", "2", "x"]], None,
         ("Part", "CNN P", "ViT R", "Note"), [("a", "1", "2", "x")]),
        ([["Class", "F1"], ["", ""], ["a"]], 1, ("Class", "F1"), [("a", "")]),
        ([["Class", "F1"], ["a", "0.5"], ["x", "y"], ["b", "0.6"]], None,
         ("Class", "F1"), [("a", "0.5"), ("x", "y"), ("b", "0.6")]),
        ([["Class", "One", ""], ["", "Two", "Three"], ["", "Four", ""], ["", "P", "R"], ["a", "1", "2"]], 4,
         ("Class", "One Two Four P", "One Three Four R"), [("a", "1", "2")]),
        ([["Class", "A", "B"], ["", "F1", "F1"], ["a", "1", "2"]], 2, ("Class", "A F1", "B F1"), [("a", "1", "2")]),
        ([["Class", "A", "B", ""], ["", "P", "R", "P"], ["a", "1", "2", "3"]], 2,
         ("Class", "A P", "B R", "B P"), [("a", "1", "2", "3")]),
        ([["Class"], ["a"]], None, ("Class",), [("a",)]),
        ([["Class", "Class"], ["a", "b"], ["-", "c"]], 1, ("Class",), [("a",), ("b",), ("c",)]),
    ],
)  # fmt: skip
def test_the_header_of_a_grid_is_made_one_line(
    rows: list[list[str]], given: int | None, names: tuple[str, ...], body: list[tuple[str, ...]]
) -> None:
    made = rows_of(*rows, header=given)
    assert (made.names, [row.cells for row in made.body]) == (names, body)
    assert made.header == int(bool(names))
    assert made.width == len(body[0])
    assert made.column(0) == [cells[0] for cells in body]
    lines = [row.lines for row in made.body]
    assert all(len(line) == made.width and len(set(line)) == 1 for line in lines)


def test_a_grid_of_marks_alone_has_no_rows() -> None:
    made = rows_of(["<b></b>", "<br>"])
    assert (made.rows, made.header, made.names) == ((), 0, ())


def test_rows_and_columns_exchanged_keep_their_lines() -> None:
    table = rows_of(["Model", "a", "b"], ["CNN", "0.1", "0.2"], ["ViT", "0.3", "0.4"], header=1)
    flipped = grid.flip(table, "class")
    assert [(row.cells, row.lines) for row in flipped.rows] == [
        (("class", "CNN", "ViT"), (1, 2, 3)),
        (("a", "0.1", "0.3"), (1, 2, 3)),
        (("b", "0.2", "0.4"), (1, 2, 3)),
    ]
    assert (flipped.header, flipped.flipped, grid.flip(flipped, "x").flipped) == (1, True, False)
    assert [(row.cells, row.lines) for row in grid.add_labels(table).rows][1] == (("", "CNN", "0.1", "0.2"), (2,) * 4)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([["Class", "F1"], ["a", "0.5"]], (0, (), (1,), (), None)),
        ([["Class", "F1", "Support"], ["a", "0.5", "7"]], (0, (), (1,), (2,), None)),
        ([["Class", "F1", "Support"], ["a", "0.5", "7.5"]], (0, (), (1,), (), None)),
        ([["Model", "Class", "F1"], ["c", "a", "0.5"]], (1, (0,), (2,), (), None)),
        ([["#", "Class", "F1"], ["1", "a", "0.5"]], (1, (), (2,), (), None)),
        ([["Class", "F1"], ["1", "0.5"]], (0, (), (1,), (), None)),
        ([["x", "F1"], ["1", "0.5"]], (0, (), (1,), (), None)),
        ([["x", "F1"], ["1.5", "0.5"]], None),
        ([["x"], ["1"]], None),
        ([["Class", "Correct", "Total", "Acc"], ["a", "5", "10", "0.5"]], (0, (), (3,), (2,), 1)),
        ([["Class", "Acc", "Time"], ["a", "0.5", "3"]], (0, (), (1,), (), None)),
        ([["Class", "Acc", "std"], ["a", "0.5", "0.1"]], (0, (), (1,), (), None)),
        ([["Class", "Acc", "gain"], ["a", "0.5", "+0.1"]], (0, (), (1,), (), None)),
        ([["Class", "CNN", "area"], ["a", "0.5", "101"]], (0, (), (1,), (), None)),
        ([["Class", "CNN", "area"], ["a", "0.5", "100"]], (0, (), (1, 2), (), None)),
        ([["Class", "Train", "Test", "CNN"], ["a", "150", "101", "90"]], (0, (), (3,), (2,), None)),
        ([["Class", "Acc", "Note"], ["a", "0.5", "x"]], (0, (), (1,), (), None)),
        ([["Class", "Note", "F1"], ["a", "1", "0.5"], ["b", "x", "0.6"], ["c", "y", "0.7"]], (0, (1,), (2,), (), None)),
        ([["Class", "F1", "Note"], ["a", "0.5", "1"], ["b", "x", "y"]], (0, (), (1,), (), None)),
        ([["Class", "F1", "AP"], ["a", "", "0.5"], ["b", "", "0.6"]], (0, (1,), (2,), (), None)),
        ([["F1", "Class", "AP"], ["0.5", "1", "0.6"]], (1, (), (0, 2), (), None)),
        ([["F1", "AP", "Class"], ["0.5", "0.6", "1"]], None),
        ([["Class", "Name", "F1"], ["1", "sea", "0.5"]], (0, (), (2,), (), None)),
        ([["x", "y", "F1"], ["a", "b", "0.5"]], (1, (0,), (2,), (), None)),
        ([["#", "F1", "x"], ["1", "0.5", "a"]], (2, (), (1,), (), None)),
        ([["x", "#", "CNN"], ["a", "1", "0.5"]], (0, (), (1, 2), (), None)),
        ([["Target", "x", "F1"], ["a", "b", "0.5"]], (1, (), (2,), (), None)),
        ([["No.", "x", "F1"], ["1", "b", "0.5"]], (1, (), (2,), (), None)),
        ([["x", "F1", "#"], ["a", "0.5", "3"]], (0, (), (1,), (), None)),
        ([["Class", "Acc", "Loss", "Epochs"], ["a", "0.5", "0.1", "3"]], (0, (), (1,), (), None)),
        ([["Class", "CNN", "Params"], ["a", "0.5", "3"]], (0, (), (1, 2), (), None)),
        ([["Class", "Test", "F1"], ["a", "100", "0.5"]], (0, (), (1, 2), (), None)),
        ([["Class", "Test", "CNN"], ["a", "100", "0.5"]], (0, (), (1, 2), (), None)),
        ([["Class", "Samples", "F1"], ["accuracy", "0.7", "0.6"], ["a", "7", "0.5"]], (0, (), (2,), (1,), None)),
        ([["Class", "Samples", "F1"], ["a", "3/7", "0.5"]], (0, (), (2,), (1,), None)),
        ([["Class", "Samples", "F1"], ["mean", "7", "0.5"], ["accuracy", "", "0.6"]], (0, (), (2,), (1,), None)),
    ],
)
def test_the_columns_of_a_grid_are_sorted_by_what_they_hold(rows: list[list[str]], expected: Any) -> None:
    columns = roles.columns_of(rows_of(*rows, header=1))
    if columns is None:
        assert expected is None
    else:
        values = tuple(index for index, _ in columns.values)
        assert (columns.label, columns.groups, values, columns.sizes, columns.correct) == expected


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([["Class", "F1"], ["a", "0.5"]], "classes"),
        ([["Epoch", "F1"], ["1", "0.5"]], "epochs"),
        ([["x", "Value"], ["Accuracy", "0.5"], ["F1", "0.4"]], "metrics"),
        ([["Class", "a"], ["Accuracy", "0.5"], ["", "0.3"], ["F1", "0.4"]], "metrics"),
        ([["Class", "a"], ["Accuracy", "0.5"], ["sea", "0.3"], ["F1", "0.4"]], "classes"),
        ([["x", "a"], ["Accuracy", "0.5"], ["sea", "0.3"], ["F1", "0.4"]], "metrics"),
        ([["x", "a"], ["Accuracy", "0.5"], ["sea", "0.3"]], "unknown"),
        ([["x", "a"], ["Accuracy", "0.5"], ["", "0.3"]], "metrics"),
        ([["x", "F1", "Recall"], ["Accuracy", "0.5", "0.4"], ["Precision", "0.3", "0.2"]], "unknown"),
        ([["x", "F1", "b"], ["Accuracy", "0.5", "0.4"], ["Precision", "0.3", "0.2"]], "metrics"),
        ([["x", "Accuracy", "mAP"], ["Recall", "0.5", "0.4"], ["Precision", "0.3", "0.2"]], "metrics"),
        ([["Class", "F1"], ["fold 1", "0.5"]], "networks"),
        ([["Model", "F1"], ["sea", "0.5"]], "networks"),
        ([["Model class", "F1"], ["sea", "0.5"]], "networks"),
        ([["Method", "x", "F1"], ["m", "sea", "0.5"]], "networks"),
        ([["x", "F1"], ["ResNet50", "0.5"], ["sea", "0.4"], ["VGG16", "0.3"]], "networks"),
        ([["x", "F1"], ["ResNet50", "0.5"], ["sea", "0.4"]], "unknown"),
    ],
)
def test_rows_are_what_their_heading_and_their_names_say(rows: list[list[str]], kind: str) -> None:
    table = rows_of(*rows, header=1)
    columns = roles.columns_of(table)
    assert columns is not None
    assert roles.kind_of(table, columns) == kind


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            f"Acuracy for class 1{' ' * 78}: 0.9",
            f"no printed result was understood; line 1, 'Acuracy for class 1{' ' * 61}'",
        ),
        ("", "no printed result was understood; .*lines such as"),
        ("Accuracy ~ 95", "no printed result was understood; .*lines such as"),
        (
            "\nStd of accuracy: 4 %",
            "no printed result was understood; line 2, 'Std of accuracy: 4 %': looks like a measure",
        ),
    ],
)
def test_a_text_without_results_is_refused(text: str, error: str) -> None:
    with pytest.raises(ValueError, match=f"^{error}"):
        read(text)


def test_a_number_keeps_its_digits_and_its_sign() -> None:
    assert parse("83.50 %", 4) == Printed(text="83.50 %", line=4, digits=8350, decimals=4, percent=True)
    assert everything(read("Accuracy of sea: 83.50 %"))[-1] == "  1 sea accuracy 83.50 % (Accuracy of sea)"


@pytest.mark.parametrize(
    ("lines", "skipped", "found"),
    [
        (["text", "class,acc", "a,0.5", "b,n/a", "", "Other:", "class,f1", "c,0.6"], (), [(2, 3, 4), (7, 8)]),
        (["class,acc", "a,0.5", "class,f1", "c,0.6"], (), [(1, 2), (3, 4)]),
        (["class,acc", "a,0.5"], (1,), []),
        (["class,acc", "a,0.5"], (2,), []),
        (["class,acc", "a,0.5", "b,0.6"], (3,), [(1, 2)]),
        (["class;acc", "a;0,5"], (), [(1, 2)]),
        (["class,acc"], (), []),
        ([",recall,f1,x", "0,0.5,0.6,3"], (), [(1, 2)]),
    ],
)
@pytest.mark.parametrize("spaces", [False, True])
def test_tables_begin_at_their_headers_and_leave_out_what_others_have_read(
    lines: list[str], skipped: tuple[int, ...], found: list[tuple[int, ...]], spaces: bool
) -> None:
    if spaces:
        lines = [line.replace(",", "  ").replace(";", "  ") for line in lines]
    reader = text_tables.aligned_grids if spaces else markup.delimited_grids
    grids = list(reader(lines, frozenset(skipped)))
    assert [tuple(row.lines[0] for row in each.rows) for each in grids] == found
    assert all(each.header == 1 for each in grids)
    assert {each.reader for each in grids} <= {"aligned table" if spaces else "delimited table"}
    if len(lines) == 8:
        assert [each.title for each in grids] == ["text", "Other"]


@pytest.mark.parametrize(
    ("text", "shown", "counted", "spread", "size"),
    [
        ("0.83", "0.83", None, None, None),
        ("83 % ± 0.5", "83 %", None, "0.5", None),
        ("83 (0.5)", "83", None, "0.5", None),
        ("83 (5)", "83", None, None, None),
        ("83 (50.0)", "83", None, "50.0", None),
        ("83 (50.5)", "83", None, None, None),
        ("83 (std: 5,2)", "83", None, "5,2", None),
        ("83 (+0.5)", "83", None, None, None),
        ("83 (n=300)", "83", None, None, 300),
        ("83 (249/300)", "83", (249, 300), None, None),
        ("249/300 (83 %)", "83 %", (249, 300), None, None),
        ("249 of 300", None, (249, 300), None, None),
    ],
)
def test_what_stands_beside_a_value_is_its_count_its_spread_or_a_size(
    text: str, shown: str | None, counted: tuple[int, int] | None, spread: str | None, size: int | None
) -> None:
    cell = parse_measured(text, 7)
    assert cell is not None
    assert (cell.printed and cell.printed.text, cell.count, cell.images) == (shown, counted, size)
    assert (cell.spread and cell.spread.text) == spread
    assert all(each is None or each.line == 7 for each in (cell.printed, cell.spread))


def test_numbers_that_are_no_values_and_numbers_of_images() -> None:
    assert [parse_measured(text, 1) for text in ("+0.5", "-01", "007", "a", "0.5 (a) b")] == [None] * 5
    assert [count(text) for text in ("2,421", "2.421", "2.000", "365.0", "0.5", "12a")] == [
        2421,
        2421,
        2,
        365,
        None,
        None,
    ]
    assert [parse_ratio(text) for text in ("1/2", "1 out of 2,000", "1 of", "0.5/2")] == [(1, 2), (1, 2000), None, None]
    far = " " * 388
    assert [images(text) for text in ("n=30", "7 test images", "7", f"{far}  30 images x", f"{far}    30 images")] == [
        30,
        7,
        None,
        30,
        None,
    ]
    plain = parse("83.5", 2)
    assert to_percent(plain) == Printed(text="83.5", line=2, digits=835, decimals=3, percent=True)
    assert to_percent(to_percent(plain)) == to_percent(plain)
    powers = [(parse(text, 1).digits, parse(text, 1).decimals) for text in ("9.9e-01", "1.25e1", "5e2", "1.5E+2", ".5")]
    assert powers == [(99, 2), (125, 1), (500, 0), (150, 0), (5, 1)]


def test_text_behind_comment_marks_keeps_its_columns() -> None:
    lines = ["# Class Acc", "  # bay 0.4", "# ice   0.3", "no comment 5"]
    assert blank_comment_marks(lines) == ("  Class Acc", "    bay 0.4", "  ice   0.3", "no comment 5")


def test_three_lines_with_a_loss_are_a_log() -> None:
    lines = ["loss 0.5", "text", "loss: 0.4", "the loss", "loss = 1"]
    assert find_running(lines) == {1, 3, 5}
    assert find_running(lines[:4]) == frozenset()
    assert find_running([" " * 1989 + "epoch 1", " " * 1994 + "epoch 1"]) == {1}


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("5-fold splits", 5),
        ("ten folds", 10),
        ("two-fold", 2),
        ("k = 7 folds", 7),
        ("mean over 3 seeds", 3),
        ("averaged over the four runs", 4),
        ("mean of 3 apples", None),
        (" " * 1994 + "5 fold", 5),
        (" " * 1995 + "5 folds", None),
        ("fold 1", None),
        ("fold 1\nfold 2\nfold 3", 3),
        ("fold 0\nfold 1\nfold 2", 3),
        ("fold 1\nfold 2", 2),
        ("fold 2\nfold 2", None),
    ],
)
def test_folds_are_those_that_a_sentence_or_numbered_lines_tell(line: str, number: int | None) -> None:
    assert find_folds(line.split("\n")) == number


@pytest.mark.parametrize(
    ("lines", "skipped", "found"),
    [
        (["|a|b|", "|---|---|", "|c|1|"], (), [(1, [("a", "b"), ("c", "1")])]),
        (["text", "a|b", "---|---", "c|1", "text"], (), [(1, [("a", "b"), ("c", "1")])]),
        (["|a|b|", "|---|---|"], (), []),
        (["|---|---|", "|---|---|", "|---|---|"], (), []),
        (["+---+", "| a | b |", "+---+", "| c | 1 |", "+---+"], (), [(1, [("a", "b"), ("c", "1")])]),
        (["|a|b|", "|c|1|", "|d|2|"], (), []),
        (["|---|---|", "|a|b|", "|c|1|"], (), []),
        (["|a|b|", "|---|---|", "|c|1|"], (1,), []),
        (["|a|b|", "|---|---|", "|c|1|", "|d|2|"], (4,), [(1, [("a", "b"), ("c", "1")])]),
        (
            ["|a|b|", "|---|---|", "|c|1|", "|d|e|", "|---|---|", "|f|2|"],
            (),
            [(1, [("a", "b"), ("c", "1")]), (1, [("d", "e"), ("f", "2")])],
        ),
        (
            ["+---+---+", "| a | b |", "+===+===+", "| c | 1 |", "+---+---+", "| d | 2 |", "+---+---+"],
            (),
            [(1, [("a", "b"), ("c", "1"), ("d", "2")])],
        ),
        (
            ["+-+", "|a|b|", "+-+", "|c|", "|d|", "+-+", "|e|2|", "+-+"],
            (),
            [(1, [("a", "b"), ("c d", ""), ("e", "2")])],
        ),
        (["> │ a\\|b │ c │", "├───┼───┤", "│ d │ 1 │"], (), [(1, [("a|b", "c"), ("d", "1")])]),
        (["Network | B", "Class | F1", "---|---", "c | 1"], (), [(2, [("Network", "B"), ("Class", "F1"), ("c", "1")])]),
    ],
)
def test_tables_of_bars_have_a_line_below_their_header(
    lines: list[str], skipped: tuple[int, ...], found: list[Any]
) -> None:
    made = list(markup.markdown_grids(lines, frozenset(skipped)))
    if found and found[0][0] == 2:
        # Two header rows are one.
        assert [(each.header, each.names) for each in made] == [(1, ("Network Class", "B F1"))]
    else:
        assert [(each.header, [row.cells for row in each.rows]) for each in made] == found
    assert all(lines[number - 1].count(row.cells[-1]) for each in made for row in each.body for number in row.lines)


def test_latex_is_read_from_the_columns_to_the_end() -> None:
    text = r"""text
\begin{tabular}[t]{l|p{2cm}} Class & \multicolumn{2}{c}{Net \& more} & F1 \\ \hline
\multirow{2}{*}{a} & 0.1 &
0.2 & {\bf 0.3}\\[2pt] % & 0.9
 & 0.4\% & $0.5 \pm 0.1$ & \textbf{\emph{0.6}} \tabularnewline
\multirow{-3}{*}{b} & 1 & 2 & 3 \\
& 4 & 5 & 6 \\
& 7 & 8 & 9 \\
& 10 & 11 & 12
\end{tabular}
\caption[short]{The \textbf{caption}.} after"""
    (made,) = latex_html.latex_grids(text.split("\n"), frozenset())
    assert made.title == "The caption ."
    assert [(row.lines[0], row.cells) for row in made.rows] == [
        (2, ("Class", "Net & more", "", "F1")),
        (4, ("a", "0.1", "0.2", "0.3")),
        (5, ("a", "0.4%", "0.5 ± 0.1", "0.6")),
        (6, ("b", "1", "2", "3")),
        (7, ("b", "4", "5", "6")),
        (8, ("b", "7", "8", "9")),
        (10, ("", "10", "11", "12")),
    ]
    assert list(latex_html.latex_grids(text.split("\n"), frozenset({2}))) == []
    assert list(latex_html.latex_grids(text.split("\n")[:9], frozenset())) == []


@pytest.mark.parametrize(
    ("lines", "skipped", "found"),
    [
        (["Of all", "[[1 2]", " [3 4]]"], (), [(2, 3, "Of all", "0 1", "1 2; 3 4")]),
        (["[[1 2] [3 4]]", "[[5 6] [7 8]]"], (2,), [(1, 1, "", "0 1", "1 2; 3 4")]),
        (["[[1, 2], [3, 4]]"], (), []),
        (["x = [[1, 2],", "[3, 4],", "", "[5, 6]]"], (), []),
        (["[[1, 2],", "text", "[3, 4]]"], (), []),
        (["array([[1, 2],", "       [3, 4]])", "end"], (), [(1, 2, "", "0 1", "1 2; 3 4")]),
        (["  sea ice", "sea 1 2", "ice 3 4"], (), [(1, 3, "", "sea ice", "1 2; 3 4")]),
        (["  sea ice", "sea 1 2", "bay 3 4"], (), []),
        (["  sea ice", "sea 1 2"], (), []),
        (["  sea ice", "sea 1 2 3", "ice 3 4 7"], (), []),
        (["  sea ice all", "sea 1 2 3", "ice 3 4 7"], (), [(1, 4, "", "sea ice", "1 2; 3 4")]),
        (["  0 1", "0 5 6", "1 7 8"], (), [(1, 3, "", "0 1", "5 6; 7 8")]),
        (["  1 2", "1 5 6", "2 7 8"], (), [(1, 3, "", "1 2", "5 6; 7 8")]),
        (["  3 4", "3 5 6", "4 7 8"], (), []),
        (["Prediction sea ice", "sea 1 2", "ice 3 4"], (), [(1, 3, "", "sea ice", "1 3; 2 4")]),
        (["Confusion", "", "1 2", "3 4", "5 6"], (), [(3, 4, "Confusion", "0 1", "1 2; 3 4")]),
        (["Confusion", "1 2"], (), []),
        (["Confusion", "", "", "", "1 2", "3 4"], (), []),
        (["Something", "1 2", "3 4"], (), []),
        (["a b <-- classified as", "1 2 | a = sea", "3 4 | b = ice"], (), [(1, 3, "", "sea ice", "1 2; 3 4")]),
        (["abcd efgh <--", "1 2 | abcd = sea", "3 4 | efgh = ice"], (), [(1, 3, "", "sea ice", "1 2; 3 4")]),
        (["a b <-- classified as", "1 2 | a = sea"], (), []),
        (["a b <-- classified as", "1 2 | a = sea", "3 | b = ice", "text"], (), []),
        (["  sea ice", "sea 0.5 0.9", "ice 0.1 0.7"], (), []),
        (["[[1 2] [class: sea]", "[3 4]]"], (), [(1, 2, "", "0 1", "1 2; 3 4")]),
        (["confusion = [[1 2],", "[3 4],", "]]"], (), [(1, 3, "", "0 1", "1 2; 3 4")]),
        (["a b", "1 2 | a = sea", "3 4 | b = ice"], (), [(1, 3, "", "sea ice", "1 2; 3 4")]),
        (["Prediction sea ice", "sea 0.5 0.9", "ice 0.1 0.7"], (), []),
        (["Confusion", "1 2.5", "3 4"], (), []),
        (["Confusion", "x 2", "3 4"], (), []),
        (["Confusion", "1 0 1", "2 1 0"], (), []),
        (["Confusion", "text", "1 2", "3 4"], (), []),
        (["[[1 2]", "[3 4]"], (), []),
        (["[[1 2]", "[3 4]", "[5 6]]"], (), []),
        (["[[1 2] x [[3 4]]"], (), [(1, 1, "", "0 1", "1 2; 3 4")]),
        (["x[0] = [[1 2] [3 4]]"], (), [(1, 1, "", "0 1", "1 2; 3 4")]),
        (["Matrix", "", "", "[[.5 .5 0] [.9 0 0] [0 .3 .7]]"], (), [(4, 4, "", "0 1 2", ".5 .5 0; .9 0 0; 0 .3 .7")]),
        (["[[.5 .5 0] [.9 0 0] [.1 .3 .7]]"], (), []),
        (["Matrix: [[.5 .5 0] [.9 0 0] [0 .3 .7]]"], (), [(1, 1, "", "0 1 2", ".5 .5 0; .9 0 0; 0 .3 .7")]),
        ([f"[[1 2]{' ' * 199_988}[3 4]]"], (), [(1, 1, "", "0 1", "1 2; 3 4")]),
        ([f"[[1 2]{' ' * 199_989}[3 4]]"], (), []),
        (["Actual", "  sea ice total", "true", "sea 1 2 3", "ice 3 4 7"], (), [(2, 6, "", "sea ice", "1 2; 3 4")]),
        (
            [f"Examples labeled as {a} classified by model as b: 7 times" for a in "ab"],
            (),
            [(1, 2, "", "a b", "0 7; 0 7")],
        ),
        (["[[1 2] 50% [class: sea]", "[3 4]] [class: ice]"], (), [(1, 2, "", "sea ice", "1 2; 3 4")]),
        (["TN: 1  FP: 2  FN: 3  TP: 4"], (), [(1, 1, "", "negative positive", "1 2; 3 4")]),
        (["TN: 1  FP: 2  FN: 3  TN: 5  TP: 4"], (), []),
    ],
)
def test_matrices_are_found_in_each_form(lines: list[str], skipped: tuple[int, ...], found: list[Any]) -> None:
    result = matrices.read_matrices(lines, frozenset(skipped))
    made = []
    for piece in result.pieces:
        matrix = piece.table.matrix
        assert matrix is not None
        rows = "; ".join(" ".join(cell.text for cell in row) for row in matrix.rows)
        name = "" if piece.table.name == f"the confusion matrix from line {piece.first}" else piece.table.name
        made.append((piece.first, piece.last, name, " ".join(matrix.classes), rows))
    assert made == found
    assert result.lines == {line for first, last, *_ in found for line in range(first, last + 1)}


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("Accuracy of sea", Subject(measure=M.ACCURACY, class_name="sea")),
        ("Accuracy of class 3", Subject(measure=M.ACCURACY, class_name="3")),
        ("sea accuracy", Subject(measure=M.ACCURACY, class_name="sea", clear=False)),
        ("class sea accuracy", Subject(measure=M.ACCURACY, class_name="sea")),
        ("Test accuracy of sea", Subject(measure=M.ACCURACY, class_name="sea", image_set="test")),
        ("Accuracy of sea ice on the test set", Subject(measure=M.ACCURACY, class_name="sea ice", image_set="test")),
        ("Accuracy of train", Subject(measure=M.ACCURACY, class_name="train", clear=False)),
        ("train AP", Subject(measure=M.AVERAGE_PRECISION, class_name="train", clear=False)),
        ("Accuracy of the 30 test images", Subject(measure=M.ACCURACY, average=A.OVERALL, image_set="test", images=30)),
        ("Accuracy of ResNet", Subject(measure=M.ACCURACY, average=A.OVERALL, network="ResNet")),
        ("Accuracy of our model in %", Subject(measure=M.ACCURACY, average=A.OVERALL)),
        ("ResNet accuracy", Subject(measure=M.ACCURACY, average=A.OVERALL, network="ResNet")),
        ("Best accuracy", Subject(measure=M.ACCURACY, average=A.OVERALL, best=True)),
        ("Mean accuracy of sea and ice", Subject(measure=M.ACCURACY, average=A.UNNAMED, network="sea and ice")),
        ("AP of all classes", Subject(measure=M.AVERAGE_PRECISION, average=A.MACRO)),
        ("Accuracy of all 6 classes", Subject(measure=M.ACCURACY, average=A.UNNAMED)),
        ("Class accuracy", Subject(measure=M.ACCURACY, average=A.UNNAMED)),
        ("mAP@0.5", Subject(measure=M.AVERAGE_PRECISION, average=A.MACRO, threshold="50")),
        ("F1 (macro)", Subject(measure=M.F1, average=A.MACRO)),
        ("Precision", Subject(measure=M.PRECISION)),
        ("Loss", Subject(measure=M.OTHER, threshold="loss")),
        ("Accuracy gain", None),
        ("sea (accuracy)", Subject(measure=M.ACCURACY, class_name="sea", clear=False)),
        ("sea kappa", Subject(measure=M.KAPPA, network="sea")),
        ("class sea kappa", Subject(measure=M.KAPPA, class_name="sea")),
        ("CNN accuracy of sea", Subject(measure=M.ACCURACY, average=A.OVERALL, network="CNN accuracy of sea")),
        ("Best accuracy of sea", Subject(measure=M.ACCURACY, class_name="sea")),
        ("sea, ice accuracy", None),
        ("sea", None),
    ],
)
def test_a_label_tells_all_of_its_subject(label: str, expected: Subject | None) -> None:
    assert parse_subject(label) == expected


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("sea", Subject(measure=M.RECALL, class_name="sea")),
        ("class 3", Subject(measure=M.RECALL, class_name="3")),
        ("Mean", Subject(measure=M.RECALL, average=A.UNNAMED)),
        ("Test set (n=30)", Subject(measure=M.RECALL, class_name="Test set (n=30)")),
        ("30 test images", Subject(measure=M.RECALL, class_name="30 test images")),
        ("Test set", Subject(measure=M.RECALL, average=A.OVERALL, image_set="test")),
    ],
)
def test_below_a_heading_a_name_alone_is_a_subject(label: str, expected: Subject) -> None:
    assert parse_subject(label, M.RECALL) == expected
    assert parse_pure(label) is None


TOML = """
[[table]]
name = "one"
image_set = "test"
total = 30
overall_accuracy = "0.88"
mean_accuracy = "0.85"
[table.accuracy]
dune = "0.8"
bay = "0.90"
[table.sizes]
dune = 10
bay = 20

[[table]]
average_precision = ["71.5 %", "72.5 %"]
mean_average_precision = "72.0 %"
f1 = ["50", "60"]
"""


def test_sections_of_toml_are_tables() -> None:
    one, two = read_toml(TOML)
    assert (one.first, one.last, one.reader, two.first, two.last) == (6, 10, "sheet", 16, 18)
    assert (one.table.name, one.table.image_set, one.table.total) == ("one", "test", 30)
    assert one.table.sizes == {"dune": 10, "bay": 20}
    assert (two.table.name, two.table.image_set, two.table.total, two.table.sizes) == ("table 2", None, None, {})
    told = [
        (
            each.class_name or each.average,
            each.measure,
            each.printed.text,
            each.printed.line,
            each.printed.percent,
            each.label,
        )
        for piece in (one, two)
        for each in piece.table.values
    ]
    assert told == [
        ("dune", "accuracy", "0.8", 9, False, "accuracy dune"),
        ("bay", "accuracy", "0.90", 10, False, "accuracy bay"),
        ("macro", "accuracy", "0.85", 7, False, "accuracy macro"),
        ("overall", "accuracy", "0.88", 6, False, "accuracy overall"),
        ("1", "average precision", "71.5 %", 16, True, "average precision 1"),
        ("2", "average precision", "72.5 %", 16, True, "average precision 2"),
        ("macro", "average precision", "72.0 %", 17, True, "average precision macro"),
        ("1", "F1", "50", 18, True, "F1 1"),
        ("2", "F1", "60", 18, True, "F1 2"),
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a = ", "not valid TOML: "),
        ("table = 3", r"unknown TOML keys table; .*\[\[table\]\]"),
        ("table = [3]", "unknown TOML keys table;"),
        ("a = 1\n[[table]]", r"unknown TOML keys \['a'\];"),
        ("[[table]]\nb = 1\na = 1", "table 1: unknown key a, b; .* name, image_set, .*sizes, .*total,"),
        ("[[table]]\naccuracy = 3", "table 1: accuracy is 3; .* strings"),
        ("[[table]]\n[table.accuracy]\n' ' = '1'", "table 1: accuracy has an empty class name"),
        ("[[table]]\naccuracy = [0.5]", "table 1: accuracy 0.5 .*string"),
        ("[[table]]\naccuracy = [1]", "table 1: accuracy 1 .*string"),
        ("[[table]]\naccuracy = ['x']", r"table 1: accuracy 'x' .*0\.9882 .*98\.82 %"),
        ("[[table]]\naccuracy = ['1/2']", "table 1: accuracy '1/2' .*number"),
        ("[[table]]\ntotal = true", "table 1: total is True; .*whole number"),
        ("[[table]]\ntotal = -1", "table 1: total is -1; .*whole number"),
        ("[[table]]\n[table.sizes]\na = 'x'", "table 1: size of class a is 'x'; .*whole number"),
    ],
)
def test_other_toml_is_refused(text: str, error: str) -> None:
    with pytest.raises(ValueError, match=f"^{error}"):
        read_toml(text)


def test_toml_by_measure_is_read_with_the_lines_of_its_numbers() -> None:
    (piece,) = read_toml("[recall]\nsea = 0.50\nice = 1\n")
    assert piece.reader == "TOML"
    assert [(each.class_name, each.printed.text, each.printed.line) for each in piece.table.values] == [
        ("sea", "0.50", 2),
        ("ice", "1", 3),
    ]
    (listed,) = read_toml("name = 'x'\nrecall = [0.50,\n 0.40, 1_0]\nflag = true\nday = 2020-01-01\n")
    assert [(each.class_name, each.printed.text, each.printed.line) for each in listed.table.values] == [
        ("0", "0.50", 2),
        ("1", "0.40", 3),
        ("2", "10", 1),
    ]
    (longer,) = read_toml("[recall]\nsea = 0.95\nice = 0.9\nfog = 5\n")
    assert [each.printed.line for each in longer.table.values] == [2, 3, 4]
    (quoted,) = read_toml("[[table]]\nrecall = ['0.5']\n")
    assert quoted.first == 2
    (empty,) = read_toml("[[table]]\ntotal = 0\n")
    assert (empty.first, empty.last, empty.table.total, empty.table.values) == (1, 1, 0, ())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Test accuracy (%)", (M.ACCURACY, None, "test", True, "", False, "")),
        ("val mAP50-95", (M.AVERAGE_PRECISION, A.MACRO, "val", False, "50:95", False, "")),
        ("AP@.5 sea", (M.AVERAGE_PRECISION, None, None, False, "50", False, "sea")),
        ("weighted mAP", (M.AVERAGE_PRECISION, A.WEIGHTED, None, False, "", False, "")),
        ("avg / total", (None, A.UNNAMED, None, False, "", False, "")),
        ("mean F1", (M.F1, A.UNNAMED, None, False, "", False, "")),
        ("samples avg", (None, None, None, False, "", True, "")),
        ("P", (M.PRECISION, None, None, False, "", False, "")),
        ("Recall of Sea (big)", (M.RECALL, None, None, False, "", False, "Sea (big)")),
        ("**Recall** _sea_", (M.RECALL, None, None, False, "", False, "sea")),
        ("*Recall*", (M.RECALL, None, None, False, "", False, "")),
        ("\u0130stanbul accuracy", (M.ACCURACY, None, None, False, "", False, "\u0130stanbul")),
        (
            "Recall of big old Sea (a part) of it",
            (M.RECALL, None, None, False, "", False, "big old Sea (a part) of it"),
        ),
        ("Recall of old Sea (of a big part)", (M.RECALL, None, None, False, "", False, "old Sea (of a big part)")),
        ("accuracy of \u0130stanbul coast", (M.ACCURACY, None, None, False, "", False, "\u0130stanbul coast")),
        ("AP@0.75", (M.AVERAGE_PRECISION, None, None, False, "75", False, "")),
    ],
)
def test_a_heading_is_taken_apart(text: str, told: tuple[Any, ...]) -> None:
    of = heading(text)
    assert (of.measure, of.average, of.image_set, of.percent, of.threshold, of.samples, of.rest) == told
    assert of.summary == (not of.rest and (of.average is not None or of.samples))


def test_of_long_headings_and_cells_the_beginning_counts() -> None:
    assert (len(heading("x" * 300).text), len(strip_marks("x" * 3000))) == (200, 2000)
    assert strip_marks("**bold** and\u00a0[link](a.html)<br>*x*") == "bold and link *x*"
    assert [strip_marks(text) for text in ("*sea*", "_sea ice_", "__sea__")] == ["sea", "sea ice", "sea"]
    assert [parse_pure(text) for text in ("weighted F1", "macro F1", "F1 of sea", "F1")] == [None, M.F1, None, M.F1]


@pytest.mark.parametrize("between", range(5))
def test_names_are_read_up_to_two_lines_of_words_below_their_heading(between: int) -> None:
    lines = ["Accuracy of each class:", *["some words"] * between, "dune: 83 %"]
    values, unread = read_labels(lines, frozenset())
    assert [(value.subject.class_name, value.line) for value in values] == [("dune", between + 2)] * (between < 3)
    assert unread == []
    assert read_labels(lines, frozenset({1}))[0] == []


@pytest.mark.parametrize(("above", "below", "title"), [(8, 0, "T"), (9, 0, ""), (0, 5, "T"), (0, 6, "")])
def test_a_caption_of_latex_stands_near_its_table_alone(above: int, below: int, title: str) -> None:
    table = [r"\begin{tabular}{ll}", r"Class & F1 \\", r"sea & 0.5 \\", r"\end{tabular}"]
    caption = r"\caption{T}"
    if above:
        lines = [caption, *["x"] * (above - 1), *table]
    else:
        lines = [*table, *["x"] * (below - 1), caption, r"other & row \\"]
    (made,) = latex_html.latex_grids(lines, frozenset())
    assert made.title == title
    assert [row.cells for row in made.rows] == [("Class", "F1"), ("sea", "0.5")]
    assert list(latex_html.latex_grids([table[0], table[3]], frozenset())) == []


def latex_rows(*body: str) -> list[tuple[str, ...]]:
    """Return the cells of each row of a LaTeX table with these lines; empty if no table is found."""
    lines = [r"\begin{tabular}{ll}", *body, r"\end{tabular}"]
    return [row.cells for made in latex_html.latex_grids(lines, frozenset()) for row in made.rows]


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        ([r"sea & \textbf{\emph{\bm{\text{\mathbf{\mathrm{\textit{0.5}}}}}}} \\"], [("sea", "0.5")]),
        ([f"sea {' ' * 19_990}& 1 \\\\", r"& 2 \\"], [("sea", "1"), ("", "2")]),
        ([f"sea {' ' * 19_991}& 1 \\\\", r"& 2 \\"], [("sea", "1 \\", "2")]),
        (["ab" + "x" * 9_998, "y" * 10_000, r"& 1 \\"], [("b" + "x" * 1_999, "1")]),
        ([r"\end{x}"] * 99 + [r"sea & 1 \\"], [(r"\end x " * 98 + r"\end x sea", "1")]),
        ([r"\end{x}"] * 100 + [r"sea & 1 \\"], []),
        ([r"sea & 1 \\"] * 110, [("sea", "1")] * 110),
    ],
)
def test_latex_is_read_up_to_its_bounds(body: list[str], rows: list[tuple[str, ...]]) -> None:
    assert latex_rows(*body) == rows


def test_captions_of_latex_and_label_lines_are_read_up_to_their_bounds() -> None:
    table = [r"\begin{tabular}{l}", r"sea & 1 \\", r"\end{tabular}"]
    (made,) = latex_html.latex_grids([rf"\caption{{{'x' * 170}}}", *table], frozenset())
    assert made.title == "x" * 160
    for length, found in ((2000, 1), (2001, 0)):
        values, _ = read_labels(["Accuracy of sea: 0.5".ljust(length)], frozenset())
        assert len(values) == found


def test_a_grid_without_values_is_left_to_other_readers_and_none_is_turned_twice() -> None:
    assert grids.read_grid(rows_of(["Class", "Note"], ["a", "x"], header=1)) == Result()
    both = grids.read_grid(
        rows_of(["x", "Accuracy", "mAP"], ["Accuracy", "0.5", "0.4"], ["OA", "0.3", "0.2"], header=1)
    )
    assert len(both.pieces) == 2


def test_lists_that_others_have_read_and_lines_of_data_are_no_lists() -> None:
    text = "Per-class F1: [0.5, 0.6]"
    assert [len(read_listed([text, text], frozenset(skipped)).pieces) for skipped in ((), (1,), (1, 2))] == [2, 1, 0]
    sections = ["F1: 0.5", "recall: 0.4", "Class: ice", "F1: 0.3", "recall: 0.2"]
    for length, found in ((2000, 1), (2001, 0)):
        assert len(read_listed([text.ljust(length)], frozenset()).pieces) == found
        assert len(list(section_grids(["Class: sea".ljust(length), *sections], frozenset()))) == found
