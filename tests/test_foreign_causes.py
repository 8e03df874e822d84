"""Verdicts on what `diff` says of planted causes, and the page that shows them."""

import json
import re
import tomllib
from typing import Any

import pytest

from benchmarks.foreign_causes import JSON, PAGE, TABLE, judge, markdown
from tests.docs.marks import replaced


def said(*codes: str, text: str = "lr 1 and 2") -> dict[str, Any]:
    causes = [{"code": code, "text": text} for code in codes]
    return {"equal": False, "causes": causes, "text": f"CAUSE one of: {text}" if len(codes) > 1 else text}


def alone(*codes: str) -> dict[str, Any]:
    return {**said(*codes), "text": "lr 1 and 2"}


RATE = {"right": "optimizer-option", "also": "update", "says": "lr", "never": "rounding", "args": "--lr 2"}


@pytest.mark.parametrize(
    ("printed", "verdict"),
    [
        (alone("optimizer-option", "arguments"), "alone"),
        (alone("optimizer-option", "seed"), "alone"),
        (said("optimizer-option", "update"), "first"),
        (said("update", "optimizer-option"), "one of several"),
        (said("update"), "missed"),
        (said("optimizer-option", text="betas differ"), "missed"),
        (said(), "missed"),
        (said("seed"), "false"),
        (alone("seed", "optimizer-option"), "false"),
        (said("source"), "false"),
        (said("optimizer-option", text="lr, or rounding"), "false"),
        ({"equal": True}, "not seen"),
    ],
)
def test_a_verdict_follows_from_what_is_right_what_is_true_and_what_is_false(printed: Any, verdict: str) -> None:
    assert judge(RATE, printed) == verdict


def test_an_honest_repetition_may_only_be_called_equal() -> None:
    assert judge({"right": "equal"}, {"equal": True}) == "equal"
    assert judge({"right": "equal"}, said("source")) == "false"


def test_every_row_plants_in_a_base_and_says_what_is_right() -> None:
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    bases = {each["name"] for each in table["base"]}
    assert len({(row["on"], row["plant"]) for row in table["rows"]}) == len(table["rows"])
    for row in table["rows"]:
        assert row["on"] in bases
        assert row.keys() & {"args", "edit", "env", "data"}
        assert "first" in row or row["right"] == "equal"
        re.compile(row.get("first", ""))
        assert row["right"]


def test_the_page_shows_what_the_file_holds() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == replaced(page, "foreign-causes", markdown(json.loads(JSON.read_text(encoding="utf-8"))))
