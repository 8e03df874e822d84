"""Reading: every form that is understood, and everything that must be refused and not passed over."""

from fractions import Fraction
from pathlib import Path

import pytest

from in4310repro.audit.reading import ACCURACY, PRECISION, Printed, Table, parse, read
from tests.audit.made_up import original_text


def accuracies(table: Table) -> list[str]:
    return [value.text for value in table.columns[ACCURACY].values.values()]


def by_metric(table: Table) -> dict[str, tuple[dict[str, Fraction], Fraction | None]]:
    return {
        metric: ({name: v.value for name, v in column.values.items()}, column.mean.value if column.mean else None)
        for metric, column in table.columns.items()
    }


def test_the_original_has_four_tables_named_by_the_figures_that_close_them() -> None:
    tables = read(original_text())
    assert [table.name for table in tables] == ["Figure 1", "Figure 2", "Figure 3", "Figure 4"]
    assert accuracies(tables[0])[:2] == ["0.9956803455723542", "0.9834368530020704"]
    mean = tables[3].columns[PRECISION].mean
    assert mean
    assert mean.text == "0.9926138947380058"


@pytest.mark.parametrize(
    ("text", "digits", "decimals"),
    [("0.9882", 9882, 4), ("98.82 %", 9882, 4), ("98.82%", 9882, 4), ("1.0", 10, 1), ("1", 1, 0), ("0.90", 90, 2)],
)
def test_a_printed_number_keeps_its_decimals(text: str, digits: int, decimals: int) -> None:
    printed = parse(text, "here")
    assert (printed.digits, printed.decimals) == (digits, decimals)


@pytest.mark.parametrize(("text", "value"), [("9.5e-3", Fraction(95, 10000)), ("-0.1", Fraction(-1, 10))])
def test_exponents_and_signs_are_read(text: str, value: Fraction) -> None:
    assert parse(text, "here").value == value


VARIANTS = {
    "as the original": "Accuracy for class 1: 0.75\nAccuracy for class 2: 0.25\nMean accuracy over all classes: 0.5",
    "bold and bullets": "- **Class 1 accuracy:** 0.75\n- **class 2 accuracy**: 0.25\n* Mean class accuracy = 0.5",
    "percent": "Accuracy of class 1: 75 %\nAccuracy of class 2: 25.0%\nMean accuracy: 50%",
    "grid": "| Class | Accuracy |\n|---|---:|\n| 1 | 0.75 |\n| 2 | 0.25 |\n| mean | 0.5 |",
}


@pytest.mark.parametrize("text", VARIANTS.values(), ids=VARIANTS)
def test_obvious_variants_say_the_same(text: str) -> None:
    (table,) = read(text)
    wanted: tuple[dict[str, Fraction], Fraction] = ({"1": Fraction(3, 4), "2": Fraction(1, 4)}, Fraction(1, 2))
    assert by_metric(table)[ACCURACY] == wanted


def test_a_grid_may_have_both_metrics_and_another_grid_is_passed_over() -> None:
    text = "| epoch | rate |\n|--|--|\n| 1 | 0.1 |\n\n"
    text += "| class | accuracy | AP |\n|--|--|--|\n| sea | 0.75 | 0.5 |\n\nTable 7"
    (table,) = read(text)
    assert table.name == "Table 7"
    assert by_metric(table) == {ACCURACY: ({"sea": Fraction(3, 4)}, None), PRECISION: ({"sea": Fraction(1, 2)}, None)}


def test_a_toml_file_says_the_same_as_the_text(tmp_path: Path) -> None:
    file = tmp_path / "report.toml"
    file.write_text(
        '[[table]]\nname = "Figure 1"\naccuracy = ["0.75", "0.25"]\nmean_accuracy = "0.5"\n'
        'average_precision = { 1 = "0.8", 2 = "0.6" }\nmean_average_precision = "0.7"\n',
        encoding="utf-8",
    )
    text = (
        f"{VARIANTS['as the original']}\nAP for class 1: 0.8\nAP for class 2: 0.6\nmAP: 0.7\nFigure 1: as it was drawn"
    )
    assert [(t.name, by_metric(t)) for t in read(file)] == [(t.name, by_metric(t)) for t in read(text)]


PROSE = (
    "Figure 7 shows 10 images for 2 classes: sea, forest.\nNumber of classes: 2\nLearning rate: 0.001\n"
    "```\nconv1 - 47.0\n```\n"
)


def test_prose_and_other_numbers_are_passed_over() -> None:
    assert len(read(PROSE + VARIANTS["as the original"] + "\n\nFigure 1\n\n" + PROSE)) == 1


GOOD = "Accuracy for class 1: 0.75\n"
REFUSED = {
    "F1": (f"{GOOD}F1 score for class 1: 0.9", "line 2: unknown metric 'f1 score for class 1'; valid are Accuracy for"),
    "F1 outside a table": (f"F1-score: 0.9\n{GOOD}", "line 1: unknown metric 'f1-score'"),
    "balanced": (f"Balanced accuracy for class 1: 0.9\n{GOOD}", "unknown metric 'balanced accuracy for class 1'"),
    "overall": (f"{GOOD}Overall accuracy: 0.9", "unknown metric 'overall accuracy'"),
    "typing error": (f"Acuracy for class 1: 0.9\n{GOOD}", "unknown metric 'acuracy for class 1'"),
    "column": ("| class | accuracy | F1 |\n|-|-|-|\n| 1 | 0.5 | 0.5 |", r"unknown columns \['f1'\]"),
    "nan": ("Accuracy for class 1: nan", "line 1: 'nan' is no number"),
    "decimal comma": ("Accuracy for class 1: 0,98", "'0,98' is no number; 0.9882 and 98.82 % are valid"),
    "trailing words": ("Accuracy for class 1: 0.98 (test)", "is no number"),
    "twice": (f"{GOOD}{GOOD}", "line 2: accuracy of class 1 is given twice, first at line 1"),
    "mean twice": (f"{GOOD}Mean accuracy: 0.7\nMean accuracy: 0.7", "accuracy of all classes is given twice"),
    "other classes": (
        f"{GOOD}Figure 1\n{GOOD}Accuracy for class 2: 0.5\nFigure 2",
        "Figure 2 gives accuracy for the classes 1, 2; those of Figure 1 are 1",
    ),
    "other classes of AP": (f"{GOOD}AP for class 2: 0.5", "average precision for the classes 2; those of .* are 1"),
    "same name": (f"{GOOD}Figure 1\n{GOOD}Figure 1", "two tables have one name"),
    "nothing": ("A report without numbers.", "no value of a class found; valid lines are"),
    "mean alone": ("Mean accuracy over all classes: 0.98", "no value of a class found"),
    "ragged": ("| class | accuracy |\n|-|-|\n| 1 |", "1 cells under 2 columns"),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_audited_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[table]]\naccuracy = [0.98]", '0.98 is no string; write "0.9882": its decimals are information'),
        ('[[table]]\naccuracy = "0.98"', "accuracy is '0.98'; a list of strings"),
        ('[[table]]\naccuracy = ["0.98"]\nf1 = ["0.9"]', "table 1: unknown metric f1; valid are name, accuracy"),
        ('[figure]\naccuracy = ["0.98"]', r"unknown TOML keys \['figure'\]"),
        ("accuracy = ", "Invalid value"),
    ],
)
def test_a_toml_file_with_other_content_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "report.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read(file)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "report.md"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        read(file)


def test_a_percentage_is_not_read_as_its_number() -> None:
    assert parse("75 %", "here").value != parse("75", "here").value
    assert isinstance(parse("75", "here"), Printed)
