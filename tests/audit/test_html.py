"""The HTML page of an audit: marked values, findings beside them, and hostile names that have no effect."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import pytest

from in4310repro.audit import html
from in4310repro.audit.document import Average, Document, Measure, Printed, Table, Unread, Value
from in4310repro.audit.html import find_places, make_passages, mark_lines
from in4310repro.audit.verdicts import Audit, Counted, Detection, Finding, ImageSet, MeanCheck, Options, Power, Rank

HOSTILE = '<img src=x onerror="alert(1)">'
CLOSING = "</span></script><script>alert(2)</script>"


def printed(text: str, line: int) -> Printed:
    whole, _, decimals = text.rstrip(" %").partition(".")
    percent = text.endswith("%")
    return Printed(
        text=text, line=line, digits=int(whole + decimals), decimals=len(decimals) + 2 * percent, percent=percent
    )


def value(name: str | None, text: str, line: int) -> Value:
    average = None if name else Average.MACRO
    return Value(measure=Measure.ACCURACY, printed=printed(text, line), class_name=name, average=average, label="Mean")


def made_up(names: tuple[str, str] = ("sea", "street")) -> Audit:
    """Return an audit of two classes with one finding of each severity (rank) and one line not understood."""
    first, second, mean = value(names[0], "0.50", 2), value(names[1], "0.50", 3), value(None, "0.75", 4)
    lines = (
        "# A report",
        f"Accuracy of {names[0]}: 0.50",
        f"Accuracy of {names[1]}: 0.50",
        "Mean: 0.75",
        "Accuracy of x - 0.2x",
        *["nothing"] * 20,
    )
    table = Table(name="Figure 1", values=(first, second, mean), sizes={names[0]: 10, names[1]: 20})
    unread = Unread(line=5, text=lines[4], why="no number")
    findings = (
        Finding(
            kind="mean",
            rank=Rank.IMPOSSIBLE,
            tables=("Figure 1",),
            message="the mean of the parts is 0.50",
            values=(mean, first),
            excluded=("weighted by images: 0.50",),
        ),
        Finding(
            kind="count",
            rank=Rank.UNLESS,
            tables=("Figure 1",),
            message="no count of 20 gives this",
            conditions=("truncated",),
            values=(second,),
        ),
        Finding(
            kind="level",
            rank=Rank.ODD,
            tables=("Figure 1",),
            message="high",
            values=(second,),
            probability="0.01",
            assumptions="independence",
        ),
    )
    return Audit(
        document=Document(source="report.md", lines=lines, tables=(table,), unread=(unread,), formats=("lines",)),
        options=Options(),
        findings=findings,
        sizes=(
            ImageSet(
                tables=("Figure 1",),
                smallest={names[0]: 2, names[1]: 2},
                taken={names[0]: 10, names[1]: 20},
                chance={names[0]: 0.0, names[1]: 0.0},
                origin="printed",
            ),
        ),
        counted=(
            Counted(
                name="Figure 1",
                sizes={names[0]: 10, names[1]: 20},
                correct={names[0]: range(5, 6), names[1]: range(10, 11)},
            ),
        ),
        means=(
            MeanCheck(
                table="Figure 1",
                measure=Measure.ACCURACY,
                value=mean,
                parts=(first, second),
                difference=Fraction(1, 4),
                allowed=Fraction(1, 100),
                agrees=False,
                reading="plain mean",
            ),
        ),
        power=Power(
            detections=(Detection(kind="two digits swapped", tried=50, impossible=30, as_read=4, unless=5),),
            seed=0,
            remark="two decimals tell little",
        ),
        remarks=("no average precision is printed",),
    )


class Elements(HTMLParser):
    """HTML parser that collects a page's elements with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def test_each_value_is_marked_by_its_worst_verdict_even_where_two_are_equal() -> None:
    pieces = [[piece for piece in line.pieces if piece.verdict] for line in mark_lines(made_up())]
    assert [(p.text, p.verdict, p.findings) for line in pieces for p in line] == [
        ("0.50", "impossible", (1,)),
        ("0.50", "impossible unless", (2, 3)),
        ("0.75", "impossible", (1,)),
    ]


