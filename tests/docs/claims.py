"""Numbers in README and the pages of docs/, each with the file that it comes from.

`python -m tests.docs.claims` writes docs/caught/claims.csv, and the tables of results and costs in docs/features.md.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.docs import caught
from tests.docs.marks import replaced

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("claims.toml")
FEATURES = ROOT / "docs/features.md"
COLUMNS = ("claim", "number", "95 %", "file", "keys", "pages", "command", "tier", "who can repeat it")
NUMBER = re.compile(r"(?<![\w.,^-])(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:e[-+]?\d+)?(?!\w)")
# Tables, written from rows and files or held by tests of their own.
TABLES = {"docs/caught.md"}


def read() -> dict[str, Any]:
    return tomllib.loads(LIST.read_text(encoding="utf-8"))


def pages() -> list[str]:
    """Return the paths of README and of the pages of docs/ whose numbers are written by hand."""
    return ["README.md", *sorted({f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md")} - TABLES)]


def numbers_on(page: str) -> set[str]:
    return numbers_in((ROOT / page).read_text(encoding="utf-8"))


def numbers_in(text: str) -> set[str]:
    """Return the numbers in a text that need a source file; code, links and generated sections are ignored.

    These are percentages, both numbers of "N of M", and numbers with three digits or more, a point or an
    exponent.
    """
    text = re.sub(r"<!-- ([a-z-]+): begin -->.*?<!-- \1: end -->", "", text, flags=re.S)
    text = re.sub(r"```.*?```|`[^`]*`|^    .*?$|\]\([^)]*\)|https?://\S+", " ", text, flags=re.S | re.M)
    return {each.group().rstrip(",") for each in NUMBER.finditer(text) if _has_to_be_held(each, text)}


def _has_to_be_held(number: re.Match[str], text: str) -> bool:
    shown, before, after = number.group(), text[: number.start()], text[number.end() :]
    if len(re.sub(r"\D", "", shown).lstrip("0")) >= 3 or "." in shown or "e" in shown:
        return True
    return bool(re.match(r"\s?%|\sof\s\d", after) or re.search(r"\d\sof\s$", before[-12:]))


def values_of(claim: dict[str, Any]) -> list[float]:
    """Return the numbers at a claim's keys in the JSON file that the claim names."""
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
    elif "=" in head:
        wanted = dict(each.split("=") for each in head.split("&"))
        entries = [each for each in content if all(f"{each[key]}" == value for key, value in wanted.items())]
    else:
        entries = [content[int(head)]]
    for entry in entries:
        yield from _under(entry, rest)


def expected(claim: dict[str, Any]) -> list[str]:
    """Return the numbers of a claim as text, with as many decimals as the documentation prints."""
    values = values_of(claim)
    if claim.get("take") != "all":
        values = sorted({min(values), max(values)})
    return [_formatted(value, like, claim) for value, like in zip(values, claim["numbers"], strict=True)]


def _formatted(value: float, like: str, claim: dict[str, Any]) -> str:
    decimals = len(like.partition(".")[2])
    text = f"{_scale(claim) * value:{',' * (',' in like)}.{decimals}f}"
    return text[1:] if like.startswith(".") else text


def _scale(claim: dict[str, Any]) -> float:
    return 100 if claim.get("percent") else float(claim.get("scale", 1))


def interval(claim: dict[str, Any]) -> str:
    """Return the uncertainty intervals of a claim's numbers as text, or "" if the claim names none."""
    if "interval_key" in claim:
        low, high = values_of(claim | {"key": claim["interval_key"] + "|*"})
        return f"{_scale(claim) * low:.2g} to {_scale(claim) * high:.2g}"
    if "interval_keys" in claim:
        source = {
            "file": claim.get("interval_file", claim["file"]),
            "keys": [f"{key}|*" for key in claim["interval_keys"]],
        }
        ends = values_of(source)
        return ", ".join(f"{low:.3f} to {high:.3f}" for low, high in zip(ends[::2], ends[1::2], strict=True))
    return ""


def rows() -> Iterator[tuple[str, ...]]:
    """Yield a row for each claim, which traces numbers on pages to files."""
    for claim in read()["claim"]:
        yield (
            claim["claim"],
            (", " if claim.get("take") == "all" else " to ").join(claim["numbers"]),
            interval(claim),
            claim["file"],
            "; ".join(claim.get("keys") or [claim["key"]]),
            ", ".join(claim["pages"]),
            claim["command"],
            claim["tier"],
            claim["who"],
        )


def cost_table() -> str:
    """Return the Markdown table of costs for docs/features.md from the JSON file of the benchmark."""
    layouts = json.loads((ROOT / "reports/bench/features.json").read_text(encoding="utf-8"))["layouts"]
    rows = [("", *layouts, "largest error"), ("---",) * (len(layouts) + 2)]
    for found in zip(*layouts.values(), strict=True):
        errors = [each["error"] for each in found if each["error"] is not None]
        ratios = [f"{each['ratio']:.3f}" for each in found]
        rows.append((found[0]["name"], *ratios, f"{max(errors):.0e}" if errors else ""))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def result_table() -> str:
    """Return the Markdown table of EfficientNet-Lite0's spectra for docs/features.md."""
    networks = json.loads((ROOT / "reports/feature-maps/numbers.json").read_text(encoding="utf-8"))["networks"]
    modules = next(each for each in networks if each["kind"] == "imagenet")["sets"]["scenes"]
    rows = [("module", "channels", "values <= 0", "effective rank", "share of the first eigenvalue"), ("---",) * 5]
    for name, found in modules.items():
        shares = [f"{found[key][0]:.3f}" for key in ("non_positive", "first_share")]
        rows.append((f"`{name}`", f"{found['channels']:,}", shares[0], f"{found['effective_rank'][0]:.1f}", shares[1]))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def with_tables(text: str) -> str:
    return replaced(replaced(text, "cost", cost_table()), "result", result_table())


if __name__ == "__main__":
    caught.write("claims", COLUMNS, rows())
    FEATURES.write_text(with_tables(FEATURES.read_text(encoding="utf-8")), encoding="utf-8")
