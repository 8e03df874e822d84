"""Load the text of a file: any usual encoding, a PDF, or the cells of a notebook as displayed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from in4310repro.audit.readers.latex_html import rows_of_tables
from in4310repro.system.files import MARKS, decode, read_bytes, reason
from in4310repro.system.machine import install_command

LARGEST = 100_000_000  # bytes
# The first of these forms that an output has is read.
FORMS = ("text/html", "text/markdown", "text/latex", "text/plain")
TABLE = re.compile(r"<table", re.IGNORECASE)
TEXT = ("markdown", "raw", "heading")
# Scripts and styles of a page.
SCRIPTS = re.compile(r"<(script|style)\b.*?</\1>", re.IGNORECASE | re.DOTALL)


def load_text(path: Path, largest: int = LARGEST) -> str:
    """Return the text of a PDF, or of a file in UTF-8, UTF-16 or Latin-1.

    Raises:
        ValueError: no such file, a folder or device, an empty or binary file, or a PDF that cannot be read.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not a regular file" if path.exists() else "does not exist"
        raise ValueError(f"{path} {what}; expected a text, table, JSON, TOML or PDF file")
    try:
        content = read_bytes(path, largest)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {reason(error)}") from error
    if content.startswith(b"%PDF-"):
        return text_of_pdf(path)
    text = decode_text(content)
    if not text.strip():
        raise ValueError(f"{path} is empty; expected a file with printed results")
    if is_binary(text):
        raise ValueError(f"{path} is not text: it has control characters; expected UTF-8, UTF-16 or Latin-1 text")
    return text


def decode_text(content: bytes) -> str:
    """Decode bytes as UTF-8, as UTF-16 with or without byte order mark, or else as Latin-1."""
    if content.startswith(MARKS):
        return decode(content, "replace")
    # Latin letters in UTF-16 without a mark: every second byte is zero.
    head = content[:1000]
    for bytes_of, encoding in ((head[::2], "utf-16-be"), (head[1::2], "utf-16-le")):
        if len(content) >= 4 and bytes_of.count(0) * 3 > len(bytes_of):
            return content.decode(encoding, errors="replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def is_binary(text: str) -> bool:
    """Return whether over 1 % of the first 20,000 characters are control characters that no text file has."""
    head = text[:20_000]
    return sum(ord(character) < 32 and character not in "\t\n\r\f\v\x1b\b" for character in head) * 100 > len(head)


def text_of_pdf(path: Path) -> str:
    """Return the text of all pages in their layout, so that columns remain columns.

    Raises:
        ValueError: pypdf is not installed, or the file is damaged or has no text.
    """
    try:
        import pypdf
    except ImportError as error:
        raise ValueError(f"{path} is a PDF; reading it needs pypdf: {install_command('pypdf')}") from error
    try:
        pages = [page.extract_text(extraction_mode="layout") for page in pypdf.PdfReader(path).pages]
    except Exception as error:  # of many kinds for damaged files
        raise ValueError(f"{path} is a PDF that cannot be read: {error}") from error
    text = "\n".join(pages)
    if not text.strip():
        raise ValueError(f"{path} is a PDF without text: its pages are images; expected a PDF with text")
    return text


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Code of a notebook cell, or its text and outputs; results are read only from text and outputs."""

    name: str
    lines: tuple[str, ...]
    code: bool


def cells_of(text: str) -> list[Cell] | None:
    """Return the texts, code and outputs of a notebook as Cells, in order; None if it is not a notebook.

    All outputs of one notebook cell are joined into one Cell.
    """
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
    """Return the printed text of a notebook output.

    For a displayed object, return the first of these that is not empty: the tables in its HTML (as
    Markdown), its Markdown, its LaTeX and its plain text.
    """
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
    """Return the content of a quoted string, with escaped line breaks and tabs decoded.

    A text that is not quoted, or has no escaped line break, is returned unchanged.
    """
    quoted = text.strip()
    if len(quoted) > 1 and quoted[0] in "'\"" and quoted[-1] == quoted[0] and "\\n" in quoted:
        return quoted[1:-1].replace("\\n", "\n").replace("\\t", "\t")
    return text


def _join(text: Any) -> str:
    if isinstance(text, list):
        return "".join(part for part in text if isinstance(part, str))
    return text if isinstance(text, str) else ""
