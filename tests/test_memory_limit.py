"""The table of memory beside the limit of 2 GB agrees with its numbers, and with what a dry run holds."""

import sys
from pathlib import Path

import pytest

from benchmarks import memory_limit
from in4310repro.runs.presets import PRESETS
from in4310repro.system.files import read_json

MEASURED = read_json(memory_limit.NUMBERS)


def test_the_table_on_the_page_is_what_its_file_gives() -> None:
    text = memory_limit.PAGE.read_text(encoding="utf-8")
    assert memory_limit.with_table(text, MEASURED) == text
    assert memory_limit.with_table(text.replace("| yes |", "| no |"), MEASURED) == text


def test_each_preset_has_a_row_in_both_arithmetics_with_its_own_settings() -> None:
    rows = [row for row in MEASURED["rows"] if row["batch_size"] == PRESETS[row["preset"]].batch_size]
    assert [(row["preset"], row["numerics"]) for row in rows] == [
        (preset, numerics) for preset in PRESETS for numerics in ("portable", "native")
    ]
    for row in MEASURED["rows"]:
        config = PRESETS[row["preset"]]
        assert (row["network"], row["image_size"]) == (config.model, config.image_size)


@pytest.mark.parametrize("numerics", ["portable", "native"])
def test_course_has_a_row_below_two_gigabytes(numerics: str) -> None:
    rows = [row for row in MEASURED["rows"] if (row["preset"], row["numerics"]) == ("course", numerics)]
    assert rows[0]["batch_size"] == 16
    assert rows[-1]["anonymous"] < memory_limit.LIMIT
    # A batch is halved only where the one before was too large.
    assert all(row["anonymous"] >= memory_limit.LIMIT for row in rows[:-1])


def test_a_row_of_two_gigabytes_or_more_is_not_below_them() -> None:
    rows = [MEASURED["rows"][0] | {"anonymous": size} for size in (1_999_999_999, 2_000_000_000)]
    *_, below, above = memory_limit.table({"threads": 2, "rows": rows}).split("\n\n")[0].splitlines()
    assert below.endswith("| yes |")
    assert above.endswith("| no |")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RssAnon is Linux's")
def test_a_dry_run_of_the_tiny_preset_is_measured_as_the_command_prints_it(tmp_path: Path) -> None:
    row = memory_limit.measure("tiny", "native", 8, {}, tmp_path)
    assert 1e8 < row["anonymous"] < memory_limit.LIMIT
    assert row["printed"] in (tmp_path / "log").read_text(encoding="utf-8")
