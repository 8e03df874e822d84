"""Tables and cells for tests, built directly instead of being read from a document."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from in4310repro.audit.document import Average, ConfusionMatrix, Document, Measure, Printed, Table, Value
from in4310repro.audit.intervals import Cell, Interval
from in4310repro.audit.sheets import Sheet, make_cells, sheet
from in4310repro.audit.verdicts import Options

# Of the matrix 83 12 5 / 28 84 8 / 5 8 67: accuracy .78, kappa .6673, MCC .6702.
REPORT = """              precision    recall  f1-score   support

         sea       0.72      0.83      0.77       100
        town       0.81      0.70      0.75       120
        wood       0.84      0.84      0.84        80

    accuracy                           0.78       300
   macro avg       0.79      0.79      0.79       300
weighted avg       0.79      0.78      0.78       300
"""
# Unit roundoff of float32; shares have an error of four.
E = Fraction(1, 2**24)


def number(text: str, line: int = 1) -> Printed:
    """Parse a number as reports print it: `0.95`, `95.3%`, `-1`."""
    whole, _, decimals = text.rstrip(" %").partition(".")
    percent = text.endswith("%")
    return Printed(
        text=text, line=line, digits=int(whole + decimals), decimals=len(decimals) + 2 * percent, percent=percent
    )


def value(
    text: str,
    name: str | None = None,
    measure: Measure = Measure.ACCURACY,
    average: Average | None = None,
    line: int = 1,
    **others: Any,
) -> Value:
    """Return the Value that is printed as `text`: of the class `name`, or of an average if `name` is None."""
    return Value(measure=measure, printed=number(text, line), class_name=name, average=average, **others)


def column(measure: Measure, **texts: str) -> list[Value]:
    """Return one value for each class, on lines 1, 2 and so on."""
    return [value(text, name, measure, line=line) for line, (name, text) in enumerate(texts.items(), start=1)]


def table(*values: Value, **others: Any) -> Table:
    return Table(**{"name": "t", "values": values, **others})


def document(*tables: Table, lines: int = 30, **others: Any) -> Document:
    """Return a document with the tables and `lines` empty lines."""
    return Document(**{"source": "x", "lines": ("",) * lines, "tables": tables, **others})


def sheet_of(*values: Value, options: Options | None = None, **others: Any) -> Sheet:
    made = table(*values, **others)
    return sheet(made, document(made), options or Options())


def cell(text: str, name: str = "a", measure: Measure = Measure.ACCURACY) -> Cell:
    return make_cells([value(text, name, measure)])[0]


def matrix(*rows: str, classes: str = "ab", shares: bool = False, line: int = 7) -> ConfusionMatrix:
    """Return a confusion matrix from rows such as `8 4`."""
    return ConfusionMatrix(
        classes=tuple(classes),
        rows=tuple(tuple(number(text, line) for text in row.split()) for row in rows),
        shares=shares,
    )


def about(center: str | Fraction, half: str | Fraction, roundoffs: int | Fraction) -> Interval:
    """Return the interval center +- half, widened on both sides by `roundoffs` unit roundoffs of float32."""
    reach = Fraction(half) + roundoffs * E
    return Interval(low=Fraction(center) - reach, high=Fraction(center) + reach)
