"""Parse numbers as people print them: decimals are kept; commas, percent signs, k/n and +/- are understood."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from in4310repro.audit.document import Printed

# Spaces that look alike, the minus sign, the full-width percent sign: one character is replaced by one.
ALIKE = str.maketrans({**dict.fromkeys("\u00a0\u2007\u2009\u202f\u2002\u2003\t", " "), "\u2212": "-", "\uff05": "%"})
# A measured value: .93, 1., 93,2 and 9.9e-01 are numbers; the comma is a decimal one, as no share has thousands.
NUMBER = r"[-+]?(?:\d{1,20}(?:[.,]\d{0,60})?|[.,]\d{1,60})(?:[eE][-+]?\d{1,2})?"
# A number of images: 2421, 2,421, 2'421, 2 421, 365.0.
COUNT = r"(?:\d{1,3}(?:[,'\u2019 ]\d{3}){1,4}|\d{1,12})(?:\.0{1,6})?"
# 2.421 is a number of images, too, where a column says that it holds such numbers.
_DOTTED = re.compile(r"[1-9]\d{0,2}(?:\.\d{3}){1,4}")
SPREAD = r"(?:±|\+/-|\+-|\\pm)"
_VALUE = re.compile(rf"({NUMBER}) ?(%?)")
_COUNT = re.compile(COUNT)
# 286/300, 286 of 300, 286 out of 300.
_OUT_OF = re.compile(rf"({COUNT}) ?(?:/|of|out of) ?({COUNT})(?: \w{{1,20}})?")
# 95.3% ± 0.4 (286/300): a value, perhaps its spread, perhaps a remark in brackets.
MEASURED = re.compile(
    rf"(?P<value>{NUMBER} ?%?)(?: ?{SPREAD} ?(?P<spread>{NUMBER}) ?%?)?(?: ?[(\[](?P<remark>[^()\[\]]{{1,60}})[)\]])?"
)
# 286/300 (95.3%) or 286/300 alone.
COUNTED = re.compile(
    rf"(?P<count>{COUNT} ?(?:/|of|out of) ?{COUNT})(?: ?(?:=|[(\[]) ?(?P<value>{NUMBER} ?%?) ?[)\]]?)?"
)
_IMAGES = re.compile(
    rf"\b(?:n|N) ?= ?({COUNT})|({COUNT}) (?:\w+ ){{0,3}}?(?:images|samples|instances|examples|pictures)"
)
_DEVIATION = re.compile(rf"(?:{SPREAD}|std:?|sd:?|\u03c3 ?=)? ?({NUMBER}) ?%?")
HALF = Fraction(1, 2)
MISSING = frozenset(
    ("", "-", "--", "---", "\u2013", "—", "n/a", "na", "n.a.", "nan", "none", "null", "/", "x", "\u00d7", "?")
)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A value as printed in a cell, with its count k/n, standard deviation or number of images, if given."""

    printed: Printed | None  # None: a count alone
    count: tuple[int, int] | None = None
    spread: Printed | None = None
    images: int | None = None


def parse(text: str, line: int) -> Printed:
    """Return the number in a text such as 0.9882, 98.82 % or 98,82 %.

    Raises:
        ValueError: the text is not a decimal number.
    """
    match = _VALUE.fullmatch(text.translate(ALIKE).strip())
    if not match:
        raise ValueError(f"line {line}: {text.strip()!r} is not a number; expected one such as 0.9882 or 98.82 %")
    mantissa, _, exponent = match[1].lower().replace(",", ".").partition("e")
    decimals = max(0, len(mantissa.partition(".")[2]) - int(exponent or 0))
    whole, _, fraction = mantissa.partition(".")
    percent = bool(match[2])
    return Printed(
        text=match[0].strip(),
        line=line,
        digits=int(whole + fraction) * 10 ** (decimals + int(exponent or 0) - len(fraction)),
        decimals=decimals + 2 * percent,
        percent=percent,
    )


def parse_measured(text: str, line: int) -> Measured | None:
    """Return the number in a cell, with its count, standard deviation or number of images if the cell has one.

    286/300 is a count, such as 286 of 300 images; the number is None if the cell has only a count. In 93.2 (0.4),
    the number in brackets is a standard deviation, as it has decimals and is small enough. The number in brackets
    in 0.91 (0.88) is too large and is ignored. In 93.2 (n=300), n is a number of images.

    Return None for any other cell. This includes +1.2, which is a difference, and 0765456, which has lost its
    decimal point.
    """
    plain = " ".join(text.translate(ALIKE).split())
    counted = COUNTED.fullmatch(plain)
    if counted:
        return Measured(
            printed=parse(counted["value"], line) if counted["value"] else None, count=parse_ratio(counted["count"])
        )
    match = MEASURED.fullmatch(plain)
    # 0765456 has lost its point; +1.2 is a difference.
    if not match or re.match(r"\+|-?0\d", match["value"]):
        return None
    remark = match["remark"] or ""
    deviation = None if re.match(r"[-+]\d", remark) else _DEVIATION.fullmatch(remark)
    value = parse(match["value"], line)
    of_remark = parse(deviation[1], line) if deviation and re.search("[.,]", deviation[1]) else None
    # No shares deviate by more than a half: 0.91 (0.88) are two values.
    deviates = of_remark is not None and of_remark.value <= (50 if value.percent or value.value > 1 else HALF)
    spread = match["spread"] or (deviation[1] if deviation and deviates else None)
    return Measured(
        printed=value, count=parse_ratio(remark), spread=parse(spread, line) if spread else None, images=images(remark)
    )


def count(text: str) -> int | None:
    """Convert a text, possibly with thousands separators, to an integer; return None if it is not an integer."""
    plain = text.translate(ALIKE).strip()
    if _DOTTED.fullmatch(plain) and not plain.endswith(".000"):
        return int(plain.replace(".", ""))
    return int(re.sub(r"\.0+$|[,'\u2019 ]", "", plain)) if _COUNT.fullmatch(plain) else None


def parse_ratio(text: str) -> tuple[int, int] | None:
    """Return k and n of 286/300, 286 of 300 or 286 out of 300; None for any other text."""
    match = _OUT_OF.fullmatch(text.translate(ALIKE).strip())
    first, second = (count(match[1]), count(match[2])) if match else (None, None)
    return None if first is None or second is None else (first, second)


def images(text: str) -> int | None:
    """Return the number of images that a text such as n=300 or 500 radar samples states; None if there is none."""
    match = _IMAGES.search(text.translate(ALIKE)[:400])
    return count(match[1] or match[2]) if match else None


def is_missing(text: str) -> bool:
    """Return whether a cell is empty or a sign for a missing value, such as a dash or n/a."""
    return text.translate(ALIKE).strip().lower() in MISSING


def to_percent(printed: Printed) -> Printed:
    """Return the number marked as a percentage, such as 98.8 % for 98.8. A percentage is returned unchanged."""
    if printed.percent:
        return printed
    return Printed(
        text=printed.text, line=printed.line, digits=printed.digits, decimals=printed.decimals + 2, percent=True
    )
