"""Functions behind the audit command: they parse its options, audit files and choose the exit code."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Any

from in4310repro.audit import html, output
from in4310repro.audit.examine import audit
from in4310repro.audit.output import audit_json
from in4310repro.audit.readers import read, show
from in4310repro.audit.readers.sheet_files import write_sheet
from in4310repro.audit.sheets import make_sheets
from in4310repro.audit.verdicts import Audit, Options
from in4310repro.audit.view import View
from in4310repro.system.files import LARGEST_TEXT, decode, json_bytes, read_bytes, reason, strip_advice, write_file

ENDINGS = (".html", ".json")
IMPOSSIBLE, AS_READ, UNREAD = 1, 3, 2


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result for one file: its audit, or the error that prevented it."""

    path: Path
    audit: Audit | None = None
    error: str = ""  # why it could not be read

    def to_json(self) -> dict[str, Any]:
        """Return the audit, or the error that prevented it, as a dictionary for JSON."""
        return audit_json(self.audit) if self.audit else {"error": self.error}

    @property
    def exit_code(self) -> int:
        """Exit code: 1 if a number is impossible, 3 if as read, 2 if the file was not understood, else 0."""
        return self.audit.exit_code if self.audit else UNREAD


def audit_file(path: Path, options: Options, power: bool = True) -> Outcome:
    """Return the outcome of auditing one file; an unreadable file gives an outcome with an error.

    If `power` is True, errors are planted in the report to measure how many of them are found.
    """
    try:
        result = audit(
            path,
            images=options.totals,
            sizes=(options.sizes, *options.more_sizes),
            bound=options.bound,
            folds=options.folds,
            ceilings=options.ceilings or None,
            power=power,
        )
    except ValueError as error:
        return Outcome(path=path, error=" ".join(str(error).split()))
    return Outcome(path=path, audit=result)


def list_recognised(path: Path) -> Outcome | str:
    """Return text that lists the tables in a file, or an Outcome with an error if the file is unreadable."""
    try:
        return show(read(path))
    except ValueError as error:
        return Outcome(path=path, error=" ".join(str(error).split()))


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """Return the exit code for all files together.

    It is 1 if any number is impossible. If none is, it is 3 if any is impossible as it was read, else 2 if any
    file was not read or not understood, and otherwise 0.
    """
    codes = {each.exit_code for each in outcomes}
    return next((code for code in (IMPOSSIBLE, AS_READ, UNREAD) if code in codes), 0)


def lines(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the full audit of a single file, or one line per file if there are several. Omit unreadable files."""
    render = output.render if len(outcomes) == 1 else output.summary
    return [render(each.audit) for each in outcomes if each.audit]


def check_outputs(out: Path | None, sheet: Path | None, files: Sequence[Path]) -> None:
    """Raise ValueError if the audit of these files cannot be written to `out`, or what is read from them to `sheet`.

    Raises:
        ValueError: a path has an unknown suffix, the sheet exists, or there are several files for one output.
    """
    for path, option, endings in ((out, "--out", ENDINGS), (sheet, "--sheet", (".toml",))):
        if path and path.suffix.lower() not in endings:
            raise ValueError(f"{option} {path} ends in {path.suffix or 'nothing'}; expected {' or '.join(endings)}")
        if path and len(files) > 1:
            raise ValueError(f"{option} {path} is for one file, not {len(files)}; expected one file with {option}")
    if sheet and sheet.exists():
        raise ValueError(f"--sheet {sheet} exists, and may hold corrections; expected a new file")


def write(result: Audit, out: Path) -> Path:
    """Write the audit as an HTML page if the path ends in .html, else as JSON, and return the path."""
    if out.suffix.lower() == ".html":
        html.write(result, out)
        return out
    return write_file(out, json_bytes(audit_json(result)))


def write_read(result: Audit, sheet: Path) -> Path:
    """Write what was read, with all that was joined, as a sheet that nobody has confirmed; return its path."""
    sheets = make_sheets(result.document, result.options)
    tables = tuple(replace(each.table, sizes=each.sizes) for each in sheets)
    document = replace(result.document, source=View(result).source, tables=tables)
    return write_file(sheet, write_sheet(document).encode())


def parse_sizes(given: str | None) -> Mapping[str, int]:
    """Return class sizes from text such as `sea=510,forest=474`, or from a JSON or CSV file.

    A JSON file holds an object with the size of each class. A CSV file has a class and its size in each row.

    Raises:
        ValueError: a size is not an integer, or the file cannot be read.
    """
    if not given:
        return {}
    path = Path(given)
    if path.suffix.lower() in (".json", ".csv"):
        pairs = _read_sizes(path)
    else:
        pairs = [(name.strip(), size.strip()) for name, _, size in (part.rpartition("=") for part in given.split(","))]
    sizes = {}
    for name, size in pairs:
        plain = str(size).replace("_", "")
        if not name or not plain.isdecimal():
            raise ValueError(f"--sizes {given}: {name}={size} is not a class and a count; expected sea=510,forest=474")
        sizes[name] = int(plain)
    return sizes


def _read_sizes(path: Path) -> list[tuple[str, Any]]:
    try:
        content = decode(read_bytes(path, LARGEST_TEXT))
        if path.suffix.lower() == ".json":
            return list(dict(json.loads(content)).items())
    except (OSError, ValueError, TypeError, RecursionError) as error:
        why = reason(error) if isinstance(error, OSError) else strip_advice(error)
        raise ValueError(f"--sizes {path}: {why}; expected a file with a class and its images in each row") from error
    rows = [row for row in csv.reader(content.splitlines()) if len(row) >= 2]
    pairs = [(row[0].strip(), row[1].strip()) for row in rows]
    # A heading has no number.
    return pairs[int(bool(pairs) and not pairs[0][1].replace("_", "").isdecimal()) :]


def parse_ceilings(given: Sequence[str]) -> Mapping[str, Fraction]:
    """Return ceilings, which are the highest plausible accuracies, by name.

    An entry is written as `0.995`, `99.5%` or, with a name, `best known=0.9979`. An entry `0.995` without a name
    gets the name `the ceiling 0.995`.

    Raises:
        ValueError: a ceiling is not a number between 0 and 1.
    """
    ceilings = {}
    for entry in given:
        name, _, number = entry.rpartition("=")
        number = number.strip()
        try:
            level = Fraction(Decimal(number.rstrip("% "))) / (100 if number.endswith("%") else 1)
        except (InvalidOperation, ValueError, OverflowError) as error:
            raise ValueError(f"--ceiling {entry} is not a number; expected one such as 0.995 or 99.5%") from error
        if not 0 < level < 1:
            raise ValueError(f"--ceiling {entry}; expected more than 0 and less than 1")
        ceilings[name.strip() or f"the ceiling {number}"] = level
    return ceilings
