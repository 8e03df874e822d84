"""Safe display of names from users and files: no control characters, no markup, and no private paths."""

import csv
import difflib
import io
import os
import re
import shlex
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PureWindowsPath

# Controls (ESC among them), signs of direction and joining, halves of surrogate pairs, separators of lines.
INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
# Characters with a meaning in CommonMark, in GitHub's tables, strike-through, formulas and automatic links.
SPECIAL = re.compile(r"[\\`*_\[\]|~$]|:(?=//)|(?<=www)\.", re.IGNORECASE)
# Beginnings of a heading, a list, a quotation, a rule or an underline; a number with a sign is none of these.
START_OF_BLOCK = re.compile(r"^(?:(\d{1,9})(?=[.)](?:\s|$))|([#>]|[-+=](?![\w.])))")
OUTER_SPACE = re.compile(r"^ +| +$")
# The text in place of a path whose last name cannot be published either.
UNNAMED = "PATH"
MOST_NAMED = 3  # of several, in a sentence


class Markdown(str):
    """Text that is already Markdown, and must not be escaped again."""

    __slots__ = ()


def visible(text: str) -> str:
    r"""Return the text as one line, with invisible characters escaped.

    Examples:
        >>> print(visible("a\x1b[31m\u202eb\n"))
        a\x1b[31m\u202eb\n
    """
    return "".join(escape(letter) if unicodedata.category(letter) in INVISIBLE else letter for letter in text)


def join_names(names: Sequence[str], kind: str) -> str:
    """Return up to three names as a phrase; of more names, their number and kind.

    Examples:
        >>> join_names(["forest", "sea", "street"], "classes"), join_names(list("abcd"), "classes")
        ('forest, sea and street', '4 classes')
    """
    *first, last = names
    if len(names) > MOST_NAMED:
        return f"{len(names)} {kind}"
    return f"{', '.join(first)} and {last}" if first else last


def first_of(texts: Sequence[str], most: int, between: str = ", ") -> str:
    """Return the first texts joined, and how many more there are, as in "a, b and 3 more"."""
    return between.join(texts[:most]) + f" and {len(texts) - most} more" * (len(texts) > most)


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Return rows as the text of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def columns(rows: Sequence[Sequence[str]], signs: str) -> Iterator[str]:
    """Yield each row of a table as a line with aligned columns; `signs` has < (left) or > (right) for each column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:{sign}{width}}" for cell, sign, width in zip(row, signs, widths, strict=True))


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return a clause that suggests the most similar valid name; empty if none is similar.

    Examples:
        >>> did_you_mean("dmeo", ["demo", "course"]), did_you_mean("x", ["demo"])
        ('; did you mean demo?', '')
    """
    near = difflib.get_close_matches(name, list(valid))
    return f"; did you mean {near[0]}?" if near else ""


def as_function(name: str) -> str:
    """Return a name like `mynets.small` in the form MODULE:FUNCTION; empty if this is impossible.

    Examples:
        >>> as_function("mynets.small"), as_function("nets/mine.py:small"), as_function("resnet18")
        ('mynets:small', 'nets.mine:small', '')
    """
    parts = re.fullmatch(r"(?:\./)?((?:\w+[./])*?\w+)(?:\.py)?[.:/]([^\W\d]\w*)", name.replace("\\", "/"))
    return f"{parts[1].replace('/', '.')}:{parts[2]}" if parts else ""


def escape(letter: str) -> str:
    r"""Return a character's escape sequence in Python: `\n`, `\xe9`, `\u6d77`."""
    return ascii(letter)[1:-1]


def markdown(text: str) -> Markdown:
    r"""Return Markdown that renders as exactly this text, also in a table cell.

    Examples:
        >>> print(markdown("a|b"), markdown("<img src=x>"), markdown("[x](y)"), markdown("layer1.0 <= 0.5"))
        a\|b &lt;img src=x> \[x\](y) layer1.0 <= 0.5
    """
    return Markdown(START_OF_BLOCK.sub(r"\1\\\2", _inline(text)))


def _inline(text: str) -> str:
    """Return Markdown that renders as exactly this text inside a line."""
    escaped = SPECIAL.sub(r"\\\g<0>", visible(text))
    # Not by a backslash: some renderers show it and still interpret the tag.
    escaped = re.sub("&(?=[#A-Za-z])", "&amp;", escaped)
    escaped = re.sub("<(?=[A-Za-z/!?])", "&lt;", escaped)
    return OUTER_SPACE.sub(lambda spaces: "&#32;" * len(spaces.group()), escaped)


def cells(row: Iterable[object]) -> Markdown:
    """Return the cells of a Markdown table row, escaped and joined by bars, without the outer bars."""
    return Markdown(" | ".join(_inline(f"{cell}") for cell in row))


def code(text: str) -> Markdown:
    """Return the text as inline code in Markdown.

    The code is enclosed in more backticks than occur in a row anywhere in the text.
    """
    shown = visible(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    # Markdown removes one space at each end of a code span.
    space = " " if shown[:1] in " `" or shown[-1:] in " `" else ""
    return Markdown(f"{fence}{space}{shown}{space}{fence}")


def verbatim(text: str) -> Markdown:
    """Return the text with invisible characters escaped, as a line for a fenced code block."""
    return Markdown(visible(text))


def shell_word(word: str) -> str:
    """Return a word of a command line as POSIX shells and PowerShell read it.

    Examples:
        >>> print(shell_word("runs/mine"), shell_word("0.5,0.5"), shell_word("two words"), shell_word("$5"))
        runs/mine "0.5,0.5" "two words" '$5'
    """
    # PowerShell takes a comma for a separator and a first @ for an array; both shells read these inside double quotes.
    quoted = shlex.quote(word)
    plain = quoted == word and "," not in word and not word.startswith("@")
    return quoted if plain or re.search(r'["$`\\!]|^$', word) else f'"{word}"'


def shell_command(words: Iterable[str]) -> str:
    """Return words as one command line (see `shell_word`)."""
    return " ".join(map(shell_word, words))


def publishable_place(place: str) -> str:
    """Return a path in a form that does not reveal the user's name or where a folder is on the disk.

    If the path is absolute, or contains `..` or the user's name (the name of the home folder), only its last
    component is returned. Every other path is returned unchanged. If the result would be empty, `..`,
    unprintable or the user's name, it is `PATH`.

    Examples:
        >>> publishable_place("photos/scenes"), publishable_place("/home/ada/scenes"), publishable_place("../scenes")
        ('photos/scenes', 'scenes', 'scenes')
    """
    # It knows the separators and drives of all systems.
    path, user = PureWindowsPath(place), Path(os.environ.get("HOME") or os.environ.get("USERPROFILE", "")).name
    if path.anchor or ".." in path.parts or user in path.parts:
        place = path.name
    return place if place not in ("", "..", user) and place.isprintable() else UNNAMED


def duration_text(seconds: float) -> str:
    """Return a duration as text in seconds, minutes or hours.

    Examples:
        >>> duration_text(7.4), duration_text(300), duration_text(9000)
        ('7 s', '5.0 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