def test_a_value_before_a_hard_space_is_marked() -> None:
    share = value("sea", "50 %", 1)
    document = Document(source="x", lines=("sea: 50\N{NO-BREAK SPACE}%",), tables=(Table(name="t", values=(share,)),))
    pieces = mark_lines(replace(made_up(), document=document))[0].pieces
    assert [(piece.text, piece.verdict) for piece in pieces] == [("sea: ", None), ("50 %", "consistent")]


def test_the_lines_of_the_page_are_the_lines_of_the_text() -> None:
    audit = made_up()
    lines = ["".join(piece.text for piece in line.pieces) for p in make_passages(audit) for line in p.lines]
    assert lines == list(audit.document.lines)


def test_long_runs_without_values_are_folded() -> None:
    assert [(len(passage.lines), passage.folded) for passage in make_passages(made_up())] == [(7, False), (18, True)]


def test_findings_link_to_lines_and_marks_link_to_findings() -> None:
    page = Elements(html.render(made_up()))
    targets = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    links = {str(attributes["href"])[1:] for tag, attributes in page.elements if tag == "a"}
    assert {"finding-1", "finding-2", "finding-3", "line-4"} <= links <= targets


def test_the_page_says_what_each_rank_means_and_shows_counts_sizes_averages_and_power() -> None:
    text = " ".join(Elements(html.render(made_up())).text.split())
    for part in (
        "1 impossible",
        "That is not an accusation.",
        "That proves nothing.",
        "10 of 20",
        "as printed, together 30",
        "+0.25",
        "two digits swapped 50 60 % 8 % 10 % 22 %",
        "no number",
        "weighted by images: 0.50",
    ):
        assert part in text


@pytest.mark.parametrize("name", [HOSTILE, CLOSING, "a\x00b", "'\"><svg onload=alert(3)>", "{{ 7 * 7 }}"])
def test_hostile_class_names_are_text(name: str) -> None:
    page = html.render(made_up((name, "street")))
    elements = Elements(page)
    assert {tag for tag, _ in elements.elements}.isdisjoint({"script", "img", "svg", "iframe", "link"})
    assert not any(key.startswith("on") for _, attributes in elements.elements for key in attributes)
    assert name.replace("\x00", "\N{REPLACEMENT CHARACTER}") in elements.text


def test_characters_that_reorder_text_are_shown_as_a_sign() -> None:
    page = html.render(made_up(("a\u202eb", "street")))
    assert "\u202e" not in page
    assert "a\N{REPLACEMENT CHARACTER}b" in page


def test_the_page_loads_nothing_and_forbids_scripts() -> None:
    page = html.render(made_up())
    assert "default-src 'none'" in page
    assert all(word not in page for word in ("http://", "https://", "<script", "url(", "@import"))


def test_an_audit_that_understood_nothing_says_so() -> None:
    empty = Audit(
        document=Document(source="x", lines=("hello",), tables=()),
        options=Options(),
        findings=(),
        sizes=(),
        counted=(),
        means=(),
        power=None,
        remarks=(),
    )
    assert "Nothing was understood" in html.render(empty)


def test_the_page_is_written_whole(tmp_path: Path) -> None:
    html.write(made_up(), tmp_path / "audit.html")
    assert (tmp_path / "audit.html").read_text(encoding="utf-8") == html.render(made_up())


def test_every_number_has_a_place_of_its_own_in_any_order_and_none_where_all_are_taken() -> None:
    numbers = [printed(text, 1) for text in ("0.7", "0.5", "0.7")]
    assert list(find_places("0.5 0.7", numbers)) == [(4, numbers[0]), (0, numbers[1])]
