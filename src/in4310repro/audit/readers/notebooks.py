"""Read notebooks as displayed: outputs as text and HTML tables; code is shown as context but not read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from in4310repro.audit.readers.web import rows_of_tables

# The first of these forms that an output has is read.
FORMS = ("text/html", "text/markdown", "text/latex", "text/plain")
TABLE = re.compile(r"<table", re.IGNORECASE)
TEXT = ("markdown", "raw", "heading")
# Scripts and styles of a page.
SCRIPTS = re.compile(r"<(script|style)\b.*?</\1>", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Code of a notebook cell, or its text and outputs; code is shown but not read for results."""

    name: str
    lines: tuple[str, ...]
    code: bool


def cells_of(text: str) -> list[Cell] | None:
    """Return the code and outputs of a notebook as Cells in order; None if the text is no notebook."""
    if '"cells"' not in text and '"worksheets"' not in text:
        return None
    try:
        content = json.loads(text.lstrip("\ufeff"))
    except (json.JSONDecodeError, RecursionError):
        return None
    if not isinstance(content, dict) or not ("nbformat" in content or "metadata" in content):
        return None
    sheets = content.get("worksheets") or [content]
    cells = [cell for sheet in sheets if isinstance(sheet, dict) for cell in sheet.get("cells") or []]
    return [
        part for number, cell in enumerate(cells, start=1) if isinstance(cell, dict) for part in _parts(cell, number)
    ]


def _parts(cell: dict[str, Any], number: int) -> Iterator[Cell]:
    count = cell.get("execution_count", cell.get("prompt_number"))
    name = f"cell {number}" + (f" (In [{count}])" if isinstance(count, int) else "")
    source = _join(cell.get("source", cell.get("input", "")))
    if cell.get("cell_type") in TEXT:
        yield Cell(name=name, lines=tuple(source.split("\n")), code=False)
        return
    if source.strip():
        yield Cell(name=name, lines=tuple(source.split("\n")), code=True)
    texts = [text for output in cell.get("outputs") or [] if isinstance(output, dict) and (text := _text(output))]
    if texts:
        # Output that a program prints in several portions is one text.
        joined = "".join(text if text.endswith("\n") else f"{text}\n" for text in texts)
        yield Cell(name=name, lines=tuple(joined.rstrip("\n").split("\n")), code=False)


def _text(output: dict[str, Any]) -> str:
    """Return an output's stream, or else its first form with text: HTML, Markdown, LaTeX, plain text."""
    if "text" in output:
        return _join(output["text"])
    data = output.get("data") or {key: output[key] for key in ("html", "latex") if key in output}
    if not isinstance(data, dict):
        return ""
    for form in (*FORMS, "html", "latex"):
        text = _join(data.get(form, ""))
        shown = _tables(text) if form.endswith("html") else _unescape(text)
        if shown.strip():
            return shown
    return ""


def _tables(html: str) -> str:
    """Return the tables of an HTML page as Markdown, one line per row."""
    html = SCRIPTS.sub("", html)
    if not TABLE.search(html):
        return ""
    lines = []
    for rows in rows_of_tables(html):
        for index, cells in enumerate(rows):
            plain = (cell.replace("|", "\\|") for cell in cells)
            lines += [f"| {' | '.join(plain)} |", *(["|---" * len(cells) + "|"] if index == 0 else [])]
        lines.append("")
    return "\n".join(lines)


def _unescape(text: str) -> str:
    """Return the text of a quoted string with escapes, as notebooks display a value that was not printed."""
    quoted = text.strip()
    if len(quoted) > 1 and quoted[0] in "'\"" and quoted[-1] == quoted[0] and "\\n" in quoted:
        return quoted[1:-1].replace("\\n", "\n").replace("\\t", "\t")
    return text


def _join(text: Any) -> str:
    if isinstance(text, list):
        return "".join(part for part in text if isinstance(part, str))
    return text if isinstance(text, str) else ""
