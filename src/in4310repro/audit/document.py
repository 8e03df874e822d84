"""Records of a report's contents: readers create them, and checks use them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction

SHEET = "sheet"  # name of the reader of sheets


class Measure(StrEnum):
    """Metric of a reported value, such as accuracy."""

    ACCURACY = "accuracy"  # of a class: the share of its images that are right, which is also its recall
    AVERAGE_PRECISION = "average precision"
    PRECISION = "precision"
    RECALL = "recall"
    F1 = "F1"
    BALANCED_ACCURACY = "balanced accuracy"
    KAPPA = "kappa"
    SPECIFICITY = "specificity"  # TN / (TN + FP)
    NEGATIVE_PREDICTIVE_VALUE = "negative predictive value"  # TN / (TN + FN)
    MATTHEWS = "Matthews correlation"  # MCC, from -1 to 1
    PREVALENCE = "prevalence"  # share of images that are of the class
    DETECTION_RATE = "detection rate"  # TP / all
    DETECTION_PREVALENCE = "detection prevalence"  # share of images that are predicted as the class
    FALSE_POSITIVE_RATE = "false positive rate"  # FP / (TN + FP)
    ERROR = "error"  # one less the accuracy
    OTHER = "other"  # recognised, and no check uses it: IoU, AUC, loss


SCORES = (Measure.PRECISION, Measure.RECALL, Measure.F1)
# Scores of a classifier over all classes that follow from its confusion matrix.
SCORES_OF_ALL = (
    Measure.ACCURACY,
    Measure.BALANCED_ACCURACY,
    Measure.KAPPA,
    Measure.MATTHEWS,
    Measure.PRECISION,
    Measure.RECALL,
    Measure.F1,
    Measure.ERROR,
)


class Average(StrEnum):
    """Type of average over classes, such as macro or weighted."""

    MACRO = "macro"  # the plain mean of the classes that have images: macro avg, mAP, mean class accuracy
    WEIGHTED = "weighted"  # weighted by images
    MICRO = "micro"  # over all decisions at once
    OVERALL = "overall"  # the share of all images that are right: overall, total, test accuracy
    UNNAMED = "unnamed"  # mean, average: any weighting


class Item(StrEnum):
    """Type of object that a metric counts, such as images or entities."""

    IMAGE = "image"  # or any other sample that has one label
    TOKEN = "token"  # noqa: S105, a word of a text
    ENTITY = "entity"  # a phrase of tokens, right only as a whole
    BOX = "box"  # or pixel


class TableKind(StrEnum):
    """Content of a table: class values, networks, a confusion matrix or overall values."""

    CLASSES = "classes"  # values of classes, with or without averages
    MODELS = "models"  # values over all classes of one of several networks that are compared
    MATRIX = "matrix"  # a confusion matrix alone
    SUMMARY = "summary"  # values over all classes alone, such as one line with an accuracy


@dataclass(frozen=True, kw_only=True)
class Printed:
    """A number as printed in the report, with text, line and digits; its value is digits / 10**decimals."""

    text: str
    line: int  # from 1
    digits: int
    decimals: int
    percent: bool  # a percent sign, or a percentage by its heading

    @property
    def value(self) -> Fraction:
        """Number as an exact fraction; a percentage is divided by 100."""
        return Fraction(self.digits, 10**self.decimals)

    @property
    def shown(self) -> Fraction:
        """Number as it is printed; a percentage is not divided by 100."""
        return self.value * (100 if self.percent else 1)

    @property
    def unit(self) -> Fraction:
        """Value of one unit in the last printed decimal place."""
        return Fraction(1, 10**self.decimals)


@dataclass(frozen=True, kw_only=True)
class Value:
    """A reported value of one class, or of an average over classes."""

    measure: Measure
    printed: Printed
    class_name: str | None = None  # None: a summary
    average: Average | None = None  # of a summary
    count: tuple[int, int] | None = None  # printed beside it: 286 of 300
    spread: Printed | None = None  # printed after plus-minus: a mean over runs, and no share of whole images
    label: str = ""  # as printed
    item: Item = Item.IMAGE  # accuracy of tokens is printed beside scores of entities


@dataclass(frozen=True, kw_only=True)
class ConfusionMatrix:
    """Counts or shares of images by true and predicted class, in the order of the report."""

    classes: tuple[str, ...]
    rows: tuple[tuple[Printed, ...], ...]
    shares: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """Values of one network on one image set; a report's table of several networks becomes several Tables."""

    name: str
    values: tuple[Value, ...]
    asides: tuple[Value, ...] = ()  # values of rows and lines that are probably not classes
    sizes: Mapping[str, int] = field(default_factory=dict)  # images of each class where printed: support, samples
    predictions: Mapping[str, int] = field(default_factory=dict)  # images predicted as each class where printed
    total: int | None = None  # images of the whole set where printed
    image_set: str | None = None  # val, test, ... where the text names it
    matrix: ConfusionMatrix | None = None
    partial: bool = False  # the text leaves classes out: the weakest five, a row of dots
    doubts: tuple[str, ...] = ()  # conditions of every verdict that needs all classes, as the readers saw them
    whole_images: bool = True  # False: values of boxes or pixels, which may outnumber the images
    kind: TableKind = TableKind.CLASSES
    first: int = 0  # the lines from which it was read, from 1: how near another table or line is
    last: int = 0
    section: str = ""  # the heading above, or the cell of a notebook

    @property
    def of_classes(self) -> tuple[Value, ...]:
        """Values of single classes, without averages."""
        return tuple(value for value in self.values if value.class_name is not None)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes with values, each once."""
        return tuple(dict.fromkeys(str(value.class_name) for value in self.of_classes))

    @property
    def has_classes(self) -> bool:
        """True if the table has a confusion matrix or values of single classes, and not only averages."""
        return self.matrix is not None or bool(self.of_classes)

    @property
    def printed(self) -> tuple[Printed, ...]:
        """All numbers of the table: class values, averages, values of rows that are not classes, and matrix cells."""
        cells = [cell for row in (self.matrix.rows if self.matrix else ()) for cell in row]
        return (*[value.printed for value in (*self.values, *self.asides)], *cells)


@dataclass(frozen=True, kw_only=True)
class Unread:
    """A line with a number that was not used, and the reason."""

    line: int
    text: str
    why: str
    measuring: bool = True  # it looks like a measurement of classes, so that it may change a verdict near it


@dataclass(frozen=True, kw_only=True)
class Context:
    """A line whose numbers are not results, with their type: a date, version, option, duration or program code."""

    line: int
    kind: str


@dataclass(frozen=True, kw_only=True)
class Document:
    """Everything that was read from a report: its lines, tables, and lines that were not understood."""

    source: str
    lines: tuple[str, ...]
    tables: tuple[Table, ...]
    unread: tuple[Unread, ...] = ()
    context: tuple[Context, ...] = ()
    formats: tuple[str, ...] = ()  # names of the readers that recognised something
    folds: int | None = None  # folds or runs that the text mentions
    certain: tuple[Table, ...] = ()  # what was read with certainty, without anything that only stands near it

    @property
    def is_sheet(self) -> bool:
        """True if the document is a sheet, whose tables say themselves what belongs together."""
        return self.formats == (SHEET,)

    def is_certain(self, table: Table) -> bool:
        """Return whether each number of a table was read with certainty."""
        return any(set(table.printed) <= set(each.printed) for each in self.certain)
