"""Files: encodings, PDFs, paths that are not files, and texts that are not reports."""

import json
import os
import random
import time
from contextlib import suppress
from pathlib import Path

import pytest

from in4310repro.audit.readers import read, show
from tests.audit.readers.described import classes, only

TEXT = "Accuracy of Öland: 83 %\nAccuracy of 北: 91 %\n"
SHARED = Path(__file__).parents[1] / "printed"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_text_is_read_in_every_unicode_encoding(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "report.txt"
    file.write_bytes(TEXT.encode(encoding))
    assert list(classes(only(file))) == ["Öland", "北"]


def test_latin_1_is_the_last_resort(tmp_path: Path) -> None:
    file = tmp_path / "report.txt"
    file.write_bytes("Accuracy of Öland: 83 %".encode("latin-1"))
    assert list(classes(only(file))) == ["Öland"]


def test_line_ends_of_windows_and_progress_bars_keep_the_numbers_of_lines() -> None:
    document = read("start\r\n 10%|#   |\r100%|####|\r\nAccuracy of sea: 83 %\r\n")
    assert [value.printed.line for value in document.tables[0].values] == [3]
    assert document.lines[1] == "100%|####|"


def test_the_text_of_a_pdf_is_read(tmp_path: Path) -> None:
    pytest.importorskip("pypdf")
    file = tmp_path / "report.pdf"
    file.write_bytes(pdf_of(["Accuracy of dune: 83 %", "Accuracy of bay: 91 %"]))
    assert classes(only(file)) == {"dune": "83 %", "bay": "91 %"}


def test_a_damaged_pdf_is_one_error(tmp_path: Path) -> None:
    pytest.importorskip("pypdf")
    file = tmp_path / "report.pdf"
    file.write_bytes(b"%PDF-1.4 torn")
    with pytest.raises(ValueError, match="is a PDF that cannot be read"):
        read(file)


def test_a_pdf_of_pictures_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pypdf")
    file = tmp_path / "report.pdf"
    file.write_bytes(pdf_of([]))
    with pytest.raises(ValueError, match=r"report.pdf is a PDF without text: its pages are images; .*a PDF with text"):
        read(file)


def test_a_pdf_without_pypdf_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pypdf", None)
    file = tmp_path / "report.pdf"
    file.write_bytes(b"%PDF-1.4")
    with pytest.raises(ValueError, match=r"reading it needs pypdf: .*pip install pypdf$"):
        read(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b" \n\n ", "is empty"), (bytes(range(32)) * 99, "UTF-8"), (b"Hello.", "no printed result")],
)
def test_a_file_of_which_nothing_is_understood_is_one_error(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "report.txt"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message) as refusal:
        read(file)
    assert str(file) in str(refusal.value)


def test_a_worksheet_of_a_notebook_that_is_no_object_is_passed_over() -> None:
    cell = {"cell_type": "code", "input": "", "outputs": [{"output_type": "stream", "text": TEXT}]}
    notebook = {"metadata": {}, "nbformat": 3, "worksheets": ["torn", None, {"cells": [cell]}]}
    assert list(classes(only(json.dumps(notebook)))) == ["Öland", "北"]


@pytest.mark.parametrize("kind", ["markdown", "raw", "heading"])
def test_the_results_in_each_cell_of_text_of_a_notebook_are_read(kind: str) -> None:
    notebook = {"metadata": {}, "cells": [{"cell_type": kind, "source": TEXT}]}
    assert list(classes(only(json.dumps(notebook)))) == ["Öland", "北"]


def test_the_numbers_of_a_notebook_stand_in_its_lines_and_code_has_none() -> None:
    text = "| Class | Recall |\n|---|---|\n| dune | 0.83 ± 0.02 |\n| bay | 0.91 |\n| std | 0.04 |\nEpoch 1: loss 0.5"
    cells = [{"cell_type": "code", "source": "0.5 > 0.4", "outputs": [{"text": text}]}]
    document = read(json.dumps({"metadata": {}, "cells": cells}))
    (table,) = document.tables
    printed = [each for v in (*table.values, *table.asides) for each in (v.printed, v.spread) if each]
    assert [(each.line, each.text) for each in printed] == [(5, "0.83"), (5, "0.02"), (6, "0.91"), (7, "0.04")]
    assert [(each.line, each.kind) for each in document.context] == [(1, "name"), (2, "code"), (8, "running value")]


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, message in (("", "is a folder"), ("pipe", "is not a regular file"), ("none", "does not exist")):
        with pytest.raises(ValueError, match=message):
            read(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        " " * 10**6,
        "[" * 10**5,
        ("accuracy = " * 180 + "\n") * 50,
        "1" * 10**5,
        ("|" * 1990 + "\n") * 100,
        '{"a":' * 10**5,
    ],
    ids=["spaces", "brackets", "labels", "digits", "bars", "braces"],
)
def test_hostile_texts_take_no_time(text: str) -> None:
    start = time.process_time()
    with pytest.raises(ValueError, match="no printed result"):
        read(text)
    assert time.process_time() - start < 15


