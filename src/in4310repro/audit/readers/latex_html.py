"""Read tables of LaTeX and HTML, whose cells may span rows or columns."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser

from in4310repro.audit.readers.contexts import find_title
from in4310repro.audit.readers.grid import Grid, grid
from in4310repro.audit.readers.words import strip_marks

LATEX = "LaTeX table"
BEGIN = re.compile(r"\\begin\{(tabular[xy*]?|longtable|tabulary|array|tblr)\}")
CAPTION = re.compile(r"\\caption(?:\[[^\]]{0,200}\])?\{")
RULES = re.compile(
    r"\\(?:hline|toprule|midrule|bottomrule|hdashline|specialrule(?:\{[^{}]*\}){0,3}|addlinespace(?:\[[^\]]*\])?"
    r"|c?midrule(?:\[[^\]]*\])?(?:\([^)]*\))?\{[^{}]*\}|cline\{[^{}]*\}|noalign\{[^{}]*\}|rowcolor(?:\[[^\]]*\])?\{[^{}]*\}"
    r"|endhead|endfirsthead|endfoot|endlastfoot|Xhline\{[^{}]*\})"
)
SPAN = re.compile(r"\\multicolumn\{(\d{1,3})\}\{[^{}]*\}\{(.*)\}\s*", re.DOTALL)
ROWS = re.compile(
    r"\\multirow(?:\[[^\]]*\])?\{(-?\d{1,3}|\*)\}(?:\[[^\]]*\])?\{[^{}]*\}(?:\[[^\]]*\])?\{(.*)\}\s*", re.DOTALL
)
# Commands whose argument is the text: \textbf{...}, \emph{...}, \underline{...}.
WRAPPERS = re.compile(
    r"\\(?:textbf|textit|emph|underline|texttt|textsc|textrm|textsf|mathbf|mathrm|text|mbox|bm|uline|makecell|shortstack"
    r"|thead|textsuperscript|scriptsize|num|SI)(?:\[[^\]]*\])?\{([^{}]*)\}"
)
COLOURS = re.compile(
    r"\\(?:cellcolor|textcolor|color|rotatebox|cite\w?|ref|label|footnotemark|tnote)(?:\[[^\]]*\])?\{[^{}]*\}"
)
SWITCHES = re.compile(
    r"\\(?:bf|it|em|tiny|small|footnotesize|scriptsize|bfseries|itshape|centering|quad|qquad|,|;|!)(?![a-zA-Z])"
)
LONGEST = 20_000  # characters of a line and of a row
INNER = 100  # environments within a table
HTML = "HTML table"
WIDEST = 200  # columns or rows that a cell may span


def latex_grids(lines: Sequence[str], skipped: frozenset[int]) -> Iterator[Grid]:
    """Yield the tables of a LaTeX source, each with its caption."""
    lines = [line[:LONGEST] for line in lines]
    ends = [index for index, line in enumerate(lines) if "\\end{" in line]
    for start, line in enumerate(lines):
        begin = BEGIN.search(line)
        if not begin or start + 1 in skipped:
            continue
        mark = f"\\end{{{begin[1]}}}"
        after = ends[bisect_left(ends, start) :][:INNER]
        stop = next((index for index in after if mark in lines[index]), None)
        if stop is None:
            continue
        first = _skip_columns(line[begin.end() :])
        rows = list(_rows_of_latex([first, *lines[start + 1 : stop + 1]], start + 1, mark))
        if rows:
            yield grid(_fill(rows), LATEX, title=_caption(lines, start, stop))


def _skip_columns(text: str) -> str:
    """Return the text after the column specification at its start."""
    while text.lstrip()[:1] in ("{", "["):
        text = text.lstrip()
        text = text[find_closing(text) + 1 :]
    return text


def find_closing(text: str) -> int:
    """Return the index of the bracket that closes the bracket at index 0.

    If it is never closed, return the length of the text.
    """
    pair = {"{": "}", "[": "]"}[text[0]]
    depth, step = 0, {text[0]: 1, pair: -1}
    for index, character in enumerate(text):
        depth += step.get(character, 0)
        if depth == 0:
            return index
    return len(text)


def _rows_of_latex(lines: Sequence[str], first: int, mark: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of the row's last line, cells) for each row; a double backslash ends a row."""
    text, number = "", first
    for number, line in enumerate(lines, start=first):
        code = re.sub(r"(?<!\\)%.*", "", line).replace(mark, "\\\\")
        *ended, rest = re.split(r"\\\\(?:\[[^\]]*\])?|\\tabularnewline", code)
        for part in ended:
            cells = _cells(f"{text} {part}")
            text = ""
            if any(cells):
                yield number, cells
        text = f"{text} {rest}"[-LONGEST:]


def _cells(row: str) -> list[str]:
    cells: list[str] = []
    for cell in re.split(r"(?<!\\)&", RULES.sub(" ", row)):
        span = SPAN.fullmatch(cell.strip())
        cells += [_strip_commands(span[2] if span else cell), *[""] * (int(span[1]) - 1 if span else 0)]
    return cells


