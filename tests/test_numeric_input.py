"""Numbers out of range in options and settings, and unusable caches, are reported as the user's error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from in4310repro.cli.application import app
from in4310repro.data.splits import parse_sizes
from in4310repro.runs.config import Config
from in4310repro.runs.settings import OptimizerSetting
from tests.conftest import Call

NO_NUMBERS = ("1e400", "nan", "", "0x10", "9" * 5000)
# As TOML writes them; the last two have no end in a float, and none in the digits that Python reads.
IN_FILES = ("inf", "nan", "-1", "1e400", f"1{'0' * 400}", "9" * 5000)


def numeric_options(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield each numeric option of each command, with the arguments that must precede it."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from numeric_options(inner, (*path, name))
    if not hasattr(command, "commands"):
        needed = ["nowhere" for each in command.params if each.param_type_name == "argument" and each.required]
        plan = ["--print-config"] if path == ("train",) else []
        for each in command.params:
            kind = f"{getattr(each, 'type', '')}{getattr(getattr(each, 'type_descriptor', None), 'annotation', '')}"
            if each.param_type_name == "option" and any(word in kind.lower() for word in ("int", "float")):
                yield (*path, *needed, *plan), each.opts[0]


OPTIONS = list(numeric_options(app))


def test_there_are_numeric_options_of_many_commands() -> None:
    assert len(OPTIONS) > 20
    assert {"train", "features", "audit", "verify", "data"} <= {words[0] for words, _ in OPTIONS}


@pytest.mark.parametrize(("words", "option"), OPTIONS, ids=[f"{words[0]}{option}" for words, option in OPTIONS])
def test_an_option_that_is_no_number_in_its_range_is_wrong_input(
    words: tuple[str, ...], option: str, call: Call
) -> None:
    for value in NO_NUMBERS:
        assert call(*words, f"{option}={value}")[0] == 2, value[:20]


def numeric_settings() -> Iterator[str]:
    """Yield TOML for each numeric option of a configuration, with %s in place of its value."""
    for record, heading in ((Config, ""), (OptimizerSetting, "[[settings]]\nname = 'a'\noptimizer = 'SGD'\n")):
        hints = get_type_hints(record)
        for field in fields(record):
            if hints[field.name] in (int, float, float | None):
                yield f"{heading}{field.name} = %s"
    yield "mean = [0.5, %s, 0.5]"


@pytest.mark.parametrize("line", list(numeric_settings()), ids=lambda line: line.replace("\n", " ")[-30:])
def test_a_setting_beyond_its_range_is_wrong_input(line: str, call: Call) -> None:
    codes = {}
    for value in IN_FILES:
        Path("mine.toml").write_text(line % value, encoding="utf-8")
        codes[value[:20]] = call("train", "--preset", "tiny", "--config", "mine.toml", "--print-config")[0]
    # Of these a mean alone may be -1.
    valid = {"-1"} if "mean" in line else set()
    assert {value for value, code in codes.items() if code == 0} == valid, codes
    assert set(codes.values()) <= {0, 2}, codes


@pytest.mark.parametrize("value", [*IN_FILES, "0x10", ""])
def test_a_part_of_a_split_beyond_its_range_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="split"):
        parse_sizes(f"{value}/1/1", 48)


@pytest.mark.parametrize("place", ["a" * 5000, "/dev/null", "/proc/none", "\udcff"], ids=lambda text: ascii(text[:10]))
def test_a_cache_that_cannot_be_is_no_error_of_ours(place: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IN4310REPRO_CACHE", place)
    for words in (("cache",), ("doctor",), ("train", "--preset", "tiny", "--dry-run")):
        code, _, error = call(*words)
        assert code in (0, 1, 2), (words, error)