def test_an_object_on_one_long_line_is_read_in_a_moment() -> None:
    start = time.process_time()
    document = read(json.dumps({"accuracy": {f"class {number}": 0.5 for number in range(3000)}}))
    assert [len(classes(table)) for table in document.tables] == [3000]
    assert "is not searched" in document.unread[0].why
    assert time.process_time() - start < 3


def test_a_log_four_times_as_long_takes_about_four_times_as_long() -> None:
    seconds = []
    for length in (3_000, 12_000):
        lines = (
            f"Epoch {number} | {number % 100}.13% | loss = 1.{number}\nnothing to see here\n"
            for number in range(length)
        )
        start = time.process_time()
        assert classes(only("".join(lines) + "Accuracy of sea: 0.75"))
        seconds.append(time.process_time() - start)
    # Sixteen times would be quadratic; other programs on the machine take their share.
    assert seconds[1] < 10 * seconds[0]


def test_damaged_texts_raise_nothing_but_value_errors() -> None:
    generator = random.Random(20)
    texts = [file.read_text(encoding="utf-8", errors="replace")[:3000] for file in sorted(SHARED.glob("*.txt"))]
    parts = [
        "|",
        "&",
        "\\\\",
        "{",
        "[[",
        "%",
        "±",
        "(",
        ":",
        "=",
        "\t",
        ",",
        "\n",
        "\x00",
        "1e99",
        "nan",
        "\\multirow{2}{*}{",
        "<td>",
    ]
    for _ in range(150):
        text = generator.choice(texts)
        for _ in range(6):
            place = generator.randrange(len(text) + 1)
            text = (
                text[:place]
                + generator.choice(parts) * generator.randint(1, 3)
                + text[place + generator.randint(0, 20) :]
            )
        with suppress(ValueError):
            show(read(text))


@pytest.mark.parametrize(
    "entry", json.loads((SHARED / "manifest.json").read_text(encoding="utf-8")), ids=lambda e: e["file"]
)
def test_real_results_are_read_with_all_their_classes(entry: dict[str, object]) -> None:
    document = read(SHARED / str(entry["file"]))
    names = {value.class_name for table in document.tables for value in table.values if value.class_name is not None}
    assert len(names) + len(document.unread) >= int(str(entry["classes"]))
    assert len(names) <= int(str(entry["classes"]))


def test_the_listing_names_tables_values_lines_and_what_was_not_understood() -> None:
    text = (
        "Accuracy of dune: 83% (83/100)\nAccuracy of bay: 91% (91/100)\nMean class accuracy: 87%\n"
        "Acuracy for class 1: 0.9"
    )
    listing = show(read(text))
    assert "accuracy of 2 classes, lines 1 to 2: dune 83% (83/100), bay 91% (91/100)" in listing
    assert "macro accuracy, line 3: 87%" in listing
    assert "images: dune 100, bay 100" in listing
    assert "line 4: Acuracy for class 1: 0.9" in listing


def test_the_listing_counts_the_lines_after_the_first_20_that_were_not_understood() -> None:
    for number, more in ((20, []), (22, ["  and 2 more lines"])):
        listing = show(read(TEXT + "It found 964 cats\n" * number))
        assert [line for line in listing.splitlines() if "more" in line] == more


def test_folds_that_the_text_mentions_are_counted() -> None:
    assert read(f"Results of 5-fold cross-validation.\n{TEXT}").folds == 5
    assert read(f"The mean over three seeds.\n{TEXT}").folds == 3
    assert read(TEXT).folds is None


def pdf_of(lines: list[str]) -> bytes:
    """Return a one-page PDF with these lines of text."""
    content = "BT /F1 12 Tf 72 720 Td 14 TL " + " ".join(f"({line}) Tj T*" for line in lines) + " ET"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R "
        ">> >> >>",
        f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    text, places = "%PDF-1.4\n", []
    for number, each in enumerate(objects, start=1):
        places.append(len(text))
        text += f"{number} 0 obj\n{each}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    end = f"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n{len(text)}\n%%EOF"
    return f"{text}xref\n0 6\n0000000000 65535 f \n{table}{end}".encode("latin-1")


def test_a_table_with_a_matrix_above_it_begins_at_the_matrix() -> None:
    (table,) = read(
        "confusion matrix\n     sea ice\nsea  9 1\nice  2 8\n\n"
        "class precision recall support\nsea 0.82 0.90 10\nice 0.89 0.80 10\n"
    ).tables
    assert (table.first, table.last, table.matrix is not None) == (2, 8, True)
