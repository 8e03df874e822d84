"""Names as text: on Markdown pages and terminals they are shown unchanged and have no effect."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import subprocess

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console

from in4310repro.cli.console import print_error, print_line, print_text
from in4310repro.system.progress import Progress
from in4310repro.system.text import cells, code, duration_text, markdown, shell_command, shell_word, visible

NAMES = (
    *("a|b", "a\\|b", "ends in \\", "<img src=x onerror=alert(1)>", "<script>", "</td>", "<!-- x", "<https://x.y>"),
    *("[x](javascript:alert(1))", "![x](y.png)", "[x]: y", "`code`", "``", "*a*", "__a__", "~~a~~", "$x$", "_a_"),
    *("# a", "#", "---", "===", "- a", "+ a", "* a", "1. a", "1) a", "> a", "```", "~~~", "    indented", "tail  "),
    *("&lt;b&gt;", "&#60;", "R&D", "a\nb", "a\r\n\n# b", "\x1b[31mred", "a\u202eb", "\u2066a", "a\u200fb", "\u2028"),
    *("[red]x[/red]", ":skull:", "\u6d77", "caf\u00e9", "\x9b31m", "\udce9", "layer1.0.conv1", "0.5", "-0.5", "-"),
)
SHOWN = {"text", "softbreak"}


def inline(source: str) -> list[Token]:
    """Return the inline Markdown tokens of a page, after checking that it contains no HTML."""
    parsed = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(source)
    assert "html_block" not in {token.type for token in parsed}
    return [child for token in parsed for child in token.children or ()]


def text_of(source: str) -> str:
    """Return the text that a page shows, after a check that it holds no markup."""
    tokens = inline(source)
    assert {token.type for token in tokens} <= SHOWN, source
    return "".join(token.content for token in tokens)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_in_markdown_is_read_as_that_name_and_as_nothing_else(name: str) -> None:
    for before, after in (("", ""), ("a ", " b"), ("# ", ""), ("* ", ""), ("above\n", "\nbelow"), ("a_", "_b*")):
        shown = text_of(f"{before}{markdown(name)}{after}")
        outer = (before.removeprefix("# ").removeprefix("* ").replace("\n", ""), after.replace("\n", ""))
        assert shown == f"{outer[0]}{visible(name)}{outer[1]}"


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_in_a_table_is_one_cell(name: str) -> None:
    tokens = inline(f"| a | b |\n| --- | --- |\n| {cells([name, name])} |\n")
    assert "".join(token.content for token in tokens) == f"ab{visible(name)}{visible(name)}"
    assert {token.type for token in tokens} <= SHOWN


@pytest.mark.process
def test_a_command_line_is_split_into_the_words_that_it_was_made_of() -> None:
    words = [*NAMES, "", "0.5,0.5", "@file", "two words", "it's", 'a "b"', "!x", "C:\\x y\\z", "a,$b"]
    assert shlex.split(shell_command(words)) == words
    if os.name == "posix":
        said = subprocess.run(["sh", "-c", f"printf '%s\\0' {shell_command(words)}"], capture_output=True, check=True)
        assert os.fsdecode(said.stdout).split("\0")[:-1] == words


def test_what_powershell_takes_for_an_operator_is_in_double_quotes() -> None:
    for word in ("0.5,0.5,0.5", "@file", "two words", "a;b", "(2)", "it's"):
        assert shell_word(word) == f'"{word}"'
    # What it would replace inside them, a POSIX shell too, is in single quotes, and stands for itself in both.
    assert [shell_word(word) for word in ("$x", "a`b")] == ["'$x'", "'a`b'"]


@pytest.mark.parametrize("name", [name for name in NAMES if name.strip()], ids=ascii)
def test_a_name_as_code_is_one_piece_of_code(name: str) -> None:
    (token,) = inline(f"{code(name)}\n")
    assert (token.type, token.content) == ("code_inline", visible(name))


def test_ordinary_words_and_numbers_are_the_same_in_markdown() -> None:
    for words in ("layer1.0.conv1", "values <= 0, in [0, 1)", "0.9882", "-0.0330", "+0.17", "-", "batch-norm", "a: b"):
        assert markdown(words).replace("\\", "") == words


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_on_a_terminal_is_one_line_of_what_can_be_seen(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_line(f"a {name} b")
    print_error(name)
    print_text(f"a\n{name}\nb")
    printed = capsys.readouterr()
    lines = printed.out.split("\n")
    assert lines[0] == f"a {visible(name)} b"
    assert lines[1] == "a"
    assert lines[-2:] == ["b", ""]
    assert printed.err == f"in4310repro: {visible(name)}\n"
    assert all(letter.isprintable() or letter == "\n" for letter in printed.out + printed.err)


@pytest.mark.parametrize("terminal", [False, True])
def test_names_in_progress_are_no_colours_and_no_controls(terminal: bool) -> None:
    shown = io.StringIO()
    progress = Progress(Console(file=shown, force_terminal=terminal, width=200, color_system=None))
    for name in ("[red]x[/red]", ":skull:", "\x1b]0;title\x07", "a\u202eb"):
        progress.message(name)
        with progress.task(f"decoding {name}", 1) as advance:
            advance(1, f"loss of {name}")
        assert f"decoding {visible(name)}" in shown.getvalue()
        assert f"loss of {visible(name)}" in shown.getvalue()
    assert "\u202e" not in shown.getvalue()
    assert "\x1b]" not in shown.getvalue()


def test_a_duration_is_in_minutes_from_100_seconds_on_and_in_hours_from_100_minutes_on() -> None:
    assert [*map(duration_text, (99, 100, 5999, 6000))] == ["99 s", "1.7 min", "100.0 min", "1.7 h"]


def test_a_name_that_the_encoding_lacks_is_printed_as_an_escape() -> None:
    printed = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with contextlib.redirect_stdout(printed):
        print_line("caf\u00e9 \u6d77")
    printed.flush()
    assert printed.buffer.getvalue().decode() == "caf\\xe9 \\u6d77\n"