def _strip_commands(cell: str) -> str:
    """Return a cell's text without LaTeX commands. A multirow cell keeps its row count, which `_fill` needs."""
    text = SWITCHES.sub(" ", COLOURS.sub(" ", cell))
    rows = ROWS.fullmatch(text.strip())
    if rows:
        return f"\x01{rows[1]}\x01{_strip_commands(rows[2])}"
    while WRAPPERS.search(text):
        text = WRAPPERS.sub(r" \1 ", text)
    text = re.sub(r"_\{?\s*\\pm\s*|\^\{?\s*\\pm\s*|\\pm", " ± ", text)
    text = (
        re.sub(r"_\{?\s*±", " ±", text).replace("\\%", "%").replace("\\&", "&").replace("\\_", "_").replace("\\#", "#")
    )
    text = text.replace("\\kappa", " kappa ")
    text = re.sub(r"\\(?:times|checkmark|uparrow|downarrow|dagger|ddagger|ast)\b", " ", text)
    return strip_marks(re.sub(r"[${}~]", " ", text))


def _fill(rows: Sequence[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """Return the rows with the text of each multirow cell repeated in all rows that the cell spans."""
    open_names: dict[int, tuple[int, str]] = {}
    filled = []
    for line, cells in rows:
        cells = list(cells)
        for index, cell in enumerate(cells):
            if cell.startswith("\x01"):
                span, _, name = cell[1:].partition("\x01")
                open_names[index] = (abs(int(span)) - 1 if span != "*" else 0, name)
                cells[index] = name
            elif not cell and open_names.get(index, (0, ""))[0] > 0:
                left, name = open_names[index]
                # A header cell over two rows is named once: its second row holds only the names of columns.
                cells[index] = name
                open_names[index] = (left - 1, name)
        filled.append((line, cells))
    return filled


def _caption(lines: Sequence[str], start: int, stop: int) -> str:
    for index in [*range(max(0, start - 8), start), *range(stop, min(len(lines), stop + 6))]:
        match = CAPTION.search(lines[index])
        if match:
            text = lines[index][match.end() - 1 :]
            return _strip_commands(text[: find_closing(text)])[:160]
    return ""


class _Tables(HTMLParser):
    """Parser that collects each HTML table's rows: line number, and cells with rowspan and colspan."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[tuple[int, list[tuple[str, int, int]]]]] = []
        self.spans: list[list[int]] = []
        self.caption = False
        self.captions: list[str] = []
        self.cell: tuple[int, int] | None = None
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
            self.captions.append("")
            self.spans.append([self.getpos()[0], self.getpos()[0]])
        elif tag == "tr" and self.tables:
            self._close()
            self.tables[-1].append((self.getpos()[0], []))
        elif tag in ("td", "th") and self.tables:
            self._close()
            given = dict(attrs)
            self.cell = (parse_span(given.get("colspan")), parse_span(given.get("rowspan")))
            self.text = ""
        # Bold text in a caption belongs to the caption.
        if tag in ("caption", "table", "tr", "td", "th"):
            self.caption = tag == "caption"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "tr", "table"):
            self._close()
        if tag == "table" and self.spans:
            self.spans[-1][1] = self.getpos()[0]
        if tag in ("caption", "table"):
            self.caption = False

    def close(self) -> None:
        super().close()
        self._close()

    def handle_data(self, data: str) -> None:
        if self.cell:
            self.text += data
        elif self.caption and self.captions:
            self.captions[-1] += data

    def _close(self) -> None:
        if self.cell and self.tables and self.tables[-1]:
            self.tables[-1][-1][1].append((" ".join(self.text.split()), *self.cell))
        self.cell = None


def parse_span(text: str | None) -> int:
    """Return the number of rows or columns in a cell's rowspan or colspan attribute, at least 1."""
    return max(1, min(int(text), WIDEST)) if text and text.isascii() and text.isdigit() else 1


def html_grids(lines: Sequence[str], skipped: frozenset[int]) -> Iterator[Grid]:
    """Yield the tables of an HTML page, or of HTML within Markdown."""
    if not any("<table" in line.lower() for number, line in enumerate(lines, start=1) if number not in skipped):
        return
    parser = _Tables()
    parser.feed("\n".join(lines))
    parser.close()
    for table, (first, last), caption in zip(parser.tables, parser.spans, parser.captions, strict=True):
        rows = _rows_of_html(table)
        if len(rows) > 1:
            title = " ".join(caption.split()) or find_title(lines, first - 1, last)
            # A name over several columns of the first row has their own names below it.
            spans = len(table[0][1]) > 1 and any(columns > 1 for _, columns, _ in table[0][1])
            yield grid(rows, HTML, header=2 if spans else None, title=title)


def rows_of_tables(html: str) -> list[list[list[str]]]:
    """Return the cell texts of an HTML page by table, row and column."""
    parser = _Tables()
    parser.feed(html)
    parser.close()
    return [[cells for _, cells in _rows_of_html(table) if cells] for table in parser.tables]


def _rows_of_html(table: Sequence[tuple[int, list[tuple[str, int, int]]]]) -> list[tuple[int, list[str]]]:
    """Return (line number, cells) of each row; repeat a cell's text for rowspan, and add empty cells for colspan."""
    rows: list[tuple[int, list[str]]] = []
    hanging: dict[int, tuple[int, str]] = {}
    for line, cells in table:
        row: list[str] = []
        waiting = list(cells)
        while waiting or hanging.get(len(row), (0, ""))[0] > 0:
            left, text = hanging.get(len(row), (0, ""))
            if left > 0:
                hanging[len(row)] = (left - 1, text)
                row.append(text)
                continue
            text, columns, down = waiting.pop(0)
            for offset in range(columns):
                hanging[len(row)] = (down - 1, text if offset == 0 else "")
                row.append(text if offset == 0 else "")
        rows.append((line, row))
    return rows
