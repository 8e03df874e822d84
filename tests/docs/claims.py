"""Numbers on README and pages, each with the file that it comes from.

`python -m tests.docs.claims` writes docs/claims.md, and the table of costs on docs/features.md.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from in4310repro.metrics import wilson

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("claims.toml")
PAGE, FEATURES = ROOT / "docs/claims.md", ROOT / "docs/features.md"
# Written by sessions from their numbers, each of which has a test of its own.
GENERATED = {
    f"docs/{name}.md" for name in ("bad-input", "claims", "elastic", "forgeries", "mistakes", "mutants", "shares")
}
INTRODUCTION = """# Claims

Which file does a number on README or on a page come from, how firmly is it held, and who can repeat it? Numbers of
three or more digits on those pages are these, or are listed with a reason in `tests/docs/claims.toml`; a test compares.
Pages that a session writes from its own numbers are not in this table. Intervals are 95 % and hold sampling error
alone: those of the reports (a bootstrap), that of labels of the weighted shares, else Wilson's, of a mean class
accuracy as a share of all its images.
"""


def read() -> dict[str, Any]:
    """Return the list of claims and of other numbers."""
    return tomllib.loads(LIST.read_text(encoding="utf-8"))


def pages() -> list[str]:
    """Return README and the pages whose numbers are written by hand."""
    return ["README.md", *sorted({f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md")} - GENERATED)]


def numbers_on(page: str) -> set[str]:
    """Return the numbers of a page, as `numbers_in` finds them."""
    return numbers_in((ROOT / page).read_text(encoding="utf-8"))


def numbers_in(text: str) -> set[str]:
    """Return the numbers of three or more digits in a text, outside of code, links and generated parts."""
    text = re.sub(
        r"<!-- ([a-z-]+): begin -->.*?<!-- \1: end -->|<!-- kernel errors -->.*?<!-- end", "", text, flags=re.S
    )
    text = re.sub(r"```.*?```|`[^`]*`|^    .*?$|\]\([^)]*\)|https?://\S+", " ", text, flags=re.S | re.M)
    found = re.findall(r"(?<![\w.,-])(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?![\w])", text)
    return {each.rstrip(",") for each in found if len(re.sub(r"\D", "", each).lstrip("0")) >= 3}


def values_of(claim: dict[str, Any]) -> list[float]:
    """Return what the file of a claim holds under its keys."""
    content = json.loads((ROOT / claim["file"]).read_text(encoding="utf-8"))
    keys = claim.get("keys") or [claim["key"]]
    return [float(value) for key in keys for value in _under(content, key.split("|"))]


def _under(content: Any, parts: Sequence[str]) -> Iterator[Any]:
    if not parts:
        yield content
        return
    head, *rest = parts
    if isinstance(content, dict):
        entries = list(content.values()) if head == "*" else [content[head]]
    elif head == "*":
        entries = content
    elif head.startswith("name="):
        entries = [each for each in content if each["name"] == head.removeprefix("name=")]
    else:
        entries = [content[int(head)]]
    for entry in entries:
        yield from _under(entry, rest)


def expected(claim: dict[str, Any]) -> list[str]:
    """Return the numbers that pages should say, with as many decimals as they say them."""
    values = values_of(claim)
    if claim.get("take") != "all":
        values = sorted({min(values), max(values)})
    return [_formatted(value, like, claim) for value, like in zip(values, claim["numbers"], strict=True)]


def _formatted(value: float, like: str, claim: dict[str, Any]) -> str:
    decimals = len(like.partition(".")[2])
    text = f"{100 * value if claim.get('percent') else value:.{decimals}f}"
    return text[1:] if like.startswith(".") else text


def interval(claim: dict[str, Any]) -> str:
    """Format the interval of each number of a claim, where one is known."""
    if "interval_key" in claim:
        low, high = values_of(claim | {"key": claim["interval_key"] + "|*"})
        scale = 100 if claim.get("percent") else 1
        return f"{scale * low:.2g} to {scale * high:.2g}"
    if "interval_keys" in claim:
        source = {"file": claim["interval_file"], "keys": [f"{key}|*" for key in claim["interval_keys"]]}
        ends = values_of(source)
        return ", ".join(f"{low:.3f} to {high:.3f}" for low, high in zip(ends[::2], ends[1::2], strict=True))
    if "images" not in claim:
        return ""
    images = claim["images"]
    bounds = [wilson(round(value * images), images) for value in values_of(claim)]
    return ", ".join(f"{low:.3f} to {high:.3f}" for low, high in bounds)


def table() -> str:
    """Render the page."""
    heading = ("claim", "number", "95 %", "file and key", "pages", "command", "tier", "who can repeat it")
    rows = [heading, ("---",) * len(heading)]
    for claim in read()["claim"]:
        keys = "; ".join(f"`{key}`" for key in claim.get("keys") or [claim["key"]])
        rows.append(
            (
                claim["claim"],
                (", " if claim.get("take") == "all" else " to ").join(claim["numbers"]),
                interval(claim),
                f"`{claim['file']}`: {keys.replace('|', ' / ')}",
                ", ".join(f"`{page}`" for page in claim["pages"]),
                f"`{claim['command']}`",
                claim["tier"],
                claim["who"],
            )
        )
    return "\n".join([INTRODUCTION, *(f"| {' | '.join(row)} |" for row in rows), ""])


def cost_table() -> str:
    """Render the costs on docs/features.md from the bench's file."""
    layouts = json.loads((ROOT / "reports/bench/features.json").read_text(encoding="utf-8"))["layouts"]
    rows = [("", *layouts, "largest error"), ("---",) * (len(layouts) + 2)]
    for found in zip(*layouts.values(), strict=True):
        errors = [each["error"] for each in found if each["error"] is not None]
        ratios = [f"{each['ratio']:.3f}" for each in found]
        rows.append((found[0]["name"], *ratios, f"{max(errors):.0e}" if errors else ""))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def with_cost_table(text: str) -> str:
    """Return docs/features.md with the table of costs written anew."""
    before, begin, rest = text.partition("<!-- cost: begin -->\n")
    _, end, after = rest.partition("<!-- cost: end -->")
    return f"{before}{begin}{cost_table()}\n{end}{after}"


if __name__ == "__main__":
    PAGE.write_text(table(), encoding="utf-8")
    FEATURES.write_text(with_cost_table(FEATURES.read_text(encoding="utf-8")), encoding="utf-8")
